"""Improve anchors by evolution: mutate all of them a little, and keep the mutation if it is better."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
from tqdm import tqdm

from anchorlib.arrays import (
    Array,
    HostArray,
    as_float,
    check_integer,
    check_one_of,
    check_sizes,
    check_thr,
    take_sizes,
    to_framework,
)
from anchorlib.backends import namespace_of
from anchorlib.fitting.order import sort_by_area
from anchorlib.metrics import OBJECTIVES, SizeTable, take_anchors

_CHANCE = 0.9  # probability that a side mutates
_SPREAD = 0.1  # standard deviation of a factor, before it is scaled by the strength of the generation
_FACTORS = (0.3, 3.0)
MAX_GENERATIONS = 10**9  # days of work; range() overflows far above
_MIN_SIDE = 2.0  # pixels; without it fitness prefers slivers


def evolve(
    boxes_wh: Any,
    anchors: Any,
    *,
    thr: float = 4.0,
    objective: str = "ratio",
    generations: int = 1000,
    seed: int = 0,
    weights: Optional[Any] = None,
    progress: bool = False,
) -> Array:
    """Improve anchors by genetic evolution of their fitness.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, every side > 0; taken as float32, in any order: an array, a nested list, BoxSizes
        or SizeCounts
    anchors : (K, 2) float, pixels, array or nested list; where the evolution starts
    thr : ratio limit, > 1
    objective : "ratio" to maximise fitness, "iou" to maximise average IoU
    generations : number of mutations that are tried, at most 10^9; a mutation is kept if its fitness is greater
    seed : for numpy.random.default_rng; random numbers are drawn on the host
    weights : (N,) >= 0, how often each box counts; not for SizeCounts, whose counts are the weights
    progress : show a progress bar on standard error

    Returns
    -------
    (K, 2), dtype, device and framework of `boxes_wh` (float32 for integers), sorted by area. Its fitness is never below
    that of `anchors` taken as float32.

    Raises
    ------
    ShapeError, BadValueError, BackendMixError, ArrayTypeError

    Source
    ------
    The genetic step of YOLOv5's autoanchor, written from a description of it.

    Examples
    --------
    >>> boxes_wh = np.asarray([[10., 20.], [12., 20.], [100., 90.]])
    >>> evolve(boxes_wh, np.asarray([[10., 10.], [50., 50.]]), generations=100).shape
    (2, 2)
    """
    boxes_wh, weights = take_sizes(boxes_wh, weights)
    anchors = take_anchors(anchors, boxes_wh)
    check_sizes(boxes_wh=boxes_wh, anchors=anchors)
    thr = check_thr(thr)
    check_one_of("objective", objective, OBJECTIVES)
    check_integer("seed", seed, 0)
    check_integer("generations", generations, 0, MAX_GENERATIONS)
    like = as_float(boxes_wh)
    found = improve(
        SizeTable(like, weights),
        namespace_of(anchors).to_numpy(anchors),
        thr=thr,
        objective=objective,
        generations=generations,
        seed=seed,
        progress=progress,
    )
    return to_framework(found, like)


def improve(
    table: SizeTable,
    anchors: HostArray,
    *,
    thr: float,
    objective: str,
    generations: int,
    seed: int,
    progress: bool,
) -> HostArray:
    """Return the anchors of `evolve` in host memory, (K, 2) float32 sorted by area, from checked arguments."""
    best = anchors.astype(np.float32)
    best_fitness = table.fitness(best, thr, objective)
    rng = np.random.default_rng(seed)
    rounds = tqdm(range(generations), desc="evolving anchors", delay=1, disable=not progress, leave=False)
    for _ in rounds:
        candidate = np.maximum(best * _factors(rng, best.shape), _MIN_SIDE).astype(np.float32)
        fitness = table.fitness(candidate, thr, objective)
        if fitness > best_fitness:
            best, best_fitness = candidate, fitness
            if progress:
                rounds.set_postfix_str(f"fitness {fitness:.4f}", refresh=False)
    return sort_by_area(best)


def _factors(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
    """Draw factors near 1, with one strength for the whole generation; they are never all equal to 1."""
    while True:
        mutates = rng.random(shape) < _CHANCE
        factors = np.clip(1 + mutates * rng.random() * rng.standard_normal(shape) * _SPREAD, *_FACTORS)
        if (factors != 1).any():
            return factors
