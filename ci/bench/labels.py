"""Measure how long reading labels takes, compared with reading one file at a time; `ci/bench/run labels` calls this.

Makes a YOLO data set of small JPEG files with labels, and a COCO .json of polygons, in --folder. Reads them from the
page cache, each method in its own process, and checks that all methods give the same sizes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from anchorlib import read_boxes
from anchorlib.datasets.formats.yolo_rows import read_rows
from anchorlib.datasets.io.image_header import image_sizes
from anchorlib.datasets.validation import Labels, screen

IMAGE_SIZES = ((640, 480), (480, 640), (640, 427), (500, 375), (612, 612))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=118_000, help="number of label files (default: 118000)")
    parser.add_argument("--megabytes", type=int, default=500, help="size of the COCO .json (default: 500)")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--way", choices=WAYS, help="run this method once, and print its result")
    options = parser.parse_args()
    if options.way:
        return once(options.way, options.folder)
    make_yolo(options.folder / "yolo", options.files)
    make_coco(options.folder / "coco.json", options.megabytes)
    rows = []
    for ways in (YOLO_WAYS, COCO_WAYS):
        runs = {way: [] for way in ways}
        for _ in range(1 + options.repeat):  # the first warms the disk's cache and fills ours; the ways take turns
            for way in ways:
                runs[way].append(run(way, options.folder))
        if len({found["digest"] for way in ways for found in runs[way] if found["digest"]}) != 1:
            raise SystemExit(f"not all of {', '.join(ways)} read the same sizes")
        rows += [row_of(way, found[1:]) for way, found in runs.items()]
    for row in rows:
        print(
            f"{row['way']:30} {row['boxes']:7} boxes {row['seconds']:7.2f} s (slowest {row['slowest']:.2f}), "
            f"{row['cpu_seconds']:6.2f} s of the processor, peak {row['megabytes']:5.0f} MB"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def run(way: str, folder: Path) -> dict:
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def once(way: str, folder: Path) -> None:
    started, worked = time.perf_counter(), time.process_time()
    wh = WAYS[way](folder)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    digest = hashlib.sha256(wh.tobytes()).hexdigest() if wh.dtype == np.float32 else None  # None: not of the same boxes
    print(
        json.dumps(
            {"seconds": seconds, "cpu_seconds": cpu_seconds, "megabytes": peak, "boxes": len(wh), "digest": digest}
        )
    )


def row_of(way: str, found: list[dict]) -> dict:
    middle = {key: statistics.median(run[key] for run in found) for key in ("seconds", "cpu_seconds", "megabytes")}
    return {"way": way, "boxes": found[0]["boxes"], **middle, "slowest": max(run["seconds"] for run in found)}


def make_yolo(folder: Path, n_files: int) -> None:
    """Like COCO: about seven boxes an image, JPEG files of five shapes; every fiftieth file repeats a row."""
    rng = np.random.default_rng(0)
    images, labels = folder / "images" / "train", folder / "labels" / "train"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    pictures = []
    for size in IMAGE_SIZES:
        file = io.BytesIO()
        Image.new("RGB", size).save(file, "JPEG", quality=30)
        pictures.append(file.getvalue())
    sizes = [rng.uniform(0.01, 0.5, (rng.poisson(6.2) + 1, 2)) for _ in range(n_files)]
    for number, wh in enumerate(sizes):
        rows = np.concatenate([rng.uniform(wh / 2, 1 - wh / 2), wh], axis=1)
        lines = [f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, (x, y, w, h) in zip(rng.integers(80, size=99), rows)]
        lines += lines[:1] if number % 50 == 0 else []
        (images / f"{number:012}.jpg").write_bytes(pictures[number % len(pictures)])
        (labels / f"{number:012}.txt").write_text("".join(lines))
    (folder / "data.yaml").write_text("train: images/train\nval: images/train\nnc: 80\n")


def make_coco(path: Path, megabytes: int) -> None:
    """Like instances_train2017.json: polygons of 4 to 45 points, one annotation in a hundred a crowd of runs."""
    rng = np.random.default_rng(0)
    points = [np.round(rng.uniform(0, 640, 2 * rng.integers(4, 46)), 2).tolist() for _ in range(5000)]
    polygons = [json.dumps([outline]) for outline in points]
    crowd = json.dumps({"counts": rng.integers(1, 3000, 1500).tolist(), "size": [480, 640]})
    n = max(megabytes * 2**20 // 620, 1000)
    n_images = n // 7
    with path.open("w") as file:
        file.write('{"info": {"description": "made up"}, "licenses": [{"id": 1, "name": "none"}], "images": [')
        for i in range(n_images):
            width, height = IMAGE_SIZES[i % len(IMAGE_SIZES)]
            file.write(
                f'{", " if i else ""}{{"license": 1, "file_name": "{i:012}.jpg", "coco_url": "train/{i:012}.jpg", '
                f'"height": {height}, "width": {width}, "date_captured": "2013-11-14 11:18:45", "id": {i + 1}}}'
            )
        file.write('], "annotations": [')
        for i in range(n):
            image = int(rng.integers(n_images))
            width, height = IMAGE_SIZES[image % len(IMAGE_SIZES)]
            w, h = np.round(rng.uniform(0.01, 0.5, 2) * (width, height), 2)
            x, y = np.round(rng.uniform(0, 1, 2) * (width - w, height - h), 2)
            shape = crowd if i % 100 == 0 else polygons[rng.integers(len(polygons))]
            file.write(
                f'{", " if i else ""}{{"segmentation": {shape}, "area": {w * h:.4f}, "iscrowd": {int(i % 100 == 0)}, '
                f'"image_id": {image + 1}, "bbox": [{x}, {y}, {w}, {h}], "category_id": {rng.integers(90) + 1}, '
                f'"id": {i + 1}}}'
            )
        names = [{"supercategory": "thing", "id": number, "name": f"thing {number}"} for number in range(1, 91)]
        file.write(f'], "categories": {json.dumps(names)}}}')


def one_at_a_time(folder: Path) -> np.ndarray:
    """The obvious way: open an image, open its labels, row by row; duplicate rows removed per file."""
    sizes = []
    for image in sorted((folder / "yolo" / "images" / "train").iterdir()):
        with Image.open(image) as opened:
            width, height = opened.size
        text = (folder / "yolo" / "labels" / "train" / f"{image.stem}.txt").read_text()
        rows = np.array([row.split() for row in text.splitlines()], dtype=np.float64)
        _, first = np.unique(rows, axis=0, return_index=True)
        rows = rows[np.sort(first)]
        sizes.append(rows[:, 3:5] * (width, height) * (640 / max(width, height)))
    return np.concatenate(sizes).astype(np.float32)


def plain_json(folder: Path) -> np.ndarray:
    """The obvious way: the whole file at once, then annotation by annotation, by image."""
    content = json.loads((folder / "coco.json").read_text())
    size_of = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    by_image: dict[int, list] = {image: [] for image in size_of}
    for annotation in content["annotations"]:
        if not annotation["iscrowd"]:
            by_image[annotation["image_id"]].append(annotation["bbox"][2:])
    sizes = [np.array(wh) * (640 / max(size_of[image])) for image, wh in by_image.items() if wh]
    return np.concatenate(sizes).astype(np.float32)


def cached(folder: Path, path: Path) -> np.ndarray:
    return read_boxes(path, cache=folder / f"{path.name}.cache").wh


def labels_alone(folder: Path) -> np.ndarray:
    """Rows of the text files, duplicate ones removed, each image taken for one of a pixel."""
    paths = [str(path) for path in sorted((folder / "yolo" / "labels" / "train").iterdir())]
    rows = read_rows(paths)
    n_files = len(paths)
    labels = Labels(
        paths, np.ones((n_files, 2)), rows.file_index, paths, rows.line, "line", rows.values[:, 0], rows.values[:, 1:]
    )
    return screen(labels, 640, "letterbox").wh.astype(np.float64)  # other sizes than the rest: not compared


def headers(folder: Path) -> np.ndarray:
    images = sorted((folder / "yolo" / "images" / "train").iterdir())
    return np.array([size[:2] for size in image_sizes(list(map(str, images)))])


YOLO_WAYS = {
    "YOLO, anchorlib": lambda folder: read_boxes(folder / "yolo" / "data.yaml").wh,
    "YOLO, anchorlib, cached": lambda folder: cached(folder, folder / "yolo" / "data.yaml"),
    "YOLO, one file at a time": one_at_a_time,
    "only labels, anchorlib": labels_alone,
    "only image sizes, anchorlib": headers,
}
COCO_WAYS = {
    "COCO, anchorlib": lambda folder: read_boxes(folder / "coco.json").wh,
    "COCO, anchorlib, cached": lambda folder: cached(folder, folder / "coco.json"),
    "COCO, plain json": plain_json,
}
WAYS = {**YOLO_WAYS, **COCO_WAYS}


if __name__ == "__main__":
    main()
