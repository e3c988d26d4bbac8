"""Bound from above what a single anchor can gain over given prices, over the whole plane, by branch and bound.

The gain of an anchor (a, b) is the sum over the boxes of count * max(0, value(box, a, b) - price of the box). A cell is
a rectangle of anchors. On a cell, the gain is bounded by a function that is linear, or linear in each side, so its
largest value is at a corner. The error of this bound falls with the square of the cell's size.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.boxes import size_iou
from anchorlib.metrics import one_side_ratio, ratio_limit, side_ratio

#: `score` computes values in float32: a value may be larger by this factor than the exact one.
FLOAT32_ERROR = {"ratio": 1 + 2.0**-22, "iou": 1 + 2.0**-20}
_SMALLEST = 2.0**-12  # relative size of a cell that is not divided further


@dataclass
class PricedSizes:
    """Hold box sizes, counts and prices, (M,) float64 each; `limit` is the value below which a box counts 0."""

    w: HostArray
    h: HostArray
    count: HostArray
    price: HostArray

    def take(self, rows: HostArray) -> PricedSizes:
        """Return the boxes in these rows."""
        return PricedSizes(self.w[rows], self.h[rows], self.count[rows], self.price[rows])


@dataclass
class Greatest:
    """Hold the result: no anchor gains more than `above`; `tops` (T, 2) are anchors that gain almost as much."""

    above: float
    tops: HostArray
    cells: int


class Measure:
    """Compute values of boxes and anchors in float64, and their bounds on cells."""

    def __init__(self, objective: str, thr: float) -> None:
        self.objective = objective
        # Float32 rounding may lift a value over the limit that is exactly at it.
        self.limit = ratio_limit(thr) / FLOAT32_ERROR["ratio"] if objective == "ratio" else 0.0

    def values(self, w: HostArray, h: HostArray, anchor_w: HostArray, anchor_h: HostArray) -> HostArray:
        """Return the values of boxes and anchors that broadcast."""
        if self.objective == "iou":
            return size_iou(np, w, h, anchor_w, anchor_h)
        ratio = side_ratio(np, w, h, anchor_w, anchor_h)
        return ratio * (ratio > self.limit)

    def gain(self, sizes: PricedSizes, anchor_w: float, anchor_h: float) -> float:
        """Return the gain of one anchor."""
        values = self.values(sizes.w, sizes.h, np.float64(anchor_w), np.float64(anchor_h))
        values -= sizes.price
        np.maximum(values, 0, out=values)
        return float(values @ sizes.count)

    def gain_above(self, sizes: PricedSizes, cell: tuple[float, float, float, float]) -> tuple[float, HostArray]:
        """Return an upper bound of the gain of all anchors of a cell, and the rows of the boxes that can gain."""
        return (_iou_above if self.objective == "iou" else _ratio_above)(sizes, cell, self.limit)


def _ratio_above(sizes: PricedSizes, cell: tuple[float, float, float, float], limit: float) -> tuple[float, HostArray]:
    """Bound a sum of max(0, min(f(a), g(b)) - price), where f and g are the ratios of the two sides.

    Where a box's width is not within the cell, f(a) is a / w or w / a. Both are convex, so on the cell f - price, and
    its positive part, is at most the straight line through its values at both ends. The same holds for g. Each box may
    choose the line of its width or that of its height, because the minimum is at most each of them. The sum of the
    lines in a has its maximum at a0 or a1, and that of the lines in b at b0 or b1.
    """
    lines = []
    for side, low, high in ((sizes.w, cell[0], cell[1]), (sizes.h, cell[2], cell[3])):
        at_low, at_high = one_side_ratio(np, side, low), one_side_ratio(np, side, high)
        within = (side > low) & (side < high)  # the ratio of this side has its peak, 1, in the cell
        at_low[within] = 1
        at_high[within] = 1
        lines.append((at_low, at_high))
    most = np.minimum(np.maximum(*lines[0]), np.maximum(*lines[1]))
    can_gain = (most > sizes.price) & (most > limit)
    gains = [[np.maximum(line - sizes.price, 0) * can_gain for line in pair] for pair in lines]
    by_width = gains[0][0] + gains[0][1] <= gains[1][0] + gains[1][1]
    in_a, in_b = sizes.count * by_width, sizes.count * ~by_width
    above = max(float(gains[0][0] @ in_a), float(gains[0][1] @ in_a))
    above += max(float(gains[1][0] @ in_b), float(gains[1][1] @ in_b))
    return above, np.flatnonzero(can_gain)


def _iou_above(sizes: PricedSizes, cell: tuple[float, float, float, float], limit: float) -> tuple[float, HostArray]:
    """Bound a sum of max(0, IoU(a, b) - price).

    For an anchor wider than the box, the IoU is convex in a; for one that is narrower, it is convex in 1 / a; the same
    holds for the height. If the box's width is within the cell, a = w is the best of all a, and is used at both ends.
    So the IoU, and its positive part over the price, is at most the bilinear function through its values at the four
    corners, in the coordinates of the box's group: a or 1 / a, b or 1 / b. If a point is at the share x of the cell's
    width in a, it is at a share between x and x + lag in 1 / a. So the sum over all groups, at one x and y, is at most
    a bilinear function, whose maximum is at a corner, plus lag times the steepest slope of each group in 1 / a.
    """
    low_w, high_w = _ends(sizes.w, cell[0], cell[1])
    low_h, high_h = _ends(sizes.h, cell[2], cell[3])
    corners = [(low_w, low_h), (high_w, low_h), (low_w, high_h), (high_w, high_h)]
    gains = np.stack([size_iou(np, sizes.w, sizes.h, w, h) for w, h in corners])
    gains -= sizes.price
    can_gain = gains.max(axis=0) > 0
    np.maximum(gains, 0, out=gains)
    narrow, low = sizes.w >= cell[1], sizes.h >= cell[3]
    groups = np.stack([~narrow & ~low, narrow & ~low, ~narrow & low, narrow & low]) * sizes.count
    sums = groups @ gains.T  # (groups, corners)
    above = float(sums.sum(axis=0).max())
    for group in (1, 3):
        above += _lag(cell[0], cell[1]) * _steepest(sums[group], (1, 0), (3, 2))
    for group in (2, 3):
        above += _lag(cell[2], cell[3]) * _steepest(sums[group], (2, 0), (3, 1))
    return above, np.flatnonzero(can_gain)


def _ends(side: HostArray, low: float, high: float) -> tuple[HostArray, HostArray]:
    """Return both ends of a cell for each box; if its side is within the cell, both are its side."""
    within = (side > low) & (side < high)
    return np.where(within, side, low), np.where(within, side, high)


def _steepest(corners: HostArray, *pairs: tuple[int, int]) -> float:
    """Return the largest rise from the second to the first corner of a pair, at least 0."""
    return max(0.0, *(float(corners[high] - corners[low]) for high, low in pairs))


def _lag(low: float, high: float) -> float:
    """Return the most by which the share of a point in 1 / a exceeds its share in a, between two ends."""
    root = math.sqrt(high / low)
    return (root - 1) / (root + 1) * (1 + 2.0**-40)


def find_greatest_gain(
    measure: Measure,
    sizes: PricedSizes,
    domain: tuple[float, float, float, float],
    anchors: HostArray,
    slack: float,
    deadline: float = math.inf,
) -> Greatest:
    """Bound the gain of every anchor in `domain`: least and greatest width, least and greatest height.

    An anchor beyond the smallest and largest sides of the boxes gains less than the nearest one within them, so the
    rectangle of these sides is all of the plane.

    anchors : (K, 2), whose gain is the first that is known
    slack : the bound may exceed the greatest gain by this
    deadline : a time of time.monotonic(), after which no cell is divided; the bound is then larger, and still valid

    Every bound of a cell includes an allowance for the rounding of float64. A value has a relative error of at most 3
    units of 2^-53, so the difference of a value and a price has an absolute error of at most 4 units, and the sum over
    boxes of count times this is at most `lost` below its exact value, besides the relative error of a sum of M terms.
    """
    relative, lost = 1 + (len(sizes.w) + 64) * 2.0**-52, float(sizes.count.sum()) * 2.0**-50
    reached, best = max((measure.gain(sizes, *anchor), anchor) for anchor in anchors.tolist())
    tops = [best]
    first, rows = measure.gain_above(sizes, domain)
    stack = [(first * relative + lost, domain, sizes.take(rows))]
    above, n_cells = 0.0, 1
    while stack:
        bound, cell, near = stack.pop()
        wide, high = cell[1] / cell[0], cell[3] / cell[2]
        small = max(wide, high) < 1 + _SMALLEST
        if bound <= max(above, reached + slack) or small or time.monotonic() > deadline:
            above = max(above, bound)
            continue
        children = []
        for half in _halve(cell, wide >= high):
            n_cells += 1
            bound, rows = measure.gain_above(near, half)
            bound = bound * relative + lost
            if bound <= reached + slack:
                above = max(above, bound)
                continue
            few = near.take(rows)
            middle = math.sqrt(half[0] * half[1]), math.sqrt(half[2] * half[3])
            gain = measure.gain(few, *middle)
            if gain > reached:
                reached = gain
                tops.append(list(middle))
            children.append((bound, half, few))
        stack += sorted(children, key=lambda child: child[0])
    return Greatest(above, np.array(tops).reshape(-1, 2), n_cells)


def _halve(
    cell: tuple[float, float, float, float], by_width: bool
) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
    """Return both halves of a cell."""
    w0, w1, h0, h1 = cell
    if by_width:
        middle = math.sqrt(w0 * w1)
        return (w0, middle, h0, h1), (middle, w1, h0, h1)
    middle = math.sqrt(h0 * h1)
    return (w0, w1, h0, middle), (w0, w1, middle, h1)
