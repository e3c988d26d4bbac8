"""Where a case runs: a backend on a device, with or without the NumPy views of its arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Optional

import numpy as np

from anchorlib.arrays import Array, HostArray
from anchorlib.backends import FRAMEWORKS, available, host_views, load, namespace_of
from anchorlib.errors import BackendError, BadValueError

DEVICES = ("cpu", "cuda")


class Place:
    """A backend on a device, and the ways in and out of it.

    entry : "torch", or with a device "torch:cuda"
    views : False keeps algorithms on the framework's own arrays where they would take NumPy views of them

    Raises: BackendMissingError where the framework does not import, BackendError where it finds no such device.
    """

    def __init__(self, entry: str, *, views: bool = True) -> None:
        self.name, _, device = entry.partition(":")
        self.device, self.views = device or "cpu", views
        if self.name not in FRAMEWORKS:
            raise BadValueError(f"no backend is called {self.name!r}; there are {', '.join(FRAMEWORKS)}.")
        self.xp = load(self.name)
        here = self.xp.devices()
        if not any(place.startswith(self.device) for place in here):
            raise BackendError(f"{entry} was asked for, but {self.name} finds the devices {', '.join(here)} only.")
        self._given: list[tuple[Array, HostArray]] = []

    def __str__(self) -> str:
        return f"{self.name}:{self.device}" + ("" if self.views else ", no views")

    @property
    def has_gradient(self) -> bool:
        """Can it differentiate?"""
        return hasattr(self.xp.zeros((1,)), "requires_grad")

    @property
    def has_views(self) -> bool:
        """Are there NumPy views of its arrays?"""
        return bool(self.views and self.xp.in_host_memory(self.xp.zeros((1,), device=self.device)))

    def array(self, values: Any, dtype: Any = None) -> Array:
        """An array here. It is an input: `inputs_written` tells whether it was written to."""
        host = np.array(values, dtype=dtype, order="C")
        array = self.xp.from_numpy(host.copy(), device=self.device) if self.name != "numpy" else host.copy()
        if self.name == "numpy":
            array.setflags(write=False)
        self._given.append((array, host))
        return array

    def host(self, array: Any) -> HostArray:
        """The values as NumPy; an error for an array of another framework or device."""
        if isinstance(array, (bool, int, float, np.generic)):
            return np.asarray(array)
        xp = namespace_of(array)
        if xp.name != self.name or not xp.device_of(array).startswith(self.device):
            raise TypeError(f"an array of {xp.name} on {xp.device_of(array)} came back, not one of {self}")
        return np.array(xp.to_numpy(array))

    def differentiable(self, values: Any, dtype: Any = None) -> Array:
        """An array that collects a gradient, where the framework has one."""
        array = self.array(values, dtype)
        if self.has_gradient:
            array.requires_grad = True
        return array

    def gradients(self, value: Array, inputs: Sequence[Array]) -> list[HostArray]:
        """The gradient of the sum of `value` by each input; empty where there is none."""
        if not self.has_gradient:
            return []
        value.sum().backward()
        return [self.host(x.grad) for x in inputs]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """While a case runs here: `views` holds, and inputs are watched."""
        self._given.clear()
        with host_views(self.views):
            yield

    def inputs_written(self) -> bool:
        """Did the case write to an array that it was given?"""
        return any(
            not np.array_equal(self.xp.to_numpy(array), before, equal_nan=before.dtype.kind == "f")
            for array, before in self._given
        )


def places(names: Optional[str] = None, devices: str = "cpu", *, own: bool = True) -> list[Place]:
    """The places asked for: each backend on each device, and once more without the views where there are some.

    Parameters
    ----------
    names : comma list: "numpy,torch", or with a device of its own "oneflow,torch:cuda"; if None, what is installed
    devices : comma list of cpu and cuda, for names without a device; NumPy knows the CPU only
    own : False for a fork's code, which takes no views, and no NumPy arrays where there are others

    Raises
    ------
    BackendMissingError, BackendError, BadValueError

    Examples
    --------
    >>> [str(place) for place in places("numpy")]
    ['numpy:cpu', 'numpy:cpu, no views']
    """
    wanted = _listed("--devices", devices)
    for device in wanted:
        if device.partition(":")[0] not in DEVICES:
            raise BadValueError(f"--devices must be of {', '.join(DEVICES)}, got {device!r}.")
    if names is None:
        names = ",".join(backend.name for backend in available() if backend.usable)
    entries: dict[str, None] = {}  # a set that keeps its order
    for name in _listed("--backends", names):
        if ":" in name:
            entries[name] = None
        else:
            entries.update({f"{name}:{device}": None for device in (["cpu"] if name == "numpy" else wanted)})
    found = [Place(entry) for entry in entries]
    if not own:
        return [place for place in found if place.has_gradient] or found
    return [
        there
        for place, entry in zip(found, entries)
        for there in ([place, Place(entry, views=False)] if place.has_views else [place])
    ]


def _listed(option: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise BadValueError(f"{option} must be a comma list, got {text!r}.")
    return parts
