"""Call every name of the spec on every backend: values worked out by hand, and NumPy's answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anchorlib.backends import _spec

INF, NAN = math.inf, math.nan
F32, F64, I32, I64 = np.float32, np.float64, np.int32, np.int64
TOLERANCE = {"float32": 4e-7, "float64": 1e-15}  # a few ulp: the frameworks have their own exp, log and atan
OUT_OF_RANGE = (IndexError, RuntimeError)
NOTHING_TO_REDUCE = (ValueError, IndexError, RuntimeError)  # torch's own choice is kept
TESTED: set[str] = set()


def arr(values, dtype=F64):
    return np.asarray(values, dtype=dtype)


def table(*rows):
    """Parametrise over rows of (name, arguments, keywords, expected); `expected` is an array or an error."""
    TESTED.update(row[0] for row in rows)
    ids = [f"{row[0]}-{i}" for i, row in enumerate(rows)]
    return pytest.mark.parametrize(("name", "args", "kwargs", "expected"), rows, ids=ids)


def given(backend, value):
    """A value of a table, on the backend: arrays become its arrays, NumPy dtypes its dtypes."""
    if isinstance(value, np.ndarray):
        return backend.array(value)
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [given(backend, one) for one in value]
    if isinstance(value, type) and issubclass(value, np.generic):
        return getattr(backend.xp, value.__name__.rstrip("_"))
    return value


def check(backend, name, args, kwargs, expected):
    if expected is OUT_OF_RANGE and backend.device != "cpu":
        pytest.skip("a GPU says later that an index is out of range, and then computes no more in this process")
    inputs = [given(backend, value) for value in args]
    kwargs = {key: given(backend, value) for key, value in kwargs.items()}
    function = getattr(backend.xp, name)
    if not isinstance(expected, np.ndarray):
        with pytest.raises(expected):
            function(*inputs, **kwargs)
        return
    with np.errstate(all="ignore"):
        found = function(*inputs, **kwargs)
    if isinstance(found, np.generic):  # NumPy's reductions to 0-d are scalars
        found = np.asarray(found)
    assert_same(backend.host(found), expected)
    for value, one in zip(args, inputs):
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(backend.host(one), value)  # the inputs are as they were


def assert_same(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    rtol = TOLERANCE.get(found.dtype.name, 0)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


SPECIAL = [-INF, -1e30, -2.5, -1.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 2.5, 3.75, 80.0, 1e30, INF, NAN]
ONE_FLOAT = {
    "abs": np.abs, "negative": np.negative, "square": np.square, "sign": np.sign, "floor": np.floor,
    "ceil": np.ceil, "trunc": np.trunc, "round": np.rint, "exp": np.exp, "log": np.log, "log1p": np.log1p,
    "log2": np.log2, "sqrt": np.sqrt, "atan": np.arctan, "isfinite": np.isfinite, "isinf": np.isinf,
    "isnan": np.isnan, "sigmoid": lambda x: np.exp(-np.logaddexp(0, -x)),
}  # fmt: skip
TESTED.update(ONE_FLOAT)


@pytest.mark.parametrize(
    "values", [SPECIAL, [], 0.75, [[0.25, 0.5], [0.75, 1.0]]], ids=["special", "empty", "0-d", "2-d"]
)
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", ONE_FLOAT)
def test_a_function_of_one_float_is_numpys_in_float64(backend, name, dtype, values):
    x = arr(values, dtype)
    with np.errstate(all="ignore"):
        expected = np.asarray(ONE_FLOAT[name](x.astype(F64)))
        expected = expected if expected.dtype == bool else expected.astype(dtype)
    check(backend, name, [x], {}, expected)


@pytest.mark.parametrize("dtype", [I32, I64])
@pytest.mark.parametrize("name", ["abs", "negative", "square", "sign", "floor", "ceil", "trunc", "round"])
def test_a_function_of_one_integer_keeps_it_an_integer(backend, name, dtype):
    top = 46340 if dtype is I32 else 3037000499  # the largest root: beyond what float32 and float64 hold
    x = arr([-top, -7, -1, 0, 1, 7, top - 1, top], dtype)
    expected = {"abs": np.abs, "negative": np.negative, "square": np.square, "sign": np.sign}.get(name, np.copy)(x)
    check(backend, name, [x], {}, expected)


LEFT = [-7.5, 7.5, -7.5, 7.5, -INF, 3.0, NAN, 0.0, -4.0, 1e-9, -1e-9, 1.0]
RIGHT = [2.0, -2.0, -2.0, 2.0, 3.0, INF, 1.0, 5.0, 2.0, 1.0, 1.0, 0.1]


def floor_divide(x1, x2):
    """Return NumPy's result, but the floor of the quotient for infinities, as the standard has it."""
    found = np.floor_divide(x1, x2)
    return np.where(np.isinf(x1) | np.isinf(x2), np.floor(x1 / x2), found).astype(found.dtype)


