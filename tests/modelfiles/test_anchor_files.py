import os

import numpy as np
import pytest
import yaml

from anchorlib import atomic
from anchorlib.errors import BadValueError, ModelError
from anchorlib.modelfiles import (
    FORMATS,
    edit_anchors,
    format_anchors,
    format_of_new_file,
    open_anchors,
    read_anchors,
    split_layers,
    write_anchors,
)

COCO = np.asarray(
    [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]],
    np.float32,
)
SUFFIXES = {"yolo": ".yaml", "darknet": ".cfg", "mmdet": ".py", "paddle": ".yml", "json": ".json", "text": ".txt"}


def as_lists(layers):
    return [layer.tolist() for layer in layers]


def test_a_yolo_file_is_what_yolov5_reads():
    text = format_anchors(COCO, "yolo")
    assert text == "anchors:\n  - [10,13, 16,30, 33,23]\n  - [30,61, 62,45, 59,119]\n  - [116,90, 156,198, 373,326]\n"
    assert yaml.safe_load(text)["anchors"] == [layer.ravel().tolist() for layer in COCO]


def test_a_darknet_file_has_the_largest_stride_first_and_its_masks():
    text = format_anchors(COCO, "darknet")
    assert text.count("anchors = 10,13,  16,30,  33,23,  30,61,") == 3
    assert [line for line in text.splitlines() if "mask" in line] == [
        "mask = 6,7,8",
        "mask = 3,4,5",
        "mask = 0,1,2",
    ]
    assert text.count("num = 9") == 3


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("layers", [COCO, COCO[:1], [COCO[0], COCO[1][:2]]], ids=["3x3", "1x3", "3+2"])
def test_anchors_written_and_read_again_are_bit_identical(tmp_path, format, layers):
    odd = [layer * np.float32(1.2345678) for layer in layers]
    path = tmp_path / f"anchors{SUFFIXES[format]}"
    diff = write_anchors(path, odd, format if format == "paddle" else None)
    assert diff.count("\n+") == 1 + path.read_text().count("\n")  # one more line for the file name
    assert open_anchors(path).format == format
    written = [np.concatenate(odd)] if format == "text" else odd  # a text has no layers
    assert as_lists(read_anchors(path)) == as_lists(written)


@pytest.mark.parametrize(
    ("name", "text", "new"),
    [
        ("anchors.txt", "12, 19,  24, 38,  42, 76", "10, 20,  30, 40,  50, 60"),  # darknet detector calc_anchors
        ("yolo_anchors.txt", "10,13,  16,30,  33,23\n", "10,20,  30,40,  50,60\n"),  # keras-yolo3
        (
            "config.json",
            '{"model": {"anchors": [17,18, 28,24, 9,9], "x": 1}}',
            '{"model": {"anchors": [10,20, 30,40, 50,60], "x": 1}}',
        ),
        ("one.txt", "12 19\r\n24 38\r\n42 76\r\n", "10 20\r\n30 40\r\n50 60\r\n"),
    ],
)
def test_files_of_numbers_and_of_keras_are_read_and_edited(tmp_path, name, text, new):
    path = tmp_path / name
    path.write_bytes(text.encode())
    (layer,) = read_anchors(path)
    assert len(layer) == 3
    edit_anchors(path, [np.asarray([[10, 20], [30, 40], [50, 60]], np.float32)])
    assert path.read_bytes().decode() == new


@pytest.mark.parametrize("text", ["1,2,3", "1,2,x,4", "", "images/a.png\n", "10,13 # small\n"])
def test_a_text_that_is_not_pairs_of_numbers_is_refused(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ModelError, match=r"a\.txt"):
        read_anchors(tmp_path / "a.txt")


def test_a_format_can_be_passed_if_the_suffix_is_unknown(tmp_path):
    write_anchors(tmp_path / "anchors", COCO, "json")
    assert open_anchors(tmp_path / "anchors", "json").format == "json"
    with pytest.raises(ModelError, match="unknown suffix .*Use .yaml, .yml, .cfg, .py, .json, .txt, or pass format="):
        write_anchors(tmp_path / "anchors.doc", COCO)
    with pytest.raises(ValueError, match="format must be one of yolo, darknet, mmdet, paddle, json, text, got 'xml'"):
        format_anchors(COCO, "xml")


