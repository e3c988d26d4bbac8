"""How well anchors fit box sizes: the side ratio, and what is counted from it. Exact, and the same bits everywhere.

A ratio is made by divisions, minima and maxima in float32, which every framework and device rounds the same way. What
is summed are whole numbers: a ratio in units of 2^-40 (no rounding for a ratio of 2^-17 or more, a cut below). Whole
numbers have the same sum in any order, so the backend, the device, the threads and the order of the boxes cannot
change a digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np

from anchorlib.arrays import Array, Namespace, as_float, check_shape_wh, check_sizes, check_thr, check_weights
from anchorlib.backends import namespace_of, on_host
from anchorlib.boxes import size_iou
from anchorlib.errors import BadValueError
from anchorlib.results import Result, Row, counted, grouped

GOOD_BPR = 0.98
OBJECTIVES = ("ratio", "iou")

_UNITS = 2.0**40  # of a ratio, as integers
_LOW = 2**20  # where those units are parted, so that products with weights up to 2^36 stay below 2^63
_BLOCK_ON_HOST = 2**14  # a block's columns of 64 KB stay in the cache
_BLOCK_ON_DEVICE = 2**20  # large enough that a kernel launch does not count


def size_ratio(boxes_wh: Array, anchors: Array, /) -> Array:
    """How well each anchor fits each box: the worse of the two side ratios.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, every side > 0
    anchors : (K, 2) float, pixels, every side > 0; cast to the dtype of `boxes_wh`

    Returns
    -------
    (N, K) float in (0, 1], dtype and device of `boxes_wh` (float32 for integers). Entry [i, j] is 1 when anchor j has
    the shape and size of box i, and 1/r when a side is off by a factor r.

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
    check_shape_wh(boxes_wh=boxes_wh, anchors=anchors)  # shapes only: values are checked on entry
    boxes_wh = as_float(boxes_wh)
    anchors = as_float(anchors, boxes_wh.dtype)
    with np.errstate(divide="ignore", over="ignore"):
        return side_ratio(xp, boxes_wh[:, None, 0], boxes_wh[:, None, 1], anchors[None, :, 0], anchors[None, :, 1])


@dataclass(frozen=True)
class AnchorScore(Result):
    """How well a set of anchors fits a set of boxes. Python floats, the same bits everywhere.

    bpr, aat and fitness are the exact values correctly rounded; so are mean_best and avg_iou but for what is cut off
    ratios and IoUs below 2^-17.

    bpr : best possible recall, the share of boxes with a ratio > 1 / thr to some anchor
    aat : anchors above threshold, the mean number of anchors with a ratio > 1 / thr to a box
    fitness : the mean over boxes of the best ratio, where that is > 1 / thr, else 0
    mean_best : the mean over boxes of the best ratio
    avg_iou : the mean over boxes of the best IoU of sizes (the measure of YOLO9000)
    n_boxes : how many boxes; the sum of the weights, rounded, where there are weights
    """

    bpr: float
    aat: float
    fitness: float
    mean_best: float
    avg_iou: float
    n_boxes: int

    @property
    def is_good(self) -> bool:
        """Is BPR above 0.98? YOLOv5 keeps such anchors as they are."""
        return self.bpr > GOOD_BPR

    def to_dict(self) -> dict[str, Any]:
        """The fields, by name."""
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
    """What one anchor does for a set of boxes, as shares in [0, 1].

    matched : the share of boxes with a ratio > 1 / thr to this anchor
    nearest : the share of boxes that no other anchor fits better (the first of equals), and that match it
    """

    matched: float
    nearest: float


def score(boxes_wh: Array, anchors: Array, thr: float = 4.0, *, weights: Optional[Array] = None) -> AnchorScore:
    """How well anchors fit boxes: BPR, AAT, fitness, mean best ratio and average IoU.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, N >= 1, sides >= 0; taken as float32. A box with a zero side matches nothing.
    anchors : (K, 2) float, pixels, sides > 0; taken as float32
    thr : ratio limit, 1 < thr <= 65536; a match needs a ratio > 1 / thr, strictly
    weights : (N,) >= 0, how often each box counts; whole numbers are exact

    Returns
    -------
    AnchorScore, the same bits on every backend and device and for every order of the boxes.

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
    """
    namespace_of(boxes_wh=boxes_wh, anchors=anchors)
    check_shape_wh(boxes_wh=boxes_wh, anchors=anchors)
    check_sizes(zero=True, boxes_wh=boxes_wh)
    check_sizes(anchors=anchors)
    if anchors.shape[0] == 0:
        raise BadValueError("anchors must have at least one row, got none.")
    return SizeTable(boxes_wh, weights).score(anchors, thr)


