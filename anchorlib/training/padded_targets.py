"""Assign targets with results of a fixed size, for which a GPU need not wait: rows that do not count have a mask.

The number of rows of `build_targets` depends on the values, so the host waits until a GPU knows it. Neither
torch.compile(fullgraph=True) nor CUDA graphs can hold such a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Union

from anchorlib.arrays import Array, Namespace, check_number, check_shape, unstack
from anchorlib.backends import namespace_of
from anchorlib.errors import ShapeError
from anchorlib.training.checks import check_target_shape
from anchorlib.training.targets import STEPS, LayerTargets, check_offset, near_borders, ratio_limits

#: thr and offset -> what `_of_layer` compares with. A dict, because torch.compile cannot trace NumPy's rounding.
_LIMITS: dict[tuple[float, float], tuple[float, float, float]] = {}
_MOST_LIMITS = 64


class PaddedTargets(NamedTuple):
    """Hold the targets of one layer in a fixed number of rows: 5 neighbours x A anchors x T targets.

    rows : LayerTargets with M = 5 * A * T rows. A row that does not count has indices in the grid, class 0 and a box
        and an anchor of 1 x 1, so that a loss of it is a finite number.
    mask : (M,) bool, True for the rows that `build_targets` returns, which come in its order
    """

    rows: LayerTargets
    mask: Array


def build_padded_targets(
    targets: Array,
    anchors: Union[Array, Sequence[Array]],
    shapes: Sequence[tuple[int, int]],
    *,
    thr: float = 4.0,
    offset: float = 0.5,
) -> list[PaddedTargets]:
    """Assign each target to predictions as `build_targets` does, in a fixed number of rows and without a wait.

    Use it under `torch.compile(fullgraph=True)`, in a CUDA graph, or if waiting for the GPU costs more than about ten
    times as many rows. Pad `targets` to a fixed number of rows for them, for example with rows of NaN, which match
    nothing. On the CPU `build_targets` is faster.

    Parameters
    ----------
    targets : (T, 6) float: image, class, cx, cy, w, h, boxes in [0, 1] of the image; taken as float32
    anchors : (L, A, 2) float, grid units (pixels / stride), sides > 0; a list of (A_l, 2) if the layers have
        different numbers of anchors
    shapes : L pairs (ny, nx), rows and columns of each layer's grid
    thr : ratio limit > 1, strict (YOLOv5's anchor_t)
    offset : in [0, 1], cells; as for `build_targets`

    Returns
    -------
    L PaddedTargets, of the framework and on the device of `targets`. The rows where the mask is True are those of
    `build_targets`, bit-identical and in its order. No value is read: images and classes are not checked.

    Raises
    ------
    ShapeError : wrong shapes, no layer, or a number of `shapes` that differs from the number of layers
    BadValueError : thr <= 1; offset outside [0, 1]
    BackendMixError, ArrayTypeError

    Examples
    --------
    >>> targets = np.asarray([[0.0, 7.0, 0.55, 0.6, 0.5, 0.5]])
    >>> ((rows, mask),) = build_padded_targets(targets, np.asarray([[[2.0, 2.0]]]), [(4, 4)])
    >>> mask  # its own cell, left of it, above it; not right of it, not below
    array([ True,  True,  True, False, False])
    >>> np.stack([rows.gj, rows.gi], axis=1)[mask]
    array([[2, 2],
           [2, 1],
           [1, 2]])
    """
    layers = unstack(anchors)
    xp = namespace_of(targets=targets, **{f"anchors[{i}]": layer for i, layer in enumerate(layers)})
    check_target_shape(targets)
    check_shape(("A", 2), **{f"anchors[{i}]": layer for i, layer in enumerate(layers)})
    if not layers or len(shapes) != len(layers):
        raise ShapeError(
            f"shapes must have one (ny, nx) for each layer of anchors, and there must be one, got {len(shapes)} for "
            f"{len(layers)} layers."
        )
    if (thr, offset) not in _LIMITS:
        if len(_LIMITS) >= _MOST_LIMITS:
            _LIMITS.clear()
        _LIMITS[thr, offset] = (*ratio_limits(check_number("thr", thr)), check_offset(offset))
    *limits, reach = _LIMITS[thr, offset]
    targets = xp.astype(xp.detach(targets), xp.float32, copy=False)
    found = []
    for layer, (ny, nx) in zip(layers, shapes):
        layer = xp.astype(xp.detach(layer), xp.float32, copy=False)
        found.append(_of_layer(xp, targets, layer, (int(ny), int(nx)), (limits[0], limits[1]), reach))
    return found


def _of_layer(
    xp: Namespace, targets: Array, anchors: Array, grid: tuple[int, int], limits: tuple[float, float], offset: float
) -> PaddedTargets:
    """Return the rows of one layer. Nothing is made on the host: numbers of the grid are Python's."""
    (ny, nx), n_anchors, n_targets = grid, anchors.shape[0], targets.shape[0]
    device, shape = xp.device_of(targets), (len(STEPS), n_anchors, n_targets)
    x, y, w, h = (
        targets[:, 2] * float(nx),
        targets[:, 3] * float(ny),
        targets[:, 4] * float(nx),
        targets[:, 5] * float(ny),
    )
    ratio_w, ratio_h = w[None, :] / anchors[:, 0:1], h[None, :] / anchors[:, 1:2]  # (A, T)
    matches = (xp.maximum(ratio_w, ratio_h) < limits[0]) & (xp.minimum(ratio_w, ratio_h) >= limits[1])
    distance = xp.stack([x, y, float(nx) - x, float(ny) - y])  # (4, T)
    near = near_borders(xp, distance[:, None, :], offset)  # (1, 5, T)
    mask = xp.reshape(xp.reshape(near, (len(STEPS), 1, n_targets)) & matches[None, :, :], (-1,))  # (M,)

    own = near[0, 0, :]  # False if the centre is not finite: the cast to an integer is not defined there
    cells = []
    for axis, (centre, length) in enumerate(((x, nx), (y, ny))):
        centre = xp.where(own, centre, xp.zeros_like(centre))
        cell = xp.trunc(xp.stack([centre - step[axis] * offset for step in STEPS])) + 0.0  # (5, T); not -0.0
        cell = xp.maximum(cell, xp.zeros_like(cell))
        cells.append(xp.minimum(cell, xp.full_like(cell, float(length - 1))))
    part = [xp.where(own, c, xp.zeros_like(c))[None, :] - cell for c, cell in zip((x, y), cells)]  # (5, T)

    def rows(values: Array, dtype: object, like: tuple[int, ...], default: float) -> Array:
        """Spread values over the rows; a row that does not count gets the default."""
        spread = xp.reshape(xp.broadcast_to(xp.reshape(values, like), shape), (-1,))
        return xp.astype(xp.where(mask, spread, xp.full_like(spread, default)), dtype)

    each_target, each_anchor, each_step = (1, 1, n_targets), (1, n_anchors, 1), (len(STEPS), 1, n_targets)
    numbers = [xp.arange(length, dtype=xp.int64, device=device) for length in (n_anchors, n_targets)]
    box = [rows(c, xp.float32, each_step, 0.5) for c in part] + [rows(c, xp.float32, each_target, 1.0) for c in (w, h)]
    layer = LayerTargets(
        cls=rows(targets[:, 1], xp.int64, each_target, 0),
        box=xp.stack(box, axis=1),
        image=rows(targets[:, 0], xp.int64, each_target, 0),
        anchor=rows(numbers[0], xp.int64, each_anchor, 0),
        gj=rows(cells[1], xp.int64, each_step, 0),
        gi=rows(cells[0], xp.int64, each_step, 0),
        anchor_wh=xp.stack([rows(anchors[:, i], xp.float32, each_anchor, 1.0) for i in (0, 1)], axis=1),
        target=rows(numbers[1], xp.int64, each_target, 0),
    )
    return PaddedTargets(layer, mask)
