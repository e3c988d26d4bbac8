"""The namespaces against the text of the Python array API standard: whatever hypothesis finds, on every backend.

Beside the official suite, data-apis/array-api-tests, which ci/array-api runs on a checkout: shapes, dtypes and values
are drawn here, and the answers come from NumPy or from the standard's own lists of special cases. What a backend cannot
do is in `LIMITS` of backends/_spec.py, and is seen here to be so. ANCHORLIB_EXAMPLES=200 for a longer run.
"""

from __future__ import annotations

import math
import os
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anchorlib.backends._spec import DTYPES, KINDS, LIMITS, STANDARD, TAKES

INF, NAN = math.inf, math.nan
tried = settings(deadline=None, max_examples=int(os.environ.get("ANCHORLIB_EXAMPLES", "8")))
FLOATS, INTS = ("float32", "float64"), ("int32", "int64")
ORACLE = {"atan": np.arctan, "pow": np.power}
ROUNDED = {"exp", "log", "log1p", "log2", "sqrt", "atan", "pow"}  # the frameworks have their own; 4 ulp
TOLERANCE = {"float32": 4e-7, "float64": 2e-15}
ONE = ("abs", "negative", "square", "sign", "floor", "ceil", "trunc", "round", "exp", "log", "log1p", "log2", "sqrt",
       "atan", "isfinite", "isinf", "isnan", "logical_not")  # fmt: skip
TWO = ("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "minimum", "maximum", "pow", "equal",
       "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or",
       "logical_xor")  # fmt: skip
REDUCTIONS = ("min", "max", "sum", "prod", "mean", "any", "all")
REFUSED = (IndexError, ValueError, RuntimeError, TypeError)  # an axis that is not there; torch's own choice is kept

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
SMALL = st.integers(-5, 5)
SPECIAL = st.sampled_from(  # all are float32 values
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, INF, -INF, NAN, 2.0**100, -(2.0**100), 2.0**-140, 0.1015625]
)


def values(dtype, *, whole=SMALL, floats=SPECIAL):
    return {"b": st.booleans(), "i": whole, "f": floats}[np.dtype(dtype).kind]


def arrays(dtype, shape=SHAPES, **elements):
    return hnp.arrays(dtype, shape, elements=values(dtype, **elements))


def cases(names):
    """Every function with every dtype that it takes, by the standard."""
    rows = [(name, dtype) for name in names for dtype in KINDS[TAKES[name]]]
    return pytest.mark.parametrize(("name", "dtype"), rows, ids=[f"{name}-{dtype}" for name, dtype in rows])


def able(backend, name, dtype):
    return dtype not in LIMITS[backend.name].get(name, ((),))[0]


def call(backend, name, *args, **kwargs):
    """The function's answer as NumPy, and a check that no input was written to."""
    inputs = [backend.array(x) if isinstance(x, np.ndarray) else x for x in args]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's Mean of empty slice
        found = getattr(backend.xp, name)(*inputs, **kwargs)
    for before, after in zip(args, inputs):
        if isinstance(before, np.ndarray):
            assert backend.host(after).tobytes() == before.tobytes()
    return backend.host(np.asarray(found) if isinstance(found, np.generic) else found)


def assert_same(found, expected, *, rtol=0.0, zeros=False):
    expected = np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=0)
    if zeros and found.dtype.kind == "f":
        at_zero = np.asarray(expected == 0)
        assert (np.signbit(found)[at_zero] == np.signbit(expected)[at_zero]).all()


def oracle(name, *args):
    """NumPy's answer: in float64 and then rounded for what is not exact, in the dtype itself for the rest."""
    function = ORACLE.get(name) or getattr(np, name)
    with np.errstate(all="ignore"):
        if name not in ROUNDED:
            return np.asarray(function(*args))
        return np.asarray(function(*[x.astype(np.float64) for x in args])).astype(args[0].dtype)


# ---- entry by entry


@cases(ONE)
@tried
@given(data=st.data())
def test_a_function_of_one_array(backend, name, dtype, data):
    x = data.draw(arrays(dtype))
    expected = oracle(name, x)
    if name in ("floor", "ceil", "trunc", "round") and x.dtype.kind == "i":
        expected = x  # NumPy before 2.1 made float64 of them; the standard keeps the dtype
    if name in ("log", "log2", "log1p") and dtype == "float32":
        assume(not (np.isfinite(x) & (np.abs(x) < 1e-38) & (x != 0)).any())  # subnormals: an implementation's own
    rtol = TOLERANCE[dtype] if name in ROUNDED else 0.0
    assert_same(call(backend, name, x), expected, rtol=rtol, zeros=name not in ("negative", "sign", "floor", "ceil"))


