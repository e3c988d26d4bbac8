"""YOLO text files: values by hand, each kind of dirt, paths, and the parser against a slow one."""

import os

import numpy as np
import pytest
from helpers.slow_counts import make_yolo, parse_line
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anchorlib.datasets import read_boxes
from anchorlib.datasets.formats.yolo import label_path
from anchorlib.datasets.formats.yolo_rows import parse_rows, read_rows
from anchorlib.errors import BadValueError, DatasetError, LabelError

GOOD = "0 0.5 0.5 0.2 0.4\n"


def kinds(sizes):
    return [(problem.kind, problem.line, problem.action) for problem in sizes.problems]


def test_a_box_is_scaled_with_its_image(tmp_path):
    sizes = read_boxes(make_yolo(tmp_path, [GOOD + "1 0.5 0.5 1 1\n", "1 0.5 0.5 0.1 0.1"]))
    assert sizes.wh.dtype == np.float32
    assert sizes.wh.tolist() == [
        [128.0, 128.0],
        [640.0, 320.0],
        [64.0, 32.0],
    ]  # images of 100 x 50, scale 6.4
    assert sizes.image_wh.tolist() == [[100.0, 50.0], [100.0, 50.0]]
    assert sizes.image_index.tolist() == [0, 0, 1]
    assert sizes.classes.tolist() == [0, 1, 1]
    assert sizes.class_names == ("cat", "dog")
    assert (sizes.problems, sizes.rows_read, sizes.rows_refused) == ([], 3, 0)


@pytest.mark.parametrize(
    ("imgsz", "resize", "expected"),
    [
        (320, "letterbox", [64.0, 64.0]),
        ((640, 320), "letterbox", [128.0, 128.0]),
        ((640, 160), "letterbox", [64.0, 64.0]),  # the height decides
        ((640, 160), "stretch", [128.0, 64.0]),
        (640, "stretch", [128.0, 256.0]),
    ],
)
def test_the_networks_input_may_be_any_rectangle(tmp_path, imgsz, resize, expected):
    sizes = read_boxes(make_yolo(tmp_path, [GOOD]), imgsz=imgsz, resize=resize)
    assert sizes.wh.tolist() == [expected]


