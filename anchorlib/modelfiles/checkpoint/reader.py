"""Read anchors from a YOLOv5, YOLOv7 or one-yolov5 checkpoint, without running its pickle or loading its framework."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Union

import numpy as np

from anchorlib.arrays import HostArray, check_one_of
from anchorlib.errors import ModelError, UnsafeCheckpointError
from anchorlib.files import is_regular
from anchorlib.layers import layers_disagree, mean_areas
from anchorlib.modelfiles.anchor_free import describe_anchor_free
from anchorlib.modelfiles.checkpoint.containers import Contents, open_contents
from anchorlib.modelfiles.checkpoint.pickle_policy import Made, get_attributes, get_entries, get_function_name
from anchorlib.modelfiles.checkpoint.pickle_reader import Damaged, make_printable
from anchorlib.results import printable

_PREFERRED = ("ema", "model", "model_state_dict", "state_dict")  # the forks load the averaged weights
_MAX_HEADS = 100
_MAX_VISITS = 500_000  # objects and their entries; 1800 modules have 90 000
_MAX_SIDE = 1e6  # pixels
_HALF = 2.0**-9  # tolerance for the ratio of two sides that were each rounded to float16


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Hold the anchors of a checkpoint, and how they are stored.

    Attributes
    ----------
    anchors : for each layer, in the order of the file, (A, 2) float32, pixels
    strides : the stride of each of these layers, pixels
    path, format : the file, and "torch zip", "torch legacy", "OneFlow folder", "OneFlow file" or "pickle"
    where : the module or the key with the anchors, for example "ema.model.24"
    units : the unit in the file: "grid" units, which are pixels divided by the stride, or "pixels"
    notes : remarks about unusual anchors
    refused : the calls that the file would make when its framework loads it; empty for a harmless file
    """

    path: str
    format: str
    where: str
    units: str
    strides: tuple[float, ...]
    anchors: tuple[HostArray, ...]
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def order(self) -> str:
        """Return the order of the strides: "ascending", "descending" or "mixed"."""
        steps = np.diff(self.strides)
        return "ascending" if (steps >= 0).all() else "descending" if (steps <= 0).all() else "mixed"

    def by_stride(self) -> list[HostArray]:
        """Return the layers sorted by stride, the smallest first."""
        return [self.anchors[i] for i in np.argsort(self.strides, kind="stable")]

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes in the types of JSON."""
        return {
            "path": self.path,
            "format": self.format,
            "where": self.where,
            "units": self.units,
            "order": self.order,
            "strides": list(self.strides),
            "anchors": [layer.tolist() for layer in self.anchors],
            "notes": list(self.notes),
            "refused": list(self.refused),
        }

    def describe(self) -> tuple[str, str]:
        """Return a summary of the checkpoint, and a warning if loading it would run code, else ""."""
        lines = [
            f"{self.path}: {self.format}, {self.where}, anchors kept in {self.units.replace('grid', 'grid units')}",
            f"{len(self.anchors)} {'layer' if len(self.anchors) == 1 else 'layers, strides ' + self.order}",
        ]
        for stride, layer in zip(self.strides, self.anchors):
            lines.append(f"  stride {stride:<4g} " + "  ".join(f"{w:g} x {h:g}" for w, h in layer))
        lines += [f"note: {note}" for note in self.notes]
        calls = printable(", ".join(self.refused))
        return "\n".join(
            map(printable, lines)
        ), f"UNSAFE: to load this file with its framework would run {calls}" if calls else ""

    def __str__(self) -> str:
        return "\n".join(part for part in self.describe() if part)


def read_checkpoint(
    path: Union[str, os.PathLike[str]], *, strides: Optional[Sequence[float]] = None, calls: str = "raise"
) -> Checkpoint:
    """Read the anchors, strides and layer order of a YOLOv5, YOLOv7 or one-yolov5 checkpoint. Nothing in it is run.

    Parameters
    ----------
    path : a file or folder that torch.save or OneFlow's flow.save wrote: a model, a state_dict, or {'model': ...,
        'ema': ...}, of which the averaged weights are read, as the forks do. No framework is needed.
    strides : strides of the layers in the order of the file, pixels, for a state_dict that does not store them: those
        of YOLOv5 6.0 and later. Older ones and YOLOv7's have anchor_grid, from which the strides are computed.
    calls : what to do about a checkpoint that would call functions outside the allow-list: "raise" raises
        UnsafeCheckpointError; "report" reads what it can and lists the calls in `Checkpoint.refused`. `read_boxes`
        has the same values for `problems`, and also "ignore": an unsafe file is never ignored. "refuse" is accepted as
        the name of "raise" in earlier versions.

    Returns
    -------
    Checkpoint

    Raises
    ------
    UnsafeCheckpointError : the checkpoint would call a function that it does not need; the message names it
    ModelError : not a checkpoint, a damaged one, or one without anchors such as YOLOv8's; OSError
    BadValueError : an unknown value of `calls`

    Examples
    --------
    >>> print(read_checkpoint("tests/data/checkpoints/yolov5_zip.pt"))
    tests/data/checkpoints/yolov5_zip.pt: torch zip, ema.model.1, anchors kept in grid units
    3 layers, strides ascending
      stride 8    10 x 13  16 x 30  33 x 23
      stride 16   30 x 61  62 x 45  59 x 119
      stride 32   116 x 90  156 x 198  373 x 326
    """
    calls = "raise" if calls == "refuse" else calls
    check_one_of("calls", calls, ("report", "raise"))
    file, refused = Path(path), dict[str, None]()
    try:
        contents = open_contents(file, refused)
        if not (refused and calls == "raise"):
            with np.errstate(all="ignore"):  # unusable values are found at the end
                return _read(file, contents, strides, tuple(refused))
    except Damaged as error:
        if not refused:
            raise ModelError(f"{path} is not a complete checkpoint of torch.save or flow.save: {error}.") from error
    except ModelError:  # unsafe calls are more important than missing anchors
        if not refused:
            raise
    raise UnsafeCheckpointError(
        f"{path} would run {', '.join(refused)} when it is loaded. Nothing was run here. Do not load it with its "
        "framework unless you know who made it. calls='report' reads its anchors without running it."
    )


def may_be_checkpoint(path: Path) -> bool:
    """Return True for a OneFlow folder, a file that starts as a zip file or pickle, and the suffixes .pt and .pth."""
    if (
        path.suffix.lower() in (".pt", ".pth")
        or is_regular(path / "pickled_data")
        or is_regular(path / "snapshot_done")
    ):
        return True
    if not is_regular(path):
        return False
    with open(path, "rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80"))


def _read(path: Path, contents: Contents, strides: Optional[Sequence[float]], refused: tuple[str, ...]) -> Checkpoint:
    heads = _find_heads(contents)
    if not heads:
        raise ModelError(
            describe_anchor_free(path, _list_names(contents.root))
            or f"{path} has no anchors: no module or state_dict in it has a tensor 'anchors' of shape (L, A, 2). "
            "Models without anchors, such as YOLOv8 and later or YOLOX, have none."
        )
    known = [head for head in heads if head.strides is not None or head.grid is not None]
    head = (known or heads)[-1]  # the detection module is the last one of a model
    found = _find_strides(path, head, strides)
    layers, units, notes = _convert_to_pixels(head, found)
    if not (np.isfinite(layers).all() and (layers > 0).all() and (layers < _MAX_SIDE).all()):
        raise ModelError(
            f"{path}: every side of an anchor must be > 0 and < {_MAX_SIDE:g} pixels, got {_shorten(layers)}."
        )
    if layers_disagree(mean_areas(list(layers)), found):
        notes.append("the anchors shrink while the strides grow: the layers are in reverse order")
    return Checkpoint(str(path), contents.format, head.where, units, tuple(found), tuple(layers), tuple(notes), refused)


def _list_names(root: Any) -> Iterator[str]:
    """Yield the classes of the modules, and the keys of the dicts, in a checkpoint."""
    waiting, seen, left = [root], set(), _MAX_VISITS
    while waiting and left > 0:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        own = {**get_entries(value), **get_attributes(value)}
        yield get_function_name(value)
        yield from own
        below = value if isinstance(value, (list, tuple)) else own.values()
        left -= 1 + len(own)
        waiting += [item for item in below if _is_container(item)]


# Finding the module


@dataclass(frozen=True)
class _Head:
    """Hold anchors as they are stored (L, A, 2), with strides (L,) and a grid of the anchors' shape, if present."""

    where: str
    anchors: HostArray
    strides: Optional[HostArray]
    grid: Optional[HostArray]


