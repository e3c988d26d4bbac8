"""YOLO and darknet data sets as labelling tools write them: each is read, or one sentence says what to do."""

import os
import shutil
import time

import pytest
from helpers.data_set_kinds import age
from helpers.slow_counts import DATA, make_yolo
from PIL import Image

from anchorlib.cli import main
from anchorlib.datasets import read_boxes
from anchorlib.errors import DatasetError

GOOD = "0 0.5 0.5 0.2 0.4\n"

#: case -> boxes of the split train, and words of the report
READ = {
    "cvat_yolo11": (12, "train.txt instead"),
    "ipynb_checkpoints": (2, "Nothing is wrong."),
    "label_studio": (12, "classes  a 6, b 6"),
    "labelimg_flat_yaml": (12, "Nothing is lost."),
    "labels_beside_in_images": (12, "used 4 label files"),
    "list_gbk/train.txt": (5, "图片 1.jpg"),
    "ls5014_slightly_over": (6, "1.00043744531933"),
    "notes_beside": (12, "README.txt: has no image and no row of numbers"),
    "roboflow_renamed": (9, "my-project-3/train/images"),
    "rows_face15": (6, "kpt_shape: [5, 2]"),
    "rows_slightly_over": (9, "1.0000001"),
    "rows_utf16": (6, "UTF-16"),
    "two_yamls": (12, "Nothing is wrong."),
    "txt_upper": (2, "im0.TXT"),
    "uppercase_folder": (12, "Labels, such as im0.txt"),
    "win_list": (12, "4 paths of the list do not exist here"),
    "win_yaml_relative": (12, "images\\\\train"),
    "yaml_gbk": (12, "classes  猫 6, 狗 6"),
    "yaml_list_of_images": (2, "Nothing is wrong."),
    "yaml_valid_key": (3, "valid is not a key that YOLOv5 reads, val is"),
}
#: case -> exit code, and words of the message
REFUSED = {
    "list_escape/train.txt": (1, r"\x1b[31mred\x1b[0m.jpg"),
    "rows_comma": (1, "with spaces, got commas"),
    "rows_face20": (1, "kpt_shape: [5, 3]"),
    "rows_pose_nokpt": (1, "kpt_shape: [17, 3]"),
    "win_yaml_quoted": (2, "use / in paths, or single quotes"),
    "yaml_merge": (2, "Merge keys (<<) are not read"),
}


def run(path, capsys, split="train"):
    code = main(["check-labels", str(path), "--split", split])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.mark.parametrize("case", READ)
def test_a_case_is_read_and_says_what_was_done(case, capsys):
    boxes, words = READ[case]
    code, shown = run(DATA / "cases" / case, capsys)
    assert words in shown
    assert f"= {boxes} boxes + 0 refused" in shown
    assert code == 0


@pytest.mark.parametrize("case", REFUSED)
def test_a_case_that_is_refused_says_what_to_do(case, capsys):
    wanted, words = REFUSED[case]
    code, shown = run(DATA / "cases" / case, capsys)
    assert words in shown
    assert code == wanted
    assert "\x1b" not in shown


def test_faces_have_the_size_of_their_box():
    sizes = read_boxes(DATA / "cases" / "rows_face15")
    assert sizes.wh[:2].round(3).tolist() == [[128, 144], [64, 48]]


def test_a_row_with_landmarks_that_are_missing_keeps_its_box(tmp_path):
    face = "0 0.5 0.5 0.2 0.3 0.45 0.42 0.55 0.42 0.5 0.5 0.46 0.6 0.54 0.6\n"
    missing = "0 0.3 0.3 0.1 0.2" + " -1" * 10 + "\n"
    sizes = read_boxes(make_yolo(tmp_path, [face + missing, missing], size=(640, 640)))
    assert sizes.wh.round(3).tolist() == [[128, 192], [64, 128], [64, 128]]
    assert sizes.count_problems() == {"landmarks": 1}


@pytest.mark.parametrize(
    "polygons",
    [
        ["0.5 0.5 0.52 0.5 0.53 0.52 0.52 0.54 0.5 0.54 0.49 0.53 0.49 0.51"],  # inside a box of 0.52 x 0.5, by chance
        ["0.5 0.5 0.2 0.3 0.45 0.42 0.55 0.42 0.50 0.50", "0.5 0.5 0.2 0.3 0.45 0.42 0.55 0.42 0.50 0.50 0.5 0.6"],
        ["0.1 0.1 0.9 0.1 0.9 0.9 0.5 0.95 0.1 0.9"],
    ],
)
def test_polygons_stay_polygons(tmp_path, polygons):
    sizes = read_boxes(make_yolo(tmp_path, [f"0 {polygon}\n" for polygon in polygons], size=(640, 640)))
    for wh, polygon in zip(sizes.wh.tolist(), polygons):
        numbers = [float(word) * 640 for word in polygon.split()]
        sides = [max(axis) - min(axis) for axis in (numbers[::2], numbers[1::2])]
        assert wh == pytest.approx(sides, rel=1e-5)