TWO_FLOAT = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
    "floor_divide": floor_divide, "remainder": np.remainder, "minimum": np.minimum, "maximum": np.maximum,
    "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
    "greater": np.greater, "greater_equal": np.greater_equal,
}  # fmt: skip
TESTED.update(TWO_FLOAT)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", TWO_FLOAT)
def test_a_function_of_two_floats_is_numpys(backend, name, dtype):
    with np.errstate(all="ignore"):
        for left, right in (
            (LEFT, RIGHT),
            (RIGHT, LEFT[:7] + [1.0] + LEFT[8:]),
            ([], []),
            (2.5, [[-1.0], [4.0]]),
        ):
            x1, x2 = arr(left, dtype), arr(right, dtype)
            check(backend, name, [x1, x2], {}, np.asarray(TWO_FLOAT[name](x1, x2)))
        x = arr(LEFT, dtype)
        for number in (2.0, -2.0, 0.1):
            check(backend, name, [x, number], {}, TWO_FLOAT[name](x, dtype(number)))


@pytest.mark.parametrize("dtype", [I32, I64])
@pytest.mark.parametrize("name", [name for name in TWO_FLOAT if name != "divide"])
def test_a_function_of_two_integers_is_exact(backend, name, dtype):
    large = 2**31 - 1 if dtype is I32 else 2**62 + 1
    x1 = arr([-7, 7, -7, 7, 6, -6, 0, large, -large, large], dtype)
    x2 = arr([2, -2, -2, 2, 3, 3, 5, 3, 7, large], dtype)
    with np.errstate(all="ignore"):
        check(backend, name, [x1, x2], {}, TWO_FLOAT[name](x1, x2))
        for number in (3, -3):
            check(backend, name, [x1, number], {}, TWO_FLOAT[name](x1, dtype(number)))


@table(
    ("pow", [arr([2.0, 9.0, 0.5]), arr([3.0, 0.5, -1.0])], {}, arr([8.0, 3.0, 2.0])),
    ("pow", [arr([2.0, 9.0], F32), 2.0], {}, arr([4.0, 81.0], F32)),
    ("logical_and", [arr([1, 1, 0], bool), arr([1, 0, 0], bool)], {}, arr([1, 0, 0], bool)),
    ("logical_or", [arr([1, 1, 0], bool), arr([1, 0, 0], bool)], {}, arr([1, 1, 0], bool)),
    ("logical_xor", [arr([1, 1, 0], bool), arr([1, 0, 0], bool)], {}, arr([0, 1, 0], bool)),
    ("logical_not", [arr([1, 0], bool)], {}, arr([0, 1], bool)),
    ("equal", [arr([1, 0], bool), arr([1, 1], bool)], {}, arr([1, 0], bool)),
    ("not_equal", [arr([1, 0], bool), arr([1, 1], bool)], {}, arr([0, 1], bool)),
    *[
        (name, [arr([NAN], F32), 0.0], {}, arr([0], bool))  # one entry: OneFlow has a loop of its own for it
        for name in ("less", "less_equal", "greater", "greater_equal", "equal")
    ],
    # NaN wins in either position, also next to a 0-d array
    ("minimum", [arr([NAN, 1.0]), arr(0.0)], {}, arr([NAN, 0.0])),
    ("minimum", [arr(0.0), arr([NAN, 1.0])], {}, arr([NAN, 0.0])),
    ("maximum", [arr([[NAN], [1.0]], F32), arr([2.0, NAN], F32)], {}, arr([[NAN, NAN], [2.0, NAN]], F32)),
    ("clip", [arr([-1.0, 0.5, 2.0, NAN])], {"min": 0.0, "max": 1.0}, arr([0.0, 0.5, 1.0, NAN])),
    ("clip", [arr([-1.0, 2.0], F32)], {"min": 0.1}, arr([0.1, 2.0], F32)),
    ("clip", [arr([1, 9], I64)], {"max": 5}, arr([1, 5], I64)),
    ("clip", [arr([1, 9], I64)], {}, arr([1, 9], I64)),
    ("clip", [arr([], F32)], {"min": 0.0}, arr([], F32)),
    (
        "clip",
        [arr([1.0, 5.0, 3.0])],
        {"min": arr([2.0, 2.0, 2.0]), "max": arr([4.0, 4.0, 4.0])},
        arr([2.0, 4.0, 3.0]),
    ),
    # a bound that is NaN gives NaN: 2024.12
    ("clip", [arr([1.0, 5.0], F32)], {"min": NAN}, arr([NAN, NAN], F32)),
    ("clip", [arr([1.0, 5.0])], {"min": arr([2.0, 2.0]), "max": NAN}, arr([NAN, NAN])),
    ("clip", [arr([1.0, 5.0], F32)], {"min": arr([NAN, 0.0], F32), "max": arr(4.0, F32)}, arr([NAN, 4.0], F32)),
    ("clip", [arr([1.0, 5.0, NAN])], {"max": arr([3.0, NAN, 3.0])}, arr([1.0, NAN, NAN])),
    ("where", [arr([1, 0], bool), arr([1.0, 2.0]), arr([3.0, 4.0])], {}, arr([1.0, 4.0])),
    ("where", [arr([1, 0], bool), arr([1, 2], bool), arr([0, 0], bool)], {}, arr([1, 0], bool)),
    ("where", [arr([[1], [0]], bool), arr([1, 2], I64), arr(7, I64)], {}, arr([[1, 2], [7, 7]], I64)),
    ("where", [arr([1, 0], bool), arr([1, 2], I32), arr([3, 4], I64)], {}, arr([1, 4], I64)),
    ("where", [arr([1, 0], bool), arr([1, 2], F32), arr([3, 4], F64)], {}, arr([1, 4], F64)),
    ("where", [arr([1, 0], bool), arr([1.5, 2.5], F32), 0.0], {}, arr([1.5, 0.0], F32)),
    ("where", [arr([1, 0], bool), 0.0, arr([1.5, 2.5], F32)], {}, arr([0.0, 2.5], F32)),
    ("where", [arr([], bool), arr([], F32), arr([], F32)], {}, arr([], F32)),
)
def test_choices_are_numpys(backend, name, args, kwargs, expected):
    check(backend, name, args, kwargs, expected)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "minimum", "maximum", "less", "equal"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (arr([-1, 2], I32), arr([2, -3], I64)),
        (arr([0.1, 2.0], F32), arr([0.2, -3.0], F64)),
        (arr([0.1, 0.2], F32), arr(0.1, F64)),  # 0-d: test_promotion.py has more of it
        (arr(0.1, F64), arr([0.1, 0.2], F32)),
        (arr([1, 2], I32), arr(2**40, I64)),
    ],
    ids=["ints", "floats", "float 0-d", "0-d float", "int 0-d"],
)
def test_two_dtypes_meet_in_the_wider_one(backend, name, first, second):
    wide = np.promote_types(first.dtype, second.dtype)
    expected = TWO_FLOAT[name](first.astype(wide), second.astype(wide))
    check(backend, name, [first, second], {}, expected)


