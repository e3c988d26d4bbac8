"""Collect images and boxes for the formats that write class names and pixels, in files of any shape."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.io.file_log import FOLDER, look
from anchorlib.datasets.io.files import MEGABYTE, list_folder, read_head, read_logged, shorten
from anchorlib.datasets.io.image_header import image_size
from anchorlib.datasets.io.image_index import ImageIndex, image_folders
from anchorlib.datasets.io.text import decode_text
from anchorlib.datasets.validation import Fault, Labels, is_image_size
from anchorlib.errors import DatasetError

FILE_LIMIT = 256 * MEGABYTE  # one file with the labels of all images, or of one image with the image inside
_SHOWN = 60  # characters of a value in a message
SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_HEAD = 65536  # bytes that are enough to recognise a file
_MOST_TRIED = 20  # files of a folder that are opened to find one that can be read

Corners = tuple[float, float, float, float]  # left, top, right, bottom
Size = tuple[float, float]  # width, height


class Row(NamedTuple):
    """One row of a file: its number from 1, the class name, and its box or what is wrong with it."""

    number: int
    name: str
    box: Union[Corners, Fault]


class Collector:
    """Collect images with their rows, and return them as `Labels`.

    `folder` is where images of unknown size are looked for; `row_word` is as in `Labels`. `tool` is the name of the
    format, for messages, if its files do not have the sizes of images.
    """

    def __init__(self, folder: str, row_word: str, tool: str = ""):
        self._tool = tool
        self.problems: list[Problem] = []
        self._index = ImageIndex([*image_folders(folder), os.path.join(folder, os.pardir, "image_2")])  # KITTI's
        self._row_word = row_word
        self._images: list[tuple[str, str, Size]] = []  # name, file with the labels, size
        self._rows: list[Row] = []
        self._owners: list[int] = []
        self._lost = 0

    def add(self, name: str, file: str, size: Size, rows: Sequence[Row], *, in_shares: bool = False) -> None:
        """Add an image and its rows.

        A size that is not known, (nan, nan), is read from the image. With `in_shares` the corners are fractions of
        the image's sides.
        """
        known = size if is_image_size(*size) else self._find_size(name, file, len(rows))
        if known is None:
            self._lost += len(rows)
            return
        if in_shares:
            rows = [row if isinstance(row.box, Fault) else row._replace(box=_scaled(row.box, known)) for row in rows]
        self._owners += [len(self._images)] * len(rows)
        self._rows += rows
        self._images.append((name, file, known))

    def labels(self) -> Labels:
        """Return all that was added."""
        names = sorted({row.name for row in self._rows if _has_class(row)})
        number_of = {name: number for number, name in enumerate(names)}
        nothing = (math.nan,) * 4
        corners = [nothing if isinstance(row.box, Fault) else row.box for row in self._rows]
        low, high = np.split(np.asarray(corners, np.float64).reshape(-1, 4), 2, axis=1)
        with np.errstate(over="ignore", invalid="ignore"):  # 1e308: what is not finite becomes a problem of its row
            boxes = np.concatenate([low + (high - low) / 2, high - low], axis=1)
        return Labels(
            image_names=[name for name, _, _ in self._images],
            image_wh=np.asarray([size for _, _, size in self._images], np.float64).reshape(-1, 2),
            image_index=np.asarray(self._owners, np.int64),
            files=[file for _, file, _ in self._images],
            row_numbers=np.asarray([row.number for row in self._rows], np.int64),
            row_word=self._row_word,
            classes=np.asarray([number_of.get(row.name, 0) for row in self._rows], np.float64),
            boxes=boxes,
            faults={at: row.box for at, row in enumerate(self._rows) if isinstance(row.box, Fault)},
            class_names=tuple(names),
            n_classes=len(names) or None,
            problems=self.problems,
            lost_rows=self._lost,
            box_units="corners",
        )

    def _find_size(self, name: str, file: str, n_rows: int) -> Optional[Size]:
        """Return the size in the image's header; None, and a problem, if there is no such image."""
        image = self._index.find(name, file)
        rows = f"{n_rows} row" + "s" * (n_rows != 1)
        if image is None:
            why = f"{self._tool} files do not have it, so the image" if self._tool else "the image"
            message = f"the size of {shorten(name)} is not known: {why} must be in or next to the labels' folder"
            self.problems.append(Problem("image without size", file, None, rows, "image refused", message))
            return None
        try:
            width, height, rotated = image_size(image)
        except OSError as error:
            message = f"cannot be read: {error.strerror or error}"
            self.problems.append(Problem("unreadable image", image, None, rows, "image refused", message))
            return None
        if rotated:
            self.problems.append(
                Problem("exif rotation", image, None, "", "read", "EXIF turns it, its sides are swapped")
            )
        return float(width), float(height)


