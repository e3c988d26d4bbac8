"""Pascal VOC, COCO and darknet: values by hand and each kind of dirt; which format a path is."""

import json

import numpy as np
import pytest
from helpers.slow_counts import make_coco, make_voc, make_yolo, voc_object
from PIL import Image

from anchorlib.datasets import read_boxes
from anchorlib.errors import DatasetError, LabelError

BOX = voc_object(10, 10, 30, 20)


def test_a_voc_box_is_as_wide_as_its_corners_are_apart(tmp_path):
    sizes = read_boxes(make_voc(tmp_path, BOX + voc_object("0.5", 0, "50.25", 50, "ant")))
    np.testing.assert_allclose(sizes.wh, [[128, 64], [318.4, 320]], rtol=1e-6)
    assert sizes.class_names == ("ant", "cat")
    assert sizes.classes.tolist() == [1, 0]


def test_the_box_of_a_part_is_not_the_objects(tmp_path):
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
    part = f"<part><name>head</name><bndbox>{corners}</bndbox></part>"
    sizes = read_boxes(make_voc(tmp_path, voc_object(10, 10, 30, 20, extra=part)))
    assert sizes.wh.tolist() == [[128.0, 64.0]]
    with pytest.raises(DatasetError, match="no usable boxes"):
        read_boxes(make_voc(tmp_path, f"<object><name>cat</name>{part}</object>"))


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ("<object><name>cat</name></object>", "wrong number of fields"),
        (voc_object("ten", 10, 30, 20), "not a number"),
        (voc_object("", 10, 30, 20), "not a number"),
        (voc_object("inf", 10, 30, 20), "not a number"),
        (voc_object(30, 10, 10, 20), "negative size"),
        (voc_object(10, 10, 300, 20), "out of [0, 1]"),
        (BOX, "duplicate row"),
        (voc_object(-5, 10, 30, 20), "out of bounds"),
        (voc_object(10, 10, 10, 20), "zero area"),
    ],
)
def test_dirt_in_voc_is_reported(tmp_path, item, kind):
    sizes = read_boxes(make_voc(tmp_path, BOX + item), split="all")
    assert sizes.count_problems() == {kind: 1}
    assert "object 2" in str(sizes.problems[0])
    assert sizes.rows_read == 2 == len(sizes.wh) + sizes.rows_refused


@pytest.mark.parametrize(
    "size", ["", *(f"<size><width>{w}</width><height>50</height></size>" for w in ("0", "1e300", "1e-300", "nan"))]
)
def test_a_missing_size_comes_from_the_image_or_costs_it(tmp_path, size):
    folder = make_voc(tmp_path, BOX, name="b")
    make_voc(tmp_path, BOX, size=size)
    sizes = read_boxes(folder, split="all")
    assert sizes.count_problems() == {"image without size": 1}
    assert (sizes.rows_read, sizes.rows_refused) == (2, 1)
    (tmp_path / "JPEGImages").mkdir()
    Image.new("L", (200, 50)).save(tmp_path / "JPEGImages" / "a.jpg")
    sizes = read_boxes(folder, split="all")
    assert sizes.image_wh.tolist() == [[200, 50], [100, 50]]
    assert sizes.problems == []


def test_an_entity_bomb_is_refused_at_once(tmp_path):
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    folder = make_voc(tmp_path, BOX)
    make_voc(tmp_path, "<object>&e11;</object>", name="b", head=f'<!DOCTYPE x [<!ENTITY e0 "ha">{levels}]>')
    outside = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    make_voc(tmp_path, "<object>&e;</object>", name="c", head=outside)
    sizes = read_boxes(folder, split="all")
    assert sizes.count_problems() == {"unreadable label": 2}
    assert all("EntitiesForbidden" in problem.message for problem in sizes.problems)
    assert len(sizes.wh) == 1


def test_a_split_of_voc_that_is_not_there_names_those_that_are(tmp_path):
    folder = make_voc(tmp_path, BOX)
    assert read_boxes(folder).count_problems() == {"path": 1}  # train: all annotations, and said so
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("a  1\ngone -1\n")
    with pytest.raises(DatasetError, match=r"'test' in .*, found val\. Take one"):
        read_boxes(folder, split="test")
    assert read_boxes(folder, split="val").count_problems() == {"missing label": 1}


