"""Give anchors a value that depends on their layer, and search with it: what the direct search needs for layers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from anchorlib.arrays import Array, HostArray
from anchorlib.fitting.grid import Resolutions
from anchorlib.fitting.interchange import Candidates
from anchorlib.fitting.local_search import Bounds, LocalSearch, Objective, weigh
from anchorlib.size_histogram import WeightedSizes

RESOLVED = 0.5  # strides: a layer resolves boxes whose shorter side is at least this long


class LayeredObjective(Objective):
    """Measure boxes by an objective, times how far the layer of the anchor resolves them.

    layer : (n,) int64, the layer of each anchor, in the order in which a search has them
    strides : of the layers, pixels
    """

    def __init__(self, base: Objective, layer: HostArray, strides: Sequence[float]) -> None:
        self.base, self.layer, self.strides = base, layer, strides
        self.limit, self.steepness = base.limit, base.steepness

    def raw(self, sizes: WeightedSizes, w: Array, h: Array) -> HostArray:
        """Return the exact values without the layers."""
        return self.base.raw(sizes, w, h)

    def round(self, values: HostArray) -> HostArray:
        """Round values in [0, 1] so that their sum is exact."""
        return self.base.round(values)

    def share(self, sizes: WeightedSizes, layer: int) -> HostArray:
        """Return how far a layer resolves each box: (M,) float32 in (0, 1]."""
        least = np.float32(RESOLVED * self.strides[layer])
        return np.minimum(np.minimum(sizes.w, sizes.h) / least, np.float32(1))

    def worth(self, layer: int, sizes: WeightedSizes, w: Array, h: Array) -> HostArray:
        """Return the values that are summed, for anchors of one layer."""
        return self.round(self.base(sizes, w, h) * self.share(sizes, layer))

    def local_search(self, sizes: WeightedSizes, anchors: HostArray, bounds: Bounds, deadline: float) -> LayeredSearch:
        """Return a local search that improves these anchors."""
        return LayeredSearch(sizes, anchors, self, bounds, deadline)


class LayeredSearch(LocalSearch):
    """Search as LocalSearch; of each anchor and box it keeps (2, n, M): the exact value, and the worth in its layer."""

    _objective: LayeredObjective

    def total(self) -> float:
        """Return the sum of the values of all boxes."""
        return sum(weigh(kept[1].max(axis=0), block.count) for block, kept in self._blocks)

    def sort_layers(self) -> None:
        """Exchange anchors of two layers where the larger one is in the finer layer and nothing is lost by it."""
        layer = self._objective.layer
        for _ in self._movable:
            before = self.anchors.copy()
            for i, j in itertools.permutations(self._movable, 2):
                one, other = self.anchors[[i, j]]
                if layer[i] < layer[j] and one.prod(dtype=np.float64) > other.prod(dtype=np.float64):
                    total = self.total()
                    self._move(i, *other)
                    self._move(j, *one)
                    if not self._bounds.allow(self.anchors) or self.total() < total:
                        self._move(i, *one)
                        self._move(j, *other)
            if np.array_equal(before, self.anchors):
                return

    def find_unresolved(self) -> list[tuple[float, float]]:
        """Return for each layer how many boxes have their best anchor in it, and how many of these it does not resolve.

        Of anchors with the same worth the first counts.
        """
        counts = np.zeros((len(self._objective.strides), 2))
        for block, kept in self._blocks:
            layer = self._objective.layer[kept[1].argmax(axis=0)]  # (M,)
            for i in range(len(counts)):
                share = self._objective.share(block, i)
                counts[i] += [weigh(layer == i, block.count), weigh((layer == i) & (share < 1), block.count)]
        return [(assigned, unresolved) for assigned, unresolved in counts.tolist()]

    def _measure(self, block: WeightedSizes) -> HostArray:
        rows = [self._measure_one(i, block, w, h) for i, (w, h) in enumerate(self.anchors)]
        return np.stack(rows, axis=1)

    def _measure_one(self, anchor: int, block: WeightedSizes, w: np.float32, h: np.float32) -> HostArray:
        return np.stack([self._objective.raw(block, w, h), self._value(anchor, block, w, h)])

    def _value(self, anchor: int, sizes: WeightedSizes, w: Any, h: Any) -> HostArray:
        return self._objective.worth(int(self._objective.layer[anchor]), sizes, w, h)

    def _move(self, anchor: int, w: np.float32, h: np.float32) -> None:
        self.anchors[anchor] = w, h
        for block, kept in self._blocks:
            kept[:, anchor] = self._measure_one(anchor, block, w, h)

    def _find_near(
        self, anchor: int, block: WeightedSizes, values: HostArray, reach: np.float32
    ) -> tuple[HostArray, HostArray]:
        exact, worth = values
        others = np.maximum(worth[:anchor].max(axis=0, initial=0), worth[anchor + 1 :].max(axis=0, initial=0))
        most = exact[anchor] * reach
        share = self._objective.share(block, int(self._objective.layer[anchor]))
        near = np.flatnonzero((most > self._objective.limit) & (most * share > others))
        return near, others[near]


class LayeredCandidates(Candidates):
    """Hold every coarse cell as a candidate of every layer: candidates of the first layer first."""

    def __init__(
        self, grid: Resolutions, fixed: HostArray, least: HostArray, objective: LayeredObjective, counts: HostArray
    ) -> None:
        super().__init__(grid, fixed[:0], np.float32(0), objective.base)
        cells = len(self.anchors)
        sides = [np.maximum(self.anchors, side) for side in least]
        self.anchors = np.concatenate(sides)
        self.values = np.concatenate([self._measure(some, partial(objective.worth, i)) for i, some in enumerate(sides)])
        for anchor, layer in zip(fixed, objective.layer[sum(counts) :].tolist()):
            self.floor = np.maximum(self.floor, self._measure(anchor[None], partial(objective.worth, layer))[0])
        self._scratch = np.empty_like(self.values)
        self._layers = np.repeat(np.arange(len(counts)), cells)  # of the candidates
        self._counts = counts
        self._offsets = np.repeat(np.arange(len(counts)) * cells, counts)  # of the anchors to choose

    def choose_greedily(self, n: int) -> list[int]:
        """Choose n candidates, each the best addition to the ones before it, as many of each layer as it has."""
        chosen: list[int] = []
        best, left = self.floor, self._counts.copy()
        for _ in range(n):
            sums = np.maximum(self.values, best).sum(axis=1)
            sums[left[self._layers] == 0] = -1
            chosen.append(int(sums.argmax()))
            left[self._layers[chosen[-1]]] -= 1
            best = np.maximum(best, self.values[chosen[-1]])
        return chosen

    def draw(self, n: int, rng: np.random.Generator) -> list[int]:
        """Draw n candidates as Candidates does, as many of each layer as it has."""
        cells: list[int] = (np.asarray(super().draw(n, rng)) + self._offsets).tolist()
        return cells

    def find_neighbours(self, chosen: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
        """Return none: solutions one swap away need not keep the number of anchors of each layer."""
        return []

    def _bar_swaps(self, gain: HostArray, chosen: list[int]) -> None:
        gain[self._layers[:, None] != self._layers[chosen]] = -1


class LayerBounds(Bounds):
    """Say which anchors may move, and the least side of each anchor, whatever its rank."""

    def _by_rank(self, anchors: HostArray) -> HostArray:
        assert self.min_side is not None
        return np.where(self.movable, self.min_side, np.float32(0))