CUBE = arr(np.arange(24).reshape(2, 3, 4) % 7 - 2.0)
REDUCE = {"min": np.min, "max": np.max, "sum": np.sum, "prod": np.prod, "mean": np.mean}
ARG = {"argmin": np.argmin, "argmax": np.argmax}
LOGIC = {"any": np.any, "all": np.all}
TESTED.update(REDUCE, ARG, LOGIC)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("name", [*REDUCE, *ARG, *LOGIC])
def test_a_reduction_over_any_axes_is_numpys(backend, name, axis, keepdims):
    if name in ARG and isinstance(axis, tuple):
        pytest.skip("argmin takes one axis")
    x = CUBE > 0 if name in LOGIC else CUBE
    if name in ARG and axis is None and keepdims:
        expected = ARG[name](x.ravel()).reshape(1, 1, 1)
    else:
        expected = {**REDUCE, **ARG, **LOGIC}[name](x, axis=axis, keepdims=keepdims)
    check(backend, name, [x], {"axis": axis, "keepdims": keepdims}, np.asarray(expected))
    if name in REDUCE:
        single = np.asarray(expected, F32)
        check(backend, name, [x.astype(F32)], {"axis": axis, "keepdims": keepdims}, single)


@table(
    ("sum", [arr([], F32)], {}, arr(0.0, F32)),
    ("sum", [np.zeros((0, 3))], {"axis": 1}, arr([])),
    ("sum", [np.zeros((0, 3))], {"axis": 0}, arr([0.0, 0.0, 0.0])),
    ("sum", [arr([2**30, 2**30, 2**30], I32)], {}, arr(3 * 2**30, I64)),  # small integers are summed in int64
    ("sum", [arr([2**53, 1, 1], I64)], {}, arr(2**53 + 2, I64)),
    ("sum", [arr([1, 0, 1], bool)], {}, arr(2, I64)),
    ("sum", [arr([1, 0, 1], bool)], {"dtype": F32}, arr(2.0, F32)),
    ("sum", [arr([2**24, 1, 1], F32)], {"dtype": F64}, arr(2**24 + 2, F64)),
    ("sum", [arr([[1, 2]], I32)], {"dtype": I32, "axis": 1}, arr([3], I32)),
    ("sum", [arr(2.5)], {}, arr(2.5)),
    ("sum", [arr([NAN, 1.0])], {}, arr(NAN)),
    ("prod", [arr([], F32)], {}, arr(1.0, F32)),
    ("prod", [np.zeros((2, 0))], {"axis": 1, "keepdims": True}, arr([[1.0], [1.0]])),
    ("prod", [arr([2**20, 2**20], I32)], {}, arr(2**40, I64)),
    ("prod", [arr([0.5, 3.0], F32)], {"dtype": F64}, arr(1.5)),
    ("prod", [arr(2.5)], {}, arr(2.5)),
    ("mean", [arr([1.0, 2.0], F32)], {}, arr(1.5, F32)),
    ("mean", [arr(2.5)], {}, arr(2.5)),
    ("min", [arr([1.0, NAN, 2.0])], {}, arr(NAN)),
    ("max", [arr([1.0, NAN, 2.0])], {}, arr(NAN)),
    ("min", [arr([[1.0, NAN], [3.0, 4.0]], F32)], {"axis": 1, "keepdims": True}, arr([[NAN], [3.0]], F32)),
    ("max", [arr([[1.0, NAN], [3.0, 4.0]], F32)], {"axis": 0}, arr([3.0, NAN], F32)),
    ("min", [arr([3, -(2**40)], I64)], {}, arr(-(2**40), I64)),
    ("max", [arr([3, -2], I32)], {}, arr(3, I32)),
    ("min", [arr([INF, INF])], {}, arr(INF)),
    ("min", [arr([[INF, INF], [1.0, INF]], F32)], {"axis": 1}, arr([INF, 1.0], F32)),
    ("max", [arr([-INF, -INF])], {}, arr(-INF)),
    ("max", [arr([[-INF, -INF], [1.0, -INF]], F32)], {"axis": 1, "keepdims": True}, arr([[-INF], [1.0]], F32)),
    ("min", [arr(2.5)], {}, arr(2.5)),
    ("min", [np.zeros((0, 3))], {"axis": 1}, arr([])),
    ("max", [np.zeros((0, 3))], {"axis": 1}, arr([])),
    ("min", [arr([])], {}, NOTHING_TO_REDUCE),
    ("max", [arr([])], {}, NOTHING_TO_REDUCE),
    ("min", [np.zeros((2, 0))], {"axis": 1}, NOTHING_TO_REDUCE),
    ("max", [np.zeros((2, 0))], {"axis": 1}, NOTHING_TO_REDUCE),
    ("argmin", [arr([])], {}, NOTHING_TO_REDUCE),
    ("argmax", [np.zeros((2, 0))], {"axis": 1}, NOTHING_TO_REDUCE),
    ("argmin", [np.zeros((0, 3))], {"axis": 1}, arr([], I64)),
    ("argmin", [arr([2.0, 1.0, 1.0])], {}, arr(1, I64)),  # the first of equals
    ("argmax", [arr([[1, 3, 3], [3, 1, 3]], I32)], {"axis": 1}, arr([1, 0], I64)),
    ("argmax", [arr(3.0)], {}, arr(0, I64)),
    ("any", [arr([], bool)], {}, arr(False, bool)),
    ("all", [arr([], bool)], {}, arr(True, bool)),
    ("any", [np.zeros((2, 0), bool)], {"axis": 1}, arr([False, False], bool)),
    ("all", [np.zeros((2, 0), bool)], {"axis": 1, "keepdims": True}, arr([[True], [True]], bool)),
    ("any", [arr(True, bool)], {}, arr(True, bool)),
    ("cumulative_sum", [arr([1.0, 2.0, 3.0], F32)], {}, arr([1.0, 3.0, 6.0], F32)),
    ("cumulative_sum", [arr([[1, 2], [3, 4]], I64)], {"axis": 1}, arr([[1, 3], [3, 7]], I64)),
    ("cumulative_sum", [arr([2**30, 2**30, 2**30], I32)], {}, arr([2**30, 2**31, 3 * 2**30], I64)),
    ("cumulative_sum", [arr([1, 2], I64)], {"include_initial": True}, arr([0, 1, 3], I64)),
    ("cumulative_sum", [arr([], F32)], {}, arr([], F32)),
)
def test_reductions_at_the_edges(backend, name, args, kwargs, expected):
    check(backend, name, args, kwargs, expected)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")
