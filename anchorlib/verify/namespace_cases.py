"""Compare the functions of a namespace with NumPy's: one case for each name."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.backends import EXTRAS
from anchorlib.verify.cases import Case, Cases
from anchorlib.verify.targets import Target

_SPECIAL = [-math.inf, -1e30, -2.5, -1.5, -0.5, 0.0, 0.5, 1.0, 1.5, 2.5, 3.75, 80.0, 1e30, math.inf, math.nan]
_ROUNDED = 4e-6  # relative to the largest entry: frameworks have their own exp, log and atan

#: name -> NumPy's function of one array
ONE = {
    "abs": np.abs, "negative": np.negative, "square": np.square, "sign": np.sign, "floor": np.floor, "ceil": np.ceil,
    "trunc": np.trunc, "round": np.rint, "isfinite": np.isfinite, "isinf": np.isinf, "isnan": np.isnan,
}  # fmt: skip
#: the same, compared with a tolerance
ONE_ROUNDED = {
    "exp": np.exp, "log": np.log, "log1p": np.log1p, "log2": np.log2, "sqrt": np.sqrt, "atan": np.arctan,
    "sigmoid": lambda x: np.exp(-np.logaddexp(0, -x)),
}  # fmt: skip
TWO = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
    "floor_divide": np.floor_divide, "remainder": np.remainder, "minimum": np.minimum, "maximum": np.maximum,
    "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
    "greater": np.greater, "greater_equal": np.greater_equal,
}  # fmt: skip
TRUTHS = {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}
REDUCED = {"min": np.min, "max": np.max, "argmin": np.argmin, "argmax": np.argmax}
ORDERED = {
    "argsort": lambda x: np.argsort(x, axis=-1, kind="stable"),
    "sort": lambda x: np.sort(x, axis=-1, kind="stable"),
    "flip": lambda x: np.flip(x, axis=-1),
    "cumulative_sum": lambda x: np.cumsum(x, axis=-1),
}

_DIVIDING = ("floor_divide", "remainder")

Arguments = tuple[Any, ...]
Row = tuple[str, Callable[..., Any], Callable[..., Any], Arguments, float]  # label, ours, NumPy's, arguments, rtol


def cases(seed: int) -> list[Case]:
    """Return a case for each name: its calls with several dtypes, axes and values, against NumPy's own function."""
    made = Cases("functions", seed)
    rng = made.rng()
    calls: dict[str, list[Row]] = {}
    for make in (_entry_by_entry, _reductions, _order, _shapes, _rows, _losses):
        for row in make(rng):
            calls.setdefault(row[0].split()[0], []).append(row)
    for name, rows in calls.items():
        (rtol,) = {row[-1] for row in rows}  # one tolerance for all calls of a name
        run, expected = functools.partial(_found, rows), functools.partial(_expected, rows)
        made.add(name, run, expected, rtol=rtol, is_numpys=name not in EXTRAS)
    return made.made


def _found(rows: list[Row], target: Target) -> dict[str, HostArray]:
    answers: dict[str, HostArray] = {}
    for label, ours, _, arguments, _ in rows:
        answers.update(_label(label, ours(target.xp, *(_given(target, value) for value in arguments)), target.host))
    return answers


def _expected(rows: list[Row]) -> dict[str, HostArray]:
    answers: dict[str, HostArray] = {}
    for label, _, numpys, arguments, _ in rows:
        answers.update(_label(label, numpys(*arguments), np.asarray))
    return answers


def _given(target: Target, value: Any) -> Any:
    return target.array(value) if isinstance(value, np.ndarray) else value


def _label(label: str, result: Any, host: Callable[[Any], HostArray]) -> dict[str, HostArray]:
    parts = result if isinstance(result, (tuple, list)) else [result]
    return {f"{label} {i}" if len(parts) > 1 else label: host(part) for i, part in enumerate(parts)}


def _method(name: str, **options: Any) -> Callable[..., Any]:
    return lambda xp, *arguments: getattr(xp, name)(*arguments, **options)


def _floats(rng: np.random.Generator, n: int, dtype: Any) -> HostArray:
    """Return numbers of many magnitudes, and those that frameworks treat differently."""
    values = rng.integers(-(2**23), 2**23, n) * 2.0 ** rng.integers(-30, 10, n)
    return rng.permutation(np.concatenate([_SPECIAL, values])).astype(dtype)


