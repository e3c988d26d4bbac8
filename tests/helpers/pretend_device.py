"""A device of torch that is not the host, without a GPU: `pytest --backends torch:pretend` runs the tests on it.

Its tensors compute on the CPU and obey the rules of a device: an operation with a host tensor raises, `numpy()` raises,
and everything that a GPU would have to send or wait for is counted in `crossings`. It needs torch 2.9 or newer.

It cannot show how CUDA kernels round, in which order atomic additions happen, nor races of streams.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
#: Operations whose host tensors, as indices, CUDA copies to the device.
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
#: Operations whose result has a size that depends on the values: the host waits for it.
_WAITING = {
    "aten::nonzero", "aten::masked_select", "aten::equal", "aten::_unique2", "aten::unique_dim",
    "aten::unique_consecutive", "aten::bincount", "aten::is_nonzero",
}  # fmt: skip
_lists: list[list[str]] = []  # of the blocks `crossings` that are open


class _Module:
    """What torch asks a device's module for."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
DEVICE = torch.device(f"{NAME}:0")


_KERNELS = torch.library.Library("aten", "IMPL")  # for torch.asarray and autograd's threads, which pass no mode


def _empty_strided(size: Any, stride: Any, dtype: Any = None, **options: Any) -> torch.Tensor:
    return OnDevice(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _empty(size: Any, dtype: Any = None, **options: Any) -> torch.Tensor:
    return OnDevice(torch.empty(size, dtype=dtype, device="cpu"))


def _copy_from(x: torch.Tensor, to: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    if isinstance(x, OnDevice) != isinstance(to, OnDevice):
        _note("to the device" if isinstance(to, OnDevice) else "to the host", "aten::_copy_from")
    _unwrapped(to).copy_(_unwrapped(x))
    return to


_KERNELS.impl("_copy_from", _copy_from, "PrivateUse1")
_KERNELS.impl("empty_strided", _empty_strided, "PrivateUse1")
_KERNELS.impl("empty.memory_format", _empty, "PrivateUse1")


@contextlib.contextmanager
def crossings() -> Iterator[list[str]]:
    """Return a list of what crosses between host and device in a `with` block: "to the host: OPERATION" and so on.

    An entry "to the host" is a copy or a wait; "to the device" is a copy, for which a GPU need not wait.
    """
    seen: list[str] = []
    _lists.append(seen)
    try:
        yield seen
    finally:
        _lists.remove(seen)


def _note(direction: str, operation: str) -> None:
    for seen in _lists:
        seen.append(f"{direction}: {operation}")


class OnDevice(torch.Tensor):
    """A tensor on the device; `_inner` holds its values on the CPU."""

    _inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # operations arrive in __torch_dispatch__

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnDevice:
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        wrapper._inner = inner
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, **options: Any) -> str:
        return f"OnDevice({self._inner!r})"


class PretendDevice(TorchDispatchMode):
    """Make functions such as torch.zeros(device="pretend") return tensors of the device."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


def _unwrapped(x: Any) -> Any:
    """Return an argument with its tensors on the CPU; twice as fast as torch's own function for nested arguments."""
    if isinstance(x, (list, tuple)):
        return type(x)([_unwrapped(part) for part in x])
    return x._inner if isinstance(x, OnDevice) else x


def _tensors(arguments: Any) -> list[torch.Tensor]:
    found = []
    for x in arguments:
        found += [x] if isinstance(x, torch.Tensor) else _tensors(x) if isinstance(x, (list, tuple)) else []
    return found


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the CPU; refuse, or count, what a device refuses or waits for."""
    name = function._schema.name
    tensors = _tensors((*args, *kwargs.values()))
    here = [x for x in tensors if isinstance(x, OnDevice)]
    host = [x for x in tensors if not isinstance(x, OnDevice)]
    wanted = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    is_here = wanted.type == NAME if wanted is not None else bool(here)
    if not here and not is_here:
        return function(*args, **kwargs)

    if name == "aten::_to_copy":
        if is_here != bool(here):
            _note("to the device" if is_here else "to the host", name)
        out = function(*_unwrapped(args), **{key: x for key, x in kwargs.items() if key != "device"})
        return OnDevice(out) if is_here else out
    if name == "aten::copy_":
        if here and host:
            _note("to the device" if isinstance(args[0], OnDevice) else "to the host", name)
        _unwrapped(args[0]).copy_(_unwrapped(args[1]))
        return args[0]
    if name == "aten::_local_scalar_dense":
        _note("to the host", name)
        return function(*_unwrapped(args))
    masks = [x for x in (args[1] if name in _INDEXING else ()) if x is not None and x.dtype is torch.bool]
    unknown_size = name == "aten::repeat_interleave" and kwargs.get("output_size") is None
    if name in _WAITING or masks or unknown_size:
        _note("to the host", name)
    if here and host and name in _INDEXING:
        _note("to the device", name)
    elif here and any(x.dim() for x in host):  # CUDA takes a host tensor of no dimension as a number
        raise RuntimeError(
            f"{name}: expected all tensors to be on the same device, found {DEVICE} and cpu, the latter of shape "
            f"{[tuple(x.shape) for x in host]}"
        )

    on_cpu = {key: _unwrapped(x) for key, x in kwargs.items()}
    if wanted is not None:
        on_cpu["device"] = torch.device("cpu")
    if on_cpu.get("pin_memory"):
        on_cpu["pin_memory"] = False
    out = function(*_unwrapped(args), **on_cpu)
    if not is_here:
        return out
    if name.endswith("_") and not name.endswith("__"):  # in place
        return args[0]
    known = {id(x._inner): x for x in here}
    return _wrapped(out, known)


def _wrapped(x: Any, known: dict[int, OnDevice]) -> Any:
    """Return a result with its tensors on the device; a view of itself that an operation returns stays the same."""
    if isinstance(x, (list, tuple)):
        return type(x)([_wrapped(part, known) for part in x])
    if not isinstance(x, torch.Tensor):
        return x
    return known[id(x)] if id(x) in known else OnDevice(x)
