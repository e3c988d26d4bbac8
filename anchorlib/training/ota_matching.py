"""Match the objects and the candidate predictions of a batch by cost, image by image, under NumPy.

Corners, areas and IoU are float32, where additions, products and quotients are exactly rounded; costs are computed in
float64 and rounded to float32, so that another last bit of an exponential or a logarithm changes nothing.

The class cost of an object and a candidate is a sum over the classes that depends on the candidate only, less one term
for the class of the object. So no array of (objects, candidates, classes) is made. Most candidates do not overlap an
object. These all have the same term 3 log(1e-8), so the cheapest of each class bounds what they cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.training.targets import LayerTargets

_PAIRS = 1 << 18  # of an object and a candidate at a time: what is computed of them stays in the cache
_LOGIT = 80.0  # larger logits count as this: the product of _FACTORS of 1 / (1 - y) stays within float64
_FACTORS = 8
_IOU_WEIGHT, _IOU_EPS = 3.0, 1e-8
_FAR = _IOU_WEIGHT * math.log(_IOU_EPS)


class Candidates(NamedTuple):
    """The candidates of all images, sorted by image.

    row : (J,) int64, in the layers joined
    logits : (J, 1 + C), objectness and classes
    corners : (4, J) float32, pixels: x1, y1, x2, y2
    image : (J,) int64
    """

    row: HostArray
    logits: HostArray
    corners: HostArray
    image: HostArray


class Objects(NamedTuple):
    """The objects of all images, sorted by image.

    row : (G,) int64, in the targets
    cls : (G,) int64
    corners : (4, G) float32, pixels
    image : (G,) int64
    """

    row: HostArray
    cls: HostArray
    corners: HostArray
    image: HostArray


def find_candidates(layers: Sequence[LayerTargets], logits: HostArray, strides: HostArray) -> Candidates:
    """Return the boxes that candidates predict, from their rows by layer and `logits` (J, 5 + C), layers joined."""
    image, gi, gj = (np.concatenate([getattr(layer, name) for layer in layers]) for name in ("image", "gi", "gj"))
    anchor_wh = np.concatenate([layer.anchor_wh for layer in layers])
    stride = np.repeat(strides, [len(layer.cls) for layer in layers])
    part = 2 / (1 + np.exp(-_bounded(logits[:, :4].T)))
    boxes = np.concatenate([part[:2] - 0.5 + np.stack([gi, gj]), part[2:] ** 2 * anchor_wh.T]) * stride
    row = np.argsort(image, kind="stable")
    return Candidates(row, logits[row, 4:], _corners(boxes)[:, row], image[row])


def find_objects(targets: HostArray, image_wh: HostArray, n_classes: int) -> Objects:
    """Return the objects whose box is finite, from targets (T, 6). Of a single-class model the class is not used."""
    corners = _corners(targets[:, 2:].T.astype(np.float64) * np.tile(image_wh, 2)[:, None])
    row = np.argsort(targets[:, 0], kind="stable")
    row = row[np.isfinite(corners[:, row]).all(axis=0)]
    cls = np.minimum(targets[row, 1], n_classes - 1).astype(np.int64)
    return Objects(row, cls, corners[:, row], targets[row, 0].astype(np.int64))


def _corners(boxes: HostArray) -> HostArray:
    """Return float32 corners of boxes (4, N), centre and size in float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        half = boxes[2:] / 2
        return np.concatenate([boxes[:2] - half, boxes[:2] + half]).astype(np.float32)


def _bounded(logits: HostArray) -> HostArray:
    """Return float64 in [-_LOGIT, _LOGIT]; what is not a number counts as 0."""
    values = np.clip(logits.astype(np.float64), -_LOGIT, _LOGIT)
    values[np.isnan(values)] = 0
    return values


def match(candidates: Candidates, objects: Objects, top: int, n_images: int) -> tuple[HostArray, HostArray]:
    """Return for each match its row in the layers joined and its row in the targets, in the order of `candidates`."""
    ends = [np.searchsorted(part.image, np.arange(n_images + 1)).tolist() for part in (candidates, objects)]
    rows, owners = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for j0, j1, g0, g1 in zip(ends[0], ends[0][1:], ends[1], ends[1][1:]):
        if j0 < j1 and g0 < g1:
            boxes, wanted = candidates.corners[:, j0:j1], objects.corners[:, g0:g1]
            with np.errstate(over="ignore"):  # an object of 1e20 px: its IoU is 0
                owner = _owners(candidates.logits[j0:j1], boxes, objects.cls[g0:g1], wanted, top)
            taken = np.flatnonzero(owner >= 0)
            rows.append(candidates.row[j0:j1][taken])
            owners.append(objects.row[g0:g1][owner[taken]])
    return np.concatenate(rows), np.concatenate(owners)


