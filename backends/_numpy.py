"""The adaptor for NumPy. array-api-compat gives NumPy 1.x the names of the standard."""

import sys

import array_api_compat.numpy as _compat
import numpy as np

from ._errors import DeviceError
from ._info import STANDARD_VERSION, NamespaceInfo
from ._limits import float_limits, integer_limits
from ._spec import STANDARD

# The names of the standard and no others. From here on `any`, `min`, `bool` ... are NumPy's, not Python's.
globals().update({standard_name: getattr(_compat, standard_name) for standard_name in STANDARD})

name = "numpy"
__array_api_version__ = STANDARD_VERSION
version = np.__version__
Module = None  # NumPy has no modules


# An array's own method answers in half the time of array-api-compat's function, and these are called for each batch.


def reshape(x, /, shape, *, copy=None):
    """NumPy 1 has no `copy`: True copies always, None if it must, False raises if it must."""
    result = x.reshape(shape)
    if copy is None:
        return result
    if not copy and x.size and not np.shares_memory(x, result):
        raise ValueError(f"shape {x.shape} with these strides cannot become {shape} without a copy.")
    return result.copy() if copy else result


def permute_dims(x, /, axes):
    """Return a view; the method is faster than array-api-compat's function."""
    return x.transpose(axes)


def take(x, indices, /, *, axis=None):
    """Return copies of the slices; the method is faster."""
    return x.take(indices, axis=axis)


def nonzero(x, /):
    """NumPy 1 accepts a 0-d array, which the standard forbids."""
    if x.ndim == 0:
        raise ValueError("nonzero needs at least one dimension, got a 0-d array.")
    return x.nonzero()


def floor(x, /):
    """NumPy 1 converts integers to floats."""
    return np.floor(x) if x.dtype.kind == "f" else x.copy()


def trunc(x, /):
    """NumPy 1 converts integers to floats."""
    return np.trunc(x) if x.dtype.kind == "f" else x.copy()


def floor_divide(x1, x2, /):
    """The standard divides infinities first and takes the floor; NumPy gives NaN for inf // 1 and -1 for -1 // inf."""
    result = np.floor_divide(x1, x2)
    if result.dtype.kind == "f" and (infinite := np.isinf(x1) | np.isinf(x2)).any():
        with np.errstate(divide="ignore", invalid="ignore"):
            result = np.where(infinite, np.floor(np.divide(x1, x2)), result)
    return result


def __array_namespace_info__():
    """NumPy keeps at most 64 axes, and NumPy 1 only 32."""
    return NamespaceInfo(sys.modules[__name__], 32 if version.startswith("1.") else 64)


def finfo(dtype, /):
    """Return the limits of a dtype, or of an array's dtype, as Python numbers."""
    return float_limits(np.finfo, dtype.dtype if isinstance(dtype, np.ndarray) else np.dtype(dtype))


def iinfo(dtype, /):
    """Return the limits of a dtype, or of an array's dtype, as Python numbers."""
    return integer_limits(np.iinfo, dtype.dtype if isinstance(dtype, np.ndarray) else np.dtype(dtype))


def _one_dtype(x1, x2):
    """Cast two arrays to the dtype that both promote to, or a Python number to the dtype of the array."""
    if not isinstance(x1, _ARRAYS) or not isinstance(x2, _ARRAYS):
        return _number_as_array(x1, x2), _number_as_array(x2, x1)
    if x1.dtype != x2.dtype:
        dtype = np.promote_types(x1.dtype, x2.dtype)
        return x1.astype(dtype, copy=False), x2.astype(dtype, copy=False)
    return x1, x2


def _number_as_array(x, other):
    """Convert a Python number to an array () like the other argument, unless it is of a higher kind."""
    is_number = isinstance(x, (int, float)) and not isinstance(x, _ARRAYS) and isinstance(other, _ARRAYS)
    if is_number and (other.dtype.kind == "f" or isinstance(x, int)):
        return np.asarray(x, dtype=other.dtype)
    return x


_OF_TWO = ("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "pow", "minimum", "maximum",
           "equal", "not_equal", "less", "less_equal", "greater", "greater_equal")  # fmt: skip


