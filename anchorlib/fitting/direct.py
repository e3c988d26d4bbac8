"""The direct optimiser: from box sizes to anchors without a random walk.

In the logarithms of width and height the side ratio of a box and an anchor falls with the larger of their two
distances, so the best anchors are the best places for n facilities whose customers are the boxes. What is done:

1. The boxes are counted in cells of a logarithmic grid (grid.py); after this the cost hardly depends on them.
2. On a few hundred cells, from a greedy start and from random ones: while any exchange of a chosen cell for
   another is a gain, the best of all exchanges is made (exchange.py).
3. The best of these climb the true objective, one anchor at a time, on finer and finer cells (ascent.py).
4. The last climb is on the boxes themselves, unless they are so many that the cells are as good. The result is
   compared on the boxes with the anchors that were to be improved.

All sums are exact, and no logarithm or power is taken, so one seed gives one answer on every machine. That it is
the best of all is not proven.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.errors import BadValueError
from anchorlib.fitting.grid import Resolutions
from anchorlib.fitting.interchange import Places
from anchorlib.fitting.local_search import Ascent, Bounds, IouObjective, Objective, RatioObjective
from anchorlib.fitting.order import sort_by_area
from anchorlib.metrics import SizeTable
from anchorlib.size_histogram import WeightedSizes, as_columns, merge_equal

_COARSE = 600  # cells to choose among; the work of an exchange grows with the square
_RANDOM_STARTS = 12  # on _COARSE cells, and more on fewer
_MOST_STARTS = 16
_KEPT_STARTS = 12


@dataclass(frozen=True)
class _Stage:
    """A climb of several solutions on at most so many cells; `keep` of them go on."""

    cells: int
    octaves: tuple[float, ...]
    sweeps: int
    small: float
    keep: int


_STAGES = (
    _Stage(cells=2000, octaves=(1 / 8,), sweeps=2, small=2.0**-12, keep=4),
    _Stage(cells=4000, octaves=(1 / 8, 1 / 32), sweeps=8, small=2.0**-15, keep=3),
    _Stage(cells=2**14, octaves=(1 / 32,), sweeps=6, small=2.0**-17, keep=1),
    _Stage(cells=2**19, octaves=(1 / 64,), sweeps=3, small=2.0**-19, keep=1),
)
_BOX_OCTAVES = (1 / 128, 1 / 512, 1 / 2048)
_BOX_SWEEPS = 12  # at most, of each
_BOX_SMALL = 2.0**-24
_MOST_BOXES = 2**33  # a larger sum of counts is one of weights, which are scaled to 2^34 and more
_BOX_WORK = 2**22  # boxes times anchors times sweeps, 0.1 s; beyond it the cells are as good as the boxes
_FEW = 3  # up to so many anchors the limit cuts off many boxes, which makes many peaks of about one height
_FEW_KEPT = 4
_FEW_SIZES = 2**17  # with more distinct sizes few anchors look around on cells: ten seconds less, 1e-5 of fitness
_FEW_WORK = 2**18  # sizes that are climbed for few anchors, over all the peaks: a second or so
_SCANS = ((1 / 128, 32), (1 / 1024, 48))  # octaves and steps
_WANDERINGS = 60  # of a single anchor
_SCAN_ROUNDS = 2  # at most, of each


def search(
    boxes_wh: HostArray,
    n: int,
    *,
    thr: float = 4.0,
    objective: str = "ratio",
    weights: Optional[HostArray] = None,
    seed: int = 0,
    start: Optional[HostArray] = None,
    fixed: Optional[HostArray] = None,
    min_side: Optional[HostArray] = None,
    time_budget: Optional[float] = None,
) -> HostArray:
    """The n anchors that fit the boxes best, as far as is known.

    Parameters
    ----------
    boxes_wh : (N, 2) float32 NumPy, pixels, every side > 0 (not checked here)
    n : how many anchors, the fixed ones included
    thr : ratio limit, > 1
    objective : "ratio", the mean best ratio where that is > 1 / thr, or "iou", the mean best IoU
    weights : (N,) int64, how often each box counts, with a sum below 2^36
    seed : for the random starts
    start : (n, 2) anchors to improve; the result is never worse than these, if they keep to `min_side`
    fixed : (m, 2), m < n, anchors that stay as they are; rows of `start`, where there is one
    min_side : the least side of each anchor in the order of area, (n,) or one for all; not for fixed anchors
    time_budget : seconds after which the best so far is returned, which depends on the machine's speed

    Returns
    -------
    (n, 2) float32, sorted by area. The same bits for every order of the boxes, number of threads and machine.

    Raises
    ------
    BadValueError : fewer distinct box sizes than anchors to fit, or a `start` without the fixed anchors

    Source
    ------
    Best-improvement exchange for facility location (Teitz and Bart 1968, Whitaker 1983); the rest is ours.

    Examples
    --------
    >>> search(np.array([[10, 20], [10, 20], [80, 60]], dtype=np.float32), 2)
    array([[10., 20.],
           [80., 60.]], dtype=float32)
    """
    deadline = math.inf if time_budget is None else time.monotonic() + time_budget
    boxes = as_columns(boxes_wh, weights)
    total = len(boxes) if weights is None else int(weights.sum())
    measure = RatioObjective(thr, total) if objective == "ratio" else IouObjective(total)
    fixed = np.empty((0, 2), dtype=np.float32) if fixed is None else np.asarray(fixed, dtype=np.float32)
    n_free = n - len(fixed)
    least = None if min_side is None else np.broadcast_to(np.asarray(min_side, dtype=np.float32), (n,))
    bounds = Bounds(np.arange(n) < n_free, least)
    if start is not None:
        start = _free_first(np.asarray(start, dtype=np.float32), fixed)

    grid = Resolutions(boxes, max(_COARSE, n))
    if grid.n_distinct is not None and grid.n_distinct < n_free:
        raise BadValueError(f"n={n_free} needs at least {n_free} distinct box sizes, got {grid.n_distinct}.")
    found = _starts(grid, n_free, fixed, measure, bounds, seed, deadline)
    if start is not None:
        found.insert(0, start)
    found = [bounds.lift(anchors) for anchors in found]
    for stage in _STAGES:
        keep = max(stage.keep, _FEW_KEPT) if n <= _FEW else stage.keep
        found = _climbed(found, grid.at_most(max(stage.cells, n)), stage, measure, bounds, deadline)[:keep]
    best = _polished(found, grid, boxes, total, measure, bounds, seed, deadline)
    if start is not None and bounds.allow(start):
        table = SizeTable(boxes_wh, weights)
        if table.fitness(start, thr, objective) >= table.fitness(best, thr, objective):
            best = start
    return sort_by_area(best)


def _free_first(start: HostArray, fixed: HostArray) -> HostArray:
    """The rows of `start` with the fixed anchors last."""
    free = start.tolist()
    for anchor in fixed.tolist():
        if anchor not in free:
            raise BadValueError(f"start must have the fixed anchors among its rows, got none that is {anchor}.")
        free.remove(anchor)
    return np.concatenate([np.array(free, dtype=np.float32).reshape(-1, 2), fixed])


def _starts(
    grid: Resolutions,
    n_free: int,
    fixed: HostArray,
    objective: Objective,
    bounds: Bounds,
    seed: int,
    deadline: float,
) -> list[HostArray]:
    """Solutions on the coarse cells that no exchange makes better, best first."""
    least = np.float32(0) if bounds.min_side is None else bounds.min_side.min()
    places = Places(grid, fixed, least, objective)
    rng = np.random.default_rng(seed)
    n_random = min(_MOST_STARTS, int(_RANDOM_STARTS * (_COARSE / len(places.anchors)) ** 2))
    solutions = dict([places.exchanged(places.greedy(n_free), deadline)])
    for _ in range(n_random):
        if time.monotonic() > deadline:
            break
        chosen, total = places.exchanged(places.drawn(n_free, rng), deadline)
        solutions[chosen] = total
    best_first = sorted(solutions, key=lambda chosen: -solutions[chosen])
    if n_free <= _FEW:
        best_first += places.beside(best_first[0], _KEPT_STARTS)
    return [np.concatenate([places.anchors[list(chosen)], fixed]) for chosen in best_first[:_KEPT_STARTS]]


def _climbed(
    found: list[HostArray],
    sizes: WeightedSizes,
    stage: _Stage,
    objective: Objective,
    bounds: Bounds,
    deadline: float,
) -> list[HostArray]:
    """The best solutions after their climb on these sizes, best first."""
    climbed: list[tuple[float, HostArray]] = []
    for anchors in found:
        if climbed and time.monotonic() > deadline:
            break
        ascent = Ascent(sizes, anchors, objective, bounds, deadline)
        ascent.climb(stage.octaves, stage.sweeps, stage.small)
        climbed.append((ascent.total(), ascent.anchors))
    climbed.sort(key=lambda one: -one[0])
    return [anchors for _, anchors in climbed]


def _polished(
    found: list[HostArray],
    grid: Resolutions,
    boxes: WeightedSizes,
    total: int,
    objective: Objective,
    bounds: Bounds,
    seed: int,
    deadline: float,
) -> HostArray:
    """The best of the solutions after a last climb on the boxes, as far as their number allows.

    Their number is the sum of their counts, so that boxes joined by size are fitted as they are one by one; a sum that
    no data set has comes of weights that are no counts.
    """
    best = found[0]
    if (len(best) <= _FEW or bounds.movable.sum() == 1) and time.monotonic() <= deadline:
        sizes = merge_equal(boxes)
        if len(sizes) <= _FEW_SIZES:
            return _searched_closely(found, sizes, objective, bounds, seed, deadline)
        closer = _searched_closely(found, grid.at_most(_STAGES[-1].cells), objective, bounds, seed, deadline)
        best = max(closer, best, key=lambda anchors: Ascent(sizes, anchors, objective, bounds, deadline).total())
    octaves, sweeps = _last_climb(total if total < _MOST_BOXES else len(boxes), len(best))
    if not octaves or time.monotonic() > deadline:
        return best
    ascent = Ascent(boxes, best, objective, bounds, deadline)
    ascent.climb(octaves, sweeps, _BOX_SMALL)
    return ascent.anchors


def _searched_closely(
    found: list[HostArray],
    sizes: WeightedSizes,
    objective: Objective,
    bounds: Bounds,
    seed: int,
    deadline: float,
) -> HostArray:
    """The best of the solutions where few anchors have many peaks to choose from: they climb, look far, and wander."""
    best, best_total = found[0], -1.0
    octaves, sweeps = _last_climb(len(sizes), len(best))
    for anchors in found[: max(1, _FEW_WORK // len(sizes))]:
        if time.monotonic() > deadline:
            break
        ascent = Ascent(sizes, anchors, objective, bounds, deadline)
        ascent.climb(octaves, sweeps, _BOX_SMALL)
        if len(anchors) <= _FEW:
            for octave, steps in _SCANS:
                for _ in range(_SCAN_ROUNDS):
                    gain = ascent.scan(octave, steps)
                    ascent.climb(octaves, sweeps, _BOX_SMALL)
                    if not gain:
                        break
        total = ascent.total()
        if total > best_total:
            best, best_total = ascent.anchors, total
    if bounds.movable.sum() == 1:
        ascent = Ascent(sizes, best, objective, bounds, deadline)
        ascent.wander(np.random.default_rng(seed), _WANDERINGS)
        best = ascent.anchors
    return best


def _last_climb(n_sizes: int, n: int) -> tuple[tuple[float, ...], int]:
    """Octaves, and sweeps of each, as many as the number of sizes and anchors allows; none where they are very many."""
    rounds = _BOX_WORK // (n_sizes * n)
    octaves = _BOX_OCTAVES[:rounds]
    return octaves, min(_BOX_SWEEPS, rounds // max(1, len(octaves)))
