"""Gather sizes in fewer and fewer cells, for a search that goes from coarse to fine."""

from __future__ import annotations

import math
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.size_histogram import WeightedSizes, bin_in_cells, find_ends, make_key, merge_equal

_MOST_CELLS = 2**19  # of the dense histogram, 4 MB: its time is small compared with one pass over 1e6 boxes


class Resolutions:
    """Hold sizes at several resolutions, from a fine grid of bounded size to at most `coarse` cells.

    If the fine grid has at most `coarse` cells, the distinct sizes are used instead of cells: all of them, or every
    k-th. `finer` are Resolutions of the same sizes with a larger `coarse`, whose cells need not be made again.
    """

    def __init__(self, sizes: WeightedSizes, coarse: int, finer: Optional[Resolutions] = None) -> None:
        if finer is None:
            shift = _finest_shift(sizes)
            self._levels = [(bin_in_cells(sizes, shift, shift), shift, shift)]
        else:
            self._levels = list(finer._levels)
        cells = self._levels[-1][0]
        self._distinct = merge_equal(sizes) if len(self._levels[0][0]) <= coarse else None
        while len(cells) > coarse:  # neighbours are merged in height and in width, in turn
            _, shift_w, shift_h = self._levels[-1]
            shift_w, shift_h = (shift_w, shift_h + 1) if shift_w == shift_h else (shift_w + 1, shift_h)
            cells = bin_in_cells(cells, shift_w, shift_h)
            self._levels.append((cells, shift_w, shift_h))
        self.coarse = self.at_most(coarse)

    @property
    def n_distinct(self) -> Optional[int]:
        """The number of distinct sizes, or None if the sizes are in cells."""
        return None if self._distinct is None else len(self._distinct)

    def at_most(self, most: int) -> WeightedSizes:
        """Return the finest resolution with at most `most` cells; `most` must be at least `coarse`."""
        if self._distinct is None:
            return next(cells for cells, _, _ in self._levels if len(cells) <= most)
        return self._distinct.take(slice(None, None, -(-len(self._distinct) // most)))

    def parts_of_coarse(self, most: int) -> tuple[WeightedSizes, HostArray]:
        """Return at most `most` finer cells, in the order of the coarse cells, and where each coarse cell begins."""
        if self._distinct is not None:
            return self.coarse, np.arange(len(self.coarse))
        _, shift_w, shift_h = self._levels[-1]
        finer = self.at_most(most)
        key = make_key(finer, shift_w, shift_h)
        order = np.argsort(key, kind="stable")
        # The coarse cells are in the order of their keys.
        return finer.take(order), np.searchsorted(key[order], make_key(self.coarse, shift_w, shift_h))


def _finest_shift(sizes: WeightedSizes) -> int:
    """Return how many low bits to drop so that the dense histogram is not too large."""
    shift = 1
    while math.prod(high - low + 1 for low, high in find_ends(sizes, shift, shift)) > _MOST_CELLS:
        shift += 1
    return shift
