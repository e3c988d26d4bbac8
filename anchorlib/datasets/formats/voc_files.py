"""Find the .xml files of a Pascal VOC data set and of its splits, in the layouts that labelling tools write."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.voc_xml import is_voc_xml
from anchorlib.datasets.io.file_log import FOLDER, is_folder, look
from anchorlib.datasets.io.files import IMAGE_SUFFIXES, first_existing, peek_files, read_head, read_lines, walk
from anchorlib.errors import DatasetError

ANNOTATION_FOLDERS = ("annotations", "annotation", "xmls", "xml", "labels", "label")  # in any case
SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
HEAD = 4096  # bytes of an .xml, enough for its first element
MOST_PEEKED = 20  # files opened to recognise the format
_PAIR = re.compile(rf"(.+(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))}))[\s,;]+(.+\.xml)", re.IGNORECASE)


@dataclass
class Layout:
    """Say where a data set is: the folder that holds everything, and all .xml files."""

    root: str
    folder: str  # of the .xml files
    files: list[str]


def find_voc(path: str) -> Optional[str]:
    """Return a folder that has Pascal VOC .xml files in it or below it, or a .txt list of such files."""
    if not is_folder(path):
        return path if path.lower().endswith(".txt") and _is_list(path) else None
    usual = os.path.join(path, "Annotations")
    if is_folder(usual) and not any(peek_files(usual, ".json")):
        return path
    for number, file in enumerate(peek_files(path, ".xml")):
        if is_voc_xml(read_head(file, HEAD)):
            return path
        if number == MOST_PEEKED:
            break
    return None


def _is_list(path: str) -> bool:
    if _base_of_list(path) is not None:
        return True
    line = read_head(path, HEAD).decode("utf-8", "replace").strip().partition("\n")[0].strip()
    return line.lower().endswith(".xml")


def _base_of_list(path: str) -> Optional[str]:
    """Return the data set's folder if a list is below its ImageSets, else None."""
    before, found, _ = os.path.abspath(path).rpartition(f"{os.sep}ImageSets{os.sep}")
    return before if found and look(os.path.join(before, "Annotations")) == FOLDER else None


def voc_files(path: str, split: str, problems: list[Problem]) -> tuple[Layout, list[str]]:
    """Return the layout of a data set and the .xml files of a split, or of all splits; DatasetError.

    A file that a list names and that does not exist is among them.
    """
    if path.lower().endswith(".txt") and look(path) != FOLDER:
        layout = _layout(_base_of_list(path) or os.path.dirname(path) or os.curdir)
        return layout, _listed(layout, path)
    layout = _layout(path)
    if split == "all":
        return layout, layout.files
    names = dict.fromkeys([split, *SPLIT_WORDS.get(split, ())])
    lists = [os.path.join(layout.root, "ImageSets", "Main", f"{name}.txt") for name in names]
    lists += [os.path.join(layout.root, "ImageSets", f"{name}.txt") for name in names]
    for folder in (layout.root, layout.folder):
        lists += [os.path.join(folder, f"{name}{end}.txt") for name in names for end in ("", "_list")]
    list_file = first_existing(lists)
    try:
        if list_file:
            return layout, _listed(layout, list_file)
        reason = "is not there"
    except OSError as error:
        lists[0], reason = str(list_file), error.strerror or str(error)
    by_split = _by_folder(layout)
    if split in by_split:
        return layout, by_split[split]
    if split == "train" and not by_split:
        message = f"cannot be read ({reason}); all annotations are taken"
        problems.append(Problem("path", lists[0], None, "", "read", message))
        return layout, layout.files
    there = [os.path.basename(name)[:-4] for name in walk(os.path.dirname(lists[0]), [".txt"])]
    raise DatasetError(
        f"{path}: looked for the split {split!r} in {lists[0]} ({reason}), "
        f"found {', '.join([*by_split, *there]) or 'no lists'}. Take one of these, or split='all'."
    )


