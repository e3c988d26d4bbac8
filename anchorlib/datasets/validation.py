"""Decide which rows of a data set count and which are rejected, with the same rules for all formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray, check_imgsz
from anchorlib.datasets.box_sizes import BoxSizes, Problem
from anchorlib.datasets.resize import ImageSize, place_centres, scale_sizes

# Share of the image's side. Coordinates written with four decimals may be off by 0.75e-4.
EDGE_TOLERANCE = 1e-4
# A centre may be outside the image, and a side longer than the image's, by one pixel or by this share of the side,
# whichever is more. Labelling tools write such boxes (1.0004, or an xmax of 641 in 640 pixels).
OVERSHOOT_PIXELS, OVERSHOOT_SHARE = 1.0, 0.01
#: How a file writes a box: cx, cy, w, h as fractions of the image, or in pixels; left, top, w, h; two corners.
BOX_UNITS = ("shares", "centre", "corner", "corners")
MAX_CLASS = 2**31
MAX_SIDE = 2**31  # pixels of an image, if a text file gives its size


@dataclass(frozen=True)
class Fault:
    """Say why a reader could not make a box from a row."""

    kind: str
    message: str
    value: str = ""
    action: str = "row refused"


@dataclass
class Labels:
    """Hold what a reader found: M images of known size and their R rows, in pixels of the image on disk."""

    image_names: list[str]
    image_wh: HostArray  # (M, 2) float64, > 0
    image_index: HostArray  # (R,) int64, ascending
    files: list[str]  # M: the file with the rows of each image
    row_numbers: HostArray  # (R,) int64: lines, or the numbers of annotations
    row_word: str  # 'line', or the name of a row in a format without lines
    classes: HostArray  # (R,) float64
    boxes: HostArray  # (R, 4) float64: cx, cy, w, h; NaN if the row has a fault
    faults: dict[int, Fault] = field(default_factory=dict)  # by row
    class_names: tuple[str, ...] = ()
    n_classes: Optional[int] = None  # None: not known, so any class is accepted
    problems: list[Problem] = field(default_factory=list)  # of images and of the data set
    lost_rows: int = 0  # rows of images whose size is not known
    box_units: str = "shares"  # how the file writes a box, for messages: one of BOX_UNITS
    class_words: tuple[str, ...] = ()  # how the file writes each class, for messages, if not by its number


def is_image_size(width: float, height: float) -> bool:
    """Return True if an image may have this size in pixels. NaN is not a size.

    >>> is_image_size(640.0, 480.0), is_image_size(640.0, 0.001)
    (True, False)
    """
    return 1 <= width < MAX_SIDE and 1 <= height < MAX_SIDE


def screen(labels: Labels, imgsz: ImageSize, resize: str, keep_centres: bool = False) -> BoxSizes:
    """Return the accepted boxes, scaled, with their centres if asked for, and the problems of all rows."""
    image_wh = labels.image_wh[labels.image_index]  # (R, 2)
    centres, sizes, classes = labels.boxes[:, :2], labels.boxes[:, 2:], labels.classes
    with np.errstate(invalid="ignore", over="ignore"):
        # In order: the first check that a row fails gives its kind. Comparisons with NaN are False.
        refusals = {
            "not a number": ~(np.isfinite(labels.boxes).all(axis=1) & np.isfinite(classes)),
            "not a class": (classes != np.floor(classes)) | (abs(classes) >= MAX_CLASS),
            "negative size": (sizes < 0).any(axis=1),
            "out of [0, 1]": _is_outside(
                centres, sizes, image_wh, np.maximum(OVERSHOOT_PIXELS, image_wh * OVERSHOOT_SHARE)
            ).any(axis=1),
        }
        good = ~np.logical_or.reduce(list(refusals.values()))
        refusals["duplicate row"] = _duplicates(labels, good)
        good &= ~refusals["duplicate row"]
        edge = image_wh * EDGE_TOLERANCE
        beyond = (centres - sizes / 2 < -edge) | (centres + sizes / 2 > image_wh + edge)
        beyond |= _is_outside(centres, sizes, image_wh, 0.0)  # YOLOv5 skips the image, however small the difference is
        n_classes = MAX_CLASS if labels.n_classes is None else min(labels.n_classes, MAX_CLASS)
        remarks = {
            "out of bounds": good & beyond.any(axis=1),
            "zero area": good & (sizes == 0).any(axis=1),
            "class out of range": good & ((classes < 0) | (classes >= n_classes)),
        }
    problems = list(labels.problems)
    if labels.box_units != "shares" and _may_be_fractions(sizes[good], labels.image_wh):
        message = "all boxes are under 2 px; are they fractions of the image? This format has pixels"
        problems.append(Problem("tiny boxes", labels.files[0], None, "", "kept", message))
    noted = ~good | np.logical_or.reduce(list(remarks.values()))
    for row in map(int, np.flatnonzero(noted)):
        if row in labels.faults:
            problems.append(_problem(labels, row, labels.faults[row]))
        elif not good[row]:
            kind = next(kind for kind, rows in refusals.items() if rows[row])
            problems.append(_problem(labels, row, Fault(kind, _MESSAGES[kind])))
        else:
            kinds = [kind for kind, rows in remarks.items() if rows[row]]
            problems += [
                _problem(labels, row, Fault(kind, _message(labels, row, kind), action="kept")) for kind in kinds
            ]
    return BoxSizes(
        wh=scale_sizes(sizes[good], image_wh[good], imgsz, resize),
        image_wh=labels.image_wh.astype(np.float32),
        image_index=labels.image_index[good],
        classes=classes[good].astype(np.int64),
        class_names=labels.class_names,
        image_names=tuple(labels.image_names),
        problems=problems,
        rows_read=len(good) + labels.lost_rows,
        rows_refused=int((~good).sum()) + labels.lost_rows,
        imgsz=check_imgsz(imgsz),
        resize=resize,
        centres=place_centres(centres[good], image_wh[good], imgsz, resize) if keep_centres else None,
    )


def _may_be_fractions(sizes: HostArray, image_wh: HostArray) -> bool:
    return bool(len(sizes) and (sizes < 2).all() and (image_wh >= 32).all())


def _is_outside(centres: HostArray, sizes: HostArray, image_wh: HostArray, tolerance: HostArray | float) -> HostArray:
    """Return (R, 2) bool: the centre is outside the image, or the side is longer than the image's."""
    return (centres < -tolerance) | (centres > image_wh + tolerance) | (sizes > image_wh + tolerance)


