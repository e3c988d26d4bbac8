"""Each row of the table of exports in docs/guide-data.md is read from a file of that shape."""

import json
import re
from pathlib import Path

import pytest
from helpers.other_formats import (
    CVAT_BOX,
    KITTI,
    SAMPLES,
    TF_HEAD,
    createml,
    cvat,
    cvat_image,
    labelme,
    rect,
    shape,
    task,
    via,
    write_file,
)
from helpers.slow_counts import make_coco, make_voc, make_yolo, voc_object

from anchorlib.datasets import read_boxes
from anchorlib.datasets.recognition import find_format

GUIDE = (Path(__file__).parents[2] / "docs" / "guide-data.md").read_text(encoding="utf-8")
TABLE = GUIDE.partition("| tool and export | pass | format |\n|---|---|---|\n")[2].partition("\n\n")[0].splitlines()
ROWS = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in TABLE]
ROW = "0 0.5 0.5 0.5 0.5\n"
BOX = "a.jpg,640,480,cat,10,20,60,90\n"
IMAGES = {"a.jpg": (640, 480), "b.jpg": (640, 480)}
MIN = {
    "x": 1,
    "y": 2,
    "width": 30,
    "height": 40,
    "rectanglelabels": ["cat"],
    "original_width": 640,
    "original_height": 480,
}
VIA_HEAD = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
VIA_ROW = 'a.jpg,1,{},1,0,"{""name"":""rect"",""x"":1,""y"":2,""width"":30,""height"":40}","{""type"":""cat""}"\n'

