"""The direction of a model's anchor layers: do the anchors grow with the strides?

A model reverses its layers if they run against the strides. Forks of YOLOv5 find this out by one of two rules: the
newer one (7.0) compares the mean areas of the first and the last layer, in pixels; the older one compares the areas of
the first anchor of the first layer and the last anchor of the last layer, in pixels or (6.0) in units of the strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray

_LARGEST = 2048.0  # pixels: anchors that would be larger are not in units of the strides


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


def ends_disagree(layers: Sequence[HostArray], strides: Sequence[float]) -> bool:
    """Return True if the first anchor of the first layer and the last of the last run against the strides.

    >>> ends_disagree([np.asarray([[90, 90], [9, 9]]), np.asarray([[30, 30]])], [8.0, 16.0])
    True
    """
    return layers_disagree(_areas_at_ends(layers), strides)


def must_reverse(layers: Sequence[HostArray], strides: Sequence[float]) -> bool:
    """Return True if the layers must be reversed, for anchors in pixels or in units of the strides.

    Mostly the two rules agree. If not, the unit decides. Anchors are taken to be in units of the strides if,
    multiplied by the strides, they are at most 2048 px and their mean area grows with the stride in every layer. In
    these units the older rule counts, in pixels the newer one.

    >>> pixels = [np.asarray([[10.0, 10.0], [30.0, 30.0]]), np.asarray([[40.0, 40.0], [50.0, 50.0]])]
    >>> must_reverse(pixels, [8.0, 16.0]), must_reverse([pixels[0] / 8, pixels[1] / 16], [8.0, 16.0])
    (False, False)
    """
    by_ends, by_means = ends_disagree(layers, strides), layers_disagree(mean_areas(layers), strides)
    return by_ends if by_ends != by_means and _are_in_grid_units(layers, strides) else by_means


def sort_in_layers(layers: Sequence[HostArray], strides: Sequence[float]) -> list[HostArray]:
    """Sort the anchors of each layer by area, in the direction of the strides: the older rule then keeps most sets.

    >>> [layer.tolist() for layer in sort_in_layers([np.asarray([[5, 5], [9, 9]]), np.asarray([[1, 1]])], [16.0, 8.0])]
    [[[9, 9], [5, 5]], [[1, 1]]]
    """
    step = -1 if strides[-1] < strides[0] else 1
    return [layer[np.argsort(_areas(layer), kind="stable")[::step]] for layer in layers]


def describe_reversal(layers: Sequence[HostArray], strides: Optional[Sequence[float]] = None) -> Optional[str]:
    """Return None if no rule reverses these layers, in pixels or in units of the strides; else say which one does.

    Parameters
    ----------
    layers : for each layer (A, 2) float, pixels
    strides : of the layers; if not given, each is twice the one before, in the direction of the anchors

    Examples
    --------
    >>> describe_reversal([np.asarray([[10.0, 10.0]]), np.asarray([[30.0, 30.0]])])
    >>> "such as YOLOv5 6.0" in describe_reversal([np.asarray([[10.0, 10.0]]), np.asarray([[15.0, 15.0]])])
    True
    """
    if len(layers) < 2:
        return None
    if strides is None:
        strides = [2.0**i for i in range(len(layers))][:: -1 if are_largest_first(layers) else 1]
    grid = [np.asarray(layer / stride, np.float32) for layer, stride in zip(layers, strides)]
    if layers_disagree(mean_areas(layers), strides) or not _ends_agree(layers, strides):
        return (
            "forks that check the order of the layers may reverse these layers: their areas do not follow the strides."
        )
    if not _ends_agree(grid, strides):
        sizes, steps = (max(ends) / min(ends) for ends in (_areas_at_ends(layers), (strides[0], strides[-1])))
        return (
            "forks that compare the first and the last anchor in units of the strides, such as YOLOv5 6.0, reverse "
            f"these layers: the sizes must differ by a greater factor than the strides ({steps:g}), but differ by "
            f"{sizes**0.5:.4g}. For such a fork, list the layers in the opposite order."
        )
    if must_reverse(layers, strides) or must_reverse(grid, strides):
        return (
            "check_anchor_order may reverse these layers if it is called in units of the strides: some anchors are "
            f"larger than {_LARGEST:g} px, or the mean areas do not follow the strides in every layer."
        )
    return None


def _areas(layer: HostArray) -> HostArray:
    return np.asarray(np.asarray(layer, np.float64).prod(axis=1))  # exact for float32 sides


def _areas_at_ends(layers: Sequence[HostArray]) -> tuple[float, float]:
    return float(_areas(layers[0])[0]), float(_areas(layers[-1])[-1])


def _ends_agree(layers: Sequence[HostArray], strides: Sequence[float]) -> bool:
    """Return True if the anchors at the ends follow the strides; equal areas do not, some versions reverse them."""
    first, last = (np.float32(area) for area in _areas_at_ends(layers))  # as the forks round them
    return bool((last - first) * (strides[-1] - strides[0]) > 0)


def _are_in_grid_units(layers: Sequence[HostArray], strides: Sequence[float]) -> bool:
    pixels = [np.asarray(layer, np.float64) * stride for layer, stride in zip(layers, strides)]
    means = np.asarray(mean_areas(pixels))[np.argsort(strides, kind="stable")]
    return max(float(layer.max()) for layer in pixels) <= _LARGEST and bool((np.diff(means) > 0).all())
