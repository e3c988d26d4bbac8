"""Read YOLO: a data.yaml that names folders or lists of images, and a text file of rows for each image."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.yolo_rows import read_rows
from anchorlib.datasets.io.file_log import FOLDER, is_folder, look
from anchorlib.datasets.io.files import (
    IMAGE_SUFFIXES,
    LIST_LIMIT,
    MEGABYTE,
    first_existing,
    list_folder,
    read_logged,
    shorten,
    split_lines,
    walk,
)
from anchorlib.datasets.io.image_header import image_sizes
from anchorlib.datasets.io.text import guess_text
from anchorlib.datasets.validation import Labels
from anchorlib.errors import DatasetError
from anchorlib.safe_yaml import load_yaml

YAML_LIMIT = 4 * MEGABYTE
YAML_SUFFIXES = (".yaml", ".yml")
SPLITS = ("train", "val", "test")


def find_yolo(path: str) -> Optional[str]:
    """Return the data.yaml of a folder, or its only .yaml file; return a .yaml file itself."""
    if not is_folder(path):
        return path if path.lower().endswith(YAML_SUFFIXES) else None
    if os.path.lexists(os.path.join(path, "data.yaml")):
        return os.path.join(path, "data.yaml")
    names = [entry.name for entry in list_folder(path) if entry.name.endswith(YAML_SUFFIXES)]
    # A .yaml file of another name may lie next to a Pascal VOC data set.
    is_voc = is_folder(os.path.join(path, "Annotations"))
    return os.path.join(path, names[0]) if len(names) == 1 and not is_voc else None


def read_yolo(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of one split (or 'all') of a data.yaml; DatasetError."""
    config = load_config(path)
    problems: list[Problem] = []
    images: list[str] = []
    folders: list[str] = []
    for name in _wanted_splits(path, config, split):
        entries = config[name] if isinstance(config[name], list) else [config[name]]
        for entry in entries:
            place = _resolve(path, config, name, entry, optional=split == "all", problems=problems)
            if place is None:
                continue
            if look(place) == FOLDER:
                images += walk(place, IMAGE_SUFFIXES)
                folders.append(place)
            else:
                images += read_image_list(place, [os.path.dirname(place), *_roots(path, config)])
    images = list(dict.fromkeys(os.path.normpath(image) for image in images))
    names = _class_names(path, config)
    n_classes = config.get("nc")
    paths = [label_path(image) for image in images]
    labels = read_images(
        images,
        paths + _labels_without_image(paths, folders),
        keypoints=_keypoints(path, config),
        problems=problems,
        progress=progress,
        workers=workers,
    )
    labels.class_names = names
    labels.n_classes = n_classes if isinstance(n_classes, int) and n_classes > 0 else len(names) or None
    return labels


def load_config(path: str) -> dict[str, Any]:
    """Load a data.yaml as a dict with the safe loader; DatasetError."""
    try:
        config = load_yaml(read_logged(path, YAML_LIMIT))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise DatasetError(f"{path}: not a YAML file that is safe to read: {error}.") from error
    if not isinstance(config, dict):
        raise DatasetError(f"{path}: expected a mapping with train, val and names, got {shorten(config)}.")
    return config


def label_path(image: str, image_folders: Sequence[str] = ("images",)) -> str:
    """Return the label file of an image: the last `images` of its path becomes `labels`, the suffix .txt.

    >>> label_path("data/images/train/0001.jpg")
    'data/labels/train/0001.txt'
    """
    stem = os.path.splitext(image)[0]
    for folder in image_folders:
        before, found, after = stem.rpartition(f"{os.sep}{folder}{os.sep}")
        if found:
            return f"{before}{os.sep}labels{os.sep}{after}.txt"
        if stem.startswith(folder + os.sep):  # a relative path that begins with it
            return f"labels{stem[len(folder) :]}.txt"
    return stem + ".txt"


def read_image_list(path: str, roots: Sequence[str]) -> list[str]:
    """Return the image paths of a text file, each below the first root that has it; DatasetError."""
    try:
        lines = split_lines(guess_text(read_logged(path, LIST_LIMIT))[0])
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read as a list of images: {error.strerror or error}.") from error
    bases = list(dict.fromkeys([*roots, os.curdir]))
    images = [first_existing(os.path.join(base, line) for base in bases) for line in lines]
    return [image or os.path.join(bases[0], line) for image, line in zip(images, lines)]


