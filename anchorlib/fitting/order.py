"""The order of anchors: by area, and over the layers of a model."""

from __future__ import annotations

from collections.abc import Sequence

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


def layers_disagree(mean_areas: Sequence[float], strides: Sequence[float]) -> bool:
    """Do the mean anchor areas of the layers run against the strides, from the first layer to the last?

    Layers of equal area or equal stride at both ends have no direction, and never disagree.

    >>> layers_disagree([900.0, 100.0], [8.0, 16.0]), layers_disagree([100.0, 900.0], [8.0, 16.0])
    (True, False)
    """
    return (mean_areas[-1] - mean_areas[0]) * (strides[-1] - strides[0]) < 0
