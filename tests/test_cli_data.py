"""The options that say which boxes a command reads, and at which size."""

import json

import pytest
from helpers import command as command_line
from helpers.other_formats import KITTI, TF_HEAD, write_file

CFG = "[net]\nwidth={}\nheight={}\n\n[yolo]\nmask = 0,1\nanchors = 10,14, 23,27\nnum=2\n"
ROWS = "a.jpg,640,480,cat,10,20,60,90\nb.jpg,640,480,dog,10,20,110,140\nb.jpg,640,480,dog,10,20,210,240\n"


def run(*arguments, capsys):
    """What a command says."""
    return command_line.run(*map(str, arguments), capsys=capsys)


@pytest.fixture
def table(tmp_path):
    (tmp_path / "a.csv").write_text(TF_HEAD + ROWS)
    return tmp_path / "a.csv"


def fit(*arguments, capsys):
    """The JSON of `anchorlib fit`."""
    code, out, err = run("fit", *arguments, "--n", "2", "--json", capsys=capsys)
    assert (code, err) == (0, "")
    return json.loads(out)


def test_several_data_sets_are_read_as_one(tmp_path, table, capsys):
    (tmp_path / "b.csv").write_text(TF_HEAD + "c.jpg,640,480,bird,10,20,60,90\n")
    for command in ("fit", "curve"):
        options = ("--n", "2") if command == "fit" else ("--k", "1-2")
        _, out, _ = run(command, table, tmp_path / "b.csv", *options, capsys=capsys)
        assert f"{table} + {tmp_path / 'b.csv'}: 3 images, 4 boxes" in out
    _, out, _ = run("check-labels", table, tmp_path / "b.csv", capsys=capsys)
    assert "classes  bird 1, cat 1, dog 2" in out or "cat 1, dog 2, bird 1" in out


def test_classes_are_selected(table, capsys):
    _, out, _ = run("fit", table, "--classes", "dog", "--n", "2", capsys=capsys)
    assert "2 images, 2 boxes" in out
    _, out, _ = run("fit", table, "--classes", "cat, 1", "--n", "2", capsys=capsys)
    assert "2 images, 3 boxes" in out
    code, out, err = run("fit", table, "--classes", "dgo", capsys=capsys)
    assert (code, out) == (2, "")
    assert "there is no class 'dgo'; the data set has cat, dog" in err


@pytest.mark.parametrize("size", ["320x160", "320X160", "320\u00d7160"])
def test_a_size_may_be_written_with_an_x(table, size, capsys):
    _, one, _ = run("fit", table, "--imgsz", size, "--n", "2", capsys=capsys)
    _, two, _ = run("fit", table, "--imgsz", "320", "160", "--n", "2", capsys=capsys)
    assert "at 320x160 px, letterbox" in one
    assert one.splitlines()[2:6] == two.splitlines()[2:6]


@pytest.mark.parametrize("size", ["wide", "64xx", "x", "1x2x3", "640x"])
def test_a_size_that_is_none_is_refused(table, size, capsys):
    with pytest.raises(SystemExit):
        run("fit", table, "--imgsz", size, capsys=capsys)
    err = capsys.readouterr().err
    assert "640x480, got" in err or "takes one number, or width and height" in err


def test_the_size_of_net_is_taken_unless_imgsz_is_given(tmp_path, table, capsys):
    model = tmp_path / "m.cfg"
    model.write_text(CFG.format(320, 320))
    for command in (("fit", table, "--out", model, "--dry-run"), ("check", table, "--anchors", model)):
        _, out, _ = run(*command, capsys=capsys)
        assert f"at 320 px ([net] of {model}; --imgsz changes it), letterbox" in out
        _, out, _ = run(*command, "--imgsz", "640", capsys=capsys)
        assert "at 640 px, letterbox" in out
    model.write_text(CFG.format(320, 160))
    _, out, _ = run("check", table, "--anchors", model, capsys=capsys)
    assert "at 320x160 px ([net] of" in out
    for text in (CFG.format(0, 160), CFG.format("", 160), CFG.partition("\n\n")[2]):
        model.write_text(text)
        _, out, _ = run("check", table, "--anchors", model, capsys=capsys)
        assert "at 640 px, letterbox" in out


def test_the_boxes_are_scaled_to_the_size_of_net(tmp_path, table, capsys):
    model = tmp_path / "m.cfg"
    model.write_text(CFG.format(320, 320))
    found = fit(table, "--out", model, "--classes", "dog", "--dry-run", capsys=capsys)
    assert found["anchors"] == [[50, 60], [100, 110]]
    assert fit(table, "--classes", "dog", capsys=capsys)["anchors"] == [[100, 120], [200, 220]]


def test_the_format_of_the_labels_may_be_named(tmp_path, capsys):
    write_file(tmp_path / "set" / "data.yaml", "train: images\nnames: [a]\n")
    write_file(tmp_path / "set" / "labels" / "a.txt", KITTI)
    write_file(tmp_path / "set" / "images" / "a.jpg", (640, 480))
    code, _, _ = run("check-labels", tmp_path / "set" / "labels", "--data-format", "kitti", capsys=capsys)
    assert code == 0
    with pytest.raises(SystemExit):
        run("check-labels", tmp_path / "set", "--data-format", "VOC", capsys=capsys)
    assert "invalid choice: 'VOC'" in capsys.readouterr().err
