"""The loss of a fork that does it right, written plainly: layer by layer, direction by direction, anchor by anchor."""

import math
import sys

STEPS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5))


class ComputeLoss:
    def __init__(self, model):
        self.anchors, self.hyp = model.model[-1].anchors, model.hyp

    def __call__(self, p, targets):
        flow, hyp = framework(targets), self.hyp
        cn = hyp.get("label_smoothing", 0.0) / 2
        box_loss = obj_loss = cls_loss = flow.zeros(1, device=targets.device)
        for predicted, cls, box, where, anchors, balance in zip(p, *self.build_targets(p, targets), (4.0, 1.0, 0.4)):
            wanted = flow.zeros(predicted.shape[:4], device=targets.device)
            if len(cls):
                rows = predicted[where]
                part = flow.sigmoid(rows[:, :4]) * 2
                iou = ciou(flow, flow.cat([part[:, :2] - 0.5, part[:, 2:] * part[:, 2:] * anchors], dim=1), box)
                box_loss = box_loss + (1 - iou).mean()
                wanted[where] = iou.detach().clamp(min=0)
                classes = flow.full(rows[:, 5:].shape, cn, device=targets.device)
                classes[flow.arange(len(cls), device=targets.device), cls] = 1 - cn
                cls_loss = cls_loss + self.bce(flow, rows[:, 5:], classes, hyp["cls_pw"])
            obj_loss = obj_loss + self.bce(flow, predicted[..., 4], wanted, hyp["obj_pw"]) * balance
        items = flow.cat([box_loss * hyp["box"], obj_loss * hyp["obj"], cls_loss * hyp["cls"]])
        return items.sum().reshape(1) * p[0].shape[0], items.detach()

    def bce(self, flow, x, y, pos_weight):
        below = flow.log(1 + flow.exp(-flow.abs(x))) + (-x).clamp(min=0)  # -log(sigmoid(x))
        loss = pos_weight * y * below + (1 - y) * (below + x)
        gamma = self.hyp["fl_gamma"]
        if gamma > 0:
            part = flow.sigmoid(x)
            loss = loss * (y * 0.25 + (1 - y) * 0.75) * (1 - y * part - (1 - y) * (1 - part)) ** gamma
        return loss.mean()

    def build_targets(self, p, targets):
        flow, layers = framework(targets), []
        for predicted, anchors in zip(p, self.anchors):
            ny, nx = predicted.shape[2:4]
            size = flow.tensor([nx, ny], dtype=flow.float32, device=targets.device)
            xy, wh = targets[:, 2:4] * size, targets[:, 4:6] * size
            rows = []
            for step in STEPS:
                near = self.near(xy, size, step)
                for number in range(len(anchors)):
                    ratio = wh / anchors[number]
                    fits = near & (flow.maximum(ratio, 1 / ratio).max(1)[0] < self.hyp["anchor_t"])
                    cell = self.cut(xy[fits], flow.tensor(step, device=targets.device), nx, ny)
                    box = flow.cat([xy[fits] - cell.to(flow.float32), wh[fits]], dim=1)
                    which = flow.full((len(box),), number, dtype=flow.int64, device=targets.device)
                    image_class = targets[fits, :2].to(flow.int64)
                    rows.append((image_class, box, which, cell, anchors[which]))
            image_class, box, which, cell, anchor_wh = (flow.cat(column, dim=0) for column in zip(*rows))
            layers.append((image_class[:, 1], box, (image_class[:, 0], which, cell[:, 1], cell[:, 0]), anchor_wh))
        return [list(column) for column in zip(*layers)]

    def near(self, xy, size, step):
        """Which centres are nearer than half a cell to the neighbour that `step` leads to."""
        if step == (0.0, 0.0):
            return xy[:, 0] == xy[:, 0]
        axis = 0 if step[0] else 1
        distance = xy[:, axis] if step[axis] > 0 else size[axis] - xy[:, axis]
        return (distance - distance.floor() < 0.5) & (distance > 1)

    def cut(self, xy, step, nx, ny):
        """The cell of a centre and a step: first the step, then the limits."""
        cell = (xy - step).to(framework(xy).int64)
        cell[:, 0].clamp_(0, nx - 1)
        cell[:, 1].clamp_(0, ny - 1)
        return cell


def ciou(flow, one, two, eps=1e-7):
    low = [flow.minimum(one[:, i] - one[:, i + 2] / 2, two[:, i] - two[:, i + 2] / 2) for i in (0, 1)]
    high = [flow.maximum(one[:, i] + one[:, i + 2] / 2, two[:, i] + two[:, i + 2] / 2) for i in (0, 1)]
    start = [flow.maximum(one[:, i] - one[:, i + 2] / 2, two[:, i] - two[:, i + 2] / 2) for i in (0, 1)]
    end = [flow.minimum(one[:, i] + one[:, i + 2] / 2, two[:, i] + two[:, i + 2] / 2) for i in (0, 1)]
    inter = (end[0] - start[0]).clamp(min=0) * (end[1] - start[1]).clamp(min=0)
    iou = inter / (one[:, 2] * one[:, 3] + two[:, 2] * two[:, 3] - inter + eps)
    apart = (one[:, 0] - two[:, 0]) ** 2 + (one[:, 1] - two[:, 1]) ** 2
    across = (high[0] - low[0]) ** 2 + (high[1] - low[1]) ** 2 + eps
    aspect = (flow.atan(two[:, 2] / two[:, 3]) - flow.atan(one[:, 2] / one[:, 3])) ** 2 * (4 / math.pi**2)
    return iou - apart / across - aspect * (aspect / (aspect - iou + 1 + eps)).detach()


def framework(array):
    return sys.modules["oneflow" if type(array).__module__.startswith("oneflow") else "torch"]
