"""Measure build_targets and ComputeLoss, next to a plain formulation and YOLOv5's own package.

    python ci/bench/training.py [targets] [loss] [--framework torch|oneflow] [--device cuda] [--repeat 15] [--json FILE]

Prints a table of medians in milliseconds. The methods take turns in one process on one thread; compare only ratios
within one run. YOLOV5_WHEEL_DIR may name a folder with the unpacked yolov5 7.0.14 wheel.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import statistics
import sys
import time
import types
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np

from anchorlib import backends
from anchorlib.training.compute_loss import ComputeLoss

ANCHORS = [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
STRIDES = (8, 16, 32)
HYP = {"box": 0.05, "cls": 0.5, "cls_pw": 1.0, "obj": 1.0, "obj_pw": 1.0, "anchor_t": 4.0, "fl_gamma": 0.0}
COUNTS = (20, 112, 1000, 10000)
N_IMAGES, N_CLASSES, SIZE = 16, 80, 640


def random_targets(n, seed=0):
    rng = np.random.default_rng(seed)
    image = np.sort(rng.integers(0, N_IMAGES, (n, 1)), axis=0)
    sides = np.exp(rng.normal(-2.2, 0.9, (n, 2))).clip(0.005, 1)
    columns = [image, rng.integers(0, N_CLASSES, (n, 1)), rng.uniform(0, 1, (n, 2)), sides]
    return np.concatenate(columns, axis=1).astype(np.float32)


def plain_targets(flow, p, targets, anchors, thr=4.0):
    """Assign targets plainly: layer by layer, anchor by anchor, direction by direction, each with its own mask."""
    layers = []
    for predicted, layer_anchors in zip(p, anchors):
        ny, nx = predicted.shape[2:4]
        gain = flow.tensor([nx, ny], dtype=flow.float32, device=targets.device)
        all_xy, all_wh = targets[:, 2:4] * gain, targets[:, 4:6] * gain
        matched = []
        for number in range(len(layer_anchors)):
            ratio = all_wh / layer_anchors[number]
            fits = flow.maximum(ratio, 1 / ratio).max(1)[0] < thr
            which = flow.full((int(fits.sum()),), number, dtype=flow.int64, device=targets.device)
            matched.append((targets[fits, :2], all_xy[fits], all_wh[fits], which))
        id_cls, xy, wh, which = (flow.cat(columns, dim=0) for columns in zip(*matched))
        rest = gain - xy
        near = (xy - flow.floor(xy) < 0.5) & (xy > 1)
        far = (rest - flow.floor(rest) < 0.5) & (rest > 1)
        pieces = [(id_cls, xy, wh, which, xy)]
        for mask, step in (
            (near[:, 0], (-0.5, 0.0)),
            (near[:, 1], (0.0, -0.5)),
            (far[:, 0], (0.5, 0.0)),
            (far[:, 1], (0.0, 0.5)),
        ):
            shift = flow.tensor(step, dtype=flow.float32, device=targets.device)
            pieces.append((id_cls[mask], xy[mask], wh[mask], which[mask], xy[mask] + shift))
        id_cls, xy, wh, which, at = (flow.cat(columns, dim=0) for columns in zip(*pieces))
        cell = at.to(flow.int64)
        gi, gj = cell[:, 0].clamp(0, nx - 1), cell[:, 1].clamp(0, ny - 1)
        box = flow.cat([xy - flow.stack([gi, gj], dim=1).to(flow.float32), wh], dim=1)
        image_cls = id_cls.to(flow.int64)
        layers.append((image_cls[:, 1], box, (image_cls[:, 0], which, gj, gi), layer_anchors[which]))
    return layers


def plain_ciou(flow, box1, box2, eps=1e-7):
    x1, y1, w1, h1 = (box1[:, i] for i in range(4))
    x2, y2, w2, h2 = (box2[:, i] for i in range(4))
    left, right = flow.minimum(x1 - w1 / 2, x2 - w2 / 2), flow.maximum(x1 + w1 / 2, x2 + w2 / 2)
    top, bottom = flow.minimum(y1 - h1 / 2, y2 - h2 / 2), flow.maximum(y1 + h1 / 2, y2 + h2 / 2)
    inter_w = flow.minimum(x1 + w1 / 2, x2 + w2 / 2) - flow.maximum(x1 - w1 / 2, x2 - w2 / 2)
    inter_h = flow.minimum(y1 + h1 / 2, y2 + h2 / 2) - flow.maximum(y1 - h1 / 2, y2 - h2 / 2)
    inter = inter_w.clamp(min=0) * inter_h.clamp(min=0)
    iou = inter / (w1 * h1 + w2 * h2 - inter + eps)
    distance = ((x1 - x2) ** 2 + (y1 - y2) ** 2) / ((right - left) ** 2 + (bottom - top) ** 2 + eps)
    aspect = 4 / math.pi**2 * (flow.atan(w2 / h2) - flow.atan(w1 / h1)) ** 2
    return iou - distance - aspect * (aspect / (aspect - iou + 1 + eps)).detach()


def plain_loss(flow, p, targets, anchors):
    bce = flow.nn.BCEWithLogitsLoss(pos_weight=flow.ones(1, device=targets.device))
    box_loss = obj_loss = cls_loss = 0
    layers = plain_targets(flow, p, targets, anchors)
    for predicted, (cls, box, where, anchor_wh), balance in zip(p, layers, (4.0, 1.0, 0.4)):
        wanted = flow.zeros(predicted.shape[:4], device=targets.device)
        if len(cls):
            rows = predicted[where]
            xy = flow.sigmoid(rows[:, :2]) * 2 - 0.5
            wh = (flow.sigmoid(rows[:, 2:4]) * 2) ** 2 * anchor_wh
            iou = plain_ciou(flow, flow.cat([xy, wh], dim=1), box)
            box_loss = box_loss + (1 - iou).mean()
            wanted[where] = iou.detach().clamp(min=0)
            one_hot = flow.zeros_like(rows[:, 5:])
            one_hot[flow.arange(len(cls), device=cls.device), cls] = 1
            cls_loss = cls_loss + bce(rows[:, 5:], one_hot)
        obj_loss = obj_loss + bce(predicted[..., 4], wanted) * balance
    return (HYP["box"] * box_loss + HYP["obj"] * obj_loss + HYP["cls"] * cls_loss) * p[0].shape[0]


def peer_loss(flow, model):
    """Return YOLOv5's own ComputeLoss from the folder YOLOV5_WHEEL_DIR; its other imports are empty modules."""
    folder = os.environ.get("YOLOV5_WHEEL_DIR")
    if not folder or flow.__name__ != "torch":
        return None
    quiet = types.SimpleNamespace(info=print, warning=print)
    empty = {
        "matplotlib": {},
        "matplotlib.pyplot": {},
        "yolov5": {"__path__": [str(Path(folder) / "yolov5")]},
        "yolov5.utils.general": {"LOGGER": quiet, "TryExcept": lambda *a: lambda f: f, "threaded": lambda f: f},
        "yolov5.utils.torch_utils": {"de_parallel": lambda m: m},
    }
    for name, contents in empty.items():
        module = types.ModuleType(name)
        module.__dict__.update(contents)
        if name.startswith("yolov5") or name not in sys.modules:
            sys.modules[name] = module
    return importlib.import_module("yolov5.utils.loss").ComputeLoss(model)


