"""Check the arguments of `fit_anchors` once, before the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
    take_array,
    take_sizes,
    to_framework,
    widen,
)
from anchorlib.backends import namespace_of, on_host
from anchorlib.errors import BadValueError
from anchorlib.fitting.evolve import MAX_GENERATIONS
from anchorlib.fitting.kmeans import check_kmeans_options
from anchorlib.metrics import OBJECTIVES, SizeTable

METHODS = ("direct", "evolve", "kmeans")
MIN_FIT_SIDE = 2.0  # pixels: boxes with both sides below it are left out of the fit, but not out of the score


class FitBoxes:
    """Hold the boxes of a fit: all of them for the score, and the usable ones for the search.

    like : (N, 2) float, all boxes in the caller's framework, dtype and device
    usable : (U, 2) float, the boxes of the search, in host memory as NumPy if `like` is in host memory
    counts : (U,) int64, how often each of these counts, or None
    """

    def __init__(self, boxes_wh: Any, weights: Optional[Any]) -> None:
        boxes_wh, self._weights = take_sizes(boxes_wh, weights)
        check_shape_wh(boxes_wh=boxes_wh)
        check_sizes(zero=("boxes_wh",), boxes_wh=boxes_wh)
        self.like = as_float(boxes_wh)
        self._all_counts = check_weights(self._weights, boxes_wh.shape[0])
        (self._all,) = on_host(self.like)
        self.usable, self.counts = _find_usable(self._all, self._all_counts)

    @cached_property
    def table(self) -> SizeTable:
        """All boxes, for the score."""
        return SizeTable(self._all, self._weights, counts=self._all_counts)

    @cached_property
    def usable_table(self) -> SizeTable:
        """The boxes of the search; the same table as for the score if all boxes are usable."""
        return self.table if self.usable is self._all else SizeTable(self.usable, counts=self.counts)


@dataclass(frozen=True)
class FitArguments:
    """Hold the checked arguments of `fit_anchors`; anchors are (K, 2) float32 in host memory."""

    boxes: FitBoxes
    layers: tuple[int, ...]
    strides: Optional[tuple[float, ...]]
    thr: float
    method: str
    objective: str
    seed: int
    generations: int
    progress: bool
    start: Optional[HostArray]
    fixed: Optional[HostArray]
    least_sides: Optional[HostArray]
    time_budget: Optional[float]
    kmeans_options: dict[str, Any]

    @property
    def n(self) -> int:
        """The number of anchors of all layers."""
        return sum(self.layers)


def check_fit_arguments(
    boxes_wh: Any,
    n: Union[int, Sequence[int]],
    *,
    thr: float,
    method: str,
    objective: str,
    seed: int,
    generations: int,
    weights: Optional[Any],
    progress: bool,
    start: Optional[Any],
    fixed: Optional[Any],
    min_side: Optional[Union[float, Sequence[float]]],
    time_budget: Optional[float],
    strides: Optional[Any],
    **for_kmeans: Optional[str],
) -> FitArguments:
    """Check the arguments of `fit_anchors`, and return them converted."""
    check_one_of("method", method, METHODS)
    check_one_of("objective", objective, OBJECTIVES)
    _check_options_of_method(
        method,
        start is not None,
        start=start,
        fixed=fixed,
        min_side=min_side,
        time_budget=time_budget,
        strides=strides,
        **for_kmeans,
    )
    kmeans_options: dict[str, Any] = {
        "distance": "iou" if objective == "iou" else "euclidean",
        "update": "mean",
        "init": "random",
    }
    kmeans_options.update({name: value for name, value in for_kmeans.items() if value is not None})
    check_kmeans_options(**kmeans_options)
    if method == "evolve":
        check_integer("generations", generations, 0, MAX_GENERATIONS)
    layers = check_counts(n)
    steps = None if strides is None else check_strides(strides)
    if steps is not None:
        layers = split_evenly(layers, len(steps))
    boxes = FitBoxes(boxes_wh, weights)
    start = check_anchors("start", start)
    fixed = check_anchors("fixed", fixed)
    total = sum(layers)
    if total > boxes.usable.shape[0]:  # before an array with an element for each anchor is made
        raise BadValueError(f"n={total} needs at least {total} distinct box sizes, got {boxes.usable.shape[0]} boxes.")
    if start is not None and len(start) != total:
        raise BadValueError(f"start must have as many anchors as n={total}, got {len(start)}.")
    if start is not None and method == "evolve":  # it evolves in the dtype of the boxes, which may overflow
        check_sizes(start=to_framework(start, boxes.usable))
    if fixed is not None and len(fixed) >= total:
        raise BadValueError(f"fixed must leave at least one of n={total} anchors to fit, got {len(fixed)}.")
    if time_budget is not None:
        time_budget = check_number("time_budget", time_budget)
        if not time_budget >= 0:
            raise BadValueError(f"time_budget must be >= 0 seconds, got {time_budget}.")
    return FitArguments(
        boxes=boxes,
        layers=layers,
        strides=steps,
        thr=check_thr(thr),
        method=method,
        objective=objective,
        seed=check_integer("seed", seed, 0),
        generations=generations,
        progress=progress,
        start=start,
        fixed=fixed,
        least_sides=_check_least_sides(min_side, layers),
        time_budget=time_budget,
        kmeans_options=kmeans_options,
    )


def _check_options_of_method(method: str, has_start: bool, **options: Any) -> None:
    """Refuse an option that the method does not have: it would do nothing."""
    of_kmeans = {"distance", "update", "init"}
    options_of = {
        "direct": {"start", "fixed", "min_side", "time_budget", "strides"},
        "evolve": {"start"} if has_start else of_kmeans,
        "kmeans": of_kmeans,
    }
    for name, value in options.items():
        if value is not None and name not in options_of[method]:
            others = [other for other, names in options_of.items() if name in names] or ["evolve, without a start"]
            raise BadValueError(f"{name} has no meaning for method {method!r}; leave it out, or use {others[0]}.")


def check_counts(n: Union[int, Sequence[int]]) -> tuple[int, ...]:
    """Return the number of anchors of each layer."""
    counts = [n] if isinstance(n, (int, np.integer)) else n
    are_integers = isinstance(counts, (list, tuple, np.ndarray)) and all(is_integer(count, 1) for count in counts)
    if not are_integers or not len(counts):
        raise BadValueError(f"n must be an integer >= 1, or one such integer for each layer, got {n!r}.")
    return tuple(int(count) for count in counts)


def check_strides(strides: Any) -> tuple[float, ...]:
    """Return strides as floats; BadValueError unless they are finite, > 0 and ascending."""
    values = (
        strides if isinstance(strides, (list, tuple)) else namespace_of(strides).to_numpy(strides).reshape(-1).tolist()
    )
    steps = tuple(check_number("strides", value) for value in values)
    if not steps or not all(low < high for low, high in zip((0.0, *steps), (*steps, np.inf))):
        raise BadValueError(
            f"strides must be the pixels per cell of each layer, ascending as in [8, 16, 32], got {list(steps)}."
        )
    return steps


def split_evenly(counts: tuple[int, ...], n_layers: int) -> tuple[int, ...]:
    """Return the number of anchors of each layer; a single number is divided evenly among the layers."""
    if len(counts) == 1 and counts[0] % n_layers == 0:
        return (counts[0] // n_layers,) * n_layers
    if len(counts) != n_layers:
        shown = counts[0] if len(counts) == 1 else list(counts)
        raise BadValueError(
            f"n must be a multiple of the {n_layers} strides, or one number for each of them, got {shown}."
        )
    return counts


def check_anchors(name: str, anchors: Optional[Any]) -> Optional[HostArray]:
    """Return the caller's anchors as (K, 2) float32 in host memory."""
    if anchors is None:
        return None
    anchors = take_array(**{name: anchors})
    check_shape_wh(**{name: anchors})
    check_sizes(**{name: anchors})
    return namespace_of(anchors).to_numpy(anchors).astype(np.float32)


