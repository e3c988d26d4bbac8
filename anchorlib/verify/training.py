"""Cases of training: targets, IoU, losses and their gradients."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.boxes import box_iou_pairs
from anchorlib.training import ComputeLoss, build_targets
from anchorlib.training.losses import BCEBlurWithLogitsLoss, BCEWithLogitsLoss, FocalLoss, QFocalLoss
from anchorlib.verify import inputs, oracle, oracle_losses
from anchorlib.verify.cases import Case, Cases
from anchorlib.verify.compare import ROW, Answers, differences, row_differences
from anchorlib.verify.targets import Target

#: Relative to the largest entry. Losses and gradients are sums of float32 values; the reference is float64.
LOSS_RTOL = 1e-5

_KINDS = ("iou", "giou", "diou", "ciou")


def target_cases(seed: int) -> list[Case]:
    """Return the cases of build_targets, with targets at every edge of a cell and grid."""
    made = Cases("build_targets", seed)
    rng = made.rng()
    for given in (*inputs.assignments(rng), *inputs.edge_assignments(rng)):
        made.add(
            given.label,
            functools.partial(_targets, given),
            functools.partial(slow_targets, given),
            compare=functools.partial(row_differences, targets=given.targets),
        )
    return made.made


def _targets(given: inputs.Assignment, target: Target) -> Answers:
    layers = build_targets(target.array(given.targets), target.array(given.anchors), given.shapes, thr=given.thr)
    return rows_of(layers, given, target)


def rows_of(layers: Sequence[Any], given: inputs.Assignment, target: Target) -> Answers:
    """Return the answers of build_targets in the form that `row_differences` takes."""
    answers = {}
    for i, (layer, shape) in enumerate(zip(layers, given.shapes)):
        answers.update({f"{i}.{name}": target.host(getattr(layer, name)) for name in ROW})
        answers[f"{i}.grid"] = np.asarray(shape)
    return answers


def slow_targets(given: inputs.Assignment) -> Answers:
    """Return the expected answers of build_targets, from a loop over targets, anchors and neighbours."""
    answers = {}
    for i, layer in enumerate(oracle.build_targets(given.targets, given.anchors, given.shapes, given.thr)):
        columns = {**layer, "cls": layer["tcls"], "box": layer["tbox"]}
        answers.update({f"{i}.{name}": columns[name] for name in ROW})
        answers[f"{i}.grid"] = np.asarray(given.shapes[i])
    return answers


def iou_cases(seed: int) -> list[Case]:
    """Return the cases of IoU, GIoU, DIoU and CIoU: boxes that are apart, touch, contain one another or are equal."""
    made = Cases("box IoU", seed)
    for kind in _KINDS:
        for form in ("cxcywh", "xyxy"):
            one, two = box_pairs(made.rng(), form)
            made.add(
                f"{kind} {form}",
                functools.partial(_iou, one, two, kind, form),
                functools.partial(slow_iou, one, two, kind, form),
                rtol=LOSS_RTOL,
            )
    return made.made


def box_pairs(rng: np.random.Generator, form: str = "cxcywh") -> tuple[HostArray, HostArray]:
    """Return two arrays of boxes, (24, 4) float32."""
    one, two = ((rng.integers(8, 64, (24, 4)) / 8).astype(np.float32) for _ in range(2))
    two[:6] = one[:6]  # equal
    two[6:12, :2] = one[6:12, :2] + np.float32(30)  # apart
    two[12:18, 2:] = one[12:18, 2:] * np.float32(0.5)  # one in the other
    if form == "xyxy":
        one[:, 2:] += one[:, :2]
        two[:, 2:] += two[:, :2]
    return one, two


def _iou(one: HostArray, two: HostArray, kind: str, form: str, target: Target) -> Answers:
    return {kind: target.host(box_iou_pairs(target.array(one), target.array(two), kind=kind, format=form))}


def slow_iou(one: HostArray, two: HostArray, kind: str, form: str = "cxcywh") -> Answers:
    """Compute the IoU of each pair in float64."""
    forms = {"cxcywh": "xywh", "xyxy": "xyxy"}
    return {kind: np.asarray([oracle_losses.box_iou(a, b, kind, forms[form]) for a, b in zip(one, two)])}


def loss_cases(seed: int) -> list[Case]:
    """Return the cases of the cross-entropy losses: values and gradients."""
    made = Cases("losses", seed)
    terms: dict[str, tuple[Callable[[], Any], Callable[..., float]]] = {
        "bce": (BCEWithLogitsLoss, oracle_losses.bce_term),
        "bce, pos_weight": (lambda: BCEWithLogitsLoss(1.5), functools.partial(oracle_losses.bce_term, pos_weight=1.5)),
        "blur": (BCEBlurWithLogitsLoss, oracle_losses.bce_blur_term),
        "focal": (lambda: FocalLoss(BCEWithLogitsLoss()), oracle_losses.focal_term),
        "quality focal": (lambda: QFocalLoss(BCEWithLogitsLoss()), oracle_losses.qfocal_term),
    }
    for label, (make, term) in terms.items():
        rng = made.rng()
        logits = rng.normal(0, 3, (6, 5)).astype(np.float32)
        wanted = rng.random((6, 5))
        near = abs(1 / (1 + np.exp(-logits)) - wanted) < 0.1  # where the quality focal loss has no smooth gradient
        wanted = np.where(near, (wanted + 0.5) % 1, wanted).astype(np.float32)
        made.add(
            label,
            functools.partial(_loss, make, logits, wanted),
            functools.partial(_slow_loss_value, term, logits, wanted),
            rtol=LOSS_RTOL,
        )
        made.add(
            f"gradient of {label}",
            functools.partial(_loss_gradient, make, logits, wanted),
            functools.partial(_slow_loss_gradient, term, logits, wanted),
            rtol=LOSS_RTOL,
            needs_gradient=True,
        )
    return made.made


def _loss(make: Callable[[], Any], logits: HostArray, wanted: HostArray, target: Target) -> Answers:
    return {"loss": target.host(make()(target.array(logits), target.array(wanted)))}


def _slow_loss_value(term: Callable[..., float], logits: HostArray, wanted: HostArray) -> Answers:
    terms = [term(float(x), float(y)) for x, y in zip(logits.ravel(), wanted.ravel())]
    return {"loss": np.asarray(math.fsum(terms) / len(terms))}


def _loss_gradient(make: Callable[[], Any], logits: HostArray, wanted: HostArray, target: Target) -> Answers:
    x = target.differentiable(logits)
    return {"gradient": target.gradients(make()(x, target.array(wanted)), [x])[0]}


def _slow_loss_gradient(term: Callable[..., float], logits: HostArray, wanted: HostArray) -> Answers:
    return {"gradient": oracle_losses.loss_gradient(term, logits, wanted)}


def compute_loss_cases(seed: int) -> list[Case]:
    """Return the cases of ComputeLoss: value, items, and the gradient by every prediction."""
    made = Cases("ComputeLoss", seed)
    ways: list[tuple[str, dict[str, float], dict[str, Any]]] = [
        ("focal", {"fl_gamma": 1.5}, {}),
        ("weights and smoothing", {"cls_pw": 0.7, "obj_pw": 1.3, "label_smoothing": 0.1}, {}),
        ("the largest IoU wins", {}, {"sort_obj_iou": True}),
        ("half of the IoU", {}, {"gr": 0.5}),
    ]
    rng = made.rng()
    plain = [given for given in inputs.assignments(rng) if len(given.shapes) == 3]
    shared = next(given for given in plain if given.label == "cells that rows share")
    for given in plain:
        _add_loss(made, given, given.label, {"anchor_t": given.thr}, {})
    for label, hyp, options in ways:
        _add_loss(made, shared, label, hyp, options)
    return made.made


def _add_loss(
    made: Cases, given: inputs.Assignment, label: str, hyp: dict[str, float], options: dict[str, Any]
) -> None:
    p = inputs.predictions(made.rng(), given.shapes, given.anchors.shape[1])

    def function(model: Any) -> ComputeLoss:
        compute_loss = ComputeLoss(model)
        for name, value in options.items():
            setattr(compute_loss, name, value)
        return compute_loss

    made.add(
        label,
        functools.partial(loss_of, function, given, p, hyp),
        functools.partial(slow_loss, given, p, hyp, **options),
        rtol=LOSS_RTOL,
    )
    made.add(
        f"gradient, {label}",
        functools.partial(gradient_of, function, given, p, hyp),
        functools.partial(slow_gradient, given, p, hyp, **options),
        compare=compare_gradients,
        needs_gradient=True,
    )


def loss_of(
    make: Callable[[Any], Any], given: inputs.Assignment, p: list[HostArray], hyp: dict[str, float], target: Target
) -> Answers:
    """Return loss and items of `make(model)`, a ComputeLoss, for predictions `p`."""
    compute_loss = make(inputs.model(target, given.anchors, **hyp))
    loss, items = compute_loss([target.array(layer) for layer in p], target.array(given.targets))
    return {"loss": target.host(loss).reshape(-1), "items": target.host(items)[:3]}


def gradient_of(
    make: Callable[[Any], Any], given: inputs.Assignment, p: list[HostArray], hyp: dict[str, float], target: Target
) -> Answers:
    """Return the gradient of that loss by each layer of `p`."""
    compute_loss = make(inputs.model(target, given.anchors, **hyp))
    layers = [target.differentiable(layer) for layer in p]
    loss, _ = compute_loss(layers, target.array(given.targets))
    return {f"by p[{i}]": gradient for i, gradient in enumerate(target.gradients(loss, layers))}


def slow_loss(given: inputs.Assignment, p: list[HostArray], hyp: dict[str, float], **options: Any) -> Answers:
    """Compute the expected loss cell by cell, in float64."""
    hyp = {**inputs.HYP, **hyp}
    loss, items, _ = oracle_losses.compute_loss(p, given.targets, given.anchors, hyp, inputs.N_CLASSES, **options)
    return {"loss": np.asarray([loss]), "items": np.asarray(items)}


def slow_gradient(given: inputs.Assignment, p: list[HostArray], hyp: dict[str, float], **options: Any) -> Answers:
    """Compute the gradient by finite differences; it is NaN where it is one-sided: see compare_gradients."""
    hyp, kinks = {**inputs.HYP, **hyp}, []  # type: ignore[var-annotated]
    gradients = oracle_losses.compute_loss_gradient(
        p, given.targets, given.anchors, hyp, inputs.N_CLASSES, kinks=kinks, **options
    )
    for layer, *cell in kinks:
        gradients[layer][tuple(cell)][:4] = np.nan
    return {f"by p[{i}]": gradient for i, gradient in enumerate(gradients)}


def compare_gradients(found: Answers, expected: Answers) -> list[str]:
    """Return the differences, except where the reference is NaN: rounding decides the side of the gradient there."""
    decided = {
        name: np.where(np.isnan(expected[name]), expected[name], values) if name in expected else values
        for name, values in found.items()
    }
    return differences(decided, expected, LOSS_RTOL)
