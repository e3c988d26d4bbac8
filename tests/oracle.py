"""Slow, obvious answers to hold the library to: one box, one anchor, one target at a time.

Written from SPEC.md and the recordings alone, without sight of the library. Only NumPy scalars and plain
Python: no broadcasting, no fancy indexing. Where SPEC asks for the same bits everywhere, every operation is
on `np.float32` scalars or on exact fractions; losses are in float64.
"""

import math
from fractions import Fraction

import numpy as np

F32 = np.float32
FIXED_POINT = 1 << 200  # IoUs are summed as multiples of 2^-200: far below the last bit of the float64 result


# --- 1. box sizes -------------------------------------------------------------------------------------------


def letterbox_size(image_wh, label_wh, imgsz):
    """Size in pixels of one box of normalised size `label_wh`, its image letterboxed: SPEC 1, float64.

    `imgsz` is the long side, or (imgsz_w, imgsz_h), the scale being the smaller of the two ratios.
    """
    image_w, image_h = float(image_wh[0]), float(image_wh[1])
    if isinstance(imgsz, (tuple, list)):
        scale = min(float(imgsz[0]) / image_w, float(imgsz[1]) / image_h)
    else:
        scale = float(imgsz) / max(image_w, image_h)
    return float(label_wh[0]) * image_w * scale, float(label_wh[1]) * image_h * scale


def stretch_size(image_wh, label_wh, imgsz):
    """Size in pixels of one box of normalised size `label_wh`, each axis on its own: SPEC 1, float64."""
    target_w, target_h = imgsz if isinstance(imgsz, (tuple, list)) else (imgsz, imgsz)
    image_w, image_h = float(image_wh[0]), float(image_wh[1])
    width = float(label_wh[0]) * image_w * (float(target_w) / image_w)
    height = float(label_wh[1]) * image_h * (float(target_h) / image_h)
    return width, height


def box_sizes(image_whs, labels, imgsz, stretch=False):
    """(N, 2) float64 sizes of all boxes of a data set, image by image, label by label: SPEC 1."""
    size_of = stretch_size if stretch else letterbox_size
    rows = []
    for image_wh, image_labels in zip(image_whs, labels):
        for label in image_labels:
            rows.append(size_of(image_wh, (label[3], label[4]), imgsz))
    return np.array(rows, dtype=np.float64).reshape(len(rows), 2)


def count_small(wh):
    """Number of boxes with any side under 3 px, those that are warned about: SPEC 1."""
    count = 0
    for width, height in wh:
        if width < 3 or height < 3:
            count += 1
    return count


def kept_for_fit(wh):
    """(N,) list of bool, False only where both sides are under 2 px: SPEC 1."""
    return [not (width < 2 and height < 2) for width, height in wh]


# --- 2. metrics ---------------------------------------------------------------------------------------------


def size_ratio(wh, anchors):
    """(N, K) ratio, min over the sides of min(r, 1 / r) with r = wh / anchor, all in float32: SPEC 2."""
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
    """(N, K) IoU of sizes at one corner, inter / (area1 + area2 - inter) in this order: SPEC 2."""
    iou = np.zeros((len(wh), len(anchors)), dtype=dtype)
    for i in range(len(wh)):
        for j in range(len(anchors)):
            w1, h1 = dtype(wh[i][0]), dtype(wh[i][1])
            w2, h2 = dtype(anchors[j][0]), dtype(anchors[j][1])
            inter = min(w1, w2) * min(h1, h2)
            iou[i, j] = inter / (w1 * h1 + w2 * h2 - inter)
    return iou


def exact_wh_iou(box_wh, anchor_wh):
    """IoU of two sizes as a Fraction of the float32 sides, no rounding at all: SPEC 2."""
    w1, h1, w2, h2 = (Fraction(float(F32(side))) for side in (*box_wh, *anchor_wh))
    inter = min(w1, w2) * min(h1, h2)
    return inter / (w1 * h1 + w2 * h2 - inter)