@pytest.mark.parametrize(
    ("row", "kind", "action"),
    [
        ("0 0.5 0.5 0.2", "wrong number of fields", "row refused"),
        ("0 0.5 0.5 0.2 0.2 0.9", "wrong number of fields", "row refused"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.1 0.4", "wrong number of fields", "row refused"),  # an odd polygon
        ("cat 0.5 0.5 0.2 0.2", "not a number", "row refused"),
        ("0 0.5 0.5 1_0 0.2", "not a number", "row refused"),
        ("0 0.5 0.5 0.2.5 0.2", "not a number", "row refused"),
        ("0 0.5 0.5 nan 0.2", "not a number", "row refused"),
        ("0 inf 0.5 0.2 0.2", "not a number", "row refused"),
        ("0 0.1 0.1 0.2 nan 0.3 0.1", "not a number", "row refused"),
        ("0.5 0.5 0.5 0.2 0.2", "not a class", "row refused"),
        ("1e300 0.5 0.5 0.2 0.2", "not a class", "row refused"),
        ("0 0.5 0.5 -0.2 0.2", "negative size", "row refused"),
        ("0 1.5 0.5 0.2 0.2", "out of [0, 1]", "row refused"),
        ("0 0.5 -0.1 0.2 0.2", "out of [0, 1]", "row refused"),
        ("0 320 240 64 48", "out of [0, 1]", "row refused"),
        ("0 0.5 0.5 0.200 0.4", "duplicate row", "row refused"),
        ("0 0.05 0.5 0.2 0.2", "out of bounds", "kept"),
        ("0 0.5 0.5 0 0.2", "zero area", "kept"),
        ("2 0.5 0.5 0.1 0.2", "class out of range", "kept"),
        ("-1 0.5 0.5 0.1 0.2", "class out of range", "kept"),
    ],
)
def test_each_kind_of_dirt_is_reported_with_its_line(tmp_path, row, kind, action):
    path = make_yolo(tmp_path, [GOOD + "\n" + row + "\n", GOOD])
    sizes = read_boxes(path)
    assert kinds(sizes) == [(kind, 3, action)]
    assert sizes.problems[0].file.endswith(os.path.join("labels", "train", "a.txt"))
    assert sizes.rows_read == 3
    assert (len(sizes.wh), sizes.rows_refused) == ((2, 1) if action == "row refused" else (3, 0))
    ignored = read_boxes(path, problems="ignore")
    assert np.array_equal(ignored.wh, sizes.wh)
    assert ignored.problems == []
    if action == "row refused":
        with pytest.raises(LabelError, match=r"a\.txt:3: "):
            read_boxes(path, problems="raise")
    else:
        assert np.array_equal(read_boxes(path, problems="raise").wh, sizes.wh)


def test_a_problem_reads_as_a_sentence(tmp_path):
    problem = read_boxes(make_yolo(tmp_path, [GOOD + "0 0.5 0.5 0.2"])).problems[0]
    wanted = "expected 'class cx cy w h' or a class and a polygon, got 4 fields"
    assert str(problem).endswith(f"a.txt:2: {wanted}: '0 0.5 0.5 0.2' (row refused)")


def test_rounding_at_the_edge_is_no_problem(tmp_path):
    assert read_boxes(make_yolo(tmp_path, ["0 0.0625 0.5 0.1251 0.5\n"])).problems == []


def test_a_polygon_counts_by_its_bounding_box(tmp_path):
    sizes = read_boxes(make_yolo(tmp_path, ["1 0.1 0.2 0.5 0.2 0.3 0.7\n"]))
    np.testing.assert_allclose(sizes.wh, [[0.4 * 640, 0.5 * 320]], rtol=1e-6)


def test_key_points_follow_the_box_where_the_yaml_says_so(tmp_path):
    row = "1 0.5 0.5 0.2 0.2 0.9 0.9 2 0.1 0.1 0\n"
    yaml = "train: images/train\nkpt_shape: [2, 3]\n"
    assert read_boxes(make_yolo(tmp_path, [row], yaml=yaml)).wh.tolist() == [[128.0, 64.0]]
    polygon = read_boxes(make_yolo(tmp_path, [row.replace(" 2 ", " 1 ")], yaml="train: images/train\n"))
    assert polygon.wh.tolist() != [[128.0, 64.0]]


def test_images_without_labels_are_images_without_boxes(tmp_path):
    sizes = read_boxes(make_yolo(tmp_path, [None, GOOD, ""]))
    assert len(sizes.image_wh) == 3
    assert sizes.image_index.tolist() == [1]
    assert kinds(sizes) == [("missing label", None, "read")]


def test_labels_without_an_image_are_lost_and_counted(tmp_path):
    path = make_yolo(tmp_path, [GOOD])
    (tmp_path / "labels" / "train" / "z.txt").write_text(GOOD + "1 0.5 0.5 0.1 0.1\nword\n")
    (tmp_path / "labels" / "train" / "classes.txt").write_text("cat\ndog\n")
    sizes = read_boxes(path)
    assert kinds(sizes) == [("missing image", None, "rows refused")]
    assert (len(sizes.wh), sizes.rows_read, sizes.rows_refused) == (1, 4, 3)


def test_an_unreadable_image_costs_its_rows(tmp_path):
    path = make_yolo(tmp_path, [GOOD, GOOD])
    (tmp_path / "images" / "train" / "a.png").write_bytes(b"not an image")
    sizes = read_boxes(path)
    assert kinds(sizes) == [("unreadable image", None, "image refused")]
    assert (len(sizes.image_wh), sizes.rows_read, sizes.rows_refused) == (1, 2, 1)
    assert sizes.image_index.tolist() == [0]


def test_an_image_that_exif_turns_has_its_sides_swapped(tmp_path):
    path = make_yolo(tmp_path, [None, None])
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images" / "train" / "b.png").unlink()
    Image.new("L", (100, 50)).save(tmp_path / "images" / "train" / "b.jpg", exif=exif)
    (tmp_path / "labels" / "train" / "b.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    sizes = read_boxes(path)
    assert sizes.image_wh.tolist() == [[100, 50], [50, 100]]
    assert sizes.wh.tolist() == [[64.0, 256.0]]  # 10 x 40 pixels of 50 x 100, scale 6.4
    assert "exif rotation" in sizes.count_problems()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n \t\n"])
def test_lines_may_end_in_any_way(tmp_path, end):
    text = b"\xef\xbb\xbf" + end.join([GOOD.strip(), "1 0.5 0.5 0.1 0.1"]).encode()
    sizes = read_boxes(make_yolo(tmp_path, [text]))
    assert (len(sizes.wh), sizes.problems) == (2, [])


def test_images_come_from_lists_and_lists_of_folders(tmp_path):
    make_yolo(tmp_path, [GOOD, GOOD])
    make_yolo(tmp_path, [GOOD, GOOD, GOOD], split="more")
    (tmp_path / "list.txt").write_text("./images/train/b.png\nimages/train/a.png\nimages/train/gone.png\n")
    (tmp_path / "data.yaml").write_text("train: list.txt\nval: [images/train, images/more]\n")
    sizes = read_boxes(tmp_path)
    assert [os.path.basename(name) for name in sizes.image_names] == ["b.png", "a.png"]
    assert sizes.count_problems() == {"missing image": 1}
    assert len(read_boxes(tmp_path, split="val").image_wh) == 5
    assert len(read_boxes(tmp_path, split="all").image_wh) == 5  # each image once


def test_the_path_of_a_yaml_is_relative_to_it_or_to_here(tmp_path, monkeypatch):
    make_yolo(tmp_path / "sets" / "pets", [GOOD])
    (tmp_path / "config").mkdir()
    config = tmp_path / "config" / "pets.yaml"
    config.write_text("path: ../sets/pets\ntrain: images/train\n")
    assert len(read_boxes(config)) == 1
    config.write_text("path: sets/pets\ntrain: images/train\n")
    with pytest.raises(DatasetError, match="train does not exist"):
        read_boxes(config)
    monkeypatch.chdir(tmp_path)
    assert len(read_boxes(config)) == 1


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("- 1\n", "expected a mapping"),
        ("train: [\n", "not a YAML file"),
        ("train: !!python/object/apply:os.system ['exit 1']\n", "not a YAML file that is safe"),
        ("a: &a {x: 1}\nb: {<<: [*a, *a]}\ntrain: images\n", "not a YAML file that is safe"),
        ("[" * 2000, "not a YAML file"),
        ("val: images/train\n", "looked for the split 'train', found val"),
        ("train: {a: 1}\n", "must be a path or a list"),
        ("train: gone\n", "train does not exist; looked for"),
        ("train: images/train\nnames: {-1: cat}\n", "names must be numbered"),
        ("train: images/train\nnames: {100000: cat}\n", "names must be numbered from 0 to at most 99999"),
        ("train: images/train\nnames: {cat: 0}\n", "names must be numbered"),
        ("train: images/train\nkpt_shape: seven\n", "kpt_shape must be"),
    ],
)
def test_a_yaml_that_does_not_do_is_refused_with_its_reason(tmp_path, yaml, message):
    with pytest.raises(DatasetError, match=message):
        read_boxes(make_yolo(tmp_path, [GOOD], yaml=yaml))


