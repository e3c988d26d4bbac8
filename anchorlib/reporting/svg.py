"""Draw the pictures of the page as SVG. The page's CSS sets colours; shapes distinguish the same things."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Callable, Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.fitting.curve import Curve
from anchorlib.markup import Markup, element, join
from anchorlib.reporting.report import Report
from anchorlib.reporting.report_data import Density, Figures, trace_outline

WIDTH = 420.0  # units of every picture: about the pixels of a phone
LEVELS = 6  # number of shades of the density
LAYER_SHAPES = ("circle", "square", "triangle", "diamond")
BEFORE_SHAPE = "cross"
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 16.0, 26.0, 46.0
_DIGIT = 9.0  # units: width of a digit in a narrow window, where the text is largest

#: Paths around (0, 0) with a radius of about 6 units.
_SHAPES = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "square": "M-4.5 -4.5h9v9h-9z",
    "triangle": "M0 -6l5.5 10h-11z",
    "diamond": "M0 -6l6 6l-6 6l-6 -6z",
    "cross": "M-4.5 -4.5l9 9M-4.5 4.5l9 -9",
}


class _Frame:
    """Convert values of the axes to units of the picture."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], height: float, left: float = _LEFT) -> None:
        self.height, self.left = height, left
        self._x, self._y = x, y

    def x(self, value: float) -> float:
        low, high = self._x
        return round(self.left + (value - low) / (high - low) * (WIDTH - self.left - _RIGHT), 1)

    def y(self, value: float) -> float:
        low, high = self._y
        return round(self.height - _BOTTOM - (value - low) / (high - low) * (self.height - _TOP - _BOTTOM), 1)

    def wrap(self, label: str, parts: Sequence[Markup]) -> Markup:
        box = f"0 0 {WIDTH:g} {self.height:g}"
        return element("svg", *parts, class_="chart", viewBox=box, role="img", aria_label=label)

    def draw_axes(
        self,
        x_ticks: Sequence[tuple[float, str]],
        y_ticks: Sequence[tuple[float, str]],
        x_label: str,
        y_label: Optional[str] = None,
    ) -> Markup:
        left, right = self.x(self._x[0]), self.x(self._x[1])
        bottom, top = self.y(self._y[0]), self.y(self._y[1])
        grid = "".join(f"M{self.x(v)} {top}V{bottom}" for v, _ in x_ticks)
        grid += "".join(f"M{left} {self.y(v)}H{right}" for v, _ in y_ticks)
        parts = [element("path", d=grid, class_="grid")]
        parts += [_draw_text(name, self.x(v), bottom + 20, "middle") for v, name in x_ticks]
        parts += [_draw_text(name, left - 6, self.y(v) + 4, "end") for v, name in y_ticks]
        parts.append(_draw_text(x_label, (left + right) / 2, self.height - 5, "middle"))
        if y_label:
            parts.append(_draw_text(y_label, 4, 13, "start"))
        return join(*parts)


def draw_density(report: Report, figures: Figures) -> Markup:
    """Draw box sizes as a log-log density, with the anchors and the outline of the sizes that they match."""
    density = figures.density
    frame = _Frame((density.low, density.high), (density.low, density.high), WIDTH - _LEFT - _RIGHT + _TOP + _BOTTOM)
    ticks = place_ticks(density)
    parts = [frame.draw_axes(ticks, ticks, "width, px", "height, px"), *_draw_cells(frame, density)]
    before = report.before_anchors
    if before is not None:
        parts.append(_draw_outline(frame, density, before, report.thr, "before"))
    parts.append(_draw_outline(frame, density, np.concatenate([u.anchors for u in report.layers]), report.thr, "after"))
    for w, h in () if before is None else before:
        where = frame.x(math.log2(w)), frame.y(math.log2(h))
        parts.append(draw_marker(BEFORE_SHAPE, *where, "before", f"{report.before_name}: {format_size(w, h)} px"))
    for i, layer in enumerate(report.layers):
        for w, h in layer.anchors:
            where = frame.x(math.log2(w)), frame.y(math.log2(h))
            parts.append(draw_marker(choose_shape(i), *where, "after", f"layer {i + 1}: {format_size(w, h)} px"))
    return frame.wrap("Box sizes, width against height, and the anchors", parts)


