"""Assign predictions to objects by cost, as the OTA losses of YOLOv7 do: each object keeps its cheapest candidates.

All of it runs under NumPy on the host, so that the same logits give the same matches with every framework and on every
device. From a device there are two copies to the host: the targets with the anchors, and the logits of the candidates.
Corners, areas and IoU are float32, where additions, products and quotients are exactly rounded; costs are computed in
float64 and rounded to float32, so that another last bit of an exponential or a logarithm changes nothing.

The class cost is a sum over classes for each candidate, less one term for the class of the object. So no array of
(objects, candidates, classes) is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import numpy as np

from anchorlib.arrays import Array, HostArray, Namespace, check_integer, check_number, check_shape, widen
from anchorlib.backends import from_host, namespace_of, on_host
from anchorlib.errors import BadValueError, ShapeError
from anchorlib.training.targets import LayerTargets, build_targets, check_targets

_PAIRS = 1 << 18  # of an object and a candidate at a time: what is computed of them stays in the cache
_LOGIT = 80.0  # larger logits count as this: sigmoids and products of 8 of them stay within float64
_FACTORS = 8
_IOU_WEIGHT, _IOU_EPS = 3.0, 1e-8
_FAR = _IOU_WEIGHT * math.log(_IOU_EPS)
_CELL = tuple(LayerTargets._fields.index(name) for name in ("image", "anchor", "gj", "gi"))


class Head(NamedTuple):
    """What differs between the assignments of one batch.

    offset : of `build_targets`, which gives the candidates
    top : how many of the largest IoUs of an object are summed up to the number of its candidates
    """

    offset: float = 0.5
    top: int = 10


def assign(
    p: Sequence[Array],
    targets: Array,
    anchors: Union[Array, Sequence[Array]],
    strides: Sequence[float],
    image_wh: tuple[float, float],
    *,
    thr: float = 4.0,
    offset: float = 0.5,
    top: int = 10,
) -> list[LayerTargets]:
    """Return the predictions that are assigned to each object, by layer: YOLOv7's OTA assignment.

    The rows of `build_targets` are the candidates. An object takes the cheapest of its image: as many as the sum of its
    `top` largest IoUs with them, truncated, and at least one. The cost is the class's binary cross-entropy less
    3 log(IoU). A candidate taken by several objects goes to the object of the image for which it is the cheapest.
    Equal costs are decided by the lowest candidate, then by the lowest object.

    Parameters
    ----------
    p : L arrays (B, A, ny, nx, 5 + C) of logits: x, y, w, h, objectness, classes; any floating dtype
    targets : (T, 6) float: image, class, cx, cy, w, h, boxes in [0, 1] of the image. T may be 0.
    anchors : (L, A, 2) float, grid units (pixels / stride), sides > 0; a list of (A_l, 2) where the numbers differ
    strides : L numbers > 0, pixels per cell
    image_wh : width and height of the images, pixels
    thr, offset : as for `build_targets`
    top : number of IoUs summed; 10 in YOLOv7, 20 where it has auxiliary heads

    Returns
    -------
    L LayerTargets, of the framework and on the device of `targets`. Rows: by image, then in the order of the
    candidates. Bit-identical on every backend and device. A box is relative to the cell of its prediction, which may be
    several cells away. No gradient flows through it. Objects whose box is not finite get no row.

    Raises
    ------
    ShapeError : wrong shapes, or lists of different lengths
    BadValueError : an image or class of `targets` out of range (with one class, the class is not used); image_wh,
        strides, thr, offset or top out of range
    BackendMixError, ArrayTypeError

    Source
    ------
    The assignment of YOLOv7, after Ge et al., "OTA: Optimal Transport Assignment for Object Detection" and "YOLOX:
    Exceeding YOLO Series in 2021", both 2021; written from a description of its behaviour.

    Examples
    --------
    >>> p = [np.zeros((1, 1, 4, 4, 6))]
    >>> targets = np.asarray([[0.0, 0.0, 0.55, 0.6, 0.5, 0.5]])
    >>> (layer,) = assign(p, targets, np.asarray([[[2.0, 2.0]]]), [8.0], (32, 32))
    >>> np.stack([layer.gj, layer.gi], axis=1)  # of three candidates with IoUs 0.68, 0.45 and 0.31
    array([[2, 2]])
    """
    (layers,) = assign_heads(p, targets, anchors, strides, image_wh, [Head(offset, top)], thr=thr)
    return layers


def assign_heads(
    p: Sequence[Array],
    targets: Array,
    anchors: Union[Array, Sequence[Array]],
    strides: Sequence[float],
    image_wh: tuple[float, float],
    heads: Sequence[Head],
    *,
    thr: float = 4.0,
) -> list[list[LayerTargets]]:
    """Return for each of several heads what `assign` returns; the logits are copied from a device once for all."""
    layer_anchors = list(anchors) if isinstance(anchors, (list, tuple)) else _unstacked(anchors)
    named = {f"p[{i}]": layer for i, layer in enumerate(p)}
    named.update({f"anchors[{i}]": layer for i, layer in enumerate(layer_anchors)})
    xp = namespace_of(targets=targets, **named)
    check_shape(("T", 6), hint="The columns are image, class, cx, cy, w, h.", targets=targets)
    _check_layers(p, layer_anchors, strides)
    image_size, pixels = _positive("image_wh", image_wh, 2), _positive("strides", strides, len(p))
    for head in heads:
        check_integer("top", head.top, 1)

    rows, *layer_anchors = _read(xp, targets, *layer_anchors)
    n_images, n_classes = int(p[0].shape[0]), int(p[0].shape[4]) - 5
    check_targets(rows[:, :2], n_images, n_classes if n_classes > 1 else None)
    shapes = [(int(layer.shape[2]), int(layer.shape[3])) for layer in p]
    found = [build_targets(rows, layer_anchors, shapes, thr=thr, offset=head.offset) for head in heads]
    matches = []
    for head, layers, logits in zip(heads, found, _gather(xp, p, found)):
        candidates = _candidates(layers, logits, pixels)
        matches.append(_matches(candidates, _Objects.of(rows, image_size, n_classes), head.top, n_images))
    return _result(found, matches, rows, shapes, like=targets)


def _unstacked(anchors: Array) -> list[Array]:
    """Return the layers of (L, A, 2)."""
    check_shape(("L", "A", 2), anchors=anchors)
    return [anchors[i] for i in range(anchors.shape[0])]


def _check_layers(p: Sequence[Array], anchors: Sequence[Array], strides: Sequence[float]) -> None:
    """Check that there are as many layers of each, and that the layers of `p` agree in all but the grid."""
    if not len(p) == len(anchors) == len(strides) or not len(p):
        raise ShapeError(
            "p, anchors and strides must have one entry for each layer, and at least one, got "
            f"{len(p)}, {len(anchors)} and {len(strides)}."
        )
    check_shape(("A", 2), **{f"anchors[{i}]": layer for i, layer in enumerate(anchors)})
    for i, (layer, sides) in enumerate(zip(p, anchors)):
        check_shape(("B", int(sides.shape[0]), "ny", "nx", "5 + C"), **{f"p[{i}]": layer})
        if layer.shape[4] < 6 or (layer.shape[0], layer.shape[4]) != (p[0].shape[0], p[0].shape[4]):
            raise ShapeError(
                f"p[{i}] must have as many images and columns as p[0], and at least 6 columns, got "
                f"{tuple(layer.shape)} and {tuple(p[0].shape)}."
            )


def _positive(name: str, values: Sequence[float], length: int) -> HostArray:
    """Return so many finite numbers > 0 as float64."""
    numbers = np.asarray([check_number(name, value) for value in values])
    if numbers.shape != (length,) or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise BadValueError(f"{name} must be {length} finite numbers > 0, got {numbers.tolist()}.")
    return numbers


def _read(xp: Namespace, *arrays: Array) -> list[HostArray]:
    """Return the arrays as float32 on the host; from a device they come in one copy."""
    hosted = on_host(*arrays)
    if isinstance(hosted[0], np.ndarray):
        return [array if array.dtype == np.float32 else array.astype(np.float32) for array in hosted]
    flat = xp.to_numpy(xp.concat([xp.reshape(xp.astype(array, xp.float32), (-1,)) for array in hosted], axis=0))
    ends = np.cumsum([int(np.prod(array.shape)) for array in arrays])
    return [part.reshape(tuple(array.shape)) for part, array in zip(np.split(flat, ends[:-1]), arrays)]


def _gather(xp: Namespace, p: Sequence[Array], found: Sequence[list[LayerTargets]]) -> list[HostArray]:
    """Return for each head the logits (J, 5 + C) of its candidates, layers joined; from a device in one copy."""
    cells = []  # by layer, the heads joined
    for i, layer in enumerate(p):
        rows = [np.concatenate([head[i][column] for head in found]) for column in _CELL]
        cells.append(np.ravel_multi_index(rows, tuple(layer.shape[:4])))
    hosted = on_host(*p)
    if isinstance(hosted[0], np.ndarray):  # not reshaped: an array that is not contiguous would be copied
        parts = [layer[np.unravel_index(at, layer.shape[:4])] for layer, at in zip(hosted, cells)]
    else:
        ends = np.cumsum([0] + [len(at) for at in cells]).tolist()
        at = xp.from_numpy(np.concatenate(cells), device=xp.device_of(p[0]))
        tables = [xp.reshape(layer, (-1, layer.shape[4])) for layer in hosted]
        taken = [widen(xp.take(table, at[a:b], axis=0)) for table, a, b in zip(tables, ends, ends[1:]) if b > a]
        flat = xp.to_numpy(xp.concat(taken, axis=0)) if taken else np.empty((0, p[0].shape[4]), np.float32)
        parts = np.split(flat, ends[1:-1])
    by_head: list[list[HostArray]] = [[] for _ in found]
    for i, part in enumerate(parts):
        ends = np.cumsum([len(head[i].cls) for head in found])
        for of_head, logits in zip(by_head, np.split(part, ends[:-1])):
            of_head.append(logits)
    return [np.concatenate(of_head) for of_head in by_head]


class _Candidates(NamedTuple):
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


class _Objects(NamedTuple):
    """The objects of all images, sorted by image: row of the targets, class, corners in pixels and image."""

    row: HostArray
    cls: HostArray
    corners: HostArray
    image: HostArray

    @classmethod
    def of(cls, targets: HostArray, image_size: HostArray, n_classes: int) -> _Objects:
        """Return the objects whose box is finite; the class of a single-class model is not used."""
        boxes = targets[:, 2:].T.astype(np.float64) * np.tile(image_size, 2)[:, None]
        row = np.argsort(targets[:, 0], kind="stable")
        corners = _corners(boxes)
        row = row[np.isfinite(corners[:, row]).all(axis=0)]
        classes = np.minimum(targets[row, 1], n_classes - 1).astype(np.int64)
        return cls(row, classes, corners[:, row], targets[row, 0].astype(np.int64))


def _candidates(layers: list[LayerTargets], logits: HostArray, strides: HostArray) -> _Candidates:
    image, gj, gi = (np.concatenate([layer[column] for layer in layers]) for column in (_CELL[0], *_CELL[2:]))
    anchor_wh = np.concatenate([layer.anchor_wh for layer in layers])
    stride = np.repeat(strides, [len(layer.cls) for layer in layers])
    row = np.argsort(image, kind="stable")
    part = 2 / (1 + np.exp(-_bounded(logits[:, :4].T)))
    boxes = np.concatenate([part[:2] - 0.5 + np.stack([gi, gj]), part[2:] ** 2 * anchor_wh.T]) * stride
    return _Candidates(row, logits[row, 4:], _corners(boxes)[:, row], image[row])


def _corners(boxes: HostArray) -> HostArray:
    """(4, N) float64, centre and size, to corners in float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        half = boxes[2:] / 2
        return np.concatenate([boxes[:2] - half, boxes[:2] + half]).astype(np.float32)


