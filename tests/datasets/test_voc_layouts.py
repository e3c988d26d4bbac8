"""Pascal VOC as tools and people write it: folders, lists, encodings, shapes and sizes in other places."""

import math

import numpy as np
import pytest
from helpers.slow_counts import DATA, make_voc, voc_object
from PIL import Image

from anchorlib.datasets import read_boxes
from anchorlib.errors import DatasetError

CASES = DATA / "cases"
SIZE = "<size><width>100</width><height>50</height></size>"
PAIRS = [[50, 70], [200, 180], [60, 77], [191, 180], [70, 84], [182, 180]]  # of im0, im1, im2 in the cases
ONES = [[50, 70], [60, 70], [70, 70]]
BOX = voc_object(10, 10, 30, 20)  # 20 x 10 px


def turned(width, height=40.0, angle=0.6):
    cos, sin = math.cos(angle), math.sin(angle)
    return [width * cos + height * sin, width * sin + height * cos]


@pytest.mark.parametrize(
    ("case", "split", "wh", "kinds"),
    [
        ("voc_flat", "train", PAIRS, {"path": 1}),  # no list of the split: all, and said so
        ("voc_devkit", "all", PAIRS, {}),
        ("voc_full_image_plus_one", "all", [[641, 300], [641, 301]], {"out of bounds": 2}),
        ("voc_gbk", "all", ONES, {"encoding": 3}),
        ("voc_gbk_declared", "all", ONES, {}),
        ("voc_list_pairs_paddle", "train", PAIRS, {}),
        ("voc_list_pairs_paddle/train.txt", "train", PAIRS, {}),
        ("voc_list_with_suffix", "train", PAIRS[:4], {}),
        ("voc_no_size_images_beside", "all", ONES, {}),
        ("voc_robndbox", "all", [turned(100), turned(110), turned(120)], {"rotated box": 1}),
        ("voc_xmlns", "all", ONES, {}),
    ],
)
def test_the_boxes_of_each_case_are_read(case, split, wh, kinds):
    sizes = read_boxes(CASES / case, split=split)
    np.testing.assert_allclose(sizes.wh, wh, rtol=1e-6)
    assert sizes.count_problems() == kinds


def test_a_data_set_without_objects_says_so():
    sizes = read_boxes(CASES / "voc_no_objects", split="all", allow_empty=True)
    (problem,) = sizes.problems
    assert (problem.kind, problem.message) == ("no boxes", "none of 3 .xml files has an <object>")
    with pytest.raises(DatasetError, match="none of 3 .xml files has an <object>"):
        read_boxes(CASES / "voc_no_objects", split="all")


def test_gbk_that_is_declared_as_utf8_is_named():
    sizes = read_boxes(CASES / "voc_gbk", split="all")
    assert sizes.class_names == ("行人",)
    assert "not UTF-8 as it says; save it as UTF-8" in str(sizes.problems[0])
    assert read_boxes(CASES / "voc_gbk_declared", split="all").class_names == ("行人",)


def test_the_rule_for_rotated_boxes_is_told(tmp_path):
    shape = "<object><robndbox><cx>50</cx><cy>25</cy><w>20</w><h>10</h><angle>{}</angle></robndbox></object>"
    sizes = read_boxes(make_voc(tmp_path, shape.format(0.25)), split="all")
    np.testing.assert_allclose(sizes.wh / 6.4, [turned(20, 10, 0.25)], rtol=1e-6)
    assert "1 rotated boxes count as their bounding boxes; their angles are read as radians" in str(sizes.problems[0])
    make_voc(tmp_path, shape.format(90), name="b")  # no such angle in radians, so all are degrees
    sizes = read_boxes(tmp_path, split="all")
    np.testing.assert_allclose(sizes.wh / 6.4, [turned(20, 10, math.radians(0.25)), [10, 20]], rtol=1e-5)
    assert "degrees" in str(sizes.problems[0])


def corners(form, *points):
    return "".join(form.format(n=n, x=x, y=y) for n, (x, y) in enumerate(points, start=1))


FOUR = [(10, 15), (30, 10), (28, 20), (12, 18)]


@pytest.mark.parametrize(
    "shape",
    [
        f"<bndbox>{corners('<x{n}>{x}</x{n}><y{n}>{y}</y{n}>', *FOUR)}</bndbox>",
        f"<bndbox>{corners('<x{n}>{x}</x{n}><y{n}>{y}</y{n}>', (10, 10), (30, 20))}</bndbox>",
        f"<polygon>{corners('<x{n}>{x}</x{n}><y{n}>{y}</y{n}>', *FOUR)}</polygon>",
        f"<type>polygon</type><polygon>{corners('<pt><x>{x}</x><y>{y}</y><time>1</time></pt>', *FOUR)}</polygon>",
        f"<points>{corners('<point>{x},{y}</point>', *FOUR)}</points>",
        f"<polygon>{' '.join(f'{x},{y}' for x, y in FOUR)}</polygon>",
        f"<bndbox><xmin>1</xmin></bndbox><segmentation>{corners('<x>{x}</x><y>{y}</y>', *FOUR)}</segmentation>",
        "<xmin>10</xmin><ymin>10</ymin><xmax>30</xmax><ymax>20</ymax>",
        "<BndBox><XMin>10</XMin><YMin>10</YMin><XMax>30</XMax><YMax>20</YMax></BndBox>",
        "<bndbox><cx>20</cx><cy>15</cy><w>20</w><h>10</h></bndbox>",
    ],
)
def test_polygons_and_boxes_of_corners_count_as_their_bounding_box(tmp_path, shape):
    sizes = read_boxes(make_voc(tmp_path, f"<object><name>cat</name>{shape}</object>"), split="all")
    assert sizes.wh.tolist() == [[128.0, 64.0]]
    assert sizes.problems == []


