"""The frameworks that are known, and the names that an adaptor must define for them.

An adaptor is the module that `namespace_of` returns, called `xp` in the code. Its names fall into three groups:

- the core, `CORE`: the names of the Python array API standard that the library's own algorithms call;
- the extras, `EXTRAS`: what the algorithms need and the standard lacks;
- everything else of `STANDARD`, for users' own array-API code. A backend may do without it; numpy, torch and oneflow
  have all of it, and the official array API suite (ci/array-api) tests it.

To add a backend, add a row to FRAMEWORKS and a file `_NAME.py` that defines the core and the extras. If the framework
follows the standard, `from FRAMEWORK import *` and the extras are enough. If an extra has no counterpart in the
framework, the file can call the one of `_numpy.py` on the arrays' values. `pytest --backends NAME tests/backends` and
`anchorlib verify --backends NAME` then compare the backend with NumPy.

Arrays for which `in_host_memory` is True run as NumPy views, except in losses. Everywhere else the algorithms run on
the framework's own arrays, and expect of them only the standard and the extras: tests/helpers/strict_backend.py runs
them on array-api-strict, which refuses everything else. What the standard leaves open is fixed as follows: `device=`
takes the strings of `devices()`, and the default floating dtype is float32, except NumPy's, which is float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Framework(NamedTuple):
    """What is known about a framework before it is imported.

    module, array_type : top-level module and class name of its arrays
    install : how to install it, for an error message
    devices : device -> "yes", "no", or what it needs
    limits : function -> (the dtypes that it does not take although the standard requires it; why)
    has_gradient : True if it differentiates
    """

    module: str
    array_type: str
    install: str
    devices: Mapping[str, str]
    limits: Mapping[str, tuple[tuple[str, ...], str]] = {}
    has_gradient: bool = True


# The commands name the packages of the extra, so that they work wherever anchorlib itself was installed from.
#: backend name -> its framework; the only place that registers a backend
FRAMEWORKS = {
    "numpy": Framework("numpy", "ndarray", "pip install numpy", {"cpu": "yes", "cuda": "no"}, has_gradient=False),
    "torch": Framework("torch", "Tensor", "pip install 'torch>=1.13'", {"cpu": "yes", "cuda": "yes"}),
    "oneflow": Framework(
        "oneflow",
        "Tensor",
        "pip install oneflow==0.9.0 'numpy<2' 'nvidia-cudnn-cu11>=8.5,<9' 'nvidia-cublas-cu11<12' "
        "(CPython 3.9 or 3.10 on Linux x86-64)",
        {"cpu": "yes", "cuda": "compute capability 6.0 to 8.9: the wheel has no code for newer cards"},
        {"pow": (("int32", "int64"), "OneFlow gives float32")},
    ),
}

#: Names of the standard -> what they mean. Keywords and answers are the standard's.
STANDARD = {
    # the namespace itself
    "__array_api_version__": "the version of the standard that it follows, a string",
    "__array_namespace_info__": "its capabilities, devices, dtypes and default dtypes, as the standard has them",
    # dtypes and constants
    "bool": "truth values",
    "int32": "32-bit integers",
    "int64": "64-bit integers; every index and count",
    "float32": "sizes, ratios, targets",
    "float64": "sums and checks",
    "inf": "infinity, a Python float",
    "nan": "not a number, a Python float",
    "pi": "3.14159..., a Python float",
    # making arrays: dtype=, device=
    "asarray": "array of a Python scalar, a nested list or an array of this framework",
    "arange": "start, stop, step",
    "zeros": "zeros of a shape",
    "ones": "ones of a shape",
    "full": "one value in a shape",
    "empty": "unset values of a shape",
    "zeros_like": "zeros of another array's shape",
    "ones_like": "ones of another array's shape",
    "full_like": "one value in another array's shape",
    # dtypes
    "astype": "a cast: astype(x, dtype, copy=True)",
    "result_type": "the dtype that two dtypes or arrays share",
    "isdtype": "isdtype(dtype, 'real floating' | 'integral' | 'bool' | dtype)",
    "finfo": "eps, max, min, smallest_normal and bits of a floating dtype",
    "iinfo": "max, min and bits of an integer dtype",
    # entry by entry
    "abs": "magnitude",
    "add": "sum of two",
    "subtract": "difference of two",
    "multiply": "product of two",
    "divide": "quotient of two floats",
    "floor_divide": "floor of the quotient; integers too",
    "remainder": "Python's %: the sign of the divisor",
    "negative": "minus x",
    "square": "x * x",
    "sign": "-1, 0 or 1",
    "floor": "the integer below",
    "ceil": "the integer above",
    "trunc": "the integer towards zero",
    "round": "the nearest integer, halves to even",
    "minimum": "the smaller of two; NaN wins",
    "maximum": "the larger of two; NaN wins",
    "clip": "clip(x, min=None, max=None)",
    "exp": "e to the x",
    "log": "natural logarithm",
    "log1p": "log(1 + x)",
    "log2": "binary logarithm",
    "sqrt": "square root",
    "atan": "arc tangent",
    "pow": "x to the y, floats",
    "isfinite": "neither NaN nor infinite",
    "isinf": "infinite",
    "isnan": "not a number",
    "equal": "x == y",
    "not_equal": "x != y",
    "less": "x < y",
    "less_equal": "x <= y",
    "greater": "x > y",
    "greater_equal": "x >= y",
    "logical_and": "both",
    "logical_or": "either",
    "logical_not": "not",
    "logical_xor": "one but not both",
    "where": "where(condition, x, y)",
    # over an axis: axis=, keepdims=
    "min": "smallest; NaN wins; an error when empty",
    "max": "largest; NaN wins; an error when empty",
    "sum": "sum, with dtype=; small integers are summed in int64",
    "prod": "product, with dtype=; 1 when empty",
    "mean": "mean; NaN when empty",
    "any": "is any true; False when empty",
    "all": "are all true; True when empty",
    "argmin": "index of the smallest, the first of equals",
    "argmax": "index of the largest, the first of equals",
    "cumulative_sum": "running sum along an axis",
    # order
    "argsort": "indices that sort: axis=, descending=, stable=",
    "sort": "sorted: axis=, descending=, stable=",
    "nonzero": "a tuple of int64 index arrays, in row-major order",
    "take": "take(x, indices, axis=)",
    "searchsorted": "searchsorted(x, values, side='left'): how many of the sorted x are below each value",
    # shape
    "reshape": "reshape(x, shape)",
    "expand_dims": "a new axis of length 1",
    "squeeze": "axes of length 1 removed",
    "broadcast_to": "repeated without a copy",
    "concat": "joined along an axis",
    "stack": "joined along a new axis",
    "flip": "reversed along an axis",
    "permute_dims": "axes in another order",
}

#: The dtypes that each backend computes with.
DTYPES = ("bool", "int32", "int64", "float32", "float64")

#: The names of the standard that the library's algorithms call, and the dtypes. tests/backends/test_spec.py reads them
#: from the source, and fails if a name is missing here or no longer called.
CORE = frozenset(DTYPES) | frozenset((
    "abs", "all", "arange", "argmax", "argsort", "asarray", "astype", "atan", "broadcast_to", "clip", "concat", "empty",
    "equal", "exp", "expand_dims", "finfo", "floor", "floor_divide", "full", "full_like", "inf", "isdtype", "log",
    "max", "maximum", "mean", "min", "minimum", "nonzero", "ones_like", "permute_dims", "pow", "reshape",
    "result_type", "searchsorted", "stack", "sum", "take", "trunc", "where", "zeros", "zeros_like",
))  # fmt: skip

#: What the algorithms need and the standard lacks.
EXTRAS = {
    "sigmoid": "1 / (1 + exp(-x))",
    "bce_with_logits": "bce_with_logits(logits, target, pos_weight=None): binary cross-entropy, no reduction",
    "log_softmax": "log_softmax(x, axis=): x - log(sum(exp(x)))",
    "detach": "the same values, cut off from the gradient",
    "repeat_each": "repeat_each(x, counts, total, axis=-1): entry i counts[i] times; given their sum `total`, "
    "it does not wait for a device",
    "put_rows": "put_rows(x, rows, values): a copy of x (n, ...) with x[rows] = values; `rows` has no duplicates",
    "put_last": "put_last(x, rows, values): a copy of x (n,) with x[rows] = values; repeated rows: the last wins",
    "split_rows": "split_rows(x, rows, column, memory=None): x[rows, :column], x[:, column] and x[rows, column + 1:] "
    "of x (n, m), with one dense gradient in backward; the dict `memory` keeps it for the next call",
    "add_rows": "add_rows(x, rows, values): x[rows] += values in the memory of x (n, m); equal rows add up",
    "with_gradient": "with_gradient(function, *x): the value () of `function(*x)`, which returns the value and then "
    "the gradient by each x; it runs without autocast",
    "overwrite": "overwrite(x, values): x[...] = values, in the memory of x and without a gradient",
    "from_numpy": "from_numpy(array, device=None): may share memory on the CPU",
    "to_numpy": "a NumPy array: a view when `in_host_memory`, else a copy",
    "in_host_memory": "True when `to_numpy` is a view",
    "why_refused": "why_refused(x): why this array cannot be computed with, as the end of a sentence; '' if it can",
    "device_of": "the device, as a short string: cpu, cuda:0",
    "to_device": "to_device(x, device)",
    "ranks": "ranks(): (rank of this process, number of processes); (0, 1) without a process group",
    "sum_over_ranks": "sum_over_ranks(values): a NumPy float64 array added up over the ranks; each must call it",
    "devices": "devices(): the devices that can be used: ['cpu', 'cuda:0']",
    "Module": "the class of the framework's modules (nn.Module); None if it has none",
    "version": "the framework's version, a string",
    "name": "the backend's name, a string",
}

NAMES = {**STANDARD, **EXTRAS}

#: The kinds of dtypes that `isdtype` and `__array_namespace_info__` know -> those that each backend computes with.
DTYPE_KINDS = {
    "bool": ("bool",),
    "signed integer": ("int32", "int64"),
    "unsigned integer": (),
    "integral": ("int32", "int64"),
    "real floating": ("float32", "float64"),
    "complex floating": (),
    "numeric": ("int32", "int64", "float32", "float64"),
}

#: What a function of the standard may take.
KINDS = {
    "any": DTYPES,
    "numeric": ("int32", "int64", "float32", "float64"),
    "floating": ("float32", "float64"),
    "boolean": ("bool",),
}

#: Function -> the kind of dtypes that the standard requires; a function that is not here takes any.
TAKES = {
    **dict.fromkeys(("divide", "exp", "log", "log1p", "log2", "sqrt", "atan", "mean"), "floating"),
    **dict.fromkeys(("logical_and", "logical_or", "logical_not", "logical_xor"), "boolean"),
    **dict.fromkeys(("equal", "not_equal", "any", "all"), "any"),
    **dict.fromkeys(
        ("abs", "add", "subtract", "multiply", "floor_divide", "remainder", "negative", "square"), "numeric"
    ),
    **dict.fromkeys(("sign", "floor", "ceil", "trunc", "round", "minimum", "maximum", "clip", "pow"), "numeric"),
    **dict.fromkeys(("isfinite", "isinf", "isnan", "less", "less_equal", "greater", "greater_equal"), "numeric"),
    **dict.fromkeys(("min", "max", "sum", "prod", "argmin", "argmax", "cumulative_sum"), "numeric"),
    **dict.fromkeys(("argsort", "sort", "searchsorted"), "numeric"),
}
