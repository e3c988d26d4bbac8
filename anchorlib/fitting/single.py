"""Find the best single anchor of all by branch and bound, and prove that it is the best.

A cell is a rectangle of float32 anchors (a, b). For the boxes whose ratio is decided by the same side in all of the
cell, the sum of the ratios is a function of a plus a function of b, and both are known exactly: between the sides at
which a box enters or leaves the limit, each is convex, so its greatest value is at such a side or on the border of the
cell. Only the boxes for which either side may decide make the bound larger than the truth, by an amount that falls with
the square of the size of the cell. Boxes that are settled in a cell are summed once for all parts of the cell, so the
work falls with its size. In large cells, boxes are looked at in groups (size_tree.py).
"""

from __future__ import annotations

import heapq
import math
import time
from dataclasses import dataclass

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.fitting.size_tree import Level, SizeTree
from anchorlib.metrics import one_side_ratio, ratio_limit
from anchorlib.size_histogram import WeightedSizes

#: No single anchor has a fitness that exceeds a proven result's by more than this, as `score` computes both.
PRECISION = 2.0**-20
_SLACK = 2.0**-23  # that the search leaves, per box; the rounding of values and of sums adds less than 7 times this
_FINE = 4  # a level is used for cells of at least this number of its nodes
_MOST_WORK = 10**7  # nodes looked at; a cell counts as _CELL_WORK nodes more
_CELL_WORK = 2**11
_Cell = tuple[int, int, int, int]  # first and last width, first and last height: the bits of a float32


@dataclass(frozen=True)
class Single:
    """Hold an anchor (2,) float32; if `proven`, no anchor has a fitness that is higher by more than PRECISION."""

    anchor: HostArray
    proven: bool


@dataclass(frozen=True)
class _Open:
    """Hold the boxes that are not settled in a cell, and the sums of those that are.

    level, rows : the nodes of the tree that are open
    falling : for widths and heights, the settled sum of the values that fall as the anchor grows, for a side of 1
    rising : the same of the values that rise
    """

    level: int
    rows: HostArray
    falling: tuple[float, ...]
    rising: tuple[float, ...]


def find_single(boxes: WeightedSizes, thr: float, *, least: float = 0.0, deadline: float = math.inf) -> Single:
    """Find the anchor with the greatest sum of ratios over the boxes.

    Parameters
    ----------
    boxes : sizes with counts, whose sum is at most 2^36
    thr : ratio limit; a ratio that is at most 1 / thr counts as 0
    least : pixels, the least side of the anchor
    deadline : time.monotonic() at which the search ends without a proof

    Returns
    -------
    Single; all sums are exact, so it is bit-identical for every order of the boxes and on every machine.

    Examples
    --------
    >>> sizes = WeightedSizes(*(np.array(x, dtype=np.float32) for x in ([10, 30], [10, 30])), np.array([3, 1]))
    >>> find_single(sizes, 4.0)
    Single(anchor=array([10., 10.], dtype=float32), proven=True)
    """
    return _Search(SizeTree(boxes), np.float32(ratio_limit(thr)), deadline).run(np.float32(least))


