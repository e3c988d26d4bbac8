"""Box sizes to anchors: one function for all the ways."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import (
    MIN_SIDE,
    Array,
    HostArray,
    as_float,
    check_integer,
    check_number,
    check_one_of,
    check_shape_wh,
    check_sizes,
    check_thr,
    check_weights,
    is_integer,
    to_framework,
    widen,
)
from anchorlib.backends import from_host, namespace_of, on_host
from anchorlib.errors import BadValueError
from anchorlib.fitting import direct
from anchorlib.fitting.evolve import evolve
from anchorlib.fitting.kmeans import DISTANCES, INITS, UPDATES, kmeans
from anchorlib.fitting.order import sort_by_area
from anchorlib.metrics import OBJECTIVES, AnchorScore, SizeTable
from anchorlib.results import Result, Row, counted

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
]

METHODS = ("direct", "evolve", "kmeans")
MIN_FIT_SIDE = 2.0  # pixels: a box with both sides below is left out of the fit, not out of the score


@dataclass(frozen=True, repr=False)
class AnchorFit(Result):
    """Anchors as they were fitted, and how well.

    anchors : (n, 2), pixels, sorted by area; framework, dtype and device of the boxes
    score : AnchorScore on all boxes, those left out of the fit included
    method, seed : how they were found
    seconds : how long that took
    counts : how many anchors each layer has, the layer of the smallest stride first
    kept_start : are these the anchors that were to be improved, since no better ones were found?
    """

    anchors: Array
    score: AnchorScore
    method: str
    seed: int
    seconds: float
    counts: tuple[int, ...]
    kept_start: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Anchors as [w, h] with all the digits of their float32, the score, and how they were found."""
        return {
            "anchors": self._host_anchors().tolist(),
            "counts": list(self.counts),
            **self.score.to_dict(),
            "method": self.method,
            "seed": self.seed,
            "seconds": self.seconds,
            "kept_start": self.kept_start,
        }

    def __repr__(self) -> str:
        return f"AnchorFit({counted(len(self._host_anchors()), 'anchor')}: {self._sides()}; {self.score})"

    def _table_rows(self) -> list[Row]:
        found = f"{self.method}, seed {self.seed}, {self.seconds:.2f} s"
        return [("anchors (w,h px)", self._sides()), *self.score._table_rows(), ("found by", found)]

    def _sides(self) -> str:
        return "  ".join(f"{w:.1f},{h:.1f}" for w, h in self._host_anchors())

    def _host_anchors(self) -> HostArray:
        return np.asarray(namespace_of(self.anchors).to_numpy(self.anchors))


