"""Read darknet: a .data file (train=, valid=, names=) or a .txt list of images, with YOLO rows next to them."""

from __future__ import annotations

import os
from typing import Optional

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.label_places import label_path
from anchorlib.datasets.formats.yolo import read_image_list
from anchorlib.datasets.formats.yolo_folder import read_names
from anchorlib.datasets.formats.yolo_images import read_images
from anchorlib.datasets.io.file_log import is_folder
from anchorlib.datasets.io.files import first_existing, list_folder, read_lines, shorten
from anchorlib.datasets.io.paths import TailFinder
from anchorlib.datasets.validation import Labels
from anchorlib.errors import DatasetError

KEYS = {"train": "train", "val": "valid", "test": "test"}
NAMES_SUFFIX = ".names"  # of lists of names outside the folder of the .data file
IMAGE_FOLDERS = ("images", "JPEGImages")  # darknet looks for the labels of both in `labels`


def find_darknet(path: str) -> Optional[str]:
    """Return a .data or .txt file; of a folder, its only .data file."""
    if is_folder(path):
        names = [entry.name for entry in list_folder(path) if entry.name.endswith(".data") and entry.name[0] != "."]
        return os.path.join(path, names[0]) if len(names) == 1 else None
    return path if path.lower().endswith((".data", ".txt")) else None


def read_darknet(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a .data file's split (or 'all'), or of a .txt list of images; DatasetError."""
    here = os.path.dirname(path) or os.curdir
    roots = [here, os.path.join(here, os.pardir), os.curdir]  # cfg/coco.data names data/train.txt
    problems: list[Problem] = []
    options = {} if path.lower().endswith(".txt") else _read_options(path)
    lists = _lists(path, options, split, roots, problems) if options else [path]
    images = [
        image
        for place in lists
        for image in read_image_list(
            place, [os.path.dirname(place), *roots], [os.path.dirname(place), *roots[:2]], problems
        )
    ]
    images = list(dict.fromkeys(map(os.path.normpath, images)))
    names = _names(path, options, roots, problems)
    paths = [label_path(image, IMAGE_FOLDERS) for image in images]
    labels = read_images(images, paths, problems=problems, progress=progress, workers=workers)
    labels.class_names = names
    n_classes = options.get("classes", "")
    is_count = n_classes.isdecimal() and len(n_classes) < 10  # int() refuses thousands of digits
    labels.n_classes = (int(n_classes) if is_count else 0) or len(names) or None
    return labels


def _read_options(path: str) -> dict[str, str]:
    try:
        lines = read_lines(path)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}.") from error
    pairs = [line.partition("=") for line in lines if not line.startswith(("#", ";"))]
    options = {key.strip(): value.strip() for key, equals, value in pairs if equals}
    if not options:
        raise DatasetError(f"{path}: looked for lines such as 'train = train.txt', found none.")
    return options


def _lists(path: str, options: dict[str, str], split: str, roots: list[str], problems: list[Problem]) -> list[str]:
    wanted = [key for name, key in KEYS.items() if split in (name, "all") and options.get(key)]
    if not wanted:
        looked_for = KEYS.get(split, split)
        raise DatasetError(f"{path}: looked for {looked_for!r} =, found {', '.join(options)}.")
    lists = []
    for key in wanted:
        candidates = [os.path.join(root, options[key]) for root in roots]
        place = first_existing(candidates)
        if place is None:
            place = TailFinder(roots[:1]).find(options[key])
            if place is not None:
                message = f"the list {key} does not exist; used {place} instead"
                problems.append(Problem("path", path, None, options[key], "read", message))
        if place:
            lists.append(place)
        elif split == "all":
            problems.append(Problem("path", path, None, options[key], "left out", f"the list {key} does not exist"))
        else:
            looked_for = ", ".join(dict.fromkeys(map(os.path.normpath, candidates)))
            raise DatasetError(f"{path}: the list {key} does not exist; looked for {shorten(looked_for, 300)}.")
    return lists


def _names(path: str, options: dict[str, str], roots: list[str], problems: list[Problem]) -> tuple[str, ...]:
    if not options.get("names"):
        return ()
    place = first_existing(os.path.join(root, options["names"]) for root in roots)
    place = place or TailFinder(roots[:1]).find(options["names"])
    message = "the list of names cannot be read"
    if place and not _may_be_read(place, roots[0]):
        message = f"names must be a file in the folder of this file, or end in {NAMES_SUFFIX}; it is not read"
    elif place:
        try:
            return read_names(place, problems)
        except OSError as error:
            message += f": {error.strerror or error}"
    problems.append(Problem("path", path, None, options["names"], "left out", message))
    return ()


def _may_be_read(place: str, folder: str) -> bool:
    """Return True for a list of names: a .data file of someone else must not show other files of this machine."""
    real = os.path.realpath(place)
    return real.endswith(NAMES_SUFFIX) or real.startswith(os.path.join(os.path.realpath(folder), ""))