def _by_dtype(operation):
    def of_two(x1, x2, /):
        return operation(*_one_dtype(x1, x2))

    of_two.__doc__ = operation.__doc__
    return of_two


if version.startswith("1."):
    # NumPy 1 promotes a 0-d array by its value when the other array is longer: float64 and float32 give float32.
    _ARRAYS = (np.ndarray, np.generic)
    for _two in _OF_TWO:
        globals()[_two] = _by_dtype(globals()[_two])

    def where(condition, x1, x2, /):
        """Promote by dtype only, which NumPy 1 does not do for 0-d arrays."""
        return np.where(condition, *_one_dtype(x1, x2))

    def concat(arrays, /, *, axis=0):
        """Promote by dtype only, which NumPy 1 does not do for the 0-d arrays that axis=None allows."""
        return np.concatenate(arrays, axis=axis, dtype=result_type(*arrays))

    def result_type(*arrays_and_dtypes):
        """Promote by dtype only, which NumPy 1 does not do for 0-d arrays."""
        return np.result_type(*(x.dtype if isinstance(x, _ARRAYS) else x for x in arrays_and_dtypes))


def sigmoid(x, /):
    """Use one formula for each sign, so that exp does not overflow. NumPy 1 makes float64 of 1 + a float32 scalar."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype, copy=False)


def bce_with_logits(logits, target, /, *, pos_weight=None):
    """Compute max(x, 0) - x t + log(1 + exp(-|x|)), which does not overflow; `pos_weight` scales the positive part."""
    softplus_minus = np.log1p(np.exp(-np.abs(logits))) + np.maximum(-logits, 0)  # -log(sigmoid(x))
    weight = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    return (1 - target) * logits + weight * softplus_minus


def log_softmax(x, /, *, axis=-1):
    """Subtract the maximum first, so that exp does not overflow."""
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def detach(x, /):
    """NumPy arrays have no gradient."""
    return x


def repeat_each(x, counts, total, /, *, axis=-1):
    """NumPy does not need `total`: it adds up the counts."""
    return x.repeat(counts, axis=axis)


def put_rows(x, rows, values, /):
    """Copy first: all backends return a new array."""
    x = x.copy()
    x[rows] = values
    return x


def put_last(x, rows, values, /):
    """NumPy assigns in order, so that the last row wins."""
    return put_rows(x, rows, values)


def split_rows(x, rows, column, /, *, memory=None):
    """NumPy arrays have no gradient."""
    picked = x[rows]
    return picked[:, :column], x[:, column], picked[:, column + 1 :]


def add_rows(x, rows, values, /):
    """Add with np.add.at: an assignment would count equal rows once."""
    np.add.at(x, rows, values)


def with_gradient(function, /, *x):
    """NumPy arrays have no gradient."""
    return function(*x)[0]


def overwrite(x, values, /):
    """Write into the memory of the array."""
    x[...] = values


def from_numpy(array, /, *, device=None):
    """Return the same array: it is NumPy's already."""
    return to_device(array, device)


def to_numpy(x, /):
    """Return the same array: it is NumPy's already."""
    return x


def why_refused(x, /):
    """Refuse subclasses whose operators or masks give other results, and values that are not real numbers."""
    if type(x) is not np.ndarray:
        if isinstance(x, np.ma.MaskedArray):
            return "is a masked array: pass x.filled(value), or only the rows that are not masked"
        if isinstance(x, np.matrix):
            return "is a numpy.matrix, whose operators are others: pass np.asarray(x)"
    return "" if x.dtype.kind in "fiub" else f"has dtype {x.dtype}: pass real numbers"


def in_host_memory(x, /):
    """NumPy arrays are always in host memory."""
    return True


def device_of(x, /):
    """NumPy arrays are always on the CPU."""
    return "cpu"


def to_device(x, device, /):
    """NumPy has only the CPU."""
    if device not in (None, "cpu"):
        raise DeviceError(f"numpy arrays live on the CPU only, got device={device!r}. Use backend='torch' for CUDA.")
    return x


def devices():
    """NumPy has only the CPU."""
    return ["cpu"]


def ranks():
    """NumPy has no process group: one process trains."""
    return 0, 1


def sum_over_ranks(values, /):
    """NumPy has one process, whose values are the sum."""
    return values
