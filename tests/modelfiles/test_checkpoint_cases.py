"""Checkpoints as people have them: the anchors are read, or one sentence says why not and what to do."""

from pathlib import Path

import pytest

from anchorlib.cli import main

CASES = Path(__file__).parent.parent / "data" / "cases" / "checkpoints"
COCO = "stride 8    10 x 13  16 x 30  33 x 23"

#: File -> what `anchorlib show` says of it.
READ = ("bare_model.pt", "ema_only.pt", "yolov5_v3_grid_half.pt", "yolov7_idetect.pt")
STATE_DICTS = ("legacy.pt", "lightning.ckpt", "state_dict.pt")
REFUSED = {
    "cut.pt": "its zip directory is damaged",
    "empty.pt": "it is empty",
    "html.pt": "it is a web page: the download failed, repeat it",
    "lfs.pt": "it is a pointer of Git LFS: run `git lfs pull`",
    "mmyolo.pth": "has no anchors",
    "model.onnx": "anchors are not read from .onnx files. Pass the checkpoint that was exported.",
    "model.torchscript": "pass the checkpoint from which it was made",
    "yolov3.weights": "anchors are not read from .weights files. Pass the .cfg of the model.",
    "yolov8.pt": "is a model of YOLOv8 or later, which has no anchors",
    **dict.fromkeys(STATE_DICTS, "Pass strides= (--strides) of its 3 layers, for example 8 16 32."),
}


def test_every_case_is_here():
    assert {path.name for path in CASES.iterdir()} == {*READ, *REFUSED}


@pytest.mark.parametrize("name", READ)
def test_the_anchors_of_a_model_are_shown(name, capsys):
    assert main(["show", str(CASES / name)]) == 0
    assert COCO in capsys.readouterr().out


@pytest.mark.parametrize("name", STATE_DICTS)
def test_with_strides_the_anchors_of_a_state_dict_are_shown(name, capsys):
    assert main(["show", str(CASES / name), "--strides", "8", "16", "32"]) == 0
    assert COCO in capsys.readouterr().out


@pytest.mark.parametrize("name", REFUSED)
def test_another_file_is_refused_with_what_to_do(name, capsys):
    assert main(["show", str(CASES / name)]) == 2
    told = capsys.readouterr().err
    assert REFUSED[name] in told
    assert len(told.splitlines()) == 1