def score(wh, anchors, thr, weights=None):
    """How well anchors fit: bpr, aat, fitness, mean_best, avg_iou: SPEC 2.

    Ratios are float32 and compared in float32 with `1 / thr`, strictly; their sums and the division by N
    are exact and rounded once to float64. `avg_iou` is the rounded mean of the exact best IoU,
    `avg_iou_float32` the rounded mean of the best of the float32 IoUs. With `weights` each box counts as
    many times as its weight says, and N is the sum of the weights. No boxes, or weights that sum to 0, are
    refused: SPEC does not decide them.
    """
    n_boxes = len(wh)
    shares = [Fraction(1)] * n_boxes if weights is None else [Fraction(float(w)) for w in weights]
    total = sum(shares, Fraction(0))
    if total == 0:
        raise ValueError("score: no boxes (or no weight): SPEC does not say what the mean of nothing is")
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
    """Copy of the (L, A, 2) anchors, layers reversed if their areas run against the strides: SPEC 5.

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


def build_targets(targets, anchors_grid, shapes, thr):
    """Per layer a dict tcls, tbox, image, anchor, gj, gi, anchor_wh; order and float32 arithmetic of SPEC 6.

    targets (T, 6), anchors_grid (L, A, 2) in grid units, shapes [(ny, nx)] per layer. tcls, image, anchor,
    gj, gi are (M,) int64; tbox (M, 4) and anchor_wh (M, 2) float32.
    """
    one, half = F32(1), F32(0.5)
    layers = []
    for layer, (ny, nx) in enumerate(shapes):
        gain_x, gain_y = F32(nx), F32(ny)
        matches = []  # rule 1; anchor-major, then target order: rule 3
        for a in range(len(anchors_grid[layer])):
            anchor_w, anchor_h = F32(anchors_grid[layer][a][0]), F32(anchors_grid[layer][a][1])
            for target in targets:
                gx, gy = F32(target[2]) * gain_x, F32(target[3]) * gain_y
                gw, gh = F32(target[4]) * gain_x, F32(target[5]) * gain_y
                with np.errstate(divide="ignore"):  # a box without a side matches nothing: 1 / 0 is inf
                    rw, rh = gw / anchor_w, gh / anchor_h
                    worst = max(rw, one / rw, rh, one / rh)
                if worst < F32(thr):
                    matches.append((int(target[0]), int(target[1]), a, gx, gy, gw, gh, anchor_w, anchor_h))
        rows = []
        for where in ("own", "left", "up", "right", "down"):  # rule 3
            for image, cls, a, gx, gy, gw, gh, anchor_w, anchor_h in matches:
                from_right, from_bottom = gain_x - gx, gain_y - gy
                wanted = {  # rule 2
                    "own": True,
                    "left": gx % one < half and gx > one,
                    "up": gy % one < half and gy > one,
                    "right": from_right % one < half and from_right > one,
                    "down": from_bottom % one < half and from_bottom > one,
                }[where]
                if not wanted:
                    continue
                x, y = gx, gy  # rule 4
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
                rows.append((cls, box, image, a, gj, gi, (anchor_w, anchor_h)))
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
            }
        )
    return layers


# --- 7. losses: IoU family ----------------------------------------------------------------------------------


def box_iou(box1, box2, kind="iou", form="xywh", eps=1e-7, dtype=np.float64, alpha=None):
    """IoU, GIoU, DIoU or CIoU ("iou", "giou", "diou", "ciou") of one pair: SPEC 7.

    `form` is "xywh" (centre and size) or "xyxy" (corners). eps is added to the union, to the hull's area
    (GIoU), to its squared diagonal (DIoU, CIoU) and in alpha, and nowhere else: with dtype float32 this
    order of operations meets the recordings bit for bit, and no other placement tried does. `alpha` fixes
    CIoU's alpha, which has no gradient.
    """
    left1, top1, right1, bottom1, w1, h1 = _corners_and_size(box1, form, dtype)
    left2, top2, right2, bottom2, w2, h2 = _corners_and_size(box2, form, dtype)
    zero, eps = dtype(0), dtype(eps)
    inter_w = max(min(right1, right2) - max(left1, left2), zero)
    inter_h = max(min(bottom1, bottom2) - max(top1, top2), zero)
    inter = inter_w * inter_h
    union = w1 * h1 + w2 * h2 - inter + eps
    iou = inter / union
    if kind == "iou":
        return iou
    hull_w = max(right1, right2) - min(left1, left2)
    hull_h = max(bottom1, bottom2) - min(top1, top2)
    if kind == "giou":
        hull = hull_w * hull_h + eps
        return iou - (hull - union) / hull
    diagonal2 = hull_w * hull_w + hull_h * hull_h + eps
    twice_dx = left2 + right2 - left1 - right1
    twice_dy = top2 + bottom2 - top1 - bottom1
    distance2 = (twice_dx * twice_dx + twice_dy * twice_dy) / dtype(4)
    if kind == "diou":
        return iou - distance2 / diagonal2
    if kind != "ciou":
        raise ValueError(f"kind must be iou, giou, diou or ciou, got {kind!r}")
    angle = _diagonal_angle(w2, h2, dtype) - _diagonal_angle(w1, h1, dtype)
    v = dtype(4 / math.pi**2) * (angle * angle)
    if alpha is None:
        alpha = v / (v - iou + dtype(1 + float(eps)))
    return iou - (distance2 / diagonal2 + v * alpha)


def ciou_alpha(box1, box2, form="xywh", eps=1e-7):
    """CIoU's alpha of one pair, to be held fixed when a gradient is taken: SPEC 7, float64."""
    with_alpha_1 = box_iou(box1, box2, "ciou", form, eps, alpha=1.0)
    v = box_iou(box1, box2, "diou", form, eps) - with_alpha_1
    return v / (v - box_iou(box1, box2, "iou", form, eps) + 1 + eps)


