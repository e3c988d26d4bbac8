"""Read and write the anchors in model files that people edit. `formats/document.py` says how to add a format."""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar, Union

import numpy as np

from anchorlib.arrays import HostArray, check_one_of, check_shape_wh
from anchorlib.atomic import FileChangedError, write_atomically
from anchorlib.errors import BadValueError, ModelError
from anchorlib.files import is_folder, is_regular, status_of
from anchorlib.layers import are_largest_first, describe_reversal, sort_in_layers
from anchorlib.modelfiles.anchor_free import describe_anchor_free_name
from anchorlib.modelfiles.checkpoint.reader import may_be_checkpoint, read_checkpoint
from anchorlib.modelfiles.formats.darknet import DarknetDocument
from anchorlib.modelfiles.formats.document import Document, format_layers
from anchorlib.modelfiles.formats.registry import DOCUMENTS, FORMATS, SUFFIXES, UNREADABLE, choose_format, parse_file
from anchorlib.modelfiles.formats.text_edit import format_diff

_Function = TypeVar("_Function", bound=Callable[..., Any])
_PathLike = Union[str, "os.PathLike[str]"]


def _accept_form(function: _Function) -> _Function:
    """Accept `form=`, the name of `format=` in earlier versions."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if "form" in options:
            if "format" in options:
                raise TypeError("format and form are two names of one argument; pass only format.")
            options["format"] = options.pop("form")
        return function(*args, **options)

    return call  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class AnchorFile:
    """Describe the anchors in a model file, the layer of the smallest anchors first.

    Attributes
    ----------
    path : the file
    format : one of FORMATS; `form` is another name for it
    layers : for each layer (A, 2) float32, pixels; None for a YOLOv5 file with only their number (`anchors: 3`)
    counts : the number of anchors that each layer has, or is to have
    unit : the number of pixels in the file's unit of length: 32 for darknet's [region], otherwise 1
    """

    path: str
    format: str
    layers: Optional[list[HostArray]]
    counts: list[int]
    unit: float
    _document: Document = field(repr=False)
    _is_reversed: bool = field(repr=False)  # the file has the largest anchors first

    @property
    def form(self) -> str:
        """Return the format: its name in earlier versions."""
        return self.format

    @property
    def strides(self) -> Optional[list[float]]:
        """Return the pixels per cell of each layer, ascending; None if the file does not tell them.

        YOLOv5 and YOLOv7 write them in comments (`# P3/8`). Without comments, three layers have the strides 8, 16 and
        32, as in YOLOv3 to YOLOv7, and two layers 16 and 32, as in the tiny models.
        """
        named = [float(stride) for stride in re.findall(r"#\s*P\d/(\d+)\b", self._document.text)]
        steps = sorted(dict.fromkeys(named))
        if len(steps) == len(self.counts):
            return steps
        return None if steps else usual_strides(len(self.counts))

    def check_counts(self, counts: Sequence[int]) -> None:
        """Check that `edit_anchors` can write these numbers of anchors, the layer of the smallest anchors first.

        Raises
        ------
        ModelError : the model needs other numbers, or the file has something that cannot be changed safely
        """
        try:
            self._document.check_counts(list(counts)[::-1] if self._is_reversed else list(counts))
        except ValueError as error:
            raise ModelError(f"{self.path} is not changed: {error}.") from error


def usual_strides(n_layers: int) -> Optional[list[float]]:
    """Return the strides that models with this number of layers have: 8, 16, 32 for three, 16, 32 for two, else None.

    >>> usual_strides(3)
    [8.0, 16.0, 32.0]
    """
    return {3: [8.0, 16.0, 32.0], 2: [16.0, 32.0]}.get(n_layers)


def choose_usual_strides(counts: Sequence[int]) -> Optional[list[float]]:
    """Return the strides 8, 16 and 32 for three layers, and for nine anchors that are not divided; else None.

    counts : the number of anchors of each layer, or one number for all layers

    >>> choose_usual_strides([9]), choose_usual_strides([4, 4])
    ([8.0, 16.0, 32.0], None)
    """
    return usual_strides(3) if list(counts) == [9] or len(counts) == 3 else None


def read_strides(path: _PathLike) -> Optional[list[float]]:
    """Read the strides of the layers of a model file or checkpoint, ascending; None if it does not tell them.

    The errors are those of `read_anchors`.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES and may_be_checkpoint(path):
        return sorted(read_checkpoint(path).strides)
    return open_anchors(path).strides


