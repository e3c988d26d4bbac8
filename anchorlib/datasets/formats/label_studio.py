"""Read Label Studio's exports JSON and JSON-MIN: a list of tasks, with boxes in percent of the image."""

from __future__ import annotations

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
    number_from,
    points_from,
    read_json,
    text_from,
)
from anchorlib.datasets.io.file_log import is_folder
from anchorlib.datasets.io.files import shorten
from anchorlib.datasets.validation import Fault, Labels
from anchorlib.errors import DatasetError

_SHARE = 0.01  # of the image, in one percent


def find_label_studio(path: str) -> Optional[str]:
    """Return a .json file with tasks."""
    if is_folder(path):
        return None
    bracket, keys = json_keys(path)
    is_full = "result" in keys and bool(keys & {"annotations", "completions", "data"})
    is_short = bool(keys & {"rectanglelabels", "polygonlabels", "original_width"})
    return path if bracket == "[" and (is_full or is_short) else None


def read_label_studio(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a file; DatasetError. A task's last annotation that was not cancelled counts."""
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise DatasetError(f"{path}: expected a list of tasks as in Label Studio, got {shorten(tasks)}.")
    collector = Collector(os.path.dirname(path) or os.curdir, "region")
    for number, task in enumerate(tasks, start=1):
        task = task if isinstance(task, dict) else {}
        regions = _regions(task)
        sizes = [(number_from(r.get("original_width")), number_from(r.get("original_height"))) for r in regions]
        rows = [row for at, region in enumerate(regions, start=1) for row in _rows(at, region)]
        size = sizes[0] if sizes else (math.nan, math.nan)
        if sizes or _is_annotated(task):
            collector.add(_image_name(task) or f"task {number}", path, size, rows, in_shares=True)
    return collector.labels()


def _annotations(task: dict[str, Any]) -> list[dict[str, Any]]:
    found = task.get("annotations", task.get("completions"))
    found = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    return [item for item in found if not item.get("was_cancelled")]


def _is_annotated(task: dict[str, Any]) -> bool:
    """Return True for a task that somebody has looked at; one without an annotation is not yet labelled."""
    return bool(_annotations(task))


def _regions(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the regions of a task: its last annotation (JSON), or every list of regions (JSON-MIN)."""
    annotations = _annotations(task)
    results = [annotations[-1].get("result")] if annotations else [v for v in task.values() if isinstance(v, list)]
    regions = [region for result in results if isinstance(result, list) for region in result]
    return [
        region
        for region in regions
        if isinstance(region, dict) and ("value" in region or "width" in region or "points" in region)
    ]


def _image_name(task: dict[str, Any]) -> str:
    """Return the name of the task's image: exports have it as a path, URL, or ?d=PATH."""
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    values = [text_from(data.get(key)) for key in ("image", "img", "url", *data)] if isinstance(data, dict) else []
    name = next((value for value in values if "." in os.path.basename(value)), "")
    return name.rpartition("?d=")[2]


def _rows(number: int, region: dict[str, Any]) -> list[Row]:
    """Return the row of a region. Regions of other kinds (choices, relations, texts) are no rows."""
    value = region.get("value", region)
    value = value if isinstance(value, dict) else {}
    labels = next((v for k, v in value.items() if k.endswith("labels") and isinstance(v, list)), [])
    kind = str(region.get("type", "rectanglelabels"))
    if not kind.startswith(("rectangle", "polygon", "ellipse")):
        return []
    image_w, image_h = number_from(region.get("original_width")), number_from(region.get("original_height"))
    aspect = image_h / image_w if image_w > 0 and image_h > 0 else math.nan
    return [Row(number, text_from(labels[0]) if labels else "", _box(value, aspect))]


def _box(value: dict[str, Any], aspect: float) -> Union[Corners, Fault]:
    """Return the bounding box in fractions of the image, whose height is `aspect` times its width."""
    turn = math.radians(number_from(value.get("rotation") or 0))
    cos, sin = math.cos(turn), math.sin(turn)
    if sin and math.isnan(aspect):
        return Fault("not a number", "a turned shape needs original_width and original_height", shorten(value))
    if "points" in value:
        box = box_around(points_from(value["points"]), value["points"])
    elif "radiusX" in value:
        x, y, rx, ry = (number_from(value.get(key)) for key in ("x", "y", "radiusX", "radiusY"))
        if sin:
            rx, ry = math.hypot(rx * cos, ry * aspect * sin), math.hypot(rx / aspect * sin, ry * cos)
        box = box_of((x - rx, y - ry, x + rx, y + ry), value)
    else:
        x, y, width, height = (number_from(value.get(key)) for key in ("x", "y", "width", "height"))
        box = box_of((x, y, x + width, y + height), value)
        if sin and not isinstance(box, Fault):  # turned clockwise around its first corner
            sides = [(across, down * aspect) for across in (0, width) for down in (0, height)]
            box = box_around([(x + a * cos - d * sin, y + (a * sin + d * cos) / aspect) for a, d in sides], value)
    if isinstance(box, Fault):
        return box
    left, top, right, bottom = (side * _SHARE for side in box)
    return left, top, right, bottom