def _diagonal_angle(w, h, dtype):
    """atan(w / h), the division in `dtype`; pi / 2 where only h is 0, and 0 where both are."""
    return dtype(math.atan2(w, h) if h == 0 else math.atan(w / h))


def _corners_and_size(box, form, dtype):
    """left, top, right, bottom, width, height of one box; for xywh the size as given, not from corners."""
    if form == "xywh":
        x, y, w, h = (dtype(value) for value in box)
        return x - w / dtype(2), y - h / dtype(2), x + w / dtype(2), y + h / dtype(2), w, h
    if form != "xyxy":
        raise ValueError(f"form must be xywh or xyxy, got {form!r}")
    left, top, right, bottom = (dtype(value) for value in box)
    return left, top, right, bottom, right - left, bottom - top


# --- 7. losses: BCE and its relatives -----------------------------------------------------------------------


def sigmoid(x):
    """1 / (1 + exp(-x)) of one number, without overflow."""
    x = float(x)
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))


def softplus(x):
    """log(1 + exp(x)) of one number, without overflow."""
    x = float(x)
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def smooth_bce(eps=0.1):
    """(cp, cn), the class targets for yes and no under label smoothing: SPEC 7."""
    return 1 - eps / 2, eps / 2


def bce_term(x, y, pos_weight=1.0):
    """BCE with logits of one number, -(w y log s + (1 - y) log(1 - s)), s = sigmoid(x): SPEC 7."""
    return pos_weight * y * softplus(-x) + (1 - y) * softplus(x)


def bce_blur_term(x, y, alpha=0.05):
    """BCEBlur of one number: SPEC 7."""
    return bce_term(x, y) * (1 - math.exp((sigmoid(x) - y - 1) / (alpha + 1e-4)))


