"""Choosing n of a few hundred places: greedily or by lot, and then by exchanges while any is a gain."""

from __future__ import annotations

import time

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.fitting.grid import Resolutions
from anchorlib.fitting.local_search import Objective

_DETAIL = 2000  # cells that the value of a coarse cell is summed over
_UNITS = 2.0**23
_ROWS = 32  # places at a time, so that the values stay in the cache


class Places:
    """Every coarse cell as a place for an anchor, and what it is worth to every coarse cell.

    A worth is the sum over the finer cells in it, not the value at its centre: that would let an anchor in the
    middle of a cell pass for perfect. It is a whole number of units, 2^23 for all boxes together, so that every
    sum is exact in float32 and a matrix product gives the same bits whatever its order of summing.
    """

    def __init__(self, grid: Resolutions, fixed: HostArray, least: np.float32, objective: Objective) -> None:
        coarse = grid.coarse
        self.anchors = np.maximum(np.stack([coarse.w, coarse.h], axis=1), least)  # (P, 2)
        self._drawn_to = np.cumsum(coarse.count)
        self._detail, self._first = grid.parts_of_coarse(max(_DETAIL, len(coarse)))
        self.worth = self._worth(self.anchors, objective)  # (P, M)
        self._scratch = np.empty_like(self.worth)
        self.floor = np.max(self._worth(fixed, objective), axis=0, initial=0.0)  # (M,) what the fixed anchors give

    def _worth(self, anchors: HostArray, objective: Objective) -> HostArray:
        worth = np.zeros((len(anchors), len(self._first)), dtype=np.float32)
        units = _UNITS / self._detail.count.sum()
        for row in range(0, len(anchors), _ROWS):
            some = anchors[row : row + _ROWS]
            values = objective(self._detail, some[:, :1], some[:, 1:]) * self._detail.count  # float64, exact
            worth[row : row + _ROWS] = np.floor(np.add.reduceat(values, self._first, axis=1) * units)
        return worth

    def greedy(self, n: int) -> list[int]:
        """n places, each the best beside those before it."""
        chosen, best = [], self.floor
        for _ in range(n):
            place = int(np.maximum(self.worth, best).sum(axis=1).argmax())
            chosen.append(place)
            best = np.maximum(best, self.worth[place])
        return chosen

    def drawn(self, n: int, rng: np.random.Generator) -> list[int]:
        """n places by lot, in proportion to the boxes there."""
        lots = np.floor(rng.random(n) * self._drawn_to[-1])
        return np.searchsorted(self._drawn_to, lots, side="right").tolist()

    def exchanged(self, chosen: list[int], deadline: float) -> tuple[tuple[int, ...], float]:
        """The best exchange of a chosen place for any other, again and again while it is a gain.

        All P * n exchanges are valued at once. With b1 and b2 the best and second best worth of a cell among the
        chosen, a new place gives it max(new, b1) if its nearest stays, and max(new, b2) if its nearest goes; the
        difference of the two is max(new, b2) - min(max(new, b2), b1).
        """
        chosen = list(chosen)
        cells = np.arange(self.worth.shape[1])
        ones = np.ones(len(cells), dtype=np.float32)
        while True:
            rows = self.worth[chosen]  # (n, M)
            nearest = rows.argmax(axis=0)
            best = np.maximum(rows[nearest, cells], self.floor)
            rows[nearest, cells] = 0
            second = np.maximum(rows.max(axis=0), self.floor)
            belongs = np.zeros((len(cells), len(chosen)), dtype=np.float32)
            belongs[cells, nearest] = 1
            with_new = np.maximum(self.worth, second, out=self._scratch)  # (P, M)
            all_gone = with_new @ ones
            capped = np.minimum(with_new, best, out=with_new) @ belongs  # (P, n)
            gain = (all_gone - capped.sum(axis=1))[:, None] + (capped - best @ belongs)
            place, goes = divmod(int(gain.argmax()), len(chosen))
            if not gain[place, goes] > 0 or time.monotonic() > deadline:
                return tuple(sorted(chosen)), float(best.sum())
            chosen[goes] = place

    def beside(self, chosen: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
        """The best solutions that are one exchange away, best first."""
        totals = []
        for goes in range(len(chosen)):
            stay = self.worth[[*chosen[:goes], *chosen[goes + 1 :]]].max(axis=0, initial=0.0)
            totals.append(np.maximum(self.worth, np.maximum(stay, self.floor)).sum(axis=1))
        best_first = np.argsort(-np.concatenate(totals), kind="stable")[:most].tolist()
        found = [divmod(index, len(self.anchors)) for index in best_first]
        return [(*chosen[:goes], *chosen[goes + 1 :], place) for goes, place in found]
