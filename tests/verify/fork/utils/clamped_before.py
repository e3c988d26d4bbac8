"""Wrong on purpose: the limits come before the step."""

from utils.loss import ComputeLoss as Right
from utils.loss import framework


class ComputeLoss(Right):
    def cut(self, xy, step, nx, ny):
        flow = framework(xy)
        inside = flow.stack([xy[:, 0].clamp(0, nx - 1), xy[:, 1].clamp(0, ny - 1)], dim=1)
        return (inside - step).to(flow.int64)
