"""The adaptor for PyTorch, through array-api-compat; it hides what changed since torch 1.13."""

import builtins
import contextlib
import math
import sys

import array_api_compat
import array_api_compat.torch as _compat
import numpy as np
import torch

from . import _torch_old
from ._errors import DeviceError
from ._info import STANDARD_VERSION, NamespaceInfo
from ._limits import float_limits, integer_limits
from ._spec import STANDARD

# The names of the standard and no others. From here on `any`, `min`, `bool` ... are torch's, not Python's.
globals().update({standard_name: getattr(_compat, standard_name) for standard_name in STANDARD})

if tuple(map(int, array_api_compat.__version__.split(".")[:2])) < (1, 16):
    globals().update({old_name: getattr(_torch_old, old_name) for old_name in _torch_old.__all__})

name = "torch"
__array_api_version__ = STANDARD_VERSION
version = torch.__version__
Module = torch.nn.Module

sigmoid = torch.sigmoid


def __array_namespace_info__():
    """torch keeps at most 64 axes."""
    return NamespaceInfo(sys.modules[__name__], 64)


_floor_divide, _remainder = globals()["floor_divide"], globals()["remainder"]


def floor_divide(x1, x2, /):
    """The standard divides infinities first and takes the floor; torch gives NaN for inf // 1 and -1 for -1 // inf."""
    result = _floor_divide(x1, x2)
    if result.is_floating_point():
        with torch.no_grad():  # the gradient of a step is 0
            result.copy_(torch.where(_is_infinite(x1) | _is_infinite(x2), (x1 / x2).floor(), result))
    return result


def _is_infinite(x):
    return x.isinf() if isinstance(x, torch.Tensor) else math.isinf(x)


def remainder(x1, x2, /):
    """The sign of a zero is that of the divisor, as everywhere else; in torch it is that of the dividend."""
    result = _remainder(x1, x2)
    if result.is_floating_point():
        with torch.no_grad():  # in place: copysign has no gradient at 0
            result.copysign_(x2)
    return result


def finfo(dtype, /):
    """Return the limits of a dtype, or of a tensor's dtype, as Python numbers."""
    return float_limits(torch.finfo, dtype.dtype if isinstance(dtype, torch.Tensor) else dtype)


def iinfo(dtype, /):
    """Return the limits of a dtype, or of a tensor's dtype, as Python numbers."""
    return integer_limits(torch.iinfo, dtype.dtype if isinstance(dtype, torch.Tensor) else dtype)


def take(x, indices, /, *, axis=None):
    """Read negative indices, which index_select refuses. The CPU says so; other devices would have to be waited for."""
    if not x.is_cpu and not x.requires_grad:
        return x[(slice(None),) * range(x.ndim)[axis or 0] + (indices,)]  # one kernel, but a gradient would be sorted
    if x.is_cpu:
        with contextlib.suppress(IndexError, RuntimeError):
            return _compat.take(x, indices, axis=axis)
    length = x.shape[axis or 0]
    from_end = (indices < 0) & (indices >= -length)
    return _compat.take(x, torch.where(from_end, indices + length, indices), axis=axis)


def bce_with_logits(logits, target, /, *, pos_weight=None):
    """torch reduces to the mean by default."""
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, target, pos_weight=pos_weight, reduction="none")


def log_softmax(x, /, *, axis=-1):
    """torch calls the axis dim."""
    return torch.log_softmax(x, dim=axis)


def detach(x, /):
    """Return a tensor of the same storage, without the graph."""
    return x.detach()


def repeat_each(x, counts, total, /, *, axis=-1):
    """Without output_size, torch waits for CUDA to add up the counts."""
    return torch.repeat_interleave(x, counts, dim=axis, output_size=total)


def put_rows(x, rows, values, /):
    """index_put keeps the gradient of both `x` and `values`."""
    return x.index_put((rows,), values)


def put_last(x, rows, values, /):
    """An assignment with repeated rows has no defined winner on CUDA; the largest row number has."""
    numbers = torch.arange(rows.shape[0], device=x.device)
    winner = torch.full_like(x, -1, dtype=torch.int64).scatter_reduce(0, rows, numbers, "amax")
    return torch.where(winner >= 0, values[winner.clamp(min=0)], x) if rows.shape[0] else x.clone()


class _SplitRows(torch.autograd.Function):  # type: ignore[misc]
    """Indexing three times would fill three arrays of the size of `x` in backward, and add them."""

    @staticmethod
    def forward(ctx, x, rows, column, memory):
        ctx.save_for_backward(rows)
        ctx.column, ctx.memory, ctx.shape = column, memory, x.shape
        picked = torch.index_select(x, 0, rows, out=_memory((rows.shape[0], x.shape[1]), x))
        return picked[:, :column].clone(), x[:, column].clone(), picked[:, column + 1 :]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, low, middle, high):
        (rows,) = ctx.saved_tensors
        gradient = _cleared(ctx.memory, rows, middle, ctx.shape)
        gradient[:, ctx.column] = middle
        # Equal rows add up; CUDA sorts them first, so it is the same every time.
        gradient[:, : ctx.column].index_put_((rows,), low, accumulate=True)
        gradient[:, ctx.column + 1 :].index_put_((rows,), high, accumulate=True)
        return gradient, None, None, None


