"""Draw pictures with matplotlib, which only this module imports, when it draws. No windows, no global state."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, Optional

import numpy as np

from anchorlib.arrays import Array, HostArray
from anchorlib.errors import BadValueError, MissingPackageError
from anchorlib.fitting.curve import Curve
from anchorlib.fitting.kmeans import KMeansStep, kmeans
from anchorlib.reporting.report import Report
from anchorlib.reporting.report_data import RATIO_BINS, Figures, trace_outline
from anchorlib.reporting.svg import format_size, grade_cells, place_ticks

Figure = Any  # matplotlib.figure.Figure; this module must import without matplotlib
Axes = Any

_AFTER, _BEFORE, _FITNESS, _BPR, _QUIET = "#0072B2", "#D55E00", "#009E73", "#a3437c", "#59626e"
_LAYER_MARKERS = ("o", "s", "^", "D")
_MOST_CLASSES = 15
_MOST_IN_LEGEND = 3  # anchors of a layer
_CLUSTER_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a7d00", "#59626e", "#1b2027")
_CLUSTER_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


def check_installed() -> None:
    """Raise MissingPackageError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except Exception as error:  # a matplotlibrc that cannot be read raises anything
        raise MissingPackageError(
            f"pictures need matplotlib: {type(error).__name__}: {error}. pip install 'matplotlib>=3.5', or name "
            "a .html file."
        ) from error


@contextlib.contextmanager
def _default_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults: the matplotlibrc of the current folder could start LaTeX."""
    check_installed()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@_default_style()
def report_png(report: Report, figures: Figures, footer: str = "", curve: Optional[Curve] = None) -> bytes:
    """Return the pictures of a report on one sheet, as PNG; MissingPackageError without matplotlib."""
    figure = _new_figure(15, 10)
    grid = figure.add_gridspec(2, 3, width_ratios=(1.25, 1, 1))
    draw_sizes(figure.add_subplot(grid[:, 0]), report, figures)
    _draw_ratios(figure.add_subplot(grid[0, 1]), report, figures)
    if curve is not None:
        draw_curve(figure.add_subplot(grid[0, 2]), curve)
    _draw_layers(figure.add_subplot(grid[1, 1]), report)
    _draw_classes(figure.add_subplot(grid[1, 2]), figures)
    figure.suptitle(f"{_escape(report.headline())}\n{_escape(report.verdict())}", x=0.01, ha="left", fontsize=12)
    figure.supxlabel(_escape(footer), x=0.01, ha="left", fontsize=8, color=_QUIET)
    return _save_png(figure)


@_default_style()
def curve_png(curve: Curve, title: str = "") -> bytes:
    """Return average IoU, fitness and BPR against the number of anchors, as PNG; MissingPackageError."""
    figure = _new_figure(8, 5)
    draw_curve(figure.add_subplot(), curve)
    figure.suptitle(_escape(title), x=0.01, ha="left", fontsize=12)
    return _save_png(figure)


def draw_sizes(axes: Axes, report: Report, figures: Figures) -> None:
    """Draw box sizes as a log-log density, with the anchors and the outline of the sizes that they match."""
    density = figures.density
    extent = (density.low, density.high, density.low, density.high)
    levels = np.ma.masked_equal(grade_cells(density.counts).T, 0)
    axes.imshow(levels, origin="lower", extent=extent, cmap="Greys", vmin=0, vmax=9, interpolation="nearest")
    anchors = np.concatenate([layer.anchors for layer in report.layers])
    if report.before_anchors is not None:
        _draw_outline(axes, report.before_anchors, report.thr, color=_BEFORE, linestyle="--")
        place = np.log2(report.before_anchors).T
        axes.scatter(*place, marker="x", color=_BEFORE, s=70, linewidths=2.5, label=_escape(report.before_name))
    _draw_outline(axes, anchors, report.thr, color=_AFTER)
    for i, layer in enumerate(report.layers):
        shape = _LAYER_MARKERS[i % len(_LAYER_MARKERS)]
        place = np.log2(layer.anchors).T
        sides = ", ".join(format_size(w, h) for w, h in layer.anchors[:_MOST_IN_LEGEND])
        more = ", ..." if len(layer.anchors) > _MOST_IN_LEGEND else ""
        label = f"{report.name}, layer {i + 1}: {sides}{more}"
        axes.scatter(*place, marker=shape, color=_AFTER, s=60, edgecolors="white", label=label)
    ticks = place_ticks(density)
    axes.set_xticks([octave for octave, _ in ticks], [label for _, label in ticks])
    axes.set_yticks([octave for octave, _ in ticks], [label for _, label in ticks])
    axes.set(xlim=extent[:2], ylim=extent[2:], xlabel="width, px", ylabel="height, px", title="Box sizes and anchors")
    axes.set_anchor("N")  # at the top of its column, with the legend right below
    _place_legend(axes, columns=1)


def _place_legend(axes: Axes, columns: int) -> None:
    """Put the legend below the chart, where it covers nothing, in the order in which things are drawn."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncol=columns, frameon=False)


