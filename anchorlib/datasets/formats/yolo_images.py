"""Join the label rows of images with the sizes of the images: what YOLO and darknet data sets have in common."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.label_places import find_elsewhere
from anchorlib.datasets.formats.yolo_rows import Rows, read_rows
from anchorlib.datasets.io.files import walk
from anchorlib.datasets.io.image_header import image_sizes
from anchorlib.datasets.validation import Labels

HEIC_SUFFIXES = (".heic", ".heif")
NAME_FILES = ("classes.txt",)  # a list of class names that labelling tools put next to the labels


def read_images(
    images: Sequence[str],
    paths: Sequence[str],
    *,
    label_folders: Sequence[str] = (),
    keypoints: Optional[tuple[int, int]] = None,
    problems: Sequence[Problem] = (),
    progress: bool = False,
    workers: int = 1,
) -> Labels:
    """Read the labels and sizes of images.

    `paths` are the label files of the images, in the order of `images`. Label files in `label_folders` that belong to
    no image are read as well: their rows are lost, as are the rows of images without a size.
    """
    found: list[Problem] = list(problems)
    paths = [*paths, *_without_image(paths, label_folders)]
    rows = read_rows(paths, keypoints, progress, workers)
    elsewhere = find_elsewhere(
        images, paths[: len(images)], (index for index in rows.missing if index < len(images)), found
    )
    if elsewhere:
        paths = [elsewhere.get(index, path) for index, path in enumerate(paths[: len(images)])]
        folders = dict.fromkeys(os.path.dirname(path) for path in elsewhere.values())
        paths += _without_image(paths, [*label_folders, *folders])
        rows = read_rows(paths, keypoints, progress, workers)
    if images and len(images) == sum(index < len(images) for index in rows.missing):
        message = f"there is no label file for any of the {len(images)} images; looked for {paths[0]}"
        found.append(Problem("no boxes", os.path.dirname(paths[0]) or os.curdir, None, "", "left out", message))
    found += rows.remarks
    sizes = _sizes(images, paths, rows, found, progress, workers)
    notes = _report_without_image(paths, len(images), rows, found)

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
        lost_rows=int((~kept).sum()) - notes,
    )


def _sizes(
    images: Sequence[str], paths: Sequence[str], rows: Rows, found: list[Problem], progress: bool, workers: int
) -> HostArray:
    """Return (len(paths), 2) float64, the sizes of the images; 0 where there is no image or no size."""
    n_rows = np.bincount(rows.file_index, minlength=len(paths))
    missing = set(rows.missing)
    sizes = np.zeros((len(paths), 2))
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
            is_heic = image.lower().endswith(HEIC_SUFFIXES)
            reason = "HEIC is not read; convert it to JPEG" if is_heic else f"cannot be read: {size.strerror or size}"
            found.append(Problem("unreadable image", image, None, lost, "image refused", reason))
            continue
        sizes[index] = size[:2]
        if size[2]:
            found.append(Problem("exif rotation", image, None, "", "read", "EXIF turns it, its sides are swapped"))
        if index in missing:
            found.append(Problem("missing label", paths[index], None, "", "read", "is not there: no boxes"))
    return sizes


def _report_without_image(paths: Sequence[str], n_images: int, rows: Rows, found: list[Problem]) -> int:
    """Report the label files without an image; return the number of rows of those that are notes and no labels."""
    n_rows = np.bincount(rows.file_index, minlength=len(paths))
    ends = np.cumsum(n_rows)
    notes = 0
    for index in range(n_images, len(paths)):
        path, count = paths[index], int(n_rows[index])
        faults = [rows.faults.get(row) for row in range(int(ends[index]) - count, int(ends[index]))]
        if index in rows.unreadable:
            found.append(Problem("unreadable label", path, None, "", "rows refused", rows.unreadable[index]))
        elif faults and all(fault is not None and not _begins_with_numbers(fault.value) for fault in faults):
            notes += count
            message = "has no image and no row of numbers, so it is not a label file"
            found.append(Problem("path", path, None, faults[0].value if faults[0] else "", "ignored", message))
        else:
            found.append(Problem("missing image", path, None, f"{count} rows", "rows refused", "has no image"))
    return notes


def _begins_with_numbers(row: str) -> bool:
    """Return True if the first two words of a row are numbers, as in a label row that lacks something.

    >>> _begins_with_numbers("0,0.5,0.5"), _begins_with_numbers("2 wheels")
    (True, False)
    """
    try:
        return len([float(word) for word in row.replace(",", " ").split()[:2]]) == 2
    except ValueError:
        return False


def _without_image(paths: Sequence[str], folders: Sequence[str]) -> list[str]:
    """Return the label files below some folders that are not among `paths`."""
    expected = set(paths)
    found = [os.path.normpath(path) for folder in folders for path in walk(folder or os.curdir, [".txt"])]
    return [path for path in dict.fromkeys(found) if path not in expected and os.path.basename(path) not in NAME_FILES]
