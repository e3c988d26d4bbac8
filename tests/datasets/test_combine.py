"""Several data sets are read as one, and classes are selected by name or number."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from helpers.data_set_kinds import age, everything
from helpers.other_formats import TF_HEAD, createml, labelme, shape, write_file
from helpers.slow_counts import make_yolo

from anchorlib.datasets import BoxSizes, read_boxes
from anchorlib.datasets.combine import select
from anchorlib.errors import BadValueError, DatasetError, LabelError

ROW = "{}.jpg,640,480,{},10,20,{},60\n"


@pytest.fixture
def tables(tmp_path):
    """Two tables, of cats and dogs, and of birds and cats: "cat" has the numbers 0 and 1."""
    (tmp_path / "a.csv").write_text(TF_HEAD + ROW.format("a", "cat", 20) + ROW.format("b", "dog", 30))
    (tmp_path / "b.csv").write_text(TF_HEAD + ROW.format("c", "cat", 40) + ROW.format("d", "bird", 50) + "d.jpg,9\n")
    return [tmp_path / "a.csv", tmp_path / "b.csv"]


def test_several_data_sets_are_one_whose_classes_are_joined_by_name(tables):
    both = read_boxes(tables)
    assert both.wh.tolist() == [[10, 40], [20, 40], [30, 40], [40, 40]]
    assert both.class_names == ("cat", "dog", "bird")
    assert both.classes.tolist() == [0, 1, 0, 2]
    assert both.image_index.tolist() == [0, 1, 2, 3]
    assert both.image_names == ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    assert (both.rows_read, both.rows_refused, len(both.problems)) == (5, 1, 1)
    assert everything(read_boxes(tables[:1])) == everything(read_boxes(tables[0]))


def test_a_data_set_without_names_keeps_its_numbers(tmp_path, tables):
    rows = make_yolo(tmp_path / "set", ["1 0.5 0.5 0.5 0.5\n7 0.5 0.5 0.25 0.25\n"]).parent
    (tmp_path / "set" / "list.txt").write_text("images/train/a.png\n")
    with_names = read_boxes([tables[0], rows / "list.txt"])
    assert with_names.boxes_per_class() == {"cat": 1, "dog": 2, "7": 1}
    three = read_boxes([*tables, rows / "list.txt"])
    assert three.boxes_per_class() == {"cat": 2, "dog": 1, "bird": 1, "1": 1, "7": 1}
    assert three.class_names == ("cat", "dog", "bird", "1", "7")


@pytest.mark.parametrize(
    ("classes", "sides"),
    [(["cat"], [10, 30]), ("bird", [40]), (["dog", 2], [20, 40]), (["0"], [10, 30]), ([1, "dog"], [20])],
)
def test_classes_are_selected_by_name_or_number(tables, classes, sides):
    chosen = read_boxes(tables, classes=classes)
    assert chosen.wh[:, 0].tolist() == sides
    assert len(chosen.image_wh) == 4
    assert chosen.rows_read == len(chosen) + chosen.rows_refused


def test_an_unknown_class_shows_the_classes_that_there_are(tables):
    with pytest.raises(BadValueError, match="there is no class 'Cat'; the data set has cat, dog, bird"):
        read_boxes(tables, classes=["Cat"])
    with pytest.raises(BadValueError, match="there is no class 3; the data set has"):
        read_boxes(tables, classes=[3])
    with pytest.raises(BadValueError, match="at least one name or number"):
        read_boxes(tables, classes=[])


def test_a_class_that_is_named_like_a_number_is_meant_by_its_name(tmp_path):
    (tmp_path / "a.csv").write_text(TF_HEAD + ROW.format("a", "1", 20) + ROW.format("b", "0", 30))
    assert read_boxes(tmp_path / "a.csv", classes=["1"]).wh[:, 0].tolist() == [10]
    assert read_boxes(tmp_path / "a.csv", classes=[1]).wh[:, 0].tolist() == [10]  # "0" is class 0, "1" is class 1


def test_many_classes_are_selected_at_once():
    """Each of 20 000 names was looked for among all: that took 51 s on a busy machine."""
    n = 20_000
    boxes = BoxSizes.from_boxes([[[0, 0, 10, 10]] * 3], [(100, 100)], classes=[[0, 1, n - 1]])
    boxes = replace(boxes, class_names=tuple(f"class{number}" for number in range(n)))
    started = time.process_time()
    assert select(boxes, [f"class{number}" for number in range(1, n)]).classes.tolist() == [1, n - 1]
    assert time.process_time() - started < 2


def test_a_class_without_boxes_is_an_error_only_if_no_box_is_left(tmp_path):
    path = make_yolo(tmp_path / "set", ["0 0.5 0.5 0.5 0.5\n"])
    assert len(read_boxes(path, classes=["dog", "cat"])) == 1
    with pytest.raises(DatasetError, match=r"no usable box of the classes \['dog'\]"):
        read_boxes(path, classes=["dog"])
    assert len(read_boxes(path, classes=["dog"], allow_empty=True)) == 0


def test_wrong_paths_are_named(tmp_path, tables):
    with pytest.raises(BadValueError, match="is given twice"):
        read_boxes([tables[0], tmp_path / "." / "a.csv"])
    with pytest.raises(BadValueError, match="a list of at least one, got an empty list"):
        read_boxes([])
    with pytest.raises(DatasetError, match=r"gone\.csv: there is no such file"):
        read_boxes([*tables, tmp_path / "gone.csv"])
    write_file(tmp_path / "empty.json", labelme([]))
    with pytest.raises(DatasetError, match=r"empty\.json: split 'train' has no usable boxes"):
        read_boxes([*tables, tmp_path / "empty.json"])
    with pytest.raises(LabelError, match=r"b\.csv:4: "):
        read_boxes(tables, problems="raise")


def test_each_data_set_has_a_cache_of_its_own(tmp_path, tables):
    age(tmp_path)
    before = everything(read_boxes(tables, cache=tmp_path / "labels"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv", "labels", "labels.2"]
    assert everything(read_boxes(tables, cache=tmp_path / "labels")) == before == everything(read_boxes(tables))


def test_formats_may_be_mixed(tmp_path, tables):
    write_file(tmp_path / "set.json", json.dumps([createml((50, 50, 10, 20))]))
    write_file(tmp_path / "a.png", (320, 320))
    write_file(tmp_path / "l" / "x.json", labelme([shape([[0, 0], [64, 64]], label="dog")]))
    boxes = read_boxes([tables[0], tmp_path / "set.json", tmp_path / "l"])
    assert boxes.boxes_per_class() == {"cat": 2, "dog": 2}
    np.testing.assert_array_equal(boxes.wh[2:], [[20, 40], [64, 64]])
