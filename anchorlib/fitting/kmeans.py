"""k-means on box sizes: three distances, two inits, two updates, and always as many anchors as asked for.

One seed, one answer: the boxes are first brought into one order (distinct sizes, sorted, with counts), assignments
are made by operations that round alike everywhere, and cluster means are quotients of whole numbers.
"""

from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from anchorlib.arrays import (
    Array,
    HostArray,
    Namespace,
    as_float,
    check_integer,
    check_one_of,
    check_shape_wh,
    check_sizes,
    check_weights,
    to_framework,
)
from anchorlib.backends import namespace_of, on_host
from anchorlib.boxes import size_iou
from anchorlib.errors import BadValueError
from anchorlib.fitting.order import sort_by_area
from anchorlib.metrics import side_ratio
from anchorlib.size_histogram import as_columns, merge_equal

DISTANCES = ("euclidean", "iou", "ratio")
UPDATES = ("mean", "median")
INITS = ("random", "k-means++")

_MAX_ROUNDS = 300  # medians and 1 - IoU can move in circles; whitened means settle long before
_BLOCK = 2**14  # columns of a block stay in the cache


class KMeansStep(NamedTuple):
    """Where the centres are, and whose each size is, before the centres move; host arrays.

    sizes : (U, 2) float32, pixels, the distinct sizes
    counts : (U,) int64, how often each occurs
    centres : (n, 2) float32, pixels, in the order of the clusters
    owner : (U,) int64, the cluster of each size
    """

    sizes: HostArray
    counts: HostArray
    centres: HostArray
    owner: HostArray


def kmeans(
    boxes_wh: Array,
    n: int,
    *,
    distance: str = "euclidean",
    update: str = "mean",
    init: str = "random",
    seed: int = 0,
    weights: Optional[Array] = None,
    on_step: Optional[Callable[[KMeansStep], object]] = None,
) -> Array:
    """Anchors by k-means on the box sizes.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, every side > 0; taken as float32, in any order
    n : how many anchors, at most the number of distinct sizes
    distance : "euclidean" on sizes divided by their standard deviation (YOLOv5's autoanchor), "iou" for 1 - IoU
        (YOLO9000) or "ratio" for the logarithm of the worse side ratio, which is what BPR looks at
    update : "mean" (of logarithms for "ratio") or "median" of each side
    init : "random" draws n distinct sizes, by how often each occurs; "k-means++" draws each next centre far from
        the others
    seed : for numpy.random.default_rng
    weights : (N,) >= 0, how often each box counts
    on_step : called with a KMeansStep after each assignment; the last one is of the result, unless it moves in circles

    Returns
    -------
    (n, 2), dtype, device and framework of `boxes_wh` (float32 for integers), sorted by area. Never fewer than n: a
    cluster that loses its last box starts again at the box that lies farthest from its centre.

    Raises
    ------
    BadValueError : sides <= 0, NaN, n < 1, or n greater than the number of distinct sizes
    ShapeError, BackendMixError, ArrayTypeError; ValueError for an unknown distance, update or init

    Source
    ------
    Lloyd 1982; Arthur and Vassilvitskii, "k-means++", 2007; Redmon and Farhadi, "YOLO9000", 2016.

    Examples
    --------
    >>> kmeans(np.asarray([[10., 10.], [12., 10.], [90., 50.], [91., 50.]]), 2)
    array([[11. , 10. ],
           [90.5, 50. ]])
    """
    check_one_of("distance", distance, DISTANCES)
    check_one_of("update", update, UPDATES)
    check_one_of("init", init, INITS)
    check_integer("seed", seed, 0)
    like = as_float(boxes_wh)
    check_integer("n", n, 1)
    check_shape_wh(boxes_wh=boxes_wh)
    check_sizes(boxes_wh=boxes_wh)
    counts = check_weights(weights, boxes_wh.shape[0])
    (view,) = on_host(like)
    xp = namespace_of(view)
    once = merge_equal(as_columns(xp.to_numpy(as_float(view, xp.float32)), counts))  # on the host, whatever the device
    once = once.take(np.flatnonzero(once.count))
    sizes, counts = np.stack([once.w, once.h], axis=1), once.count.astype(np.int64)
    if n > len(sizes):
        raise BadValueError(f"n={n} needs at least {n} distinct box sizes, got {len(sizes)}.")

    space = _Space(xp, sizes, counts, distance, xp.device_of(view))
    rng = np.random.default_rng(seed)
    rows = _draw_random(rng, counts, n) if init == "random" else _draw_far_apart(rng, space, n)
    centres = _lloyd(space, sizes[rows], update, on_step)
    return to_framework(sort_by_area(centres), like)


