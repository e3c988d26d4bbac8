"""refit: what `anchorlib fit --out FILE` does, from Python."""

import pickle
import re

import numpy as np
import pytest
from helpers.command import run

from anchorlib import fit_anchors, read_boxes, refit, score
from anchorlib.errors import BadValueError, ModelError
from anchorlib.fitting.refit import check_model_file
from anchorlib.modelfiles import read_anchors

BCCD = "tests/data/bccd"
MODEL = """\
# ours
nc: 3
anchors:
  - [10,13, 16,30]  # P4
  - [59,119, 116,90]  # P5
head: [[[4, 6], 1, Detect, [nc, anchors]]]
"""
CONTENTS = {
    "m.yaml": MODEL,
    "m.cfg": "[region]\nanchors = 1,1, 2,2, 3,3, 4,4, 5,5, 6,6\nnum = 6\n",
    "m.json": "[[40.123456, 38.5], [110.25, 99.875]]",
}


@pytest.fixture(scope="module")
def boxes():
    return read_boxes(BCCD)


@pytest.mark.parametrize("name", [*CONTENTS, "new.yaml", "new.py"])
def test_the_command_and_the_function_write_the_same_file(name, tmp_path, boxes, capsys):
    for folder in ("command", "function"):
        (tmp_path / folder).mkdir()
        if name in CONTENTS:
            (tmp_path / folder / name).write_text(CONTENTS[name])
    assert run("fit", BCCD, "--out", str(tmp_path / "command" / name), capsys=capsys)[0] == 0
    found = refit(tmp_path / "function" / name, boxes)
    text = (tmp_path / "function" / name).read_text()
    assert text == (tmp_path / "command" / name).read_text() != CONTENTS.get(name)
    np.testing.assert_array_equal(found.anchors, np.concatenate(read_anchors(tmp_path / "function" / name)))
    assert [len(layer) for layer in found.layers] == [
        len(layer) for layer in read_anchors(tmp_path / "function" / name)
    ]


def test_the_result_has_the_scores_before_and_after(tmp_path, boxes):
    path = tmp_path / "m.yaml"
    path.write_text(MODEL)
    own = np.concatenate(read_anchors(path))
    found = refit(path, boxes, dry_run=True)
    assert path.read_text() == MODEL
    assert found.score == score(boxes.wh, found.anchors)
    assert found.score_before == score(boxes.wh, own)
    assert found.score.fitness > found.score_before.fitness
    np.testing.assert_array_equal(found.before, own)
    other = np.asarray([[30.0, 30.0]], np.float32)
    compared = refit(path, boxes, before=other, dry_run=True)
    assert compared.score_before == score(boxes.wh, other)
    assert found.to_dict()["score_before"]["fitness"] == found.score_before.fitness
    assert "new anchors" in repr(found)


def test_a_dry_run_shows_the_change_that_write_makes(tmp_path, boxes):
    path = tmp_path / "m.yaml"
    path.write_text(MODEL)
    found = refit(path, boxes, dry_run=True)
    added = re.findall(r"^\+( .*)$", found.diff, re.MULTILINE)
    found.write()
    assert path.read_text().splitlines() == [*MODEL.splitlines()[:3], *added, MODEL.splitlines()[5]]
    assert len(added) == 2


@pytest.mark.parametrize("kind", ["array", "list", "SizeCounts"])
def test_boxes_of_every_kind_give_the_same_file(kind, tmp_path, boxes):
    few = boxes.wh[:500]
    given = {"array": few, "list": few.tolist()}.get(kind, boxes.compress())
    expected = few if kind != "SizeCounts" else boxes
    texts = []
    for name, sizes in (("a", given), ("b", expected)):
        (tmp_path / name).write_text(MODEL)
        refit(tmp_path / name, sizes, format="yolo")
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1] != MODEL


def test_arrays_of_every_backend_give_the_same_file(backend, tmp_path, boxes):
    (tmp_path / "m.yaml").write_text(MODEL)
    found = refit(tmp_path / "m.yaml", backend.array(boxes.wh), fixed=[[85.0, 90.0]])
    expected = refit(tmp_path / "m.yaml", boxes.wh, fixed=np.asarray([[85.0, 90.0]]))
    np.testing.assert_array_equal(found.anchors, expected.anchors)
    assert [85.0, 90.0] in found.anchors.tolist()
    assert found.score == expected.score


