"""Measure the mask loss, forward and backward, against the plain formulation, in time and in memory.

    python ci/bench/masks.py [--framework torch|oneflow] [--targets 112 1000] [--repeat 5] [--json FILE]

Prints the median milliseconds of a step and the memory by which its process grows, for 16 images of 640 px with 32
prototypes of 160 x 160. Each way runs in processes of its own, on one thread; the ways take turns, so that only ratios
of one run are to be compared.
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
from training import ANCHORS, N_IMAGES, SIZE, STRIDES, random_targets

from anchorlib import backends, build_targets
from anchorlib.training.masks import mask_loss

COUNTS = (112, 1000)
N_PROTOTYPES, SIDE = 32, 160
N_STEPS = 3


def plain_mask_loss(flow, coefficients, proto, masks, layers):
    """Whole masks of the matches of one image after the other, of which what is outside of the boxes is set to 0."""
    side = flow.arange(SIDE, device=proto.device, dtype=flow.float32)
    column, row = side.reshape(1, 1, -1), side.reshape(1, -1, 1)
    total = 0
    for of_layer, (image, target, boxes) in zip(coefficients, layers):
        for i in range(N_IMAGES):
            chosen = image == i
            if not bool(chosen.any()):
                continue
            box = boxes[chosen]
            corners = flow.cat([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], dim=1) * SIDE
            x1, y1, x2, y2 = (corners[:, k].reshape(-1, 1, 1) for k in range(4))
            logits = flow.matmul(of_layer[chosen], proto[i].reshape(N_PROTOTYPES, -1)).reshape(-1, SIDE, SIDE)
            loss = flow.nn.functional.binary_cross_entropy_with_logits(logits, masks[target[chosen]], reduction="none")
            inside = ((column >= x1) & (column < x2) & (row >= y1) & (row < y2)).to(flow.float32)
            total = total + ((loss * inside).mean(dim=(1, 2)) / (box[:, 2] * box[:, 3])).mean()
    return total


def once(framework, way, n_targets):
    """Print the loss, the milliseconds of each step, and the megabytes by which this process grew."""
    xp = backends.load(framework)
    flow = sys.modules[framework]
    if framework == "torch":
        flow.set_num_threads(1)
    rng, targets = np.random.default_rng(0), random_targets(n_targets)
    anchors = np.asarray(ANCHORS, dtype=np.float32) / np.asarray(STRIDES, dtype=np.float32)[:, None, None]
    matches = build_targets(targets, anchors, [(SIZE // s, SIZE // s) for s in STRIDES])
    proto = xp.from_numpy(rng.normal(0, 1, (N_IMAGES, N_PROTOTYPES, SIDE, SIDE)).astype(np.float32))
    coefficients = [rng.normal(0, 0.5, (len(layer.target), N_PROTOTYPES)).astype(np.float32) for layer in matches]
    coefficients = [xp.from_numpy(layer) for layer in coefficients]
    masks = xp.from_numpy((rng.random((n_targets, SIDE, SIDE)) < 0.5).astype(np.float32))
    layers = [
        tuple(xp.from_numpy(column) for column in (layer.image, layer.target, targets[layer.target, 2:6]))
        for layer in matches
    ]
    targets = xp.from_numpy(targets)
    for x in (proto, *coefficients):
        x.requires_grad = True

    def loss():
        if way == "plain":
            return plain_mask_loss(flow, coefficients, proto, masks, layers)
        return mask_loss(xp.concat(coefficients), proto, targets, masks, [target for _, target, _ in layers])

    reset_peak()
    before, milliseconds = resident("VmRSS"), []
    for _ in range(N_STEPS):
        for x in (proto, *coefficients):
            x.grad = None
        start = time.perf_counter()
        value = loss()
        value.sum().backward()
        xp.to_numpy(proto.grad)  # OneFlow returns before the work is done
        milliseconds.append(1e3 * (time.perf_counter() - start))
    gradient = float(np.abs(xp.to_numpy(proto.grad)).sum())
    found = {"loss": float(xp.to_numpy(value)), "gradient": gradient, "ms": min(milliseconds[1:])}
    print(json.dumps({**found, "megabytes": resident("VmHWM") - before}))


def resident(kind):
    """Return VmRSS, the memory of this process, or VmHWM, the most since `reset_peak`: megabytes, on Linux."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split(f"{kind}:")[1].split()[0]) / 1024


def reset_peak():
    """Count the most memory from now on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def bench(framework, counts, repeat):
    """Return rows: the medians of each way, and the ratios."""
    rows = []
    for n_targets in counts:
        runs = {"plain": [], "anchorlib": []}
        for _ in range(repeat):
            for way, found in runs.items():
                command = [
                    sys.executable,
                    __file__,
                    "--framework",
                    framework,
                    "--once",
                    way,
                    "--targets",
                    str(n_targets),
                ]
                found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        plain, ours = (
            {key: statistics.median(run[key] for run in found) for key in found[0]} for found in runs.values()
        )
        for key in ("loss", "gradient"):
            if not abs(plain[key] - ours[key]) <= 1e-4 * abs(plain[key]):
                raise SystemExit(f"the ways differ in {key}: {plain[key]} and {ours[key]}")
        row = {"framework": framework, "targets": n_targets, "plain": plain, "anchorlib": ours}
        row.update(speedup=plain["ms"] / ours["ms"], memory_ratio=ours["megabytes"] / plain["megabytes"])
        print(
            f"{framework:8} {n_targets:6} targets  plain {plain['ms']:8.1f} ms {plain['megabytes']:6.0f} MB   "
            f"anchorlib {ours['ms']:7.1f} ms {ours['megabytes']:5.0f} MB   x{row['speedup']:.1f} in time, "
            f"{row['memory_ratio']:.2f} of the memory",
            flush=True,
        )
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--framework", default="torch", choices=["torch", "oneflow"])
    parser.add_argument("--targets", type=int, nargs="+", default=COUNTS, help="objects in the batch (112 1000)")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--once", choices=["plain", "anchorlib"], help="measure this way in this process")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.once:
        return once(options.framework, options.once, options.targets[0])
    rows = bench(options.framework, options.targets, options.repeat)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
