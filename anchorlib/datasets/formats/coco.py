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
from anchorlib.datasets.formats.coco_boxes import annotation_box, to_number
from anchorlib.datasets.formats.json_stream import PIECE_BYTES, NotInPiecesError, read_pieces
from anchorlib.datasets.io.files import MEGABYTE, open_logged, read_logged, shorten, with_bar
from anchorlib.datasets.io.image_header import image_sizes
from anchorlib.datasets.io.image_index import ImageIndex, image_folders
from anchorlib.datasets.io.text import guess_text
from anchorlib.datasets.validation import Fault, Labels, is_image_size
from anchorlib.errors import DatasetError

JSON_LIMIT = 1024 * MEGABYTE
LISTS = ("images", "annotations")


def read_coco_file(path: str, progress: bool, workers: int) -> Labels:
    """Read the labels of an annotations file, which is one split; DatasetError.

    Crowd and ignored annotations are left out, because YOLO does not train on them. The file is read piece by piece.
    A file that is broken or has an unusual layout is read whole. One thread reads the file. Images without a size in
    the file are looked for, and their headers are read.
    """
    problems: list[Problem] = []
    try:
        found = _collect(path, _in_pieces(path, progress))
    except NotInPiecesError:
        found = _collect(path, with_bar(_whole(path, problems).items(), "annotations", progress))
    images, annotations, category_items = found
    problems += images.problems
    row_of_image = images.find_sizes(problems, progress, workers)
    ids = _category_ids(category_items)

    owner_codes = np.asarray(annotations.owners, np.int64)
    image_ids = annotations.image_ids
    entries = np.fromiter((images.index_of.get(_key(image_id), -1) for image_id in image_ids), np.int64, len(image_ids))
    unknown: dict[str, int] = {}  # rows by image id
    if (entries < 0).any():
        for image_id, entry, count in zip(image_ids, entries, np.bincount(owner_codes, minlength=len(entries))):
            if entry < 0:
                unknown[_key(image_id)] = unknown.get(_key(image_id), 0) + int(count)
    without_zeros = {key.lstrip("0"): key for key in images.index_of} if unknown else {}
    for image_id, count in unknown.items():
        message = f"annotations belong to image_id {image_id}, which is not among the images"
        meant = without_zeros.get(image_id.lstrip("0"))
        if meant is not None:
            message += f"; image {meant} is: write the ids in both lists with the same number of zeros"
        problems.append(Problem("missing image", path, None, f"{count} rows", "rows refused", message))
    owners = row_of_image[entries][owner_codes]

    # A category that is not among the categories gets a number after theirs, so that it can be named.
    words = list(ids)
    classes = np.zeros(len(owners))
    if ids:
        codes = [_key(category) for category in annotations.category_ids]
        words += dict.fromkeys(code for code in codes if code not in ids)
        number_of = {word: number for number, word in enumerate(words)}
        classes = np.asarray([number_of[code] for code in codes], np.float64)[np.asarray(annotations.classes, np.int64)]

    # Annotations come in any order; a stable sort groups them by image and keeps the order within an image.
    order = np.argsort(owners, kind="stable")[int((owners < 0).sum()) :]
    place = {int(row): position for position, row in enumerate(order)} if annotations.faults else {}
    has_size = row_of_image[:-1] >= 0
    if not len(owners):
        message = "there are no annotations" if len(has_size) else "there are no images and no annotations"
        problems.append(Problem("no boxes", path, None, "", "left out", message))
    elif sum(fault.action == "left out" for fault in annotations.faults.values()) == len(owners):
        message = f"every annotation ({len(owners)}) is a crowd or ignored"
        problems.append(Problem("no boxes", path, None, "", "left out", message))
    return Labels(
        image_names=[name for name, has in zip(images.names, has_size) if has],
        image_wh=np.asarray(images.sizes, np.float64).reshape(-1, 2)[has_size],
        image_index=owners[order],
        files=[path] * int(has_size.sum()),
        row_numbers=order,
        row_word="annotation",
        classes=classes[order],
        boxes=np.asarray(annotations.boxes, np.float64).reshape(-1, 4)[order],
        faults={place[row]: fault for row, fault in annotations.faults.items() if row in place},
        class_names=tuple(_category_names(category_items, ids)),
        n_classes=len(ids) or None,
        problems=problems,
        lost_rows=len(owners) - len(order),
        box_units="corner",
        class_words=tuple(words),
    )


