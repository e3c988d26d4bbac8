"""Compute binary cross-entropy and the losses that detectors build on it: blurred, focal and quality focal.

The losses have a gradient if the framework has one. Integers and 16-bit logits are cast to float32. Arguments of
different shapes raise ShapeError.
"""

from __future__ import annotations

from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import Array, Namespace, blocks, check_shape, widen
from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError
from anchorlib.training.loss_module import LossModule

_ROWS_ON_HOST = 2048
_REDUCTIONS = ("mean", "sum", "none")


def smooth_bce(eps: float = 0.1) -> tuple[float, float]:
    """Return the class targets (positive, negative) of label smoothing.

    >>> smooth_bce(0.1)
    (0.95, 0.05)
    """
    return 1.0 - 0.5 * eps, 0.5 * eps


class BCEWithLogitsLoss:
    """Compute the binary cross-entropy of logits.

    pos_weight : weight of the positive part, a number or an array that broadcasts
    reduction : "mean", "sum" or "none"

    >>> float(BCEWithLogitsLoss()(np.asarray([0.0]), np.asarray([1.0])).round(4))
    0.6931
    """

    def __init__(self, pos_weight: Optional[Union[float, Array]] = None, reduction: str = "mean") -> None:
        if reduction not in _REDUCTIONS:
            raise BadValueError(f"reduction must be one of {_REDUCTIONS}, got {reduction!r}.")
        self.pos_weight = pos_weight
        self.reduction = reduction

    def __call__(self, pred: Array, true: Array) -> Array:
        """Return the loss of logits `pred` (..., n) against `true` (..., n) in [0, 1]: (), or (..., n) for "none"."""
        xp, pred, true = _as_floats(pred, true)
        weight = self.pos_weight
        if isinstance(weight, (int, float)):
            weight = None if weight == 1 else xp.full((1,), weight, dtype=pred.dtype, device=xp.device_of(pred))
        return _reduced(xp.bce_with_logits(pred, true, pos_weight=weight), self.reduction)


class BCEBlurWithLogitsLoss(LossModule):
    """Compute binary cross-entropy with less weight on likely missing labels: confident predictions with target 0.

    Its objects are modules (`nn.Module`) of the imported frameworks (see LossModule).

    alpha : the smaller, the closer to 1 a prediction must be for its weight to fall

    >>> float(BCEBlurWithLogitsLoss()(np.asarray([9.0]), np.asarray([0.0])).round(4))
    0.0221
    """

    def __init__(self, alpha: float = 0.05) -> None:
        self.loss_fcn = BCEWithLogitsLoss(reduction="none")
        self.alpha = alpha

    def forward(self, pred: Array, true: Array) -> Array:
        """Return the mean loss of logits `pred` (..., n) against `true` (..., n) in [0, 1]: ()."""
        xp, pred, true = _as_floats(pred, true)
        loss = self.loss_fcn(pred, true)
        excess = xp.sigmoid(pred) - true
        return _reduced(loss * (1 - xp.exp((excess - 1) * (1 / (self.alpha + 1e-4)))), "mean")


class FocalLoss(LossModule):
    """Reduce the weight of another loss for predictions that are already right.

    Its objects are `nn.Module`s of the framework of `loss_fcn`, or of the imported frameworks (see LossModule).

    loss_fcn : BCEWithLogitsLoss, or any callable with a `reduction`. FocalLoss uses that reduction itself, and sets
        that of `loss_fcn` to "none".
    gamma : exponent; the greater, the faster the weight falls
    alpha : weight of positives; negatives have the weight 1 - alpha

    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017.

    >>> float(FocalLoss(BCEWithLogitsLoss())(np.asarray([0.0]), np.asarray([1.0])).round(4))
    0.0613
    """

    def __init__(self, loss_fcn: Any, gamma: float = 1.5, alpha: float = 0.25) -> None:
        self.loss_fcn = loss_fcn
        self.gamma = gamma
        self.alpha = alpha
        self.reduction: str = self.loss_fcn.reduction
        self.loss_fcn.reduction = "none"

    def forward(self, pred: Array, true: Array) -> Array:
        """Return the loss of logits `pred` (..., n) against `true` (..., n) in [0, 1]: (), or (..., n) for "none"."""
        xp, pred, true = _as_floats(pred, true)
        loss = self.loss_fcn(pred, true)
        alpha = true * self.alpha + (1 - true) * (1 - self.alpha)
        return _reduced(loss * alpha * self._modulation(xp, xp.sigmoid(pred), true), self.reduction)

    def _modulation(self, xp: Any, probability: Array, true: Array) -> Array:
        right = true * probability + (1 - true) * (1 - probability)
        return xp.pow(1 - right, self.gamma)


