"""Call a public function with any values, memory layouts, dtypes and shapes, and from two threads at once.

Hypothesis draws shapes, dtypes, layouts and values. For every layout, each backend must give the result that NumPy
gives for a contiguous copy, and must not write to its inputs.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anchorlib.errors import AnchorlibError, ArrayTypeError, BadValueError, ShapeError
from anchorlib.verify import Target

DTYPES = ("bool", "int32", "int64", "float16", "float32", "float64")
LAYOUTS = ("as it is", "writable", "every second row", "reversed", "transposed")
EXTREME = [0.0, -0.0, 1.0, -1.0, 0.5, 300.0, 640.0, 2.0**-140, 2.0**-24, 2.0**100, 65504.0, -3.0]
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]
SIZES = (1.0, 2.0, 4.0, 0.5, 20.0, 300.0)
#: Keys of results that tell the time.
UNEQUAL = ("seconds",)
NUMPY = Target("numpy")


class Part(NamedTuple):
    """Describe an array argument of a function.

    shape : lengths; a letter for any length; `...` for any shape, the same for all such parts
    good : values that make sense; or such values for each entry along the last axis
    low, high : limits of the drawn values; NaN is drawn in any case
    dtype : of the values that make sense
    """

    shape: Any
    good: tuple[Any, ...] = SIZES
    low: float = -math.inf
    high: float = math.inf
    dtype: str = "float32"


class Edge(NamedTuple):
    """Describe a function of arrays, its arguments, and how far backends may differ.

    refusal : the error for a wrong shape
    host_checks : the function checks values in host memory only, because on a device it would have to wait for them
    """

    function: Any
    parts: tuple[Part, ...]
    rtol: float = 0.0
    refusal: tuple[type[Exception], ...] = (ShapeError,)
    longest: int = 5
    host_checks: bool = False


def leaves(result):
    """Yield the arrays, numbers and texts of a result, one after another."""
    if dataclasses.is_dataclass(result):
        result = {
            name: value for name, value in vars(result).items() if name not in UNEQUAL and not name.startswith("_")
        }
    if isinstance(result, dict):
        result = [item for key in sorted(result) for item in (key, result[key])]
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in leaves(part)]
    return [result]


def outcome(backend, function, arrays):
    """Return the result, with arrays converted to NumPy, or the class of the error."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = function(*arrays)
        except AnchorlibError as error:
            return type(error)
    plain = (bool, int, float, str, type(None))
    return [leaf if type(leaf) in plain else backend.host(backend.xp.detach(leaf)) for leaf in leaves(result)]


def laid_out(backend, host, layout):
    """Return the values on the backend in this layout, and the memory around them; most NumPy arrays are read-only."""
    if layout == "writable" and backend.name == "numpy":
        return host, host
    if layout == "every second row" and host.ndim:
        base = backend.array(np.repeat(host, 2, axis=0))
        return base[::2, ...], base
    if layout == "transposed" and host.ndim > 1:
        base = backend.array(np.ascontiguousarray(host.swapaxes(0, -1)))
        axes = (host.ndim - 1, *range(1, host.ndim - 1), 0)
        return backend.xp.permute_dims(base, axes), base
    if layout == "reversed" and host.ndim and backend.name == "numpy":  # the other frameworks have no negative strides
        base = backend.array(host[::-1])
        return base[::-1], base
    base = backend.array(host)
    return base, base


def assert_same(found, expected, rtol):
    if isinstance(expected, type) or isinstance(found, type):
        assert found is expected, (found, expected)
        return
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert type(one) is type(other), (one, other)
        if isinstance(one, (str, int)) or one is None:
            assert one == other
            continue
        if isinstance(one, np.ndarray):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
        one, other = np.asarray(one), np.asarray(other)
        with np.errstate(all="ignore"):
            rough = max(rtol, 2e-3 if one.dtype == np.float16 and rtol else 0.0)
            np.testing.assert_allclose(one, other, rtol=rough, atol=rough)


