"""Train the detector of from_scratch.py to give a mask for each object as well, on a CPU in under a minute.

    python from_scratch_masks.py

The heads have a coefficient for each prototype, and the mask of an object is its coefficients times the prototypes.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from from_scratch import HYP, SIZE, Detector, detect, fitted_anchors, iou_of_all, make_images, train
from torch import nn

from anchorlib.yolov5.segment import ComputeLoss

N_PROTOTYPES = 8


class Segmenter(Detector):
    """The detector, and prototypes of a quarter of the image's size."""

    def __init__(self, anchors_px):
        super().__init__(anchors_px, nm=N_PROTOTYPES)
        self.proto = nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1), nn.SiLU(), nn.Conv2d(32, N_PROTOTYPES, 1))

    def forward(self, images):
        """Return the logits, a list, and the prototypes (B, 8, 16, 16)."""
        features = self.stem(images)
        return self.predict(features), self.proto(features)


def masks_of(model, p, proto, image, boxes, rows):
    """Return the masks (n, 64, 64) of the detections of an image, bool; nothing is set outside of their boxes."""
    coefficients = torch.cat([layer[image, ..., 5 + model.nc :].flatten(0, 2) for layer in p])[rows]
    logits = (coefficients @ proto[image].flatten(1)).view(1, -1, *proto.shape[2:])
    logits = nn.functional.interpolate(logits, size=(SIZE, SIZE), mode="bilinear")[0] if len(rows) else logits[0]
    x1, y1 = (boxes[:, None, None, :2] - boxes[:, None, None, 2:] / 2).unbind(3)
    x2, y2 = (boxes[:, None, None, :2] + boxes[:, None, None, 2:] / 2).unbind(3)
    column, row = torch.arange(SIZE) + 0.5, torch.arange(SIZE)[:, None] + 0.5
    return (logits > 0) & (column > x1) & (column < x2) & (row > y1) & (row < y2)


def mean_mask_iou(model, images, targets, masks):
    """Return the mean over the objects of the IoU of their mask and that of the best detection; 0 if there is none."""
    p, proto = model(images)
    total = 0.0
    for image, (boxes, _, rows) in enumerate(detect(model, p)):
        if len(rows) == 0:
            continue
        own = targets[:, 0] == image
        best = iou_of_all(targets[own, 2:] * SIZE, boxes).argmax(1)
        found, true = masks_of(model, p, proto, image, boxes, rows)[best], masks[own] > 0.5
        total += float(((found & true).sum((1, 2)) / (found | true).sum((1, 2))).sum())
    return total / len(targets)


def main(n_steps=400):
    """Train the segmenter, and return the mean IoU of the masks on images that it has not seen."""
    torch.manual_seed(0)
    _, targets, _ = make_images(200, seed=0)
    model = Segmenter(fitted_anchors(targets))
    compute_loss = ComputeLoss(SimpleNamespace(model=[model], hyp=HYP))

    def loss_of_batch(seed, n):
        images, targets, masks = make_images(n, seed)
        return compute_loss(model(images), targets, masks)[0]

    train(model, loss_of_batch, n_steps)
    with torch.no_grad():
        return mean_mask_iou(model, *make_images(100, seed=1))


if __name__ == "__main__":
    print(f"mean IoU of the masks {main():.2f}")
