"""Slow, obvious decoding and mask loss, one cell and one pixel after the other, in float64: see oracle."""

import math

import numpy as np

from anchorlib.verify import oracle, oracle_losses

F32 = np.float32


def compute_loss(p, proto, targets, masks, anchors_grid, hyp, nc, overlap=False, **options):
    """Return (loss, items [box, seg, obj, cls], new balance) of YOLOv5's loss with masks.

    p is a list of (B, A, ny, nx, 5 + C + nm) arrays, proto is (B, nm, hm, wm). The options are those of
    `oracle_losses.compute_loss`.
    """
    without_masks = [layer[..., : 5 + nc] for layer in p]
    _, (box, obj, cls), balance = oracle_losses.compute_loss(without_masks, targets, anchors_grid, hyp, nc, **options)
    seg, _, _ = mask_loss(p, proto, targets, masks, anchors_grid, hyp, nc, overlap)
    return (box + seg + obj + cls) * len(proto), [box, seg, obj, cls], balance


def mask_loss(p, proto, targets, masks, anchors_grid, hyp, nc, overlap=False):
    """Return the item `seg`, and the gradient of the loss (the item times B) by each p and by proto."""
    n_images, _, hm, wm = proto.shape
    by_p, by_proto = [np.zeros(layer.shape) for layer in p], np.zeros(proto.shape)
    total = []
    for i, rows in enumerate(matches(p, targets, anchors_grid, hyp["anchor_t"])):
        for image in range(n_images):
            of_image = [row for row in rows if row["cell"][0] == image]
            for row in of_image:
                mask = mask_of(row["target"], targets, masks, overlap)
                coefficients = p[i][row["cell"]][5 + nc :].astype(np.float64)
                weight = hyp["box"] / n_images / len(of_image) / (hm * wm) / (row["xywhn"][2] * row["xywhn"][3])
                for r, c in pixels(row["xywhn"], hm, wm):
                    wanted = float(mask[nearest(r, hm, mask.shape[0]), nearest(c, wm, mask.shape[1])])
                    logit = math.fsum(coefficients * proto[image, :, r, c])
                    total.append(weight * oracle_losses.bce_term(logit, wanted))
                    slope = n_images * weight * (oracle_losses.sigmoid(logit) - wanted)
                    by_p[i][row["cell"]][5 + nc :] += slope * proto[image, :, r, c]
                    by_proto[image, :, r, c] += slope * coefficients
    return math.fsum(total), by_p, by_proto


def matches(p, targets, anchors_grid, thr):
    """Return for each layer a list of rows: the cell, the number of the target, and the target's box in [0, 1]."""
    layers = []
    for rows in oracle.build_targets(targets, anchors_grid, [layer.shape[2:4] for layer in p], thr):
        cells = zip(rows["image"], rows["anchor"], rows["gj"], rows["gi"])
        layers.append(
            [
                {"cell": tuple(map(int, cell)), "target": int(t), "xywhn": [float(v) for v in targets[t][2:6]]}
                for cell, t in zip(cells, rows["target"])
            ]
        )
    return layers


def mask_of(target, targets, masks, overlap):
    """Return the mask of one target: (h, w), of its own or the pixels that hold its number within its image."""
    if not overlap:
        return masks[target]
    image = targets[target][0]
    number = 1 + sum(targets[other][0] == image for other in range(target))
    return masks[int(image)] == number


def pixels(xywhn, hm, wm):
    """Return the (row, column) of each pixel in the box; the corners are float32, as the reference has them."""
    x, y, w, h = (F32(value) * F32(side) for value, side in zip(xywhn, (wm, hm, wm, hm)))
    half = F32(2)
    return [
        (r, c)
        for r in range(hm)
        for c in range(wm)
        if x - w / half <= c < x + w / half and y - h / half <= r < y + h / half
    ]


def nearest(index, n_to, n_from):
    """Return the pixel of n_from that the pixel `index` of n_to shows."""
    return min(int(F32(index) * (F32(n_from) / F32(n_to))), n_from - 1)


def decode(p, anchors_grid, strides):
    """Return (B, M, 5 + C): boxes in pixels, objectness and class probabilities."""
    images = []
    for image in range(len(p[0])):
        rows = []
        for layer, anchors, stride in zip(p, anchors_grid, strides):
            for a, gj, gi in np.ndindex(layer.shape[1:4]):
                logits = layer[image, a, gj, gi]
                x, y, w, h = oracle_losses.decode(logits[:4], anchors[a])
                box = [value * float(stride) for value in (x + gi, y + gj, w, h)]
                rows.append([*box, *(oracle_losses.sigmoid(value) for value in logits[4:])])
        images.append(rows)
    return np.asarray(images)
