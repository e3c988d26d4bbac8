"""From the logits of a model with anchors to boxes in pixels: the inverse of the assignment of targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

import numpy as np

from anchorlib.arrays import Array, Namespace, as_float, check_number, check_shape, describe, unstack, widen
from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError, ShapeError


def decode(
    p: Sequence[Array], anchors: Union[Array, Sequence[Array]], strides: Union[Array, Sequence[float]]
) -> tuple[Array, Array, Array]:
    """Return the boxes, the objectness and the class probabilities that the logits of a batch stand for.

    Parameters
    ----------
    p : L arrays (B, A, ny, nx, 5 + C) of logits: x, y, w, h, objectness, classes; any floating dtype. Columns that are
        not classes, as mask coefficients, must be cut off: `layer[..., : 5 + n_classes]`
    anchors : (L, A, 2) float, grid units (pixels / stride); a list of (A_l, 2) where the numbers differ
    strides : L numbers > 0, pixels per grid cell

    Returns
    -------
    boxes : (B, M, 4), cx, cy, w, h in pixels of the network's input, M = the sum of A * ny * nx over the layers
    objectness : (B, M), in [0, 1]
    classes : (B, M, C), probability of each class in [0, 1]. ComputeLoss does not train this column of a model of one
        class: use the objectness only.
    Layer after layer, in each by anchor, row and column of the grid. float32, or float64 for such logits; framework and
    device of `p`, and with gradient. Non-maximum suppression is left to the caller.

    Raises
    ------
    ShapeError : wrong shapes, no layer, or another number of layers in `anchors` or `strides` than in `p`
    BadValueError : a stride that is not a positive number
    BackendMixError, ArrayTypeError

    Source
    ------
    The box parametrisation of YOLOv5, written from a description of its behaviour.

    Examples
    --------
    >>> p = np.zeros((1, 1, 2, 2, 6))  # logits of 0: the centre of the cell, the size of the anchor
    >>> boxes, objectness, classes = decode([p], np.asarray([[[1.0, 2.0]]]), [8])
    >>> boxes[0]
    array([[ 4.,  4.,  8., 16.],
           [12.,  4.,  8., 16.],
           [ 4., 12.,  8., 16.],
           [12., 12.,  8., 16.]])
    """
    layer_anchors = unstack(anchors)
    steps = strides if isinstance(strides, Sequence) else namespace_of(strides).to_numpy(strides)
    if not len(p) or not len(p) == len(layer_anchors) == len(steps):
        raise ShapeError(
            f"p, anchors and strides must have the same layers, at least one, "
            f"got {len(p)}, {len(layer_anchors)} and {len(steps)}."
        )
    named = {f"p[{i}]": layer for i, layer in enumerate(p)}
    of_anchors = {f"anchors[{i}]": layer for i, layer in enumerate(layer_anchors)}
    xp = namespace_of(**named, **of_anchors)
    check_shape(("A", 2), **of_anchors)
    for i, (name, layer) in enumerate(named.items()):
        check_shape(("B", layer_anchors[i].shape[0], "ny", "nx", "5 + C"), **{name: layer})
        if layer.shape[4] < 6 or (layer.shape[0], layer.shape[4]) != (p[0].shape[0], p[0].shape[4]):
            raise ShapeError(
                f"{name} must have at least one class, and as many images and columns as p[0]; "
                f"got {describe(layer)}, and p[0] is {describe(p[0])}."
            )
    layers = [
        _decode_layer(xp, widen(layer), layer_anchors[i], _stride(i, steps[i]))
        for i, layer in enumerate(named.values())
    ]
    boxes, objectness, classes = (xp.concat(parts, axis=1) for parts in zip(*layers))
    return boxes, objectness, classes


def _decode_layer(xp: Namespace, logits: Array, anchors: Array, stride: float) -> tuple[Array, Array, Array]:
    """Return what one layer predicts: (B, A * ny * nx, 4), (B, A * ny * nx), (B, A * ny * nx, C)."""
    n_images, n_anchors, ny, nx, n_columns = logits.shape
    n_rows = n_anchors * ny * nx
    part = xp.reshape(xp.sigmoid(logits), (n_images, n_rows, n_columns))
    row, column = np.divmod(np.arange(n_rows) % (ny * nx), nx)
    cell = xp.from_numpy(np.stack([column, row], axis=1), device=xp.device_of(logits))
    cell = xp.astype(cell, logits.dtype)[None, :, :]  # (1, A * ny * nx, 2)
    size = xp.expand_dims(as_float(anchors, logits.dtype) * stride, axis=1)  # (A, 1, 2)
    size = xp.reshape(xp.broadcast_to(size, (n_anchors, ny * nx, 2)), (1, n_rows, 2))
    centre = (part[..., :2] * 2 - 0.5 + cell) * stride
    half = part[..., 2:4] * 2
    return xp.concat([centre, half * half * size], axis=2), part[..., 4], part[..., 5:]


def _stride(i: int, value: float) -> float:
    stride = check_number(f"strides[{i}]", value)
    if not 0 < stride < np.inf:
        raise BadValueError(f"strides[{i}] must be a number > 0, got {stride:g}.")
    return stride
