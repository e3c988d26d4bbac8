"""anchorlib check-labels: each kind of problem made and told, sums that add up, exit codes; the text by hand."""

import ast
import inspect
import json
import os
import re
from pathlib import Path

import pytest
from helpers.slow_counts import make_coco, make_voc, make_yolo, voc_object
from PIL import Image

from anchorlib.cli import main
from anchorlib.datasets import Problem, read_boxes
from anchorlib.reporting.labels import KINDS, ON_PURPOSE, LabelReport

GOOD = "0 0.5 0.5 0.2 0.4\n"
SOURCES = Path(__file__).parent.parent.parent / "anchorlib" / "datasets"


def run(*arguments, capsys):
    code = main(["check-labels", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def row(text):
    """A YOLO set with one good row and this one."""
    return lambda folder: make_yolo(folder, [GOOD + text + "\n"])


def coco(**annotation):
    good = {"image_id": 1, "bbox": [1, 2, 3, 4]}
    return lambda folder: make_coco(folder / "a.json", [good, {**good, "bbox": [2, 2, 3, 4], **annotation}])


def missing_image(folder):
    path = make_yolo(folder, [GOOD])
    (folder / "labels" / "train" / "z.txt").write_text(GOOD * 2)
    return path


def unreadable_image(folder):
    path = make_yolo(folder, [GOOD, GOOD])
    (folder / "images" / "train" / "a.png").write_bytes(b"no image")
    return path


def turned_image(folder):
    path = make_yolo(folder, [GOOD, GOOD])
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "images" / "train" / "a.png").unlink()
    Image.new("L", (100, 50)).save(folder / "images" / "train" / "a.jpg", exif=exif)
    return path


def image_without_size(folder):
    make_voc(folder, voc_object(1, 1, 5, 5))
    return make_voc(folder, voc_object(1, 1, 5, 5) * 3, size="", name="b")


def wrong_encoding(folder):
    make_voc(folder, voc_object(1, 1, 5, 5, "CAT"))
    file = folder / "Annotations" / "a.xml"
    file.write_bytes(file.read_bytes().replace(b"CAT", b"\xc3\xa8\xff"))
    return folder


def too_deep_folder(folder):
    """A folder with images whose path is longer than the system takes: not even root can list it."""
    path = make_yolo(folder, [GOOD])
    at = os.open(folder / "images" / "train", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=at)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(os.open("b.png", os.O_WRONLY | os.O_CREAT, dir_fd=at))
    os.close(at)
    return path


TURNED = "<object><robndbox><cx>50</cx><cy>25</cy><w>20</w><h>10</h><angle>0.5</angle></robndbox></object>"
#: kind -> (a data set with one such problem, rows refused by it, images lost)
DIRT = {
    "wrong number of fields": (row("0 0.5 0.5 0.2"), 1, 0),
    "not a number": (row("0 0.5 0.5 nan 0.2"), 1, 0),
    "not a class": (row("0.5 0.5 0.5 0.2 0.2"), 1, 0),
    "negative size": (row("0 0.5 0.5 -0.2 0.2"), 1, 0),
    "out of [0, 1]": (row("0 320 240 64 48"), 1, 0),
    "duplicate row": (row(GOOD.strip()), 1, 0),
    "crowd": (coco(iscrowd=1), 1, 0),
    "ignored": (coco(ignore=1), 1, 0),
    "out of bounds": (row("0 0.05 0.5 0.2 0.2"), 0, 0),
    "zero area": (row("0 0.5 0.5 0 0.2"), 0, 0),
    "class out of range": (row("9 0.5 0.5 0.1 0.2"), 0, 0),
    "missing label": (lambda folder: make_yolo(folder, [GOOD, None]), 0, 0),
    "missing image": (missing_image, 2, 0),
    "unreadable image": (unreadable_image, 1, 1),
    "unreadable label": (lambda folder: make_yolo(folder, [GOOD, b"\0"]), 0, 1),
    "unreadable path": (too_deep_folder, 0, 0),
    "image without size": (image_without_size, 3, 1),
    "exif rotation": (turned_image, 0, 0),
    "path": (lambda folder: make_yolo(folder, [GOOD], yaml="train: ../images/train\n"), 0, 0),
    "encoding": (wrong_encoding, 0, 0),
    "tiny boxes": (lambda folder: make_coco(folder / "a.json", [{"image_id": 1, "bbox": [0.1, 0.2, 0.3, 0.4]}]), 0, 0),
    "rotated box": (lambda folder: make_voc(folder, TURNED), 0, 0),
    "no boxes": (lambda folder: make_voc(folder, ""), 0, 0),
    "landmarks": (lambda folder: make_yolo(folder, ["0 0.5 0.5 0.2 0.3 0.45 0.42 0.55 0.42 0.5 0.6\n"]), 0, 0),
}


def kinds_in_the_readers():
    """The first argument of each Problem and Fault that is a text, and the keys of the tables of validation.py."""
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Problem", "Fault"):
                if node.args and isinstance(node.args[0], ast.Constant):
                    yield node.args[0].value
            elif isinstance(node, ast.Dict) and file.name == "validation.py":
                yield from (key.value for key in node.keys if isinstance(key, ast.Constant))


def test_every_kind_has_advice_is_documented_and_is_made_here():
    assert set(kinds_in_the_readers()) == set(KINDS) == set(DIRT) == set(re.findall(r"'([^']+)'", kinds_text()))


def kinds_text():
    return inspect.getdoc(Problem).partition("kind : one of")[2].partition("\nfile :")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_told_and_the_sums_add_up(tmp_path, kind, capsys):
    make, refused, lost = DIRT[kind]
    path = make(tmp_path)
    code, out, err = run(path, "--json", capsys=capsys)
    told = json.loads(out)
    assert err == ""
    assert told["counts"] == {kind: 1}
    assert (told["rows_refused"], told["images_lost"]) == (refused, lost)
    assert told["rows_read"] == told["boxes"] + refused
    whole_images = kind in ("missing image", "unreadable image", "image without size")
    assert told["refused"] == ({"of lost images" if whole_images else kind: refused} if refused else {})
    assert sum(item["boxes"] for item in told["classes"]) == told["boxes"]
    of_the_set = kind in ("no boxes", "unreadable path")
    assert code == told["lost"] == (of_the_set or (kind not in ON_PURPOSE and refused + lost > 0))
    (problem,) = told["problems"]
    assert set(problem) == {"kind", "file", "line", "value", "action", "message"}
    assert problem["kind"] == kind
    assert Path(problem["file"]).is_relative_to(tmp_path)

    code, out, err = run(path, capsys=capsys)
    assert (code, err) == (told["lost"], "")
    assert f"{told['rows_read']} read = {told['boxes']} boxes + {refused} refused" in out
    assert f"\n1 x {kind}: {problem['action']}\n    {problem['file']}" in out
    verdict = "There are no boxes." if kind == "no boxes" else "Lost: " if told["lost"] else "Nothing is lost."
    assert out.rstrip().rpartition("\n")[2].startswith(verdict)


@pytest.mark.parametrize("command", [["fit", "--n", "1"], ["check"], ["curve", "--k", "1"]])
def test_a_good_fit_to_a_data_set_that_could_not_be_read_ends_with_1(tmp_path, command, capsys):
    anchors = tmp_path / "anchors.json"
    anchors.write_text('{"anchors": [[128, 256]]}')
    arguments = ["--anchors", str(anchors)] if command == ["check"] else []
    codes = []
    for name, make in (("good", lambda folder: make_yolo(folder, [GOOD])), ("deep", too_deep_folder)):
        (tmp_path / name).mkdir()
        codes.append(main([command[0], str(make(tmp_path / name)), *command[1:], *arguments]))
    assert codes == [0, 1]
    assert "unreadable path" in capsys.readouterr().out


SUMMARY = """\
data.yaml, split all
  images   2 read, 1 lost
  rows     8 read = 2 boxes + 6 refused
  refused  6 = 1 of lost images + 3 duplicate row + 1 wrong number of fields + 1 out of [0, 1]
  classes  cat 2, dog 0

3 x duplicate row: row refused
    labels/train/a.txt:4: this row repeats an earlier row of the image: '0 0.5 0.5 0.2 0.4' (row refused)
    labels/train/a.txt:5: this row repeats an earlier row of the image: '0 0.5 0.5 0.2 0.4' (row refused)
    labels/train/a.txt:6: this row repeats an earlier row of the image: '0 0.5 0.5 0.2 0.4' (row refused)
  Delete the duplicates: they would count twice in training.

1 x unreadable image: image refused
    images/train/b.png: cannot be read: not an image that Pillow can read: '1 rows' (image refused)
  Replace these images: training cannot read them either.

1 x wrong number of fields: row refused
    labels/train/a.txt:2: expected 'class cx cy w h' or a class and a polygon, got 4 fields: '0 0.5 1 1' (row refused)
  Complete or delete these rows; the tool that wrote them may use another format.

1 x out of [0, 1]: row refused
    labels/train/a.txt:3: centre and size must be inside the image: '1 2 2 1 1' (row refused)
  Correct or delete these rows. YOLO rows are fractions of the image: divide pixels by its size.

1 x zero area: kept
    labels/train/c.txt:1: width and height must be > 0: '0 0.5 0.5 0 0.2' (kept)
  Delete these rows: training cannot learn a box without area, and fits leave it out.

Lost: 6 rows, 1 image.
"""


def test_the_summary_reads_as_it_should(tmp_path, monkeypatch, capsys):
    texts = [GOOD + "0 0.5 1 1\n1 2 2 1 1\n" + GOOD * 3, GOOD, "0 0.5 0.5 0 0.2\n"]
    make_yolo(tmp_path, texts)
    (tmp_path / "images" / "train" / "b.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("data.yaml", capsys=capsys)
    assert code == 1
    assert out == SUMMARY


def test_a_data_set_that_is_clean_says_so_and_ends_with_0(tmp_path, capsys):
    code, out, _ = run(make_yolo(tmp_path, [GOOD]), capsys=capsys)
    assert (code, out.endswith("Nothing is wrong.\n")) == (0, True)


def test_a_data_set_without_one_usable_box_has_its_summary(tmp_path, capsys):
    path = make_yolo(tmp_path, ["word\n", None])
    code, out, _ = run(path, capsys=capsys)
    assert code == 1
    assert "rows     1 read = 0 boxes + 1 refused" in out
    assert "a.txt:1: expected 'class cx cy w h'" in out
    assert len(read_boxes(path, allow_empty=True)) == 0
    code, out, _ = run(make_coco(tmp_path / "a.json", [], []), capsys=capsys)
    assert (code, out.count("\n")) == (1, 10)
    assert "there are no images and no annotations" in out


def test_a_split_that_is_left_out_is_lost(tmp_path, capsys):
    path = make_yolo(tmp_path, [GOOD], yaml="train: images/train\nval: images/gone\n")
    code, out, _ = run(path, capsys=capsys)
    assert (code, out.endswith("\nLost: 1 path.\n")) == (1, True)
    code, _, err = run(path, "--split", "val", capsys=capsys)
    assert (code, "val does not exist" in err) == (2, True)


def test_an_annotation_that_is_not_there_is_a_lost_image(tmp_path, capsys):
    make_voc(tmp_path, voc_object(1, 1, 5, 5))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("a\ngone\n")
    code, out, _ = run(tmp_path, "--split", "val", capsys=capsys)
    assert (code, "images   1 read, 1 lost" in out) == (1, True)


def test_all_problems_of_a_kind_are_shown_one_a_line(tmp_path, capsys):
    path = make_yolo(tmp_path, [GOOD + "word\n" * 9 + "0 9 9 9 9\n"])
    code, out, _ = run(path, capsys=capsys)
    assert "and 6 more: --show 'wrong number of fields'" in out
    code, out, _ = run(path, "--show", "wrong number of fields", capsys=capsys)
    assert code == 1
    assert [line.split(": ")[0].rpartition(":")[2] for line in out.splitlines()] == [str(n) for n in range(2, 11)]
    _, out, _ = run(path, "--show", "out of [0, 1]", "--json", capsys=capsys)
    assert [problem["line"] for problem in json.loads(out)["problems"]] == [11]
    _, out, _ = run(path, "--show", "crowd", capsys=capsys)
    assert out == ""


def test_rows_of_lost_images_are_those_that_their_problems_name(tmp_path):
    path = make_yolo(tmp_path, [GOOD * 3, GOOD + "word\n", "0 0.1 0.1 0.1 0.1\n"])
    for name in "ab":
        (tmp_path / "images" / "train" / f"{name}.png").write_bytes(b"no image")
    (tmp_path / "labels" / "train" / "z.txt").write_text(GOOD)
    report = LabelReport("", "all", read_boxes(path))
    named = sum(int(problem.value.split()[0]) for problem in report.boxes.problems if problem.value.endswith(" rows"))
    assert report.refused() == {"of lost images": named} == {"of lost images": 6}


def test_many_classes_are_told_by_the_most_frequent(tmp_path, capsys):
    rows = "".join(f"{n} 0.5 0.5 0.{n + 1:02} 0.1\n" for n in range(20)) + "7 0.5 0.5 0.9 0.9\n"
    path = make_yolo(tmp_path, [rows], yaml=f"train: images/train\nnames: {[f'c{n}' for n in range(21)]}\n")
    _, out, _ = run(path, capsys=capsys)
    assert "  classes  21; most boxes: c7 2, c0 1, c1 1, c2 1, c3 1, c4 1, 1 without a box\n" in out


def test_a_kind_that_there_is_not_ends_with_2(capsys):
    with pytest.raises(SystemExit) as error:
        run("anywhere", "--show", "dirt", capsys=capsys)
    assert error.value.code == 2
    assert "invalid choice: 'dirt'" in capsys.readouterr().err
    code, out, err = run("nowhere", capsys=capsys)
    assert (code, out, err) == (2, "", "anchorlib: nowhere: there is no such file or folder.\n")


NASTY = "\x1b[31mred\x1b[0m\r\x9b2J\u202e"


@pytest.mark.parametrize("command", ["check-labels", "check-labels --show path", "fit", "curve", "check"])
def test_names_from_files_are_escaped_in_every_text(tmp_path, command, capsys):
    names = json.dumps([NASTY, "dog"])
    make_yolo(tmp_path, [GOOD, GOOD + "0 0.5 0.5 0.2 0.3\n"], yaml=f"train: ../images/train\nnames: {names}\n")
    folder = tmp_path / f"set{NASTY}"
    folder.mkdir()
    for part in ("data.yaml", "images", "labels"):
        (tmp_path / part).rename(folder / part)
    (folder / "images" / "train" / "a.png").rename(folder / "images" / "train" / f"{NASTY}.png")
    name, *rest = command.split(maxsplit=1)
    more = {"fit": ["--n", "1"], "curve": ["--k", "1-2"], "check": ["--anchors", str(folder / "none.yaml")]}
    options = rest[0].split(maxsplit=1) if rest else more.get(name, [])
    for split in ("train", "gone"):
        main([name, str(folder / "data.yaml"), "--split", split, *options])
        captured = capsys.readouterr()
        shown = captured.out + captured.err
        assert "[31mred" in shown
        assert not set(shown) & set("\x1b\r\x9b\u202e")


def test_classes_without_a_name_and_images_without_boxes_are_named(tmp_path, monkeypatch, capsys):
    path = make_yolo(tmp_path, [GOOD, "7 0.5 0.5 0.2 0.4\n9 0.5 0.5 0.3 0.3\n", ""])
    monkeypatch.chdir(tmp_path)
    _, out, _ = run(path, capsys=capsys)
    lines = out.splitlines()
    assert lines[1] == "  images   3 read, 1 of them without boxes"
    assert lines[4] == "  unnamed  7, 9, not in names: names has 2, from 0 to 1"
    _, out, _ = run(path, "--json", capsys=capsys)
    told = json.loads(out)
    assert (told["classes_without_name"], told["images_without_boxes"]) == ([7, 9], 1)
    (tmp_path / "labels/train/b.txt").write_text("7 0.5 0.5 0.2 0.4\n")
    assert "  unnamed  7, not in names: names has 2, from 0 to 1\n" in run(path, capsys=capsys)[1]
