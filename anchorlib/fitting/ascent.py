"""The two objectives as the direct search sums them, and the ascent that moves one anchor at a time.

Values are float32 rounded to so few bits that a sum over all boxes is exact in float64: no order of boxes, threads or
vector width changes a digit, so comparing two sums is as exact as comparing whole numbers.
"""

from __future__ import annotations

import math
import time
from typing import Optional, Union

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.fitting.grid import Sizes, joined

_BLOCK = 2**14  # columns of 64 KB, which stay in the cache
_CHUNK = 2**12  # nine values an item
_EXACT = 52  # bits of a sum in float64, one to spare


class RatioObjective:
    """Best ratio of a box to an anchor, nothing at or below 1 / thr."""

    steepness = 1  # a side off by a factor f changes a value by at most f ** steepness, over both sides

    def __init__(self, thr: float, total: int) -> None:
        self.limit = np.float32(1 / thr)
        self._rounder = _rounder(total)

    def raw(self, sizes: Sizes, w: HostArray, h: HostArray) -> HostArray:
        """The ratios themselves, for anchor sides that broadcast against the sizes."""
        ratio_w, ratio_h = sizes.w / w, sizes.h / h
        return np.minimum(np.minimum(ratio_w, 1 / ratio_w), np.minimum(ratio_h, 1 / ratio_h))

    def kept(self, values: HostArray) -> HostArray:
        """Rounded, and 0 where they do not match."""
        rounded = (values + self._rounder) - self._rounder
        rounded *= values > self.limit
        return rounded

    def __call__(self, sizes: Sizes, w: HostArray, h: HostArray) -> HostArray:
        """kept(raw(...)), done per side: a third less work for a grid of sides, and the same values."""
        ratio_w, ratio_h = sizes.w / w, sizes.h / h
        return np.minimum(self.kept(np.minimum(ratio_w, 1 / ratio_w)), self.kept(np.minimum(ratio_h, 1 / ratio_h)))


class IouObjective:
    """Best IoU of a box with an anchor."""

    steepness = 2
    limit = np.float32(0)

    def __init__(self, total: int) -> None:
        self._rounder = _rounder(total)

    def raw(self, sizes: Sizes, w: HostArray, h: HostArray) -> HostArray:
        """The IoUs themselves, for anchor sides that broadcast against the sizes."""
        inter = np.minimum(sizes.w, w) * np.minimum(sizes.h, h)
        union = sizes.w * sizes.h + w * h - inter
        return np.divide(inter, union, out=union)

    def kept(self, values: HostArray) -> HostArray:
        """Rounded."""
        return (values + self._rounder) - self._rounder

    def __call__(self, sizes: Sizes, w: HostArray, h: HostArray) -> HostArray:
        """kept(raw(...))."""
        return self.kept(self.raw(sizes, w, h))


Objective = Union[RatioObjective, IouObjective]


def _rounder(total: int) -> np.float32:
    """x + r - r in float32 leaves x in [0, 1] as a multiple of 2^-bits, where total of those sum exactly in float64."""
    bits = min(23, _EXACT - int(total).bit_length())
    return np.float32(2.0 ** (23 - bits))


class Bounds:
    """What the anchors must keep to: which of them may move, and the least sides by rank of area (None: any)."""

    def __init__(self, movable: HostArray, min_side: Optional[HostArray]) -> None:
        self.movable = movable
        self.min_side = min_side

    def least(self, anchors: HostArray, j: int) -> np.float32:
        """The least side of anchor j at its present rank."""
        if self.min_side is None:
            return np.float32(0)
        return self.min_side[_rank_of_area(anchors)[j]]

    def allow(self, anchors: HostArray) -> bool:
        """Do all movable anchors keep to the least side of their rank?"""
        if self.min_side is None:
            return True
        least = self.min_side[_rank_of_area(anchors)]
        return bool(np.all((anchors.min(axis=1) >= least) | ~self.movable))

    def lift(self, anchors: HostArray) -> HostArray:
        """The anchors with sides raised to what is allowed."""
        anchors = anchors.copy()
        while not self.allow(anchors):  # ends: sides only rise, and only to one of the bounds
            least = self.min_side[_rank_of_area(anchors)]
            anchors[self.movable] = np.maximum(anchors, least[:, None])[self.movable]
        return anchors


def _rank_of_area(anchors: HostArray) -> HostArray:
    sides = anchors.astype(np.float64)
    return np.argsort(np.lexsort((sides[:, 0], sides[:, 0] * sides[:, 1])))