def _find_heads(contents: Contents) -> list[_Head]:
    """Find anchors in the part that the forks load, otherwise in the whole file, in its order."""
    root = get_entries(contents.root)
    for key in _PREFERRED:
        heads = list(_iterate_heads(root.get(key), key, contents.array))
        if heads:
            return heads
    return list(_iterate_heads(contents.root, "", contents.array))


def _iterate_heads(root: Any, where: str, array: Callable[[Any], Optional[HostArray]]) -> Iterator[_Head]:
    """Find modules and state_dicts inside a value, in order. Without recursion: a file may nest to any depth."""
    waiting, seen, left, asked = [(where, root)], set(), _MAX_VISITS, 0
    while waiting:
        where, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        own: dict[str, Any] = {**get_entries(value), **get_attributes(value)}
        modules: dict[str, Any] = {}
        if isinstance(value, Made):  # a module: its tensors and modules are in separate dicts
            modules = get_entries(own.pop("_modules", None))
            own.update({**get_entries(own.pop("_buffers", None)), **get_entries(own.pop("_parameters", None))})
        keys = [key for key in own if key == "anchors" or key.endswith(".anchors")]
        children = [*own.items(), *modules.items()]
        if isinstance(value, (list, tuple)):
            children = [(str(i), item) for i, item in enumerate(value)]
        left, asked = left - 1 - len(children), asked + len(keys)
        if left < 0 or asked > _MAX_HEADS:  # a small file can share one large dict many times
            raise Damaged("it has more objects than any model")
        for key in keys:
            prefix = key[: -len("anchors")]
            head = _read_head(own, prefix, _join(where, prefix.rstrip(".")), array)
            if head:
                yield head
        waiting += [(_join(where, key), item) for key, item in reversed(children) if _is_container(item)]


