"""Count how crowded the layers of a detector are: which rows of its targets are overwritten by other rows.

In training, several boxes of an image may be assigned to the same prediction: same layer, anchor and cell. The last row
is the one that the objectness is trained on (see `losses`); a box of which no row is the last one is hard to learn. The
box sizes do not show this, so a set of anchors may fit them well and train badly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from anchorlib.results import Result, Row, grouped
from anchorlib.training.targets import LayerTargets, build_targets

#: Quantiles of the shorter side in `LayerCrowding.short_sides`.
SIDE_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CROWDED = 0.3  # share of a layer's rows that are overwritten; COCO's anchors stay below it even on dense text
_IMGSZ = 640
_BOXES_AT_ONCE = 2**12  # their masks stay in the cache
_CELLS_AT_ONCE = 2**22  # predictions of the images of a block: 16 MB


@dataclass(frozen=True)
class LayerCrowding:
    """Hold what one layer trains on.

    stride : pixels per grid cell
    anchors : (w, h) of each of its anchors, pixels
    rows : number of rows that `build_targets` makes for this layer
    overwritten : how many of them are overwritten by a later row of the same image, anchor and cell
    n_boxes : number of boxes with a row in this layer
    n_small : how many of these have a shorter side of less than one stride
    short_sides : the shorter side of these boxes in strides, at the quantiles 5, 25, 50, 75 and 95 % (nearest rank);
        empty if there is no box
    """

    stride: float
    anchors: tuple[tuple[float, float], ...]
    rows: int
    overwritten: int
    n_boxes: int
    n_small: int
    short_sides: tuple[float, ...]

    @property
    def share_overwritten(self) -> float:
        """Return the share of the rows that are overwritten, in [0, 1]; 0 without a row."""
        return self.overwritten / self.rows if self.rows else 0.0

    @property
    def share_small(self) -> float:
        """Return the share of the layer's boxes whose shorter side is less than one stride; 0 without a box."""
        return self.n_small / self.n_boxes if self.n_boxes else 0.0

    @property
    def is_overtaxed(self) -> bool:
        """Return True if the layer cannot resolve what it trains on.

        That is, over 30 % of its rows are overwritten, and half of its boxes are smaller than one stride.
        """
        return self.share_overwritten > CROWDED and 2 * self.n_small >= self.n_boxes > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and shares in the types of JSON."""
        return {
            "stride": self.stride,
            "anchors": [list(sides) for sides in self.anchors],
            "rows": self.rows,
            "overwritten": self.overwritten,
            "share_overwritten": self.share_overwritten,
            "n_boxes": self.n_boxes,
            "n_small": self.n_small,
            "short_sides": list(self.short_sides),
        }


@dataclass(frozen=True, repr=False)
class Crowding(Result):
    """Hold how crowded each layer is, and how many boxes training cannot see.

    layers : one LayerCrowding for each layer, in the order of the strides given
    n_boxes : number of boxes
    n_without_row : how many have no row in any layer: no anchor matches them, or they are not in the image
    n_lost : how many have rows, all of which are overwritten
    """

    layers: tuple[LayerCrowding, ...]
    n_boxes: int
    n_without_row: int
    n_lost: int

    def to_dict(self) -> dict[str, Any]:
        """Return the counts of all boxes and of each layer in the types of JSON."""
        return {
            "n_boxes": self.n_boxes,
            "n_without_row": self.n_without_row,
            "n_lost": self.n_lost,
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def __repr__(self) -> str:
        shares = " / ".join(f"{layer.share_overwritten:.0%}" for layer in self.layers)
        strides = " / ".join(f"{layer.stride:g}" for layer in self.layers)
        return (
            f"Crowding({shares} of rows overwritten on strides {strides}; "
            f"{grouped(self.n_without_row)} of {grouped(self.n_boxes)} boxes without a row, "
            f"{grouped(self.n_lost)} with all rows overwritten)"
        )

    def table(self) -> list[list[str]]:
        """Return the layers as rows of text; the first row has the heads of the columns."""
        rows = [["stride", "rows", "overwritten", "under 1 stride", "shorter side in strides (5 / 50 / 95 %)"]]
        for layer in self.layers:
            sides = " / ".join(f"{layer.short_sides[at]:.1f}" for at in (0, 2, 4)) if layer.short_sides else "-"
            shares = f"{layer.share_overwritten:.0%}", f"{layer.share_small:.0%}"
            rows.append([f"{layer.stride:g}", grouped(layer.rows), *shares, sides])
        return rows

    def _table_rows(self) -> list[Row]:
        return [
            *map(tuple, self.table()),
            ("boxes", grouped(self.n_boxes)),
            ("boxes without a row", grouped(self.n_without_row)),
            ("boxes with all rows overwritten", grouped(self.n_lost)),
        ]


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
    steps = _take_strides(strides)
    layers = _take_layers(anchors, len(steps))
    targets, input_wh = _take_targets(boxes, imgsz, max(steps))
    grids = [(math.ceil(input_wh[1] / step), math.ceil(input_wh[0] / step)) for step in steps]
    counts = _Counts(layers, steps, grids, check_thr(thr), len(targets))
    for block in _split_by_image(targets, max(len(layer) * ny * nx for layer, (ny, nx) in zip(layers, grids))):
        counts.add(*block)
    return counts.result()


class _Counts:
    """Count the rows of one block of images after the other."""

    def __init__(
        self,
        layers: list[HostArray],
        strides: list[float],
        grids: list[tuple[int, int]],
        thr: float,
        n_boxes: int,
    ) -> None:
        self._layers, self._strides, self._grids, self._thr = layers, strides, grids, thr
        with np.errstate(over="ignore"):
            self._anchors = [layer / np.float32(step) for layer, step in zip(layers, strides)]
        self._rows, self._overwritten = np.zeros((2, len(layers)), np.int64)
        self._has_row, self._survives = np.zeros((2, n_boxes), bool)
        self._sides: list[list[HostArray]] = [[] for _ in layers]
        self._last = np.empty(0, np.int32)  # for each prediction, its last row

    def add(self, targets: HostArray, first: int) -> None:
        """Count the targets of complete images, the rows from `first` on of all targets."""
        has_row, survives = (seen[first : first + len(targets)] for seen in (self._has_row, self._survives))
        for i, layer in enumerate(build_targets(targets, self._anchors, self._grids, thr=self._thr)):
            ny, nx = self._grids[i]
            is_last = self._find_last(layer, (ny, nx), len(self._layers[i]))
            self._rows[i] += len(is_last)
            self._overwritten[i] += len(is_last) - int(np.count_nonzero(is_last))
            survives[layer.target[is_last]] = True
            in_layer = np.zeros(len(targets), bool)
            in_layer[layer.target] = True
            has_row |= in_layer
            sides_wh = targets[in_layer, 4:] * np.asarray([nx, ny], np.float32)  # as build_targets computes them
            self._sides[i].append(sides_wh.min(axis=1))

    def _find_last(self, layer: LayerTargets, grid: tuple[int, int], n_anchors: int) -> HostArray:
        """Return (M,) bool: no later row has the same image, anchor and cell."""
        ny, nx = grid
        prediction = ((layer.image * n_anchors + layer.anchor) * ny + layer.gj) * nx + layer.gi
        if not len(prediction):
            return np.zeros(0, bool)
        if int(prediction.max()) >= len(self._last):
            self._last = np.empty(int(prediction.max()) + 1, np.int32)
        row = np.arange(len(prediction), dtype=np.int32)
        self._last[prediction] = row  # of several rows with one index, NumPy keeps the last
        return self._last[prediction] == row

    def result(self) -> Crowding:
        """Return what was counted."""
        found = []
        for layer, stride, rows, overwritten, parts in zip(
            self._layers, self._strides, self._rows.tolist(), self._overwritten.tolist(), self._sides
        ):
            sides = np.concatenate([np.empty(0, np.float32), *parts])
            ranks = [max(0, math.ceil(share * len(sides)) - 1) for share in SIDE_QUANTILES] if len(sides) else []
            quantiles = tuple(np.partition(sides, ranks)[ranks].tolist()) if ranks else ()
            n_small = int(np.count_nonzero(sides < 1))
            anchors = tuple((w, h) for w, h in layer.tolist())
            found.append(LayerCrowding(stride, anchors, rows, overwritten, len(sides), n_small, quantiles))
        return Crowding(
            layers=tuple(found),
            n_boxes=len(self._has_row),
            n_without_row=int(np.count_nonzero(~self._has_row)),
            n_lost=int(np.count_nonzero(self._has_row & ~self._survives)),
        )


def _split_by_image(targets: HostArray, n_predictions: int) -> Iterator[tuple[HostArray, int]]:
    """Yield blocks of complete images with the row at which each begins; images are numbered from 0 in each block.

    `targets` are sorted by image. `n_predictions` is the number of predictions of the largest layer for one image.
    """
    starts = np.flatnonzero(np.diff(targets[:, 0], prepend=np.nan) != 0)
    ends = np.append(starts[1:], len(targets))
    most = max(1, _CELLS_AT_ONCE // n_predictions)
    image = 0
    while image < len(starts):
        full = int(np.searchsorted(ends, starts[image] + _BOXES_AT_ONCE, side="right"))
        end = max(image + 1, min(full, image + most))
        block = targets[starts[image] : ends[end - 1]].astype(np.float32)
        block[:, 0] = np.repeat(np.arange(end - image), (ends - starts)[image:end])
        yield block, int(starts[image])
        image = end


def _take_targets(boxes: Any, imgsz: Any, largest: float) -> tuple[HostArray, tuple[int, int]]:
    """Return the boxes as targets (T, 6) float64, sorted by image, and the network's input (width, height)."""
    if hasattr(boxes, "image_index"):  # BoxSizes, told by an attribute: this module does not import datasets
        if boxes.centres is None:
            raise BadValueError("boxes must have centres: read them with read_boxes(..., centres=True).")
        size = tuple(boxes.imgsz)
        if imgsz is not None and check_imgsz(imgsz) != size:
            raise BadValueError(
                f"imgsz must be that of the boxes, {size[0]} x {size[1]} px, got {imgsz!r}; leave it out."
            )
        input_wh = _round_up(size, largest)
        rows = np.zeros((len(boxes.wh), 6))
        rows[:, 0] = boxes.image_index
        rows[:, 2:] = np.concatenate(
            [boxes.centres, namespace_of(boxes.wh).to_numpy(boxes.wh)], axis=1, dtype=np.float64
        ) / np.tile(input_wh, 2)
        return rows, input_wh
    targets = take_array(boxes=boxes)
    if isinstance(boxes, (list, tuple)) and not len(boxes):
        targets = np.empty((0, 6))
    check_shape(("T", 6), hint="The columns are image, class, cx, cy, w, h.", boxes=targets)
    rows = np.array(namespace_of(targets).to_numpy(targets), np.float64)  # a copy: it is changed below
    bad = ~(np.isfinite(rows).all(axis=1) & (rows[:, 0] >= 0) & (rows[:, 4:] >= 0).all(axis=1))
    if bad.any():
        row = int(bad.argmax())
        raise BadValueError(
            f"boxes must be finite, with an image >= 0 and sides >= 0, got {rows[row].tolist()} in row {row}."
        )
    rows[:, 0] = np.trunc(rows[:, 0])
    size = check_imgsz(_IMGSZ if imgsz is None else imgsz)
    return rows[np.argsort(rows[:, 0], kind="stable")], _round_up(size, largest)


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
    layers = list(anchors) if isinstance(anchors, (list, tuple)) else anchors
    if not isinstance(layers, list) and len(layers.shape) != 3:
        raise ShapeError(f"anchors must be (L, A, 2), or a list of (A, 2), got {tuple(layers.shape)}.")
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
