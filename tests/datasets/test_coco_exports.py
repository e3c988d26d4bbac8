"""COCO as tools and people write it: numbers in quotes, no bbox, no sizes, odd ids, folders of several files."""

import json
import os

import numpy as np
import pytest
from helpers.slow_counts import DATA, make_coco
from PIL import Image

from anchorlib.datasets import read_boxes
from anchorlib.errors import DatasetError

CASES = DATA / "cases"
THREE = [[60, 67], [80, 74], [100, 81]]
IMAGE = {"id": 1, "width": 100, "height": 50, "file_name": "a.jpg"}
CATS = [{"id": 1, "name": "cat"}]


@pytest.mark.parametrize(
    ("case", "wh", "kinds"),
    [
        ("coco_bbox_empty_list", [[50, 80]] * 3, {}),
        ("coco_gbk2", [[64, 20]], {"encoding": 1}),
        ("coco_iscrowd_string0", THREE, {}),
        ("coco_labelbox_strings", [[60, 67]], {}),
        ("coco_normalised", np.asarray(THREE) / [640, 480], {"tiny boxes": 1}),
        ("coco_segmentation_only", THREE, {}),
        ("coco_size_missing_with_images", THREE, {}),
        ("coco_size_strings", THREE, {}),
        ("coco_unknown_category", THREE, {"class out of range": 1}),
    ],
)
def test_the_boxes_of_each_case_are_read(case, wh, kinds):
    (file,) = (CASES / case).glob("*.json")
    for path in (file, file.parent):
        sizes = read_boxes(path)
        np.testing.assert_allclose(sizes.wh, wh, rtol=1e-6)
        assert sizes.count_problems() == kinds


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("coco_imageid_padded", "image_id 000000000001, which is not among the images; image 1 is"),
        ("coco_no_annotations", "there are no annotations"),
    ],
)
def test_a_case_without_a_box_says_why(case, message):
    with pytest.raises(DatasetError, match=message):
        read_boxes(CASES / case / "instances.json")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("coco_gbk2/i.json", "line 1 is not UTF-8"),
        ("coco_normalised/instances.json", "all boxes are under 2 px; are they fractions of the image"),
        ("coco_unknown_category/instances.json", "category_id 77 is not among the categories: '77 10 20 60 67'"),
    ],
)
def test_a_remark_shows_what_the_file_has(case, message):
    (problem,) = read_boxes(CASES / case).problems
    assert message in str(problem)


def wh_of(path, **annotation):
    """Sizes in pixels of the file with this annotation, and the problems."""
    make_coco(path / "a.json", [{"image_id": 1, "category_id": 1, **annotation}], [IMAGE], categories=CATS)
    sizes = read_boxes(path / "a.json", allow_empty=True, imgsz=100)
    return sizes.wh.tolist(), [(problem.kind, problem.value) for problem in sizes.problems]


@pytest.mark.parametrize(
    "annotation",
    [
        {"bbox": ["1", "2", "20", "10.0"]},
        {"bbox": "[1, 2, 20, 10]"},
        {"bbox": "1 2 20 10"},
        {"bbox": [1, 2, 20, 10], "iscrowd": "0", "ignore": "false"},
        {"bbox": [1, 2, 20, 10], "iscrowd": None},
        {"bbox": None, "segmentation": [[1, 2, 21, 2, 21, 12]]},
        {"bbox": "", "segmentation": [[1, 2, 21, 2, 21, 12]]},
        {"segmentation": [1, 2, 21, 2, 21, 12, 1, 12]},
        {"segmentation": ["1", "2", "21", "2", "21", "12"]},
        {"segmentation": [[1, 2], [21, 2], [21, 12]]},
        {"segmentation": [[[1, 2], [21, 2], [21, 12]]]},
        {"segmentation": [[1, 2, 5, 2, 5, 6], [], [15, 6, 21, 6, 21, 12]]},  # the parts of one object
        {"segmentation": {"size": [50, 100], "counts": [1 * 50 + 2, 10, *[40, 10] * 19, 38 + 50 * 79]}},
    ],
)
def test_one_box_in_many_forms(tmp_path, annotation):
    assert wh_of(tmp_path, **annotation) == ([[20.0, 10.0]], [])


