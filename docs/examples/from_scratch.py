"""Train a small detector with anchors on synthetic squares and discs, on a CPU in under a minute.

    python from_scratch.py

Box sizes -> fit_anchors -> targets and loss -> decode -> non-maximum suppression.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

import anchorlib
from anchorlib.yolov5 import ComputeLoss

SIZE, STRIDES, CLASSES = 64, (8, 16), ("square", "disc")
HYP = {"box": 0.2, "obj": 1.0, "cls": 0.5, "cls_pw": 1.0, "obj_pw": 1.0, "fl_gamma": 0.0, "anchor_t": 4.0}


def make_images(n, seed):
    """Return images (n, 3, 64, 64), targets (T, 6) as image, class, cx, cy, w, h in [0, 1], and masks (T, 64, 64)."""
    rng = np.random.default_rng(seed)
    images, targets, masks = rng.normal(0, 0.2, (n, 3, SIZE, SIZE)), [], []
    row, column = np.mgrid[:SIZE, :SIZE] + 0.5
    for image in range(n):
        for corner in rng.permutation(4)[: rng.integers(1, 4)]:  # each object has a quarter of the image
            side, cls = int(rng.integers(8, 29)), int(rng.integers(len(CLASSES)))
            start = SIZE // 2 * np.asarray(divmod(corner, 2)) + rng.integers(0, SIZE // 2 - side + 1, 2)
            x, y = (start + side / 2).tolist()
            dx, dy = abs(column - x), abs(row - y)
            mask = np.hypot(dx, dy) < side / 2 if cls else np.maximum(dx, dy) < side / 2
            images[image][:, mask] += rng.uniform(0.6, 1.2, (3, 1))
            targets.append([image, cls, x / SIZE, y / SIZE, side / SIZE, side / SIZE])
            masks.append(mask)
    return (torch.tensor(np.asarray(x), dtype=torch.float32) for x in (images, targets, masks))


def block(c_in, c_out):
    """Return a convolution that halves the sides of its input."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.SiLU())


class Detector(nn.Module):
    """A backbone and two heads. The attributes below `anchors` are what ComputeLoss reads."""

    def __init__(self, anchors_px, nm=0):
        super().__init__()
        self.stride = torch.tensor(STRIDES, dtype=torch.float32)
        self.register_buffer("anchors", anchors_px / self.stride[:, None, None])  # (L, A, 2), grid units
        self.nl, self.na, self.nc, self.nm = len(STRIDES), anchors_px.shape[1], len(CLASSES), nm
        self.stem = nn.Sequential(block(3, 16), block(16, 32))  # stride 4
        self.down = nn.ModuleList([block(32, 64), block(64, 64)])  # strides 8 and 16
        self.heads = nn.ModuleList([nn.Conv2d(64, self.na * (5 + self.nc + nm), 1) for _ in STRIDES])
        for head in self.heads:
            head.bias.data.view(self.na, -1)[:, 4] -= 4.0  # few cells have an object

    def forward(self, images):
        """Return the logits for images (B, 3, 64, 64)."""
        return self.predict(self.stem(images))

    def predict(self, features):
        """Return a list of logits (B, A, ny, nx, 5 + C + nm), one for each stride."""
        p = []
        for down, head in zip(self.down, self.heads):
            features = down(features)
            out = head(features)
            out = out.view(len(out), self.na, -1, *out.shape[2:])
            p.append(out.permute(0, 1, 3, 4, 2).contiguous())
        return p


def fitted_anchors(targets, n_anchors=2):
    """Return the anchors (L, A, 2) in pixels that fit the boxes of the targets."""
    sizes = targets[:, 4:6].numpy() * SIZE
    fit = anchorlib.fit_anchors(sizes, [n_anchors] * len(STRIDES))
    return torch.tensor(fit.anchors).view(len(STRIDES), n_anchors, 2)


def train(model, loss_of_batch, n_steps, batch_size=16):
    """Minimise `loss_of_batch(seed)`, which draws the images of a batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=n_steps)
    model.train()
    for step in range(n_steps):
        loss = loss_of_batch(1000 + step, batch_size)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        schedule.step()
    model.eval()


def iou_of_all(one, two):
    """Return the IoU (n, m) of boxes (n, 4) and (m, 4), cx, cy, w, h."""
    n, m = len(one), len(two)
    pairs = one.repeat_interleave(m, 0), two.repeat(n, 1)
    return anchorlib.box_iou_pairs(*pairs).view(n, m)


def nms(boxes, scores, classes, threshold=0.5):
    """Return the rows to keep, best first. torchvision.ops.batched_nms does the same, faster, for corner boxes."""
    order, kept = scores.argsort(descending=True), []
    overlaps = (iou_of_all(boxes, boxes) > threshold) & (classes[:, None] == classes)
    removed = torch.zeros(len(boxes), dtype=torch.bool)
    for row in order.tolist():
        if not removed[row]:
            kept.append(row)
            removed |= overlaps[row]
    return torch.tensor(kept, dtype=torch.int64)


def detect(model, p, confidence=0.5):
    """Return for each image boxes (n, 4) in pixels, classes (n,) and rows (n,) among all predictions of the image."""
    p = [layer[..., : 5 + model.nc] for layer in p]
    boxes, objectness, probabilities = anchorlib.decode(p, model.anchors, model.stride)
    scores, classes = (objectness[..., None] * probabilities).max(2)
    found = []
    for image in range(len(boxes)):
        (rows,) = (scores[image] > confidence).nonzero(as_tuple=True)
        rows = rows[nms(boxes[image][rows], scores[image][rows], classes[image][rows])]
        found.append((boxes[image][rows], classes[image][rows], rows))
    return found


def precision_and_recall(found, targets):
    """Return the share of the detections that are right, and the share of the objects that are found: at IoU 0.5."""
    n_right = n_found = 0
    for image, (boxes, classes, _) in enumerate(found):
        own = targets[targets[:, 0] == image]
        right = (iou_of_all(own[:, 2:] * SIZE, boxes) > 0.5) & (own[:, 1:2] == classes)
        n_right += int(right.any(1).sum())
        n_found += len(boxes)
    return n_right / max(n_found, 1), n_right / len(targets)


def main(n_steps=400):
    """Train the detector, and return its precision and recall on images that it has not seen."""
    torch.manual_seed(0)
    _, targets, _ = make_images(200, seed=0)
    model = Detector(fitted_anchors(targets))
    compute_loss = ComputeLoss(SimpleNamespace(model=[model], hyp=HYP))

    def loss_of_batch(seed, n):
        images, targets, _ = make_images(n, seed)
        return compute_loss(model(images), targets)[0]

    train(model, loss_of_batch, n_steps)
    images, targets, _ = make_images(100, seed=1)
    with torch.no_grad():
        found = detect(model, model(images))
    return precision_and_recall(found, targets)


if __name__ == "__main__":
    print("precision {:.2f}, recall {:.2f}".format(*main()))
