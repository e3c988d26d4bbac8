"""The loss of instance masks: each match's mask against its object's, inside of the object's box only.

The matches of one object share the pixels, so they are computed together: coefficients (n, nm) times prototypes
(nm, pixels). Value and gradient come from one pass, and the memory does not grow with the number of objects.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anchorlib.arrays import Array, HostArray, Namespace, as_float, check_shape, widen
from anchorlib.backends import from_host, load, namespace_of, on_host
from anchorlib.errors import BadValueError, ShapeError
from anchorlib.training.checks import check_targets

_ON_HOST = 32768  # logits of a block: some arrays of that size stay in the cache
_ON_DEVICE = 1 << 22
_FARTHEST = 1e6  # of a box, in sizes of the image: its pixels are counted in float32


def mask_loss(
    coefficients: Array, proto: Array, targets: Array, masks: Array, matched: Sequence[Array], *, overlap: bool = False
) -> Array:
    """Return the mask loss of a batch: the mean over the matches of each image and layer, summed over both.

    The loss of a match is the binary cross-entropy of its mask's pixels inside of the object's box, summed, divided by
    the number of all pixels of the mask, and by the box's share of the image.

    Parameters
    ----------
    coefficients : (M, nm) float, of the matches of all layers, layer after layer
    proto : (B, nm, hm, wm) float, the prototypes; logits of a mask are its coefficients times the prototypes
    targets : (T, 6) float: image, class, cx, cy, w, h, boxes in [0, 1]
    masks : (T, h, w), the mask of each target, or with `overlap` (B, h, w), in which the objects of an image have the
        numbers 1, 2 ... in the order of `targets`; the nearest pixel counts where h, w are not hm, wm
    matched : L arrays (M_l,) int64, the row of `targets` that each match has: `LayerTargets.target`

    Returns
    -------
    () float32, or float64 for float64 logits; with gradient to `coefficients` and `proto`. The targets are copied to
    the host, for which CUDA waits.

    Raises
    ------
    ShapeError : wrong shapes, a side of 0
    BadValueError : an image out of range; a row of `matched` without a target, or with one that has no box
    BackendMixError, ArrayTypeError

    Source
    ------
    The mask loss of YOLOv5 7.0, written from a description of its behaviour.

    Examples
    --------
    >>> targets = np.asarray([[0.0, 0.0, 0.5, 0.5, 0.5, 0.5]])
    >>> masks, proto = np.ones((1, 4, 4)), np.ones((1, 1, 4, 4))
    >>> float(mask_loss(np.zeros((1, 1)), proto, targets, masks, [np.zeros(1, np.int64)]).round(4))
    0.6931
    """
    named = {f"matched[{i}]": rows for i, rows in enumerate(matched)}
    xp = namespace_of(coefficients=coefficients, proto=proto, targets=targets, masks=masks, **named)
    check_shape(("T", 6), hint="The columns are image, class, cx, cy, w, h.", targets=targets)
    check_shape(("B", "nm", "hm", "wm"), proto=proto)
    check_shape((proto.shape[0] if overlap else targets.shape[0], "h", "w"), masks=masks)
    if 0 in (*proto.shape, *masks.shape[1:]):
        raise ShapeError(f"proto and masks must have no side 0, got {tuple(proto.shape)} and {tuple(masks.shape)}.")
    check_shape(("M",), **named)
    check_shape((sum(rows.shape[0] for rows in matched), proto.shape[1]), coefficients=coefficients)
    coefficients, proto = widen(coefficients), widen(proto)
    dtype = xp.result_type(coefficients.dtype, proto.dtype)
    of_layer = np.repeat(np.arange(len(matched)), [rows.shape[0] for rows in matched])
    rows = xp.to_numpy(targets), xp.to_numpy(xp.concat(list(matched), axis=0))
    plan = _Plan.of(*rows, of_layer, proto.shape, masks.shape, overlap, str(dtype).rpartition(".")[2])
    return xp.with_gradient(
        functools.partial(_value_and_gradients, masks, plan), as_float(coefficients, dtype), as_float(proto, dtype)
    )


def numbers_in_image(image: HostArray) -> HostArray:
    """Return the number of each target (T,) among those of its image, from 1.

    >>> numbers_in_image(np.asarray([0, 2, 0, 2, 2]))
    array([1, 1, 2, 2, 3])
    """
    order = np.argsort(image, kind="stable")
    ordered = image[order]
    numbers = np.empty(len(image), dtype=np.int64)
    numbers[order] = np.arange(len(image)) - np.searchsorted(ordered, ordered) + 1
    return numbers


class _Plan(NamedTuple):
    """Which matches and pixels belong together, on the host. There are K objects that have a match and a pixel.

    match : (M,) int64, the matches, those of one object next to each other
    weight : (M,) float, the share of each of them in the loss
    first, n_matches : (K,) int64, where the matches of an object begin, and how many there are
    image : (K,) int64
    box : (K, 4) int64, the columns and rows of the mask: x1, y1, x2, y2, the last two excluded
    mask, number : (K,) int64, the object's mask in `masks`; the value of its pixels there, or 0 where they are a share
    row, column : (hm,), (wm,) int64, the pixel of `masks` for each row and column of the mask
    """

    match: HostArray
    weight: HostArray
    first: HostArray
    n_matches: HostArray
    image: HostArray
    box: HostArray
    mask: HostArray
    number: HostArray
    row: HostArray
    column: HostArray

    @classmethod
    def of(
        cls,
        targets: HostArray,
        target: HostArray,
        layer: HostArray,
        proto: tuple[int, ...],
        masks: tuple[int, ...],
        overlap: bool,
        dtype: str,
    ) -> _Plan:
        """Return the plan for matches of these targets and layers (M,), and arrays of these shapes."""
        n_images, _, height, width = proto
        _check_matched(targets, target, n_images)
        image = targets[target, 0].astype(np.int64)
        group = layer * n_images + image
        area = targets[target, 4:6].astype(np.float64).prod(axis=1)
        with np.errstate(over="ignore", divide="ignore"):  # of a box so small that it holds no pixel
            weight = (1 / (np.bincount(group)[group] * area * (height * width))).astype(dtype)

        match = np.argsort(target, kind="stable")
        objects, first, count = np.unique(target[match], return_index=True, return_counts=True)
        box = _pixel_boxes(targets[objects, 2:6], width, height)
        filled = (box[:, 2:] > box[:, :2]).all(axis=1)
        objects, first, count, box = objects[filled], first[filled], count[filled], box[filled]
        image = targets[objects, 0].astype(np.int64)
        number = numbers_in_image(targets[:, 0])[objects] if overlap else np.zeros_like(objects)
        mask = image if overlap else objects
        row, column = _nearest(height, masks[1]), _nearest(width, masks[2])
        return cls(match, weight[match], first, count, image, box, mask, number, row, column)


def _check_matched(targets: HostArray, target: HostArray, n_images: int) -> None:
    """Check that the matched targets exist, and that each has an image and a box."""
    if ((target < 0) | (target >= len(targets))).any():
        raise BadValueError(f"matched must hold rows of targets, in [0, {len(targets)}), got {target.tolist()}.")
    check_targets(targets[:, :1], n_images)
    bad = ~((np.abs(targets[target, 2:6]) < _FARTHEST).all(axis=1) & (targets[target, 4:6] > 0).all(axis=1))
    if bad.any():
        row = int(target[bad.argmax()])
        raise BadValueError(
            f"a matched target must have a box with sides > 0, every value less than {_FARTHEST:g}; "
            f"row {row} has {targets[row, 2:6].tolist()}."
        )


def _pixel_boxes(boxes: HostArray, width: int, height: int) -> HostArray:
    """Return the pixels (K, 4), x1 <= column < x2 and y1 <= row < y2, of boxes (K, 4) in [0, 1], taken as float32."""
    size = np.asarray([width, height], dtype=np.float32)
    centre, half = boxes[:, :2].astype(np.float32) * size, boxes[:, 2:].astype(np.float32) * size / np.float32(2)
    corners = np.stack([centre - half, centre + half], axis=1)  # (K, 2, 2)
    return np.clip(np.ceil(corners), 0, size).astype(np.int64).reshape(-1, 4)


def _nearest(n_to: int, n_from: int) -> HostArray:
    """Return the nearest of `n_from` pixels for each of `n_to`, rounded as frameworks do: in float32."""
    scale = np.float32(n_from) / np.float32(n_to)
    return np.minimum((np.arange(n_to, dtype=np.float32) * scale).astype(np.int64), n_from - 1)


def _value_and_gradients(masks: Array, plan: _Plan, coefficients: Array, proto: Array) -> tuple[Array, Array, Array]:
    views = on_host(coefficients, proto, masks)
    if not isinstance(views[0], np.ndarray):
        return _by_groups(namespace_of(proto), plan, *views)
    return tuple(from_host(part, like=proto) for part in _by_objects(plan, *views))


def _by_objects(
    plan: _Plan, coefficients: HostArray, proto: HostArray, masks: HostArray
) -> tuple[HostArray, HostArray, HostArray]:
    """Compute one object after the other, in blocks of rows; its pixels are a slice."""
    xp = load("numpy")
    by_coefficients, by_proto, total = np.zeros_like(coefficients), np.zeros_like(proto), 0.0
    columns = (plan.first, plan.first + plan.n_matches, plan.image, plan.box, plan.mask, plan.number)
    for first, end, image, (x1, y1, x2, y2), mask, number in zip(*(column.tolist() for column in columns)):
        match, weight = plan.match[first:end], plan.weight[first:end, None]
        n_rows = max(1, _ON_HOST // ((end - first) * (x2 - x1)))
        for top in range(y1, y2, n_rows):
            pixels = (image, slice(None), slice(top, min(top + n_rows, y2)), slice(x1, x2))
            part = proto[pixels]  # (nm, rows, columns)
            wanted = masks[mask][plan.row[pixels[2], None], plan.column[pixels[3]]]
            wanted = (wanted == number if number else wanted).reshape(1, -1).astype(proto.dtype)
            value, slopes, slopes_of_part = _block(xp, coefficients[match], part.reshape(len(part), -1), wanted, weight)
            total += float(value)
            by_coefficients[match] += slopes
            by_proto[pixels] += slopes_of_part.reshape(part.shape)
    return np.asarray(total, dtype=proto.dtype), by_coefficients, by_proto


def _by_groups(
    xp: Namespace, plan: _Plan, coefficients: Array, proto: Array, masks: Array
) -> tuple[Array, Array, Array]:
    """Compute groups of objects of about one size together: fewer operations to start on a device.

    In a group of g objects with at most n matches and P pixels, missing matches and pixels have the weight 0. The plan
    is copied to the device in two arrays.
    """
    (_, n_prototypes, height, width), (mask_height, mask_width) = proto.shape, masks.shape[1:]
    device, dtype = xp.device_of(proto), proto.dtype
    objects, groups = _groups(plan)
    joined = xp.from_numpy(np.concatenate([objects.ravel(), plan.match, plan.row, plan.column]), device=device)
    weights = xp.from_numpy(plan.weight, device=device)
    ends = np.cumsum([objects.size, len(plan.match), height, width]).tolist()
    objects = xp.reshape(joined[: ends[0]], (*objects.shape, 1))  # (9, K, 1)
    matches, rows, columns = (joined[start:end] for start, end in zip(ends, ends[1:]))

    pixels_first = xp.permute_dims(proto, (0, 2, 3, 1))  # (B, hm, wm, nm)
    table, values = xp.reshape(pixels_first, (-1, n_prototypes)), xp.reshape(masks, (-1,))
    by_coefficients, by_table = xp.zeros_like(coefficients), xp.zeros_like(table)
    total = xp.zeros((), dtype=dtype, device=device)
    for start, end, n_matches, n_pixels in groups:
        x1, y1, side, area, first, count, image, mask, number = (objects[i, start:end, :] for i in range(9))  # (g, 1)
        place, exists = _places(xp, count, n_matches)  # (g, n)
        match, weight = (_take(xp, x, first + place) for x in (matches, weights))
        place, inside = _places(xp, area, n_pixels)  # (g, P)
        down = xp.floor_divide(place, side)
        row, column = y1 + down, x1 + place - down * side
        pixel = xp.reshape((image * height + row) * width + column, (-1,))
        mask_pixel = (mask * mask_height + _take(xp, rows, row)) * mask_width + _take(xp, columns, column)
        wanted = xp.astype(_take(xp, values, mask_pixel), dtype)
        if plan.number.any():
            wanted = xp.astype(xp.equal(wanted, xp.astype(number + place * 0, dtype)), dtype)
        part = xp.reshape(xp.take(table, pixel, axis=0), (*place.shape, n_prototypes))
        of_match = xp.reshape(xp.take(coefficients, xp.reshape(match, (-1,)), axis=0), (*match.shape, n_prototypes))
        weight = (weight * xp.astype(exists, dtype))[:, :, None] * xp.astype(inside, dtype)[:, None, :]
        wanted = xp.expand_dims(wanted, axis=1)
        value, slopes, slopes_of_part = _block(xp, of_match, xp.permute_dims(part, (0, 2, 1)), wanted, weight)
        total = total + value
        xp.add_rows(by_coefficients, xp.reshape(match, (-1,)), xp.reshape(slopes, (-1, n_prototypes)))
        slopes_of_part = xp.reshape(xp.permute_dims(slopes_of_part, (0, 2, 1)), (-1, n_prototypes))
        xp.add_rows(by_table, pixel, slopes_of_part)
    by_proto = xp.permute_dims(xp.reshape(by_table, tuple(pixels_first.shape)), (0, 3, 1, 2))
    return total, by_coefficients, by_proto


def _groups(plan: _Plan) -> tuple[HostArray, list[tuple[int, int, int, int]]]:
    """Return the objects by number of pixels, and groups of them: first, end, most matches, most pixels.

    The objects are int64 (9, K): x1, y1, width, pixels, first match, matches, image, mask, number.
    """
    sides = plan.box[:, 2:] - plan.box[:, :2]
    n_pixels = sides.prod(axis=1)
    order = np.argsort(n_pixels, kind="stable")
    columns = (*plan.box.T[:2], sides[:, 0], n_pixels, plan.first, plan.n_matches, plan.image, plan.mask, plan.number)
    objects = np.stack(columns)[:, order]
    n_pixels, n_matches = objects[3], objects[5]
    groups, start = [], 0
    while start < len(order):
        most = np.maximum.accumulate(n_matches[start:])
        n_logits = most * n_pixels[start:] * np.arange(1, len(most) + 1)
        n_objects = max(1, int(np.searchsorted(n_logits, _ON_DEVICE, side="right")))
        end = start + n_objects
        groups.append((start, end, int(most[n_objects - 1]), int(n_pixels[end - 1])))
        start = end
    return objects, groups


def _places(xp: Namespace, counts: Array, most: int) -> tuple[Array, Array]:
    """Return 0, 1 ... for each of g counts (g, 1), and 0 from the count on: (g, most); and whether it is below."""
    place = xp.arange(most, dtype=xp.int64, device=xp.device_of(counts))[None, :] + counts * 0  # (g, most)
    exists = place < counts + place * 0  # OneFlow takes 100 times as long for a comparison that broadcasts
    return place * xp.astype(exists, xp.int64), exists


def _take(xp: Namespace, x: Array, indices: Array) -> Array:
    """Return x[indices] for x (n,), in the shape of the indices."""
    return xp.reshape(xp.take(x, xp.reshape(indices, (-1,)), axis=0), tuple(indices.shape))


def _block(
    xp: Namespace, coefficients: Array, proto: Array, wanted: Array, weight: Array
) -> tuple[Array, Array, Array]:
    """Return the loss () of coefficients (..., n, nm) and prototypes (..., nm, P), and the gradient by both.

    wanted : (..., 1, P), the mask; weight : (..., n, 1) or (..., n, P)
    """
    logits = coefficients @ proto  # (..., n, P)
    wanted = xp.broadcast_to(wanted, tuple(logits.shape))
    loss = xp.sum(xp.bce_with_logits(logits, wanted) * weight)
    slopes = (xp.sigmoid(logits) - wanted) * weight
    last = len(logits.shape) - 1
    axes = (*range(last - 1), last, last - 1)
    return loss, slopes @ xp.permute_dims(proto, axes), xp.permute_dims(coefficients, axes) @ slopes
