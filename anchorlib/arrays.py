"""Check arguments and convert arrays, with the same error messages in every part of the library.

Checks of shapes cost nothing. Checks of values read the array, so public functions make them once, on entry.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError, ShapeError

Array = Any  # numpy.ndarray, torch.Tensor or oneflow.Tensor: there is no common base class
Namespace = Any  # the array's namespace, an adaptor of anchorlib.backends
HostArray = np.ndarray[Any, Any]

MIN_SIDE, MAX_SIDE = 1e-15, 1e15  # pixels: areas and their sums stay within float32
MAX_WEIGHTS = 1e308  # the largest sum of weights: below the largest float64, so that rounding cannot overflow
COLUMNS_IN_CACHE = 2**14  # rows of a block whose float32 columns, 64 KB each, stay in the cache
MAX_IMGSZ = 10**6  # pixels; no network takes more, and sizes stay far below the largest float32
MAX_THR = 65536.0  # a float32 ratio above 2^-17 is an integer multiple of 2^-40: see anchorlib.metrics


def describe(array: Array) -> str:
    """Describe an array for an error message: 'numpy float32 (120, 4)'."""
    dtype = str(array.dtype).rpartition(".")[2]
    return f"{namespace_of(array).name} {dtype} {tuple(array.shape)}"


def check_shape(shape: tuple[Any, ...], *, hint: str = "", **named: Array) -> None:
    """Refuse an array that does not have this shape; a letter stands for any length.

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
    """Refuse an array that is not (N, 2): sizes, width first."""
    for name, array in named.items():
        corners = len(array.shape) == 2 and array.shape[1] == 4
        hint = "For corner boxes use boxes.xyxy_to_wh, for centre boxes boxes[:, 2:]." if corners else ""
        check_shape(("N" if name == "boxes_wh" else "K", 2), hint=hint, **{name: array})


def as_float(array: Array, dtype: Any = None) -> Array:
    """Cast an array to `dtype`; without `dtype`, keep floats as they are and cast integers to float32."""
    xp = namespace_of(array)
    if dtype is None:
        dtype = array.dtype if xp.isdtype(array.dtype, "real floating") else xp.float32
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, which check_sizes refuses
        return xp.astype(array, dtype)


def widen(array: Array) -> Array:
    """Cast integers and 16-bit floats to float32: float16 overflows for areas of 256 x 256 px and for long sums."""
    xp = namespace_of(array)
    if array.dtype == xp.float32 or array.dtype == xp.float64:
        return array
    is_wide = xp.isdtype(array.dtype, "real floating") and xp.finfo(array.dtype).bits >= 32  # longdouble
    return array if is_wide else xp.astype(array, xp.float32)


def host_floats(**named: Any) -> HostArray:
    """Convert one argument, a host array or a nested list, to float64 NumPy.

    >>> host_floats(shapes=[[1280, 720]])
    array([[1280.,  720.]])
    """
    ((name, values),) = named.items()
    try:
        floats = np.asarray(values, np.float64)
        # NumPy reads texts as numbers, and drops masks and imaginary parts.
        parts = [values, *values] if isinstance(values, (list, tuple)) else [values]
        is_masked = any(isinstance(part, np.ma.MaskedArray) for part in parts)
        if np.asarray(values).dtype.kind in "fiub" and not is_masked:
            return floats
    except (TypeError, ValueError):
        pass
    raise ShapeError(f"{name} must be numbers, in rows of equal length, got {reprlib.repr(values)}.")


def host_rows(columns: int, **named: Any) -> HostArray:
    """Convert one argument like `host_floats`, but return shape (0, columns) for an empty argument."""
    rows = host_floats(**named)
    return rows if rows.size else np.empty((0, columns))


def to_framework(result: HostArray, like: Array) -> Array:
    """Convert a NumPy result to the framework, device and dtype of `like`."""
    xp = namespace_of(like)
    array = xp.from_numpy(result, device=xp.device_of(like))
    return array if array.dtype == like.dtype else xp.astype(array, like.dtype)


