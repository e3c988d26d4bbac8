"""Cases of YOLOv2: its targets, its loss, and the gradient of the loss."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.verify import inputs, oracle_losses, oracle_yolov2
from anchorlib.verify.cases import Case, Cases
from anchorlib.verify.compare import Answers
from anchorlib.verify.targets import Target
from anchorlib.verify.training import LOSS_RTOL
from anchorlib.yolov2 import build_targets, loss


def yolov2_cases(seed: int) -> list[Case]:
    """Return the cases: targets of square and other images, the loss, and its gradient for a small input."""
    made = Cases("YOLOv2", seed)
    for label, size in (("square", 256), ("not square", (320, 192))):
        rng = made.rng()
        anchors = inputs.grid_anchors(rng, 1, 5)[0]
        labels = [inputs.targets(rng, n)[:, 1:] for n in (8, 0, 20)]
        run = functools.partial(_yolov2_targets, labels, anchors, size)
        made.add(
            f"targets, {label}", run, functools.partial(_slow_yolov2_targets, labels, anchors, size), rtol=LOSS_RTOL
        )
        values = run(Target("numpy"))["values"].astype(np.float64)
        logits = [rng.normal(0, 1, (*values.shape[:2], *last)).astype(np.float32) for last in ((), (3,), (4,))]
        made.add(
            f"loss, {label}",
            functools.partial(_yolov2_loss, logits, values),
            functools.partial(_slow_yolov2_loss, logits, values),
            rtol=LOSS_RTOL,
        )  # fmt: skip
    rows = np.argsort(values[0, :, 0] != 1, kind="stable")[:12]  # the positives, and some others
    small, values = [x[:1, rows] for x in logits], values[:1, rows]
    made.add(
        "gradient of the loss",
        functools.partial(_yolov2_gradient, small, values),
        functools.partial(_slow_yolov2_gradient, small, values),
        rtol=LOSS_RTOL,
        needs_gradient=True,
    )
    return made.made


def _yolov2_targets(labels: list[HostArray], anchors: HostArray, size: Any, target: Target) -> Answers:
    given = [target.array(rows) for rows in labels]
    found = build_targets(given, target.array(anchors), input_size=size)
    return {"values": target.host(found.values), "collisions": np.asarray(found.n_collisions)}


def _slow_yolov2_targets(labels: list[HostArray], anchors: HostArray, size: Any) -> Answers:
    values, collisions = oracle_yolov2.yolov2_targets(labels, anchors, size)
    return {"values": values, "collisions": np.asarray(collisions)}


def _yolov2_loss(logits: list[HostArray], values: HostArray, target: Target) -> Answers:
    given = [target.array(x) for x in (*logits, values.astype(np.float32))]
    found = loss(*given)
    return {name: target.host(getattr(found, name)) for name in ("conf", "cls", "xy", "wh", "total")}


def _slow_yolov2_loss(logits: list[HostArray], values: HostArray) -> Answers:
    conf, cls, box = logits
    found = oracle_yolov2.yolov2_loss(conf, cls, box, values)
    return {name: np.asarray(found[name]) for name in ("conf", "cls", "xy", "wh", "total")}


def _yolov2_gradient(logits: list[HostArray], values: HostArray, target: Target) -> Answers:
    given = [target.differentiable(x) for x in logits]
    arrays = [*given, target.array(values.astype(np.float32))]
    gradients = target.gradients(loss(*arrays).total, given)
    return dict(zip(("conf", "cls", "box"), gradients))


def _slow_yolov2_gradient(logits: list[HostArray], values: HostArray) -> Answers:
    """Compute the gradient by finite differences, one logit at a time."""
    exact = [x.astype(np.float64) for x in logits]
    gradients = [np.zeros(x.shape) for x in exact]
    for x, gradient in zip(exact, gradients):
        for at in np.ndindex(*x.shape):
            before = x[at]
            total = functools.partial(_slow_total, [*exact, values], x, at)
            gradient[at] = oracle_losses.derivative(total, before)
            x[at] = before
    return dict(zip(("conf", "cls", "box"), gradients))


def _slow_total(arrays: list[HostArray], x: HostArray, at: tuple[int, ...], logit: float) -> float:
    """Return the loss with one entry of one of its arrays replaced by `logit`."""
    x[at] = logit
    return float(oracle_yolov2.yolov2_loss(*arrays)["total"])
