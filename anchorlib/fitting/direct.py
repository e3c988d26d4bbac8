"""Find anchors for box sizes by a direct search: a facility-location problem, solved from coarse to fine.

In logarithms of width and height, the side ratio of a box and an anchor falls with the larger of their two distances.
So the best anchors are the best locations for n facilities whose customers are the boxes. The steps are:

1. Count the boxes in cells of a logarithmic grid (grid.py). From here on the cost hardly depends on their number.
2. Choose n of a few hundred cells, greedily and at random. While any swap of a chosen cell for another one is a gain,
   make the best of all swaps (interchange.py).
3. Improve the best of these solutions on the true objective, one anchor at a time, on finer and finer cells
   (local_search.py).
4. Improve the best one on the boxes themselves, unless there are so many that cells are equally good. Compare the
   result, on the boxes, with `start`.

All sums are exact, and no logarithm or power is computed, so one seed gives bit-identical anchors on every machine. It
is not proven that the result is the optimum, except for a single anchor and the side ratio (single.py).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import NamedTuple, Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.errors import BadValueError
from anchorlib.fitting.grid import Resolutions
from anchorlib.fitting.interchange import Candidates
from anchorlib.fitting.local_search import Bounds, IouObjective, Objective, RatioObjective
from anchorlib.fitting.order import find_places, sort_by_area
from anchorlib.fitting.single import find_single
from anchorlib.metrics import SizeTable
from anchorlib.size_histogram import WeightedSizes, as_columns, merge_equal

_COARSE = 600  # cells to choose from; the work of a swap grows with the square of this number
_RANDOM_STARTS = 12  # on _COARSE cells; more if there are fewer cells
_MOST_STARTS = 16
_KEPT_STARTS = 12


@dataclass(frozen=True)
class _Stage:
    """Describe one stage: local search of several solutions on at most `cells` cells; the best `keep` go on."""

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
_BOX_SWEEPS = 12  # at most, for each step size
_BOX_SMALL = 2.0**-24
_MOST_SIZES = 2**20  # that a single anchor is proven for; more are counted in cells
_MOST_BOXES = 2**33  # a larger sum of counts comes from weights, which are scaled to 2^34 and more
_BOX_WORK = 2**22  # boxes times anchors times sweeps, 0.1 s; with more work the cells are as good as the boxes
_FEW = 3  # up to this many anchors, many boxes are outside the limit, so there are many peaks of almost equal height
_FEW_KEPT = 4
_FEW_SIZES = (
    2**17
)  # with more distinct sizes, few anchors are searched on cells: saves ten seconds, costs 1e-5 of fitness
_FEW_WORK = 2**15  # sizes times solutions that are searched for few anchors: about half a second
_SCANS = ((1 / 128, 32), (1 / 1024, 48))  # octaves and steps
_PERTURBATION_ROUNDS = 60  # if a single anchor may move
_SCAN_ROUNDS = 2  # at most, for each scan


class Found(NamedTuple):
    """Hold the anchors of a search; if `proven`, a single anchor of which single.py has proven that it is the best."""

    anchors: HostArray
    proven: bool


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
    table: Optional[SizeTable] = None,
    grid: Optional[Resolutions] = None,
) -> Found:
    """Find the n anchors that fit the boxes best, starting from coarse cells.

    Parameters
    ----------
    boxes_wh : (N, 2) float32 NumPy, pixels, every side > 0 (not checked here)
    n : number of anchors, including the fixed ones
    thr : ratio limit, > 1
    objective : "ratio" to maximise fitness, "iou" to maximise average IoU
    weights : (N,) int64, how often each box counts, with a sum below 2^36
    seed : for the random starts
    start : (n, 2) anchors to improve; the result is never worse than these unless they violate `min_side`
    fixed : (m, 2), m < n, anchors that do not change; they must be rows of `start` if both are given
    min_side : the least side of each anchor in the order of area, (n,) or one for all; not for fixed anchors
    time_budget : seconds after which the best anchors so far are returned, which then depend on the machine's speed
    table : the same boxes as a SizeTable, to compare with `start`; built here if not given
    grid : `make_grid` of the same boxes; made here if not given

    A single anchor, without `fixed` and for "ratio", is found with a proof (single.py) unless the proof takes too long.
    With more than 2^20 distinct sizes, it is the best anchor of cells.

    Returns
    -------
    Found: (n, 2) float32, sorted by area; bit-identical for every order of the boxes, number of threads and machine.

    Raises
    ------
    BadValueError : fewer distinct box sizes than anchors to fit, or a `start` without the fixed anchors

    Source
    ------
    Best-improvement interchange for facility location (Teitz and Bart 1968, Whitaker 1983); everything else is ours.

    Examples
    --------
    >>> search(np.array([[10, 20], [10, 20], [80, 60]], dtype=np.float32), 1)
    Found(anchors=array([[10., 20.]], dtype=float32), proven=True)
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
        start = free_first(np.asarray(start, dtype=np.float32), fixed)

    known = [] if start is None or not bounds.allow(start) else [start]
    if n == 1 and objective == "ratio" and time.monotonic() <= deadline:
        sizes, are_cells = _limit_sizes(boxes)
        single = find_single(sizes, thr, least=0 if least is None else float(least[0]), deadline=deadline)
        if single.proven:
            best = _best_of([single.anchor[None], *known], boxes_wh, weights, thr, objective, table)
            return Found(best, not are_cells)
        known.insert(0, single.anchor[None])

    grid = grid or make_grid(boxes, n)
    if grid.n_distinct is not None and grid.n_distinct < n_free:
        raise BadValueError(f"n={n_free} needs at least {n_free} distinct box sizes, got {grid.n_distinct}.")
    candidates = Candidates(grid, fixed, np.float32(0) if least is None else least.min(), measure)
    found = find_starts(candidates, n_free, fixed, seed, deadline)
    if start is not None:
        found.insert(0, start)
    best = improve(found, grid, boxes, total, measure, bounds, seed, deadline)
    return Found(_best_of([best, *known], boxes_wh, weights, thr, objective, table), False)


