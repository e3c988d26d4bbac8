"""Convert boxes between formats, and compute the IoU of boxes and of sizes.

The formats are xyxy: corners (x1, y1, x2, y2); cxcywh: centre and size; wh: only the size. The name gives the order of
the columns. Integers are cast to float32. The IoU of 16-bit floats is computed in float32, because an area of 300 x 300
px overflows float16, and then rounded to 16 bits. NaN in a box gives NaN.
"""

from __future__ import annotations

import math
from typing import Optional

from anchorlib.arrays import Array, Namespace, as_float, check_one_of, check_shape, check_shape_wh, widen
from anchorlib.backends import namespace_of
from anchorlib.errors import ShapeError

_KINDS = ("iou", "giou", "diou", "ciou")
_FORMATS = ("cxcywh", "xyxy")


def xyxy_to_cxcywh(boxes_xyxy: Array, /) -> Array:
    """Convert corners to centre and size: (N, 4) to (N, 4), same dtype and device (float32 for integers).

    >>> xyxy_to_cxcywh(np.asarray([[0., 0., 4., 2.]]))
    array([[2., 1., 4., 2.]])
    """
    xp = namespace_of(boxes_xyxy=boxes_xyxy)
    check_shape(("N", 4), boxes_xyxy=boxes_xyxy)
    boxes_xyxy = as_float(boxes_xyxy)
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    return xp.concat([(low + high) * 0.5, high - low], axis=1)


def cxcywh_to_xyxy(boxes_cxcywh: Array, /) -> Array:
    """Convert centre and size to corners: (N, 4) to (N, 4), same dtype and device (float32 for integers).

    >>> cxcywh_to_xyxy(np.asarray([[2., 1., 4., 2.]]))
    array([[0., 0., 4., 2.]])
    """
    xp = namespace_of(boxes_cxcywh=boxes_cxcywh)
    check_shape(("N", 4), boxes_cxcywh=boxes_cxcywh)
    boxes_cxcywh = as_float(boxes_cxcywh)
    centre, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] * 0.5
    return xp.concat([centre - half, centre + half], axis=1)


def xyxy_to_wh(boxes_xyxy: Array, /) -> Array:
    """Convert corners to sizes: (N, 4) to (N, 2), same dtype and device (float32 for integers).

    >>> xyxy_to_wh(np.asarray([[0., 0., 4., 2.]]))
    array([[4., 2.]])
    """
    namespace_of(boxes_xyxy=boxes_xyxy)
    check_shape(("N", 4), boxes_xyxy=boxes_xyxy)
    boxes_xyxy = as_float(boxes_xyxy)
    return boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]


def drop_degenerate(boxes_wh: Array, /, *, min_side: float = 0.0) -> Array:
    """Keep the sizes whose sides are finite and > `min_side`: (N, 2) to (M, 2), M <= N, in the same order.

    >>> drop_degenerate(np.asarray([[3., 4.], [0., 4.], [float("nan"), 1.]]))
    array([[3., 4.]])
    """
    xp = namespace_of(boxes_wh=boxes_wh)
    check_shape_wh(boxes_wh=boxes_wh)
    sides = as_float(boxes_wh)
    good = xp.all((sides > min_side) & (sides < math.inf), axis=1)  # a comparison with NaN is False
    return xp.take(boxes_wh, xp.nonzero(good)[0], axis=0)


def wh_iou(boxes_wh: Array, anchors: Array, /) -> Array:
    """Return the IoU of every box size with every anchor, placed at the same corner.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, every side > 0
    anchors : (K, 2) float, pixels, every side > 0; cast to the dtype of `boxes_wh`

    Returns
    -------
    (N, K) float in (0, 1], dtype and device of `boxes_wh` (float32 for integers).

    Raises
    ------
    ShapeError, BackendMixError, ArrayTypeError

    Source
    ------
    Redmon and Farhadi, "YOLO9000: Better, Faster, Stronger", 2016, section 2 (dimension clusters).

    Examples
    --------
    >>> wh_iou(np.asarray([[10., 20.]]), np.asarray([[10., 10.], [10., 20.]]))
    array([[0.5, 1. ]])
    """
    xp = namespace_of(boxes_wh=boxes_wh, anchors=anchors)
    check_shape_wh(boxes_wh=boxes_wh, anchors=anchors)
    boxes_wh = as_float(boxes_wh)
    one, two = widen(boxes_wh)[:, None, :], widen(as_float(anchors, boxes_wh.dtype))[None, :, :]
    return as_float(size_iou(xp, one[..., 0], one[..., 1], two[..., 0], two[..., 1]), boxes_wh.dtype)


