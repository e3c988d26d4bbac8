"""List the formats of model files, and parse a file in one of them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Optional

import yaml

from anchorlib.arrays import check_one_of
from anchorlib.errors import ModelError
from anchorlib.files import RefusedFileError, is_folder, read_regular
from anchorlib.modelfiles.anchor_free import describe_anchor_free
from anchorlib.modelfiles.formats.darknet import DarknetDocument
from anchorlib.modelfiles.formats.document import Document
from anchorlib.modelfiles.formats.json import JsonDocument
from anchorlib.modelfiles.formats.mmdet import MmdetDocument
from anchorlib.modelfiles.formats.paddle import PaddleDocument
from anchorlib.modelfiles.formats.text import TextDocument
from anchorlib.modelfiles.formats.yolo import YoloDocument

_CLASSES: tuple[type[Document], ...] = (
    YoloDocument,
    DarknetDocument,
    MmdetDocument,
    PaddleDocument,
    JsonDocument,
    TextDocument,
)
DOCUMENTS = {document.format: document for document in _CLASSES}
FORMATS = tuple(DOCUMENTS)
SUFFIXES = {suffix: document.format for document in _CLASSES for suffix in document.suffixes}

_MAX_BYTES = 2**20  # a model file is a few kilobytes; Python 3.9 takes seconds for a number of a million digits

#: Weights and exported models, which have no anchors in a form that can be read -> the file that has them.
_EXPORTED = {
    ".weights": "the .cfg of the model",
    **dict.fromkeys((".onnx", ".engine", ".tflite", ".torchscript", ".mlmodel"), "the checkpoint that was exported"),
    **dict.fromkeys((".h5", ".hdf5", ".keras", ".pb"), "a .txt or .json file with the anchors"),
    ".pdparams": "the .yml of the model",
    ".safetensors": "the .yaml or .py of the model, or its .pt",
}

#: What a parser raises. TypeError, LookupError, AttributeError: PyYAML's constructors, and lists of another structure.
#: MemoryError: Python's parser, for a million minus signs.
UNREADABLE = (
    ValueError, SyntaxError, OverflowError, RecursionError, TypeError, LookupError, AttributeError, MemoryError,
    yaml.YAMLError,
)  # fmt: skip


def choose_format(path: Path, format: Optional[str]) -> str:
    """Return the format that is given or that the suffix selects; ModelError for an unknown suffix."""
    if format is not None:
        check_one_of("format", format, FORMATS)
    format = format or SUFFIXES.get(path.suffix.lower())
    if is_folder(path):
        raise ModelError(f"{path}: expected a file of anchors, got a folder. Pass the file of a model in it.")
    if format is None and path.suffix.lower() in _EXPORTED:
        other = _EXPORTED[path.suffix.lower()]
        raise ModelError(f"{path}: anchors are not read from {path.suffix} files. Pass {other}.")
    if format is None:
        raise ModelError(
            f"{path}: unknown suffix {path.suffix!r}. Use {', '.join(SUFFIXES)}, or pass format= (--format). "
            "Checkpoints can be read, but not written."
        )
    return format


def parse_file(path: Path, format: str) -> Document:
    """Read and parse a file. Bytes that are not UTF-8 (in a comment) become surrogates and are written back."""
    try:
        text = read_regular(os.fspath(path), _MAX_BYTES).decode("utf-8", "surrogateescape")
    except RefusedFileError as error:
        raise ModelError(f"{path}: expected a file of anchors, got {error}.") from error
    try:
        return DOCUMENTS[format].parse(text)
    except UNREADABLE as error:
        other = describe_anchor_free(path, [text]) or _describe_data_set(path, text)
        raise ModelError(other or f"{path} is not a {format} file with anchors: {error}") from error


def _describe_data_set(path: Path, text: str) -> Optional[str]:
    """Return a sentence if the text is that of a data set; otherwise None."""
    keys = set(re.findall(r"^(\w+) *:", text, re.MULTILINE)) if path.suffix.lower() in (".yaml", ".yml") else set()
    keys |= {"images"} if re.search(r'"annotations" *:', text) and re.search(r'"images" *:', text) else set()
    if not keys & {"train", "val", "images"} or "anchors" in keys:
        return None
    return f"{path} is a data set, not a model: it has no anchors. Pass it as DATA, and here the file of a model."
