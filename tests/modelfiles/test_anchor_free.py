"""Files of models that have no anchors: `--out`, `check` and `show` name the model; files of others are not accused."""

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
from helpers.command import run

ROOT = Path(__file__).parent.parent.parent
BCCD = str(ROOT / "tests/data/bccd")

HEAD = "nc: 80\nbackbone:\n  - [-1, 1, Conv, [64, 3, 2]]\nhead:\n  - [[4, 6, 9], 1, {}]\n"

MODELS = {
    "m8.yaml": (HEAD.format("Detect, [nc]"), "YOLOv8 or later"),  # also yolov3u and yolov5u
    "m8-seg.yaml": (HEAD.format("Segment, [nc, 32, 256]"), "YOLOv8 or later"),
    "m10.yaml": (HEAD.format("v10Detect, [nc]"), "YOLOv10"),
    "m11.yaml": (HEAD.format("Detect, [nc]").replace("Conv", "C3k2"), "YOLO11 or later"),
    "r.yaml": (HEAD.format("RTDETRDecoder, [nc]"), "RT-DETR"),
    "rt.yml": ("architecture: DETR\nDETR:\n  transformer: RTDETRTransformer\n", "RT-DETR"),
    "e.yml": ("architecture: YOLOv3\nYOLOv3:\n  yolo_head: PPYOLOEHead\n", "PP-YOLOE"),
    "x.py": ("from yolox.exp import Exp as MyExp\nclass Exp(MyExp):\n    depth = 0.33\n", "YOLOX"),
    "x2.py": ("model = dict(type='YOLOX', bbox_head=dict(type='YOLOXHead', num_classes=80))\n", "YOLOX"),
    "d.py": ("model = dict(type='DeformableDETR', bbox_head=dict(type='DeformableDETRHead'))\n", "DETR"),
    "t.py": ("model = dict(type='RTMDet', bbox_head=dict(type='RTMDetSepBNHead'))\n", "RTMDet"),
    "x.pth": ({"model": OrderedDict({"head.obj_preds.0.weight": 1.0})}, "YOLOX"),
    "d.pth": ({"model": OrderedDict({"query_embed.weight": 1.0})}, "DETR"),
    "s8.pt": (OrderedDict({"model.22.dfl.conv.weight": 1.0}), "YOLOv8 or later"),
    "m8.pt": (None, "YOLOv8 or later"),
}


@pytest.mark.parametrize(
    "command", [["show"], ["check", BCCD, "--anchors"], ["fit", BCCD, "--out"]], ids=lambda c: c[0]
)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_anchors_is_named(tmp_path, monkeypatch, name, command, capsys):
    monkeypatch.chdir(tmp_path)
    content, model = MODELS[name]
    if content is None:
        Path(name).symlink_to(ROOT / "tests/data/cases/checkpoints/yolov8.pt")
    elif isinstance(content, str):
        Path(name).write_text(content)
    else:
        Path(name).write_bytes(pickle.dumps(content))
    before = Path(name).read_bytes()
    code, out, err = run(*command, name, capsys=capsys)
    assert (code, out) == (2, "")
    assert err == (
        f"anchorlib: {name} is a model of {model}, which has no anchors: there are none to check, fit or write. "
        "anchorlib is for models with anchors, such as YOLOv2 to YOLOv5, YOLOv7 and YOLOR.\n"
    )
    assert Path(name).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("yolov8n.yaml", "YOLOv8 or later"),
        ("yolo11s-seg.yaml", "YOLO11 or later"),
        ("rtdetr-l.yaml", "RT-DETR"),
        ("yolox_s.py", "YOLOX"),
    ],
)
def test_no_file_is_made_with_the_name_of_a_model_without_anchors(tmp_path, monkeypatch, name, model, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("fit", BCCD, "--out", name, capsys=capsys) == (
        2,
        "",
        f"anchorlib: {name} does not exist, and has the name of a model of {model}, which has no anchors. "
        "anchorlib is for models with anchors, such as YOLOv2 to YOLOv5, YOLOv7 and YOLOR.\n",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.yaml", HEAD.format("Detect, [nc, anchors]")),  # YOLOv5's, but its anchors are missing
        ("m.yaml", HEAD.format("IDetect, [nc, anchors]")),
        ("m.yaml", "a: 1\n"),
        ("m.py", "model = dict(type='YOLOV3')\n"),
        ("m.json", '{"a": 1}'),
    ],
)
def test_another_file_without_anchors_is_not_accused(tmp_path, name, content, capsys):
    (tmp_path / name).write_text(content)
    code, _, err = run("show", str(tmp_path / name), capsys=capsys)
    assert code == 2
    assert "which has no anchors" not in err


def test_a_model_with_anchors_may_mention_others(tmp_path, capsys):
    path = tmp_path / "yolov8_like.yaml"
    path.write_text(
        "# faster than YOLOX and RT-DETR\nanchors:\n  - [10,13, 16,30]\n" + HEAD.format("C2f, [nc, anchors]")
    )
    assert run("show", str(path), capsys=capsys)[0] == 0