class _Space:
    """The sizes as a space in which boxes have a nearest centre, in blocks of columns on one device."""

    def __init__(self, xp: Namespace, sizes: HostArray, counts: HostArray, distance: str, device: str) -> None:
        self.xp, self.distance, self.device = xp, distance, device
        self.sizes, self.counts = sizes, counts
        self.scale = _deviation(sizes, counts) if distance == "euclidean" else np.ones(2, np.float32)
        self._columns = [
            xp.from_numpy(np.ascontiguousarray(column), device=device) for column in (sizes / self.scale).T
        ]
        # What means are taken of, as whole numbers times counts: every sum stays below 2^62, exact in any order.
        values = np.log(sizes.astype(np.float64)) if distance == "ratio" else sizes.astype(np.float64)
        self._bits = 61 - math.frexp(float(counts.sum()))[1] - math.frexp(float(np.abs(values).max()))[1]
        units = np.rint(np.ldexp(values, self._bits)).astype(np.int64) * counts[:, None]
        self._sums = [xp.from_numpy(np.ascontiguousarray(column), device=device) for column in (*units.T, counts)]

    def distances(self, centre: HostArray) -> HostArray:
        """From every size to one centre: (U,) float32; squared for the Euclidean one, 1 - ratio for the ratio."""
        here = self._centres(centre[None])
        return np.concatenate([self.xp.to_numpy(self._far(w, h, here[:1])) for w, h in self._blocks(self._columns)])

    def assign(self, centres: HostArray) -> tuple[Array, Array]:
        """The nearest centre of every size, the first of equals: (U,) int64, and how far it is: (U,) float32."""
        xp, here = self.xp, self._centres(centres)
        owners, distances = [], []
        for w, h in self._blocks(self._columns):
            nearest = self._far(w, h, here[:1])
            owner = xp.zeros_like(w)
            for j in range(1, len(centres)):
                far = self._far(w, h, here[j : j + 1])
                owner = xp.where(far < nearest, xp.full_like(owner, float(j)), owner)
                nearest = xp.minimum(nearest, far)
            owners.append(xp.astype(owner, xp.int64))
            distances.append(nearest)
        return xp.concat(owners), xp.concat(distances)

    def totals(self, owner: Array, n: int, rows: Optional[Array] = None) -> HostArray:
        """Per cluster: the sums of both columns in units, and the count: (n, 3) int64; of all sizes or of some rows."""
        xp = self.xp
        columns = self._sums if rows is None else [xp.take(column, rows, axis=0) for column in self._sums]
        totals = np.zeros((n, 3), np.int64)
        for block in self._blocks([owner, *columns]):
            for j in range(n):
                mine = xp.astype(block[0] == j, xp.int64)
                totals[j] += [int(xp.sum(mine * column)) for column in block[1:]]
        return totals

    def mean(self, totals: HostArray) -> HostArray:
        """The mean of a cluster, (2,) float32, from its row of `totals`."""
        values = [math.ldexp(int(total) / int(totals[2]), -self._bits) for total in totals[:2]]
        return np.asarray([math.exp(v) for v in values] if self.distance == "ratio" else values, np.float32)

    def _centres(self, centres: HostArray) -> Array:
        return self.xp.from_numpy(centres.astype(np.float32) / self.scale, device=self.device)

    def _far(self, w: Array, h: Array, centre: Array) -> Array:
        """From a block of sizes to one centre (1, 2)."""
        centre_w, centre_h = centre[:, 0], centre[:, 1]
        if self.distance == "iou":
            return 1 - size_iou(self.xp, w, h, centre_w, centre_h)
        if self.distance == "ratio":
            return 1 - side_ratio(self.xp, w, h, centre_w, centre_h)  # grows with the logarithm's magnitude
        dw, dh = w - centre_w, h - centre_h
        return dw * dw + dh * dh

    def _blocks(self, columns: list[Array]) -> Any:
        size = _BLOCK if self.xp.in_host_memory(columns[0]) else len(self.sizes)
        length = int(columns[0].shape[0])
        return (tuple(column[i : i + size] for column in columns) for i in range(0, length, size))


