"""A backend of array-api-strict, for tests: it refuses what the standard does not promise.

Its arrays have no NumPy views, so every algorithm runs on them, with the standard's functions and the extras only.
`register()` adds it as "strict"; `pytest --backends strict` calls it.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import array_api_strict
import numpy as np

from anchorlib import backends
from anchorlib.backends import FRAMEWORKS, DeviceError, _numpy
from anchorlib.backends._spec import EXTRAS, STANDARD, Framework

NAME = "strict"
_ARRAY = type(array_api_strict.asarray(0))
CPU = array_api_strict.Device("CPU_DEVICE")
#: Extras that compute: those of NumPy, on the values.
COMPUTING = ("sigmoid", "bce_with_logits", "log_softmax", "repeat_each", "put_rows", "put_last", "split_rows")


def register() -> None:
    """Make `load("strict")` return the adaptor, and `namespace_of` know its arrays."""
    FRAMEWORKS[NAME] = Framework(
        "array_api_strict", "Array", "pip install array-api-strict", {"cpu": "yes", "cuda": "no"}, has_gradient=False
    )
    module = f"{backends.__name__}._{NAME}"
    sys.modules[module] = _adaptor(module)


def _adaptor(module: str) -> types.ModuleType:
    adaptor = types.ModuleType(module, __doc__)
    vars(adaptor).update(
        {name: getattr(array_api_strict, name) for name in STANDARD if hasattr(array_api_strict, name)}
    )
    for name in (
        "asarray",
        "arange",
        "zeros",
        "ones",
        "full",
        "empty",
        "zeros_like",
        "ones_like",
        "full_like",
        "astype",
    ):
        setattr(adaptor, name, _with_device(getattr(array_api_strict, name)))
    for name in COMPUTING:
        setattr(adaptor, name, _on_values(getattr(_numpy, name)))
    vars(adaptor).update({name: globals()[name] for name in EXTRAS if name in globals()})
    vars(adaptor).update(name=NAME, version=array_api_strict.__version__, Module=None)
    return adaptor


def _with_device(function: Any) -> Any:
    """array-api-strict has its own device objects, and no short string."""

    def with_device(*arguments: Any, device: Any = None, **options: Any) -> Any:
        return function(*arguments, device=_checked(device), **options)

    return with_device


def _checked(device: Any) -> Any:
    if device not in (None, "cpu", CPU):
        raise DeviceError(f"strict arrays are on the cpu, got {device}.")
    return CPU


def _on_values(function: Any) -> Any:
    def on_values(*arguments: Any, **options: Any) -> Any:
        found = function(*map(_value, arguments), **{key: _value(x) for key, x in options.items()})
        return tuple(map(from_numpy, found)) if isinstance(found, tuple) else from_numpy(found)

    return on_values


def _value(x: Any) -> Any:
    return x._array if isinstance(x, _ARRAY) else x


def from_numpy(array: Any, /, *, device: Any = None) -> Any:
    return array_api_strict.asarray(np.array(array), device=_checked(device))


def to_numpy(x: Any, /) -> Any:
    return x._array.copy()


def in_host_memory(x: Any, /) -> bool:
    return False


def detach(x: Any, /) -> Any:
    return x


def add_rows(x: Any, rows: Any, values: Any, /) -> None:
    _numpy.add_rows(x._array, rows._array, values._array)


def with_gradient(function: Any, /, *x: Any) -> Any:
    return function(*x)[0]


def overwrite(x: Any, values: Any, /) -> None:
    x[...] = array_api_strict.astype(values, x.dtype)


def why_refused(x: Any, /) -> str:
    return _numpy.why_refused(x._array)


def device_of(x: Any, /) -> str:
    return "cpu"


def to_device(x: Any, device: Any, /) -> Any:
    _checked(device)
    return x


def devices() -> list[str]:
    return ["cpu"]


def ranks() -> tuple[int, int]:
    return 0, 1


def sum_over_ranks(values: Any, /) -> Any:
    return values
