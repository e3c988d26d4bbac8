"""Box sizes with counts: as columns, and gathered into cells of a logarithmic grid.

The cell of a box is read off the bits of its float32 sides: the exponent and the leading bits of the mantissa. A
cell is therefore a part of an octave in width and in height (linear within the octave), the same on every machine,
and a coarser cell is made of whole finer ones. No logarithm is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional, Union

import numpy as np

from anchorlib.arrays import HostArray

_BLOCK = 2**16  # boxes binned at a time, in the cache


@dataclass
class WeightedSizes:
    """Widths and heights (M,) float32 with how often each counts (M,) float64 or int64, whole numbers."""

    w: HostArray
    h: HostArray
    count: HostArray

    def __len__(self) -> int:
        return len(self.w)

    def take(self, rows: Union[HostArray, slice]) -> WeightedSizes:
        """The sizes in these rows."""
        return WeightedSizes(self.w[rows], self.h[rows], self.count[rows])

    def blocks(self, length: int) -> Iterator[WeightedSizes]:
        """Views of at most `length` rows each."""
        for first in range(0, len(self), length):
            rows = slice(first, first + length)
            yield WeightedSizes(self.w[rows], self.h[rows], self.count[rows])


def as_columns(boxes_wh: HostArray, weights: Optional[HostArray]) -> WeightedSizes:
    """(N, 2) float32 sizes and (N,) counts as columns; no weights count 1 each and take no memory."""
    count = np.broadcast_to(np.float64(1), len(boxes_wh)) if weights is None else weights.astype(np.float64)
    return WeightedSizes(np.ascontiguousarray(boxes_wh[:, 0]), np.ascontiguousarray(boxes_wh[:, 1]), count)


def join(parts: list[WeightedSizes]) -> WeightedSizes:
    """One after the other."""
    return WeightedSizes(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("w", "h", "count")))


def merge_equal(sizes: WeightedSizes) -> WeightedSizes:
    """Each size once, by width and height, with the sum of its counts."""
    key = make_key(sizes, 0, 0)  # positive floats sort like their bits, and one number sorts faster than a pair
    if sizes.count.strides == (0,):  # nothing to be carried along, which takes a third of the time
        key.sort()
        first = _firsts(key)
        count = np.diff(first, append=len(key)).astype(sizes.count.dtype)
    else:
        order = np.argsort(key, kind="stable")  # one run after the other, as of a merge, is fast
        key = key[order]
        first = _firsts(key)
        count = np.add.reduceat(sizes.count[order], first) if len(first) else sizes.count
    key = key[first]
    return WeightedSizes((key >> 32).astype(np.uint32).view(np.float32), key.astype(np.uint32).view(np.float32), count)


def _firsts(key: HostArray) -> HostArray:
    """Where each value of a sorted array begins."""
    return np.flatnonzero(np.diff(key, prepend=-1))


def find_ends(sizes: WeightedSizes, shift_w: int, shift_h: int) -> list[tuple[int, int]]:
    """The first and the last cell in width and in height."""
    return [
        (int(sides.min().view(np.uint32)) >> shift, int(sides.max().view(np.uint32)) >> shift)
        for sides, shift in ((sizes.w, shift_w), (sizes.h, shift_h))
    ]


def bin_in_cells(sizes: WeightedSizes, shift_w: int, shift_h: int) -> WeightedSizes:
    """The occupied cells as their centres; a cell joins sides that agree but for their last `shift` bits."""
    (low_w, high_w), (low_h, high_h) = find_ends(sizes, shift_w, shift_h)
    wide, high = high_w - low_w + 1, high_h - low_h + 1
    counts = np.zeros(wide * high)
    for block in sizes.blocks(max(_BLOCK, wide * high)):
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
    """The side in the middle of each cell, from int64 to float32."""
    return ((cell << shift) + (1 << shift - 1)).astype(np.uint32).view(np.float32)


def make_key(sizes: WeightedSizes, shift_w: int, shift_h: int) -> HostArray:
    """The cell as one whole number, width first."""
    return (sizes.w.view(np.uint32) >> shift_w).astype(np.int64) << 32 | sizes.h.view(np.uint32) >> shift_h
