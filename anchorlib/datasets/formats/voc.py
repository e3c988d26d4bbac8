"""Read Pascal VOC: .xml files with the objects of one image each, in any folder, with or without lists of splits."""

from __future__ import annotations

import os
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml import DefusedXmlException

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.voc_files import Layout, find_voc, voc_files
from anchorlib.datasets.formats.voc_xml import is_in_degrees, object_box, parse_voc_xml, to_number, upright_size
from anchorlib.datasets.io.files import in_order, read_or_error, shorten
from anchorlib.datasets.io.image_header import image_size
from anchorlib.datasets.io.image_index import ImageIndex, image_folders
from anchorlib.datasets.validation import Fault, Labels, is_image_size

__all__ = ["find_voc", "read_voc"]


def read_voc(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a split, or of all annotations; DatasetError. Sides are xmax - xmin and ymax - ymin."""
    problems: list[Problem] = []
    layout, files = voc_files(path, split, problems)
    images = ImageIndex([layout.root, *image_folders(layout.folder), *image_folders(layout.root)])
    image_wh: list[tuple[float, float]] = []
    names: list[str] = []
    kept_files: list[str] = []
    owners: list[int] = []
    numbers: list[int] = []
    class_names: list[str] = []
    boxes: list[tuple[float, ...]] = []
    angles: dict[int, float] = {}  # by row
    faults: dict[int, Fault] = {}
    lost_rows = 0
    for file, content in zip(files, in_order(read_or_error, files, "annotations", progress, workers)):
        root = _parse(file, content, problems)
        if root is None:
            continue
        objects = list(root.iter("object"))
        size = _image_size(layout, images, file, root, len(objects), problems)
        if size is None:
            lost_rows += len(objects)
            continue
        for number, item in enumerate(objects, start=1):
            box = object_box(item)
            if isinstance(box, Fault):
                faults[len(boxes)] = box
                box = (np.nan,) * 4
            elif len(box) == 5:
                angles[len(boxes)] = box[4]
            boxes.append(box[:4])
            owners.append(len(names))
            numbers.append(number)
            class_names.append((item.findtext("name") or "").strip())
        image_wh.append(size)
        kept_files.append(file)
        names.append((root.findtext("filename") or "").strip() or os.path.splitext(os.path.basename(file))[0])
    if not boxes and not lost_rows and names:
        message = f"none of {len(names)} .xml files has an <object>"
        problems.append(Problem("no boxes", path, None, "", "left out", message))
    if angles:
        problems.append(_turn(path, boxes, angles))
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
        class_words=tuple(unique_names),
    )


def _turn(path: str, boxes: list[tuple[float, ...]], angles: dict[int, float]) -> Problem:
    """Replace each rotated rectangle by its bounding box, in place; return the remark that says by which rule."""
    degrees = is_in_degrees(angles.values())
    for row, angle in angles.items():
        left, top, width, height = boxes[row]
        boxes[row] = left, top, *upright_size(width, height, np.deg2rad(angle) if degrees else angle)
    unit = (
        "degrees, because some are beyond a full turn in radians" if degrees else "radians, as roLabelImg writes them"
    )
    message = f"{len(angles)} rotated boxes count as their bounding boxes; their angles are read as {unit}"
    return Problem("rotated box", path, None, "", "read", message)


def _parse(file: str, content: bytes | OSError, problems: list[Problem]) -> Any:
    """Return the root element; None, and a problem, if the file is missing or unreadable."""
    try:
        if isinstance(content, OSError):
            raise content
        root, remark = parse_voc_xml(content)
        if "annotation" not in root.tag and root.find(".//object") is None:
            raise ValueError(f"not a Pascal VOC file; its first element is {shorten(root.tag)}")
        if remark:
            problems.append(Problem("encoding", file, None, "", "read", remark))
        return root
    except FileNotFoundError:
        # An image of the list without annotation: its size is unknown, but it has no boxes.
        problems.append(Problem("missing label", file, None, "", "left out", "is not there"))
    except DefusedXmlException as error:
        message = f"is not read because it has a harmful declaration ({type(error).__name__})"
        problems.append(Problem("unreadable label", file, None, "", "image refused", message))
    except (OSError, ParseError, ValueError, LookupError, RecursionError) as error:
        problems.append(Problem("unreadable label", file, None, "", "image refused", f"cannot be read: {error}"))
    return None


def _image_size(
    layout: Layout, images: ImageIndex, file: str, root: Any, n_objects: int, problems: list[Problem]
) -> tuple[float, float] | None:
    """Return the size in <size>, else in the image's header; None, and a problem, if neither has one."""
    width, height = to_number(root.findtext("size/width")), to_number(root.findtext("size/height"))
    if is_image_size(width, height):
        return width, height
    name = (root.findtext("filename") or "").strip()
    folder = (root.findtext("folder") or "").strip()
    stem = os.path.splitext(os.path.relpath(file, layout.folder))[0]
    image = images.find(f"{folder}/{name}" if name else "", file) or images.find(stem, file)
    reason = "there is no such image in the folders of the data set"
    if image:
        try:
            width, height, rotated = image_size(image)
        except OSError as error:
            reason = f"{image} cannot be read: {error}"
        else:
            if rotated:
                message = "EXIF turns it, its sides are swapped"
                problems.append(Problem("exif rotation", image, None, "", "read", message))
            return width, height
    message = f"expected <size> with width and height of 1 or more, or the image; {reason}"
    problems.append(Problem("image without size", file, None, f"{n_objects} rows", "image refused", message))
    return None
