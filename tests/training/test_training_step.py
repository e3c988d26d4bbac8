"""Train a small convolutional detector for 20 steps with SGD on each framework, from the same weights."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.loss_cases import HYP

from anchorlib import yolov7
from anchorlib.training import ComputeLoss
from anchorlib.verify import Target
from anchorlib.yolov5 import segment

STRIDES = (8, 16)
N_CLASSES, N_ANCHORS, N_PROTOTYPES = 3, 2, 4
LOSSES = (ComputeLoss, segment.ComputeLoss, yolov7.ComputeLoss, yolov7.ComputeLossOTA, yolov7.ComputeLossAuxOTA)


def weights(loss_class):
    rng = np.random.default_rng(0)
    with_masks, with_auxiliary = loss_class is segment.ComputeLoss, loss_class is yolov7.ComputeLossAuxOTA
    columns = N_ANCHORS * (5 + N_CLASSES + N_PROTOTYPES * with_masks)
    shapes = {"stem": (8, 3, 8, 8), "down": (8, 8, 2, 2), "head0": (columns, 8, 1, 1), "head1": (columns, 8, 1, 1)}
    if with_masks:
        shapes["proto"] = (N_PROTOTYPES, 8, 1, 1)
    if with_auxiliary:
        shapes.update({"head2": (columns, 8, 1, 1), "head3": (columns, 8, 1, 1)})
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
    heads = [w[f"head{i}"] for i in range(4) if f"head{i}" in w]  # 2 and 3 are the auxiliary ones
    for features, head in zip((first, second) * 2, heads):
        out = functional.conv2d(features, head)
        b, c, ny, nx = out.shape
        p.append(out.reshape(b, N_ANCHORS, c // N_ANCHORS, ny, nx).permute(0, 1, 3, 4, 2).contiguous())
    return (p, functional.conv2d(first, w["proto"])) if "proto" in w else p


def train(backend, loss_class, steps=20, lr=0.05):
    framework = importlib.import_module(backend.name)
    anchors = np.array([[[1.5, 2], [3, 2]], [[2, 1], [3, 3.5]]], np.float32)
    detect = SimpleNamespace(
        anchors=backend.array(anchors), stride=list(STRIDES), na=N_ANCHORS, nl=len(STRIDES), nc=N_CLASSES
    )
    detect.nm = N_PROTOTYPES
    compute_loss = loss_class(SimpleNamespace(model=[detect], hyp=HYP))
    w = {key: framework.nn.Parameter(backend.array(value)) for key, value in weights(loss_class).items()}
    optimizer = framework.optim.SGD(list(w.values()), lr=lr, momentum=0.9)
    curve = []
    for images, targets, masks in batches(steps):
        images, wanted = backend.array(images), [backend.array(targets)]
        if loss_class is segment.ComputeLoss:
            wanted.append(backend.array(masks))
        elif issubclass(loss_class, yolov7.ComputeLossOTA):
            wanted.append(images)
        loss, _ = compute_loss(forward(framework.nn.functional, w, images), *wanted)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        curve.append(float(backend.host(loss)[0]))
    return np.array(curve)


@pytest.mark.parametrize("loss_class", LOSSES, ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_the_loss_falls(grad_backend, loss_class):
    curve = train(grad_backend, loss_class)
    assert np.isfinite(curve).all()
    assert curve[-3:].mean() < 0.7 * curve[:3].mean()


@pytest.mark.needs("torch", "oneflow")
@pytest.mark.parametrize("loss_class", LOSSES, ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_the_loss_curves_of_two_frameworks_agree(loss_class):
    one, two = (train(Target(name), loss_class) for name in ("oneflow", "torch"))
    np.testing.assert_allclose(one, two, rtol=1e-4)
