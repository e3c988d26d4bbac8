"""Box sizes to anchors: one function for all the ways."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Optional

import numpy as np

from anchorlib import backends
from anchorlib.arrays import (
    Array,
    as_float,
    check_one_of,
    check_shape_wh,
    check_sizes,
    check_thr,
    check_weights,
)
from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError
from anchorlib.fitting.evolve import evolve
from anchorlib.fitting.kmeans import DISTANCES, INITS, UPDATES, kmeans
from anchorlib.metrics import OBJECTIVES, AnchorScore, SizeTable

__all__ = [
    "DISTANCES",
    "INITS",
    "METHODS",
    "MIN_FIT_SIDE",
    "UPDATES",
    "AnchorFit",
    "evolve",
    "fit_anchors",
    "kmeans",
    "usable_for_fit",
]

METHODS = ("evolve", "kmeans")
MIN_FIT_SIDE = 2.0  # pixels: a box with both sides below is left out of the fit, not out of the score


@dataclass(frozen=True)
class AnchorFit:
    """Anchors as they were fitted, and how well.

    anchors : (n, 2), pixels, sorted by area; framework, dtype and device of the boxes
    score : AnchorScore on all boxes, those left out of the fit included
    method, seed : how they were found
    seconds : how long that took
    """

    anchors: Array
    score: AnchorScore
    method: str
    seed: int
    seconds: float


def fit_anchors(
    boxes_wh: Array,
    n: int = 9,
    *,
    thr: float = 4.0,
    method: str = "evolve",
    objective: str = "ratio",
    seed: int = 0,
    generations: int = 1000,
    weights: Optional[Array] = None,
    progress: bool = False,
    distance: Optional[str] = None,
    update: str = "mean",
    init: str = "random",
) -> AnchorFit:
    """The anchors that fit box sizes best.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, sides >= 0, in any order. Boxes with both sides under 2 px, or a zero side,
        are left out of the fit but not out of the score.
    n : how many anchors, at most the number of distinct sizes
    thr : ratio limit, > 1; YOLOv5's anchor_t
    method : "evolve" (k-means, then `generations` of evolution) or "kmeans"
    objective : "ratio" for fitness, "iou" for average IoU
    seed : for numpy.random.default_rng; one seed gives the same bits on every backend and device
    weights : (N,) >= 0, how often each box counts
    progress : show a progress bar on standard error
    distance, update, init : of `kmeans`; the distance is "iou" for objective="iou" and else "euclidean" if not given

    Returns
    -------
    AnchorFit

    Raises
    ------
    BadValueError : NaN, sides < 0, no box that can be fitted, n greater than the number of distinct sizes
    ShapeError, BackendMixError, ArrayTypeError; ValueError for an unknown method or objective

    Examples
    --------
    >>> boxes_wh = np.asarray([[10., 20.], [12., 20.], [100., 90.], [90., 100.]])
    >>> fit_anchors(boxes_wh, n=2, method="kmeans").anchors
    array([[11., 20.],
           [95., 95.]])
    """
    started = time.perf_counter()
    check_one_of("method", method, METHODS)
    check_one_of("objective", objective, OBJECTIVES)
    check_shape_wh(boxes_wh=boxes_wh)
    like = as_float(boxes_wh)
    check_sizes(zero=True, boxes_wh=like)
    check_thr(thr)
    counts = check_weights(weights, boxes_wh.shape[0])

    (sizes,) = backends.on_host(like)
    kept, kept_counts = usable_for_fit(sizes, counts)
    if distance is None:
        distance = "iou" if objective == "iou" else "euclidean"
    anchors = kmeans(kept, n, distance=distance, update=update, init=init, seed=seed, weights=kept_counts)
    if method == "evolve":
        anchors = evolve(
            kept,
            anchors,
            thr=thr,
            objective=objective,
            generations=generations,
            seed=seed,
            weights=kept_counts,
            progress=progress,
        )
    score = SizeTable(sizes, counts).score(anchors, thr)
    anchors = backends.from_host(anchors, like=like)
    return AnchorFit(anchors, score, method, seed, time.perf_counter() - started)


def usable_for_fit(boxes_wh: Array, counts: Optional[np.ndarray] = None) -> tuple[Array, Optional[np.ndarray]]:
    """The sizes that a fit looks at, with their counts: one side at least 2 px, and no side 0.

    Raises
    ------
    BadValueError : there is none
    """
    xp = namespace_of(boxes_wh)
    w, h = boxes_wh[:, 0], boxes_wh[:, 1]
    usable = (xp.maximum(w, h) >= MIN_FIT_SIDE) & (xp.minimum(w, h) > 0)
    rows = xp.nonzero(usable)[0]
    if rows.shape[0] == 0:
        raise BadValueError(
            f"none of {boxes_wh.shape[0]} boxes has a side of {MIN_FIT_SIDE:g} px or more; sizes are in pixels."
        )
    if rows.shape[0] == boxes_wh.shape[0]:
        return boxes_wh, counts
    return xp.take(boxes_wh, rows, axis=0), None if counts is None else counts[xp.to_numpy(rows)]
