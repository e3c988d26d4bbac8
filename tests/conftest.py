"""Fixtures: every test that takes `xp` runs once per backend and device asked for with --backends.

    pytest                                   every framework that is installed, on the CPU, and what CUDA there is
    pytest --backends numpy,torch,torch:cuda these, and a failure if one of them is not there

A backend that is asked for and does not load fails every test that needs it; it is never skipped.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from anchorlib import backends

ALL = ("numpy", "torch", "oneflow")


def pytest_addoption(parser):
    parser.addoption(
        "--backends", default=None, help="comma list of name or name:device, e.g. numpy,torch:cuda,oneflow"
    )


def _asked_for(config):
    asked = config.getoption("--backends")
    if asked:
        return [entry.strip() for entry in asked.split(",")]
    found = [name for name in ALL if importlib.util.find_spec(name)]
    if "torch" in found and len(backends.load("torch").devices()) > 1:
        found.append("torch:cuda")
    return found


def pytest_report_header(config):
    return f"anchorlib backends: {', '.join(_asked_for(config))}"


def pytest_generate_tests(metafunc):
    asked = _asked_for(metafunc.config)
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", asked, scope="session", indirect=True)
    if "grad_backend" in metafunc.fixturenames:
        grad = [entry for entry in asked if entry.partition(":")[0] != "numpy"]
        metafunc.parametrize("grad_backend", grad, scope="session", indirect=True)


class Backend:
    """A namespace and a device to test on, and the ways in and out of it."""

    def __init__(self, entry):
        self.name, _, device = entry.partition(":")
        self.device = device or "cpu"
        self.xp = backends.load(self.name)  # raises when it is not there: asked for is asked for
        here = self.xp.devices()
        if not any(place.startswith(self.device) for place in here):
            raise RuntimeError(f"{entry} was asked for, but {self.name} finds the devices {here} only")

    def array(self, values, dtype=None):
        """An array on this backend and device; NumPy arrays are read-only, so that a write to an input fails."""
        host = np.asarray(values, dtype=dtype)
        if self.name != "numpy":
            return self.xp.from_numpy(host.copy(), device=self.device)
        host = host.copy()
        host.setflags(write=False)
        return host

    def host(self, array):
        """Its values as NumPy; an array of another framework or on another device is an error."""
        assert backends.namespace_of(array).name == self.name
        assert self.xp.device_of(array).startswith(self.device)
        return self.xp.to_numpy(array)

    def __repr__(self):
        return f"{self.name}:{self.device}"


@pytest.fixture(scope="session")
def backend(request):
    return Backend(request.param)


@pytest.fixture(scope="session")
def grad_backend(request):
    return Backend(request.param)


@pytest.fixture(scope="session")
def xp(backend):
    return backend.xp


@pytest.fixture(params=["host views", "on the array"])
def path(request, monkeypatch):
    """Both ways through the code: NumPy views of arrays in host memory, and the array's own framework."""
    if request.param == "on the array":
        monkeypatch.setattr(backends, "on_host", lambda *arrays: arrays)
    return request.param
