"""Draw text lines as on receipts: 4 to 13 px high and 10 to 130 px wide, row below row, at 480 px."""

from __future__ import annotations

import numpy as np

from anchorlib import BoxSizes


def draw_text_lines(n_images, seed=0):
    """Return the boxes of n_images drawn receipts, with centres."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n_images):
        boxes, top, height = [], 10.0, rng.uniform(5, 11)
        while top < 460:
            tall = height * rng.uniform(0.8, 1.2)
            left = rng.uniform(120, 150)
            while left < 350:
                wide = min(np.exp(rng.uniform(np.log(10), np.log(130))), 360 - left)
                boxes.append([left, top, left + wide, top + tall])
                left += wide + height * rng.uniform(0.3, 1.5) + (rng.random() < 0.2) * rng.uniform(20, 100)
            top += tall + height * rng.uniform(0.1, 0.8)
        images.append(boxes)
    return BoxSizes.from_boxes(images, [480, 480], imgsz=480, centres=True)
