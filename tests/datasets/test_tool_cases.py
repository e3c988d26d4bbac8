"""The cases of tests/data/cases that labelling tools, benchmarks and Keras wrote."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.other_formats import write_file

from anchorlib.datasets import read_boxes
from anchorlib.errors import DatasetError
from anchorlib.modelfiles import read_anchors, read_input_size

CASES = Path(__file__).parents[1] / "data" / "cases"
SHIPS = [[105, 90], [180, 60]]
KERAS = [[150, 80], [100, 95], [158, 80], [107, 95], [166, 80], [114, 95]]

#: path, images of 640 x 480 to add, sizes
READ = [
    ("csv_tf", "", [[50, 70]]),
    ("cvat_xml/annotations.xml", "", [[100, 70]]),
    ("json_createml/instances.json", "im1.jpg", [[100, 50]]),
    ("json_labelme/im1.json", "", [[100, 200]]),
    ("json_labelstudio/instances.json", "", [[96, 48]]),
    ("json_via/instances.json", "im1.jpg", [[100, 50]]),
    ("labelme_folder", "", [[100, 200], [110, 200], [120, 200]]),
    ("keras_list/train.txt", "imgs/im{}.png", KERAS),
    ("rows_kitti/labels", "images/im{}.jpg", [[100, 100]] * 3),
    ("rows_visdrone/labels", "images/im{}.jpg", [[119, 128]] * 3),
    ("rows_dota10/labels", "images/im{}.jpg", SHIPS * 3),
]


def copy(case, folder, images=""):
    """A copy of a case, with its images."""
    shutil.copytree(CASES / case, folder / case)
    for name in dict.fromkeys(images.format(number) for number in range(3) if images):
        write_file(folder / case / name, (640, 480))
    return folder / case


@pytest.mark.parametrize(("path", "images", "sizes"), READ, ids=lambda value: value if isinstance(value, str) else None)
def test_the_boxes_are_read(tmp_path, path, images, sizes):
    copy(path.partition("/")[0], tmp_path, images)
    np.testing.assert_allclose(read_boxes(tmp_path / path).wh, sizes, rtol=1e-6)


@pytest.mark.parametrize(
    ("path", "tool"), [("json_createml/instances.json", "CreateML"), ("json_via/instances.json", "VIA")]
)
def test_boxes_in_images_that_are_not_there_are_refused_with_the_names_of_image_and_tool(tmp_path, path, tool):
    copy(path.partition("/")[0], tmp_path)
    with pytest.raises(DatasetError, match=f"the size of 'im1.jpg' is not known: {tool} files do not have it"):
        read_boxes(tmp_path / path)


@pytest.mark.parametrize("name", ["kitti", "visdrone", "dota10"])
def test_rows_of_another_format_in_a_yolo_set_are_refused_and_named(tmp_path, name):
    case = copy(f"rows_{name}", tmp_path, "images/im{}.jpg")
    told = rf"These rows are in the format {name.strip('10')}: pass the folder .*rows_{name}.labels\."
    with pytest.raises(DatasetError, match=told):
        read_boxes(case / "data.yaml")


def test_anchors_of_darknet_and_keras_are_read():
    text, keras = CASES / "anchors_txt_darknet" / "anchors.txt", CASES / "keras_json_config" / "config.json"
    assert np.concatenate(read_anchors(text)).tolist() == [[12, 19], [24, 38], [42, 76]]
    assert np.concatenate(read_anchors(keras))[[0, 8]].tolist() == [[17, 18], [139, 281]]
    assert len(np.concatenate(read_anchors(CASES / "keras_list" / "yolo_anchors.txt"))) == 9
    assert read_input_size(CASES / "cfg_yolov4_tiny_mask123" / "model.cfg") == (416, 416)