def _entry_by_entry(rng: np.random.Generator) -> list[Row]:
    rows: list[Row] = []
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        x, y = _floats(rng, 50, dtype), _floats(rng, 50, dtype)
        y[y == 0] = 3.0  # a division by 0 has its own sign of infinity or NaN
        small = rng.uniform(0.01, 20, 64).astype(dtype)
        rows += [(f"{name} {kind}", _method(name), function, (x,), 0.0) for name, function in ONE.items()]
        for name, function in ONE_ROUNDED.items():
            numpys: Any = lambda v, f=function: f(v.astype(np.float64)).astype(v.dtype)  # noqa: E731
            rows.append((f"{name} {kind}", _method(name), numpys, (small,), _ROUNDED))
        # Above 2^22, a float32 quotient is rounded before its floor is taken, and NumPy and OneFlow round differently.
        moderate = tuple((rng.integers(1, 2**15, 60) * rng.choice([-1, 1], 60) / 8).astype(dtype) for _ in range(2))
        for name, function in TWO.items():
            if name in _DIVIDING:  # frameworks differ in the sign of a 0: + 0 makes it positive
                ours: Any = lambda xp, a, b, f=name: getattr(xp, f)(a, b) + 0.0  # noqa: E731
                numpys = lambda a, b, f=function: f(a, b) + a.dtype.type(0)  # noqa: E731
                rows.append((f"{name} {kind}", ours, numpys, moderate, 0.0))
            else:
                rows.append((f"{name} {kind}", _method(name), function, (x, y), 0.0))
        rows.append((f"clip {kind}", _method("clip", min=-1.0, max=2.5), lambda v: np.clip(v, -1.0, 2.5), (x,), 0.0))
        rows.append((f"where {kind}", lambda xp, c, a, b: xp.where(c, a, b), np.where, (x > y, x, y), 0.0))
        rows.append((f"pow {kind}", lambda xp, a: xp.pow(a, 1.5), lambda a: a ** a.dtype.type(1.5), (small,), _ROUNDED))
    for integer in (np.int32, np.int64):
        a, b = rng.integers(-40, 40, 30).astype(integer), rng.choice([-7, -2, -1, 1, 3, 8], 30).astype(integer)
        for name in ("add", "subtract", "multiply", "floor_divide", "remainder", "minimum", "maximum", "less", "equal"):
            rows.append((f"{name} {np.dtype(integer).name}", _method(name), TWO[name], (a, b), 0.0))
        for name in ("abs", "negative", "square", "sign"):
            rows.append((f"{name} {np.dtype(integer).name}", _method(name), ONE[name], (a,), 0.0))
        for wanted in (np.float32, np.int64):
            kinds = f"{np.dtype(integer).name} to {np.dtype(wanted).name}"
            rows.append((f"astype {kinds}", _cast(wanted), lambda v, t=wanted: v.astype(t), (a,), 0.0))
    p, q = rng.random(40) < 0.5, rng.random(40) < 0.5
    rows += [(name, _method(name), function, (p, q), 0.0) for name, function in TRUTHS.items()]
    rows.append(("logical_not", _method("logical_not"), np.logical_not, (p,), 0.0))
    cut = (rng.integers(-1000, 1000, 40) / 8).astype(np.float32)
    rows.append(("astype float32 to int64", _cast(np.int64), lambda v: v.astype(np.int64), (cut,), 0.0))
    return rows


def _cast(dtype: Any) -> Callable[..., Any]:
    return lambda xp, x: xp.astype(x, getattr(xp, np.dtype(dtype).name))


def _reductions(rng: np.random.Generator) -> list[Row]:
    rows: list[Row] = []
    x: HostArray
    table = (rng.integers(-1000, 1000, (5, 7)) / 8).astype(np.float32)  # sums of eighths are exact
    integers, truth = rng.integers(-1000, 1000, (5, 7)), rng.random((5, 7)) < 0.7
    with_nan = np.where(rng.random((5, 7)) < 0.2, np.float32(np.nan), table)
    for axis in (0, 1):
        along = f"axis {axis}"
        for name, function in REDUCED.items():
            for x in (table, integers):
                numpys: Any = lambda v, f=function, a=axis: f(v, axis=a)  # noqa: E731
                rows.append((f"{name} {x.dtype.name} {along}", _method(name, axis=axis), numpys, (x,), 0.0))
        for name in ("min", "max"):
            numpys = lambda v, f=REDUCED[name], a=axis: f(v, axis=a)  # noqa: E731
            rows.append((f"{name} with NaN {along}", _method(name, axis=axis), numpys, (with_nan,), 0.0))
        for x in (table, integers, truth):
            dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.int64)
            numpys = lambda v, a=axis, d=dtype: v.sum(axis=a, dtype=d)  # noqa: E731
            rows.append((f"sum {x.dtype.name} {along}", _method("sum", axis=axis), numpys, (x,), 0.0))
        for name, plain in (("any", np.any), ("all", np.all)):
            numpys = lambda v, f=plain, a=axis: f(v, axis=a)  # noqa: E731
            rows.append((f"{name} {along}", _method(name, axis=axis), numpys, (truth,), 0.0))
        rows.append((f"mean {along}", _method("mean", axis=axis), lambda v, a=axis: v.mean(axis=a), (table,), _ROUNDED))
        short = np.where(table[:2] == 0, np.float32(3), table[:2]) if axis == 0 else np.abs(table[:, :2])
        rows.append((f"prod {along}", _method("prod", axis=axis), lambda v, a=axis: v.prod(axis=a), (short,), 0.0))
    return rows