def test_a_class_number_without_a_name_is_its_own_name(tmp_path):
    rows = "1 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.1 0.1\n"
    sizes = read_boxes(make_yolo(tmp_path, [rows], yaml="train: images/train\nnames: {1: cat, 2: dog}\n"))
    assert sizes.class_names == ("0", "cat", "dog")
    assert not sizes.problems


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ("0 0.1 0.1 0.5 0.1 0.5 0.4 0.1 0.4\n1 0.2 0.1 0.4 0.2 0.3 0.4 0.1 0.3\n0 0.5 0.5 0.2 0.2\n", 1),
        ("0 0.1 0.1 0.5 0.1 0.5 0.4 0.1 0.4\n0 0.1 0.1 0.5 0.1 0.5 0.3\n", 0),  # polygons
    ],
)
def test_rows_of_four_corners_are_named(tmp_path, rows, count):
    sizes = read_boxes(make_yolo(tmp_path, ["", rows]))
    assert [problem.kind for problem in sizes.problems] == ["rotated box"] * count
    assert all("b.txt:1: 2 rows of 9 numbers are four corners" in str(problem) for problem in sizes.problems)


def test_nothing_usable_is_an_error_that_says_what_was_found(tmp_path):
    with pytest.raises(
        DatasetError, match=r"no usable boxes: 2 readable images, 1 label rows, 1 of them rejected. First of 2"
    ):
        read_boxes(make_yolo(tmp_path, ["word", None]))


