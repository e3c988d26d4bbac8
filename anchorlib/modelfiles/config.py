"""Anchors in files that people write: YOLO yaml, darknet cfg, MMDetection config, JSON."""

from __future__ import annotations

import ast
import json
import os
import re
import reprlib
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, Optional, Union

import numpy as np

from anchorlib.arrays import HostArray, check_one_of
from anchorlib.errors import BadValueError, ModelError
from anchorlib.modelfiles.atomic import write_atomically
from anchorlib.modelfiles.checkpoint import may_be_checkpoint, read_checkpoint
from anchorlib.safe_yaml import load_yaml

_PathLike = Union[str, "os.PathLike[str]"]
_MAX_BYTES = 16 * 2**20  # a model file is a few kilobytes
_MAX_SIDES = 10_000  # of one layer


def split_layers(anchors: HostArray, counts: Optional[Sequence[int]] = None) -> list[HostArray]:
    """Anchors sorted by area, in layers: the given counts, or layers of three where that goes evenly, else one.

    >>> [len(layer) for layer in split_layers(np.ones((6, 2)))], [len(layer) for layer in split_layers(np.ones((5, 2)))]
    ([3, 3], [5])
    """
    if counts is None:
        counts = [3] * (len(anchors) // 3) if len(anchors) % 3 == 0 else [len(anchors)]
    if sum(counts) != len(anchors):
        raise BadValueError(f"layers of {list(counts)} anchors need {sum(counts)} in all, got {len(anchors)}.")
    ends = np.cumsum(counts)
    return [anchors[end - count : end] for end, count in zip(ends, counts)]


def format_anchors(layers: Sequence[HostArray], form: str) -> str:
    """The text of a file with these anchors. Numbers have the digits that make them the same float32 when read back.

    Parameters
    ----------
    layers : for each layer, the one of the smallest stride first, (A, 2) in pixels
    form : "yolo", "darknet", "mmdet" or "json"

    Examples
    --------
    >>> print(format_anchors([np.asarray([[10, 13], [16, 30]], np.float32)], "yolo"), end="")
    anchors:
      - [10,13, 16,30]
    """
    check_one_of("format", form, FORMATS)
    return _WRITERS[form]([[(_number(w), _number(h)) for w, h in layer] for layer in layers])


def write_anchors(path: _PathLike, layers: Sequence[HostArray], form: Optional[str] = None) -> str:
    """Write anchors to a new file, atomically. Without a format, the suffix says it: .yaml, .cfg, .py or .json.

    Returns
    -------
    The format that was written.

    Raises
    ------
    ModelError : the suffix says nothing, or there is a file of that name; OSError
    """
    form = format_of_new_file(path, form)
    write_atomically(path, format_anchors(layers, form).encode())
    return form


def format_of_new_file(path: _PathLike, form: Optional[str] = None) -> str:
    """The format that `write_anchors` would write; its errors, before the work of a fit is done."""
    path = Path(path)
    form = form or _SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise ModelError(f"{path}: the format must be named, or the suffix be one of {', '.join(_SUFFIXES)}.")
    if path.exists():
        raise ModelError(f"{path} exists already and is left as it is. Name a new file.")
    if not path.parent.is_dir():
        raise ModelError(f"{path}: there is no folder {path.parent}. Make it first.")
    return form


def read_anchors(path: _PathLike) -> list[HostArray]:
    """The anchors in a file, for each layer (A, 2) float32, pixels: YOLO yaml, darknet cfg, MMDetection or JSON.

    A file without layers (JSON with one list) is one layer. Of a checkpoint of PyTorch or OneFlow, a folder too, see
    `read_checkpoint`, the layer of the smallest stride comes first. Nothing in the file is run.

    Raises
    ------
    ModelError : not such a file, or no usable anchors in it; OSError
    """
    path = Path(path)
    form = _SUFFIXES.get(path.suffix.lower())
    if form is None and may_be_checkpoint(path):
        return read_checkpoint(path).by_stride()
    if form is None:
        raise ModelError(f"{path}: anchors are read from {', '.join(_SUFFIXES)} files and from checkpoints.")
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):  # opening a pipe would wait for its writer, for ever
        raise ModelError(f"{path} is a folder, pipe or device; anchors are read from regular files.")
    if info.st_size > _MAX_BYTES:
        raise ModelError(f"{path} has {info.st_size} bytes; a file of anchors has a few thousand.")
    try:
        found = _READERS[form](path.read_text(encoding="utf-8"))
    # TypeError, LookupError: lists in another form; MemoryError: what Python's parser says to a million minus signs.
    except (ValueError, SyntaxError, RecursionError, TypeError, LookupError, OverflowError, MemoryError) as error:
        raise ModelError(f"{path} is no {form} file with anchors: {error}") from error
    return [_checked_layer(path, layer) for layer in found]


def _checked_layer(path: Path, layer: Any) -> HostArray:
    """One layer: [[w, h], ...] or a flat [w, h, w, h, ...]."""
    if not _is_flat_or_pairs(layer):
        raise ModelError(f"{path}: a layer of anchors must be pairs of numbers, got {reprlib.repr(layer)[:80]}.")
    try:
        with np.errstate(over="ignore"):  # a side beyond float32 becomes inf, and is refused below
            array = np.asarray(layer, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{path}: a layer of anchors must be pairs of numbers, got {reprlib.repr(layer)[:80]}."
        ) from error
    if array.ndim == 1 and array.size % 2 == 0:
        array = array.reshape(-1, 2)
    if array.ndim != 2 or array.shape[1] != 2 or not array.size:
        raise ModelError(f"{path}: a layer of anchors must be pairs (w, h), got shape {array.shape}.")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ModelError(f"{path}: every side of an anchor must be finite and > 0, got {array.tolist()}.")
    return array


