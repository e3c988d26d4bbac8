"""Find prices of the boxes that make a certificate's bound small.

The bound is the dual of the linear relaxation of a facility location problem. It is minimised by the volume algorithm:
the prices move against an average of the last subgradients, by a step that shrinks when the bound does not improve.
Values and prices are multiples of a unit, and counts are integers, so every sum is exact in float64: the steps are
bit-identical, whatever the order of summation. Nothing here has to be right for the bound to be valid.
"""

from __future__ import annotations

import time

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.fitting.certificate_bound import Measure
from anchorlib.size_histogram import WeightedSizes, make_key

_EXACT = 52  # bits of a sum in float64: one fewer than the mantissa has
_HALF_OCTAVE = 22  # low bits of a float32: what is above them is half an octave
_BLOCK = 512  # boxes: their values for the sites nearby stay in the cache
_GRID = 256  # sites are on a grid of so many points an octave
_COARSE, _REACH, _CLOSE = 64, 32, 2  # grid points: distance of the first sites; largest and smallest step to a maximum
_MARGIN = 0.06  # a site that is further below the price of all boxes of a block is left out of the block
_SITE_GAIN = 0.3  # sites with a smaller share of the greatest gain are dropped
_CLIMBS = 150  # sites from which a climb to a local maximum starts
_AROUND = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
_FIRST_STEP, _NEW_STEP, _SHRINK, _FAILURES = 0.3, 0.1, 0.85, 20
_LAST_STEP = 2e-4  # below it, the prices do not change any more
_NEWEST = 0.1  # share of the newest subgradient in the average
_LESS = 1e-7  # a bound that is lower by a smaller share is not an improvement
_ABOVE = 1.0002  # the steps aim at this multiple of what the anchors reach


