"""Read CVAT for images and CVAT for video: annotations.xml with the shapes of all images."""

from __future__ import annotations

import math
import os
from typing import Any, Optional, Union
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from anchorlib.datasets.formats.collect import (
    FILE_LIMIT,
    Collector,
    Corners,
    Row,
    Size,
    box_around,
    box_of,
    head_of,
    not_a_box,
    number_from,
    split_names,
)
from anchorlib.datasets.io.file_log import FILE, is_folder, look
from anchorlib.datasets.io.files import read_logged, shorten
from anchorlib.datasets.validation import Fault, Labels
from anchorlib.errors import DatasetError

_SHAPES = ("box", "polygon", "ellipse", "mask", "polyline", "points", "cuboid", "skeleton")
_BOX = ("xtl", "ytl", "xbr", "ybr")


def find_cvat(path: str) -> Optional[str]:
    """Return an .xml file with annotations of many images, or the file annotations.xml of a folder."""
    file = os.path.join(path, "annotations.xml") if is_folder(path) else path
    if not file.lower().endswith(".xml") or look(file) != FILE:
        return None
    return file if "<annotations" in head_of(file) else None


def read_cvat(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a file, or those of the subset that has the name of the split; DatasetError."""
    try:
        root = fromstring(read_logged(path, FILE_LIMIT))
    except DefusedXmlException as error:
        message = f"{path}: is not read because it has a harmful declaration ({type(error).__name__})."
        raise DatasetError(message) from error
    except (OSError, ParseError, ValueError, LookupError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}.") from error
    collector = Collector(os.path.dirname(path) or os.curdir, "shape")
    images = _of_split(path, root.findall("image"), split)
    for image in images:
        shapes = [shape for shape in image if shape.tag in _SHAPES]
        collector.add(image.get("name") or image.get("id") or "", path, _size(image.get), _rows(shapes))
    _add_tracks(collector, path, root)
    return collector.labels()


def _of_split(path: str, images: list[Any], split: str) -> list[Any]:
    """Return the images of a subset. Only exports of projects have subsets; any other file is one split."""
    chosen = [image for image in images if image.get("subset", "").lower() in split_names(split)]
    if chosen or split in ("train", "all"):
        return chosen or images
    subsets = sorted({image.get("subset", "") for image in images} - {""})
    raise DatasetError(f"{path}: looked for the subset {split!r}, found {', '.join(subsets) or 'no subsets'}.")


def _add_tracks(collector: Collector, path: str, root: Any) -> None:
    """Add the frames of a video: each visible box of each track."""
    frames: dict[str, list[tuple[Any, str]]] = {}
    for track in root.findall("track"):
        for shape in track:
            if shape.tag in _SHAPES and shape.get("outside") != "1":
                frames.setdefault(shape.get("frame") or "", []).append((shape, track.get("label") or ""))
    original = root.find(".//original_size")
    size = (math.nan, math.nan) if original is None else _size(lambda side: original.findtext(side))
    for frame, shapes in frames.items():
        rows = [Row(number, label.strip(), _box(shape)) for number, (shape, label) in enumerate(shapes, start=1)]
        collector.add(f"frame {frame}", path, size, rows)


def _size(get: Any) -> Size:
    return number_from(get("width")), number_from(get("height"))


def _rows(shapes: list[Any]) -> list[Row]:
    return [
        Row(number, (shape.get("label") or "").strip(), _box(shape)) for number, shape in enumerate(shapes, start=1)
    ]


def _box(shape: Any) -> Union[Corners, Fault]:
    """Return the bounding box of a shape, rotated as CVAT rotates it."""
    if shape.tag in ("polyline", "points", "cuboid", "skeleton"):
        return not_a_box(shape.tag)
    if shape.tag == "polygon":
        pairs = [point.split(",") for point in (shape.get("points") or "").split(";")]
        points = [(number_from(pair[0]), number_from(pair[-1])) for pair in pairs if len(pair) == 2]
        return box_around(points, shape.get("points"))
    shown = dict(shape.attrib)
    if shape.tag == "ellipse":
        x, y, rx, ry = (number_from(shape.get(key)) for key in ("cx", "cy", "rx", "ry"))
        return box_of((x - rx, y - ry, x + rx, y + ry), shown)
    if shape.tag == "mask":
        left, top, width, height = (number_from(shape.get(key)) for key in ("left", "top", "width", "height"))
        return box_of((left, top, left + width, top + height), shown)
    if any(shape.get(side) is None for side in _BOX):
        return Fault("wrong number of fields", f"expected a box with {', '.join(_BOX)}", shorten(shown))
    box = box_of((shape.get(side) for side in _BOX), {side: shape.get(side) for side in _BOX})
    angle = number_from(shape.get("rotation") or 0)
    return box if isinstance(box, Fault) or not angle or math.isnan(angle) else _rotated(box, math.radians(angle))


def _rotated(box: Corners, angle: float) -> Corners:
    """Return the bounding box of a box that is rotated around its centre."""
    left, top, right, bottom = box
    x, y = (left + right) / 2, (top + bottom) / 2
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    half_w = ((right - left) * cos + (bottom - top) * sin) / 2
    half_h = ((right - left) * sin + (bottom - top) * cos) / 2
    return x - half_w, y - half_h, x + half_w, y + half_h
