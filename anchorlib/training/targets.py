"""Assign targets to cells and anchors as YOLOv5 does.

All layers are assigned together. A mask (layer, neighbour, anchor, target) marks the rows of the result; its marked
entries in row-major order are the rows in YOLOv5's order. The decisions use only float32 operations that every backend
and device rounds in the same way (products, divisions, floors, comparisons), so the result is bit-identical.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from anchorlib.arrays import Array, Namespace, check_number, check_shape, check_thr, describe, is_integer
from anchorlib.backends import namespace_of, on_host
from anchorlib.errors import BadValueError, ShapeError
from anchorlib.results import Result, Row, counted
from anchorlib.training.checks import check_anchor_unit, check_target_shape, check_targets

#: Own cell, then left, up, right and down: `offset` times this (x, y) is subtracted from the centre before truncation.
STEPS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))


class _Columns(NamedTuple):
    cls: Array
    box: Array
    image: Array
    anchor: Array
    gj: Array
    gi: Array
    anchor_wh: Array
    target: Array


class LayerTargets(_Columns, Result):
    """Hold the targets of one layer: one row for each prediction that is assigned to an object.

    cls : (M,) int64, class
    box : (M, 4) float32, centre relative to the cell's corner, and size, in grid units
    image, anchor, gj, gi : (M,) int64, the indices of the prediction: p[image, anchor, gj, gi]
    anchor_wh : (M, 2) float32, the anchor in grid units
    target : (M,) int64, the object's row in `targets`
    """

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the columns by name, as lists."""
        return {name: namespace_of(column).to_numpy(column).tolist() for name, column in self._asdict().items()}

    def __repr__(self) -> str:
        return f"LayerTargets({counted(self.cls.shape[0], 'row')}, {namespace_of(self.cls).name})"

    def _table_rows(self) -> list[Row]:
        return [(name, describe(column)) for name, column in self._asdict().items()]


def build_targets(
    targets: Array,
    anchors: Union[Array, Sequence[Array]],
    shapes: Sequence[tuple[int, int]],
    *,
    thr: float = 4.0,
    offset: float = 0.5,
    validate: bool = False,
    n_images: Optional[int] = None,
    n_classes: Optional[int] = None,
) -> list[LayerTargets]:
    """Assign targets to cells and anchors by the side ratio, as YOLOv5: one LayerTargets for each layer.

    An anchor matches a target if neither side differs by a factor of `thr` or more. It is assigned in the target's own
    cell and in the adjacent cells (one horizontal, one vertical) whose border is less than `offset` cells away.

    Parameters
    ----------
    targets : (T, 6) float: image, class, cx, cy, w, h, boxes in [0, 1] of the image; taken as float32. T may be 0.
    anchors : (L, A, 2) float, grid units (pixels / stride), sides > 0; a list of (A_l, 2) if the layers have
        different numbers of anchors
    shapes : L pairs (ny, nx), rows and columns of each layer's grid
    thr : ratio limit > 1, strict (YOLOv5's anchor_t)
    offset : in [0, 1], cells; a neighbour is assigned if its border is less than `offset` away. 0: no neighbours;
        1: all four neighbours in the grid, as for YOLOv7's auxiliary heads
    validate : refuse rows with an entry that is not finite, with an image or class that is not an integer >= 0 and
        below `n_images` or `n_classes`, with a centre outside [0, 1] or a side outside (0, 1], or with boxes that
        look like corners; refuse anchors that look like pixels. It reads the values, so on CUDA it waits for the
        device.
    n_images, n_classes : limits for `validate`; no limit if not given

    Returns
    -------
    L LayerTargets, of the framework and on the device of `targets`. First come the rows of all own cells, then left,
    up, right, down; each of these is sorted by anchor, then in the order of `targets`. The rows are bit-identical on
    every backend and device.

    Raises
    ------
    ShapeError : wrong shapes, no layer, a number of `shapes` that differs from the number of layers, or a grid side < 0
    BadValueError : thr <= 1; offset outside [0, 1]; with `validate`, the first row that cannot be used
    BackendMixError, ArrayTypeError

    Source
    ------
    The assignment of YOLOv5, written from a description of its behaviour.

    Examples
    --------
    >>> targets = np.asarray([[0.0, 7.0, 0.55, 0.6, 0.5, 0.5]])
    >>> (layer,) = build_targets(targets, np.asarray([[[2.0, 2.0]]]), [(4, 4)])
    >>> np.stack([layer.gj, layer.gi], axis=1)  # its own cell, left of it, and above it
    array([[2, 2],
           [2, 1],
           [1, 2]])
    """
    like = targets
    anchors = _one_array(anchors)
    xp = namespace_of(targets=targets, anchors=anchors)
    check_target_shape(targets)
    check_shape(("L", "A", 2), anchors=anchors)
    if anchors.shape[0] == 0:
        raise ShapeError(f"anchors must have at least one layer, got {describe(anchors)}.")
    grids = _pairs(shapes)
    if len(grids) != anchors.shape[0]:
        raise ShapeError(
            f"shapes must have one (ny, nx) for each layer of anchors, got {len(grids)} for {describe(anchors)}."
        )
    limits = ratio_limits(check_number("thr", thr))
    offset = check_offset(offset)
    if validate:
        check_targets(targets, n_images, n_classes)
        check_anchor_unit(anchors, grids, limits[0])

    targets, anchors = on_host(targets, anchors)
    host = namespace_of(targets)
    targets, anchors = (x if x.dtype == host.float32 else host.astype(x, host.float32) for x in (targets, anchors))
    plan = _plan(host, host.device_of(targets), grids, int(anchors.shape[1]), offset)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # boxes with NaN or infinity match nothing
        rows, ends = _assign(host, targets, anchors, plan, limits, offset)
    layers = [_layer(rows, start, end) for start, end in zip(ends, ends[1:])]
    if host is not xp:
        device = xp.device_of(like)
        layers = [LayerTargets(*[xp.from_numpy(column, device=device) for column in layer]) for layer in layers]
    return layers


