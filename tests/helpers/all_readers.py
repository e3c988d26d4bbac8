"""Every reader of files that the library has, with sound files to damage."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Callable

import numpy as np
from PIL import Image

from anchorlib.datasets import read_boxes
from anchorlib.datasets.io.image_header import image_size
from anchorlib.errors import ModelError
from anchorlib.modelfiles import FORMATS, format_anchors, read_anchors
from helpers.mutate import Reader
from helpers.other_formats import SAMPLES, make_sample
from helpers.packed_readers import check_sizes, copy_oneflow, packed_readers
from helpers.slow_counts import make_voc, make_yolo, voc_object


def make_folder(folder: Path) -> Path:
    """The sound files that stand around the damaged one."""
    make_yolo(folder, [LABELS[0].decode(), LABELS[1].decode(), None])
    (folder / "list.txt").write_bytes(LISTS[0])
    (folder / "set.names").write_text("cat\ndog\n")
    make_voc(folder / "voc", voc_object(10, 10, 30, 20) * 2)
    (folder / "voc" / "ImageSets" / "Main").mkdir(parents=True)
    copy_oneflow(folder)
    for kind in SAMPLES:
        make_sample(kind, folder / kind)
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))  # files that have just changed are not kept in a cache
    return folder


def _boxes(entry: str, split: str = "all") -> Callable[[Path, int], list[str]]:
    def read(folder: Path, number: int) -> list[str]:
        return check_sizes(read_boxes(folder / entry, split=split, problems=("report", "raise")[number % 2]))

    return read


def _sample(kind: str) -> Callable[[Path, int], list[str]]:
    def read(folder: Path, number: int) -> list[str]:
        path, problems = folder / kind / SAMPLES[kind].path, ("report", "raise")[number % 2]
        return check_sizes(read_boxes(path, split="all", problems=problems, format=kind))

    return read


def _image(folder: Path, number: int) -> list[str]:
    width, height, _ = image_size(str(folder / "image"))
    assert width > 0
    assert height > 0
    return []


def _anchors(name: str) -> Callable[[Path, int], list[str]]:
    def read(folder: Path, number: int) -> list[str]:
        for layer in read_anchors(folder / name):
            assert layer.shape[1] == 2
            assert np.isfinite(layer).all()
            assert (layer > 0).all()
        return []

    return read


def _at(path: str) -> Callable[[Path], Path]:
    return lambda folder: folder / path


LABELS = (
    b"0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.2 0.1 0.2 0.3\n",
    b"\xef\xbb\xbf1 0.512345 0.4999999 1e-1 .25\r\n0 0.5 0.5 0.2 0.4 \r\n\r\n0 5e-1 +0.5 0.25 0.75\r\n",
    b"0 0.5 0.5 0.1 0.1 0.3 0.3 2 0.4 0.4 1\n" * 3,
    b"".join(b"%d 0.%04d 0.5 0.1 0.2\n" % (i % 2, 1000 + 37 * i) for i in range(60)),
)
YAMLS = (
    b"train: images/train\nnc: 2\nnames: [cat, dog]\n",
    b"path: .\ntrain: [images/train, images/train]\nval: ../images/train\ntest: list.txt\nnames:\n  0: cat\n  1: dog\n",
    b"a: &a {x: 1}\nb: *a\ntrain: list.txt\nkpt_shape: [2, 3]\nnc: 2\ndownload: |\n  echo 1\n",
)
LISTS = (
    b"images/train/a.png\nimages/train/b.png\n",
    b"./images/train/a.png\r\n\r\n../images/train/c.png\nimages/train/gone.png\n",
)
OPTIONS = (
    b"classes=2\ntrain=list.txt\nnames=set.names\n",
    b"# of pets\nclasses = 2\ntrain  = ./list.txt\nvalid = list.txt\ntest=gone.txt\nnames = set.names\nbackup = b\n",
)
VOC = tuple(
    text.encode()
    for text in (
        f"<annotation><filename>a.jpg</filename><size><width>100</width><height>50</height><depth>3</depth></size>"
        f"{voc_object(10, 10, 30, 20)}{voc_object('1.5', 2, '40.25', 50, 'dog')}</annotation>",
        "<?xml version='1.0' encoding='utf-8'?>\n<!DOCTYPE annotation>\n<annotation>\n <filename>a.jpg</filename>"
        + voc_object(1, 2, 3, 4, extra="<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>")
        + "<!-- here --><size><width>1e2</width><height>50.0</height></size></annotation>",
        '<?xml version="1.0" encoding="gb2312"?><v:Annotation xmlns:v="voc"><v:filename>a.jpg</v:filename><v:object>'
        "<v:name>cat</v:name><v:robndbox><v:cx>20</v:cx><v:cy>20</v:cy><v:w>9</v:w><v:h>5.5</v:h><v:angle>0.3</v:angle>"
        "</v:robndbox></v:object><v:object><v:polygon><v:x1>1</v:x1><v:y1>2</v:y1><v:x2>9</v:x2><v:y2>8</v:y2>"
        "</v:polygon></v:object><v:size><v:width>100</v:width><v:height>50</v:height></v:size></v:Annotation>",
    )
)
SPLITS = (b"a\n", b"a  1\ngone -1\r\n", b"JPEGImages/a.jpg Annotations/a.xml\n./b.jpg\n")


def _coco() -> tuple[bytes, ...]:
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 3.5, 4, 5, 6]]},
        {"id": 2, "image_id": "2", "category_id": 3, "bbox": [0.5, 1.25, 30.0, 4e1], "iscrowd": 0, "area": 12.5},
        {"id": 3, "image_id": 1, "category_id": 3, "bbox": [0, 0, 5, 5], "iscrowd": 1, "segmentation": {"size": [2]}},
    ]
    odd = [
        {"id": "4", "image_id": "1", "category_id": "3", "bbox": ["1", "2", "3.5", "4"], "iscrowd": "0"},
        {"id": 5, "image_id": 1, "category_id": 1, "bbox": [], "segmentation": [[1, 2, 3.5, 4, 5, 6], [7, 8]]},
        {"id": 6, "image_id": 1, "category_id": 7, "segmentation": {"size": [50, 100], "counts": "3d0Oc]"}},
        {"id": 7, "image_id": 3, "category_id": 1, "segmentation": {"size": [50, 100], "counts": [120, 3, 4877]}},
    ]
    images = [{"id": n, "width": 100, "height": 50, "file_name": f"{n}.jpg"} for n in (1, 2)]
    images += [{"id": 3, "width": "-1", "file_name": "images/train/a.png"}]
    categories = [{"id": 1, "name": "cat"}, {"id": 3, "name": "d\u00f6g"}]
    content = {"images": images, "categories": categories}
    return tuple(
        json.dumps({**content, "annotations": chosen}).encode() for chosen in (annotations[:1], annotations, odd)
    )


def _images() -> tuple[bytes, ...]:
    """One of each kind that Pillow can write, some with EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    made = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "MPO", "JPEG2000", "AVIF"):
        for options in ({}, {"exif": exif}, {"progressive": True, "comment": b"here", "compression": "tiff_lzw"}):
            file = io.BytesIO()
            with contextlib.suppress(KeyError, OSError, ValueError):  # this Pillow was built without that kind
                Image.new("RGB", (40, 30), (200, 10, 90)).save(file, kind, **options)
                made.append(file.getvalue())
    return tuple(dict.fromkeys(made))


