"""How long reading labels takes, beside reading one file at a time: `ci/bench labels` calls this.

Makes a YOLO data set of small files in --folder, reads it warm, and checks that both ways give the same sizes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

from anchorlib import read_boxes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=118_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = make_data_set(options.folder, options.files)
    ways = {"anchorlib": lambda: read_boxes(config).wh, "one file at a time": lambda: one_at_a_time(options.folder)}
    seconds = {name: [] for name in ways}
    sizes = {name: way() for name, way in ways.items()}  # warm, and compared
    if not np.array_equal(*sizes.values()):
        raise SystemExit("the two ways read different sizes")
    for _ in range(options.repeat):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    rows = [
        {"way": name, "files": options.files, "boxes": len(sizes[name]), "seconds": statistics.median(found)}
        for name, found in seconds.items()
    ]
    for row in rows:
        print("{way:20} {files:7} files {boxes:8} boxes {seconds:8.2f} s".format(**row))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def make_data_set(folder: Path, n_files: int) -> Path:
    """Like COCO: about seven boxes an image; the pictures are blank."""
    rng = np.random.default_rng(0)
    images, labels = folder / "images" / "train", folder / "labels" / "train"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    Image.new("RGB", (640, 480)).save(folder / "blank.jpg")
    blank = (folder / "blank.jpg").read_bytes()
    for i in range(n_files):
        (images / f"{i:08}.jpg").write_bytes(blank)
        rows = rng.uniform(0.05, 0.4, (rng.poisson(7) + 1, 4))
        text = "".join(f"{rng.integers(80)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for x, y, w, h in rows)
        (labels / f"{i:08}.txt").write_text(text)
    config = folder / "data.yaml"
    config.write_text("train: images/train\nval: images/train\nnc: 80\n")
    return config


def one_at_a_time(folder: Path) -> np.ndarray:
    """The obvious way: open an image, open its labels, row by row; duplicate rows removed per file."""
    sizes = []
    for image in sorted((folder / "images" / "train").iterdir()):
        with Image.open(image) as opened:
            width, height = opened.size
        text = (folder / "labels" / "train" / f"{image.stem}.txt").read_text()
        rows = np.array([row.split() for row in text.splitlines()], dtype=np.float64)
        _, first = np.unique(rows, axis=0, return_index=True)
        rows = rows[np.sort(first)]
        sizes.append(rows[:, 3:5] * (width, height) * (640 / max(width, height)))
    return np.concatenate(sizes).astype(np.float32)


if __name__ == "__main__":
    main()
