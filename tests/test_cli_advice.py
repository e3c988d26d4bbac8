"""Test what `anchorlib fit` and `anchorlib check` say at the end: what is gained, and what to do next."""

import json
from pathlib import Path

import pytest
from helpers.command import run

from anchorlib import fit_anchors, read_boxes, score

ROOT = Path(__file__).parent.parent
BCCD = str(ROOT / "tests/data/bccd")
POOR = "[[[5, 6], [8, 9]], [[30, 30], [900, 300]]]"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with a data set, a file of poor anchors and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(BCCD)
    (tmp_path / "poor.json").write_text(POOR)
    (tmp_path / "best.pt").symlink_to(ROOT / "tests/data/checkpoints/yolov5_zip.pt")


def last_lines(*arguments, capsys):
    code, out, err = run(*arguments, capsys=capsys)
    assert err == ""
    return code, out[out.rindex("\n\n") + 2 :].splitlines()


def test_check_says_what_a_fit_with_the_same_number_would_give(folder, capsys):
    code, lines = last_lines("check", "data", "--anchors", "poor.json", capsys=capsys)
    boxes = read_boxes("data").wh
    now, fitted = score(boxes, [[5, 6], [8, 9], [30, 30], [900, 300]]), fit_anchors(boxes, 4).score
    more = round((fitted.bpr - now.bpr) * len(boxes))
    assert code == 1
    assert lines == [
        f"4 anchors, a poor fit: {round((1 - now.bpr) * len(boxes))} boxes match no anchor.",
        "Layer 1 of these anchors fits 0.0% of your boxes best: it learns from few objects.",
        "These anchors look made for another image size: at 320 px their recall is 0.9900. If the model is trained at "
        "that size, pass --imgsz 320.",
        f"4 fitted anchors instead of these: recall {now.bpr:.4f} -> {fitted.bpr:.4f} ({more} more boxes matched, "
        f"{more / len(boxes):.1%}), fitness {now.fitness:.4f} -> {fitted.fitness:.4f}. Worth a change.",
        "Targets overwritten in training, on strides 16 / 32: 2% / 2%; 2 of 2 805 boxes lose all their targets.",
        "Next: anchorlib fit data --out poor.json",
    ]
    _, out, _ = run("check", "data", "--anchors", "poor.json", "--json", capsys=capsys)
    found = json.loads(out)
    assert found["same_number_fitted"]["fitness"] == fitted.fitness
    assert (found["imgsz"], found["resize"], found["compared_with"]) == ([640, 640], "letterbox", None)
    assert [layer["anchors"] for layer in found["layers"]] == json.loads(POOR)
    assert found["advice"] == lines[1:]


@pytest.mark.parametrize(
    ("given", "step"),
    [
        (
            ["--anchors", "best.pt", "--thr=3"],
            "anchorlib fit data --thr=3 --n 3 3 3 --out model.yaml (the file of your model)",
        ),
        (["--anch=poor.json", "--imgsz", "640x480"], "anchorlib fit data --imgsz 640x480 --out poor.json"),
        (["--anchors", "40,9, 41,9"], "anchorlib fit data --n 2 --out model.yaml (the file of your model)"),
    ],
)
def test_the_next_command_is_that_of_the_check(folder, given, step, capsys):
    _, lines = last_lines("check", "data", *given, capsys=capsys)
    assert lines[-1] == f"Next: {step}"
    arguments = step.replace(" (the file of your model)", " --dry-run --quiet").split()[1:]
    assert run(*arguments, capsys=capsys)[0] == 0  # it can be typed as it is


def test_anchors_as_good_as_fitted_ones_need_no_change(folder, capsys):
    run("fit", "data", "--out", "a.yaml", "--quiet", capsys=capsys)
    code, lines = last_lines("check", "data", "--anchors", "a.yaml", capsys=capsys)
    assert code == 0
    assert lines[0] == "9 anchors, a good fit."
    assert lines[1].startswith("9 fitted anchors instead of these: recall 0.9996 -> 0.9996, fitness 0.915")
    assert lines[1].endswith(". Not worth a change.")
    assert lines[2] == (
        "Targets overwritten in training, on strides 8 / 16 / 32: 5% / 2% / 2%; 1 of 2 805 boxes loses all its targets."
    )
    assert len(lines) == 3
    code, lines = last_lines("fit", "data", "--anchors", "a.yaml", capsys=capsys)
    assert lines[-3].startswith("The fitted anchors instead of the anchors of a.yaml: recall 0.9996 -> 0.9996, fitness")
    assert lines[-3].endswith(". Not worth a change.")
    assert lines[-1] == (
        "Next: keep your anchors, or anchorlib fit data --anchors a.yaml --out model.yaml, where model.yaml is the "
        "file of your model (.yaml, .cfg, .py or .json)."
    )


def test_a_fit_of_any_number_is_compared_with_the_anchors_of_coco(folder, capsys):
    _, out, _ = run("fit", "data", "--n", "2", "2", "3", capsys=capsys)
    assert "COCO's 9  fitted\n" in out
    assert "\nThe fitted anchors instead of COCO's 9 anchors: recall 0.9996 -> 0.9996, fitness 0.8119 -> 0.90" in out
    _, out, _ = run("fit", "data", "--n", "2", "2", "3", "--json", capsys=capsys)
    compared = json.loads(out)["compared_with"]
    assert (compared["name"], len(compared["anchors"]), compared["fitness"]) == (
        "COCO's 9",
        9,
        pytest.approx(0.8119, abs=1e-4),
    )
    assert len(json.loads(out)["layers"]) == 3


@pytest.mark.parametrize(
    ("name", "text", "step"),
    [
        (
            "new.yaml",
            None,
            "copy the anchors of new.yaml into the file of your model, or fit again with that file as --out.",
        ),
        (
            "m.cfg",
            "[yolo]\nmask = 0,1\nanchors = 5,6, 7,8\n",
            "train with it, for example darknet detector train DATA.data m.cfg",
        ),
        ("poor.json", POOR, None),  # which program reads it is unknown
    ],
)
def test_after_writing_the_next_step_is_that_of_the_file(folder, name, text, step, capsys):
    if text:
        Path(name).write_text(text)
    _, out, _ = run("fit", "data", "--method", "kmeans", "--out", name, capsys=capsys)
    assert out.splitlines()[-2 if step else -1] == f"Wrote {name}."
    assert not step or out.endswith(f"Next: {step}\n")