def _best_of(
    found: list[HostArray],
    boxes_wh: HostArray,
    weights: Optional[HostArray],
    thr: float,
    objective: str,
    table: Optional[SizeTable],
) -> HostArray:
    """Return the anchors that score best on the boxes, sorted by area; of equally good ones, the last."""
    if len(found) > 1:
        table = table or SizeTable(boxes_wh, weights)
        found = sorted(found, key=lambda anchors: table.fitness(anchors, thr, objective))
    return sort_by_area(found[-1])


def _limit_sizes(boxes: WeightedSizes) -> tuple[WeightedSizes, bool]:
    """Return the boxes and False, or cells and True if there are too many distinct sizes to look at each."""
    if len(boxes) <= _MOST_SIZES:
        return boxes, False
    sizes = merge_equal(boxes)  # so that merged boxes give the same anchors as single boxes
    if len(sizes) <= _MOST_SIZES:
        return sizes, False
    return Resolutions(sizes, _COARSE).at_most(_STAGES[-1].cells), True


def make_grid(boxes: WeightedSizes, n: int) -> Resolutions:
    """Return the cells that a search for n anchors uses."""
    return Resolutions(boxes, max(_COARSE, n))


def free_first(start: HostArray, fixed: HostArray) -> HostArray:
    """Return the rows of `start` with the fixed anchors last."""
    places = find_places(start, fixed, "start must contain the fixed anchors")
    return np.concatenate([np.delete(start, places, axis=0), fixed])


def find_starts(candidates: Candidates, n_free: int, fixed: HostArray, seed: int, deadline: float) -> list[HostArray]:
    """Return solutions on the coarse cells that no swap improves, best first; each has the fixed anchors last."""
    rng = np.random.default_rng(seed)
    n_random = min(_MOST_STARTS, int(_RANDOM_STARTS * (_COARSE / len(candidates.anchors)) ** 2))
    solutions = dict([candidates.improve_by_swaps(candidates.choose_greedily(n_free), deadline)])
    for _ in range(n_random):
        if time.monotonic() > deadline:
            break
        chosen, total = candidates.improve_by_swaps(candidates.draw(n_free, rng), deadline)
        solutions[chosen] = total
    best_first = sorted(solutions, key=lambda chosen: -solutions[chosen])
    if n_free <= _FEW:
        best_first += candidates.find_neighbours(best_first[0], _KEPT_STARTS)
    return [np.concatenate([candidates.anchors[list(chosen)], fixed]) for chosen in best_first[:_KEPT_STARTS]]


