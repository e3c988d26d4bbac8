"""Compare answers, and describe each difference so that a reader can find its cause."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from anchorlib.arrays import HostArray

Answers = Mapping[str, HostArray]

SHOWN = 5  # from this number of differences in one array on, a summary comes first
LISTED = 1000  # differences listed for one array, which may be large; the others are counted
_COLUMNS = ("x", "y", "w", "h", "objectness")  # the first columns of predictions
_CELL = ("image", "anchor", "gj", "gi", "column")
_ITEMS = ("box", "objectness", "classes")
ROW = ("image", "anchor", "gj", "gi", "cls", "box", "anchor_wh")  # columns of a layer of build_targets


def differences(found: Answers, expected: Answers, rtol: float = 0.0) -> list[str]:
    """Return a line for each entry that differs.

    rtol : 0 asks for the same dtype, shape and bits (any NaN is a NaN, and -0 is not 0); else floats may differ by
        `rtol` times the largest magnitude of the expected array

    >>> one = np.asarray([1.0, 2.0], np.float32)
    >>> differences({"x": one}, {"x": np.nextafter(one, one[:1])})
    ['x[1]: got 0x1.0000000000000p+1 (2), expected 0x1.fffffe0000000p+0 (1.9999999)']
    """
    lines = []
    if list(found) != list(expected):
        lines.append(f"got {', '.join(found) or 'nothing'}, expected {', '.join(expected) or 'nothing'}")
    for name in expected:
        if name in found:
            lines += _of_array(name, np.asarray(found[name]), np.asarray(expected[name]), rtol)
    return lines


def _of_array(name: str, found: HostArray, expected: HostArray, rtol: float) -> list[str]:
    if found.shape != expected.shape:
        return [f"{name}: got shape {found.shape}, expected {expected.shape}"]
    if not rtol and found.dtype != expected.dtype:
        return [f"{name}: got {found.dtype}, expected {expected.dtype}"]
    if rtol and expected.dtype.kind == "f":
        finite = expected[np.isfinite(expected)]
        limit = rtol * (float(abs(finite).max()) if finite.size else 1.0)
        with np.errstate(invalid="ignore"):
            near = abs(found.astype(np.float64) - expected.astype(np.float64)) <= limit
        bad = ~(near | (found == expected) | (np.isnan(found) & np.isnan(expected)))
    elif expected.dtype.kind == "f":
        same = (found == expected) & (np.signbit(found) == np.signbit(expected))
        bad = ~(same | (np.isnan(found) & np.isnan(expected)))
    else:
        bad = found != expected
    where = np.argwhere(bad)
    lines = [
        f"{_at(name, index)}: got {as_text(found[tuple(index)], rtol)}, "
        f"expected {as_text(expected[tuple(index)], rtol)}"
        for index in where[:LISTED].tolist()
    ]
    return _summary(name, found, expected, where) + lines + _rest(name, len(where))


def _summary(name: str, found: HostArray, expected: HostArray, where: HostArray) -> list[str]:
    """Return a line that says how many entries differ, by how much, and where most; nothing for a few entries."""
    if len(where) <= SHOWN:
        return []
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    apart = np.where(np.isfinite(apart), apart, 0.0)
    largest = float(np.abs(np.where(np.isfinite(expected), expected, 0)).max())
    most = np.unravel_index(int(apart.argmax()), apart.shape)
    share = f" ({apart.max() / largest:.2g} of the largest value)" if largest else ""
    return [f"{name}: {len(where)} of {found.size} values differ, by up to {apart.max():.3g}{share} at {_at('', most)}"]


def _at(name: str, index: Any) -> str:
    """Return the name of an entry; that of a gradient by predictions says which cell it is."""
    if len(index) == len(_CELL) and (not name or name.startswith("by p[")):
        column = _COLUMNS[index[4]] if index[4] < len(_COLUMNS) else f"class {index[4] - len(_COLUMNS)}"
        cell = ", ".join(f"{axis} {place}" for axis, place in zip(_CELL, index[:4]))
        return f"{name}{', ' if name else ''}{cell}, {column}"
    label = f" ({_ITEMS[index[0]]})" if name == "items" and index[0] < len(_ITEMS) else ""
    return f"{name}[{', '.join(map(str, index))}]{label}"


def row_differences(found: Answers, expected: Answers, targets: HostArray, *, ordered: bool = True) -> list[str]:
    """Return a line for each cell of build_targets that only one answer has, or that has other values.

    found, expected : for each layer l "l.image", "l.anchor", ... as in ROW, and "l.grid": (ny, nx)
    ordered : also compare the order of the rows
    """
    lines = []
    for layer in range(len(expected) // (len(ROW) + 1)):
        ny, nx = (int(side) for side in expected[f"{layer}.grid"])
        ours, theirs = (_rows(answers, layer) for answers in (expected, found))
        lines_here = [f"layer {layer}: {line}" for line in _with_counts(_cells(theirs, ours, targets, (ny, nx)))]
        if not lines_here and ordered and theirs != ours:
            first = next(i for i, (one, two) in enumerate(zip(theirs, ours)) if one != two)
            lines_here = [f"layer {layer}: the same rows in another order from row {first} on"]
        lines += lines_here
    return lines


def _with_counts(lines: list[str]) -> list[str]:
    """Put a line with the numbers of the differences before many lines of `_cells`."""
    if len(lines) <= SHOWN:
        return lines
    ours, theirs = (sum(f"is only in {whose}" in line for line in lines) for whose in ("ours", "theirs"))
    others = len(lines) - ours - theirs
    return [f"{ours} rows are only in ours, {theirs} only in theirs, {others} have other values", *lines]


def _rows(answers: Answers, layer: int) -> list[tuple[Any, ...]]:
    """Return ((image, anchor, gj, gi), (cls, box, anchor_wh)) of each row."""
    columns = [np.asarray(answers[f"{layer}.{name}"]).tolist() for name in ROW]
    lengths = {name: len(column) for name, column in zip(ROW, columns)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"layer {layer} must have columns of one length, got {lengths}")
    return [(tuple(row[:4]), (row[4], tuple(row[5]), tuple(row[6]))) for row in zip(*columns)]


def _cells(theirs: list[Any], ours: list[Any], targets: HostArray, grid: tuple[int, int]) -> list[str]:
    """Return a line for each row that the other answer lacks; rows of the same cell are paired."""
    left: dict[Any, list[Any]] = defaultdict(list)
    for cell, values in theirs:
        left[cell].append(values)
    missing = []
    for cell, values in ours:
        if values in left[cell]:
            left[cell].remove(values)
        else:
            missing.append((cell, values))
    lines = []
    for cell, values in missing:
        if left[cell]:
            here = f"{_cell(cell, values, targets, grid)} has"
            lines.append((cell, f"{here} {_values(left[cell].pop(0), True)}, expected {_values(values, True)}"))
        else:
            lines.append((cell, f"{_cell(cell, values, targets, grid)} is only in ours: {_values(values)}"))
    for cell, surplus in left.items():
        for values in surplus:
            outside = not (0 <= cell[2] < grid[0] and 0 <= cell[3] < grid[1])
            beyond = f", outside the grid of {grid[0]} x {grid[1]}," if outside else ""
            lines.append((cell, f"{_cell(cell, values, targets, grid)}{beyond} is only in theirs: {_values(values)}"))
    return [line for _, line in sorted(lines)]  # neighbours side by side


def _cell(cell: Any, values: Any, targets: HostArray, grid: tuple[int, int]) -> str:
    image, anchor, gj, gi = cell
    size = np.asarray(targets[:, 4:6], np.float32) * np.asarray([grid[1], grid[0]], np.float32)
    fits = (targets[:, 0] == image) & (targets[:, 1] == values[0])
    fits &= (size == np.asarray(values[1][2:], np.float32)).all(axis=1)
    rows = np.flatnonzero(fits)
    target = f"target row {' or '.join(map(str, rows))}" if len(rows) else "a target row that is not known"
    return f"cell image {image}, anchor {anchor}, gj {gj}, gi {gi} ({target})"


def _values(values: Any, with_anchor: bool = False) -> str:
    cls, box, anchor_wh = values
    anchor = f", anchor ({', '.join(map(_hex, anchor_wh))})" if with_anchor else ""
    return f"class {cls}, box ({', '.join(map(_hex, box))}){anchor}"


def _hex(value: float) -> str:
    return f"{float(value).hex()} = {value:.7g}"


def as_text(value: Any, rtol: float) -> str:
    """Return a number as text; floats that must be exact are also in hexadecimal."""
    if np.asarray(value).dtype.kind != "f":
        return str(value)
    return f"{float(value):.9g}" if rtol else f"{float(value).hex()} ({value:.8g})"


def _rest(name: str, n: int) -> list[str]:
    return [f"{name}: and {n - LISTED} more"] if n > LISTED else []
