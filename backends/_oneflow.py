"""The adaptor for OneFlow 0.9.0, for bool, int32, int64, float32 and float64.

A small operation costs 14-21 us, so tensors of one dtype use a single OneFlow operation where possible.
Not covered: NaN in argmin, argmax, sort and argsort (any position), the sign of -0.0 + -0.0 in float64, and negative
indices in take on CUDA.
"""

import builtins
import math
import sys

import numpy as np

from . import _oneflow_elementwise as _elementwise
from . import _oneflow_reduce as _reduce
from ._errors import ArrayTypeError, DeviceError
from ._info import STANDARD_VERSION, NamespaceInfo
from ._oneflow_elementwise import Tensor, default_dtype, result_type
from ._oneflow_import import import_oneflow
from ._oneflow_reduce import argsort, axes_of, axis_of, reduced_shape
from ._spec import STANDARD

flow = import_oneflow()
__array_api_version__ = STANDARD_VERSION

# The names of the standard that the two other files define. From here on `any`, `bool` ... are OneFlow's.
for _part in (_elementwise, _reduce):
    globals().update({public: getattr(_part, public) for public in STANDARD if hasattr(_part, public)})

name = "oneflow"
version = flow.__version__
Module = flow.nn.Module
inf, nan, pi = math.inf, math.nan, math.pi
sigmoid = flow.sigmoid


def __array_namespace_info__():
    """With 8 axes, some of OneFlow's operations on two arrays end the process."""
    return NamespaceInfo(sys.modules[__name__], 7)


def astype(x, dtype, /, *, copy=True, device=None):
    """Tensor.to has no argument copy=."""
    x = x if device is None else to_device(x, device)
    return x.clone() if copy and x.dtype is dtype else x.to(dtype)


# ---- making arrays


def asarray(obj, /, *, dtype=None, device=None, copy=None):
    """flow.tensor makes float32 of a NumPy float64 scalar and warns about tensors."""
    if isinstance(obj, Tensor):
        x = to_device(obj, device) if device is not None else obj
        return astype(x, dtype, copy=builtins.bool(copy)) if dtype is not None else x.clone() if copy else x
    if copy is False:
        raise ValueError("copy=False is for OneFlow tensors only: OneFlow copies what is not its own.")
    host = np.asarray(obj)
    if dtype is None and not isinstance(obj, (np.ndarray, np.generic)) and host.dtype == np.float64:
        dtype = flow.float32  # the default for Python floats
    x = from_numpy(host, device=device)
    return x if dtype is None else x.to(dtype)


def arange(start, /, stop=None, step=1, *, dtype=None, device=None):
    """OneFlow raises if the range is empty."""
    if stop is None:
        start, stop = 0, start
    if (stop - start) * step <= 0:
        if dtype is None:
            dtype = result_type(start, stop, step)
        return zeros((0,), dtype=dtype, device=device)
    return flow.arange(start, stop, step, dtype=dtype, device=_checked(device))


def zeros(shape, *, dtype=None, device=None):
    """Check the device: one that does not exist ends the process."""
    return flow.zeros(shape, dtype=dtype, device=_checked(device))


def ones(shape, *, dtype=None, device=None):
    """Check the device: one that does not exist ends the process."""
    return flow.ones(shape, dtype=dtype, device=_checked(device))


def empty(shape, *, dtype=None, device=None):
    """Check the device: one that does not exist ends the process."""
    return flow.empty(shape, dtype=dtype, device=_checked(device))


def full(shape, fill_value, *, dtype=None, device=None):
    """flow.full refuses the shape () and takes four times as long as the operation that it calls."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    dtype = default_dtype(fill_value) if dtype is None else dtype
    return flow._C.constant(shape, fill_value, dtype=dtype, device=_checked(device))


def zeros_like(x, /, *, dtype=None, device=None):
    """OneFlow's function has no argument dtype=."""
    return zeros(tuple(x.shape), dtype=dtype or x.dtype, device=device or x.device)


def ones_like(x, /, *, dtype=None, device=None):
    """OneFlow's function has no argument dtype=."""
    return ones(tuple(x.shape), dtype=dtype or x.dtype, device=device or x.device)


def full_like(x, /, fill_value, *, dtype=None, device=None):
    """OneFlow's function refuses the shape ()."""
    return full(tuple(x.shape), fill_value, dtype=dtype or x.dtype, device=device or x.device)


# ---- shape


def reshape(x, /, shape, *, copy=None):
    """OneFlow's function has no argument copy=."""
    return flow.reshape(x.clone() if copy else x, shape)


def expand_dims(x, /, axis=0):
    """OneFlow calls this function unsqueeze."""
    return flow.unsqueeze(x, axis_of(x.ndim + 1, axis))


