"""Measure YOLOv7's OTA assignment against the plain formulation, in time and in memory.

    python ci/bench/ota.py [--framework torch|oneflow] [--quick] [--repeat 5] [--json FILE]

Prints the median milliseconds of an assignment and the memory by which its process grows, for images of 640 px and 80
classes. Each way runs in processes of its own, on one thread; the ways take turns, so that only ratios of one run are
to be compared. The plain formulation makes an array (objects, candidates, classes) for each image; it is left out where
that array has more than a gigabyte.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np
from masks import reset_peak, resident
from training import ANCHORS, N_CLASSES, SIZE, STRIDES, random_targets

from anchorlib import backends, build_targets
from anchorlib.training import assign

#: (images, objects in all of them) -> is the plain formulation measured?
BATCHES = {(16, 112): True, (16, 1000): True, (2, 1000): False, (1, 2000): False}
TOP = 10


def plain_assign(flow, p, targets, anchors):
    """Return how many matches there are: image by image, and in each one object after the other."""
    layers = build_targets(targets, anchors, [layer.shape[2:4] for layer in p])
    total = 0
    for image in range(p[0].shape[0]):
        rows = targets[targets[:, 0] == image]
        logits, boxes = [], []
        for predicted, layer, stride, sides in zip(p, layers, STRIDES, anchors):
            mine = layer.image == image
            anchor, gj, gi = layer.anchor[mine], layer.gj[mine], layer.gi[mine]
            values = predicted[image, anchor, gj, gi]
            part = flow.sigmoid(values[:, :4]) * 2
            xy = (part[:, :2] - 0.5 + flow.stack([gi, gj], dim=1).to(flow.float32)) * stride
            half = part[:, 2:] ** 2 * sides[anchor] * (stride / 2)
            boxes.append(flow.cat([xy - half, xy + half], dim=1))
            logits.append(values)
        logits, boxes = flow.cat(logits, dim=0), flow.cat(boxes, dim=0)
        if not len(rows) or not len(boxes):
            continue
        half = rows[:, 4:6] * (SIZE / 2)
        wanted = flow.cat([rows[:, 2:4] * SIZE - half, rows[:, 2:4] * SIZE + half], dim=1)
        upper = flow.maximum(wanted[:, None, :2], boxes[None, :, :2])
        sides = (flow.minimum(wanted[:, None, 2:], boxes[None, :, 2:]) - upper).clamp(min=0)
        inter = sides[..., 0] * sides[..., 1]
        area, other = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (wanted, boxes))
        iou = inter / (area[:, None] + other[None, :] - inter)
        one_hot = flow.nn.functional.one_hot(rows[:, 1].to(flow.int64), N_CLASSES).to(flow.float32)
        y = flow.sqrt(flow.sigmoid(logits[:, 5:]) * flow.sigmoid(logits[:, 4:5]))
        shape = (len(rows), len(boxes), N_CLASSES)  # the array that does not fit in a crowd
        odds = flow.log(y / (1 - y))[None].expand(*shape).contiguous()
        hot = one_hot[:, None, :].expand(*shape).contiguous()
        cost = flow.nn.functional.binary_cross_entropy_with_logits(odds, hot, reduction="none").sum(dim=-1)
        cost = cost - 3 * flow.log(iou + 1e-8)
        counts = flow.topk(iou, min(TOP, len(boxes)), dim=1)[0].sum(dim=1).to(flow.int64).clamp(min=1).tolist()
        taken = flow.zeros(iou.shape)
        for g, count in enumerate(counts):
            taken[g, flow.topk(cost[g], count, largest=False)[1]] = 1
        contested = taken.sum(dim=0) > 1
        if bool(contested.any()):
            owner = cost[:, contested].argmin(dim=0)
            taken[:, contested] = 0
            taken[owner, flow.nonzero(contested)[:, 0]] = 1
        total += int(taken.sum())
    return total


def once(framework, way, n_images, n_targets, repeat):
    """Print the matches, the median milliseconds, and the megabytes by which this process grew."""
    xp = backends.load(framework)
    flow = sys.modules[framework]
    if framework == "torch":
        flow.set_num_threads(1)
    rng, targets = np.random.default_rng(0), random_targets(n_targets)
    targets[:, 0] = np.sort(rng.integers(0, n_images, n_targets))
    anchors = np.asarray(ANCHORS, dtype=np.float32) / np.asarray(STRIDES, dtype=np.float32)[:, None, None]
    shapes = [(n_images, 3, SIZE // s, SIZE // s, 5 + N_CLASSES) for s in STRIDES]
    p = [xp.from_numpy(rng.standard_normal(shape, dtype=np.float32)) for shape in shapes]
    targets, anchors = xp.from_numpy(targets), xp.from_numpy(anchors)
    reset_peak()
    before, milliseconds = resident("VmRSS"), []
    for _ in range(repeat):
        start = time.perf_counter()
        if way == "plain":
            matches = plain_assign(flow, p, targets, anchors)
        else:
            layers = assign(p, targets, anchors, STRIDES, (SIZE, SIZE))
            matches = sum(int(layer.target.shape[0]) for layer in layers)
        milliseconds.append(1e3 * (time.perf_counter() - start))
    warm = milliseconds[1:] or milliseconds
    print(json.dumps({"matches": matches, "ms": statistics.median(warm), "megabytes": resident("VmHWM") - before}))


def bench(framework, batches, repeat):
    """Return rows: what each way takes, and the ratios."""
    rows = []
    for (n_images, n_targets), with_plain in batches.items():
        row = {"framework": framework, "images": n_images, "targets": n_targets}
        for way in ("plain", "anchorlib") if with_plain else ("anchorlib",):
            command = [sys.executable, __file__, "--framework", framework, "--repeat", str(repeat), "--once", way]
            command += ["--images", str(n_images), "--targets", str(n_targets)]
            row[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        ours = row["anchorlib"]
        line = f"{framework:8} {n_images:3} images {n_targets:5} objects   "
        if with_plain:
            plain = row["plain"]
            if abs(plain["matches"] - ours["matches"]) > 0.01 * plain["matches"]:  # float32 costs may differ
                raise SystemExit(f"the ways differ: {plain['matches']} and {ours['matches']} matches")
            row.update(speedup=plain["ms"] / ours["ms"], memory_ratio=ours["megabytes"] / plain["megabytes"])
            line += f"plain {plain['ms']:8.1f} ms {plain['megabytes']:6.0f} MB   "
        line += f"anchorlib {ours['ms']:7.1f} ms {ours['megabytes']:5.0f} MB"
        if with_plain:
            line += f"   x{row['speedup']:.1f} in time, {row['memory_ratio']:.2f} of the memory"
        print(line, flush=True)
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--framework", default="torch", choices=["torch", "oneflow"])
    parser.add_argument("--quick", action="store_true", help="the smallest batch only")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--once", choices=["plain", "anchorlib"], help="measure this way in this process")
    parser.add_argument("--images", type=int, default=16, help="with --once")
    parser.add_argument("--targets", type=int, default=112, help="with --once")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.once:
        return once(options.framework, options.once, options.images, options.targets, options.repeat)
    rows = bench(options.framework, dict(list(BATCHES.items())[:1]) if options.quick else BATCHES, options.repeat)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