def place_ticks(density: Density) -> list[tuple[float, str]]:
    """Return about ten ticks or fewer, at powers of two: (octave, label) of each."""
    every = math.ceil((density.high - density.low) / 10)
    octaves = range(math.ceil(density.low), math.floor(density.high) + 1, every)
    return [(octave, f"{2.0**octave:.3g}" if octave < 10 else f"{2**octave}") for octave in octaves]


def format_size(w: float, h: float) -> str:
    """Return a size in pixels as text, such as 10.0 × 13.0."""
    return f"{w:.1f} × {h:.1f}"


def choose_shape(layer: int) -> str:
    """Return the marker for the anchors of a layer; the fifth layer uses the first marker again."""
    return LAYER_SHAPES[layer % len(LAYER_SHAPES)]


def grade_cells(counts: HostArray) -> HostArray:
    """Return 0 for an empty cell, else 1 to LEVELS in equal steps of the logarithm of its count."""
    fullest = max(2, int(counts.max(initial=0)))
    with np.errstate(divide="ignore"):
        level = np.ceil(np.log(counts) / math.log(fullest) * LEVELS)
    return np.where(counts > 0, np.clip(level, 1, LEVELS), 0).astype(np.int64)


def _draw_cells(frame: _Frame, density: Density) -> list[Markup]:
    """Return one path for each shade; adjacent cells of a row with the same shade become one rectangle."""
    levels, paths = grade_cells(density.counts), [""] * (LEVELS + 1)
    edges = [density.low + i * density.step for i in range(len(levels) + 1)]
    for j, row in enumerate(levels.T):  # cells of one height
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(row)]):
            if row[start]:
                left, right = frame.x(edges[start]), frame.x(edges[end])
                paths[row[start]] += f"M{left:g} {frame.y(edges[j]):g}H{right:g}V{frame.y(edges[j + 1]):g}H{left:g}z"
    return [element("path", d=path, class_=f"shade{i}") for i, path in enumerate(paths) if path]


def _draw_outline(frame: _Frame, density: Density, anchors: HostArray, thr: float, of: str) -> Markup:
    """Draw the outline of the sizes that the anchors match, clipped to the axes."""
    path = ""
    for segment in trace_outline(anchors, thr):
        w1, h1, w2, h2 = (min(max(octave, density.low), density.high) for octave in segment)
        is_outside = (w1 == w2 != segment[0]) or (h1 == h2 != segment[1]) or (w1, h1) == (w2, h2)
        if not is_outside:
            path += f"M{frame.x(w1):g} {frame.y(h1):g}L{frame.x(w2):g} {frame.y(h2):g}"
    return element("path", d=path, class_=f"region {of}")


def draw_ratios(report: Report, figures: Figures) -> Markup:
    """Draw the histogram of best ratios as bars, with a stepped line for the earlier anchors and the limit."""
    shares = [100 * figures.best / figures.best.sum()]
    if figures.best_before is not None:
        shares.append(100 * figures.best_before / figures.best_before.sum())
    step, top = _choose_step(max(share.max() for share in shares))
    frame = _Frame((0, 1), (0, top), 300)
    y_ticks = [(i * step, f"{i * step:g}") for i in range(round(top / step) + 1)]
    bars, n = "", len(figures.best)
    for i, share in enumerate(shares[0]):
        if share:
            left, right = frame.x(i / n) + 0.5, frame.x((i + 1) / n) - 0.5
            bars += f"M{left:g} {frame.y(0):g}H{right:g}V{frame.y(share):g}H{left:g}z"
    parts = [
        frame.draw_axes(
            [(v / 10, f"{v / 10:g}") for v in range(0, 11, 2)], y_ticks, "best ratio of a box", "% of boxes"
        ),
        element("path", d=bars, class_="bars after"),
    ]
    if len(shares) > 1:
        line = "".join(
            f"{'L' if i else 'M'}{frame.x(i / n):g} {frame.y(s):g}H{frame.x((i + 1) / n):g}"
            for i, s in enumerate(shares[1])
        )
        parts.append(element("path", d=line, class_="line before"))
    parts.append(_draw_limit(frame, 1 / report.thr, f"1/thr = {1 / report.thr:.3g}", least=135))
    return frame.wrap("Histogram of the best ratio of each box", parts)