def split_layers(anchors: HostArray, counts: Optional[Sequence[int]] = None) -> list[HostArray]:
    """Split anchors into layers: the given counts, or layers of three if the number is a multiple of three, or one.

    Parameters
    ----------
    anchors : (K, 2) float, sorted by area
    counts : the number of anchors of each layer

    Raises
    ------
    ShapeError; BadValueError : the counts do not add up to K

    Examples
    --------
    >>> [len(layer) for layer in split_layers(np.ones((6, 2)))], [len(layer) for layer in split_layers(np.ones((5, 2)))]
    ([3, 3], [5])
    """
    check_shape_wh(anchors=anchors)
    if counts is None:
        counts = [3] * (len(anchors) // 3) if len(anchors) % 3 == 0 else [len(anchors)]
    if sum(counts) != len(anchors):
        raise BadValueError(f"layers of {list(counts)} anchors need {sum(counts)} in all, got {len(anchors)}.")
    ends = np.cumsum(counts)
    return [anchors[end - count : end] for end, count in zip(ends, counts)]


@_accept_form
def format_anchors(layers: Sequence[HostArray], format: str) -> str:
    """Return the text of a file with these anchors. Its numbers read back as the same float32.

    Parameters
    ----------
    layers : for each layer, the one of the smallest stride first, (A, 2) in pixels
    format : "yolo", "darknet", "mmdet", "paddle", "json" or "text"

    Raises
    ------
    ModelError : no layers, or a layer that is not a list of pairs with finite sides > 0
    BadValueError : an unknown format

    Examples
    --------
    >>> print(format_anchors([np.asarray([[10, 13], [16, 30]], np.float32)], "yolo"), end="")
    anchors:
      - [10,13, 16,30]
    """
    check_one_of("format", format, FORMATS)
    if not len(layers):
        raise ModelError("layers must be at least one, got none.")
    return DOCUMENTS[format].new_text(
        format_layers([_check_layer(f"layers[{i}]", layer) for i, layer in enumerate(layers)])
    )


@_accept_form
def write_anchors(
    path: _PathLike, layers: Sequence[HostArray], format: Optional[str] = None, *, dry_run: bool = False
) -> str:
    """Write anchors to a new file, atomically.

    Parameters
    ----------
    path : a file that does not exist yet; see `edit_anchors` for one that does
    layers : for each layer, the one of the smallest stride first, (A, 2) in pixels. In a YOLOv5 file, the anchors of
        a layer are sorted by area if a fork would otherwise reverse the layers.
    format : one of FORMATS; by default the suffix selects it: .yaml, .cfg, .py, .json or .txt
    dry_run : do not write

    Returns
    -------
    The change as a unified diff.

    Raises
    ------
    ModelError : the suffix is unknown, the file exists (also if another process makes it at the same time), or as for
        `format_anchors`; OSError

    Warns
    -----
    UserWarning : some forks would reverse the layers of this YOLOv5 file; see docs/migrate.md
    """
    format = format_of_new_file(path, format)
    layers = [_check_layer(f"layers[{i}]", layer) for i, layer in enumerate(layers)]
    text = format_anchors(_arrange_for_forks(path, format, layers), format)
    if not dry_run:
        _write(path, text.encode(), new=True)
    return format_diff(str(path), "", text)


@_accept_form
def format_of_new_file(path: _PathLike, format: Optional[str] = None) -> str:
    """Return the format that `write_anchors` would write, or raise its errors, before anchors are fitted."""
    path = Path(path)
    format = choose_format(path, format)
    if status_of(path) is not None:
        raise ModelError(f"{path} exists already and is not changed. Name a new file, or use edit_anchors.")
    if not is_folder(path.parent):
        raise ModelError(f"{path}: there is no folder {path.parent}. Make it first.")
    if anchor_free := describe_anchor_free_name(path):
        raise ModelError(anchor_free)
    return format


@_accept_form
def edit_anchors(
    path: _PathLike, layers: Sequence[HostArray], format: Optional[str] = None, *, dry_run: bool = False
) -> str:
    """Replace the anchors in a model file; everything else in the file stays as it is, to the byte.

    The new text is parsed before it is written: it must hold these anchors, and everything else must be the same. The
    file is replaced atomically; it keeps its mode and, where the system allows it, its owner and extended attributes. A
    symlink stays, and its target is replaced. Other hard links of the file keep the old content. A file that another
    program changed in the meantime is not replaced.

    Parameters
    ----------
    path : a model YAML of YOLOv5 or YOLOv7, darknet .cfg, MMDetection or MMYOLO config, PaddleDetection YAML, JSON, or
        text of numbers (darknet's anchors.txt, yolo_anchors.txt)
    layers : for each layer (A, 2), pixels; as many layers as the file has. They are written in the direction of the
        file, largest or smallest anchors first. Their numbers read back as the same float32. In a YOLOv5 file, the
        anchors of a layer are sorted by area if a fork would otherwise reverse the layers.
    format : one of FORMATS; by default the suffix selects it
    dry_run : do not write

    Returns
    -------
    The change as a unified diff; "" if there is none.

    Raises
    ------
    ModelError : the file has no anchors, another number of layers, or something that cannot be changed safely (a YAML
        alias, a darknet layer whose filters= are made for another number of anchors), or another program changed it;
        it is not changed. OSError

    Warns
    -----
    UserWarning : some forks would reverse the layers of this YOLOv5 file; see docs/migrate.md
    """
    file = open_anchors(path, format)
    layers = [_check_layer(path, layer) for layer in layers]
    if layers and are_largest_first(layers) != file._is_reversed:
        layers = layers[::-1]
    if not _is_same(file._document.layers or [], layers):
        layers = _arrange_for_forks(path, file.format, layers)
    old = file._document.source
    try:
        new = _replace_and_check(file._document, layers)
    except UNREADABLE as error:
        raise ModelError(f"{path} is not changed: {error}.") from error
    if new != old and not dry_run:
        _write(path, _encode(new), old=_encode(old))
    return format_diff(str(path), *(_encode(text).decode("utf-8", "replace") for text in (old, new)))


def _replace_and_check(document: Document, layers: Sequence[HostArray]) -> str:
    """Return the text with these layers. Parsed again, it must hold them and say everything else as before."""
    new = document.replace(layers)
    again = document.parse(new)
    is_same = _is_same(again.layers or [], layers)
    missing = list(again.find_edits(format_layers(layers, again.unit)))  # in a list that no layer is read from
    if not is_same or missing or again.outline() != document.outline():
        raise ValueError("the anchors would not be read back as they are; write them by hand")
    return new


def _is_same(numbers: Sequence[Any], layers: Sequence[HostArray]) -> bool:
    """Return True if the numbers of a document are these layers, in float32."""
    return len(numbers) == len(layers) and all(
        np.array_equal(np.asarray(mine, np.float32), layer) for mine, layer in zip(numbers, layers)
    )


def _arrange_for_forks(path: _PathLike, format: str, layers: Sequence[HostArray]) -> Sequence[HostArray]:
    """Return layers in which no fork of YOLOv5 reverses the order, if sorting inside the layers suffices; else warn.

    Other formats are read by programs that do not reverse layers.
    """
    if format != "yolo" or describe_reversal(layers) is None:
        return layers
    directions = range(len(layers))[:: -1 if are_largest_first(layers) else 1]
    ordered = sort_in_layers(layers, directions)
    reversal = describe_reversal(ordered)
    if reversal is None:
        return ordered
    warnings.warn(f"{path}: {reversal}", UserWarning, stacklevel=4)
    return layers


@_accept_form
def open_anchors(path: _PathLike, format: Optional[str] = None) -> AnchorFile:
    """Read the anchors of a model file, with its format and what `edit_anchors` can change: see `AnchorFile`.

    Parameters
    ----------
    path : a model file that `edit_anchors` takes
    format : one of FORMATS; by default the suffix selects it

    Raises
    ------
    ModelError : not a model file, or no usable anchors in it; OSError
    """
    path = Path(path)
    if format is None and path.suffix.lower() not in SUFFIXES and may_be_checkpoint(path):
        read_checkpoint(path)  # if it cannot be read either, or has no anchors, this is said
    document = parse_file(path, choose_format(path, format))
    if document.layers is None:
        return AnchorFile(str(path), document.format, None, document.counts, document.unit, document, False)
    layers = [_check_layer(path, layer) for layer in document.layers]
    is_reversed = are_largest_first(layers)
    if is_reversed:
        layers.reverse()
    counts = [len(layer) for layer in layers]
    return AnchorFile(str(path), document.format, layers, counts, document.unit, document, is_reversed)


def read_anchors(path: _PathLike) -> list[HostArray]:
    """Read the anchors of a model file or checkpoint. Nothing in it is run.

    Parameters
    ----------
    path : a model YAML of YOLOv5 or YOLOv7, darknet cfg, MMDetection or MMYOLO config, PaddleDetection YAML, JSON, or a
        checkpoint of PyTorch or OneFlow

    Returns
    -------
    For each layer (A, 2) float32, pixels, the layer of the smallest anchors first. A file without layers (JSON with one
    list) is one layer.

    Raises
    ------
    ModelError : not such a file, or no usable anchors in it; OSError
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES and may_be_checkpoint(path):
        return read_checkpoint(path).by_stride()
    layers = open_anchors(path).layers
    if layers is None:
        raise ModelError(f"{path} holds only the number of anchors. Fit some: anchorlib fit DATA --out {path}")
    return layers


def _write(path: _PathLike, data: bytes, *, old: Optional[bytes] = None, new: bool = False) -> None:
    try:
        write_atomically(path, data, old=old, new=new)
    except FileChangedError as error:
        raise ModelError(f"{path} is not changed: {error}. Run the command again.") from error


def read_input_size(path: _PathLike, format: Optional[str] = None) -> Optional[tuple[int, int]]:
    """Return the width and height of the network's input, in pixels, if a darknet .cfg has them in [net]; else None.

    Raises
    ------
    ModelError : a .cfg that cannot be read, or has no anchors
    """
    path = Path(path)
    if (format or SUFFIXES.get(path.suffix.lower())) != DarknetDocument.format or not is_regular(path):
        return None
    document = parse_file(path, DarknetDocument.format)
    return document.input_size if isinstance(document, DarknetDocument) else None


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _check_layer(path: Union[str, _PathLike], layer: Any) -> HostArray:
    """Return a layer as (A, 2) float32; ModelError unless it has pairs with finite sides > 0."""
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite, which is refused below
        array = np.asarray(layer, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 2 or not array.size:
        raise ModelError(f"{path}: a layer of anchors must be pairs (w, h), got shape {array.shape}.")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ModelError(f"{path}: every side of an anchor must be finite and > 0, got {array.tolist()}.")
    return array