def size_iou(xp: Namespace, w1: Array, h1: Array, w2: Array, h2: Array, eps: float = 0.0) -> Array:
    """Return the IoU of sizes that share a corner, from columns that broadcast; nothing is checked.

    `eps` is added to the union, if it is not 0.

    >>> one, two = np.asarray([10.0, 10.0]), np.asarray([10.0, 20.0])
    >>> size_iou(namespace_of(one), one, one, one, two)
    array([1. , 0.5])
    """
    inter = xp.minimum(w1, w2) * xp.minimum(h1, h2)
    union = w1 * h1 + w2 * h2 - inter
    return inter / (union + eps if eps else union)


def box_iou_pairs(
    boxes1: Array,
    boxes2: Array,
    /,
    *,
    kind: str = "iou",
    format: str = "cxcywh",
    eps: float = 1e-7,
    form: Optional[str] = None,
) -> Array:
    """Return the IoU, GIoU, DIoU or CIoU of each pair of boxes, with gradient.

    Parameters
    ----------
    boxes1, boxes2 : (N, 4) float of one dtype, with the columns of `format`; box i of one is compared with box i
        of the other
    kind : "iou", "giou" (minus the share of the enclosing box that is empty), "diou" (minus the squared distance of the
        centres over the squared diagonal of the enclosing box), "ciou" (diou minus a term for the aspect ratio)
    format : "cxcywh" (centre and size) or "xyxy" (corners)
    eps : added to denominators, and lower bound for heights in CIoU's aspect ratio; with 0, zero-size boxes give NaN
    form : the earlier name of `format`

    Returns
    -------
    (N,) float, dtype and device of the boxes (float32 for integers): iou in [0, 1], the others in [-1, 1] (ciou may be
    slightly below -1). No gradient flows through ciou's weight of the aspect term.

    Raises
    ------
    ShapeError, BackendMixError, ArrayTypeError; BadValueError for an unknown kind or format

    Source
    ------
    Rezatofighi et al., "Generalized Intersection over Union", 2019; Zheng et al., "Distance-IoU Loss", 2020.

    Examples
    --------
    >>> box_iou_pairs(np.asarray([[1., 1., 2., 2.]]), np.asarray([[2., 1., 2., 2.]]), eps=0.0).round(4)
    array([0.3333])
    """
    xp = namespace_of(boxes1=boxes1, boxes2=boxes2)
    check_shape(("N", 4), boxes1=boxes1)
    check_shape((int(boxes1.shape[0]), 4), boxes2=boxes2)
    check_one_of("kind", kind, _KINDS)
    format = format if form is None else form
    check_one_of("format", format, _FORMATS)
    _check_one_dtype(boxes1=boxes1, boxes2=boxes2)
    boxes1, boxes2 = as_float(boxes1), as_float(boxes2)
    return as_float(_iou_pairs(xp, widen(boxes1), widen(boxes2), kind, format, eps), boxes1.dtype)


