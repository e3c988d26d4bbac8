"""OneFlow 0.9.0: dtypes and elementwise functions. A part of _oneflow.py, separate because of its length."""

import builtins

import numpy as np

from ._limits import float_limits, integer_limits
from ._oneflow_import import import_oneflow
from ._spec import DTYPE_KINDS

flow = import_oneflow()

# From here on `bool`, `abs`, `pow`, `round` are OneFlow's, not Python's.
Tensor = flow.Tensor
bool, int32, int64, float32, float64 = flow.bool, flow.int32, flow.int64, flow.float32, flow.float64

_DTYPES = (bool, int32, int64, float32, float64)  # each is promoted to those after it
_RANK = {dtype: rank for rank, dtype in enumerate(_DTYPES)}
_KINDS = {kind: tuple(getattr(flow, name) for name in names) for kind, names in DTYPE_KINDS.items()}


def result_type(*arrays_and_dtypes):
    """OneFlow has no result_type. int64 with float32 is float32, as in torch."""
    dtypes = [x.dtype if isinstance(x, Tensor) else x for x in arrays_and_dtypes]
    found = [x for x in dtypes if x in _RANK]
    for scalar in dtypes:
        if scalar not in _RANK:  # a Python scalar counts only when it is of a higher kind
            default = default_dtype(scalar)
            if not found or _RANK[default] > builtins.max(_RANK[x] for x in found) + (default is int64):
                found.append(default)
    return builtins.max(found, key=_RANK.__getitem__)


def default_dtype(scalar):
    return bool if isinstance(scalar, builtins.bool) else int64 if isinstance(scalar, int) else float32


def isdtype(dtype, kind):
    """OneFlow has no function isdtype."""
    if isinstance(kind, tuple):
        return builtins.any(isdtype(dtype, one) for one in kind)
    return dtype in _KINDS[kind] if isinstance(kind, str) else dtype is kind


def finfo(dtype, /):
    """Return the limits of a dtype, or of a tensor's dtype, as Python numbers."""
    return float_limits(flow.finfo, dtype.dtype if isinstance(dtype, Tensor) else dtype)


def iinfo(dtype, /):
    """Return the limits of a dtype, or of a tensor's dtype, as Python numbers."""
    return integer_limits(flow.iinfo, dtype.dtype if isinstance(dtype, Tensor) else dtype)


def _one_dtype(x1, x2):
    """Return two tensors of one dtype; convert a Python scalar to a tensor like the other argument."""
    if not isinstance(x1, Tensor):
        return _scalar(x1, x2), x2
    if not isinstance(x2, Tensor):
        return x1, _scalar(x2, x1)
    dtype = result_type(x1, x2)
    return x1.to(dtype), x2.to(dtype)


def _scalar(value, like):
    return flow._C.constant((), value, dtype=result_type(like, value), device=like.device)


def _select(condition, x1, x2):
    """OneFlow's where aborts the process when one of the three is empty and is broadcast."""
    if 0 in condition.shape or 0 in x1.shape or 0 in x2.shape:
        shape = np.broadcast_shapes(tuple(condition.shape), tuple(x1.shape), tuple(x2.shape))
        condition, x1, x2 = (x if tuple(x.shape) == shape else x.expand(*shape) for x in (condition, x1, x2))
    return flow.where(condition, x1, x2)


def _two(operation, meaning):
    """Return the operation on two tensors, after a cast to one dtype."""

    def of_two(x1, x2, /):
        if isinstance(x1, Tensor) and isinstance(x2, Tensor) and x1.dtype is not x2.dtype:
            x1, x2 = _one_dtype(x1, x2)
        return operation(x1, x2)

    of_two.__doc__ = f"{meaning}: OneFlow ignores the dtype of a 0-d tensor if the other one is n-d."
    return of_two


subtract, multiply, divide = _two(flow.sub, "x - y"), _two(flow.mul, "x * y"), _two(flow.div, "x / y")
pow = _two(flow.pow, "x ** y")
equal, not_equal = _two(flow.eq, "x == y"), _two(flow.ne, "x != y")
_less, _less_equal = _two(flow.lt, "x < y"), _two(flow.le, "x <= y")
logical_and, logical_or, logical_xor = flow.logical_and, flow.logical_or, flow.logical_xor
logical_not = flow.logical_not
abs, exp, log, log1p, log2 = flow.abs, flow.exp, flow.log, flow.log1p, flow.log2
sqrt, atan = flow.sqrt, flow.atan
isfinite, isinf, isnan = flow.isfinite, flow.isinf, flow.isnan


def add(x1, x2, /):
    """OneFlow adds two int32 tensors of one shape as float32 (2**24 + 1 is lost), and subtracts exactly."""
    if isinstance(x1, Tensor) and isinstance(x2, Tensor) and (x1.dtype is not x2.dtype or x1.dtype is int32):
        x1, x2 = _one_dtype(x1, x2)
        return x1 - (0 - x2) if x1.dtype is int32 else flow.add(x1, x2)
    return flow.add(x1, x2)


def less(x1, x2, /):
    """OneFlow makes `tensor > number` of `number < tensor`, which is true for a single float32 NaN."""
    return _less(x1 if isinstance(x1, Tensor) else _scalar(x1, x2), x2)


def less_equal(x1, x2, /):
    """OneFlow makes `tensor >= number` of `number <= tensor`, which is true for a single float32 NaN."""
    return _less_equal(x1 if isinstance(x1, Tensor) else _scalar(x1, x2), x2)


def greater(x1, x2, /):
    """OneFlow's `>` of two float32 tensors of one shape is true for NaN; its `<` is not."""
    return less(x2, x1)


def greater_equal(x1, x2, /):
    """OneFlow's `>=` of two float32 tensors of one shape is true for NaN; its `<=` is not."""
    return less_equal(x2, x1)


