"""YOLO label files as rows of numbers: many files at once, and each bad row with its file and line."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets.checks import Fault
from anchorlib.datasets.files import MEGABYTE, read_regular, with_bar

BATCH = 8 * MEGABYTE  # bytes of text parsed at once: large enough for NumPy, small enough for the memory
MAX_ROWS = 1_000_000  # of one file; a bound for the memory that a damaged one can cost
NUMBER_BYTES = np.zeros(256, bool)  # what a row of plain numbers consists of
NUMBER_BYTES[list(b"0123456789.+-eE \t\r\v\f\n")] = True


@dataclass
class Rows:
    """R rows of F label files, in order; a row with a fault has NaN values."""

    file_index: HostArray  # (R,) int64
    line: HostArray  # (R,) int64, from 1
    values: HostArray  # (R, 5) float64: class, cx, cy, w, h
    faults: dict[int, Fault]  # by row
    missing: list[int]  # files that are not there
    unreadable: dict[int, str]  # files that are there and cannot be read, with the reason


def read_rows(
    paths: Sequence[str], keypoints: Optional[tuple[int, int]] = None, progress: bool = False
) -> Rows:
    """The rows of all label files; nothing is raised.

    Parameters
    ----------
    paths : F label files: rows of 'class cx cy w h', or a class and a polygon of three or more points
    keypoints : (points, values per point) if rows carry key points after the box
    """
    missing: list[int] = []
    unreadable: dict[int, str] = {}
    parts: list[Rows] = []
    contents: list[bytes] = []
    size, first = 0, 0
    for index, path in enumerate(with_bar(paths, "labels", progress)):
        content = b""
        try:
            content = read_regular(path)
            if b"\0" in content or content.count(b"\n") > MAX_ROWS:
                raise OSError("not a text file" if b"\0" in content else f"more than {MAX_ROWS} rows")
        except FileNotFoundError:
            missing.append(index)
        except OSError as error:
            content = b""
            unreadable[index] = error.strerror or str(error)
        contents.append(content)
        size += len(content)
        if size > BATCH:
            parts.append(parse_rows(contents, first, keypoints))
            contents, size, first = [], 0, index + 1
    parts.append(parse_rows(contents, first, keypoints))
    starts = np.cumsum([0] + [len(part.line) for part in parts])
    return Rows(
        np.concatenate([part.file_index for part in parts]),
        np.concatenate([part.line for part in parts]),
        np.concatenate([part.values for part in parts]),
        {int(start) + row: fault for start, part in zip(starts, parts) for row, fault in part.faults.items()},
        missing,
        unreadable,
    )


def parse_rows(
    contents: Sequence[bytes], first: int = 0, keypoints: Optional[tuple[int, int]] = None
) -> Rows:
    """The rows of files given as bytes, the first of which has the number `first`.

    All files are joined and their five-column rows parsed in one call; every other row is taken by itself.
    """
    contents = [_unix_lines(content) for content in contents]
    text = b"\n".join(contents) + b"\n"
    letters = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(letters == 10) + 1
    starts = np.concatenate([[0], ends[:-1]])

    blank = (letters == 32) | ((letters >= 9) & (letters <= 13))
    field_starts = ~blank
    field_starts[1:] &= blank[:-1]
    n_fields = np.add.reduceat(field_starts, starts, dtype=np.int64)
    plain = (n_fields == 5) & np.logical_and.reduceat(NUMBER_BYTES[letters], starts)
    parsed = _parse_plain(text, letters, plain, ends - starts)
    if parsed is None:  # a word such as 1-2 or 0.5.5, of the right letters and yet no number
        plain = np.zeros_like(plain)
        parsed = np.empty((0, 5))

    kept = n_fields > 0
    file_starts = np.cumsum([0] + [len(content) + 1 for content in contents])
    file_index = np.searchsorted(file_starts, starts, side="right") - 1  # (all lines,)
    first_lines = np.searchsorted(starts, file_starts)
    line = np.arange(len(starts)) - first_lines[file_index] + 1

    values = np.full((len(starts), 5), np.nan)
    values[plain] = parsed
    faults: dict[int, Fault] = {}
    position = np.cumsum(kept) - 1  # of a line among those that are not empty
    for row in np.flatnonzero(kept & ~plain):
        found = parse_row(text[starts[row] : ends[row]], keypoints)
        if isinstance(found, Fault):
            faults[int(position[row])] = found
        else:
            values[row] = found
    return Rows(file_index[kept] + first, line[kept], values[kept], faults, [], {})


def _unix_lines(content: bytes) -> bytes:
    """Without a byte order mark, lines ended by a line feed alone."""
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content


def _parse_plain(text: bytes, letters: HostArray, plain: HostArray, lengths: HostArray) -> HostArray | None:
    """(rows, 5) float64 of the rows marked plain, or None if a word in them is not a number."""
    if not plain.all():
        text = np.where(np.repeat(plain, lengths), letters, np.uint8(32)).tobytes()
    with warnings.catch_warnings():
        # At the first word that is no number NumPy stops: with a warning in older versions, an error in newer ones.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            numbers = np.fromstring(text, np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    # NumPy may read two numbers from one word, so the count decides.
    return numbers.reshape(-1, 5) if len(numbers) == 5 * int(plain.sum()) else None


def parse_row(text: bytes, keypoints: Optional[tuple[int, int]] = None) -> tuple[float, ...] | Fault:
    """One row that is not empty: (class, cx, cy, w, h), of a polygon those of its bounding box; or what is wrong.

    >>> parse_row(b"3 0.1 0.1 0.5 0.1 0.5 0.2")
    (3.0, 0.3, 0.15000000000000002, 0.4, 0.1)
    """
    fields = text.split()
    shown = text.strip()[:60].decode("utf-8", errors="replace")
    n_fields = len(fields)
    n_pose = 5 + keypoints[0] * keypoints[1] if keypoints else None
    is_polygon = n_fields >= 7 and n_fields % 2 == 1
    if n_fields not in (5, n_pose) and not is_polygon:
        wanted = "'class cx cy w h' or a class and a polygon" + (
            f" or {n_pose} fields with key points" if n_pose else ""
        )
        return Fault("wrong number of fields", f"expected {wanted}, got {n_fields} fields", shown)
    try:
        if b"_" in text:
            raise ValueError("float() takes 1_0 for ten")
        numbers = [float(field) for field in fields]
    except ValueError:
        return Fault("not a number", "expected numbers", shown)
    if n_fields in (5, n_pose):
        return tuple(numbers[:5])
    left, right, top, bottom = min(numbers[1::2]), max(numbers[1::2]), min(numbers[2::2]), max(numbers[2::2])
    if not all(map(np.isfinite, numbers)):
        return Fault("not a number", "expected finite numbers", shown)
    return numbers[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
