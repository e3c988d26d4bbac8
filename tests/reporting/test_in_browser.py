"""Test the page in a real Chromium, at two widths and in both themes: what it shows, and where its text is."""

import itertools
import json
import re

import numpy as np
import pytest
from helpers import chromium
from helpers.report_samples import hostile_report
from PIL import Image

from anchorlib.cli import main
from anchorlib.fitting.curve import fit_curve
from anchorlib.reporting.html import Origin, report_page
from anchorlib.reporting.report_data import measure_figures

pytestmark = pytest.mark.needs("browser")

VIEWS = [pytest.param(w, dark, id=f"{w}-{'dark' if dark else 'light'}") for w in (1280, 400) for dark in (False, True)]
SECTIONS = {"sizes", "layers", "anchors", "ratios", "curve", "classes", "problems", "unmatched", "origin"}
PAGES = ["bccd.html", "taco.html", "names.html", "few.html", "hostile.html", "curve.html"]
CHARTS = {"taco.html": 2, "curve.html": 1}  # --no-curve; only the curve


@pytest.fixture(scope="session")
def browser():
    """Start a Chromium for the session."""
    assert not chromium.missing(), f"asked for with --extras and not here: {chromium.missing()}; see ci/programs"
    with chromium.started() as browser:
        yield browser


@pytest.fixture(scope="session")
def folder(tmp_path_factory, request):
    """Return a folder with pages from the command line: four data sets, a curve; and a page of hostile data."""
    folder = tmp_path_factory.mktemp("pages")
    bccd, taco = (str(request.config.rootpath / "tests/data" / name) for name in ("bccd", "taco"))
    (folder / "poor.cfg").write_text(
        "[yolo]\nmask=1,2\nanchors=10,10, 300,40, 16,400\n[yolo]\nmask=0\nanchors=10,10, 300,40, 16,400\n"
    )
    assert main(["fit", bccd, "--split", "all", "--report", str(folder / "bccd.html")]) == 0
    poor = ["check", taco, "--anchors", str(folder / "poor.cfg"), "--no-curve"]
    assert main([*poor, "--report", str(folder / "taco.html")]) == 1
    names = [
        f"{'a_name_without_any_space_' * 2}{i}" if i % 3 else f"class {i} with a long name of many words"
        for i in range(20)
    ]
    rng = np.random.default_rng(0)
    rows = [[i % 20, 0.5, 0.5, *rng.uniform(0.003, 0.6, 2)] for i in range(120)]
    write_yolo(folder / "names", rows, names)
    assert main(["fit", str(folder / "names"), "--n", "3", "--report", str(folder / "names.html")]) in (0, 1)
    write_yolo(folder / "few", [[0, 0.5, 0.5, 0.05 * i, 0.05 * i] for i in range(1, 18)], ["thing"])  # too many for one
    assert main(["fit", str(folder / "few"), "--n", "1", "--report", str(folder / "few.html")]) in (0, 1)
    assert main(["curve", bccd, "--k", "1-12", "--report", str(folder / "curve.html")]) == 0
    report = hostile_report()
    figures, curve = measure_figures(report), fit_curve(report.boxes.wh, [1, 2, 3])
    html = report_page(report, figures, Origin("anchorlib " + "--option=value " * 40, "today"), curve)
    (folder / "hostile.html").write_text(html, encoding="utf-8")
    return folder


def write_yolo(folder, rows, names):
    """Write a data set in YOLO's format with ten boxes in each grey image of 640 x 480 pixels."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for first in range(0, len(rows), 10):
        Image.new("L", (640, 480), 128).save(folder / "images" / f"picture_{first}.png")
        lines = [" ".join(f"{value:g}" for value in row) for row in rows[first : first + 10]]
        (folder / "labels" / f"picture_{first}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text(json.dumps({"path": ".", "train": "images", "val": "images", "names": names}))


def overlapping(texts):
    """Return the pairs of texts that overlap: by more than 1 px horizontally and 2 px vertically."""
    boxes = [(text["text"][:30], box) for text in texts for box in text["boxes"]]
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(boxes, 2)
        if min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 2
    ]


def spilled(texts):
    """Return the texts of which a line leaves its table cell, chart or card by more than 1 px at the side."""
    return [
        text["text"]
        for text in texts
        for box in text["boxes"]
        if box[0] < text["frame"][0] - 1 or box[2] > text["frame"][2] + 1
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
    assert [chart["outside"] for chart in seen["charts"] if chart["outside"]] == []
    assert overlapping(seen["texts"]) == []
    assert spilled(seen["texts"]) == []
    assert min(text["size"] for text in seen["texts"] if text["boxes"]) >= 11
    assert [t["text"] for t in seen["texts"] if contrast(t["color"], t["background"]) < 4.5] == []


@pytest.mark.parametrize("name", PAGES)
def test_all_sections_are_there_and_drawn(browser, folder, name):
    seen = browser.open(folder / name, 1280, False)
    assert set(seen["sections"]) == ({"curve", "numbers", "problems", "origin"} if name == "curve.html" else SECTIONS)
    assert all(chart["width"] > 300 and chart["height"] > 200 for chart in seen["charts"])
    assert len(seen["charts"]) == CHARTS.get(name, 3)
    assert len(seen["columns"]) == 2
    assert min(seen["columns"]) > 0.6 * max(seen["columns"])


@pytest.mark.parametrize("width", [400, 412, 424])
def test_no_line_ends_within_an_option(browser, folder, width):
    texts = browser.open(folder / "taco.html", width, False)["texts"]
    options = [text for text in texts if re.fullmatch(r"--[a-z-]+", text["text"])]
    assert {"--out", "--report"} <= {text["text"] for text in options}  # of the advice, and of the command
    assert [text["text"] for text in options if len(text["boxes"]) > 1] == []


def test_the_bars_of_the_layers_are_shares_of_their_frames(browser, folder):
    html = (folder / "taco.html").read_text(encoding="utf-8")
    shares = [float(share) / 100 for share in re.findall(r'class="percent">([0-9.]+)%', html)]
    assert len(shares) == 2
    for width in (400, 1280):
        assert browser.open(folder / "taco.html", width, False)["shares"] == pytest.approx(shares, abs=0.01)


@pytest.mark.parametrize("name", PAGES)
def test_the_page_requests_nothing_and_logs_nothing(browser, folder, name):
    browser.open(folder / name, 1280, False)
    asked = browser.requests()
    pictures = [url for url in asked if url.startswith("data:image/jpeg;base64,")]  # in the page itself
    assert (len(pictures) > 0) == (name in ("names.html", "few.html"))
    assert [url for url in asked if url not in pictures] == [(folder / name).resolve().as_uri()]
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
    """Plant text on text, text that leaves its cell, an element that is too wide, a request, a line on the console."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<p style='margin:0;height:2px'>one line of text</p><p style='margin:0;color:#777;background:#888'>another</p>"
        "<div style='width:5000px'>wide</div><main><pre style='width:20px'>unbroken</pre></main>"
        "<img src='http://127.0.0.1:9/x.png'><script>console.error('said')</script>"
    )
    seen = browser.open(page, 400, False)
    assert ("one line of text", "another") in overlapping(seen["texts"])
    assert seen["scroll"] > 400
    assert spilled(seen["texts"]) == ["unbroken"]
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