@table(
    ("mean", [arr([], F32)], {}, arr(NAN, F32)),
    ("mean", [np.zeros((0, 2))], {"axis": 0}, arr([NAN, NAN])),
)
def test_the_mean_of_nothing_is_nan(backend, name, args, kwargs, expected):
    check(backend, name, args, kwargs, expected)


@table(
    ("argsort", [arr([3.0, 1.0, 2.0], F32)], {}, arr([1, 2, 0], I64)),
    ("argsort", [arr([1, 0, 1, 0], I32)], {"stable": True}, arr([1, 3, 0, 2], I64)),
    ("argsort", [arr([1, 0, 1, 0], I64)], {"descending": True, "stable": True}, arr([0, 2, 1, 3], I64)),
    ("argsort", [arr([[2.0, 1.0], [1.0, 2.0]])], {"axis": 0}, arr([[1, 0], [0, 1]], I64)),
    ("argsort", [arr([])], {}, arr([], I64)),
    ("argsort", [np.zeros((2, 0))], {"axis": 0}, np.zeros((2, 0), I64)),
    ("argsort", [arr([INF, -INF, 0.0])], {}, arr([1, 2, 0], I64)),
    ("sort", [arr([3.0, 1.0, 2.0], F32)], {}, arr([1.0, 2.0, 3.0], F32)),
    ("sort", [arr([3, 1, 2], I64)], {"descending": True}, arr([3, 2, 1], I64)),
    ("sort", [arr([[2.0, 1.0], [1.0, 2.0]])], {"axis": 0}, arr([[1.0, 1.0], [2.0, 2.0]])),
    ("sort", [arr([], I32)], {}, arr([], I32)),
    ("sort", [np.zeros((0, 2))], {"axis": 1}, np.zeros((0, 2))),
    ("repeat_each", [arr([[5, 6, 7], [8, 9, 0]], I64), arr([2, 0, 1], I64), 3], {}, arr([[5, 5, 7], [8, 8, 0]], I64)),
    ("repeat_each", [arr([[1.5, 2.0], [3.0, 4.0]], F32), arr([0, 2], I64), 2], {"axis": 0}, arr([[3, 4], [3, 4]], F32)),
    ("repeat_each", [arr([[1.0, 2.0]]), arr([0, 0], I64), 0], {}, np.zeros((1, 0))),
    ("repeat_each", [np.zeros((2, 0), F32), arr([], I64), 0], {}, np.zeros((2, 0), F32)),
    ("searchsorted", [arr([1, 3, 3, 7], I64), arr([0, 3, 4, 7, 9], I64)], {}, arr([0, 1, 3, 3, 4], I64)),
    ("searchsorted", [arr([1, 3, 3, 7], I64), arr([[3, 7]], I64)], {"side": "right"}, arr([[3, 4]], I64)),
    ("searchsorted", [arr([0.5, 1.5], F32), arr([1.0, 2.0], F32)], {}, arr([1, 2], I64)),
    ("searchsorted", [arr([3.0, 1.0]), arr([2.0])], {"sorter": arr([1, 0], I64)}, arr([1], I64)),
    ("searchsorted", [arr([], I64), arr([3], I64)], {}, arr([0], I64)),
    ("searchsorted", [arr([3], I64), arr([], I64)], {}, arr([], I64)),
    ("take", [arr([1.0, 2.0, 3.0]), arr([2, 0, 2], I64)], {}, arr([3.0, 1.0, 3.0])),
    ("take", [arr([[1, 2], [3, 4]], I32), arr([1], I64)], {"axis": 0}, arr([[3, 4]], I32)),
    ("take", [arr([[1, 2], [3, 4]], bool), arr([0, 0], I32)], {"axis": 1}, arr([[1, 1], [1, 1]], bool)),
    ("take", [arr([[1.0, 2.0]]), arr([], I64)], {"axis": 0}, np.zeros((0, 2))),
    ("take", [np.zeros((0, 2)), arr([], I64)], {"axis": 0}, np.zeros((0, 2))),
    ("take", [arr([1.0, 2.0, 3.0]), arr([-1, 0, -3], I64)], {}, arr([3.0, 1.0, 1.0])),  # from the end: 2024.12
    ("take", [arr([[1, 2], [3, 4]], I32), arr([-1, 1, -2], I32)], {"axis": -1}, arr([[2, 2, 1], [4, 4, 3]], I32)),
    ("take", [arr([1.0, 2.0]), arr([2], I64)], {}, OUT_OF_RANGE),
    ("take", [arr([1.0, 2.0]), arr([-1, -3], I64)], {}, OUT_OF_RANGE),
    ("take", [np.zeros((0, 2)), arr([0], I64)], {"axis": 0}, OUT_OF_RANGE),
    ("put_rows", [arr([1.0, 2.0, 3.0]), arr([2, 0], I64), arr([7.0, 8.0])], {}, arr([8.0, 2.0, 7.0])),
    (
        "put_rows",
        [arr([[1, 2], [3, 4]], I64), arr([0], I64), arr([[5, 6]], I64)],
        {},
        arr([[5, 6], [3, 4]], I64),
    ),
    ("put_rows", [arr([1.0]), arr([], I64), arr([])], {}, arr([1.0])),
    ("put_rows", [np.zeros((0, 2)), arr([], I64), np.zeros((0, 2))], {}, np.zeros((0, 2))),
    ("put_rows", [arr([1.0, 2.0]), arr([2], I64), arr([3.0])], {}, OUT_OF_RANGE),
    ("put_last", [arr([1.0, 2.0, 3.0]), arr([2, 0, 2], I64), arr([7.0, 8.0, 9.0])], {}, arr([8.0, 2.0, 9.0])),
    ("put_last", [arr([1.0, 2.0]), arr([1, 1, 1], I64), arr([9.0, 8.0, 7.0])], {}, arr([1.0, 7.0])),
    ("put_last", [arr([1.0, 2.0]), arr([], I64), arr([])], {}, arr([1.0, 2.0])),
)
def test_order_and_rows_are_numpys(backend, name, args, kwargs, expected):
    check(backend, name, args, kwargs, expected)


