"""Compute the losses of a layer from `build_padded_targets`: shapes do not depend on values, and nothing is read."""

from __future__ import annotations

import copy
from typing import Any, Callable

from anchorlib.arrays import Array, Namespace, widen
from anchorlib.errors import BadValueError
from anchorlib.training.losses import one_hot
from anchorlib.training.padded_targets import PaddedTargets


def unreduced(bce: Any) -> Any:
    """Return a copy of a loss that returns a value for each entry; refuse one whose `reduction` is not "mean"."""
    if getattr(bce, "reduction", None) != "mean":
        raise BadValueError(f"padded=True needs a BCEcls with reduction='mean', got {bce!r}.")
    entries = copy.copy(bce)
    entries.reduction = "none"
    return entries


def masked_mean(xp: Namespace, values: Array, mask: Array) -> tuple[Array, Array]:
    """Return the mean of the rows of `values` (M, ...) where `mask` (M,) is True, 0 without any; and their number."""
    shape = (-1,) + (1,) * (len(values.shape) - 1)
    kept = xp.where(xp.reshape(mask, shape), values, xp.zeros_like(values))
    n_rows = xp.sum(xp.astype(mask, values.dtype))
    n_entries = 1
    for length in values.shape[1:]:
        n_entries *= int(length)
    return xp.sum(kept) / (xp.maximum(n_rows, xp.ones_like(n_rows)) * n_entries), n_rows


def box_loss(xp: Namespace, iou: Array, mask: Array) -> Array:
    """Return the mean of 1 - IoU over the rows that count; 0 without any."""
    mean, n_rows = masked_mean(xp, iou, mask)
    return xp.where(n_rows > 0, 1 - mean, xp.zeros_like(mean))


def class_loss(
    xp: Namespace, bce: Callable[[Array, Array], Array], logits: Array, targets: PaddedTargets, cp: float, cn: float
) -> Array:
    """Return the mean over the rows that count and the classes; `bce` returns a value for each entry."""
    return masked_mean(xp, bce(logits, one_hot(xp, logits, targets.rows.cls, cp, cn)), targets.mask)[0]


def objectness_targets(
    xp: Namespace, iou: Array, cells: Array, mask: Array, n_cells: int, *, gr: float, sort: bool
) -> Array:
    """Return (n_cells,): the IoU of the row in each cell, and 0 in cells without a row that counts."""
    value = xp.detach(iou)
    value = xp.maximum(value, xp.zeros_like(value))
    if sort and value.shape[0]:
        order = xp.argsort(value, stable=True)
        value, cells, mask = (xp.take(x, order, axis=0) for x in (value, cells, mask))
    if gr < 1:
        value = value * gr + (1 - gr)
    cells = xp.where(mask, cells, xp.full_like(cells, n_cells))  # rows that do not count go to a cell more
    empty = xp.zeros((n_cells + 1,), dtype=value.dtype, device=xp.device_of(value))
    return xp.put_last(empty, cells, value)[:n_cells]


def split(xp: Namespace, table: Array, cells: Array, column: int) -> tuple[Array, Array, Array]:
    """Return table[cells, :column], table[:, column] and table[cells, column + 1:], which torch.compile can trace."""
    picked = xp.take(table, cells, axis=0)
    return widen(picked[:, :column]), table[:, column], widen(picked[:, column + 1 :])