def squeeze(x, /, axis):
    """OneFlow ignores an axis that is longer than 1; the standard raises."""
    axes = axes_of(x, axis)
    if builtins.any(x.shape[i] != 1 for i in axes):
        raise ValueError(f"squeeze needs axes of length 1, got axis={axis} of shape {tuple(x.shape)}.")
    return flow.reshape(x, reduced_shape(x, axes, False))


def broadcast_to(x, /, shape):
    """OneFlow refuses the shape ()."""
    return x if tuple(x.shape) == tuple(shape) else x.expand(*shape)


def concat(arrays, /, *, axis=0):
    """OneFlow does not accept axis=None."""
    if axis is None:
        arrays, axis = [flow.reshape(x, (-1,)) for x in arrays], 0
    arrays = _all_one_dtype(arrays)
    if builtins.all(0 in x.shape for x in arrays):  # the gradient of a join of empty tensors ends the process
        shape, axis = list(arrays[0].shape), axis_of(arrays[0].ndim, axis)
        shape[axis] = builtins.sum(x.shape[axis] for x in arrays)
        return zeros(tuple(shape), dtype=arrays[0].dtype, device=arrays[0].device) + flow.sum(arrays[0])
    return flow.cat(arrays, dim=axis)


def stack(arrays, /, *, axis=0):
    """OneFlow refuses arrays of two dtypes."""
    return flow.stack(_all_one_dtype(arrays), dim=axis)


def _all_one_dtype(arrays):
    arrays = list(arrays)
    if builtins.all(x.dtype is arrays[0].dtype for x in arrays):
        return arrays
    dtype = result_type(*arrays)
    return [x.to(dtype) for x in arrays]


def flip(x, /, *, axis=None):
    """OneFlow requires the axes to be given."""
    return flow.flip(x, axes_of(x, axis))


def permute_dims(x, /, axes):
    """OneFlow calls this function permute."""
    return flow.permute(x, axes)


# ---- rows


def nonzero(x, /):
    """OneFlow returns one array by default, and accepts a 0-d tensor, which the standard forbids."""
    if x.ndim == 0:
        raise ValueError("nonzero needs at least one dimension, got a 0-d tensor.")
    return flow.nonzero(x, as_tuple=True)


def take(x, indices, /, *, axis=None):
    """OneFlow gives 0 for an index beyond the end, and a negative one ends the process."""
    axis = axis_of(x.ndim, 0 if axis is None and x.ndim == 1 else axis)
    return flow.index_select(x, axis, _rows_within(indices, x.shape[axis]))


def repeat_each(x, counts, total, /, *, axis=-1):
    """OneFlow does not need `total`: it adds up the counts."""
    return flow.repeat_interleave(x, counts, dim=axis_of(x.ndim, axis))


def put_rows(x, rows, values, /):
    """Assign to a copy, which keeps the gradient of both; check the rows, as one beyond the end ends the process."""
    x = x.clone()
    x[_rows_within(rows, x.shape[0])] = values
    return x


def put_last(x, rows, values, /):
    """Sort stably, so that equal rows are adjacent and in order; argsort of an empty tensor ends the process."""
    if rows.shape[0] == 0:
        return x.clone()
    order = argsort(rows)
    ordered = rows[order]
    is_last = flow.cat([ordered[1:] != ordered[:-1], flow.ones(1, dtype=bool, device=x.device)])
    last = order[is_last]
    return put_rows(x, rows[last], values[last])


def split_rows(x, rows, column, /, *, memory=None):
    """Indexing three times would fill three arrays of the size of `x` in backward, and add them. No memory is kept."""
    if x.device.type == "cpu" and x.dtype in (flow.float16, flow.bfloat16):
        x = x.to(flow.float32)  # no kernels for 16 bits in backward, except those of the cast
    shape, dtype, device = tuple(x.shape), x.dtype, x.device

    def forward(ctx, x, rows):
        ctx.save_for_backward(rows)
        picked = flow.index_select(x, 0, rows)
        return picked[:, :column].clone(), x[:, column].clone(), picked[:, column + 1 :].clone()

    def backward(ctx, low, middle, high):
        (rows,) = ctx.saved_tensors
        if rows.shape[0] == 0:
            gradient = flow.zeros(*shape, dtype=dtype, device=device)
        else:
            none = flow.zeros(low.shape[0], 1, dtype=dtype, device=device)
            gradient = flow._C.unsorted_segment_sum(flow.cat([low, none, high], dim=1), rows, 0, shape[0])
        gradient[:, column] += middle
        return gradient, None

    return _autograd("split_rows", forward, backward, x, _rows_within(rows, shape[0]))