@pytest.mark.parametrize("rows", [[1, 0, 1], []], ids=["rows", "no rows"])
def test_split_rows_is_a_column_and_what_stands_before_and_behind_it_in_rows(backend, rows):
    TESTED.add("split_rows")
    found = backend.xp.split_rows(backend.array(arr(GRID)), backend.array(arr(rows, I64)), 1)
    chosen = arr(GRID)[arr(rows, I64)]
    for one, expected in zip(found, (chosen[:, :1], arr([2.0, 5.0]), chosen[:, 2:])):
        assert_same(backend.host(one), expected)


def test_with_gradient_is_the_value_of_the_function(backend):
    TESTED.add("with_gradient")
    x = backend.array(arr([1.0, 2.0]))
    found = backend.xp.with_gradient(lambda x: (backend.xp.sum(x * x), 2 * x), x)
    assert float(found) == 5.0
    y = backend.array(arr([3.0, 5.0]))
    assert float(backend.xp.with_gradient(lambda x, y: (backend.xp.sum(x * y), y, x), x, y)) == 13.0


@pytest.mark.parametrize(
    "x",
    [arr([[1, 0], [0, 1]], bool), arr([0.0, -1.0, NAN]), np.zeros((0, 2), bool), arr([0, 0], I64)],
    ids=["bool", "float", "empty", "none"],
)
def test_nonzero_gives_int64_indices_in_row_major_order(backend, x):
    TESTED.add("nonzero")
    found = backend.xp.nonzero(backend.array(x))
    assert isinstance(found, tuple)
    assert len(found) == x.ndim
    for one, expected in zip(found, np.nonzero(x)):
        assert_same(backend.host(one), expected)


