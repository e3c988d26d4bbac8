"""Assign predictions to objects by cost, as the OTA losses of YOLOv7 do: each object keeps its cheapest candidates.

All of it runs under NumPy on the host, so that the same logits give the same matches with every framework and on every
device. From a device there are two copies to the host: the targets with the anchors, and the logits of the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Union

import numpy as np

from anchorlib.arrays import Array, HostArray, Namespace, check_integer, check_number, check_shape, unstack, widen
from anchorlib.backends import from_host, namespace_of, on_host
from anchorlib.errors import BadValueError, ShapeError
from anchorlib.training.checks import check_targets
from anchorlib.training.ota_matching import find_candidates, find_objects, match
from anchorlib.training.targets import LayerTargets, build_targets

_CELL = tuple(LayerTargets._fields.index(name) for name in ("image", "anchor", "gj", "gi"))


class Head(NamedTuple):
    """What differs between the assignments of one batch.

    offset : of `build_targets`, which gives the candidates
    top : how many of the largest IoUs of an object are summed up to the number of its candidates
    """

    offset: float = 0.5
    top: int = 10


def assign(
    p: Sequence[Array],
    targets: Array,
    anchors: Union[Array, Sequence[Array]],
    strides: Sequence[float],
    image_wh: tuple[float, float],
    *,
    thr: float = 4.0,
    offset: float = 0.5,
    top: int = 10,
) -> list[LayerTargets]:
    """Return the predictions that are assigned to each object, by layer: YOLOv7's OTA assignment.

    The rows of `build_targets` are the candidates. An object takes the cheapest of its image: as many as the sum of its
    `top` largest IoUs with them, truncated, and at least one. The cost is the class's binary cross-entropy less
    3 log(IoU). A candidate taken by several objects goes to the object of the image for which it is the cheapest.
    Equal costs are decided by the lowest candidate, then by the lowest object.

    Parameters
    ----------
    p : L arrays (B, A, ny, nx, 5 + C) of logits: x, y, w, h, objectness, classes; any floating dtype
    targets : (T, 6) float: image, class, cx, cy, w, h, boxes in [0, 1] of the image. T may be 0.
    anchors : (L, A, 2) float, grid units (pixels / stride), sides > 0; a list of (A_l, 2) where the numbers differ
    strides : L numbers > 0, pixels per cell
    image_wh : width and height of the images, pixels
    thr, offset : as for `build_targets`
    top : number of IoUs summed; 10 in YOLOv7, 20 where it has auxiliary heads

    Returns
    -------
    L LayerTargets, of the framework and on the device of `targets`. Rows: by image, then in the order of the
    candidates. Bit-identical on every backend and device. A box is relative to the cell of its prediction, which may be
    several cells away. No gradient flows through it. Objects whose box is not finite get no row.

    Raises
    ------
    ShapeError : wrong shapes, or lists of different lengths
    BadValueError : an image or class of `targets` out of range (with one class, the class is not used); image_wh,
        strides, thr, offset or top out of range
    BackendMixError, ArrayTypeError

    Source
    ------
    The assignment of YOLOv7, after Ge et al., "OTA: Optimal Transport Assignment for Object Detection" and "YOLOX:
    Exceeding YOLO Series in 2021", both 2021; written from a description of its behaviour.

    Examples
    --------
    >>> p = [np.zeros((1, 1, 4, 4, 6))]
    >>> targets = np.asarray([[0.0, 0.0, 0.55, 0.6, 0.5, 0.5]])
    >>> (layer,) = assign(p, targets, np.asarray([[[2.0, 2.0]]]), [8.0], (32, 32))
    >>> np.stack([layer.gj, layer.gi], axis=1)  # of three candidates with IoUs 0.68, 0.45 and 0.31
    array([[2, 2]])
    """
    (layers,) = assign_heads(p, targets, anchors, strides, image_wh, [Head(offset, top)], thr=thr)
    return layers


def assign_heads(
    p: Sequence[Array],
    targets: Array,
    anchors: Union[Array, Sequence[Array]],
    strides: Sequence[float],
    image_wh: tuple[float, float],
    heads: Sequence[Head],
    *,
    thr: float = 4.0,
) -> list[list[LayerTargets]]:
    """Return for each of several heads what `assign` returns; the logits are copied from a device once for all."""
    if not isinstance(anchors, (list, tuple)):
        check_shape(("L", "A", 2), anchors=anchors)
    layer_anchors = unstack(anchors)
    named = {f"p[{i}]": layer for i, layer in enumerate(p)}
    named.update({f"anchors[{i}]": layer for i, layer in enumerate(layer_anchors)})
    xp = namespace_of(targets=targets, **named)
    check_shape(("T", 6), hint="The columns are image, class, cx, cy, w, h.", targets=targets)
    _check_layers(p, layer_anchors, strides)
    image_size, pixels = _positive("image_wh", image_wh, 2), _positive("strides", strides, len(p))
    for head in heads:
        check_integer("top", head.top, 1)

    rows, *layer_anchors = _read(xp, targets, *layer_anchors)
    n_images, n_classes = int(p[0].shape[0]), int(p[0].shape[4]) - 5
    check_targets(rows[:, :2], n_images, n_classes if n_classes > 1 else None)
    shapes = [(int(layer.shape[2]), int(layer.shape[3])) for layer in p]
    found = [build_targets(rows, layer_anchors, shapes, thr=thr, offset=head.offset) for head in heads]
    objects, matches = find_objects(rows, image_size, n_classes), []
    for head, layers, logits in zip(heads, found, _gather(xp, p, found)):
        candidates = find_candidates(layers, logits, pixels)
        matches.append(match(candidates, objects, head.top, n_images))
    return _result(found, matches, rows, shapes, like=targets)


def _check_layers(p: Sequence[Array], anchors: Sequence[Array], strides: Sequence[float]) -> None:
    """Check that there are as many layers of each, and that the layers of `p` agree in all but the grid."""
    if not len(p) == len(anchors) == len(strides) or not len(p):
        raise ShapeError(
            "p, anchors and strides must have one entry for each layer, and at least one, got "
            f"{len(p)}, {len(anchors)} and {len(strides)}."
        )
    check_shape(("A", 2), **{f"anchors[{i}]": layer for i, layer in enumerate(anchors)})
    for i, (layer, sides) in enumerate(zip(p, anchors)):
        check_shape(("B", int(sides.shape[0]), "ny", "nx", "5 + C"), **{f"p[{i}]": layer})
        if layer.shape[4] < 6 or (layer.shape[0], layer.shape[4]) != (p[0].shape[0], p[0].shape[4]):
            raise ShapeError(
                f"p[{i}] must have as many images and columns as p[0], and at least 6 columns, got "
                f"{tuple(layer.shape)} and {tuple(p[0].shape)}."
            )


def _positive(name: str, values: Sequence[float], length: int) -> HostArray:
    """Return so many finite numbers > 0 as float64."""
    numbers = np.asarray([check_number(name, value) for value in values])
    if numbers.shape != (length,) or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise BadValueError(f"{name} must be {length} finite numbers > 0, got {numbers.tolist()}.")
    return numbers


def _read(xp: Namespace, *arrays: Array) -> list[HostArray]:
    """Return the arrays as float32 on the host; from a device they come in one copy."""
    hosted = on_host(*arrays)
    if isinstance(hosted[0], np.ndarray):
        return [array if array.dtype == np.float32 else array.astype(np.float32) for array in hosted]
    flat = xp.to_numpy(xp.concat([xp.reshape(xp.astype(array, xp.float32), (-1,)) for array in hosted], axis=0))
    ends = np.cumsum([int(np.prod(array.shape)) for array in arrays])
    return [part.reshape(tuple(array.shape)) for part, array in zip(np.split(flat, ends[:-1]), arrays)]


def _gather(xp: Namespace, p: Sequence[Array], found: Sequence[list[LayerTargets]]) -> list[HostArray]:
    """Return for each head the logits (J, 5 + C) of its candidates, layers joined; from a device in one copy."""
    cells = []  # by layer, the heads joined
    for i, layer in enumerate(p):
        rows = [np.concatenate([head[i][column] for head in found]) for column in _CELL]
        cells.append(np.ravel_multi_index(rows, tuple(layer.shape[:4])))
    hosted = on_host(*p)
    if isinstance(hosted[0], np.ndarray):  # not reshaped: an array that is not contiguous would be copied
        parts = [layer[np.unravel_index(at, layer.shape[:4])] for layer, at in zip(hosted, cells)]
    else:
        ends = np.cumsum([0] + [len(at) for at in cells]).tolist()
        at = xp.from_numpy(np.concatenate(cells), device=xp.device_of(p[0]))
        tables = [xp.reshape(layer, (-1, layer.shape[4])) for layer in hosted]
        taken = [widen(xp.take(table, at[a:b], axis=0)) for table, a, b in zip(tables, ends, ends[1:]) if b > a]
        flat = xp.to_numpy(xp.concat(taken, axis=0)) if taken else np.empty((0, p[0].shape[4]), np.float32)
        parts = np.split(flat, ends[1:-1])
    by_head: list[list[HostArray]] = [[] for _ in found]
    for i, part in enumerate(parts):
        ends = np.cumsum([len(head[i].cls) for head in found])
        for of_head, logits in zip(by_head, np.split(part, ends[:-1])):
            of_head.append(logits)
    return [np.concatenate(of_head) for of_head in by_head]


def _result(
    found: Sequence[list[LayerTargets]],
    matches: Sequence[tuple[HostArray, HostArray]],
    targets: HostArray,
    shapes: Sequence[tuple[int, int]],
    like: Array,
) -> list[list[LayerTargets]]:
    """Return the matched rows of each head by layer, where `like` is; to a device they go in two copies."""
    integers, floats, counts = [], [], []
    for layers, (rows, owners) in zip(found, matches):
        ends = np.cumsum([len(layer.cls) for layer in layers])
        layer_of = np.searchsorted(ends, rows, side="right")
        order = np.argsort(layer_of, kind="stable")
        rows, owners = rows[order], owners[order]
        counts.append(np.bincount(layer_of, minlength=len(layers)))
        whole = np.stack([np.concatenate([layer[column] for layer in layers])[rows] for column in _CELL])
        gain = np.repeat(np.asarray([(nx, ny, nx, ny) for ny, nx in shapes], np.float32), counts[-1], axis=0)
        box = targets[owners, 2:] * gain
        box[:, :2] -= whole[:1:-1].T.astype(np.float32)
        integers.append(np.concatenate([whole, targets[owners, 1].astype(np.int64)[None], owners[None]]))
        floats.append(np.concatenate([box, np.concatenate([layer.anchor_wh for layer in layers])[rows]], axis=1))
    whole, sides = np.concatenate(integers, axis=1), np.concatenate(floats)
    if not isinstance(on_host(like)[0], np.ndarray):
        whole, sides = from_host(whole, like=like), from_host(sides, like=like)
    ends = np.cumsum(np.concatenate([[0], *counts])).tolist()
    slices = [(whole[:, a:b], sides[a:b, :]) for a, b in zip(ends, ends[1:])]
    made = [_layer(*columns, like) for columns in slices]
    return [made[i : i + len(shapes)] for i in range(0, len(made), len(shapes))]


def _layer(integers: Array, floats: Array, like: Array) -> LayerTargets:
    """Return (6, M) integers and (M, 6) floats as the columns of a layer, where `like` is."""
    image, anchor, gj, gi, cls, target = (integers[i, :] for i in range(6))
    columns = LayerTargets(cls, floats[:, :4], image, anchor, gj, gi, floats[:, 4:], target)
    return LayerTargets(*(from_host(column, like=like) for column in columns))
