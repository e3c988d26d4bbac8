"""Drop-in names and signatures of YOLOv5 and one-yolov5: utils/autoanchor.py and utils/loss.py."""

from anchorlib.yolov5.autoanchor import AnchorCheck, check_anchor_order, check_anchors, kmean_anchors

__all__ = ["AnchorCheck", "check_anchor_order", "check_anchors", "kmean_anchors"]
