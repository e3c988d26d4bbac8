"""Wrong on purpose, each in its own way."""

import anchorlib.yolov5


class ComputeLoss:
    def __init__(self, model):
        raise ValueError("a fork's own trouble")


def check_anchors(dataset, model, thr=4.0, imgsz=640):
    print("a fork may print")


def kmean_anchors(dataset, n=9, **options):
    return anchorlib.yolov5.kmean_anchors(dataset, n=n, **options) * 3


def check_anchor_order(m):
    m.anchors[:] = m.anchors.flip(0)


def bbox_iou(box1, box2, xywh=True, GIoU=False, DIoU=False, CIoU=False):
    return anchorlib.yolov5.bbox_iou(box1, box2, GIoU=DIoU, DIoU=GIoU, CIoU=CIoU)
