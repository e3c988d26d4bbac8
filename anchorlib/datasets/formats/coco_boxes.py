"""Return the box of a COCO annotation: of its bbox, or else of its polygons or its run-length encoded mask."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Union

import numpy as np

from anchorlib.datasets.io.files import shorten
from anchorlib.datasets.validation import Fault

Box = tuple[float, float, float, float]  # cx, cy, w, h in pixels

_SAYS_NO = frozenset(("", "0", "0.0", "false", "no", "none", "null"))
_DEEPEST = 5  # lists in lists of a polygon
_MOST_RUNS = 10_000_000  # of one mask


def annotation_box(annotation: dict[str, Any]) -> Union[Box, Fault]:
    """Return (cx, cy, w, h), or a Fault if there is no box. Numbers may be in quotes."""
    # Most annotations have a 0 here, so that `is_set` is not called.
    if annotation.get("iscrowd") and is_set(annotation["iscrowd"]):
        return Fault("crowd", "a crowd is not one box", shorten(annotation.get("bbox")), "left out")
    if annotation.get("ignore") and is_set(annotation["ignore"]):
        return Fault("ignored", "marked as to be ignored", shorten(annotation.get("bbox")), "left out")
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        if isinstance(box, str):
            box = re.split(r"[\s,;]+", box.strip("[]() \n\t"))  # "[10, 20, 60, 67]", as tables are converted
        if not box or box == [""]:
            return _of_segmentation(annotation)
        if not isinstance(box, list) or len(box) != 4:
            return Fault("wrong number of fields", "expected bbox [x, y, w, h]", shorten(annotation["bbox"]))
    left, top, width, height = box
    usual = type(left) is type(top) is type(width) is type(height) is float
    if not (usual and math.isfinite(left + top + width + height)):
        left, top, width, height = map(to_number, box)
        if math.isnan(left + top + width + height):
            return Fault("not a number", "expected four finite numbers", shorten(annotation["bbox"]))
    return left + width / 2, top + height / 2, width, height


def is_set(value: object) -> bool:
    """Return True if a flag is set. Exports write it as a number, a boolean or a text.

    >>> is_set("0"), is_set("false"), is_set(1), is_set("1")
    (False, False, True, True)
    """
    return value.strip().lower() not in _SAYS_NO if isinstance(value, str) else bool(value)


def to_number(value: object) -> float:
    """Return a finite number, also from a text, or NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        number = math.nan if isinstance(value, str) and "_" in value else float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _of_segmentation(annotation: dict[str, Any]) -> Union[Box, Fault]:
    """Return the bounding box of all parts of the segmentation."""
    segmentation, bbox = annotation.get("segmentation"), annotation.get("bbox")
    try:
        if isinstance(segmentation, dict):
            return _of_mask(segmentation)
        parts = [part for part in _parts(segmentation) if part] if isinstance(segmentation, list) else []
    except (ValueError, TypeError, OverflowError) as error:
        return Fault("wrong number of fields", f"expected a bbox, or a segmentation: {error}", shorten(segmentation))
    if not parts:
        return Fault("wrong number of fields", "expected bbox [x, y, w, h], or a polygon", shorten(bbox))
    numbers = [number for part in parts for number in part]
    if any(len(part) % 2 for part in parts) or len(numbers) < 6:
        return Fault("wrong number of fields", "expected polygons of three or more x, y", shorten(segmentation))
    if math.isnan(sum(numbers)):
        return Fault("not a number", "expected finite numbers in the polygon", shorten(segmentation))
    xs, ys = numbers[::2], numbers[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _parts(nested: list[Any], depth: int = 1) -> Iterator[list[float]]:
    """Yield each innermost list of x, y, x, y, ... or of one point."""
    if depth > _DEEPEST:
        raise ValueError("its lists are nested too deeply")
    inner = [item for item in nested if isinstance(item, list)]
    if len(inner) < len(nested):
        if inner:
            raise ValueError("a list has numbers and lists in it")
        yield list(map(to_number, nested))
    for item in inner:
        yield from _parts(item, depth + 1)


def _of_mask(mask: dict[str, Any]) -> Box:
    """Return the bounding box of a run-length encoded mask: size [h, w], and counts as a list or a text; ValueError.

    The runs are in the order of the columns. The first one is of pixels outside of the mask.
    """
    height, width = (int(side) for side in mask["size"]) if isinstance(mask.get("size"), list) else (0, 0)
    counts = mask.get("counts")
    runs = np.asarray(_unpack(counts) if isinstance(counts, str) else counts or [], np.float64).ravel()
    if height < 1 or width < 1 or (runs < 0).any() or runs.sum() != height * width:
        raise ValueError("the counts of a mask must add up to the product of its size [h, w]")
    ends = runs.cumsum()
    first, last = ends[:-1:2], ends[1::2] - 1  # the first and last pixel of each run in the mask
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        raise ValueError("the mask is empty")
    left, right = first[0] // height, last[-1] // height
    whole = first // height != last // height  # such a run covers the end of a column and the start of the next one
    top = 0 if whole.any() else (first % height).min()
    bottom = height - 1 if whole.any() else (last % height).max()
    box_width, box_height = float(right - left + 1), float(bottom - top + 1)
    return float(left) + box_width / 2, float(top) + box_height / 2, box_width, box_height


def _unpack(text: str) -> list[int]:
    """Return the runs of a packed text: five bits in a character, the lowest ones first; from the third run on they are
    differences to the run before the last one."""
    if len(text) > _MOST_RUNS:
        raise ValueError("the mask is too long")
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("the counts of a mask are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:  # the last character of a run; its highest bit is the sign
            value -= 1 << shift if bits & 16 else 0
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
