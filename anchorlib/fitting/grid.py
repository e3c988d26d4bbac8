"""Box sizes with counts: as columns, and gathered into cells of a logarithmic grid.

The cell of a box is read off the bits of its float32 sides: the exponent and the leading bits of the mantissa. A
cell is therefore a part of an octave in width and in height (linear within the octave), the same on every machine,
and a coarser cell is made of whole finer ones. No logarithm is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional, Union

import numpy as np

from anchorlib.arrays import HostArray

_MOST_CELLS = 2**19  # of the dense histogram, 4 MB: beside a pass over 1e6 boxes it does not count
_BLOCK = 2**16  # boxes binned at a time, in the cache


@dataclass
class Sizes:
    """Widths and heights (M,) float32 with how often each counts (M,) float64, whole numbers."""

    w: HostArray
    h: HostArray
    count: HostArray

    def __len__(self) -> int:
        return len(self.w)

    def take(self, rows: Union[HostArray, slice]) -> Sizes:
        """The sizes in these rows."""
        return Sizes(self.w[rows], self.h[rows], self.count[rows])

    def blocks(self, length: int) -> Iterator[Sizes]:
        """Views of at most `length` rows each."""
        for first in range(0, len(self), length):
            rows = slice(first, first + length)
            yield Sizes(self.w[rows], self.h[rows], self.count[rows])


class Resolutions:
    """The same sizes in fewer and fewer cells, from a fine grid of bounded size to at most `coarse` cells.

    Where even the fine grid has no more cells than that, the distinct sizes themselves stand for cells: all of
    them, or every k-th.
    """

    def __init__(self, sizes: Sizes, coarse: int) -> None:
        shift = _finest_shift(sizes)
        cells = in_cells(sizes, shift, shift)
        self._levels = [(cells, shift, shift)]
        self._distinct = distinct(sizes) if len(cells) <= coarse else None
        while len(cells) > coarse:  # neighbours are joined in height and in width by turns
            _, shift_w, shift_h = self._levels[-1]
            shift_w, shift_h = (shift_w, shift_h + 1) if shift_w == shift_h else (shift_w + 1, shift_h)
            cells = in_cells(cells, shift_w, shift_h)
            self._levels.append((cells, shift_w, shift_h))
        self.coarse = self.at_most(coarse)

    @property
    def n_distinct(self) -> Optional[int]:
        """How many distinct sizes there are, or None: more than `coarse`."""
        return None if self._distinct is None else len(self._distinct)

    def at_most(self, most: int) -> Sizes:
        """The finest cells that are at most so many (not fewer than `coarse`)."""
        if self._distinct is None:
            return next(cells for cells, _, _ in self._levels if len(cells) <= most)
        return self._distinct.take(slice(None, None, -(-len(self._distinct) // most)))

    def parts_of_coarse(self, most: int) -> tuple[Sizes, HostArray]:
        """At most so many finer cells, in the order of the coarse cells, and where each coarse cell's begin."""
        if self._distinct is not None:
            return self.coarse, np.arange(len(self.coarse))
        _, shift_w, shift_h = self._levels[-1]
        finer = self.at_most(most)
        key = _key(finer, shift_w, shift_h)
        order = np.argsort(key, kind="stable")
        # Cells are made in the order of their keys.
        return finer.take(order), np.searchsorted(key[order], _key(self.coarse, shift_w, shift_h))


def columns(boxes_wh: HostArray, weights: Optional[HostArray]) -> Sizes:
    """(N, 2) float32 sizes and (N,) counts as columns; no weights count 1 each and take no memory."""
    count = np.broadcast_to(np.float64(1), len(boxes_wh)) if weights is None else weights.astype(np.float64)
    return Sizes(np.ascontiguousarray(boxes_wh[:, 0]), np.ascontiguousarray(boxes_wh[:, 1]), count)


def joined(parts: list[Sizes]) -> Sizes:
    """One after the other."""
    return Sizes(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("w", "h", "count")))


def distinct(sizes: Sizes) -> Sizes:
    """Each size once, by width and height, with the sum of its counts."""
    key = _key(sizes, 0, 0)  # positive floats sort like their bits, and one number sorts faster than a pair
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    key, count = key[first], np.add.reduceat(sizes.count[order], first) if len(first) else sizes.count
    return Sizes((key >> 32).astype(np.uint32).view(np.float32), key.astype(np.uint32).view(np.float32), count)


def _finest_shift(sizes: Sizes) -> int:
    """How many low bits to drop so that the dense histogram is not too large."""
    shift = 1
    while math.prod(high - low + 1 for low, high in _ends(sizes, shift, shift)) > _MOST_CELLS:
        shift += 1
    return shift


def _ends(sizes: Sizes, shift_w: int, shift_h: int) -> list[tuple[int, int]]:
    """The first and the last cell in width and in height."""
    return [
        (int(sides.min().view(np.uint32)) >> shift, int(sides.max().view(np.uint32)) >> shift)
        for sides, shift in ((sizes.w, shift_w), (sizes.h, shift_h))
    ]


def in_cells(sizes: Sizes, shift_w: int, shift_h: int) -> Sizes:
    """The occupied cells as their centres; a cell joins sides that agree but for their last `shift` bits."""
    (low_w, high_w), (low_h, high_h) = _ends(sizes, shift_w, shift_h)
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
    w = _centre(occupied // high + low_w, shift_w)
    h = _centre(occupied % high + low_h, shift_h)
    return Sizes(w, h, counts[occupied])


def _centre(cell: HostArray, shift: int) -> HostArray:
    return ((cell << shift) + (1 << shift - 1)).astype(np.uint32).view(np.float32)


def _key(sizes: Sizes, shift_w: int, shift_h: int) -> HostArray:
    """The cell as one whole number, width first."""
    return (sizes.w.view(np.uint32) >> shift_w).astype(np.int64) << 32 | sizes.h.view(np.uint32) >> shift_h
