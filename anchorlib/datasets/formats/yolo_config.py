"""Read a data.yaml: its splits, class names and key points, with the mistakes that people make in it."""

from __future__ import annotations

import os
import re
from typing import Any, Optional

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.io.files import MEGABYTE, read_logged, shorten
from anchorlib.datasets.io.text import guess_text
from anchorlib.errors import DatasetError
from anchorlib.safe_yaml import load_yaml

YAML_LIMIT = 4 * MEGABYTE
MAX_NAMES = 100_000  # classes that a mapping of names may number
YAML_SUFFIXES = (".yaml", ".yml")
SPLITS = ("train", "val", "test")
#: Names of the validation split that YOLOv5 does not know.
VAL_NAMES = ("valid", "validation", "validate")
_LONGEST_PATH = 4096  # characters; PATH_MAX of Linux
_BACKSLASH = "a backslash in double quotes starts an escape; use / in paths, or single quotes"
_NOT_YAML = re.compile("[\x80-\x84\x86-\x9f\ufffe\uffff]")  # letters of Latin-1 that YAML does not allow


def load_config(path: str, problems: Optional[list[Problem]] = None) -> dict[str, Any]:
    """Load a data.yaml as a dict with the safe loader; DatasetError. Remarks are added to `problems`."""
    remarks = [] if problems is None else problems
    try:
        text, remark = guess_text(read_logged(path, YAML_LIMIT))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if remark:
        text = _NOT_YAML.sub("\ufffd", text)
        remarks.append(Problem("encoding", path, None, "", "read", remark))
    try:
        config = load_yaml(text)
    except ValueError as error:
        raise DatasetError(f"{path}: not a YAML file that is safe to read: {error}.{_hint(text, error)}") from error
    if not isinstance(config, dict):
        raise DatasetError(f"{path}: expected a mapping with train, val and names, got {shorten(config)}.")
    other = next((name for name in VAL_NAMES if config.get(name)), None)
    if other and not config.get("val"):
        config["val"] = config[other]
        message = f"{other} is not a key that YOLOv5 reads, val is; used as val"
        remarks.append(Problem("path", path, None, other, "read", message))
    return config


def _hint(text: str, error: ValueError) -> str:
    """Return the likely cause of a broken .yaml file as a sentence, or ''."""
    if "tag:yaml.org,2002:merge" in str(error):
        return " Merge keys (<<) are not read: write the keys themselves."
    return f" In it, {_BACKSLASH}." if re.search(r'"[^"\n]*\\[^"\n]*"', text) else ""


def is_data_config(path: str) -> bool:
    """Return True if a .yaml file has a split with images, or cannot be read; False for hyperparameters and models."""
    try:
        config = load_config(path)
    except DatasetError:
        return True
    return any(isinstance(config.get(name), (str, list)) for name in SPLITS)


def wanted_splits(path: str, config: dict[str, Any], split: str) -> list[str]:
    """Return the keys of the splits to read; DatasetError."""
    there = [name for name in SPLITS if config.get(name)]
    if split == "all" and there:
        return there
    if split not in there:
        if not there and {"anchors", "backbone", "head"} & set(map(str, config)):
            raise DatasetError(
                f"{path} is the file of a model, not of a data set. Pass the data.yaml here, and this file as --out or "
                "--anchors (in Python: refit, read_anchors)."
            )
        raise DatasetError(
            f"{path}: looked for the split {split!r}, found {', '.join(there) or 'no split'}. "
            f"Its keys are {shorten(sorted(map(str, config)))}."
        )
    return [split]


def check_entry(path: str, split: str, entry: object) -> str:
    """Return the path of a split; DatasetError if it is not a path."""
    if not isinstance(entry, str) or not entry:
        raise DatasetError(f"{path}: {split} must be a path or a list of paths, got {shorten(entry)}.")
    _check_length(path, split, entry)
    if any(mark < " " and mark != "\0" for mark in entry):
        raise DatasetError(f"{path}: {split} is {shorten(entry)}: {_BACKSLASH}.")
    return entry


def _check_length(path: str, key: str, entry: str) -> None:
    if len(entry) > _LONGEST_PATH:
        raise DatasetError(f"{path}: {key} has {len(entry)} characters; a path has at most {_LONGEST_PATH}.")


def roots_of(path: str, config: dict[str, Any]) -> list[str]:
    """Return the folders that entries may be relative to: `path` from the yaml, `path` from here, the yaml's, here."""
    here = os.path.dirname(path) or os.curdir
    root = config.get("path")
    if isinstance(root, str):
        _check_length(path, "path", root)
    roots = [os.path.join(here, root), os.path.join(os.curdir, root)] if isinstance(root, str) and root else []
    return list(dict.fromkeys([*roots, here, os.curdir]))


def class_names_of(path: str, config: dict[str, Any]) -> tuple[str, ...]:
    """Return the class names; DatasetError if they are not a list or a mapping from class numbers.

    A number that a mapping leaves out is its own name: {1: cat, 2: dog} has the names 0, cat and dog.
    """
    names = config.get("names") or []
    if isinstance(names, dict):
        names = {int(key) if str(key).isdecimal() and len(str(key)) < 10 else key: name for key, name in names.items()}
        if not all(type(key) is int and 0 <= key < MAX_NAMES for key in names):
            message = f"names must be numbered from 0 to at most {MAX_NAMES - 1}, got {shorten(names)}"
            raise DatasetError(f"{path}: {message}.")
        names = [names.get(number, str(number)) for number in range(max(names) + 1)]
    if not isinstance(names, list) or any(isinstance(name, (list, dict, tuple, set)) for name in names):
        raise DatasetError(f"{path}: names must be a list, or a mapping of numbers to names, got {shorten(names)}.")
    return tuple(map(str, names))


def count_classes(config: dict[str, Any], names: tuple[str, ...]) -> Optional[int]:
    """Return nc, or the number of names; None if neither is known."""
    count = config.get("nc")
    if isinstance(count, str) and count.isdecimal() and len(count) < 10:
        count = int(count)
    return count if isinstance(count, int) and count > 0 else len(names) or None


def keypoints_of(path: str, config: dict[str, Any]) -> tuple[int, int] | None:
    """Return kpt_shape as (points, values per point), or None; DatasetError."""
    shape = config.get("kpt_shape")
    if shape is None:
        return None
    whole = isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) and 0 < n < 1000 for n in shape)
    if not whole:
        raise DatasetError(f"{path}: kpt_shape must be [points, values per point], got {shorten(shape)}.")
    return shape[0], shape[1]
