"""Small data sets in the formats of labelling tools: each as its files, with problems of several sorts."""

from __future__ import annotations

import json
from typing import NamedTuple

from PIL import Image


class Sample(NamedTuple):
    """A data set.

    main : the file with the labels, as a path in the folder of the data set
    path : what the user passes: that file, or a folder
    files : content by path; a pair is the size of an image
    more : further contents of `main`, for the tests that damage files
    """

    main: str
    path: str
    files: dict[str, object]
    more: tuple[str, ...] = ()


def labelme(shapes, name="a.jpg", size=(640, 480), **more):
    """The text of a file of LabelMe."""
    width, height = size
    content = {"version": "5.0.1", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None}
    return json.dumps({**content, "imageHeight": height, "imageWidth": width, **more})


def shape(points, kind="rectangle", label="cat"):
    """A shape of LabelMe."""
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}


def cvat(*images):
    """The text of a file of CVAT."""
    return f"<?xml version='1.0'?>\n<annotations><version>1.1</version>{''.join(images)}</annotations>"


def cvat_image(*shapes, name="a.jpg", size=(640, 480), more=""):
    """An image of CVAT with its shapes, (tag, attributes) each."""
    inner = "".join(f'<{tag} label="cat" {attributes}/>' for tag, attributes in shapes)
    return f'<image id="0" name="{name}" width="{size[0]}" height="{size[1]}" {more}>{inner}</image>'


CVAT_BOX = 'occluded="0" xtl="10.5" ytl="20" xbr="110.5" ybr="90"'
KITTI = "Car 0.00 0 -1.58 100.0 120.0 200.0 220.0 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
DONT_CARE = "DontCare -1 -1 -10 50 60 70 80 -1 -1 -1 -1000 -1000 -1000 -10\n"
TF_HEAD = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def createml(*boxes, name="a.png"):
    """An image of CreateML: x, y, width, height for each box."""
    keys = ("x", "y", "width", "height")
    return {"image": name, "annotations": [{"label": "cat", "coordinates": dict(zip(keys, box))} for box in boxes]}


def via(*shapes, name="a.png"):
    """The text of VIA's export."""
    regions = [{"shape_attributes": item, "region_attributes": {"type": "cat"}} for item in shapes]
    return json.dumps({f"{name}12": {"filename": name, "size": 12, "regions": regions, "file_attributes": {}}})


def rect(x, y, width, height):
    """A rectangle of VIA."""
    return {"name": "rect", "x": x, "y": y, "width": width, "height": height}


def task(*values, kind="rectanglelabels", size=(640, 480), image="/data/upload/1/ab-a.jpg", **more):
    """A task of Label Studio."""
    width, height = size
    result = [
        {"original_width": width, "original_height": height, "value": {**value, kind: ["cat"]}, "type": kind}
        for value in values
    ]
    return {"id": 1, "annotations": [{"id": 1, "result": result, **more}], "data": {"image": image}}


def percent(x, y, width, height):
    """A rectangle of Label Studio."""
    return {"x": x, "y": y, "width": width, "height": height, "rotation": 0}


