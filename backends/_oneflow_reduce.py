"""OneFlow 0.9.0: reductions and sorting. A part of _oneflow.py, separate because of its length."""

import builtins
import math

from ._oneflow_elementwise import result_type
from ._oneflow_import import import_oneflow

flow = import_oneflow()


def axes_of(x, axis):
    """Return the axes as a tuple >= 0. OneFlow takes an empty tuple for all axes, and keepdim= only with axes."""
    ndim = x.ndim
    if axis is None:
        return tuple(range(ndim))
    return tuple(axis_of(ndim, one) for one in (axis if isinstance(axis, tuple) else (axis,)))


def axis_of(ndim, axis):
    """Raise IndexError for a wrong axis: OneFlow's sort and log_softmax of a 0-d tensor end the process."""
    if not -ndim <= axis < ndim:
        raise IndexError(f"axis must be in [{-ndim}, {ndim}), got {axis} for an array of {ndim} dimensions.")
    return axis % ndim


def reduced_shape(x, axes, keepdims):
    kept = [1 if i in axes else length for i, length in enumerate(x.shape)]
    return tuple(kept if keepdims else [length for i, length in enumerate(kept) if i not in axes])


def _refuse_empty(x, axes, name):
    """Raise for an empty axis: OneFlow gives 0 (min, max) or random memory (argmin, argmax)."""
    if builtins.any(x.shape[i] == 0 for i in axes):
        raise ValueError(f"{name} of an empty array has no identity, got shape {tuple(x.shape)}.")


def min(x, /, *, axis=None, keepdims=False):
    """OneFlow skips NaN, gives 0 for an empty tensor, and the largest number if all are infinite."""
    return _extreme(flow.amin, x, axis, keepdims, "min", math.inf)


def max(x, /, *, axis=None, keepdims=False):
    """OneFlow skips NaN, gives 0 for an empty tensor, and the lowest number if all are minus infinity."""
    return _extreme(flow.amax, x, axis, keepdims, "max", -math.inf)


def _extreme(reduce, x, axis, keepdims, name, infinity):
    axes = axes_of(x, axis)
    _refuse_empty(x, axes, name)
    if not axes:
        return x
    found = reduce(x, dim=axes, keepdim=keepdims)
    if not x.dtype.is_floating_point:
        return found
    found = flow.masked_fill(found, flow.all(x == infinity, dim=axes, keepdim=keepdims), infinity)
    return flow.masked_fill(found, flow.any(flow.isnan(x), dim=axes, keepdim=keepdims), math.nan)


def sum(x, /, *, axis=None, dtype=None, keepdims=False):
    """OneFlow has no dtype=; it sums bool and int32 in int64, as the standard does."""
    axes = axes_of(x, axis)
    if dtype is not None:
        total = flow.sum(x.to(dtype), dim=axes, keepdim=keepdims) if axes else x
        return total.to(dtype)  # sums of int32 and bool come as int64
    return flow.sum(x, dim=axes, keepdim=keepdims) if axes else _as_total(x)


def _as_total(x):
    """Return the sum over no axes: the values themselves, small integers as int64."""
    return x if x.dtype.is_floating_point else x.to(flow.int64)


def prod(x, /, *, axis=None, dtype=None, keepdims=False):
    """OneFlow has no dtype=, multiplies int32 in int32 and gives 0 for an empty tensor."""
    axes = axes_of(x, axis)
    x = _as_total(x) if dtype is None else x.to(dtype)
    if builtins.any(x.shape[i] == 0 for i in axes):
        return flow.ones(reduced_shape(x, axes, keepdims), dtype=x.dtype, device=x.device)
    return flow.prod(x, dim=axes, keepdim=keepdims).to(x.dtype) if axes else x


def mean(x, /, *, axis=None, keepdims=False):
    """OneFlow gives 0 for an empty tensor."""
    axes = axes_of(x, axis)
    if not axes:
        return x
    if builtins.any(x.shape[i] == 0 for i in axes):
        shape = reduced_shape(x, axes, keepdims)
        return flow._C.constant(shape, math.nan, dtype=x.dtype, device=x.device)
    return flow.mean(x, dim=axes, keepdim=keepdims)


def any(x, /, *, axis=None, keepdims=False):
    """OneFlow requires the axes if keepdim= is given."""
    axes = axes_of(x, axis)
    return flow.any(x, dim=axes, keepdim=keepdims) if axes else x.to(flow.bool)


def all(x, /, *, axis=None, keepdims=False):
    """OneFlow requires the axes if keepdim= is given."""
    axes = axes_of(x, axis)
    return flow.all(x, dim=axes, keepdim=keepdims) if axes else x.to(flow.bool)


def argmin(x, /, *, axis=None, keepdims=False):
    """OneFlow reads foreign memory for an empty tensor, and does not accept 0-d tensors."""
    return _arg_extreme(flow.argmin, x, axis, keepdims, "argmin")


def argmax(x, /, *, axis=None, keepdims=False):
    """OneFlow reads foreign memory for an empty tensor, and does not accept 0-d tensors."""
    return _arg_extreme(flow.argmax, x, axis, keepdims, "argmax")


def _arg_extreme(reduce, x, axis, keepdims, name):
    axes = axes_of(x, axis)
    _refuse_empty(x, axes, name)
    if axis is not None:
        return reduce(x, dim=axes[0], keepdim=keepdims)
    found = reduce(flow.reshape(x, (-1,)), dim=0)
    return flow.reshape(found, (1,) * x.ndim) if keepdims else found


def cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False):
    """OneFlow has cumsum(x, dim); it sums bool and int32 in int64, as the standard does."""
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"cumulative_sum needs axis= for an array of {x.ndim} dimensions.")
        axis = 0
    axis = axis_of(x.ndim, axis)
    total = flow.cumsum(x if dtype is None else x.to(dtype), axis)
    total = total if dtype is None else total.to(dtype)
    if not include_initial:
        return total
    shape = [1 if i == axis else length for i, length in enumerate(x.shape)]
    return flow.cat([flow.zeros(shape, dtype=total.dtype, device=x.device), total], dim=axis)


def argsort(x, /, *, axis=-1, descending=False, stable=True):
    """OneFlow gives int32, and an empty tensor ends the process. Its sort is always stable."""
    axis = axis_of(x.ndim, axis)
    if 0 in x.shape:
        return flow.zeros(tuple(x.shape), dtype=flow.int64, device=x.device)
    return flow.argsort(x, dim=axis, descending=descending).to(flow.int64)


def sort(x, /, *, axis=-1, descending=False, stable=True):
    """OneFlow gives (values, indices), and an empty tensor ends the process."""
    axis = axis_of(x.ndim, axis)
    return x if 0 in x.shape else flow.sort(x, dim=axis, descending=descending)[0]


def searchsorted(x1, x2, /, *, side="left", sorter=None):
    """OneFlow requires two tensors of one dtype."""
    x1 = x1 if sorter is None else x1[sorter]
    dtype = result_type(x1, x2)
    return flow.searchsorted(x1.to(dtype), x2.to(dtype), right=side == "right")
