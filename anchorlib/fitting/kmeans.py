"""Cluster box sizes by k-means: three distances, two inits, two updates, and always as many anchors as asked for.

One seed gives bit-identical anchors everywhere: equal boxes are merged and sorted first, so the order of the boxes does
not matter; assignments use operations that every framework rounds in the same way; and the mean of a cluster is a
quotient of integers.
"""

from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from anchorlib.arrays import (
    COLUMNS_IN_CACHE,
    Array,
    HostArray,
    Namespace,
    as_float,
    blocks,
    check_integer,
    check_one_of,
    check_shape_wh,
    check_sizes,
    check_weights,
    read_numbers,
    take_sizes,
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

_MAX_ROUNDS = 300  # medians and 1 - IoU can repeat without end; means of Euclidean distances converge long before


class KMeansStep(NamedTuple):
    """Hold the centres and the cluster of each size, after an assignment and before the centres move; host arrays.

    sizes : (U, 2) float32, pixels, the distinct sizes
    counts : (U,) int64, how often each size occurs
    centres : (n, 2) float32, pixels, in the order of the clusters
    owner : (U,) int64, the cluster of each size
    """

    sizes: HostArray
    counts: HostArray
    centres: HostArray
    owner: HostArray


def kmeans(
    boxes_wh: Any,
    n: int,
    *,
    distance: str = "euclidean",
    update: str = "mean",
    init: str = "random",
    seed: int = 0,
    weights: Optional[Any] = None,
    on_step: Optional[Callable[[KMeansStep], object]] = None,
) -> Array:
    """Fit anchors to box sizes by k-means.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, every side > 0; taken as float32, in any order: an array, a nested list, BoxSizes
        or SizeCounts
    n : number of anchors, at most the number of distinct sizes
    distance : "euclidean" on sizes divided by their standard deviation (YOLOv5's autoanchor), "iou" for 1 - IoU
        (YOLO9000) or "ratio" for the logarithm of the worse side ratio, from which BPR is counted
    update : "mean" (of logarithms for "ratio") or "median" of each side
    init : "random" draws n distinct sizes, with probabilities in proportion to their counts; "k-means++" prefers a next
        centre that is far from the others
    seed : for numpy.random.default_rng
    weights : (N,) >= 0, how often each box counts; not for SizeCounts, whose counts are the weights
    on_step : called with a KMeansStep after each assignment; the last call describes the result, unless 300 iterations
        were reached without convergence

    Returns
    -------
    (n, 2), dtype, device and framework of `boxes_wh` (float32 for integers), sorted by area. There are always n: a
    cluster that loses its last box starts again at the box that is farthest from its centre.

    Raises
    ------
    BadValueError : sides <= 0, NaN, n < 1, n greater than the number of distinct sizes, or an unknown distance, update
        or init
    ShapeError, BackendMixError, ArrayTypeError

    Source
    ------
    Lloyd 1982; Arthur and Vassilvitskii, "k-means++", 2007; Redmon and Farhadi, "YOLO9000", 2016.

    Examples
    --------
    >>> kmeans(np.asarray([[10., 10.], [12., 10.], [90., 50.], [91., 50.]]), 2)
    array([[11. , 10. ],
           [90.5, 50. ]])
    """
    check_kmeans_options(distance, update, init)
    check_integer("seed", seed, 0)
    check_integer("n", n, 1)
    boxes_wh, weights = take_sizes(boxes_wh, weights)
    check_shape_wh(boxes_wh=boxes_wh)
    check_sizes(boxes_wh=boxes_wh)
    counts = check_weights(weights, boxes_wh.shape[0])
    like = as_float(boxes_wh)
    (view,) = on_host(like)
    options = {"distance": distance, "update": update, "init": init}
    return to_framework(cluster(view, counts, n, seed=seed, on_step=on_step, **options), like)


def check_kmeans_options(distance: str, update: str, init: str) -> None:
    """Refuse an unknown distance, update or init of `kmeans`."""
    check_one_of("distance", distance, DISTANCES)
    check_one_of("update", update, UPDATES)
    check_one_of("init", init, INITS)


def cluster(
    boxes_wh: Array,
    counts: Optional[HostArray],
    n: int,
    *,
    distance: str,
    update: str,
    init: str,
    seed: int,
    on_step: Optional[Callable[[KMeansStep], object]] = None,
) -> HostArray:
    """Return the anchors of `kmeans` in host memory, (n, 2) float32 sorted by area, from checked arguments.

    `boxes_wh` is (N, 2) float of any framework; `counts` is the result of `check_weights`. Raises BadValueError for n
    greater than the number of distinct sizes.
    """
    xp = namespace_of(boxes_wh)
    merged = merge_equal(as_columns(xp.to_numpy(as_float(boxes_wh, xp.float32)), counts))  # in host memory
    merged = merged.take(np.flatnonzero(merged.count))
    sizes, counts = np.stack([merged.w, merged.h], axis=1), merged.count.astype(np.int64)
    if n > len(sizes):
        raise BadValueError(f"n={n} needs at least {n} distinct box sizes, got {len(sizes)}.")

    space = _Space(xp, sizes, counts, distance, xp.device_of(boxes_wh))
    rng = np.random.default_rng(seed)
    rows = _draw_random(rng, counts, n) if init == "random" else _draw_far_apart(rng, space, n)
    return sort_by_area(_iterate(space, sizes[rows], update, on_step))


class _Space:
    """Hold the sizes as columns on one device, and measure their distances to centres block by block."""

    def __init__(self, xp: Namespace, sizes: HostArray, counts: HostArray, distance: str, device: str) -> None:
        self.xp, self.distance, self.device = xp, distance, device
        self.sizes, self.counts = sizes, counts
        self.scale = _deviation(sizes, counts) if distance == "euclidean" else np.ones(2, np.float32)
        self._columns = [
            xp.from_numpy(np.ascontiguousarray(column), device=device) for column in (sizes / self.scale).T
        ]
        # Means are computed from integers times counts: every sum stays below 2^62, so it is exact in any order.
        values = np.log(sizes.astype(np.float64)) if distance == "ratio" else sizes.astype(np.float64)
        self._bits = 61 - math.frexp(float(counts.sum()))[1] - math.frexp(float(np.abs(values).max()))[1]
        units = np.rint(np.ldexp(values, self._bits)).astype(np.int64) * counts[:, None]
        self._sums = [xp.from_numpy(np.ascontiguousarray(column), device=device) for column in (*units.T, counts)]

    def distances(self, centre: HostArray) -> HostArray:
        """Return the distance of all sizes to one centre, (U,) float32: squared if Euclidean, 1 - ratio for "ratio"."""
        here = self._centres(centre[None])
        return np.concatenate([self.xp.to_numpy(self._far(w, h, here[:1, :])) for w, h in self._blocks(self._columns)])

    def assign(self, centres: HostArray) -> tuple[Array, Array]:
        """Return the nearest centre of every size, (U,) int64, the first of equally near ones, and its distance."""
        xp, here = self.xp, self._centres(centres)
        owners, distances = [], []
        for w, h in self._blocks(self._columns):
            nearest = self._far(w, h, here[:1, :])
            owner = xp.zeros_like(w)
            for j in range(1, len(centres)):
                far = self._far(w, h, here[j : j + 1, :])
                owner = xp.where(far < nearest, xp.full_like(owner, float(j)), owner)
                nearest = xp.minimum(nearest, far)
            owners.append(xp.astype(owner, xp.int64))
            distances.append(nearest)
        return xp.concat(owners), xp.concat(distances)

    def totals(self, owner: Array, n: int, rows: Optional[Array] = None) -> HostArray:
        """Return the sums of both columns in units, and the count, of each cluster: (n, 3) int64; `rows` may select."""
        return _added_up(read_numbers(self.xp, self._sums_by_block(owner, n, rows)), n)

    def next_totals(self, owner: Array, before: Optional[Array], totals: HostArray) -> tuple[HostArray, bool]:
        """Return the totals of the clusters, and whether any size changed its cluster since `before`.

        totals : (n, 3), those of `before`, which is None at first
        """
        xp, n = self.xp, len(totals)
        if before is None:
            return self.totals(owner, n), True
        if not xp.in_host_memory(owner):  # all sizes again: to select those that moved would wait for the device
            moved = xp.sum(xp.astype(owner != before, xp.int64))
            *sums, n_moved = read_numbers(xp, [*self._sums_by_block(owner, n), moved])
            return _added_up(sums, n), n_moved > 0
        moved = xp.nonzero(owner != before)[0]
        if moved.shape[0] == 0:
            return totals, False
        # Sums are integers, so adding the sizes that joined and subtracting those that left is exact.
        joined = self.totals(xp.take(owner, moved, axis=0), n, moved)
        left = self.totals(xp.take(before, moved, axis=0), n, moved)
        return totals + joined - left, True

    def _sums_by_block(self, owner: Array, n: int, rows: Optional[Array] = None) -> list[Array]:
        """Return the entries of `totals` as arrays (): block by block, in each by cluster."""
        xp = self.xp
        columns = self._sums if rows is None else [xp.take(column, rows, axis=0) for column in self._sums]
        sums = []
        for block in self._blocks([owner, *columns]):
            for j in range(n):
                mine = xp.astype(block[0] == j, xp.int64)
                sums += [xp.sum(mine * column) for column in block[1:]]
        return sums

    def mean(self, totals: HostArray) -> HostArray:
        """Return the mean of a cluster, (2,) float32, from its row of `totals`."""
        values = [math.ldexp(int(total) / int(totals[2]), -self._bits) for total in totals[:2]]
        return np.asarray([math.exp(v) for v in values] if self.distance == "ratio" else values, np.float32)

    def _centres(self, centres: HostArray) -> Array:
        return self.xp.from_numpy(centres.astype(np.float32) / self.scale, device=self.device)

    def _far(self, w: Array, h: Array, centre: Array) -> Array:
        """Return the distance of each size of a block to one centre (1, 2)."""
        centre_w, centre_h = centre[:, 0], centre[:, 1]
        if self.distance == "iou":
            return 1 - size_iou(self.xp, w, h, centre_w, centre_h)
        if self.distance == "ratio":
            return 1 - side_ratio(self.xp, w, h, centre_w, centre_h)  # grows with the logarithm's magnitude
        dw, dh = w - centre_w, h - centre_h
        return dw * dw + dh * dh

    def _blocks(self, columns: list[Array]) -> Any:
        size = COLUMNS_IN_CACHE if self.xp.in_host_memory(columns[0]) else len(self.sizes)
        length = int(columns[0].shape[0])
        return (tuple(column[rows] for column in columns) for rows in blocks(length, size))


def _iterate(
    space: _Space, centres: HostArray, update: str, on_step: Optional[Callable[[KMeansStep], object]]
) -> HostArray:
    """Assign sizes and move centres (Lloyd) until nothing changes; an empty cluster restarts at the farthest size."""
    xp, n = space.xp, len(centres)
    medians = _Medians(space) if update == "median" else None
    before, totals = None, np.zeros((n, 3), np.int64)
    for _ in range(_MAX_ROUNDS):
        owner, far = space.assign(centres)
        if on_step is not None:  # copies, because the caller may write to them
            on_step(KMeansStep(space.sizes.copy(), space.counts.copy(), centres.copy(), xp.to_numpy(owner).copy()))
        if medians is None:
            totals, has_moved = space.next_totals(owner, before, totals)
            owned = totals[:, 2] > 0
        else:
            owner = xp.to_numpy(owner)
            has_moved = before is None or bool((owner != before).any())
            owned = np.bincount(owner, minlength=n) > 0
        if not has_moved and owned.all():
            break
        before = owner
        if medians is not None:
            centres = np.stack([medians.find(owner == j, c) if owned[j] else c for j, c in enumerate(centres)])
        else:
            centres = np.stack([space.mean(totals[j]) if owned[j] else c for j, c in enumerate(centres)])
        if not owned.all():
            far_here = np.array(xp.to_numpy(far))
            for centre in centres[owned]:  # sizes one ulp apart can have distance 0: no size may be chosen twice
                far_here[(space.sizes == centre).all(axis=1)] = -1
            farthest = np.argsort(-far_here, kind="stable")  # stable: the first of equally far sizes
            centres[~owned] = space.sizes[farthest[: n - owned.sum()]]
    return centres


def _added_up(sums: list[int], n: int) -> HostArray:
    """Return the totals (n, 3) of the sums of all blocks."""
    totals: HostArray = np.asarray(sums, np.int64).reshape(-1, n, 3).sum(axis=0)
    return totals


class _Medians:
    """Compute weighted medians of clusters: each side is sorted once, then counts are accumulated in that order."""

    def __init__(self, space: _Space) -> None:
        self._sides = []
        for side in (0, 1):
            order = np.argsort(space.sizes[:, side], kind="stable")
            self._sides.append((order, space.sizes[order, side], space.counts[order]))

    def find(self, mine: HostArray, centre: HostArray) -> HostArray:
        """Return the medians of the sizes for which `mine` is true: the mean of the two middle values, (2,) float32."""
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
    """Draw centres by k-means++: the probability of a size is in proportion to its distance to the nearest centre.

    The distance is squared if it is Euclidean.
    """
    rows = [int(_draw_random(rng, space.counts, 1)[0])]
    nearest = space.distances(space.sizes[rows[0]])
    while len(rows) < n:
        chances = np.cumsum(nearest.astype(np.float64) * space.counts)
        if chances[-1] > 0:
            row = int(np.searchsorted(chances, rng.random() * chances[-1], side="right"))
        else:  # all remaining distances are 0 in float32: take any other size
            row = min(set(range(n)) - set(rows))
        rows.append(row)
        nearest = np.minimum(nearest, space.distances(space.sizes[row]))
    return rows


def _deviation(sizes: HostArray, counts: HostArray) -> HostArray:
    """Return the standard deviation of each side, (2,) float32; 1 if all are equal. Sums of integers make it exact."""
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