def negative(x, /):
    """OneFlow gives float32 for integers."""
    return flow.negative(x) if x.dtype.is_floating_point else 0 - x


def square(x, /):
    """OneFlow gives float32 for integers."""
    return flow.square(x) if x.dtype.is_floating_point else x * x


def sign(x, /):
    """OneFlow gives float32 for integers, and 0 for NaN."""
    signs = flow.sign(x)
    return _select(flow.isnan(x), x, signs) if x.dtype.is_floating_point else signs.to(x.dtype)


def _whole(operation):
    """OneFlow has floor, ceil, trunc and round for floats only; integers stay as they are."""

    def of_one(x, /):
        return operation(x) if x.dtype.is_floating_point else x

    return of_one


floor, ceil, trunc, round = _whole(flow.floor), _whole(flow.ceil), _whole(flow.trunc), _whole(flow.round)


def minimum(x1, x2, /):
    """OneFlow returns its second argument if either is NaN, so a NaN in the first is lost."""
    return _nan_wins(flow.minimum, x1, x2)


def maximum(x1, x2, /):
    """OneFlow returns its second argument if either is NaN, so a NaN in the first is lost."""
    return _nan_wins(flow.maximum, x1, x2)


def _nan_wins(operation, x1, x2):
    if not isinstance(x2, Tensor) and x2 == x2:
        x1, x2 = x2, x1  # a number goes first, and one operation is enough
    if not isinstance(x1, Tensor) and x1 == x1:
        return operation(_scalar(x1, x2), x2)
    if not isinstance(x1, Tensor) or not isinstance(x2, Tensor) or x1.dtype is not x2.dtype:
        x1, x2 = _one_dtype(x1, x2)
    found = operation(x1, x2)
    return _select(flow.isnan(x1), x1, found) if x1.dtype.is_floating_point else found


def clip(x, /, min=None, max=None):
    """flow.clamp takes only numbers, at least one, and ignores NaN. At a bound the gradient flows to x, as in clamp."""
    if isinstance(min, Tensor) or isinstance(max, Tensor) or min != min or max != max:
        for bound, is_beyond in ((min, less), (max, greater)):
            if bound is not None:
                x = where(is_beyond(x, bound) | (bound != bound), bound, x)
        return x
    return x if min is None and max is None else flow.clamp(x, min=min, max=max)


def where(condition, x1, x2, /):
    """OneFlow refuses two dtypes, and makes float64 of float32 and a Python float."""
    if not isinstance(x1, Tensor) or not isinstance(x2, Tensor) or x1.dtype is not x2.dtype:
        if not isinstance(x1, Tensor) and not isinstance(x2, Tensor):
            x1 = flow._C.constant((), x1, dtype=result_type(x1, x2), device=condition.device)
        x1, x2 = _one_dtype(x1, x2)
    return _select(condition, x1, x2)


def remainder(x1, x2, /):
    """OneFlow has only C's fmod, which has the sign of the dividend."""
    x1, x2 = _divisible(x1, x2)
    if not x1.dtype.is_floating_point and not _is_positive(x2):
        return _through_numpy(np.remainder, x1, x2)
    rest = flow.fmod(x1, x2)
    if x1.dtype.is_floating_point:  # a zero has the sign of the divisor; -0 + 0 is 0
        rest = rest + 0.0 if _is_positive(x2) else _select(rest * 0 < x2, rest + 0.0, -(-rest + 0.0))
    if _is_positive(x2):
        return _select(rest < 0, rest + x2, rest)
    return _select((rest != 0) & ((rest < 0) != (x2 < 0)), rest + x2, rest)


def floor_divide(x1, x2, /):
    """OneFlow truncates integers, divides two integer tensors as float64, and floors 1 / 0.1 to 10."""
    x1, x2 = _divisible(x1, x2)
    if not x1.dtype.is_floating_point:
        if not _is_positive(x2):
            return _through_numpy(_floor_divide_integers, x1, x2)
        return x1 // x2 - (flow.fmod(x1, x2) < 0).to(x1.dtype)
    rest = flow.fmod(x1, x2)
    below = ((rest != 0) & ((rest < 0) != (x2 < 0))).to(x1.dtype)
    whole = flow.round((x1 - rest) / x2) - below
    quotient = x1 / x2  # the standard takes its floor where a zero or an infinity is involved
    return _select((x1 == 0) | (x2 * 0 != 0) | ~isfinite(quotient), flow.floor(quotient), whole)


def _floor_divide_integers(x1, x2):
    """Negate: NumPy 1.22 gives 0 for -2**63 // -1, newer versions give what minus gives."""
    return np.where(x2 == -1, np.negative(x1), np.floor_divide(x1, x2))


def _divisible(x1, x2):
    """Return the first as a tensor, and the second as a tensor of its dtype or a Python number of its kind."""
    if (
        not isinstance(x1, Tensor)
        or isinstance(x2, Tensor)
        or (isinstance(x2, float) and not x1.dtype.is_floating_point)
    ):
        return _one_dtype(x1, x2)
    return x1, x2


def _is_positive(divisor):
    return not isinstance(divisor, Tensor) and divisor > 0


def _through_numpy(operation, x1, x2):
    """Divide integers by a tensor or a negative number: a zero, or the smallest integer by -1, ends a OneFlow process.

    NumPy's answer to x / 0 is 0, and so it is everywhere here. Integers carry no gradient that could be lost.
    """
    with np.errstate(divide="ignore", over="ignore"):
        host = operation(x1.cpu().numpy(), x2.cpu().numpy() if isinstance(x2, Tensor) else x2)
    return flow.from_numpy(np.asarray(host)).to(device=x1.device, dtype=x1.dtype)
