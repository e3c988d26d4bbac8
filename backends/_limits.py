"""What finfo and iinfo return: Python numbers and the framework's dtype, as the standard requires.

NumPy's own have NumPy scalars (a float32 `eps` is not a `float`), torch's and OneFlow's the dtype's name.
"""

import functools
from dataclasses import dataclass
from typing import Any, Callable


@dataclass(frozen=True)
class FloatLimits:
    """The limits of a floating dtype; `eps` is the step from 1.0 to the next number."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: Any


@dataclass(frozen=True)
class IntegerLimits:
    """The limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: Any


@functools.cache  # losses ask for the bits at every call
def float_limits(finfo: Callable[[Any], Any], dtype: Any) -> FloatLimits:
    """Return the limits from the framework's own finfo."""
    info = finfo(dtype)
    return FloatLimits(info.bits, float(info.eps), float(info.max), float(info.min), float(info.tiny), dtype)


@functools.cache
def integer_limits(iinfo: Callable[[Any], Any], dtype: Any) -> IntegerLimits:
    """Return the limits from the framework's own iinfo."""
    info = iinfo(dtype)
    return IntegerLimits(info.bits, int(info.max), int(info.min), dtype)