def test_an_existing_file_is_not_changed(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text("nc: 80\n")
    with pytest.raises(ModelError, match="exists already and is not changed"):
        write_anchors(path, COCO)
    assert path.read_text() == "nc: 80\n"


def test_a_model_yaml_is_read_with_other_keys_in_it(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text(
        "nc: 80\nanchors:\n  - [10,13, 16,30]  # P3/8\n  - [30,61, 62,45]\nbackbone: [[-1, 1, Conv, [64]]]\n"
    )
    assert as_lists(read_anchors(path)) == [[[10, 13], [16, 30]], [[30, 61], [62, 45]]]


def test_an_mmyolo_config_is_read_and_never_run(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(
        "import os\nos.mkdir('was run')\nanchors = [[(10, 13), (16, 30), (33, 23)], [(30, 61), (62, 45), (59, 119)]]\n"
    )
    assert as_lists(read_anchors(path)) == as_lists(COCO[:2])
    assert not os.path.exists("was run")


def test_a_list_without_layers_is_one_layer(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[[10, 13], [16, 30]]")
    assert as_lists(read_anchors(path)) == [[[10, 13], [16, 30]]]
    path.write_text('{"anchors": [[[10, 13]], [[16, 30], [1, 2]]]}')
    assert as_lists(read_anchors(path)) == [[[10, 13]], [[16, 30], [1, 2]]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", "nc: 80\n", "there is no list 'anchors'"),
        ("a.yaml", "anchors: 3\n", "there is no list 'anchors'"),
        ("a.yaml", "anchors: [[10, 13, 16]]\n", r"pairs \(w, h\), got 3 numbers"),
        ("a.yaml", "anchors: [[10, -13]]\n", "finite and > 0"),
        ("a.yaml", "anchors: [[10, .nan]]\n", "finite and > 0"),
        ("a.yaml", "anchors: [[ten, 13]]\n", "pairs of numbers"),
        ("a.yaml", "anchors: !!python/object/apply:os.getcwd []\n", "is not a yolo file"),
        ("a.yaml", "anchors: [[1, 2}\n", "is not a yolo file"),
        ("a.json", "{", "is not a json file"),
        ("a.json", "[" * 10_000, "is not a json file"),
        ("a.cfg", "[net]\nwidth=416\n", "there is no line 'anchors = ...'"),
        ("a.cfg", "[yolo]\nmask = 0,7\nanchors = 1,2, 3,4\n", "beyond the 2 there are"),
        ("a.cfg", "[yolo]\nanchors = 1,2, x,4\n", "is not a darknet file"),
        ("a.yaml", "Head: {anchors: [[1, 2]], anchor_masks: []}\n", "anchor_masks names no layer"),
        ("a.yaml", "Head: {anchors: [1, 2], anchor_masks: 0}\n", "anchor_masks names no layer"),
        ("a.py", "model = 3\n", "there is no base_sizes"),
        ("a.py", "anchors = make()\n", "is not a mmdet file"),
        ("a.py", "def\n", "is not a mmdet file"),
        ("a.doc", "10,13", "unknown suffix .*Use .yaml, .yml, .cfg, .py, .json, .txt, or pass format="),
    ],
)
def test_a_file_without_usable_anchors_is_a_model_error(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ModelError, match=message):
        read_anchors(path)


def test_bytes_that_are_not_text_and_files_too_large_are_model_errors(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="is not a yolo file"):
        read_anchors(path)
    with open(path, "wb") as file:
        file.truncate(2**31)  # sparse
    with pytest.raises(ModelError, match="expected a file of anchors, got .* bytes, more than the limit"):
        read_anchors(path)


def test_layers_have_three_anchors_if_the_number_is_a_multiple_of_three():
    anchors = COCO.reshape(-1, 2)
    assert [len(layer) for layer in split_layers(anchors)] == [3, 3, 3]
    assert [len(layer) for layer in split_layers(anchors[:5])] == [5]
    assert [len(layer) for layer in split_layers(anchors, [2, 3, 4])] == [2, 3, 4]
    with pytest.raises(BadValueError, match=r"layers of \[3, 3\] anchors need 6 in all, got 9"):
        split_layers(anchors, [3, 3])


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_write_that_breaks_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    path.write_text("old")

    def broken(*args, **options):
        raise OSError("no power")

    monkeypatch.setattr(atomic.os, call, broken)
    with pytest.raises(OSError, match="no power"):
        atomic.write_atomically(path, b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_text() == "old"


def test_an_atomic_write_keeps_the_mode_and_follows_a_symlink(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    atomic.write_atomically(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_form_is_another_name_of_format(tmp_path):
    text = format_anchors(COCO, form="json")
    assert text == format_anchors(COCO, "json")
    path = tmp_path / "anchors"
    write_anchors(path, COCO, form="json")
    assert path.read_text() == text
    file = open_anchors(path, form="json")
    assert file.form == file.format == "json"
    edit_anchors(path, COCO * np.float32(2), form="json")
    assert as_lists(open_anchors(path, "json").layers) == as_lists(COCO * 2)
    assert format_of_new_file(tmp_path / "new", form="darknet") == "darknet"
    with pytest.raises(TypeError, match="multiple values for argument 'format'"):
        format_anchors(COCO, "json", form="json")
    with pytest.raises(TypeError, match="format and form are two names of one argument"):
        format_anchors(COCO, format="json", form="yolo")
