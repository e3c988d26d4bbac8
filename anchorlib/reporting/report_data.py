"""Measure the numbers that the pictures of a report show, once for the page and the PNG. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets import BoxSizes
from anchorlib.fitting.rounding import round_anchors
from anchorlib.metrics import SizeTable, ratio_limit, side_ratio
from anchorlib.modelfiles import split_layers
from anchorlib.reporting.report import Report

_BLOCK = 2**16  # boxes per block: their columns stay in the cache
_LEAST_OCTAVES, _MOST_OCTAVES = 4, 16  # octaves of a side that are drawn
_MOST_CELLS = 72  # cells of the density per axis
RATIO_BINS = 40


@dataclass(frozen=True)
class Density:
    """Count boxes by size, in cells of log2 of width and height; both axes have the same range.

    low, high : range of the axes, octaves (log2 of pixels)
    counts : (B, B) int64; entry [i, j] is cell i of widths and cell j of heights
    not_drawn : number of boxes outside the range, such as those with a zero side
    """

    low: float
    high: float
    counts: HostArray
    not_drawn: int

    @property
    def step(self) -> float:
        """Return the width of a cell in octaves."""
        return (self.high - self.low) / len(self.counts)


@dataclass(frozen=True)
class ClassRecall:
    """Hold how many boxes a class has, and which share of them the anchors match now and before."""

    name: str
    n_boxes: int
    bpr: float
    bpr_before: Optional[float]


@dataclass(frozen=True)
class UnmatchedBox:
    """Hold a box that no anchor matches: its image, class, size in pixels, best ratio, and row in the BoxSizes."""

    image: str
    class_name: str
    w: float
    h: float
    best: float
    row: int


@dataclass(frozen=True)
class Figures:
    """Hold the numbers that the pictures show.

    best, best_before : (RATIO_BINS,) int64, counts of boxes by their best ratio, in equal bins of [0, 1]
    classes : sorted by recall, the worst first; equal ones by size, the larger first
    unmatched : the largest boxes by area, up to a limit; n_unmatched counts all unmatched boxes
    to_copy : for each layer (A, 2) float32, pixels: the anchors as a model file has them, with few decimals
    """

    density: Density
    best: HostArray
    best_before: Optional[HostArray]
    classes: list[ClassRecall]
    unmatched: list[UnmatchedBox]
    n_unmatched: int
    to_copy: list[HostArray]


def measure_figures(report: Report, most_unmatched: int = 30) -> Figures:
    """Return the numbers that the pictures of a report show, with up to `most_unmatched` unmatched boxes.

    Examples
    --------
    >>> from anchorlib import read_boxes
    >>> from anchorlib.metrics import SizeTable
    >>> from anchorlib.reporting.report import measure_layers
    >>> boxes, anchors = read_boxes("tests/data/bccd"), np.asarray([[70.0, 70.0]], np.float32)
    >>> table = SizeTable(boxes.wh)
    >>> layers = measure_layers(table, [anchors], 4.0)
    >>> report = Report("bccd", boxes, 4.0, "640 px", "numpy", table.score(anchors, 4.0), layers)
    >>> measure_figures(report).unmatched[0]
    UnmatchedBox(image='BloodImage_00009.jpg', class_name='WBC', w=232.0, h=286.0, best=0.2447552..., row=...)
    """
    boxes, limit = report.boxes, ratio_limit(report.thr)
    anchors = np.concatenate([layer.anchors for layer in report.layers])
    before = report.before_anchors
    best = find_best_ratios(boxes.wh, anchors)
    best_before = None if before is None else find_best_ratios(boxes.wh, before)
    unmatched = np.flatnonzero(best <= limit)
    area = boxes.wh[unmatched].astype(np.float64).prod(axis=1)
    largest = unmatched[np.argsort(-area, kind="stable")[:most_unmatched]]
    return Figures(
        density=_measure_density(boxes.wh, anchors if before is None else np.concatenate([anchors, before])),
        best=_count_ratios(best),
        best_before=None if best_before is None else _count_ratios(best_before),
        classes=_measure_classes(boxes, best > limit, None if best_before is None else best_before > limit),
        unmatched=[_describe_box(boxes, row, best) for row in map(int, largest)],
        n_unmatched=len(unmatched),
        to_copy=_round_layers(report),
    )


def _round_layers(report: Report) -> list[HostArray]:
    """Return the anchors as they are written to a file. Anchors that were not fitted come from one: they stay."""
    anchors = np.concatenate([layer.anchors for layer in report.layers])
    if report.written is not None:
        anchors = report.written.anchors
    elif report.fitted:
        anchors = round_anchors(SizeTable(report.boxes.wh), anchors, report.thr).anchors
    return split_layers(anchors, [len(layer.anchors) for layer in report.layers])


def find_best_ratios(boxes_wh: HostArray, anchors: HostArray) -> HostArray:
    """Return the side ratio of each box to its best anchor: (N,) float32, bit-identical to the ratios of the score.

    >>> boxes_wh = np.asarray([[10.0, 20.0], [8.0, 0.0]], np.float32)
    >>> find_best_ratios(boxes_wh, np.asarray([[10, 10], [10, 40]], np.float32))
    array([0.5, 0. ], dtype=float32)
    """
    best = np.zeros(len(boxes_wh), np.float32)
    anchors = anchors.astype(np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        for first, (w, h) in _split_columns(boxes_wh):
            part = best[first : first + _BLOCK]
            for j in range(len(anchors)):
                ratio = side_ratio(np, w, h, anchors[j : j + 1, 0], anchors[j : j + 1, 1])
                np.maximum(part, ratio, out=part)
    return best


def _split_columns(boxes_wh: HostArray) -> Iterator[tuple[int, HostArray]]:
    """Yield blocks of boxes: the first row of each, and (2, n) contiguous float32 widths and heights."""
    for first in range(0, len(boxes_wh), _BLOCK):
        yield first, np.ascontiguousarray(boxes_wh[first : first + _BLOCK].T, np.float32)


def _count_ratios(best: HostArray) -> HostArray:
    bins = np.minimum(
        (best * np.float32(RATIO_BINS)).astype(np.int64), RATIO_BINS - 1
    )  # a ratio of 1 belongs to the last bin
    return np.bincount(bins, minlength=RATIO_BINS)


def _measure_density(boxes_wh: HostArray, anchors: HostArray) -> Density:
    positive = boxes_wh[(boxes_wh > 0).all(axis=1)]
    sides = [float(f(a)) for a in (positive, anchors) if len(a) for f in (np.min, np.max)]
    high = math.ceil(math.log2(max(sides)) * 2 + 0.2) / 2
    low = max(math.floor(math.log2(min(sides)) * 2 - 0.2) / 2, high - _MOST_OCTAVES)
    more = max(0.0, _LEAST_OCTAVES - (high - low)) / 2
    low, high = low - more, high + more
    cells = next(n for n in (16, 8, 4, 2) if n * (high - low) <= _MOST_CELLS or n == 2)
    n = math.ceil((high - low) * cells)
    counts = np.zeros(n * n, np.int64)
    with np.errstate(divide="ignore"):
        for _, columns in _split_columns(positive):
            i, j = np.floor((np.log2(columns) - np.float32(low)) * np.float32(cells)).astype(np.int64)
            inside = (i >= 0) & (j >= 0) & (i < n) & (j < n)
            counts += np.bincount(i[inside] * n + j[inside], minlength=n * n)
    return Density(low, low + n / cells, counts.reshape(n, n), len(boxes_wh) - int(counts.sum()))


def _measure_classes(boxes: BoxSizes, matched: HostArray, matched_before: Optional[HostArray]) -> list[ClassRecall]:
    numbers, index = np.unique(boxes.classes, return_inverse=True)
    counts = np.bincount(index, minlength=len(numbers))
    now = np.bincount(index[matched], minlength=len(numbers)) / counts
    before: Sequence[Optional[float]] = [None] * len(numbers)
    if matched_before is not None:
        before = (np.bincount(index[matched_before], minlength=len(numbers)) / counts).tolist()
    names = [boxes.class_name(int(number)) for number in numbers]
    recalls = [ClassRecall(*row) for row in zip(names, counts.tolist(), now.tolist(), before)]
    return sorted(recalls, key=lambda one: (one.bpr, -one.n_boxes))


def _describe_box(boxes: BoxSizes, row: int, best: HostArray) -> UnmatchedBox:
    image = int(boxes.image_index[row])
    name = boxes.image_names[image] if image < len(boxes.image_names) else f"image {image}"
    w, h = boxes.wh[row].tolist()
    return UnmatchedBox(name, boxes.class_name(int(boxes.classes[row])), w, h, float(best[row]), row)


def trace_outline(anchors: HostArray, thr: float) -> list[tuple[float, float, float, float]]:
    """Return the outline of all sizes that some anchor matches: segments (w1, h1, w2, h2) of log2 sides.

    In octaves, an anchor matches the square of side 2 log2(thr) around it. Edges inside the union of the squares are
    left out.

    >>> sorted(trace_outline(np.asarray([[8.0, 8.0]]), 2.0))
    [(2.0, 2.0, 2.0, 4.0), (2.0, 2.0, 4.0, 2.0), (2.0, 4.0, 4.0, 4.0), (4.0, 2.0, 4.0, 4.0)]
    """
    centres, reach = np.log2(anchors.astype(np.float64)), math.log2(thr)
    edges = [np.unique(np.concatenate([side - reach, side + reach])) for side in centres.T]
    middles = [(side[1:] + side[:-1]) / 2 for side in edges]
    near = [abs(middle[:, None] - side) < reach for middle, side in zip(middles, centres.T)]  # (cells, K)
    inside = np.pad((near[0][:, None, :] & near[1][None, :, :]).any(axis=2), 1)  # (cells of w + 2, cells of h + 2)
    (w, h), segments = edges, []
    for i, j in zip(*np.nonzero(inside[1:, :] != inside[:-1, :])):  # vertical, at w[i]
        segments.append((w[i], h[j - 1], w[i], h[j]))
    for i, j in zip(*np.nonzero(inside[:, 1:] != inside[:, :-1])):  # horizontal, at h[j]
        segments.append((w[i - 1], h[j], w[i], h[j]))
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in segments]
