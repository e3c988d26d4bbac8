"""Slow, obvious OTA assignment, with loops over objects, candidates and classes: see oracle.

Corners, areas and IoU are float32; costs are float64, rounded to float32 at the end.
"""

import math

import numpy as np

from anchorlib.verify.oracle import F32, build_targets
from anchorlib.verify.oracle_losses import sigmoid


def assign(p, targets, anchors, strides, image_wh, thr=4.0, offset=0.5, top=10):
    """Return per layer the dict of `build_targets`, of the matched rows only.

    p : L arrays (B, A, ny, nx, 5 + C); targets (T, 6); anchors L x (A, 2) in grid units; image_wh : (width, height)
    """
    shapes = [layer.shape[2:4] for layer in p]
    layers = build_targets(targets, anchors, shapes, thr, offset)
    chosen = []  # (layer, row of the candidate in it, object)
    for image in range(p[0].shape[0]):
        objects = [t for t, target in enumerate(targets) if int(target[0]) == image]
        candidates = [
            (layer, row)
            for layer, rows in enumerate(layers)
            for row in range(len(rows["gi"]))
            if rows["image"][row] == image
        ]
        if objects and candidates:
            owners = _assign_image(p, targets, anchors, strides, image_wh, layers, objects, candidates, top)
            chosen += [(*candidate, owner) for candidate, owner in zip(candidates, owners) if owner is not None]
    return [
        _rows(targets, layers[layer], shapes[layer], [c for c in chosen if c[0] == layer]) for layer in range(len(p))
    ]


def _assign_image(p, targets, anchors, strides, image_wh, layers, objects, candidates, top):
    """Return for each candidate its object, or None."""
    ious, costs = [], []
    predicted = [_predict(p, anchors, strides, layers[layer], layer, row) for layer, row in candidates]
    for t in objects:
        _, cls, cx, cy, w, h = (float(value) for value in targets[t])
        box = _corners(cx * image_wh[0], cy * image_wh[1], w * image_wh[0], h * image_wh[1])
        ious.append([_iou(box, other) for other, _ in predicted])
        costs.append(
            [
                F32(_class_cost(ys, int(cls)) - 3 * math.log(float(iou) + 1e-8))
                for iou, (_, ys) in zip(ious[-1], predicted)
            ]
        )
    taken = [[] for _ in candidates]
    for g in range(len(objects)):
        largest = sorted((float(iou) for iou in ious[g]), reverse=True)[:top]
        k = max(1, math.trunc(sum(largest)))
        for j in sorted(range(len(candidates)), key=lambda j: costs[g][j])[:k]:  # stable: the lowest of equals
            taken[j].append(g)
    owners = []
    for j, by in enumerate(taken):
        if len(by) > 1:  # the cheapest of all objects, whether it took the candidate or not; the lowest of equals
            by = [min(range(len(objects)), key=lambda g: costs[g][j])]
        owners.append(objects[by[0]] if by else None)
    return owners


def _predict(p, anchors, strides, rows, layer, row):
    """Return the corners of a candidate's box in pixels, and y of each class."""
    image, anchor, gj, gi = (int(rows[name][row]) for name in ("image", "anchor", "gj", "gi"))
    parts = [sigmoid(logit) for logit in p[layer][image, anchor, gj, gi]]
    stride = float(strides[layer])
    x, y = (2 * part - 0.5 + cell for part, cell in zip(parts[:2], (gi, gj)))
    w, h = ((2 * part) ** 2 * float(side) for part, side in zip(parts[2:4], anchors[layer][anchor]))
    return _corners(x * stride, y * stride, w * stride, h * stride), [math.sqrt(part * parts[4]) for part in parts[5:]]


def _class_cost(ys, cls):
    """Binary cross-entropy of each y against the one-hot class, summed over classes."""
    return sum(-math.log(y) if c == cls else -math.log1p(-y) for c, y in enumerate(ys))


def _corners(x, y, w, h):
    return F32(x - w / 2), F32(y - h / 2), F32(x + w / 2), F32(y + h / 2)


def _iou(one, two):
    w = max(min(one[2], two[2]) - max(one[0], two[0]), F32(0))
    h = max(min(one[3], two[3]) - max(one[1], two[1]), F32(0))
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (two[2] - two[0]) * (two[3] - two[1])
    return F32(0) if w * h == 0 else w * h / (areas - w * h)


def _rows(targets, candidates, shape, chosen):
    """Return the matched rows of one layer; a box is that of the object, in grid units, less the cell."""
    at = np.array([row for _, row, _ in chosen], np.int64)
    owner = np.array([target for _, _, target in chosen], np.int64)
    rows = {name: candidates[name][at] for name in ("image", "anchor", "gj", "gi", "anchor_wh")}
    ny, nx = shape
    box = targets[owner, 2:] * np.array([nx, ny, nx, ny], F32)
    box[:, :2] -= np.stack([rows["gi"], rows["gj"]], axis=1).astype(F32)
    return {**rows, "target": owner, "tcls": targets[owner, 1].astype(np.int64), "tbox": box}
