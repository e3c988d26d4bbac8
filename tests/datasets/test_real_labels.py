"""The four data sets with their own dirt: exact counts, equal to a slow independent count."""

import numpy as np
import pytest
from helpers.slow_counts import DATA, coco_counts, unpack, voc_counts, what_was_read, yolo_counts

from anchorlib.datasets import read_boxes
from anchorlib.errors import DatasetError


@pytest.fixture(scope="module")
def ships(tmp_path_factory):
    return unpack("ships", tmp_path_factory.mktemp("ships"))


def counts(boxes, rows_read, images, kinds):
    return {
        "boxes": boxes,
        "rows_read": rows_read,
        "rows_refused": rows_read - boxes,
        "images": images,
        "kinds": kinds,
    }


def test_bccd_has_4888_boxes_in_364_images_and_two_without_area():
    sizes = read_boxes(DATA / "bccd", split="all")
    stems = sorted(file.stem for file in (DATA / "bccd" / "Annotations").iterdir())
    assert what_was_read(sizes) == counts(4888, 4888, 364, {"zero area": 2}) == voc_counts(DATA / "bccd", stems)
    assert sizes.class_names == ("Platelets", "RBC", "WBC")
    assert int((sizes.wh.max(axis=1) >= 2).sum()) == 4886  # what is fitted to


@pytest.mark.parametrize(("split", "n_images"), [("train", 205), ("val", 87), ("test", 72), ("trainval", 292)])
def test_each_list_of_bccd_is_a_split(split, n_images):
    sizes = read_boxes(DATA / "bccd", split=split)
    stems = (DATA / "bccd" / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
    assert len(sizes.image_wh) == n_images
    assert what_was_read(sizes) == voc_counts(DATA / "bccd", stems)


def test_train_is_the_split_that_is_read_by_default():
    assert np.array_equal(read_boxes(DATA / "bccd").wh, read_boxes(DATA / "bccd", split="train").wh)


def test_taco_has_4784_boxes_and_seven_beyond_the_image():
    sizes = read_boxes(DATA / "taco" / "annotations.json")
    expected = counts(4784, 4784, 1500, {"out of bounds": 7})
    assert what_was_read(sizes) == expected == coco_counts(DATA / "taco" / "annotations.json")
    assert len(sizes.class_names) == 60


def test_cones_and_cubes_are_clean(tmp_path):
    folder = unpack("cones_cubes", tmp_path)
    sizes = read_boxes(folder / "data.yaml", split="all")
    assert sizes.count_problems() == {"path": 3}  # '../train/images' is './train/images'
    assert what_was_read(sizes) == counts(3422, 3422, 1462, {}) == yolo_counts(folder, ["train", "valid", "test"], 2)


def test_ships_are_counted_with_all_their_dirt(ships):
    renamed = ships / "renamed.yaml"
    renamed.write_text((ships / "data.yaml").read_text().replace("valid/", "validate/"))
    sizes = read_boxes(renamed, split="all")
    kinds = {
        "missing label": 88,
        "class out of range": 149,  # one more is the row refused
        "missing image": 34,
        "out of bounds": 6,  # and the seventh is the one refused
        "out of [0, 1]": 1,
    }
    assert sizes.count_problems() == {**kinds, "path": 3}
    assert what_was_read(sizes) == counts(669, 708, 567, kinds) == yolo_counts(ships, ["train", "validate", "test"], 1)


def test_the_train_split_of_ships_is_read_as_published(ships):
    sizes = read_boxes(ships / "data.yaml")
    assert sizes.count_problems()["path"] == 1
    assert what_was_read(sizes) == yolo_counts(ships, ["train"], 1)


def test_a_split_folder_that_is_not_there_is_named_with_what_is_near(ships):
    with pytest.raises(DatasetError, match=r"val does not exist; looked for .*valid.images.*; similar: .*validate"):
        read_boxes(ships / "data.yaml", split="val")


def test_all_splits_are_read_without_the_one_that_is_not_there(ships):
    sizes = read_boxes(ships / "data.yaml", split="all")
    assert len(sizes.image_wh) == 405 + 63
    assert [p.value for p in sizes.problems if p.action == "left out"] == ["../valid/images"]


@pytest.mark.parametrize("split", ["train", "all"])
def test_reading_twice_gives_the_same(ships, split):
    first, second = (read_boxes(ships / "data.yaml", split=split) for _ in range(2))
    assert np.array_equal(first.wh, second.wh)
    assert first.image_names == second.image_names
    assert first.problems == second.problems
