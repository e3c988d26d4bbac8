"""Write a report as one HTML page that loads nothing: no network, script or font. All text is escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Optional, Union

from anchorlib.datasets import BoxSizes
from anchorlib.fitting.curve import Curve
from anchorlib.markup import Markup, element, join
from anchorlib.modelfiles import format_anchors
from anchorlib.reporting import svg
from anchorlib.reporting.labels import ADVICE
from anchorlib.reporting.pictures import Picture
from anchorlib.reporting.report import Report, describe_knee, describe_left_out
from anchorlib.reporting.report_data import Figures
from anchorlib.results import counted, grouped

_MOST_CLASSES = 12
_MOST_EXAMPLES = 3  # shown for each kind of problem

#: format of a model file -> the program that reads it, for people
_PROGRAMS = {
    "yolo": "YOLOv5 or YOLOv7",
    "darknet": "darknet",
    "mmdet": "MMDetection or MMYOLO",
    "paddle": "PaddleDetection",
    "json": "JSON",
    "text": "numbers, such as anchors.txt",
}

#: The page may load nothing but its own inline style and pictures. Browsers enforce this.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Origin:
    """Say how a page was made: the command line, the date, and the versions of packages by name."""

    command: str
    made: str
    versions: dict[str, str] = field(default_factory=dict)


def report_page(
    report: Report,
    figures: Figures,
    origin: Origin,
    curve: Optional[Curve] = None,
    *,
    format: str = "yolo",
    pictures: Sequence[Picture] = (),
) -> str:
    """Return the HTML page of a report. Without a curve, the page says that the curve was left out.

    `format` is the format of the anchors to copy, as in `format_anchors`. `pictures` are shown above the boxes that no
    anchor matches.

    Examples
    --------
    >>> from anchorlib import read_boxes
    >>> from anchorlib.metrics import SizeTable
    >>> from anchorlib.reporting.report_data import measure_figures
    >>> from anchorlib.reporting.report import measure_layers
    >>> boxes, anchors = read_boxes("tests/data/bccd"), np.asarray([[70.0, 70.0]], np.float32)
    >>> table = SizeTable(boxes.wh)
    >>> layers = measure_layers(table, [anchors], 4.0)
    >>> report = Report("bccd", boxes, 4.0, "640 px", "numpy", table.score(anchors, 4.0), layers)
    >>> html = report_page(report, measure_figures(report), Origin("by hand", "today"))
    >>> html[:15], "http:" in html, "<h2>Boxes that no anchor matches</h2>" in html
    ('<!doctype html>', False, True)
    """
    verdict = element("p", _unbroken(report.verdict()), class_="good" if report.score.is_good else "poor")
    return _page(
        f"Anchors for {report.data}",
        _unbroken(report.headline()),
        verdict,
        *(element("p", _unbroken(line)) for line in report.advice),
        _tiles(report),
        element(
            "div",
            _sizes_section(report, figures),
            _layers_section(report),
            _anchors_section(figures, format),
            _ratio_section(report, figures),
            _curve_section(curve, report),
            _classes_section(report, figures),
            _problems_section(report.boxes),
            class_="cards",
        ),
        _unmatched_section(figures, pictures),
        _origin_section(origin),
    )


def curve_page(curve: Curve, data: str, boxes: BoxSizes, origin: Origin) -> str:
    """Return the HTML page of a curve, without a report on anchors."""
    heads = ["k", "average IoU", "fitness", "recall"]
    rows = []
    for k, fit in zip(curve.ks, curve.fits):
        values = [f"{value:.4f}" for value in (fit.score.avg_iou, fit.score.fitness, fit.score.bpr)]
        rows.append([f"{k} (knee)" if k == curve.knee else str(k), *values])
    return _page(
        f"Number of anchors for {data}",
        _unbroken(f"{counted(len(boxes.image_wh), 'image')}, {counted(len(boxes.wh), 'box')}"),
        element(
            "div",
            _curve_section(curve, None),
            _section("The numbers", "numbers", _table(heads, rows, right=(1, 2, 3))),
            _problems_section(boxes),
            class_="cards",
        ),
        _origin_section(origin),
    )


def _page(title: str, headline: str, *parts: Markup) -> str:
    style = Markup(files("anchorlib.reporting").joinpath("page.css").read_text(encoding="utf-8"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content="anchorlib"),
        element("title", title),
        element("style", style),
    )
    main = element("main", element("h1", title), element("p", headline, class_="quiet"), *parts)
    html = f"<!doctype html>\n{element('html', head, element('body', main), lang='en')}\n"
    return html.encode("utf-8", errors="backslashreplace").decode(
        "utf-8"
    )  # file names may contain bytes that are not UTF-8


def _section(title: str, name: str, *parts: Union[Markup, str]) -> Markup:
    return element("section", element("h2", title), *parts, id=name)


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Union[str, Markup]]],
    right: Sequence[int] = (),
    class_: Optional[str] = None,
) -> Markup:
    """Return a table. Columns in `right` hold numbers."""
    classes = ["n" if i in right else None for i in range(len(heads))]
    head = element("tr", *(element("th", cell, class_=c, scope="col") for cell, c in zip(heads, classes)))
    body = [element("tr", *(element("td", cell, class_=c) for cell, c in zip(row, classes))) for row in rows]
    return element("table", element("thead", head), element("tbody", *body), class_=class_)


def _unbroken(text: str) -> Markup:
    """Return the text so that no line ends within a number such as 4 784, or an option such as --out."""
    text = re.sub(r"(?<=\d) (?=\d{3}\b)", "\N{NO-BREAK SPACE}", text)
    parts = re.split(r"((?<!\S)--\w\S*)", text)
    return join(*(element("span", part, class_="word") if at % 2 else part for at, part in enumerate(parts)))


def _quiet(*parts: Union[Markup, str]) -> Markup:
    return element("p", *parts, class_="quiet")


def _tiles(report: Report) -> Markup:
    tiles = []
    heads = [head for head, _ in report.scores()]
    for label, *values in report.score_rows():
        of = dict(zip(heads, values))
        value = of.pop(report.name)
        others = [element("span", f"{head}: {other}") for head, other in of.items()]
        tiles.append(element("div", element("span", label), element("b", value), *others, class_="tile"))
    return element("div", *tiles, class_="tiles")


def _sizes_section(report: Report, figures: Figures) -> Markup:
    entries = [
        (svg.draw_marker(svg.choose_shape(i), 0, 0, "after"), f"{report.name}, layer {i + 1}")
        for i in range(len(report.layers))
    ]
    entries.append((element("path", d="M-9 0H9", class_="region after"), f"{report.name}: sizes that they match"))
    if report.before_anchors is not None:
        entries.append((svg.draw_marker(svg.BEFORE_SHAPE, 0, 0, "before"), report.before_name))
        entries.append(
            (element("path", d="M-9 0H9", class_="region before"), f"{report.before_name}: sizes that they match")
        )
    fullest = int(figures.density.counts.max(initial=0))
    entries.append((element("path", d="M-9 -9h18v18h-18z", class_="shade1"), "1 box"))
    if fullest > 1:
        shade = element("path", d="M-9 -9h18v18h-18z", class_=f"shade{svg.LEVELS}")
        entries.append((shade, f"{grouped(fullest)} boxes in a cell of 1/{1 / figures.density.step:g} octave"))
    notes = []
    if figures.density.not_drawn:
        notes.append(
            _quiet(f"Not drawn because the area is zero or too small: {counted(figures.density.not_drawn, 'box')}.")
        )
    return _section("Box sizes and anchors", "sizes", _legend(entries), svg.draw_density(report, figures), *notes)


def _legend(entries: Sequence[tuple[Markup, str]]) -> Markup:
    shown = [
        element("span", element("svg", shape, viewBox="-10 -10 20 20", aria_hidden="true"), name)
        for shape, name in entries
    ]
    return element("div", *shown, class_="legend")


def _layers_section(report: Report) -> Markup:
    rows = []
    for i, layer in enumerate(report.layers, 1):
        pairs = [element("span", svg.format_size(w, h), class_="pair") for w, h in layer.anchors]
        nearest = join(element("span", f"{layer.nearest:.1%}", class_="percent"), _draw_share(layer.nearest))
        rows.append([str(i), nearest, f"{layer.bpr:.4f}", join(*pairs)])
    return _section(
        "Layers",
        "layers",
        _quiet("Share of the boxes that the layer's anchors fit best, and the recall of the layer by itself."),
        _table(["layer", "fits best", "recall", "anchors, px"], rows),
    )


def _draw_share(share: float) -> Markup:
    """Return a bar whose frame is 100 %."""
    return element("span", element("span", style=f"width:{100 * share:.1f}%"), class_="share", aria_hidden="true")


def _anchors_section(figures: Figures, format: str) -> Markup:
    return _section(
        "Anchors to copy",
        "anchors",
        _quiet(f"As in a file of {_PROGRAMS[format]}. A click selects all of them."),
        element("pre", format_anchors(figures.to_copy, format).rstrip("\n")),
    )


def _ratio_section(report: Report, figures: Figures) -> Markup:
    entries = []
    if figures.best_before is not None:
        entries = [
            (element("path", d="M-8 -8h16v16h-16z", class_="bars after"), report.name),
            (element("path", d="M-9 0H9", class_="line before"), report.before_name),
        ]
    return _section(
        "How well boxes are fitted",
        "ratios",
        _quiet(
            "The best ratio of each box. At 1, an anchor has exactly the size of the box; "
            "at 1/thr and below, no anchor matches."
        ),
        _legend(entries),
        svg.draw_ratios(report, figures),
    )


def _curve_section(curve: Optional[Curve], report: Optional[Report]) -> Markup:
    if curve is None:
        return _section("Number of anchors", "curve", _quiet("Left out because of --no-curve."))
    if len(curve.ks) < 2:
        return _section("Number of anchors", "curve", _quiet(f"One fit makes no curve. {describe_left_out(curve)}"))
    entries = []
    for name, _, class_, shape in svg.CURVE_LINES:
        line = element("path", d="M-9 0H9", class_=f"line {class_}")
        entries.append((join(line, svg.draw_marker(shape, 0, 0, class_, scale=0.8)), name))
    if report:
        entries.append((svg.draw_marker("circle", 0, 0, "ring iou", scale=1.5), "these anchors"))
    made = "fitness" if curve.objective == "ratio" else "average IoU"
    text = f"A separate fit for each number of anchors, for the best {made}. {describe_knee(curve)}"
    if curve.left_out:
        text += f" {describe_left_out(curve)}"
    return _section("Number of anchors", "curve", _quiet(text), _legend(entries), svg.draw_curve(curve, report))


def _classes_section(report: Report, figures: Figures) -> Markup:
    shown, rest = figures.classes[:_MOST_CLASSES], figures.classes[_MOST_CLASSES:]
    heads, rows = ["class", "boxes", "recall"], []
    if report.before is not None:
        heads.insert(2, report.before_name)
    for one in shown:
        row: list[Union[str, Markup]] = [element("bdi", one.name), grouped(one.n_boxes), f"{one.bpr:.4f}"]
        if one.bpr_before is not None:
            row.insert(2, f"{one.bpr_before:.4f}")
        rows.append(row)
    parts = [_table(heads, rows, right=range(1, len(heads)))]
    if rest:
        better = " or better" if rest[-1].bpr > rest[0].bpr else ""
        parts.append(_quiet(f"{grouped(len(rest))} more, with a recall of {rest[0].bpr:.4f}{better}."))
    return _section("Recall of each class, the worst first", "classes", *parts)


def _show_picture(picture: Picture) -> Markup:
    box = picture.box
    size = f"{svg.format_size(box.w, box.h)} px, ratio {box.best:.3f}"
    source = "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode("ascii")
    image = element("img", src=source, alt=f"{box.class_name}, {size}", width=picture.width, height=picture.height)
    names = join(element("bdi", box.class_name), " in ", element("bdi", box.image))
    return element("figure", image, element("figcaption", names, element("br"), size))


def _unmatched_section(figures: Figures, pictures: Sequence[Picture]) -> Markup:
    title = "Boxes that no anchor matches"
    if not figures.n_unmatched:
        return _section(title, "unmatched", _quiet("None."))
    rows = [
        [element("bdi", box.image), element("bdi", box.class_name), svg.format_size(box.w, box.h), f"{box.best:.3f}"]
        for box in figures.unmatched
    ]
    parts = [
        _quiet(f"{grouped(figures.n_unmatched)} in total, the largest first."),
        *([element("div", *map(_show_picture, pictures), class_="pictures")] if pictures else []),
        _table(["image", "class", "size, px", "ratio"], rows, right=(2, 3), class_="boxes"),
    ]
    left = figures.n_unmatched - len(rows)
    if left:
        parts.append(_quiet(f"{grouped(left)} more, not listed."))
    return _section(title, "unmatched", *parts)


def _problems_section(boxes: BoxSizes) -> Markup:
    """Return a list of the kinds of problems: how many, what to do, and some examples."""
    kinds = []
    for kind, count in boxes.count_problems().items():
        examples = [element("li", str(p)) for p in boxes.problems if p.kind == kind][:_MOST_EXAMPLES]
        if count > len(examples):
            examples.append(element("li", f"and {grouped(count - len(examples))} more"))
        head = join(element("b", f"{grouped(count)} × {kind}"), f". {ADVICE[kind]}")
        kinds.append(element("li", head, element("ul", *examples)))
    return _section("Problems in the labels", "problems", element("ul", *kinds) if kinds else _quiet("None found."))


def _origin_section(origin: Origin) -> Markup:
    versions = ", ".join(f"{name} {version}" for name, version in origin.versions.items())
    words = [join(element("span", word, class_="word"), " ") for word in origin.command.split(" ")]
    entries = [("Command", element("code", *words)), ("Date", origin.made), ("Versions", versions)]
    pairs = [element(tag, text) for entry in entries for tag, text in zip(("dt", "dd"), entry)]
    return _section("How this page was made", "origin", element("dl", *pairs))