def _cleared(memory, rows, like, shape):
    """Return zeros, except in the column to be overwritten; in reused memory, clear only the rows of the last call."""
    if memory is None:
        return _memory(shape, like).zero_()
    gradient, old_rows = memory.get("gradient"), memory.get("rows")
    memory["rows"] = rows
    if gradient is None or gradient.shape != shape or gradient.dtype != like.dtype or gradient.device != like.device:
        gradient = memory["gradient"] = _memory(shape, like).zero_()
    else:
        gradient.index_fill_(0, old_rows, 0)
    return gradient


def _memory(shape, like):
    """NumPy asks the system for huge pages and torch does not: on the CPU the first write is four times as fast."""
    if like.device.type != "cpu" or 0 in shape:
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(shape, dtype=f"i{like.element_size()}")).view(like.dtype)


def split_rows(x, rows, column, /, *, memory=None):
    """Apply _SplitRows, which has the gradient."""
    return _SplitRows.apply(x, rows, column, memory)


def add_rows(x, rows, values, /):
    """On CUDA the order of the sums is not fixed."""
    x.index_add_(0, rows, values)


class _WithGradient(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx, function, *x):
        with torch.autocast(x[0].device.type, enabled=False):  # which would multiply matrices of float32 in 16 bits
            value, *gradients = function(*x)
        ctx.save_for_backward(*gradients)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, scale):
        return None, *(gradient * scale for gradient in ctx.saved_tensors)


def with_gradient(function, /, *x):
    """Run the function without a graph; it returns its own gradients."""
    return _WithGradient.apply(function, *x)


def overwrite(x, values, /):
    """copy_ casts and moves to the device of `x`; a leaf that requires a gradient needs no_grad."""
    with torch.no_grad():
        x.copy_(values)


def from_numpy(array, /, *, device=None):
    """Copy arrays with negative strides, which torch refuses, and read-only arrays, about which it warns."""
    array = np.asarray(array)
    try:
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    except ValueError:
        tensor = torch.from_numpy(array.copy())
    return tensor if device in (None, "cpu") else to_device(tensor, device)


def to_numpy(x, /):
    """NumPy has no bfloat16: cast to float32, which is exact."""
    x = x.detach() if x.requires_grad else x
    x = x if x.is_cpu else x.cpu()
    x = x.float() if x.dtype is torch.bfloat16 else x
    try:
        return x.numpy()
    except RuntimeError:  # a view with the negative bit set, such as x.conj().imag: its memory has the other sign
        return x.resolve_neg().numpy()


def why_refused(x, /):
    """Refuse tensors without strides or values, and values that are not real numbers."""
    if type(x).__name__ == "FakeTensor":  # of torch.export or make_fx; torch.compile shows the real class
        return "is symbolic, without values: call this outside of traced code, or pass a tensor with values"
    if x.layout is torch.strided and not (x.is_meta or x.is_nested or x.is_quantized or x.is_complex()):
        return ""
    if x.layout is getattr(torch, "jagged", None) or x.is_nested:
        return "is a nested tensor: pass x.to_padded_tensor(...), or one tensor for each part"
    if x.layout is not torch.strided:
        return f"is sparse ({x.layout}): pass x.to_dense()"
    if x.is_meta:
        return "is on the meta device, which has no values: pass a tensor with values"
    return "is quantised: pass x.dequantize()" if x.is_quantized else f"has dtype {x.dtype}: pass real numbers"


def in_host_memory(x, /):
    """bfloat16 has no NumPy dtype, sparse and quantised tensors no strides."""
    return x.is_cpu and x.dtype is not torch.bfloat16 and x.layout is torch.strided


def device_of(x, /):
    """Return 'cuda:0', as torch does, also for a tensor made on 'cuda'."""
    return str(x.device)


def to_device(x, device, /):
    """torch raises RuntimeError or AssertionError for a device that it cannot use, depending on its build."""
    try:
        moved = x.to(device or "cpu")
    except (RuntimeError, AssertionError) as error:
        if builtins.any(found.startswith(str(device)) for found in devices()):
            raise  # the device exists: out of memory, or an earlier error of a kernel
        raise DeviceError(f"torch {version} can use the devices {', '.join(devices())} here, got {device}.") from error
    if moved.is_meta and not x.is_meta:
        raise DeviceError("torch keeps no values on the device meta; use another.")
    return moved


def devices():
    """Return the CPU, every CUDA device, and those of a package that has added its own kind of device to torch."""
    added = getattr(torch._C, "_get_privateuse1_backend_name", builtins.str)()
    count_added = getattr(getattr(torch, added, None) if added else None, "device_count", builtins.int)
    counts = {"cuda": torch.cuda.device_count(), added: count_added()}
    return ["cpu", *(f"{kind}:{i}" for kind, count in counts.items() for i in builtins.range(count))]


def ranks():
    """Some builds of torch have no `distributed`."""
    group = torch.distributed
    here = group.is_available() and group.is_initialized()
    return (group.get_rank(), group.get_world_size()) if here else (0, 1)


def sum_over_ranks(values, /):
    """NCCL can add up only tensors on the rank's own CUDA device."""
    total = torch.tensor(values, device="cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
    torch.distributed.all_reduce(total)
    return total.cpu().numpy()