def blocks(length: int, size: int) -> list[slice]:
    """Return slices of at most `size` rows for so many rows; the standard does not promise a slice beyond the end.

    >>> blocks(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(first, min(first + size, length)) for first in range(0, length, size)]


def unstack(layers: Any) -> list[Array]:
    """Return the layers of an array (L, ...) or of a list; the standard does not promise that an array is iterable."""
    return list(layers) if isinstance(layers, (list, tuple)) else [layers[i, ...] for i in range(layers.shape[0])]


def read_numbers(xp: Namespace, values: Sequence[Array]) -> list[Any]:
    """Return arrays () of one dtype and device as Python numbers; from a device they come in one copy."""
    if len(values) > 1 and not xp.in_host_memory(values[0]):
        numbers: list[Any] = xp.to_numpy(xp.stack(list(values))).tolist()
        return numbers
    return [xp.to_numpy(value).item() for value in values]


def check_sizes(*, zero: Sequence[str] = (), **named: Array) -> None:
    """Refuse sides that are not finite and > 0, or whose areas overflow float32; the message shows the first bad row.

    zero : the arguments whose sides may be 0
    named : arrays (N, 2), all of one framework and device, so that a device is read once
    """
    arrays = {name: as_float(array, namespace_of(array).float32) for name, array in named.items() if array.shape[0]}
    if not arrays:
        return
    xp = namespace_of(*arrays.values())
    # Sizes are measured in float32: there a float64 may become 0 or infinite. Two reductions suffice if all rows are
    # good: min and max return NaN if there is one, and NaN compares false.
    limits = iter(read_numbers(xp, [find(array) for array in arrays.values() for find in (xp.min, xp.max)]))
    for name, array in arrays.items():
        low, high, may_be_zero = next(limits), next(limits), name in zero
        if (low >= 0 if may_be_zero else low >= MIN_SIDE) and high <= MAX_SIDE:
            continue
        rows = np.asarray(xp.to_numpy(array))
        _complain_of_rows(name, rows, ~np.isfinite(rows), "a side that is not a finite number")
        _complain_of_rows(
            name, rows, rows < 0 if may_be_zero else rows <= 0, f"a side {'<' if may_be_zero else '<='} 0"
        )
        odd = (rows > MAX_SIDE) | ((rows < MIN_SIDE) & (rows > 0 if may_be_zero else rows >= 0))
        _complain_of_rows(name, rows, odd, f"a side outside [{MIN_SIDE:g}, {MAX_SIDE:g}] pixels")


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
    """Refuse an option whose value is not one of the known values."""
    if value not in known:
        raise BadValueError(f"{name} must be one of {', '.join(known)}, got {value!r}.")


def is_integer(value: Any, least: int) -> bool:
    """Return True if `value` is an integer (int or np.integer, not bool) and at least `least`."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def check_integer(name: str, value: Any, least: int, most: Optional[int] = None) -> int:
    """Return `value` as an int; refuse anything that is not an integer of at least `least` and at most `most`."""
    if not is_integer(value, least):
        raise BadValueError(f"{name} must be an integer >= {least}, got {value!r}.")
    if most is not None and value > most:
        raise BadValueError(f"{name} must be an integer <= {most}, got {value!r}.")
    return int(value)


def check_number(name: str, value: Any) -> float:
    """Return a number, or text that is one, as a float."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise BadValueError(f"{name} must be a number, got {reprlib.repr(value)}.") from None


def check_thr(thr: float) -> float:
    """Return a ratio limit as a float; refuse a limit that is not greater than 1."""
    thr = check_number("thr", thr)
    if not 1 < np.float32(thr) <= MAX_THR:  # thr is compared in float32
        hint = f" A limit below 1 is a reciprocal in older code: pass {1 / thr:g}." if 0 < thr < 1 else ""
        raise BadValueError(f"thr must be greater than 1 and at most {MAX_THR:g}, got {thr:g}.{hint}")
    return thr


def check_imgsz(imgsz: Any) -> tuple[int, int]:
    """Return the network's input as (width, height), from an integer > 0 or a pair of them; BadValueError."""
    both = tuple(imgsz) if isinstance(imgsz, (tuple, list, np.ndarray)) else (imgsz, imgsz)
    if len(both) != 2 or not all(is_integer(side, 1) for side in both):
        raise BadValueError(f"imgsz must be an integer > 0, or a pair (width, height) of integers > 0, got {imgsz!r}.")
    if max(both) > MAX_IMGSZ:
        raise BadValueError(f"imgsz must be at most {MAX_IMGSZ} pixels, got {imgsz!r}.")
    return int(both[0]), int(both[1])


def check_weights(weights: Optional[Array], n_boxes: int) -> Optional[HostArray]:
    """Return weights as integers in host memory: int64 (N,) with a sum of at most about 2^36, or None for None.

    Integer weights keep their values. Other weights are rounded to multiples of a power of two, at most 2^-35 of
    their sum, so that sums of weights are bit-identical in any order.
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
        exact = math.fsum(shares)  # fsum rounds once, so the order of the boxes does not matter
        values = np.rint(np.ldexp(shares, 35 - math.frexp(exact)[1]))
    return values.astype(np.int64)


def take_array(**named: Any) -> Array:
    """Return one argument as an array: a nested list as float64 NumPy, an array of a known framework unchanged.

    >>> take_array(anchors=[[10, 20]])
    array([[10., 20.]])
    """
    ((_, values),) = named.items()
    if isinstance(values, (list, tuple)):
        return host_floats(**named)
    namespace_of(**named)
    return values


def take_sizes(boxes_wh: Any, weights: Optional[Any] = None) -> tuple[Array, Optional[Array]]:
    """Return box sizes and their weights as arrays.

    Parameters
    ----------
    boxes_wh : (N, 2) array, nested list, or an object with the sizes in `wh` and perhaps how often each counts in
        `counts`: BoxSizes and SizeCounts
    weights : (N,) array or list, or None

    Returns
    -------
    boxes_wh, weights : arrays; weights is None if nothing gives weights

    Raises
    ------
    ArrayTypeError : an array of an unknown framework
    ShapeError : a list with rows of different lengths
    BadValueError : weights, and sizes that have counts already

    Examples
    --------
    >>> take_sizes([[10, 20], [30, 40]], [1, 2])
    (array([[10., 20.],
           [30., 40.]]), array([1., 2.]))
    """
    if hasattr(boxes_wh, "wh"):  # told by the attribute: this module does not import datasets
        counts = getattr(boxes_wh, "counts", None)
        if counts is not None and weights is not None:
            raise BadValueError("weights must not be given with sizes that have counts: the counts are the weights.")
        boxes_wh, weights = boxes_wh.wh, weights if counts is None else counts
    elif isinstance(boxes_wh, (list, tuple)):
        boxes_wh = host_rows(2, boxes_wh=boxes_wh)
    return take_array(boxes_wh=boxes_wh), None if weights is None else take_array(weights=weights)
