"""The number of torch's threads changes no bit: torch splits arrays of more than 32,768 elements among its threads."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from anchorlib import crowding, fit_anchors, kmeans, score
from anchorlib.backends import host_views
from anchorlib.training import build_targets
from anchorlib.verify import Target

N = 70_000
STRIDES = (8.0, 16.0, 32.0)

pytestmark = pytest.mark.needs("torch")


def results(n_threads, sizes, targets):
    """Return what each function gives with so many threads of torch, on torch's own arrays, as bytes and numbers."""
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    backend = Target("torch")
    try:
        with host_views(False):
            boxes, rows = backend.array(sizes), backend.array(targets)
            fit = fit_anchors(boxes, 9)
            anchors = fit.anchors.reshape(3, 3, 2)
            grid = anchors / backend.array(np.asarray(STRIDES, np.float32)).reshape(3, 1, 1)
            layers = build_targets(rows, grid, [(int(640 / stride),) * 2 for stride in STRIDES])
            plain_sum = [float(torch.sum(boxes[start:])) for start in range(20)]
            found = {
                "fit_anchors": (backend.host(fit.anchors).tobytes(), fit.score),
                "kmeans": backend.host(kmeans(boxes, 2)).tobytes(),
                "score": [score(boxes[start:], fit.anchors) for start in range(20)],
                "build_targets": [backend.host(column).tobytes() for layer in layers for column in layer],
                "crowding": crowding(rows, anchors, STRIDES, imgsz=640).to_dict(),
            }
            return plain_sum, found
    finally:
        torch.set_num_threads(usual)


def test_one_thread_and_four_give_the_same_bits(monkeypatch):
    for module in ("metrics", "fitting.kmeans"):  # the usual blocks of the CPU are smaller than torch splits
        monkeypatch.setattr(importlib.import_module(f"anchorlib.{module}"), "COLUMNS_IN_CACHE", N)
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.normal(3.5, 0.9, (N, 2))).astype(np.float32)
    columns = [rng.integers(0, 64, (N, 1)), np.zeros((N, 1)), rng.uniform(0, 1, (N, 2)), np.minimum(sizes / 640, 1)]
    targets = np.concatenate(columns, axis=1).astype(np.float32)
    (one_sum, one), (four_sum, four) = (results(n, sizes, targets) for n in (1, 4))
    assert one_sum != four_sum  # torch splits its work: the order of a plain sum is another
    assert four == one
