"""Cases of decode and of the loss with masks, and its gradient."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.training import decode
from anchorlib.verify import inputs, oracle_masks
from anchorlib.verify.cases import Case, Cases
from anchorlib.verify.compare import Answers
from anchorlib.verify.targets import Target
from anchorlib.verify.training import LOSS_RTOL
from anchorlib.yolov5.segment import ComputeLoss

_N_PROTOTYPES = 4
_COLUMNS = 5 + inputs.N_CLASSES


def decode_cases(seed: int) -> list[Case]:
    """Return cases of decode: square and other grids, one layer and several."""
    made = Cases("decode", seed)
    for label, shapes in (("square", inputs.SQUARE), ("wide", inputs.WIDE), ("one layer", inputs.WIDE[:1])):
        rng = made.rng()
        grid = inputs.grid_anchors(rng, len(shapes))
        p = inputs.predictions(rng, shapes, grid.shape[1])
        for dtype in ("float32", "float64"):
            cast = [layer.astype(dtype) for layer in p]
            run, slow = functools.partial(_decoded, cast, grid), functools.partial(_slow_decoded, cast, grid)
            made.add(f"{label} {dtype}", run, slow, rtol=LOSS_RTOL)
    return made.made


def _decoded(p: list[HostArray], grid: HostArray, target: Target) -> Answers:
    found = decode([target.array(layer) for layer in p], target.array(grid), inputs.STRIDES[: len(p)])
    return dict(zip(("boxes", "objectness", "classes"), map(target.host, found)))


def _slow_decoded(p: list[HostArray], grid: HostArray) -> Answers:
    rows = oracle_masks.decode(p, grid, inputs.STRIDES)
    return {"boxes": rows[..., :4], "objectness": rows[..., 4], "classes": rows[..., 5:]}


def mask_cases(seed: int) -> list[Case]:
    """Return cases of the loss with masks: both forms of the masks, other sizes, no targets, targets in any order."""
    made = Cases("masks", seed)
    for overlap in (False, True):
        for label, n_targets, mask_size in (("no targets", 0, 16), ("some targets", 20, 16), ("larger masks", 12, 32)):
            rng = made.rng()
            rows = inputs.targets(rng, n_targets)
            p = inputs.predictions(rng, inputs.SQUARE, 3)
            p = [np.concatenate([x, rng.normal(0, 1, (*x.shape[:4], _N_PROTOTYPES))], axis=4) for x in p]
            proto = rng.normal(0, 1, (2, _N_PROTOTYPES, 16, 16)).astype(np.float32)
            number = rng.integers(0, 1 + n_targets, (2, mask_size, mask_size))
            masks = number if overlap else rng.random((n_targets, mask_size, mask_size)) < 0.5
            given = SimpleNamespace(
                p=[layer.astype(np.float32) for layer in p],
                proto=proto,
                targets=rows,
                masks=masks.astype(np.float32),
                anchors_grid=inputs.grid_anchors(rng),
                hyp={**inputs.HYP, "label_smoothing": 0.0},
                nc=inputs.N_CLASSES,
                overlap=overlap,
            )
            label = f"{label}, {'one image of numbers' if overlap else 'one mask each'}"
            run, slow = functools.partial(_loss, given), functools.partial(_slow_loss, given)
            made.add(label, run, slow, rtol=LOSS_RTOL)
            run, slow = functools.partial(_gradient, given), functools.partial(_slow_gradient, given)
            made.add(f"gradient, {label}", run, slow, rtol=LOSS_RTOL, needs_gradient=True)
    return made.made


def _outputs(given: SimpleNamespace, target: Target) -> tuple[Any, Any, list[Any]]:
    """Return loss, items, and the arrays that have a gradient: each of p, and the prototypes."""
    model = inputs.model(target, given.anchors_grid)
    model.model[0].nm = _N_PROTOTYPES
    arrays = [target.differentiable(x) for x in (*given.p, given.proto)]
    targets, masks = target.array(given.targets), target.array(given.masks)
    loss, items = ComputeLoss(model, overlap=given.overlap)((arrays[:-1], arrays[-1]), targets, masks)
    return loss, items, arrays


def _loss(given: SimpleNamespace, target: Target) -> Answers:
    loss, items, _ = _outputs(given, target)
    return {"loss": target.host(loss), "items": target.host(items)}


def _gradient(given: SimpleNamespace, target: Target) -> Answers:
    loss, _, arrays = _outputs(given, target)
    *by_p, by_proto = target.gradients(loss, arrays)
    return _named([gradient[..., _COLUMNS:] for gradient in by_p], by_proto)


def _slow_loss(given: SimpleNamespace) -> Answers:
    loss, items, _ = oracle_masks.compute_loss(**vars(given))
    return {"loss": np.asarray([loss]), "items": np.asarray(items)}


def _slow_gradient(given: SimpleNamespace) -> Answers:
    _, by_p, by_proto = oracle_masks.mask_loss(**vars(given))
    return _named([gradient[..., _COLUMNS:] for gradient in by_p], by_proto)


def _named(by_coefficients: list[HostArray], by_proto: HostArray) -> Answers:
    named = {f"by the coefficients of p[{i}]": gradient for i, gradient in enumerate(by_coefficients)}
    return {**named, "by the prototypes": by_proto}
