"""Read YOLO label files as rows of numbers: many files at once, and each bad row with its file and line."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.formats.decimals import find_fields, parse_decimals
from anchorlib.datasets.formats.landmarks import LEAST_POINTS, LandmarkSearch, points_in_box
from anchorlib.datasets.io.files import MEGABYTE, in_order, read_or_error
from anchorlib.datasets.io.text import UTF16, decode_text
from anchorlib.datasets.validation import Fault

BATCH = MEGABYTE  # bytes of text parsed at once: many files, few enough for the processor's cache
LEAST_FIELDS = 5 + 2 * LEAST_POINTS  # of a row that may be a box and landmarks
PLAIN = b"0123456789.+-eE \t\n"
BOM = b"\xef\xbb\xbf"
MAX_ROWS = 1_000_000  # of one file; it bounds the memory that a damaged file can cost


@dataclass
class Rows:
    """Hold R rows of F label files, in order; a row with a fault has NaN values."""

    file_index: HostArray  # (R,) int64
    line: HostArray  # (R,) int64, from 1
    values: HostArray  # (R, 5) float64: class, cx, cy, w, h
    faults: dict[int, Fault]  # by row
    missing: list[int]  # files that do not exist
    unreadable: dict[int, str]  # files that exist and cannot be read, with the reason
    remarks: list[Problem] = field(default_factory=list)  # on how rows were read
    corners: list[int] = field(default_factory=list)  # rows that were read as four corners
    n_polygons: int = 0  # rows that were read as polygons, also of four corners


def read_rows(
    paths: Sequence[str], keypoints: Optional[tuple[int, int]] = None, progress: bool = False, workers: int = 1
) -> Rows:
    """Read the rows of all label files. No error is raised.

    Parameters
    ----------
    paths : F label files: rows of 'class cx cy w h', or a class and a polygon of three or more points
    keypoints : (points, values per point) if rows carry key points after the box
    """
    missing: list[int] = []
    unreadable: dict[int, str] = {}
    remarks: list[Problem] = []
    parts: list[Rows] = []
    search = LandmarkSearch() if keypoints is None else None
    contents: list[bytes] = []
    size, first = 0, 0
    for index, content in enumerate(in_order(read_or_error, paths, "labels", progress, workers)):
        if isinstance(content, FileNotFoundError):
            missing.append(index)
        elif isinstance(content, OSError):
            unreadable[index] = content.strerror or str(content)
        elif content.startswith(UTF16):
            try:
                content = decode_text(content).encode()
                remarks.append(Problem("encoding", paths[index], None, "", "read", "UTF-16, which YOLO cannot read"))
            except OSError as error:
                unreadable[index] = str(error)
        elif b"\0" in content:
            unreadable[index] = "not a text file in UTF-8"
        elif content.count(b"\n") > MAX_ROWS:
            unreadable[index] = f"more than {MAX_ROWS} rows"
        if isinstance(content, OSError) or index in unreadable:
            content = b""
        contents.append(content)
        size += len(content)
        if size > BATCH:
            parts.append(parse_rows(contents, first, keypoints, search, len(parts)))
            contents, size, first = [], 0, index + 1
    parts.append(parse_rows(contents, first, keypoints, search, len(parts)))
    if search is not None and search.found:
        remarks.append(_take_boxes(search, parts, paths))
    remarks += _name_corners(parts, paths)
    starts = np.cumsum([0] + [len(part.line) for part in parts])
    return Rows(
        np.concatenate([part.file_index for part in parts]),
        np.concatenate([part.line for part in parts]),
        np.concatenate([part.values for part in parts]),
        {int(start) + row: fault for start, part in zip(starts, parts) for row, fault in part.faults.items()},
        missing,
        unreadable,
        remarks,
    )


def _take_boxes(search: LandmarkSearch, parts: Sequence[Rows], paths: Sequence[str]) -> Problem:
    """Replace what was read as polygons by the boxes with landmarks; return a remark."""
    for (part, row), box in search.boxes.items():
        parts[part].values[row] = box
    (part, row), shape = next(iter(search.boxes)), list(search.shape or ())
    file, line = paths[int(parts[part].file_index[row])], int(parts[part].line[row])
    message = (
        f"{len(search.boxes)} rows of {5 + shape[0] * shape[1]} numbers were read as a box and {shape[0]} points, "
        f"because the points are inside the box; write kpt_shape: {shape} in the .yaml to say so"
    )
    return Problem("landmarks", file, line, "", "read", message)


def _name_corners(parts: Sequence[Rows], paths: Sequence[str]) -> list[Problem]:
    """Return a remark if all polygons have four corners, as the rotated boxes of YOLO OBB."""
    n_corners = sum(len(part.corners) for part in parts)
    if not n_corners or n_corners < sum(part.n_polygons for part in parts):
        return []
    first = next(part for part in parts if part.corners)
    file = paths[int(first.file_index[first.corners[0]])]
    message = f"{n_corners} rows of 9 numbers are four corners, as in YOLO OBB; they count as their bounding boxes"
    return [Problem("rotated box", file, int(first.line[first.corners[0]]), "", "read", message)]


def parse_rows(
    contents: Sequence[bytes],
    first: int = 0,
    keypoints: Optional[tuple[int, int]] = None,
    search: Optional[LandmarkSearch] = None,
    part: int = 0,
) -> Rows:
    """Return the rows of files given as bytes; the first file has the number `first`.

    Rows of five plain decimals are parsed together, then other rows of five numbers. Every other row is parsed on its
    own. Polygons that may be a box and landmarks are added to `search`, as rows of part `part`.
    """
    contents = contents or [b""]
    text = b"\n".join(contents) + b"\n"
    if b"\r" in text or BOM in text:
        contents = [_unix_lines(content) for content in contents]
        text = b"\n".join(contents) + b"\n"
    letters = np.frombuffer(text, np.uint8)
    line_ends = np.flatnonzero(letters == 10)
    line_starts = np.concatenate([[0], line_ends[:-1] + 1])
    file_ends = np.cumsum([len(content) + 1 for content in contents], dtype=np.int64)
    n_lines = np.diff(np.searchsorted(line_ends, file_ends), prepend=0)
    file_index = np.repeat(np.arange(len(contents)), n_lines)  # (all lines,)
    line = np.arange(len(line_ends)) - np.repeat(np.cumsum(n_lines) - n_lines, n_lines) + 1

    starts, ends = find_fields(letters)
    n_fields = np.diff(np.searchsorted(ends, line_ends, side="right"), prepend=0)
    kept, five = n_fields > 0, n_fields == 5
    of_five = slice(None) if np.array_equal(kept, five) else np.repeat(five, n_fields)
    parsed, good = parse_decimals(text, starts[of_five], ends[of_five])
    values = np.full((len(line_ends), 5), np.nan)
    values[five] = parsed.reshape(-1, 5)
    plain = five.copy()
    plain[five] = good.reshape(-1, 5).all(axis=1)
    other = np.flatnonzero(five & ~plain)  # with a sign, an exponent, many digits or a word
    if len(other):
        rows = _load_rows(b"".join([text[line_starts[row] : line_ends[row] + 1] for row in other]))
        values[other] = np.nan if rows is None else rows
        plain[other] = rows is not None

    faults: dict[int, Fault] = {}
    corners: list[int] = []
    n_polygons = 0
    position = np.cumsum(kept) - 1  # of a line among those that are not empty
    for row in np.flatnonzero(kept & ~plain):
        content = text[line_starts[row] : line_ends[row]]
        found = parse_row(content, keypoints)
        if isinstance(found, Fault):
            faults[int(position[row])] = found
        else:
            values[row] = found
            if n_fields[row] > 5 and keypoints is None:
                n_polygons += 1
                if n_fields[row] == 9:
                    corners.append(int(position[row]))
            if search is not None and search.possible and n_fields[row] >= LEAST_FIELDS:
                search.add(part, int(position[row]), content.split())
    return Rows(file_index[kept] + first, line[kept], values[kept], faults, [], {}, [], corners, n_polygons)


def _load_rows(rows: bytes) -> Optional[HostArray]:
    """Return the values (R, 5) float64 of rows of five numbers; None if a number has unusual characters."""
    if rows.translate(None, PLAIN):  # NumPy would take some of them for blanks
        return None
    try:
        return np.loadtxt(io.BytesIO(rows), comments=None, ndmin=2)
    except ValueError:
        return None


def _unix_lines(content: bytes) -> bytes:
    """Remove a byte order mark and end each line with a line feed."""
    if content.startswith(BOM):
        content = content[3:]
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content


def parse_row(text: bytes, keypoints: Optional[tuple[int, int]] = None) -> tuple[float, ...] | Fault:
    """Return (class, cx, cy, w, h) of a row that is not empty, or its Fault. A polygon gives its bounding box.

    >>> parse_row(b"3 0.1 0.1 0.5 0.1 0.5 0.2")
    (3.0, 0.3, 0.15000000000000002, 0.4, 0.1)
    """
    fields = text.split()
    shown = text.strip()[:60].decode("utf-8", errors="replace")
    n_fields = len(fields)
    n_pose = 5 + keypoints[0] * keypoints[1] if keypoints else None
    is_polygon = n_fields >= 7 and n_fields % 2 == 1
    wanted = "'class cx cy w h' or a class and a polygon" + (f" or {n_pose} fields with key points" if n_pose else "")
    is_known = n_fields in (5, n_pose) or is_polygon
    if not is_known and b"," in text:
        return Fault("wrong number of fields", f"expected {wanted}, with spaces, got commas", shown)
    try:
        if b"_" in text:
            raise ValueError("float() takes 1_0 for ten")
        numbers = [float(field) for field in fields]
    except ValueError:
        if is_known:
            comma = " with a point before the decimals, got a comma" if b"," in text else ""
            return Fault("not a number", "expected numbers" + comma, shown)
        numbers = []
    if not is_known:
        hint = _hint(numbers)
        return Fault("wrong number of fields", f"expected {wanted}, got {n_fields} fields{hint}", shown)
    if n_fields in (5, n_pose):
        return tuple(numbers[:5])
    left, right, top, bottom = min(numbers[1::2]), max(numbers[1::2]), min(numbers[2::2]), max(numbers[2::2])
    if not all(map(np.isfinite, numbers)):
        return Fault("not a number", "expected finite numbers", shown)
    return numbers[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _hint(numbers: Sequence[float]) -> str:
    """Return what a row with a wrong number of fields may be; `numbers` is empty if it has other words."""
    if len(numbers) == 6:
        return "; an angle or a confidence after the box is not read: delete it"
    shape = points_in_box(numbers) if len(numbers) >= LEAST_FIELDS else None
    return f"; for a box and {shape[0]} points write kpt_shape: {list(shape)} in the .yaml" if shape else ""
