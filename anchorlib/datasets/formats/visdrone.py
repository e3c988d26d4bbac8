"""Read VisDrone: `left,top,width,height,score,category,truncation,occlusion` in each row, in pixels."""

from __future__ import annotations

import math
from typing import Optional

from anchorlib.datasets.formats.collect import box_of, brief, number_from
from anchorlib.datasets.formats.text_folder import ParsedRow, find_text_folder, read_text_folder
from anchorlib.datasets.validation import Fault, Labels

FOLDERS = ("", "annotations", "labels")
NAMES = (
    *("ignored regions", "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle"),
    *("awning-tricycle", "bus", "motor", "others"),
)
_FIELDS = 8


def find_visdrone(path: str) -> Optional[str]:
    """Return a folder of VisDrone's text files, or the one in a data set's folder."""
    return find_text_folder(path, FOLDERS, _is_row)


def read_visdrone(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a folder; DatasetError. Rows that the benchmark does not count are left out."""
    return read_text_folder(path, split, _parse, progress, workers)


def _fields(line: str) -> list[str]:
    return line.rstrip(",").split(",")  # some releases end each row with a comma


def _is_row(line: str) -> bool:
    fields = _fields(line)
    return len(fields) == _FIELDS and not any(math.isnan(number_from(field)) for field in fields)


def _parse(line: str) -> ParsedRow:
    fields = _fields(line)
    if len(fields) != _FIELDS:
        return "", Fault("wrong number of fields", "expected the 8 fields of VisDrone", brief(line))
    score, category = number_from(fields[4]), number_from(fields[5])
    is_known = category in range(len(NAMES))
    name = NAMES[int(category)] if is_known else fields[5].strip()
    if category == 0 or score == 0:
        return name, Fault(
            "ignored", "its score or category is 0, so the benchmark does not count it", brief(line), "left out"
        )
    left, top, width, height = map(number_from, fields[:4])
    return name, box_of((left, top, left + width, top + height), line)