def test_a_second_call_keeps_the_anchors_of_the_file(tmp_path, boxes):
    path = tmp_path / "m.yaml"
    path.write_text(MODEL)
    assert not refit(path, boxes).kept
    first = path.read_text()
    again = refit(path, boxes)
    assert (again.kept, again.diff, path.read_text()) == (True, "", first)
    assert not refit(path, boxes, objective="iou", dry_run=True).kept
    bound = refit(path, boxes, min_side=[1.0, 200.5], dry_run=True)
    assert (bound.kept, bound.layers[1].min()) == (False, 200.5)


def test_wrong_counts_are_refused_before_the_fit(tmp_path, boxes, monkeypatch):
    path = tmp_path / "m.yaml"
    path.write_text(MODEL.replace("- [10,13, 16,30]  # P4\n  - [59,119, 116,90]  # P5", "[[1,2], [3,4]]"))
    monkeypatch.setattr("anchorlib.fitting.refit.fit_anchors", None)
    for n, error, message in (
        (5, BadValueError, "n must be a multiple of 2, or one number for each layer, got 5"),
        ([1, 2, 3], BadValueError, "got \\[1, 2, 3\\]"),
        ([1, 2], ModelError, "is not changed"),
    ):
        with pytest.raises(error, match=message):
            refit(path, boxes, n)
    assert check_model_file(path, 6) == [3, 3]
    assert check_model_file(path) == [1, 1]
    with pytest.raises(ModelError, match="no folder"):
        refit(tmp_path / "nosuch" / "a.yaml", boxes)


@pytest.mark.parametrize("n", [0, -3, 2.5, [0], "3"])
def test_counts_that_are_not_positive_integers_are_refused(n, tmp_path, boxes):
    for name in ("m.json", "new.json"):
        if name == "m.json":
            (tmp_path / name).write_text(CONTENTS["m.json"])
        with pytest.raises(BadValueError, match="n must be"):
            refit(tmp_path / name, boxes, n)


def test_a_file_that_appears_during_the_fit_is_not_overwritten(tmp_path, boxes):
    path = tmp_path / "new.json"
    found = refit(path, boxes, n=2, dry_run=True)
    path.write_text("[[1, 2]]")
    with pytest.raises(ModelError, match="exists already"):
        found.write()
    assert path.read_text() == "[[1, 2]]"


@pytest.mark.parametrize("name", [*CONTENTS, "new.yaml"])
def test_a_fit_writes_what_refit_writes(name, tmp_path, boxes):
    made = []
    for folder in ("refit", "write"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / name
        if name in CONTENTS:
            path.write_text(CONTENTS[name])
        n = {"m.yaml": [2, 2], "m.cfg": 6, "m.json": 2, "new.yaml": 4}[name]
        if folder == "refit":
            refit(path, boxes, n, start=None, method="kmeans")  # k-means does not start from the file's anchors
        else:
            fit = fit_anchors(boxes, n, method="kmeans")
            found = fit.write(path, dry_run=True)
            assert (path.read_text() if path.exists() else None) == CONTENTS.get(name)
            assert fit.write(path).diff == found.diff != ""
            assert fit.write(path).diff == ""  # the second time the file has anchors that score the same
        made.append(path.read_bytes())
    assert made[0] == made[1]


def test_a_fit_from_a_pickle_has_no_boxes_and_says_so(tmp_path, boxes):
    fit = fit_anchors(boxes, 2, method="kmeans")
    text = pickle.dumps(fit)
    assert len(text) < 2000
    again = pickle.loads(text)
    assert again.anchors.tolist() == fit.anchors.tolist()
    with pytest.raises(BadValueError, match="its boxes are not pickled. Call refit."):
        again.write(tmp_path / "new.yaml")
    (tmp_path / "m.yaml").write_text(MODEL)
    three = fit_anchors(boxes, 3, method="kmeans")
    with pytest.raises(BadValueError, match="2 layers: n must be a multiple of 2"):
        three.write(tmp_path / "m.yaml")