class Prices:
    """Hold the price of each size, and move the prices so that the bound on some anchors on a grid becomes small."""

    def __init__(
        self, measure: Measure, sizes: WeightedSizes, floor: HostArray, anchors: HostArray, least: float, n: int
    ) -> None:
        """Start halfway between the best and the second best value of each box.

        floor : (M,) the least price of each size
        anchors : (K, 2) float64, K >= 1; the bound is compared with what they reach
        least : the least side of an anchor
        n : number of anchors that the bound is for
        """
        key = make_key(sizes, _HALF_OCTAVE, _HALF_OCTAVE)
        self.order = np.argsort(key, kind="stable")  # boxes of half an octave are next to each other
        sizes, key = sizes.take(self.order), key[self.order]
        self._measure, self._n = measure, n
        self._w, self._h = sizes.w.astype(np.float64), sizes.h.astype(np.float64)
        self._count = sizes.count.astype(np.float64)
        self._unit = 2.0 ** -min(20, _EXACT - int(self._count.sum()).bit_length())
        self._floor = np.ceil(floor[self.order] / self._unit) * self._unit
        starts = [0, *(np.flatnonzero(np.diff(key)) + 1).tolist(), len(key)]
        self._parts = [
            slice(first, min(first + _BLOCK, end))
            for start, end in zip(starts, starts[1:])
            for first in range(start, end, _BLOCK)
        ]
        values = self._values(slice(None), anchors[:, :1], anchors[:, 1:])
        values.sort(axis=0)
        self.price = np.maximum(self._round(values[-2:].mean(axis=0)), self._floor)
        self._known = float(np.maximum(values[-1], self._floor) @ self._count)
        self.step, self._failed = _FIRST_STEP, 0
        low = np.array([max(self._w.min(), least), max(self._h.min(), least)])
        high = np.maximum(np.array([self._w.max(), self._h.max()]), low)
        self._low, self._high = _to_grid(low), _to_grid(high)
        sites = _to_grid(np.stack([self._w, self._h], axis=1))
        self._sites = np.empty((0, 2), dtype=np.int64)
        self.add_sites(np.rint(sites / _COARSE).astype(np.int64) * _COARSE)
        self.add_sites(_to_grid(anchors))

    @property
    def settled(self) -> bool:
        """True if the steps have become too small to change the bound."""
        return self.step < _LAST_STEP

    def total(self) -> float:
        """Return the sum of the prices of all boxes; exact."""
        return float(self.price @ self._count)

    def add(self, anchors: HostArray) -> None:
        """Add sites near these anchors, (K, 2); if any is new, the steps become larger again."""
        before = len(self._sites)
        self.add_sites(_to_grid(anchors))
        if len(self._sites) > before:
            self.step = max(self.step, _NEW_STEP)

    def add_sites(self, sites: HostArray) -> None:
        """Add points of the grid, (K, 2) int64, to the sites."""
        self._sites = np.unique(np.concatenate([self._sites, np.clip(sites, self._low, self._high)]), axis=0)

    def improve(self, rounds: int, deadline: float) -> float:
        """Make `rounds` steps, add sites where the gain is greatest, and return the bound on all sites."""
        self._descend(self._gather_blocks(), rounds, deadline)
        return self.total() + self._n * self._climb()

    def _gather_blocks(self) -> list[tuple[slice, HostArray, HostArray]]:
        """Return parts of the boxes, each with the sites nearby and their values."""
        side_w, side_h = _sides(self._sites)
        blocks = []
        for part in self._parts:
            near = self._in_reach(part, side_w, side_h, -_MARGIN)
            values = self._values(part, side_w[near], side_h[near])
            some = (values - self.price[part]).max(axis=1) > -_MARGIN
            blocks.append((part, near[some], values[some]))
        return blocks

    def _descend(self, blocks: list[tuple[slice, HostArray, HostArray]], rounds: int, deadline: float) -> None:
        side_w, side_h = _sides(self._sites)
        best, price, average = np.inf, self.price, None
        for _ in range(rounds):
            if time.monotonic() > deadline:
                break
            gains = np.zeros(len(self._sites))
            for part, near, values in blocks:
                over = values - price[part]
                np.maximum(over, 0, out=over)
                gains[near] += over @ self._count[part]
            top = int(gains.argmax())
            bound = float(price @ self._count) + self._n * float(gains[top])
            served = self._values(slice(None), side_w[top], side_h[top]) > price
            slope = 1.0 - self._n * served
            average = slope if average is None else (1 - _NEWEST) * average + _NEWEST * slope
            if bound < best * (1 - _LESS):
                best, self.price, self._failed = bound, price, 0
            else:
                self._failed += 1
            if self._failed >= _FAILURES:
                self.step, self._failed, price = self.step * _SHRINK, 0, self.price
            norm = float(np.rint(average * average * 1024) @ self._count) / 1024
            move = self.step * max(bound - self._known * _ABOVE, self._known * 1e-6) / max(norm, 1.0)
            price = np.maximum(self._round(np.clip(price - move * average, 0, 1)), self._floor)

    def _climb(self) -> float:
        """Add the local maxima of the gain near the best sites, drop bad sites, and return the greatest gain."""
        gains = self._gains(self._sites)
        good = gains >= _SITE_GAIN * gains.max()
        self._sites, gains = self._sites[good], gains[good]
        best_first = np.argsort(-gains, kind="stable")[:_CLIMBS]
        at, reached, step = self._sites[best_first], gains.max(), _REACH
        while step >= _CLOSE:
            around = np.clip(at[:, None] + _AROUND * step, self._low, self._high)
            near = self._gains(around.reshape(-1, 2)).reshape(len(at), len(_AROUND))
            at = around[np.arange(len(at)), near.argmax(axis=1)]
            reached, step = max(reached, near.max()), step // 2
        self.add_sites(at)
        return float(reached)

    def _gains(self, sites: HostArray) -> HostArray:
        """Return the gain of each site; parts of the boxes that a site cannot reach are left out."""
        side_w, side_h = _sides(sites)
        gains = np.zeros(len(sites))
        for part in self._parts:
            near = self._in_reach(part, side_w, side_h, 0.0)
            for first in range(0, len(near), 64):  # so that the values stay in the cache
                some = near[first : first + 64]
                over = self._values(part, side_w[some], side_h[some])
                over -= self.price[part]
                np.maximum(over, 0, out=over)
                gains[some] += over @ self._count[part]
        return gains

    def _in_reach(self, part: slice, side_w: HostArray, side_h: HostArray, margin: float) -> HostArray:
        """Return the sites whose value can exceed the least price of a part by `margin`, for the nearest size."""
        w, h = self._w[part], self._h[part]
        nearest_w, nearest_h = np.clip(side_w, w.min(), w.max()), np.clip(side_h, h.min(), h.max())
        values = self._measure.values(nearest_w, nearest_h, side_w, side_h)
        return np.flatnonzero(values[:, 0] > self.price[part].min() + margin)

    def _values(self, part: slice, side_w: HostArray, side_h: HostArray) -> HostArray:
        return self._round(self._measure.values(self._w[part], self._h[part], side_w, side_h))

    def _round(self, values: HostArray) -> HostArray:
        values = values * (1 / self._unit)
        np.rint(values, out=values)
        values *= self._unit
        return values


def _to_grid(sides: HostArray) -> HostArray:
    """Return the grid points at or just below sides > 0, int64. No logarithm: its last bit differs between machines."""
    mantissa, exponent = np.frexp(sides)  # mantissa in [1/2, 1)
    steps = _sides_of(np.arange(_GRID)) / 2
    return (exponent.astype(np.int64) - 1) * _GRID + np.searchsorted(steps, mantissa, side="right") - 1


def _sides(sites: HostArray) -> tuple[HostArray, HostArray]:
    """Return width and height of grid points, (K, 1) each."""
    return _sides_of(sites[:, 0])[:, None], _sides_of(sites[:, 1])[:, None]


def _sides_of(points: HostArray) -> HostArray:
    """Return 2 ** (points / 256), by square roots and products, which every machine rounds in the same way."""
    exponent, part = np.divmod(points, _GRID)
    root, factor, bit = 2.0, np.ones(len(points)), _GRID
    while bit > 1:
        root, bit = float(np.sqrt(root)), bit // 2
        factor = np.where(part & bit, factor * root, factor)
    return np.ldexp(factor, exponent.astype(np.int32))
