"""Measure one fit in its own process: read a job as JSON from standard input, write the result as JSON.

Runs in the environment of the measured method: anchorlib's or that of the peers. Only the fit is timed, not imports and
reading.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import sys
import time
import types

import numpy as np


def main() -> None:
    job = json.load(sys.stdin)
    boxes_wh = np.load(job["boxes"])
    fit = WAYS[job["way"]](job)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    anchors = fit(boxes_wh)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {"seconds": seconds, "grown_mb": (peak - before) / 1024, "anchors": np.asarray(anchors, float).tolist()}
    json.dump(result, sys.stdout)


def anchorlib_direct(job):
    from anchorlib import fit_anchors

    options = {"objective": job.get("objective", "ratio"), "seed": job["seed"]}
    return lambda boxes_wh: fit_anchors(boxes_wh, job["n"], **options).anchors


def anchorlib_evolve(job):
    from anchorlib import fit_anchors

    return lambda boxes_wh: fit_anchors(boxes_wh, job["n"], method="evolve", seed=job["seed"]).anchors


def anchorlib_direct_iou(job):
    return anchorlib_direct({**job, "objective": "iou"})


def plain_iou_kmeans(job):
    """Return 1 - IoU k-means with medians as usually written: (N, K) arrays, until no box changes its cluster."""

    def fit(boxes_wh):
        rng = np.random.default_rng(job["seed"])
        clusters = boxes_wh[rng.choice(len(boxes_wh), job["n"], replace=False)]
        before = np.full(len(boxes_wh), -1)
        for _ in range(1000):
            inter = np.minimum(boxes_wh[:, None], clusters[None]).prod(2)
            union = boxes_wh.prod(1)[:, None] + clusters.prod(1)[None] - inter
            owner = (1 - inter / union).argmin(1)
            if (owner == before).all():
                break
            for j in range(job["n"]):
                if (owner == j).any():
                    clusters[j] = np.median(boxes_wh[owner == j], axis=0)
            before = owner
        return clusters

    return fit


def anchorlib_iou_kmeans(job):
    from anchorlib import kmeans

    return lambda boxes_wh: kmeans(boxes_wh, job["n"], distance="iou", update="median", seed=job["seed"])


def plain_evolution(job):
    """Return YOLOv5's evolution, written plainly in NumPy with (N, K, 2) arrays, from the same start as anchorlib's."""
    from anchorlib import kmeans

    limit = np.float32(0.25)

    def fitness(boxes_wh, anchors):
        ratio = boxes_wh[:, None] / anchors[None]
        best = np.minimum(ratio, 1 / ratio).min(2).max(1)
        return (best * (best > limit)).mean()

    def fit(boxes_wh):
        rng = np.random.default_rng(job["seed"])
        best = kmeans(boxes_wh, job["n"], seed=job["seed"])
        best_fitness = fitness(boxes_wh, best)
        for _ in range(1000):
            factors = 1 + (rng.random(best.shape) < 0.9) * rng.random() * rng.standard_normal(best.shape) * 0.1
            candidate = (best * factors.clip(0.3, 3)).clip(2).astype(np.float32)
            found = fitness(boxes_wh, candidate)
            if found > best_fitness:
                best, best_fitness = candidate, found
        return best

    return fit


def yolov5(job):
    """Return kmean_anchors of the installed package with 1000 generations. It gets one image with one label per box.

    Only the modules that it needs are imported; their other imports are empty modules.
    """
    import random

    import torch

    torch.set_num_threads(1)
    package = types.ModuleType("yolov5")
    package.__path__ = [os.path.join(os.environ["YOLOV5_WHEEL_DIR"], "yolov5")]
    logger = logging.getLogger("peer")
    logger.setLevel(logging.ERROR)
    general = types.ModuleType("yolov5.utils.general")
    general.__dict__.update(LOGGER=logger, TQDM_BAR_FORMAT="{l_bar}", colorstr=lambda *a: a[-1])
    sys.modules.update({"yolov5": package, "yolov5.utils.general": general})
    autoanchor = importlib.import_module("yolov5.utils.autoanchor")
    random.seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002  the peer draws from the global state

    def fit(boxes_wh):
        # kmean_anchors scales shapes to img_size: images of 640 x 640 and sizes as shares keep the pixels as they are
        labels = np.concatenate([np.zeros((len(boxes_wh), 3)), boxes_wh / 640], axis=1)
        dataset = types.SimpleNamespace(shapes=np.full((1, 2), 640.0), labels=[labels])
        return autoanchor.kmean_anchors(dataset, n=job["n"], img_size=640, thr=4.0, gen=1000, verbose=False)

    return fit


def scipy_kmeans(job):
    """Return whitened k-means with 30 restarts, which may return fewer anchors than n."""
    from scipy.cluster.vq import kmeans

    def fit(boxes_wh):
        deviation = boxes_wh.std(0)
        return kmeans(boxes_wh / deviation, job["n"], iter=30, seed=job["seed"])[0] * deviation

    return fit


def scipy_differential_evolution(job):
    """Minimise 1 - mean best IoU over all anchors at once, as MMYOLO's tool does, in a few rounds."""
    from scipy.optimize import differential_evolution

    def fit(boxes_wh):
        w, h = boxes_wh.T

        def cost(flat):
            best = np.zeros(len(w), np.float32)
            for anchor_w, anchor_h in flat.reshape(-1, 2).astype(np.float32):
                inter = np.minimum(w, anchor_w) * np.minimum(h, anchor_h)
                np.maximum(best, inter / (w * h + anchor_w * anchor_h - inter), out=best)
            return 1 - best.mean()

        bounds = [(2.0, 640.0)] * (2 * job["n"])
        found = differential_evolution(
            cost, bounds, maxiter=job.get("rounds", 20), seed=job["seed"], tol=0, polish=False
        )
        return found.x.reshape(-1, 2)

    return fit


WAYS = {
    "anchorlib direct": anchorlib_direct,
    "anchorlib evolve": anchorlib_evolve,
    "anchorlib 1 - IoU k-means": anchorlib_iou_kmeans,
    "anchorlib direct, IoU": anchorlib_direct_iou,
    "plain 1 - IoU k-means": plain_iou_kmeans,
    "plain evolution": plain_evolution,
    "yolov5 7.0.14": yolov5,
    "scipy kmeans": scipy_kmeans,
    "scipy DE, 20 rounds": scipy_differential_evolution,
}

if __name__ == "__main__":
    main()