_MESSAGES = {
    "not a number": "expected finite numbers",
    "not a class": "the class must be an integer",
    "negative size": "width and height must be >= 0",
    "out of [0, 1]": "centre and size must be inside the image",
    "duplicate row": "this row repeats an earlier row of the image",
    "zero area": "width and height must be > 0",
}


def _message(labels: Labels, row: int, kind: str) -> str:
    if kind == "out of bounds":
        image_wh, (centre, size) = labels.image_wh[labels.image_index[row]], labels.boxes[row].reshape(2, 2)
        most = max((size / 2 - centre).max(), (centre + size / 2 - image_wh).max())
        return f"the box reaches {most:.3g} px beyond the image"
    if kind == "class out of range" and labels.class_words:
        return f"category_id {_class_word(labels, row)} is not among the categories"
    if kind == "class out of range":
        return f"the class must be 0 to {labels.n_classes - 1}" if labels.n_classes else "the class must be >= 0"
    return _MESSAGES[kind]


_DIGITS = 15  # all that a float64 keeps of a decimal number: 1.0000001 must not be shown as 1


def _as_written(box_units: str, box: HostArray, image_wh: HostArray) -> HostArray:
    """Return (cx, cy, w, h) in pixels as a file with these units writes the box."""
    centre, size = box[:2], box[2:]
    if box_units == "shares":
        return box / np.tile(image_wh, 2)
    if box_units == "corner":
        return np.concatenate([centre - size / 2, size])
    return np.concatenate([centre - size / 2, centre + size / 2]) if box_units == "corners" else box


def _class_word(labels: Labels, row: int) -> str:
    """Return the class of a row as the file writes it."""
    number = labels.classes[row]
    return labels.class_words[int(number)] if labels.class_words else f"{number:.{_DIGITS}g}"


def _problem(labels: Labels, row: int, fault: Fault) -> Problem:
    image, number = int(labels.image_index[row]), int(labels.row_numbers[row])
    value = fault.value
    if not value:
        with np.errstate(invalid="ignore", over="ignore"):  # of a box that is rejected because it is infinite
            written = _as_written(labels.box_units, labels.boxes[row], labels.image_wh[image])
        value = " ".join([_class_word(labels, row), *(f"{number:.{_DIGITS}g}" for number in written)])
    if labels.row_word == "line":
        return Problem(fault.kind, labels.files[image], number, value, fault.action, fault.message)
    file, neighbours = labels.files[image], labels.files[max(image - 1, 0) : image + 2]
    of_image = f" of {labels.image_names[image]}" if neighbours.count(file) > 1 else ""  # one file has many images
    message = f"{labels.row_word} {number}{of_image}: {fault.message}"
    return Problem(fault.kind, file, None, value, fault.action, message)


def _duplicates(labels: Labels, good: HostArray) -> HostArray:
    """Return (R,) bool: the good rows that repeat an earlier row of the same image, with the same class and box."""
    rows = np.flatnonzero(good)
    columns = [labels.image_index[rows], labels.classes[rows], *labels.boxes[rows].T]
    # Sorting six columns takes seconds where most rows differ, so one mixed number is compared first.
    mixed = np.zeros(len(rows), np.uint64)
    for column in columns:
        bits = (column + 0.0).astype(np.float64).view(np.uint64)  # + 0.0: -0.0 equals 0.0 and must mix alike
        mixed = (mixed ^ bits ^ (bits >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    order = np.argsort(mixed, kind="stable")
    same = mixed[order[1:]] == mixed[order[:-1]]
    suspects = np.zeros(len(rows), bool)
    suspects[order[1:][same]] = suspects[order[:-1][same]] = True
    duplicates = np.zeros(len(good), bool)
    seen = set()
    for place in np.flatnonzero(suspects):
        key = tuple(column[place] for column in columns)
        duplicates[rows[place]] = key in seen
        seen.add(key)
    return duplicates
