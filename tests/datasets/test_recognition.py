"""A data set's format is recognised by the names of its files, or named by the user."""

import shutil

import pytest
from helpers.data_set_kinds import KINDS, everything, make
from helpers.other_formats import SAMPLES
from helpers.slow_counts import make_voc, voc_object

from anchorlib.datasets import read_boxes
from anchorlib.datasets.formats import FORMATS
from anchorlib.datasets.recognition import find_format
from anchorlib.errors import BadValueError, DatasetError


def test_the_table_and_the_test_data_have_the_same_formats():
    assert {known.name for known in FORMATS} == {*KINDS, *SAMPLES}


@pytest.mark.parametrize("kind", KINDS)
def test_a_format_is_recognised_and_may_be_named(tmp_path, kind):
    path = make(kind, tmp_path / "set")
    assert find_format(str(path))[0].name == kind
    assert everything(read_boxes(path, format=kind)) == everything(read_boxes(path))


@pytest.mark.parametrize(("kind", "name"), [("yolo", "data.txt"), ("coco", "labels"), ("darknet", "data.cfg")])
def test_a_file_of_a_named_format_may_have_any_suffix(tmp_path, kind, name):
    path = make(kind, tmp_path / "set")
    path = path / "data.yaml" if path.is_dir() else path
    other = path.with_name(name)
    shutil.copy(path, other)
    sizes = read_boxes(other, format=kind)
    assert sizes.wh.tolist() == read_boxes(path).wh.tolist()


def test_a_folder_with_two_formats_is_read_as_the_one_that_is_named(tmp_path):
    path = make("yolo", tmp_path / "set")
    make_voc(tmp_path / "set", voc_object(1, 1, 9, 9))
    folder = path if path.is_dir() else path.parent
    assert find_format(str(folder))[0].name == "yolo"
    assert len(read_boxes(folder, format="voc")) == 1
    with pytest.raises(
        DatasetError, match=r"expected a COCO \.json file or a folder of them \(coco\); got a folder with"
    ):
        read_boxes(folder, format="coco")


def test_a_wrong_name_of_a_format_shows_the_right_ones(tmp_path):
    with pytest.raises(BadValueError, match="format must be one of kitti, .*, got 'VOC'"):
        read_boxes(tmp_path, format="VOC")


def test_an_empty_folder_and_a_file_without_suffix_are_named_as_such(tmp_path):
    with pytest.raises(DatasetError, match="got an empty folder"):
        read_boxes(tmp_path)
    (tmp_path / "labels").write_text("")
    with pytest.raises(DatasetError, match="got a file without a suffix"):
        read_boxes(tmp_path / "labels")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("export.zip", r"got a \.zip file\. Unpack it first: python -m zipfile -e FILE\.zip FOLDER\."),
        ("VOC2007.tar", "python -m tarfile -e FILE FOLDER"),
        ("train.tfrecord", "pass them to anchorlib.BoxSizes.from_boxes"),
        ("train.parquet", "Load the boxes with the library that wrote it"),
    ],
)
def test_a_file_that_is_not_read_comes_with_what_to_do(tmp_path, name, told):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DatasetError, match=told):
        read_boxes(tmp_path / name)
