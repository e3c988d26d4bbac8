"""Drop-in for utils/loss.py of YOLOv5 and one-yolov5, and for the IoU of utils/metrics.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from anchorlib.arrays import Array, as_float, check_shape, check_shape_wh, widen
from anchorlib.backends import namespace_of
from anchorlib.boxes import box_iou_pairs, size_iou
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
    "smooth_BCE",
    "smooth_bce",
    "wh_iou",
]

smooth_BCE = smooth_bce


def build_targets(
    p: Sequence[Array], targets: Array, model: Any
) -> tuple[list[Array], list[Array], list[tuple[Array, Array, Array, Array]], list[Array]]:
    """Classes, boxes, (image, anchor, gj, gi) and anchors by layer: a method of ComputeLoss since YOLOv5 4.

    p : L arrays (B, A, ny, nx, 5 + C); targets : (T, 6); model : as ComputeLoss takes it.
    """
    return ComputeLoss(model).build_targets(p, targets)


def bbox_iou(
    box1: Array,
    box2: Array,
    xywh: bool = True,
    GIoU: bool = False,
    DIoU: bool = False,
    CIoU: bool = False,
    eps: float = 1e-7,
    bbox_iou_optim: bool = False,
    x1y1x2y2: Optional[bool] = None,
) -> Array:
    """IoU of box i of one set and box i of the other, or of one box and many, with gradient.

    Parameters
    ----------
    box1, box2 : (n, 4) or one of them (1, 4), floats
    xywh : centre and size; corners if False
    GIoU, DIoU, CIoU : which; plain IoU if none. CIoU goes before DIoU, and DIoU before GIoU
    eps : added where a division could be by zero
    bbox_iou_optim : accepted for one-yolov5, whose fused kernels it asks for; the result is the same
    x1y1x2y2 : given as True or False, the form of YOLOv5 <= 6.1: `box1` (4,) or (4, n), `box2` (n, 4), result (n,)

    Returns
    -------
    (n, 1), dtype of the boxes: the wider of the two, float32 for integers.

    Raises
    ------
    ShapeError, BackendMixError, ArrayTypeError

    Examples
    --------
    >>> bbox_iou(np.asarray([[1.0, 1.0, 2.0, 2.0]]), np.asarray([[2.0, 1.0, 2.0, 2.0]])).round(4)
    array([[0.3333]])
    """
    xp = namespace_of(box1=box1, box2=box2)
    old_form = x1y1x2y2 is not None
    if old_form:
        xywh = not x1y1x2y2
        box1 = xp.reshape(box1, (1, 4)) if tuple(box1.shape) == (4,) else xp.permute_dims(box1, (1, 0))
    check_shape(("n", 4), box1=box1, box2=box2)
    n_boxes = max(int(box1.shape[0]), int(box2.shape[0]))
    if n_boxes > 1:
        box1, box2 = (xp.broadcast_to(box, (n_boxes, 4)) if box.shape[0] == 1 else box for box in (box1, box2))
    box1, box2 = as_float(box1), as_float(box2)  # of an integer and a float each framework makes another dtype
    dtype = xp.result_type(box1.dtype, box2.dtype)
    kind = "ciou" if CIoU else "diou" if DIoU else "giou" if GIoU else "iou"
    format = "cxcywh" if xywh else "xyxy"
    iou = box_iou_pairs(as_float(box1, dtype), as_float(box2, dtype), kind=kind, format=format, eps=eps)
    return iou if old_form else xp.expand_dims(iou, axis=1)


def wh_iou(wh1: Array, wh2: Array, eps: float = 1e-7) -> Array:
    """IoU of every size with every other, all at one corner: (n, 2) and (m, 2) to (n, m).

    >>> wh_iou(np.asarray([[10.0, 20.0]]), np.asarray([[10.0, 10.0], [10.0, 20.0]])).round(4)
    array([[0.5, 1. ]])
    """
    xp = namespace_of(wh1=wh1, wh2=wh2)
    check_shape_wh(wh1=wh1, wh2=wh2)
    wh1 = as_float(wh1)
    one, two = widen(wh1)[:, None, :], widen(as_float(wh2, wh1.dtype))[None, :, :]
    return as_float(size_iou(xp, one[..., 0], one[..., 1], two[..., 0], two[..., 1], eps), wh1.dtype)
