"""The genetic step: mutate all anchors a little, keep what is better."""

from __future__ import annotations

from typing import Optional

import numpy as np
from tqdm import tqdm

from anchorlib.arrays import (
    Array,
    HostArray,
    as_float,
    check_integer,
    check_one_of,
    check_shape_wh,
    check_sizes,
    check_thr,
    to_framework,
)
from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError
from anchorlib.fitting.order import sort_by_area
from anchorlib.metrics import OBJECTIVES, SizeTable

_CHANCE = 0.9  # that an entry mutates at all
_SPREAD = 0.1  # standard deviation of a factor, before the generation's own strength
_FACTORS = (0.3, 3.0)
_MIN_SIDE = 2.0  # pixels; without it fitness prefers slivers


def evolve(
    boxes_wh: Array,
    anchors: Array,
    *,
    thr: float = 4.0,
    objective: str = "ratio",
    generations: int = 1000,
    seed: int = 0,
    weights: Optional[Array] = None,
    progress: bool = False,
) -> Array:
    """Better anchors by genetic evolution of their fitness.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, every side > 0; taken as float32, in any order
    anchors : (K, 2) float, pixels; where the evolution starts
    thr : ratio limit, > 1
    objective : "ratio", the mean best ratio where that is > 1 / thr, or "iou", the mean best IoU
    generations : how many mutations are tried; one is kept if its fitness is strictly greater
    seed : for numpy.random.default_rng; drawn on the host
    weights : (N,) >= 0, how often each box counts
    progress : show a progress bar on standard error

    Returns
    -------
    (K, 2), dtype, device and framework of `boxes_wh` (float32 for integers), sorted by area. Its fitness is never below
    that of `anchors` taken as float32.

    Raises
    ------
    ShapeError, BadValueError, BackendMixError, ArrayTypeError; ValueError for an unknown objective

    Source
    ------
    The genetic step of YOLOv5's autoanchor, written from a description of it.

    Examples
    --------
    >>> boxes_wh = np.asarray([[10., 20.], [12., 20.], [100., 90.]])
    >>> evolve(boxes_wh, np.asarray([[10., 10.], [50., 50.]]), generations=100).shape
    (2, 2)
    """
    namespace_of(boxes_wh=boxes_wh, anchors=anchors)
    check_shape_wh(boxes_wh=boxes_wh, anchors=anchors)
    check_sizes(boxes_wh=boxes_wh, anchors=anchors)
    thr = check_thr(thr)
    check_one_of("objective", objective, OBJECTIVES)
    check_integer("seed", seed, 0)
    check_integer("generations", generations, 0)
    if anchors.shape[0] < 1:
        raise BadValueError("anchors must have at least one row, got none.")
    like = as_float(boxes_wh)
    xp = namespace_of(like)
    table = SizeTable(like, weights)
    best = xp.to_numpy(anchors).astype(np.float32)
    best_fitness = table.fitness(best, thr, objective)
    rng = np.random.default_rng(seed)
    rounds = tqdm(range(generations), desc="evolving anchors", disable=not progress, leave=False)
    for _ in rounds:
        candidate = np.maximum(best * _factors(rng, best.shape), _MIN_SIDE).astype(np.float32)
        fitness = table.fitness(candidate, thr, objective)
        if fitness > best_fitness:
            best, best_fitness = candidate, fitness
            if progress:
                rounds.set_postfix_str(f"fitness {fitness:.4f}", refresh=False)
    return to_framework(sort_by_area(best), like)


def _factors(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
    """Around 1, a strength for the whole generation, and never all 1."""
    while True:
        mutates = rng.random(shape) < _CHANCE
        factors = np.clip(1 + mutates * rng.random() * rng.standard_normal(shape) * _SPREAD, *_FACTORS)
        if (factors != 1).any():
            return factors