@pytest.mark.parametrize("row", ["0 0.5 0.5 0.2 0.3 45", "0 0.5 0.5 0.2 0.3 0.91"])
def test_an_angle_or_a_confidence_is_named(tmp_path, row):
    (problem,) = read_boxes(make_yolo(tmp_path, [GOOD + row])).problems
    assert "an angle or a confidence after the box is not read" in problem.message


def move(folder, moves):
    """A data set of two images in `folder`, its folders renamed, without a data.yaml."""
    make_yolo(folder, [GOOD, GOOD])
    (folder / "data.yaml").unlink()
    for old, new in moves:
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / old, folder / new)
    return folder


LAYOUTS = {
    "images and labels": [("images/train", "x"), ("images", "y"), ("labels/train", "z"), ("labels", "w"),
                          ("x", "images"), ("z", "labels")],
    "images/train and labels/train": [],
    "train/images and train/labels": [("images/train", "train/images"), ("labels/train", "train/labels")],
    "images/train and train/labels": [("labels/train", "train/labels")],
    "train and labels/train": [("images/train", "train")],
    "side by side": [(f"{part}/train/{name}", f"{name}") for part, name in
                     (("images", "a.png"), ("images", "b.png"), ("labels", "a.txt"), ("labels", "b.txt"))],
    "images with labels in it": [("labels/train", "images/train/labels")],
    "JPEGImages and labels": [("images/train", "JPEGImages"), ("labels/train", "l"), ("labels", "k"), ("l", "labels")],
    "Images and Labels": [("images/train", "x"), ("images", "y"), ("labels/train", "z"), ("labels", "w"),
                          ("x", "Images"), ("z", "Labels")],
    "a folder of them": [("images", "inner/images"), ("labels", "inner/labels")],
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_without_a_yaml_is_read(tmp_path, layout, capsys):
    folder = move(tmp_path / "set", LAYOUTS[layout])
    (folder / "classes.txt").write_text("cat\ndog\n")
    code, shown = run(folder, capsys)
    assert (code, "= 2 boxes + 0 refused" in shown, "classes  cat 2, dog 0" in shown) == (0, True, True)


def test_the_splits_of_a_folder_are_its_subfolders(tmp_path):
    folder = move(tmp_path / "set", [])
    make_yolo(folder, [GOOD], split="valid")
    (folder / "data.yaml").unlink()
    assert [len(read_boxes(folder, split=split)) for split in ("train", "val", "all")] == [2, 1, 3]
    with pytest.raises(DatasetError, match="looked for the split 'test', found train, val"):
        read_boxes(folder, split="test")


@pytest.mark.parametrize(
    "entry",
    ["/kaggle/input/pets/images/train", "D:\\pets\\images\\train", "..\\images\\train", "./images\\train",
     "/content/drive/MyDrive/pets/images/train/", "Images/Train", "pets/images/train"],
)  # fmt: skip
@pytest.mark.parametrize("root", [None, "/content/pets", "D:\\pets", "../datasets/pets"])
def test_a_path_of_another_computer_is_found_by_its_end(tmp_path, entry, root):
    yaml = f"train: '{entry}'\n" + (f"path: '{root}'\n" if root else "")
    sizes = read_boxes(make_yolo(tmp_path, [GOOD], yaml=yaml))
    assert len(sizes) == 1
    assert [(problem.kind, problem.value) for problem in sizes.problems] == [("path", entry)]


def test_a_path_whose_end_is_elsewhere_is_not_taken(tmp_path, monkeypatch):
    make_yolo(tmp_path / "other", [GOOD])
    monkeypatch.chdir(tmp_path / "other")
    with pytest.raises(DatasetError, match="train does not exist"):
        read_boxes(make_yolo(tmp_path / "set", [GOOD], yaml="train: /kaggle/input/pets/images/train\n", split="part"))


@pytest.mark.parametrize("entry", ['"images\\train"', '"D:\\new\\images"', '"data\\images"'])
def test_backslashes_in_double_quotes_are_named(tmp_path, entry):
    with pytest.raises(DatasetError, match="use / in paths, or single quotes"):
        read_boxes(make_yolo(tmp_path, [GOOD], yaml=f"train: {entry}\n"))


def test_several_yaml_files_with_splits_ask_for_one(tmp_path):
    path = make_yolo(tmp_path, [GOOD])
    path.rename(tmp_path / "a.yaml")
    shutil.copy(tmp_path / "a.yaml", tmp_path / "b.yaml")
    with pytest.raises(DatasetError, match=r"several data sets, a\.yaml, b\.yaml\. Pass the \.yaml file you mean"):
        read_boxes(tmp_path)


def test_class_numbers_may_be_in_quotes(tmp_path):
    yaml = "train: images/train\nnc: '2'\nnames: {'0': cat, '1': dog}\n"
    sizes = read_boxes(make_yolo(tmp_path, [GOOD + "2 0.5 0.5 0.1 0.1\n"], yaml=yaml))
    assert (sizes.class_names, sizes.count_problems()) == (("cat", "dog"), {"class out of range": 1})


def test_hidden_files_are_left_out(tmp_path):
    path = make_yolo(tmp_path, [GOOD])
    for part, suffix in (("images", "png"), ("labels", "txt")):
        shutil.copy(tmp_path / part / "train" / f"a.{suffix}", tmp_path / part / "train" / f"._a.{suffix}")
        (tmp_path / part / "train" / ".cache").mkdir()
        shutil.copy(tmp_path / part / "train" / f"a.{suffix}", tmp_path / part / "train" / ".cache" / f"b.{suffix}")
    assert (len(read_boxes(path)), read_boxes(path).problems) == (1, [])


def test_no_label_at_all_is_an_error_with_the_place_that_was_looked_at(tmp_path, capsys):
    code, shown = run(make_yolo(tmp_path, [None, None]), capsys)
    assert code == 1
    assert (
        f"no label file for any of the 2 images; looked for {os.path.join(tmp_path, 'labels', 'train', 'a.txt')}"
        in shown
    )
    code, shown = run(make_yolo(tmp_path, ["", ""]), capsys)
    assert (code, "There are no boxes." in shown) == (1, True)


def test_images_without_objects_do_not_take_the_labels_of_others(tmp_path):
    make_yolo(tmp_path, [None, GOOD], yaml="train: images\n")
    make_yolo(tmp_path, [None], split="empty", yaml="train: images\n")
    sizes = read_boxes(tmp_path)
    assert len(sizes) == 1
    assert sizes.count_problems() == {"missing label": 2}


def test_heic_images_are_named(tmp_path):
    path = make_yolo(tmp_path, [GOOD, GOOD])
    (tmp_path / "images" / "train" / "b.png").rename(tmp_path / "images" / "train" / "c.png")
    (tmp_path / "images" / "train" / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    problems = {problem.kind: problem.message for problem in read_boxes(path).problems}
    assert problems["unreadable image"] == "HEIC is not read; convert it to JPEG"


@pytest.mark.parametrize("prefix", ["/kaggle/input/pets/", "D:\\pets\\", "../"])
def test_a_list_of_another_computer_is_found_by_the_ends_of_its_paths(tmp_path, prefix):
    make_yolo(tmp_path, [GOOD, GOOD, GOOD])
    lines = [f"{prefix}images/train/{name}.png" for name in "abc"]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("\r\n".join(lines))
    (tmp_path / "data.yaml").write_text("train: lists/train.txt\n")
    sizes = read_boxes(tmp_path)
    assert len(sizes) == 3
    assert sizes.count_problems() == ({} if prefix == "../" else {"path": 1})


def test_an_image_is_not_parsed_as_a_list(tmp_path):
    path = make_yolo(tmp_path, [GOOD, GOOD], yaml="train: images/train/a.png\nval: images/train/b.png\n")
    assert [len(read_boxes(path, split=split)) for split in ("train", "all")] == [1, 2]
    Image.new("L", (100, 50)).save(tmp_path / "list.png")
    os.rename(tmp_path / "list.png", tmp_path / "list.txt")
    with pytest.raises(DatasetError, match="not UTF-8"):
        read_boxes(tmp_path / "list.txt", format="darknet")


def test_a_long_list_of_paths_that_do_not_exist_takes_no_minutes(tmp_path):
    make_yolo(tmp_path, [GOOD])
    gone = "\n".join(f"/kaggle/input/{number}/a/b/c/d/e/images/{number}.jpg" for number in range(5000))
    (tmp_path / "list.txt").write_text(f"images/train/a.png\n{gone}\n")
    started = time.process_time()
    assert len(read_boxes(tmp_path / "list.txt")) == 1
    assert time.process_time() - started < 2  # 0.4 s; 6 s if every place is tried for every path


def test_folders_of_images_that_do_not_exist_are_not_searched_below(tmp_path):
    make_yolo(tmp_path, [None])
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "gone.txt").write_text(GOOD)
    (tmp_path / "list.txt").write_text("deep/gone.png\nimages/train/a.png\n")
    with pytest.raises(DatasetError, match="no label file for any of the 2 images"):
        read_boxes(tmp_path / "list.txt")


def test_a_cache_notices_labels_that_appear_in_another_place(tmp_path):
    path = make_yolo(tmp_path / "set", [None])
    cache = tmp_path / "labels.cache"
    age(tmp_path / "set")
    for folder in (tmp_path / "set").rglob("*"):
        os.utime(folder, (1e9, 1e9))
    assert len(read_boxes(path, cache=cache, allow_empty=True)) == 0
    (tmp_path / "set" / "images" / "train" / "a.txt").write_text(GOOD)
    with pytest.warns(RuntimeWarning, match="changed less than two seconds"):
        assert len(read_boxes(path, cache=cache, allow_empty=True)) == 1
