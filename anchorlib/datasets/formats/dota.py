"""Read DOTA: `x1 y1 x2 y2 x3 y3 x4 y4 class difficult` in each row, in pixels. The bounding box is taken."""

from __future__ import annotations

import math
from typing import Optional

from anchorlib.datasets.formats.collect import box_around, brief, number_from
from anchorlib.datasets.formats.text_folder import ParsedRow, find_text_folder, read_text_folder
from anchorlib.datasets.validation import Fault, Labels

FOLDERS = ("", "labelTxt", "train/labelTxt", "labelTxt-v1.0", "labels", "train/labels", "annfiles", "train/annfiles")
_HEADS = ("imagesource:", "gsd:")
_COORDINATES = 8


def find_dota(path: str) -> Optional[str]:
    """Return a folder of DOTA's text files, or the one in a data set's folder."""
    return find_text_folder(path, FOLDERS, _is_row)


def read_dota(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a folder; DatasetError."""
    return read_text_folder(path, split, _parse, progress, workers)


def _is_head(line: str) -> bool:
    return line.strip().lower().startswith(_HEADS)


def _is_row(line: str) -> bool:
    fields = line.split()
    is_named = len(fields) in (9, 10) and math.isnan(number_from(fields[8]))
    return _is_head(line) or (is_named and not any(math.isnan(number_from(field)) for field in fields[:8]))


def _parse(line: str) -> ParsedRow:
    if _is_head(line):
        return None
    fields = line.split()
    if len(fields) not in (9, 10):
        return "", Fault("wrong number of fields", "expected x1 y1 ... x4 y4 class difficult", brief(line))
    numbers = [number_from(field) for field in fields[:_COORDINATES]]
    return fields[8], box_around(list(zip(numbers[::2], numbers[1::2])), line)
