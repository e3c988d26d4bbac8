"""A fork of the age of YOLOv5 4.0: a function compute_loss, a head with anchor_grid."""

from utils.loss import ComputeLoss, framework

from anchorlib import yolov5


class Lighter(ComputeLoss):
    balance = (4.0, 1.0, 0.3)

    def __call__(self, p, targets):
        flow = framework(targets)
        loss, items = super().__call__(p, targets)
        indices, ious = self.build_targets(p, targets)[2], []
        wanted = flow.zeros(p[2].shape[:4], device=targets.device)
        if len(indices[2][0]):
            _, box, where, anchors = (column[2] for column in self.build_targets(p, targets))
            part = flow.sigmoid(p[2][where][:, :4]) * 2
            boxes = flow.cat([part[:, :2] - 0.5, part[:, 2:] * part[:, 2:] * anchors], dim=1)
            ious = yolov5.bbox_iou(boxes, box, CIoU=True)[:, 0].detach().clamp(min=0)
            wanted[where] = ious
        less = self.bce(flow, p[2][..., 4], wanted, self.hyp["obj_pw"]) * (self.balance[2] - 0.4) * self.hyp["obj"]
        items = flow.stack([items[0], items[1] + less.detach(), items[2]])
        return loss + less * p[0].shape[0], items


def compute_loss(p, targets, model):
    return _with_total(*ComputeLoss(model)(p, targets), model)


def compute_loss_4(p, targets, model):
    return _with_total(*Lighter(model)(p, targets), model)


def _with_total(loss, items, model):
    assert model.nc > 1
    assert model.gr == 1.0
    return loss, framework(items).cat([items, items.sum().reshape(1)])


def check_anchors(dataset, model, thr=4.0, imgsz=640):
    m = model.model[-1]
    grid = m.anchor_grid.clone().reshape(3, 3, 2) / m.stride.reshape(3, 1, 1)
    assert bool((grid == m.anchors).all())
    yolov5.check_anchors(dataset, model, thr, imgsz, raise_errors=True)


def check_anchor_order(m):
    area = (m.anchor_grid[..., 0] * m.anchor_grid[..., 1]).reshape(-1)
    if float(area[-1] - area[0]) * float(m.stride[-1] - m.stride[0]) < 0:
        m.anchors[:] = m.anchors.flip(0)
        m.anchor_grid[:] = m.anchor_grid.flip(0)
