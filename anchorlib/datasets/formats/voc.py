"""Read Pascal VOC: a folder with Annotations/*.xml, and ImageSets/Main/<split>.txt if it has splits."""

from __future__ import annotations

import os
from typing import Any, Optional
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.io.files import IMAGE_SUFFIXES, in_order, read_lines, read_or_error, walk
from anchorlib.datasets.io.image_header import image_size
from anchorlib.datasets.validation import Fault, Labels, is_image_size
from anchorlib.errors import DatasetError

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def find_voc(path: str) -> Optional[str]:
    """Return a folder that holds a folder Annotations."""
    return path if os.path.isdir(os.path.join(path, "Annotations")) else None


def read_voc(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a split, or of all annotations; DatasetError. Sides are xmax - xmin and ymax - ymin."""
    problems: list[Problem] = []
    files = _annotation_files(path, split, problems)
    image_wh: list[tuple[float, float]] = []
    names: list[str] = []
    kept_files: list[str] = []
    owners: list[int] = []
    numbers: list[int] = []
    class_names: list[str] = []
    boxes: list[tuple[float, ...]] = []
    faults: dict[int, Fault] = {}
    lost_rows = 0
    for file, content in zip(files, in_order(read_or_error, files, "annotations", progress, workers)):
        root = _parse(file, content, problems)
        if root is None:
            continue
        objects = root.findall("object")
        size = _image_size(path, file, root, len(objects), problems)
        if size is None:
            lost_rows += len(objects)
            continue
        for number, item in enumerate(objects, start=1):
            box = _box(item)
            if isinstance(box, Fault):
                faults[len(boxes)] = box
                box = (np.nan,) * 4
            boxes.append(box)
            owners.append(len(names))
            numbers.append(number)
            class_names.append((item.findtext("name") or "").strip())
        image_wh.append(size)
        kept_files.append(file)
        names.append((root.findtext("filename") or "").strip() or os.path.splitext(os.path.basename(file))[0])
    unique_names = sorted(set(class_names))
    class_of = {name: number for number, name in enumerate(unique_names)}
    return Labels(
        image_names=names,
        image_wh=np.asarray(image_wh, np.float64).reshape(-1, 2),
        image_index=np.asarray(owners, np.int64),
        files=kept_files,
        row_numbers=np.asarray(numbers, np.int64),
        row_word="object",
        classes=np.asarray([class_of[name] for name in class_names], np.float64),
        boxes=np.asarray(boxes, np.float64).reshape(-1, 4),
        faults=faults,
        class_names=tuple(unique_names),
        n_classes=len(unique_names) or None,
        problems=problems,
        lost_rows=lost_rows,
        box_units="corners",
    )


def _annotation_files(path: str, split: str, problems: list[Problem]) -> list[str]:
    folder = os.path.join(path, "Annotations")
    everything = walk(folder, [".xml"])
    if not everything:
        raise DatasetError(f"{path}: looked for Annotations/*.xml as in Pascal VOC, found no such file.")
    if split == "all":
        return everything
    list_file = os.path.join(path, "ImageSets", "Main", f"{split}.txt")
    try:
        # A list of one class has a second column, -1, 0 or 1.
        stems = [
            line.rpartition(" ")[0].strip() if line.endswith((" 1", " 0", " -1")) else line
            for line in read_lines(list_file)
        ]
    except OSError as error:
        if split == "train":
            message = f"cannot be read ({error.strerror or error}); all annotations are taken"
            problems.append(Problem("path", list_file, None, "", "read", message))
            return everything
        there = [os.path.basename(name)[:-4] for name in walk(os.path.dirname(list_file), [".txt"])]
        raise DatasetError(
            f"{path}: looked for the split {split!r} in {list_file} ({error.strerror or error}), "
            f"found {', '.join(there) or 'no lists'}. "
            "Take one of these, or split='all'."
        ) from error
    return [os.path.join(folder, f"{stem}.xml") for stem in dict.fromkeys(stems)]


def _parse(file: str, content: bytes | OSError, problems: list[Problem]) -> Any:
    """Return the root element; None, and a problem, if the file is missing or unreadable."""
    try:
        if isinstance(content, OSError):
            raise content
        return fromstring(content)
    except FileNotFoundError:
        # An image of the list without annotation: its size is unknown, but it has no boxes.
        problems.append(Problem("missing label", file, None, "", "left out", "is not there"))
    except DefusedXmlException as error:
        message = f"is not read because it has a harmful declaration ({type(error).__name__})"
        problems.append(Problem("unreadable label", file, None, "", "image refused", message))
    except (OSError, ParseError, ValueError, LookupError, RecursionError) as error:
        problems.append(Problem("unreadable label", file, None, "", "image refused", f"cannot be read: {error}"))
    return None


def _image_size(path: str, file: str, root: Any, n_objects: int, problems: list[Problem]) -> tuple[float, float] | None:
    """Return the size in <size>, else in the image's header; None, and a problem, if neither has one."""
    width, height = _number(root.findtext("size/width")), _number(root.findtext("size/height"))
    if is_image_size(width, height):
        return width, height
    # Only the file's name: <filename> may name any path.
    name = os.path.basename((root.findtext("filename") or "").strip())
    stem = os.path.splitext(os.path.basename(file))[0]
    for candidate in dict.fromkeys([name, *(stem + suffix for suffix in (".jpg", *sorted(IMAGE_SUFFIXES)))]):
        image = os.path.join(path, "JPEGImages", candidate)
        try:
            width, height, rotated = image_size(image)
        except OSError:
            continue
        if rotated:
            problems.append(Problem("exif rotation", image, None, "", "read", "EXIF turns it, its sides are swapped"))
        return width, height
    message = "expected <size> with width and height of 1 or more, or the image in JPEGImages"
    problems.append(Problem("image without size", file, None, f"{n_objects} rows", "image refused", message))
    return None


def _number(text: str | None) -> float:
    """Return a finite number, or NaN."""
    try:
        number = float(text or "nan")
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan


def _box(item: Any) -> tuple[float, ...] | Fault:
    """Return (cx, cy, w, h) of the object's own box, not of its parts; or a Fault if there is no box."""
    box = item.find("bndbox")
    name = (item.findtext("name") or "").strip()[:60]
    if box is None or any(box.find(tag) is None for tag in CORNERS):
        return Fault("wrong number of fields", f"expected <bndbox> with {', '.join(CORNERS)}", name)
    left, top, right, bottom = (_number(box.findtext(tag)) for tag in CORNERS)
    if np.isnan(left + top + right + bottom):
        return Fault(
            "not a number",
            "expected finite numbers",
            " ".join(str(box.findtext(tag)) for tag in CORNERS)[:60],
        )
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
