"""Find the COCO files of a folder and of its splits, and join their labels."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Optional

import numpy as np

from anchorlib.datasets.formats.coco import read_coco_file
from anchorlib.datasets.io.file_log import is_folder
from anchorlib.datasets.io.files import peek_files, read_head, walk
from anchorlib.datasets.validation import Labels
from anchorlib.errors import DatasetError

HEAD = 1024  # bytes of a .json, enough for its first key
MOST_PEEKED = 20  # files opened to recognise the format
SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
# The first key of a COCO file; other formats with a .json for each image or data set begin with other keys.
_FIRST_KEY = re.compile(rb'\s*\{\s*"(images|annotations|categories|info|licenses|type)"\s*:')
_DATUMARO = re.compile(rb'"categories"\s*:\s*\{')  # a list in COCO
# Files of the COCO data set that have no boxes, or the same boxes once more.
_NOT_BOXES = ("captions_", "image_info_", "panoptic_", "stuff_", "person_keypoints_")


def find_coco(path: str) -> Optional[str]:
    """Return a .json file, or a folder with COCO files in it or below it."""
    if not is_folder(path):
        return path if path.lower().endswith(".json") else None
    for number, file in enumerate(peek_files(path, ".json")):
        if _is_coco(file):
            return path
        if number == MOST_PEEKED:
            break
    return None


def read_coco(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a .json file, which is one split, or of a split's files in a folder; DatasetError.

    A file belongs to a split if its name, or that of a folder on the way to it, has the word train, val, valid or test.
    """
    if not is_folder(path):
        return read_coco_file(path, progress, workers)
    files = _files_of(path, split)
    return join_labels([read_coco_file(file, progress, workers) for file in files])


def _files_of(path: str, split: str) -> list[str]:
    files = [file for file in walk(path, [".json"]) if _is_coco(file)]
    with_boxes = [file for file in files if not os.path.basename(file).lower().startswith(_NOT_BOXES)]
    files = with_boxes or files
    if split == "all" and files:
        return files
    splits = {file: _splits_of(os.path.relpath(file, path)) for file in files}
    wanted = [file for file in files if split in splits[file]]
    if not wanted and split == "train" and len(files) == 1 and not splits[files[0]]:
        return files  # the only file, with a name that says nothing: annotations.json
    if not wanted:
        found = ", ".join(os.path.relpath(file, path) for file in files[:8]) or "no COCO file"
        raise DatasetError(
            f"{path}: looked for a COCO file with the word {split!r} in its name or its folder's, found {found}. "
            "Pass one of these files, or split='all'."
        )
    return wanted


def _is_coco(file: str) -> bool:
    head = read_head(file, HEAD).removeprefix(b"\xef\xbb\xbf")
    return bool(_FIRST_KEY.match(head)) and not _DATUMARO.search(head)


def _splits_of(name: str) -> set[str]:
    words = set(re.split(r"[^a-z]+", name.lower()))
    return {split for split, names in SPLIT_WORDS.items() if words.intersection(names)}


def join_labels(parts: Sequence[Labels]) -> Labels:
    """Return the labels of several files of one format as one; classes with the same name are one class."""
    if len(parts) == 1:
        return parts[0]
    names = list(dict.fromkeys(name for part in parts for name in part.class_names))
    words = list(dict.fromkeys(word for part in parts for word in part.class_names))  # how each class is shown
    joined = Labels([], np.zeros((0, 2)), np.zeros(0, np.int64), [], np.zeros(0, np.int64), parts[0].row_word,
                    np.zeros(0), np.zeros((0, 4)))  # fmt: skip
    numbers = {name: number for number, name in enumerate(names)}
    images: list[int] = []
    classes = []
    for part in parts:
        # Categories that the file does not list come after all that are listed.
        extra = part.class_words[len(part.class_names) :]
        places = [numbers[name] for name in part.class_names]
        places += range(len(words), len(words) + len(extra))
        words += extra
        table = np.asarray(places or [0], np.float64)
        classes.append(table[part.classes.astype(np.int64)])
        joined.faults.update({len(images) + row: fault for row, fault in part.faults.items()})
        images += (part.image_index + len(joined.image_names)).tolist()
        joined.image_names += part.image_names
        joined.files += part.files
        joined.problems += part.problems
        joined.lost_rows += part.lost_rows
    joined.image_wh = np.concatenate([part.image_wh for part in parts])
    joined.image_index = np.asarray(images, np.int64)
    joined.row_numbers = np.concatenate([part.row_numbers for part in parts])
    joined.classes = np.concatenate(classes)
    joined.boxes = np.concatenate([part.boxes for part in parts])
    joined.class_names, joined.class_words = tuple(names), tuple(words)
    joined.n_classes = len(names) or None
    joined.box_units = parts[0].box_units
    return joined
