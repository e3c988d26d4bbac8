"""Fixtures: every test that takes `xp` runs once per backend and device asked for with --backends.

    pytest -m fast                           some tests of every room, in under a minute
    pytest                                   every framework that is installed, on the CPU, and what CUDA there is
    pytest --backends numpy,torch,torch:cuda these, and a failure if one of them is not there
    pytest --backends torch:pretend          the pretend device of helpers/pretend_device.py: a GPU's rules on the CPU
    pytest --backends strict                 array-api-strict: what the array API standard promises, no more
    pytest --extras dask,browser             the extras of pyproject.toml to test; without it, those installed
    pytest --where frameworks                the tests that an environment of ci/test runs; see helpers/where.py

A backend or an extra that is asked for and does not load fails every test that needs it; it is never skipped.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from helpers import chromium
from helpers.fast_tests import FAST
from helpers.where import STAND_INS, WHERE, is_traced, number_of_cases, runs_here
from hypothesis import settings

from anchorlib import backends
from anchorlib.backends import FRAMEWORKS, host_views
from anchorlib.verify import Target

ROOT = Path(__file__).parent.parent
PRETEND, STRICT = STAND_INS
#: An extra that tests need -> whether it is installed, with what it needs besides Python packages.
EXTRAS = {
    "dask": lambda: importlib.util.find_spec("distributed") is not None,
    "browser": lambda: not chromium.missing(),
}


def pytest_addoption(parser, pluginmanager):
    if not pluginmanager.hasplugin("anchorlib.verify"):  # the plugin has the same option and is loaded first
        parser.addoption(
            "--backends", default=None, help="comma list of name or name:device, e.g. numpy,torch:cuda,oneflow"
        )
    parser.addoption("--extras", default=None, help="comma list of extras; those that no test needs are ignored")
    parser.addoption("--where", default="all", choices=WHERE, help="run what this kind of environment decides")


def _asked_for(config):
    asked = config.getoption("--backends")
    if asked:
        return [entry.strip() for entry in asked.split(",")]
    found = [name for name, framework in FRAMEWORKS.items() if importlib.util.find_spec(framework.module)]
    if "torch" in found and len(backends.load("torch").devices()) > 1:
        found.append("torch:cuda")
    return found


def _extras_asked_for(config):
    asked = config.getoption("--extras")
    if asked is None:
        return [name for name, is_here in EXTRAS.items() if is_here()]
    return [name for name in EXTRAS if name in asked.split(",")]


def pytest_configure(config):
    if PRETEND in _asked_for(config):
        from helpers import pretend_device  # noqa: F401  # its import adds the device to torch
    if STRICT in _asked_for(config):
        from helpers import strict_backend

        strict_backend.register()
    config.addinivalue_line("markers", "needs(*names): run only if all these backends and extras are requested")


def pytest_collection_modifyitems(config, items):
    """Mark the tests of helpers/fast_tests.py, and leave out those that --where leaves to another environment."""
    where, kept, left_out = config.getoption("--where"), [], []
    has_coverage = config.pluginmanager.hasplugin("_cov")
    for item in items:
        file, function = item.path.relative_to(ROOT).as_posix(), getattr(item, "originalname", item.name)
        if file in FAST or f"{file}::{function}" in FAST:
            item.add_marker("fast")
        if has_coverage and not is_traced(item, file):
            item.add_marker("no_cover")
        (kept if runs_here(item, file, where) and not _repeats_a_path(item) else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)  # pytest says how many
        items[:] = kept


def _repeats_a_path(item):
    """Return True for a test of host views on a stand-in, whose arrays have none: the other path is the same."""
    return _is_on_stand_in(item) and item.callspec.params.get("path") == "host views"


def _is_on_stand_in(item):
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return any(params.get(name) in STAND_INS for name in ("backend", "grad_backend"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Let hypothesis try fewer examples where only the versions are others, and on a stand-in, which is slow."""
    attribute = "_hypothesis_internal_use_settings"
    usual = getattr(item.obj, attribute, None)
    if usual is not None:
        wanted = number_of_cases(usual.max_examples, item.config.getoption("--where"))
        setattr(item.obj, attribute, settings(usual, max_examples=5 if _is_on_stand_in(item) else wanted))
    yield
    if usual is not None:
        setattr(item.obj, attribute, usual)


def pytest_runtest_setup(item):
    """A test of certain frameworks is left out where they were not asked for, and nowhere else."""
    for marker in item.iter_markers("needs"):
        asked = _asked_for(item.config) + _extras_asked_for(item.config)
        asked += [name.partition(":")[0] for name in asked]  # torch:cuda and torch:pretend are torch
        missing = [name for name in marker.args if name not in asked]
        if missing:
            pytest.skip(f"{' and '.join(missing)} not asked for with --backends or --extras, or not installed")


def pytest_report_header(config):
    return f"anchorlib backends: {', '.join(_asked_for(config))}; extras: {', '.join(_extras_asked_for(config)) or '-'}"


def pytest_generate_tests(metafunc):
    asked = _asked_for(metafunc.config)
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", asked, scope="session", indirect=True)
    if "grad_backend" in metafunc.fixturenames:
        grad = [entry for entry in asked if FRAMEWORKS[entry.partition(":")[0]].has_gradient]
        metafunc.parametrize("grad_backend", grad, scope="session", indirect=True)


@pytest.fixture(autouse=True)
def _pretend_device(request):
    """Let functions that make tensors make them on the pretend device, in the tests that run on it."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if PRETEND not in (parameters.get("backend"), parameters.get("grad_backend")):
        yield
        return
    from helpers.pretend_device import PretendDevice

    with PretendDevice():
        yield


@pytest.fixture(scope="session")
def n_cases(request):
    """Return how many random cases to try, from the number for `--where all`."""
    return lambda usual: number_of_cases(usual, request.config.getoption("--where"))


@pytest.fixture(scope="session")
def backend(request):
    return Target(request.param)


@pytest.fixture(scope="session")
def grad_backend(request):
    return Target(request.param)


@pytest.fixture(scope="session")
def xp(backend):
    return backend.xp


@pytest.fixture(params=["host views", "on the array"])
def path(request):
    """Run a test on both paths: on NumPy views of arrays in host memory, and on the framework's own arrays."""
    with host_views(request.param == "host views"):
        yield request.param
