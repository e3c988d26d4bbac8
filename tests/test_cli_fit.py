"""Test `anchorlib fit` and `anchorlib check`: what they print, return and write."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command import run

from anchorlib import fit_anchors, read_boxes, score
from anchorlib.modelfiles import read_anchors

ROOT = Path(__file__).parent.parent
BCCD = str(ROOT / "tests/data/bccd")


def test_fit_prints_a_table_and_ends_with_0(capsys):
    code, out, err = run("fit", BCCD, "--split", "all", capsys=capsys)
    assert (code, err) == (0, "")
    for text in (
        "364 images, 4 888 boxes",
        "COCO's",
        "best possible recall",
        "average IoU",
        "layer",
        "a good fit",
        "zero area",
    ):
        assert text in out


def test_fit_says_that_a_single_anchor_is_proven(capsys):
    sentence = "It is proven to be the best single anchor (within 0.000001 of fitness)."
    for options, proven in (([], True), (["--objective", "iou"], False)):
        options = ["--n", "1", *options]
        _, out, _ = run("fit", BCCD, *options, capsys=capsys)
        assert (sentence in " ".join(out.split())) == proven
        _, out, _ = run("fit", BCCD, *options, "--json", capsys=capsys)
        assert json.loads(out)["proven"] is proven


def test_fit_in_json_is_the_fit_of_the_library(backend, capsys):
    options = [
        "--method",
        "evolve",
        "--generations",
        "30",
        "--seed",
        "4",
        "--json",
        "--backend",
        backend.name,
    ]
    code, out, err = run("fit", BCCD, *options, capsys=capsys)
    result = json.loads(out)
    boxes_wh = read_boxes(BCCD).wh
    expected = fit_anchors(boxes_wh, 9, method="evolve", generations=30, seed=4)
    assert (code, err) == (0, "")
    assert result["anchors"] == expected.anchors.tolist()  # to the last bit
    assert (result["bpr"], result["aat"]) == (expected.score.bpr, expected.score.aat)
    assert (result["fitness"], result["avg_iou"]) == (expected.score.fitness, expected.score.avg_iou)
    assert (result["n_boxes"], result["method"], result["seed"]) == (len(boxes_wh), "evolve", 4)
    assert result["backend"] == f"{backend.name}:cpu"
    assert result["problems"] == {"zero area": 1}
    assert result["seconds"] > 0


@pytest.mark.parametrize("suffix", [".yaml", ".cfg", ".py", ".json"])
def test_what_fit_writes_check_reads(tmp_path, suffix, capsys):
    path = str(tmp_path / f"anchors{suffix}")
    _, out, _ = run("fit", BCCD, "--json", "--out", path, capsys=capsys)
    fitted = json.loads(out)
    code, out, _ = run("check", BCCD, "--anchors", path, "--json", capsys=capsys)
    checked = json.loads(out)
    assert code == 0
    assert fitted["written"].pop("digits") == 1
    assert {k: checked[k] for k in ("anchors", "bpr", "aat", "fitness", "avg_iou")} == fitted["written"]
    assert all(abs(fitted[k] - checked[k]) <= 1e-4 for k in ("bpr", "fitness", "avg_iou"))


def test_a_poor_fit_ends_with_1(tmp_path, capsys):
    path = tmp_path / "anchors.json"
    path.write_text("[[600, 600]]")
    code, out, _ = run("check", BCCD, "--anchors", str(path), capsys=capsys)
    assert code == 1
    assert "a poor fit" in out
    assert score(read_boxes(BCCD).wh, np.asarray([[600.0, 600.0]])).bpr < 0.98


def test_non_square_input_scales_by_the_smaller_ratio(capsys):
    _, wide, _ = run("fit", BCCD, "--method", "kmeans", "--json", "--imgsz", "640", "240", capsys=capsys)
    _, half, _ = run("fit", BCCD, "--method", "kmeans", "--json", "--imgsz", "320", capsys=capsys)
    assert json.loads(wide)["anchors"] == json.loads(half)["anchors"]


def test_counts_per_layer_fixed_anchors_and_smallest_sides(capsys):
    options = ["--n", "2", "3", "--fixed", "85", "90", "--min-side", "30", "60", "--json"]
    _, out, _ = run("fit", BCCD, *options, capsys=capsys)
    anchors = np.asarray(json.loads(out)["anchors"])
    assert anchors.shape == (5, 2)
    assert [85, 90] in anchors.tolist()
    assert (anchors >= 30).all()
    assert (anchors[2:] >= 60).all()
    _, out, _ = run("fit", BCCD, *options[:-1], capsys=capsys)
    assert "\n  1 " in out
    assert "\n  2 " in out
    assert "\n  3 " not in out


def test_anchors_that_are_already_better_are_kept_and_the_report_says_so(tmp_path, capsys):
    path = str(tmp_path / "best.json")
    run("fit", BCCD, "--out", path, capsys=capsys)
    _, out, _ = run("fit", BCCD, "--method", "evolve", "--generations", "0", "--anchors", path, capsys=capsys)
    assert "No better anchors were found; the given anchors are kept." in out


def test_an_option_that_a_method_does_not_have_is_refused(capsys):
    code, _, err = run("fit", BCCD, "--method", "kmeans", "--time-budget", "1", capsys=capsys)
    assert code == 2
    assert "time_budget has no meaning for method 'kmeans'" in err


def test_a_poor_fit_of_fit_ends_with_1(capsys):
    code, out, _ = run("fit", BCCD, "--n", "1", "--thr", "1.05", "--method", "kmeans", capsys=capsys)
    assert code == 1
    assert "1 anchor, a poor fit" in out


MODEL = """\
# ours
nc: 3
anchors:
  - [10,13, 16,30]  # P4
  - [59,119, 116,90]  # P5