def _check_least_sides(
    min_side: Optional[Union[float, Sequence[float]]], layers: tuple[int, ...]
) -> Optional[HostArray]:
    """Return one lower bound for each anchor, in order of area, from one for all anchors or one for each layer."""
    if min_side is None:
        return None
    per_layer = np.asarray(min_side, np.float32)
    if per_layer.shape not in ((), (len(layers),)):
        raise BadValueError(f"min_side must be one number or one for each of {len(layers)} layers, got {min_side}.")
    least = np.repeat(np.broadcast_to(per_layer, (len(layers),)), layers)
    if not (np.isfinite(least).all() and (least >= 0).all()):
        raise BadValueError(f"min_side must be finite and >= 0, got {min_side}.")
    return least


def _find_usable(boxes_wh: Array, counts: Optional[HostArray]) -> tuple[Array, Optional[HostArray]]:
    """Return the sizes that a search uses, and their counts: a side of at least 2 px, no side 0, no count 0."""
    xp = namespace_of(boxes_wh)
    sides = widen(boxes_wh)  # in float16 MIN_SIDE would be 0
    w, h = sides[:, 0], sides[:, 1]
    usable = (xp.maximum(w, h) >= MIN_FIT_SIDE) & (xp.minimum(w, h) >= MIN_SIDE)
    if counts is not None:  # a box with count 0 must not be drawn at random, and must not extend the grid
        usable = usable & xp.from_numpy(counts > 0, device=xp.device_of(boxes_wh))
    if boxes_wh.shape[0] and bool(xp.all(usable)):
        return boxes_wh, counts
    rows = xp.nonzero(usable)[0]
    if rows.shape[0] == 0:
        raise BadValueError(
            f"none of {boxes_wh.shape[0]} boxes has a side of {MIN_FIT_SIDE:g} px or more; sizes are in pixels. "
            "Are these fractions of the image?"
        )
    return xp.take(boxes_wh, rows, axis=0), None if counts is None else counts[xp.to_numpy(rows)]
