"""Assign YOLOv2's targets, for one layer by the IoU of sizes, and compute its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import numpy as np

from anchorlib.arrays import (
    Array,
    HostArray,
    Namespace,
    as_float,
    check_integer,
    check_number,
    check_shape,
    check_shape_wh,
    check_sizes,
    host_floats,
    host_rows,
    is_integer,
    widen,
)
from anchorlib.backends import from_host, namespace_of, on_host
from anchorlib.boxes import cxcywh_to_xyxy, size_iou, xyxy_to_cxcywh
from anchorlib.errors import BadValueError, ShapeError
from anchorlib.training.losses import as_array, one_hot

_MIN_SIDE = 1e-4  # of the input: a smaller object is skipped
_COLUMNS = 11  # objectness, class, tx, ty, tw, th, weight, x1, y1, x2, y2

InputSize = Union[int, Sequence[int]]


class Yolov2Targets(NamedTuple):
    """Hold what each anchor of each cell should predict.

    values : (B, hs * ws * K, 11) float; the row of cell (gj, gi) and anchor k is (gj * ws + gi) * K + k. Columns:
        objectness (1 positive, 0 negative, -1 ignored), class, tx, ty, tw, th, weight (2 - w h; -1 ignored), and the
        box x1, y1, x2, y2 in [0, 1]
    n_collisions : number of positives that a later object replaced
    n_skipped : number of objects with a side < 1e-4 of the input, or with their centre outside the image
    """

    values: Array
    n_collisions: int
    n_skipped: int


def build_targets(
    labels: Sequence[Array], anchors: Array, *, input_size: InputSize, stride: int = 32, ignore_thr: float = 0.5
) -> Yolov2Targets:
    """Assign each object to its best anchor, as YOLOv2 with one layer; mark other anchors that fit well as ignored.

    Parameters
    ----------
    labels : one array (n, 5) float for each image: class, cx, cy, w, h, boxes in [0, 1]; n may be 0
    anchors : (K, 2) float, grid units (pixels / stride)
    input_size : pixels of the square input, or (width, height); multiples of `stride`
    stride : pixels of a cell
    ignore_thr : an anchor that is not the best is ignored if the IoU of its size with the object's is greater than this

    Returns
    -------
    Yolov2Targets, of the framework, dtype and device of the labels. If two objects are assigned to one anchor of
        one cell, the later object wins, whether it makes the anchor positive or ignored.

    Raises
    ------
    ShapeError, BadValueError, BackendMixError, ArrayTypeError

    Source
    ------
    Redmon and Farhadi, "YOLO9000: Better, Faster, Stronger", 2016; the layout is that of a common tutorial.

    Examples
    --------
    >>> label = np.asarray([[3.0, 0.5, 0.5, 0.25, 0.25]])
    >>> targets = build_targets([label], np.asarray([[1.0, 1.0], [3.0, 3.0]]), input_size=64)
    >>> targets.values[0, 6].round(2).tolist()  # cell (1, 1), first anchor
    [1.0, 3.0, 0.0, 0.0, -0.69, -0.69, 1.94, 0.38, 0.38, 0.62, 0.62]
    """
    if not len(labels):
        raise BadValueError("labels must have an array for each image, got none.")
    xp = namespace_of(anchors=anchors, **{f"labels[{i}]": rows for i, rows in enumerate(labels)})
    check_shape_wh(anchors=anchors)
    check_sizes(anchors=anchors)
    if anchors.shape[0] == 0:
        raise BadValueError("anchors must have at least one row, got none.")
    check_shape(
        ("n", 5), hint="The columns are class, cx, cy, w, h.", **{f"labels[{i}]": r for i, r in enumerate(labels)}
    )
    check_integer("stride", stride, 1)
    ignore_thr = check_number("ignore_thr", ignore_thr)
    sides = tuple(input_size) if isinstance(input_size, (tuple, list, np.ndarray)) else (input_size, input_size)
    if len(sides) != 2 or not all(is_integer(side, stride) and side % stride == 0 for side in sides):
        raise BadValueError(f"input_size must be one or two multiples of stride {stride}, got {input_size}.")

    like = labels[0]
    joined, anchors = on_host(as_float(xp.concat(list(labels), axis=0)), as_float(anchors))
    host = namespace_of(joined)
    counts = [int(rows.shape[0]) for rows in labels]
    image = host.from_numpy(np.repeat(np.arange(len(counts)), counts), device=host.device_of(joined))
    grid = (int(sides[0]) // stride, int(sides[1]) // stride)
    values, n_collisions, n_skipped = _assign(
        host, joined, image, as_float(anchors, joined.dtype), grid, len(counts), ignore_thr
    )
    return Yolov2Targets(from_host(values, like=like), n_collisions, n_skipped)


def gt_creator(
    input_size: InputSize, stride: int, label_lists: Sequence[Sequence[Sequence[float]]], anchor_size: Array
) -> np.ndarray:
    """Build the targets of `build_targets` from lists of labels, with the signature that YOLOv2 tutorials use.

    Parameters
    ----------
    input_size : pixels of the square input, or (width, height)
    stride : pixels of a cell
    label_lists : for each image a list of (x1, y1, x2, y2, class), boxes in [0, 1]
    anchor_size : (K, 2), grid units

    Returns
    -------
    (B, hs * ws * K, 11) float32 NumPy array.

    Raises
    ------
    ShapeError : a label that is not five numbers, or an anchor that is not two; BadValueError

    Examples
    --------
    >>> gt_creator(64, 32, [[[0.25, 0.25, 0.75, 0.75, 3]]], [[1.0, 1.0]]).shape
    (1, 4, 11)
    """
    labels = []
    for i, rows in enumerate(label_lists):
        corners = host_rows(5, **{f"label_lists[{i}]": rows})
        check_shape(("n", 5), hint="The columns are x1, y1, x2, y2, class.", **{f"label_lists[{i}]": corners})
        labels.append(np.concatenate([corners[:, 4:], xyxy_to_cxcywh(corners[:, :4])], axis=1))
    targets = build_targets(labels, host_floats(anchor_size=anchor_size), input_size=input_size, stride=stride)
    return targets.values.astype(np.float32)


class Yolov2Loss(NamedTuple):
    """Hold the parts of the loss: each () float, a sum divided by the number of images.

    total : the sum of all parts
    conf, cls, xy, wh, iou : as `loss` describes them
    """

    total: Array
    conf: Array
    cls: Array
    xy: Array
    wh: Array
    iou: Array


def loss(
    conf_logits: Array,
    cls_logits: Array,
    box_logits: Array,
    targets: Array,
    *,
    pos_weight: float = 5.0,
    neg_weight: float = 1.0,
    iou: Optional[Array] = None,
) -> Yolov2Loss:
    """Compute the loss of predictions against the targets of `build_targets`, with gradient.

    Parameters
    ----------
    conf_logits : (B, R) float, R = hs * ws * K
    cls_logits : (B, R, C) float
    box_logits : (B, R, 4) float: tx and ty before the sigmoid, tw and th
    targets : (B, R, 11) float, `build_targets(..).values`
    pos_weight, neg_weight : weights of the confidence of positives and of negatives
    iou : (B, R) float, the IoU of predicted and target box; if given, its SmoothL1 distance from 1 at positives is
        added

    Returns
    -------
    Yolov2Loss, float64 for float64 `conf_logits`, else float32: confidence (squared error to the objectness), class
        (cross-entropy), xy (binary cross-entropy), wh (squared error). xy and wh are multiplied by the box weight. All
        parts except the confidence use positives only. Ignored rows do not count.

    Raises
    ------
    ShapeError, BackendMixError, ArrayTypeError

    Examples
    --------
    >>> targets = gt_creator(32, 32, [[[0.25, 0.25, 0.75, 0.75, 1]]], [[1.0, 1.0]])
    >>> zeros = [np.zeros(shape) for shape in ((1, 1), (1, 1, 3), (1, 1, 4))]
    >>> float(loss(*zeros, targets).cls.round(3))  # log(3)
    1.099
    """
    arrays = {"conf_logits": conf_logits, "cls_logits": cls_logits, "box_logits": box_logits, "targets": targets}
    xp = namespace_of(**arrays, **({} if iou is None else {"iou": iou}))
    check_shape(("B", "R"), conf_logits=conf_logits)
    images, rows = (int(length) for length in conf_logits.shape)
    check_shape((images, rows, "C"), cls_logits=cls_logits)
    check_shape((images, rows, 4), box_logits=box_logits)
    check_shape((images, rows, _COLUMNS), targets=targets)
    if images == 0:
        raise ShapeError("conf_logits must have at least one image, got none.")
    conf_logits = widen(conf_logits)
    cls_logits, box_logits = (as_float(x, conf_logits.dtype) for x in (cls_logits, box_logits))
    targets = xp.astype(xp.detach(targets), conf_logits.dtype)
    share = 1 / images

    objectness = targets[:, :, 0]
    is_positive, is_negative = (xp.astype(objectness == wanted, targets.dtype) for wanted in (1.0, 0.0))
    error = xp.sigmoid(conf_logits) - is_positive
    conf = xp.sum(error * error * (is_positive * pos_weight + is_negative * neg_weight)) * share
    conf = as_array(conf, targets.dtype)  # before zeros_like, which would also be float64

    (place,) = xp.nonzero(xp.reshape(objectness == 1.0, (-1,)))
    if not place.shape[0]:
        zero = xp.zeros_like(conf)
        return Yolov2Loss(*(as_array(part, targets.dtype) for part in (conf, conf, zero, zero, zero, zero)))
    target = xp.take(xp.reshape(targets, (-1, _COLUMNS)), place, axis=0)  # (P, 11)
    classes = xp.take(xp.reshape(cls_logits, (images * rows, -1)), place, axis=0)  # (P, C)
    box = xp.take(xp.reshape(box_logits, (-1, 4)), place, axis=0)  # (P, 4)
    if xp.in_host_memory(target):
        _check_classes(xp.to_numpy(target[:, 1]), int(classes.shape[1]))
    wanted = one_hot(xp, classes, target[:, 1], 1.0, 0.0)
    weight = target[:, 6:7]
    cls = -xp.sum(xp.log_softmax(classes, axis=1) * wanted) * share
    xy = xp.sum(xp.bce_with_logits(box[:, :2], target[:, 2:4]) * weight) * share
    difference = box[:, 2:] - target[:, 4:6]
    wh = xp.sum(difference * difference * weight) * share
    overlap = xp.zeros_like(conf)
    if iou is not None:
        check_shape((images, rows), iou=iou)
        missing = xp.abs(1 - xp.take(xp.reshape(as_float(iou, targets.dtype), (-1,)), place))
        smooth = xp.where(missing < 1, missing * missing * 0.5, missing - 0.5)
        overlap = xp.sum(smooth) * share
    parts = (conf + cls + xy + wh + overlap, conf, cls, xy, wh, overlap)
    return Yolov2Loss(*(as_array(part, targets.dtype) for part in parts))


def _check_classes(classes: HostArray, n_classes: int) -> None:
    bad = np.flatnonzero(~((classes >= 0) & (classes < n_classes)))
    if len(bad):
        raise BadValueError(
            f"targets must have classes in [0, {n_classes}), got {classes[bad[0]]:g} in {len(bad)} of {len(classes)} "
            "positives. Check the labels, and the number of classes in cls_logits."
        )


def _assign(
    xp: Namespace,
    labels: Array,
    image: Array,
    anchors: Array,
    grid: tuple[int, int],
    n_images: int,
    ignore_thr: float,
) -> tuple[Array, int, int]:
    """Return the values of Yolov2Targets and both counts; `labels` (N, 5) are those of all images, in order."""
    n_anchors, (ws, hs) = int(anchors.shape[0]), grid
    scale = xp.asarray([float(ws), float(hs)], dtype=labels.dtype, device=xp.device_of(labels))
    centre, size = labels[:, 1:3] * scale, labels[:, 3:5] * scale  # (N, 2), grid units
    cell = xp.floor(centre)
    is_used = xp.all(labels[:, 3:5] >= _MIN_SIDE, axis=1) & xp.all(cell >= 0, axis=1) & xp.all(cell < scale, axis=1)
    (used,) = xp.nonzero(is_used)
    n_skipped = int(labels.shape[0]) - int(used.shape[0])
    n_rows = n_images * hs * ws * n_anchors
    empty = xp.zeros((n_rows, _COLUMNS), dtype=labels.dtype, device=xp.device_of(labels))
    shape = (n_images, hs * ws * n_anchors, _COLUMNS)
    if not used.shape[0]:
        return xp.reshape(empty, shape), 0, n_skipped
    labels, centre, size, cell = (xp.take(x, used, axis=0) for x in (labels, centre, size, cell))
    image = xp.take(image, used)

    iou = size_iou(xp, size[:, None, 0], size[:, None, 1], anchors[None, :, 0], anchors[None, :, 1])  # (N, K)
    number = xp.arange(n_anchors, device=xp.device_of(labels))
    is_best = number[None, :] == xp.argmax(iou, axis=1)[:, None]
    (pair,) = xp.nonzero(xp.reshape(is_best | (iou > ignore_thr), (-1,)))  # (S,), by object, then anchor
    owner = xp.floor_divide(pair, xp.full_like(pair[:1], n_anchors))
    anchor = pair - owner * n_anchors
    is_positive = xp.astype(xp.take(xp.reshape(is_best, (-1,)), pair), labels.dtype)[:, None]

    positive = _positive_values(xp, labels, centre, cell, size, owner, xp.take(anchors, anchor, axis=0))
    ignored = np.zeros(_COLUMNS)
    ignored[[0, 6]] = -1
    ignored = xp.asarray(ignored.tolist(), dtype=labels.dtype, device=xp.device_of(labels))
    values = xp.where(is_positive > 0, positive, ignored[None, :] + xp.zeros_like(positive))
    whole_cell = xp.astype(cell, xp.int64)
    row = ((image * hs + whole_cell[:, 1]) * ws + whole_cell[:, 0]) * n_anchors
    row = xp.take(row, owner) + anchor

    numbers = xp.arange(pair.shape[0], device=xp.device_of(labels))
    last = xp.put_last(xp.full((n_rows,), -1, dtype=xp.int64, device=xp.device_of(labels)), row, numbers)
    (written,) = xp.nonzero(last >= 0)
    winner = xp.take(last, written)
    n_left = int(xp.sum(xp.take(is_positive[:, 0], winner)))
    result = xp.put_rows(empty, written, xp.take(values, winner, axis=0))
    return xp.reshape(result, shape), int(used.shape[0]) - n_left, n_skipped


def _positive_values(
    xp: Namespace, labels: Array, centre: Array, cell: Array, size: Array, owner: Array, anchors: Array
) -> Array:
    """Return (S, 11): the row that each pair of object and anchor has if it is positive."""
    labels, centre, cell, size = (xp.take(x, owner, axis=0) for x in (labels, centre, cell, size))
    weight = 2 - labels[:, 3:4] * labels[:, 4:5]
    corners = cxcywh_to_xyxy(labels[:, 1:])
    parts = [xp.ones_like(weight), labels[:, :1], centre - cell, xp.log(size / anchors), weight, corners]
    return xp.concat(parts, axis=1)
