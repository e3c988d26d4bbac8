"""Read a .csv with one box in each row: TensorFlow, RetinaNet, OpenImages, AutoML, VIA, Kaggle's, and others alike.

The columns are found by their names, whatever their order. RetinaNet's has no names and the columns image, left, top,
right, bottom, class.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional, Union

from anchorlib.datasets.formats.collect import (
    SPLIT_NAMES,
    Collector,
    Corners,
    Row,
    Size,
    box_of,
    brief,
    head_of,
    number_from,
    read_text,
    split_names,
)
from anchorlib.datasets.formats.via import class_of, parse_attributes, shape_box
from anchorlib.datasets.io.file_log import FILE, is_folder, look
from anchorlib.datasets.io.files import shorten
from anchorlib.datasets.validation import Fault, Labels
from anchorlib.errors import DatasetError

#: What a column means, and the names that people give it, without case, spaces and other marks.
COLUMNS = {
    "image": "filename image imageid imagename imagepath img imgname imgpath imgid path filepath file".split(),  # noqa: SIM905
    "name": "class label labelname classname category categoryname name classid categoryid labelid labels".split(),  # noqa: SIM905
    "width": ["width", "imagewidth", "imgwidth", "originalwidth"],
    "height": ["height", "imageheight", "imgheight", "originalheight"],
    "left": ["xmin", "x1", "left", "bboxx1", "xtl", "bboxxmin"],
    "top": ["ymin", "y1", "top", "bboxy1", "ytl", "bboxymin"],
    "right": ["xmax", "x2", "right", "bboxx2", "xbr", "bboxxmax"],
    "bottom": ["ymax", "y2", "bottom", "bboxy2", "ybr", "bboxymax"],
    "x": ["x", "bboxx", "boxx"],
    "y": ["y", "bboxy", "boxy"],
    "cx": ["xcenter", "centerx", "xcentre", "centrex", "cx", "xc", "bboxxcenter", "bboxcenterx"],
    "cy": ["ycenter", "centery", "ycentre", "centrey", "cy", "yc", "bboxycenter", "bboxcentery"],
    "w": ["w", "bboxwidth", "bboxw", "boxwidth", "boxw"],
    "h": ["h", "bboxheight", "bboxh", "boxheight", "boxh"],
    "box": ["bbox", "box"],
    "shape": ["regionshapeattributes"],
    "attributes": ["regionattributes"],
    "group": ["isgroupof"],
}
_CORNERS = ("left", "top", "right", "bottom")
_NOT_NUMBERS = ("image", "name", "box", "shape", "attributes")
_AUTOML = re.compile(r"(TRAIN(ING)?|VALIDAT(E|ION)|TEST|UNASSIGNED),[^,]*,[^,]*(,[^,]*){8}", re.IGNORECASE)
_WITHOUT_SPLIT = ("_annotations.csv", "annotations.csv", "labels.csv")
_OF_SPLIT = (
    *(f"{{split}}/{name}" for name in _WITHOUT_SPLIT),
    *("{split}.csv", "{split}_labels.csv", "{split}_annotations.csv", "{split}-annotations-bbox.csv"),
)


class _Table(NamedTuple):
    """Describe the columns of a file: where each one is, and whether the first line has their names."""

    column: dict[str, int]
    has_names: bool
    delimiter: str


def find_csv(path: str) -> Optional[str]:
    """Return a .csv file with boxes, or a folder with such a file for its split train."""
    if not is_folder(path):
        return path if path.lower().endswith((".csv", ".tsv")) and _table(head_of(path)) else None
    return path if _files(path, "train") else None


def _files(path: str, split: str) -> list[str]:
    """Return the files with boxes that a folder has for a split; for 'train' and 'all' also those without a split."""
    splits = [name for names in SPLIT_NAMES.values() for name in names] if split == "all" else split_names(split)
    names = [text.format(split=name) for name in splits for text in _OF_SPLIT]
    names += _WITHOUT_SPLIT if split in ("train", "all") else ()
    files = [os.path.join(path, *name.split("/")) for name in names]
    return [file for file in files if look(file) == FILE and _table(head_of(file))]


def read_csv(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a file, or of a folder's files for a split; DatasetError."""
    files = _files(path, split) if is_folder(path) else [path]
    if not files:
        raise DatasetError(f"{path}: looked for a .csv with boxes for the split {split!r}, found none.")
    collector = Collector(os.path.dirname(files[0]) or os.curdir, "line")
    for file in files:
        text = read_text(file)
        table = _table(text)
        if table is None:
            raise DatasetError(f"{file}: expected columns for the image and its boxes, got {shorten(text[:80])}.")
        try:
            images = _read_rows(csv.reader(io.StringIO(text), delimiter=table.delimiter), table)
        except csv.Error as error:
            raise DatasetError(f"{file}: cannot be read as .csv: {error}.") from error
        in_shares = _are_shares([row for _, rows in images.values() for row in rows])
        for name, (size, rows) in images.items():
            collector.add(name, file, size, rows, in_shares=in_shares)
    return collector.labels()


