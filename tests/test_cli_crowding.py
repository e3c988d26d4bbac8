import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.checkpoint_models import classes
from helpers.command import run
from helpers.text_lines import draw_text_lines

from anchorlib import crowding, fit_anchors, read_boxes
from anchorlib.cli.crowding_lines import describe_crowding, describe_placeholders
from anchorlib.modelfiles import open_anchors, read_anchors, write_anchors
from anchorlib.training.crowding_result import Crowding, LayerCrowding

YOLO = """anchors:
  - [10,13, 16,30, 33,23] # P3/8
  - [30,61, 62,45, 59,119] # P4/16
  - [116,90, 156,198, 373,326] # P5/32
"""


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """Go to a folder with text lines as a COCO file, a model file, and anchors that crowd stride 32."""
    monkeypatch.chdir(tmp_path)
    boxes = draw_text_lines(8)
    corner = boxes.centres - boxes.wh / 2
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 480, "height": 480} for i in range(8)],
        "categories": [{"id": 1, "name": "text"}],
        "annotations": [
            {"image_id": int(image), "category_id": 1, "bbox": [*map(float, left_top), *map(float, wh)]}
            for image, left_top, wh in zip(boxes.image_index, corner, boxes.wh)
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "model.yaml").write_text(YOLO)
    by_area = fit_anchors(boxes.wh, 9).anchors
    write_anchors("area.json", list(by_area.reshape(3, 3, 2)))
    return ["a.json", "--imgsz", "480"]


def test_check_names_the_layer_that_is_too_coarse_and_advises_a_fit(lines, capsys):
    code, out, _ = run("check", *lines, "--anchors", "area.json", capsys=capsys)
    assert code == 0
    found = crowding(read_boxes("a.json", imgsz=480, centres=True), read_anchors("area.json"), [8, 16, 32])
    shares = [f"{layer.share_overwritten:.0%}" for layer in found.layers]
    assert found.layers[2].share_overwritten > 0.5
    assert f"on strides 8 / 16 / 32: {' / '.join(shares)};" in out
    assert (
        f"Stride 32 is too coarse for its boxes: all of them are under one cell on their shorter side, and {shares[2]}"
        in out
    )
    assert "fitted ones do not: try them" in out
    assert "\nNext: anchorlib fit a.json --imgsz 480 --out area.json" in out
    _, out, _ = run("check", *lines, "--anchors", "area.json", "--json", capsys=capsys)
    assert json.loads(out)["crowding"] == found.to_dict()


def test_fit_with_a_model_file_leaves_the_coarse_layer_out_by_itself(lines, capsys):
    code, out, _ = run("fit", *lines, "--out", "model.yaml", capsys=capsys)
    assert code == 0
    assert "The boxes are too small or too crowded for stride 32" in out
    layers = read_anchors("model.yaml")
    assert layers[2].tolist() == [[116, 90], [156, 198], [373, 326]]  # those of the file do no harm
    boxes = read_boxes("a.json", imgsz=480, centres=True)
    assert crowding(boxes, layers, [8, 16, 32]).layers[2].rows == 0
    before = Path("model.yaml").read_text()
    run("fit", *lines, "--out", "model.yaml", capsys=capsys)
    assert Path("model.yaml").read_text() == before


def test_strides_none_is_the_fit_by_area(lines, capsys):
    _, out, _ = run("fit", *lines, "--strides", "none", "--json", capsys=capsys)
    boxes = read_boxes("a.json", imgsz=480)
    assert np.float32(json.loads(out)["anchors"]).tolist() == fit_anchors(boxes.wh, 9).anchors.tolist()
    assert "crowding" not in json.loads(out)
    _, out, _ = run("fit", *lines, "--json", capsys=capsys)
    usual = json.loads(out)
    _, out, _ = run("fit", *lines, "--strides", "8", "16", "32", "--json", capsys=capsys)
    assert json.loads(out)["anchors"] == usual["anchors"]
    assert [layer["stride"] for layer in usual["crowding"]["layers"]] == [8, 16, 32]


