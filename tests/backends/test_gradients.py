"""Gradients through the names that losses use: central differences under NumPy, then PyTorch to 1e-12."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anchorlib import backends

X = np.asarray([[-1.5, 0.25, 2.0], [0.75, -0.125, 3.5]])
Y = np.asarray([[0.5, 0.375, 1.0], [2.0, 0.25, -3.0]])
POSITIVE = np.asarray([[0.5, 1.25, 2.0], [3.0, 0.1, 7.0]])


def rows(xp, like):
    return xp.asarray([1, 0], dtype=xp.int64, device=xp.device_of(like))


def squared_parts(xp, parts):
    return xp.concat([xp.square(xp.reshape(part, (-1,))) for part in parts])


LOSSES = {
    "where": lambda xp, x, y: xp.where(x > 0, x * y, y),
    "minimum": lambda xp, x, y: xp.minimum(x, y) * x,
    "maximum": lambda xp, x, y: xp.maximum(x, y) * y,
    "minimum with a number": lambda xp, x, y: xp.minimum(x, 1.0) * y,
    "min": lambda xp, x, y: xp.min(x * y, axis=1),
    "max": lambda xp, x, y: xp.max(x * y, axis=0),
    "clip": lambda xp, x, y: xp.clip(x, min=0.0, max=1.0) * y,
    "clip to an array": lambda xp, x, y: xp.clip(x, min=y),
    "sum": lambda xp, x, y: xp.sum(x * x * y, axis=0),
    "mean": lambda xp, x, y: xp.mean(x * y, axis=(0, 1)),
    "prod": lambda xp, x, y: xp.prod(x, axis=1),
    "take": lambda xp, x, y: xp.take(x, rows(xp, x), axis=0) * y,
    "put_rows": lambda xp, x, y: xp.square(xp.put_rows(x, rows(xp, x), y * 2)),
    "put_rows in part": lambda xp, x, y: xp.square(xp.put_rows(x, rows(xp, x)[:1], y[:1])),
    "split_rows": lambda xp, x, y: squared_parts(xp, xp.split_rows(x * y, rows(xp, x), 1)),
    "split_rows of one row": lambda xp, x, y: squared_parts(xp, xp.split_rows(x, rows(xp, x)[:1], 2)),
    "with_gradient": lambda xp, x, y: xp.with_gradient(lambda z: (xp.sum(z * z * z), 3 * z * z), x * y),
    "with_gradient of two": lambda xp, x, y: xp.with_gradient(lambda a, b: (xp.sum(a * a * b), 2 * a * b, a * a), x, y),
    "sigmoid": lambda xp, x, y: xp.sigmoid(x * 3) * y,
    "exp": lambda xp, x, y: xp.exp(x) * y,
    "log": lambda xp, x, y: xp.log(x * x + 1) * xp.log1p(y * y),
    "log2 and sqrt": lambda xp, x, y: xp.log2(x * x + 1) * xp.sqrt(y * y + 1),
    "atan": lambda xp, x, y: xp.atan(x / y),
    "reshape": lambda xp, x, y: xp.reshape(x, (3, 2)) * xp.permute_dims(y, (1, 0)),
    "stack": lambda xp, x, y: xp.stack([x, y, x * y], axis=-1) * x[..., None],
    "concat": lambda xp, x, y: xp.square(xp.concat([x, y, x], axis=1)),
    "divide": lambda xp, x, y: xp.divide(x, y) + 1 / y,
    "square": lambda xp, x, y: xp.square(x) * xp.negative(y),
    "abs": lambda xp, x, y: xp.abs(x) * xp.abs(y),
    "pow": lambda xp, x, y: xp.pow(x * x, 1.5) * y,
    "remainder": lambda xp, x, y: xp.remainder(x + 0.0625, 1.0) * y,
    "broadcast_to": lambda xp, x, y: xp.broadcast_to(xp.expand_dims(x, axis=0), (2, 2, 3)) * y,
    "flip": lambda xp, x, y: xp.flip(x, axis=1) * y,
    "cumulative_sum": lambda xp, x, y: xp.cumulative_sum(x, axis=1) * y,
    "log_softmax": lambda xp, x, y: xp.log_softmax(x, axis=1) * y,
    "bce": lambda xp, x, y: xp.bce_with_logits(x * 4, xp.detach(xp.sigmoid(y))),
    "bce with pos_weight": lambda xp, x, y: xp.bce_with_logits(
        x,
        xp.detach(xp.sigmoid(y)),
        pos_weight=xp.asarray([1.0, 2.0, 3.0], dtype=xp.float64, device=xp.device_of(x)),
    ),
}


def gradients(xp, loss, x, y, device):
    leaves = [xp.from_numpy(value.copy(), device=device).requires_grad_() for value in (x, y)]
    total = xp.sum(loss(xp, *leaves))
    total.backward()
    return float(xp.detach(total)), [None if leaf.grad is None else xp.to_numpy(leaf.grad) for leaf in leaves]


def differences(loss, x, y, step=1e-6):
    xp = backends.load("numpy")
    found = []
    for which in (0, 1):
        gradient = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            sides = []
            for move in (step, -step):
                moved = [x.copy(), y.copy()]
                moved[which][index] += move
                sides.append(float(np.sum(loss(xp, *moved))))
            gradient[index] = (sides[0] - sides[1]) / (2 * step)
        found.append(gradient)
    return found


def is_detached(name, which):
    return name.startswith("bce") and which == 1


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_is_that_of_central_differences(grad_backend, name):
    _, found = gradients(grad_backend.xp, LOSSES[name], X, Y, grad_backend.device)
    for which, (one, expected) in enumerate(zip(found, differences(LOSSES[name], X, Y))):
        if one is None:  # nothing flows: cut off, or not used
            assert is_detached(name, which) or not expected.any()
        elif not is_detached(name, which):
            np.testing.assert_allclose(one, expected, rtol=1e-6, atol=1e-6)  # the error of the differences


@pytest.mark.needs("torch")
@pytest.mark.parametrize("ties", [False, True], ids=["no ties", "ties"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_is_that_of_torch_to_1e_12(grad_backend, name, ties):
    x, y = (np.where(X > 0, 1.0, X), np.where(Y > 0, 1.0, Y)) if ties else (X, Y)
    value, found = gradients(grad_backend.xp, LOSSES[name], x, y, grad_backend.device)
    expected_value, expected = gradients(backends.load("torch"), LOSSES[name], x, y, "cpu")
    assert math.isclose(value, expected_value, rel_tol=1e-12)
    for one, other in zip(found, expected):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_detach_cuts_the_gradient(grad_backend):
    _, (dx, dy) = gradients(grad_backend.xp, lambda xp, x, y: xp.detach(x) * y, X, Y, grad_backend.device)
    assert dx is None
    np.testing.assert_array_equal(dy, X)


def test_overwrite_writes_to_a_leaf_that_asks_for_a_gradient(grad_backend):
    leaf = grad_backend.array(X).requires_grad_()
    grad_backend.xp.overwrite(leaf, grad_backend.array(Y))
    np.testing.assert_array_equal(grad_backend.host(leaf), Y)
    assert leaf.requires_grad


def test_a_join_of_nothing_has_a_gradient(grad_backend):
    """The gradient of OneFlow's cat ends the process."""
    for axis, shape in ((0, (0, 3)), (1, (0, 6))):
        found = []
        value, (dx, _) = gradients(
            grad_backend.xp,
            lambda xp, x, y, axis=axis, found=found: found.append(xp.concat([x * 2, x * 1], axis=axis)) or found[0],
            np.zeros((0, 3)),
            np.zeros((0, 3)),
            grad_backend.device,
        )
        assert tuple(found[0].shape) == shape
        assert (value, dx.shape) == (0.0, (0, 3))


def test_nothing_has_a_gradient_of_nothing(grad_backend):
    nothing = np.zeros((0, 3))

    def loss(xp, x, y):
        weight = xp.asarray([2.0], dtype=xp.float64, device=xp.device_of(x))
        return xp.bce_with_logits(x, xp.detach(y), pos_weight=weight) + xp.bce_with_logits(x, xp.detach(y))

    value, (dx, _) = gradients(grad_backend.xp, loss, nothing, nothing, grad_backend.device)
    assert (value, dx.shape) == (0.0, (0, 3))
