"""The direction of a model's anchor layers: do the anchors grow with the strides?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anchorlib.arrays import HostArray


def mean_areas(layers: Sequence[HostArray]) -> list[float]:
    """Return the mean area of the anchors of each layer.

    Parameters
    ----------
    layers : for each layer (A, 2) float, in any unit

    Returns
    -------
    One float for each layer, in the square of that unit. It is exact up to one rounding for float32 sides.

    Examples
    --------
    >>> mean_areas([np.asarray([[10, 13], [16, 30]]), np.asarray([[30, 61]])])
    [305.0, 1830.0]
    """
    areas = (np.asarray(layer, np.float64).prod(axis=1) for layer in layers)  # exact for float32 sides
    return [float(area.sum() / len(area)) for area in areas]


def layers_disagree(mean_areas: Sequence[float], strides: Sequence[float]) -> bool:
    """Return True if the mean anchor areas run against the strides, from the first layer to the last.

    Layers of equal area or equal stride at both ends have no direction, and never disagree.

    >>> layers_disagree([900.0, 100.0], [8.0, 16.0]), layers_disagree([100.0, 900.0], [8.0, 16.0])
    (True, False)
    """
    return (mean_areas[-1] - mean_areas[0]) * (strides[-1] - strides[0]) < 0


def are_largest_first(layers: Sequence[HostArray]) -> bool:
    """Return True if the first layer's anchors are larger than the last layer's.

    >>> are_largest_first([np.asarray([[90, 90]]), np.asarray([[9, 9]])])
    True
    """
    return layers_disagree(mean_areas(layers), range(len(layers)))
