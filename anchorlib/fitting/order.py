"""Sort anchors by area, the order in which they are returned and written, and find anchors among others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.errors import BadValueError


def order_by_area(anchors: HostArray) -> HostArray:
    """Return the rows in the order of `sort_by_area`: (K,) int64."""
    sides = anchors.astype(np.float64)  # in float64 the area of float32 sides is exact
    return np.lexsort((sides[:, 0], sides[:, 0] * sides[:, 1]))


def sort_by_area(anchors: HostArray) -> HostArray:
    """Sort anchors by area, then by width: (K, 2) to (K, 2)."""
    return anchors[order_by_area(anchors)]


def sort_in_layers(anchors: HostArray, counts: Optional[Sequence[int]]) -> HostArray:
    """Sort the anchors of each layer by area, given the number of anchors of each layer, or all of them for None."""
    if counts is None:
        return sort_by_area(anchors)
    return np.concatenate([sort_by_area(layer) for layer in np.split(anchors, np.cumsum(counts)[:-1])])


def rank_by_area(anchors: HostArray) -> HostArray:
    """Return the position of each anchor in the order of `sort_by_area`: (K,) int64."""
    return np.argsort(order_by_area(anchors))


def find_places(anchors: HostArray, fixed: HostArray, expected: str) -> list[int]:
    """Return the place of each fixed anchor among the anchors, no place twice.

    A fixed anchor that is not there is a BadValueError, whose message begins with what was expected.
    """
    rows: list[list[float]] = anchors.tolist()
    places: list[int] = []
    for anchor in fixed.tolist():
        place = next((i for i, row in enumerate(rows) if row == anchor and i not in places), None)
        if place is None:
            raise BadValueError(f"{expected}, but no row equals {anchor}.")
        places.append(place)
    return places
