"""Fit anchors to boxes and layers at once: an anchor counts for a box as far as its layer can resolve the box.

The value of a box and an anchor is that of the direct search (side ratio or IoU), and less for a box whose shorter side
is under half of the layer's stride: such a box shares its cell with neighbours, and they overwrite each other's
targets. The layers compete for the boxes in one facility-location problem. The direct search solves it by its own
steps; only the values differ, and a swap must keep the number of anchors of each layer. Then layers are given up that
the boxes do not need, and, if the crowding of the layers is known, layers that lose more than half of their targets;
then nearly equal anchors that serve small boxes.

If nothing is gained by all this, the result is that of the direct search, cut into layers by area.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.fitting import direct
from anchorlib.fitting.grid import Resolutions
from anchorlib.fitting.layer_values import RESOLVED, LayerBounds, LayeredCandidates, LayeredObjective, LayeredSearch
from anchorlib.fitting.local_search import IouObjective, Objective, RatioObjective, weigh
from anchorlib.fitting.order import find_places, order_by_area
from anchorlib.fitting.twins import SMALL, find_twin
from anchorlib.layers import layers_disagree, mean_areas
from anchorlib.metrics import ratio_limit, side_ratio
from anchorlib.size_histogram import WeightedSizes, as_columns

NEEDED = 0.01  # of the boxes' count: what a layer must add to the sum of the values, or it is given up
MOST_OVERWRITTEN = 0.5  # share of the rows of a layer; a layer that loses more is given up
_WORTHWHILE = 2.0**-12  # of the boxes' count: anchors that are not cut by area must be better by this much
_HARMLESS = 0.1  # share of the boxes, with a side under a stride, that the anchors of a layer given up may match
_COARSE = 400  # cells to choose from, in each layer
_CELLS = 4000  # on which layers are compared
_TRIAL_CLIMB = ((1 / 8, 1 / 32), 8, 2.0**-15)  # octaves, sweeps and the smallest gain of a local search
_FEW_BOXES, _FINE = 2**15, 2**19  # with more boxes the last local search is on cells
_LAST_CLIMB = ((1 / 32, 1 / 128), 6, 2.0**-19)


@dataclass(frozen=True)
class LayeredFit:
    """Hold anchors layer by layer.

    anchors : (n, 2) float32, pixels: those of the smallest stride first, sorted by area in each layer
    idle : the layers, from 0, that the boxes do not need; their anchors match hardly any box
    spare : the rows of `anchors` that small boxes do not need; they are large squares
    proven : True for a single anchor that was found without strides and is proven to be the best
    """

    anchors: HostArray
    idle: tuple[int, ...] = ()
    spare: tuple[int, ...] = ()
    proven: bool = False


def search_in_layers(
    boxes_wh: HostArray,
    counts: Sequence[int],
    strides: Sequence[float],
    *,
    thr: float = 4.0,
    objective: str = "ratio",
    weights: Optional[HostArray] = None,
    seed: int = 0,
    start: Optional[HostArray] = None,
    fixed: Optional[HostArray] = None,
    min_side: Optional[HostArray] = None,
    time_budget: Optional[float] = None,
    overwritten: Optional[Callable[[int, HostArray], float]] = None,
) -> LayeredFit:
    """Find the anchors of each layer that fit the boxes best, as far as the layers resolve them.

    Parameters
    ----------
    boxes_wh, thr, objective, weights, seed, time_budget : as in `direct.search`
    counts : number of anchors of each layer
    strides : of the layers, pixels, ascending
    start : (n, 2) anchors to improve, layer by layer
    fixed : (m, 2), m < n, anchors that do not change. Each belongs to its layer in `start`; without `start`, to the
        layer in which it is if the anchors of the direct search are cut by area.
    min_side : the least side of each anchor, (n,), layer by layer; not for fixed anchors
    overwritten : returns, for a layer and its anchors, the share of the layer's rows that training overwrites. A
        coarse layer that loses more than half of its rows is given up.

    Returns
    -------
    LayeredFit; bit-identical for every order of the boxes, number of threads and machine.

    Raises
    ------
    BadValueError : as in `direct.search`

    Examples
    --------
    >>> dots = np.array([[4, 4], [4, 5], [5, 4], [5, 5]], dtype=np.float32)
    >>> search_in_layers(dots, [1, 1], [8, 128]).idle
    (1,)
    """
    deadline = math.inf if time_budget is None else time.monotonic() + time_budget
    boxes = as_columns(boxes_wh, weights)
    grid = direct.make_grid(boxes, sum(counts))
    by_area = direct.search(
        boxes_wh,
        sum(counts),
        thr=thr,
        objective=objective,
        weights=weights,
        seed=seed,
        start=start,
        fixed=fixed,
        min_side=min_side,
        time_budget=None if time_budget is None else time_budget / 2,
        grid=grid,
    ).anchors
    are_large = boxes_wh.min() >= RESOLVED * max(strides) and boxes_wh.max(axis=1).min() >= SMALL * max(strides)
    if overwritten is None and are_large:
        return LayeredFit(by_area)
    total = len(boxes_wh) if weights is None else int(weights.sum())
    base = RatioObjective(thr, total) if objective == "ratio" else IouObjective(total)
    grid = Resolutions(boxes, max(_COARSE, sum(counts)), finer=grid)
    problem = _Problem(boxes, grid, total, counts, strides, base, thr, fixed, start, min_side, by_area)
    return problem.solve(seed, deadline, overwritten)


class _Problem:
    """Hold boxes and layers. The anchors of a solution are in the order of `layer`: free ones by layer, then fixed."""

    def __init__(
        self,
        boxes: WeightedSizes,
        grid: Resolutions,
        total: int,
        counts: Sequence[int],
        strides: Sequence[float],
        base: Objective,
        thr: float,
        fixed: Optional[HostArray],
        start: Optional[HostArray],
        min_side: Optional[HostArray],
        by_area: HostArray,
    ) -> None:
        self._boxes, self._grid, self._total = boxes, grid, total
        self._counts, self._strides = counts, strides
        self._base, self._thr = base, thr
        self._fixed = np.empty((0, 2), np.float32) if fixed is None else fixed
        by_layer = np.repeat(np.arange(len(counts)), counts)  # (n,)
        places = find_places(by_area if start is None else start, self._fixed, "start must contain the fixed anchors")
        is_free = np.ones(len(by_layer), bool)
        is_free[places] = False
        self._order = np.concatenate([np.flatnonzero(is_free), np.asarray(places, np.int64)])  # of the layers' order
        self._layer = by_layer[self._order]
        self._start = None if start is None else start[self._order]
        self._by_area = by_area
        self._is_placed_by_area = start is None or not len(self._fixed)
        self._bounds = LayerBounds(is_free[self._order], None if min_side is None else min_side[self._order])

    def solve(
        self,
        seed: int,
        deadline: float,
        overwritten: Optional[Callable[[int, HostArray], float]],
    ) -> LayeredFit:
        """Return the best anchors of each layer; those of the direct search, cut by area, if they are as good."""
        objective, bounds = LayeredObjective(self._base, self._layer, self._strides), self._bounds
        n_free = len(self._layer) - len(self._fixed)
        counts = np.bincount(self._layer[:n_free], minlength=len(self._counts))
        least = np.zeros(len(counts), np.float32)
        if bounds.min_side is not None:
            least[self._layer] = bounds.min_side
        candidates = LayeredCandidates(self._grid, self._fixed, least, objective, counts)
        found = direct.find_starts(candidates, n_free, self._fixed, seed, deadline)
        by_area = self._by_area[self._order]
        if self._is_placed_by_area:
            found.insert(0, by_area)
        if self._start is not None:
            found.insert(0, self._start)
        best = direct.improve(found, self._grid, self._boxes, self._total, objective, bounds, seed, deadline)
        cells = self._grid.at_most(_CELLS)
        local = objective.local_search(cells, best, bounds, deadline)
        local.sort_layers()
        is_by_area = False
        if self._is_placed_by_area and bounds.allow(by_area):
            simple = objective.local_search(cells, by_area, bounds, deadline)
            if simple.total() >= local.total() - _WORTHWHILE * self._total:
                local, is_by_area = simple, True
        best, kept, idle = self._give_up_layers(local, deadline)
        while True:
            if idle or not is_by_area:
                best = self._finish(best, kept, deadline)
            for layer in idle:
                best[self._layer == layer] = self._fill(layer, best[kept])
            crowded = None if overwritten is None else self._find_crowded(best, kept, overwritten)
            if crowded is None:
                break
            idle = sorted([*idle, crowded])
            kept &= self._layer != crowded
        fit = self._arrange(best, idle, np.zeros(len(best), bool))
        if fit is None:
            return LayeredFit(self._by_area)
        best, is_spare = self._without_twins(best, kept, deadline)
        return self._arrange(best, idle, is_spare) or fit

    def _arrange(self, best: HostArray, idle: list[int], is_spare: HostArray) -> Optional[LayeredFit]:
        """Return the fit, sorted by area in each layer; None if the layers would be in the wrong order."""
        rows = [np.flatnonzero(self._layer == layer) for layer in range(len(self._counts))]
        rows = [some[order_by_area(best[some])] for some in rows]
        if layers_disagree(mean_areas([best[some] for some in rows]), self._strides):  # forks would reverse them
            return None
        order = np.concatenate(rows)
        return LayeredFit(best[order], tuple(idle), tuple(np.flatnonzero(is_spare[order]).tolist()))

    def _without_twins(self, best: HostArray, kept: HostArray, deadline: float) -> tuple[HostArray, HostArray]:
        """Put large squares in the place of anchors that small boxes do not need; return also which these are."""
        best, kept, is_spare = best.copy(), kept.copy(), np.zeros(len(best), bool)
        cells, strides = self._grid.at_most(_CELLS), np.asarray(self._strides, np.float32)
        while True:
            twin = find_twin(cells, best[kept], self._layer[kept], strides, self._bounds.movable[kept])
            if twin is None:
                break
            place = np.flatnonzero(kept)[twin]
            is_spare[place], kept[place] = True, False
            best = self._finish(best, kept, deadline)
        for layer in np.unique(self._layer[is_spare]).tolist():
            spare = is_spare & (self._layer == layer)
            best[spare] = self._squares(spare, SMALL * self._strides[layer])
        return best, is_spare

    def _finish(self, best: HostArray, kept: HostArray, deadline: float) -> HostArray:
        """Return the anchors after a last local search of those that are kept, or those of `start` if as good."""
        best = best.copy()
        sizes = self._boxes if len(self._boxes) <= _FEW_BOXES else self._grid.at_most(_FINE)
        local = self._search(sizes, best, kept, deadline)
        local.climb(*_LAST_CLIMB)
        best[kept] = local.anchors
        if self._start is not None and self._bounds.allow(self._start):
            given = self._search(self._boxes, self._start, kept, deadline).total()
            if given >= self._search(self._boxes, best, kept, deadline).total():
                best[kept] = self._start[kept]
        return best

    def _find_crowded(
        self, best: HostArray, kept: HostArray, overwritten: Callable[[int, HostArray], float]
    ) -> Optional[int]:
        """Return the coarsest layer that may be given up and loses too many of its rows; None if there is none."""
        for layer in range(len(self._counts) - 1, 0, -1):
            own = best[self._layer == layer]
            if self._may_give_up(layer, kept) and overwritten(layer, own) > MOST_OVERWRITTEN:
                return layer
        return None

    def _may_give_up(self, layer: int, kept: HostArray) -> bool:
        own = self._layer == layer
        return bool(kept[own].all() and self._bounds.movable[own].all())

    def _search(self, sizes: WeightedSizes, anchors: HostArray, kept: HostArray, deadline: float) -> LayeredSearch:
        """Return a local search of some of the anchors, the only ones that count."""
        objective = LayeredObjective(self._base, self._layer[kept], self._strides)
        least = None if self._bounds.min_side is None else self._bounds.min_side[kept]
        return LayeredSearch(sizes, anchors[kept], objective, LayerBounds(self._bounds.movable[kept], least), deadline)

    def _give_up_layers(self, local: LayeredSearch, deadline: float) -> tuple[HostArray, HostArray, list[int]]:
        """Return the anchors, (n,) bool which of them are kept, and the layers that are given up.

        A layer is given up if it does not resolve half of the boxes that its anchors fit best, and if the others, after
        local search, lose little without it. The finest layer and layers with fixed anchors are kept.
        """
        anchors, kept = local.anchors.copy(), np.ones(len(self._layer), bool)
        idle: list[int] = []
        for layer in range(len(self._counts) - 1, 0, -1):
            assigned, unresolved = local.find_unresolved()[layer]
            own = self._layer == layer
            if 2 * unresolved < assigned or not self._may_give_up(layer, kept):
                continue
            trial = self._search(self._grid.at_most(_CELLS), anchors, kept & ~own, deadline)
            trial.climb(*_TRIAL_CLIMB)
            if local.total() - trial.total() <= NEEDED * self._total:
                kept &= ~own
                anchors[kept] = trial.anchors
                local = trial
                idle.insert(0, layer)
        return anchors, kept, idle

    def _fill(self, layer: int, others: HostArray) -> HostArray:
        """Return anchors for a layer that is given up: those of `start` if they do no harm, otherwise large squares.

        The squares match no box with a side under one stride, and are larger than the mean of the other anchors.
        """
        own = self._layer == layer
        if self._start is not None:
            cells = self._grid.at_most(_CELLS)
            ratios = side_ratio(np, cells.w, cells.h, self._start[own, :1], self._start[own, 1:])
            matched = (ratios > ratio_limit(self._thr)).any(axis=0)
            unresolved = np.minimum(cells.w, cells.h) < self._strides[layer]
            if weigh(matched & unresolved, cells.count) <= _HARMLESS * self._total and self._bounds.allow(self._start):
                return self._start[own]
        side = self._strides[layer]
        while (self._thr * side) ** 2 < mean_areas([others])[0]:
            side *= 2
        return self._squares(own, side)

    def _squares(self, which: HostArray, side: float) -> HostArray:
        """Return squares for some anchors that match no box with a shorter side under `side`."""
        n = int(which.sum())
        sides = np.asarray([math.ceil(self._thr * side * (1 + i / n)) for i in range(n)], np.float32)
        if self._bounds.min_side is not None:
            sides = np.maximum(sides, self._bounds.min_side[which])
        return np.stack([sides, sides], axis=1)