@pytest.mark.parametrize(
    ("annotation", "kind", "value"),
    [
        ({"bbox": [1, 2, 3, 4], "iscrowd": "1"}, "crowd", "[1, 2, 3, 4]"),
        ({"bbox": [1, 2, 3, 4], "iscrowd": "true"}, "crowd", "[1, 2, 3, 4]"),
        ({"bbox": [1, 2, 3, 4], "ignore": "yes"}, "ignored", "[1, 2, 3, 4]"),
        ({"bbox": [1, 2, 3, 4, 0.5]}, "wrong number of fields", "[1, 2, 3, 4, 0.5]"),
        ({"bbox": {"x": 1}}, "wrong number of fields", "{'x': 1}"),
        ({"bbox": "one"}, "wrong number of fields", "'one'"),
        ({"bbox": []}, "wrong number of fields", "[]"),
        ({"segmentation": []}, "wrong number of fields", "None"),
        ({"segmentation": [[1, 2, 3, 4]]}, "wrong number of fields", "[[1, 2, 3, 4]]"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "wrong number of fields", "[[1, 2, 3, 4, 5, 6, ...]]"),
        ({"segmentation": [[1, 2, 3, "four", 5, 6]]}, "not a number", "[[1, 2, 3, 'four', 5, 6]]"),
        ({"segmentation": [1, [2]]}, "wrong number of fields", "[1, [2]]"),
        (
            {"segmentation": {"size": [2, 2], "counts": [4]}},
            "wrong number of fields",
            "{'counts': [4], 'size': [2, 2]}",
        ),
        ({"segmentation": {"size": [2, 2], "counts": [1, 9]}}, "wrong number of fields", None),
        ({"segmentation": {"size": ["a", 2], "counts": "04"}}, "wrong number of fields", None),
        ({"segmentation": {"counts": "\u20ac"}}, "wrong number of fields", None),
        ({"bbox": [200, 2, 3, 4]}, "out of [0, 1]", "1 200 2 3 4"),
    ],
)
def test_what_is_not_a_box_is_named_with_the_values_of_the_file(tmp_path, annotation, kind, value):
    wh, (*_, (found, shown)) = wh_of(tmp_path, **annotation)
    assert (wh, found) == ([], kind)
    assert value in (None, shown)


def test_packed_masks_have_the_box_that_pycocotools_gives(tmp_path):
    # From pycocotools 2.0: two rectangles, 7 x 9 px at (3, 2) and 20 x 2 px at (60, 40), in an image of 100 x 50 px.
    text = "h49Y100000000000Z_2Im`M0000000000000000000000000000000000000Pn0"
    assert wh_of(tmp_path, segmentation={"size": [50, 100], "counts": text}) == ([[77.0, 40.0]], [])


def test_sizes_are_read_from_the_images_wherever_they_are(tmp_path):
    names = {
        "near.png": "coco/annotations/near.png",
        "images/x/1.png": "coco/images/x/1.png",
        "D:\\old\\val2017\\2.png": "coco/val2017/2.png",
        "/home/me/3.png": "coco/train2017/deep/3.png",
    }
    images = [{"id": name, "width": -1, "height": None, "file_name": name} for name in names]
    for number, place in enumerate(names.values(), start=1):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (100, 10 * number)).save(tmp_path / place)
    gone = {"id": 9, "width": 0, "height": 0, "file_name": "gone.png"}
    annotations = [{"image_id": name, "bbox": [0, 0, 9, 9]} for name in (9, *names)]
    path = make_coco(tmp_path / "coco" / "annotations" / "a.json", annotations, [gone, *images])
    sizes = read_boxes(path)
    assert sizes.image_wh.tolist() == [[100, 10], [100, 20], [100, 30], [100, 40]]
    assert (sizes.rows_read, sizes.rows_refused, sizes.image_index.tolist()) == (5, 1, [0, 1, 2, 3])
    ((problem),) = sizes.problems
    assert (problem.kind, problem.value) == ("image without size", "0 x 0")
    assert "images 0 (gone.png)" in problem.message
    assert "was not found" in problem.message