def test_other_methods_divide_by_area(lines, capsys):
    _, out, _ = run("fit", *lines, "--method", "kmeans", "--json", capsys=capsys)
    assert "crowding" not in json.loads(out)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["fit", "--strides", "32", "8", "16"], "ascending"),
        (["fit", "--strides", "8", "x", "16"], "strides must be a number"),
        (["fit", "--strides", "8", "16", "32", "--method", "kmeans"], "no meaning for method"),
        (["check", "--anchors", "area.json", "--strides", "8", "16"], "3 layers"),
    ],
)
def test_wrong_strides(lines, options, text, capsys):
    code, _, err = run(options[0], *lines, *options[1:], capsys=capsys)
    assert code == 2
    assert text in err


def test_the_file_tells_its_strides(tmp_path):
    file = tmp_path / "model.yaml"
    file.write_text(YOLO)
    assert open_anchors(file).strides == [8, 16, 32]
    file.write_text(YOLO.replace("P3/8", "P2/4").replace("P4/16", "P3/8").replace("P5/32", "P4/16"))
    assert open_anchors(file).strides == [4, 8, 16]
    file.write_text("anchors:\n  - [10,13]\n  - [30,61]\n  - [62,45]\n  - [116,90]\n")
    assert open_anchors(file).strides is None
    file.write_text("anchors:\n  - [10,13]\n  - [116,90]\n")
    assert open_anchors(file).strides == [16, 32]


def test_fit_says_that_small_boxes_need_one_anchor(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sides = np.random.default_rng(0).integers(7, 10, (300, 2)).tolist()
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 400, "height": 400} for i in range(30)],
        "categories": [{"id": 1, "name": "dot"}],
        "annotations": [
            {"image_id": i // 10, "category_id": 1, "bbox": [40 * (i % 10), 40, *wh]} for i, wh in enumerate(sides)
        ],
    }
    Path("dots.json").write_text(json.dumps(content))
    code, out, _ = run("fit", "dots.json", "--imgsz", "400", "--n", "3", "3", "--strides", "8", "16", capsys=capsys)
    assert code == 0
    sentence = "its boxes are small, and nearly equal anchors for them do harm. The other 2 are placeholders."
    assert f"Stride 8 needs 1 of 3 anchors: {sentence} Stride 16 needs 1 of 3 anchors: {sentence}" in " ".join(
        out.split()
    )


def test_check_advises_a_fit_for_small_boxes_on_a_coarse_layer_that_loses_a_third(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 192, "height": 192} for i in range(30)],
        "categories": [{"id": 1, "name": "dot"}],
        "annotations": [
            {"image_id": i // 15, "category_id": 1, "bbox": [*rng.uniform(0, 170, 2), *rng.uniform(5, 15, 2)]}
            for i in range(450)
        ],
    }
    Path("dots.json").write_text(json.dumps(content))
    boxes = read_boxes("dots.json", imgsz=192, centres=True)
    by_area = fit_anchors(boxes.wh, 9).anchors.reshape(3, 3, 2)
    share = crowding(boxes, by_area, [8, 16, 32]).layers[2].share_overwritten
    assert 0.3 < share < 0.5
    write_anchors("area.json", list(by_area))
    code, out, _ = run("check", "dots.json", "--imgsz", "192", "--anchors", "area.json", capsys=capsys)
    assert code == 0
    assert "fitted ones do not: try them" in " ".join(out.split())
    assert "\nNext: anchorlib fit dots.json --imgsz 192 --out area.json" in out


@pytest.mark.needs("torch")
@pytest.mark.parametrize("strides", [[4, 8, 16, 32], [8, 16, 32, 64]], ids=["P2", "P6"])
def test_a_checkpoint_tells_its_strides_to_check_and_fit(lines, capsys, strides):
    import torch

    layers = [[[s, s], [2 * s, s], [s, 2 * s]] for s in strides]
    torch.save(classes(torch)[0](anchors=layers, strides=strides), "best.pt")
    _, out, _ = run("check", *lines, "--anchors", "best.pt", "--json", capsys=capsys)
    assert [layer["stride"] for layer in json.loads(out)["crowding"]["layers"]] == strides
    _, out, _ = run("check", *lines, "--anchors", "best.pt", capsys=capsys)
    assert f"--n 3 3 3 3 --strides {' '.join(map(str, strides))} --out model.yaml" in out
    _, out, _ = run("fit", *lines, "--anchors", "best.pt", "--n", "12", "--json", capsys=capsys)
    assert [layer["stride"] for layer in json.loads(out)["crowding"]["layers"]] == strides
    _, out, _ = run("fit", *lines, "--anchors", "best.pt", "--n", "9", "--json", capsys=capsys)
    assert [layer["stride"] for layer in json.loads(out)["crowding"]["layers"]] == [8, 16, 32]