def fit_anchors(
    boxes_wh: Array,
    n: Union[int, Sequence[int]] = 9,
    *,
    thr: float = 4.0,
    method: str = "direct",
    objective: str = "ratio",
    seed: int = 0,
    generations: int = 1000,
    weights: Optional[Array] = None,
    progress: bool = False,
    start: Optional[Array] = None,
    fixed: Optional[Array] = None,
    min_side: Optional[Union[float, Sequence[float]]] = None,
    time_budget: Optional[float] = None,
    distance: Optional[str] = None,
    update: Optional[str] = None,
    init: Optional[str] = None,
) -> AnchorFit:
    """The anchors that fit box sizes best.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, sides >= 0, in any order. Boxes with both sides under 2 px, or a zero side,
        are left out of the fit but not out of the score.
    n : how many anchors, at most the number of distinct sizes; or how many of each layer, as in [3, 3, 4]
    thr : ratio limit, > 1; YOLOv5's anchor_t
    method : "direct" (a search over a grid of sizes, see docs/method.md), "evolve" (k-means, then `generations` of
        evolution) or "kmeans"
    objective : "ratio" for fitness, "iou" for average IoU
    seed : for numpy.random.default_rng; one seed gives the same bits on every backend and device
    weights : (N,) >= 0, how often each box counts
    progress : show a progress bar on standard error, where the method takes long
    start : (n, 2), anchors to improve, taken as float32, for "direct" and "evolve": the result is never worse on the
        boxes of the fit, unless they break `min_side`
    fixed : (m, 2), m < n, anchors that stay as they are, bit for bit in float32; "direct" only
    min_side : pixels, the least side of a fitted anchor, one for all or one for each layer of `n`; "direct" only
    time_budget : seconds after which the best so far is taken, which depends on the machine; "direct" only
    distance, update, init : of `kmeans`, for "kmeans" and an "evolve" without a start; if not given the distance is
        "iou" for objective="iou" and else "euclidean", and the others are those of `kmeans`

    Returns
    -------
    AnchorFit

    Raises
    ------
    BadValueError : NaN, sides < 0, no box that can be fitted, n greater than the number of distinct sizes, or an
        option that the method does not have
    ShapeError, BackendMixError, ArrayTypeError; ValueError for an unknown method

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
    for_kmeans = {"distance": distance, "update": update, "init": init}
    _check_options(
        method, start is not None, start=start, fixed=fixed, min_side=min_side, time_budget=time_budget, **for_kmeans
    )
    check_integer("seed", seed, 0)
    namespace_of(boxes_wh=boxes_wh)
    check_shape_wh(boxes_wh=boxes_wh)
    check_sizes(zero=True, boxes_wh=boxes_wh)
    like = as_float(boxes_wh)
    thr = check_thr(thr)
    counts = check_weights(weights, boxes_wh.shape[0])
    layers = _counts(n)
    total = sum(layers)
    start = _given_anchors("start", start, total)
    fixed = _given_anchors("fixed", fixed, None)
    if fixed is not None and len(fixed) >= total:
        raise BadValueError(f"fixed must leave at least one of n={total} anchors to fit, got {len(fixed)}.")
    if time_budget is not None:
        time_budget = check_number("time_budget", time_budget)
        if not time_budget >= 0:
            raise BadValueError(f"time_budget must be >= 0 seconds, got {time_budget}.")

    (sizes,) = on_host(like)
    kept, kept_counts = _usable_for_fit(sizes, counts)
    if method == "direct":
        found = direct.search(
            namespace_of(kept).to_numpy(as_float(kept, namespace_of(kept).float32)),
            total,
            thr=thr,
            objective=objective,
            weights=kept_counts,
            seed=seed,
            start=start,
            fixed=fixed,
            min_side=_least_sides(min_side, layers),
            time_budget=time_budget,
        )
        anchors = to_framework(found, kept)
    else:
        anchors = to_framework(start, kept) if start is not None else None
        if anchors is None:
            given = {name: value for name, value in for_kmeans.items() if value is not None}
            options: dict[str, Any] = {"distance": "iou" if objective == "iou" else "euclidean", **given}
            anchors = kmeans(kept, total, seed=seed, weights=kept_counts, **options)
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
    kept_start = start is not None and np.array_equal(
        namespace_of(anchors).to_numpy(anchors), sort_by_area(start).astype(np.float64)
    )
    score = SizeTable(sizes, weights).score(anchors, thr)
    anchors = from_host(anchors, like=like)
    return AnchorFit(anchors, score, method, seed, time.perf_counter() - started, layers, kept_start)


def _check_options(method: str, has_start: bool, **options: Any) -> None:
    """An option that a method does not have is an error: it would do nothing."""
    kmeans_has = {"distance", "update", "init"}
    theirs = {
        "direct": {"start", "fixed", "min_side", "time_budget"},
        "evolve": {"start"} if has_start else kmeans_has,
        "kmeans": kmeans_has,
    }
    for name, value in options.items():
        if value is not None and name not in theirs[method]:
            others = [other for other, names in theirs.items() if name in names] or ["evolve, without a start"]
            raise BadValueError(f"{name} has no meaning for method {method!r}; leave it out, or use {others[0]}.")


def _counts(n: Union[int, Sequence[int]]) -> tuple[int, ...]:
    """How many anchors each layer has."""
    counts = [n] if isinstance(n, (int, np.integer)) else n
    whole = isinstance(counts, (list, tuple, np.ndarray)) and all(is_integer(count, 1) for count in counts)
    if not whole or not len(counts):
        raise BadValueError(f"n must be at least 1, a whole number or one for each layer, got {n!r}.")
    return tuple(int(count) for count in counts)


def _given_anchors(name: str, anchors: Optional[Array], n: Optional[int]) -> Optional[HostArray]:
    """Anchors of the caller's as (n, 2) float32 on the host."""
    if anchors is None:
        return None
    namespace_of(**{name: anchors})
    check_shape_wh(**{name: anchors})
    check_sizes(**{name: anchors})
    if n is not None and anchors.shape[0] != n:
        raise BadValueError(f"{name} must have as many anchors as n={n}, got {anchors.shape[0]}.")
    return namespace_of(anchors).to_numpy(anchors).astype(np.float32)


def _least_sides(min_side: Optional[Union[float, Sequence[float]]], layers: tuple[int, ...]) -> Optional[HostArray]:
    """One lower bound per anchor in the order of area, from one for all or one per layer."""
    if min_side is None:
        return None
    per_layer = np.asarray(min_side, np.float32)
    if per_layer.shape not in ((), (len(layers),)):
        raise BadValueError(f"min_side must be one number or one for each of {len(layers)} layers, got {min_side}.")
    least = np.repeat(np.broadcast_to(per_layer, (len(layers),)), layers)
    if not (np.isfinite(least).all() and (least >= 0).all()):
        raise BadValueError(f"min_side must be finite and >= 0, got {min_side}.")
    return least


def _usable_for_fit(boxes_wh: Array, counts: Optional[HostArray]) -> tuple[Array, Optional[HostArray]]:
    """The sizes that a fit looks at, with their counts: one side at least 2 px, no side 0, no count 0."""
    xp = namespace_of(boxes_wh)
    sides = widen(boxes_wh)  # MIN_SIDE is 0 in float16
    w, h = sides[:, 0], sides[:, 1]
    usable = (xp.maximum(w, h) >= MIN_FIT_SIDE) & (xp.minimum(w, h) >= MIN_SIDE)
    if counts is not None:  # a box that counts nothing must not be drawn, nor stretch a grid
        usable = usable & xp.from_numpy(counts > 0, device=xp.device_of(boxes_wh))
    if boxes_wh.shape[0] and bool(xp.all(usable)):
        return boxes_wh, counts
    rows = xp.nonzero(usable)[0]
    if rows.shape[0] == 0:
        raise BadValueError(
            f"none of {boxes_wh.shape[0]} boxes has a side of {MIN_FIT_SIDE:g} px or more; sizes are in pixels."
        )
    return xp.take(boxes_wh, rows, axis=0), None if counts is None else counts[xp.to_numpy(rows)]