ANCHORS = [np.asarray([[10, 13], [16, 30.5]]), np.asarray([[61, 45], [116, 90]])]
SUFFIXES = {"yolo": ".yaml", "darknet": ".cfg", "mmdet": ".py", "paddle": ".yaml", "json": ".json", "text": ".txt"}
MODELS = {
    "yolo": b"nc: 80\nanchors:\n  - [10,13, 16,30]\nbackbone:\n  [[-1, 1, Conv, [64, 6, 2, 2]]]\n",
    "darknet": b"[net]\nbatch=64\n[region]\nanchors = 1.3221, 1.73145, 3.19275, 4.00944\nnum=2\n",
    "mmdet": b"_base_ = '../base.py'\nanchors = [[(10, 13), (16, 30)], [(30, 61)]]\nmodel = dict(bbox_head=dict())\n",
    "paddle": b"YOLOv3Head:\n  anchors: [[10, 13], [16, 30], [33, 23]]\n  anchor_masks: [[1, 2], [0]]\n  nc: 80\n",
    "json": b'{"model": {"anchors": [10, 13, 16, 30], "labels": ["a"]}, "train": {}}',
    "text": b"10,13,  16,30.5,  33,23",
}


def all_readers() -> tuple[Reader, ...]:
    """Every reader of files there is; a new one has a line here."""
    return (
        Reader("YOLO labels", ".txt", LABELS, _at("labels/train/a.txt"), _boxes("data.yaml")),
        Reader("data.yaml", ".yaml", YAMLS, _at("data.yaml"), _boxes("data.yaml")),
        Reader("list of images", ".txt", LISTS, _at("list.txt"), _boxes("list.txt")),
        Reader("darknet .data", ".data", OPTIONS, _at("set.data"), _boxes("set.data")),
        Reader("COCO json", ".json", _coco(), _at("coco.json"), _boxes("coco.json")),
        Reader("VOC xml", ".xml", VOC, _at("voc/Annotations/a.xml"), _boxes("voc")),
        Reader("VOC list", ".txt", SPLITS, _at("voc/ImageSets/Main/val.txt"), _boxes("voc", "val")),
        Reader("image header", ".image", _images(), _at("image"), _image, (OSError,)),
        *(
            Reader(
                f"anchors {form}",
                SUFFIXES[form],
                (format_anchors(ANCHORS, form).encode(), MODELS[form]),
                _at(f"anchors{SUFFIXES[form]}"),
                _anchors(f"anchors{SUFFIXES[form]}"),
                (ModelError,),
            )
            for form in FORMATS
        ),
        *(
            Reader(
                f"labels {kind}",
                Path(sample.main).suffix,
                (sample.files[sample.main].encode(), *(text.encode() for text in sample.more)),
                _at(f"{kind}/{sample.main}"),
                _sample(kind),
            )
            for kind, sample in SAMPLES.items()
        ),
        *packed_readers(make_folder),
    )
