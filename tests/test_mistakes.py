"""Test the whole message of what newcomers do wrong: it says what must hold, what came, and what to do."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.command import run
from PIL import Image

import anchorlib
from anchorlib.cli import main
from anchorlib.errors import ArrayTypeError, BadValueError, ShapeError

ROOT = Path(__file__).parent.parent
COCO = [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
MODEL = (
    "nc: 2\nanchors:\n"
    + "".join(f"  - {layer}\n" for layer in COCO)
    + "head: [[[1, 2, 3], 1, Detect, [nc, anchors]]]\n"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with a data set, a model, anchors in other units, and images without labels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bccd").symlink_to(ROOT / "tests/data/bccd")
    (tmp_path / "best.pt").symlink_to(ROOT / "tests/data/checkpoints/yolov5_zip.pt")
    for name in ("set/images", "set/labels", "pictures", "pixels/images", "pixels/labels"):
        Path(name).mkdir(parents=True)
    for name in ("set/images/1.png", "pictures/1.png", "pixels/images/1.png"):
        Image.new("L", (64, 64)).save(name)
    Path("set/labels/1.txt").write_text("0 0.5 0.5 0.5 0.25\n0 0.5 0.5 0.5 0.5\n")
    Path("pixels/labels/1.txt").write_text("0 30 30 20 20\n")
    shutil.copytree("set", "lost")
    Path("lost/labels/2.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    for name in ("set", "pixels", "lost"):
        Path(name, "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    Path("model.yaml").write_text(MODEL)
    strides = np.asarray([8, 16, 32])[:, None, None]
    Path("grid.json").write_text(json.dumps((np.asarray(COCO) / strides).tolist()))
    Path("shares.json").write_text(json.dumps((np.asarray(COCO) / 640).tolist()))


#: name -> what is typed, and the whole of standard error
COMMANDS = {
    "a wrong path": ("fit data.yml", "anchorlib: data.yml: there is no such file or folder.\n"),
    "a wrong path of anchors": (
        "check bccd --anchors best.yaml",
        "anchorlib: best.yaml: No such file or directory.\n",
    ),
    "a folder of images": (
        "fit pictures",
        "anchorlib: pictures: these are images without labels: pass the folder that has both, or its data.yaml.\n",
    ),
    "labels in pixels": (
        "fit pixels",
        "anchorlib: pixels: split 'train' has no usable boxes: 1 readable images, 1 label rows, 1 of them rejected. "
        "First of 1 problems: pixels/labels/1.txt:1: centre and size must be inside the image: '0 30 30 20 20' (row "
        "refused). YOLO rows are fractions of the image: if these are pixels, divide them by its width and height.\n",
    ),
    "labels whose images are missing": (
        "fit lost",
        "anchorlib: lost: 9 anchors need at least as many boxes, got 2: 1 of 3 label rows in split 'train' were "
        "rejected. `anchorlib check-labels lost` says why.\n",
    ),
    "a model instead of data": (
        "fit model.yaml",
        "anchorlib: model.yaml is the file of a model, not of a data set. Pass the data.yaml here, and this file as "
        "--out or --anchors (in Python: refit, read_anchors).\n",
    ),
    "data instead of a model": (
        "fit bccd --out set/data.yaml",
        "anchorlib: set/data.yaml is a data set, not a model: it has no anchors. Pass it as DATA, and here the file of "
        "a model.\n",
    ),
    "a folder instead of a model": (
        "check bccd --anchors set",
        "anchorlib: set: expected a file of anchors, got a folder. Pass the file of a model in it.\n",
    ),
    "the weights of another framework": (
        "check bccd --anchors model.h5",
        "anchorlib: model.h5: anchors are not read from .h5 files. Pass a .txt or .json file with the anchors.\n",
    ),
    "weights as a file to write": (
        "fit bccd --out best.pt",
        "anchorlib: best.pt: unknown suffix '.pt'. Use .yaml, .yml, .cfg, .py, .json, .txt, or pass format= (--format)"
        ". Checkpoints can be read, but not written.\n",
    ),
    "a number of anchors that the layers cannot have": (
        "fit bccd --out model.yaml --n 10",
        "anchorlib: model.yaml has 3 layers: n must be a multiple of 3, or one number for each layer, got 10.\n",
    ),
    "counts of other layers": (
        "fit bccd --out model.yaml --n 3 3",
        "anchorlib: model.yaml has 3 layers: n must be a multiple of 3, or one number for each layer, got [3, 3].\n",
    ),
    "no anchors": (
        "fit bccd --n 0",
        "anchorlib: n must be an integer >= 1, or one such integer for each layer, got [0].\n",
    ),
    "more anchors than sizes": ("fit set", "anchorlib: n=9 needs at least 9 distinct box sizes, got 2 boxes.\n"),
    "a folder that is not there": (
        "fit bccd --out runs/model.yaml",
        "anchorlib: runs/model.yaml: there is no folder runs. Make it first.\n",
    ),
    "a class that is not there": (
        "fit set --classes bird",
        "anchorlib: there is no class 'bird'; the data set has cat, dog.\n",
    ),
    "another name of a split": (
        "fit set --split valid",
        "anchorlib: set/data.yaml: looked for the split 'valid', found train. Its keys are ['names', 'train'].\n",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_mistake_on_the_command_line_is_told_in_one_line(folder, name, capsys):
    typed, message = COMMANDS[name]
    assert run(*typed.split(), capsys=capsys) == (2, "", message)
    assert Path("model.yaml").read_text() == MODEL


#: what is typed -> the end of standard error, after the usage
WRONG_OPTIONS = {
    "fti bccd": "anchorlib: error: argument COMMAND: invalid choice: 'fti' (choose from",  # Python 3.9 quotes otherwise
    "fit bccd --imgz 640": "anchorlib fit: error: unrecognized arguments: --imgz 640\nDid you mean --imgsz?\n",
    "fit bccd --n nine": "anchorlib fit: error: argument --n: invalid int value: 'nine'\n",
    "fit --n 9 data.yaml": "anchorlib fit: error: argument --n: invalid int value: 'data.yaml'\n"
    "Put DATA or FILE first, before options that take several numbers.\n",
    "check bccd": "anchorlib check: error: the following arguments are required: --anchors\n",
    "fit bccd --imgsz 640,480": "anchorlib fit: error: argument --imgsz: expected a size such as 640 or 640x480, got "
    "'640,480'\n",
}


@pytest.mark.parametrize("typed", WRONG_OPTIONS)
def test_a_wrong_option_is_told_after_the_usage(folder, typed, capsys):
    with pytest.raises(SystemExit) as ended:
        main(typed.split())
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: anchorlib")
    told = err[err.index("anchorlib", err.index("\nanchorlib")) :]
    if typed.startswith("fti"):
        assert told.startswith(WRONG_OPTIONS[typed])
        assert told.endswith(")\nDid you mean fit?\n")
    else:
        assert told == WRONG_OPTIONS[typed]


#: what is typed -> the sentence on it, and the exit code
SAID = {
    "check bccd --anchors grid.json": (
        "These anchors look like grid units, not pixels: multiplied by the strides 8, 16, 32, their recall is 0.9996. "
        "Multiply them.",
        1,
    ),
    "check bccd --anchors shares.json": (
        "These anchors look like shares of the image, not pixels: multiplied by 640x640, their recall is 0.9996. "
        "Multiply them.",
        1,
    ),
    "check bccd --anchors best.pt --imgsz 4000": (
        "These anchors look made for another image size: at 640 px their recall is 0.9996. If the model is trained at "
        "that size, pass --imgsz 640.",
        1,
    ),
    "fit bccd --imgsz 650": (
        "The image size 650 is not a multiple of 32, the largest stride of most models: YOLOv5 would train at 672. "
        "Pass --imgsz 672.",
        0,
    ),
    "check bccd --anchors best.pt --imgsz 640x360": (
        "The image size 640x360 is not a multiple of 32, the largest stride of most models: YOLOv5 would train at "
        "640x384. Pass --imgsz 640x384.",
        0,
    ),
}


@pytest.mark.parametrize("typed", SAID)
def test_what_looks_wrong_is_said_with_the_result(folder, typed, capsys):
    sentence, expected = SAID[typed]
    code, out, err = run(*typed.split(), capsys=capsys)
    assert (code, err) == (expected, "")
    assert sentence in out.splitlines()


def test_a_folder_that_is_read_only_is_told_with_the_file_that_was_asked_for(folder, monkeypatch, capsys):
    opened = os.open

    def refuse(path, flags, *rest, **more):
        if flags & os.O_CREAT:  # as root, chmod would not refuse anything
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    code, out, err = run("fit", "bccd", "--method", "kmeans", "--out", "new.yaml", capsys=capsys)
    assert (code, err) == (2, "anchorlib: new.yaml: Permission denied.\n")  # not the name of the temporary file
    assert "9 anchors, a good fit" in out  # they are not lost


class DataFrame:
    """Stand for a table of pandas, which the library does not depend on."""

    def to_numpy(self):
        return np.ones((3, 2))


DataFrame.__module__ = "pandas.core.frame"

BOXES = np.asarray([[10.0, 20.0], [12.0, 20.0], [100.0, 90.0], [90.0, 100.0]])
LAYERS = [np.asarray([[1.25, 1.625], [2.0, 3.75]])]
TARGETS = np.asarray([[0, 1, 0.5, 0.5, 0.25, 0.25]])

EXPECTED_ARRAYS = "is not a supported array type; expected numpy.ndarray, torch.Tensor or oneflow.Tensor."

#: name -> call, error, the whole message
CALLS = {
    "targets in pixels": (
        lambda: anchorlib.build_targets(TARGETS * [1, 1, 640, 640, 640, 640], LAYERS, [(80, 80)], validate=True),
        BadValueError,
        "targets must have a number in [0, 1] as cx (column 2), got 320 in row 0: [0.0, 1.0, 320.0, 320.0, 160.0, "
        "160.0]; 1 of 1 rows are wrong. If the boxes are in pixels, divide them by the width and height of the image.",
    ),
    "lists instead of arrays": (
        lambda: anchorlib.build_targets(TARGETS.tolist(), LAYERS, [(80, 80)]),
        ArrayTypeError,
        f"builtins.list {EXPECTED_ARRAYS} Pass np.asarray(x).",
    ),
    "rows of different lengths": (
        lambda: anchorlib.fit_anchors([[10, 20], [30]], 1),
        ShapeError,
        "boxes_wh must be numbers, in rows of equal length, got [[10, 20], [30]].",
    ),
    "a DataFrame": (
        lambda: anchorlib.fit_anchors(DataFrame(), 2),
        ArrayTypeError,
        f"pandas.core.frame.DataFrame {EXPECTED_ARRAYS} Pass x.to_numpy().",
    ),
    "corners instead of sizes": (
        lambda: anchorlib.fit_anchors(np.ones((5, 4)), 2),
        ShapeError,
        "boxes_wh must have shape (N, 2), got numpy float64 (5, 4). For corner boxes use boxes.xyxy_to_wh, for centre "
        "boxes boxes[:, 2:].",
    ),
    "normalised sizes": (
        lambda: anchorlib.fit_anchors(BOXES / 640, 2),
        BadValueError,
        "none of 4 boxes has a side of 2 px or more; sizes are in pixels. Are these fractions of the image?",
    ),
    "a number as text": (
        lambda: anchorlib.fit_anchors(BOXES, "2"),
        BadValueError,
        "n must be an integer >= 1, or one such integer for each layer, got '2'.",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_mistake_in_python_is_told_by_an_error(name):
    call, error, message = CALLS[name]
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("missing", "arguments", "message"),
    [
        (
            "matplotlib",
            ["fit", "bccd", "--report", "r.png"],
            "pictures need matplotlib: ModuleNotFoundError: import of matplotlib halted; None in sys.modules. pip "
            "install 'matplotlib>=3.5', or name a .html file.",
        ),
        (
            "torch",
            ["fit", "bccd", "--backend", "torch"],
            "backend 'torch' did not import: import of torch halted; None in sys.modules. pip install 'torch>=1.13', "
            "or use numpy.",
        ),
    ],
)
def test_a_missing_extra_is_named_with_how_to_install_it(folder, missing, arguments, message):
    code = f"import sys; sys.modules[{missing!r}] = None; from anchorlib.cli import main; sys.exit(main(sys.argv[1:]))"
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"anchorlib: {message}\n"
