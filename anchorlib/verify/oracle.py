"""Compute the expected answers slowly and obviously: one box, one anchor, one target at a time.

Written from a description of the reference and recordings of it, without sight of the library. Only NumPy scalars and
plain Python: no broadcasting, no fancy indexing. Where answers must be bit-identical, every operation is on
`np.float32` scalars or on exact fractions; losses (oracle_losses, oracle_yolov2) are in float64.
"""

import math
from fractions import Fraction

import numpy as np

F32 = np.float32
FIXED_POINT = 1 << 200  # IoUs are summed as multiples of 2^-200: far below the last bit of the float64 result


# --- 2. metrics ---------------------------------------------------------------------------------------------


def size_ratio(wh, anchors):
    """(N, K) ratio, min over the sides of min(r, 1 / r) with r = wh / anchor, all in float32."""
    ratio = np.zeros((len(wh), len(anchors)), dtype=F32)
    for i in range(len(wh)):
        for j in range(len(anchors)):
            worst = F32(np.inf)
            for side in range(2):
                r = F32(wh[i][side]) / F32(anchors[j][side])
                worst = min(worst, min(r, F32(1) / r))
            ratio[i, j] = worst
    return ratio


def wh_iou(wh, anchors, dtype=np.float32):
    """(N, K) IoU of sizes at one corner, inter / (area1 + area2 - inter) in this order."""
    iou = np.zeros((len(wh), len(anchors)), dtype=dtype)
    for i in range(len(wh)):
        for j in range(len(anchors)):
            w1, h1 = dtype(wh[i][0]), dtype(wh[i][1])
            w2, h2 = dtype(anchors[j][0]), dtype(anchors[j][1])
            inter = min(w1, w2) * min(h1, h2)
            iou[i, j] = inter / (w1 * h1 + w2 * h2 - inter)
    return iou


def exact_wh_iou(box_wh, anchor_wh):
    """IoU of two sizes as a Fraction of the float32 sides, no rounding at all."""
    w1, h1, w2, h2 = (Fraction(float(F32(side))) for side in (*box_wh, *anchor_wh))
    inter = min(w1, w2) * min(h1, h2)
    return inter / (w1 * h1 + w2 * h2 - inter)


def score(wh, anchors, thr, weights=None):
    """How well anchors fit: bpr, aat, fitness, mean_best, avg_iou.

    Ratios are float32 and compared in float32 with `1 / thr`, strictly; their sums and the division by N
    are exact and rounded once to float64. `avg_iou` is the rounded mean of the exact best IoU,
    `avg_iou_float32` the rounded mean of the best of the float32 IoUs. With `weights` each box counts as
    many times as its weight says, and N is the sum of the weights. No boxes, or weights that sum to 0, are
    refused: the description does not decide them.
    """
    n_boxes = len(wh)
    shares = [Fraction(1)] * n_boxes if weights is None else [Fraction(float(w)) for w in weights]
    total = sum(shares, Fraction(0))
    if total == 0:
        raise ValueError("score: no boxes (or no weight): the mean of nothing is not defined")
    limit = F32(1.0 / float(thr))
    ratio = size_ratio(wh, anchors)
    iou = wh_iou(wh, anchors)
    recalled = above = fitness = best_sum = iou_sum = iou32_sum = Fraction(0)
    for i in range(n_boxes):
        best, best_iou, best_iou32 = F32(-1), Fraction(-1), F32(-1)
        for j in range(len(anchors)):
            best = max(best, ratio[i, j])
            best_iou = max(best_iou, exact_wh_iou(wh[i], anchors[j]))
            best_iou32 = max(best_iou32, iou[i, j])
            if ratio[i, j] > limit:
                above += shares[i]
        if best > limit:
            recalled += shares[i]
            fitness += shares[i] * Fraction(float(best))
        best_sum += shares[i] * Fraction(float(best))
        iou_sum += shares[i] * Fraction(math.floor(best_iou * FIXED_POINT), FIXED_POINT)
        iou32_sum += shares[i] * Fraction(float(best_iou32))
    return {
        "bpr": float(recalled / total),
        "aat": float(above / total),
        "fitness": float(fitness / total),
        "mean_best": float(best_sum / total),
        "avg_iou": float(iou_sum / total),
        "avg_iou_float32": float(iou32_sum / total),
    }


# --- 5. the order of layers ---------------------------------------------------------------------------------