def focal_term(x, y, gamma=1.5, alpha=0.25, pos_weight=1.0):
    """Focal loss of one number: SPEC 7."""
    s = sigmoid(x)
    p_t = y * s + (1 - y) * (1 - s)
    return bce_term(x, y, pos_weight) * (y * alpha + (1 - y) * (1 - alpha)) * (1 - p_t) ** gamma


def qfocal_term(x, y, gamma=1.5, alpha=0.25, pos_weight=1.0):
    """Quality focal loss of one number: SPEC 7."""
    return bce_term(x, y, pos_weight) * (y * alpha + (1 - y) * (1 - alpha)) * abs(y - sigmoid(x)) ** gamma


def bce_with_logits(pred, true, pos_weight=1.0, reduction="mean"):
    """BCE with logits over two arrays: SPEC 7, float64."""
    return _reduced(lambda x, y: bce_term(x, y, pos_weight), pred, true, reduction)


def bce_blur(pred, true, alpha=0.05, reduction="mean"):
    """BCEBlur over two arrays: SPEC 7, float64."""
    return _reduced(lambda x, y: bce_blur_term(x, y, alpha), pred, true, reduction)


def focal(pred, true, gamma=1.5, alpha=0.25, reduction="mean", pos_weight=1.0):
    """Focal loss over two arrays: SPEC 7, float64."""
    return _reduced(lambda x, y: focal_term(x, y, gamma, alpha, pos_weight), pred, true, reduction)


def qfocal(pred, true, gamma=1.5, alpha=0.25, reduction="mean", pos_weight=1.0):
    """Quality focal loss over two arrays: SPEC 7, float64."""
    return _reduced(lambda x, y: qfocal_term(x, y, gamma, alpha, pos_weight), pred, true, reduction)


def derivative(function, x, step=1e-3):
    """Derivative of a smooth function of one number: five points, error about 1e-12."""
    near = function(x + step) - function(x - step)
    far = function(x + 2 * step) - function(x - 2 * step)
    return (8 * near - far) / (12 * step)


def loss_gradient(term, pred, true, reduction="mean"):
    """Gradient by `pred` of the loss whose one-number form is `term`; for "none", of the sum: SPEC 7."""
    pred, true = np.asarray(pred, np.float64), np.asarray(true, np.float64)
    gradient = np.zeros(pred.shape)
    for index in np.ndindex(pred.shape):
        y = float(true[index])
        gradient[index] = derivative(lambda x, y=y: term(x, y), float(pred[index]))
        if reduction == "mean":
            gradient[index] /= pred.size
    return gradient


def _reduced(term, pred, true, reduction):
    """`term` over all entries, then mean, sum (both by fsum) or none."""
    pred, true = np.asarray(pred, np.float64), np.asarray(true, np.float64)
    values = np.zeros(pred.shape)
    for index in np.ndindex(pred.shape):
        values[index] = term(float(pred[index]), float(true[index]))
    if reduction == "none":
        return values
    total = math.fsum(values.ravel().tolist())
    if reduction == "sum":
        return total
    if reduction != "mean":
        raise ValueError(f"reduction must be mean, sum or none, got {reduction!r}")
    return total / pred.size


# --- 7. losses: ComputeLoss ---------------------------------------------------------------------------------


def decode(logits, anchor_wh):
    """(x, y, w, h) in grid units, relative to the cell, of four logits: SPEC 7."""
    x, y, w, h = (sigmoid(value) for value in logits)
    return 2 * x - 0.5, 2 * y - 0.5, (2 * w) ** 2 * float(anchor_wh[0]), (2 * h) ** 2 * float(anchor_wh[1])


def objectness_target(shape, rows, ious, sort_obj_iou=False, gr=1.0):
    """(B, A, ny, nx) objectness target of one layer: SPEC 7. The last row of a cell wins, or the largest."""
    target = np.zeros(shape)
    order = list(range(len(ious)))
    if sort_obj_iou:
        order.sort(key=lambda row: max(ious[row], 0.0))  # stable, so the last row of equals wins
    for row in order:
        cell = (rows["image"][row], rows["anchor"][row], rows["gj"][row], rows["gi"][row])
        target[cell] = (1 - gr) + gr * max(ious[row], 0.0)
    return target


