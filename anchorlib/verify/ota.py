"""Cases of YOLOv7's OTA losses: the matches of main and auxiliary heads, the loss, and its gradient."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.verify import inputs, oracle_losses, oracle_ota
from anchorlib.verify.cases import Case, Cases
from anchorlib.verify.compare import Answers
from anchorlib.verify.targets import Target
from anchorlib.verify.training import LOSS_RTOL, compare_gradients
from anchorlib.yolov7 import ComputeLossAuxOTA, ComputeLossOTA

_COLUMNS = ("image", "anchor", "gj", "gi", "targets", "anchor_wh")
_AUXILIARY_WEIGHT = 0.25
_WITH_GRADIENT = ("a grid that is not square", "cells that rows share")
_WITHOUT = ("half cells of 8 x 8", "half cells of 6 x 10", "sides at the limit 4", "sides at the limit 2")


@dataclass(frozen=True)
class _Given:
    assignment: inputs.Assignment
    p: list[HostArray]
    auxiliary: bool
    gr: float

    @functools.cached_property  # the cases of matches, loss and gradient share it, and it is slow
    def slow_heads(self) -> list[Any]:
        """Return the matched rows of each head by layer."""
        (ny, nx), n_layers = self.assignment.shapes[0], len(self.assignment.shapes)
        image_wh = (nx * inputs.STRIDES[0], ny * inputs.STRIDES[0])
        return [
            oracle_ota.assign(
                self.p[:n_layers],
                self.assignment.targets,
                self.assignment.anchors,
                inputs.STRIDES,
                image_wh,
                offset=offset,
                top=20 if self.auxiliary else 10,
            )
            for offset in ((0.5, 1.0) if self.auxiliary else (0.5,))
        ]


def ota_cases(seed: int) -> list[Case]:
    """Return the cases of ComputeLossOTA and ComputeLossAuxOTA."""
    made = Cases("OTA", seed)
    for assignment in [one for one in inputs.assignments(made.rng()) if one.label not in _WITHOUT]:
        for auxiliary in (False, True):
            rng = made.rng()
            n_heads = 2 if auxiliary else 1
            p = inputs.predictions(rng, assignment.shapes * n_heads, assignment.anchors.shape[1])
            given = _Given(assignment, p, auxiliary, gr=0.5 if auxiliary else 1.0)
            label = f"{assignment.label}{', auxiliary heads' if auxiliary else ''}"
            made.add(f"matches, {label}", functools.partial(_matches, given), functools.partial(_slow_matches, given))
            run, slow = functools.partial(_loss, given), functools.partial(_slow_loss, given)
            made.add(f"loss, {label}", run, slow, rtol=LOSS_RTOL)
            if assignment.label in _WITH_GRADIENT:
                run, slow = functools.partial(_gradient, given), functools.partial(_slow_gradient, given)
                made.add(f"gradient, {label}", run, slow, compare=compare_gradients, needs_gradient=True)
    return made.made


def _arguments(given: _Given, target: Target, differentiable: bool = False) -> tuple[Any, list[Any], Any, Any]:
    """Return the loss object, predictions, targets and images."""
    model = inputs.model(target, given.assignment.anchors)
    model.gr = given.gr
    height, width = (int(side * inputs.STRIDES[0]) for side in given.assignment.shapes[0])
    images = target.array(np.zeros((2, 3, height, width), np.float32))
    p = [target.differentiable(layer) if differentiable else target.array(layer) for layer in given.p]
    loss = (ComputeLossAuxOTA if given.auxiliary else ComputeLossOTA)(model)
    return loss, p, target.array(given.assignment.targets), images


def _matches(given: _Given, target: Target) -> Answers:
    compute_loss, *arguments = _arguments(given, target)
    heads = [compute_loss.build_targets(*arguments)]
    if given.auxiliary:
        heads.append(compute_loss.build_aux_targets(*arguments))
    return {
        f"{head}.{i}.{name}": target.host(layer)
        for head, lists in enumerate(heads)
        for name, column in zip(_COLUMNS, lists)
        for i, layer in enumerate(column)
    }


def _slow_matches(given: _Given) -> Answers:
    heads = [
        [{**rows, "targets": given.assignment.targets[rows["target"]]} for rows in layers]
        for layers in given.slow_heads
    ]
    return {
        f"{head}.{i}.{name}": rows[name]
        for head, layers in enumerate(heads)
        for name in _COLUMNS
        for i, rows in enumerate(layers)
    }


def _loss(given: _Given, target: Target) -> Answers:
    compute_loss, *arguments = _arguments(given, target)
    loss, items = compute_loss(*arguments)
    return {"loss": target.host(loss), "items": target.host(items)}


def _gradient(given: _Given, target: Target) -> Answers:
    compute_loss, p, targets, images = _arguments(given, target, differentiable=True)
    loss, _ = compute_loss(p, targets, images)
    return {f"by p[{i}]": gradient for i, gradient in enumerate(target.gradients(loss, p))}


def _slow_part(given: _Given, head: int, function: Any, **options: Any) -> Any:
    """Return `function` of one head: `compute_loss` or `compute_loss_gradient`."""
    n_layers, weight = len(given.assignment.shapes), _AUXILIARY_WEIGHT if head else 1.0
    hyp = {**inputs.HYP, **{gain: inputs.HYP[gain] * weight for gain in ("box", "obj", "cls")}}
    p = given.p[head * n_layers : (head + 1) * n_layers]
    targets, anchors, *_ = given.assignment[1:]
    options = {"gr": given.gr, "matches": given.slow_heads[head], **options}
    return function(p, targets, anchors, hyp, inputs.N_CLASSES, **options)


def _slow_loss(given: _Given) -> Answers:
    parts = [_slow_part(given, head, oracle_losses.compute_loss) for head in range(2 if given.auxiliary else 1)]
    items = np.sum([items for _, items, _ in parts], axis=0)
    return {"loss": np.asarray([sum(loss for loss, _, _ in parts)]), "items": np.append(items, items.sum())}


def _slow_gradient(given: _Given) -> Answers:
    """Return the gradient by differences; NaN where it is one-sided: see compare_gradients."""
    gradients: list[HostArray] = []
    for head in range(2 if given.auxiliary else 1):
        kinks: list[Any] = []
        layers = _slow_part(given, head, oracle_losses.compute_loss_gradient, kinks=kinks)
        for layer, *cell in kinks:
            layers[layer][tuple(cell)][:4] = np.nan
        gradients += layers
    return {f"by p[{i}]": gradient for i, gradient in enumerate(gradients)}
