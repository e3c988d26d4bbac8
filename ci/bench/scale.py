"""Measure the cost of reading, counting, merging and fitting by number of boxes; `ci/bench/run scale` calls this.

Measures 1e5 to 1e7 boxes in seconds of one core, each figure in its own process, and extrapolates linearly to 1e9
from the two largest. Label files are read from the page cache in shards of at most 1e6 boxes; larger sets read the
same files under other names, which costs the same time and saves disk space.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests"))

from helpers.coco_like_sizes import coco_like
from labels import make_data_set

from anchorlib import SizeCounts, fit_anchors
from anchorlib.scale import sizes_from_shards

STEP = 1 / 64
FILES_OF_A_SHARD = 125_000  # of eight boxes, as make_data_set makes them
BOXES_OF_A_SHARD = 100_000  # of those that are merged
TARGET = 10**9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--most", type=int, default=10**7, help="largest number of boxes (default: 1e7)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # a stage and its boxes, in a process of its own
    options = parser.parse_args()
    if options.one:
        stage, n = options.one
        print(json.dumps(measured(STAGES[stage](int(n), options.folder), int(n))))
        return
    rows = []
    for stage in STAGES:
        for n in (10**5, 10**6, 10**7):
            if n <= options.most:
                rows.append({"stage": stage, **in_its_own_process(stage, n, options.folder)})
                print(
                    "{stage:32} {boxes:10} boxes {seconds:9.3f} s, peak {peak_mb:5.0f} MB, {sizes:8} sizes, "
                    "{bytes:10} bytes".format(**rows[-1]),
                    flush=True,
                )
        rows.append({"stage": stage, **on_the_line(rows[-2], rows[-1])})
        print("{stage:32} {boxes:10} boxes {seconds:9.0f} s, at {ns_a_box:.0f} ns a box".format(**rows[-1]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def in_its_own_process(stage: str, n: int, folder: Path) -> dict:
    command = [sys.executable, __file__, "--folder", str(folder), "--one", stage, str(n)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measured(action: Callable[[], SizeCounts], n: int) -> dict:
    started = time.process_time()  # of one core, that of the system included; what others do on it is not counted
    x = action()
    seconds = time.process_time() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # what the boxes are made with included
    seconds *= n / x.n_boxes  # label files hold about as many
    sizes_and_bytes = {"sizes": len(x), "bytes": x.wh.nbytes + x.counts.nbytes}
    return {"boxes": n, "seconds": seconds, "peak_mb": peak_mb, **sizes_and_bytes}


def on_the_line(first: dict, last: dict) -> dict:
    slope = max(0.0, (last["seconds"] - first["seconds"]) / (last["boxes"] - first["boxes"]))
    return {"boxes": TARGET, "seconds": last["seconds"] + slope * (TARGET - last["boxes"]), "ns_a_box": slope * 1e9}


def read_label_files(n: int, folder: Path) -> Callable[[], SizeCounts]:
    files = min(n // 8, FILES_OF_A_SHARD)
    there = folder / str(files)
    if not there.exists():
        there.mkdir(parents=True)
        make_data_set(there, files)
    shards = [there]
    while len(shards) * files * 8 < n:
        shards.append(folder / f"{files}-{len(shards)}")
        if not shards[-1].exists():
            shards[-1].symlink_to(there)
    sizes_from_shards(shards[:1])  # warm
    return lambda: sizes_from_shards(shards, step=STEP)


def count_equal_sizes(n: int, folder: Path) -> Callable[[], SizeCounts]:
    boxes_wh = coco_like(n)
    return lambda: SizeCounts.of(boxes_wh)


def count_in_cells(n: int, folder: Path) -> Callable[[], SizeCounts]:
    boxes_wh = coco_like(n)
    return lambda: SizeCounts.of(boxes_wh).histogram(STEP)


def merge_equal_sizes(n: int, folder: Path) -> Callable[[], SizeCounts]:
    shards = shards_of(n)
    return lambda: sizes_from_shards(shards)


def merge_cells(n: int, folder: Path) -> Callable[[], SizeCounts]:
    shards = [shard.histogram(STEP) for shard in shards_of(n)]
    return lambda: sizes_from_shards(shards)


def shards_of(n: int) -> list[SizeCounts]:
    seeds = range(n // BOXES_OF_A_SHARD)
    return [SizeCounts.of(coco_like(BOXES_OF_A_SHARD, seed), imgsz=640, resize="letterbox") for seed in seeds]


def fit_equal_sizes(n: int, folder: Path) -> Callable[[], SizeCounts]:
    return fitted(SizeCounts.of(coco_like(n)))


def fit_cells(n: int, folder: Path) -> Callable[[], SizeCounts]:
    return fitted(SizeCounts.of(coco_like(n)).histogram(STEP))


def fitted(x: SizeCounts) -> Callable[[], SizeCounts]:
    def fit() -> SizeCounts:
        fit_anchors(x.wh, weights=x.counts)
        return x

    return fit


STAGES = {
    "read label files, count in cells": read_label_files,
    "count equal sizes": count_equal_sizes,
    "count in cells": count_in_cells,
    "merge equal sizes": merge_equal_sizes,
    "merge cells": merge_cells,
    "fit 9 anchors to equal sizes": fit_equal_sizes,
    "fit 9 anchors to cells": fit_cells,
}


if __name__ == "__main__":
    main()