def _lloyd(
    space: _Space, centres: HostArray, update: str, on_step: Optional[Callable[[KMeansStep], object]]
) -> HostArray:
    """Assign and move until nothing changes; a cluster left empty starts again at the farthest size."""
    xp, n = space.xp, len(centres)
    medians = _Medians(space) if update == "median" else None
    before, totals = None, np.zeros((n, 3), np.int64)
    for _ in range(_MAX_ROUNDS):
        owner, far = space.assign(centres)
        if on_step is not None:  # copies: who is told may do with them what it likes
            on_step(KMeansStep(space.sizes.copy(), space.counts.copy(), centres.copy(), xp.to_numpy(owner).copy()))
        if before is None:
            totals = space.totals(owner, n)
        else:  # whole numbers: what came and what left, and the sums are those of all
            moved = xp.nonzero(owner != before)[0]
            if moved.shape[0] == 0 and totals[:, 2].all():
                break
            totals = totals + space.totals(xp.take(owner, moved, axis=0), n, moved)
            totals = totals - space.totals(xp.take(before, moved, axis=0), n, moved)
        before = owner
        owned = totals[:, 2] > 0
        if medians is not None:
            owner_here = xp.to_numpy(owner)
            centres = np.stack([medians.of(owner_here == j, c) if owned[j] else c for j, c in enumerate(centres)])
        else:
            centres = np.stack([space.mean(totals[j]) if owned[j] else c for j, c in enumerate(centres)])
        if not owned.all():
            far_here = np.array(xp.to_numpy(far))
            for centre in centres[
                owned
            ]:  # sizes an ulp apart can be at distance 0 of each other: never the same one twice
                far_here[(space.sizes == centre).all(axis=1)] = -1
            farthest = np.argsort(-far_here, kind="stable")  # of equals the first
            centres[~owned] = space.sizes[farthest[: n - owned.sum()]]
    return centres


class _Medians:
    """Weighted medians of clusters, side by side: each side is put in order once, then counted along."""

    def __init__(self, space: _Space) -> None:
        self._sides = []
        for side in (0, 1):
            order = np.argsort(space.sizes[:, side], kind="stable")
            self._sides.append((order, space.sizes[order, side], space.counts[order]))

    def of(self, mine: HostArray, centre: HostArray) -> HostArray:
        """Of the sizes where `mine` is true: the mean of the two middle values of each side, (2,) float32."""
        result = np.empty_like(centre)
        for side, (order, values, counts) in enumerate(self._sides):
            running = np.cumsum(np.where(mine[order], counts, 0))
            lower = values[np.searchsorted(running, (running[-1] + 1) // 2)]
            upper = values[np.searchsorted(running, running[-1] // 2 + 1)]
            result[side] = (lower + upper) * np.float32(0.5)
        return result


def _draw_random(rng: np.random.Generator, counts: HostArray, n: int) -> HostArray:
    return rng.choice(len(counts), n, replace=False, p=counts / counts.sum())


def _draw_far_apart(rng: np.random.Generator, space: _Space, n: int) -> list[int]:
    """k-means++: each next centre with a chance that grows with the (squared, if Euclidean) distance to the others."""
    rows = [int(_draw_random(rng, space.counts, 1)[0])]
    nearest = space.distances(space.sizes[rows[0]])
    while len(rows) < n:
        chances = np.cumsum(nearest.astype(np.float64) * space.counts)
        if chances[-1] > 0:
            row = int(np.searchsorted(chances, rng.random() * chances[-1], side="right"))
        else:  # sizes so close that their distance is 0 in float32: any other will do
            row = min(set(range(n)) - set(rows))
        rows.append(row)
        nearest = np.minimum(nearest, space.distances(space.sizes[row]))
    return rows


def _deviation(sizes: HostArray, counts: HostArray) -> HostArray:
    """The standard deviation of each side as float32 (2,), 1 where all are equal; from whole numbers, hence exact."""
    deviations = []
    n = int(counts.sum())
    bits = min(24, (62 - n.bit_length()) // 2)  # so that squares times counts stay below 2^63
    for side in sizes.T:
        exponent = bits - math.frexp(float(side.max()))[1]
        units = np.rint(np.ldexp(side.astype(np.float64), exponent)).astype(np.int64)
        total, squares = int((units * counts).sum()), int((units * units * counts).sum())
        variance = (n * squares - total * total) / (n * n)
        deviations.append(math.ldexp(math.sqrt(variance), -exponent) or 1.0)
    return np.asarray(deviations, np.float32)
