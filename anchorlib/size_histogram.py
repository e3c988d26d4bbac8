"""Hold box sizes with counts as columns, and gather them in the cells of a logarithmic grid.

The cell of a box is given by bits of its float32 sides: the exponent and the leading bits of the mantissa. So a cell is
a part of an octave in width and in height (linear within the octave), it is the same on every machine, and a coarser
cell consists of complete finer cells. No logarithm is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional, Union

import numpy as np

from anchorlib.arrays import HostArray

_BINNED_AT_ONCE = 2**16  # boxes: their cells stay in the cache


@dataclass
class WeightedSizes:
    """Hold widths and heights, (M,) float32, and how often each size counts: (M,) float64 or int64, integers."""

    w: HostArray
    h: HostArray
    count: HostArray

    def __len__(self) -> int:
        return len(self.w)

    def take(self, rows: Union[HostArray, slice]) -> WeightedSizes:
        """Return the sizes in these rows."""
        return WeightedSizes(self.w[rows], self.h[rows], self.count[rows])

    def blocks(self, length: int) -> Iterator[WeightedSizes]:
        """Yield views of at most `length` rows each."""
        for first in range(0, len(self), length):
            rows = slice(first, first + length)
            yield WeightedSizes(self.w[rows], self.h[rows], self.count[rows])


def as_columns(boxes_wh: HostArray, weights: Optional[HostArray]) -> WeightedSizes:
    """Return (N, 2) float32 sizes and (N,) counts as columns; without weights each counts 1, which needs no memory."""
    count = np.broadcast_to(np.float64(1), len(boxes_wh)) if weights is None else weights.astype(np.float64)
    return WeightedSizes(np.ascontiguousarray(boxes_wh[:, 0]), np.ascontiguousarray(boxes_wh[:, 1]), count)


def join(parts: list[WeightedSizes]) -> WeightedSizes:
    """Join several parts, one after the other."""
    return WeightedSizes(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("w", "h", "count")))


def merge_equal(sizes: WeightedSizes) -> WeightedSizes:
    """Return each size once, sorted by width and height, with the sum of its counts."""
    key = make_key(sizes, 0, 0)  # positive floats sort like their bits, and one number sorts faster than a pair
    if sizes.count.strides == (0,):  # no counts to sort with the keys: a third of the time
        key.sort()
        first = _firsts(key)
        count = np.diff(first, append=len(key)).astype(sizes.count.dtype)
    else:
        order = np.argsort(key, kind="stable")  # a stable sort is fast on sorted runs, as from a merge
        key = key[order]
        first = _firsts(key)
        count = np.add.reduceat(sizes.count[order], first) if len(first) else sizes.count
    key = key[first]
    return WeightedSizes((key >> 32).astype(np.uint32).view(np.float32), key.astype(np.uint32).view(np.float32), count)


def _firsts(key: HostArray) -> HostArray:
    """Return where each value of a sorted array begins."""
    return np.flatnonzero(np.diff(key, prepend=-1))


def find_ends(sizes: WeightedSizes, shift_w: int, shift_h: int) -> list[tuple[int, int]]:
    """Return the first and the last cell in width and in height."""
    return [
        (int(sides.min().view(np.uint32)) >> shift, int(sides.max().view(np.uint32)) >> shift)
        for sides, shift in ((sizes.w, shift_w), (sizes.h, shift_h))
    ]


def bin_in_cells(sizes: WeightedSizes, shift_w: int, shift_h: int) -> WeightedSizes:
    """Return the centres of the occupied cells; sides in a cell differ only in their last `shift` bits."""
    (low_w, high_w), (low_h, high_h) = find_ends(sizes, shift_w, shift_h)
    wide, high = high_w - low_w + 1, high_h - low_h + 1
    counts = np.zeros(wide * high)
    for block in sizes.blocks(max(_BINNED_AT_ONCE, wide * high)):
        cell = (block.w.view(np.uint32) >> shift_w).astype(np.int64)
        cell -= low_w
        cell *= high
        cell += block.h.view(np.uint32) >> shift_h
        cell -= low_h
        counts += np.bincount(cell, None if block.count.strides == (0,) else block.count, wide * high)
    occupied = np.flatnonzero(counts)
    w = cell_centre(occupied // high + low_w, shift_w)
    h = cell_centre(occupied % high + low_h, shift_h)
    return WeightedSizes(w, h, counts[occupied])


def cell_centre(cell: HostArray, shift: int) -> HostArray:
    """Return the side in the middle of each cell, from int64 to float32."""
    return ((cell << shift) + (1 << shift - 1)).astype(np.uint32).view(np.float32)


def make_key(sizes: WeightedSizes, shift_w: int, shift_h: int) -> HostArray:
    """Return the cell of each size as one integer, width first."""
    return (sizes.w.view(np.uint32) >> shift_w).astype(np.int64) << 32 | sizes.h.view(np.uint32) >> shift_h
