"""Read YOLO: a data.yaml that names folders or lists of images, or a folder without one; a text file for each image."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any, Optional

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.label_places import label_path
from anchorlib.datasets.formats.yolo_config import (
    YAML_SUFFIXES,
    check_entry,
    class_names_of,
    count_classes,
    is_data_config,
    keypoints_of,
    load_config,
    roots_of,
    wanted_splits,
)
from anchorlib.datasets.formats.yolo_folder import is_yolo_folder, read_yolo_folder
from anchorlib.datasets.formats.yolo_images import read_images
from anchorlib.datasets.io.file_log import FILE, FOLDER, is_folder, is_named, look
from anchorlib.datasets.io.files import (
    IMAGE_SUFFIXES,
    LIST_LIMIT,
    first_existing,
    list_folder,
    read_logged,
    shorten,
    split_lines,
    walk,
)
from anchorlib.datasets.io.paths import TailFinder, find_ignoring_case, parts_of
from anchorlib.datasets.io.text import guess_text
from anchorlib.datasets.validation import Labels
from anchorlib.errors import DatasetError


def find_yolo(path: str) -> Optional[str]:
    """Return a .yaml file; of a folder, its data.yaml or the only .yaml with splits, or the folder if it has labels."""
    if not is_folder(path):
        return path if path.lower().endswith(YAML_SUFFIXES) else None
    if is_named(os.path.join(path, "data.yaml")):
        return os.path.join(path, "data.yaml")
    if is_folder(os.path.join(path, "Annotations")):  # Pascal VOC, perhaps with a .yaml file of another name
        return None
    names = [entry.name for entry in list_folder(path) if entry.name[0] != "."]
    names = [name for name in names if name.lower().endswith(YAML_SUFFIXES)]
    configs = [name for name in names if is_data_config(os.path.join(path, name))]
    configs = configs or [name for name in _below(path, "data.yaml") if look(os.path.join(path, name)) == FILE]
    if len(configs) > 1:
        raise DatasetError(f"{path}: has several data sets, {', '.join(configs)}. Pass the .yaml file you mean.")
    if configs:
        return os.path.join(path, configs[0])
    if is_yolo_folder(path):
        return path
    return os.path.join(path, names[0]) if len(names) == 1 else None


def _below(path: str, name: str) -> list[str]:
    """Return the paths of a file in each folder directly below a folder."""
    return [os.path.join(entry.name, name) for entry in list_folder(path) if entry.name[0] != "."]


def read_yolo(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of one split (or 'all') of a data.yaml or of a folder; DatasetError."""
    if is_folder(path):
        return read_yolo_folder(path, split, progress, workers)
    problems: list[Problem] = []
    config = load_config(path, problems)
    images: list[str] = []
    folders: list[str] = []
    for name in wanted_splits(path, config, split):
        entries = config[name] if isinstance(config[name], list) else [config[name]]
        for entry in entries:
            place = _resolve(path, config, name, entry, optional=split == "all", problems=problems)
            if place is None:
                continue
            if look(place) == FOLDER:
                images += walk(place, IMAGE_SUFFIXES)
                folders.append(place)
            elif os.path.splitext(place)[1].lower() in IMAGE_SUFFIXES:
                images.append(place)
            else:
                here = os.path.dirname(place)
                images += read_image_list(
                    place, [here, *roots_of(path, config)], [here, os.path.dirname(path)], problems
                )
    images = list(dict.fromkeys(os.path.normpath(image) for image in images))
    labels = read_images(
        images,
        [label_path(image) for image in images],
        label_folders=[
            os.path.dirname(label_path(os.path.join(os.path.normpath(folder), "any.jpg"))) for folder in folders
        ],
        keypoints=keypoints_of(path, config),
        problems=problems,
        progress=progress,
        workers=workers,
    )
    labels.class_names = class_names_of(path, config)
    labels.n_classes = count_classes(config, labels.class_names)
    return labels


def read_image_list(path: str, roots: Sequence[str], places: Sequence[str], problems: list[Problem]) -> list[str]:
    """Return the image paths of a text file, each below the first root that has it; DatasetError.

    If a path does not exist, its longest end that exists below one of `places` is taken. The list reports this once.
    """
    try:
        text, remark = guess_text(read_logged(path, LIST_LIMIT))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read as a list of images: {error.strerror or error}.") from error
    if remark:
        problems.append(Problem("encoding", path, None, "", "read", remark))
    bases = list(dict.fromkeys([*roots, os.curdir]))
    finder = TailFinder(place or os.curdir for place in places)
    images: list[str] = []
    moved: list[tuple[str, str]] = []
    for line in split_lines(text):
        image = first_existing(os.path.join(base, line) for base in bases)
        if image is None:
            image = finder.find(line.strip('"')) or _find_gbk(line, bases)
            if image is not None:
                moved.append((line, image))
        images.append(image or os.path.join(bases[0], line))
    if moved:
        line, image = moved[0]
        message = f"{len(moved)} paths of the list do not exist here; used others instead, such as {image}"
        problems.append(Problem("path", path, None, line, "read", message))
    return images


def _find_gbk(line: str, bases: Sequence[str]) -> Optional[str]:
    """Return the file that a path names in GBK, whose bytes may happen to be UTF-8; or None."""
    if line.isascii():
        return None
    try:
        gbk = line.encode().decode("gb18030")
    except UnicodeError:
        return None
    return first_existing(os.path.join(base, gbk) for base in bases)


def _resolve(
    path: str, config: dict[str, Any], split: str, entry: object, *, optional: bool, problems: list[Problem]
) -> Optional[str]:
    """Return the folder or list of a split; None, and a problem, if an optional one is missing."""
    entry = check_entry(path, split, entry)
    roots = roots_of(path, config)
    candidates = [os.path.join(root, entry) for root in roots]
    found = first_existing(candidates)
    if found and os.path.dirname(os.path.realpath(found)) == os.path.realpath(found):
        raise DatasetError(
            f"{path}: {split} is the root of the file system, {shorten(entry)}. Name the images' folder."
        )
    if found:
        return found
    here, root, inner = os.path.dirname(path) or os.curdir, config.get("path"), "/".join(parts_of(entry))
    found = first_existing(os.path.join(root, inner) for root in roots) if inner else None
    found = found or TailFinder([here]).find(f"{root}/{entry}" if isinstance(root, str) else entry)
    found = found or find_ignoring_case(os.path.join(here, inner))
    if found:
        problems.append(Problem("path", path, None, entry, "read", f"{split} does not exist; used {found} instead"))
        return found
    looked_for = ", ".join(dict.fromkeys(os.path.normpath(candidate) for candidate in candidates))
    near = _near(os.path.join(here, inner))
    message = f"{split} does not exist; looked for {looked_for}" + (f"; similar: {', '.join(near)}" if near else "")
    if optional:
        problems.append(Problem("path", path, None, entry, "left out", message))
        return None
    raise DatasetError(f"{path}: {message}. Correct {split} in it.")


def _near(wanted: str) -> list[str]:
    """Return existing paths that look like the wanted path up to its first missing part."""
    existing: str = wanted
    missing: list[str] = []
    while existing and not is_folder(existing) and os.path.dirname(existing) != existing:
        existing, part = os.path.split(existing)
        missing.insert(0, part)
    try:
        names = [entry.name for entry in list_folder(existing or os.curdir)]
    except ValueError:
        return []
    if not missing:
        return []
    close = difflib.get_close_matches(missing[0], names, n=3, cutoff=0.5)
    return [os.path.normpath(os.path.join(existing, name)) for name in close]