@cases(TWO)
@tried
@given(data=st.data())
def test_a_function_of_two_arrays_that_broadcast(backend, name, dtype, data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3))
    whole = st.integers(0, 5) if name == "pow" else SMALL
    x1, x2 = (data.draw(arrays(dtype, shape, whole=whole)) for shape in shapes.input_shapes)
    if name in ("floor_divide", "remainder"):  # by 0 of integers and with infinities: an implementation's own
        assume(np.isfinite(x1).all() and np.isfinite(x2).all() and x2.all() and (np.abs(x2) > 1e-30).all())
        assume(x1.dtype.kind == "i" or ((np.abs(x1) > 1e-30) & (np.abs(x1 / x2) < 1e6)).all())
    if not able(backend, name, dtype):
        return
    rtol = TOLERANCE.get(dtype, 0.0) if name in ROUNDED else 0.0
    assert_same(call(backend, name, x1, x2), oracle(name, x1, x2), rtol=rtol)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "minimum", "maximum", "less", "equal", "greater"])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
@tried
@given(data=st.data())
def test_a_python_number_takes_the_dtype_of_the_array_beside_it(backend, name, dtype, data):
    x = data.draw(arrays(dtype, hnp.array_shapes(min_side=0, max_dims=3)))  # NumPy 1 has rules of its own for 0-d
    number = data.draw(SMALL if dtype in INTS else SPECIAL | SMALL)
    beside = np.asarray(number, dtype)
    assert_same(call(backend, name, x, number), oracle(name, x, beside))


@pytest.mark.parametrize("name", ["add", "multiply", "minimum", "less_equal", "not_equal"])
@tried
@given(data=st.data())
def test_two_dtypes_of_one_kind_meet_in_the_wider(backend, name, data):
    """With at least one dimension each; test_promotion.py has 0-d arrays."""
    first, second = data.draw(st.permutations(data.draw(st.sampled_from([FLOATS, INTS]))))
    x1 = data.draw(arrays(first, (3,)))
    x2 = data.draw(arrays(second, (2, 3)))
    wide = np.promote_types(first, second)
    assert_same(call(backend, name, x1, x2), oracle(name, x1.astype(wide), x2.astype(wide)))


SIGN_OF_ZERO = {("oneflow", "add")}  # -0.0 + -0.0 is 0.0 there in float64, and -0.0 in float32

