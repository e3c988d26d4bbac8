"""Read COCO: one JSON file with images, annotations (boxes x, y, w, h in pixels) and categories."""

from __future__ import annotations

import json
import math
import os
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, Optional

import numpy as np

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.json_stream import PIECE_BYTES, NotInPiecesError, read_pieces
from anchorlib.datasets.io.file_log import is_folder
from anchorlib.datasets.io.files import MEGABYTE, open_logged, read_logged, shorten, with_bar
from anchorlib.datasets.validation import Fault, Labels, is_image_size
from anchorlib.errors import DatasetError

JSON_LIMIT = 1024 * MEGABYTE
LISTS = ("images", "annotations")


def find_coco(path: str) -> Optional[str]:
    """Return the path if it ends in .json."""
    return path if path.lower().endswith(".json") and not is_folder(path) else None


def read_coco(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of an annotations file, which is one split; DatasetError.

    Crowd and ignored annotations are left out, because YOLO does not train on them. The file is read piece by piece.
    A file that is broken or has an unusual layout is read whole. One thread reads the file.
    """
    try:
        found = _collect(path, _in_pieces(path, progress))
    except NotInPiecesError:
        found = _collect(path, with_bar(_whole(path).items(), "annotations", progress))
    images, annotations, category_items = found
    problems = images.problems
    categories = _categories(category_items)

    owner_of = [images.index_of.get(_key(image_id), -1) for image_id in annotations.image_ids]
    unknown: dict[str, int] = {}  # rows by image id
    owner_codes = np.asarray(annotations.owners, np.int64)
    for image_id, count in zip(annotations.image_ids, np.bincount(owner_codes, minlength=len(owner_of))):
        key = _key(image_id)
        if key not in images.index_of:
            unknown[key] = unknown.get(key, 0) + int(count)
    for image_id, count in unknown.items():
        message = f"annotations belong to image {image_id}, which is not among the images"
        problems.append(Problem("missing image", path, None, f"{count} rows", "rows refused", message))
    owners = np.asarray(owner_of, np.int64)[owner_codes]
    class_of = [categories.get(_key(category), len(categories)) for category in annotations.category_ids]
    classes = np.asarray(class_of, np.float64)[np.asarray(annotations.classes, np.int64)]

    # Annotations come in any order; a stable sort groups them by image and keeps the order within an image.
    order = np.argsort(owners, kind="stable")[int((owners < 0).sum()) :]
    place = {int(row): position for position, row in enumerate(order)} if annotations.faults else {}
    return Labels(
        image_names=images.names,
        image_wh=np.asarray(images.sizes, np.float64).reshape(-1, 2),
        image_index=owners[order],
        files=[path] * len(images.names),
        row_numbers=order,
        row_word="annotation",
        classes=classes[order],
        boxes=np.asarray(annotations.boxes, np.float64).reshape(-1, 4)[order],
        faults={place[row]: fault for row, fault in annotations.faults.items() if row in place},
        class_names=tuple(_category_names(category_items, categories)),
        n_classes=len(categories) or None,
        problems=problems,
        lost_rows=len(owners) - len(order),
        box_units="corner",
    )


class _Images:
    """Collect the images with a size, and the row of each image id; -1 for an image without a size."""

    def __init__(self, path: str):
        self.path = path
        self.sizes: list[tuple[float, float]] = []
        self.names: list[str] = []
        self.index_of: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.count = 0

    def add(self, image: Any) -> None:
        number, self.count = self.count, self.count + 1
        image = image if isinstance(image, dict) else {}
        image_id, width, height = _key(image.get("id")), _number(image.get("width")), _number(image.get("height"))
        name = image.get("file_name")
        name = name if isinstance(name, str) else f"image {image_id}"
        if image_id in self.index_of:
            message = f"images {number}: the id {image_id} repeats an earlier one"
            self.problems.append(Problem("duplicate row", self.path, None, name, "image refused", message))
        elif not is_image_size(width, height):
            value = f"{shorten(image.get('width'))} x {shorten(image.get('height'))}"
            message = f"images {number} ({name}): width and height must be 1 or more"
            self.problems.append(Problem("image without size", self.path, None, value, "image refused", message))
            self.index_of[image_id] = -1
        else:
            self.index_of[image_id] = len(self.sizes)
            self.sizes.append((width, height))
            self.names.append(name)


class _Annotations:
    """Collect columns of annotations. Images and categories may follow in the file, so ids are kept, numbered."""

    def __init__(self) -> None:
        self.image_ids: dict[object, int] = {}
        self.category_ids: dict[object, int] = {}
        self.owners = array("q")
        self.classes = array("q")
        self.boxes = array("d")  # four for each annotation: cx, cy, w, h
        self.faults: dict[int, Fault] = {}

    def add(self, annotation: Any) -> None:
        annotation = annotation if isinstance(annotation, dict) else {}
        box = _box(annotation)
        if isinstance(box, Fault):
            self.faults[len(self.owners)] = box
            box = (math.nan,) * 4
        self.boxes.extend(box)
        self.owners.append(_number_of(self.image_ids, annotation.get("image_id")))
        self.classes.append(_number_of(self.category_ids, annotation.get("category_id")))


def _number_of(numbers: dict[object, int], value: object) -> int:
    """Return the number of an id; a new id gets a new number. Other types become texts, because True == 1."""
    if type(value) is not int and type(value) is not str:
        value = _key(value)
    return numbers.setdefault(value, len(numbers))


def _collect(path: str, pieces: Iterable[tuple[str, Any]]) -> tuple[_Images, _Annotations, object]:
    images, annotations, categories = _Images(path), _Annotations(), None
    for key, value in pieces:
        if key == "images":
            for image in value:
                images.add(image)
        elif key == "annotations":
            for annotation in value:
                annotations.add(annotation)
        elif key == "categories":
            categories = value
    return images, annotations, categories


def _in_pieces(path: str, progress: bool) -> Iterator[tuple[str, Any]]:
    try:
        descriptor, size = open_logged(path, JSON_LIMIT)
        try:
            yield from with_bar(read_pieces(descriptor, LISTS), "annotations", progress, total=size // PIECE_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _whole(path: str) -> dict[str, Any]:
    try:
        content = json.loads(read_logged(path, JSON_LIMIT))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not a JSON file that can be read: {error}.") from error
    if not isinstance(content, dict):
        what = f"a list of {len(content)}, perhaps detections" if isinstance(content, list) else shorten(content)
        raise DatasetError(f"{path}: expected a COCO object with images, annotations and categories, got {what}.")
    for key in LISTS:
        if not isinstance(content.get(key), list):
            raise DatasetError(f"{path}: looked for a list {key!r} as in COCO, found {shorten(sorted(content))}.")
    return content


def _key(value: object) -> str:
    """Return an id as text. Ids are numbers in COCO and strings in some exports; 7, 7.0 and '7' are one id."""
    if type(value) is int and abs(value) < 2**63:
        return str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else shorten(value)


def _number(value: object) -> float:
    """Return a finite number, or NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan


def _box(annotation: dict[str, Any]) -> tuple[float, ...] | Fault:
    """Return (cx, cy, w, h), or a Fault if there is no box."""
    if annotation.get("iscrowd"):
        return Fault("crowd", "a crowd is not one box", shorten(annotation.get("bbox")), "left out")
    if annotation.get("ignore"):
        return Fault("ignored", "marked as to be ignored", shorten(annotation.get("bbox")), "left out")
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return Fault("wrong number of fields", "expected bbox [x, y, w, h]", shorten(box))
    numbers = box
    if set(map(type, box)) != {float} or not math.isfinite(sum(box)):  # all but the usual four finite floats
        numbers = list(map(_number, box))
    left, top, width, height = numbers
    if math.isnan(left + top + width + height):
        return Fault("not a number", "expected four finite numbers", shorten(box))
    return left + width / 2, top + height / 2, width, height


def _categories(categories: object) -> dict[str, int]:
    """Return the class numbers by category id, in the order of the ids."""
    if not isinstance(categories, list):
        return {}
    ids = {_key(item.get("id")): item.get("id") for item in categories if isinstance(item, dict)}
    return {key: number for number, key in enumerate(sorted(ids, key=lambda key: (_number(ids[key]), key)))}


def _category_names(categories: object, numbers: dict[str, int]) -> list[str]:
    names = list(numbers)
    for item in categories if isinstance(categories, list) else []:
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            names[numbers[_key(item.get("id"))]] = item["name"]
    return names
