"""Read LabelMe (also written by AnyLabeling and X-AnyLabeling): a .json file for each image, or a folder of them."""

from __future__ import annotations

import json
import math
import os
from typing import Any, Optional, Union

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.collect import (
    FILE_LIMIT,
    Collector,
    Corners,
    Row,
    Size,
    box_around,
    first_file,
    json_keys,
    not_a_box,
    number_from,
    points_from,
    split_folder,
    text_from,
)
from anchorlib.datasets.io.file_log import is_folder
from anchorlib.datasets.io.files import in_order, read_logged, shorten, walk
from anchorlib.datasets.io.text import decode_text
from anchorlib.datasets.validation import Fault, Labels
from anchorlib.errors import DatasetError

FOLDERS = ("", "train", "labels", "annotations", "json", "jsons", "images")  # that may hold the files
_WITHOUT_AREA = ("point", "line", "linestrip", "points")


def find_labelme(path: str) -> Optional[str]:
    """Return a .json file with shapes, or a folder with such files."""
    if not is_folder(path):
        return path if _is_labelme(path) else None
    return next((path for folder in FOLDERS if _is_labelme(first_file(os.path.join(path, folder), ".json"))), None)


def _is_labelme(file: str) -> bool:
    bracket, keys = json_keys(file)
    return bracket == "{" and "shapes" in keys and bool(keys & {"shape_type", "imagePath", "imageHeight", "version"})


def read_labelme(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of all files of a folder, or of its subfolder of the split; DatasetError."""
    folder = split_folder(path, split) if is_folder(path) else os.path.dirname(path) or os.curdir
    files = walk(folder, [".json"]) if is_folder(path) else [path]
    if not files:
        raise DatasetError(f"{folder}: looked for .json files as in LabelMe, found no such file.")
    collector = Collector(folder, "shape")
    for file, content in zip(files, in_order(_content_or_error, files, "annotations", progress, workers)):
        if isinstance(content, Exception):
            message = f"cannot be read: {getattr(content, 'strerror', None) or content}"
            collector.problems.append(Problem("unreadable label", file, None, "", "image refused", message))
        elif not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            message = "expected an object with a list 'shapes', as in LabelMe"
            collector.problems.append(Problem("unreadable label", file, None, "", "left out", message))
        else:
            _add(collector, file, content)
    return collector.labels()


def _content_or_error(file: str) -> Union[Any, Exception]:
    """Return the content of a JSON file, or the error. The image is dropped: it may have megabytes."""
    try:
        content = json.loads(decode_text(read_logged(file, FILE_LIMIT)))
    except (OSError, ValueError, RecursionError) as error:
        return error
    if isinstance(content, dict):
        content.pop("imageData", None)
    return content


def _add(collector: Collector, file: str, content: dict[str, Any]) -> None:
    size: Size = (number_from(content.get("imageWidth")), number_from(content.get("imageHeight")))
    name = text_from(content.get("imagePath")) or os.path.splitext(os.path.basename(file))[0]
    shapes = [shape if isinstance(shape, dict) else {} for shape in content["shapes"]]
    rows = [Row(number, text_from(shape.get("label")), _box(shape)) for number, shape in enumerate(shapes, start=1)]
    collector.add(name, file, size, rows)


def _box(shape: dict[str, Any]) -> Union[Corners, Fault]:
    """Return the bounding box of a shape."""
    kind, points = shape.get("shape_type"), points_from(shape.get("points"))
    if kind in _WITHOUT_AREA:
        return not_a_box(kind)
    if kind == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.hypot(edge[0] - x, edge[1] - y)
        points = [(x - radius, y - radius), (x + radius, y + radius)]
    if not points:
        return Fault("wrong number of fields", "expected points [[x, y], ...]", shorten(shape.get("points")))
    return box_around(points, shape.get("points"))