#: From the standard's lists of special cases. A zero's sign counts.
SPECIAL_CASES = [
    *[("divide", a, b, e) for a, b, e in [
        (0.0, 0.0, NAN), (-0.0, 0.0, NAN), (INF, INF, NAN), (INF, -INF, NAN), (0.0, 1.0, 0.0), (0.0, -1.0, -0.0),
        (-0.0, 2.0, -0.0), (-0.0, -2.0, 0.0), (3.0, 0.0, INF), (3.0, -0.0, -INF), (-3.0, 0.0, -INF), (-3.0, -0.0, INF),
        (INF, 2.0, INF), (INF, -2.0, -INF), (2.0, INF, 0.0), (2.0, -INF, -0.0), (NAN, 1.0, NAN), (1.0, NAN, NAN)]],
    *[("floor_divide", a, b, e) for a, b, e in [
        (7.0, 2.0, 3.0), (-7.0, 2.0, -4.0), (7.0, -2.0, -4.0), (-7.0, -2.0, 3.0), (NAN, 1.0, NAN), (1.0, NAN, NAN),
        (INF, INF, NAN), (0.0, 0.0, NAN), (1.0, 0.1, 9.0), (6.0, 3.0, 2.0)]],
    *[("remainder", a, b, e) for a, b, e in [
        (7.0, 2.0, 1.0), (-7.0, 2.0, 1.0), (7.0, -2.0, -1.0), (-7.0, -2.0, -1.0), (NAN, 1.0, NAN), (1.0, NAN, NAN),
        (INF, 2.0, NAN), (-INF, 2.0, NAN), (3.0, 0.0, NAN), (0.0, 0.0, NAN), (0.0, 3.0, 0.0), (2.0, INF, 2.0),
        (-2.0, -INF, -2.0)]],
    *[("pow", a, b, e) for a, b, e in [
        (2.0, 3.0, 8.0), (NAN, 0.0, 1.0), (NAN, 1.0, NAN), (3.0, 0.0, 1.0), (3.0, -0.0, 1.0), (2.0, INF, INF),
        (2.0, -INF, 0.0), (0.5, INF, 0.0), (0.5, -INF, INF), (INF, 2.0, INF), (INF, -2.0, 0.0), (-INF, 3.0, -INF),
        (-INF, 2.0, INF), (-INF, -2.0, 0.0), (0.0, 2.0, 0.0), (0.0, -2.0, INF), (-0.0, 2.0, 0.0),
        (-2.0, 0.5, NAN), (1.0, INF, 1.0), (1.0, NAN, 1.0)]],
    *[("multiply", a, b, e) for a, b, e in [
        (INF, 0.0, NAN), (-INF, 0.0, NAN), (INF, -2.0, -INF), (0.0, -1.0, -0.0), (NAN, 0.0, NAN)]],
    *[("add", a, b, e) for a, b, e in [
        (INF, -INF, NAN), (INF, INF, INF), (INF, 1.0, INF), (0.0, -0.0, 0.0), (-0.0, -0.0, -0.0), (NAN, INF, NAN)]],
    *[(name, a, b, NAN) for name in ("minimum", "maximum") for a, b in [(NAN, 1.0), (1.0, NAN), (NAN, INF)]],
    ("minimum", INF, -INF, -INF), ("maximum", INF, -INF, INF), ("minimum", 1.0, INF, 1.0),
    *[(name, a, None, a) for name in ("floor", "ceil", "trunc", "round", "sqrt") for a in (0.0, -0.0, INF)],
    *[(name, -INF, None, -INF) for name in ("floor", "ceil", "trunc", "round")],
    *[(name, NAN, None, NAN) for name in ("floor", "ceil", "trunc", "round", "sign", "sqrt", "exp", "log", "log1p",
                                          "log2", "atan", "abs", "square")],
    ("round", 0.5, None, 0.0), ("round", 1.5, None, 2.0), ("round", 2.5, None, 2.0), ("round", -0.5, None, -0.0),
    ("round", -1.5, None, -2.0), ("ceil", -0.5, None, -0.0), ("trunc", -0.5, None, -0.0), ("floor", -0.5, None, -1.0),
    ("sign", INF, None, 1.0), ("sign", -INF, None, -1.0), ("sign", -0.0, None, 0.0), ("sign", -3.5, None, -1.0),
    ("abs", -0.0, None, 0.0), ("abs", -INF, None, INF), ("negative", 0.0, None, -0.0), ("negative", INF, None, -INF),
    ("exp", 0.0, None, 1.0), ("exp", INF, None, INF), ("exp", -INF, None, 0.0), ("log", 0.0, None, -INF),
    ("log", -1.0, None, NAN), ("log", 1.0, None, 0.0), ("log", INF, None, INF), ("log1p", -1.0, None, -INF),
    ("log1p", -2.0, None, NAN), ("log1p", -0.0, None, -0.0), ("log1p", INF, None, INF), ("log2", 8.0, None, 3.0),
    ("log2", 0.0, None, -INF), ("log2", -1.0, None, NAN), ("sqrt", -1.0, None, NAN), ("atan", -0.0, None, -0.0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", sorted({row[0] for row in SPECIAL_CASES}))
def test_the_special_cases_of_the_standard(backend, name, dtype):
    rows = [row[1:] for row in SPECIAL_CASES if row[0] == name]
    arity = 1 if rows[0][1] is None else 2
    columns = [np.asarray(column, dtype) for column in zip(*[(*row[:arity], row[2]) for row in rows])]
    rtol = TOLERANCE[dtype] if name in ROUNDED else 0.0
    zeros = (backend.name, name) not in SIGN_OF_ZERO
    many = [np.tile(column, 9) for column in columns]  # a loop of vectors and one of single entries may differ
    assert_same(call(backend, name, *many[:-1]), many[-1], rtol=rtol, zeros=zeros)
    for row in zip(*columns):
        found = call(backend, name, *[np.asarray(x) for x in row[:-1]])
        assert_same(found, np.asarray(row[-1]), rtol=rtol, zeros=zeros)


@tried
@given(data=st.data())
def test_where_and_clip(backend, data):
    dtype = data.draw(st.sampled_from(DTYPES["numpy"]))
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=0, max_side=3))
    condition, x1, x2 = (data.draw(arrays(d, s)) for d, s in zip(("bool", dtype, dtype), shapes.input_shapes))
    assert_same(call(backend, "where", condition, x1, x2), np.where(condition, x1, x2))
    if dtype != "bool":
        low, high = sorted(data.draw(st.tuples(SMALL, SMALL)))
        with np.errstate(all="ignore"):
            expected = np.minimum(np.maximum(x1, np.asarray(low, dtype)), np.asarray(high, dtype))
        assert_same(call(backend, "clip", x1, min=low, max=high), expected)