@pytest.mark.parametrize("options", [{"imgsz": 0}, {"imgsz": 6.5}, {"resize": "crop"}, {"problems": "shout"}])
def test_unknown_options_are_refused_before_reading(options):
    with pytest.raises(BadValueError):
        read_boxes("no such file", **options)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in its file system")
def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path):
    path = make_yolo(tmp_path, [GOOD, None, None])
    os.mkfifo(tmp_path / "labels" / "train" / "b.txt")
    (tmp_path / "images" / "train" / "c.png").unlink()
    os.mkfifo(tmp_path / "images" / "train" / "c.png")
    sizes = read_boxes(path)
    assert sorted(sizes.count_problems()) == ["unreadable image", "unreadable label"]
    assert "pipe" in sizes.problems[0].message


def test_a_huge_sparse_file_is_not_read(tmp_path):
    path = make_yolo(tmp_path, [GOOD, ""])
    with open(tmp_path / "labels" / "train" / "b.txt", "wb") as file:
        file.truncate(2 << 30)
    assert "2147483648 bytes" in read_boxes(path).problems[0].message


def test_binary_content_is_not_read_as_labels(tmp_path):
    assert kinds(read_boxes(make_yolo(tmp_path, [GOOD, b"\0\n" * 100]))) == [
        ("unreadable label", None, "image refused")
    ]


def test_loops_of_links_end(tmp_path):
    path = make_yolo(tmp_path, [GOOD])
    os.symlink(tmp_path / "images", tmp_path / "images" / "train" / "again")
    os.symlink("self.png", tmp_path / "images" / "train" / "self.png")
    sizes = read_boxes(path)
    assert len(sizes.wh) == 1
    assert sizes.count_problems() == {"unreadable image": 1}


@pytest.mark.parametrize(
    "line",
    ["../" * 40 + "etc/passwd", "/dev/zero", "a\0b", "x" * 5000, "\ud800".encode("utf-8", "surrogatepass")],
)
def test_a_list_may_name_anything_and_nothing_happens(tmp_path, line):
    make_yolo(tmp_path, [GOOD])
    line = line if isinstance(line, bytes) else line.encode()
    (tmp_path / "list.txt").write_bytes(b"images/train/a.png\n" + line + b"\n")
    sizes = read_boxes(tmp_path / "list.txt")
    assert len(sizes.wh) == 1
    assert [problem.action for problem in sizes.problems if problem.kind != "encoding"] == ["image refused"]


