"""Make artificial box sizes for tests and benchmarks."""

import numpy as np


def coco_like(n, seed=0):
    """Draw (n, 2) float32 sizes at 640 px, distributed like those of COCO: some boxes fill the image.

    Rounded like labels with six decimals. Not COCO: its fitness at n = 9 is near 0.71.
    """
    rng = np.random.default_rng(seed)
    part = np.searchsorted([0.42, 0.76], rng.random(n))
    size = np.array([4.3, 5.9, 7.4])[part] + np.array([0.75, 0.8, 0.85])[part] * rng.standard_normal(n)
    upright = rng.random(n) < 0.35  # people, for example
    aspect = 0.15 * (part == 1) - 0.3 * upright + 0.45 * rng.standard_normal(n)
    wh = np.stack([np.exp2(size + aspect), np.exp2(size - aspect)], axis=1)
    wh = np.clip(wh, 1.5, [640.0, 600.0])
    return (np.round(wh / 640, 6) * 640).astype(np.float32)
