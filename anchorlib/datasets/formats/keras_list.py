"""Read the list of keras-yolo3 and of its many descendants: `image left,top,right,bottom,class ...` in each line."""

from __future__ import annotations

import math
import os
import re
from typing import Optional

from anchorlib.datasets.formats.collect import Collector, Row, box_of, brief, head_of, read_text
from anchorlib.datasets.io.file_log import is_folder
from anchorlib.datasets.io.files import first_existing
from anchorlib.datasets.validation import Fault, Labels

_BOX = re.compile(r"-?[\d.]+(?:,-?[\d.]+){4}")
_LINES = 50  # that decide: an image without objects has no boxes


def find_keras_list(path: str) -> Optional[str]:
    """Return a .txt file that has boxes behind its image paths."""
    if is_folder(path) or not path.lower().endswith(".txt"):
        return None
    lines = [line.split() for line in head_of(path).splitlines()[:_LINES]]
    return path if any(len(words) > 1 and _BOX.fullmatch(words[-1]) for words in lines) else None


def read_keras_list(path: str, split: str, progress: bool, workers: int) -> Labels:
    """Read the labels of a list; DatasetError. The sizes are read from the images; a list is one split."""
    collector = Collector(os.path.dirname(path) or os.curdir, "line")
    names = _class_names(path)
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        image, boxes = _parts(line)
        if image:
            rows = [_row(number, box, names) for box in boxes]
            collector.add(image, path, (math.nan, math.nan), rows)
    return collector.labels()


def _parts(line: str) -> tuple[str, list[str]]:
    """Return the image, whose path may have spaces, and the texts of the boxes."""
    words = line.split()
    first = next((at for at, word in enumerate(words) if at and "," in word), len(words))
    return " ".join(words[:first]), words[first:]


def _row(number: int, text: str, names: list[str]) -> Row:
    fields = text.split(",")
    if len(fields) != 5:
        message = "expected left,top,right,bottom,class"
        return Row(number, "", Fault("wrong number of fields", message, brief(text)))
    known = fields[4].isdecimal() and len(fields[4]) < 6 and int(fields[4]) < len(names)
    return Row(number, names[int(fields[4])] if known else fields[4], box_of(fields[:4], text))


def _class_names(path: str) -> list[str]:
    """Return the names of the file of classes next to the list, if there is one."""
    here = os.path.dirname(path)
    places = (os.path.join(here, *parts) for parts in (("classes.txt",), ("model_data", "classes.txt")))
    file = first_existing(places)
    return [line.strip() for line in read_text(file).splitlines() if line.strip()] if file else []
