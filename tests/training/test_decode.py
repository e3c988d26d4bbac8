import numpy as np
import pytest

import anchorlib
from anchorlib.errors import BackendMixError, BadValueError, ShapeError
from anchorlib.verify import oracle_masks

STRIDES = (8, 16)
GRIDS = ((6, 10), (3, 5))  # of an image of 80 x 48 pixels
ANCHORS = np.asarray([[[1.0, 2.0], [3.0, 1.0]], [[2.0, 2.0], [4.0, 3.0]]], np.float32)


def logits(dtype=np.float64, seed=0, n_classes=3, n_images=2):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1.5, (n_images, 2, *grid, 5 + n_classes)).astype(dtype) for grid in GRIDS]


def decoded(backend, p, anchors=ANCHORS, strides=STRIDES):
    p, anchors = [backend.array(layer) for layer in p], backend.array(anchors)
    return [backend.host(part) for part in anchorlib.decode(p, anchors, strides)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decode_matches_the_loop(backend, dtype):
    p = logits(dtype)
    boxes, objectness, classes = decoded(backend, p)
    expected = oracle_masks.decode(p, ANCHORS, STRIDES)
    assert boxes.dtype == objectness.dtype == classes.dtype == dtype
    assert boxes.shape == (2, 2 * (60 + 15), 4)
    rtol = 2e-6 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(boxes, expected[..., :4], rtol=rtol, atol=rtol * 80)
    np.testing.assert_allclose(objectness, expected[..., 4], rtol=rtol)
    np.testing.assert_allclose(classes, expected[..., 5:], rtol=rtol)


def test_decode_is_the_inverse_of_build_targets(backend):
    """Where the logits say what build_targets asks for, each matched cell gives the object's box in pixels."""
    rng = np.random.default_rng(1)
    n = 40
    columns = [rng.integers(0, 2, (n, 1)), rng.integers(0, 3, (n, 1)), rng.uniform(0, 1, (n, 2))]
    targets = np.concatenate([*columns, rng.uniform(0.05, 0.6, (n, 2))], axis=1).astype(np.float32)
    layers = anchorlib.build_targets(targets, ANCHORS, GRIDS)
    image_size = np.asarray([80.0, 48.0] * 2)
    compared = 0
    for i in range(n):  # one object after the other: two may share a cell
        p = logits()
        for layer, of_layer in zip(p, layers):
            own = np.flatnonzero(of_layer.target == i)
            xy, wh = of_layer.box[own, :2].astype(np.float64), of_layer.box[own, 2:].astype(np.float64)
            share = np.concatenate([(xy + 0.5) / 2, np.sqrt(wh / of_layer.anchor_wh[own]) / 2], axis=1)
            cells = (of_layer.image[own], of_layer.anchor[own], of_layer.gj[own], of_layer.gi[own])
            layer[(*cells, slice(0, 4))] = np.log(share / (1 - share))
        boxes, _, _ = decoded(backend, p)
        start = 0
        for (ny, nx), of_layer in zip(GRIDS, layers):
            own = np.flatnonzero(of_layer.target == i)
            row = start + (of_layer.anchor[own] * ny + of_layer.gj[own]) * nx + of_layer.gi[own]
            expected = np.broadcast_to(targets[i, 2:] * image_size, (len(own), 4))
            np.testing.assert_allclose(boxes[of_layer.image[own], row], expected, rtol=1e-5)
            compared += len(own)
            start += 2 * ny * nx
    assert compared > 100


def test_layers_may_have_other_numbers_of_anchors(backend):
    p = logits(np.float32)
    p[1] = p[1][:, :1]
    anchors = [backend.array(ANCHORS[0]), backend.array(ANCHORS[1][:1])]
    boxes, _, _ = anchorlib.decode([backend.array(layer) for layer in p], anchors, STRIDES)
    expected = oracle_masks.decode(p, [ANCHORS[0], ANCHORS[1][:1]], STRIDES)
    np.testing.assert_allclose(backend.host(boxes), expected[..., :4], rtol=2e-6, atol=2e-4)


def test_strides_may_be_an_array(backend):
    p = [backend.array(layer) for layer in logits(np.float32)]
    anchors = backend.array(ANCHORS)
    boxes, _, _ = anchorlib.decode(p, anchors, backend.array(np.asarray(STRIDES, np.float32)))
    assert np.array_equal(backend.host(boxes), decoded(backend, logits(np.float32))[0])


def test_decode_of_16_bits_is_in_float32(grad_backend):
    if grad_backend.name != "torch":
        pytest.skip("OneFlow has no 16-bit kernels on the CPU")
    p = [grad_backend.array(layer) for layer in logits(np.float32)]
    p = [layer.half() for layer in p]
    boxes, objectness, classes = anchorlib.decode(p, grad_backend.array(ANCHORS), STRIDES)
    expected = oracle_masks.decode([grad_backend.host(layer).astype(np.float64) for layer in p], ANCHORS, STRIDES)
    np.testing.assert_allclose(grad_backend.host(boxes), expected[..., :4], rtol=2e-6, atol=2e-4)
    assert {grad_backend.host(x).dtype for x in (boxes, objectness, classes)} == {np.dtype(np.float32)}


def test_decode_has_a_gradient(grad_backend):
    p = [grad_backend.array(layer).requires_grad_() for layer in logits()]
    boxes, objectness, classes = anchorlib.decode(p, grad_backend.array(ANCHORS), STRIDES)
    (boxes.sum() + objectness.sum() + classes.sum()).backward()
    assert all((grad_backend.host(layer.grad) != 0).all() for layer in p)


def test_wrong_arguments_are_refused_by_name(backend):
    p, anchors = [backend.array(layer) for layer in logits()], backend.array(ANCHORS)
    for arguments, error, message in (
        ((p[:1], anchors, STRIDES), ShapeError, "same layers, at least one, got 1, 2 and 2"),
        (([], [], []), ShapeError, "got 0, 0 and 0"),
        ((p, anchors[:, :1, :], STRIDES), ShapeError, r"p\[0\] must have shape \(B, 1, ny, nx, 5 \+ C\)"),
        (([p[0], p[1][..., :7]], anchors, STRIDES), ShapeError, r"p\[1\] must have .* as many images and columns"),
        (([x[..., :5] for x in p], anchors, STRIDES), ShapeError, r"p\[0\] must have at least one class"),
        ((p, anchors, (8, 0)), BadValueError, r"strides\[1\] must be a number > 0, got 0"),
        ((p, anchors, (8, "x")), BadValueError, r"strides\[1\] must be a number, got 'x'"),
    ):
        with pytest.raises(error, match=message):
            anchorlib.decode(*arguments)


def test_anchors_of_another_framework_are_refused(grad_backend):
    with pytest.raises(BackendMixError, match=r"anchors\[0\] is numpy"):
        anchorlib.decode([grad_backend.array(layer) for layer in logits()], ANCHORS, STRIDES)