@pytest.mark.parametrize(
    ("shape", "kind", "value"),
    [
        ("<polygon><x1>1</x1><y1>one</y1><x2>5</x2><y2>6</y2></polygon>", "not a number", "cat"),
        ("<polygon><x1>1</x1><y1>1</y1></polygon>", "wrong number of fields", "cat: name, polygon"),
        ("<bnd_box><xmin>1</xmin></bnd_box>", "wrong number of fields", "cat: name, bnd_box"),
        ("<robndbox><cx>5</cx><cy>5</cy><w>2</w><h>x</h></robndbox>", "not a number", "5 5 2 x"),
    ],
)
def test_a_shape_that_is_not_a_box_is_refused_with_what_is_there(tmp_path, shape, kind, value):
    sizes = read_boxes(make_voc(tmp_path, f"{BOX}<object><name>cat</name>{shape}</object>"), split="all")
    ((problem),) = sizes.problems
    assert (problem.kind, problem.value) == (kind, value)


DOCUMENT = f"<annotation><filename>a.jpg</filename>{SIZE}{voc_object(10, 10, 30, 20, '猫')}</annotation>"


@pytest.mark.parametrize(
    ("declared", "codec", "name"),
    [
        ("gb2312", "gbk", "猫"),
        ("GBK", "gbk", "猫"),
        ("GB18030", "gb18030", "猫"),
        ("big5", "big5", "貓"),
        ("Shift_JIS", "shift_jis", "猫"),
        ("euc-jp", "euc_jp", "猫"),
        ("EUC-KR", "euc_kr", "고양이"),
        ("utf8", "utf-8", "猫"),
        ("UTF-16", "utf-16", "猫"),
        ("utf-16", "utf-8", "猫"),  # as .NET writes it
        ("windows-1252", "cp1252", "gâteau"),
        ("ISO-8859-1", "latin-1", "gâteau"),
    ],
)
def test_a_declared_encoding_is_used(tmp_path, declared, codec, name):
    folder = make_voc(tmp_path, BOX)
    text = f'<?xml version="1.0" encoding="{declared}"?>\n{DOCUMENT.replace("猫", name)}'
    (folder / "Annotations" / "a.xml").write_bytes(text.encode(codec))
    sizes = read_boxes(folder, split="all")
    assert (sizes.class_names, sizes.problems, len(sizes)) == ((name,), [], 1)


@pytest.mark.parametrize(
    ("head", "codec", "message"),
    [
        ("", "gbk", "not UTF-8; save it as UTF-8"),
        ('<?xml version="1.0" encoding="utf-16"?>', "gbk", "not UTF-16 as it says; save it as UTF-8"),
        ('\n\n<?xml version="1.0"?>', "utf-8", None),
    ],
)
def test_a_wrong_encoding_does_not_cost_the_boxes(tmp_path, head, codec, message):
    folder = make_voc(tmp_path, BOX)
    (folder / "Annotations" / "a.xml").write_bytes((head + DOCUMENT.replace("猫", "行人")).encode(codec))
    sizes = read_boxes(folder, split="all")
    assert sizes.wh.tolist() == [[128.0, 64.0]]
    assert [problem.message for problem in sizes.problems] == ([message] if message else [])


def test_a_codec_that_is_not_a_text_encoding_is_refused(tmp_path):
    folder = make_voc(tmp_path, BOX)
    make_voc(tmp_path, BOX, name="b", head='<?xml version="1.0" encoding="zip"?>')
    make_voc(tmp_path, BOX, name="c", head='<?xml version="1.0" encoding="nonsense"?>')
    assert read_boxes(folder, split="all").count_problems() == {"unreadable label": 2}


