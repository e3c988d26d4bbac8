"""Fit anchors to box sizes: check the arguments, search by one of three methods, score the result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import HostArray, as_float, take_sizes, to_framework
from anchorlib.backends import from_host, namespace_of
from anchorlib.fitting import direct
from anchorlib.fitting.anchor_fit import AnchorFit, FitInputs
from anchorlib.fitting.evolve import improve
from anchorlib.fitting.fit_arguments import FitArguments, check_fit_arguments
from anchorlib.fitting.kmeans import cluster
from anchorlib.fitting.layered import LayeredFit, search_in_layers
from anchorlib.fitting.order import sort_in_layers
from anchorlib.training.crowding import CrowdingCounter


def fit_anchors(
    boxes_wh: Any,
    n: Union[int, Sequence[int]] = 9,
    *,
    thr: float = 4.0,
    method: str = "direct",
    objective: str = "ratio",
    seed: int = 0,
    generations: int = 1000,
    weights: Optional[Any] = None,
    progress: bool = False,
    start: Optional[Any] = None,
    fixed: Optional[Any] = None,
    min_side: Optional[Union[float, Sequence[float]]] = None,
    time_budget: Optional[float] = None,
    distance: Optional[str] = None,
    update: Optional[str] = None,
    init: Optional[str] = None,
    strides: Optional[Sequence[float]] = None,
) -> AnchorFit:
    """Find the anchors that fit box sizes best.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, sides >= 0, in any order: an array, a nested list (taken as float64), BoxSizes
        or SizeCounts. Boxes with both sides under 2 px, or with a side of 0, are left out of the fit, but not out of
        the score.
    n : number of anchors, at most the number of distinct sizes; or the number for each layer, as in [3, 3, 4]. For
        n=1, "direct" and "ratio" find the best anchor of all, with a proof (`AnchorFit.proven`; docs/method.md has the
        exceptions).
    thr : ratio limit, > 1; YOLOv5's anchor_t
    method : "direct" (a search over a grid of sizes, see docs/method.md), "evolve" (k-means, then `generations` of
        evolution) or "kmeans"
    objective : "ratio" to maximise fitness, "iou" to maximise average IoU
    seed : for numpy.random.default_rng; one seed gives bit-identical anchors on every backend and device
    generations : number of mutations that "evolve" tries
    weights : (N,) >= 0, how often each box counts; not for SizeCounts, whose counts are the weights
    progress : show a progress bar on standard error if the method takes long
    start : (n, 2), anchors to improve, taken as float32, for "direct" and "evolve". The result is never worse than
        `start` on the boxes of the fit, unless `start` violates `min_side`, or `strides` make other anchors better.
    fixed : (m, 2), m < n, anchors that stay bit-identical in float32; "direct" only
    min_side : pixels, lower bound for the sides of fitted anchors: one for all, or one for each layer of `n`;
        "direct" only
    time_budget : seconds after which the search returns the best anchors so far, which then depend on the machine;
        "direct" only
    distance, update, init : options of `kmeans`, for "kmeans" and for "evolve" without `start`. The default distance
        is "iou" for objective="iou" and "euclidean" for objective="ratio"; the other defaults are those of `kmeans`.
    strides : pixels per cell of each layer, ascending, as [8, 16, 32]; "direct" only. The anchors of a layer then count
        less for boxes whose shorter side is under half of its stride, and a layer that the boxes do not need keeps
        the anchors of `start`, or gets large squares (docs/method.md). If the boxes are BoxSizes with centres, this is
        also done for a layer that loses more than half of its targets to others in the same cell. Of nearly equal
        anchors that serve boxes under 1.5 strides, one is kept. `start` must be layer by layer. A single n is divided
        evenly among the layers. Without strides, the anchors are divided among the layers by area only.

    Returns
    -------
    AnchorFit

    Raises
    ------
    BadValueError : NaN, sides < 0, no usable box, n greater than the number of distinct sizes, an unknown method or
        objective, weights in addition to SizeCounts, or an option that the method does not have
    ShapeError, BackendMixError, ArrayTypeError

    Examples
    --------
    >>> boxes_wh = np.asarray([[10., 20.], [12., 20.], [100., 90.], [90., 100.]])
    >>> fit_anchors(boxes_wh, n=2, method="kmeans").anchors
    array([[11., 20.],
           [95., 95.]])
    >>> fit_anchors([[4, 4], [4, 5], [5, 4], [5, 5]], n=[1, 1], strides=[8, 128]).idle_layers
    (1,)
    """
    started = time.perf_counter()
    given = check_fit_arguments(
        boxes_wh,
        n,
        thr=thr,
        method=method,
        objective=objective,
        seed=seed,
        generations=generations,
        weights=weights,
        progress=progress,
        start=start,
        fixed=fixed,
        min_side=min_side,
        time_budget=time_budget,
        distance=distance,
        update=update,
        init=init,
        strides=strides,
    )
    boxes = given.boxes
    counter = None
    if given.strides is None:
        layered = _SEARCHES[method](given)
    else:
        if getattr(boxes_wh, "centres", None) is not None:
            counter = CrowdingCounter(boxes_wh, given.strides, thr=given.thr)
        layered = _search_in_layers(given, given.strides, counter)
    anchors = to_framework(layered.anchors, boxes.usable)
    kept_start = given.start is not None and np.array_equal(
        namespace_of(anchors).to_numpy(anchors),
        sort_in_layers(given.start, given.layers if given.strides else None).astype(np.float64),
    )
    score = boxes.table.score(anchors, given.thr)
    anchors = from_host(anchors, like=boxes.like)
    seconds = time.perf_counter() - started
    inputs = FitInputs(*take_sizes(boxes_wh, weights), given.thr, objective, given.fixed, min_side)
    return AnchorFit(
        anchors,
        score,
        method,
        seed,
        seconds,
        given.layers,
        kept_start,
        strides=given.strides,
        idle_layers=layered.idle,
        spare_anchors=layered.spare,
        proven=layered.proven,
        _inputs=inputs,
        _counter=counter,
    )


def _usable_sizes(given: FitArguments) -> HostArray:
    """Return the sizes that the direct search takes: (N, 2) float32 in host memory."""
    usable = given.boxes.usable
    sizes: HostArray = namespace_of(usable).to_numpy(as_float(usable, namespace_of(usable).float32))
    return sizes


def _direct_options(given: FitArguments) -> dict[str, Any]:
    """Return the keywords of the direct search that are the same with and without strides."""
    return {
        "thr": given.thr,
        "objective": given.objective,
        "weights": given.boxes.counts,
        "seed": given.seed,
        "start": given.start,
        "fixed": given.fixed,
        "min_side": given.least_sides,
        "time_budget": given.time_budget,
    }


def _search_directly(given: FitArguments) -> LayeredFit:
    table = None if given.start is None else given.boxes.usable_table
    found = direct.search(_usable_sizes(given), given.n, table=table, **_direct_options(given))
    return LayeredFit(found.anchors, proven=found.proven)


def _search_in_layers(given: FitArguments, strides: Sequence[float], counter: Optional[CrowdingCounter]) -> LayeredFit:
    """Search with strides; the crowding of the layers is known if the boxes have centres."""
    overwritten = None if counter is None else counter.share_overwritten
    return search_in_layers(
        _usable_sizes(given), given.layers, strides, overwritten=overwritten, **_direct_options(given)
    )


def _cluster(given: FitArguments) -> HostArray:
    return cluster(given.boxes.usable, given.boxes.counts, given.n, seed=given.seed, **given.kmeans_options)


def _search_by_kmeans(given: FitArguments) -> LayeredFit:
    return LayeredFit(_cluster(given))


def _search_by_evolution(given: FitArguments) -> LayeredFit:
    start = _cluster(given) if given.start is None else given.start
    start = to_framework(start, given.boxes.usable)  # evolution starts from the anchors in the dtype of the boxes
    better = improve(
        given.boxes.usable_table,
        namespace_of(start).to_numpy(start),
        thr=given.thr,
        objective=given.objective,
        generations=given.generations,
        seed=given.seed,
        progress=given.progress,
    )
    return LayeredFit(better)


_SEARCHES = {"direct": _search_directly, "evolve": _search_by_evolution, "kmeans": _search_by_kmeans}