def test_coco_boxes_are_in_pixels_and_classes_in_the_order_of_their_ids(tmp_path):
    annotations = [
        {"image_id": 2, "category_id": 9, "bbox": [0, 0, 50, 50]},
        {"image_id": 1, "category_id": 3, "bbox": [10, 10, 20.5, 10]},
    ]
    images = [{"id": n, "width": 100, "height": 50, "file_name": f"{n}.jpg"} for n in (1, 2, 3)]
    categories = [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}]
    sizes = read_boxes(make_coco(tmp_path / "a.json", annotations, images, categories=categories))
    np.testing.assert_allclose(sizes.wh, [[131.2, 64], [320, 320]], rtol=1e-6)
    assert sizes.image_index.tolist() == [0, 1]
    assert sizes.classes.tolist() == [0, 1]
    assert sizes.class_names == ("cat", "dog")
    assert (sizes.image_names, sizes.problems) == (("1.jpg", "2.jpg", "3.jpg"), [])


@pytest.mark.parametrize(
    ("annotation", "kind", "refused"),
    [
        ({"bbox": [1, 1, 2, 2], "iscrowd": 1}, "crowd", 1),
        ({"bbox": [1, 1, 2, 2], "ignore": 1}, "ignored", 1),
        ({"bbox": [1, 1, 2]}, "wrong number of fields", 1),
        ({}, "wrong number of fields", 1),
        ({"bbox": [1, 1, "2,0", 2]}, "not a number", 1),
        ({"bbox": [1, 1, "1_0", 2]}, "not a number", 1),
        ({"bbox": [1, 1, True, 2]}, "not a number", 1),
        ({"bbox": [1, 1, float("nan"), 2]}, "not a number", 1),
        ({"bbox": [1, 1, 10**400, 2]}, "not a number", 1),
        ({"bbox": [1, 1, -2, 2]}, "negative size", 1),
        ({"bbox": [1, 1, 200, 2]}, "out of [0, 1]", 1),
        ({"bbox": [0, 0, 10, 10]}, "duplicate row", 1),
        ({"bbox": [-1, 1, 2, 2]}, "out of bounds", 0),
        ({"bbox": [1, 1, 0, 2]}, "zero area", 0),
        ({"bbox": [1, 1, 2, 2], "category_id": 8}, "class out of range", 0),
        ({"bbox": [1, 1, 2, 2], "image_id": 8}, "missing image", 1),
    ],
)
def test_dirt_in_coco_is_reported(tmp_path, annotation, kind, refused):
    good = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]}
    annotations = [good, {"image_id": 1, "category_id": 1, **annotation}]
    path = make_coco(tmp_path / "a.json", annotations, categories=[{"id": 1, "name": "cat"}])
    sizes = read_boxes(path)
    assert sizes.count_problems() == {kind: 1}
    assert (sizes.rows_read, sizes.rows_refused, len(sizes.wh)) == (2, refused, 2 - refused)
    if kind in ("crowd", "ignored"):
        assert len(read_boxes(path, problems="raise")) == 1
    elif refused:
        with pytest.raises(LabelError, match=r"a\.json"):
            read_boxes(path, problems="raise")


