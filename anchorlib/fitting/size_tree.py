"""Sort box sizes into a tree: cells of half an octave, in these smaller and smaller cells, and in these the sizes.

A search that looks at all boxes from afar needs only the coarse cells; near the end it needs only a few of the sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.size_histogram import WeightedSizes

#: Units in a ratio of 1. Sums over counts of up to 2^36 stay below 2^63, so sums of units are exact in every order.
UNIT = 2.0**26
_SHIFTS = (21, 19, 17)  # low bits of a side that are ignored: cells of a quarter, 1/16 and 1/64 octave
_FEWER = 2  # a level has at least this many times fewer nodes than the next one
_BITS = 31  # of a float32 > 0


@dataclass(frozen=True)
class Level:
    """Hold the nodes of one level, widths in row 0 and heights in row 1.

    low, high : (2, M) float32, the smallest and the largest side of the boxes in a node
    units : (M,) float64, the number of boxes in a node times UNIT
    falling : (2, M) float64, the sum of side / high over the boxes in a node, in units: what the boxes are worth to an
        anchor with the side `high`. To an anchor beyond it they are worth less, in proportion.
    rising : the same of low / side, for an anchor with the side `low`, and for smaller anchors
    first : (M + 1,) where the children of each node begin in the next level
    extent : number of float32 sides in a cell; 0 for the sizes themselves
    """

    low: HostArray
    high: HostArray
    units: HostArray
    falling: HostArray
    rising: HostArray
    first: HostArray
    extent: int


class SizeTree:
    """Hold the levels, the coarsest first; the nodes of the last one are the distinct sizes."""

    def __init__(self, sizes: WeightedSizes) -> None:
        key, count = _sort(sizes)
        sides = _sides_of(key)
        units = count * UNIT
        both = np.broadcast_to(units, sides.shape)
        self.levels = [Level(sides, sides, units, both, both, np.empty(0, dtype=np.int64), 0)]
        for shift in _SHIFTS[::-1]:
            group = key >> 2 * shift
            first = _firsts(group)
            if _FEWER * len(first) > len(group):
                continue
            key = key[first]
            self.levels.insert(0, _gather(self.levels[0], np.append(first, len(group)), 1 << shift))

    def children(self, level: int, rows: HostArray) -> HostArray:
        """Return the nodes of the next level that are in these nodes of a level."""
        first = self.levels[level].first
        start, n = first[rows], np.diff(first)[rows]
        ends = np.cumsum(n)
        return np.arange(n.sum()) + np.repeat(start - ends + n, n)


def _sort(sizes: WeightedSizes) -> tuple[HostArray, HostArray]:
    """Return the key of each distinct size, sorted, and its count, int64.

    The key has the bits that tell coarse cells apart first, then those of finer cells, so cells of every level are next
    to each other. Nothing else of a size is in the key, and all of a size is.
    """
    w, h = (side.view(np.uint32).astype(np.int64) for side in (sizes.w, sizes.h))
    key = np.zeros_like(w)
    for above, below in zip((_BITS, *_SHIFTS), (*_SHIFTS, 0)):
        for side in (w, h):
            key <<= above - below
            key |= side >> below & (1 << above - below) - 1
    if sizes.count.strides == (0,):  # no counts to sort with the keys
        key.sort()
        first = _firsts(key)
        return key[first], np.diff(first, append=len(key))
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = _firsts(key)
    return key[first], np.add.reduceat(sizes.count[order].astype(np.int64), first)


def _sides_of(key: HostArray) -> HostArray:
    """Return the widths and heights, (2, M) float32, that are in the keys."""
    bits = np.zeros((2, len(key)), dtype=np.int64)
    for below, above in zip((0, *_SHIFTS[::-1]), (*_SHIFTS[::-1], _BITS)):
        mask = (1 << above - below) - 1
        bits[1] |= (key & mask) << below
        key = key >> above - below
        bits[0] |= (key & mask) << below
        key = key >> above - below
    return bits.astype(np.uint32).view(np.float32)


def _firsts(key: HostArray) -> HostArray:
    """Return where each value of a sorted array begins."""
    return np.flatnonzero(np.diff(key, prepend=-1))


def _gather(fine: Level, first: HostArray, extent: int) -> Level:
    """Return the level above `fine`, given where the children of each node begin."""
    n, starts = np.diff(first), first[:-1]
    low, high = np.minimum.reduceat(fine.low, starts, axis=1), np.maximum.reduceat(fine.high, starts, axis=1)
    falling = (fine.high / np.repeat(high, n, axis=1) * fine.falling).astype(np.int64)
    rising = (np.repeat(low, n, axis=1) / fine.low * fine.rising).astype(np.int64)
    return Level(
        low,
        high,
        np.add.reduceat(fine.units.astype(np.int64), starts).astype(np.float64),
        np.add.reduceat(falling, starts, axis=1).astype(np.float64),
        np.add.reduceat(rising, starts, axis=1).astype(np.float64),
        first,
        extent,
    )