class _Plan(NamedTuple):
    """Hold what depends only on the grids and the number of anchors; a code numbers a (layer, neighbour, anchor)."""

    grid: Array  # (4, L, 1) float32: nx, ny, nx, ny
    zero: Array  # (1, 1) float32
    codes: Array  # (codes + 1,) int64: 0, 1, 2 ...
    before: Array  # (2, codes) int64: the code, and the code minus its layer
    anchor: Array  # (codes,) int64, in its layer
    row: Array  # (codes,) int64, of the anchor among those of all layers
    step_last: Array  # (4, codes) float32: the neighbour's step in x and y, then the grid's last column and last row


def _pairs(shapes: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes as tuples, the key of a plan; `_plan` checks their sides."""
    try:
        return tuple(map(tuple, shapes))
    except TypeError:
        raise ShapeError(f"shapes must be a list of (ny, nx), got {shapes!r}.") from None


@lru_cache(maxsize=128)  # multi-scale training has some tens of shapes
def _plan(xp: Namespace, device: str, shapes: tuple[tuple[int, ...], ...], n_anchors: int, offset: float) -> _Plan:
    for i, pair in enumerate(shapes):
        if len(pair) != 2 or not all(is_integer(side, 0) for side in pair):
            raise ShapeError(f"shapes[{i}] must be (ny, nx), two integers >= 0, got {pair!r}.")
    sizes = np.asarray([(nx, ny) for ny, nx in shapes], dtype=np.float32)
    layer, neighbour, anchor = np.indices((len(shapes), len(STEPS), n_anchors)).reshape(3, -1)
    codes = np.arange(len(layer) + 1)
    tables = _Plan(
        grid=np.tile(sizes, 2).T[:, :, None],
        zero=np.zeros((1, 1), dtype=np.float32),
        codes=codes.astype(np.int64),
        before=np.stack([codes[:-1], codes[:-1] - layer]).astype(np.int64),
        anchor=anchor.astype(np.int64),
        row=(layer * n_anchors + anchor).astype(np.int64),
        step_last=np.concatenate(
            [np.asarray(STEPS, dtype=np.float32)[neighbour] * np.float32(offset), sizes[layer] - 1], axis=1
        ).T,
    )
    return _Plan(*(xp.from_numpy(np.ascontiguousarray(table), device=device) for table in tables))


def check_offset(offset: float) -> float:
    """Return an offset as float32; refuse one outside [0, 1]."""
    offset = float(np.float32(check_number("offset", offset)))
    if not 0 <= offset <= 1:
        raise BadValueError(f"offset must be in [0, 1], got {offset:g}.")
    return offset


@lru_cache(maxsize=16)
def ratio_limits(thr: float) -> tuple[float, float]:
    """Return thr as float32, and the least float32 r with 1 / r < thr: comparing with r saves a division."""
    one, limit = np.float32(1), np.float32(check_thr(thr))
    ratio = np.nextafter(one / limit, np.float32(0))
    while not one / ratio < limit:
        ratio = np.nextafter(ratio, one)
    return float(limit), float(ratio)


def _assign(
    xp: Namespace, targets: Array, anchors: Array, plan: _Plan, limits: tuple[float, float], offset: float
) -> tuple[_Rows, list[int]]:
    """Return the rows of all layers, and where the rows of each layer begin and end; all arrays are float32.

    Coordinates are rows, (2, M) and (4, M): NumPy is several times slower along a last axis of 2 or 4.
    """
    n_anchors, n_targets = anchors.shape[1], targets.shape[0]
    columns = targets.T[:, None, :]
    boxes = columns[2:, ...] * plan.grid  # (4, L, T)
    ratio = boxes[2:, :, None, :] / xp.permute_dims(anchors, (2, 0, 1))[:, :, :, None]  # (2, L, A, T)
    low, high = (of_two(ratio[0, ...], ratio[1, ...]) for of_two in (xp.minimum, xp.maximum))
    matches = (high < limits[0]) & (low >= limits[1])  # (L, A, T)
    centre = boxes[:2, ...]
    near = near_borders(xp, xp.concat([centre, plan.grid[:2, ...] - centre], axis=0), offset)  # (L, 5, T)
    mask = matches[:, None, :, :] & near[:, :, None, :]  # (L, 5, A, T)
    (found,) = xp.nonzero(xp.reshape(mask, (-1,)))  # (M,)

    # The rows are sorted by code: columns that depend only on the code are repeated, which is faster than take.
    ends, n_rows = xp.searchsorted(found, plan.codes * n_targets), found.shape[0]  # (codes + 1,)
    counts = ends[1:] - ends[:-1]
    row = found - xp.repeat_each(plan.before * n_targets, counts, n_rows)  # (2, M): in T, and in (L, T)
    target = row[0, :]
    box = xp.take(xp.reshape(boxes, (4, -1)), row[1, :], axis=1)  # (4, M)
    step_last = xp.repeat_each(plan.step_last, counts, n_rows)  # (4, M)
    cell = xp.trunc(box[:2, :] - step_last[:2, :]) + plan.zero  # (2, M): x, y; -0.0 becomes 0.0, which max may not do
    cell = xp.minimum(xp.maximum(cell, plan.zero), step_last[2:, :])
    box[:2, :] -= cell

    whole = xp.empty((6, n_rows), dtype=xp.int64, device=xp.device_of(found))
    whole[:2, :] = xp.take(xp.astype(columns[:2, 0, :], xp.int64), target, axis=1)
    whole[2:4, :] = xp.astype(cell, xp.int64)
    whole[4, :] = xp.repeat_each(plan.anchor, counts, n_rows)
    whole[5, :] = target
    sides = xp.take(xp.reshape(anchors, (-1, 2)), plan.row, axis=0)  # (codes, 2)
    rows = _Rows(whole, box, xp.repeat_each(sides, counts, n_rows, axis=0))
    return rows, xp.to_numpy(ends[:: len(STEPS) * n_anchors]).tolist()


class _Rows(NamedTuple):
    """Hold the rows of all layers."""

    whole: Array  # (6, M) int64: image, class, gi, gj, anchor, row of `targets`
    box: Array  # (4, M) float32
    anchor_wh: Array  # (M, 2) float32


def _layer(rows: _Rows, start: int, end: int) -> LayerTargets:
    """Return the rows of one layer, as views."""
    image, cls, gi, gj, anchor, target = (rows.whole[i, start:end] for i in range(6))
    return LayerTargets(cls, rows.box[:, start:end].T, image, anchor, gj, gi, rows.anchor_wh[start:end, :], target)


def near_borders(xp: Namespace, distance: Array, offset: float) -> Array:
    """Return (L, 5, T) bool: own cell, left, up, right, down.

    A neighbour is True if it is in the grid and its border is nearer than `offset`.

    distance : (4, L, T) float32, grid units, from the centre to the left, top, right and bottom border of the grid
    """
    part = distance - xp.floor(distance)
    own = part[:1, ...] + part[1:2, ...] >= 0  # False if the centre is infinite or NaN: infinity minus itself is NaN
    return xp.permute_dims(xp.concat([own, own & (part < offset) & (distance > 1.0)], axis=0), (1, 0, 2))


def _one_array(anchors: Union[Array, Sequence[Array]]) -> Array:
    """Stack a list of layers to (L, A, 2): infinite anchors, which match nothing, fill up the shorter layers."""
    if not isinstance(anchors, (list, tuple)):
        return anchors
    if not anchors:
        raise ShapeError("anchors must have at least one layer, got none.")
    layers = {f"anchors[{i}]": layer for i, layer in enumerate(anchors)}
    xp = namespace_of(**layers)
    check_shape(("A", 2), **layers)
    most = max(layer.shape[0] for layer in anchors)
    filled = []
    for layer in anchors:
        missing = xp.full_like(layer[:1, ...], xp.inf)
        filled.append(xp.concat([layer] + [missing] * (most - layer.shape[0]), axis=0))
    return xp.stack(filled)