LINE = arr([1.0, 2.0, 3.0], F32)
GRID = arr([[1, 2, 3], [4, 5, 6]], I64)


@table(
    ("reshape", [GRID, (3, 2)], {}, GRID.reshape(3, 2)),
    ("reshape", [GRID, (-1,)], {}, GRID.reshape(-1)),
    ("reshape", [np.zeros((0, 3)), (3, 0)], {}, np.zeros((3, 0))),
    ("reshape", [arr([5.0]), ()], {}, arr(5.0)),
    ("expand_dims", [GRID], {"axis": 1}, GRID[:, None]),
    ("expand_dims", [arr(1.0)], {"axis": -1}, arr([1.0])),
    ("squeeze", [arr([[1.0], [2.0]])], {"axis": 1}, arr([1.0, 2.0])),
    ("squeeze", [arr([[[1.0], [2.0]]])], {"axis": (0, -1)}, arr([1.0, 2.0])),
    ("broadcast_to", [LINE, (2, 3)], {}, np.stack([LINE, LINE])),
    ("broadcast_to", [arr(True, bool), (2,)], {}, arr([1, 1], bool)),
    ("broadcast_to", [arr(1.0), ()], {}, arr(1.0)),
    ("broadcast_to", [arr([[1.0]]), (0, 1)], {}, np.zeros((0, 1))),
    ("concat", [[LINE, LINE]], {}, np.concatenate([LINE, LINE])),
    ("concat", [[GRID, GRID]], {"axis": 1}, np.concatenate([GRID, GRID], 1)),
    ("concat", [[GRID, GRID]], {"axis": None}, np.concatenate([GRID, GRID], None)),
    ("concat", [[arr([1], I32), arr([2], I64)]], {}, arr([1, 2], I64)),
    ("concat", [[arr([1], F32), arr([2], F64)]], {}, arr([1, 2], F64)),
    ("concat", [[arr(1, I64), arr([2], I32)]], {"axis": None}, arr([1, 2], I64)),  # NumPy 1 gives int32
    ("concat", [[arr([], F32), arr(0.5, F64)]], {"axis": None}, arr([0.5], F64)),
    ("concat", [[np.zeros((0, 2)), np.ones((1, 2))]], {}, np.ones((1, 2))),
    ("stack", [[LINE, LINE]], {}, np.stack([LINE, LINE])),
    ("stack", [[LINE, LINE]], {"axis": -1}, np.stack([LINE, LINE], -1)),
    ("stack", [[arr(1.0), arr(2.0)]], {}, arr([1.0, 2.0])),
    ("stack", [[arr([], bool), arr([], bool)]], {"axis": 1}, np.zeros((0, 2), bool)),
    ("flip", [GRID], {}, GRID[::-1, ::-1]),
    ("flip", [GRID], {"axis": 0}, GRID[::-1]),
    ("flip", [LINE], {"axis": -1}, LINE[::-1]),
    ("flip", [np.zeros((0, 2))], {"axis": 0}, np.zeros((0, 2))),
    ("permute_dims", [CUBE, (2, 0, 1)], {}, CUBE.transpose(2, 0, 1)),
    ("permute_dims", [np.zeros((0, 2)), (1, 0)], {}, np.zeros((2, 0))),
    ("zeros_like", [GRID], {}, GRID * 0),
    ("zeros_like", [GRID], {"dtype": F32}, np.zeros((2, 3), F32)),
    ("ones_like", [arr(0.5)], {}, arr(1.0)),
    ("ones_like", [arr([1, 0], bool)], {}, arr([1, 1], bool)),
    ("full_like", [LINE, 2.5], {}, arr([2.5, 2.5, 2.5], F32)),
    ("full_like", [arr(0, I64), 7], {}, arr(7, I64)),
    ("astype", [arr([1.7, -1.7]), I64], {}, arr([1, -1], I64)),
    ("astype", [arr([2.0, 0.0, NAN], F32), np.bool_], {}, arr([1, 0, 1], bool)),
    ("astype", [arr([1, 0], bool), F32], {}, arr([1, 0], F32)),
    ("astype", [LINE, F32], {"copy": False}, LINE),
)
def test_shapes_and_casts_are_numpys(backend, name, args, kwargs, expected):
    check(backend, name, args, kwargs, expected)