# ---- over axes


def axes_for(data, shape, *, tuples=True):
    ndim = len(shape)
    choices = [st.none()]
    if ndim:
        choices.append(st.integers(-ndim, ndim - 1))
        if tuples:
            choices.append(hnp.valid_tuple_axes(ndim, min_size=1))
    return data.draw(st.one_of(choices))


@cases(REDUCTIONS)
@tried
@given(data=st.data(), keepdims=st.booleans())
def test_a_reduction(backend, name, dtype, data, keepdims):
    exact = st.sampled_from([0.0, 1.0, 2.0, -1.0, 0.5, INF, NAN])  # sums of these do not round
    x = data.draw(arrays(dtype, floats=exact))
    axis = axes_for(data, x.shape)
    over = range(x.ndim) if axis is None else [a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))]
    if name in ("min", "max") and any(x.shape[i] == 0 for i in over):
        with pytest.raises(REFUSED):
            call(backend, name, x, axis=axis, keepdims=keepdims)
        return
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.asarray(getattr(np, name)(x, axis=axis, keepdims=keepdims))
    found = call(backend, name, x, axis=axis, keepdims=keepdims)
    assert_same(found, expected, rtol=TOLERANCE.get(dtype, 0) if name == "mean" else 0)


@pytest.mark.parametrize("name", ["sum", "prod"])
@pytest.mark.parametrize("dtype", DTYPES["numpy"][1:])
@pytest.mark.parametrize("wanted", DTYPES["numpy"][1:])
def test_a_sum_is_taken_in_the_dtype_that_is_asked_for(backend, name, dtype, wanted):
    if np.dtype(dtype).kind == "f" and np.dtype(wanted).kind == "i":
        return  # not asked for by the standard
    x = np.asarray([[3, 1], [2, 2]], dtype)
    for axis, expected in ((None, [8, 12]), (0, [[5, 3], [6, 2]])):
        found = call(backend, name, x, axis=axis, dtype=getattr(backend.xp, wanted))
        assert_same(found, np.asarray(expected[name == "prod"], wanted))


@pytest.mark.parametrize("name", ["argmin", "argmax"])
@tried
@given(data=st.data(), keepdims=st.booleans())
def test_the_index_of_an_extreme_is_the_first_of_equals(backend, name, data, keepdims):
    dtype = data.draw(st.sampled_from([*INTS, *FLOATS]))
    x = data.draw(arrays(dtype, whole=st.integers(0, 2), floats=st.sampled_from([0.0, 1.0, INF, -INF])))
    axis = axes_for(data, x.shape, tuples=False)
    over = x.shape if axis is None else (x.shape[axis],)
    if 0 in over:
        with pytest.raises(REFUSED):
            call(backend, name, x, axis=axis, keepdims=keepdims)
        return
    along = x.reshape(-1) if axis is None else x
    expected = np.asarray(getattr(np, name)(along, axis=0 if axis is None else axis))
    if keepdims:
        shape = [1] * x.ndim if axis is None else [1 if i == axis % x.ndim else n for i, n in enumerate(x.shape)]
        expected = expected.reshape(shape)
    assert_same(call(backend, name, x, axis=axis, keepdims=keepdims), expected)


@tried
@given(data=st.data(), descending=st.booleans())
def test_sorting_is_stable_both_ways(backend, data, descending):
    dtype = data.draw(st.sampled_from([*INTS, *FLOATS]))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=20))
    x = data.draw(arrays(dtype, shape, whole=st.integers(-2, 2), floats=st.sampled_from([0.5, -1.0, INF, -INF, 2.0])))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    order = np.argsort(-x if descending else x, axis=axis, kind="stable")
    assert_same(call(backend, "argsort", x, axis=axis, descending=descending, stable=True), order)
    expected = np.take_along_axis(x, order, axis)
    assert_same(call(backend, "sort", x, axis=axis, descending=descending, stable=True), expected)