def _owners(logits: HostArray, boxes: HostArray, cls: HostArray, wanted: HostArray, top: int) -> HostArray:
    """Return the object (J,) of each candidate of one image, or -1.

    logits (J, 1 + C) and boxes (4, J) of the candidates; cls (G,) and boxes `wanted` (4, G) of the objects
    """
    n_candidates = boxes.shape[1]
    top = min(top, n_candidates)
    classes, row = np.unique(cls, return_inverse=True)
    pairs = _Pairs(_class_costs(logits, classes), row, boxes, wanted)
    farthest = (pairs.class_costs.min(axis=1) - _FAR).astype(np.float32)  # the least cost without an overlap
    owner, times = np.full(n_candidates, -1), np.zeros(n_candidates, np.int64)
    block = max(1, _PAIRS // n_candidates)
    for first in range(0, len(cls), block):
        objects = np.arange(first, min(first + block, len(cls)))
        iou, cost, j = pairs.overlapping(objects, top)
        counts = _counts(iou, top)
        taker, taken, limit = _cheapest(cost, counts)
        sure = limit < farthest[row[objects]]
        kept = sure[taker]
        found = [(objects[taker[kept]], j[taker[kept], taken[kept]])]
        if not sure.all():  # a candidate that the object does not overlap may be as cheap
            objects = objects[~sure]
            taker, taken, _ = _cheapest(pairs.costs(objects[:, None], np.arange(n_candidates)), counts[~sure])
            found.append((objects[taker], taken))
        for taker, taken in found:
            owner[taken] = taker
            times += np.bincount(taken, minlength=n_candidates)
    contested = np.flatnonzero(times > 1)
    if len(contested):
        owner[contested] = pairs.cheapest_object(contested)
    return owner


class _Pairs:
    """The objects and candidates of one image, and what depends on a pair of them.

    class_costs (classes, J); row (G,) of the class of each object in it; boxes (4, J) and wanted (4, G), corners
    """

    def __init__(self, class_costs: HostArray, row: HostArray, boxes: HostArray, wanted: HostArray) -> None:
        self.class_costs, self._row, self._boxes, self._wanted = class_costs, row, boxes, wanted
        self._area, self._wanted_area = ((sides[2] - sides[0]) * (sides[3] - sides[1]) for sides in (boxes, wanted))

    def iou(self, g: HostArray, j: HostArray) -> HostArray:
        """Return the IoU of objects g and candidates j, which broadcast; float32."""
        one, two = self._wanted, self._boxes
        width = np.minimum(one[2, g], two[2, j]) - np.maximum(one[0, g], two[0, j])
        height = np.minimum(one[3, g], two[3, j]) - np.maximum(one[1, g], two[1, j])
        inter = np.maximum(width, 0) * np.maximum(height, 0)
        union = self._wanted_area[g] + self._area[j] - inter
        return np.divide(inter, union, out=np.zeros_like(inter), where=inter > 0)

    def costs(self, g: HostArray, j: HostArray, iou: Optional[HostArray] = None) -> HostArray:
        """Return the cost of objects g and candidates j, which broadcast; float32."""
        iou = iou if iou is not None else self.iou(g, j)
        far = _IOU_WEIGHT * np.log(iou.astype(np.float64) + _IOU_EPS)
        cost: HostArray = (self.class_costs[self._row[g], j] - far).astype(np.float32)
        return cost

    def overlapping(self, objects: HostArray, least: int) -> tuple[HostArray, HostArray, HostArray]:
        """Return IoU, cost and number (g, n) of the candidates that objects overlap, in order; filled up to `least`.

        What fills up a row has IoU 0, an infinite cost and number 0.
        """
        (x1, y1, x2, y2), (left, upper, right, lower) = self._boxes, self._wanted[:, objects, None]
        touch = (left < x2) & (x1 < right)
        touch &= upper < y2
        touch &= y1 < lower  # (g, J)
        g, j = np.divmod(np.flatnonzero(touch), len(x1))
        ends = np.searchsorted(g, np.arange(len(objects) + 1))
        shape = (len(objects), max(least, int(np.diff(ends).max())))
        at = g * shape[1] + np.arange(len(g)) - ends[g]
        iou, cost, number = np.zeros(shape, np.float32), np.full(shape, np.inf, np.float32), np.zeros(shape, np.int64)
        values = self.iou(objects[g], j)
        iou.ravel()[at], number.ravel()[at] = values, j
        cost.ravel()[at] = self.costs(objects[g], j, values)
        return iou, cost, number

    def cheapest_object(self, candidates: HostArray) -> HostArray:
        """Return the object for which each candidate is the cheapest; of equals the first."""
        block, parts = max(1, _PAIRS // len(self._row)), []
        for first in range(0, len(candidates), block):
            cost = self.costs(np.arange(len(self._row))[:, None], candidates[first : first + block])
            parts.append(cost.argmin(axis=0))
        return np.concatenate(parts)


def _class_costs(logits: HostArray, classes: HostArray) -> HostArray:
    """Return the class cost (len(classes), J) of an object of each class with each candidate, float64.

    With y = sqrt(sigmoid(class) sigmoid(objectness)), 1 - y is (1 - y^2) / (1 + y), and 1 - y^2 a sum of positive
    numbers: no digits are lost near 1.
    """
    costs = []
    block = max(1, _PAIRS // logits.shape[1])
    for first in range(0, logits.shape[0], block):
        falling = np.exp(-_bounded(logits[first : first + block]))
        yes = 1 / (1 + falling)
        no = falling * yes
        y = np.sqrt(yes[:, 1:] * yes[:, :1])
        inverse = (1 + y) / (no[:, 1:] + yes[:, 1:] * no[:, :1])  # 1 / (1 - y)
        odds = y[:, classes] * inverse[:, classes]
        costs.append(_log_of_product(inverse)[:, None] - np.log(odds))
    return np.concatenate(costs).T


def _log_of_product(factors: HostArray) -> HostArray:
    """Return the logarithm (J,) of the product of each row. The order of operations is fixed, unlike that of a sum."""
    for _ in range(_FACTORS.bit_length() - 1):
        factors = _halved(factors, np.multiply)
    sums = np.log(factors)
    while sums.shape[1] > 1:
        sums = _halved(sums, np.add)
    return sums[:, 0]


def _halved(columns: HostArray, combine: np.ufunc) -> HostArray:
    """Combine the first half of the columns with the second; the middle column of an odd number stays."""
    half = columns.shape[1] // 2
    combined = combine(columns[:, :half], columns[:, -half:]) if half else columns[:, :0]
    return combined if columns.shape[1] == 2 * half else np.concatenate([combined, columns[:, half : half + 1]], axis=1)


def _counts(iou: HostArray, top: int) -> HostArray:
    """Return how many candidates each object takes (g,): the sum of its `top` largest IoUs, truncated; at least 1."""
    largest = np.sort(np.partition(-iou, top - 1, axis=1)[:, :top], axis=1)  # NumPy 2 is slow if many of it are equal
    total = np.zeros(iou.shape[0])
    for column in largest.T:  # one order of additions, whatever NumPy's sum does
        total -= column
    return np.maximum(total.astype(np.int64), 1)


def _cheapest(cost: HostArray, counts: HostArray) -> tuple[HostArray, HostArray, HostArray]:
    """Return (row, column) of the `counts` (g,) cheapest of each row of `cost` (g, n), and the cost (g,) of the last.

    Of equals those in front are taken.
    """
    most = int(counts.max())
    low = np.sort(np.partition(cost, most - 1, axis=1)[:, :most], axis=1)
    limit = low[np.arange(len(counts)), counts - 1]
    row, column = np.nonzero(cost <= limit[:, None])
    equal = cost[row, column] == limit[row]
    room = counts - np.bincount(row[~equal], minlength=len(counts))  # for equals
    number = np.cumsum(equal)  # of the equals up to here; less those of the rows before
    before = np.concatenate([[0], number])[np.searchsorted(row, np.arange(len(counts)))]
    kept = ~equal | (number - before[row] <= room[row])
    return row[kept], column[kept], limit
