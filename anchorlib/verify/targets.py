"""What a case or a test runs on: a backend on a device, with or without NumPy views of its arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Optional

import numpy as np

from anchorlib.arrays import Array, HostArray
from anchorlib.backends import FRAMEWORKS, available, host_views, load, namespace_of
from anchorlib.errors import BadValueError, DeviceError

DEVICES = ("cpu", "cuda")


class Target:
    """A backend on a device: it makes arrays there, and returns their values as NumPy.

    entry : "torch", or with a device "torch:cuda"
    views : False runs the algorithms on the framework's own arrays instead of NumPy views of them
    is_requested : False if it is there only because it is installed

    Raises: UnknownBackendError, BackendMissingError if the framework does not import, DeviceError if it has no such
    device.
    """

    def __init__(self, entry: str, *, views: bool = True, is_requested: bool = True) -> None:
        self.name, _, device = entry.partition(":")
        self.device, self.views, self.is_requested = device or "cpu", views, is_requested
        self.xp = load(self.name)
        found = self.xp.devices()
        if not any(name.startswith(self.device) for name in found):
            raise DeviceError(f"{entry} was requested, but {self.name} can use only the devices {', '.join(found)}.")
        self._given: Optional[list[tuple[Array, HostArray]]] = None  # the inputs of the case that is running

    def __repr__(self) -> str:
        return f"{self.name}:{self.device}" + ("" if self.views else ", no views")

    @property
    def has_gradient(self) -> bool:
        """Return True if the framework differentiates."""
        return FRAMEWORKS[self.name].has_gradient

    @property
    def has_views(self) -> bool:
        """Return True if its arrays have NumPy views that may be used."""
        return bool(self.views and self.xp.in_host_memory(self.xp.from_numpy(np.zeros(1), device=self.device)))

    def array(self, values: Any, dtype: Any = None) -> Array:
        """Make an input array here. NumPy arrays are read-only; `inputs_written` checks the others."""
        host = np.array(values, dtype=dtype, order="C")
        if self.name == "numpy":
            array = host.copy()
            array.setflags(write=False)
        else:
            array = self.xp.from_numpy(host.copy(), device=self.device)
        if self._given is not None:
            self._given.append((array, host))
        return array

    def host(self, array: Any) -> HostArray:
        """Return the values as NumPy; raise TypeError for an array of another framework or device."""
        if isinstance(array, (bool, int, float, np.generic)):
            return np.asarray(array)
        xp = namespace_of(array)
        if xp.name != self.name or not xp.device_of(array).startswith(self.device):
            raise TypeError(f"expected an array of {self}, got one of {xp.name} on {xp.device_of(array)}")
        return np.array(xp.to_numpy(array))

    def differentiable(self, values: Any, dtype: Any = None) -> Array:
        """Make an array that collects a gradient, if the framework has gradients."""
        array = self.array(values, dtype)
        if self.has_gradient:
            array.requires_grad = True
        return array

    def gradients(self, value: Array, inputs: Sequence[Array]) -> list[HostArray]:
        """Return the gradient of the sum of `value` by each input; an empty list if the framework has no gradients."""
        if not self.has_gradient:
            return []
        value.sum().backward()
        return [self.host(x.grad) for x in inputs]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Apply `views` and record the inputs while a case runs here."""
        self._given = []
        try:
            with host_views(self.views):
                yield
        finally:
            self._given = None

    def inputs_written(self) -> bool:
        """Return True if the running case has written to an input."""
        return any(
            not np.array_equal(self.xp.to_numpy(array), before, equal_nan=before.dtype.kind == "f")
            for array, before in self._given or ()
        )


def find_targets(names: Optional[str] = None, devices: str = "cpu", *, own: bool = True) -> list[Target]:
    """Return each requested backend on each requested device, and a second time without views if it has views.

    Parameters
    ----------
    names : comma list: "numpy,torch", or with a device "oneflow,torch:cuda"; if None, every installed backend
    devices : comma list of cpu and cuda, for names without a device; NumPy runs on the CPU only
    own : False for a fork's code, which uses no views, and runs on NumPy only if no other backend is requested

    Raises
    ------
    BackendMissingError, UnknownBackendError, DeviceError, BadValueError

    Examples
    --------
    >>> find_targets("numpy")
    [numpy:cpu, numpy:cpu, no views]
    """
    wanted = _split_list("--devices", devices)
    for device in wanted:
        if device.partition(":")[0] not in DEVICES:
            raise BadValueError(f"--devices must be of {', '.join(DEVICES)}, got {device!r}.")
    is_requested = names is not None
    if names is None:
        names = ",".join(backend.name for backend in available() if backend.usable)
    entries: dict[str, None] = {}  # a set that keeps its order
    for name in _split_list("--backends", names):
        if ":" in name:
            entries[name] = None
        else:
            entries.update({f"{name}:{device}": None for device in (["cpu"] if name == "numpy" else wanted)})
    found = [Target(entry, is_requested=is_requested) for entry in entries]
    if not own:
        return [target for target in found if target.has_gradient] or found
    return [
        variant
        for target, entry in zip(found, entries)
        for variant in ([target, Target(entry, views=False)] if target.has_views else [target])
    ]


def _split_list(option: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise BadValueError(f"{option} must be a comma list, got {text!r}.")
    return parts