def _layout(path: str) -> Layout:
    """Return the layout of the one data set in a folder; DatasetError if there are several, or none."""
    usual = os.path.join(path, "Annotations")
    files = walk(usual, [".xml"]) if look(usual) == FOLDER else []
    if files:
        return Layout(path, usual, files)
    files = walk(path, [".xml"])
    folders = {folder: None for file in files for folder in _annotation_folders(path, file)}
    sets = {os.path.dirname(folder): folder for folder in folders}
    if path in sets:
        return Layout(path, sets[path], [file for file in files if file.startswith(sets[path] + os.sep)])
    if len(sets) == 1:
        ((root, folder),) = sets.items()
        return Layout(root, folder, [file for file in files if file.startswith(folder + os.sep)])
    if sets and not all(_split_of(os.path.basename(root)) for root in sets):
        names = ", ".join(sorted(sets)[:8])
        raise DatasetError(f"{path}: there are {len(sets)} Pascal VOC data sets below it: {names}. Pass one of them.")
    if not files:
        raise DatasetError(f"{path}: looked for Annotations/*.xml as in Pascal VOC, found no such file.")
    inside = os.path.basename(os.path.abspath(path)).lower() in ANNOTATION_FOLDERS
    return Layout(os.path.dirname(os.path.abspath(path)) if inside else path, path, files)


def _annotation_folders(path: str, file: str) -> Iterator[str]:
    """Yield the first folder between `path` and a file that is called like a folder of annotations, if any."""
    folder = path
    for part in os.path.relpath(file, path).split(os.sep)[:-1]:
        folder = os.path.join(folder, part)
        if part.lower() in ANNOTATION_FOLDERS:
            yield folder
            return


def _split_of(name: str) -> Optional[str]:
    return next((split for split, words in SPLIT_WORDS.items() if name.lower() in words), None)


def _by_folder(layout: Layout) -> dict[str, list[str]]:
    """Return the files of each split whose files are in a folder of that name."""
    found: dict[str, list[str]] = {}
    for file in layout.files:
        for part in os.path.relpath(file, layout.folder).split(os.sep)[:-1]:
            split = _split_of(part)
            if split:
                found.setdefault(split, []).append(file)
                break
    return found


def _listed(layout: Layout, list_file: str) -> list[str]:
    """Return the .xml file of each line of a list; DatasetError, OSError."""
    lines = read_lines(list_file)
    if not lines:
        raise DatasetError(f"{list_file}: the list is empty.")
    by_name: dict[str, str] = {}
    for file in layout.files:
        by_name.setdefault(os.path.basename(file)[:-4], file)
        by_name[os.path.relpath(file, layout.folder)[:-4]] = file
    here = os.path.dirname(list_file) or os.curdir
    return list(dict.fromkeys(_file_of(line, layout, here, by_name) for line in lines))


def _file_of(line: str, layout: Layout, here: str, by_name: dict[str, str]) -> str:
    """Return the .xml file that a line names: a stem, an image, an .xml, or an image and its .xml."""
    # If a line ends with .xml, the first try of the pattern succeeds; other lines would take N**2 steps.
    pair = _PAIR.fullmatch(line) if line.lower().endswith(".xml") else None
    name = (pair[2] if pair else line).replace("\\", "/")
    if not pair and name not in by_name:
        name = _drop_columns(name)
    stem, suffix = os.path.splitext(name)
    if suffix.lower() == ".xml":
        found = first_existing(os.path.join(root, name) for root in dict.fromkeys([here, layout.root, os.curdir]))
        if found:
            return os.path.normpath(found)
    elif suffix.lower() not in IMAGE_SUFFIXES:
        stem = name
    stem = os.path.normpath(stem)
    return by_name.get(stem) or by_name.get(os.path.basename(stem)) or os.path.join(layout.folder, f"{stem}.xml")


def _drop_columns(line: str) -> str:
    """Return a line without the numbers at its end: -1, 0 or 1 in the list of a class, several in other lists.

    >>> _drop_columns("car plates  1 -1")
    'car plates'
    """
    words = line.split()
    kept = len(words)
    while kept > 1 and re.fullmatch(r"-?\d+", words[kept - 1]):
        kept -= 1
    return line.rsplit(None, len(words) - kept)[0] if words else line
