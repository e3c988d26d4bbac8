"""Make models, predictions and targets for the tests of the loss."""

from types import SimpleNamespace

import numpy as np

HYP = {"box": 0.05, "cls": 0.5, "cls_pw": 1.0, "obj": 1.0, "obj_pw": 1.0, "anchor_t": 4.0, "fl_gamma": 0.0}


def model_of(backend, anchors, strides, nc, hyp=HYP, dtype=np.float32):
    detect = SimpleNamespace(
        anchors=backend.array(anchors, dtype),
        stride=backend.array(strides, np.float32),
        na=len(anchors[0]),
        nl=len(anchors),
        nc=nc,
    )
    return SimpleNamespace(model=[detect], hyp=dict(hyp))


def logits_of(backend, arrays, dtype=None):
    p = [backend.array(array, dtype) for array in arrays]
    if backend.has_gradient:
        for layer in p:
            layer.requires_grad = True
    return p


def small_case(n_targets=12, nc=3, dtype=np.float64, seed=0):
    """Return anchors, strides, p and targets of two images, with cells that several rows share."""
    rng = np.random.default_rng(seed)
    strides = (8, 16, 32)
    anchors = np.exp(rng.normal(0.6, 0.5, (3, 2, 2))).astype(np.float32)
    p = [rng.normal(0, 1, (2, 2, 64 // s, 64 // s, 5 + nc)).astype(dtype) for s in strides]
    columns = [rng.integers(0, 2, (n_targets, 1)), rng.integers(0, nc, (n_targets, 1))]
    columns += [rng.uniform(0, 1, (n_targets, 2)), np.exp(rng.normal(-1.5, 0.6, (n_targets, 2)))]
    return anchors, strides, p, np.concatenate(columns, axis=1).astype(np.float32)
