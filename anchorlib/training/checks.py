"""Check the values of targets and the unit of anchors, for the errors of `validate=True`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import Array, HostArray, check_shape, unstack
from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError

_COLUMNS = ("image", "class", "cx", "cy", "w", "h")
_BEYOND = 0.01  # of the image: rounded labels reach beyond it by less


def check_target_shape(targets: Array) -> None:
    """Refuse targets that are not (T, 6)."""
    check_shape(("T", 6), hint="The columns are image, class, cx, cy, w, h.", targets=targets)


def check_targets(targets: Array, n_images: Optional[int] = None, n_classes: Optional[int] = None) -> None:
    """Refuse `targets` (T, up to 6) if a row cannot be used for training; the error shows the first such row."""
    rows = namespace_of(targets).to_numpy(targets)
    limits = {"image": n_images, "class": n_classes}
    for column, name in enumerate(_COLUMNS[: rows.shape[1]]):
        values, limit = rows[:, column], limits.get(name)
        hint = "Check the labels of that image."
        bad = ~np.isfinite(values)
        if name in limits:
            wanted = "an integer >= 0" if limit is None else f"an integer in [0, {limit})"
            bad |= (values < 0) | (values != np.floor(values))
            bad |= values >= (np.inf if limit is None else limit)
        else:
            is_side = name in ("w", "h")
            wanted = "a finite number" if bad.any() else f"a number in {'(' if is_side else '['}0, 1]"
            bad = bad if bad.any() else (values <= 0 if is_side else values < 0) | (values > 1)
            if (values > 1).any():
                hint = "If the boxes are in pixels, divide them by the width and height of the image."
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise BadValueError(
                f"targets must have {wanted} as {name} (column {column}), got {values[row]:g} in row {row}: "
                f"{rows[row].tolist()}; {int(bad.sum())} of {len(rows)} rows are wrong. {hint}"
            )
    if rows.shape[1] == len(_COLUMNS):
        _check_corners(rows)


def _check_corners(rows: HostArray) -> None:
    """Refuse boxes that look like x1, y1, x2, y2: x2 > x1 and y2 > y1 in all rows, and no image has such centre boxes.

    Boxes with centre and size are inside the image, so a row that reaches beyond it gives corners away.
    """
    low, high = rows[:, 2:4], rows[:, 4:6]
    beyond = ((low - high / 2 < -_BEYOND) | (low + high / 2 > 1 + _BEYOND)).any(axis=1)
    if beyond.any() and (high > low).all():
        row = int(np.flatnonzero(beyond)[0])
        raise BadValueError(
            f"targets must have boxes cx, cy, w, h inside the image, got row {row}: {rows[row].tolist()}, which "
            "reaches beyond it. The boxes look like corners x1, y1, x2, y2: convert them with boxes.xyxy_to_cxcywh."
        )


def check_anchor_unit(anchors: Union[Array, Sequence[Array]], grids: Sequence[Sequence[Any]], thr: float) -> None:
    """Refuse anchors that look like pixels: a layer of which none can match a box inside the image.

    Parameters
    ----------
    anchors : (L, A, 2) or L times (A, 2), grid units
    grids : L pairs (ny, nx)
    thr : ratio limit > 1

    Examples
    --------
    >>> check_anchor_unit(np.asarray([[[2.0, 3.0]]]), [(20, 20)], 4.0)
    """
    for i, (layer, (ny, nx)) in enumerate(zip(unstack(anchors), grids)):
        sides = namespace_of(layer).to_numpy(layer)
        sides = sides[np.isfinite(sides).all(axis=1)]
        if len(sides) and (sides >= thr * np.asarray([nx, ny], np.float64)).any(axis=1).all():
            raise BadValueError(
                f"anchors must be in grid units (pixels / stride), got {sides[0].tolist()} in layer {i}, whose grid "
                f"has {int(nx)} x {int(ny)} cells: no box in the image matches such anchors. If they are in pixels, "
                "divide them by the stride of the layer."
            )