def _is_flat_or_pairs(layer: Any) -> bool:
    """Whether it is short enough to be walked: aliases of YAML make endless lists of lists of a kilobyte."""
    if not isinstance(layer, (list, tuple, np.ndarray)) or len(layer) > _MAX_SIDES:
        return False
    pairs = [part for part in layer if isinstance(part, (list, tuple, dict))]
    return all(len(pair) == 2 and not any(isinstance(side, (list, tuple, dict)) for side in pair) for pair in pairs)


def _number(side: float) -> str:
    """The shortest digits that read back as the same float32, without an exponent."""
    return np.format_float_positional(np.float32(side), trim="-")


_Texts = list[list[tuple[str, str]]]


def _write_yolo(layers: _Texts) -> str:
    rows = ["  - [" + ", ".join(f"{w},{h}" for w, h in layer) + "]\n" for layer in layers]
    return "anchors:\n" + "".join(rows)


def _read_yolo(text: str) -> Any:
    anchors = _named(load_yaml(text))
    return anchors if isinstance(anchors, list) and anchors and isinstance(anchors[0], list) else [anchors]


def _write_darknet(layers: _Texts) -> str:
    """A [yolo] section per layer, the largest stride first as in darknet's files, with all anchors and its mask."""
    anchors = ",  ".join(f"{w},{h}" for layer in layers for w, h in layer)
    num, sections, end = sum(map(len, layers)), [], sum(map(len, layers))
    for layer in reversed(layers):
        mask = ",".join(str(i) for i in range(end - len(layer), end))
        sections.append(f"[yolo]\nmask = {mask}\nanchors = {anchors}\nnum = {num}\n")
        end -= len(layer)
    return "\n".join(sections)


def _read_darknet(text: str) -> Any:
    """All anchors of the last section that has some, parted by the masks of all sections."""
    text = re.sub(r"[#;].*", "", text)
    lines = re.findall(r"^\s*anchors\s*=\s*(.+)$", text, re.MULTILINE)
    if not lines:
        raise ValueError("there is no line 'anchors = ...'")
    cell = 32.0 if re.search(r"^\s*\[region\]", text, re.MULTILINE) else 1.0  # YOLOv2 counts in cells of 32 pixels
    sides = [cell * float(side) for side in lines[-1].split(",") if side.strip()]
    anchors = np.asarray(sides).reshape(-1, 2)
    masks = [[int(i) for i in mask.split(",") if i.strip()] for mask in re.findall(r"^\s*mask\s*=\s*(.+)$", text, re.M)]
    if any(not 0 <= i < len(anchors) for mask in masks for i in mask):
        raise ValueError(f"a mask names an anchor beyond the {len(anchors)} there are")
    return [anchors[mask] for mask in sorted(masks)] or [anchors]


def _write_mmdet(layers: _Texts) -> str:
    rows = [", ".join(f"({w}, {h})" for w, h in layer) for layer in reversed(layers)]  # the largest stride first
    return "anchor_generator = dict(\n    base_sizes=[\n" + "".join(f"        [{row}],\n" for row in rows) + "    ])\n"


def _read_mmdet(text: str) -> Any:
    """`base_sizes=` of a call, or the `anchors = [...]` of MMYOLO's configs: literals only, nothing is run."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.keyword) and node.arg == "base_sizes" and isinstance(node.value, ast.List):
            return sorted(ast.literal_eval(node.value), key=_first_area)
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "anchors" for t in node.targets):
            return ast.literal_eval(node.value)
    raise ValueError("there is no base_sizes=[...] and no anchors = [...]")


def _first_area(layer: Any) -> float:
    return float(layer[0][0]) * float(layer[0][1])


def _write_json(layers: _Texts) -> str:
    rows = [", ".join(f"[{w}, {h}]" for w, h in layer) for layer in layers]
    return '{"anchors": [\n' + ",\n".join(f"  [{row}]" for row in rows) + "\n]}\n"


def _read_json(text: str) -> Any:
    anchors = _named(json.loads(text))
    in_layers = isinstance(anchors[0], list) and anchors[0] and isinstance(anchors[0][0], list)
    return anchors if in_layers else [anchors]


def _named(content: Any) -> Any:
    """What stands under `anchors`, or the list itself."""
    anchors = content.get("anchors") if isinstance(content, dict) else content
    if not isinstance(anchors, list) or not anchors:
        raise ValueError("there is no list 'anchors'")
    return anchors


_WRITERS: dict[str, Callable[[_Texts], str]] = {
    "yolo": _write_yolo,
    "darknet": _write_darknet,
    "mmdet": _write_mmdet,
    "json": _write_json,
}
_READERS: dict[str, Callable[[str], Any]] = {
    "yolo": _read_yolo,
    "darknet": _read_darknet,
    "mmdet": _read_mmdet,
    "json": _read_json,
}
_SUFFIXES = {".yaml": "yolo", ".yml": "yolo", ".cfg": "darknet", ".py": "mmdet", ".json": "json"}
FORMATS = tuple(_WRITERS)