def _draw_outline(axes: Axes, anchors: HostArray, thr: float, **style: Any) -> None:
    from matplotlib.collections import LineCollection

    segments = [[(w1, h1), (w2, h2)] for w1, h1, w2, h2 in trace_outline(anchors, thr)]
    axes.add_collection(LineCollection(segments, linewidths=1.6, **{"colors": style.pop("color"), **style}))


def _draw_ratios(axes: Axes, report: Report, figures: Figures) -> None:
    edges = np.linspace(0, 1, RATIO_BINS + 1)
    share = 100 * figures.best / figures.best.sum()
    bars = axes.bar(edges[:-1], share, 0.9 / RATIO_BINS, align="edge", color=_AFTER, alpha=0.75, label=report.name)
    shown = [bars]
    if figures.best_before is not None:
        before = 100 * figures.best_before / figures.best_before.sum()
        name = _escape(report.before_name)
        shown.append(axes.stairs(before, edges, color=_BEFORE, linestyle="--", linewidth=1.8, label=name))
    shown.append(axes.axvline(1 / report.thr, color="black", linestyle=":", label=f"1/thr = {1 / report.thr:.3g}"))
    axes.set(xlabel="best ratio of a box", ylabel="% of boxes", xlim=(0, 1), title="How well boxes are fitted")
    axes.legend(handles=shown, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncol=3, frameon=False)


def draw_curve(axes: Axes, curve: Curve) -> None:
    """Draw average IoU, fitness and BPR against k, with the knee."""
    scores = [fit.score for fit in curve.fits]
    lines = (("average IoU", "avg_iou", _AFTER, "o-"), ("fitness", "fitness", _FITNESS, "s--"))
    for name, field, colour, style in (*lines, ("best possible recall", "bpr", _BPR, "^:")):
        axes.plot(curve.ks, [getattr(score, field) for score in scores], style, color=colour, label=name)
    if curve.knee is not None:
        axes.axvline(curve.knee, color="black", linestyle=":", label=f"knee: k = {curve.knee}")
    axes.set(xlabel="k, the number of anchors", title="Number of anchors")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(framealpha=1, edgecolor="none")


def _draw_layers(axes: Axes, report: Report) -> None:
    names = [f"layer {i}" for i in range(1, len(report.layers) + 1)]
    place = np.arange(len(names))
    axes.barh(place - 0.2, [100 * use.nearest for use in report.layers], 0.38, color=_AFTER, label="fits best")
    axes.barh(place + 0.2, [100 * use.bpr for use in report.layers], 0.38, color=_FITNESS, hatch="//", label="recall")
    axes.set_yticks(place, names)
    axes.invert_yaxis()
    axes.set(xlabel="% of boxes", xlim=(0, 100), title="Layers")
    _place_legend(axes, columns=2)