def add_rows(x, rows, values, /):
    """OneFlow sums the rows into a new tensor, and refuses empty ones."""
    if rows.shape[0]:
        x += flow._C.unsorted_segment_sum(values, _rows_within(rows, x.shape[0]), 0, x.shape[0])


def with_gradient(function, /, *x):
    """Run the function without a graph; it returns its own gradients."""

    def forward(ctx, *x):
        value, *gradients = function(*x)
        ctx.save_for_backward(*gradients)
        return value

    def backward(ctx, scale):
        return tuple(gradient * scale for gradient in ctx.saved_tensors)

    return _autograd("with_gradient", forward, backward, *x)


def _autograd(name, forward, backward, *tensors):
    """Return what Function.apply calls. It passes tensors only, so the closures hold everything else."""
    return flow.autograd.Function.__base__.apply(name, forward, backward, *tensors)


def overwrite(x, values, /):
    """Assignment does not cast; a leaf that requires a gradient needs no_grad."""
    with flow.no_grad():
        x[...] = values.to(device=x.device, dtype=x.dtype)


def _rows_within(rows, length):
    """Make the indices non-negative; raise IndexError for one out of range. On CUDA, reading them would cost a wait."""
    if rows.device.type != "cpu" or 0 in rows.shape:
        return rows
    host = rows.numpy()
    if host.min() < -length or host.max() >= length:
        raise IndexError(f"indices must be in [{-length}, {length}), got {host.min()} to {host.max()}.")
    return flow.where(rows < 0, rows + length, rows) if host.min() < 0 else rows


# ---- what the standard lacks


def bce_with_logits(logits, target, /, *, pos_weight=None):
    """OneFlow aborts the process for empty tensors with a pos_weight."""
    if pos_weight is not None and 0 in logits.shape:
        return logits * target
    return flow._C.binary_cross_entropy_with_logits_loss(logits, target, None, pos_weight, "none")


def log_softmax(x, /, *, axis=-1):
    """OneFlow computes log(softmax): -88.7 instead of -10000, and only five correct digits elsewhere."""
    axis = axis_of(x.ndim, axis)
    shifted = x - flow.amax(x, dim=axis, keepdim=True).detach()
    return shifted - flow.log(flow.sum(flow.exp(shifted), dim=axis, keepdim=True))


def detach(x, /):
    """OneFlow's detach forgets where a view begins in its storage: a slice of x[1].detach() would be one of x[0]."""
    return x.clone().detach() if x.storage_offset() else x.detach()


def from_numpy(array, /, *, device=None):
    """OneFlow copies, refuses negative strides, and has no kernels for other dtypes."""
    array = np.asarray(array)
    if array.dtype.name not in ("bool", "int32", "int64", "float32", "float64"):
        raise ArrayTypeError(
            f"OneFlow computes with bool, int32, int64, float32 and float64 here, got {array.dtype}. Cast it."
        )
    return to_device(flow.from_numpy(np.ascontiguousarray(array).reshape(array.shape)), device)


def to_numpy(x, /):
    """Tensor.numpy works only on the CPU."""
    return x.detach().cpu().numpy()


def why_refused(x, /):
    """Refuse tensors that are spread over several processes."""
    return "is a global tensor: pass x.to_local()" if x.is_global else ""


def in_host_memory(x, /):
    """Tensor.numpy shares its memory on the CPU."""
    return x.device.type == "cpu"


def device_of(x, /):
    """OneFlow calls the CPU 'cpu:0'."""
    return "cpu" if x.device.type == "cpu" else f"cuda:{x.device.index}"


def to_device(x, device, /):
    """Check the device: one that does not exist ends the process."""
    return x.to(_checked(device) or "cpu")


def devices():
    """The wheel has code for compute capability 6.0 to 8.6, which also runs on 8.9; newer cards cannot run it."""
    count = flow.cuda.device_count()
    return ["cpu", *(f"cuda:{i}" for i in range(count) if 6 <= flow.cuda.get_device_capability(i)[0] <= 8)]


def _checked(device):
    """Return the device, or raise DeviceError if it does not exist."""
    if device is None or str(device).startswith("cpu"):
        return device
    wanted = flow.device(str(device))
    if f"{wanted.type}:{wanted.index}" not in devices():
        raise DeviceError(f"OneFlow {version} can use the devices {', '.join(devices())} here, got {device}.")
    return device


def ranks():
    """OneFlow has a process group from its import on."""
    return flow.env.get_rank(), flow.env.get_world_size()


def sum_over_ranks(values, /):
    """Each rank's CPU device has the number of the rank, which flow.from_numpy ignores."""
    total = flow.tensor(values, dtype=flow.float64, device=f"cpu:{flow.env.get_local_rank()}")
    flow.comm.all_reduce(total)
    return total.numpy()
