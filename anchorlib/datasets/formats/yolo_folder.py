"""Read a folder of images and YOLO labels without a data.yaml, as LabelImg, Label Studio and others export it."""

from __future__ import annotations

import os
from typing import Optional

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.label_places import find_elsewhere, label_path
from anchorlib.datasets.formats.yolo_images import read_images
from anchorlib.datasets.io.file_log import FILE, look
from anchorlib.datasets.io.files import (
    IMAGE_SUFFIXES,
    LIST_LIMIT,
    list_folder,
    read_logged,
    read_or_error,
    split_lines,
    walk,
)
from anchorlib.datasets.io.text import guess_text
from anchorlib.datasets.validation import Labels
from anchorlib.errors import DatasetError

#: The split that a folder's name stands for.
SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
NAME_FILES = ("classes.txt", "obj.names", "predefined_classes.txt")
_TRIED = 64  # images whose labels are looked at to recognise a folder


def is_yolo_folder(path: str) -> bool:
    """Return True if the folder has images, and a label file of YOLO rows for one of the first of them."""
    if any(entry.name.endswith(".data") for entry in list_folder(path)):  # darknet
        return False
    images = walk(path, IMAGE_SUFFIXES)[:_TRIED]
    paths = [label_path(image) for image in images]
    missing = [index for index, label in enumerate(paths) if look(label) != FILE]
    found = find_elsewhere(images, paths, missing, [])
    labels = [found.get(index, label) for index, label in enumerate(paths) if index not in missing or index in found]
    contents = [content for content in map(read_or_error, labels) if isinstance(content, bytes)]
    return bool(contents) and (not any(map(bytes.strip, contents)) or any(map(_has_yolo_row, contents)))


def _has_yolo_row(content: bytes) -> bool:
    """Return True if the first row has five or more numbers, and only numbers, the second to fifth of them below 2."""
    try:
        rows = [row.split() for row in split_lines(guess_text(content)[0])[:1]]
        return bool(rows) and len(rows[0]) >= 5 and all(map(_is_number, rows[0])) and max(map(float, rows[0][1:5])) < 2
    except OSError:
        return False


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_yolo_folder(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of one split, or of all images; DatasetError.

    A split is a folder of that name anywhere in the path of an image. Without such folders all images are taken for
    'train', and nothing for 'val' and 'test'.
    """
    problems: list[Problem] = []
    images = walk(path, IMAGE_SUFFIXES)
    splits = [_split_of(os.path.relpath(image, path)) for image in images]
    there = [name for name in dict.fromkeys(SPLIT_OF.values()) if name in splits]
    if split != "all":
        if not there and split == "train":
            message = "has no data.yaml and no folders train, val or test; all its images are read"
            problems.append(Problem("path", path, None, "", "read", message))
        elif split not in there:
            raise DatasetError(
                f"{path}: looked for the split {split!r}, found {', '.join(there) or 'no folder train, val or test'}."
            )
        else:
            images = [image for image, own in zip(images, splits) if own == split]
    images = [os.path.normpath(image) for image in images]
    paths = [label_path(image) for image in images]
    folders = list(dict.fromkeys(map(os.path.dirname, paths)))
    labels = read_images(images, paths, label_folders=folders, problems=problems, progress=progress, workers=workers)
    labels.class_names = _find_names(path, folders, labels.problems)
    labels.n_classes = len(labels.class_names) or None
    return labels


def _split_of(path: str) -> Optional[str]:
    """Return the split of an image by the folders of its path, or None.

    >>> _split_of("images/Valid/a.jpg"), _split_of("images/train2017/a.jpg"), _split_of("images/a.jpg")
    ('val', 'train', None)
    """
    folders = [folder.lower().rstrip("0123456789") for folder in path.split(os.sep)[:-1]]
    return next((SPLIT_OF[folder] for folder in folders if folder in SPLIT_OF), None)


def _find_names(path: str, folders: list[str], problems: list[Problem]) -> tuple[str, ...]:
    """Return the class names in classes.txt of the folder or of a folder of labels; () if there is no such file."""
    for folder in [path, *folders]:
        for name in NAME_FILES:
            file = os.path.join(folder, name)
            if look(file) == FILE:
                try:
                    return read_names(file, problems)
                except OSError:
                    continue
    return ()


def read_names(path: str, problems: list[Problem]) -> tuple[str, ...]:
    """Return the lines of a file of class names in any encoding; OSError."""
    text, remark = guess_text(read_logged(path, LIST_LIMIT))
    if remark:
        problems.append(Problem("encoding", path, None, "", "read", remark))
    return tuple(split_lines(text))
