"""Slow, obvious counts with plain loops, sharing nothing with the readers; and small data sets on disk."""

from __future__ import annotations

import csv
import json
import math
import os
import xml.etree.ElementTree as ET
import zipfile
from collections import Counter
from pathlib import Path

from PIL import Image

DATA = Path(__file__).parent.parent / "data"


def unpack(name, folder):
    """tests/data/NAME.zip with blank images of the sizes in sizes.csv; the folder."""
    with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
        archive.extractall(folder)
    pixels = {}
    for row in csv.DictReader((folder / "sizes.csv").open()):
        size = int(row["width"]), int(row["height"])
        image = folder / row["image"]
        image.parent.mkdir(parents=True, exist_ok=True)
        if size not in pixels:
            Image.new("L", size).save(image, "JPEG")
            pixels[size] = image.read_bytes()
        image.write_bytes(pixels[size])
    return folder


def yolo_counts(folder, splits, n_classes):
    """(boxes, rows, images, problems by kind) of folders SPLIT/images and SPLIT/labels with sizes.csv."""
    images = [row["image"] for row in csv.DictReader((folder / "sizes.csv").open())]
    images = {os.path.splitext(name)[0] for name in images if name.split("/")[0] in splits}
    kinds, boxes, rows, labelled = Counter(), 0, 0, set()
    for split in splits:
        for file in sorted((folder / split / "labels").iterdir()):
            stem = f"{split}/images/{file.stem}"
            lines = [line.split() for line in file.read_text().splitlines() if line.split()]
            rows += len(lines)
            if stem not in images:
                kinds["missing image"] += 1
                continue
            labelled.add(stem)
            before = []
            for fields in lines:
                row = [float(word) for word in fields]
                if len(row) > 5:
                    xs, ys = row[1::2], row[2::2]
                    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
                    row = [row[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
                label, cx, cy, w, h = row
                if min(cx, cy, w, h) < 0 or max(cx, cy, w, h) > 1:
                    kinds["out of [0, 1]"] += 1
                elif row in before:
                    kinds["duplicate row"] += 1
                else:
                    boxes += 1
                    before.append(row)
                    kinds["zero area"] += w * h == 0
                    kinds["class out of range"] += label >= n_classes
                    edges = (cx - w / 2, cy - h / 2, 1 - cx - w / 2, 1 - cy - h / 2)
                    kinds["out of bounds"] += min(edges) < -1e-4
    kinds["missing label"] = len(images - labelled)
    return boxes, rows, len(images), {kind: count for kind, count in kinds.items() if count}


def voc_counts(folder, stems):
    """(boxes, images, problems by kind) of a clean VOC folder."""
    kinds, boxes = Counter(), 0
    for stem in stems:
        root = ET.parse(folder / "Annotations" / f"{stem}.xml").getroot()
        width, height = int(root.find("size").find("width").text), int(root.find("size").find("height").text)
        for item in root.iter("object"):
            corners = {corner.tag: int(corner.text) for corner in item.find("bndbox")}
            boxes += 1
            flat = corners["xmin"] == corners["xmax"] or corners["ymin"] == corners["ymax"]
            kinds["zero area"] += flat
            beyond = corners["xmin"] < 0 or corners["ymin"] < 0 or corners["xmax"] > width or corners["ymax"] > height
            kinds["out of bounds"] += beyond
    return boxes, len(stems), {kind: count for kind, count in kinds.items() if count}


def coco_counts(file):
    """(boxes, images, problems by kind) of a clean COCO file."""
    content = json.loads(file.read_text())
    size_of = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    kinds, boxes = Counter(), 0
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        width, height = size_of[annotation["image_id"]]
        boxes += not annotation["iscrowd"]
        kinds["zero area"] += w == 0 or h == 0
        kinds["out of bounds"] += min(x / width, y / height, 1 - (x + w) / width, 1 - (y + h) / height) < -1e-4
    return boxes, len(size_of), {kind: count for kind, count in kinds.items() if count}


def parse_line(line):
    """One line of a YOLO label file: None if empty, a list of five floats, or a word for what is wrong."""
    words = line.split()
    if not words:
        return None
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        return "wrong number of fields"
    row = []
    for word in words:
        if b"_" in word:
            return "not a number"
        try:
            row.append(float(word))
        except ValueError:
            return "not a number"
    if len(row) > 5:
        if not all(math.isfinite(number) for number in row):
            return "not a number"
        xs, ys = sorted(row[1::2]), sorted(row[2::2])
        row = [row[0], (xs[0] + xs[-1]) / 2, (ys[0] + ys[-1]) / 2, xs[-1] - xs[0], ys[-1] - ys[0]]
    return row


def make_yolo(folder, rows, *, size=(100, 50), split="train", yaml="train: images/train\nnc: 2\nnames: [cat, dog]\n"):
    """A data set of images a, b, c ... with these label texts (None: no label file); the data.yaml."""
    for part in ("images", "labels"):
        (folder / part / split).mkdir(parents=True, exist_ok=True)
    for name, text in zip("abcdefghijklmnopqrstuvwxyz", rows):
        Image.new("L", size).save(folder / "images" / split / f"{name}.png")
        if text is not None:
            data = text if isinstance(text, bytes) else text.encode()
            (folder / "labels" / split / f"{name}.txt").write_bytes(data)
    (folder / "data.yaml").write_text(yaml)
    return folder / "data.yaml"


def make_voc(folder, objects, *, size="<size><width>100</width><height>50</height></size>", name="a", head=""):
    """A VOC folder with one annotation more; the folder."""
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    text = f"{head}<annotation><filename>{name}.jpg</filename>{size}{objects}</annotation>"
    (folder / "Annotations" / f"{name}.xml").write_text(text)
    return folder


def voc_object(xmin, ymin, xmax, ymax, name="cat", extra=""):
    box = f"<ymax>{ymax}</ymax><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax>"  # in no usual order
    return f"<object>{extra}<name>{name}</name><bndbox>{box}</bndbox></object>"


def make_coco(file, annotations, images=None, **more):
    images = [{"id": 1, "width": 100, "height": 50, "file_name": "a.jpg"}] if images is None else images
    content = {"images": images, "annotations": annotations, **more}
    file.write_text(json.dumps(content))
    return file