def check_anchor_order(anchors_px, strides):
    """Copy of the (L, A, 2) anchors, layers reversed if their areas run against the strides.

    The mean areas of the last and first layer are compared as exact fractions; equal ones stay.
    """
    anchors_px = np.array(anchors_px)

    def mean_area(layer):
        areas = [Fraction(float(w)) * Fraction(float(h)) for w, h in anchors_px[layer]]
        return sum(areas, Fraction(0)) / len(areas)

    def sign(x):
        return (x > 0) - (x < 0)

    by_area = sign(mean_area(-1) - mean_area(0))
    by_stride = sign(Fraction(float(strides[-1])) - Fraction(float(strides[0])))
    if by_area != 0 and by_area != by_stride:
        return np.array(list(reversed(list(anchors_px))))
    return anchors_px


# --- 6. build_targets ---------------------------------------------------------------------------------------


def build_targets(targets, anchors_grid, shapes, thr, offset=0.5):
    """Return per layer a dict tcls, tbox, image, anchor, gj, gi, anchor_wh, target, in the reference's order.

    targets (T, 6), anchors_grid (L, A, 2) in grid units, shapes [(ny, nx)] per layer. tcls, image, anchor,
    gj, gi, target are (M,) int64; tbox (M, 4) and anchor_wh (M, 2) float32. A neighbour is matched if its border is
    less than `offset` cells away. The arithmetic is the float32 of the reference.
    """
    one, half = F32(1), F32(offset)
    layers = []
    for layer, (ny, nx) in enumerate(shapes):
        gain_x, gain_y = F32(nx), F32(ny)
        matches = []  # anchor by anchor, each in the order of the targets
        for a in range(len(anchors_grid[layer])):
            anchor_w, anchor_h = F32(anchors_grid[layer][a][0]), F32(anchors_grid[layer][a][1])
            for t, target in enumerate(targets):
                gx, gy = F32(target[2]) * gain_x, F32(target[3]) * gain_y
                gw, gh = F32(target[4]) * gain_x, F32(target[5]) * gain_y
                with np.errstate(divide="ignore"):  # a box without a side matches nothing: 1 / 0 is inf
                    rw, rh = gw / anchor_w, gh / anchor_h
                    worst = max(rw, one / rw, rh, one / rh)
                if worst < F32(thr):
                    matches.append((int(target[0]), int(target[1]), a, gx, gy, gw, gh, anchor_w, anchor_h, t))
        rows = []
        for where in ("own", "left", "up", "right", "down"):  # the order of the rows
            for image, cls, a, gx, gy, gw, gh, anchor_w, anchor_h, t in matches:
                from_right, from_bottom = gain_x - gx, gain_y - gy
                wanted = {  # only a neighbour that is inside the grid and nearer than half a cell
                    "own": True,
                    "left": gx % one < half and gx > one,
                    "up": gy % one < half and gy > one,
                    "right": from_right % one < half and from_right > one,
                    "down": from_bottom % one < half and from_bottom > one,
                }[where]
                if not wanted:
                    continue
                x, y = gx, gy  # moved by half a cell towards the neighbour
                if where == "left":
                    x = gx - half
                elif where == "up":
                    y = gy - half
                elif where == "right":
                    x = gx + half
                elif where == "down":
                    y = gy + half
                gi = min(max(int(x), 0), nx - 1)
                gj = min(max(int(y), 0), ny - 1)
                box = (gx - F32(gi), gy - F32(gj), gw, gh)
                rows.append((cls, box, image, a, gj, gi, (anchor_w, anchor_h), t))
        m = len(rows)
        layers.append(
            {
                "tcls": np.array([row[0] for row in rows], dtype=np.int64).reshape(m),
                "tbox": np.array([row[1] for row in rows], dtype=F32).reshape(m, 4),
                "image": np.array([row[2] for row in rows], dtype=np.int64).reshape(m),
                "anchor": np.array([row[3] for row in rows], dtype=np.int64).reshape(m),
                "gj": np.array([row[4] for row in rows], dtype=np.int64).reshape(m),
                "gi": np.array([row[5] for row in rows], dtype=np.int64).reshape(m),
                "anchor_wh": np.array([row[6] for row in rows], dtype=F32).reshape(m, 2),
                "target": np.array([row[7] for row in rows], dtype=np.int64).reshape(m),
            }
        )
    return layers