class _Images:
    """Collect the images, and the position of each image id among them."""

    def __init__(self, path: str):
        self.path = path
        self.sizes = array("d")  # two for each image: w, h; NaN if it has no size
        self.names: list[str] = []
        self.index_of: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.without_size: dict[int, str] = {}  # what the file has instead of a size, by position
        self.count = 0

    def add(self, image: Any) -> None:
        number, self.count = self.count, self.count + 1
        image = image if isinstance(image, dict) else {}
        image_id, width, height = _key(image.get("id")), to_number(image.get("width")), to_number(image.get("height"))
        name = image.get("file_name")
        name = name if isinstance(name, str) else f"image {image_id}"
        if image_id in self.index_of:
            message = f"images {number}: the id {image_id} repeats an earlier one"
            self.problems.append(Problem("duplicate row", self.path, None, name, "image refused", message))
            return
        if not is_image_size(width, height):
            self.without_size[len(self.names)] = f"{shorten(image.get('width'))} x {shorten(image.get('height'))}"
            width = height = math.nan
        self.index_of[image_id] = len(self.names)
        self.sizes.extend((width, height))
        self.names.append(name)

    def find_sizes(self, problems: list[Problem], progress: bool, workers: int) -> Any:
        """Read missing sizes from the images; return the row of each image, or -1 if it has no size.

        There is one more -1 at the end, so that position -1 is an image that is not there.
        """
        if self.without_size:
            index = ImageIndex(image_folders(os.path.dirname(self.path) or os.curdir))
            found = {position: index.find(self.names[position]) for position in self.without_size}
            readable = [path for path in found.values() if path]
            sizes = dict(zip(readable, image_sizes(readable, progress, workers)))
            for position, value in self.without_size.items():
                self._take_size(position, found[position], sizes, value, problems)
        has_size = np.isfinite(self.sizes[::2])
        return np.append(np.where(has_size, np.cumsum(has_size, dtype=np.int64) - 1, -1), -1)

    def _take_size(
        self, position: int, image: Optional[str], sizes: dict[str, Any], value: str, problems: list[Problem]
    ) -> None:
        size = sizes.get(image or "")
        if isinstance(size, tuple):
            self.sizes[2 * position : 2 * position + 2] = array("d", size[:2])
            if size[2]:
                message = "EXIF turns it, its sides are swapped"
                problems.append(Problem("exif rotation", str(image), None, "", "read", message))
            return
        reason = f"{image} cannot be read: {size}" if image else "the image was not found near this file"
        message = f"images {position} ({self.names[position]}): width and height must be 1 or more; {reason}"
        problems.append(Problem("image without size", self.path, None, value, "image refused", message))


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
        box = annotation_box(annotation)
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


def _whole(path: str, problems: list[Problem]) -> dict[str, Any]:
    try:
        data = read_logged(path, JSON_LIMIT)
        try:
            content = json.loads(data)
        except UnicodeDecodeError:
            text, wrong = guess_text(data)
            problems.append(Problem("encoding", path, None, "", "read", str(wrong)))
            try:
                content = json.loads(text)
            except ValueError as error:
                raise ValueError(f"{wrong} ({error})") from error
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


def _category_ids(categories: object) -> dict[str, int]:
    """Return the class numbers by category id, in the order of the ids."""
    if not isinstance(categories, list):
        return {}
    ids = {_key(item.get("id")): item.get("id") for item in categories if isinstance(item, dict)}
    return {key: number for number, key in enumerate(sorted(ids, key=lambda key: (_sort_number(ids[key]), key)))}


def _sort_number(category_id: object) -> float:
    """Return the number of an id, and infinity for other texts, which come last; "10" comes after "9"."""
    number = to_number(category_id)
    return math.inf if math.isnan(number) else number


def _category_names(categories: object, numbers: dict[str, int]) -> list[str]:
    names = list(numbers)
    for item in categories if isinstance(categories, list) else []:
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            names[numbers[_key(item.get("id"))]] = item["name"]
    return names
