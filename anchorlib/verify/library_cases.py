"""The cases of this library, by subject. The cases of training are in `training`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.boxes import wh_iou
from anchorlib.fitting import DISTANCES, INITS, UPDATES, evolve, fit_anchors, kmeans
from anchorlib.metrics import score, size_ratio
from anchorlib.verify import inputs, masks, namespace_cases, oracle, ota, training, yolov2
from anchorlib.verify.cases import Case, Cases
from anchorlib.verify.compare import Answers
from anchorlib.verify.targets import Target
from anchorlib.yolov5 import check_anchor_order, check_anchors


def metric_cases(seed: int) -> list[Case]:
    """Return the cases of size_ratio, wh_iou and score: at the threshold and next to it, with and without weights."""
    made = Cases("metrics", seed)
    for name, function, slow in (("size_ratio", size_ratio, oracle.size_ratio), ("wh_iou", wh_iou, oracle.wh_iou)):
        rng = made.rng()
        boxes, anchors = inputs.sizes(rng, 40), inputs.anchors(rng, 9)
        made.add(
            name,
            functools.partial(_metric, function, boxes, anchors),
            functools.partial(_slow_metric, slow, boxes, anchors),
        )
    for thr, weighted in ((4.0, False), (2.0, False), (2.9, True)):
        rng = made.rng()
        boxes, anchors = inputs.sizes(rng, 50), inputs.anchors(rng, 9)
        boxes[:9] = anchors * np.float32(thr)  # at the limit: no match, because the test is strict
        boxes[9:18] = np.nextafter(boxes[:9], np.float32(0))
        weights = rng.integers(0, 5, len(boxes)) if weighted else None
        made.add(
            f"score at thr {thr:g}{', weights' if weighted else ''}",
            functools.partial(_score, boxes, anchors, thr, weights),
            functools.partial(_slow_score, boxes, anchors, thr, weights),
        )
    return made.made


def _metric(function: Callable[..., Any], boxes: HostArray, anchors: HostArray, target: Target) -> Answers:
    return {"metric": target.host(function(target.array(boxes), target.array(anchors)))}


def _slow_metric(function: Callable[..., Any], boxes: HostArray, anchors: HostArray) -> Answers:
    return {"metric": function(boxes, anchors)}


def _score(boxes: HostArray, anchors: HostArray, thr: float, weights: Any, target: Target) -> Answers:
    weights = None if weights is None else target.array(weights)
    result = score(target.array(boxes), target.array(anchors), thr, weights=weights)
    return {name: np.asarray(getattr(result, name)) for name in ("bpr", "aat", "fitness", "mean_best")}


def _slow_score(boxes: HostArray, anchors: HostArray, thr: float, weights: Any) -> Answers:
    result = oracle.score(boxes, anchors, thr, weights)
    return {name: np.asarray(result[name]) for name in ("bpr", "aat", "fitness", "mean_best")}


def fitting_cases(seed: int) -> list[Case]:
    """Return the cases of k-means, evolution and the direct search; NumPy gets the boxes in another order."""
    made = Cases("fitting", seed)

    def add(label: str, fit: Callable[[Any, Any], Any], n_boxes: int = 80) -> None:
        rng = made.rng()
        boxes, start = inputs.sizes(rng, n_boxes), inputs.anchors(rng, 9)
        shuffled = rng.permutation(boxes)
        made.add(
            label,
            lambda target: {"anchors": target.host(fit(target.array(boxes), target.array(start)))},
            lambda: {"anchors": fit(shuffled, start)},
        )

    def by_kmeans(how: tuple[str, str, str], boxes: Any, _: Any) -> Any:
        distance, update, init = how
        return kmeans(boxes, 9, distance=distance, update=update, init=init, seed=seed)

    for how in itertools.product(DISTANCES, UPDATES, INITS):
        add(f"kmeans {' '.join(how)}", functools.partial(by_kmeans, how))
    add("evolve", lambda boxes, start: evolve(boxes, start, generations=20, seed=seed))
    add("direct, 9", lambda boxes, _: fit_anchors(boxes, 9, seed=seed).anchors)
    add("direct, 5, from a start", lambda boxes, start: fit_anchors(boxes, 5, seed=seed, start=start[:5, :]).anchors)
    add("direct, iou", lambda boxes, _: fit_anchors(boxes, 6, seed=seed, objective="iou").anchors)
    return made.made


def order_cases(seed: int) -> list[Case]:
    """Return the cases of check_anchor_order and check_anchors, which change a model's anchors."""
    made = Cases("model anchors", seed)
    for label, reverse, equal in (("in order", False, False), ("reversed", True, False), ("no order", True, True)):
        layers = inputs.anchors(made.rng(), 9).reshape(3, 3, 2)
        layers = np.repeat(layers[:1], 3, axis=0) if equal else layers
        layers = np.ascontiguousarray(layers[::-1]) if reverse else layers
        made.add(
            f"check_anchor_order, {label}",
            functools.partial(order, check_anchor_order, layers),
            functools.partial(slow_order, layers),
        )
    rng = made.rng()
    images, grid = inputs.dataset(rng), np.full((3, 3, 2), 0.5, np.float32)
    made.add("check_anchors", functools.partial(refit, images, grid), lambda: refit(images, grid, Target("numpy")))
    return made.made


def order(function: Callable[[Any], Any], layers: HostArray, target: Target) -> Answers:
    """Return the anchors of a Detect module after `function`, which is check_anchor_order."""
    detect = inputs.model(target, layers).model[0]
    target.xp.overwrite(detect.anchor_grid, target.xp.reshape(detect.anchors, tuple(detect.anchor_grid.shape)))
    function(detect)
    return {"anchors": target.host(detect.anchors)}


def slow_order(layers: HostArray) -> Answers:
    """Return the expected order, from exact areas."""
    return {"anchors": oracle.check_anchor_order(layers, inputs.STRIDES)}


def refit(images: SimpleNamespace, grid: HostArray, target: Target) -> Answers:
    """Return the anchors of a model after check_anchors."""
    given = inputs.model(target, grid)
    check_anchors(images, given, imgsz=640, raise_errors=True)
    return {"anchors": target.host(given.model[0].anchors)}


#: subject -> its cases for a seed, in the order in which they run
SUBJECTS: dict[str, Callable[[int], list[Case]]] = {
    "functions": namespace_cases.cases,
    "metrics": metric_cases,
    "fitting": fitting_cases,
    "model anchors": order_cases,
    "build_targets": training.target_cases,
    "box IoU": training.iou_cases,
    "losses": training.loss_cases,
    "ComputeLoss": training.compute_loss_cases,
    "decode": masks.decode_cases,
    "masks": masks.mask_cases,
    "OTA": ota.ota_cases,
    "YOLOv2": yolov2.yolov2_cases,
}