@pytest.mark.parametrize("descending", [False, True])
def test_sorting_is_stable_if_nothing_is_said(backend, descending):
    x = np.random.default_rng(0).integers(0, 5, 5000).astype(np.float32)  # more than a sort by insertion takes
    order = np.argsort(-x if descending else x, kind="stable")
    assert_same(call(backend, "argsort", x, descending=descending), order)


@tried
@given(data=st.data(), include_initial=st.booleans())
def test_a_running_sum(backend, data, include_initial):
    dtype = data.draw(st.sampled_from(DTYPES["numpy"]))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    x = data.draw(arrays(dtype, shape, floats=st.sampled_from([0.5, -1.0, 2.0])))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    expected = np.cumsum(x, axis=axis)
    if include_initial:
        first = np.zeros([1 if i == axis % x.ndim else n for i, n in enumerate(shape)], expected.dtype)
        expected = np.concatenate([first, expected], axis=axis)
    assert_same(call(backend, "cumulative_sum", x, axis=axis, include_initial=include_initial), expected)


@tried
@given(data=st.data(), side=st.sampled_from(["left", "right"]))
def test_searchsorted(backend, data, side):
    dtype = data.draw(st.sampled_from([*INTS, *FLOATS]))
    floats = st.sampled_from([0.5, -1.0, 2.0, INF, -INF])
    x1 = np.sort(data.draw(arrays(dtype, st.integers(0, 9).map(lambda n: (n,)), floats=floats)))
    x2 = data.draw(arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=4), floats=floats))
    assert_same(call(backend, "searchsorted", x1, x2, side=side), np.searchsorted(x1, x2, side=side))


AXIS = (*REDUCTIONS, "argmin", "argmax", "argsort", "sort", "cumulative_sum", "flip", "squeeze", "expand_dims",
        "concat", "stack", "take", "permute_dims")  # fmt: skip


@pytest.mark.parametrize("name", AXIS)
@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (1,)], ids=str)
def test_an_axis_that_is_not_there_is_refused(backend, name, shape):
    x = np.ones(shape, bool if name in ("any", "all") else np.float32)
    there = backend.array(x)
    for axis in (len(shape) + 1, -len(shape) - 2):
        args, kwargs = [there], {"axis": axis}
        if name in ("concat", "stack"):
            args = [[there, there]]
        elif name == "take":
            args = [there, backend.array(np.zeros(1, np.int64))]
        elif name == "permute_dims":
            args, kwargs = [there, (axis, *range(1, len(shape)))], {}
        with pytest.raises(REFUSED):
            getattr(backend.xp, name)(*args, **kwargs)


# ---- shapes


@tried
@given(data=st.data())
def test_shapes(backend, data):
    dtype = data.draw(st.sampled_from(DTYPES["numpy"]))
    x = data.draw(arrays(dtype))
    ndim = x.ndim
    assert_same(call(backend, "reshape", x, (-1,) if x.size else (x.size,)), x.reshape(x.size))
    order = tuple(data.draw(st.permutations(range(ndim))))
    assert_same(call(backend, "permute_dims", x, order), x.transpose(order))
    new = data.draw(st.integers(-ndim - 1, ndim))
    wider = np.expand_dims(x, new)
    assert_same(call(backend, "expand_dims", x, axis=new), wider)
    assert_same(call(backend, "squeeze", wider, axis=new), x)
    axis = axes_for(data, x.shape)
    assert_same(call(backend, "flip", x, axis=axis), np.flip(x, axis=axis))
    stretched = [data.draw(st.integers(0, 3)) if length == 1 else length for length in x.shape]
    target = (*data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)), *stretched)
    assert_same(call(backend, "broadcast_to", x, target), np.broadcast_to(x, target))


@tried
@given(data=st.data())
def test_joining_and_taking(backend, data):
    dtype = data.draw(st.sampled_from(DTYPES["numpy"]))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3))
    parts = [data.draw(arrays(dtype, shape)) for _ in range(data.draw(st.integers(1, 3)))]
    there = [backend.array(part) for part in parts]
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    assert_same(backend.host(backend.xp.concat(there, axis=axis)), np.concatenate(parts, axis=axis))
    assert_same(backend.host(backend.xp.stack(there, axis=axis)), np.stack(parts, axis=axis))
    flat = np.concatenate([part.reshape(-1) for part in parts])
    assert_same(backend.host(backend.xp.concat(there, axis=None)), flat)
    if shape[axis]:
        rows = data.draw(hnp.arrays(np.int64, st.integers(0, 4), elements=st.integers(0, shape[axis] - 1)))
        assert_same(call(backend, "take", parts[0], rows, axis=axis), np.take(parts[0], rows, axis=axis))


