"""Find anchors that small boxes do not need: nearly equal ones of one layer.

Training gives each box to every anchor that matches it. So a box that is hardly larger than a cell is predicted by each
of the nearly equal anchors, and these predictions overlap too little to be merged: a detector learns it better from a
single anchor (the study in the documentation has the figures).
"""

from __future__ import annotations

from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.metrics import side_ratio
from anchorlib.size_histogram import WeightedSizes

NEARLY_EQUAL = np.float32(0.75)  # side ratio of two anchors
SMALL = 1.5  # strides, on the longer side


def find_twin(
    cells: WeightedSizes, anchors: HostArray, layer: HostArray, strides: HostArray, movable: HostArray
) -> Optional[int]:
    """Return the anchor to give up, of the two most alike of one layer that serve mostly small boxes; None if none is.

    anchors, layer, movable : (n, 2) float32, pixels; (n,) the layer of each; (n,) bool
    strides : (L,) float32, pixels
    """
    ratios = side_ratio(np, cells.w, cells.h, anchors[:, :1], anchors[:, 1:])  # (n, M)
    best = ratios.argmax(axis=0)
    small = np.maximum(cells.w, cells.h) < np.float32(SMALL) * strides[layer[best]]
    served = np.bincount(best, cells.count, len(anchors))
    served_small = np.bincount(best, cells.count * small, len(anchors))
    alike = side_ratio(np, anchors[:, 0], anchors[:, 1], anchors[:, :1], anchors[:, 1:])  # (n, n)
    pairs = [
        (-float(alike[i, j]), i, j)
        for i, j in zip(*np.triu_indices(len(anchors), 1))
        if layer[i] == layer[j]
        and movable[i]
        and movable[j]
        and alike[i, j] >= NEARLY_EQUAL
        and 2 * (served_small[i] + served_small[j]) > served[i] + served[j]
    ]
    if not pairs:
        return None
    _, i, j = min(pairs)
    return int(i if served[i] < served[j] else j)
