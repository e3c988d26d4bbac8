"""Count how crowded the layers of a detector are: which rows of its targets are overwritten by other rows.

In training, several boxes of an image may be assigned to the same prediction: same layer, anchor and cell. The last row
is the one that the objectness is trained on (see `losses`); a box of which no row is the last one is hard to learn. The
box sizes do not show this, so a set of anchors may fit them well and train badly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import (
    Array,
    HostArray,
    check_imgsz,
    check_number,
    check_shape,
    check_sizes,
    check_thr,
    take_array,
)
from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError, ShapeError
from anchorlib.training.crowding_result import Crowding, LayerCrowding
from anchorlib.training.row_count import LayerRows, RowCounter

#: Quantiles of the shorter side in `LayerCrowding.short_sides`.
SIDE_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_IMGSZ = 640


def crowding(
    boxes: Any,
    anchors: Union[Array, Sequence[Any]],
    strides: Union[Array, Sequence[float]],
    *,
    imgsz: Optional[Union[int, tuple[int, int]]] = None,
    thr: float = 4.0,
) -> Crowding:
    """Count, for each layer, the rows that training gets, and those that are overwritten by other rows.

    Parameters
    ----------
    boxes : BoxSizes with centres (`read_boxes(..., centres=True)`); or targets (T, 6) float, as for `build_targets`:
        image, class, cx, cy, w, h, boxes in [0, 1] of the network's input. The order of the boxes decides which row
        is the last one: the later box wins.
    anchors : (L, A, 2) float, pixels; or a list of (A_l, 2) if the layers have different numbers of anchors
    strides : L numbers > 0, pixels per grid cell of each layer
    imgsz : the network's input, pixels: the long side, or (width, height); 640 if not given. A side that is not a
        multiple of the largest stride is rounded up to one, as YOLOv5 does. BoxSizes know their input, so it need not
        be given for them.
    thr : ratio limit, > 1; YOLOv5's anchor_t

    Returns
    -------
    Crowding. All numbers are bit-identical on every backend and device: arrays on a device are copied to the host once.
    The boxes and the anchors may be of different frameworks.

    Raises
    ------
    BadValueError : BoxSizes without centres, or of another `imgsz`; values that are not finite; strides <= 0
    ShapeError : targets that are not (T, 6), or numbers of layers that differ
    ArrayTypeError

    Examples
    --------
    >>> targets = [[0, 0, 0.50, 0.5, 0.02, 0.02], [0, 0, 0.52, 0.5, 0.02, 0.02]]  # two boxes of 13 px, 13 px apart
    >>> crowding(targets, [[[13, 13]], [[13, 13]]], [8, 32])
    Crowding(33% / 67% of rows overwritten on strides 8 / 32; 0 of 2 boxes without a row, 0 with all rows overwritten)
    """
    return CrowdingCounter(boxes, strides, imgsz=imgsz, thr=thr).count(anchors)


class CrowdingCounter:
    """Count the crowding of several sets of anchors; the last anchors of each layer are counted once.

    The parameters are those of `crowding`, which says what they raise.
    """

    def __init__(
        self,
        boxes: Any,
        strides: Union[Array, Sequence[float]],
        *,
        imgsz: Optional[Union[int, tuple[int, int]]] = None,
        thr: float = 4.0,
    ) -> None:
        self._strides = _take_strides(strides)
        image, self._boxes, (width, height) = _take_boxes(boxes, imgsz, max(self._strides))
        self._grids = [(math.ceil(height / step), math.ceil(width / step)) for step in self._strides]
        self._rows = RowCounter(image, self._boxes, check_thr(thr))
        self._counted: list[Optional[tuple[HostArray, LayerRows]]] = [None] * len(self._strides)

    def share_overwritten(self, layer: int, anchors: HostArray) -> float:
        """Return the share of the rows of one layer that are overwritten, in [0, 1]; 0 without a row.

        anchors : (A, 2) float32, pixels
        """
        counted = self._count_layer(layer, anchors)
        return counted.overwritten / counted.rows if counted.rows else 0.0

    def count(self, anchors: Union[Array, Sequence[Any]]) -> Crowding:
        """Return the crowding of anchors, given as in `crowding`."""
        layers = _take_layers(anchors, len(self._strides))
        rows = [self._count_layer(i, layer) for i, layer in enumerate(layers)]
        has_row = np.any([layer.has_row for layer in rows], axis=0)
        survives = np.any([layer.survives for layer in rows], axis=0)
        return Crowding(
            layers=tuple(self._describe_layer(i, layer, rows[i]) for i, layer in enumerate(layers)),
            n_boxes=len(has_row),
            n_without_row=int(np.count_nonzero(~has_row)),
            n_lost=int(np.count_nonzero(has_row & ~survives)),
        )

    def _count_layer(self, layer: int, anchors: HostArray) -> LayerRows:
        known = self._counted[layer]
        if known is None or not np.array_equal(known[0], anchors):
            with np.errstate(over="ignore"):
                scaled = anchors / np.float32(self._strides[layer])
            known = self._counted[layer] = anchors.copy(), self._rows.count(scaled, self._grids[layer])
        return known[1]

    def _describe_layer(self, layer: int, anchors: HostArray, found: LayerRows) -> LayerCrowding:
        ny, nx = self._grids[layer]
        width, height = self._boxes[2:, found.has_row]
        sides = np.minimum(width * np.float32(nx), height * np.float32(ny))  # as build_targets computes them
        ranks = [max(0, math.ceil(share * len(sides)) - 1) for share in SIDE_QUANTILES] if len(sides) else []
        return LayerCrowding(
            stride=self._strides[layer],
            anchors=tuple((w, h) for w, h in anchors.tolist()),
            rows=found.rows,
            overwritten=found.overwritten,
            n_boxes=len(sides),
            n_small=int(np.count_nonzero(sides < 1)),
            short_sides=tuple(np.partition(sides, ranks)[ranks].tolist()) if ranks else (),
        )


def _take_boxes(boxes: Any, imgsz: Any, largest: float) -> tuple[HostArray, HostArray, tuple[int, int]]:
    """Return the image of each box, ascending, (4, N) float32 cx, cy, w, h in [0, 1], and the input (width, height)."""
    if hasattr(boxes, "image_index"):  # BoxSizes, told by an attribute: this module does not import datasets
        if boxes.centres is None:
            raise BadValueError("boxes must have centres: read them with read_boxes(..., centres=True).")
        size = tuple(boxes.imgsz)
        if imgsz is not None and check_imgsz(imgsz) != size:
            raise BadValueError(
                f"imgsz must be that of the boxes, {size[0]} x {size[1]} px, got {imgsz!r}; leave it out."
            )
        input_wh = _round_up(size, largest)
        pixels = [*boxes.centres.T, *namespace_of(boxes.wh).to_numpy(boxes.wh).T]
        columns = np.empty((4, len(boxes.wh)), np.float32)
        for column, values, side in zip(columns, pixels, input_wh * 2):
            np.divide(values, side, out=column, dtype=np.float64, casting="same_kind")
        return *_sort_by_image(boxes.image_index, columns), input_wh
    targets = take_array(boxes=boxes)
    if isinstance(boxes, (list, tuple)) and not len(boxes):
        targets = np.empty((0, 6))
    check_shape(("T", 6), hint="The columns are image, class, cx, cy, w, h.", boxes=targets)
    rows = np.asarray(namespace_of(targets).to_numpy(targets), np.float64)
    bad = ~(np.isfinite(rows).all(axis=1) & (rows[:, 0] >= 0) & (rows[:, 4:] >= 0).all(axis=1))
    if bad.any():
        row = int(bad.argmax())
        raise BadValueError(
            f"boxes must be finite, with an image >= 0 and sides >= 0, got {rows[row].tolist()} in row {row}."
        )
    size = check_imgsz(_IMGSZ if imgsz is None else imgsz)
    with np.errstate(over="ignore"):
        columns = rows[:, 2:].T.astype(np.float32)
    return *_sort_by_image(np.trunc(rows[:, 0]), columns), _round_up(size, largest)


def _sort_by_image(image: HostArray, columns: HostArray) -> tuple[HostArray, HostArray]:
    """Return images and columns in the order of the images; boxes of one image keep their order."""
    if (image[1:] >= image[:-1]).all():
        return image, columns
    order = np.argsort(image, kind="stable")
    return image[order], columns[:, order]


def _round_up(size: tuple[int, int], largest: float) -> tuple[int, int]:
    """Return the sides as multiples of the largest stride."""
    width, height = (math.ceil(math.ceil(side / largest) * largest) for side in size)
    return width, height


def _take_strides(strides: Any) -> list[float]:
    """Return the strides as floats; BadValueError for none, or for one that is not finite and > 0."""
    values = strides if isinstance(strides, (list, tuple)) else namespace_of(strides).to_numpy(strides).reshape(-1)
    steps = [check_number("strides", value) for value in values]
    if not steps or not all(0 < step < math.inf for step in steps):
        raise BadValueError(f"strides must be numbers > 0, one for each layer, got {steps}.")
    return steps


def _take_layers(anchors: Any, n_layers: int) -> list[HostArray]:
    """Return the anchors of each layer, (A, 2) float32 in host memory; ShapeError, BadValueError."""
    if isinstance(anchors, (list, tuple)):
        layers = list(anchors)
    elif len(anchors.shape) != 3:
        raise ShapeError(f"anchors must be (L, A, 2), or a list of (A, 2), got {tuple(anchors.shape)}.")
    else:
        layers = [anchors[i, :, :] for i in range(anchors.shape[0])]
    if len(layers) != n_layers:
        raise ShapeError(f"anchors must have one layer for each of {n_layers} strides, got {len(layers)}.")
    taken = []
    for i in range(n_layers):
        layer = take_array(**{f"anchors[{i}]": layers[i]})
        if len(layer.shape) != 2 or layer.shape[1] != 2:
            raise ShapeError(f"anchors[{i}] must be (A, 2), got {tuple(layer.shape)}.")
        check_sizes(**{f"anchors[{i}]": layer})
        if not layer.shape[0]:
            raise BadValueError(f"anchors[{i}] must have at least one anchor, got none.")
        taken.append(namespace_of(layer).to_numpy(layer).astype(np.float32))
    return taken
