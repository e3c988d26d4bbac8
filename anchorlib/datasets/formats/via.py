"""Read the VGG Image Annotator (VIA 1 and 2): its .json export or project. `csv_table` reads its .csv export."""

from __future__ import annotations

import json
import math
import os
from typing import Any, Optional, Union

from anchorlib.datasets.formats.collect import (
    Collector,
    Corners,
    Row,
    box_around,
    box_of,
    json_keys,
    not_a_box,
    number_from,
    read_json,
    text_from,
)
from anchorlib.datasets.io.file_log import is_folder
from anchorlib.datasets.io.files import shorten
from anchorlib.datasets.validation import Fault, Labels
from anchorlib.errors import DatasetError


def find_via(path: str) -> Optional[str]:
    """Return a .json file with regions."""
    if is_folder(path):
        return None
    bracket, keys = json_keys(path)
    is_project = "_via_img_metadata" in keys or "_via_settings" in keys
    return path if bracket == "{" and (is_project or keys >= {"filename", "regions"}) else None


def read_via(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a file; DatasetError. The size of each image is read from the image."""
    content = read_json(path)
    images = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    if not isinstance(images, dict):
        raise DatasetError(f"{path}: expected an object of images as in VIA, got {shorten(content)}.")
    collector = Collector(os.path.dirname(path) or os.curdir, "region", "VIA")
    for key, image in images.items():
        if isinstance(image, dict) and "regions" in image:
            regions = image["regions"]
            regions = list(regions.values()) if isinstance(regions, dict) else regions  # VIA 1 numbers them
            rows = [_row(at, region) for at, region in enumerate(regions if isinstance(regions, list) else [], start=1)]
            collector.add(text_from(image.get("filename")) or key, path, (math.nan, math.nan), rows)
    return collector.labels()


def _row(number: int, region: Any) -> Row:
    region = region if isinstance(region, dict) else {}
    return Row(number, class_of(region.get("region_attributes")), shape_box(region.get("shape_attributes")))


def class_of(attributes: Any) -> str:
    """Return the class name that the attributes of a region hold: people choose the attribute's name."""
    attributes = attributes if isinstance(attributes, dict) else {}
    for value in (attributes.get("class"), attributes.get("label"), attributes.get("name"), *attributes.values()):
        value = next(iter(value), "") if isinstance(value, dict) else value  # of a checkbox: {"cat": true}
        if text_from(value):
            return text_from(value)
    return ""


def shape_box(shape: Any) -> Union[Corners, Fault]:
    """Return the bounding box of a shape of VIA."""
    shape = shape if isinstance(shape, dict) else {}
    kind = shape.get("name")
    if kind in ("point", "polyline"):
        return not_a_box(kind)
    if kind in ("circle", "ellipse"):
        radii = (shape.get("r"),) * 2 if kind == "circle" else (shape.get("rx"), shape.get("ry"))
        x, y, rx, ry = map(number_from, (shape.get("cx"), shape.get("cy"), *radii))
        return box_of((x - rx, y - ry, x + rx, y + ry), shape)
    if kind == "polygon":
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        pairs = zip(xs, ys) if isinstance(xs, list) and isinstance(ys, list) else []
        return box_around([(number_from(x), number_from(y)) for x, y in pairs], shape)
    if kind != "rect":
        return Fault("wrong number of fields", "expected shape_attributes with a rect or polygon", shorten(shape))
    x, y, width, height = (number_from(shape.get(side)) for side in ("x", "y", "width", "height"))
    return box_of((x, y, x + width, y + height), shape)


def parse_attributes(text: str) -> Any:
    """Return the JSON object of a cell of VIA's .csv export; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
