"""One namespace for the arrays of NumPy, PyTorch and OneFlow, with array-API names.

The array carries its backend: `namespace_of(x)` looks at the type of `x` and returns the adaptor for its framework.
Nothing is imported before an array of it is seen or its name is asked for, and there is no current backend.

>>> import numpy as np
>>> xp = namespace_of(np.asarray([3.0, 4.0]))
>>> float(xp.max(xp.asarray([3.0, 4.0])))
4.0
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from ._errors import (
    AnchorlibError,
    ArrayTypeError,
    BackendError,
    BackendMissingError,
    BackendMixError,
    DeviceError,
    UnknownBackendError,
)
from ._spec import EXTRAS, FRAMEWORKS

__all__ = [
    "EXTRAS",
    "FRAMEWORKS",
    "AnchorlibError",
    "ArrayTypeError",
    "BackendError",
    "BackendInfo",
    "BackendMissingError",
    "BackendMixError",
    "DeviceError",
    "UnknownBackendError",
    "available",
    "convert",
    "from_host",
    "host_views",
    "load",
    "namespace_of",
    "on_host",
]

Array = Any  # numpy.ndarray, torch.Tensor or oneflow.Tensor: there is no common base class
Namespace = Any  # an adaptor module: _numpy, _torch or _oneflow

_LOADED: dict[str, Namespace] = {}  # a dict, which torch.compile can look into, unlike functools.cache
_BACKEND_OF_TYPE: dict[type, str] = {}  # a type never changes its framework
_HOST_VIEWS = contextvars.ContextVar("host_views", default=True)


def load(name: str) -> Namespace:
    """Return the adaptor of a backend by its name, and import its framework if needed.

    Parameters
    ----------
    name : "numpy", "torch" or "oneflow"

    Raises
    ------
    UnknownBackendError : no backend has that name (also a ValueError)
    BackendMissingError : the framework did not import; the message says why and how to install it

    Examples
    --------
    >>> load("numpy").name
    'numpy'
    """
    if name in _LOADED:
        return _LOADED[name]
    if name not in FRAMEWORKS:
        raise UnknownBackendError(f"no backend is called {name!r}; there are {', '.join(FRAMEWORKS)}.")
    try:
        _LOADED[name] = importlib.import_module(f"{__name__}._{name}")
    except Exception as error:  # a broken wheel raises anything: OSError for a library, AttributeError under NumPy 2
        others = [other for other in FRAMEWORKS if other != name and _installed(other)]
        raise BackendMissingError(
            f"backend {name!r} did not import: {error}. {FRAMEWORKS[name].install}, or use {', '.join(others)}."
        ) from error
    return _LOADED[name]


def namespace_of(*arrays: Array, **named: Array) -> Namespace:
    """Return the namespace of the arrays. Errors call an array that is given by keyword by that keyword.

    Raises
    ------
    ArrayTypeError : an argument is not an array of a known framework; or one that is given by keyword is not an
        ordinary array of real numbers: masked, complex, text, sparse, nested, quantised, or without values
    BackendMixError : arrays of two frameworks, or on two devices

    Examples
    --------
    >>> namespace_of(np.zeros(2), np.ones(3)).name
    'numpy'
    """
    labelled = [(f"argument {i}", array) for i, array in enumerate(arrays, 1)] + list(named.items())
    if not labelled:
        raise TypeError("namespace_of needs at least one array.")
    names = [_backend_name(array) for _, array in labelled]
    if len(set(names)) > 1:
        origins = ", ".join(f"{label} is {name}" for (label, _), name in zip(labelled, names))
        raise BackendMixError(f"arrays come from different frameworks: {origins}. Use backends.convert(x, like=y).")
    xp = load(names[0])
    for label, array in named.items():
        reason = xp.why_refused(array)
        if reason:
            raise ArrayTypeError(f"{label} {reason}.")
    if names[0] != "numpy" and len(labelled) > 1:
        devices = [xp.device_of(array) for _, array in labelled]
        if len(set(devices)) > 1:
            origins = ", ".join(f"{label} is on {device}" for (label, _), device in zip(labelled, devices))
            raise BackendMixError(f"arrays are on different devices: {origins}. Use backends.convert(x, like=y).")
    return xp


@contextlib.contextmanager
def host_views(enabled: bool) -> Iterator[None]:
    """Say whether `on_host` may return NumPy views, for the calls of this thread or task in a `with` block.

    Without the views, an algorithm runs on the framework's own arrays, as it does on a device.

    >>> with host_views(False):
    ...     on_host(np.zeros(2))
    (array([0., 0.]),)
    """
    token = _HOST_VIEWS.set(enabled)
    try:
        yield
    finally:
        _HOST_VIEWS.reset(token)


def on_host(*arrays: Array) -> tuple[Array, ...]:
    """Return NumPy views of the arrays if all are in host memory, else the arrays themselves, without the gradient.

    Use it in code that needs no gradient: a small operation takes 1 us in NumPy, 4 us in PyTorch and 20 us in OneFlow.
    Nothing is copied, and nothing on a device is touched. `from_host` converts a result back. `host_views(False)`
    turns the views off.

    >>> x = np.zeros(2)
    >>> on_host(x)[0] is x
    True
    """
    xp = namespace_of(*arrays)
    if _HOST_VIEWS.get() and all(xp.in_host_memory(array) for array in arrays):
        return tuple(xp.to_numpy(array) for array in arrays)
    return tuple(xp.detach(array) for array in arrays)


def from_host(array: Array, *, like: Array) -> Array:
    """Convert a result of `on_host` back: to the framework and the device of `like`.

    >>> from_host(np.zeros(2), like=np.ones(3))
    array([0., 0.])
    """
    xp = namespace_of(like)
    return array if _backend_name(array) == xp.name else xp.from_numpy(array, device=xp.device_of(like))


def convert(
    x: Array, *, like: Optional[Array] = None, backend: Optional[str] = None, device: Optional[str] = None
) -> Array:
    """Convert an array to another framework or device. Dtype and shape stay, the gradient is dropped.

    Parameters
    ----------
    x : array
    like : array; framework and device of the result
    backend : "numpy", "torch" or "oneflow", instead of `like`
    device : "cpu", "cuda" or "cuda:1"; the framework's default if not given

    Returns
    -------
    An array that may share memory with `x` if both are on the CPU.

    Examples
    --------
    >>> convert(np.asarray([1.0, 2.0]), backend="numpy")
    array([1., 2.])
    """
    source = namespace_of(x=x)
    if (like is None) == (backend is None) and (like is not None or device is None):
        raise TypeError("convert needs exactly one of like= and backend=, or only device=.")
    if like is not None:
        target = namespace_of(like)
        device = target.device_of(like) if device is None else device
    else:
        target = source if backend is None else load(backend)
    if target is source:
        return source.detach(x) if device is None else source.to_device(source.detach(x), device)
    return target.from_numpy(source.to_numpy(x), device=device)


@dataclass(frozen=True)
class BackendInfo:
    """A backend and its devices, or why it cannot be used.

    name, version : strings; version is None if the framework did not import
    devices : short names, the CPU first: ("cpu", "cuda:0"); empty if the framework did not import
    problem : why it did not import and what to do, or None
    """

    name: str
    version: Optional[str] = None
    devices: tuple[str, ...] = ()
    problem: Optional[str] = None

    @property
    def usable(self) -> bool:
        """Return True if the framework imported."""
        return self.problem is None


def available() -> list[BackendInfo]:
    """Return every backend, usable or not. Imports the frameworks that are installed.

    Examples
    --------
    >>> [backend.name for backend in available() if backend.usable][0]
    'numpy'
    """
    found = []
    for name in FRAMEWORKS:
        try:
            xp = load(name)
        except BackendMissingError as error:
            found.append(BackendInfo(name, problem=str(error)))
        else:
            found.append(BackendInfo(name, version=xp.version, devices=tuple(xp.devices())))
    return found


def _backend_name(array: Array) -> str:
    """Return the backend of an array, from the module of its type, so that nothing is imported."""
    array_type = type(array)
    if array_type in _BACKEND_OF_TYPE:
        return _BACKEND_OF_TYPE[array_type]
    for base in array_type.__mro__:  # a Parameter or a user's subclass is an array of its base's framework
        root = base.__module__.partition(".")[0]
        for name, framework in FRAMEWORKS.items():
            if root == framework.module and base.__name__ == framework.array_type:
                _BACKEND_OF_TYPE[array_type] = name
                return name
    kinds = [f"{framework.module}.{framework.array_type}" for framework in FRAMEWORKS.values()]
    raise ArrayTypeError(
        f"{array_type.__module__}.{array_type.__qualname__} is not a supported array type; "
        f"expected {', '.join(kinds[:-1])} or {kinds[-1]}.{_how_to_convert(array)}"
    )


def _how_to_convert(x: Any) -> str:
    """Say how to get a NumPy array out of an object, for the error about it; nothing if no way is known."""
    if hasattr(x, "_no_object_has_this_attribute"):  # a placeholder of torch.fx.symbolic_trace, which has them all
        return " It is symbolic, without values: call this outside of traced code, or pass a tensor with values."
    if hasattr(x, "to_numpy"):  # a table of pandas, Polars or Arrow; it may have a column called wh
        return " Pass x.to_numpy()."
    if hasattr(x, "wh"):
        return " Pass its box sizes, x.wh."
    if isinstance(x, (list, tuple)) or any(
        hasattr(x, name) for name in ("__array__", "__array_interface__", "__dlpack__")
    ):
        return " Pass np.asarray(x)."
    return ""


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(FRAMEWORKS[name].module) is not None
    except (ImportError, ValueError):  # ValueError: in sys.modules without a spec
        return False
