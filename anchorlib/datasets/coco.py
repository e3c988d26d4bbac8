"""COCO: one JSON file with images, annotations (boxes x, y, w, h in pixels) and categories."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from anchorlib.datasets.checks import Fault, Labels, is_image_size
from anchorlib.datasets.files import MEGABYTE, read_regular, shorten, with_bar
from anchorlib.datasets.sizes import Problem
from anchorlib.errors import DatasetError

JSON_LIMIT = 1024 * MEGABYTE


def read_coco(path: str, split: str, progress: bool) -> Labels:
    """Labels of an annotations file, which is one split; DatasetError.

    Crowd and ignored annotations are left out: YOLO does not train on them.
    """
    content = _load(path)
    problems: list[Problem] = []
    image_wh, names, index_of = _images(path, content["images"], problems)
    categories = _categories(path, content.get("categories"))

    annotations = content["annotations"]
    boxes = np.full((len(annotations), 4), np.nan)
    classes = np.zeros(len(annotations))
    owners = np.full(len(annotations), -1)
    faults: dict[int, Fault] = {}
    unknown: dict[str, int] = {}  # rows by image id
    for row, annotation in enumerate(with_bar(annotations, "annotations", progress)):
        annotation = annotation if isinstance(annotation, dict) else {}
        image_id = _key(annotation.get("image_id"))
        owners[row] = index_of.get(image_id, -1)
        if owners[row] < 0:
            if image_id not in index_of:
                unknown[image_id] = unknown.get(image_id, 0) + 1
            continue
        category = _key(annotation.get("category_id"))
        classes[row] = categories.get(category, len(categories) if categories else 0)
        box = _box(annotation)
        if isinstance(box, Fault):
            faults[row] = box
        else:
            boxes[row] = box
    for image_id, count in unknown.items():
        message = f"annotations belong to image {image_id}, which is not among the images"
        problems.append(Problem("missing image", path, None, f"{count} rows", "rows refused", message))

    # Annotations come in any order; a stable sort puts them by image and keeps the order within one.
    order = np.argsort(owners, kind="stable")[int((owners < 0).sum()) :]
    place = {int(row): position for position, row in enumerate(order)} if faults else {}
    return Labels(
        image_names=names,
        image_wh=image_wh,
        image_index=owners[order],
        files=[path] * len(names),
        row_numbers=order,
        row_word="annotation",
        classes=classes[order],
        boxes=boxes[order],
        faults={place[row]: fault for row, fault in faults.items()},
        class_names=tuple(_category_names(content.get("categories"), categories)),
        n_classes=len(categories) or None,
        problems=problems,
        lost_rows=len(annotations) - len(order),
    )


def _load(path: str) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, JSON_LIMIT))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not a JSON file that can be read: {error}.") from error
    if not isinstance(content, dict):
        what = f"a list of {len(content)}, perhaps detections" if isinstance(content, list) else shorten(content)
        raise DatasetError(f"{path}: expected a COCO object with images, annotations and categories, got {what}.")
    for key in ("images", "annotations"):
        if not isinstance(content.get(key), list):
            raise DatasetError(f"{path}: looked for a list {key!r} as in COCO, found {shorten(sorted(content))}.")
    return content


def _key(value: object) -> str:
    """Ids are numbers in COCO, strings in some exports; 7, 7.0 and '7' are one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else shorten(value)


def _images(
    path: str, images: list[Any], problems: list[Problem]
) -> tuple[np.ndarray[Any, Any], list[str], dict[str, int]]:
    """Sizes and names of the images that have a size; by id their row, -1 for those without."""
    sizes: list[tuple[float, float]] = []
    names: list[str] = []
    index_of: dict[str, int] = {}
    for number, image in enumerate(images):
        image = image if isinstance(image, dict) else {}
        image_id, width, height = (
            _key(image.get("id")),
            _number(image.get("width")),
            _number(image.get("height")),
        )
        name = image.get("file_name")
        name = name if isinstance(name, str) else f"image {image_id}"
        if image_id in index_of:
            message = f"images {number}: the id {image_id} is there before"
            problems.append(Problem("duplicate row", path, None, name, "image refused", message))
        elif not is_image_size(width, height):
            value = f"{shorten(image.get('width'))} x {shorten(image.get('height'))}"
            message = f"images {number} ({name}): width and height must be 1 or more"
            problems.append(Problem("image without size", path, None, value, "image refused", message))
            index_of[image_id] = -1
        else:
            index_of[image_id] = len(sizes)
            sizes.append((width, height))
            names.append(name)
    return np.asarray(sizes, np.float64).reshape(-1, 2), names, index_of


def _number(value: object) -> float:
    """A finite number, or NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan


def _box(annotation: dict[str, Any]) -> tuple[float, ...] | Fault:
    """(cx, cy, w, h), or why there is none."""
    if annotation.get("iscrowd"):
        return Fault("crowd", "a crowd is not one box", shorten(annotation.get("bbox")), "left out")
    if annotation.get("ignore"):
        return Fault("ignored", "marked as to be ignored", shorten(annotation.get("bbox")), "left out")
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return Fault("wrong number of fields", "expected bbox [x, y, w, h]", shorten(box))
    left, top, width, height = map(_number, box)
    if math.isnan(left + top + width + height):
        return Fault("not a number", "expected four finite numbers", shorten(box))
    return left + width / 2, top + height / 2, width, height


def _categories(path: str, categories: object) -> dict[str, int]:
    """Class numbers by category id, in the order of the ids."""
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
