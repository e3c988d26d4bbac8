"""Test the option --report and the command `anchorlib curve`."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.command import run
from PIL import Image

from anchorlib import __version__, fit_curve, read_boxes
from anchorlib.cli import main

ROOT = Path(__file__).parent.parent
BCCD = str(ROOT / "tests/data/bccd")


def text_of(path):
    page = re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_fit_writes_a_page_with_what_it_printed(tmp_path, capsys):
    path = tmp_path / "report.html"
    code, out, err = run("fit", BCCD, "--split", "all", "--report", str(path), capsys=capsys)
    assert (code, err) == (0, "")
    assert f"Wrote {path}." in out
    text = text_of(path)
    for expected in ("364 images", "COCO's: 0.8109", "0.9144", "knee: k = 5", "BloodImage_00338.jpg", "2 × zero area"):
        assert expected in text, expected
    assert f"anchorlib fit {BCCD} --split all --report {path}" in text
    anchors = re.findall(r"\d+\.\d,\d+\.\d", out)
    assert len(anchors) == 9
    assert all(anchor.replace(",", " × ") in text for anchor in anchors)


def test_check_writes_a_page_of_anchors_without_a_before(tmp_path, capsys):
    anchors, path = tmp_path / "anchors.json", tmp_path / "report.htm"
    anchors.write_text("[[[30, 30]], [[90, 100]]]")
    code, _, _ = run("check", BCCD, "--anchors", str(anchors), "--report", str(path), capsys=capsys)
    text = text_of(path)
    assert code == 0
    assert "anchors, layer 2" in text
    assert "COCO" not in text
    assert "these anchors: average IoU" in text


def test_no_curve_leaves_the_curve_out_and_the_page_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("anchorlib.cli.report_option.fit_curve", None)  # the test fails if it is called
    path = tmp_path / "report.html"
    assert run("fit", BCCD, "--report", str(path), "--no-curve", capsys=capsys)[0] == 0
    assert "Left out because of --no-curve." in text_of(path)


@pytest.mark.parametrize("command", ["fit", "curve"])
def test_a_png_is_a_picture(tmp_path, command, capsys):
    path = tmp_path / "report.PNG"
    code, out, _ = run(command, BCCD, "--json", "--report", str(path), capsys=capsys)
    assert code == 0
    json.loads(out)  # nothing else is printed
    picture = Image.open(path)
    assert picture.format == "PNG"
    assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_an_old_report_is_replaced(tmp_path, capsys):
    path = tmp_path / "report.html"
    path.write_text("old")
    run("curve", BCCD, "--k", "1-3", "--report", str(path), capsys=capsys)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("report.pdf", "writes .html or .png"), ("nosuch/report.html", "a folder that exists"), ("", "writes .html")],
)
@pytest.mark.parametrize("command", [["fit"], ["check", "--anchors", "nowhere.yaml"], ["curve"]])
def test_a_report_that_cannot_be_written_is_refused_before_the_work(tmp_path, command, name, message, capsys):
    code, out, err = run(*command, "nowhere", "--report", f"{tmp_path}/{name}", capsys=capsys)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_curve_prints_a_row_for_each_number_and_marks_the_knee(capsys):
    code, out, err = run("curve", BCCD, "--k", "1-6,9", capsys=capsys)
    curve = fit_curve(read_boxes(BCCD).wh, [1, 2, 3, 4, 5, 6, 9])
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == f"{BCCD}: 205 images, 2 805 boxes, at 640 px, letterbox"
    assert lines[1].startswith("  1 x zero area, e.g. ")
    assert lines[3] == "  anchors  avg IoU  fitness  recall  fitness from 0 to 1"
    rows = [line.split() for line in lines[3:] if line.strip()[:1].isdigit()]
    assert [row[:4] for row in rows] == [
        [str(k), f"{s.avg_iou:.4f}", f"{s.fitness:.4f}", f"{s.bpr:.4f}"]
        for k, s in zip(curve.ks, [fit.score for fit in curve.fits])
    ]
    assert [row[0] for row in rows if row[-1] == "knee"] == [str(curve.knee)] == ["5"]
    assert [row[4].count("#") for row in rows] == [round(30 * value) for value in curve.values]
    assert lines[-1] == "Knee: 5 anchors. One more adds less than 0.01 of fitness."
    assert run("curve", BCCD, "--k", "6,7", capsys=capsys)[1].splitlines()[-1].startswith("These numbers of anchors do")


def test_curve_in_json_is_the_curve_of_the_library(backend, capsys):
    _, out, _ = run(
        "curve",
        BCCD,
        "--k",
        "2,3",
        "--objective",
        "iou",
        "--seed",
        "2",
        "--json",
        "--backend",
        backend.name,
        capsys=capsys,
    )
    found, expected = json.loads(out), fit_curve(read_boxes(BCCD).wh, [2, 3], objective="iou", seed=2).to_dict()
    for fit in (*found["fits"], *expected["fits"]):
        assert fit.pop("seconds") > 0
    asked = {"anchorlib": __version__, "data": BCCD, "n_images": 205, "imgsz": [640, 640], "resize": "letterbox"}
    asked["problems"] = {"zero area": 1}
    assert found == {**asked, **expected}


def test_curve_says_which_numbers_it_could_not_fit(tmp_path, capsys):
    folder = tmp_path / "labels"
    folder.mkdir()
    (tmp_path / "images").mkdir()
    (folder / "1.txt").write_text("0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.2 0.3\n")
    Image.new("RGB", (640, 640)).save(tmp_path / "images/1.png")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [a]\n")
    code, out, _ = run("curve", str(tmp_path), "--k", "1-5", capsys=capsys)
    assert code == 0
    assert "Not fitted: k >= 3, because there are fewer distinct box sizes." in out


@pytest.mark.parametrize("numbers", ["0-3", "5-2", "", "a", "1-", "1,,2", "-3", "1-1001", "1.5"])
def test_numbers_that_cannot_be_fitted_are_refused(numbers, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["curve", "nowhere", f"--k={numbers}"])  # refused before the data is looked for
    assert ended.value.code == 2
    assert "numbers from 1 to 1000, as in 1-20 or 3,6,9" in capsys.readouterr().err
