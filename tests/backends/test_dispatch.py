"""namespace_of, load, convert, on_host: whose array it is, and what is said when arrays do not fit."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from anchorlib import backends, errors


class MyArray(np.ndarray):
    """A user's subclass."""


def test_an_array_carries_its_backend(backend):
    assert backends.namespace_of(backend.array([1.0])) is backend.xp
    assert backends.namespace_of(x=backend.array([1.0]), y=backend.array([2])) is backend.xp


def test_a_subclass_is_an_array_of_its_base():
    assert backends.namespace_of(np.zeros(2).view(MyArray)).name == "numpy"


def test_a_parameter_is_an_array_of_its_framework(grad_backend):
    parameter = importlib.import_module(grad_backend.name).nn.Parameter(grad_backend.array([1.0]))
    assert backends.namespace_of(parameter) is grad_backend.xp


@pytest.mark.parametrize(
    ("thing", "called", "hint"),
    [
        (Image.new("L", (1, 1)), "PIL.Image.Image", " Pass np.asarray(x)."),
        ([1.0, 2.0], "builtins.list", " Pass np.asarray(x)."),
        (3.0, "builtins.float", ""),
        (None, "builtins.NoneType", ""),
    ],
    ids=["image", "list", "float", "None"],
)
def test_an_object_that_is_not_an_array_is_refused_by_its_type(thing, called, hint):
    with pytest.raises(backends.ArrayTypeError) as caught:
        backends.namespace_of(np.zeros(2), thing)
    assert str(caught.value) == (
        f"{called} is not a supported array type; expected numpy.ndarray, torch.Tensor or oneflow.Tensor.{hint}"
    )
    assert isinstance(caught.value, TypeError)


def test_no_array_has_no_namespace():
    with pytest.raises(TypeError, match="needs at least one array"):
        backends.namespace_of()


def test_two_frameworks_are_refused_by_name(grad_backend):
    with pytest.raises(backends.BackendMixError) as caught:
        backends.namespace_of(boxes_wh=grad_backend.array([1.0]), anchors=np.zeros(2))
    assert str(caught.value) == (
        f"arrays come from different frameworks: boxes_wh is {grad_backend.name}, anchors is numpy. "
        "Use backends.convert(x, like=y)."
    )


@pytest.mark.needs("torch", "oneflow")
def test_torch_and_oneflow_are_two_frameworks():
    torch, oneflow = backends.load("torch"), backends.load("oneflow")
    with pytest.raises(backends.BackendMixError, match="argument 1 is torch, argument 2 is oneflow"):
        backends.namespace_of(torch.zeros(2), oneflow.zeros(2))


@pytest.mark.needs("torch")
def test_two_devices_are_refused_by_name(monkeypatch):
    xp = backends.load("torch")
    on_card = xp.ones(2)  # only its name says so: without a card, torch has no second device whose tensors have values
    device_of = xp.device_of
    monkeypatch.setattr(xp, "device_of", lambda x: "cuda:0" if x is on_card else device_of(x))
    with pytest.raises(backends.BackendMixError) as caught:
        backends.namespace_of(p=xp.zeros(2), targets=on_card)
    assert str(caught.value) == (
        "arrays are on different devices: p is on cpu, targets is on cuda:0. Use backends.convert(x, like=y)."
    )


def test_an_unknown_name_is_refused():
    with pytest.raises(backends.UnknownBackendError, match="no backend is called 'jax'; there are numpy, torch, onef"):
        backends.load("jax")


def test_every_error_of_the_library_has_one_root_and_is_the_builtin_error_that_it_was():
    classes = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(one, errors.AnchorlibError) for one in classes)
    others = set(classes) - {errors.AnchorlibError, errors.BackendError}
    assert all(issubclass(one, (ValueError, TypeError, ImportError)) for one in others)
    assert {name for name in vars(backends) if name.endswith("Error")} <= set(errors.__all__)


def test_a_device_that_does_not_exist_is_an_error_of_the_library(backend):
    with pytest.raises(backends.DeviceError, match="99"):
        backends.convert(backend.array([1.0]), device="cuda:99")


def test_on_host_gives_views_and_from_host_is_the_way_back(backend):
    x, y = backend.array([1.0, 2.0]), backend.array([3])
    views = backends.on_host(x, y)
    back = [backends.from_host(view, like=x) for view in views]
    assert [backend.host(one).tolist() for one in back] == [[1.0, 2.0], [3]]
    if not backend.has_views:
        assert backends.namespace_of(*views) is backend.xp
        return
    assert all(isinstance(view, np.ndarray) for view in views)
    if backend.name != "numpy":
        views[0][0] = 9.0
        assert float(x[0]) == 9.0


def test_without_host_views_on_host_gives_detached_arrays_of_the_framework(grad_backend):
    x = grad_backend.array([1.0, 2.0]).requires_grad_()
    with backends.host_views(False):
        (inside,) = backends.on_host(x)
        with backends.host_views(True):
            (nested,) = backends.on_host(x)
    (after,) = backends.on_host(x)
    assert backends.namespace_of(inside) is grad_backend.xp
    assert not inside.requires_grad
    on_the_host = grad_backend.device == "cpu"
    assert all(isinstance(one, np.ndarray) == on_the_host for one in (nested, after))


def test_host_views_come_back_after_an_error_and_hold_for_one_thread_only(grad_backend):
    x = grad_backend.array([1.0])
    before = type(backends.on_host(x)[0])
    with ThreadPoolExecutor(1) as pool, backends.host_views(False):
        assert type(pool.submit(backends.on_host, x).result()[0]) is before
    with pytest.raises(backends.UnknownBackendError), backends.host_views(False):
        backends.load("jax")
    assert type(backends.on_host(x)[0]) is before


@pytest.mark.parametrize("dtype", [bool, np.int32, np.int64, np.float32, np.float64])
def test_convert_keeps_values_shape_and_dtype_both_ways(backend, dtype):
    host = np.asarray([[1, 0, 1]], dtype)
    there = backends.convert(host, like=backend.array([0.0]))
    assert backends.namespace_of(there) is backend.xp
    back = backends.convert(there, backend="numpy")
    assert (back.dtype, back.tolist()) == (host.dtype, host.tolist())
    by_name = backends.convert(host, backend=backend.name, device=backend.device)
    assert backend.host(by_name).tolist() == host.tolist()


def test_convert_cuts_the_gradient(grad_backend):
    x = grad_backend.array([1.0]).requires_grad_()
    assert not backends.convert(x, like=x).requires_grad
    assert not backends.convert(x, backend=grad_backend.name).requires_grad
    assert backends.convert(x, backend="numpy").tolist() == [1.0]


@pytest.mark.parametrize("kwargs", [{}, {"like": np.zeros(1), "backend": "numpy"}], ids=["nothing", "both"])
def test_convert_wants_one_target(kwargs):
    with pytest.raises(TypeError, match="convert needs exactly one of"):
        backends.convert(np.zeros(1), **kwargs)


def test_numpy_has_no_cuda():
    with pytest.raises(ValueError, match="numpy arrays live on the CPU only, got device='cuda'"):
        backends.convert(np.zeros(1), device="cuda")


def test_available_lists_every_backend_with_a_version_or_a_problem():
    found = {info.name: info for info in backends.available()}
    assert list(found) == ["numpy", "torch", "oneflow"]
    for name, info in found.items():
        assert info.usable == (info.problem is None) == bool(info.devices)
        assert info.usable == (importlib.util.find_spec(name) is not None)
        if not info.usable:
            assert f"backend '{name}' did not import" in info.problem
            assert backends.FRAMEWORKS[name].install in info.problem