@tried
@given(data=st.data())
def test_nonzero(backend, data):
    x = data.draw(arrays(data.draw(st.sampled_from(DTYPES["numpy"])), hnp.array_shapes(min_side=0, max_dims=3)))
    found = backend.xp.nonzero(backend.array(x))
    assert len(found) == x.ndim
    for one, expected in zip(found, np.nonzero(x)):
        assert_same(backend.host(one), expected)


# ---- new arrays, dtypes


@pytest.mark.parametrize("dtype", DTYPES["numpy"])
@tried
@given(shape=SHAPES, data=st.data())
def test_new_arrays(backend, dtype, shape, data):
    xp, kwargs = backend.xp, {"dtype": getattr(backend.xp, dtype), "device": backend.device}
    value = data.draw(values(dtype))
    like = backend.array(np.ones(shape, np.int32))
    for name, args, fill in (("zeros", [], 0), ("ones", [], 1), ("full", [value], value)):
        expected = np.full(shape, fill, dtype)
        assert_same(backend.host(getattr(xp, name)(shape, *args, **kwargs)), expected)
        assert_same(backend.host(getattr(xp, f"{name}_like")(like, *args, **kwargs)), expected)
        flat = getattr(xp, name)(3, *args, **kwargs)  # a whole number is a shape
        assert_same(backend.host(flat), np.full(3, fill, dtype))
    empty = backend.host(xp.empty(shape, **kwargs))
    assert (empty.shape, empty.dtype) == (shape, np.dtype(dtype))
    x = np.asarray(data.draw(arrays(dtype, shape)).tolist(), dtype)  # a list of nothing forgets its other lengths
    assert_same(backend.host(xp.asarray(x.tolist(), **kwargs)), x)


@pytest.mark.parametrize("dtype", [*INTS, *FLOATS])
@tried
@given(start=st.integers(-9, 9), stop=st.integers(-9, 9), step=st.integers(-3, 3).filter(bool))
def test_arange(backend, dtype, start, stop, step):
    found = backend.xp.arange(start, stop, step, dtype=getattr(backend.xp, dtype), device=backend.device)
    assert_same(backend.host(found), np.arange(start, stop, step, dtype=dtype))
    assert_same(backend.host(backend.xp.arange(stop, device=backend.device)), np.arange(stop, dtype=np.int64))


@pytest.mark.parametrize("target", DTYPES["numpy"])
@tried
@given(data=st.data())
def test_a_cast(backend, target, data):
    """Of what the target can hold: beyond that the standard leaves it open. NaN and infinity are true."""
    source = data.draw(st.sampled_from(DTYPES["numpy"]))
    floats = SPECIAL if np.dtype(target).kind in "fb" else st.sampled_from([0.0, -0.0, 1.5, -1.5, 7.0])
    x = data.draw(arrays(source, floats=floats))
    with np.errstate(all="ignore"):
        expected = x.astype(target)
    assert_same(call(backend, "astype", x, getattr(backend.xp, target)), expected)


def test_the_table_of_promotion(xp):
    """Within a kind, the wider dtype; the standard leaves the rest open."""
    for kind in (FLOATS, INTS):
        for first in kind:
            for second in kind:
                wide = getattr(xp, np.promote_types(first, second).name)
                one, two = (xp.zeros((2,), dtype=getattr(xp, name)) for name in (first, second))
                for args in ((one.dtype, two.dtype), (one, two), (one, two.dtype)):
                    assert xp.result_type(*args) == wide
    assert xp.result_type(xp.bool, xp.bool) == xp.bool


@pytest.mark.parametrize("dtype", DTYPES["numpy"])
def test_isdtype(xp, dtype):
    kinds = {
        "bool": dtype == "bool", "signed integer": dtype in INTS, "unsigned integer": False, "integral": dtype in INTS,
        "real floating": dtype in FLOATS, "complex floating": False, "numeric": dtype != "bool",
    }  # fmt: skip
    this = getattr(xp, dtype)
    for kind, is_it in kinds.items():
        assert xp.isdtype(this, kind) is is_it
        assert xp.isdtype(this, (kind, this)) is True
    for other in DTYPES["numpy"]:
        assert xp.isdtype(this, getattr(xp, other)) is (dtype == other)