class QFocalLoss(FocalLoss):
    """Compute the focal loss for targets between 0 and 1: the weight grows with the distance from the target.

    Source: Li et al., "Generalized Focal Loss", 2020.

    >>> float(QFocalLoss(BCEWithLogitsLoss())(np.asarray([0.0]), np.asarray([0.5])).round(4))
    0.0
    """

    def _modulation(self, xp: Any, probability: Array, true: Array) -> Array:
        return xp.pow(xp.abs(true - probability), self.gamma)


def one_hot(xp: Namespace, logits: Array, cls: Array, positive: float, negative: float) -> Array:
    """Return (M, C) like `logits`: `positive` at the class of each row, in [0, C), and `negative` elsewhere.

    A class outside the range counts as the nearest valid class: refusing it would wait for the device.
    """
    n_rows, n_classes = logits.shape
    device = xp.device_of(logits)
    # Values are put, not compared with a row of classes: OneFlow takes 100 times as long for a broadcast comparison.
    cls = xp.clip(xp.astype(cls, xp.int64), min=0, max=n_classes - 1)
    place = xp.arange(n_rows, dtype=xp.int64, device=device) * n_classes + cls
    flat = xp.full((n_rows * n_classes,), negative, dtype=logits.dtype, device=device)
    flat = xp.put_rows(flat, place, xp.full((n_rows,), positive, dtype=logits.dtype, device=device))
    return xp.reshape(flat, (n_rows, n_classes))


def class_bce(logits: Array, cls: Array, positive: float, negative: float) -> tuple[Array, Array]:
    """Return the mean binary cross-entropy of `logits` (M, C) against `one_hot`, and its gradient; M > 0.

    It works on blocks of rows: temporary arrays for all rows at once would cost more time than the sums.
    """
    xp = namespace_of(logits)
    block = _ROWS_ON_HOST if xp.in_host_memory(logits) else logits.shape[0]
    share = 1 / (logits.shape[0] * logits.shape[1])
    total, gradients = None, []
    for rows in blocks(logits.shape[0], block):
        part = logits[rows, :]
        target = one_hot(xp, part, cls[rows], positive, negative)
        loss = xp.sum(xp.bce_with_logits(part, target))
        total = loss if total is None else total + loss
        gradients.append((xp.sigmoid(part) - target) * share)
    return as_array(total * share, logits.dtype), xp.concat(gradients, axis=0)


def as_array(value: Array, dtype: Any) -> Array:
    """Return a sum as an array () of `dtype`: a NumPy scalar would turn products into float64 before NumPy 2."""
    return np.asarray(value, dtype=dtype) if isinstance(value, np.generic) else value


def _as_floats(pred: Array, true: Array) -> tuple[Namespace, Array, Array]:
    """Return the namespace, `pred` with at least 32 bits, and `true` in the same dtype; their shapes must be equal."""
    xp = namespace_of(pred=pred, true=true)
    check_shape(tuple(pred.shape) or ("n",), pred=pred, true=true)
    pred = widen(pred)
    return xp, pred, true if true.dtype == pred.dtype else xp.astype(true, pred.dtype)


def _reduced(loss: Array, reduction: str) -> Array:
    xp = namespace_of(loss)
    if reduction == "none":
        return loss
    return as_array(xp.mean(loss) if reduction == "mean" else xp.sum(loss), loss.dtype)
