"""Measure how well anchors fit box sizes: the side ratio, and the figures counted from it.

The results are bit-identical on every backend and device. A ratio is made by divisions, minima and maxima in float32,
which every framework and device rounds in the same way. Sums are sums of integers: a ratio counts in units of 2^-40,
which is exact for a ratio of 2^-17 or more; a smaller ratio is truncated to such a unit. A sum of integers does not
depend on the order, so the backend, the device, the number of threads and the order of the boxes cannot change a digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np

from anchorlib.arrays import (
    COLUMNS_IN_CACHE,
    Array,
    HostArray,
    Namespace,
    as_float,
    blocks,
    check_shape_wh,
    check_sizes,
    check_thr,
    check_weights,
    read_numbers,
    take_array,
    take_sizes,
)
from anchorlib.backends import namespace_of, on_host
from anchorlib.boxes import size_iou
from anchorlib.errors import BadValueError
from anchorlib.results import Result, Row, counted, grouped

GOOD_BPR = 0.98
OBJECTIVES = ("ratio", "iou")

_UNITS = 2.0**40  # units in a ratio of 1
_LOW = (
    2**20
)  # units are split here into a high and a low part, so that products with weights up to 2^36 stay below 2^63
_Part = tuple[Array, int]  # an int64 array (), and what it is multiplied by
_BLOCK_ON_DEVICE = 2**20  # rows of a block: large enough that the time of a kernel launch does not matter


def size_ratio(boxes_wh: Array, anchors: Array, /) -> Array:
    """Return the side ratio of each box and anchor: 1 for equal sizes, 1/r if the worse side differs by a factor r.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, every side > 0
    anchors : (K, 2) float, pixels, every side > 0; cast to the dtype of `boxes_wh`

    Returns
    -------
    (N, K) float in (0, 1], dtype and device of `boxes_wh` (float32 for integers). Entry [i, j] is 1 if anchor j has
    the shape and size of box i, and 1/r if a side differs by a factor r.

    Raises
    ------
    ShapeError, BackendMixError, ArrayTypeError

    Source
    ------
    The ratio test of YOLOv5 (its `anchor_t`, 4.0 there).

    Examples
    --------
    >>> size_ratio(np.asarray([[10., 20.]]), np.asarray([[10., 10.], [10., 20.]]))
    array([[0.5, 1. ]])
    """
    xp = namespace_of(boxes_wh=boxes_wh, anchors=anchors)
    check_shape_wh(boxes_wh=boxes_wh, anchors=anchors)  # shapes only: a check of values would wait for the device
    boxes_wh = as_float(boxes_wh)
    anchors = as_float(anchors, boxes_wh.dtype)
    with np.errstate(divide="ignore", over="ignore"):
        return side_ratio(xp, boxes_wh[:, None, 0], boxes_wh[:, None, 1], anchors[None, :, 0], anchors[None, :, 1])


@dataclass(frozen=True)
class AnchorScore(Result):
    """Hold the figures of how well anchors fit boxes: Python floats, bit-identical on every backend and device.

    bpr, aat and fitness are the exact values, correctly rounded. mean_best and avg_iou are exact except that ratios and
    IoUs below 2^-17 are truncated to multiples of 2^-40.

    bpr : best possible recall, the share of boxes with a ratio > 1 / thr to some anchor
    aat : anchors above threshold, the mean number of anchors with a ratio > 1 / thr to a box
    fitness : the mean over boxes of the best ratio if it is > 1 / thr, else of 0
    mean_best : the mean over boxes of the best ratio
    avg_iou : the mean over boxes of the best IoU of sizes (the measure of YOLO9000)
    n_boxes : number of boxes; with weights their sum, rounded
    """

    bpr: float
    aat: float
    fitness: float
    mean_best: float
    avg_iou: float
    n_boxes: int

    @property
    def is_good(self) -> bool:
        """Return True if BPR is above 0.98: YOLOv5 keeps such anchors."""
        return self.bpr > GOOD_BPR

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        return asdict(self)

    def _table_rows(self) -> list[Row]:
        return [
            ("best possible recall", f"{self.bpr:.4f}"),
            ("anchors/target", f"{self.aat:.2f}"),
            ("fitness", f"{self.fitness:.4f}"),
            ("mean best ratio", f"{self.mean_best:.4f}"),
            ("average IoU", f"{self.avg_iou:.4f}"),
            ("boxes", grouped(self.n_boxes)),
        ]

    def __str__(self) -> str:
        return (
            f"bpr {self.bpr:.4f}, {self.aat:.2f} anchors/target, fitness {self.fitness:.4f}, "
            f"average IoU {self.avg_iou:.4f}, {counted(self.n_boxes, 'box')}"
        )


@dataclass(frozen=True)
class AnchorUse:
    """Hold which shares of the boxes one anchor matches and fits best, in [0, 1].

    matched : the share of boxes with a ratio > 1 / thr to this anchor
    nearest : the share of boxes that match this anchor and that no other anchor fits better; of equally good anchors
        the first counts
    """

    matched: float
    nearest: float


def score(boxes_wh: Any, anchors: Any, thr: float = 4.0, *, weights: Optional[Any] = None) -> AnchorScore:
    """Measure how well anchors fit boxes: BPR, anchors above threshold, fitness, mean best ratio and average IoU.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, N >= 1, sides >= 0; taken as float32: an array, a nested list, BoxSizes or
        SizeCounts. A box with a side of 0 matches nothing.
    anchors : (K, 2) float, pixels, sides > 0, array or nested list; taken as float32
    thr : ratio limit, 1 < thr <= 65536; a match needs a ratio > 1 / thr, strictly
    weights : (N,) >= 0, how often each box counts; integers are exact. Not for SizeCounts, which has counts.

    Returns
    -------
    AnchorScore, bit-identical on every backend and device and for every order of the boxes.

    Raises
    ------
    ShapeError, BadValueError, BackendMixError, ArrayTypeError

    Source
    ------
    BPR, AAT and fitness as YOLOv5's autoanchor prints them; average IoU from "YOLO9000: Better, Faster, Stronger".

    Examples
    --------
    >>> score(np.asarray([[10., 20.], [100., 100.]]), np.asarray([[10., 10.], [10., 20.]])).bpr
    0.5
    >>> score([[10, 20], [100, 100]], [[10, 20]], weights=[3, 1]).bpr
    0.75
    """
    boxes_wh, weights = take_sizes(boxes_wh, weights)
    anchors = take_anchors(anchors, boxes_wh)
    check_sizes(zero=("boxes_wh",), boxes_wh=boxes_wh, anchors=anchors)
    return SizeTable(boxes_wh, weights).score(anchors, check_thr(thr))


def take_anchors(anchors: Any, boxes_wh: Array) -> Array:
    """Return anchors, an array or a nested list, as an array (K, 2) of the framework and device of `boxes_wh`.

    Raises ShapeError for another shape of either, BadValueError for no anchors, and BackendMixError for an array of
    another framework or on another device.
    """
    if isinstance(anchors, (list, tuple)):
        xp = namespace_of(boxes_wh)
        anchors = xp.from_numpy(take_array(anchors=anchors), device=xp.device_of(boxes_wh))
    namespace_of(boxes_wh=boxes_wh, anchors=anchors)
    check_shape_wh(boxes_wh=boxes_wh, anchors=anchors)
    if anchors.shape[0] == 0:
        raise BadValueError("anchors must have at least one row, got none.")
    return anchors


class SizeTable:
    """Hold box sizes in a layout that is fast to score against one set of anchors after another.

    Widths and heights are columns, in blocks that stay in the cache. Methods loop over the anchors, so no (N, K, 2)
    array is made. A table needs 8 bytes per box (16 with weights) in addition to the boxes.

    Its methods do not check their arguments: `anchors` (K, 2), NumPy or of the framework of the boxes, must have passed
    `check_sizes`, and `thr` must have passed `check_thr`.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, N >= 1, finite and >= 0 (not checked here)
    weights : (N,) >= 0, as in `score`
    counts : (N,) int64, the result of `check_weights`, if the weights were checked before
    """

    def __init__(self, boxes_wh: Array, weights: Optional[Array] = None, *, counts: Optional[HostArray] = None) -> None:
        if counts is None:
            counts = check_weights(weights, boxes_wh.shape[0])
        if boxes_wh.shape[0] == 0:
            raise BadValueError("boxes_wh must have at least one row to be scored, got none.")
        self._like = boxes_wh
        (boxes_wh,) = on_host(boxes_wh)
        xp = self._xp = namespace_of(boxes_wh)
        self.device = xp.device_of(boxes_wh)
        columns = [xp.astype(boxes_wh[:, side], xp.float32, copy=True) for side in (0, 1)]  # contiguous
        if counts is not None:
            columns.append(xp.from_numpy(counts, device=self.device))
        self._total = int(boxes_wh.shape[0] if counts is None else counts.sum())
        self.n_boxes = self._total if weights is None else round(math.fsum(namespace_of(weights).to_numpy(weights)))
        size = COLUMNS_IN_CACHE if xp.in_host_memory(boxes_wh) else _BLOCK_ON_DEVICE
        self._blocks = [
            (*(column[rows] for column in columns), *([None] if counts is None else []))
            for rows in blocks(boxes_wh.shape[0], size)
        ]

    def fitness(self, anchors: Array, thr: float, objective: str = "ratio") -> float:
        """Return what a fit maximises: AnchorScore.fitness for "ratio", avg_iou for "iou"; faster than `score`."""
        xp, limit = self._xp, ratio_limit(thr)
        closeness = side_ratio if objective == "ratio" else size_iou
        anchors = self._convert(anchors)
        total: list[_Part] = []
        with np.errstate(divide="ignore", over="ignore"):
            for w, h, weight in self._blocks:
                best: Array = None
                for anchor_w, anchor_h in _rows(anchors):
                    close = closeness(xp, w, h, anchor_w, anchor_h)
                    best = close if best is None else xp.maximum(best, close)
                if objective == "ratio":
                    best = best * xp.astype(best > limit, xp.float32)
                total += _sum_units(xp, best, weight)
        (units,) = _add_up(xp, total)
        return self._mean(units)

    def score(self, anchors: Array, thr: float) -> AnchorScore:
        """Return all figures of AnchorScore for a set of anchors."""
        xp, limit = self._xp, ratio_limit(thr)
        anchors = self._convert(anchors)
        parts: tuple[list[_Part], ...] = ([], [], [], [], [])
        with np.errstate(divide="ignore", over="ignore"):
            for w, h, weight in self._blocks:
                best: Array = None
                best_iou: Array = None
                matches: Array = None
                for anchor_w, anchor_h in _rows(anchors):
                    ratio = side_ratio(xp, w, h, anchor_w, anchor_h)
                    match = xp.astype(ratio > limit, xp.int64)
                    iou = size_iou(xp, w, h, anchor_w, anchor_h)
                    best = ratio if best is None else xp.maximum(best, ratio)
                    best_iou = iou if best_iou is None else xp.maximum(best_iou, iou)
                    matches = match if matches is None else matches + match
                is_recalled = best > limit
                sums = (
                    _sum_counts(xp, xp.astype(is_recalled, xp.int64), weight),
                    _sum_counts(xp, matches, weight),
                    _sum_units(xp, best * xp.astype(is_recalled, xp.float32), weight),
                    _sum_units(xp, best, weight),
                    _sum_units(xp, best_iou, weight),
                )
                for figure, of_block in zip(parts, sums):
                    figure.extend(of_block)
        recalled, above, kept, best_sum, iou_sum = _add_up(xp, *parts)
        return AnchorScore(
            bpr=recalled / self._total,
            aat=above / self._total,
            fitness=self._mean(kept),
            mean_best=self._mean(best_sum),
            avg_iou=self._mean(iou_sum),
            n_boxes=self.n_boxes,
        )

    def use(self, anchors: Array, thr: float) -> list[AnchorUse]:
        """Return for each anchor the share of boxes that match it, and the share that it fits best."""
        xp, limit = self._xp, ratio_limit(thr)
        anchors = self._convert(anchors)
        n = anchors.shape[0]
        parts: list[list[_Part]] = [[] for _ in range(2 * n)]  # of each anchor: matched, then nearest
        with np.errstate(divide="ignore", over="ignore"):
            for w, h, weight in self._blocks:
                best = xp.zeros_like(w) + limit  # an anchor below the limit is not the nearest of any box
                assigned = xp.zeros_like(w) - 1
                for j, (anchor_w, anchor_h) in enumerate(_rows(anchors)):
                    ratio = side_ratio(xp, w, h, anchor_w, anchor_h)
                    assigned = xp.where(ratio > best, xp.full_like(assigned, float(j)), assigned)
                    best = xp.maximum(best, ratio)
                    parts[j] += _sum_counts(xp, xp.astype(ratio > limit, xp.int64), weight)
                for j in range(n):
                    parts[n + j] += _sum_counts(xp, xp.astype(assigned == float(j), xp.int64), weight)
        shares = [count / self._total for count in _add_up(xp, *parts)]
        return [AnchorUse(matched, nearest) for matched, nearest in zip(shares[:n], shares[n:])]

    def _convert(self, anchors: Array) -> Array:
        """Return the anchors as float32, in the framework and on the device of the columns."""
        if namespace_of(anchors).name != self._xp.name:
            (anchors,) = on_host(anchors)
            anchors = self._xp.from_numpy(namespace_of(anchors).to_numpy(anchors), device=self.device)
        return as_float(anchors, self._xp.float32)

    def _mean(self, units: int) -> float:
        return units / (self._total << 40)  # Python divides integers and rounds once, correctly


def side_ratio(xp: Namespace, w: Array, h: Array, anchor_w: Array, anchor_h: Array) -> Array:
    """Return the ratio of `size_ratio` for columns that broadcast; nothing is checked.

    The ratio is the minimum over both sides of min(r, 1 / r). One division is saved: 1 / r falls with r, so the smaller
    1 / r is 1 / max(r).
    """
    ratio_w = w / anchor_w  # by an array: torch on CUDA turns `/ python_scalar` into a product with 1 / x
    ratio_h = h / anchor_h
    return xp.minimum(xp.minimum(ratio_w, ratio_h), 1 / xp.maximum(ratio_w, ratio_h))


def one_side_ratio(xp: Namespace, sides: Array, anchor_sides: Array) -> Array:
    """Return min(r, 1 / r) of one side; of both sides, the minimum is bit-identical to `side_ratio`."""
    ratio = sides / anchor_sides
    return xp.minimum(ratio, 1 / ratio)


def ratio_limit(thr: float) -> float:
    """Return 1 / thr rounded to float32, as a Python float: every framework compares it in float32."""
    return float(np.float32(1 / float(thr)))


def _rows(anchors: Array) -> Iterator[tuple[Array, Array]]:
    """Yield width and height of each anchor, as arrays of one entry."""
    for j in range(anchors.shape[0]):
        yield anchors[j : j + 1, 0], anchors[j : j + 1, 1]


def _sum_units(xp: Namespace, values: Array, weight: Optional[Array]) -> list[_Part]:
    """Return the sum of float32 values in [0, 1], in units of 2^-40: the product is exact, and the cast truncates."""
    units = xp.astype(values * _UNITS, xp.int64)
    if weight is None:
        return [(xp.sum(units), 1)]
    high = xp.floor_divide(units, xp.full_like(units, _LOW))
    low = units - high * _LOW
    return [(xp.sum(high * weight), _LOW), (xp.sum(low * weight), 1)]


def _sum_counts(xp: Namespace, values: Array, weight: Optional[Array]) -> list[_Part]:
    return [(xp.sum(values if weight is None else values * weight), 1)]


def _add_up(xp: Namespace, *figures: list[_Part]) -> list[int]:
    """Return the total of each figure. Python's integers cannot overflow; a device is read once, for all parts."""
    values = iter(read_numbers(xp, [value for parts in figures for value, _ in parts]))
    return [sum(next(values) * factor for _, factor in parts) for parts in figures]
