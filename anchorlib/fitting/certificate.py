"""Certify anchors: prove how far they are, at most, from the best anchors of all.

For any prices p >= 0 of the boxes, n anchors are worth at most the sum of all prices plus n times the greatest gain of
a single anchor, where its gain is the sum of max(0, value - price) over the boxes. `certificate_prices` finds prices
that make this small, and `certificate_bound` bounds the greatest gain over the whole plane. docs/method.md has the
proof.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from tqdm import tqdm

from anchorlib.arrays import (
    MIN_SIDE,
    HostArray,
    check_number,
    check_one_of,
    check_sizes,
    check_thr,
    check_weights,
    take_sizes,
)
from anchorlib.backends import namespace_of, on_host
from anchorlib.errors import BadValueError
from anchorlib.fitting.certificate_bound import FLOAT32_ERROR, Measure, PricedSizes, find_greatest_gain
from anchorlib.fitting.certificate_prices import Prices
from anchorlib.fitting.fit_arguments import check_anchors
from anchorlib.fitting.order import find_places
from anchorlib.metrics import OBJECTIVES, SizeTable, take_anchors
from anchorlib.results import Result, Row, counted
from anchorlib.size_histogram import WeightedSizes, as_columns, make_key, merge_equal

_STEPS = 100  # of the prices, between two looks at the plane
_LOOKS = 5  # at the plane, between two bounds
_SLACK = 0.05  # share of `gap` that the branch and bound may leave
_FOR_PRICES = 0.8  # share of the time; what is left is for the last bound
_MOST_SIZES = 2**14  # with more sizes, the prices are those of cells
_MOST_CELLS = 2**13


@dataclass(frozen=True)
class Certificate(Result):
    """Say that no anchors exceed `upper_bound`.

    upper_bound : no set of `n` anchors has a higher fitness (average IoU for objective="iou")
    fitness : what the given anchors reach, as `score` computes it
    gap : upper_bound / fitness - 1; the given anchors are at most this share below the best ones
    seconds : that the proof took
    n : number of anchors
    objective : "ratio" or "iou"
    bounds : (seconds, upper bound) each time the bound became smaller
    """

    upper_bound: float
    fitness: float
    gap: float
    seconds: float
    n: int
    objective: str
    bounds: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        name = "an average IoU" if self.objective == "iou" else "a fitness"
        anchors = "anchor" if self.n == 1 else counted(self.n, "anchor")
        near = f"are within {self._percent()} of the best" if math.isfinite(self.gap) else "match no box"
        return f"No {anchors} can have {name} above {_round_up(self.upper_bound, 4):.4f}: these {near}."

    def _percent(self) -> str:
        return f"{_round_up(100 * self.gap, 2):.2f} %" if math.isfinite(self.gap) else "-"

    def to_dict(self) -> dict[str, Any]:
        """Return all figures, and the sentence."""
        return {
            "upper_bound": self.upper_bound,
            "fitness": self.fitness,
            "gap": self.gap if math.isfinite(self.gap) else None,
            "seconds": self.seconds,
            "n": self.n,
            "objective": self.objective,
            "bounds": [list(bound) for bound in self.bounds],
            "text": str(self),
        }

    def _table_rows(self) -> list[Row]:
        return [
            ("upper bound", f"{_round_up(self.upper_bound, 4):.4f}"),
            ("reached", f"{self.fitness:.4f}"),
            ("gap", self._percent()),
            ("time", f"{self.seconds:.1f} s"),
        ]


def _round_up(number: float, digits: int) -> float:
    """Round up in the last digit that is printed: a printed bound must be valid too."""
    return math.ceil(number * 10**digits - 1e-9) / 10**digits


def certify(
    boxes_wh: Any,
    anchors: Any,
    thr: float = 4.0,
    *,
    objective: str = "ratio",
    weights: Optional[Any] = None,
    fixed: Optional[Any] = None,
    min_side: Optional[float] = None,
    gap: float = 1e-3,
    time_budget: float = 60.0,
    progress: bool = False,
) -> Certificate:
    """Prove an upper bound of what any anchors, as many as the given ones, can reach on these boxes.

    The bound holds for all anchors in the plane, and for fitness and average IoU as `score` computes them, including
    all rounding. The result is valid whenever the search stops. It depends on the speed of the machine only if
    `time_budget` ends the search; otherwise it is bit-identical on every backend and for every order of the boxes.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, sides >= 0: an array, a nested list, BoxSizes or SizeCounts
    anchors : (n, 2) float, pixels, sides > 0: the anchors to compare the bound with
    thr : ratio limit, > 1
    objective : "ratio" for fitness, "iou" for average IoU
    weights : (N,) >= 0, how often each box counts; not for SizeCounts
    fixed : (m, 2), m < n, rows of `anchors`: the bound is then for all anchors that contain these
    min_side : pixels: the bound is then for all anchors whose sides, apart from the fixed ones, are at least this
    gap : stop when the bound is proven to be within this share of what the anchors reach; > 0. For anchors that match
        no box, stop after one bound.
    time_budget : stop after this number of seconds
    progress : show a progress bar on standard error

    Returns
    -------
    Certificate

    Raises
    ------
    BadValueError : NaN, sides < 0, no box with both sides > 0, fixed anchors that are not among the anchors, or a
        `gap` or `time_budget` that is not positive
    ShapeError, BackendMixError, ArrayTypeError

    Source
    ------
    Cornuejols, Fisher and Nemhauser 1977 (the Lagrangian bound); Barahona and Anbil 2000 (the volume algorithm).

    Examples
    --------
    >>> boxes_wh = [[10, 20], [12, 20], [100, 90], [90, 100]]
    >>> certify(boxes_wh, [[11, 20], [95, 95]]).gap < 0.05
    True
    """
    started = time.monotonic()
    boxes_wh, weights = take_sizes(boxes_wh, weights)
    anchors = take_anchors(anchors, boxes_wh)
    check_sizes(zero=("boxes_wh",), boxes_wh=boxes_wh)
    host_anchors = check_anchors("anchors", anchors)
    thr = check_thr(thr)
    check_one_of("objective", objective, OBJECTIVES)
    gap, time_budget = check_number("gap", gap), check_number("time_budget", time_budget)
    if not gap > 0 or not time_budget > 0:
        raise BadValueError(f"gap and time_budget must be > 0, got {gap} and {time_budget} s.")
    least = 0.0 if min_side is None else check_number("min_side", min_side)
    if not 0 <= least < math.inf:
        raise BadValueError(f"min_side must be finite and >= 0, got {min_side}.")
    counts = check_weights(weights, boxes_wh.shape[0])
    reached = SizeTable(boxes_wh, counts=counts).fitness(anchors, thr, objective)
    kept = np.empty((0, 2), np.float32) if fixed is None else check_anchors("fixed", fixed)
    assert host_anchors is not None
    assert kept is not None
    free = _without(host_anchors, kept)
    proof = _Proof(_count_sizes(boxes_wh, counts), free, kept, Measure(objective, thr), least)
    total = float(boxes_wh.shape[0] if counts is None else counts.sum())
    bounds: list[tuple[float, float]] = []
    with tqdm(desc="certifying", disable=not progress, leave=False, bar_format="{desc} {elapsed}{postfix}") as bar:
        for above in proof.bounds(reached * total, gap, started, time_budget):
            bound = above / total * FLOAT32_ERROR[objective] * (1 + 2.0**-48)
            if not bounds or bound < bounds[-1][1]:
                bounds.append((time.monotonic() - started, bound))
            bar.set_postfix_str(f"at most {bounds[-1][1]:.5f}, {100 * _gap(bounds[-1][1], reached):.2f} % above")
            bar.update()
            if bounds[-1][1] <= reached * (1 + gap):
                break
    bound = min(1.0, bounds[-1][1])
    return Certificate(
        upper_bound=bound,
        fitness=reached,
        gap=_gap(bound, reached),
        seconds=time.monotonic() - started,
        n=len(host_anchors),
        objective=objective,
        bounds=tuple(bounds),
    )


def _gap(bound: float, reached: float) -> float:
    return bound / reached - 1 if reached else math.inf


def _without(anchors: HostArray, fixed: HostArray) -> HostArray:
    """Return the anchors that are not fixed."""
    free = np.delete(anchors, find_places(anchors, fixed, "fixed must be rows of the anchors"), axis=0)
    if not len(free):
        raise BadValueError(f"fixed must leave at least one of {len(anchors)} anchors, got {len(fixed)}.")
    return free


def _count_sizes(boxes_wh: Any, counts: Optional[HostArray]) -> WeightedSizes:
    """Return each size once, in an order that does not depend on that of the boxes; a side of 0 is worth nothing."""
    (host,) = on_host(boxes_wh)
    wh = namespace_of(host).to_numpy(host).astype(np.float32)
    usable = wh.min(axis=1) >= MIN_SIDE
    if counts is not None:
        usable &= counts > 0
    if not usable.any():
        raise BadValueError(f"none of {len(wh)} boxes has two sides > 0.")
    return merge_equal(as_columns(wh[usable], None if counts is None else counts[usable]))


class _Proof:
    """Hold the sizes of a certificate, and yield smaller and smaller bounds."""

    def __init__(self, sizes: WeightedSizes, free: HostArray, fixed: HostArray, measure: Measure, least: float) -> None:
        self._n = len(free)
        self._measure = measure
        self._w, self._h = sizes.w.astype(np.float64), sizes.h.astype(np.float64)
        self._count = sizes.count.astype(np.float64)
        self._anchors = free.astype(np.float64)
        self._least = least
        self._fixed = fixed.astype(np.float64)
        self._floor = self._best_of_fixed(self._w, self._h)
        cells, self._cell = _gather(sizes)
        floor = self._best_of_fixed(cells.w.astype(np.float64), cells.h.astype(np.float64))
        self._prices = Prices(measure, cells, floor, self._anchors, least, self._n)

    def bounds(self, reached: float, gap: float, started: float, seconds: float) -> Iterator[float]:
        """Yield bounds of the sum over all boxes; each is valid. `reached` is the sum of the given anchors."""
        deadline, last_step = started + seconds, started + seconds * _FOR_PRICES
        total = float(self._count.sum())
        slack = (reached or total) * _SLACK * gap
        if self._n == 1:  # the best single anchor, over the fixed ones
            yield self._bound(self._floor, slack, deadline)
            return
        looks, target = 0, reached * (1 + gap * (1 - _SLACK))
        yield total
        while True:
            near = self._prices.improve(_STEPS, last_step)
            looks += 1
            # no gap is small enough for anchors that match no box: one bound will do
            last = not reached or self._prices.settled or time.monotonic() > last_step
            if near <= target or looks % _LOOKS == 0 or last:
                yield self._bound(self._of_boxes(self._prices), slack, deadline)
            if last:
                return

    def _bound(self, price: HostArray, slack: float, deadline: float) -> float:
        """Return the sum of the prices plus n times the greatest gain, from above."""
        sizes = PricedSizes(self._w, self._h, self._count, price)
        low = max(float(self._w.min()), self._least), max(float(self._h.min()), self._least)
        domain = (low[0], max(float(self._w.max()), low[0]), low[1], max(float(self._h.max()), low[1]))
        found = find_greatest_gain(self._measure, sizes, domain, self._anchors, slack / self._n, deadline)
        if len(found.tops):
            self._prices.add(found.tops)
        return math.fsum((price * self._count).tolist()) + self._n * found.above

    def _best_of_fixed(self, w: HostArray, h: HostArray) -> HostArray:
        """Return the best value of each size with the fixed anchors, rounded up; 0 without any."""
        best = np.zeros(len(w))
        for anchor_w, anchor_h in self._fixed:
            np.maximum(best, self._measure.values(w, h, anchor_w, anchor_h), out=best)
        return np.minimum(best * (1 + 2.0**-40), 1.0)

    def _of_boxes(self, prices: Prices) -> HostArray:
        """Return the price of each size: that of its cell."""
        price = np.empty_like(prices.price)
        price[prices.order] = prices.price
        return np.maximum(price[self._cell], self._floor)


def _gather(sizes: WeightedSizes) -> tuple[WeightedSizes, HostArray]:
    """Return the sizes, or the mean sizes of cells if there are many, and which of these each size belongs to."""
    if len(sizes) <= _MOST_SIZES:
        return sizes, np.arange(len(sizes))
    shift = 16
    while True:
        key, cell = np.unique(make_key(sizes, shift, shift), return_inverse=True)
        if len(key) <= _MOST_CELLS:
            break
        shift += 1
    cell = cell.ravel()
    count = np.bincount(cell, sizes.count)
    w, h = (np.bincount(cell, side.astype(np.float64) * sizes.count) / count for side in (sizes.w, sizes.h))
    return WeightedSizes(w.astype(np.float32), h.astype(np.float32), count), cell
