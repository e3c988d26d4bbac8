"""Drop-in names and signatures of YOLOv5 and one-yolov5: utils/autoanchor.py and utils/loss.py."""

from anchorlib.yolov5.autoanchor import AnchorCheck, check_anchor_order, check_anchors, kmean_anchors
from anchorlib.yolov5.loss import (
    BCEBlurWithLogitsLoss,
    BCEWithLogitsLoss,
    ComputeLoss,
    FocalLoss,
    QFocalLoss,
    bbox_iou,
    build_targets,
    compute_loss,
    smooth_BCE,
    smooth_bce,
    wh_iou,
)

__all__ = [
    "AnchorCheck",
    "BCEBlurWithLogitsLoss",
    "BCEWithLogitsLoss",
    "ComputeLoss",
    "FocalLoss",
    "QFocalLoss",
    "bbox_iou",
    "build_targets",
    "check_anchor_order",
    "check_anchors",
    "compute_loss",
    "kmean_anchors",
    "smooth_BCE",
    "smooth_bce",
    "wh_iou",
]
