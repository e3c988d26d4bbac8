"""Data sets of each format with problems of several sorts, and all that reading one gives."""

import os
import warnings

from PIL import Image

from anchorlib.datasets import read_boxes
from anchorlib.errors import DatasetError
from helpers.slow_counts import make_coco, make_voc, make_yolo, voc_object

KINDS = ("yolo", "voc", "coco", "darknet")
TEXT = "0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.2 0.1 0.2 0.3\n0 0.5 0.5 0.2\n7 0.5 0.5 0 0.2\n"


def age(folder, seconds=100):
    """Everything below as if it had been there for a while; seconds apart, so that a copy has another time."""
    for here, _, files in os.walk(folder):
        for file in files:
            path = os.path.join(here, file)
            if not os.path.islink(path):
                changed = os.stat(path).st_mtime_ns - int(seconds * 1e9)
                os.utime(path, ns=(changed, changed))


def make(kind, folder):
    """A data set with problems of several sorts; the path to read."""
    folder.mkdir()
    if kind == "coco":
        annotations = [
            {"image_id": 1, "category_id": 1, "bbox": box} for box in ([1, 2, 3, 4], [1, 2, 3], [1, 2, 0, 4])
        ]
        path = make_coco(folder / "a.json", annotations, categories=[{"id": 1, "name": "cat"}])
    elif kind == "voc":
        path = make_voc(folder, voc_object(1, 1, 9, 9) + voc_object(5, 5, 1, 1))
        make_voc(folder, voc_object(1, 1, 9, 9), size="", name="b")
        (folder / "JPEGImages").mkdir()
        Image.new("L", (30, 20)).save(folder / "JPEGImages" / "b.png")
        (folder / "ImageSets" / "Main").mkdir(parents=True)
        (folder / "ImageSets" / "Main" / "train.txt").write_text("a\nb\nc\n")
    else:
        path = make_yolo(folder, [TEXT, None, "0 0.5 0.5 0.1 0.1\n"])
        (folder / "images" / "train" / "d.png").write_bytes(b"no image")
        (folder / "labels" / "train" / "z.txt").write_text(TEXT)
        if kind == "darknet":
            names = ["a.png", "c.png", "gone.png", "d.png"]
            (folder / "train.txt").write_text("".join(f"images/train/{name}\n" for name in names))
            (folder / "some.data").write_text("train = train.txt\nnames = some.names\nclasses = 2\n")
            path = folder / "some.data"
    age(folder)
    return path


def everything(sizes):
    arrays = [getattr(sizes, name) for name in ("wh", "image_wh", "image_index", "classes")]
    rest = (sizes.class_names, sizes.image_names, sizes.problems, sizes.rows_read, sizes.rows_refused)
    return [(array.dtype, array.shape, array.tobytes()) for array in arrays], rest


def outcome(path, **options):
    """Everything, or the error's text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that changed just now no cache is written
        try:
            return everything(read_boxes(path, **options))
        except DatasetError as error:
            return str(error)
