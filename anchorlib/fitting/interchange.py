"""Choose n of a few hundred candidate anchors: greedily or at random, then by swaps while any swap is a gain."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.fitting.grid import Resolutions
from anchorlib.fitting.local_search import Objective

_DETAIL = 2000  # finer cells from which the values of coarse cells are summed
_UNITS = 2.0**23  # units in the value of all boxes together
_ROWS = 32  # candidates at a time, so that the values stay in the cache
_MATRIX_VECTOR = 9000  # multiplications; OpenBLAS takes several threads from 9216 on
_MATRIX_MATRIX = 2**18  # more than these


class Candidates:
    """Hold every coarse cell as a candidate for an anchor, and its value for the boxes of every coarse cell.

    A value is the sum over the finer cells in a coarse cell, not the value at its centre: at the centre, an anchor in
    the middle of the cell would look perfect. Values are integers in units of 2^-23 of the total, so every sum is exact
    in float32 and a matrix product is bit-identical whatever its order of summation.
    """

    def __init__(self, grid: Resolutions, fixed: HostArray, least: np.float32, objective: Objective) -> None:
        coarse = grid.coarse
        self.anchors = np.maximum(np.stack([coarse.w, coarse.h], axis=1), least)  # (P, 2)
        self._cumulative = np.cumsum(coarse.count)
        self._detail, self._first = grid.parts_of_coarse(max(_DETAIL, len(coarse)))
        self.values = self._measure(self.anchors, objective)  # (P, M)
        self._scratch = np.empty_like(self.values)
        self.floor = np.max(
            self._measure(fixed, objective), axis=0, initial=0.0
        )  # (M,) the values of the fixed anchors

    def _measure(self, anchors: HostArray, objective: Callable[..., HostArray]) -> HostArray:
        sums = np.zeros((len(anchors), len(self._first)), dtype=np.float32)
        units = _UNITS / self._detail.count.sum()
        for row in range(0, len(anchors), _ROWS):
            some = anchors[row : row + _ROWS]
            values = objective(self._detail, some[:, :1], some[:, 1:]) * self._detail.count  # float64, exact
            sums[row : row + _ROWS] = np.floor(np.add.reduceat(values, self._first, axis=1) * units)
        return sums

    def choose_greedily(self, n: int) -> list[int]:
        """Choose n candidates, each the best addition to the ones before it."""
        chosen, best = [], self.floor
        for _ in range(n):
            new = int(np.maximum(self.values, best).sum(axis=1).argmax())
            chosen.append(new)
            best = np.maximum(best, self.values[new])
        return chosen

    def draw(self, n: int, rng: np.random.Generator) -> list[int]:
        """Draw n candidates at random, in proportion to the number of boxes in their cells."""
        drawn = np.floor(rng.random(n) * self._cumulative[-1])
        return np.searchsorted(self._cumulative, drawn, side="right").tolist()

    def improve_by_swaps(self, chosen: list[int], deadline: float) -> tuple[tuple[int, ...], float]:
        """Swap a chosen candidate for another one, always by the best swap, while that is a gain.

        All P * n swaps are valued at once. Let b1 and b2 be the best and the second best value of a cell among the
        chosen candidates. A new candidate gives the cell max(new, b1) if the cell's best candidate stays, and
        max(new, b2) if it goes; the difference of the two is max(new, b2) - min(max(new, b2), b1).
        """
        chosen = list(chosen)
        cells = np.arange(self.values.shape[1])
        ones = np.ones(len(cells), dtype=np.float32)
        while True:
            rows = self.values[chosen]  # (n, M)
            nearest = rows.argmax(axis=0)
            best = np.maximum(rows[nearest, cells], self.floor)
            rows[nearest, cells] = 0
            second = np.maximum(rows.max(axis=0), self.floor)
            belongs = np.zeros((len(cells), len(chosen)), dtype=np.float32)
            belongs[cells, nearest] = 1
            with_new = np.maximum(self.values, second, out=self._scratch)  # (P, M)
            all_gone = _multiply(with_new, ones)
            capped = _multiply(np.minimum(with_new, best, out=with_new), belongs)  # (P, n)
            gain = (all_gone - capped.sum(axis=1))[:, None] + (capped - best @ belongs)
            self._bar_swaps(gain, chosen)
            new, goes = divmod(int(gain.argmax()), len(chosen))
            if not gain[new, goes] > 0 or time.monotonic() > deadline:
                return tuple(sorted(chosen)), float(best.sum())
            chosen[goes] = new

    def _bar_swaps(self, gain: HostArray, chosen: list[int]) -> None:
        """Mark swaps that are not allowed, in (P, n) gains, by a gain of -1; here all are allowed."""

    def find_neighbours(self, chosen: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
        """Return the `most` best solutions that are one swap away, best first."""
        totals = []
        for goes in range(len(chosen)):
            stay = self.values[[*chosen[:goes], *chosen[goes + 1 :]]].max(axis=0, initial=0.0)
            totals.append(np.maximum(self.values, np.maximum(stay, self.floor)).sum(axis=1))
        best_first = np.argsort(-np.concatenate(totals), kind="stable")[:most].tolist()
        found = [divmod(index, len(self.anchors)) for index in best_first]
        return [(*chosen[:goes], *chosen[goes + 1 :], new) for goes, new in found]


def _multiply(values: HostArray, by: HostArray) -> HostArray:
    """Return values @ by, from blocks of rows that are so small that OpenBLAS uses one thread for each.

    Its threads wait actively for each other. While other programs use the cores, a product of 600 x 600 by 600 x 9
    takes 30 times as long with two threads as with one.
    """
    columns = values.shape[1]
    rows = max(1, _MATRIX_VECTOR // columns if by.ndim == 1 else _MATRIX_MATRIX // by.size)
    whole = len(values) // rows * rows
    blocks = values[:whole].reshape(-1, rows, columns) @ by
    return np.concatenate([blocks.reshape(whole, *by.shape[1:]), values[whole:] @ by])