def read_images(
    images: Sequence[str],
    paths: Sequence[str],
    *,
    keypoints: Optional[tuple[int, int]] = None,
    problems: Sequence[Problem] = (),
    progress: bool = False,
    workers: int = 1,
) -> Labels:
    """Read the labels and sizes of images.

    `paths` are the label files of the images, in the order of `images`, then label files without an image. The rows of
    label files without an image, and of images without a size, are lost.
    """
    rows = read_rows(paths, keypoints, progress, workers)
    n_rows = np.bincount(rows.file_index, minlength=len(paths))
    missing = set(rows.missing)
    found: list[Problem] = list(problems)
    sizes = np.zeros((len(paths), 2))  # 0: no size, and so no image
    for index, size in enumerate(image_sizes(images, progress, workers)):
        image = images[index]
        if index in rows.unreadable:
            found.append(Problem("unreadable label", paths[index], None, "", "image refused", rows.unreadable[index]))
            continue
        lost = f"{n_rows[index]} rows"
        if isinstance(size, FileNotFoundError):
            found.append(Problem("missing image", image, None, lost, "image refused", "is not there"))
            continue
        if isinstance(size, OSError):
            reason = f"cannot be read: {size.strerror or size}"
            found.append(Problem("unreadable image", image, None, lost, "image refused", reason))
            continue
        sizes[index] = size[:2]
        if size[2]:
            found.append(Problem("exif rotation", image, None, "", "read", "EXIF turns it, its sides are swapped"))
        if index in missing:
            found.append(Problem("missing label", paths[index], None, "", "read", "is not there: no boxes"))
    for index in range(len(images), len(paths)):
        if index in rows.unreadable:
            found.append(Problem("unreadable label", paths[index], None, "", "rows refused", rows.unreadable[index]))
        else:
            lost = f"{n_rows[index]} rows"
            found.append(Problem("missing image", paths[index], None, lost, "rows refused", "has no image"))

    sized = sizes[:, 0] > 0
    kept = sized[rows.file_index]
    position = np.cumsum(kept) - 1
    image_index = (np.cumsum(sized) - 1)[rows.file_index[kept]]
    image_wh = sizes[sized]
    with np.errstate(over="ignore"):  # a value that float64 cannot hold becomes inf and is rejected as not a number
        boxes = rows.values[kept, 1:] * np.tile(image_wh, 2)[image_index]
    return Labels(
        image_names=[image for image, has_size in zip(images, sized) if has_size],
        image_wh=image_wh,
        image_index=image_index,
        files=[path for path, has_size in zip(paths, sized) if has_size],
        row_numbers=rows.line[kept],
        row_word="line",
        classes=rows.values[kept, 0],
        boxes=boxes,
        faults={int(position[row]): fault for row, fault in rows.faults.items() if kept[row]},
        problems=found,
        lost_rows=int((~kept).sum()),
    )


def _wanted_splits(path: str, config: dict[str, Any], split: str) -> list[str]:
    there = [name for name in SPLITS if config.get(name)]
    if split == "all" and there:
        return there
    if split not in there:
        raise DatasetError(
            f"{path}: looked for the split {split!r}, found {', '.join(there) or 'no split'}. "
            f"Its keys are {shorten(sorted(map(str, config)))}."
        )
    return [split]


def _roots(path: str, config: dict[str, Any]) -> list[str]:
    """Return the folders that entries may be relative to: `path` from the yaml, `path` from here, the yaml's, here."""
    here = os.path.dirname(path) or os.curdir
    root = config.get("path")
    roots = [os.path.join(here, root), os.path.join(os.curdir, root)] if isinstance(root, str) and root else []
    return list(dict.fromkeys([*roots, here, os.curdir]))


def _resolve(
    path: str, config: dict[str, Any], split: str, entry: object, *, optional: bool, problems: list[Problem]
) -> str | None:
    """Return the folder or list of a split; None, and a problem, if an optional one is missing."""
    if not isinstance(entry, str) or not entry:
        raise DatasetError(f"{path}: {split} must be a path or a list of paths, got {shorten(entry)}.")
    candidates = [os.path.join(root, entry) for root in _roots(path, config)]
    found = first_existing(candidates)
    if found and os.path.dirname(os.path.realpath(found)) == os.path.realpath(found):
        raise DatasetError(
            f"{path}: {split} is the root of the file system, {shorten(entry)}. Name the images' folder."
        )
    if found:
        return found
    inner = entry
    while inner.startswith(("../", "..\\")):
        inner = inner[3:]
    found = first_existing(os.path.join(root, inner) for root in _roots(path, config)) if inner != entry else None
    if found:
        problems.append(Problem("path", path, None, entry, "read", f"{split} does not exist; used {found} instead"))
        return found
    looked_for = ", ".join(dict.fromkeys(os.path.normpath(candidate) for candidate in candidates))
    near = _near(os.path.join(os.path.dirname(path) or os.curdir, inner))
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


def _labels_without_image(paths: Sequence[str], folders: Sequence[str]) -> list[str]:
    """Return the label files in the label folders of these image folders that are not among `paths`."""
    expected = set(paths)
    found: list[str] = []
    for folder in folders:
        label_folder = os.path.dirname(label_path(os.path.join(os.path.normpath(folder), "any.jpg")))
        found += walk(label_folder or os.curdir, [".txt"])
    found = [os.path.normpath(path) for path in found]
    # Labelling tools put a list of names next to the labels.
    return [path for path in dict.fromkeys(found) if path not in expected and os.path.basename(path) != "classes.txt"]


def _class_names(path: str, config: dict[str, Any]) -> tuple[str, ...]:
    names = config.get("names") or []
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DatasetError(f"{path}: names must be numbered 0 to {len(names) - 1}, got {shorten(names)}.")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or any(isinstance(name, (list, dict, tuple, set)) for name in names):
        raise DatasetError(f"{path}: names must be a list, or a mapping of numbers to names, got {shorten(names)}.")
    return tuple(map(str, names))


def _keypoints(path: str, config: dict[str, Any]) -> tuple[int, int] | None:
    shape = config.get("kpt_shape")
    if shape is None:
        return None
    whole = isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) and 0 < n < 1000 for n in shape)
    if not whole:
        raise DatasetError(f"{path}: kpt_shape must be [points, values per point], got {shorten(shape)}.")
    return shape[0], shape[1]