def default_balance(n_layers):
    """Weights of the layers' objectness: SPEC 7."""
    return [4.0, 1.0, 0.4] if n_layers == 3 else [4.0, 1.0, 0.25, 0.06, 0.02]


def compute_loss(
    p,
    targets,
    anchors_grid,
    hyp,
    nc,
    strides=None,
    autobalance=False,
    sort_obj_iou=False,
    gr=1.0,
    balance=None,
):
    """(loss, items, new balance) of YOLOv5's ComputeLoss in float64: SPEC 7.

    p is a list of (B, A, ny, nx, 5 + C) arrays. loss = (box + obj + cls) * B, items = [box, obj, cls], each
    already times its gain in `hyp`, without B. `balance` is the one to start from; autobalance needs
    `strides`.
    """
    balance = default_balance(len(p)) if balance is None else [float(value) for value in balance]
    box_loss = obj_loss = cls_loss = 0.0
    for layer, parts in enumerate(_loss_layers(p, targets, anchors_grid, hyp, nc, sort_obj_iou, gr)):
        box_loss += parts["box"]
        cls_loss += parts["cls"]
        obj_loss += parts["obj"] * balance[layer]
        if autobalance:
            balance[layer] = balance[layer] * 0.9999 + 0.0001 / parts["obj"]
    if autobalance:
        reference = balance[[float(stride) for stride in strides].index(16.0)]
        balance = [value / reference for value in balance]
    items = [hyp["box"] * box_loss, hyp["obj"] * obj_loss, hyp["cls"] * cls_loss]
    return sum(items) * p[0].shape[0], items, balance


def compute_loss_gradient(p, targets, anchors_grid, hyp, nc, sort_obj_iou=False, gr=1.0, balance=None, kinks=None):
    """Gradient of `compute_loss` by each p: SPEC 7. None flows through the objectness target or CIoU's alpha.

    Numerical, one logit at a time. If `kinks` is a list, (layer, image, anchor, gj, gi) of the cells are
    appended where a box edge lies on another and the gradient by the box logits is one-sided.
    """
    balance = default_balance(len(p)) if balance is None else [float(value) for value in balance]
    batch = p[0].shape[0]
    gradients = []
    for layer, parts in enumerate(_loss_layers(p, targets, anchors_grid, hyp, nc, sort_obj_iou, gr)):
        gradient = np.zeros(p[layer].shape)
        count = parts["obj_target"].size
        for cell in np.ndindex(parts["obj_target"].shape):
            y = parts["obj_target"][cell]
            slope = derivative(lambda x, y=y, term=parts["obj_term"]: term(x, y), float(p[layer][cell][4]))
            gradient[cell][4] += batch * hyp["obj"] * balance[layer] * slope / count
        m = len(parts["boxes"])
        for cell, logits, anchor_wh, box, cls in parts["boxes"]:
            alpha = ciou_alpha(decode(logits, anchor_wh), box)

            def box_term(values, anchor_wh=anchor_wh, box=box, alpha=alpha):
                return 1 - box_iou(decode(values, anchor_wh), box, "ciou", alpha=alpha)

            for side in range(4):
                step = 1e-5
                up, down = list(logits), list(logits)
                up[side] += step
                down[side] -= step
                here = box_term(logits)
                forward, backward = (box_term(up) - here) / step, (here - box_term(down)) / step
                if kinks is not None and abs(forward - backward) > 1e-3 * (1 + abs(forward)):
                    kinks.append((layer, *cell))
                gradient[cell][side] += batch * hyp["box"] * (forward + backward) / 2 / m
            if nc > 1:
                for c in range(nc):
                    y = parts["cp"] if c == cls else parts["cn"]
                    slope = derivative(lambda x, y=y, term=parts["cls_term"]: term(x, y), float(p[layer][cell][5 + c]))
                    gradient[cell][5 + c] += batch * hyp["cls"] * slope / (m * nc)
        gradients.append(gradient)
    return gradients


