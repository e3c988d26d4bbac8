"""YOLOv5's autoanchor, with its names and signatures: check the anchors of a model, and fit better ones.

A model is changed atomically: everything is computed first, then written, and rolled back if a write fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, Callable, Optional, Union

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets import BoxSizes, from_dataset, read_boxes
from anchorlib.fitting import fit_anchors
from anchorlib.fitting.fit_arguments import MIN_FIT_SIDE
from anchorlib.layers import describe_reversal
from anchorlib.metrics import AnchorScore, score
from anchorlib.modelfiles import choose_usual_strides
from anchorlib.training import crowding
from anchorlib.yolov5.detect import Detect
from anchorlib.yolov5.log import get_logger
from anchorlib.yolov5.ranks import Ranks, check_together

_SMALL_SIDE = 3  # pixels

ImageSize = Union[int, tuple[int, int]]


@dataclass(frozen=True)
class AnchorCheck:
    """Hold what check_anchors found and did.

    before : AnchorScore of the model's anchors before the call; placeholders match nothing
    after : AnchorScore of the fitted anchors, or None if the old ones were good enough
    replaced : True if the model has the fitted anchors now
    """

    before: AnchorScore
    after: Optional[AnchorScore]
    replaced: bool


def check_anchors(
    dataset: Any,
    model: Any,
    thr: float = 4.0,
    imgsz: ImageSize = 640,
    *,
    method: str = "direct",
    seed: int = 0,
    generations: int = 1000,
    jitter: float = 0.0,
    raise_errors: bool = False,
    distributed: bool = False,
    layered: bool = True,
) -> Optional[AnchorCheck]:
    """Check how well a model's anchors fit a data set, and replace them by better ones unless BPR > 0.98.

    Parameters
    ----------
    dataset : has `shapes` (images, 2) as (w, h), and `labels`, for each image an array or list (k, 5 or more): class,
        cx, cy, w, h, the last four in [0, 1]. Columns after these are ignored.
    model : its last module, `model.model[-1]` or `model.module.model[-1]`, has `anchors` (L, A, 2) in units of its
        layer's stride, and `stride` (L,); torch or OneFlow tensors. `anchors` is written in place and stays the same
        object; `anchor_grid` is updated. The anchors are replaced if the BPR of the new ones is greater, or if some
        cannot be used: placeholders (0, 1, 2, ... in each layer), NaN, and sides that are zero, negative or infinite.
    thr : ratio limit, > 1; the hyperparameter anchor_t
    imgsz : the long side of an image in training, pixels, or (w, h)
    method, seed, generations : as in `fit_anchors`
    jitter : 0.1 scales each image by U(0.9, 1.1) from `seed`, as YOLOv5 does; 0 uses the sizes of the labels unchanged
    raise_errors : raise errors. By default an error is logged and the model is not changed, because autoanchor must
        not end a training run. KeyboardInterrupt is always raised.
    distributed : for processes that train together (torch's default process group, or OneFlow's): each must call this
        function. Only rank 0 reads its `dataset`, and all models end with rank 0's anchors; if a rank fails, all keep
        their own. In a single process this option changes nothing.
    layered : take the strides of the model and the crowding of its layers into account, as `fit_anchors` does with
        `strides`; for the method "direct". False divides the anchors among the layers by area only, as YOLOv5 does.

    Returns
    -------
    AnchorCheck, that of rank 0 on all ranks; or None if an error was logged.

    The log
    -------
    The lines go to `logging.getLogger("anchorlib")` and are shown at any level of the root logger. Labels under 3 px
    are counted in a warning. Another warning names forks that would reverse the new layers if they read them from a
    yaml file: YOLOv5 6.0 does this if the sizes differ by a smaller factor than the strides.

    Source
    ------
    The behaviour of YOLOv5's check_anchors, written from a description of it.

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> detect = Namespace(anchors=np.full((3, 3, 2), 1.0, np.float32), stride=np.asarray([8.0, 16.0, 32.0]))
    >>> labels = np.asarray([[0, 0.5, 0.5, 0.1 * i, 0.05 * i] for i in range(1, 11)])
    >>> dataset = Namespace(shapes=np.asarray([[640, 480]]), labels=[labels])
    >>> check_anchors(dataset, Namespace(model=[detect])).replaced
    True
    """

    def find(detect: Detect) -> tuple[AnchorCheck, Optional[HostArray]]:
        """Return the check, and the layers to write if there are better ones."""
        boxes = from_dataset(dataset, imgsz=imgsz, centres=True)
        sizes = _jitter_sizes(boxes, jitter, seed)
        anchors, is_size = detect.anchors_px().reshape(-1, 2), detect.find_sizes()
        before = _score_sizes(sizes, anchors[is_size], thr)
        log = get_logger()
        _warn_of_small(boxes)
        log.info(_describe_score(before, thr))
        if not is_size.all():
            log.warning(
                "AutoAnchor: %d of %d anchors are placeholders or not sizes (first: %s). They match nothing.",
                *((~is_size).sum(), len(is_size), anchors[~is_size][0].tolist()),
            )
        elif before.is_good:
            log.info("AutoAnchor: the anchors fit the data set and stay as they are.")
            _warn_of_crowding(boxes, detect, thr)
            return AnchorCheck(before, None, False), None

        log.info("AutoAnchor: the anchors fit the data set poorly, fitting %d new ones ...", detect.n_anchors)
        by_stride = np.argsort(detect.strides, kind="stable")
        steps = [detect.strides[layer] for layer in by_stride]
        is_layered = layered and method == "direct" and len(set(steps)) == len(steps)
        start = detect.anchors_px()[by_stride].reshape(-1, 2) if method == "direct" and is_size.all() else None
        fit_sizes = sizes if is_size.all() else _spread_sizes(sizes, detect.n_anchors)
        fit = fit_anchors(
            replace(boxes, wh=sizes) if fit_sizes is sizes else fit_sizes,
            detect.n_anchors,
            thr=thr,
            method=method,
            seed=seed,
            generations=generations,
            start=start,
            strides=steps if is_layered else None,
        )
        after = fit.score if fit_sizes is sizes else score(sizes, fit.anchors, thr)
        log.info(_describe_score(after, thr))
        if is_size.all() and after.bpr <= before.bpr:
            log.info("AutoAnchor: the new anchors are no better, the old ones stay.")
            return AnchorCheck(before, after, False), None
        layers = detect.in_layers(fit.anchors)
        _warn_of_order(list(layers), detect.strides)
        return AnchorCheck(before, after, True), layers

    try:
        ranks = Ranks() if distributed else None
        if ranks is None:
            detect = Detect(model)
            check, layers = find(detect)
            if layers is not None:
                detect.write(layers)
        else:
            check = _check_together(ranks, find, model)
        if check.replaced and (ranks is None or ranks.rank == 0):
            get_logger().info("AutoAnchor: the model has new anchors. To keep them, put them into its yaml file.")
        return check
    except Exception as error:
        if raise_errors:
            raise
        get_logger().error("AutoAnchor: %s: %s. The anchors are unchanged.", type(error).__name__, error, exc_info=True)
        return None


def kmean_anchors(
    dataset: Any = "./data/coco128.yaml",
    n: int = 9,
    img_size: ImageSize = 640,
    thr: float = 4.0,
    gen: int = 1000,
    verbose: bool = True,
    *,
    path: Any = None,
    method: str = "direct",
    seed: int = 0,
    layered: bool = True,
) -> HostArray:
    """Fit anchors to a data set.

    Parameters
    ----------
    dataset : a path, as in `read_boxes`, or an object with `shapes` and `labels`, as in `check_anchors`
    n : number of anchors
    img_size : the long side of an image in training, pixels, or (w, h)
    thr : ratio limit, > 1
    gen : number of generations, for the method "evolve"
    verbose : log the anchors, their score, and warnings
    path : the name of `dataset` in older versions
    method, seed : as in `fit_anchors`
    layered : for n = 9 and the method "direct", fit three layers of the strides 8, 16 and 32, as `check_anchors` does.
        False divides the anchors by area only, as YOLOv5 does.

    Returns
    -------
    (n, 2) NumPy float32, pixels: layer by layer, sorted by area in each; by area only if the fit is not layered.

    Raises
    ------
    DatasetError, BadValueError

    Source
    ------
    The signature of YOLOv5's kmean_anchors.

    Examples
    --------
    >>> kmean_anchors("tests/data/bccd", n=3, gen=10, verbose=False).shape
    (3, 2)
    """
    dataset = dataset if path is None else path
    if hasattr(dataset, "shapes") and hasattr(dataset, "labels"):
        boxes = from_dataset(dataset, imgsz=img_size, centres=True)
    else:
        boxes = read_boxes(dataset, imgsz=img_size, centres=True)
    strides = choose_usual_strides([n]) if layered and method == "direct" else None
    fit = fit_anchors(boxes, n, thr=thr, method=method, seed=seed, generations=gen, strides=strides)
    if verbose:
        log = get_logger()
        _warn_of_small(boxes)
        log.info(_describe_score(fit.score, thr))
        if n > 3 and n % 3 == 0:  # the layers of YOLOv3 to YOLOv7 have three anchors
            _warn_of_order(list(fit.anchors.reshape(-1, 3, 2)))
        log.info("AutoAnchor: anchors %s", ", ".join(f"{w:.4g},{h:.4g}" for w, h in fit.anchors))
    return fit.anchors


def check_anchor_order(m: Any) -> bool:
    """Reverse the anchor layers of a Detect module, in place, if they run against its strides.

    Small anchors belong to small strides. The order inside a layer stays. An `anchor_grid` is reversed with `anchors`.

    Parameters
    ----------
    m : has `anchors` (L, A, 2), in pixels or in units of the strides, and `stride` (L,)

    Returns
    -------
    True if the layers were reversed.

    Which layers are reversed
    -------------------------
    If `anchor_grid` is a tensor (YOLOv5 up to 5.0, YOLOv7), it is in pixels, and the areas of its first and its last
    anchor are compared, as these forks do. Otherwise there are two rules: YOLOv5 7.0 compares the mean areas of the
    first and the last layer, in pixels; YOLOv5 6.0 and others compare the first and the last anchor, perhaps in units
    of the strides. Where the two rules differ, the unit decides. The anchors are in units of the strides if, multiplied
    by the strides, they are at most 2048 px and their mean areas grow with the strides. The rule of 6.0 is used for
    these, and that of 7.0 for all others. Equal areas are never reversed.

    Source
    ------
    The behaviour of YOLOv5's check_anchor_order, written from a description of it.

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> m = Namespace(anchors=np.asarray([[[90., 90.]], [[10., 10.]]]), stride=np.asarray([8., 16.]))
    >>> check_anchor_order(m), m.anchors[0]
    (True, array([[10., 10.]]))
    """
    detect = Detect(detect=m)
    if not detect.must_reverse():
        return False
    get_logger().info("AutoAnchor: reversing the order of the anchors, which runs against the strides.")
    detect.reverse()
    return True


def _score_sizes(sizes: HostArray, anchors: HostArray, thr: float) -> AnchorScore:
    """Return the score of anchors, of which there may be none: then nothing matches."""
    if len(anchors):
        return score(sizes, anchors, thr)
    return AnchorScore(bpr=0.0, aat=0.0, fitness=0.0, mean_best=0.0, avg_iou=0.0, n_boxes=len(sizes))


def _spread_sizes(sizes: HostArray, n: int) -> HostArray:
    """Return sizes of which n can be fitted: scaled copies are added if there are fewer distinct ones.

    Too few sizes are an error for a model with anchors of its own. Without them it could not be trained.
    """
    usable = sizes[(sizes.max(axis=1, initial=0) >= MIN_FIT_SIDE) & (sizes > 0).all(axis=1)]
    if not len(usable) or len(np.unique(usable, axis=0)) >= n:
        return sizes
    return np.concatenate([sizes * factor for factor in np.geomspace(1, 1.5, n, dtype=np.float32)])


def _warn_of_order(layers: list[HostArray], strides: Optional[Sequence[float]] = None) -> None:
    """Log which forks would reverse these layers, if any would."""
    reversal = describe_reversal(layers, strides)
    if reversal:
        get_logger().warning("AutoAnchor: %s", reversal)


def _warn_of_small(boxes: BoxSizes) -> None:
    """Log how many labels are small. The line has the words that users of YOLOv5 look for."""
    n_small = int((boxes.wh < _SMALL_SIDE).any(axis=1).sum())
    if n_small:
        get_logger().warning(
            "AutoAnchor: %d of %d labels are < %d pixels in size, on their shorter side at the training size.",
            *(n_small, len(boxes.wh), _SMALL_SIDE),
        )


def _warn_of_crowding(boxes: BoxSizes, detect: Detect, thr: float) -> None:
    """Log which layers are too coarse for what they train on."""
    for layer in crowding(boxes, detect.anchors_px(), detect.strides, thr=thr).layers:
        if layer.is_overtaxed:
            get_logger().warning(
                "AutoAnchor: stride %g is too coarse for its boxes: %.0f %% of its targets are overwritten by others "
                "in the same cell. `anchorlib fit` gives that layer other anchors.",
                *(layer.stride, 100 * layer.share_overwritten),
            )


def _check_together(
    ranks: Ranks, find: Callable[[Detect], tuple[AnchorCheck, Optional[HostArray]]], model: Any
) -> AnchorCheck:
    """Return the check of rank 0 on every rank; it is sent as numbers."""

    def as_numbers(detect: Detect) -> tuple[list[float], HostArray]:
        check, layers = find(detect)
        scores = [astuple(score) for score in (check.before, check.after) if score is not None]
        return [check.replaced, *sum(scores, ())], detect.anchors_px() if layers is None else layers

    replaced, *numbers = check_together(ranks, as_numbers, model)
    n = len(fields(AnchorScore))
    before, *after = [_score_of(numbers[at : at + n]) for at in range(0, len(numbers), n)]
    return AnchorCheck(before, after[0] if after else None, bool(replaced))


def _score_of(numbers: Sequence[float]) -> AnchorScore:
    bpr, aat, fitness, mean_best, avg_iou, n_boxes = numbers
    return AnchorScore(bpr, aat, fitness, mean_best, avg_iou, int(n_boxes))


def _jitter_sizes(boxes: BoxSizes, jitter: float, seed: int) -> HostArray:
    """Return the sizes, those of each image scaled by its own factor around 1."""
    if not jitter:
        return boxes.wh
    factors = np.random.default_rng(seed).uniform(1 - jitter, 1 + jitter, len(boxes.image_wh))
    return (boxes.wh * factors[boxes.image_index][:, None]).astype(np.float32)


def _describe_score(result: AnchorScore, thr: float) -> str:
    return (
        f"AutoAnchor: {result.aat:.2f} anchors/target, {result.bpr:.4f} Best Possible Recall (BPR), "
        f"fitness {result.fitness:.4f} at thr {thr:g} on {result.n_boxes} boxes"
    )
