"""Compute targets and losses of YOLOv2 slowly and obviously, in float64: see oracle."""

import math

import numpy as np

from anchorlib.verify.oracle_losses import bce_term, sigmoid

# --- 8. YOLOv2 ----------------------------------------------------------------------------------------------


def yolov2_targets(
    labels,
    anchors_grid,
    input_size,
    stride=32,
    ignore_thr=0.5,
    ignored_erases_positive=True,
):
    """(targets (B, hs * ws * K, 11) float64, collisions) of YOLOv2.

    labels: per image, rows (class, xc, yc, w, h) in [0, 1]; anchors_grid (K, 2) in grid units; input_size
    an int or (w, h) in pixels. Row (gj * ws + gi) * K + k: objectness, class, tx, ty, tw, th, weight, x1,
    y1, x2, y2, the corners in [0, 1] like the labels. `collisions` counts the positives that a later object
    took the place of.

    The description says "the later object wins" and not whether that includes an ignored mark over an earlier
    positive. As written it does; `ignored_erases_positive=False` is the other reading.
    """
    input_w, input_h = input_size if isinstance(input_size, (tuple, list)) else (input_size, input_size)
    ws, hs = int(input_w) // int(stride), int(input_h) // int(stride)
    n_anchors = len(anchors_grid)
    out = np.zeros((len(labels), hs * ws * n_anchors, 11))
    collisions = 0
    for image, image_labels in enumerate(labels):
        for label in image_labels:
            cls, xc, yc, w, h = (float(value) for value in label)
            if w < 1e-4 or h < 1e-4:
                continue
            x, y = xc * input_w / stride, yc * input_h / stride
            grid_w, grid_h = w * input_w / stride, h * input_h / stride
            gi, gj = math.floor(x), math.floor(y)
            if not (0 <= gi < ws and 0 <= gj < hs):
                continue
            ious = []
            for anchor_w, anchor_h in anchors_grid:
                inter = min(grid_w, float(anchor_w)) * min(grid_h, float(anchor_h))
                ious.append(inter / (grid_w * grid_h + float(anchor_w) * float(anchor_h) - inter))
            best = ious.index(max(ious))  # the first of equals
            for k in range(n_anchors):
                row = out[image, (gj * ws + gi) * n_anchors + k]
                if k == best:
                    collisions += row[0] == 1
                    tw = math.log(grid_w / float(anchors_grid[k][0]))
                    th = math.log(grid_h / float(anchors_grid[k][1]))
                    corners = [xc - w / 2, yc - h / 2, xc + w / 2, yc + h / 2]
                    row[:] = [1, cls, x - gi, y - gj, tw, th, 2 - w * h, *corners]
                elif ious[k] > ignore_thr:
                    if row[0] == 1 and not ignored_erases_positive:
                        continue
                    collisions += row[0] == 1
                    row[:] = 0
                    row[0] = row[6] = -1
    return out, int(collisions)


def smooth_l1(difference):
    """Return the smooth L1 loss, beta 1, of one difference."""
    return 0.5 * difference * difference if abs(difference) < 1 else abs(difference) - 0.5


def yolov2_loss(conf_logits, cls_logits, box_logits, targets, pos_weight=5.0, neg_weight=1.0, iou=None):
    """conf, cls, xy, wh, iou and their total in float64, each a sum divided by B.

    conf_logits (B, R), cls_logits (B, R, C), box_logits (B, R, 4: tx, ty, tw, th), targets (B, R, 11); iou
    (B, R), the IoU of predicted and true box, or None. The confidence is sigmoid(conf_logits). Ignored rows
    (objectness -1) count nowhere. SmoothL1 holds the IoU of the positives to 1.
    """
    parts = {"conf": 0.0, "cls": 0.0, "xy": 0.0, "wh": 0.0, "iou": 0.0}
    batch, n_rows = targets.shape[:2]
    for image in range(batch):
        for r in range(n_rows):
            target = [float(value) for value in targets[image, r]]
            conf = sigmoid(conf_logits[image, r])
            if target[0] == 0:
                parts["conf"] += neg_weight * conf**2
            if target[0] != 1:
                continue
            parts["conf"] += pos_weight * (conf - 1) ** 2
            logits = [float(value) for value in cls_logits[image, r]]
            top = max(logits)
            log_sum = top + math.log(math.fsum(math.exp(value - top) for value in logits))
            parts["cls"] += log_sum - logits[int(target[1])]
            tx, ty, tw, th = (float(value) for value in box_logits[image, r])
            parts["xy"] += target[6] * (bce_term(tx, target[2]) + bce_term(ty, target[3]))
            parts["wh"] += target[6] * ((tw - target[4]) ** 2 + (th - target[5]) ** 2)
            if iou is not None:
                parts["iou"] += smooth_l1(float(iou[image, r]) - 1)
    parts = {name: value / batch for name, value in parts.items()}
    parts["total"] = sum(parts.values())
    return parts
