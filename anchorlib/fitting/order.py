"""Sort anchors by area, the order in which they are returned and written."""

from __future__ import annotations

import numpy as np

from anchorlib.arrays import HostArray


def sort_by_area(anchors: HostArray) -> HostArray:
    """Sort anchors by area, then by width: (K, 2) to (K, 2)."""
    return anchors[_order_by_area(anchors)]


def rank_by_area(anchors: HostArray) -> HostArray:
    """Return the position of each anchor in the order of `sort_by_area`: (K,) int64."""
    return np.argsort(_order_by_area(anchors))


def _order_by_area(anchors: HostArray) -> HostArray:
    sides = anchors.astype(np.float64)  # in float64 the area of float32 sides is exact
    return np.lexsort((sides[:, 0], sides[:, 0] * sides[:, 1]))
