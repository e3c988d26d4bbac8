"""Compute slow, obvious results to compare the library with: those of `anchorlib verify`, and box sizes."""

import numpy as np

from anchorlib.verify.oracle import *  # noqa: F403
from anchorlib.verify.oracle_losses import *  # noqa: F403
from anchorlib.verify.oracle_yolov2 import *  # noqa: F403

# --- 1. box sizes -------------------------------------------------------------------------------------------


def letterbox_size(image_wh, label_wh, imgsz):
    """Return the float64 size in pixels of one box of normalised size `label_wh` in a letterboxed image.

    `imgsz` is the long side, or (imgsz_w, imgsz_h), the scale being the smaller of the two ratios.
    """
    image_w, image_h = float(image_wh[0]), float(image_wh[1])
    if isinstance(imgsz, (tuple, list)):
        scale = min(float(imgsz[0]) / image_w, float(imgsz[1]) / image_h)
    else:
        scale = float(imgsz) / max(image_w, image_h)
    return float(label_wh[0]) * image_w * scale, float(label_wh[1]) * image_h * scale


def stretch_size(image_wh, label_wh, imgsz):
    """Return the float64 size in pixels of one box of normalised size `label_wh`, with each axis scaled separately."""
    target_w, target_h = imgsz if isinstance(imgsz, (tuple, list)) else (imgsz, imgsz)
    image_w, image_h = float(image_wh[0]), float(image_wh[1])
    width = float(label_wh[0]) * image_w * (float(target_w) / image_w)
    height = float(label_wh[1]) * image_h * (float(target_h) / image_h)
    return width, height


def box_sizes(image_whs, labels, imgsz, stretch=False):
    """Return the (N, 2) float64 sizes of all boxes of a data set, image by image, label by label."""
    size_of = stretch_size if stretch else letterbox_size
    rows = []
    for image_wh, image_labels in zip(image_whs, labels):
        for label in image_labels:
            rows.append(size_of(image_wh, (label[3], label[4]), imgsz))
    return np.array(rows, dtype=np.float64).reshape(len(rows), 2)


def count_small(wh):
    """Return the number of boxes with a side under 3 px; users are warned about these."""
    count = 0
    for width, height in wh:
        if width < 3 or height < 3:
            count += 1
    return count


def kept_for_fit(wh):
    """Return a list of N bools: False only for boxes with both sides under 2 px."""
    return [not (width < 2 and height < 2) for width, height in wh]