# ---- how they are called, and what they do not do

#: name -> calls as the standard spells them: every keyword by its name. `x` is [[1., 2.], [3., 4.]].
CALLS = {
    "asarray": [((1,), {"dtype": "float32", "device": None, "copy": None})],
    "arange": [((0,), {"stop": 4, "step": 2, "dtype": "int64", "device": None})],
    **{name: [(((2,),), {"dtype": "float32", "device": None})] for name in ("zeros", "ones", "empty")},
    "full": [(((2,), 1), {"dtype": "float32", "device": None}), ((), {"shape": (2,), "fill_value": 1.0})],
    **{name: [(("x",), {"dtype": "int32", "device": None})] for name in ("zeros_like", "ones_like")},
    "full_like": [(("x", 1), {"dtype": "int32", "device": None})],
    "astype": [(("x", "int64"), {"copy": False})],
    "clip": [(("x",), {"min": 1.5, "max": 2}), (("x", 1.5, 2), {}), (("x",), {"min": None, "max": None})],
    **{name: [(("x",), {"axis": None, "keepdims": True}), (("x",), {"axis": (0, 1), "keepdims": False})]
       for name in ("min", "max", "mean", "any", "all")},
    **{name: [(("x",), {"axis": 0, "dtype": "float64", "keepdims": True})] for name in ("sum", "prod")},
    **{name: [(("x",), {"axis": 1, "keepdims": True})] for name in ("argmin", "argmax")},
    "cumulative_sum": [(("x",), {"axis": 0, "dtype": "float64", "include_initial": True})],
    **{name: [(("x",), {"axis": 0, "descending": True, "stable": False})] for name in ("argsort", "sort")},
    "take": [(("x", "rows"), {"axis": 0})],
    "searchsorted": [(("line", "line"), {"side": "left", "sorter": None}), (("line", "line"), {"sorter": "rows"})],
    "reshape": [(("x", (4,)), {"copy": None}), (("x",), {"shape": (4,), "copy": True})],
    "expand_dims": [(("x",), {"axis": 0})],
    "squeeze": [(("row",), {"axis": 0}), (("row", 0), {})],
    "broadcast_to": [(("x",), {"shape": (2, 2, 2)})],
    "concat": [((["x", "x"],), {"axis": 1})],
    "stack": [((["x", "x"],), {"axis": 1})],
    "flip": [(("x",), {"axis": None})],
    "permute_dims": [(("x",), {"axes": (1, 0)})],
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_function_takes_its_keywords_by_their_names(backend, name):
    xp = backend.xp
    known = {
        "x": np.asarray([[1.0, 2.0], [3.0, 4.0]], np.float32), "row": np.ones((1, 3)),
        "line": np.asarray([1.0, 2.0]), "rows": np.asarray([0, 1]),
    }  # fmt: skip

    def real(value):
        if isinstance(value, list):
            return [real(one) for one in value]
        if isinstance(value, str) and value in known:
            return backend.array(known[value])
        return getattr(xp, value) if isinstance(value, str) and value in DTYPES["numpy"] else value

    for args, kwargs in CALLS[name]:
        getattr(xp, name)(*map(real, args), **{key: real(value) for key, value in kwargs.items()})


@pytest.mark.parametrize("name", TAKES)
def test_a_limit_that_is_declared_is_one(backend, name):
    """What a backend is said not to take does fail, or gives another answer: or the page would say too little."""
    dtypes = LIMITS[backend.name].get(name, ((), ""))[0]
    for dtype in dtypes:
        x = np.asarray([3, 2, -1], dtype)
        try:
            found = call(backend, name, x, x) if name in TWO else call(backend, name, x)
        except REFUSED:
            continue
        assert found.dtype != np.dtype(dtype) or not np.array_equal(found, oracle(name, x, x))


def test_every_function_of_the_standard_is_tried_here():
    tried = {*ONE, *TWO, *REDUCTIONS, *CALLS, "where", "nonzero", "result_type", "isdtype"}
    constants = {*DTYPES["numpy"], "inf", "nan", "pi", "finfo", "iinfo"}  # test_namespaces has them
    assert set(STANDARD) == tried | constants
