"""Read folders with a text file for each image whose rows are in pixels: KITTI, DOTA and VisDrone."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from typing import Optional, Union

from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.collect import Collector, Corners, Row, first_file, head_of, split_folder
from anchorlib.datasets.io.file_log import is_folder
from anchorlib.datasets.io.files import in_order, read_or_error, walk
from anchorlib.datasets.io.text import decode_text
from anchorlib.datasets.validation import Fault, Labels
from anchorlib.errors import DatasetError

ParsedRow = Optional[tuple[str, Union[Corners, Fault]]]  # class name and box; None if the line is no row
Parse = Callable[[str], ParsedRow]

_YAML = (".yaml", ".yml")


def find_text_folder(path: str, folders: Iterable[str], is_row: Callable[[str], bool]) -> Optional[str]:
    """Return the first of the subfolders whose first .txt file has such rows in half of its first lines.

    A folder with a .yaml is left to YOLO, which names splits and classes there.
    """
    if not is_folder(path) or any(first_file(path, suffix) for suffix in _YAML):
        return None
    for folder in folders:
        place = os.path.join(path, folder) if folder else path
        lines = [line for line in head_of(first_file(place, ".txt")).splitlines()[:20] if line.strip()]
        if lines and 2 * sum(map(is_row, lines)) >= len(lines):
            return place
    return None


def read_text_folder(path: str, split: str, parse: Parse, progress: bool, workers: int) -> Labels:
    """Read the labels of all text files below a folder; DatasetError. The sizes are read from the images."""
    folder = split_folder(path, split)
    files = walk(folder, [".txt"])
    if not files:
        raise DatasetError(f"{folder}: looked for .txt files with labels, found no such file.")
    collector = Collector(folder, "line")
    for file, content in zip(files, in_order(read_or_error, files, "labels", progress, workers)):
        try:
            if isinstance(content, OSError):
                raise content
            lines = decode_text(content).splitlines()
        except OSError as error:
            message = f"cannot be read: {error.strerror or error}"
            collector.problems.append(Problem("unreadable label", file, None, "", "image refused", message))
            continue
        parsed = ((number, parse(line.strip())) for number, line in enumerate(lines, start=1) if line.strip())
        rows = [Row(number, *row) for number, row in parsed if row is not None]
        stem = os.path.splitext(os.path.basename(file))[0]
        collector.add(stem, file, (math.nan, math.nan), rows)
    return collector.labels()