#: tool and export -> the files (or what makes them), and the paths that the second column means
FILES = {
    "Ultralytics, YOLOv5, Roboflow: YOLO": (lambda d: make_yolo(d, ["0 0.5 0.5 0.5 0.5\n"]), ["data.yaml", "."]),
    "LabelImg, make-sense: YOLO, labels next to the images": (
        {"a.jpg": (640, 480), "a.txt": ROW, "classes.txt": "cat\n"},
        ["."],
    ),
    "Label Studio: YOLO": (
        {"images/1-a.jpg": (640, 480), "labels/1-a.txt": ROW, "classes.txt": "cat\n", "notes.json": "{}"},
        ["."],
    ),
    "CVAT: Ultralytics YOLO": (
        {
            "data.yaml": "names:\n  0: cat\npath: .\ntrain: train.txt\n",
            "train.txt": "data/images/train/a.jpg\n",
            "images/train/a.jpg": (640, 480),
            "labels/train/a.txt": ROW,
        },
        ["data.yaml", "."],
    ),
    "Ultralytics: YOLO OBB": (lambda d: make_yolo(d, ["0 0.1 0.1 0.5 0.1 0.5 0.4 0.1 0.4\n"]), ["data.yaml", "."]),
    "LabelImg, Pascal VOC: XML": (lambda d: make_voc(d, voc_object(1, 1, 9, 9)), ["."]),
    "COCO, Roboflow, CVAT: COCO JSON": (
        lambda d: make_coco(d / "a.json", [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]),
        ["a.json"],
    ),
    "darknet: `.data`, or a list of images": (
        lambda d: [
            make_yolo(d, ["0 0.5 0.5 0.5 0.5\n"]),
            write_file(d / "list.txt", "images/train/a.png\n"),
            write_file(d / "set.data", "train = list.txt\n"),
        ],
        ["set.data", "list.txt"],
    ),
    "CVAT: YOLO 1.1": (
        {
            "obj.data": "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
            "obj.names": "cat\n",
            "train.txt": "data/obj_train_data/a.jpg\n",
            "obj_train_data/a.jpg": (640, 480),
            "obj_train_data/a.txt": ROW,
        },
        ["obj.data", "."],
    ),
    "LabelMe, AnyLabeling, X-AnyLabeling: JSON": ({"a.json": labelme([shape([[1, 2], [30, 40]])])}, [".", "a.json"]),
    "CVAT for images 1.1: XML": ({"annotations.xml": cvat(cvat_image(("box", CVAT_BOX)))}, [".", "annotations.xml"]),
    "CVAT for video 1.1: XML, each visible box of a track": (
        {"annotations.xml": SAMPLES["cvat"].more[1]},
        [".", "annotations.xml"],
    ),
    "CreateML, Roboflow: CreateML JSON": (
        {
            "train/_annotations.createml.json": json.dumps([createml((9, 9, 3, 4), name="a.jpg")]),
            "train/a.jpg": (640, 480),
        },
        [".", "train/_annotations.createml.json"],
    ),
    "Label Studio: JSON": ({"p.json": json.dumps([task({"x": 1, "y": 2, "width": 3, "height": 4})])}, ["p.json"]),
    "Label Studio: JSON-MIN": ({"p.json": json.dumps([{"image": "/data/a.jpg", "id": 1, "label": [MIN]}])}, ["p.json"]),
    "VIA 1 and 2: JSON or project": ({"v.json": via(rect(1, 2, 30, 40), name="a.jpg"), **IMAGES}, ["v.json"]),
    "VIA 1 and 2: CSV": ({"v.csv": VIA_HEAD + VIA_ROW, **IMAGES}, ["v.csv"]),
    "TensorFlow, Roboflow: CSV": ({"train/_annotations.csv": TF_HEAD + BOX}, ["train/_annotations.csv", "."]),
    "keras-retinanet: CSV": ({"a.csv": "a.jpg,10,20,60,90,cat\nb.jpg,,,,,\n", **IMAGES}, ["a.csv"]),
    "Open Images: CSV, groups are left out": (
        {
            "a.csv": "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\na,/m/1,0.1,0.5,0.1,0.5,0\na,/m/1,0,1,0,1,1\n",
            **IMAGES,
        },
        ["a.csv"],
    ),
    "Kaggle: CSV with a column `bbox`": (
        {"a.csv": 'image_id,width,height,bbox\na,640,480,"[1, 2, 3, 4]"\n'},
        ["a.csv"],
    ),
    "AutoML, Vertex AI: CSV": ({"a.csv": "TRAIN,gs://b/a.jpg,cat,0.1,0.1,,,0.5,0.5,,\n", **IMAGES}, ["a.csv"]),
    "VoTT: CSV": (
        {"a.csv": '"image","xmin","ymin","xmax","ymax","label"\n"a.jpg",1,2,30,40,"cat"\n', **IMAGES},
        ["a.csv"],
    ),
    "keras-yolo3: `train.txt` with boxes": ({"train.txt": "a.jpg 10,20,60,90,0\nb.jpg\n", **IMAGES}, ["train.txt"]),
    "KITTI: `label_2`, without DontCare": ({"label_2/a.txt": KITTI, "image_2/a.jpg": (640, 480)}, [".", "label_2"]),
    "DOTA: `labelTxt`": (
        {"labelTxt/a.txt": "1 2 30 2 30 40 1 40 ship 0\n", "images/a.jpg": (640, 480)},
        [".", "labelTxt"],
    ),
    "VisDrone: `annotations`, without ignored rows": (
        {"annotations/a.txt": "1,2,30,40,1,4,0,0\n5,6,30,40,0,0,0,0\n", "images/a.jpg": (640, 480)},
        ["."],
    ),
}


def test_the_table_has_the_exports_that_are_tried_here():
    assert [row[0] for row in ROWS] == list(FILES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_an_export_is_read_as_the_table_says(tmp_path, row):
    tool, passed, format = row
    files, paths = FILES[tool]
    tmp_path = tmp_path / "set"
    tmp_path.mkdir()
    if callable(files):
        files(tmp_path)
    else:
        for name, content in files.items():
            write_file(tmp_path / name, content)
    for path in paths:
        assert f"`{find_format(str(tmp_path / path))[0].name}`" == format
        boxes = read_boxes(tmp_path / path)
        assert len(boxes) == 1
        assert not [problem for problem in boxes.problems if problem.costs]
        assert path == "." or any(word in path for word in re.findall(r"`\.?([^`]+)`", passed))
