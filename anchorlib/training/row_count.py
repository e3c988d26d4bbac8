"""Count the rows of `build_targets` without making them: how many a layer has, and how many are overwritten.

The anchors that match a box are bits of one integer, so a cell of an image has one entry for each box, not one for each
box and anchor. An entry loses the bits that a later entry of the same cell has. The decisions are those of
`build_targets`, by the same operations on float32, so the counts are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.backends import namespace_of
from anchorlib.training.targets import STEPS, near_borders, ratio_limits

_OFFSET = 0.5  # of build_targets
_BITS = 8  # anchors at a time
_BOXES_AT_ONCE = 2**13  # what is computed for them stays in the cache
_SLOTS = 2**16  # of the table that finds the entries of one cell, which also stays there
_HALF_STEPS = np.asarray(STEPS, np.float32).T[:, :, None] * np.float32(_OFFSET)  # (2, 5, 1): x, y


@dataclass
class LayerRows:
    """Hold the rows of one layer.

    rows, overwritten : how many there are, and how many a later row of the same image, anchor and cell overwrites
    has_row : (N,) bool, the boxes with a row
    survives : (N,) bool, the boxes with a row that is not overwritten
    """

    rows: int
    overwritten: int
    has_row: HostArray
    survives: HostArray


class RowCounter:
    """Count the rows of boxes, layer by layer.

    image : (N,) the image of each box, ascending
    boxes : (4, N) float32: cx, cy, w, h in [0, 1] of the network's input
    thr : ratio limit, > 1
    """

    def __init__(self, image: HostArray, boxes: HostArray, thr: float) -> None:
        self._boxes = boxes
        self._limits = ratio_limits(thr)
        self._starts = np.append(np.flatnonzero(np.diff(image, prepend=-1)), len(image))  # of images, and the end
        self._slots = np.empty(_SLOTS, np.int32)

    def count(self, anchors: HostArray, grid: tuple[int, int]) -> LayerRows:
        """Count the rows of a layer: (A, 2) float32 anchors in units of its stride, and its grid (ny, nx)."""
        has_row, survives = np.zeros((2, self._boxes.shape[1]), bool)
        found = LayerRows(0, 0, has_row, survives)
        with np.errstate(over="ignore", invalid="ignore"):  # boxes with infinity match nothing
            for block, image in self._blocks():
                for first in range(0, len(anchors), _BITS):
                    self._count_block(block, image, anchors[first : first + _BITS], grid, found)
        return found

    def _count_block(
        self, block: slice, image: HostArray, anchors: HostArray, grid: tuple[int, int], found: LayerRows
    ) -> None:
        """Add the rows of some complete images, numbered from 0, and of at most 8 anchors."""
        ny, nx = grid
        size = np.asarray([[nx], [ny]], np.float32)
        matches = self._match(self._boxes[2:, block] * size, anchors)
        (matched,) = matches.nonzero()
        centre = self._boxes[:2, block].take(matched, axis=1) * size  # (2, M)
        distance = np.concatenate([centre, size - centre])[:, None, :]
        near = near_borders(namespace_of(distance), distance, _OFFSET)[0]  # (5, M)
        place = np.clip(centre[:, None, :] - _HALF_STEPS, np.float32(0), size[:, :, None] - 1)
        x, y = place.astype(np.int64)  # (5, M)
        cell = (image.take(matched) * ny + y) * nx + x
        (at,) = near.reshape(-1).nonzero()  # the rows of each anchor have this order
        bits = np.broadcast_to(matches.take(matched), near.shape).reshape(-1).take(at)
        n_rows = _count_bits(bits)
        self._drop_overwritten(cell.reshape(-1).take(at), bits)
        found.rows += n_rows
        found.overwritten += n_rows - _count_bits(bits)
        found.has_row[block][matched] |= near.any(axis=0)
        near.reshape(-1)[at[bits == 0]] = False
        found.survives[block][matched] |= near.any(axis=0)

    def _match(self, sides_wh: HostArray, anchors: HostArray) -> HostArray:
        """Return (B,) uint8 for (2, B) sides: bit i says that anchor i differs in no side by a factor of `thr`."""
        limit, low = self._limits
        ratio_w, ratio_h = sides_wh[:, None, :] / anchors.T[:, :, None]  # (A, B)
        matches = (np.maximum(ratio_w, ratio_h) < limit) & (np.minimum(ratio_w, ratio_h) >= low)
        bits = np.zeros(matches.shape[1], np.uint8)
        for i, row in enumerate(matches.view(np.uint8)):
            bits |= row << np.uint8(i)
        return bits

    def _drop_overwritten(self, cell: HostArray, bits: HostArray) -> None:
        """Drop from the bits of each entry, (E,) uint8, those that a later entry of the same cell has.

        In each round, the last entry of every slot is settled, and the others of its cell lose its bits. Several cells
        may share a slot: this costs rounds, not exactness.
        """
        left: HostArray = np.arange(len(cell))
        while len(left):
            slot = cell.take(left) & (len(self._slots) - 1)
            self._slots[slot] = left  # of several entries with one slot, NumPy keeps the last
            last = self._slots.take(slot)
            (others,) = (last != left).nonzero()
            left, last = left.take(others), last.take(others)
            covered = bits.take(last) * (cell.take(left) == cell.take(last))
            rest = bits.take(left) & ~covered
            bits[left] = rest
            left = left.take(rest.nonzero()[0])

    def _blocks(self) -> Iterator[tuple[slice, HostArray]]:
        """Yield the boxes of complete images, and the number of the image of each, from 0 in each block."""
        starts = self._starts
        first = 0
        while first < len(starts) - 1:
            end = int(np.searchsorted(starts, starts[first] + _BOXES_AT_ONCE, side="right")) - 1
            end = max(first + 1, end)
            images = np.repeat(np.arange(end - first), np.diff(starts[first : end + 1]))
            yield slice(int(starts[first]), int(starts[end])), images
            first = end


def _count_bits(bits: HostArray) -> int:
    """Return how many bits are set in uint8."""
    return int(np.count_nonzero(np.unpackbits(bits)))
