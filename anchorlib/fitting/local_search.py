"""Improve anchors by local search: the two objectives, and moves of one anchor at a time.

Values are float32, rounded to so few bits that a sum over all boxes is exact in float64. The order of the boxes, the
number of threads and the vector width do not change a digit, so comparing two sums is as exact as comparing integers.
"""

from __future__ import annotations

import math
import time
from typing import Optional, Union

import numpy as np

from anchorlib.arrays import COLUMNS_IN_CACHE, Array, HostArray
from anchorlib.boxes import size_iou
from anchorlib.fitting.order import rank_by_area
from anchorlib.metrics import one_side_ratio, side_ratio
from anchorlib.size_histogram import WeightedSizes, join

_PERTURBATIONS = 12  # widths and heights drawn at a time; each width is tried with each height
_CHUNK = 2**12  # boxes at a time: each has nine values or more; for vectors of 10 000, OpenBLAS takes several threads
_EXACT = 52  # bits of a sum in float64: one fewer than the mantissa has


class Objective:
    """Measure boxes by anchors, in values whose sum over `total` boxes is exact.

    limit : a value that is at most this counts as 0
    steepness : if each side changes by a factor f, a value changes by at most f ** steepness
    """

    steepness = 1

    def __init__(self, limit: float, total: int) -> None:
        self.limit = np.float32(limit)
        self._rounder = _rounder(total)

    def raw(self, sizes: WeightedSizes, w: Array, h: Array) -> HostArray:
        """Return the exact values, for anchor sides that broadcast against the sizes."""
        raise NotImplementedError

    def kept(self, values: HostArray) -> HostArray:
        """Return the values that are summed."""
        return self.round(values)

    def __call__(self, sizes: WeightedSizes, w: Array, h: Array) -> HostArray:
        """Return kept(raw(...)): the values that are summed."""
        return self.kept(self.raw(sizes, w, h))

    def round(self, values: HostArray) -> HostArray:
        """Round values in [0, 1] so that their sum is exact."""
        return (values + self._rounder) - self._rounder

    def local_search(self, sizes: WeightedSizes, anchors: HostArray, bounds: Bounds, deadline: float) -> LocalSearch:
        """Return a local search that improves these anchors."""
        return LocalSearch(sizes, anchors, self, bounds, deadline)


class RatioObjective(Objective):
    """Measure boxes by their best side ratio, and by 0 if it is at most 1 / thr."""

    def __init__(self, thr: float, total: int) -> None:
        super().__init__(1 / thr, total)

    def raw(self, sizes: WeightedSizes, w: Array, h: Array) -> HostArray:
        """Return the exact ratios, for anchor sides that broadcast against the sizes."""
        return side_ratio(np, sizes.w, sizes.h, w, h)

    def kept(self, values: HostArray) -> HostArray:
        """Round ratios, and replace those that do not match by 0."""
        rounded = self.round(values)
        rounded *= values > self.limit
        return rounded

    def __call__(self, sizes: WeightedSizes, w: Array, h: Array) -> HostArray:
        """Return kept(raw(...)), computed per side: a third less work for a grid of sides, and bit-identical."""
        return np.minimum(self.kept(one_side_ratio(np, sizes.w, w)), self.kept(one_side_ratio(np, sizes.h, h)))


class IouObjective(Objective):
    """Measure boxes by their best IoU with an anchor."""

    steepness = 2

    def __init__(self, total: int) -> None:
        super().__init__(0, total)

    def raw(self, sizes: WeightedSizes, w: Array, h: Array) -> HostArray:
        """Return the exact IoUs, for anchor sides that broadcast against the sizes."""
        return size_iou(np, sizes.w, sizes.h, w, h)


def _rounder(total: int) -> np.float32:
    """Return r such that x + r - r in float32 rounds x in [0, 1] to a multiple of 2^-bits.

    There are as many bits as an exact sum of `total` such values allows.
    """
    bits = min(23, _EXACT - total.bit_length())
    return np.float32(2.0 ** (23 - bits))


class Bounds:
    """Say which anchors may move, and the least sides by rank of area (None: any side)."""

    def __init__(self, movable: HostArray, min_side: Optional[HostArray]) -> None:
        self.movable = movable
        self.min_side = min_side

    def allow(self, anchors: HostArray) -> bool:
        """Return True if all movable anchors have at least the least side of their rank."""
        return self.min_side is None or bool(np.all(anchors >= self._by_rank(anchors)[:, None]))

    def least(self, anchors: HostArray, anchor: int) -> np.float32:
        """Return the least side of one anchor at its present rank."""
        return np.float32(0) if self.min_side is None else self._by_rank(anchors)[anchor]

    def lift(self, anchors: HostArray) -> HostArray:
        """Raise the sides of anchors to the least sides of their ranks."""
        while not self.allow(anchors):  # this ends: sides only grow, and only to one of the bounds
            anchors = np.maximum(anchors, self._by_rank(anchors)[:, None])
        return anchors

    def _by_rank(self, anchors: HostArray) -> HostArray:
        """Return the least side of each anchor, (n,) float32; 0 for anchors that do not move."""
        assert self.min_side is not None
        return np.where(self.movable, self.min_side[rank_by_area(anchors)], np.float32(0))


