"""Cases for a fork's own code: import it from the current directory, and compare its answers with ours."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets import from_dataset
from anchorlib.errors import BadValueError
from anchorlib.fitting import fit_anchors
from anchorlib.metrics import score
from anchorlib.training.presets import PRESETS, find_preset
from anchorlib.verify import inputs
from anchorlib.verify.cases import Case, Cases
from anchorlib.verify.compare import ROW, Answers, differences, row_differences
from anchorlib.verify.frameworks import find_frameworks
from anchorlib.verify.library_cases import order, slow_order
from anchorlib.verify.targets import Target
from anchorlib.verify.training import (
    LOSS_RTOL,
    box_pairs,
    compare_gradients,
    gradient_of,
    loss_of,
    rows_of,
    slow_gradient,
    slow_iou,
    slow_loss,
    slow_targets,
)
from anchorlib.yolov5 import kmean_anchors

#: Fitted anchors may differ from ours, but may not be worse than this: forks draw theirs at random.
BPR_BELOW, FITNESS_BELOW = 0.01, 0.03

_THR, _IMAGE_SIZE = 4.0, 640


def candidate_cases(spec: str, seed: int) -> list[Case]:
    """Return the cases for "module:name", chosen by the last part of the name; see NAMES.

    Raises
    ------
    BadValueError : it is not of that form, does not import, or has a name that is not known
    """
    module, _, path = spec.partition(":")
    name = path.rpartition(".")[2]
    if not module or name not in NAMES:
        raise BadValueError(
            f"a candidate is called module:name, with one of {', '.join(NAMES)} as its name, got {spec!r}."
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # it stays there: a fork imports more as it runs
    try:
        holder: Any = importlib.import_module(module)
        *outer, last = path.split(".")
        for part in outer:
            holder = getattr(holder, part)
        candidate = getattr(holder, last)
    except Exception as error:  # whatever its modules raise
        raise BadValueError(f"candidate {spec} did not import: {type(error).__name__}: {error}") from error
    made_by = candidate if not outer else holder
    if outer:  # a method: of an object made for the model
        method = holder
        candidate = lambda *arguments: getattr(method(arguments[-1]), last)(*arguments[:-1])  # noqa: E731
    made = Cases(spec, seed, find_frameworks(_home_of(made_by, module), os.getcwd()))
    NAMES[name](made, candidate)
    return made.made


def _home_of(candidate: Any, module: str) -> Any:
    """Return the module that defines a candidate, which may be another than the one that it is imported from."""
    defined_in = candidate.__module__ if isinstance(candidate, (type, FunctionType)) else module
    return sys.modules.get(defined_in) or sys.modules[module]


def _compute_loss_object(made: Cases, candidate: Any) -> None:
    """Add the cases of ComputeLoss: targets, loss, items and gradient; also with focal loss, weights and smoothing."""
    given_here = list(inputs.assignments(made.rng()))
    for given in given_here:
        _add_targets(made, given, lambda p, targets, model: candidate(model).build_targets(p, targets))
    _add_losses(made, given_here, candidate, _if_cells_are_there)


def _compute_loss_function(made: Cases, candidate: Any) -> None:
    """Add the cases of compute_loss(p, targets, model), the function of YOLOv5 3.0 to 4.0: loss, items and gradient."""

    def make(model: Any) -> Callable[..., Any]:
        return lambda p, targets: candidate(p, targets, model)

    _add_losses(made, list(inputs.assignments(made.rng())), make, lambda run, *arguments: run(*arguments))


def _add_losses(made: Cases, given_here: list[inputs.Assignment], candidate: Any, run: Callable[..., Answers]) -> None:
    """Add a case of the loss and one of its gradient for each input of three layers; `run` calls loss_of and so on."""
    ways: list[tuple[inputs.Assignment, dict[str, float]]] = [(given, {"anchor_t": given.thr}) for given in given_here]
    ways += [
        (given_here[2], {"fl_gamma": 1.5}),
        (given_here[2], {"cls_pw": 0.7, "obj_pw": 1.3, "label_smoothing": 0.1}),
    ]
    for given, hyp in ways:
        if len(given.shapes) != 3:  # forks differ in the balance for other numbers of layers
            continue
        p = inputs.predictions(made.rng(), given.shapes, given.anchors.shape[1])
        label = ", ".join([given.label, *(f"{key} {value:g}" for key, value in hyp.items())])
        made.add(
            f"loss, {label}",
            functools.partial(run, loss_of, candidate, given, p, hyp),
            functools.partial(slow_loss, given, p, hyp),
            compare=functools.partial(_loss_differences, given, p, hyp),
        )
        made.add(
            f"gradient, {label}",
            functools.partial(run, gradient_of, candidate, given, p, hyp),
            functools.partial(slow_gradient, given, p, hyp),
            compare=compare_gradients,
            needs_gradient=True,
        )


def _loss_differences(
    given: inputs.Assignment, p: Any, hyp: dict[str, float], found: Answers, expected: Answers
) -> list[str]:
    """Return the differences of a loss; say so if it is the loss of a preset."""
    lines = differences(found, expected, LOSS_RTOL)
    for name in PRESETS if lines else ():
        balance, factors = find_preset(name, len(p))
        gains = {gain: {**inputs.HYP, **hyp}[gain] * factor for gain, factor in factors.items()}
        if not differences(found, slow_loss(given, p, {**hyp, **gains}, balance=balance), LOSS_RTOL):
            return [f"the loss is that of preset={name!r}, which anchorlib's ComputeLoss also has", *lines]
    return lines


def _if_cells_are_there(
    run: Any, candidate: Any, given: inputs.Assignment, p: Any, hyp: Any, target: Target
) -> Answers:
    """Compute the loss unless a cell is outside the grid, which ends a OneFlow process and breaks a CUDA device."""
    compute_loss = candidate(inputs.model(target, given.anchors, **hyp))
    indices = compute_loss.build_targets([target.array(x) for x in p], target.array(given.targets))[2]
    for layer, (cells, shape) in enumerate(zip(indices, given.shapes)):
        for name, index, length in zip(("gj", "gi"), cells[2:], shape):
            values = target.host(index)
            if values.size and not (values.min() >= 0 and values.max() < length):
                raise BadValueError(f"layer {layer} has a {name} outside [0, {length}): its loss was not computed")
    answers: Answers = run(candidate, given, p, hyp, target)
    return answers


def _build_targets(made: Cases, candidate: Any) -> None:
    """Add the cases of build_targets(p, targets, model), a function or a method of ComputeLoss."""
    for given in inputs.assignments(made.rng()):
        _add_targets(made, given, candidate)


def _add_targets(made: Cases, given: inputs.Assignment, build: Callable[[Any, Any, Any], Any]) -> None:
    p = inputs.predictions(made.rng(), given.shapes, given.anchors.shape[1])

    def run(target: Target) -> Answers:
        model = inputs.model(target, given.anchors, anchor_t=given.thr)
        classes, boxes, indices, anchors = build([target.array(x) for x in p], target.array(given.targets), model)
        layers = [
            SimpleNamespace(**dict(zip(ROW, (*where, cls, box, anchor_wh))))
            for cls, box, where, anchor_wh in zip(classes, boxes, indices, anchors)
        ]
        return rows_of(layers, given, target)

    compare = functools.partial(row_differences, targets=given.targets, ordered=False)
    made.add(f"build_targets, {given.label}", run, functools.partial(slow_targets, given), compare=compare)


def _check_anchors(made: Cases, candidate: Any) -> None:
    """Add the cases of check_anchors(dataset, model, thr=, imgsz=): good anchors stay, poor ones are replaced."""
    images = inputs.dataset(made.rng())
    strides = np.asarray(inputs.STRIDES, np.float32)[:, None, None]
    sizes = from_dataset(images, imgsz=_IMAGE_SIZE).wh
    good = fit_anchors(sizes, 9).anchors.reshape(3, 3, 2) / strides
    for label, grid in (("that fit", good), ("that do not", np.full((3, 3, 2), 0.25, np.float32))):

        def run(target: Target, grid: HostArray = grid) -> Answers:
            model = inputs.model(target, grid)
            candidate(images, model, thr=_THR, imgsz=_IMAGE_SIZE)
            return {"anchors": target.host(model.model[0].anchors)}

        if label == "that fit":
            made.add(f"anchors {label} stay", run, lambda: {"anchors": good})
        else:
            compare = functools.partial(_score_differences, sizes, strides)
            made.add(f"anchors {label} are replaced", run, lambda: {"anchors": good}, compare=compare)


def _kmean_anchors(made: Cases, candidate: Any) -> None:
    """Add the cases of kmean_anchors(dataset, n=, img_size=, thr=, gen=, verbose=): n anchors as good as ours."""
    images = inputs.dataset(made.rng())
    sizes = from_dataset(images, imgsz=_IMAGE_SIZE).wh
    for n in (9, 5):
        made.add(
            f"{n} anchors",
            functools.partial(_fitted, candidate, images, n),
            functools.partial(_ours, images, n),
            compare=functools.partial(_score_differences, sizes, 1.0),
        )


def _fitted(candidate: Any, images: SimpleNamespace, n: int, target: Target) -> Answers:
    return {"anchors": np.asarray(candidate(images, n=n, img_size=_IMAGE_SIZE, thr=_THR, gen=1000, verbose=False))}


def _ours(images: SimpleNamespace, n: int) -> Answers:
    return {"anchors": kmean_anchors(images, n=n, img_size=_IMAGE_SIZE, thr=_THR, verbose=False)}


def _score_differences(sizes: HostArray, strides: Any, found: Answers, expected: Answers) -> list[str]:
    """Return a line if recall or fitness is lower than ours by more than the limit."""
    if found["anchors"].shape != expected["anchors"].shape:
        return [f"anchors: got shape {found['anchors'].shape}, expected {expected['anchors'].shape}"]
    theirs, ours = (score(sizes, (x["anchors"] * strides).reshape(-1, 2), _THR) for x in (found, expected))
    lines = []
    if theirs.bpr < ours.bpr - BPR_BELOW:
        lines.append(f"bpr: got {theirs.bpr:.4f}, ours is {ours.bpr:.4f}: more than {BPR_BELOW:g} lower")
    if theirs.fitness < ours.fitness * (1 - FITNESS_BELOW):
        lines.append(
            f"fitness: got {theirs.fitness:.4f}, ours is {ours.fitness:.4f}: more than {FITNESS_BELOW:.0%} lower"
        )
    return lines


def _check_anchor_order(made: Cases, candidate: Any) -> None:
    """Add the cases of check_anchor_order(m): the layers get the order of the strides."""
    layers = inputs.anchors(made.rng(), 9).reshape(3, 3, 2)
    for label, given in (("in order", layers), ("reversed", np.ascontiguousarray(layers[::-1]))):
        made.add(
            label,
            functools.partial(order, candidate, given),
            functools.partial(slow_order, given),
        )


def _bbox_iou(made: Cases, candidate: Any) -> None:
    """Add the cases of bbox_iou(box1, box2, xywh=True, GIoU=, DIoU=, CIoU=) for pairs of boxes."""
    one, two = box_pairs(made.rng())
    for kind, flag in (("iou", None), ("giou", "GIoU"), ("diou", "DIoU"), ("ciou", "CIoU")):

        def run(target: Target, kind: str = kind, flag: Any = flag) -> Answers:
            flags = {flag: True} if flag else {}
            return {kind: target.host(candidate(target.array(one), target.array(two), **flags)).reshape(-1)}

        made.add(kind, run, functools.partial(slow_iou, one, two, kind), rtol=LOSS_RTOL)


#: The last part of a candidate's name -> what makes its cases.
NAMES: dict[str, Callable[[Cases, Any], None]] = {
    "ComputeLoss": _compute_loss_object,
    "compute_loss": _compute_loss_function,
    "build_targets": _build_targets,
    "check_anchors": _check_anchors,
    "kmean_anchors": _kmean_anchors,
    "check_anchor_order": _check_anchor_order,
    "bbox_iou": _bbox_iou,
}
