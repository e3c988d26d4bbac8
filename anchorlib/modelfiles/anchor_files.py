"""Anchors in files that people write. A format is a module of this folder with these functions, and a row below.

find(text) -> Found                 the layers that a text holds, in its order
edits(text, layers) -> list[Edit]   the changes that put other layers there, in its order and unit
rest(text) -> Any                   all else that the text says, to be compared
new(layers) -> str                  the text of a new file, from the layer of the smallest stride on
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import yaml

from anchorlib.arrays import HostArray, check_one_of, check_shape_wh
from anchorlib.atomic import write_atomically
from anchorlib.errors import BadValueError, ModelError
from anchorlib.files import RefusedFileError, read_regular
from anchorlib.layers import are_largest_first
from anchorlib.modelfiles.checkpoint.reader import may_be_checkpoint, read_checkpoint
from anchorlib.modelfiles.formats import darknet, json, mmdet, paddle, yolo
from anchorlib.modelfiles.formats.text_edit import Found, Texts, number_text, splice, unified_diff

_FORMATS: dict[str, Any] = {
    "yolo": yolo,
    "darknet": darknet,
    "mmdet": mmdet,
    "paddle": paddle,
    "json": json,
}
FORMATS = tuple(_FORMATS)
_SUFFIXES = {".yaml": "yolo", ".yml": "yolo", ".cfg": "darknet", ".py": "mmdet", ".json": "json"}

_PathLike = Union[str, "os.PathLike[str]"]
_MAX_BYTES = 16 * 2**20  # a model file is a few kilobytes
_BOM = "\ufeff"


class AnchorFile(NamedTuple):
    """What a file holds, the layer of the smallest anchors first.

    form : one of FORMATS
    layers : for each layer (A, 2) float32, pixels; None for a YOLOv5 file that holds only their number (`anchors: 3`)
    counts : how many anchors each layer has, or is to have
    unit : pixels of what the file counts in: 32 for darknet's [region], else 1
    """

    form: str
    layers: Optional[list[HostArray]]
    counts: list[int]
    unit: float


def split_layers(anchors: HostArray, counts: Optional[Sequence[int]] = None) -> list[HostArray]:
    """Anchors sorted by area, in layers: the given counts, or layers of three where that goes evenly, else one.

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


def format_anchors(layers: Sequence[HostArray], form: str) -> str:
    """The text of a file with these anchors. Numbers have the digits that make them the same float32 when read back.

    Parameters
    ----------
    layers : for each layer, the one of the smallest stride first, (A, 2) in pixels
    form : "yolo", "darknet", "mmdet", "paddle" or "json"

    Raises
    ------
    ModelError : no layers, or one that is no list of sides > 0

    Examples
    --------
    >>> print(format_anchors([np.asarray([[10, 13], [16, 30]], np.float32)], "yolo"), end="")
    anchors:
      - [10,13, 16,30]
    """
    check_one_of("format", form, FORMATS)
    if not len(layers):
        raise ModelError("layers must be at least one, got none.")
    text: str = _FORMATS[form].new(_texts([_checked_layer(f"layers[{i}]", layer) for i, layer in enumerate(layers)]))
    return text


def write_anchors(
    path: _PathLike, layers: Sequence[HostArray], form: Optional[str] = None, *, dry_run: bool = False
) -> str:
    """Write anchors to a new file, atomically. Without a format, the suffix says it: .yaml, .cfg, .py or .json.

    Returns
    -------
    What was written, or with `dry_run` would be, as a unified diff.

    Raises
    ------
    ModelError : the suffix says nothing, there is a file of that name (see `edit_anchors`), or as for `format_anchors`;
        OSError
    """
    form = format_of_new_file(path, form)
    text = format_anchors(layers, form)
    if not dry_run:
        write_atomically(path, text.encode())
    return unified_diff(str(path), "", text)


def format_of_new_file(path: _PathLike, form: Optional[str] = None) -> str:
    """The format that `write_anchors` would write; its errors, before the work of a fit is done."""
    path = Path(path)
    form = _form_of(path, form)
    if path.exists():
        raise ModelError(f"{path} exists already and is left as it is. Name a new file, or use edit_anchors.")
    if not path.parent.is_dir():
        raise ModelError(f"{path}: there is no folder {path.parent}. Make it first.")
    return form


def edit_anchors(
    path: _PathLike, layers: Sequence[HostArray], form: Optional[str] = None, *, dry_run: bool = False
) -> str:
    """Put anchors in the place of those that a model file holds; all else in it stays as it is, to the byte.

    The new text is read again before it is written: it must hold these anchors, and nothing else may have changed. The
    file is replaced atomically, with its mode; a symlink stays and its target is replaced; a file with further hard
    links is parted from them, and they keep the old content.

    Parameters
    ----------
    path : a model yaml of YOLOv5 or YOLOv7, darknet .cfg, MMDetection or MMYOLO config, PaddleDetection yaml, JSON
    layers : for each layer (A, 2), pixels; as many layers as the file has. They are written in the file's order, of
        layers that grow or that shrink. Numbers have the digits that make them the same float32 when read back.
    form : one of FORMATS, where the suffix does not say it
    dry_run : write nothing

    Returns
    -------
    The change as a unified diff; "" where there is none.

    Raises
    ------
    ModelError : the file has no anchors, other layers, or something that cannot be changed for sure (a YAML alias, a
        darknet layer whose filters= are made for another number); it is left as it is. OSError
    """
    path = Path(path)
    form, old, found = _find(path, form)
    layers = [_checked_layer(path, layer) for layer in layers]
    if len(layers) != len(found.counts):
        raise ModelError(
            f"{path} has {len(found.counts)} layers and its model takes no other number; got {len(layers)}."
        )
    old_layers = None if found.layers is None else [_checked_layer(path, layer) for layer in found.layers]
    if are_largest_first(layers) != (old_layers is not None and are_largest_first(old_layers)):
        layers = layers[::-1]
    try:
        new = _edited(_FORMATS[form], old, layers, found.unit)
    except _UNREADABLE as error:
        raise ModelError(f"{path} is left as it is: {error}.") from error
    if new != old and not dry_run:
        write_atomically(path, new.encode("utf-8", "surrogateescape"))
    return unified_diff(
        str(path), *(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in (old, new))
    )