def model_of(flow, anchors, stride):
    """As much of a model as the loss looks at."""
    detect = types.SimpleNamespace(anchors=anchors, stride=stride, na=3, nl=3, nc=N_CLASSES)
    weight = flow.zeros(1, device=anchors.device)
    return types.SimpleNamespace(model=[detect], hyp=dict(HYP), parameters=lambda: iter([weight]))


def medians(ways, repeat, clock):
    """The median of each way's times; the ways take turns."""
    times = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(repeat):
        for name, way in ways.items():
            start = clock()
            way()
            times[name].append(clock() - start)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def bench(framework="torch", device="cpu", repeat=15, counts=COUNTS, loss_counts=COUNTS[1:]):
    """Rows of the table: dicts of task, targets and the milliseconds of each way."""
    xp = backends.load(framework)
    flow = sys.modules[framework]
    if framework == "torch":
        flow.set_num_threads(1)
    stride = flow.tensor([float(s) for s in STRIDES], device=device)
    anchors = flow.tensor(np.asarray(ANCHORS, dtype=np.float32), device=device) / stride.reshape(3, 1, 1)
    model = model_of(flow, anchors, stride)
    ours, peer = ComputeLoss(model), peer_loss(flow, model)
    reusing = ComputeLoss(model, reuse_grad_buffer=True)
    shapes = [(N_IMAGES, 3, SIZE // s, SIZE // s, 5 + N_CLASSES) for s in STRIDES]
    p = [flow.randn(*shape, device=device) for shape in shapes]
    for layer in p:
        layer.requires_grad = True
    layer_anchors = [anchors[i] for i in range(3)]

    def wait(outputs):
        """Wait for the result: OneFlow and CUDA return before the work is done."""
        xp.to_numpy(outputs[-1][-1])

    def step(loss):
        for layer in p:
            layer.grad = None
        loss().sum().backward()
        xp.to_numpy(p[-1].grad[0, 0, 0, 0])

    # As in training: after large arrays were freed, the allocator keeps the memory instead of returning it.
    for _ in range(2):
        step(lambda: ours(p, xp.from_numpy(random_targets(COUNTS[0]), device=device))[0])
    rows = []
    for n in counts:
        targets = xp.from_numpy(random_targets(n), device=device)
        ways = {
            "plain": lambda t=targets: wait(plain_targets(flow, p, t, layer_anchors)),
            "anchorlib": lambda t=targets: wait(ours.build_targets(p, t)),
        }
        if peer:
            ways["yolov5"] = lambda t=targets: wait(peer.build_targets(p, t))
        rows.append({"task": "targets", "targets": n, **medians(ways, 5 * repeat, time.perf_counter)})
    for n in loss_counts:
        targets = xp.from_numpy(random_targets(n), device=device)
        ways = {
            "plain": lambda t=targets: step(lambda: plain_loss(flow, p, t, layer_anchors)),
            "anchorlib": lambda t=targets: step(lambda: ours(p, t)[0]),
            "anchorlib, buffer reused": lambda t=targets: step(lambda: reusing(p, t)[0]),
        }
        if peer:
            ways["yolov5"] = lambda t=targets: step(lambda: peer(p, t)[0])
        if framework == "oneflow":
            del ways["anchorlib, buffer reused"]
        rows.append({"task": "loss, forward and backward", "targets": n, **medians(ways, repeat, time.perf_counter)})
    for row in rows:
        row["speedup"] = row["plain"] / row["anchorlib"]
    return rows


def table(rows):
    lines = [f"{'task':28} {'targets':>7} {'plain':>9} {'yolov5':>9} {'anchorlib':>9} {'reused':>9} {'speedup':>8}"]
    for row in rows:
        reused = row.get("anchorlib, buffer reused")
        cells = [
            f"{ms:9.3f}" if ms else f"{'-':>9}" for ms in (row["plain"], row.get("yolov5"), row["anchorlib"], reused)
        ]
        lines.append(f"{row['task']:28} {row['targets']:7} {' '.join(cells)} {row['speedup']:7.2f}x")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help="targets, loss (default: both)")
    parser.add_argument("--framework", default="torch", choices=["torch", "oneflow"])
    parser.add_argument("--device", default="cpu", help="cpu, cuda")
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if set(arguments.parts) - {"targets", "loss"}:
        parser.error(f"a part is targets or loss, got {' '.join(arguments.parts)}")
    left_out = {part: () for part in ("targets", "loss") if arguments.parts and part not in arguments.parts}
    counts = {"counts": left_out.get("targets", COUNTS), "loss_counts": left_out.get("loss", COUNTS[1:])}
    rows = bench(arguments.framework, arguments.device, arguments.repeat, **counts)
    print(
        f"{arguments.framework} {backends.load(arguments.framework).version} on {arguments.device}, "
        f"{N_IMAGES} images of {SIZE} px, {N_CLASSES} classes, milliseconds (median)"
    )
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
