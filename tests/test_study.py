"""Test ci/study: the drawn sets, the arithmetic of its table, and that it goes on where it stopped."""

import importlib.machinery
import importlib.util
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from anchorlib import read_boxes

STUDY = Path(__file__).parent.parent / "ci" / "study"


def load(name):
    """Import a module of ci/study, whose commands have no suffix."""
    path = next(path for path in (STUDY / f"{name}.py", STUDY / name) if path.exists())
    loader = importlib.machinery.SourceFileLoader(f"study_{name}", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def study(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(STUDY), *sys.path])
    return load


def sizes(samples):
    return np.concatenate([boxes[:, 2:] - boxes[:, :2] for _, boxes in samples])


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("text", (10, 4), (130, 13)),
        ("dots", (7, 7), (9, 9)),
        ("mixed", (4, 4), (163, 163)),
        ("large", (48, 48), (163, 163)),
        ("tiny", (5, 5), (16, 16)),
    ],
)
def test_drawn_boxes_have_the_promised_sizes_and_lie_in_the_image(study, name, low, high):
    samples = study("draw").draw_set(name, 6, 192, seed=3)
    wh = sizes(samples)
    assert len(wh) >= 6
    assert (wh >= low).all()
    assert (wh <= high).all()
    for image, boxes in samples:
        assert image.size == (192, 192)
        assert (boxes >= 0).all()
        assert (boxes <= 192).all()


def test_drawn_poles_are_long_and_thin_in_both_directions(study):
    wh = sizes(study("draw").draw_set("poles", 8, 192, seed=3))
    thick, long = wh.min(1), wh.max(1)
    assert ((thick >= 5) & (thick <= 10) & (long >= 48) & (long <= 0.9 * 192)).all()
    assert 0 < (wh[:, 0] > wh[:, 1]).mean() < 1


def test_drawn_sizes_of_mixed_spread_over_the_octaves(study):
    side = sizes(study("draw").draw_set("mixed", 20, 192, seed=0)).min(1)
    counts, _ = np.histogram(side, [4, 8, 16, 32, 64, 130])
    assert counts.min() > 0.08 * len(side)


def test_a_seed_draws_the_same_images_and_another_seed_others(study):
    draw = study("draw")
    for name in draw.SETS:
        (one, boxes), (same, same_boxes) = (draw.draw_set(name, 2, 96, seed=5)[1] for _ in range(2))
        other, _ = draw.draw_set(name, 2, 96, seed=6)[1]
        np.testing.assert_array_equal(np.asarray(one), np.asarray(same))
        np.testing.assert_array_equal(boxes, same_boxes)
        assert (np.asarray(one) != np.asarray(other)).any()


def test_prepared_labels_and_targets_are_the_drawn_boxes(study, tmp_path):
    prepare, draw = study("prepare"), study("draw")
    asked = ["mixed", "--folder", str(tmp_path), "--size", "96", "--train", "3", "--val", "2"]
    prepare.main([*asked, "--anchors", "coco"])
    drawn = [boxes for _, boxes in draw.draw_set("mixed", 3, 96, seed=0)]
    targets, wh = prepare.read_targets(tmp_path, 96)
    np.testing.assert_array_equal(targets[:, 0], np.repeat([0, 1, 2], [len(boxes) for boxes in drawn]))
    np.testing.assert_allclose(wh, np.concatenate([boxes[:, 2:] - boxes[:, :2] for boxes in drawn]), atol=1e-3)
    assert len(list((tmp_path / "images" / "val").iterdir())) == 2
    prepare.main([*asked, "--anchors", "area", "layers"])  # what is there stays
    known = json.loads((tmp_path / "anchors.json").read_text())
    assert list(known) == ["coco", "area", "layers"]
    assert known["area"]["fitness"] > known["coco"]["fitness"]
    assert {np.shape(entry["anchors"]) for entry in known.values()} == {(9, 2)}
    with pytest.raises(SystemExit, match=r"the anchors other need a file other\.py in the folder"):
        prepare.main([*asked, "--anchors", "other"])