def test_an_image_of_any_folder_above_is_not_opened(tmp_path):
    Image.new("L", (10, 10)).save(tmp_path / "secret.png")
    (tmp_path / "coco").mkdir()
    image = {"id": 1, "file_name": "../secret.png"}
    path = make_coco(tmp_path / "coco" / "a.json", [{"image_id": 1, "bbox": [0, 0, 9, 9]}], [image])
    assert read_boxes(path, allow_empty=True).count_problems() == {"image without size": 1}


def test_every_annotation_a_crowd_is_said(tmp_path):
    path = make_coco(tmp_path / "a.json", [{"image_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1}] * 3)
    sizes = read_boxes(path, allow_empty=True)
    assert sizes.count_problems() == {"crowd": 3, "no boxes": 1}
    assert "every annotation (3) is a crowd or ignored" in str(sizes.problems)


def test_categories_in_quotes_are_in_the_order_of_their_numbers(tmp_path):
    annotations = [{"image_id": "1", "category_id": str(n), "bbox": [n, n, 9, 9]} for n in (10, 9)]
    categories = [{"id": "10", "name": "dog"}, {"id": "9", "name": "cat"}]
    sizes = read_boxes(make_coco(tmp_path / "a.json", annotations, categories=categories))
    assert (sizes.class_names, sizes.classes.tolist()) == (("cat", "dog"), [1, 0])


def test_each_unknown_category_is_named(tmp_path):
    annotations = [{"image_id": 1, "category_id": n, "bbox": [1, 1, 9, 9]} for n in (1, 77, 78, 77)]
    sizes = read_boxes(make_coco(tmp_path / "a.json", annotations, categories=CATS), imgsz=100)
    assert sizes.classes.tolist() == [0, 1, 2]  # the last one repeats the second
    assert [p.message.partition("category_id ")[2][:2] for p in sizes.problems if "range" in p.kind] == ["77", "78"]


@pytest.mark.parametrize(("ours", "theirs"), [("0001", 1), (1, "0001"), ("01", "001"), (0, "000")])
def test_ids_with_zeros_in_front_are_named_with_the_image_that_is_there(tmp_path, ours, theirs):
    path = make_coco(tmp_path / "a.json", [{"image_id": theirs, "bbox": [0, 0, 9, 9]}], [{**IMAGE, "id": ours}])
    (problem,) = read_boxes(path, allow_empty=True).problems
    assert f"image_id {theirs}, which is not among the images; image {ours} is: write" in problem.message


def test_utf16_is_read_and_another_encoding_is_named(tmp_path):
    content = {"images": [IMAGE], "annotations": [{"image_id": 1, "bbox": [0, 0, 9, 9]}], "categories": [{"name": "é"}]}
    text = json.dumps(content, ensure_ascii=False)
    for codec, kinds in (("utf-8-sig", {}), ("utf-16", {}), ("gbk", {"encoding": 1}), ("latin-1", {"encoding": 1})):
        (tmp_path / "a.json").write_bytes(text.encode(codec))
        assert read_boxes(tmp_path / "a.json").count_problems() == kinds
    (tmp_path / "a.json").write_bytes(text[:-1].encode("gbk"))
    with pytest.raises(DatasetError, match="not UTF-8"):
        read_boxes(tmp_path / "a.json")


# ---- folders


def put(folder, name, *bboxes, categories=("cat",), **more):
    """Write a COCO file of one image with these boxes, all of the last category."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    listed = [{"id": number, "name": text} for number, text in enumerate(categories, start=1)]
    annotations = [{"image_id": 1, "category_id": len(listed), "bbox": box, **more} for box in bboxes]
    content = {"info": {}, "images": [IMAGE], "annotations": annotations, "categories": listed}
    file.write_text(json.dumps(content))
    return folder


A, B, C = [0, 0, 10, 10], [0, 0, 20, 10], [0, 0, 30, 10]


@pytest.mark.parametrize(
    "form",
    [
        "{}/_annotations.coco.json",
        "annotations/instances_{}2017.json",
        "annotations/{}.json",
        "{}.json",
        "my_{}-set/labels.json",
        "sets/COCO-{}/annotations/instances.json",
    ],
)
def test_split_is_honoured_in_a_folder(tmp_path, form):
    for word, box in (("train", A), ("valid", B), ("test", C)):
        put(tmp_path, form.format(word), box)
    wide = {split: read_boxes(tmp_path, split=split, imgsz=100).wh[:, 0].tolist() for split in ("train", "val", "test")}
    assert wide == {"train": [10], "val": [20], "test": [30]}
    assert sorted(read_boxes(tmp_path, split="all", imgsz=100).wh[:, 0].tolist()) == [10, 20, 30]


def test_a_split_that_is_not_there_is_refused_with_the_files_that_are(tmp_path):
    put(tmp_path, "train/_annotations.coco.json", A)
    with pytest.raises(DatasetError, match="the word 'val' .*, found train/_annotations.coco.json. Pass one"):
        read_boxes(tmp_path, split="val")
    put(tmp_path / "two", "a.json", A)
    assert len(read_boxes(tmp_path / "two")) == 1  # the only file is the training split
    with pytest.raises(DatasetError, match="the word 'val'"):
        read_boxes(tmp_path / "two", split="val")
    put(tmp_path / "two", "b.json", B)
    with pytest.raises(DatasetError, match=r"the word 'train' .*, found a\.json, b\.json"):
        read_boxes(tmp_path / "two")
    assert len(read_boxes(tmp_path / "two", split="all")) == 2


def test_files_without_boxes_and_other_json_files_are_left_out(tmp_path):
    put(tmp_path, "annotations/instances_train2017.json", A)
    put(tmp_path, "annotations/person_keypoints_train2017.json", A)
    put(tmp_path, "annotations/captions_train2017.json")
    (tmp_path / "config_train.json").write_text('{"lr": 0.1}')
    assert len(read_boxes(tmp_path)) == 1


def test_classes_of_several_files_are_joined_by_name(tmp_path):
    put(tmp_path, "train/a.json", A, categories=("cat", "dog"))
    put(tmp_path, "test/b.json", B, categories=("bird", "cat"))
    put(tmp_path, "val/c.json", C, [0, 0, 30, 0], [0, 0, 5], category_id=8)
    sizes = read_boxes(tmp_path, split="all", imgsz=100)
    assert sizes.class_names == ("bird", "cat", "dog")
    assert sizes.wh[:, 0].tolist() == [20, 10, 30, 30]  # test, train, val
    assert sizes.classes.tolist() == [1, 2, 3, 3]
    assert sizes.image_index.tolist() == [0, 1, 2, 2]
    assert sizes.count_problems() == {"class out of range": 2, "zero area": 1, "wrong number of fields": 1}
    assert all("c.json" in problem.file for problem in sizes.problems)
    assert (sizes.rows_read, sizes.rows_refused) == (5, 1)


def test_a_cache_of_a_folder_notices_a_new_file(tmp_path):
    put(tmp_path / "set", "train/a.json", A)
    put(tmp_path / "set", "train/b.json", B)
    for file in (tmp_path / "set").rglob("*"):
        os.utime(file, (1e9, 1e9))
    cache = tmp_path / "cache"
    assert len(read_boxes(tmp_path / "set", cache=cache)) == 2
    assert cache.exists()
    put(tmp_path / "set", "train/c.json", C)
    os.utime(tmp_path / "set" / "train" / "c.json", (1e9, 1e9))
    assert len(read_boxes(tmp_path / "set", cache=cache)) == 3
