"""Checks of arguments, with one wording for the whole house. Shapes cost nothing; values are checked on entry only."""

from __future__ import annotations

import math
import reprlib
from typing import Any, Optional

import numpy as np

from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError, ShapeError

Array = Any  # numpy.ndarray, torch.Tensor or oneflow.Tensor: there is no common base class
Namespace = Any  # the array's namespace, an adaptor of anchorlib.backends
HostArray = np.ndarray[Any, Any]

MIN_SIDE, MAX_SIDE = 1e-15, 1e15  # pixels: areas and their sums stay within float32
MAX_WEIGHTS = 1e308  # a sum that is a float64, however it is rounded
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
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which the checks of values refuse
        return array if array.dtype == dtype else xp.astype(array, dtype)


def widen(array: Array) -> Array:
    """Cast integers and 16-bit floats to float32: float16 overflows for areas of 256 x 256 px and for long sums."""
    xp = namespace_of(array)
    is_wide = xp.isdtype(array.dtype, "real floating") and xp.finfo(array.dtype).bits >= 32
    return array if is_wide else xp.astype(array, xp.float32)


def host_floats(**named: Any) -> HostArray:
    """One argument, an array on the host or nested lists, as float64.

    >>> host_floats(shapes=[[1280, 720]])
    array([[1280.,  720.]])
    """
    ((name, values),) = named.items()
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        what = "numbers, in rows of one length"
        raise ShapeError(f"{name} must be {what}, got {reprlib.repr(values)}.") from None


def host_rows(columns: int, **named: Any) -> HostArray:
    """One argument as `host_floats`, where none at all are no rows of so many columns."""
    rows = host_floats(**named)
    return rows if rows.size else np.empty((0, columns))


def to_framework(result: HostArray, like: Array) -> Array:
    """A result of the host as an array of the framework, on the device and in the dtype of `like`."""
    xp = namespace_of(like)
    array = xp.from_numpy(result, device=xp.device_of(like))
    return array if array.dtype == like.dtype else xp.astype(array, like.dtype)


def check_sizes(*, zero: bool = False, **named: Array) -> None:
    """Every side is finite and > 0 (or >= 0 where `zero`), its area a float32; the message shows the first bad row."""
    for name, array in named.items():
        xp = namespace_of(array)
        if array.shape[0] == 0:
            continue
        array = as_float(array, xp.float32)  # what is measured: a float64 may be 0 or infinite there
        # One reduction decides in the good case: NaN fails every comparison, and min and max carry it along.
        low, high = float(xp.min(array)), float(xp.max(array))
        if (low >= 0 if zero else low >= MIN_SIDE) and high <= MAX_SIDE:
            continue
        rows = np.asarray(xp.to_numpy(array))
        _complain_of_rows(name, rows, ~np.isfinite(rows), "a side that is not a finite number")
        _complain_of_rows(name, rows, rows < 0 if zero else rows <= 0, f"a side {'<' if zero else '<='} 0")
        odd = (rows > MAX_SIDE) | ((rows < MIN_SIDE) & (rows > 0 if zero else rows >= 0))
        _complain_of_rows(name, rows, odd, f"a side that is no number of pixels, beyond {MIN_SIDE:g} to {MAX_SIDE:g}")


def _complain_of_rows(name: str, rows: HostArray, bad: HostArray, what: str) -> None:
    bad_rows = np.flatnonzero(bad.any(axis=1))
    if len(bad_rows):
        first = int(bad_rows[0])
        raise BadValueError(
            f"{name} has {len(bad_rows)} of {len(rows)} rows with {what} "
            f"(first: row {first}, {rows[first].tolist()}). "
            f"{'Use boxes.drop_degenerate.' if name == 'boxes_wh' else 'Correct it.'}"
        )


def check_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """An option has one of its values."""
    if value not in known:
        raise BadValueError(f"{name} must be one of {', '.join(known)}, got {value!r}.")


def is_integer(value: Any, least: int) -> bool:
    """Return True if `value` is an integer (int or np.integer, not bool) and at least `least`."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def check_integer(name: str, value: Any, least: int) -> int:
    """Return `value` as an int; refuse anything that is not an integer of at least `least`."""
    if not is_integer(value, least):
        raise BadValueError(f"{name} must be an integer >= {least}, got {value!r}.")
    return int(value)


def check_number(name: str, value: Any) -> float:
    """One number, as a float."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise BadValueError(f"{name} must be a number, got {reprlib.repr(value)}.") from None


def check_thr(thr: float) -> float:
    """A ratio limit: greater than 1."""
    thr = check_number("thr", thr)
    if not 1 < np.float32(thr) <= MAX_THR:  # as it is compared
        hint = f" A limit below 1 is a reciprocal in older code: pass {1 / thr:g}." if 0 < thr < 1 else ""
        raise BadValueError(f"thr must be greater than 1 and at most {MAX_THR:g}, got {thr:g}.{hint}")
    return thr


def check_weights(weights: Optional[Array], n_boxes: int) -> Optional[HostArray]:
    """Weights as whole numbers on the host: int64 (N,) with a sum of about 2^36 at most, or None.

    Whole numbers stay as they are. Others are counted in units of a power of two, 2^-35 of their sum or less, so that
    sums of them are the same bits in any order.
    """
    if weights is None:
        return None
    namespace_of(weights=weights)
    check_shape((n_boxes,), weights=weights)
    values = namespace_of(weights).to_numpy(weights).astype(np.float64)
    bad = ~(np.isfinite(values) & (values >= 0))
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    if bad.any() or not 0 < total <= MAX_WEIGHTS:
        got = f"{values[bad.argmax()]:g} in row {bad.argmax()}" if bad.any() else f"a sum of {total:g}"
        raise BadValueError(f"weights must be finite, >= 0 and with a sum in (0, {MAX_WEIGHTS:g}], got {got}.")
    if not (total < 2.0**36 and np.all(values == np.floor(values))):
        shares = values / values.max()
        exact = math.fsum(shares)  # and so the same for any order of the boxes
        values = np.rint(np.ldexp(shares, 35 - math.frexp(exact)[1]))
    return values.astype(np.int64)
