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

CORNERS = ("xmin", "ymin", "xmax", "ymax")
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


def judge(kinds, image_rows, width, height, n_classes, pixel=(1, 1)):
    """How many of an image's rows [class, cx, cy, w, h] count; what is wrong with the others, and these, to `kinds`."""
    before = []
    more_x, more_y = max(pixel[0], width / 100), max(pixel[1], height / 100)
    for row in image_rows:
        label, cx, cy, w, h = row
        if not all(math.isfinite(number) for number in row):
            kinds["not a number"] += 1
        elif label != int(label):
            kinds["not a class"] += 1
        elif w < 0 or h < 0:
            kinds["negative size"] += 1
        elif min(cx + more_x, cy + more_y) < 0 or max(cx, w) > width + more_x or max(cy, h) > height + more_y:
            kinds["out of [0, 1]"] += 1
        elif row in before:
            kinds["duplicate row"] += 1
        else:
            before.append(row)
            kinds["zero area"] += w == 0 or h == 0
            kinds["class out of range"] += not 0 <= label < n_classes
            edges = (cx - w / 2) / width, (cy - h / 2) / height, 1 - (cx + w / 2) / width, 1 - (cy + h / 2) / height
            inside = 0 <= cx <= width and 0 <= cy <= height and w <= width and h <= height
            kinds["out of bounds"] += min(edges) < -1e-4 or not inside
    return len(before)


def counted(boxes, rows, images, kinds):
    """As `what_was_read` has it."""
    return {
        "boxes": boxes,
        "rows_read": rows,
        "rows_refused": rows - boxes,
        "images": images,
        "kinds": {kind: count for kind, count in kinds.items() if count},
    }


def what_was_read(sizes):
    """The same of a BoxSizes, without the paths that were mended."""
    kinds = sizes.count_problems()
    kinds.pop("path", None)
    return {
        "boxes": len(sizes.wh),
        "rows_read": sizes.rows_read,
        "rows_refused": sizes.rows_refused,
        "images": len(sizes.image_wh),
        "kinds": kinds,
    }


def yolo_counts(folder, splits, n_classes):
    """Counts of folders SPLIT/images and SPLIT/labels with sizes.csv."""
    sizes = list(csv.DictReader((folder / "sizes.csv").open()))
    images = {
        os.path.splitext(row["image"])[0]: (1 / int(row["width"]), 1 / int(row["height"]))
        for row in sizes
        if row["image"].split("/")[0] in splits
    }
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
            good = []
            for fields in lines:
                if len(fields) != 5 and (len(fields) < 7 or len(fields) % 2 == 0):
                    kinds["wrong number of fields"] += 1
                    continue
                row = [float(word) for word in fields]
                if len(row) > 5:
                    xs, ys = row[1::2], row[2::2]
                    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
                    row = [row[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
                good.append(row)
            boxes += judge(kinds, good, 1, 1, n_classes, images[stem])
    kinds["missing label"] = len(images.keys() - labelled)
    return counted(boxes, rows, len(images), kinds)


def voc_counts(folder, stems):
    """Counts of a VOC folder in which every file can be read."""
    kinds, boxes, rows = Counter(), 0, 0
    for stem in stems:
        root = ET.parse(folder / "Annotations" / f"{stem}.xml").getroot()
        width, height = int(root.find("size").find("width").text), int(root.find("size").find("height").text)
        good, numbers = [], {}
        for item in root.iter("object"):
            left, top, right, bottom = (int(item.find("bndbox").find(corner).text) for corner in CORNERS)
            number = numbers.setdefault(item.find("name").text, len(numbers))
            good.append([number, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
        rows += len(good)
        boxes += judge(kinds, good, width, height, len(numbers))
    return counted(boxes, rows, len(stems), kinds)


def coco_counts(file):
    """Counts of a COCO file in which every image has a size."""
    content = json.loads(file.read_text())
    categories = [category["id"] for category in content["categories"]]
    kinds, boxes = Counter(), 0
    for image in content["images"]:
        good = []
        for annotation in content["annotations"]:
            if annotation["image_id"] != image["id"]:
                continue
            if annotation["iscrowd"]:
                kinds["crowd"] += 1
                continue
            x, y, w, h = annotation["bbox"]
            known = annotation["category_id"] in categories
            good.append([categories.index(annotation["category_id"]) if known else -1, x + w / 2, y + h / 2, w, h])
        boxes += judge(kinds, good, image["width"], image["height"], len(categories))
    return counted(boxes, len(content["annotations"]), len(content["images"]), kinds)


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
