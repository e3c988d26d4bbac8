"""YOLO label files as rows of numbers: many files at once, and each bad row with its file and line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets.io.files import MEGABYTE, in_order, read_or_error
from anchorlib.datasets.validation import Fault

BATCH = MEGABYTE  # bytes of text parsed at once: many files, few enough for the processor's cache
POWERS_OF_TEN = np.asarray([10**power for power in range(17)], np.float64)
MAX_ROWS = 1_000_000  # of one file; a bound for the memory that a damaged one can cost


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
    paths: Sequence[str], keypoints: Optional[tuple[int, int]] = None, progress: bool = False, workers: int = 1
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
    for index, content in enumerate(in_order(read_or_error, paths, "labels", progress, workers)):
        if isinstance(content, FileNotFoundError):
            missing.append(index)
        elif isinstance(content, OSError):
            unreadable[index] = content.strerror or str(content)
        elif b"\0" in content:
            unreadable[index] = "not a text file"
        elif content.count(b"\n") > MAX_ROWS:
            unreadable[index] = f"more than {MAX_ROWS} rows"
        if isinstance(content, OSError) or index in unreadable:
            content = b""
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


def parse_rows(contents: Sequence[bytes], first: int = 0, keypoints: Optional[tuple[int, int]] = None) -> Rows:
    """The rows of files given as bytes, the first of which has the number `first`.

    All files are joined, and rows of five numbers parsed together; every other row is taken by itself.
    """
    contents = [_unix_lines(content) for content in contents]
    text = b"\n".join(contents) + b"\n"
    letters = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(letters == 10) + 1
    starts = np.concatenate([[0], ends[:-1]])

    blank = (letters == 32) | ((letters >= 9) & (letters <= 13))
    edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1  # where a field starts or ends, in turn
    if not blank[0]:
        edges = np.concatenate([[0], edges])
    fields = edges.reshape(-1, 2)  # (fields, 2) start and end; the text ends with a blank, so they come in pairs
    n_fields = np.diff(np.searchsorted(fields[:, 0], starts), append=len(fields))
    five = n_fields == 5
    parsed, good = parse_decimals(letters, fields[np.repeat(five, n_fields)])
    values = np.full((len(starts), 5), np.nan)
    values[five] = parsed.reshape(-1, 5)
    plain = five.copy()
    plain[five] = good.reshape(-1, 5).all(axis=1)
    long = five & ~plain  # more digits, a sign, an exponent: float() on all of them, unless one is no number
    words = b"".join([text[start:end] for start, end in zip(starts[long], ends[long])])
    try:
        if b"_" not in words:  # float() takes 1_0 for ten
            values[long] = np.asarray(list(map(float, words.split()))).reshape(-1, 5)
            plain |= long
    except ValueError:
        pass  # the rows are taken by themselves, to find the one

    kept = n_fields > 0
    file_starts = np.cumsum([0] + [len(content) + 1 for content in contents])
    file_index = np.searchsorted(file_starts, starts, side="right") - 1  # (all lines,)
    first_lines = np.searchsorted(starts, file_starts)
    line = np.arange(len(starts)) - first_lines[file_index] + 1

    faults: dict[int, Fault] = {}
    position = np.cumsum(kept) - 1  # of a line among those that are not empty
    for row in np.flatnonzero(kept & ~plain):
        found = parse_row(text[starts[row] : ends[row]], keypoints)
        if isinstance(found, Fault):
            faults[int(position[row])] = found
            values[row] = np.nan
        else:
            values[row] = found
    return Rows(file_index[kept] + first, line[kept], values[kept], faults, [], {})


def _unix_lines(content: bytes) -> bytes:
    """Without a byte order mark, lines ended by a line feed alone."""
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content


def parse_decimals(letters: HostArray, fields: HostArray) -> tuple[HostArray, HostArray]:
    """Values (F,) float64 of fields (F, 2) that are decimals such as 12 or 0.375, and (F,) bool: which are.

    Up to 16 letters, so at most 15 digits beside a dot: the digits and the power of ten are whole numbers that
    float64 holds exactly, and their quotient is rounded once, to the bits of float(). All else is left to it.
    """
    start, length = fields[:, 0], fields[:, 1] - fields[:, 0]
    digits = np.zeros(len(fields), np.int64)
    n_digits, n_decimals = np.zeros(len(fields), np.int64), np.zeros(len(fields), np.int64)
    seen_dot, good = np.zeros(len(fields), bool), length <= 16
    for offset in range(min(int(length.max(initial=0)), 16)):
        inside = length > offset
        letter = letters[np.minimum(start + offset, len(letters) - 1)]
        is_digit = inside & (letter >= 48) & (letter <= 57)
        is_dot = inside & (letter == 46)
        good &= ~inside | is_digit | (is_dot & ~seen_dot)
        digits = np.where(is_digit, digits * 10 + letter - 48, digits)
        n_digits += is_digit
        n_decimals += is_digit & seen_dot
        seen_dot |= is_dot
    good &= n_digits > 0
    return digits / POWERS_OF_TEN[n_decimals], good


def parse_row(text: bytes, keypoints: Optional[tuple[int, int]] = None) -> tuple[float, ...] | Fault:
    """A row that is not empty as (class, cx, cy, w, h), a polygon by its bounding box; or what is wrong.

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