def _read_head(
    own: dict[str, Any], prefix: str, where: str, array: Callable[[Any], Optional[HostArray]]
) -> Optional[_Head]:
    anchors = array(own[f"{prefix}anchors"])
    if anchors is None or anchors.dtype.kind != "f" or anchors.ndim != 3 or anchors.shape[2] != 2 or not anchors.size:
        return None  # YOLOv8 has empty anchors, or the points of a grid
    stride = own.get(f"{prefix}stride")
    strides = np.asarray(stride) if _are_numbers(stride) else array(stride)
    grid = array(own.get(f"{prefix}anchor_grid"))  # a list in newer YOLOv5 versions, which is a cache
    return _Head(
        make_printable(where) or "the top level",
        anchors,
        strides if strides is not None and strides.shape == anchors.shape[:1] else None,
        grid.reshape(anchors.shape) if grid is not None and grid.size == anchors.size else None,
    )


def _are_numbers(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) < 100
        and all(type(item) in (int, float) and abs(item) < 1e9 for item in value)
    )


def _is_container(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple, Made))


def _join(where: str, key: str) -> str:
    """Return a name of at most 100 letters, to any depth of the file."""
    return ".".join(filter(None, (where, key)))[-100:]


# Units


def _find_strides(path: Path, head: _Head, given: Optional[Sequence[float]]) -> list[float]:
    """Return the stride of each layer: from the file, computed from anchor_grid, or given."""
    found = head.strides
    if found is None and head.grid is not None and not _are_close(head.anchors, head.grid):
        ratio = head.grid.astype(np.float64) / head.anchors
        found = np.median(ratio, axis=(1, 2))
        if not (np.abs(ratio / found[:, None, None] - 1) <= _HALF).all():
            raise ModelError(f"{path}: anchor_grid is not a multiple of anchors in each layer of {head.where}.")
        found = np.where(np.abs(np.rint(found) / found - 1) <= _HALF, np.rint(found), found)
    if found is None and given is None:
        raise ModelError(
            f"{path}: {head.where} has {_shorten(head.anchors)} in units of strides that the file does not contain: "
            "it has neither stride nor an anchor_grid in pixels. "
            f"Pass strides= (--strides) of its {len(head.anchors)} layers, for example 8 16 32."
        )
    strides = [float(stride) for stride in (found if found is not None else given or ())]
    if given is not None and strides != [float(stride) for stride in given]:
        raise ModelError(f"{path} has strides {strides}, got {list(given)}. Do not pass strides.")
    if len(strides) != len(head.anchors) or not all(0 < stride < 1e5 for stride in strides):
        raise ModelError(f"{path}: {len(head.anchors)} layers need as many strides > 0, got {strides}.")
    return strides


def _convert_to_pixels(head: _Head, strides: list[float]) -> tuple[HostArray, str, list[str]]:
    """Return anchors (L, A, 2) float32 in pixels, the unit in the file, and notes."""
    scale = np.asarray(strides, np.float32)[:, None, None]
    anchors = head.anchors.astype(np.float32)
    if head.grid is None:
        return anchors * scale, "grid", []
    grid = head.grid.astype(np.float32)
    if _are_close(anchors, grid) and not (scale == 1).all():
        return anchors, "pixels", []
    if head.strides is None:  # the strides were computed from anchor_grid
        return grid, "grid", []
    notes = [] if _are_close(anchors * scale, grid) else ["anchor_grid has other anchors; the loss uses these"]
    return anchors * scale, "grid", notes


def _are_close(anchors: HostArray, grid: HostArray) -> bool:
    return np.allclose(anchors, grid, rtol=_HALF, atol=0)


def _shorten(layers: HostArray) -> str:
    return str(layers.tolist())[:200]
