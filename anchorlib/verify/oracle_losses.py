"""Compute losses slowly and obviously, in float64, with numerical gradients: see oracle."""

import math

import numpy as np

from anchorlib.verify.oracle import build_targets

# --- 7. losses: IoU family ----------------------------------------------------------------------------------


def box_iou(box1, box2, kind="iou", form="xywh", eps=1e-7, dtype=np.float64, alpha=None):
    """IoU, GIoU, DIoU or CIoU ("iou", "giou", "diou", "ciou") of one pair.

    `form` is "xywh" (centre and size) or "xyxy" (corners). eps is added to the union, to the hull's area
    (GIoU), to its squared diagonal (DIoU, CIoU) and in alpha, and nowhere else: with dtype float32 this
    order of operations is bit-identical to the recordings, and no other placement that was tried is. `alpha` fixes
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
    """CIoU's alpha of one pair, to be held fixed when a gradient is taken, float64."""
    with_alpha_1 = box_iou(box1, box2, "ciou", form, eps, alpha=1.0)
    v = box_iou(box1, box2, "diou", form, eps) - with_alpha_1
    return v / (v - box_iou(box1, box2, "iou", form, eps) + 1 + eps)


def _diagonal_angle(w, h, dtype):
    """atan(w / h), the division in `dtype`; pi / 2 if only h is 0, and 0 if both are."""
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
    """(cp, cn), the class targets for yes and no under label smoothing."""
    return 1 - eps / 2, eps / 2


def bce_term(x, y, pos_weight=1.0):
    """BCE with logits of one number, -(w y log s + (1 - y) log(1 - s)), s = sigmoid(x)."""
    return pos_weight * y * softplus(-x) + (1 - y) * softplus(x)


def bce_blur_term(x, y, alpha=0.05):
    """Return the BCEBlur loss of one number."""
    return bce_term(x, y) * (1 - math.exp((sigmoid(x) - y - 1) / (alpha + 1e-4)))


def focal_term(x, y, gamma=1.5, alpha=0.25, pos_weight=1.0):
    """Return the focal loss of one number."""
    s = sigmoid(x)
    p_t = y * s + (1 - y) * (1 - s)
    return bce_term(x, y, pos_weight) * (y * alpha + (1 - y) * (1 - alpha)) * (1 - p_t) ** gamma


def qfocal_term(x, y, gamma=1.5, alpha=0.25, pos_weight=1.0):
    """Return the quality focal loss of one number."""
    return bce_term(x, y, pos_weight) * (y * alpha + (1 - y) * (1 - alpha)) * abs(y - sigmoid(x)) ** gamma


def bce_with_logits(pred, true, pos_weight=1.0, reduction="mean"):
    """BCE with logits over two arrays, float64."""
    return _reduced(lambda x, y: bce_term(x, y, pos_weight), pred, true, reduction)


def bce_blur(pred, true, alpha=0.05, reduction="mean"):
    """BCEBlur over two arrays, float64."""
    return _reduced(lambda x, y: bce_blur_term(x, y, alpha), pred, true, reduction)


def focal(pred, true, gamma=1.5, alpha=0.25, reduction="mean", pos_weight=1.0):
    """Focal loss over two arrays, float64."""
    return _reduced(lambda x, y: focal_term(x, y, gamma, alpha, pos_weight), pred, true, reduction)


def qfocal(pred, true, gamma=1.5, alpha=0.25, reduction="mean", pos_weight=1.0):
    """Quality focal loss over two arrays, float64."""
    return _reduced(lambda x, y: qfocal_term(x, y, gamma, alpha, pos_weight), pred, true, reduction)


def derivative(function, x, step=1e-3):
    """Derivative of a smooth function of one number: five points, error about 1e-12."""
    near = function(x + step) - function(x - step)
    far = function(x + 2 * step) - function(x - 2 * step)
    return (8 * near - far) / (12 * step)


def loss_gradient(term, pred, true, reduction="mean"):
    """Gradient by `pred` of the loss whose one-number form is `term`; for "none", of the sum."""
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
    """(x, y, w, h) in grid units, relative to the cell, of four logits."""
    x, y, w, h = (sigmoid(value) for value in logits)
    return 2 * x - 0.5, 2 * y - 0.5, (2 * w) ** 2 * float(anchor_wh[0]), (2 * h) ** 2 * float(anchor_wh[1])


def objectness_target(shape, rows, ious, sort_obj_iou=False, gr=1.0):
    """(B, A, ny, nx) objectness target of one layer. The last row of a cell wins, or the largest."""
    target = np.zeros(shape)
    order = list(range(len(ious)))
    if sort_obj_iou:
        order.sort(key=lambda row: max(ious[row], 0.0))  # stable, so the last row of equals wins
    for row in order:
        cell = (rows["image"][row], rows["anchor"][row], rows["gj"][row], rows["gi"][row])
        target[cell] = (1 - gr) + gr * max(ious[row], 0.0)
    return target


def default_balance(n_layers):
    """Return the weights of the layers' objectness."""
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
    matches=None,
):
    """(loss, items, new balance) of YOLOv5's ComputeLoss in float64.

    p is a list of (B, A, ny, nx, 5 + C) arrays. loss = (box + obj + cls) * B, items = [box, obj, cls], each
    already times its gain in `hyp`, without B. `balance` is the one to start from; autobalance needs
    `strides`. `matches` is what `build_targets` returns, if the rows are others.
    """
    balance = default_balance(len(p)) if balance is None else [float(value) for value in balance]
    box_loss = obj_loss = cls_loss = 0.0
    for layer, parts in enumerate(_loss_layers(p, targets, anchors_grid, hyp, nc, sort_obj_iou, gr, matches)):
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


def compute_loss_gradient(
    p, targets, anchors_grid, hyp, nc, sort_obj_iou=False, gr=1.0, balance=None, kinks=None, matches=None
):
    """Gradient of `compute_loss` by each p. None flows through the objectness target or CIoU's alpha.

    Numerical, one logit at a time. If `kinks` is a list, (layer, image, anchor, gj, gi) of the cells are
    appended if a box edge coincides with another and the gradient by the box logits is one-sided.
    """
    balance = default_balance(len(p)) if balance is None else [float(value) for value in balance]
    batch = p[0].shape[0]
    gradients = []
    for layer, parts in enumerate(_loss_layers(p, targets, anchors_grid, hyp, nc, sort_obj_iou, gr, matches)):
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
                if kinks is not None and abs(forward - backward) > 1e-4 * (1 + abs(forward)):
                    kinks.append((layer, *cell))
                gradient[cell][side] += batch * hyp["box"] * (forward + backward) / 2 / m
            if nc > 1:
                for c in range(nc):
                    y = parts["cp"] if c == cls else parts["cn"]
                    slope = derivative(lambda x, y=y, term=parts["cls_term"]: term(x, y), float(p[layer][cell][5 + c]))
                    gradient[cell][5 + c] += batch * hyp["cls"] * slope / (m * nc)
        gradients.append(gradient)
    return gradients


def _loss_layers(p, targets, anchors_grid, hyp, nc, sort_obj_iou, gr, matches=None):
    """Return for each layer the three means before gains and balance, and their parts."""
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
    built = build_targets(targets, anchors_grid, shapes, hyp["anchor_t"]) if matches is None else matches
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
