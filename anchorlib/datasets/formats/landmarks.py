"""Tell rows of a box and landmarks from polygons: both are a class and a long list of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import numpy as np

LEAST_POINTS = 3  # rows of a box and two points have as many numbers as the four corners of a rotated box
_NEAR = 0.25  # landmarks may lie outside the box by this share of its sides


def points_in_box(numbers: Sequence[float]) -> Optional[tuple[int, int]]:
    """Return (points, values per point) if the numbers of a row are a class, a box and points inside it, else None.

    A point has two values, or a third that is 0, 1 or 2 (its visibility). Points that are missing are 0 0 or negative.

    >>> points_in_box([0, 0.5, 0.5, 0.2, 0.3, 0.45, 0.42, 0.55, 0.42, 0.5, 0.5])
    (3, 2)
    """
    cx, cy, w, h = numbers[1:5]
    if not (0 < w <= 1 and 0 < h <= 1 and cx - w / 2 >= -_NEAR and cx + w / 2 <= 1 + _NEAR):
        return None
    for values in (3, 2):
        points, rest = divmod(len(numbers) - 5, values)
        if rest or points < LEAST_POINTS:
            continue
        xs, ys = numbers[5::values], numbers[6::values]
        seen = [(x, y) for x, y in zip(xs, ys) if x >= 0 and y >= 0 and (x or y)]
        inside = all(abs(x - cx) <= (0.5 + _NEAR) * w and abs(y - cy) <= (0.5 + _NEAR) * h for x, y in seen)
        if inside and (values == 2 or set(numbers[7::3]) <= {-1, 0, 1, 2}):
            return points, values
    return None


class LandmarkSearch:
    """Decide for a whole data set whether its rows that look like polygons are boxes with landmarks.

    They are if all of them have the same number of points inside the box of their first four numbers, and most would be
    strange polygons: their second point, in truth the size of the box, is far from all others.
    """

    def __init__(self) -> None:
        self.possible = True
        self.shape: Optional[tuple[int, int]] = None  # (points, values per point)
        self.boxes: dict[tuple[int, int], list[float]] = {}  # class and box, by part and row
        self._strange = 0

    def add(self, part: int, row: int, fields: Sequence[bytes]) -> None:
        """Look at a row of numbers that was read as a polygon; `part` and `row` say which it is."""
        numbers = [float(field) for field in fields]
        shape = points_in_box(numbers)
        if shape is None or self.shape not in (None, shape):
            self.possible = False
            self.boxes.clear()
            return
        self.shape = shape
        self.boxes[part, row] = numbers[:5]
        self._strange += _is_strange_polygon(numbers)

    @property
    def found(self) -> bool:
        """Return True if the rows are boxes with landmarks."""
        return self.possible and 2 * self._strange > len(self.boxes)


def _is_strange_polygon(numbers: Sequence[float]) -> bool:
    """Return True if the second point is further from the others than these are from each other."""
    points = np.asarray(numbers[1:]).reshape(-1, 2) if len(numbers) % 2 else np.asarray(numbers[1:-1]).reshape(-1, 2)
    others = np.delete(points, 1, axis=0)
    low, high = others.min(axis=0), others.max(axis=0)
    return bool((low < 0).any() or (points[1] < low - (high - low)).any() or (points[1] > high + (high - low)).any())
