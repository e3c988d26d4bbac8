"""Wrong on purpose: what `clamp` returns is thrown away."""

from utils.loss import ComputeLoss as Right
from utils.loss import framework


class ComputeLoss(Right):
    def cut(self, xy, step, nx, ny):
        cell = (xy - step).to(framework(xy).int64)
        cell[:, 0].clamp(0, nx - 1)
        cell[:, 1].clamp(0, ny - 1)
        return cell


def build_targets(p, targets, model):
    return ComputeLoss(model).build_targets(p, targets)
