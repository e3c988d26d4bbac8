"""Drop-in for utils/loss.py of YOLOv5 and one-yolov5, and for the IoU of utils/metrics.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from anchorlib.arrays import Array, as_float, check_shape_wh, widen
from anchorlib.backends import namespace_of
from anchorlib.boxes import box_iou_pairs, size_iou
from anchorlib.errors import ShapeError
from anchorlib.training.compute_loss import ComputeLoss
from anchorlib.training.losses import (
    BCEBlurWithLogitsLoss,
    BCEWithLogitsLoss,
    FocalLoss,
    QFocalLoss,
    smooth_bce,
)

__all__ = [
    "BCEBlurWithLogitsLoss",
    "BCEWithLogitsLoss",
    "ComputeLoss",
    "FocalLoss",
    "QFocalLoss",
    "bbox_iou",
    "build_targets",
    "compute_loss",
    "smooth_BCE",
    "smooth_bce",
    "wh_iou",
]

smooth_BCE = smooth_bce


def build_targets(
    p: Sequence[Array], targets: Array, model: Any
) -> tuple[list[Array], list[Array], list[tuple[Array, Array, Array, Array]], list[Array]]:
    """Return classes, boxes, (image, anchor, gj, gi) and anchors by layer: a method of ComputeLoss since YOLOv5 5.0.

    p : L arrays (B, A, ny, nx, 5 + C); targets : (T, 6); model : as ComputeLoss takes it.
    """
    return ComputeLoss(model).build_targets(p, targets)


def compute_loss(
    p: Sequence[Array], targets: Array, model: Any, *, preset: Optional[str] = None
) -> tuple[Array, Array]:
    """Return the loss of a batch and its items (box, obj, cls, total), as the function of YOLOv5 3.0 to 4.0 does.

    Parameters
    ----------
    p : L arrays (B, A, ny, nx, 5 + C) of logits
    targets : (T, 6) float: image, class, cx, cy, w, h, boxes in [0, 1]
    model : as ComputeLoss takes it; each call reads its hyp and gr
    preset : the balance and gains of a fork, as in ComputeLoss

    Returns
    -------
    loss : (1,) float32 (float64 for such `p`), times the number of images
    items : (4,), without gradient

    Raises
    ------
    ModelError, ShapeError, BadValueError, BackendMixError, ArrayTypeError

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> detect = Namespace(anchors=np.ones((1, 1, 2), np.float32), stride=[8.0], na=1, nl=1, nc=1)
    >>> hyp = dict(box=0.05, obj=1.0, cls=0.5, cls_pw=1.0, obj_pw=1.0, fl_gamma=0.0, anchor_t=4.0)
    >>> p = [np.zeros((1, 1, 4, 4, 6), np.float32)]
    >>> loss, items = compute_loss(p, np.zeros((0, 6), np.float32), Namespace(model=[detect], hyp=hyp))
    >>> items.round(3)
    array([0.   , 2.773, 0.   , 2.773], dtype=float32)
    """
    return ComputeLoss(model, four_items=True, preset=preset)(p, targets)


def bbox_iou(
    box1: Array,
    box2: Array,
    xywh: Optional[bool] = None,
    GIoU: bool = False,
    DIoU: bool = False,
    CIoU: bool = False,
    eps: float = 1e-7,
    bbox_iou_optim: bool = False,
    x1y1x2y2: Optional[bool] = None,
) -> Array:
    """Return the IoU of each pair of boxes, with gradient, in the form of YOLOv5 >= 6.2 or in that of <= 6.1.

    Parameters
    ----------
    box1, box2 : (..., 4) floats, of shapes that broadcast: (n, 4) and (n, 4), (1, 4) and (n, 4), (4,) and (n, 4)
    xywh : True (default): centre and size; False: corners
    GIoU, DIoU, CIoU : which; plain IoU if none. CIoU goes before DIoU, and DIoU before GIoU
    eps : added where a division could be by zero
    bbox_iou_optim : accepted for one-yolov5, whose fused kernels it asks for; the result is the same
    x1y1x2y2 : given as True (corners) or False (centre and size), the form of YOLOv5 <= 6.1: `box1` (4,) or (4, n),
        `box2` (n, 4), result (n,). If `box1` is (4, n) with n != 4, and `box2` (n, 4), the form is recognised, and the
        third positional argument is x1y1x2y2, by default True. Four boxes look the same in both forms: name the
        argument.

    Returns
    -------
    (..., 1), dtype of the boxes: the wider of the two, float32 for integers.

    Raises
    ------
    ShapeError, BackendMixError, ArrayTypeError

    Examples
    --------
    >>> bbox_iou(np.asarray([[1.0, 1.0, 2.0, 2.0]]), np.asarray([[2.0, 1.0, 2.0, 2.0]])).round(4)
    array([[0.3333]])
    """
    xp = namespace_of(box1=box1, box2=box2)
    if x1y1x2y2 is None and _is_transposed(tuple(box1.shape), tuple(box2.shape)):
        x1y1x2y2 = xywh is None or xywh
    old_form = x1y1x2y2 is not None
    if old_form:
        xywh = not x1y1x2y2
        box1 = xp.permute_dims(box1, (1, 0)) if len(box1.shape) == 2 else box1
    shape = _broadcast(tuple(box1.shape), tuple(box2.shape))
    box1, box2 = (xp.reshape(xp.broadcast_to(box, shape), (-1, 4)) for box in (box1, box2))
    box1, box2 = as_float(box1), as_float(box2)  # of an integer and a float each framework makes another dtype
    dtype = xp.result_type(box1.dtype, box2.dtype)
    kind = "ciou" if CIoU else "diou" if DIoU else "giou" if GIoU else "iou"
    format = "cxcywh" if xywh is None or xywh else "xyxy"
    iou = box_iou_pairs(as_float(box1, dtype), as_float(box2, dtype), kind=kind, format=format, eps=eps)
    return xp.reshape(iou, shape[:-1] if old_form else (*shape[:-1], 1))


def _is_transposed(shape1: tuple[int, ...], shape2: tuple[int, ...]) -> bool:
    """Return True for (4, n) and (n, 4), n != 4: the form of YOLOv5 <= 6.1."""
    columns = len(shape1) == len(shape2) == 2 and shape1[0] == shape2[1] == 4
    return columns and shape1[1] != 4 and (shape1[1] == shape2[0] or 1 in (shape1[1], shape2[0]))


def _broadcast(shape1: tuple[int, ...], shape2: tuple[int, ...]) -> tuple[int, ...]:
    """Return the common shape of two sets of boxes."""
    try:
        shape = np.broadcast_shapes(shape1, shape2)
    except ValueError:
        shape = ()
    if shape1[-1:] != (4,) or shape2[-1:] != (4,) or not shape:
        raise ShapeError(f"box1 and box2 must have shapes (..., 4) that broadcast, got {shape1} and {shape2}.")
    return shape


def wh_iou(wh1: Array, wh2: Array, eps: float = 1e-7) -> Array:
    """Return the IoU of every size with every other, all at one corner: (n, 2) and (m, 2) to (n, m).

    >>> wh_iou(np.asarray([[10.0, 20.0]]), np.asarray([[10.0, 10.0], [10.0, 20.0]])).round(4)
    array([[0.5, 1. ]])
    """
    xp = namespace_of(wh1=wh1, wh2=wh2)
    check_shape_wh(wh1=wh1, wh2=wh2)
    wh1 = as_float(wh1)
    one, two = widen(wh1)[:, None, :], widen(as_float(wh2, wh1.dtype))[None, :, :]
    return as_float(size_iou(xp, one[..., 0], one[..., 1], two[..., 0], two[..., 1], eps), wh1.dtype)
