import re
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers.report_samples import HOSTILE, box_sizes, hostile_report, report_of

from anchorlib.fitting.curve import fit_curve
from anchorlib.reporting.html import Origin, curve_page, report_page
from anchorlib.reporting.report_data import measure_figures
from anchorlib.reporting.svg import LEVELS, grade_cells

ORIGIN = Origin(f"anchorlib fit {HOSTILE}", "2026-01-01 00:00 UTC", {"anchorlib": "1.0", "numpy": HOSTILE})
SECTIONS = ["sizes", "layers", "anchors", "ratios", "curve", "classes", "problems", "unmatched", "origin"]


class Page(HTMLParser):
    """Parse a page into elements, attributes and text, as a browser reads it."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.attributes, self.texts, self._open = [], [], [], []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def of(self, tag, class_):
        return [attrs for name, attrs in self.elements if name == tag and class_ in attrs.get("class", "").split()]

    @property
    def sections(self):
        return [attrs["id"] for name, attrs in self.elements if name == "section"]


def small_report():
    boxes = box_sizes(
        [[10, 10], [22, 20], [90, 100], [300, 20]],
        classes=[0, 0, 1, 1],
        class_names=["cat", "dog"],
        image_names=["a.jpg", "b.jpg"],
        image_index=[0, 0, 1, 1],
    )
    return report_of(boxes, [[[10, 10], [20, 20]], [[100, 100]]], before=[[15, 15]], before_name="COCO's")


def page_of(report, curve=None):
    return report_page(report, measure_figures(report), ORIGIN, curve)


def test_the_page_shows_all_that_was_measured():
    report = small_report()
    page = Page(page_of(report, fit_curve(report.boxes.wh, range(1, 6))))
    assert page.sections == SECTIONS
    for expected in (
        "2 images, 4 boxes",
        "a poor fit",
        "best possible recall 0.7500 COCO's: 0.5000",
        "1/thr = 0.25",
        "layer 2: 100.0 × 100.0 px",
        "COCO's: 15.0 × 15.0 px",
        "knee: k = ",
        "dog 2 0.0000 0.5000",
        "b.jpg dog 300.0 × 20.0 0.200",
        "1 in total",
        "None found.",
        "anchorlib 1.0",
    ):
        assert expected in page.text, expected
    assert len(page.of("path", "mark")) > 4
    assert len(page.of("svg", "chart")) == 3


def test_anchors_before_and_after_and_of_each_layer_differ_in_shape():
    page = Page(page_of(small_report()))
    shapes = {(attrs["class"], attrs["d"]) for attrs in page.of("path", "mark")}
    assert {class_.split()[1] for class_, _ in shapes} == {"circle", "square", "cross"}
    assert len({d for _, d in shapes}) == len({class_ for class_, _ in shapes}) == 3
    assert len(page.of("path", "region")) == 4  # two outlines, and two in the legend


@pytest.mark.parametrize("curve", [None, "curve"])
def test_the_page_loads_nothing_and_runs_nothing(curve):
    report = small_report()
    html = page_of(report, curve and fit_curve(report.boxes.wh, [1, 2]))
    page = Page(html)
    assert not re.search(r"https?:|//|url\(|@import|@font-face", html)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "embed", "base", "use"}
    assert not {name for _, name, _ in page.attributes} & {"src", "href", "srcset", "action", "xlink:href"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    (policy,) = [attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_names_from_the_data_are_always_escaped():
    report = hostile_report()
    html = page_of(report, fit_curve(report.boxes.wh, [1, 2]))
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
    assert "<script" not in html
    assert html.encode("utf-8")  # a file name of other bytes shows them
    assert "\\udcff" in html
    assert html.count("&lt;script&gt;") > 30  # images, classes, problems, the data set, command, versions
    assert page.text.count("<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;") > 30
    assert page.sections == SECTIONS


def test_long_lists_are_truncated_and_the_page_says_so():
    text = Page(page_of(hostile_report())).text
    assert "34 more, with a recall of " in text
    assert re.search(r"\d+ more, not listed", text)
    assert text.count("folder_" * 30) == 30
    assert "5 × zero area" in text
    assert text.count("width must be > 0") == 3


def test_the_page_says_what_it_leaves_out():
    report = report_of(box_sizes([[10, 10], [12, 10]]), [[[10, 10]]])
    assert "Left out because of --no-curve." in Page(page_of(report)).text
    few = Page(page_of(report, fit_curve(report.boxes.wh, range(1, 6)))).text
    assert "Not fitted: k >= 3, because there are fewer distinct box sizes." in few
    assert "None." in few
    with_zero = report_of(box_sizes([[10, 10], [0, 10]]), [[[10, 10]]])
    assert "Not drawn because the area is zero or too small: 1 box." in Page(page_of(with_zero)).text


def test_millions_of_boxes_make_a_page_of_half_a_megabyte_at_most():
    n = 2_000_000
    rng = np.random.default_rng(0)
    boxes_wh = np.exp2(rng.normal(5, 1.8, (n, 2)).astype(np.float32))
    boxes = box_sizes(
        boxes_wh, classes=rng.integers(0, 1000, n), image_names=["x" * 200], class_names=["y" * 100] * 1000
    )
    html = page_of(report_of(boxes, [[[4, 4], [9, 9], [20, 20]]], before=[[10, 10], [30, 30]]))
    assert len(html.encode()) < 500_000
    assert Page(html).sections == SECTIONS


def test_shades_grow_with_the_logarithm_of_the_count():
    counts = np.asarray([[0, 1, 2, 9], [10, 100, 1000, 10**6]])
    assert grade_cells(counts).tolist() == [[0, 1, 1, 1], [1, 2, 3, LEVELS]]
    assert grade_cells(np.asarray([[0, 1]])).tolist() == [[0, 1]]
    assert grade_cells(np.zeros((2, 2), int)).max() == 0


def test_the_page_of_a_curve_has_its_numbers():
    boxes = box_sizes([[10, 20], [12, 20], [100, 90], [90, 100]])
    page = Page(curve_page(fit_curve(boxes.wh, range(1, 6)), HOSTILE, boxes, ORIGIN))
    assert page.sections == ["curve", "numbers", "problems", "origin"]
    # at k = 2 anchors of the first and the last box: IoUs 1, 200/240, 8100/9900 and 1, ratios 1, 10/12, 9/10 and 1
    assert "2 0.9129 0.9333 1.0000" in page.text
    assert "4 (knee) 1.0000 1.0000 1.0000" in page.text
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
