"""The order of anchors by area."""

from __future__ import annotations

import numpy as np

from anchorlib.arrays import HostArray


def sort_by_area(anchors: HostArray) -> HostArray:
    """Sorted by area, then width: (K, 2) to (K, 2)."""
    return anchors[_order_by_area(anchors)]


def rank_by_area(anchors: HostArray) -> HostArray:
    """The place of each anchor in that order: (K,) int64."""
    return np.argsort(_order_by_area(anchors))


def _order_by_area(anchors: HostArray) -> HostArray:
    sides = anchors.astype(np.float64)  # in float64 the area of float32 sides is exact
    return np.lexsort((sides[:, 0], sides[:, 0] * sides[:, 1]))