class LocalSearch:
    """Improve anchors on the true objective: boxes may change their anchor, and may enter or leave the limit."""

    def __init__(
        self, sizes: WeightedSizes, anchors: HostArray, objective: Objective, bounds: Bounds, deadline: float
    ) -> None:
        self.anchors = anchors.copy()
        self._objective = objective
        self._bounds = bounds
        self._deadline = deadline
        self._movable: list[int] = np.flatnonzero(bounds.movable).tolist()
        self._count = float(sizes.count.sum())
        self._blocks = [(block, self._measure(block)) for block in sizes.blocks(COLUMNS_IN_CACHE)]

    def total(self) -> float:
        """Return the sum of the values of all boxes."""
        total = 0.0
        for block, values in self._blocks:
            total += weigh(self._objective.kept(values.max(axis=0)), block.count)
        return total

    def climb(self, octaves: tuple[float, ...], sweeps: int, small: float) -> None:
        """Move one anchor after the other to the best of 9 points around it, or to the vertex of a parabola.

        `octaves` are the step sizes, used one after the other. Each takes at most `sweeps` rounds, and ends when no
        anchor gains more than a share `small` of the count.
        """
        for octave in octaves:
            factor = _power_of_two(octave)
            settled = 0  # anchors in a row that gained less than that
            for anchor in self._movable * sweeps:
                if settled == len(self._movable) or time.monotonic() > self._deadline:
                    break
                settled = 0 if self._step(anchor, factor) > small * self._count else settled + 1

    def scan(self, octave: float, steps: int) -> float:
        """Move each anchor to the best of `steps` points in both directions, by width, by height and by both together.

        This finds what `climb` does not: a side just past the point at which many boxes of equal size come within the
        limit, as boxes that fill the image do. Returns the sum of the gains.
        """
        factors = [_power_of_two(octave)]
        while len(factors) < steps:
            factors.append(factors[-1] * factors[0])
        down = [1 / factor for factor in reversed(factors)]
        line = np.array([*down, 1.0, *factors])
        same = np.ones_like(line)
        gain = 0.0
        for anchor in self._movable:
            for along_w, along_h in ((line, same), (same, line), (line, line), (line, line[::-1])):
                if time.monotonic() > self._deadline:
                    return gain
                w, h = self.anchors[anchor].tolist()
                sides_w, sides_h = self._sides(anchor, w * along_w), self._sides(anchor, h * along_h)
                near = self._within_reach(anchor, factors[-1])
                sums = self._sums(anchor, sides_w[:, None], sides_h[:, None], near)[:, 0]
                best = int(sums.argmax())
                if sums[best] > sums[steps]:
                    self._move(anchor, sides_w[best], sides_h[best])
                    gain += float(sums[best] - sums[steps])
        return gain

    def perturb(self, rng: np.random.Generator, rounds: int) -> None:
        """Move each anchor to the best of many random points around it, drawn at all scales.

        With a single anchor, tiny moves add or lose boxes. This makes many narrow peaks, and regular steps miss the
        best of them.
        """
        for _ in range(rounds):
            if time.monotonic() > self._deadline:
                return
            reach = 2.0 ** -float(rng.integers(5, 14))
            for anchor in self._movable:
                w, h = self.anchors[anchor].tolist()
                off_w, off_h = 1 + reach * rng.uniform(-1, 1, (2, _PERTURBATIONS))
                off_w[0] = off_h[0] = 1
                near = self._within_reach(anchor, 1 + 2 * reach)
                sides_w, sides_h = self._sides(anchor, w * off_w), self._sides(anchor, h * off_h)
                sums = self._sums(anchor, sides_w[:, None], sides_h[None, :], near)
                row, column = divmod(int(sums.argmax()), _PERTURBATIONS)
                if sums[row, column] > sums[0, 0]:
                    self._move(anchor, sides_w[row], sides_h[column])

    def _step(self, anchor: int, factor: float) -> float:
        """Move one anchor to the best point within a step in each side; return the gain."""
        w, h = self.anchors[anchor].tolist()
        near = self._within_reach(anchor, factor)
        sides_w = self._sides(anchor, [w / factor, w, w * factor])
        sides_h = self._sides(anchor, [h / factor, h, h * factor])
        sums = self._sums(anchor, sides_w[:, None], sides_h[None], near)
        row, column = divmod(int(sums.argmax()), 3)
        peak_w = self._sides(anchor, [w * (1 + _vertex(*sums[:, column].tolist()) * (factor - 1))])
        peak_h = self._sides(anchor, [h * (1 + _vertex(*sums[row].tolist()) * (factor - 1))])
        peak = self._sums(anchor, peak_w[:, None], peak_h[None], near)
        if peak[0, 0] > sums[row, column]:
            self._move(anchor, peak_w[0], peak_h[0])
            return float(peak[0, 0] - sums[1, 1])
        if sums[row, column] > sums[1, 1]:
            self._move(anchor, sides_w[row], sides_h[column])
        return float(sums[row, column] - sums[1, 1])

    def _sides(self, anchor: int, sides: Union[list[float], HostArray]) -> HostArray:
        """Return sides as float32, raised to the least side that the anchor may have."""
        return np.maximum(np.array(sides, dtype=np.float32), self._bounds.least(self.anchors, anchor))

    def _sums(
        self, anchor: int, sides_w: HostArray, sides_h: HostArray, near: list[tuple[WeightedSizes, HostArray]]
    ) -> HostArray:
        """Return the sum over the boxes within reach for each pair of sides of the anchor: (A, B)."""
        sums = np.zeros(np.broadcast_shapes(sides_w.shape, sides_h.shape))
        for chunk, others in near:
            values = self._value(anchor, chunk, sides_w[..., None], sides_h[..., None])  # (A, B, M)
            np.maximum(values, others, out=values)
            rows = values.reshape(sums.size, 1, -1).astype(np.float64)  # each is multiplied by itself, in one thread
            sums += (rows @ chunk.count).reshape(sums.shape)
        if self._bounds.min_side is not None:
            moved = self.anchors.copy()
            for index, sides in zip(np.ndindex(*sums.shape), np.broadcast(sides_w, sides_h)):
                moved[anchor] = sides
                if not self._bounds.allow(moved):
                    sums[index] = -1  # below all sums
        return sums

    def _move(self, anchor: int, w: np.float32, h: np.float32) -> None:
        self.anchors[anchor] = w, h
        for block, values in self._blocks:
            values[anchor] = self._objective.raw(block, w, h)

    def _measure(self, block: WeightedSizes) -> HostArray:
        """Return what is kept of each anchor and box: the exact values, (n, M)."""
        return self._objective.raw(block, self.anchors[:, :1], self.anchors[:, 1:])

    def _value(self, anchor: int, sizes: WeightedSizes, w: HostArray, h: HostArray) -> HostArray:
        """Return the values that are summed if the anchor has these sides."""
        return self._objective(sizes, w, h)

    def _find_near(
        self, anchor: int, block: WeightedSizes, values: HostArray, reach: np.float32
    ) -> tuple[HostArray, HostArray]:
        """Return the rows of the boxes whose best anchor this is or could be, and their value by another anchor."""
        before, after = values[:anchor], values[anchor + 1 :]
        others = np.maximum(before.max(axis=0, initial=0), after.max(axis=0, initial=0))
        near = np.flatnonzero(values[anchor] * reach > np.maximum(others, self._objective.limit))
        return near, self._objective.kept(others[near])

    def _within_reach(self, anchor: int, factor: float) -> list[tuple[WeightedSizes, HostArray]]:
        """Return the boxes whose best anchor this is or could be after a move by `factor`, and their next value."""
        reach = np.float32(math.prod([factor] * self._objective.steepness) * 1.0001)
        found = []
        for block, values in self._blocks:
            near, others = self._find_near(anchor, block, values, reach)
            found.append((block.take(near), others))
        if len(found) == 1 and len(found[0][1]) <= _CHUNK:
            return found
        sizes = join([near for near, _ in found])
        others = np.concatenate([other for _, other in found])
        firsts = range(0, len(sizes), _CHUNK)
        return [(chunk, others[first : first + _CHUNK]) for first, chunk in zip(firsts, sizes.blocks(_CHUNK))]


def weigh(values: HostArray, count: HostArray) -> float:
    """Return the sum of values times counts, without BLAS, whose threads would wait for each other."""
    return float((values * count).sum())


def _vertex(before: float, here: float, after: float) -> float:
    """Return where a parabola through the values at -1, 0 and 1 is largest, within [-1, 1]; 0 if it opens upward."""
    curve = before - 2 * here + after
    return 0.0 if curve >= 0 else max(-1.0, min(1.0, (before - after) / (2 * curve)))


def _power_of_two(octave: float) -> float:
    """Return 2 ** octave for octave = 1, 1/2, 1/4, ... by square roots, which every machine rounds in the same way."""
    power = 2.0
    while octave < 1:
        power, octave = math.sqrt(power), octave * 2
    return power