def _bounded(logits: HostArray) -> HostArray:
    """Return float64 in [-_LOGIT, _LOGIT]; what is not a number counts as 0."""
    values = np.clip(logits.astype(np.float64), -_LOGIT, _LOGIT)
    values[np.isnan(values)] = 0
    return values


def _matches(candidates: _Candidates, objects: _Objects, top: int, n_images: int) -> tuple[HostArray, HostArray]:
    """Return for each match its row in the layers joined, and that in the targets, in the order of `candidates`."""
    ends = [np.searchsorted(part.image, np.arange(n_images + 1)).tolist() for part in (candidates, objects)]
    rows, owners = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for j0, j1, g0, g1 in zip(ends[0], ends[0][1:], ends[1], ends[1][1:]):
        if j0 < j1 and g0 < g1:
            owner = _owners(
                candidates.logits[j0:j1],
                candidates.corners[:, j0:j1],
                objects.cls[g0:g1],
                objects.corners[:, g0:g1],
                top,
            )
            taken = np.flatnonzero(owner >= 0)
            rows.append(candidates.row[j0:j1][taken])
            owners.append(objects.row[g0:g1][owner[taken]])
    return np.concatenate(rows), np.concatenate(owners)


def _owners(logits: HostArray, boxes: HostArray, cls: HostArray, wanted: HostArray, top: int) -> HostArray:
    """Return the object (J,) of each candidate of one image, or -1.

    logits (J, 1 + C) and boxes (4, J) of the candidates; cls (G,) and boxes `wanted` (4, G) of the objects
    """
    n_candidates = boxes.shape[1]
    classes, row = np.unique(cls, return_inverse=True)
    pairs = _Pairs(_class_costs(logits, classes), row, boxes, wanted)
    farthest = (pairs.class_costs.min(axis=1) - _FAR).astype(np.float32)  # the least cost without an overlap
    owner, times = np.full(n_candidates, -1), np.zeros(n_candidates, np.int64)
    block = max(1, _PAIRS // n_candidates)
    for first in range(0, len(cls), block):
        objects = np.arange(first, min(first + block, len(cls)))
        iou, cost, j = pairs.overlapping(objects, min(top, n_candidates))
        counts = _counts(iou, min(top, n_candidates))
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


def _result(
    found: Sequence[list[LayerTargets]],
    matches: Sequence[tuple[HostArray, HostArray]],
    targets: HostArray,
    shapes: Sequence[tuple[int, int]],
    like: Array,
) -> list[list[LayerTargets]]:
    """Return the matched rows of each head by layer, where `like` is; to a device they go in two copies."""
    integers, floats, counts = [], [], []
    for layers, (rows, owners) in zip(found, matches):
        ends = np.cumsum([len(layer.cls) for layer in layers])
        layer_of = np.searchsorted(ends, rows, side="right")
        order = np.argsort(layer_of, kind="stable")
        rows, owners = rows[order], owners[order]
        counts.append(np.bincount(layer_of, minlength=len(layers)))
        whole = np.stack([np.concatenate([layer[column] for layer in layers])[rows] for column in _CELL])
        gain = np.repeat(np.asarray([(nx, ny, nx, ny) for ny, nx in shapes], np.float32), counts[-1], axis=0)
        box = targets[owners, 2:] * gain
        box[:, :2] -= whole[:1:-1].T.astype(np.float32)
        integers.append(np.concatenate([whole, targets[owners, 1].astype(np.int64)[None], owners[None]]))
        floats.append(np.concatenate([box, np.concatenate([layer.anchor_wh for layer in layers])[rows]], axis=1))
    whole, sides = np.concatenate(integers, axis=1), np.concatenate(floats)
    if not isinstance(on_host(like)[0], np.ndarray):
        whole, sides = from_host(whole, like=like), from_host(sides, like=like)
    ends = np.cumsum(np.concatenate([[0], *counts])).tolist()
    slices = [(whole[:, a:b], sides[a:b, :]) for a, b in zip(ends, ends[1:])]
    made = [
        LayerTargets(
            *(
                from_host(column, like=like)
                for column in (ints[4], boxes[:, :4], ints[0], ints[1], ints[2], ints[3], boxes[:, 4:], ints[5])
            )
        )
        for ints, boxes in slices
    ]
    return [made[i : i + len(shapes)] for i in range(0, len(made), len(shapes))]