def put(folder, *names, objects=BOX):
    """Write an .xml of 20 x 10 px for each name; return the folder."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"<annotation>{SIZE}{objects}</annotation>")
    return folder


@pytest.mark.parametrize("name", ["annotations/xmls", "ANNOTATIONS", "xml", "Annotation", "labels/train", "my data"])
def test_the_folder_of_annotations_may_have_other_names(tmp_path, name):
    put(tmp_path, f"{name}/a.xml", f"{name}/b.xml")
    assert len(read_boxes(tmp_path, split="all")) == 2
    assert len(read_boxes(tmp_path / name, split="all")) == 2


def test_folders_named_after_splits_are_the_splits(tmp_path):
    put(tmp_path, "train/a.xml", "train/b.xml", "valid/c.xml")  # Roboflow's export
    assert [len(read_boxes(tmp_path, split=split)) for split in ("train", "val", "all")] == [2, 1, 3]
    with pytest.raises(DatasetError, match="looked for the split 'test' .*found train, val"):
        read_boxes(tmp_path, split="test")


def test_several_data_sets_in_one_folder_are_named(tmp_path):
    put(tmp_path, "VOC2007/Annotations/a.xml")
    assert len(read_boxes(tmp_path, split="all")) == 1
    put(tmp_path, "VOC2012/Annotations/b.xml")
    with pytest.raises(DatasetError, match="2 Pascal VOC data sets below it: .*VOC2007, .*VOC2012. Pass one"):
        read_boxes(tmp_path, split="all")


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a.jpg",
        "a.xml",
        "a 1",
        "a  12 -1 0",
        "Annotations/a.xml",
        "JPEGImages/a.jpg Annotations/a.xml",
        "./JPEGImages/a.JPG\tAnnotations/a.xml",
        "/home/me/VOC/JPEGImages/a.jpg",
        "D:\\VOC\\JPEGImages\\a.jpg",
        "JPEGImages/a.jpg /home/me/VOC/Annotations/a.xml",
    ],
)
def test_a_line_of_a_list_may_be_a_stem_an_image_an_xml_or_both(tmp_path, line):
    put(tmp_path, "Annotations/a.xml", "Annotations/b.xml")
    for folder in ("ImageSets/Main", ".", "Annotations"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "train.txt").write_text(line + "\n")
        sizes = read_boxes(tmp_path)
        assert (len(sizes), sizes.problems) == (1, [])
        (tmp_path / folder / "train.txt").rename(tmp_path / folder / "some.txt")
    assert len(read_boxes(tmp_path / "ImageSets" / "Main" / "some.txt")) == 1


def test_a_name_that_ends_with_a_number_is_not_a_column(tmp_path):
    put(tmp_path, "Annotations/photo 1.xml", "Annotations/photo.xml", objects=BOX)
    (tmp_path / "train.txt").write_text("photo 1\n")
    assert read_boxes(tmp_path).image_names == ("photo 1",)


def test_a_list_with_spaces_in_file_names(tmp_path):
    put(tmp_path, "xml files/my a.xml", "xml files/b.xml")
    (tmp_path / "train_list.txt").write_text("images/my a.jpg xml files/my a.xml\n")
    assert len(read_boxes(tmp_path)) == 1


@pytest.mark.parametrize("image", ["Annotations/a.jpg", "images/a.png", "../images/a.jpeg", "JPEGImages/x/a.bmp"])
def test_the_size_comes_from_the_image_wherever_it_is(tmp_path, image):
    folder = tmp_path / "set"
    make_voc(folder, BOX, size="<size><width>0</width><height>0</height></size>")
    (folder / image).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (200, 50)).save(folder / image)
    sizes = read_boxes(folder, split="all")
    assert (sizes.image_wh.tolist(), sizes.problems) == ([[200, 50]], [])


def test_of_two_images_of_a_name_the_one_of_the_labels_folder_is_taken(tmp_path):
    for split, width in (("train", 200), ("val", 400)):
        xml = f"<annotation><filename>a.jpg</filename>{BOX}</annotation>"
        for part in ("Annotations", "JPEGImages"):
            (tmp_path / part / split).mkdir(parents=True, exist_ok=True)
        (tmp_path / "Annotations" / split / "a.xml").write_text(xml)
        Image.new("L", (width, 50)).save(tmp_path / "JPEGImages" / split / "a.jpg")
    assert read_boxes(tmp_path, split="all").image_wh.tolist() == [[200, 50], [400, 50]]
    assert read_boxes(tmp_path, split="val").image_wh.tolist() == [[400, 50]]


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    make_voc(tmp_path, BOX, size="", name="b")
    make_voc(tmp_path, BOX)
    (tmp_path / "Annotations" / "b.jpg").write_bytes(b"no image")
    (problem,) = read_boxes(tmp_path, split="all").problems
    assert "b.jpg cannot be read" in problem.message


def test_xml_files_of_other_kinds_are_not_voc(tmp_path):
    (tmp_path / "build.xml").write_text("<project><target/></project>")
    with pytest.raises(DatasetError, match=r"got a folder with build\.xml"):
        read_boxes(tmp_path)
    put(tmp_path, "a.xml")
    (tmp_path / "pom.xml").write_text("<project/>")
    sizes = read_boxes(tmp_path, split="all")
    assert [(p.kind, "first element is 'project'" in p.message) for p in sizes.problems][-1] == (
        "unreadable label", True)  # fmt: skip
    assert len(sizes) == 1


def test_objects_in_a_wrapper_are_read(tmp_path):
    assert len(read_boxes(make_voc(tmp_path, f"<objects>{BOX}</objects>"), split="all")) == 1