def _order(rng: np.random.Generator) -> list[Row]:
    rows: list[Row] = []
    ties = (rng.integers(0, 6, (4, 9)) / 4).astype(np.float32)
    integers = rng.integers(-5, 5, (4, 9))
    for name, function in ORDERED.items():
        options: dict[str, Any] = {"stable": True} if name in ("argsort", "sort") else {}
        for x in (ties, integers):
            rows.append((f"{name} {x.dtype.name}", _method(name, axis=-1, **options), function, (x,), 0.0))
    rows.append(("nonzero", _method("nonzero"), np.nonzero, (ties > 0.5,), 0.0))
    edges, values = np.sort(ties[0]), ties[1]
    for side in ("left", "right"):
        numpys: Any = lambda a, v, s=side: np.searchsorted(a, v, side=s)  # noqa: E731
        rows.append((f"searchsorted {side}", _method("searchsorted", side=side), numpys, (edges, values), 0.0))
    return rows


def _shapes(rng: np.random.Generator) -> list[Row]:
    x, y = (rng.integers(0, 99, (3, 4)).astype(np.float32) for _ in range(2))
    wide, shape = x[:, None, :], (3, 5, 4)
    return [
        ("reshape", lambda xp, v: xp.reshape(v, (2, -1)), lambda v: v.reshape(2, -1), (x,), 0.0),
        ("expand_dims", lambda xp, v: xp.expand_dims(v, axis=1), lambda v: v[:, None], (x,), 0.0),
        ("squeeze", lambda xp, v: xp.squeeze(v, axis=1), lambda v: v[:, 0], (wide,), 0.0),
        ("broadcast_to", lambda xp, v: xp.broadcast_to(v, shape), lambda v: np.broadcast_to(v, shape), (wide,), 0.0),
        ("concat", lambda xp, v, w: xp.concat([v, w], axis=1), lambda v, w: np.hstack([v, w]), (x, y), 0.0),
        ("stack", lambda xp, v, w: xp.stack([v, w], axis=1), lambda v, w: np.stack([v, w], axis=1), (x, y), 0.0),
        ("permute_dims", lambda xp, v: xp.permute_dims(v, (1, 0)), np.transpose, (x,), 0.0),
    ]


def _rows(rng: np.random.Generator) -> list[Row]:
    x = rng.integers(0, 99, (6, 3)).astype(np.float32)
    some, often = rng.permutation(6)[:3], rng.integers(0, 6, 12)
    counts, values = rng.integers(0, 4, 6), rng.integers(0, 99, 12).astype(np.float32)
    wide = rng.integers(0, 99, (12, 3)).astype(np.float32)  # sums of integers are exact
    total = int(counts.sum())

    def put(v: HostArray, rows: HostArray, new: HostArray) -> HostArray:
        v = v.copy()
        v[rows] = new
        return v

    def add(v: HostArray, rows: HostArray, new: HostArray) -> HostArray:
        v = v.copy()
        np.add.at(v, rows, new)
        return v

    def add_rows(xp: Any, v: Any, rows: Any, new: Any) -> Any:
        v = xp.astype(v, v.dtype, copy=True)
        xp.add_rows(v, rows, new)
        return v

    def split(v: HostArray, i: HostArray) -> tuple[HostArray, ...]:
        return v[i, :1], v[:, 1], v[i, 2:]

    return [
        ("take", lambda xp, v, i: xp.take(v, i, axis=0), lambda v, i: v[i], (x, often), 0.0),
        ("put_rows", lambda xp, v, i, w: xp.put_rows(v, i, w), put, (x, some, -x[:3]), 0.0),
        ("put_last", lambda xp, v, i, w: xp.put_last(v, i, w), put, (x[:, 0].copy(), often, values), 0.0),
        ("add_rows", add_rows, add, (x, often, wide), 0.0),
        ("repeat_each", lambda xp, v, n: xp.repeat_each(v, n, total), np.repeat, (x[:, 0].copy(), counts), 0.0),
        ("split_rows", lambda xp, v, i: xp.split_rows(v, i, 1), split, (x, often), 0.0),
    ]


def _losses(rng: np.random.Generator) -> list[Row]:
    logits = rng.normal(0, 3, (5, 4)).astype(np.float32)
    wanted = rng.random((5, 4)).astype(np.float32)

    def bce(x: HostArray, y: HostArray) -> HostArray:
        x, y = x.astype(np.float64), y.astype(np.float64)
        return (y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x)).astype(np.float32)

    def log_softmax(x: HostArray) -> HostArray:
        x = x.astype(np.float64)
        return (x - np.logaddexp.reduce(x, axis=1, keepdims=True)).astype(np.float32)

    return [
        ("bce_with_logits", lambda xp, x, y: xp.bce_with_logits(x, y), bce, (logits, wanted), _ROUNDED),
        ("log_softmax", lambda xp, x: xp.log_softmax(x, axis=1), log_softmax, (logits,), _ROUNDED),
    ]