def ascend(
    sizes: Sizes,
    anchors: HostArray,
    objective: Objective,
    bounds: Bounds,
    *,
    octaves: tuple[float, ...],
    sweeps: int,
    small: float,
    deadline: float,
) -> tuple[float, HostArray]:
    """Anchors moved one at a time, each to the best of 9 places around it or to the top of a parabola through them.

    The objective is the true one: boxes change over to other anchors, and in and out of the limit. `octaves` are the
    step sizes, one after the other, each for at most `sweeps` rounds, or until no anchor gains more
    than a share `small` of the count. Returns the sum over the boxes, and the anchors.
    """
    anchors = anchors.copy()
    blocks = [(block, objective.raw(block, anchors[:, :1], anchors[:, 1:])) for block in sizes.blocks(_BLOCK)]
    movable = np.flatnonzero(bounds.movable)
    small *= float(sizes.count.sum())
    for octave in octaves:
        factor = _power_of_two(octave)
        settled = 0  # visits in a row that changed nothing worth mentioning
        for j in np.tile(movable, sweeps):
            if settled == len(movable) or time.monotonic() > deadline:
                break
            place, gain = _best_place(blocks, anchors, j, factor, objective, bounds)
            settled = 0 if gain > small else settled + 1
            if gain > 0:
                anchors[j] = place
                for block, values in blocks:
                    values[j] = objective.raw(block, place[0], place[1])
    total = 0.0
    for block, values in blocks:
        total += float(objective.kept(values.max(axis=0)).astype(np.float64) @ block.count)
    return total, anchors


def _best_place(
    blocks: list[tuple[Sizes, HostArray]],
    anchors: HostArray,
    j: int,
    factor: float,
    objective: Objective,
    bounds: Bounds,
) -> tuple[HostArray, float]:
    """Where anchor j does best within a step in each side, and what is gained there."""
    chunks = _within_reach(blocks, j, np.float32(math.prod([factor] * objective.steepness) * 1.0001), objective)
    w, h = float(anchors[j, 0]), float(anchors[j, 1])
    least = bounds.least(anchors, j)

    def sums(places_w: list[float], places_h: list[float]) -> tuple[HostArray, HostArray, HostArray]:
        side_w = np.maximum(np.array(places_w, dtype=np.float32), least)
        side_h = np.maximum(np.array(places_h, dtype=np.float32), least)
        total = np.zeros((len(side_w), len(side_h)))
        for chunk, others in chunks:
            values = objective(chunk, side_w[:, None, None], side_h[None, :, None])  # (3, 3, M) or (1, 1, M)
            np.maximum(values, others, out=values)
            total += (values.reshape(-1, len(chunk)).astype(np.float64) @ chunk.count).reshape(total.shape)
        if bounds.min_side is not None:
            moved = anchors.copy()
            for x, y in np.ndindex(*total.shape):
                moved[j] = side_w[x], side_h[y]
                if not bounds.allow(moved):
                    total[x, y] = -1
        return side_w, side_h, total

    side_w, side_h, total = sums([w / factor, w, w * factor], [h / factor, h, h * factor])
    x, y = divmod(int(total.argmax()), 3)
    place, best = (side_w[x], side_h[y]), float(total[x, y])
    peak_w = w * (1 + _vertex(*total[:, y].tolist()) * (factor - 1))
    peak_h = h * (1 + _vertex(*total[x].tolist()) * (factor - 1))
    side_w, side_h, peak = sums([peak_w], [peak_h])
    if peak[0, 0] > best:
        place, best = (side_w[0], side_h[0]), float(peak[0, 0])
    return np.array(place, dtype=np.float32), best - float(total[1, 1])


def _within_reach(
    blocks: list[tuple[Sizes, HostArray]], j: int, reach: np.float32, objective: Objective
) -> list[tuple[Sizes, HostArray]]:
    """The boxes that anchor j serves, or could serve if its value rose `reach` times, and what the others give them."""
    found = []
    for block, values in blocks:
        others = np.maximum(values[:j].max(axis=0, initial=0), values[j + 1 :].max(axis=0, initial=0))
        near = np.flatnonzero(values[j] * reach > np.maximum(others, objective.limit))
        found.append((block.take(near), objective.kept(others[near])))
    if len(found) == 1:
        ((sizes, others),) = found
    else:
        sizes = joined([near for near, _ in found])
        others = np.concatenate([other for _, other in found])
    firsts = range(0, len(sizes), _CHUNK)
    return [(chunk, others[first : first + _CHUNK]) for first, chunk in zip(firsts, sizes.blocks(_CHUNK))]


def _vertex(before: float, here: float, after: float) -> float:
    """Where a parabola through the values at -1, 0 and 1 is largest, within [-1, 1]; 0 if it opens upward."""
    curve = before - 2 * here + after
    return 0.0 if curve >= 0 else max(-1.0, min(1.0, (before - after) / (2 * curve)))


def _power_of_two(octave: float) -> float:
    """2 ** octave for an octave of 1, 1/2, 1/4, ...: by square roots, which are rounded the same everywhere."""
    power = 2.0
    while octave < 1:
        power, octave = math.sqrt(power), octave * 2
    return power