def test_targets_of_bccd_lie_in_the_middle_of_the_square(study, tmp_path):
    """Images of 320 x 240 fill three quarters of the height, from 1/8 to 7/8."""
    prepare, labels = study("prepare"), STUDY.parent.parent / "tests" / "data" / "bccd"
    (tmp_path / "photos").mkdir()
    for part in ("train", "val"):
        name = (labels / "ImageSets" / "Main" / f"{part}.txt").read_text().split()[0]
        Image.new("RGB", (320, 240)).save(tmp_path / "photos" / f"{name}.jpg")
    asked = ["bccd", "--folder", str(tmp_path / "set"), "--size", "192", "--train", "1", "--val", "1"]
    asked += ["--bccd-labels", str(labels), "--bccd-images", str(tmp_path / "photos")]
    prepare.main([*asked, "--anchors", "coco"])
    targets, wh = prepare.read_targets(tmp_path / "set", 192)
    boxes = read_boxes(labels, imgsz=192, split="train").wh[: len(targets)]
    np.testing.assert_allclose(np.sort(wh, 0), np.sort(boxes, 0), atol=0.01)
    top, bottom = targets[:, 3] - targets[:, 5] / 2, targets[:, 3] + targets[:, 5] / 2
    assert 0.125 - 1e-6 <= top.min() < 0.2
    assert 0.8 < bottom.max() <= 0.875 + 1e-6


def line(name, anchors, seed, *curve, **more):
    common = {"seconds": 2.0, "fitness": 0.5, "rows": [4, 4, 0], "overwritten": [0.25, 0.5, 0.0], "sizes": [[8, 8]] * 9}
    return {"set": name, "anchors": anchors, "seed": seed, "map50": curve, "map": curve, **common, **more}


#: By hand: the final values are coco 0.4 and 0.5 (mean 0.45), area 0.5 and 0.6 (mean 0.55). Every value is 0.05 from
#: its mean, so the noise is sqrt(4 * 0.05 ** 2 / 2).
LINES = (
    line("text", "coco", 0, 0.0, 0.14, 0.2, 0.3, 0.4),
    line("text", "coco", 1, 0.0, 0.2, 0.5, 0.5, 0.3),
    line("text", "area", 0, 0.1, 0.3, 0.5, 0.5, 0.5),
    line("text", "area", 1, 0.3, 0.3, 0.6, 0.6, 0.6),
)
NOISE = 0.005**0.5


def test_final_is_the_epoch_that_the_peer_keeps_and_half_is_the_first_epoch_at_half_of_it(study):
    summary = study("summary")
    assert [summary.final(run, "map50") for run in LINES] == [0.4, 0.5, 0.5, 0.6]
    assert [summary.epochs_to_half(run) for run in LINES] == [3, 3, 2, 1]
    run = line("text", "coco", 0, 0.2, 0.9, 0.8, map=[0.1, 0.30, 0.32])  # 0.1 mAP50 + 0.9 mAP50-95: 0.36, then 0.368
    assert (summary.final(run, "map50"), summary.final(run, "map"), summary.epochs_to_half(run)) == (0.8, 0.32, 2)


def test_noise_is_pooled_over_the_anchors(study):
    assert study("summary").noise(LINES, "map50") == {"text": pytest.approx(NOISE)}
    assert np.isnan(study("summary").noise(LINES[::2], "map50")["text"])


def test_table_has_means_and_ranges(study):
    rows = study("summary").table(LINES).splitlines()[2:]
    assert rows == [
        "| text | coco | 2 | 0.450 (0.400 to 0.500) | 0.450 (0.400 to 0.500) | 3.0 | 0.500 | 25 % / 50 % / no row |",
        "| text | area | 2 | 0.550 (0.500 to 0.600) | 0.550 (0.500 to 0.600) | 1.5 | 0.500 | 25 % / 50 % / no row |",
    ]


def test_a_difference_is_bold_only_beyond_twice_its_standard_error(study):
    summary = study("summary")
    table = summary.compare(LINES, "coco", "map50")
    assert "| area | +10.0 | +10.0 |" in table  # twice the error: 14.1 points
    assert "| noise (SD of one run) | 7.1 | |" in table
    better = [*LINES[:2], line("text", "area", 0, 0.8), line("text", "area", 1, 0.9)]
    assert "| area | **+40.0** | **+40.0** |" in summary.compare(better, "coco", "map50")


def test_the_mean_over_data_sets_has_a_smaller_error_than_each(study):
    """Twice the error is 14.1 points on each of four data sets, and half of that for their mean."""
    lines = [{**run, "set": name} for name in "abcd" for run in LINES]
    assert "| area | +10.0 | +10.0 | +10.0 | +10.0 | **+10.0** |" in study("summary").compare(lines, "coco", "map50")


