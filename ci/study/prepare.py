"""Write the images, labels and anchors of one data set: SET/images, SET/labels, SET/data.yaml and SET/anchors.json."""

from __future__ import annotations

import argparse
import importlib
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from draw import SETS, draw_set
from PIL import Image

from anchorlib import crowding, fit_anchors, read_boxes, score

STRIDES = (8, 16, 32)
COCO = ((10, 13, 16, 30, 33, 23), (30, 61, 62, 45, 59, 119), (116, 90, 156, 198, 373, 326))  # YOLOv5's default
TRAIN_SEED, VAL_SEED = 0, 1


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--train", type=int, required=True)
    parser.add_argument("--val", type=int, required=True)
    parser.add_argument("--bccd-images", type=Path)
    parser.add_argument("--bccd-labels", type=Path)
    parser.add_argument("--candidates", type=Path)
    parser.add_argument("--anchors", nargs="+", required=True, help="names of the sets of anchors to make")
    options = parser.parse_args(arguments)
    if not (options.folder / "data.yaml").exists():
        write_set(options)
    file = options.folder / "anchors.json"
    known = add_anchors(json.loads(file.read_text()) if file.exists() else {}, options)
    file.write_text(json.dumps(known, indent=1))


def write_set(options) -> None:
    """Write images and labels in YOLO's layout; data.yaml comes last, so an incomplete set is written again."""
    for part, count, seed in (("train", options.train, TRAIN_SEED), ("val", options.val, VAL_SEED)):
        images = options.folder / "images" / part
        labels = options.folder / "labels" / part
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        if options.name in SETS:
            samples = (
                (image, corners / options.size, 0)
                for image, corners in draw_set(options.name, count, options.size, seed)
            )
        else:
            samples = bccd(options, part, count)
        for index, (image, corners, classes) in enumerate(samples):
            image.save(images / f"{index:05}.png")
            centre, wh = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
            rows = np.column_stack([np.broadcast_to(classes, len(corners)), centre, wh])
            np.savetxt(labels / f"{index:05}.txt", rows, fmt=["%d", "%.6f", "%.6f", "%.6f", "%.6f"])
    names = ["object"] if options.name in SETS else BCCD_CLASSES
    images = options.folder.resolve() / "images"
    data = {"train": str(images / "train"), "val": str(images / "val")}
    (options.folder / "data.yaml").write_text(yaml.safe_dump({**data, "nc": len(names), "names": names}))


BCCD_CLASSES = ["RBC", "WBC", "Platelets"]


def bccd(options, part: str, count: int):
    """Yield the first images of a split of BCCD with their boxes (shares of the image) and classes."""
    from defusedxml.ElementTree import parse

    names = (options.bccd_labels / "ImageSets" / "Main" / f"{part}.txt").read_text().split()[:count]
    for name in names:
        tree = parse(options.bccd_labels / "Annotations" / f"{name}.xml").getroot()
        size = [float(tree.findtext(f"size/{side}")) for side in ("width", "height")]
        boxes, classes = [], []
        for found in tree.iter("object"):
            corners = [float(found.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
            corners = np.clip(np.asarray(corners) / (size * 2), 0, 1)
            if (corners[2:] > corners[:2]).all():
                boxes.append(corners)
                classes.append(BCCD_CLASSES.index(found.findtext("name")))
        yield Image.open(options.bccd_images / f"{name}.jpg"), np.reshape(boxes, (-1, 4)), classes


def read_targets(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the training targets (T, 6) as shares of the square input, and their sizes (T, 2) in pixels."""
    rows = []
    for index, file in enumerate(sorted((folder / "labels" / "train").glob("*.txt"))):
        label = np.loadtxt(file, ndmin=2).reshape(-1, 5)
        shape = np.asarray(Image.open(folder / "images" / "train" / f"{file.stem}.png").size, float)
        scale = shape / shape.max()
        centre = label[:, 1:3] * scale + (1 - scale) / 2  # the image lies in the middle of the square
        rows.append(np.column_stack([np.full(len(label), index), label[:, 0], centre, label[:, 3:] * scale]))
    targets = np.concatenate(rows)
    return targets.astype(np.float32), targets[:, 4:] * size


def add_anchors(known: dict, options) -> dict:
    """Return the sets of anchors by name; keep those that are known."""
    targets, wh = read_targets(options.folder, options.size)
    makers = {
        "coco": lambda: np.reshape(COCO, (9, 2)),
        "autoanchor": lambda: autoanchor(options),
        "area": lambda: fit_anchors(wh, 9).anchors,
        "layers": lambda: fit_layers(options),
    }
    for name in options.anchors:
        if name not in known:
            anchors = makers[name]() if name in makers else load(options.candidates, name).anchors(wh, options.size)
            anchors = np.asarray(anchors, float).reshape(9, 2).round(2)
            known[name] = {"anchors": anchors.tolist(), **describe(targets, wh, anchors, options.size)}
            print(options.name, name, json.dumps(known[name]))
    return known


def fit_layers(options) -> np.ndarray:
    """Return the anchors of the layer-aware fit, from sizes and centres; layers that are not needed keep COCO's."""
    boxes = read_boxes(options.folder / "data.yaml", imgsz=options.size, centres=True)
    return fit_anchors(boxes, [3, 3, 3], strides=STRIDES, start=np.reshape(COCO, (9, 2))).anchors


def autoanchor(options) -> np.ndarray:
    """Return what the peer's kmean_anchors chooses with its defaults (1000 generations), from seed 0."""
    from yolov5.utils.autoanchor import kmean_anchors

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the peer draws from the global streams
    return kmean_anchors(
        str(options.folder / "data.yaml"), n=9, img_size=options.size, thr=4.0, gen=1000, verbose=False
    )


def load(folder: Path | None, name: str):
    """Import FOLDER/NAME.py: it has anchors(boxes_wh, imgsz), which returns (9, 2) pixels, three per layer."""
    if not (folder and (folder / f"{name}.py").exists()):
        raise SystemExit(f"the anchors {name} need a file {name}.py in the folder that --candidates names")
    sys.path.insert(0, str(folder))
    return importlib.import_module(name)


def describe(targets: np.ndarray, wh: np.ndarray, anchors: np.ndarray, size: int) -> dict:
    """Return fitness, BPR, and per layer the rows of build_targets and the share of them that is overwritten."""
    found = score(wh[(wh > 0).all(1)], anchors)
    layers = crowding(targets, anchors.reshape(3, 3, 2), STRIDES, imgsz=size).layers
    return {
        "fitness": round(float(found.fitness), 4),
        "bpr": round(float(found.bpr), 4),
        "rows": [layer.rows for layer in layers],
        "overwritten": [round(layer.share_overwritten, 3) for layer in layers],
    }


if __name__ == "__main__":
    main()
