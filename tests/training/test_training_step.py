"""Train a small convolutional detector for 20 steps with SGD on each framework, from the same weights."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.loss_cases import HYP

from anchorlib import backends
from anchorlib.training import ComputeLoss
from anchorlib.yolov5 import segment

STRIDES = (8, 16)
N_CLASSES, N_ANCHORS, N_PROTOTYPES = 3, 2, 4


def weights(with_masks):
    rng = np.random.default_rng(0)
    columns = N_ANCHORS * (5 + N_CLASSES + N_PROTOTYPES * with_masks)
    shapes = {"stem": (8, 3, 8, 8), "down": (8, 8, 2, 2), "head0": (columns, 8, 1, 1), "head1": (columns, 8, 1, 1)}
    if with_masks:
        shapes["proto"] = (N_PROTOTYPES, 8, 1, 1)
    return {name: (rng.normal(0, 1, s) / np.sqrt(np.prod(s[1:]))).astype(np.float32) for name, s in shapes.items()}


def batches(n):
    rng = np.random.default_rng(1)
    for _ in range(n):
        columns = [rng.integers(0, 2, (10, 1)), rng.integers(0, N_CLASSES, (10, 1)), rng.uniform(0, 1, (10, 2))]
        targets = np.concatenate([*columns, np.exp(rng.normal(-1.2, 0.5, (10, 2)))], axis=1)
        masks = (rng.random((10, 16, 16)) < 0.5).astype(np.float32)
        yield rng.normal(0, 1, (2, 3, 64, 64)).astype(np.float32), targets.astype(np.float32), masks


def forward(functional, w, images):
    first = functional.relu(functional.conv2d(images, w["stem"], stride=8))
    second = functional.relu(functional.conv2d(first, w["down"], stride=2))
    p = []
    for features, head in ((first, w["head0"]), (second, w["head1"])):
        out = functional.conv2d(features, head)
        b, c, ny, nx = out.shape
        p.append(out.reshape(b, N_ANCHORS, c // N_ANCHORS, ny, nx).permute(0, 1, 3, 4, 2).contiguous())
    return (p, functional.conv2d(first, w["proto"])) if "proto" in w else p


def train(name, framework, steps=20, lr=0.05, with_masks=False):
    from anchorlib.verify import Target

    backend = Target(name)
    anchors = np.array([[[1.5, 2], [3, 2]], [[2, 1], [3, 3.5]]], np.float32)
    detect = SimpleNamespace(
        anchors=backend.array(anchors), stride=list(STRIDES), na=N_ANCHORS, nl=len(STRIDES), nc=N_CLASSES
    )
    detect.nm = N_PROTOTYPES
    compute_loss = (segment.ComputeLoss if with_masks else ComputeLoss)(SimpleNamespace(model=[detect], hyp=HYP))
    w = {key: framework.nn.Parameter(backend.array(value)) for key, value in weights(with_masks).items()}
    optimizer = framework.optim.SGD(list(w.values()), lr=lr, momentum=0.9)
    curve = []
    for images, targets, masks in batches(steps):
        wanted = [backend.array(x) for x in ((targets, masks) if with_masks else (targets,))]
        loss, _ = compute_loss(forward(framework.nn.functional, w, backend.array(images)), *wanted)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        curve.append(float(backend.host(loss)[0]))
    return np.array(curve)


@pytest.mark.parametrize("with_masks", [False, True])
def test_the_loss_falls(grad_backend, with_masks):
    curve = train(grad_backend.name, __import__(grad_backend.name), with_masks=with_masks)
    assert np.isfinite(curve).all()
    assert curve[-3:].mean() < 0.7 * curve[:3].mean()


@pytest.mark.needs("torch", "oneflow")
@pytest.mark.parametrize("with_masks", [False, True])
def test_the_loss_curves_of_two_frameworks_agree(with_masks):
    for name in ("oneflow", "torch"):
        backends.load(name)  # which an import of OneFlow itself would go without
    one, two = (train(name, importlib.import_module(name), with_masks=with_masks) for name in ("oneflow", "torch"))
    np.testing.assert_allclose(one, two, rtol=1e-4)
