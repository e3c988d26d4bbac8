from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.data_set_kinds import age
from helpers.other_formats import SAMPLES, make_sample
from helpers.slow_counts import make_coco, make_voc, make_yolo, voc_object

from anchorlib import BoxSizes, read_boxes
from anchorlib.datasets import from_dataset

BOX = (10, 5, 30, 25)  # corners in an image of 100 x 50 px
IMGSZ = (200, 200)  # the resized image is 200 x 100 px, with 50 px above and below it
CENTRE = [40.0, 80.0]
STRETCHED = [40.0, 60.0]


def yolo(folder):
    return make_yolo(folder, ["0 0.2 0.3 0.2 0.4\n1 0.5 0.5 0.1 0.1\n", "1 0.2 0.3 0.2 0.4\n"])


def voc(folder):
    return make_voc(folder, voc_object(*BOX) + voc_object(45, 22.5, 55, 27.5, "dog"))


def coco(folder):
    images = [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 50}]
    boxes = [[10, 5, 20, 20], [45, 22.5, 10, 5]]
    rows = [{"image_id": 1, "category_id": 1 + i, "bbox": box} for i, box in enumerate(boxes)]
    return make_coco(folder / "a.json", rows, images, categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}])


def assert_same_but_centres(one, other):
    for field in fields(one):
        if field.name != "centres":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.parametrize("make", [yolo, voc, coco])
def test_centres_are_where_the_labels_say_in_the_network_input(tmp_path, make):
    path = make(tmp_path)
    boxes = read_boxes(path, imgsz=IMGSZ, centres=True)
    assert boxes.centres.dtype == np.float32
    assert boxes.centres.shape == (len(boxes), 2)
    assert boxes.centres[:2].tolist() == [CENTRE, [100.0, 100.0]]
    assert read_boxes(path, imgsz=IMGSZ, resize="stretch", centres=True).centres[0].tolist() == STRETCHED
    without = read_boxes(path, imgsz=IMGSZ)
    assert without.centres is None
    assert_same_but_centres(without, boxes)


def test_centres_follow_selected_and_joined_boxes(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    other.mkdir()
    paths = [yolo(one), coco(other)]
    boxes = read_boxes(paths, imgsz=IMGSZ, centres=True)
    assert boxes.centres.tolist() == [CENTRE, [100.0, 100.0], CENTRE, CENTRE, [100.0, 100.0]]
    assert read_boxes(paths, imgsz=IMGSZ, centres=True, classes="dog").centres.tolist() == [
        [100.0, 100.0],
        CENTRE,
        [100.0, 100.0],
    ]


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_every_format_and_its_cache_have_centres(tmp_path, kind):
    make_sample(kind, tmp_path / kind)
    age(tmp_path)
    path, options = tmp_path / kind / SAMPLES[kind].path, {"split": "all", "format": kind, "imgsz": 640}
    boxes = read_boxes(path, centres=True, **options)
    assert_same_but_centres(read_boxes(path, cache=tmp_path / "cache", **options), boxes)
    np.testing.assert_array_equal(
        read_boxes(path, cache=tmp_path / "cache", centres=True, **options).centres, boxes.centres
    )
    assert len(boxes.centres) == len(boxes) > 0
    assert (boxes.centres >= -7).all()
    assert (boxes.centres <= 647).all()
    assert (abs(boxes.centres - 320) > 1).any()  # they are not all the middle of the input


def test_boxes_in_memory_have_centres():
    boxes = BoxSizes.from_boxes([[BOX], []], [100, 50], imgsz=IMGSZ, centres=True)
    assert boxes.centres.tolist() == [CENTRE]
    assert BoxSizes.from_boxes([[BOX], []], [100, 50], imgsz=IMGSZ).centres is None
    data = SimpleNamespace(shapes=[[100, 50]], labels=[np.asarray([[0, 0.2, 0.3, 0.2, 0.4], [0, 0.5, 0.5, np.nan, 1]])])
    assert from_dataset(data, imgsz=IMGSZ, centres=True).centres.tolist() == [CENTRE]
    assert from_dataset(data, imgsz=IMGSZ).centres is None
