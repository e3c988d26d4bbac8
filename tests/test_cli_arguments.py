"""Test arguments that nobody means: absurd numbers, empty paths, and outputs that overwrite something."""

import os
import shutil
from pathlib import Path

import pytest
from helpers.command import run
from PIL import Image

from anchorlib.cli import main

ROOT = Path(__file__).parent.parent
BCCD = str(ROOT / "tests/data/bccd")
HUGE = "1" + 20 * "0"
LONG = "9" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", BCCD, "--n", HUGE],
        ["fit", BCCD, "--n", "10000000000"],
        ["fit", BCCD, "--n", HUGE, "3"],
        ["fit", BCCD, "--n", "3000", "--method", "kmeans"],
        ["fit", BCCD, "--n", HUGE, "--method", "evolve"],
        ["fit", BCCD, "--n", HUGE, "--out", "new.yaml"],
        ["fit", BCCD, "--n", HUGE, "--out", "model.yaml"],
        ["fit", BCCD, "--n", HUGE, "--min-side", "3"],
        ["fit", BCCD, "--n", LONG],
        ["fit", BCCD, "--method", "evolve", "--generations", "100000000000000000"],
        ["fit", BCCD, "--method", "evolve", "--generations", HUGE],
        ["fit", BCCD, "--imgsz", "1000000000000000000000000000000"],
        ["fit", BCCD, "--imgsz", "640", "1000000000000000000000000000000"],
        ["fit", BCCD, "--imgsz", LONG],
        ["fit", BCCD, "--seed", "-" + HUGE],
        ["fit", BCCD, "--workers", "1000000000"],
        ["fit", BCCD, "--workers", HUGE],
        ["fit", BCCD, "--thr", "1e400"],
        ["fit", BCCD, "--fixed", "1e400", "1"],
        ["fit", BCCD, "--fixed", "-inf", "nan"],
        ["fit", BCCD, "--min-side", "1e400"],
        ["fit", BCCD, "--min-side", "1e300"],
        ["fit", BCCD, "--time-budget", "nan"],
        ["fit", BCCD, "--device", "meta"],
        ["fit", BCCD, "--backend", "torch", "--device", "meta"],  # 2 without torch as well: a missing backend
        ["fit", BCCD, "--backend", "torch", "--device", "cuda:" + HUGE],
        ["curve", BCCD, "--k", HUGE],
        ["curve", BCCD, "--k", f"1-{HUGE}"],
        ["verify", "--case", HUGE],
        ["verify", "--seed", "-" + HUGE],
        ["verify", "--devices", "meta"],
        ["show", "model.yaml", "--strides", "1e400"],
        ["show", str(ROOT / "tests/data/checkpoints/yolov5_zip.pt"), "--strides", "nan"],
    ],
    ids=lambda arguments: " ".join(word[:24] for word in arguments if word != BCCD),
)
def test_absurd_numbers_are_bad_input(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("model.yaml").write_text("anchors:\n  - [10,13, 16,30]\n  - [59,119, 116,90]\n")
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert "Traceback" not in captured.err
    assert sorted(os.listdir()) == ["model.yaml"]


@pytest.mark.parametrize(
    "arguments",
    [["--seed", str(2**200)], ["--time-budget", "1e400"], ["--workers", "1024"], ["--imgsz", "1000000"]],
)
def test_large_numbers_that_mean_something_work(arguments, capsys):
    assert run("fit", BCCD, "--n", "3", "--json", *arguments, capsys=capsys)[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", BCCD, "--out", ""],
        ["fit", BCCD, "--report", ""],
        ["fit", BCCD, "--cache", ""],
        ["fit", BCCD, "--anchors", ""],
        ["fit", ""],
        ["check", BCCD, "--anchors", ""],
        ["check-labels", ""],
        ["curve", BCCD, "--report", ""],
        ["show", ""],
    ],
)
def test_an_empty_path_is_refused(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments, capsys=capsys)
    assert (code, out) == (2, "")
    assert "must be a path, got ''" in err
    assert os.listdir() == []


def test_a_current_folder_that_was_deleted_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, _, err = run("check-labels", "data", capsys=capsys)
    assert (code, err) == (2, "anchorlib: the current folder was deleted; change to a folder that exists.\n")


def test_a_link_into_a_missing_folder_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.symlink("missing/out.yaml", "out.yaml")
    code, out, err = run("fit", BCCD, "--out", "out.yaml", capsys=capsys)
    assert (code, out) == (2, "")
    assert "is a link to" in err
    assert err.endswith("missing/out.yaml, whose folder does not exist; make the folder.\n")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Go to a folder with a copy of the data set, a file of anchors and links to files."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(BCCD, "data")
    Path("a.json").write_text("[[30, 30], [90, 100]]")
    Path("sub").mkdir()
    Path("here").symlink_to(".")
    Path("link.html").symlink_to("r.html")
    Path("link.json").symlink_to("a.json")
    (tmp_path / "r.html").write_text("old")
    Path("set").mkdir()
    for name in ("images", "labels"):
        Path("set", name).mkdir()
    Image.new("L", (64, 64)).save("set/images/1.png")
    Path("set/labels/1.txt").write_text("0 0.5 0.5 0.5 0.25\n0 0.5 0.5 0.5 0.5\n")
    Path("set/data.yaml").write_text("train: images\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "data", "--out", "x.json", "--cache", "x.json"], "--out and --cache must be two files"),
        (["fit", "data", "--report", "x.html", "--cache", "./sub/../x.html"], "--report and --cache must be two files"),
        (["fit", "data", "--report", "link.html", "--cache", "r.html"], "--report and --cache must be two files"),
        (["fit", "data", "--out", "new.json", "--cache", "here/new.json"], "--out and --cache must be two files"),
        (["curve", "data", "--cache", "x.html", "--report", "x.html"], "must be two files"),
        (["fit", "data", "--anchors", "a.json", "--cache", "link.json"], "--cache would overwrite --anchors a.json"),
        (["check", "data", "--anchors", "a.json", "--cache", "here/a.json"], "would overwrite --anchors"),
        (["check-labels", "set/data.yaml", "--cache", "set/data.yaml"], "--cache would overwrite DATA set/data.yaml"),
        (["fit", "set", "--n", "1", "--report", "set/images/1.png"], "1.png, an image of the data set"),
        (["fit", "set", "--n", "1", "--report", "here/set/images/1.png"], "1.png, an image of the data set"),
        (["curve", "set", "--k", "1", "--report", "set/images/1.png"], "1.png, an image of the data set"),
    ],
)
def test_an_output_overwrites_neither_an_input_nor_another_output(data, arguments, message, capsys):
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    code, out, err = run(*arguments, capsys=capsys)
    assert (code, out) == (2, "")
    assert message in err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_anchors_may_be_compared_with_those_of_the_file_that_is_changed(data, capsys):
    assert run("fit", "data", "--anchors", "a.json", "--out", "a.json", "--json", capsys=capsys)[0] in (0, 1)
    assert run("fit", "set", "--n", "1", "--report", "sub/1.png", "--no-curve", "--json", capsys=capsys)[0] == 0