@table(
    ("zeros", [(2, 3)], {"dtype": F32}, np.zeros((2, 3), F32)),
    ("zeros", [()], {"dtype": I64}, arr(0, I64)),
    ("ones", [(2,)], {"dtype": np.bool_}, arr([1, 1], bool)),
    ("full", [(2,), 0.1], {"dtype": F64}, arr([0.1, 0.1])),
    ("full", [(), 3], {"dtype": I32}, arr(3, I32)),
    ("full", [(2,), NAN], {"dtype": F32}, arr([NAN, NAN], F32)),
    ("full", [(0,), 3], {"dtype": F32}, arr([], F32)),
    ("full", [(2,), 2**62 + 1], {"dtype": I64}, arr([2**62 + 1] * 2, I64)),
    ("arange", [3], {"dtype": I64}, arr([0, 1, 2], I64)),
    ("arange", [0], {"dtype": I64}, arr([], I64)),
    ("arange", [3, 1], {"dtype": I64}, arr([], I64)),
    ("arange", [3, 0, -2], {"dtype": F32}, arr([3, 1], F32)),
    ("arange", [0.0, 1.0, 0.25], {"dtype": F64}, arr([0, 0.25, 0.5, 0.75])),
    ("asarray", [3.5], {"dtype": F64}, arr(3.5)),
    ("asarray", [0.1], {"dtype": F64}, arr(0.1)),
    ("asarray", [[[1, 2], [3, 4]]], {"dtype": I32}, arr([[1, 2], [3, 4]], I32)),
    ("asarray", [[]], {"dtype": F32}, arr([], F32)),
    ("asarray", [True], {}, arr(True, bool)),
    ("asarray", [[2**62 + 1]], {}, arr([2**62 + 1], I64)),
    ("asarray", [LINE], {"dtype": F64}, LINE.astype(F64)),
    ("asarray", [LINE], {}, LINE),
)
def test_new_arrays_lie_on_the_device_asked_for(backend, name, args, kwargs, expected):
    check(backend, name, args, {**kwargs, "device": backend.device}, expected)


def test_empty_has_its_shape_and_dtype(backend):
    TESTED.add("empty")
    found = backend.host(backend.xp.empty((2, 0, 3), dtype=backend.xp.int32, device=backend.device))
    assert (found.shape, found.dtype) == ((2, 0, 3), I32)


def test_python_numbers_make_the_default_dtypes(xp):
    default = xp.float64 if xp.name == "numpy" else xp.float32
    assert (
        xp.asarray(1.5).dtype == xp.asarray([1, 2.5]).dtype == xp.full((1,), 2.0).dtype == xp.zeros(1).dtype == default
    )
    assert xp.asarray(1).dtype == xp.arange(3).dtype == xp.full((1,), 2).dtype == xp.int64
    assert xp.asarray([True]).dtype == xp.full((1,), True).dtype == xp.bool


def test_copies_are_copies(backend):
    x = backend.xp.asarray([1.0, 2.0])
    for copy in (backend.xp.astype(x, x.dtype), backend.xp.asarray(x, copy=True)):
        copy[0] = 9.0
        assert float(x[0]) == 1.0


def test_dtypes_are_told_apart(xp):
    TESTED.update({"isdtype", "result_type", "finfo", "iinfo", "bool", "int32", "int64", "float32", "float64"})
    assert xp.isdtype(xp.float32, "real floating")
    assert not xp.isdtype(xp.int64, "real floating")
    assert xp.isdtype(xp.int32, "integral")
    assert xp.isdtype(xp.bool, ("bool", "integral"))
    assert not xp.isdtype(xp.bool, "numeric")
    assert xp.isdtype(xp.float64, xp.float64)
    assert not xp.isdtype(xp.float64, xp.float32)


def test_result_type_is_the_wider_dtype(xp):
    assert xp.result_type(xp.int32, xp.int64) == xp.int64
    assert xp.result_type(xp.asarray([1.0], dtype=xp.float32), xp.float64) == xp.float64
    assert xp.result_type(xp.asarray([1], dtype=xp.int32), xp.asarray([1], dtype=xp.int32)) == xp.int32


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_finfo_is_numpys_in_python_floats(backend, name):
    dtype, expected = getattr(backend.xp, name), np.finfo(name)
    for info in (backend.xp.finfo(dtype), backend.xp.finfo(backend.array(np.ones(2, name)))):
        assert (info.bits, info.dtype) == (expected.bits, dtype)
        for key in ("eps", "max", "min", "smallest_normal"):
            assert type(getattr(info, key)) is float
            assert getattr(info, key) == float(getattr(expected, key))


@pytest.mark.parametrize("name", ["int32", "int64"])
def test_iinfo_is_numpys_in_python_integers(backend, name):
    dtype, expected = getattr(backend.xp, name), np.iinfo(name)
    for info in (backend.xp.iinfo(dtype), backend.xp.iinfo(backend.array(np.ones(2, name)))):
        assert (info.bits, info.max, info.min, info.dtype) == (expected.bits, expected.max, expected.min, dtype)
        assert type(info.max) is type(info.min) is int


def test_nonzero_refuses_a_0d_array(backend):
    with pytest.raises((ValueError, RuntimeError)):  # torch's own refusal is kept
        backend.xp.nonzero(backend.array(np.asarray(1.0)))


def test_constants_are_python_floats(xp):
    TESTED.update({"inf", "nan", "pi", "name", "version"})
    assert (xp.inf, xp.pi) == (math.inf, math.pi)
    assert math.isnan(xp.nan)
    assert all(type(value) is float for value in (xp.inf, xp.nan, xp.pi))
    assert xp.name in _spec.FRAMEWORKS
    assert xp.version[0].isdigit()