class SizeTable:
    """Box sizes laid out for scoring one set of anchors after another.

    Columns of widths and heights in blocks that stay in the cache, and a loop over the anchors: no (N, K, 2) array is
    made. Takes 8 bytes a box beside the boxes (16 with weights).

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, N >= 1, finite and >= 0 (not checked here)
    weights : (N,) >= 0, as in `score`
    """

    def __init__(self, boxes_wh: Array, weights: Optional[Array] = None) -> None:
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
        size = _BLOCK_ON_HOST if xp.in_host_memory(boxes_wh) else _BLOCK_ON_DEVICE
        self._blocks = [
            (*(column[first : first + size] for column in columns), *([None] if counts is None else []))
            for first in range(0, boxes_wh.shape[0], size)
        ]

    def fitness(self, anchors: Array, thr: float, objective: str = "ratio") -> float:
        """What a fit makes large: AnchorScore.fitness for "ratio", avg_iou for "iou"; without the rest of the score.

        `anchors` may be NumPy or like the boxes.
        """
        xp, limit = self._xp, ratio_limit(thr)
        closeness = side_ratio if objective == "ratio" else size_iou
        anchors = self._here(anchors)
        total = 0
        with np.errstate(divide="ignore", over="ignore"):
            for w, h, weight in self._blocks:
                best: Array = None
                for anchor_w, anchor_h in _rows(anchors):
                    close = closeness(xp, w, h, anchor_w, anchor_h)
                    best = close if best is None else xp.maximum(best, close)
                if objective == "ratio":
                    best = best * xp.astype(best > limit, xp.float32)
                total += _units(xp, best, weight)
        return self._mean(total)

    def score(self, anchors: Array, thr: float) -> AnchorScore:
        """All of AnchorScore. `anchors` may be NumPy or like the boxes."""
        xp, limit = self._xp, ratio_limit(thr)
        anchors = self._here(anchors)
        recalled = above = kept = best_sum = iou_sum = 0
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
                recalled += _count(xp, xp.astype(is_recalled, xp.int64), weight)
                above += _count(xp, matches, weight)
                kept += _units(xp, best * xp.astype(is_recalled, xp.float32), weight)
                best_sum += _units(xp, best, weight)
                iou_sum += _units(xp, best_iou, weight)
        return AnchorScore(
            bpr=recalled / self._total,
            aat=above / self._total,
            fitness=self._mean(kept),
            mean_best=self._mean(best_sum),
            avg_iou=self._mean(iou_sum),
            n_boxes=self.n_boxes,
        )

    def use(self, anchors: Array, thr: float) -> list[AnchorUse]:
        """What each anchor does: the share of boxes that match it, and the share it fits best."""
        xp, limit = self._xp, ratio_limit(thr)
        anchors = self._here(anchors)
        matched, nearest = [0] * anchors.shape[0], [0] * anchors.shape[0]
        with np.errstate(divide="ignore", over="ignore"):
            for w, h, weight in self._blocks:
                best = xp.zeros_like(w) + limit  # an anchor below the limit is nobody's nearest
                owner = xp.zeros_like(w) - 1
                for j, (anchor_w, anchor_h) in enumerate(_rows(anchors)):
                    ratio = side_ratio(xp, w, h, anchor_w, anchor_h)
                    owner = xp.where(ratio > best, xp.full_like(owner, float(j)), owner)
                    best = xp.maximum(best, ratio)
                    matched[j] += _count(xp, xp.astype(ratio > limit, xp.int64), weight)
                for j in range(len(nearest)):
                    nearest[j] += _count(xp, xp.astype(owner == float(j), xp.int64), weight)
        return [AnchorUse(m / self._total, n / self._total) for m, n in zip(matched, nearest)]

    def _here(self, anchors: Array) -> Array:
        """The anchors as float32, where the columns lie."""
        if namespace_of(anchors).name != self._xp.name:
            (anchors,) = on_host(anchors)
            anchors = self._xp.from_numpy(namespace_of(anchors).to_numpy(anchors), device=self.device)
        return as_float(anchors, self._xp.float32)

    def _mean(self, units: int) -> float:
        return units / (self._total << 40)  # Python divides whole numbers with one correct rounding


def side_ratio(xp: Namespace, w: Array, h: Array, anchor_w: Array, anchor_h: Array) -> Array:
    """The ratio of `size_ratio`, from columns that broadcast. For the loops of this library: nothing is checked.

    min over sides of min(r, 1 / r), with a division fewer: 1 / r falls with r, so the smaller 1 / r is 1 / max(r).
    """
    ratio_w = w / anchor_w  # by an array: torch on CUDA turns `/ python_scalar` into a product with 1 / x
    ratio_h = h / anchor_h
    return xp.minimum(xp.minimum(ratio_w, ratio_h), 1 / xp.maximum(ratio_w, ratio_h))


def ratio_limit(thr: float) -> float:
    """1 / thr as a float32 value in a Python float, which every framework compares in float32."""
    return float(np.float32(1 / check_thr(thr)))


def _rows(anchors: Array) -> Iterator[tuple[Array, Array]]:
    """Width and height of each anchor, as arrays of one entry."""
    for j in range(anchors.shape[0]):
        yield anchors[j : j + 1, 0], anchors[j : j + 1, 1]


def _units(xp: Namespace, values: Array, weight: Optional[Array]) -> int:
    """Sum of float32 values in [0, 1], in units of 2^-40. The product is exact and the cast cuts below a unit."""
    units = xp.astype(values * _UNITS, xp.int64)
    if weight is None:
        return int(xp.sum(units))
    high = xp.floor_divide(units, xp.full_like(units, _LOW))
    low = units - high * _LOW
    return int(xp.sum(high * weight)) * _LOW + int(xp.sum(low * weight))


def _count(xp: Namespace, values: Array, weight: Optional[Array]) -> int:
    return int(xp.sum(values if weight is None else values * weight))