SAMPLES = {
    "labelme": Sample(
        "a.json",
        ".",
        {
            "a.json": labelme([shape([[10, 20], [110, 220]]), shape([[1, 2], ["x", 3]]), shape([[5, 5]], "point")]),
            "b.json": labelme([shape([[300, 20], [100, 120], [200, 60]], "polygon", "dog")], "b.jpg"),
            "c.json": "{",
        },
        (
            labelme([shape([[10, 20], [20, 30]], "circle"), shape([[9, 9], [4, 4]])], flags={"a": True}),
            labelme([shape([[1, 1], [2, 9], [7, 3]], "polygon")] * 3, imageHeight="480", imageWidth=640.0),
        ),
    ),
    "createml": Sample(
        "set.json",
        "set.json",
        {
            "set.json": json.dumps(
                [createml((60, 50, 100, 50), (60, 50, "w", 50)), createml((1, 1, 2, 2), name="gone.png")]
            ),
            "a.png": (640, 480),
        },
        (json.dumps([createml((9.5, 9, 3, 4)), createml(name="b.png"), createml((90, 20, 1e1, 5))]),),
    ),
    "via": Sample(
        "via.json",
        "via.json",
        {
            "via.json": via(rect(10, 20, 100, 50), rect(1, 1, -5, 9), {"name": "point", "cx": 1, "cy": 2}),
            "a.png": (640, 480),
        },
        (
            via(
                {"name": "circle", "cx": 30, "cy": 20, "r": 5},
                {"name": "ellipse", "cx": 30, "cy": 20, "rx": 5, "ry": 2},
            ),
            '{"_via_settings": {}, "_via_img_metadata": '
            + via({"name": "polygon", "all_points_x": [1, 9, 4], "all_points_y": [2, 3, 8]})
            + "}",
        ),
    ),
    "labelstudio": Sample(
        "tasks.json",
        "tasks.json",
        {
            "tasks.json": json.dumps(
                [task(percent(10, 20, 15, 10), percent(10, 20, None, 10)), task(percent(1, 1, 2, 2))]
            )
        },
        (
            json.dumps([task({"points": [[1, 1], [5, 2], [3, 9.5]]}, kind="polygonlabels"), {"id": 2, "data": {}}]),
            json.dumps(
                [
                    {
                        "image": "a.jpg",
                        "id": 1,
                        "label": [{**percent(1, 2, 3, 4), "original_width": 99, "original_height": 50}],
                    }
                ]
            ),
        ),
    ),
    "cvat": Sample(
        "annotations.xml",
        ".",
        {
            "annotations.xml": cvat(
                cvat_image(("box", CVAT_BOX), ("box", 'xtl="ten" ytl="1" xbr="2" ybr="3"'), ("points", 'points="1,2"')),
                cvat_image(("polygon", 'points="1,1;50,1;20,81"'), name="b.jpg"),
            )
        },
        (
            cvat(cvat_image(("box", CVAT_BOX + ' rotation="30.0"'), ("ellipse", 'cx="30" cy="20" rx="9" ry="5"'))),
            "<annotations><meta><task><original_size><width>640</width><height>480</height></original_size></task></meta>"
            f'<track id="0" label="cat"><box frame="0" outside="0" {CVAT_BOX}/><box frame="1" outside="1" {CVAT_BOX}/>'
            "</track></annotations>",
        ),
    ),
    "csv": Sample(
        "train_labels.csv",
        "train_labels.csv",
        {
            "train_labels.csv": TF_HEAD
            + "a.jpg,640,480,cat,10,20,60,90\na.jpg,640,480,dog,10,x,60,90\ngone.jpg,,,cat,1,2,3,4\n"
        },
        (
            "a.png,1,2,30,40,cat\nb.png,,,,,\na.png,10,20,30,40,dog\n",
            "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\na,x,/m/01,1,0.1,0.5,0.25,0.75,0\n"
            "a,x,/m/01,1,0.1,0.5,0.25,0.75,1\n",
            'image_id,width,height,bbox,source\na.png,64,48,"[1.5, 2.0, 30.0, 20.0]",x\n',
        ),
    ),
    "keras": Sample(
        "train.txt",
        "train.txt",
        {
            "train.txt": "imgs/a.png 10,20,160,100,0 200,210,300,305,1\nimgs/b.png\n"
            "imgs/a b.png 1,2,x,4,0\nimgs/gone.png 1,2,3,4,0\n",
            "imgs/a.png": (640, 480),
            "imgs/b.png": (320, 240),
            "imgs/a b.png": (320, 240),
            "classes.txt": "cat\ndog\n",
        },
        ("imgs/a.png 10.5,20,160,100,0\r\nC:\\data\\imgs\\b.png 1,2,30,40,5\r\n",),
    ),
    "kitti": Sample(
        "label_2/a.txt",
        ".",
        {
            "label_2/a.txt": KITTI + DONT_CARE,
            "label_2/b.txt": KITTI + "Car 1 2\n",
            "image_2/a.png": (640, 480),
            "image_2/b.png": (640, 480),
        },
        (KITTI * 2, KITTI.replace("Car", "Van").replace("100.0", "-5.25") + DONT_CARE),
    ),
    "visdrone": Sample(
        "annotations/a.txt",
        ".",
        {
            "annotations/a.txt": "684,8,273,116,0,0,0,0\n255,22,119,128,1,4,0,1\n",
            "annotations/b.txt": "1,2,30,40,1,4,0,1,\n5,6,7\n",
            "images/a.jpg": (1360, 765),
            "images/b.jpg": (640, 480),
        },
        ("10,10,20,30,1,1,0,0\r\n50,60,20,30,1,11,0,0\r\n",),
    ),
    "dota": Sample(
        "labelTxt/a.txt",
        ".",
        {
            "labelTxt/a.txt": "imagesource:GoogleEarth\ngsd:0.146\n100 100 200 110 195 190 95 180 ship 0\n1 2 3\n",
            "labelTxt/b.txt": "320 240 500 240 500 300 320 300 plane 1\n",
            "images/a.jpg": (640, 480),
            "images/b.jpg": (640, 480),
        },
        ("100 100 200 110 195 190 95 180 large-vehicle\n1.5 2.5 30 2.5 30 40 1.5 40 ship 0\n",),
    ),
}


def make_sample(kind, folder):
    """Write the data set of a format; return the path to read."""
    sample = SAMPLES[kind]
    for name, content in sample.files.items():
        write_file(folder / name, content)
    return folder / sample.path


def write_file(place, content):
    """Write a text, bytes, or a blank image of a size."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, tuple):
        Image.new("L", content).save(place)
    else:
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