def bce(logits, target, pos_weight=1.0):
    """From the definition, in float64."""
    logits, target = logits.astype(F64), target.astype(F64)
    return pos_weight * target * np.logaddexp(0, -logits) + (1 - target) * np.logaddexp(0, logits)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_bce_with_logits_is_stable_and_takes_a_pos_weight(backend, dtype):
    TESTED.add("bce_with_logits")
    logits = arr([[-800.0, 800.0, 0.5], [3.0, -2.0, 0.0]], dtype)
    target = arr([[1.0, 0.0, 1.0], [0.25, 0.5, 1.0]], dtype)
    check(backend, "bce_with_logits", [logits, target], {}, bce(logits, target).astype(dtype))
    for weight in (arr([2.0], dtype), arr([1.0, 2.0, 3.0], dtype)):
        expected = bce(logits, target, weight).astype(dtype)
        check(backend, "bce_with_logits", [logits, target], {"pos_weight": weight}, expected)
    nothing = np.zeros((0, 3), dtype)
    check(backend, "bce_with_logits", [nothing, nothing], {}, nothing)
    check(backend, "bce_with_logits", [nothing, nothing], {"pos_weight": arr([2.0], dtype)}, nothing)


@table(
    ("log_softmax", [arr([0.0, math.log(3.0)])], {}, np.log(arr([0.25, 0.75]))),
    ("log_softmax", [arr([10000.0, 0.0], F32)], {}, arr([0.0, -10000.0], F32)),
    ("log_softmax", [arr([[0.0, 1.0], [0.0, 1.0]], F32)], {"axis": 0}, np.full((2, 2), -math.log(2), F32)),
    ("log_softmax", [np.zeros((0, 3))], {}, np.zeros((0, 3))),
    ("detach", [arr([1.0, 2.0])], {}, arr([1.0, 2.0])),
)
def test_log_softmax_and_detach(backend, name, args, kwargs, expected):
    check(backend, name, args, kwargs, expected)


@pytest.mark.parametrize("dtype", [bool, I32, I64, F32, F64])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_numpy_arrays_come_back_as_they_went(backend, dtype, shape):
    TESTED.update({"from_numpy", "to_numpy", "in_host_memory", "device_of", "to_device", "devices"})
    host = np.ones(shape, dtype)
    x = backend.xp.from_numpy(host, device=backend.device)
    assert backend.xp.device_of(x).startswith(backend.device)
    assert backend.xp.device_of(x) in backend.xp.devices()
    assert_same(backend.xp.to_numpy(x), host)
    assert_same(backend.host(backend.xp.to_device(x, backend.device)), host)


def test_from_numpy_takes_any_strides_and_read_only_memory(backend):
    host = np.arange(12.0).reshape(3, 4)
    host.setflags(write=False)
    for view in (host[::-1], host.T, host[:, ::2], host):
        assert_same(backend.host(backend.xp.from_numpy(view, device=backend.device)), view)


def test_to_numpy_is_a_view_where_the_array_lies_in_host_memory(backend):
    x = backend.xp.zeros((2, 2), dtype=backend.xp.float32, device=backend.device)
    assert backend.xp.in_host_memory(x) == (backend.device == "cpu")
    if backend.device == "cpu":
        backend.xp.to_numpy(x)[0, 1] = 7.0
        assert float(x[0, 1]) == 7.0


def test_overwrite_keeps_the_memory_and_casts(backend):
    TESTED.add("overwrite")
    x = backend.xp.ones((2,), dtype=backend.xp.float32, device=backend.device)
    part = x[1:]
    backend.xp.overwrite(x, backend.array(arr([5.0, 6.0], F64)))
    assert_same(backend.host(x), arr([5.0, 6.0], F32))
    assert float(part[0]) == 6.0


@pytest.mark.parametrize("rows", [[2, 0, 2, 2], []], ids=["rows", "no rows"])
def test_add_rows_adds_equal_rows_up_in_the_same_memory(backend, rows):
    TESTED.add("add_rows")
    x = backend.array(np.zeros((3, 2), F32))
    x = x.copy() if backend.name == "numpy" else x
    values = np.arange(2 * len(rows), dtype=F32).reshape(-1, 2)
    backend.xp.add_rows(x, backend.array(arr(rows, I64)), backend.array(values))
    expected = np.zeros((3, 2), F32)
    for row, value in zip(rows, values):
        expected[row] += value
    assert_same(backend.host(x), expected)


def test_a_device_that_is_not_there_is_refused(backend):
    with pytest.raises((ValueError, RuntimeError, AssertionError)):
        backend.xp.to_device(backend.array(LINE), "cuda:63")


def test_a_process_that_is_alone_is_the_first_of_one(xp):
    TESTED.update({"ranks", "sum_over_ranks"})  # of several: tests/yolov5/test_distributed.py
    assert xp.ranks() == (0, 1)
    if xp.name == "numpy":  # which has no group that could be larger
        assert xp.sum_over_ranks(np.asarray([1.0, 2.0])).tolist() == [1.0, 2.0]


def test_the_class_of_modules_is_the_frameworks_own(xp):
    TESTED.add("Module")  # its use: tests/training/test_loss_modules.py
    assert xp.Module is (None if xp.name == "numpy" else __import__(xp.name).nn.Module)


def test_every_name_of_the_spec_is_there_and_has_a_test(xp):
    assert [name for name in _spec.NAMES if not hasattr(xp, name)] == []
    assert set(_spec.NAMES) - TESTED == {
        "why_refused",  # in test_refused_arrays.py
        "__array_api_version__",  # in test_standard.py, as the next
        "__array_namespace_info__",
    }