def improve(
    found: list[HostArray],
    grid: Resolutions,
    boxes: WeightedSizes,
    total: int,
    objective: Objective,
    bounds: Bounds,
    seed: int,
    deadline: float,
) -> HostArray:
    """Return the best of these solutions after local search on finer and finer cells, and on the boxes."""
    n = len(bounds.movable)
    found = [bounds.lift(anchors) for anchors in found]
    for stage in _STAGES:
        keep = max(stage.keep, _FEW_KEPT) if n <= _FEW else stage.keep
        found = _improve_all(found, grid.at_most(max(stage.cells, n)), stage, objective, bounds, deadline)[:keep]
    return _refine(found, grid, boxes, total, objective, bounds, seed, deadline)


def _improve_all(
    found: list[HostArray],
    sizes: WeightedSizes,
    stage: _Stage,
    objective: Objective,
    bounds: Bounds,
    deadline: float,
) -> list[HostArray]:
    """Return the solutions after local search on these sizes, best first."""
    improved: list[tuple[float, HostArray]] = []
    for anchors in found:
        if improved and time.monotonic() > deadline:
            break
        local = objective.local_search(sizes, anchors, bounds, deadline)
        local.climb(stage.octaves, stage.sweeps, stage.small)
        improved.append((local.total(), local.anchors))
    improved.sort(key=lambda one: -one[0])
    return [anchors for _, anchors in improved]


def _refine(
    found: list[HostArray],
    grid: Resolutions,
    boxes: WeightedSizes,
    total: int,
    objective: Objective,
    bounds: Bounds,
    seed: int,
    deadline: float,
) -> HostArray:
    """Return the best of the solutions after local search on the boxes, as far as the number of boxes allows.

    That number is the sum of the counts, so that merged boxes give the same anchors as single boxes. A sum that no data
    set reaches comes from weights, which are not counts.
    """
    best = found[0]
    if (len(best) <= _FEW or bounds.movable.sum() == 1) and time.monotonic() <= deadline:
        sizes = merge_equal(boxes)
        if len(sizes) <= _FEW_SIZES:
            return _search_closely(found, sizes, objective, bounds, seed, deadline)
        closer = _search_closely(found, grid.at_most(_STAGES[-1].cells), objective, bounds, seed, deadline)
        best = max(closer, best, key=lambda anchors: objective.local_search(sizes, anchors, bounds, deadline).total())
    octaves, sweeps = _plan_last_climb(total if total < _MOST_BOXES else len(boxes), len(best))
    if not octaves or time.monotonic() > deadline:
        return best
    local = objective.local_search(boxes, best, bounds, deadline)
    local.climb(octaves, sweeps, _BOX_SMALL)
    return local.anchors


def _search_closely(
    found: list[HostArray],
    sizes: WeightedSizes,
    objective: Objective,
    bounds: Bounds,
    seed: int,
    deadline: float,
) -> HostArray:
    """Return the best of the solutions for few anchors, which have many peaks: climb, scan widely, and perturb."""
    best, best_total = found[0], -1.0
    octaves, sweeps = _plan_last_climb(len(sizes), len(best))
    for anchors in found[: max(1, _FEW_WORK // len(sizes))]:
        if time.monotonic() > deadline:
            break
        local = objective.local_search(sizes, anchors, bounds, deadline)
        local.climb(octaves, sweeps, _BOX_SMALL)
        if len(anchors) <= _FEW:
            for octave, steps in _SCANS:
                for _ in range(_SCAN_ROUNDS):
                    gain = local.scan(octave, steps)
                    local.climb(octaves, sweeps, _BOX_SMALL)
                    if not gain:
                        break
        total = local.total()
        if total > best_total:
            best, best_total = local.anchors, total
    if bounds.movable.sum() == 1:
        local = objective.local_search(sizes, best, bounds, deadline)
        local.perturb(np.random.default_rng(seed), _PERTURBATION_ROUNDS)
        best = local.anchors
    return best


def _plan_last_climb(n_sizes: int, n: int) -> tuple[tuple[float, ...], int]:
    """Return step sizes and sweeps for the last local search; none if there are very many sizes and anchors."""
    rounds = _BOX_WORK // (n_sizes * n)
    octaves = _BOX_OCTAVES[:rounds]
    return octaves, min(_BOX_SWEEPS, rounds // max(1, len(octaves)))
