"""Count how often targets and loss wait for the device: at each wait the queue of kernels runs empty, and a GPU idles.

On CUDA, torch reports each wait (`set_sync_debug_mode`). The pretend device counts what crosses to the host. On the
CPU, also with old versions of torch, these tests count the operations that would wait on CUDA.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers.loss_cases import logits_of, model_of, small_case

from anchorlib.training import ComputeLoss, build_targets
from anchorlib.yolov5 import segment
from anchorlib.yolov7 import ComputeLossAuxOTA, ComputeLossOTA

#: Operations that copy a size or a value to the host on CUDA.
WAITING = {
    "aten::nonzero", "aten::_local_scalar_dense", "aten::masked_select", "aten::equal", "aten::_unique2",
    "aten::unique_dim", "aten::unique_consecutive", "aten::bincount",
}  # fmt: skip
OF_MASKS = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}  # with a mask, as nonzero
N_ALLOWED = 2  # the number of rows, and where the rows of each layer begin

N_OTA_COPIES = 5  # to the host: targets with anchors, logits; from it: cells, integers and floats of the matches


def waits(backend, monkeypatch, function):
    """Return what `function` waits for in its second run: the tables of these grids are cached in the first."""
    import torch

    if backend.device == "pretend":
        from helpers.pretend_device import crossings

        function()
        with crossings() as crossed:
            function()
        return [one for one in crossed if one.startswith("to the host")]

    if backend.device != "cpu":
        function()
        torch.cuda.synchronize()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                function()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return [str(one.message) for one in caught if "synchroniz" in str(one.message)]

    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            name = operation._schema.name
            masks = [x for x in (args[1] if name in OF_MASKS else ()) if x is not None and x.dtype == torch.bool]
            unknown_size = name == "aten::repeat_interleave" and kwargs.get("output_size") is None
            if name in WAITING or masks or unknown_size:
                seen.append(name)
            return operation(*args, **kwargs)

    monkeypatch.setattr(backend.xp, "in_host_memory", lambda x: False)  # as on CUDA, so that host views are not used
    function()
    to_numpy, from_numpy = backend.xp.to_numpy, backend.xp.from_numpy
    monkeypatch.setattr(backend.xp, "to_numpy", lambda x: (seen.append("to_numpy"), to_numpy(x))[1])
    monkeypatch.setattr(backend.xp, "from_numpy", lambda *a, **k: (seen.append("from_numpy"), from_numpy(*a, **k))[1])
    with Watch():
        function()
    monkeypatch.undo()
    return seen


@pytest.fixture
def on_torch(grad_backend):
    if grad_backend.name != "torch":
        pytest.skip("OneFlow has no switch that shows waits, and its operations cannot be watched")
    return grad_backend


@pytest.mark.parametrize("n_targets", [0, 12, 300])
def test_targets_wait_twice(on_torch, monkeypatch, n_targets):
    anchors, _, p, rows = small_case(n_targets)
    anchors, rows = on_torch.array(anchors), on_torch.array(rows)
    shapes = [layer.shape[2:4] for layer in p]
    assert len(waits(on_torch, monkeypatch, lambda: build_targets(rows, anchors, shapes))) <= N_ALLOWED


@pytest.mark.parametrize("n_targets", [0, 12, 300])
def test_the_loss_and_its_gradient_wait_for_the_targets_alone(on_torch, monkeypatch, n_targets):
    anchors, strides, p, rows = small_case(n_targets, dtype=np.float32)
    compute_loss = ComputeLoss(model_of(on_torch, anchors, strides, 3))
    p, rows = logits_of(on_torch, p), on_torch.array(rows)

    def step():
        compute_loss(p, rows)[0].sum().backward()

    assert len(waits(on_torch, monkeypatch, step)) <= N_ALLOWED


@pytest.mark.parametrize("n_targets", [0, 12, 300])
def test_the_loss_with_padded_targets_never_waits(on_torch, monkeypatch, n_targets):
    anchors, strides, p, rows = small_case(n_targets, dtype=np.float32)
    compute_loss = ComputeLoss(model_of(on_torch, anchors, strides, 3), padded=True)
    p, rows = logits_of(on_torch, p), on_torch.array(rows)
    assert waits(on_torch, monkeypatch, lambda: compute_loss(p, rows)[0].sum().backward()) == []


@pytest.mark.parametrize("loss_class", [ComputeLossOTA, ComputeLossAuxOTA])
@pytest.mark.parametrize("n_targets", [0, 12, 300])
def test_the_ota_losses_copy_to_the_host_twice(on_torch, monkeypatch, n_targets, loss_class):
    """Targets with anchors, then the candidates' logits; back come the cells, and the matches in two arrays."""
    anchors, strides, p, rows = small_case(n_targets, dtype=np.float32)
    compute_loss = loss_class(model_of(on_torch, anchors, strides, 3))
    p = logits_of(on_torch, p * (2 if loss_class is ComputeLossAuxOTA else 1))
    rows, images = on_torch.array(rows), on_torch.array(np.zeros((2, 3, 64, 64), np.float32))

    def step():
        compute_loss(p, rows, images)[0].sum().backward()

    seen = waits(on_torch, monkeypatch, step)
    assert len(seen) <= N_OTA_COPIES
    if on_torch.device == "cpu":
        assert seen.count("to_numpy") <= 2
        assert set(seen) <= {"to_numpy", "from_numpy"}


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("n_targets", [0, 12, 300])
def test_the_loss_with_masks_waits_for_two_copies_each_way_more(on_torch, monkeypatch, n_targets, overlap):
    """The targets and the matches to the host, and the plan in two arrays to the device."""
    anchors, strides, p, rows = small_case(n_targets, nc=7, dtype=np.float32)
    rows[:, 1] %= 3
    model = model_of(on_torch, anchors, strides, 3)
    model.model[0].nm = 4
    compute_loss = segment.ComputeLoss(model, overlap=overlap)
    *p, proto = logits_of(on_torch, [*p, np.ones((2, 4, 8, 8), np.float32)])
    masks = on_torch.array(np.ones((2 if overlap else n_targets, 8, 8), np.float32))
    rows = on_torch.array(rows)

    def step():
        compute_loss((p, proto), rows, masks)[0].sum().backward()

    assert len(waits(on_torch, monkeypatch, step)) <= N_ALLOWED + 4


def test_a_wait_is_seen(on_torch, monkeypatch):
    """Test that the count finds a wait."""
    x = on_torch.array(np.arange(4.0))
    wait = {
        "a value": lambda: float(x[1]),
        "a mask": lambda: x[x > 1],
        "a copy": lambda: on_torch.xp.to_numpy(x),
        "a size": lambda: on_torch.xp.nonzero(x),
    }
    assert {what: len(waits(on_torch, monkeypatch, function)) for what, function in wait.items()} == dict.fromkeys(
        wait, 1
    )
