"""Read CreateML: a .json list of images, with the centre and size of each box in pixels."""

from __future__ import annotations

import os
from typing import Any, Optional, Union

from anchorlib.datasets.formats.collect import (
    Collector,
    Corners,
    Row,
    box_of,
    first_file,
    json_keys,
    number_from,
    read_json,
    split_folder,
    text_from,
)
from anchorlib.datasets.io.file_log import is_folder
from anchorlib.datasets.io.files import shorten, walk
from anchorlib.datasets.validation import Fault, Labels
from anchorlib.errors import DatasetError

_SIDES = ("x", "y", "width", "height")


def find_createml(path: str) -> Optional[str]:
    """Return a .json file with coordinates, or a folder with such a file in it or in its subfolder train."""
    if not is_folder(path):
        return path if _is_createml(path) else None
    return next(
        (path for folder in ("", "train") if _is_createml(first_file(os.path.join(path, folder), ".json"))), None
    )


def _is_createml(file: str) -> bool:
    bracket, keys = json_keys(file)
    return bracket == "[" and "coordinates" in keys and bool(keys & {"image", "imagefilename"})


def read_createml(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a file, or of all files of a folder or of its subfolder of the split; DatasetError."""
    folder = split_folder(path, split) if is_folder(path) else os.path.dirname(path) or os.curdir
    files = walk(folder, [".json"]) if is_folder(path) else [path]
    collector = Collector(folder, "annotation", "CreateML")
    for file in files:
        content = read_json(file)
        if not isinstance(content, list):
            raise DatasetError(f"{file}: expected a list of images as in CreateML, got {shorten(content)}.")
        for number, image in enumerate(content, start=1):
            image = image if isinstance(image, dict) else {}
            name = text_from(image.get("image")) or text_from(image.get("imagefilename")) or f"image {number}"
            boxes = image.get("annotations", image.get("annotation"))
            size = number_from(image.get("width")), number_from(image.get("height"))
            rows = [_row(at, box) for at, box in enumerate(boxes if isinstance(boxes, list) else [], start=1)]
            collector.add(name, file, size, rows)
    return collector.labels()


def _row(number: int, annotation: Any) -> Row:
    annotation = annotation if isinstance(annotation, dict) else {}
    return Row(number, text_from(annotation.get("label")), _box(annotation.get("coordinates")))


def _box(coordinates: Any) -> Union[Corners, Fault]:
    if not isinstance(coordinates, dict) or any(side not in coordinates for side in _SIDES):
        message = f"expected coordinates with {', '.join(_SIDES)}"
        return Fault("wrong number of fields", message, shorten(coordinates))
    box = box_of((coordinates[side] for side in _SIDES), coordinates)
    if isinstance(box, Fault):
        return box
    x, y, width, height = box
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