def _iou_pairs(xp: Namespace, boxes1: Array, boxes2: Array, kind: str, format: str, eps: float) -> Array:
    left1, top1, right1, bottom1, w1, h1 = _sides(boxes1, format, eps)
    left2, top2, right2, bottom2, w2, h2 = _sides(boxes2, format, eps)
    inter_w = xp.clip(xp.minimum(right1, right2) - xp.maximum(left1, left2), min=0.0)
    inter_h = xp.clip(xp.minimum(bottom1, bottom2) - xp.maximum(top1, top2), min=0.0)
    inter = inter_w * inter_h
    union = w1 * h1 + w2 * h2 - inter + eps
    iou = inter / union
    if kind == "iou":
        return iou
    hull_w = xp.maximum(right1, right2) - xp.minimum(left1, left2)
    hull_h = xp.maximum(bottom1, bottom2) - xp.minimum(top1, top2)
    if kind == "giou":
        hull = hull_w * hull_h + eps
        return iou - (hull - union) / hull
    dx = left2 + right2 - left1 - right1  # twice the distance of the centres
    dy = top2 + bottom2 - top1 - bottom1
    diou = iou - (dx * dx + dy * dy) * 0.25 / (hull_w * hull_w + hull_h * hull_h + eps)
    if kind == "diou":
        return diou
    angle = xp.atan(w2 / xp.clip(h2, min=eps)) - xp.atan(w1 / xp.clip(h1, min=eps))
    aspect = angle * angle * (4 / math.pi**2)
    weight = xp.detach(aspect / (aspect - iou + (1 + eps)))
    return diou - aspect * weight


def box_iou(boxes1_xyxy: Array, boxes2_xyxy: Array, /) -> Array:
    """Return the IoU of every box of one set with every box of the other.

    Parameters
    ----------
    boxes1_xyxy, boxes2_xyxy : (N, 4) and (M, 4) float of one dtype, corners

    Returns
    -------
    (N, M) float in [0, 1]; 0 if both boxes have no area.

    Raises
    ------
    ShapeError, BackendMixError, ArrayTypeError

    Examples
    --------
    >>> box_iou(np.asarray([[0., 0., 2., 2.]]), np.asarray([[0., 0., 2., 1.], [4., 4., 5., 5.]]))
    array([[0.5, 0. ]])
    """
    xp = namespace_of(boxes1_xyxy=boxes1_xyxy, boxes2_xyxy=boxes2_xyxy)
    check_shape(("N", 4), boxes1_xyxy=boxes1_xyxy)
    check_shape(("M", 4), boxes2_xyxy=boxes2_xyxy)
    _check_one_dtype(boxes1_xyxy=boxes1_xyxy, boxes2_xyxy=boxes2_xyxy)
    boxes1_xyxy = as_float(boxes1_xyxy)
    one, two = widen(boxes1_xyxy)[:, None, :], widen(as_float(boxes2_xyxy))[None, :, :]
    inter_w = xp.clip(xp.minimum(one[..., 2], two[..., 2]) - xp.maximum(one[..., 0], two[..., 0]), min=0.0)
    inter_h = xp.clip(xp.minimum(one[..., 3], two[..., 3]) - xp.maximum(one[..., 1], two[..., 1]), min=0.0)
    inter = inter_w * inter_h  # (N, M)
    area1 = (one[..., 2] - one[..., 0]) * (one[..., 3] - one[..., 1])
    area2 = (two[..., 2] - two[..., 0]) * (two[..., 3] - two[..., 1])
    union = area1 + area2 - inter
    return as_float(inter / xp.where(union > 0, union, xp.ones_like(union)), boxes1_xyxy.dtype)


def _check_one_dtype(**named: Array) -> None:
    (name1, one), (name2, two) = named.items()
    if one.dtype != two.dtype:
        raise ShapeError(f"{name1} and {name2} must have one dtype, got {one.dtype} and {two.dtype}. Cast one of them.")


def _sides(boxes: Array, format: str, eps: float) -> tuple[Array, ...]:
    """Return left, top, right, bottom, width and height as columns (N,)."""
    if format == "xyxy":
        left, top, right, bottom = (boxes[:, i] for i in range(4))
        xp = namespace_of(boxes)
        height = xp.clip(bottom - top, min=eps)  # YOLOv5 also uses this height in the area, but only for corners
        return left, top, right, bottom, right - left, height
    x, y, w, h = (boxes[:, i] for i in range(4))
    return x - w * 0.5, y - h * 0.5, x + w * 0.5, y + h * 0.5, w, h