def _edited(module: Any, old: str, layers: Sequence[HostArray], unit: float) -> str:
    """The content with these layers. Read again it must hold them, need no edit more, and say all else as before."""
    texts, readable = _texts(layers, unit), _readable(old)
    new = _mark(old) + splice(old[len(_mark(old)) :], module.edits(readable, texts))
    again = _readable(new)
    got = module.find(again).layers or []
    is_same = len(got) == len(layers) and all(
        np.array_equal(np.asarray(mine, np.float32), layer) for mine, layer in zip(got, layers)
    )
    if not is_same or module.edits(again, texts) or module.rest(again) != module.rest(readable):
        raise ValueError("the anchors would not be read back as they are meant; write them by hand")
    return new


def open_anchors(path: _PathLike, form: Optional[str] = None) -> AnchorFile:
    """What a file holds, as it can be edited: see `AnchorFile`.

    Raises
    ------
    ModelError : not such a file, or no usable anchors in it; OSError
    """
    path = Path(path)
    form, _, found = _find(path, form)
    if found.layers is None:
        return AnchorFile(form, None, found.counts, found.unit)
    layers = [_checked_layer(path, layer) for layer in found.layers]
    if are_largest_first(layers):
        layers.reverse()
    return AnchorFile(form, layers, [len(layer) for layer in layers], found.unit)


def read_anchors(path: _PathLike) -> list[HostArray]:
    """The anchors in a file, for each layer (A, 2) float32, pixels, the layer of the smallest anchors first.

    YOLOv5 and YOLOv7 model yaml, darknet cfg, MMDetection and MMYOLO configs, PaddleDetection yaml, JSON, or a
    checkpoint of PyTorch or OneFlow. A file without layers (JSON with one list) is one layer. Nothing in it is run.

    Raises
    ------
    ModelError : not such a file, or no usable anchors in it; OSError
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES and may_be_checkpoint(path):
        return read_checkpoint(path).by_stride()
    layers = open_anchors(path).layers
    if layers is None:
        raise ModelError(
            f"{path} holds the number of anchors, and none of them. Fit some: anchorlib fit DATA --out {path}"
        )
    return layers


# TypeError, LookupError, AttributeError: what PyYAML's constructors let through, and lists in another form.
# MemoryError: what Python's parser says to a million minus signs.
_UNREADABLE = (
    ValueError, SyntaxError, OverflowError, RecursionError, TypeError, LookupError, AttributeError, MemoryError,
    yaml.YAMLError,
)  # fmt: skip


def _find(path: Path, form: Optional[str]) -> tuple[str, str, Found]:
    """A file's format (YAML is PaddleDetection's or YOLO's), its content, and the anchors found in that."""
    form = _form_of(path, form)
    content = _read_text(path)
    try:
        text = _readable(content)
        if form == "yolo" and paddle.is_one(text):
            form = "paddle"
        return form, content, _FORMATS[form].find(text)
    except _UNREADABLE as error:
        raise ModelError(f"{path} is no {form} file with anchors: {error}") from error


def _form_of(path: Path, form: Optional[str]) -> str:
    if form is not None:
        check_one_of("format", form, FORMATS)
    form = form or _SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise ModelError(
            f"{path}: anchors are read from, and written to, {', '.join(_SUFFIXES)} files, and read from checkpoints; "
            "name the format of another."
        )
    return form


def _read_text(path: Path) -> str:
    """Read a file as text. Bytes that are not UTF-8 (in a comment) are kept as surrogates and written back."""
    try:
        return read_regular(os.fspath(path), _MAX_BYTES).decode("utf-8", "surrogateescape")
    except RefusedFileError as error:
        raise ModelError(f"{path}: expected a file of anchors, got {error}.") from error


def _mark(content: str) -> str:
    return _BOM if content.startswith(_BOM) else ""


def _readable(content: str) -> str:
    """The text for a parser: without a byte order mark, and with one character that all take for a byte of no UTF-8."""
    text = content[len(_mark(content)) :]
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _texts(layers: Sequence[HostArray], unit: float = 1.0) -> list[Texts]:
    return [[(number_text(w / unit), number_text(h / unit)) for w, h in layer] for layer in layers]


def _checked_layer(path: Union[str, Path], layer: Any) -> HostArray:
    """(A, 2) float32, with sides that can be."""
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which is refused below
        array = np.asarray(layer, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 2 or not array.size:
        raise ModelError(f"{path}: a layer of anchors must be pairs (w, h), got shape {array.shape}.")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ModelError(f"{path}: every side of an anchor must be finite and > 0, got {array.tolist()}.")
    return array