def _loss_layers(p, targets, anchors_grid, hyp, nc, sort_obj_iou, gr):
    """Per layer: the three means before gains and balance, and what they were made of."""
    cp, cn = smooth_bce(hyp.get("label_smoothing", 0.0))

    def class_term(x, y):
        if hyp["fl_gamma"] > 0:
            return focal_term(x, y, hyp["fl_gamma"], 0.25, hyp["cls_pw"])
        return bce_term(x, y, hyp["cls_pw"])

    def obj_term(x, y):
        if hyp["fl_gamma"] > 0:
            return focal_term(x, y, hyp["fl_gamma"], 0.25, hyp["obj_pw"])
        return bce_term(x, y, hyp["obj_pw"])

    shapes = [layer.shape[2:4] for layer in p]
    built = build_targets(targets, anchors_grid, shapes, hyp["anchor_t"])
    layers = []
    for predicted, rows in zip(p, built):
        m = len(rows["tcls"])
        boxes, ious, class_terms = [], [], []
        for row in range(m):
            cell = (
                int(rows["image"][row]),
                int(rows["anchor"][row]),
                int(rows["gj"][row]),
                int(rows["gi"][row]),
            )
            logits = [float(value) for value in predicted[cell][:4]]
            box = [float(value) for value in rows["tbox"][row]]
            anchor_wh = [float(value) for value in rows["anchor_wh"][row]]
            cls = int(rows["tcls"][row])
            boxes.append((cell, logits, anchor_wh, box, cls))
            ious.append(float(box_iou(decode(logits, anchor_wh), box, "ciou")))
            if nc > 1:
                for c in range(nc):
                    class_terms.append(class_term(float(predicted[cell][5 + c]), cp if c == cls else cn))
        target = objectness_target(predicted.shape[:4], rows, ious, sort_obj_iou, gr)
        obj_terms = []
        for cell in np.ndindex(target.shape):
            obj_terms.append(obj_term(float(predicted[cell][4]), float(target[cell])))
        layers.append(
            {
                "box": math.fsum(1 - iou for iou in ious) / m if m else 0.0,
                "cls": math.fsum(class_terms) / len(class_terms) if class_terms else 0.0,
                "obj": math.fsum(obj_terms) / len(obj_terms),
                "obj_target": target,
                "obj_term": obj_term,
                "cls_term": class_term,
                "boxes": boxes,
                "cp": cp,
                "cn": cn,
            }
        )
    return layers


# --- 8. YOLOv2 ----------------------------------------------------------------------------------------------


def yolov2_targets(
    labels,
    anchors_grid,
    input_size,
    stride=32,
    ignore_thr=0.5,
    ignored_erases_positive=True,
):
    """(targets (B, hs * ws * K, 11) float64, collisions) of YOLOv2: SPEC 8.

    labels: per image, rows (class, xc, yc, w, h) in [0, 1]; anchors_grid (K, 2) in grid units; input_size
    an int or (w, h) in pixels. Row (gj * ws + gi) * K + k: objectness, class, tx, ty, tw, th, weight, x1,
    y1, x2, y2, the corners in [0, 1] like the labels. `collisions` counts the positives that a later object
    took the place of.

    SPEC says "the later object wins" and not whether that includes an ignored mark over an earlier
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
    """SmoothL1 with beta 1 of one difference."""
    return 0.5 * difference * difference if abs(difference) < 1 else abs(difference) - 0.5


def yolov2_loss(conf_logits, cls_logits, box_logits, targets, pos_weight=5.0, neg_weight=1.0, iou=None):
    """conf, cls, xy, wh, iou and their total in float64, each a sum divided by B: SPEC 8.

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