@pytest.mark.parametrize(
    "image",
    [{"id": 2}, *({"id": 2, "width": w, "height": 5} for w in (0, -1, "9 px", 1e300, 1e-300, 10**400, float("inf")))],
)
def test_a_coco_image_without_size_costs_its_rows(tmp_path, image):
    images = [image, {"id": 1, "width": 100, "height": 50}]
    annotations = [{"image_id": n, "bbox": [0, 0, 10, 10]} for n in (2, 1, 2)]
    sizes = read_boxes(make_coco(tmp_path / "a.json", annotations, images))
    assert sizes.count_problems() == {"image without size": 1}
    assert (sizes.rows_read, sizes.rows_refused) == (3, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file"),
        ("[" * 200_000, "not a JSON file"),
        ('[{"image_id": 1, "score": 0.5}]', "perhaps detections"),
        ("{}", "looked for a list 'images'"),
        ('{"images": [], "annotations": {}}', "looked for a list 'annotations'"),
    ],
)
def test_a_json_that_is_not_coco_is_refused_with_its_reason(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_boxes(tmp_path / "a.json")


@pytest.mark.parametrize("entry", ["/etc/passwd", "../secret.txt", "link.names", "{}/secret.txt"])
def test_a_data_file_does_not_show_other_files_of_the_machine(tmp_path, entry):
    """names= is read in the folder of the .data file; outside it only if the file's name ends in .names."""
    inside = tmp_path / "set"
    inside.mkdir()
    path = make_yolo(inside, ["0 0.5 0.5 0.2 0.4\n"])
    (tmp_path / "secret.txt").write_text("secret\n")
    (inside / "link.names").symlink_to(tmp_path / "secret.txt")
    (inside / "train.txt").write_text("images/train/a.png\n")
    data = inside / "a.data"
    data.write_text(f"train = train.txt\nnames = {entry.format(tmp_path)}\n")
    sizes = read_boxes(data)
    assert (len(sizes), sizes.class_names) == (1, ())
    (problem,) = sizes.problems
    assert (problem.kind, problem.action) == ("path", "left out")
    assert "names must be a file in the folder of this file, or end in .names" in problem.message
    (tmp_path / "there.names").write_text("cat\n")
    (inside / "here.txt").write_text("dog\n")
    for entry, name in ((tmp_path / "there.names", "cat"), ("../there.names", "cat"), ("here.txt", "dog")):
        data.write_text(f"train = train.txt\nnames = {entry}\n")
        assert read_boxes(data).class_names == (name,)
    assert path.exists()


def test_darknet_reads_lists_and_names(tmp_path):
    make_yolo(tmp_path, ["0 0.5 0.5 0.2 0.4\n", "1 0.5 0.5 0.1 0.1\n"])
    (tmp_path / "train.txt").write_text("images/train/a.png\nimages/train/b.png\n")
    (tmp_path / "some.names").write_text("cat\ndog\n")
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "some.data").write_text("classes = 2\ntrain = train.txt\nvalid=gone.txt\nnames = some.names\n")
    sizes = read_boxes(tmp_path / "cfg" / "some.data")
    assert sizes.wh.tolist() == [[128.0, 128.0], [64.0, 32.0]]
    assert (sizes.class_names, sizes.problems) == (("cat", "dog"), [])
    assert read_boxes(tmp_path / "cfg" / "some.data", split="all").count_problems() == {"path": 1}
    with pytest.raises(DatasetError, match="the list valid does not exist"):
        read_boxes(tmp_path / "cfg" / "some.data", split="val")
    with pytest.raises(DatasetError, match="looked for 'test' ="):
        read_boxes(tmp_path / "cfg" / "some.data", split="test")
    assert read_boxes(tmp_path / "train.txt").wh.tolist() == sizes.wh.tolist()


def test_darknet_finds_the_labels_of_jpegimages(tmp_path):
    for part in ("JPEGImages", "labels"):
        (tmp_path / part).mkdir()
    Image.new("L", (100, 50)).save(tmp_path / "JPEGImages" / "a.jpg")
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    (tmp_path / "train.txt").write_text("JPEGImages/a.jpg\n")
    assert read_boxes(tmp_path / "train.txt").wh.tolist() == [[128.0, 128.0]]


def test_one_data_set_gives_the_same_sizes_in_every_format(tmp_path):
    yolo = make_yolo(tmp_path / "yolo", ["0 0.5 0.5 0.25 0.5\n"])
    voc = make_voc(tmp_path / "voc", voc_object("37.5", "12.5", "62.5", "37.5"))
    coco = make_coco(tmp_path / "coco.json", [{"image_id": 1, "bbox": [37.5, 12.5, 25, 25]}])
    assert [read_boxes(path, split="train").wh.tolist() for path in (yolo, voc, coco)] == [[[160.0, 160.0]]] * 3


def test_a_path_of_no_known_format_says_what_was_looked_for(tmp_path):
    with pytest.raises(DatasetError, match="no such file"):
        read_boxes(tmp_path / "gone.yaml")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(
        DatasetError, match=r"expected a data.yaml .*; a folder of Pascal VOC .* got a folder with a\.csv"
    ):
        read_boxes(tmp_path)
    with pytest.raises(DatasetError, match=r"got a \.csv file"):
        read_boxes(tmp_path / "a.csv")
    (tmp_path / "a.xml").write_text("")
    with pytest.raises(DatasetError, match="pass the folder"):
        read_boxes(tmp_path / "a.xml")


def test_json_of_two_gigabytes_is_not_read(tmp_path):
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(DatasetError, match="2147483648 bytes"):
        read_boxes(tmp_path / "a.json")


def test_ids_of_different_types_are_one(tmp_path):
    images = [{"id": "1", "width": 100, "height": 50}]
    path = make_coco(tmp_path / "a.json", [{"image_id": 1.0, "bbox": [0, 0, 10, 10]}], images)
    assert json.loads(path.read_text())["images"][0]["id"] == "1"
    assert len(read_boxes(path)) == 1


def test_a_stray_yaml_does_not_make_a_voc_folder_a_yolo_set(tmp_path):
    folder = make_voc(tmp_path, BOX)
    (tmp_path / "notes.yaml").write_text("author: me\n")
    assert len(read_boxes(folder)) == 1
