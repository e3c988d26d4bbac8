"""What array-api-compat before 1.16 lacks or breaks on PyTorch. Python 3.9 cannot have a newer one than 1.11.

`sum`, `prod`, `any` and `all` of 1.11 call torch.asarray, by which torch 2.1 takes the gradient away from the tensor
itself. Its `clip` picks by a mask, for which CUDA waits; `argsort` is not stable, operations of two want tensors,
`reshape` no `copy`.
"""

import functools
import math

import array_api_compat.torch as _compat
import torch

_OF_TWO = (
    "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "pow", "minimum", "maximum",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_xor",
)  # fmt: skip
__all__ = ["all", "any", "argsort", "clip", "expand_dims", "prod", "reshape", "sum", *_OF_TWO]


def sum(x, /, *, axis=None, dtype=None, keepdims=False):
    """torch does not accept None for all axes."""
    if axes := _axes(x, axis):
        return torch.sum(x, dim=axes, keepdim=keepdims, dtype=dtype)
    return x.to(dtype or _dtype_of_sums(x), copy=True)


def prod(x, /, *, axis=None, dtype=None, keepdims=False):
    """torch accepts only one axis."""
    dtype = dtype or _dtype_of_sums(x)
    return _axis_by_axis(functools.partial(torch.prod, dtype=dtype), x.to(dtype, copy=True), axis, keepdims)


def any(x, /, *, axis=None, keepdims=False):
    """torch accepts only one axis."""
    return _axis_by_axis(torch.any, x.to(torch.bool, copy=True), axis, keepdims)


def all(x, /, *, axis=None, keepdims=False):
    """torch accepts only one axis."""
    return _axis_by_axis(torch.all, x.to(torch.bool, copy=True), axis, keepdims)


def argsort(x, /, *, axis=-1, descending=False, stable=True):
    """torch does not sort stably by default."""
    return torch.argsort(x, dim=axis, descending=descending, stable=stable)


def clip(x, /, min=None, max=None):
    """Cast the bounds to the dtype of `x`; torch ignores a bound that is NaN."""
    result = x.clone()
    for bound, clamp in ((min, torch.clamp_min), (max, torch.clamp_max)):
        if isinstance(bound, torch.Tensor):
            result = clamp(result, bound.to(x.dtype))
        elif bound is not None and math.isnan(bound):
            result = torch.full_like(result, math.nan)
        elif bound is not None and not _is_beyond(bound, x.dtype):
            result = clamp(result, bound)
    return result


def _of_two(name):
    operation = getattr(_compat, name)

    def of_two(x1, x2, /):
        return operation(_tensor(x1, x2), _tensor(x2, x1))

    of_two.__doc__ = f"{name} of torch does not accept a Python number as its first argument, or as either."
    return of_two


globals().update({name: _of_two(name) for name in _OF_TWO})


def expand_dims(x, /, axis=0):
    """array-api-compat takes `axis` by keyword only."""
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise IndexError(f"axis must be in [{-x.ndim - 1}, {x.ndim}], got {axis}.")
    return torch.unsqueeze(x, axis)


def reshape(x, /, shape, *, copy=None):
    """torch has no keyword `copy`."""
    if copy is False:
        try:
            return x.view(shape)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
    return torch.reshape(x.clone() if copy else x, shape)


def _axes(x, axis):
    if axis is None:
        return tuple(range(x.ndim))
    return axis if isinstance(axis, tuple) else (axis,)


def _axis_by_axis(operation, x, axis, keepdims):
    axes = _axes(x, axis)
    for one in axes:
        x = operation(x, dim=one, keepdim=True)
    gone = () if keepdims else {one % x.ndim for one in axes}
    return torch.reshape(x, [length for i, length in enumerate(x.shape) if i not in gone])


def _dtype_of_sums(x):
    return torch.sum(x.new_empty(0)).dtype


def _is_beyond(bound, dtype):
    """Return True if a number is outside an integer dtype: torch would wrap it around."""
    return not (dtype.is_floating_point or torch.iinfo(dtype).min <= bound <= torch.iinfo(dtype).max)


def _tensor(x, other):
    """Convert a number to a tensor like the other argument."""
    if isinstance(x, torch.Tensor):
        return x
    return torch.tensor(x, dtype=_compat.result_type(x, other), device=other.device)