def _draw_classes(axes: Axes, figures: Figures) -> None:
    shown = figures.classes[:_MOST_CLASSES]
    bars = axes.barh(range(len(shown)), [one.bpr for one in shown], color=_AFTER, label="now")
    if any(one.bpr_before is not None for one in shown):
        before = [one.bpr_before for one in shown]
        (marks,) = axes.plot(before, range(len(shown)), "x", color=_BEFORE, mew=2.5, label="before")
        axes.legend(handles=[bars, marks], loc="upper center", bbox_to_anchor=(0.5, -0.13), ncol=2, frameon=False)
    names = [one.name if len(one.name) < 33 else f"{one.name[:22]}…{one.name[-9:]}" for one in shown]
    axes.set_yticks(range(len(shown)), [_escape(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    left = len(figures.classes) - len(shown)
    axes.set(xlabel="recall", xlim=(0, 1.02), title="Worst classes" + (f" ({left} more)" if left else ""))


@_default_style()
def kmeans_steps(boxes_wh: Array, n: int, *, most: int = 9, **options: Any) -> Figure:
    """Draw k-means on box sizes step by step: one picture per step with the centres and the boxes assigned to them.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels, every side > 0
    n : number of anchors
    most : largest number of pictures, >= 2: the first and last step and steps between them, more of the early ones,
        in which the centres move most
    options : distance, update, init, seed, weights, as in `kmeans`

    Returns
    -------
    matplotlib.figure.Figure; `.savefig(path)` writes it to a file, and a notebook shows it.

    Raises
    ------
    MissingPackageError : matplotlib is not installed
    BadValueError : most < 2; and the errors of `kmeans`

    Examples
    --------
    >>> from anchorlib import read_boxes
    >>> figure = kmeans_steps(read_boxes("tests/data/bccd").wh[:300], 3, most=4)
    >>> len(figure.axes), figure.axes[0].get_title()
    (4, 'step 1 of 9')
    """
    if most < 2:
        raise BadValueError(f"most must be at least 2 steps, got {most}.")
    steps = _record_steps(boxes_wh, n, options)
    chosen = sorted({round(i) for i in np.geomspace(1, len(steps), min(most, len(steps)))})
    columns = math.ceil(math.sqrt(len(chosen)))
    rows = math.ceil(len(chosen) / columns)
    figure = _new_figure(4 * columns, 4 * rows)
    for place, number in enumerate(chosen, 1):
        _draw_step(figure.add_subplot(rows, columns, place), steps, number)
    return figure


@_default_style()
def kmeans_gif(boxes_wh: Array, n: int, *, milliseconds: int = 600, **options: Any) -> bytes:
    """Return all steps of k-means on box sizes as an animated GIF.

    Parameters
    ----------
    boxes_wh, n, options : as in `kmeans_steps`
    milliseconds : duration of each frame; each step is a frame, and the last frame stays four times as long

    Returns
    -------
    The bytes of a .gif file.

    Raises
    ------
    The errors of `kmeans_steps`.

    Examples
    --------
    >>> kmeans_gif(np.asarray([[10., 20.], [12., 20.], [100., 90.]]), 2)[:6]
    b'GIF89a'
    """
    from PIL import Image

    steps = _record_steps(boxes_wh, n, options)
    frames = []
    for number in range(1, len(steps) + 1):
        figure = _new_figure(6, 6)
        _draw_step(figure.add_subplot(), steps, number)
        frames.append(Image.open(io.BytesIO(_save_png(figure))).convert("RGB"))
    times = [milliseconds] * (len(frames) - 1) + [4 * milliseconds]
    file = io.BytesIO()
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return file.getvalue()


def _record_steps(boxes_wh: Array, n: int, options: dict[str, Any]) -> list[KMeansStep]:
    steps: list[KMeansStep] = []
    kmeans(boxes_wh, n, on_step=steps.append, **options)
    return steps


def _draw_step(axes: Axes, steps: Sequence[KMeansStep], number: int) -> None:
    """Draw the boxes in the colours of their centres, and the path of each centre up to this step."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    step = steps[number - 1]
    area = np.clip(60 * step.counts / step.counts.max(), 5, 60)
    for j, centre in enumerate(step.centres):
        colour, shape = _CLUSTER_COLOURS[j % len(_CLUSTER_COLOURS)], _CLUSTER_MARKERS[j % len(_CLUSTER_MARKERS)]
        mine = step.owner == j
        axes.scatter(*step.sizes[mine].T, s=area[mine], color=colour, alpha=0.3, linewidths=0)
        way = np.stack([earlier.centres[j] for earlier in steps[:number]])
        axes.plot(*way.T, color="black", linewidth=1)
        axes.plot(*centre, shape, color=colour, markersize=11, markeredgecolor="black", markeredgewidth=1.3)
    axes.set(
        xscale="log", yscale="log", xlabel="width, px", ylabel="height, px", title=f"step {number} of {len(steps)}"
    )
    for axis in (axes.xaxis, axes.yaxis):  # 10, 20, 50, 100, ...: the labels of a log axis would overlap
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_formatter(NullFormatter())


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save_png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, metadata={"Software": "anchorlib"})
    return file.getvalue()


def _escape(text: str) -> str:
    """Escape dollar signs, which would start a formula, and show bytes that are not UTF-8."""
    return text.encode("utf-8", errors="backslashreplace").decode().replace("$", r"\$")