head: [[[4, 6], 1, Detect, [nc, anchors]]]
"""


def test_fit_writes_as_many_anchors_as_the_model_file_has(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("m.yaml").write_text(MODEL)
    code, dry, err = run("fit", BCCD, "--out", "m.yaml", "--dry-run", capsys=capsys)
    assert (code, err) == (0, "")
    assert Path("m.yaml").read_text() == MODEL
    assert "before  fitted  written" in dry
    assert "\n-  - [10,13, 16,30]  # P4\n" in dry
    assert dry.endswith("Nothing was written: --dry-run.\nNext: run the command again without --dry-run.\n")
    code, out, _ = run("fit", BCCD, "--out", "m.yaml", capsys=capsys)
    assert (code, out.splitlines()[-2]) == (0, "Wrote m.yaml.")
    assert out.endswith("Next: train with it, for example python train.py --data DATA.yaml --cfg m.yaml\n")
    now = Path("m.yaml").read_text()
    added = [line[1:] for line in dry.splitlines() if line.startswith("+ ")]
    assert len(added) == 2
    assert now.splitlines() == [*MODEL.splitlines()[:3], *added, MODEL.splitlines()[5]]
    _, out, _ = run("fit", BCCD, "--out", "m.yaml", "--dry-run", "--json", capsys=capsys)
    result = json.loads(out)
    assert len(result["anchors"]) == 4
    assert result["diff"] == "" or result["fitness"] > json.loads(out)["written"]["fitness"] - 1e-4


def test_the_number_of_anchors_is_divided_among_the_layers_of_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("m.yaml").write_text(MODEL.replace("- [10,13, 16,30]  # P4\n  - [59,119, 116,90]  # P5", "[[1,2], [3,4]]"))
    fast = ["--method", "kmeans", "--out", "m.yaml"]
    assert run("fit", BCCD, "--n", "6", *fast, capsys=capsys)[0] == 0
    assert [len(layer) for layer in read_anchors("m.yaml")] == [3, 3]
    assert run("fit", BCCD, "--n", "2", "2", *fast, capsys=capsys)[0] == 0
    assert [len(layer) for layer in read_anchors("m.yaml")] == [2, 2]
    for n, message in (
        (["5"], "a multiple of 2"),
        (["1", "2", "3"], "one number for each"),
        (["1", "2"], "is not changed"),
    ):
        before = Path("m.yaml").read_text()
        code, out, err = run("fit", BCCD, "--n", *n, *fast, capsys=capsys)
        assert (code, out) == (2, "")  # before the fit
        assert message in err
        assert Path("m.yaml").read_text() == before


def test_a_dry_run_of_a_new_file_shows_all_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, out, _ = run("fit", BCCD, "--n", "3", "--out", "a.cfg", "--dry-run", "--json", capsys=capsys)
    result = json.loads(out)
    assert result["diff"].startswith("--- a.cfg\n+++ a.cfg\n@@ -0,0 +1,4 @@\n+[yolo]\n+mask = 0,1,2\n+anchors = ")
    assert list(tmp_path.iterdir()) == []


def test_fixed_anchors_and_smallest_sides_are_written_exactly(tmp_path, capsys):
    path = str(tmp_path / "a.json")
    options = ["--n", "2", "3", "--fixed", "85.123", "90.5", "--min-side", "30.5", "110.0003", "--json", "--out", path]
    run("fit", BCCD, *options, capsys=capsys)
    anchors = np.concatenate(read_anchors(path))
    assert np.float32([85.123, 90.5]).tolist() in anchors.tolist()
    assert (anchors >= 30.5).all()
    assert anchors[2:].min() == np.float32(110.0003)  # the bound itself, which a rounded side would break


def test_anchors_that_are_kept_are_written_with_all_their_digits(tmp_path, capsys):
    path = tmp_path / "a.json"
    path.write_text("[[40.123456, 38.5], [110.25, 99.875]]")
    options = ["--method", "evolve", "--generations", "0", "--out", str(path)]
    _, out, _ = run("fit", BCCD, *options, capsys=capsys)
    assert "are kept." in out
    assert out.endswith("a.json already contains these anchors.\n")
    assert path.read_text() == "[[40.123456, 38.5], [110.25, 99.875]]"


def test_a_second_fit_without_a_gain_changes_nothing(tmp_path, capsys):
    path = tmp_path / "a.yaml"
    run("fit", BCCD, "--out", str(path), capsys=capsys)
    first = path.read_text()
    _, out, _ = run("fit", BCCD, "--out", str(path), capsys=capsys)
    assert "The file's anchors score the same (within 0.0001); the file is unchanged.\n" in out
    assert out.endswith("a.yaml already contains these anchors.\n")
    _, out, _ = run("fit", BCCD, "--out", str(path), "--dry-run", capsys=capsys)
    assert out.endswith("a.yaml already contains these anchors.\n")
    assert path.read_text() == first
    _, out, _ = run("fit", BCCD, "--out", str(path), "--objective", "iou", capsys=capsys)  # that asks for others
    assert f"\nWrote {path}.\n" in out
    assert path.read_text() != first


def test_anchors_of_a_region_are_rounded_in_its_cells_and_stay_one_layer(tmp_path, capsys):
    path = tmp_path / "v2.cfg"
    path.write_text("[region]\nanchors = 1,1, 2,2, 3,3, 4,4, 5,5, 6,6\nnum = 6\n")
    _, out, _ = run("fit", BCCD, "--out", str(path), "--json", capsys=capsys)
    written = json.loads(out)["written"]
    line = path.read_text().splitlines()[1]
    numbers = [side.strip() for side in line.partition("=")[2].split(",")]
    assert max(len(side.partition(".")[2]) for side in numbers) == written["digits"] == 2
    assert [32 * float(side) for side in numbers] == pytest.approx(np.ravel(written["anchors"]))
    assert [len(layer) for layer in read_anchors(path)] == [6]


def test_a_cache_and_workers_change_nothing(tmp_path, capsys):
    plain = run("fit", BCCD, "--method", "kmeans", "--json", capsys=capsys)[1]
    kept = ["--cache", str(tmp_path / "labels.npz"), "--workers", "2"]
    for _ in range(2):
        code, out, _ = run("fit", BCCD, "--method", "kmeans", "--json", *kept, capsys=capsys)
        assert (code, json.loads(out)["anchors"]) == (0, json.loads(plain)["anchors"])
    assert run("check-labels", BCCD, *kept, capsys=capsys)[0] == 0
    assert run("fit", BCCD, "--workers", "0", capsys=capsys)[0] == 2


def test_certify_prints_one_sentence_and_the_same_in_json(tmp_path, capsys):
    path = tmp_path / "anchors.json"
    path.write_text(json.dumps([[80, 80], [100, 100], [200, 200]]), encoding="utf-8")
    code, out, err = run("certify", BCCD, "--anchors", str(path), "--gap", "5", "--split", "all", capsys=capsys)
    assert (code, err) == (0, "")
    assert "No 3 anchors can have a fitness above " in out
    code, out, err = run("certify", BCCD, "--n", "3", "--gap", "1", "--json", capsys=capsys)
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert 0 <= found["gap"] <= 0.01
    assert found["fitness"] == score(read_boxes(BCCD).wh, found["anchors"]).fitness <= found["upper_bound"]


def test_fit_with_certify_adds_the_sentence_to_the_report(capsys):
    options = ["--n", "2", "--certify", "--fixed", "80", "80", "--min-side", "20"]
    code, out, err = run("fit", BCCD, *options, capsys=capsys)
    assert (code, err) == (0, "")
    assert "No 2 anchors can have a fitness above " in out
    code, out, err = run("fit", BCCD, *options, "--json", capsys=capsys)
    certificate = json.loads(out)["certificate"]
    assert (code, err) == (0, "")
    assert certificate["text"].startswith("No 2 anchors can have a fitness above ")
    assert 0 <= certificate["gap"] < 1e-3
