from pathlib import Path

import numpy as np
import pytest
from helpers import oracle

from anchorlib.training import BCEBlurWithLogitsLoss, BCEWithLogitsLoss, FocalLoss, QFocalLoss, smooth_bce
from anchorlib.training.losses import class_bce, one_hot

RECORDED = np.load(Path(__file__).parent.parent / "data/golden/losses.npz")
LOSSES = {
    "blur": BCEBlurWithLogitsLoss,
    "focal": lambda: FocalLoss(BCEWithLogitsLoss()),
    "qfocal": lambda: QFocalLoss(BCEWithLogitsLoss()),
    "focal_sum": lambda: FocalLoss(BCEWithLogitsLoss(reduction="sum"), gamma=2.0, alpha=0.5),
    "qfocal_none": lambda: QFocalLoss(BCEWithLogitsLoss(reduction="none"), gamma=1.0, alpha=0.75),
}


def test_smooth_bce_known_values():
    assert smooth_bce(0.0) == (1.0, 0.0)
    assert smooth_bce(0.1) == pytest.approx((0.95, 0.05))


@pytest.mark.parametrize("pos_weight", [None, 1.0, 3.0])
def test_bce_of_an_even_chance_is_log_2(backend, pos_weight):
    loss = BCEWithLogitsLoss(pos_weight, reduction="none")
    result = backend.host(loss(backend.array([0.0, 0.0]), backend.array([0.0, 1.0])))
    assert result == pytest.approx([np.log(2), np.log(2) * (pos_weight or 1)])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["bce_with_logits", "focal", "qfocal"])
def test_losses_match_the_loop(backend, name, reduction):
    rng = np.random.default_rng(0)
    logits, true = rng.normal(0, 3, (5, 7)), rng.uniform(0, 1, (5, 7))
    loss = BCEWithLogitsLoss(0.7, reduction)
    if name != "bce_with_logits":
        loss = {"focal": FocalLoss, "qfocal": QFocalLoss}[name](loss, 2.0, 0.3)
    options = {} if name == "bce_with_logits" else {"gamma": 2.0, "alpha": 0.3}
    expected = getattr(oracle, name)(logits, true, pos_weight=0.7, reduction=reduction, **options)
    np.testing.assert_allclose(backend.host(loss(backend.array(logits), backend.array(true))), expected, rtol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_meet_the_recordings(backend, name):
    result = LOSSES[name]()(backend.array(RECORDED["pred"]), backend.array(RECORDED["true"]))
    assert backend.host(result).dtype == np.float32
    np.testing.assert_allclose(backend.host(result), RECORDED[name], rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_losses_meet_the_recordings(grad_backend, name):
    pred = grad_backend.array(RECORDED["pred"])
    pred.requires_grad = True
    LOSSES[name]()(pred, grad_backend.array(RECORDED["true"])).sum().backward()
    expected = RECORDED[f"{name}_grad"]
    tolerance = 1e-5 if name == "blur" else 2e-6  # 1 / alpha = 20 magnifies the rounding of the sigmoid
    np.testing.assert_allclose(
        grad_backend.host(pred.grad), expected, rtol=tolerance, atol=tolerance * abs(expected).max()
    )


def test_focal_takes_the_reduction_over(backend):
    bce = BCEWithLogitsLoss(reduction="sum")
    focal = FocalLoss(bce)
    assert (focal.reduction, bce.reduction, focal.gamma, focal.alpha) == ("sum", "none", 1.5, 0.25)
    assert focal.loss_fcn is bce


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction must be one of"):
        BCEWithLogitsLoss(reduction="average")


@pytest.mark.parametrize("n_rows", [1, 2048, 5000])  # less than a block, one block, several blocks and a part
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_bce_is_the_mean_and_its_gradient(backend, n_rows, smoothing):
    rng = np.random.default_rng(0)
    logits, cls = rng.normal(0, 3, (n_rows, 4)), rng.integers(0, 4, n_rows)
    positive, negative = smooth_bce(smoothing)
    value, gradient = class_bce(backend.array(logits), backend.array(cls), positive, negative)
    target = np.where(np.arange(4) == cls[:, None], positive, negative)
    expected = np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-abs(logits)))
    assert float(backend.host(value)) == pytest.approx(expected.mean(), rel=1e-12)
    expected = (1 / (1 + np.exp(-logits)) - target) / logits.size
    np.testing.assert_allclose(backend.host(gradient), expected, rtol=1e-9, atol=1e-16)
    hot = one_hot(backend.xp, backend.array(logits), backend.array(cls), positive, negative)
    np.testing.assert_allclose(backend.host(hot), target, atol=1e-16)