def test_centres_are_kept_only_where_they_are_used(lines, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "anchorlib.cli.common.read_boxes", lambda *a, **k: asked.append(k.get("centres")) or read_boxes(*a, **k)
    )
    for more in (["--method", "kmeans"], ["--strides", "none"], ["--n", "5"], []):
        run("fit", *lines, *more, capsys=capsys)
    run("check", *lines, "--anchors", "area.json", "--strides", "none", capsys=capsys)
    assert asked == [None, None, None, True, None]


@pytest.mark.parametrize(
    ("overwritten", "n_lost", "n_boxes", "text"),
    [
        ((0, 0), 0, 2987, "No target is overwritten in training, on strides 8 / 16."),
        ((20, 0), 0, 2987, "on strides 8 / 16: 20% / 0%; no box loses all its targets."),
        ((20, 1), 1, 2987, "on strides 8 / 16: 20% / 1%; 1 of 2 987 boxes loses all its targets."),
        ((20, 1), 2, 2987, "on strides 8 / 16: 20% / 1%; 2 of 2 987 boxes lose all their targets."),
        ((0.4, 99.6), 2, 3, "on strides 8 / 16: <1% / >99%; 2 of 3 boxes lose all their targets."),
        ((100, 100), 2, 3, "on strides 8 / 16: 100% / 100%; 2 of 3 boxes lose all their targets."),
    ],
)
def test_crowding_is_said_for_none_one_and_many(overwritten, n_lost, n_boxes, text):
    layers = [
        LayerCrowding(stride, ((9.0, 9.0),), 1000, round(10 * percent), 5, 0, ())
        for stride, percent in zip((8.0, 16.0), overwritten)
    ]
    (line,) = describe_crowding(Crowding(tuple(layers), n_boxes, 0, n_lost))
    assert line.removeprefix("Targets overwritten in training, ") == text


@pytest.mark.parametrize(
    ("n_small", "text"), [(1000, "all of them are"), (999, ">99% of them are"), (500, "50% of them are")]
)
def test_a_coarse_layer_is_said_for_all_and_some_boxes(n_small, text):
    layer = LayerCrowding(32.0, ((9.0, 9.0),), 1000, 999, 1000, n_small, ())
    lines = describe_crowding(Crowding((layer,), 1000, 0, 0))
    assert lines[1] == (
        f"Stride 32 is too coarse for its boxes: {text} under one cell on their shorter side, and >99% of its targets "
        "are overwritten."
    )


@pytest.mark.parametrize(
    ("counts", "idle", "spare", "lines"),
    [
        ((2, 2), (), (), []),
        ((2, 1), (1,), (), ["stride 16: the anchor there is a placeholder that matches hardly any box."]),
        ((2, 2), (1,), (), ["stride 16: the anchors there are placeholders that match hardly any box."]),
        ((2, 1, 1), (1, 2), (), ["strides 16 and 32: the anchors there are placeholders that match hardly any box."]),
        (
            (2, 1, 1, 1),
            (1, 2, 3),
            (),
            ["strides 16, 32 and 64: the anchors there are placeholders that match hardly any box."],
        ),
        ((3, 3), (), (2,), ["Stride 8 needs 2 of 3 anchors: ~ The other one is a placeholder."]),
        ((3, 3), (), (4, 5), ["Stride 16 needs 1 of 3 anchors: ~ The other 2 are placeholders."]),
    ],
)
def test_placeholders_are_said_for_one_and_many(counts, idle, spare, lines):
    fit = SimpleNamespace(strides=(8, 16, 32, 64)[: len(counts)], counts=counts, idle_layers=idle, spare_anchors=spare)
    harm = "its boxes are small, and nearly equal anchors for them do harm."
    shown = [line.replace(harm, "~") for line in describe_placeholders(fit)]
    assert [line.removeprefix("The boxes are too small or too crowded for ") for line in shown] == lines
