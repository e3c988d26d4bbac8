"""YOLOv5's autoanchor, with its names and signatures: does a model fit a data set, and if not, better anchors.

A model is changed atomically: everything is computed first, then written, and rolled back if a write fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Callable, Optional, Union

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets import BoxSizes, from_dataset, read_boxes
from anchorlib.fitting import fit_anchors
from anchorlib.layers import layers_disagree, mean_areas
from anchorlib.metrics import AnchorScore, score
from anchorlib.yolov5.detect import Detect
from anchorlib.yolov5.log import get_logger
from anchorlib.yolov5.ranks import Ranks, check_together

_SMALL_SIDE = 3  # pixels

ImageSize = Union[int, tuple[int, int]]


@dataclass(frozen=True)
class AnchorCheck:
    """What check_anchors found and did.

    before : AnchorScore of the anchors that the model came with
    after : AnchorScore of the anchors that were fitted, or None where the old ones were good enough
    replaced : are the fitted anchors in the model now?
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
) -> Optional[AnchorCheck]:
    """See to it that a model's anchors fit a data set: they are kept if BPR > 0.98, else better ones are fitted.

    Parameters
    ----------
    dataset : has `shapes` (images, 2) as (w, h), and `labels`, for each image (k, 5): class, xc, yc, w, h in [0, 1]
    model : its last module, `model.model[-1]` or `model.module.model[-1]`, has `anchors` (L, A, 2) in units of its
        layer's stride, and `stride` (L,); torch or OneFlow tensors. `anchors` is written in place and stays the same
        object; an `anchor_grid` is brought up to date. Nothing is changed unless the new anchors' BPR is greater.
    thr : ratio limit, > 1; the hyperparameter anchor_t
    imgsz : the long side of an image in training, pixels, or (w, h)
    method, seed, generations : of `fit_anchors`
    jitter : 0.1 scales each image by U(0.9, 1.1) from `seed`, as YOLOv5 does; 0 measures the labels as they are
    raise_errors : raise what goes wrong. If not, it is logged and the model stays as it is: autoanchor must not end a
        training run. KeyboardInterrupt passes either way.
    distributed : for processes that train together (torch's default process group, or OneFlow's): each must call this.
        Only rank 0 looks at its `dataset`, and all models end with rank 0's anchors; if a rank fails, all keep
        theirs. In a single process it changes nothing.

    Returns
    -------
    AnchorCheck, on all ranks rank 0's, or None if an error was logged.

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
        boxes = from_dataset(dataset, imgsz=imgsz)
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
            return AnchorCheck(before, None, False), None

        log.info("AutoAnchor: the anchors fit the data set poorly, fitting %d new ones ...", detect.n_anchors)
        start = anchors if method == "direct" and is_size.all() else None
        fit = fit_anchors(
            sizes, detect.n_anchors, thr=thr, method=method, seed=seed, generations=generations, start=start
        )
        log.info(_describe_score(fit.score, thr))
        if is_size.all() and fit.score.bpr <= before.bpr:
            log.info("AutoAnchor: the new anchors are no better, the old ones stay.")
            return AnchorCheck(before, fit.score, False), None
        return AnchorCheck(before, fit.score, True), detect.in_layers(fit.anchors)

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
) -> HostArray:
    """Anchors fitted to a data set.

    Parameters
    ----------
    dataset : a path, as in `read_boxes`, or an object with `shapes` and `labels`, as in `check_anchors`
    n : how many anchors
    img_size : the long side of an image in training, pixels, or (w, h)
    thr : ratio limit, > 1
    gen : generations, where the method is "evolve"
    verbose : log the anchors and their score
    path : what older versions call `dataset`
    method, seed : of `fit_anchors`

    Returns
    -------
    (n, 2) NumPy float32, pixels, sorted by area.

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
        boxes = from_dataset(dataset, imgsz=img_size)
    else:
        boxes = read_boxes(dataset, imgsz=img_size)
    fit = fit_anchors(boxes.wh, n, thr=thr, method=method, seed=seed, generations=gen)
    if verbose:
        log = get_logger()
        _warn_of_small(boxes)
        log.info(_describe_score(fit.score, thr))
        log.info("AutoAnchor: anchors %s", ", ".join(f"{w:.4g},{h:.4g}" for w, h in fit.anchors))
    return fit.anchors


def check_anchor_order(m: Any) -> bool:
    """Put the anchors of a Detect module into the order of its strides, in place: small anchors to small strides.

    Parameters
    ----------
    m : has `anchors` (L, A, 2) in **pixels** and `stride` (L,); in units of the stride the layers cannot be told apart.
        If the mean areas of the first and last layer run against the strides, the layers are reversed; the order inside
        a layer stays. An `anchor_grid` of one tensor (YOLOv5 up to 5.0, YOLOv7) is in pixels whatever `anchors` is in:
        it tells the order then, and is reversed with it.

    Returns
    -------
    True if the layers were reversed.

    Source
    ------
    The behaviour of YOLOv5's check_anchor_order.

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> m = Namespace(anchors=np.asarray([[[90., 90.]], [[10., 10.]]]), stride=np.asarray([8., 16.]))
    >>> check_anchor_order(m), m.anchors[0]
    (True, array([[10., 10.]]))
    """
    detect = Detect(detect=m)
    if not layers_disagree(mean_areas(list(detect.for_order())), detect.strides):
        return False
    get_logger().info("AutoAnchor: reversing the order of the anchors, which runs against the strides.")
    detect.reverse()
    return True


def _score_sizes(sizes: HostArray, anchors: HostArray, thr: float) -> AnchorScore:
    """Return the score of anchors, of which there may be none: then nothing matches."""
    if len(anchors):
        return score(sizes, anchors, thr)
    return AnchorScore(bpr=0.0, aat=0.0, fitness=0.0, mean_best=0.0, avg_iou=0.0, n_boxes=len(sizes))


def _warn_of_small(boxes: BoxSizes) -> None:
    """Log how many labels are small. The line has the words that users of YOLOv5 look for."""
    n_small = int((boxes.wh < _SMALL_SIDE).any(axis=1).sum())
    if n_small:
        get_logger().warning(
            "AutoAnchor: %d of %d labels are < %d pixels in size, on their shorter side at the training size.",
            *(n_small, len(boxes.wh), _SMALL_SIDE),
        )


def _check_together(
    ranks: Ranks, find: Callable[[Detect], tuple[AnchorCheck, Optional[HostArray]]], model: Any
) -> AnchorCheck:
    """The check of rank 0, on every rank: as numbers on the way."""

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
    """The sizes, each image's scaled by its own factor around 1."""
    if not jitter:
        return boxes.wh
    factors = np.random.default_rng(seed).uniform(1 - jitter, 1 + jitter, len(boxes.image_wh))
    return (boxes.wh * factors[boxes.image_index][:, None]).astype(np.float32)


def _describe_score(result: AnchorScore, thr: float) -> str:
    return (
        f"AutoAnchor: {result.aat:.2f} anchors/target, {result.bpr:.4f} Best Possible Recall (BPR), "
        f"fitness {result.fitness:.4f} at thr {thr:g} on {result.n_boxes} boxes"
    )
