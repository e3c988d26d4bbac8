"""Decide which format a data set has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Optional

from anchorlib.arrays import check_one_of
from anchorlib.datasets.formats import FORMATS, Format
from anchorlib.datasets.io.file_log import is_folder, is_lasting
from anchorlib.datasets.io.files import LIST_LIMIT, list_folder, open_logged, walk
from anchorlib.datasets.unread_formats import name_unread
from anchorlib.errors import DatasetError
from anchorlib.files import RefusedFileError

_XML_ADVICE = " For Pascal VOC pass the folder that holds Annotations."
_SINGLE_FILES = (".json", ".csv", ".xml", ".txt")
_LABEL_FILES = (*_SINGLE_FILES, ".yaml", ".yml", ".data")
_USUAL = ("yolo", "voc", "coco", "darknet")  # the formats that a message describes
_ANY_CONTENT = ("coco", "darknet")  # these take any .json or .txt
_MOST_FILES = 100  # of a folder, that are opened
_DEPTH = 3  # levels of folders that are searched for a data set
_MOST_NAMES = 8  # of a folder's files, in a message


def check_format(name: Optional[str]) -> None:
    """Check that this is the name of a format, or None; BadValueError."""
    if name is not None:
        check_one_of("format", name, tuple(known.name for known in FORMATS))


def find_format(path: str, name: Optional[str] = None) -> tuple[Format, str]:
    """Return the format of a data set and the path that its reader takes.

    `name` is the name of a format; with None the format is recognised. A file of a named format is taken with any
    suffix. DatasetError if the path does not exist or has no known format.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise DatasetError(f"{path}: there is no such file or folder.") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}.") from error
    formats = [known for known in FORMATS if name in (None, known.name)]
    for known in formats:
        found = known.find(path)
        if found is not None and (name or known.name not in _ANY_CONTENT or is_folder(path) or not name_unread(path)):
            return known, found
    if name is not None and not is_folder(path):
        return formats[0], path
    inside = _find_inside(path, formats) or _find_below(path, formats)
    if len(inside) == 1:
        return inside[0]
    if inside:
        names = ", ".join(os.path.relpath(found, path) for _, found in inside[:_MOST_NAMES])
        raise DatasetError(
            f"{path}: has several files or folders with labels ({names}). Pass the one you mean, or all."
        )
    unread = name_unread(path) if name is None else None
    if unread:
        raise DatasetError(f"{path}: {unread}{_unreadable(path)}")
    usual = [known for known in formats if known.name in _USUAL or name is not None]
    expected = "; ".join(f"{known.looks_like} ({known.name})" for known in usual)
    others = ", ".join(known.name for known in formats if known not in usual)
    expected += f"; or labels of {others}" if others else ""
    advice = _unreadable(path) + (_XML_ADVICE if _suffix(path) == ".xml" else "")
    raise DatasetError(f"{path}: expected {expected}; got {_describe(path)}.{advice}")


def _find_inside(path: str, formats: Sequence[Format]) -> list[tuple[Format, str]]:
    """Return the files of a folder that hold the labels of all images in a known format."""
    names = [entry.name for entry in list_folder(path) if entry.name.lower().endswith(_SINGLE_FILES)]
    found = []
    for name in names[:_MOST_FILES]:
        file = os.path.join(path, name)
        known = next((known for known in formats if known.name not in _ANY_CONTENT and known.find(file)), None)
        if known is not None and not name.startswith("."):
            found.append((known, file))
    return found


def _find_below(path: str, formats: Sequence[Format]) -> list[tuple[Format, str]]:
    """Return the data sets in the folders below a folder, on the first level that has any."""
    level = [path] if is_folder(path) else []
    for _ in range(_DEPTH):
        entries = [entry for folder in level for entry in list_folder(folder) if not entry.name.startswith(".")]
        level = [entry.path for entry in entries if is_folder(entry.path)][:_MOST_FILES]
        found: list[tuple[Format, str]] = []
        for folder in level:
            here = ((known, known.find(folder)) for known in formats)
            whole = next(((known, place) for known, place in here if place is not None), None)
            found += [whole] if whole else _find_inside(folder, formats)
        if found:
            return found
    return []


def _unreadable(path: str) -> str:
    """Name the first file of labels that is refused, or a link to nothing: it may be why no format was recognised.

    A file that the system does not let us read is noted as a loss, which `read_boxes` adds to the message.
    """
    files = walk(path, _LABEL_FILES)[:_MOST_FILES] if is_folder(path) else [path]
    for file in files:
        try:
            os.close(open_logged(file, LIST_LIMIT)[0])
        except OSError as error:
            if isinstance(error, RefusedFileError) or is_lasting(error):
                return f" {file} cannot be read: {error.strerror or error}."
    return ""


def _describe(path: str) -> str:
    if not is_folder(path):
        return f"a {_suffix(path)} file" if _suffix(path) else "a file without a suffix"
    names = [entry.name for entry in list_folder(path)]
    shown = ", ".join(names[:_MOST_NAMES]) + (" and others" if len(names) > _MOST_NAMES else "")
    return f"a folder with {shown}" if names else "an empty folder"


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