class _Search:
    """Divide cells, the one with the largest bound first."""

    def __init__(self, tree: SizeTree, limit: np.float32, deadline: float) -> None:
        self._tree, self._limit, self._deadline = tree, limit, deadline
        self._last = len(tree.levels) - 1
        self._all = _Open(0, np.arange(len(tree.levels[0].units)), (0.0, 0.0), (0.0, 0.0))
        self._slack = _SLACK * float(tree.levels[0].units.sum())
        self._reached = -1.0
        self._heap: list[tuple[float, int, _Cell, _Open, bool]] = []
        self._work = self._n_cells = 0

    def run(self, least: np.float32) -> Single:
        """Search the plane. An anchor beyond the sides of all boxes is worth less than the nearest one within them."""
        top = self._tree.levels[0]
        low = np.maximum(top.low.min(axis=1), least)
        (w0, h0), (w1, h1) = np.stack([low, np.maximum(top.high.max(axis=1), low)]).view(np.int32).tolist()
        self._best: tuple[int, int] = w0, h0
        self._add((w0, w1, h0, h1), self._all)
        proven = True
        while self._heap:
            bound, _, cell, boxes, by_width = heapq.heappop(self._heap)
            if -bound <= self._reached + self._slack:
                break
            if self._work > _MOST_WORK or time.monotonic() > self._deadline:
                proven = False
                break
            for half in _halve(cell, by_width):
                self._add(half, boxes)
        self._snap((w0, h0))
        return Single(np.array(self._best, dtype=np.int32).view(np.float32), proven)

    def _add(self, cell: _Cell, boxes: _Open) -> None:
        """Bound a cell by smaller and smaller groups of boxes; if it may be better, keep it and try two anchors."""
        extent = max(cell[1] - cell[0], cell[3] - cell[2])
        while True:
            bound, top, by_width, boxes = self._settle(cell, boxes)
            if bound <= self._reached + self._slack:
                return
            if boxes.level == self._last or extent >= _FINE * self._tree.levels[boxes.level].extent:
                break
            rows = self._tree.children(boxes.level, boxes.rows)
            boxes = _Open(boxes.level + 1, rows, boxes.falling, boxes.rising)
        if boxes.level == self._last:
            self._try(boxes, [top, ((cell[0] + cell[1]) // 2, (cell[2] + cell[3]) // 2)])
        self._n_cells += 1
        heapq.heappush(self._heap, (-bound, self._n_cells, cell, boxes, by_width))

    def _settle(self, cell: _Cell, boxes: _Open) -> tuple[float, tuple[int, int], bool, _Open]:
        """Return the bound of a cell, its most promising anchor, where to divide it, and what is open in it."""
        nodes, rows = self._tree.levels[boxes.level], boxes.rows
        self._work += len(rows) + _CELL_WORK
        ends = np.array(cell, dtype=np.int32).view(np.float32)
        first, last = ends[0::2, None], ends[1::2, None]  # (2, 1): widths, heights
        best = _best_ratio(nodes, rows, first, last)
        matched = np.flatnonzero(np.minimum(best[0], best[1]) > self._limit)
        rows, best = rows[matched], best.take(matched, axis=1)
        low, high = nodes.low.take(rows, axis=1), nodes.high.take(rows, axis=1)
        worst = np.minimum(one_side_ratio(np, low, last), one_side_ratio(np, high, first))
        sure = worst > self._limit  # matches, as far as this side goes, for all boxes of the node and all of the cell
        falls, rises = high <= first, low >= last
        decides = (best <= worst[::-1]) & sure[::-1] & (falls | rises)
        middle = np.where(falls | rises, best * ((1 + first / last) / 2), 1)
        by_w = ((middle[0] <= middle[1]) & ~decides[1]) | decides[0]
        settled = np.zeros(len(rows), dtype=bool)
        tops, sums = [], []
        for side, chosen in ((0, by_w), (1, ~by_w)):
            at = np.flatnonzero(chosen)
            line = _Line(nodes, side, rows[at], best[side, at], falls[side, at], rises[side, at], ends[side * 2 :][:2])
            settled[at] = done = decides[side, at] & sure[side, at]
            sums.append(line.add(boxes.falling[side], boxes.rising[side], done))
            tops.append(line.greatest(boxes.falling[side], boxes.rising[side], sure[side, at], self._limit))
        (falling_w, rising_w), (falling_h, rising_h) = sums
        unclear = np.flatnonzero(~(decides[0] | decides[1]))
        doubt = (best - worst * sure).take(unclear, axis=1) * nodes.units[rows[unclear]]
        in_w, in_h = doubt.astype(np.int64).sum(axis=1).tolist()
        still = _Open(boxes.level, rows[~settled], (falling_w, falling_h), (rising_w, rising_h))
        return tops[0][0] + tops[1][0], (tops[0][1], tops[1][1]), in_w >= in_h, still

    def _try(self, boxes: _Open, anchors: list[tuple[int, int]]) -> None:
        """Remember the best of these anchors if it is better than the best so far."""
        for anchor in anchors:
            worth = self._worth(boxes, anchor)
            if worth > self._reached:
                self._reached, self._best = worth, anchor

    def _worth(self, boxes: _Open, anchor: tuple[int, int]) -> float:
        """Return the sum of the ratios of one anchor, in units."""
        nodes, sides = self._tree.levels[self._last], np.array(anchor, dtype=np.int32).view(np.float32)
        ratio = one_side_ratio(np, nodes.low.take(boxes.rows, axis=1), sides[:, None]).min(axis=0)
        worth = float((ratio * (ratio > self._limit) * nodes.units[boxes.rows]).astype(np.int64).sum())
        for side, falling, rising in zip(sides.tolist(), boxes.falling, boxes.rising):
            worth += falling / side + rising * side
        return worth

    def _snap(self, least: tuple[int, int]) -> None:
        """Move each side of the best anchor to the nearest side of a box if that is at least as good."""
        bits = self._tree.levels[self._last].low.view(np.int32)
        near = []
        for side in (0, 1):
            distance = np.abs(bits[side] - self._best[side])
            near.append(max(int(bits[side][distance == distance.min()].min()), least[side]))
        (w, h), boxes = self._best, self._all
        cell = min(w, near[0]), max(w, near[0]), min(h, near[1]), max(h, near[1])
        while True:
            _, _, _, boxes = self._settle(cell, boxes)
            if boxes.level == self._last:
                break
            boxes = _Open(boxes.level + 1, self._tree.children(boxes.level, boxes.rows), boxes.falling, boxes.rising)
        tried = [(near[0], near[1]), (near[0], h), (w, near[1]), (w, h)]
        self._best = max(tried, key=lambda anchor: self._worth(boxes, anchor))


class _Line:
    """Hold the nodes whose bound is the ratio of one side: a function of that side of the anchor, in units."""

    def __init__(
        self,
        nodes: Level,
        side: int,
        rows: HostArray,
        best: HostArray,
        falls: HostArray,
        rises: HostArray,
        ends: HostArray,
    ) -> None:
        self._low, self._high = nodes.low[side], nodes.high[side]
        self._rows, self._falls, self._rises, self._ends = rows, falls, rises, ends
        self._first, self._last = ends.tolist()
        units = nodes.units[rows]
        if nodes.extent:
            units = np.where(falls, nodes.falling[side, rows], np.where(rises, nodes.rising[side, rows], units))
        self._value = (best * units).astype(np.int64)  # at the end of the cell that is nearer to the node

    def add(self, falling: float, rising: float, some: HostArray) -> tuple[float, float]:
        """Return these sums for a side of 1, with some nodes added."""
        falling += float(self._value[self._falls & some].sum()) * self._first
        rising += float(self._value[self._rises & some].sum()) / self._last
        return falling, rising

    def greatest(self, falling: float, rising: float, sure: HostArray, limit: np.float32) -> tuple[float, int]:
        """Return the greatest sum over the sides in the cell, with these sums added, and the bits of that side."""
        falling, rising = self.add(falling, rising, sure)
        always = float(self._value[~(self._falls | self._rises)].sum())
        leave, enter = np.flatnonzero(self._falls & ~sure), np.flatnonzero(self._rises & ~sure)
        last_match = _find_edge(self._high[self._rows[leave]] / limit, self._high[self._rows[leave]], limit, -1)
        first_match = _find_edge(self._low[self._rows[enter]] * limit, self._low[self._rows[enter]], limit, 1)
        order = np.argsort(last_match, kind="stable")[::-1]
        last_match = last_match[order]
        leaving = np.concatenate([[0], np.cumsum(self._value[leave[order]])]).astype(np.float64)
        order = np.argsort(first_match, kind="stable")
        first_match = first_match[order]
        entered = np.concatenate([[0], np.cumsum(self._value[enter[order]])]).astype(np.float64)
        sides = np.concatenate([self._ends, last_match, first_match])
        sides = sides[(sides >= self._ends[0]) & (sides <= self._ends[1])]
        n_leaving = len(last_match) - np.searchsorted(last_match[::-1], sides, side="left")
        n_entered = np.searchsorted(first_match, sides, side="right")
        wide = sides.astype(np.float64)
        sums = (falling + leaving[n_leaving] * self._first) / wide
        sums += (rising + entered[n_entered] / self._last) * wide
        top = int(sums.argmax())
        return always + float(sums[top]), int(sides.view(np.int32)[top])


def _find_edge(guess: HostArray, sides: HostArray, limit: np.float32, step: int) -> HostArray:
    """Return the float32 anchor sides nearest to a guess that match; `step` is the direction in which they do."""
    bits = guess.view(np.int32) - 2 * step
    while True:
        outside = ~(one_side_ratio(np, sides, bits.view(np.float32)) > limit)
        if not outside.any():
            return bits.view(np.float32)
        bits += step * outside


def _best_ratio(nodes: Level, rows: HostArray, first: HostArray, last: HostArray) -> HostArray:
    """Return the best ratio of each side, (2, M), over the boxes of a node and the anchors of a cell."""
    near = nodes.low.take(rows, axis=1)
    if nodes.extent:
        near = np.minimum(np.maximum(near, first), nodes.high.take(rows, axis=1))
    return one_side_ratio(np, near, np.minimum(np.maximum(near, first), last))


def _halve(cell: _Cell, by_width: bool) -> list[_Cell]:
    """Return both halves of a cell; none of a cell with one anchor, which has been tried."""
    w0, w1, h0, h1 = cell
    if w0 < w1 and (by_width or h0 == h1):
        middle = (w0 + w1) // 2
        return [(w0, middle, h0, h1), (middle + 1, w1, h0, h1)]
    if h0 == h1:
        return []
    middle = (h0 + h1) // 2
    return [(w0, w1, h0, middle), (w0, w1, middle + 1, h1)]