#: The lines of the curve: name, function from score to value, CSS class, shape.
CURVE_LINES: tuple[tuple[str, Callable[..., float], str, str], ...] = (
    ("average IoU", lambda score: score.avg_iou, "iou", "circle"),
    ("fitness", lambda score: score.fitness, "fitness", "square"),
    ("best possible recall", lambda score: score.bpr, "bpr", "triangle"),
)


def draw_curve(curve: Curve, report: Optional[Report] = None) -> Markup:
    """Draw average IoU, fitness and BPR against k, with the knee and rings for the anchors of the report."""
    ks = curve.ks
    scores = [fit.score for fit in curve.fits] + ([report.score] if report else [])
    n = sum(len(layer.anchors) for layer in report.layers) if report else ks[-1]
    lowest = min(take(score) for score in scores for _, take, _, _ in CURVE_LINES)
    step, _ = _choose_step(1 - min(lowest, 0.95))
    low = 1 - math.ceil((1 - lowest) / step - 1e-9) * step if lowest < 1 else 1 - step
    y_ticks = [(low + i * step, f"{low + i * step:.4g}") for i in range(round((1 - low) / step) + 1)]
    left = max(_LEFT, 10 + _DIGIT * max(len(label) for _, label in y_ticks))
    frame = _Frame((min(ks[0], n) - 0.5, max(ks[-1], n) + 0.5), (low, 1), 300, left)
    x_step = math.ceil(max(ks[-1], n) / 12)
    x_ticks = [(k, str(k)) for k in range(min(ks[0], n), max(ks[-1], n) + 1) if k % x_step == 0 or k == ks[0] == 1]
    parts = [frame.draw_axes(x_ticks, y_ticks, "k, the number of anchors")]
    if curve.knee is not None:
        parts.append(_draw_limit(frame, curve.knee, f"knee: k = {curve.knee}"))
    for name, take, class_, shape in CURVE_LINES:
        points = [(frame.x(k), frame.y(take(fit.score))) for k, fit in zip(ks, curve.fits)]
        line = "".join(f"{'L' if i else 'M'}{x:g} {y:g}" for i, (x, y) in enumerate(points))
        parts.append(element("path", d=line, class_=f"line {class_}"))
        for k, fit, (x, y) in zip(ks, curve.fits, points):
            parts.append(draw_marker(shape, x, y, class_, f"k = {k}: {name} {take(fit.score):.4f}", 0.7))
        if report:
            title = f"these anchors: {name} {take(report.score):.4f}"
            parts.append(draw_marker("circle", frame.x(n), frame.y(take(report.score)), f"ring {class_}", title, 1.6))
    return frame.wrap("Average IoU, fitness and best possible recall against the number of anchors", parts)


def draw_marker(shape: str, x: float, y: float, class_: str, title: str = "", scale: float = 1) -> Markup:
    """Draw a marker at (x, y); its title is shown when the pointer is over it."""
    where = f"translate({x:g} {y:g})" + (f" scale({scale:g})" if scale != 1 else "")
    shown = [element("title", title)] if title else []
    return element("path", *shown, d=_SHAPES[shape], transform=where, class_=f"mark {shape} {class_}")


def _draw_limit(frame: _Frame, x: float, label: str, least: float = _LEFT + 40) -> Markup:
    """Draw a vertical line with a label above it; `least` is the smallest x of the middle of the label."""
    at = frame.x(x)
    place = min(max(at, least), WIDTH - 60)
    line = element("path", d=f"M{at:g} {_TOP:g}V{frame.height - _BOTTOM:g}", class_="limit")
    return join(line, _draw_text(label, place, _TOP - 13, "middle"))


def _draw_text(text: str, x: float, y: float, anchor: str) -> Markup:
    return element("text", text, x=f"{x:g}", y=f"{y:g}", text_anchor=anchor)


def _choose_step(span: float) -> tuple[float, float]:
    """Return a round step that divides 0 to `span` into about five, and its first multiple >= `span`."""
    rough = max(span, 1e-6) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return step, step * math.ceil(span / step - 1e-9)