def _table(text: str) -> Optional[_Table]:
    """Return the columns of a text, or None if it has no boxes."""
    line = next((line for line in text.splitlines()[:20] if line.strip()), "")
    delimiter = max(",;\t", key=line.count)
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return None
    plain = [re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in cells]
    column = {key: plain.index(name) for key, names in COLUMNS.items() for name in names[::-1] if name in plain}
    if "image" in column and (column.keys() >= set(_CORNERS) or "shape" in column or "box" in column):
        return _Table(column, True, delimiter)
    if "image" in column and ({"x", "y"} <= column.keys() or {"cx", "cy"} <= column.keys()):
        if "w" not in column and {"width", "height"} <= column.keys():  # the box's own sides
            column["w"], column["h"] = column.pop("width"), column.pop("height")
        return _Table(column, True, delimiter) if {"w", "h"} <= column.keys() else None
    if _AUTOML.fullmatch(line.strip()):  # of Google: the split, the image, the class, the four corners of the box
        return _Table({"image": 1, "name": 2, "left": 3, "top": 4, "right": 7, "bottom": 8}, False, delimiter)
    corners = [number_from(cell) for cell in cells[1:5]]
    is_retina = len(cells) == 6 and cells[0] and (not any(cells[1:]) or not any(map(math.isnan, corners)))
    return _Table(dict(zip(("image", *_CORNERS, "name"), range(6))), False, delimiter) if is_retina else None


def _read_rows(reader: Any, table: _Table) -> dict[str, tuple[Size, list[Row]]]:
    """Return the size and the rows of each image, in the order of the file."""
    images: dict[str, tuple[Size, list[Row]]] = {}
    skip = table.has_names
    for cells in reader:
        if not any(cells):
            continue
        if skip:
            skip = False
            continue
        get = {key: cells[at].strip() if at < len(cells) else "" for key, at in table.column.items()}
        if table.delimiter != ",":  # 10,5 is 10.5
            get.update({key: cell.replace(",", ".") for key, cell in get.items() if key not in _NOT_NUMBERS})
        size = number_from(get.get("width")), number_from(get.get("height"))
        _, rows = images.setdefault(get["image"], (size, []))
        least = max(table.column.values()) + 1
        if len(cells) < least:
            message = f"expected {least} or more columns, got {len(cells)}"
            rows.append(Row(reader.line_num, "", Fault("wrong number of fields", message, brief(",".join(cells)))))
        elif any(get[key] for key in get if key not in ("image", "width", "height", "attributes")):
            rows.append(_row(reader.line_num, get, cells))  # else an image without boxes
    return images


def _row(number: int, get: dict[str, str], cells: Sequence[str]) -> Row:
    if "shape" in get:
        shape = parse_attributes(get["shape"])
        name = class_of(parse_attributes(get.get("attributes", "")))
        return Row(number, name, shape_box(shape))
    name = get.get("name", "")
    if get.get("group") == "1":
        return Row(number, name, Fault("crowd", "a group is not one box", brief(",".join(cells)), "left out"))
    return Row(number, name, _box(get, cells))


def _box(get: dict[str, str], cells: Sequence[str]) -> Union[Corners, Fault]:
    shown = ",".join(cells)
    if get.keys() >= set(_CORNERS):
        return box_of((get[key] for key in _CORNERS), shown)
    in_centre = "x" not in get and "cx" in get
    keys = ("cx", "cy", "w", "h") if in_centre else "xywh"
    texts = re.findall(r"[^\s,;\[\]()]+", get["box"]) if "box" in get else [get[key] for key in keys]
    if len(texts) != 4:
        return Fault("wrong number of fields", "expected a box [x, y, w, h]", brief(shown))
    left, top, width, height = map(number_from, texts)
    if in_centre:
        left, top = left - width / 2, top - height / 2
    return box_of((left, top, left + width, top + height), shown)


def _are_shares(rows: list[Row]) -> bool:
    """Return True if all boxes are fractions of their images, as in OpenImages: a box of pixels is never so small."""
    boxes = [row.box for row in rows if not isinstance(row.box, Fault)]
    return bool(boxes) and all(-1 <= side <= 1.5 for box in boxes for side in box)
