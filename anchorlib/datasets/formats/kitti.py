"""Read KITTI: `type truncated occluded alpha left top right bottom` and eight more numbers in each row, in pixels."""

from __future__ import annotations

import math
from typing import Optional

from anchorlib.datasets.formats.collect import box_of, brief, number_from
from anchorlib.datasets.formats.text_folder import ParsedRow, find_text_folder, read_text_folder
from anchorlib.datasets.validation import Fault, Labels

FOLDERS = ("", "label_2", "training/label_2", "labels", "train/labels", "train/label_2")
_FIELDS = (15, 16)  # detections have a score at the end


def find_kitti(path: str) -> Optional[str]:
    """Return a folder of KITTI's text files, or the one in a data set's folder."""
    return find_text_folder(path, FOLDERS, _is_row)


def read_kitti(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a folder; DatasetError. DontCare areas are left out."""
    return read_text_folder(path, split, _parse, progress, workers)


def _is_row(line: str) -> bool:
    fields = line.split()
    is_name = len(fields) in _FIELDS and math.isnan(number_from(fields[0]))
    return is_name and not any(math.isnan(number_from(field)) for field in fields[1:])


def _parse(line: str) -> ParsedRow:
    fields = line.split()
    if len(fields) not in _FIELDS:
        return fields[0], Fault("wrong number of fields", "expected the 15 fields of KITTI", brief(line))
    if fields[0] == "DontCare":
        return fields[0], Fault("ignored", "an area of DontCare", brief(line), "left out")
    return fields[0], box_of(fields[4:8], line)
