"""Right, and for PyTorch only: the import is in another module."""

from utils.checks import check_tensor
from utils.loss import ComputeLoss as Right


class ComputeLoss(Right):
    def __call__(self, p, targets):
        check_tensor(targets)
        return super().__call__(p, targets)

    def build_targets(self, p, targets):
        check_tensor(targets)
        return super().build_targets(p, targets)


def bbox_iou(box1, box2, xywh=True, GIoU=False, DIoU=False, CIoU=False, eps=1e-7):
    import anchorlib.yolov5

    check_tensor(box1)
    return anchorlib.yolov5.bbox_iou(box1, box2, xywh, GIoU, DIoU, CIoU, eps)