def _has_class(row: Row) -> bool:
    """Return False for a row that is left out on purpose, or that is so short that it has no class."""
    return not isinstance(row.box, Fault) or (row.name != "" and row.box.action != "left out")


def _scaled(box: Corners, size: Size) -> Corners:
    left, top, right, bottom = box
    return left * size[0], top * size[1], right * size[0], bottom * size[1]


def brief(value: object) -> str:
    """Return a value of a file for a message: text as it is, anything else as its repr; truncated."""
    return value[:_SHOWN] if isinstance(value, str) else shorten(value, _SHOWN)


def number_from(value: object) -> float:
    """Return a finite number, also from text as some tools write it, or NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) and not (isinstance(value, str) and "_" in value) else math.nan


def text_from(value: object) -> str:
    """Return a class name or an image name; numbers become text, anything else ''."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return ""
    return shorten(value, 20) if isinstance(value, int) and abs(value) >= 2**63 else str(value).strip()


def box_of(values: Iterable[object], shown: object) -> Union[Corners, Fault]:
    """Return the corners, or a Fault that shows the file's own value, unless they are four finite numbers."""
    numbers = [number_from(value) for value in values]
    if len(numbers) != 4 or math.isnan(sum(numbers)):
        return Fault("not a number", "expected a box of four finite numbers", brief(shown))
    left, top, right, bottom = numbers
    return left, top, right, bottom


def box_around(points: Sequence[tuple[float, float]], shown: object) -> Union[Corners, Fault]:
    """Return the bounding box of points, or a Fault unless there are two or more points of finite numbers."""
    flat = [side for point in points for side in point]
    if len(points) < 2 or math.isnan(sum(flat)):
        return Fault("not a number", "expected two or more points of finite numbers", brief(shown))
    return min(flat[::2]), min(flat[1::2]), max(flat[::2]), max(flat[1::2])


def points_from(value: object) -> list[tuple[float, float]]:
    """Return the points of [[x, y], ...]; NaN for what is not a number."""
    points = value if isinstance(value, list) else []
    pairs = [point if isinstance(point, list) and len(point) >= 2 else (None, None) for point in points]
    return [(number_from(pair[0]), number_from(pair[1])) for pair in pairs]


def not_a_box(kind: object) -> Fault:
    """Return the Fault of a shape that has no area, such as a point or a line: it is left out on purpose."""
    return Fault("ignored", "not a box or polygon", brief(kind), "left out")


def read_text(path: str, limit: int = FILE_LIMIT) -> str:
    """Return the text of a file; DatasetError."""
    try:
        return decode_text(read_logged(path, limit))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}.") from error


def read_json(path: str) -> Any:
    """Return the content of a JSON file; DatasetError."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not a JSON file that can be read: {error}.") from error


def head_of(path: str) -> str:
    """Return the first 64 KB of a file as text, to recognise its format; '' if it cannot be read."""
    head = read_head(path, _HEAD)
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    return head.decode(encoding, "replace").lstrip("\ufeff")


def json_keys(path: str) -> tuple[str, set[str]]:
    """Return the bracket that opens a JSON file, and the keys in its first 64 KB; ('', empty) for another file."""
    head = head_of(path).lstrip() if path.lower().endswith(".json") else ""
    return head[:1], set(re.findall(r'"([A-Za-z_]{1,40})"\s*:', head))


def split_names(split: str) -> tuple[str, ...]:
    """Return the names that people give the folder or file of a split."""
    return SPLIT_NAMES.get(split, (split,))


def split_folder(path: str, split: str) -> str:
    """Return the subfolder of a split, if the folder has one; otherwise the folder itself, for 'train' and 'all'.

    DatasetError for another split that has no subfolder.
    """
    for name in split_names(split):
        if split != "all" and look(os.path.join(path, name)) == FOLDER:
            return os.path.join(path, name)
    if split in ("train", "all"):
        return path
    raise DatasetError(f"{path}: looked for the split {split!r} as a folder {split_names(split)[0]}, found none.")


def first_file(folder: str, suffix: str) -> str:
    """Return the first file of a folder, in alphabetical order, with this suffix; '' if there is none.

    The first one that can be read and begins with text is preferred: one damaged file must not hide the format.
    """
    names = (entry.name for entry in list_folder(folder) if entry.name.lower().endswith(suffix))
    files = [os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")]
    return next(
        (file for file in files[:_MOST_TRIED] if read_head(file, 1) not in (b"", b"\0")), files[0] if files else ""
    )
