"""BCEBlurWithLogitsLoss, FocalLoss and QFocalLoss are modules of the framework, as those of forks are."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from helpers.loss_cases import HYP, model_of, small_case

from anchorlib.training import BCEBlurWithLogitsLoss, BCEWithLogitsLoss, ComputeLoss, FocalLoss, QFocalLoss

KINDS = {
    "blur": lambda nn: BCEBlurWithLogitsLoss(),
    "focal": lambda nn: FocalLoss(nn.BCEWithLogitsLoss()),
    "qfocal": lambda nn: QFocalLoss(nn.BCEWithLogitsLoss(), gamma=2.0),
    "focal of ours": lambda nn: FocalLoss(BCEWithLogitsLoss()),
}


class Doubled(FocalLoss):
    """A fork's subclass, with an __init__ of its own that takes no loss."""

    def __init__(self, factor):
        super().__init__(BCEWithLogitsLoss())
        self.factor = factor

    def forward(self, pred, true):
        return super().forward(pred, true) * self.factor


def inputs(backend):
    rng = np.random.default_rng(0)
    return backend.array(rng.normal(0, 2, (3, 4)).astype(np.float32)), backend.array(np.eye(3, 4, dtype=np.float32))


def nn_of(backend):
    return __import__(backend.name).nn


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_is_a_module(grad_backend, kind):
    nn, loss = nn_of(grad_backend), KINDS[kind](nn_of(grad_backend))
    given = inputs(grad_backend)
    assert isinstance(loss, nn.Module)
    assert type(loss).__name__ == type(loss)._plain.__name__
    held = nn.ModuleList([loss])
    parent = nn.Sequential()
    parent.loss = loss
    before = grad_backend.host(loss(*given))
    for module in (held, parent):
        module.to(grad_backend.device)
        module.train()
        module.eval()
        assert any(found is loss for found in module.modules())
        assert (list(module.parameters()), len(module.state_dict())) == ([], 0)
        assert type(loss).__name__ in repr(module)
    assert np.array_equal(grad_backend.host(held[0](*given)), before)


def test_the_weights_of_an_inner_loss_move_with_the_module(grad_backend):
    framework = __import__(grad_backend.name)

    class Weighted(framework.nn.Module):
        reduction = "mean"

        def __init__(self):
            super().__init__()
            self.register_buffer("weight", framework.ones(4))

        def forward(self, pred, true):
            return (pred - true) * self.weight

    loss = FocalLoss(Weighted())
    assert [name for name, _ in loss.named_modules()] == ["", "loss_fcn"]
    assert list(loss.state_dict()) == ["loss_fcn.weight"]
    loss.to(framework.float64)
    assert loss.loss_fcn.weight.dtype is framework.float64


@pytest.mark.parametrize("base", [FocalLoss, QFocalLoss, BCEBlurWithLogitsLoss])
def test_forward_of_a_subclass_is_called(backend, base):
    class Own(base):
        def forward(self, pred, true):
            return super().forward(pred, true) + 100.0

    given, is_blur = inputs(backend), base is BCEBlurWithLogitsLoss
    losses = [kind() if is_blur else kind(BCEWithLogitsLoss()) for kind in (base, Own)]
    plain, own = (backend.host(loss(*given)) for loss in losses)
    assert own == pytest.approx(plain + 100)
    assert isinstance(losses[1], base)


def test_a_subclass_may_inherit_from_the_framework_too(grad_backend):
    nn = nn_of(grad_backend)

    class Both(FocalLoss, nn.Module):
        def forward(self, pred, true):
            return super().forward(pred, true) * 2

    loss, given = Both(nn.BCEWithLogitsLoss()), inputs(grad_backend)
    plain = grad_backend.host(FocalLoss(nn.BCEWithLogitsLoss())(*given))
    assert grad_backend.host(loss(*given)) == pytest.approx(2 * plain)
    assert isinstance(loss, nn.Module)


def test_hooks_are_called(grad_backend):
    loss, seen = KINDS["focal"](nn_of(grad_backend)), []
    loss.register_forward_hook(lambda module, given, result: seen.append(module))
    loss(*inputs(grad_backend))
    assert seen == [loss]


@pytest.mark.parametrize("make", [*KINDS.values(), lambda nn: Doubled(3.0)], ids=[*KINDS, "subclass"])
@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_loss_is_copied_and_pickled(backend, make, copied):
    loss = make(nn_of(backend) if backend.has_gradient else type("nn", (), {"BCEWithLogitsLoss": BCEWithLogitsLoss}))
    given, other = inputs(backend), copied(loss)
    assert np.array_equal(backend.host(other(*given)), backend.host(loss(*given)))
    assert type(other) is type(loss)
    assert other is not loss


@pytest.mark.parametrize("hyp", [{}, {"fl_gamma": 1.5}])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_compute_loss_is_a_plain_object_that_is_copied_and_pickled(backend, hyp, copied):
    anchors, strides, p, targets = small_case(dtype=np.float32)
    compute_loss = ComputeLoss(model_of(backend, anchors, strides, 3, {**HYP, **hyp}), preset="yolov5-4.0")
    other = copied(compute_loss)
    p, targets = [backend.array(layer) for layer in p], backend.array(targets)
    assert np.array_equal(backend.host(other(p, targets)[1]), backend.host(compute_loss(p, targets)[1]))
    assert str(other.device) == str(compute_loss.device)
    assert not backend.has_gradient or not isinstance(compute_loss, nn_of(backend).Module)


def test_no_framework_is_imported_for_a_loss():
    code = (
        "import sys, numpy as np; from anchorlib.yolov5 import *\n"
        "loss = FocalLoss(BCEWithLogitsLoss()); print(float(loss(np.zeros(1), np.ones(1)).round(4)))\n"
        "BCEBlurWithLogitsLoss(); print('torch' in sys.modules, 'oneflow' in sys.modules, type(loss) is FocalLoss)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["0.0613", "False", "False", "True"], result.stderr


@pytest.mark.needs("torch", "oneflow")
def test_a_loss_is_a_module_only_of_the_framework_of_its_inner_loss():
    torch, oneflow = (__import__(name) for name in ("torch", "oneflow"))
    for own, other in ((torch, oneflow), (oneflow, torch)):
        loss = FocalLoss(own.nn.BCEWithLogitsLoss())
        assert isinstance(loss, own.nn.Module)
        assert not isinstance(loss, other.nn.Module)
    without_one = BCEBlurWithLogitsLoss()
    assert isinstance(without_one, torch.nn.Module)
    assert isinstance(without_one, oneflow.nn.Module)