def elements_of(part, good, dtype, chance):
    """Draw values: only sensible ones, or also extreme ones, or also NaN and infinity."""
    if dtype == "bool":
        return st.booleans()
    if dtype.startswith("int"):
        low, high = max(part.low, -3), min(part.high, 700)
        return st.integers(int(low), int(high))
    top = float(np.finfo(dtype).max)
    with np.errstate(over="ignore"):
        pool = [value for value in [*EXTREME, top, -top] if float(np.asarray(value).astype(dtype)) == value]
    pool = [
        value for value in [*pool, *(NOT_FINITE if chance == 3 else [])] if not (value < part.low or value > part.high)
    ]
    sane = st.sampled_from([float(np.asarray(value).astype(dtype)) for value in good])
    return sane if chance == 0 else sane | st.sampled_from(pool)


def array_of(data, part, dtype, lengths):
    shape = tuple(lengths[side] if isinstance(side, str) else side for side in part.shape)
    chance = data.draw(st.integers(0, 3))  # sometimes an array has only good values
    if not isinstance(part.good[0], tuple):
        return data.draw(hnp.arrays(dtype, shape, elements=elements_of(part, part.good, dtype, chance)))
    columns = [
        data.draw(hnp.arrays(dtype, shape[:-1], elements=elements_of(part, good, dtype, chance))) for good in part.good
    ]
    return np.stack(columns, axis=-1)


def letters_of(edge):
    return sorted(
        {side for part in edge.parts if part.shape is not ... for side in part.shape if isinstance(side, str)}
    )


def with_shapes(edge, shape):
    """Draw the arrays; parts of any shape get this shape."""
    return [part._replace(shape=shape) if part.shape is ... else part for part in edge.parts]


def check_any_values(backend, edge, data):
    dtypes = [name for name in DTYPES if name != "float16" or backend.name not in ("oneflow", "strict")]
    lengths = {letter: data.draw(st.integers(0, edge.longest)) for letter in letters_of(edge)}
    any_shape = tuple(data.draw(st.lists(st.integers(0, 3), max_size=3)))
    dtype, mixed = data.draw(st.sampled_from(dtypes)), data.draw(st.integers(0, 3)) == 3
    hosts = [
        array_of(data, part, data.draw(st.sampled_from(dtypes)) if mixed else dtype, lengths)
        for part in with_shapes(edge, any_shape)
    ]
    expected = outcome(NUMPY, edge.function, [host.copy() for host in hosts])
    given_arrays = [laid_out(backend, host, data.draw(st.sampled_from(LAYOUTS))) for host in hosts]
    on_device = not backend.xp.in_host_memory(given_arrays[0][0])
    if expected is BadValueError and edge.host_checks and on_device:
        return  # an image or class out of range is an index out of range, which ends the work with a GPU
    before = [backend.host(base).tobytes() for _, base in given_arrays]
    found = outcome(backend, edge.function, [array for array, _ in given_arrays])
    assert_same(found, expected, edge.rtol)
    assert [backend.host(base).tobytes() for _, base in given_arrays] == before


def check_wrong_shape(backend, edge, shape):
    """Expect an error for arrays of this shape; if the function accepts it, the last array gets another one."""
    shapes = [shape] * len(edge.parts)
    if all(fits(part, shape) for part in edge.parts):
        shapes[-1] = (*shape, 2)
    with pytest.raises(edge.refusal):
        edge.function(*[backend.array(np.ones(shape, np.float32)) for shape in shapes])


def fits(part, shape):
    return part.shape is ... or (
        len(part.shape) == len(shape) and all(want in (got, str(want)) for want, got in zip(part.shape, shape))
    )


def check_no_array(edge):
    with pytest.raises(ArrayTypeError):
        edge.function(*["1.0 2.0" for _ in edge.parts])  # text: some functions take nested lists


def check_two_threads(backend, edge):
    rng = np.random.default_rng(0)
    work = []
    for _ in range(8):
        arrays = []
        for part in with_shapes(edge, (3, 4)):
            shape = [side if isinstance(side, int) else 4 if edge.longest < 5 else 12 for side in part.shape]
            good = part.good if isinstance(part.good[0], tuple) else (part.good,) * shape[-1]
            columns = [rng.choice(values, shape[:-1]) for values in good]
            arrays.append(backend.array(np.stack(columns, axis=-1), part.dtype))
        work.append(arrays)
    single = [outcome(backend, edge.function, arrays) for arrays in work]
    assert not any(isinstance(one, type) for one in single), single
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda arrays: outcome(backend, edge.function, arrays), work))
    for one, other in zip(together, single):
        assert_same(one, other, 0.0)
