"""Test the page in a real Chromium, at two widths and in both themes: what it shows, and where its text is."""

import itertools
import re

import pytest
from helpers import chromium
from helpers.report_samples import box_sizes, hostile_report, report_of

from anchorlib.cli import main
from anchorlib.fitting.curve import fit_curve
from anchorlib.reporting.html import Origin, report_page
from anchorlib.reporting.report_data import measure_figures

pytestmark = pytest.mark.needs("browser")

VIEWS = [pytest.param(w, dark, id=f"{w}-{'dark' if dark else 'light'}") for w in (1280, 400) for dark in (False, True)]
SECTIONS = {"sizes", "curve", "layers", "ratios", "classes", "unmatched", "problems", "origin"}
PAGES = ["bccd.html", "check.html", "curve.html", "hostile.html", "smallest.html"]


@pytest.fixture(scope="session")
def browser():
    """Start a Chromium for the session."""
    assert not chromium.missing(), f"asked for with --extras and not here: {chromium.missing()}; see ci/browser"
    with chromium.started() as browser:
        yield browser


@pytest.fixture(scope="session")
def folder(tmp_path_factory, request):
    """Return a folder with pages from the command line, and pages of hostile and of very small data."""
    folder = tmp_path_factory.mktemp("pages")
    bccd, anchors = str(request.config.rootpath / "tests/data/bccd"), folder / "anchors.json"
    anchors.write_text("[[[10, 10]], [[300, 40], [16, 400]]]")
    assert main(["fit", bccd, "--split", "all", "--report", str(folder / "bccd.html")]) == 0
    assert main(["check", bccd, "--anchors", str(anchors), "--report", str(folder / "check.html")]) == 1
    assert main(["curve", bccd, "--k", "1-20", "--report", str(folder / "curve.html")]) == 0
    smallest = report_of(box_sizes([[10, 10]]), [[[10, 10]]])
    for name, report in (("hostile", hostile_report()), ("smallest", smallest)):
        figures, curve = measure_figures(report), fit_curve(report.boxes.wh, [1, 2, 3])
        html = report_page(report, figures, Origin("anchorlib " + "--option=value " * 40, "today"), curve)
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


def overlapping(texts):
    """Return the pairs of texts that overlap: by more than 1 px horizontally and 2 px vertically."""
    boxes = [(text["text"][:30], box) for text in texts for box in text["boxes"]]
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(boxes, 2)
        if min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 2
    ]


def contrast(one, other):
    """Return the contrast of two CSS colours, 1 to 21, as WCAG 2 defines it."""

    def luminance(colour):
        shares = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_nothing_is_cut_off_overlaps_or_is_hard_to_read(browser, folder, name, width, dark):
    seen = browser.open(folder / name, width, dark)
    assert (seen["width"], seen["scroll"]) == (width, width)
    assert seen["wide"] == []
    assert overlapping(seen["texts"]) == []
    assert min(text["size"] for text in seen["texts"] if text["boxes"]) >= 11
    assert [t["text"] for t in seen["texts"] if contrast(t["color"], t["background"]) < 4.5] == []


@pytest.mark.parametrize("name", PAGES)
def test_all_sections_are_there_and_drawn(browser, folder, name):
    seen = browser.open(folder / name, 1280, False)
    assert set(seen["sections"]) == ({"curve", "numbers", "problems", "origin"} if name == "curve.html" else SECTIONS)
    assert all(chart["width"] > 300 and chart["height"] > 200 for chart in seen["charts"])
    assert len(seen["charts"]) == (1 if name == "curve.html" else 3)
    assert all(chart["outside"] == [] for chart in seen["charts"])


@pytest.mark.parametrize("name", PAGES)
def test_the_page_requests_nothing_and_logs_nothing(browser, folder, name):
    browser.open(folder / name, 1280, False)
    assert browser.requests() == [(folder / name).resolve().as_uri()]
    assert browser.console() == []


def test_the_themes_differ_and_anchors_differ_from_their_background(browser, folder):
    looks = {}
    for dark in (False, True):
        looks[dark] = browser.open(folder / "bccd.html", 1280, dark)["looks"]
        for mark in ("after", "before"):
            assert contrast(looks[dark][mark], looks[dark]["card"]) > 4.5
            assert contrast(looks[dark][mark], looks[dark]["shade1"]) > 3
    assert contrast(looks[True]["card"], looks[False]["card"]) > 10
    assert looks[True]["after"] != looks[False]["after"]


def test_the_measurement_finds_planted_faults(browser, tmp_path):
    """Plant text on text, an element that is too wide, a picture from the network and a line on the console."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<p style='margin:0;height:2px'>one line of text</p><p style='margin:0;color:#777;background:#888'>another</p>"
        "<div style='width:5000px'>wide</div><img src='http://127.0.0.1:9/x.png'><script>console.error('said')</script>"
    )
    seen = browser.open(page, 400, False)
    assert ("one line of text", "another") in overlapping(seen["texts"])
    assert seen["scroll"] > 400
    assert any(entry.startswith("DIV") for entry in seen["wide"])
    assert any(url.endswith("x.png") for url in browser.requests())
    assert any("said" in line for line in browser.console())
    assert [t["text"] for t in seen["texts"] if contrast(t["color"], t["background"]) < 4.5] == ["another"]


def test_hostile_names_run_nothing_even_without_the_policy(browser, folder, tmp_path):
    html = (folder / "hostile.html").read_text(encoding="utf-8")
    bare = re.sub(r"<meta http-equiv[^>]*>", "", html)
    assert len(bare) < len(html)
    (tmp_path / "bare.html").write_text(bare, encoding="utf-8")
    browser.open(tmp_path / "bare.html", 1280, False)  # an alert would make this an error
    assert browser.requests() == [(tmp_path / "bare.html").resolve().as_uri()]