def test_anchors_that_are_like_others_take_over_their_runs_but_do_not_count_as_noise(study):
    summary = study("summary")
    alias = [{"set": "text", "anchors": "layers", "seed": s, "same_as": "area", "sizes": []} for s in (0, 1, 2)]
    lines = summary.resolve([*LINES, *alias])  # seed 2 has no run
    assert len(lines) == 6
    assert summary.noise(lines, "map50") == summary.noise(LINES, "map50")
    assert "| text | layers (as area) | 2 | 0.550" in summary.table(lines)


def test_picture_has_a_dot_for_each_run_and_a_bar_for_each_mean(study):
    alias = {"set": "text", "anchors": "layers", "seed": 0, "same_as": "area", "sizes": []}
    svg = study("picture").draw(study("summary").resolve([*LINES, alias]), "map", "mAP")
    found = ElementTree.fromstring(svg)
    assert [len(found.findall(f".//{{*}}{name}")) for name in ("circle", "line")] == [4, 2]
    assert "= area" in [text.text for text in found.iter("{http://www.w3.org/2000/svg}text")]


def test_anchors_are_the_same_only_as_those_of_a_run_with_the_same_seed(study):
    find, sizes = study("run").find_same, [[8, 8]] * 9
    lines = [*LINES, {"set": "text", "anchors": "layers", "seed": 2, "same_as": "area", "sizes": sizes}]
    assert find(lines, "text", 1, sizes) == "coco"
    assert find(lines, "text", 1, [[9, 9]] * 9) is None
    assert find(lines, "text", 2, sizes) is None
    assert find(lines, "dots", 1, sizes) is None


def test_anchors_are_alike_in_any_order_within_a_layer_but_not_across_layers(study):
    alike, sizes = study("run").alike, [[10.0 * k, 8.0 * k] for k in range(1, 10)]
    assert alike(sizes, [[w * 1.04, h / 1.04] for w, h in [*sizes[2::-1], *sizes[3:]]])
    assert not alike(sizes, [[w * 1.06, h] for w, h in sizes])
    assert not alike(sizes, [*sizes[3:6], *sizes[:3], *sizes[6:]])


PEER = """#!{python}
import json, sys
name, anchors, seed = sys.argv[2], sys.argv[6], sys.argv[8]
result = {{"set": name, "anchors": anchors, "seed": int(seed), "map50": [0.5], "map": [0.3], "seconds": 1.0}}
side = 20.0 if anchors == "area" else 8.0
print("RESULT " + json.dumps({{**result, "sizes": [[side, side]] * 9}}))
open("{calls}", "a").write(anchors + seed + " ")
"""


def test_runs_that_are_there_are_skipped_and_an_interrupted_study_goes_on(study, tmp_path, monkeypatch, capsys):
    """The trainer is a script that answers at once: what is tested is which runs are asked for."""
    run, calls, python = study("run"), tmp_path / "calls", tmp_path / "python"
    python.write_text(PEER.format(python=sys.executable, calls=calls))
    python.chmod(0o755)
    for name in ("poles", "text"):
        folder = tmp_path / "data" / "small" / name
        folder.mkdir(parents=True)
        known = {key: {"anchors": [[float(side)] * 2] * 9} for key, side in (("coco", 8), ("area", 20), ("two", 20))}
        (folder / "anchors.json").write_text(json.dumps(known))
    monkeypatch.setattr(run, "prepare", lambda *arguments: None)
    arguments = [
        "--python",
        str(python),
        "--data",
        str(tmp_path / "data"),
        "--results",
        str(tmp_path),
        "--seeds",
        "0",
        "1",
    ]

    def study_again(*more):
        monkeypatch.setattr(sys, "argv", ["run", *arguments, *more])
        calls.write_text("")
        assert run.main() == 0
        return calls.read_text().split()

    assert study_again("--sets", "poles", "--anchors", "coco") == ["coco0", "coco1"]
    assert study_again("--sets", "poles", "--anchors", "coco") == []
    assert study_again("--sets", "poles", "bccd", "text", "--anchors", "coco") == ["coco0", "coco1"]
    assert "BCCD is left out" in capsys.readouterr().out
    assert study_again("--sets", "text", "--anchors", "area", "two") == ["area0", "area1"]
    assert "text, two: as area" in capsys.readouterr().out
    assert len((tmp_path / "small.jsonl").read_text().splitlines()) == 8
