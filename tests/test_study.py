"""Test ci/study: the drawn sets, the arithmetic of its table, and that it goes on where it stopped."""

import importlib.machinery
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

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


def line(name, anchors, seed, *curve, **more):
    common = {"seconds": 2.0, "fitness": 0.5, "rows": [4, 4, 0], "overwritten": [0.25, 0.5, 0.0], "sizes": [[8, 8]] * 9}
    return {"set": name, "anchors": anchors, "seed": seed, "map50": curve, "map": curve, **common, **more}


#: By hand: the final values are coco 0.3 and 0.5 (mean 0.4), area 0.5 and 0.6 (mean 0.55).
#: The deviations from the means are 0.1, 0.1, 0.05, 0.05: noise = sqrt((0.02 + 0.005) / 2).
LINES = (
    line("text", "coco", 0, 0.0, 0.14, 0.2, 0.3, 0.4),
    line("text", "coco", 1, 0.0, 0.2, 0.5, 0.5, 0.5),
    line("text", "area", 0, 0.1, 0.3, 0.5, 0.5, 0.5),
    line("text", "area", 1, 0.3, 0.3, 0.6, 0.6, 0.6),
)


def test_final_is_the_mean_of_three_epochs_and_half_is_the_first_epoch_above(study):
    summary = study("summary")
    assert summary.final(LINES[0]["map50"]) == pytest.approx(0.3)
    assert [summary.epochs_to_half(run["map50"]) for run in LINES] == [3, 3, 2, 1]


def test_noise_is_pooled_over_the_anchors(study):
    assert study("summary").noise(LINES, "map50") == {"text": pytest.approx(0.0125**0.5)}
    assert np.isnan(study("summary").noise(LINES[::2], "map50")["text"])


def test_table_has_means_and_ranges(study):
    rows = study("summary").table(LINES).splitlines()[2:]
    assert rows == [
        "| text | coco | 2 | 0.400 (0.300 to 0.500) | 0.400 (0.300 to 0.500) | 3.0 | 0.500 | 25 % / 50 % / no row |",
        "| text | area | 2 | 0.550 (0.500 to 0.600) | 0.550 (0.500 to 0.600) | 1.5 | 0.500 | 25 % / 50 % / no row |",
    ]


def test_a_difference_is_bold_only_beyond_twice_its_standard_error(study):
    summary = study("summary")
    assert "| area | +15.0 |" in summary.compare(LINES, "coco", "map50")  # twice the error: 22.4 points
    assert "| noise (SD of one run) | 11.2 |" in summary.compare(LINES, "coco", "map50")
    better = [*LINES[:2], *(line("text", "area", s, 0.9, 0.9, f) for s, f in ((0, 0.6), (1, 0.9)))]
    assert "| area | **+45.0** |" in summary.compare(better, "coco", "map50")


def test_anchors_that_are_like_others_take_over_their_runs_but_do_not_count_as_noise(study):
    summary = study("summary")
    alias = [{"set": "text", "anchors": "layers", "seed": s, "same_as": "area", "sizes": []} for s in (0, 1, 2)]
    lines = summary.resolve([*LINES, *alias])  # seed 2 has no run
    assert len(lines) == 6
    assert summary.noise(lines, "map50") == summary.noise(LINES, "map50")
    assert "| text | layers (as area) | 2 | 0.550" in summary.table(lines)


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
