"""Checks of arguments, with one wording for the whole house. Shapes cost nothing; values are checked on entry only."""

from __future__ import annotations

import math
from typing import Any, Optional

import numpy as np

from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError, ShapeError

Array = Any  # numpy.ndarray, torch.Tensor or oneflow.Tensor: there is no common base class
Namespace = Any  # the array's namespace, an adaptor of anchorlib.backends
HostArray = np.ndarray[Any, Any]

MAX_THR = 65536.0  # a ratio above 2^-17 is a whole number of 2^-40: see anchorlib.metrics


def describe(array: Array) -> str:
    """What came, for a message: 'numpy float32 (120, 4)'."""
    dtype = str(array.dtype).rpartition(".")[2]
    return f"{namespace_of(array).name} {dtype} {tuple(array.shape)}"


def check_shape(shape: tuple[Any, ...], *, hint: str = "", **named: Array) -> None:
    """Each array has this shape; a letter stands for any length.

    >>> check_shape(("N", 2), boxes_wh=np.zeros((5, 2)))
    """
    for name, array in named.items():
        fits = len(array.shape) == len(shape) and all(
            isinstance(wanted, str) or wanted == got for wanted, got in zip(shape, array.shape)
        )
        if not fits:
            wanted = ", ".join(str(length) for length in shape) + ("," if len(shape) == 1 else "")
            raise ShapeError(f"{name} must have shape ({wanted}), got {describe(array)}.{hint and ' ' + hint}")


def check_shape_wh(**named: Array) -> None:
    """Each array is (N, 2): sizes, width first."""
    for name, array in named.items():
        corners = len(array.shape) == 2 and array.shape[1] == 4
        hint = "For corner boxes use boxes.xyxy_to_wh, for centre boxes boxes[:, 2:]." if corners else ""
        check_shape(("N" if name == "boxes_wh" else "K", 2), hint=hint, **{name: array})


def as_float(array: Array, dtype: Any = None) -> Array:
    """The array in `dtype`; without one, floats stay as they are and integers become float32."""
    xp = namespace_of(array)
    if dtype is None:
        dtype = array.dtype if xp.isdtype(array.dtype, "real floating") else xp.float32
    return array if array.dtype == dtype else xp.astype(array, dtype)


def to_framework(result: HostArray, like: Array) -> Array:
    """A result of the host as an array of the framework, on the device and in the dtype of `like`."""
    xp = namespace_of(like)
    array = xp.from_numpy(result, device=xp.device_of(like))
    return array if array.dtype == like.dtype else xp.astype(array, like.dtype)


def check_sizes(*, zero: bool = False, **named: HostArray | Array) -> None:
    """Every side is finite and > 0 (or >= 0 where `zero`); the message counts the bad rows and shows the first."""
    for name, array in named.items():
        xp = namespace_of(array)
        # One reduction decides in the good case: NaN fails every comparison, and min and max carry it along.
        if array.shape[0] == 0:
            continue
        low, high = float(xp.min(array)), float(xp.max(array))
        if (low >= 0 if zero else low > 0) and high < math.inf:
            continue
        rows = np.asarray(xp.to_numpy(array))
        _complain_of_rows(name, rows, ~np.isfinite(rows), "a side that is not a finite number")
        _complain_of_rows(name, rows, rows < 0 if zero else rows <= 0, f"a side {'<' if zero else '<='} 0")


def _complain_of_rows(name: str, rows: HostArray, bad: HostArray, what: str) -> None:
    bad_rows = np.flatnonzero(bad.any(axis=1))
    if len(bad_rows):
        first = int(bad_rows[0])
        raise BadValueError(
            f"{name} has {len(bad_rows)} of {len(rows)} rows with {what} "
            f"(first: row {first}, {rows[first].tolist()}). Use boxes.drop_degenerate."
        )


def check_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """An option has one of its values."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}.")


def check_thr(thr: float) -> float:
    """A ratio limit: greater than 1."""
    thr = float(thr)
    if not 1 < thr <= MAX_THR:
        hint = f" A limit below 1 is a reciprocal in older code: pass {1 / thr:g}." if 0 < thr < 1 else ""
        raise BadValueError(f"thr must be greater than 1 and at most {MAX_THR:g}, got {thr:g}.{hint}")
    return thr


def check_weights(weights: Optional[Array], n_boxes: int) -> Optional[HostArray]:
    """Weights as whole numbers on the host: int64 (N,) with a sum below 2^36, or None.

    Whole numbers stay as they are. Others are counted in units of a power of two, about 2^-35 of their sum, so that
    sums of them are the same bits in any order.
    """
    if weights is None:
        return None
    namespace_of(weights=weights)
    check_shape((n_boxes,), weights=weights)
    values = namespace_of(weights).to_numpy(weights).astype(np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise BadValueError("weights must be finite, >= 0 and not all zero.")
    if not (np.all(values == np.floor(values)) and values.sum() < 2.0**36):
        largest_sum = max(float(values.max()) * n_boxes, np.finfo(np.float64).tiny)  # the same for any order of boxes
        values = np.rint(np.ldexp(values, 35 - math.frexp(largest_sum)[1]))
        if not values.sum() > 0:
            raise BadValueError("weights are too far apart: all vanish beside the largest.")
    return values.astype(np.int64)
