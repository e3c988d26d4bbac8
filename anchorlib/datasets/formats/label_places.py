"""Find the label file of each image: in `labels` for `images`, else where labelling tools put it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Optional

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.io.file_log import FOLDER, look
from anchorlib.datasets.io.files import HERE_ONLY, walk
from anchorlib.datasets.io.paths import find_ignoring_case

#: Folders that hold labels, next to the images' folder or inside it.
LABEL_FOLDERS = ("labels", "label", "annotations", "annotation")
_MOST_MISSES = 100  # folders without labels anywhere that are searched; a damaged list may name thousands


def label_path(image: str, image_folders: Sequence[str] = ("images",)) -> str:
    """Return the label file of an image: the last `images` of its path becomes `labels`, the suffix .txt.

    >>> label_path("data/images/train/0001.jpg")
    'data/labels/train/0001.txt'
    """
    stem = os.path.splitext(image)[0]
    return _replace(stem, stem, image_folders) or _replace(stem, stem.lower(), image_folders) or stem + ".txt"


def _replace(stem: str, path: str, image_folders: Sequence[str]) -> Optional[str]:
    """Return the label file for the last of the folders in `path`, which is `stem` or `stem` in lower case."""
    for folder in image_folders:
        at = path.rfind(f"{os.sep}{folder}{os.sep}") + 1
        if at or path.startswith(folder + os.sep):  # a relative path may begin with it
            return f"{stem[:at]}labels{stem[at + len(folder) :]}.txt"
    return None


def find_elsewhere(
    images: Sequence[str], paths: Sequence[str], missing: Iterable[int], problems: list[Problem]
) -> dict[int, str]:
    """Return the label files, by image number, of folders whose images all lack the label file in `paths`.

    Nothing is done in folders with labels for some images: their other images show no object. Each folder that is used
    is reported in `problems`.
    """
    lost = set(missing)
    if not lost:
        return {}
    groups: dict[str, list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(os.path.dirname(image), []).append(index)
    taken = {path for index, path in enumerate(paths) if index not in lost}
    listed: dict[str, dict[str, str]] = {}
    found: dict[int, str] = {}
    misses = 0
    for folder, indexes in groups.items():
        if misses == _MOST_MISSES:
            break
        if not lost.issuperset(indexes):
            continue
        misses += 1
        expected = os.path.dirname(paths[indexes[0]])
        for place in _other_places(folder, expected):
            if place not in listed:
                listed[place] = _texts_in(place)
            texts = listed[place]
            hits = {index: texts[stem] for index in indexes if (stem := _stem(images[index])) in texts}
            hits = {index: path for index, path in hits.items() if path not in taken}
            if hits:
                problems.append(_report(folder, place, paths, hits))
                misses -= 1
                found.update(hits)
                taken.update(hits.values())
                break
    return found


def _report(folder: str, place: str, paths: Sequence[str], hits: dict[int, str]) -> Problem:
    index, path = next(iter(hits.items()))
    message = f"used {len(hits)} label files in {place or os.curdir}, such as {os.path.basename(path)}"
    return Problem("path", folder or os.curdir, None, "", "read", f"has no {paths[index]}; {message}")


def _other_places(folder: str, expected: str) -> Iterator[str]:
    """Yield existing folders that may hold the labels of the images of a folder, likely ones first."""
    parent, name = os.path.split(folder)
    above, kind = os.path.split(parent)
    candidates = [expected, folder]
    candidates += [os.path.join(folder, labels) for labels in LABEL_FOLDERS]
    candidates += [os.path.join(parent, labels, name) for labels in LABEL_FOLDERS]
    candidates += [os.path.join(parent, labels) for labels in LABEL_FOLDERS]
    candidates += [os.path.join(above, name, labels) for labels in LABEL_FOLDERS]  # images/train and train/labels
    candidates += [os.path.join(above, labels, kind) for labels in LABEL_FOLDERS]  # train/images and labels/train
    candidates += [os.path.join(above, labels) for labels in LABEL_FOLDERS]
    for candidate in dict.fromkeys(candidates):
        place = find_ignoring_case(candidate or os.curdir)
        if place is not None and look(place) == FOLDER:
            yield place


def _texts_in(folder: str) -> dict[str, str]:
    """Return the .txt files directly in a folder, by their names without suffix, in lower case."""
    return {_stem(path): path for path in walk(folder, [".txt", HERE_ONLY])}


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0].lower()