WORDS = st.one_of(
    st.sampled_from(
        [
            "0",
            "1",
            "0.5",
            ".5",
            "5.",
            "1e-1",
            "-0",
            "+1",
            "nan",
            "inf",
            "1_0",
            "0.5.5",
            "1-2",
            "--1",
            ".",
            "x",
        ]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(0, 1).map(lambda number: f"{number:.6f}"),
    st.integers(0, 10**18).map(lambda digits: f"0.{digits:015d}"),
    st.text("0123456789.", min_size=1, max_size=20),
)
LINES = st.lists(WORDS, max_size=9).map(" ".join)
ENDS = st.sampled_from(["\n", "\r\n", "\n\n", " \n"])
FILES = st.lists(st.tuples(LINES, ENDS).map("".join), max_size=5).map(lambda lines: "".join(lines).encode())


@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(FILES, st.binary(max_size=40)), max_size=5))
def test_the_parser_of_many_files_equals_one_line_at_a_time(contents):
    rows = parse_rows(contents)
    expected = []
    for index, content in enumerate(contents):
        content = content[3:] if content[:3] == b"\xef\xbb\xbf" else content
        for line, text in enumerate(content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), start=1):
            parsed = parse_line(text)
            if parsed is not None:
                expected.append((index, line, parsed))
    assert [(int(i), int(n)) for i, n in zip(rows.file_index, rows.line)] == [(i, n) for i, n, _ in expected]
    for row, (_, _, parsed) in enumerate(expected):
        if isinstance(parsed, str):
            assert rows.faults[row].kind == parsed
            assert np.isnan(rows.values[row]).all()
        else:
            assert row not in rows.faults
            # + 0.0: the sides of a polygon with 0 and -0 may be either zero
            both = rows.values[row] + 0.0, np.asarray(parsed, np.float64) + 0.0
            assert both[0].tobytes() == both[1].tobytes() or np.isnan(parsed).any()


@given(st.lists(st.decimals(0, 10**6, allow_nan=False, places=9).map("{:f}".format), min_size=5, max_size=5))
def test_a_decimal_has_the_value_that_float_gives(words):
    rows = parse_rows([" ".join(words).encode()])
    assert rows.values.tolist() == [list(map(float, words))]


@pytest.mark.parametrize("word", ["1_0", "0x1p3", "1\xa0", "\x1c0.5", "1e", "--1", "(1,2)", "1j", "#1", '"1"'])
def test_numpy_does_not_read_more_than_float_does(word):
    row = f"0 0.5 0.5 0.1 {word}".encode("latin-1")
    rows = parse_rows([b"0 0.5 0.5 0.1 0.1\n" + row])
    assert rows.faults[1].kind == "not a number"
    assert rows.values[0].tolist() == [0, 0.5, 0.5, 0.1, 0.1]


def test_batches_of_files_are_joined_in_order(tmp_path, monkeypatch):
    paths = []
    for number in range(7):
        paths.append(str(tmp_path / f"{number}.txt"))
        (tmp_path / f"{number}.txt").write_text(f"{number} 0.5 0.5 0.1 0.1\nbad\n" * (number % 3))
    whole = read_rows(paths)
    monkeypatch.setattr("anchorlib.datasets.formats.yolo_rows.BATCH", 30)
    parts = read_rows(paths)
    assert whole.file_index.tolist() == parts.file_index.tolist() == [1, 1, 2, 2, 2, 2, 4, 4, 5, 5, 5, 5]
    assert whole.faults == parts.faults
    assert np.array_equal(whole.values, parts.values, equal_nan=True)
    assert whole.line.tolist() == parts.line.tolist()


def test_the_last_images_folder_of_a_path_becomes_labels():
    path = os.path.join("images", "pets", "images", "train", "a.b.jpg")
    assert label_path(path) == os.path.join("images", "pets", "labels", "train", "a.b.txt")
    assert label_path(os.path.join(os.sep, "images", "images", "a.jpg")) == os.path.join(
        os.sep, "images", "labels", "a.txt"
    )
    assert label_path(os.path.join("images", "a.jpg")) == os.path.join("labels", "a.txt")
    assert label_path(os.path.join("my_images", "a.jpg")) == os.path.join("my_images", "a.txt")


def test_labels_next_to_an_image_are_looked_for_without_walking_the_folders_below(tmp_path):
    """An image list may name /a.png, whose folder is the root of the file system."""
    make_yolo(tmp_path / "set", [None])
    (tmp_path / "a.png").write_bytes((tmp_path / "set" / "images" / "train" / "a.png").read_bytes())
    deep = tmp_path / "below"
    deep.mkdir()
    (deep / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    (tmp_path / "list.txt").write_text("a.png\n")
    visited = []
    scan = os.scandir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", lambda folder: visited.append(str(folder)) or scan(folder))
        read_boxes(tmp_path / "list.txt", allow_empty=True)
    assert str(deep) not in visited
