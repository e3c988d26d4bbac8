import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.loss_cases import HYP, logits_of, model_of, small_case

from anchorlib import yolov5
from anchorlib.errors import ArrayTypeError, BackendMixError, BadValueError, ShapeError
from anchorlib.verify import oracle_ota
from anchorlib.yolov7 import ComputeLoss, ComputeLossAuxOTA, ComputeLossOTA

GOLDEN = Path(__file__).parent / "data/golden"
RECORDED = sorted([*GOLDEN.glob("ota_*.npz"), *GOLDEN.glob("aux_*.npz")])
CELL = ("image", "anchor", "gj", "gi")


def images(backend, n, height=64, width=64):
    return backend.array(np.zeros((n, 3, height, width), np.float32))


def recorded_loss(backend, data, aux):
    hyp, options = json.loads(str(data["hyp"])), json.loads(str(data["options"]))
    strides = data["stride"]
    model = model_of(backend, data["anchors_px"] / strides[:, None, None], strides, int(data["nc"]), hyp)
    model.gr = options.get("gr", 1.0)
    return (ComputeLossAuxOTA if aux else ComputeLossOTA)(model, autobalance=options.get("autobalance", False))


def assert_recorded(backend, lists, data, prefix):
    for i in range(len(data["stride"])):
        image, anchor, gj, gi, rows, anchor_wh = (backend.host(column[i]) for column in lists)
        cells = np.stack([image, anchor, gj, gi])
        assert cells.dtype == np.int64
        assert np.array_equal(cells, data[f"{prefix}indices_{i}"])
        assert np.array_equal(rows, data[f"{prefix}targets_{i}"])
        assert np.array_equal(anchor_wh, data[f"{prefix}anch_{i}"])


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_the_losses_meet_the_recordings(backend, path, recorded):
    data = np.load(recorded)
    aux = recorded.stem.startswith("aux")
    compute_loss = recorded_loss(backend, data, aux)
    p = logits_of(backend, [data[f"p_{i}"] for i in range(len(data["stride"]) * (2 if aux else 1))])
    targets = backend.array(data["targets"])
    imgs = images(backend, p[0].shape[0], int(data["imgsz"]), int(data["imgsz"]))
    assert_recorded(backend, compute_loss.build_targets(p, targets, imgs), data, "")
    if aux:
        assert_recorded(backend, compute_loss.build_aux_targets(p, targets, imgs), data, "aux_")

    loss, items = compute_loss(p, targets, imgs)
    assert backend.host(loss).dtype == np.float32
    np.testing.assert_allclose(backend.host(loss), data["loss"], rtol=2e-6)
    np.testing.assert_allclose(backend.host(items), data["items"], rtol=2e-6)
    np.testing.assert_allclose(compute_loss.balance, data["balance"], rtol=2e-6)
    if not backend.has_gradient:
        return
    loss.sum().backward()
    for i, layer in enumerate(p):
        expected = data[f"grad_{i}"]
        np.testing.assert_allclose(backend.host(layer.grad), expected, rtol=0, atol=5e-6 * abs(expected).max())


def test_all_recordings_are_there():
    assert len(RECORDED) == 14


OTA = (ComputeLossOTA, ComputeLossAuxOTA)


def run(backend, loss_class=ComputeLossOTA, case=None, nc=3, hyp=HYP, size=(64, 64), gr=None, **options):
    """Return loss, items and gradients on the host."""
    anchors, strides, p, targets = case or small_case()
    model = model_of(backend, anchors, strides, nc, hyp)
    if gr is not None:
        model.gr = gr
    compute_loss = loss_class(model, **options)
    p = logits_of(backend, doubled(p) if loss_class is ComputeLossAuxOTA else p)
    loss, items = compute_loss(p, backend.array(targets), images(backend, p[0].shape[0], *size))
    gradients = []
    if backend.has_gradient:
        loss.sum().backward()
        gradients = [backend.host(layer.grad).copy() for layer in p]
    return backend.host(loss), backend.host(items), gradients


def doubled(p):
    """The layers of main heads, and auxiliary heads of other values."""
    return [*p, *(layer[::-1] * 0.5 for layer in p)]


def test_without_ota_it_is_the_loss_of_yolov5_with_four_items(backend):
    anchors, strides, p, targets = small_case()
    model = model_of(backend, anchors, strides, 3)
    p, targets = [backend.array(layer) for layer in p], backend.array(targets)
    loss, items = ComputeLoss(model)(p, targets)
    expected = yolov5.ComputeLoss(model, four_items=True)(p, targets)
    assert np.array_equal(backend.host(loss), backend.host(expected[0]))
    assert np.array_equal(backend.host(items), backend.host(expected[1]))


@pytest.mark.parametrize("loss_class", [ComputeLoss, *OTA])
def test_gr_is_read_from_the_model(backend, loss_class):
    model = model_of(backend, *small_case()[:2], 3)
    assert loss_class(model).gr == 1.0
    model.gr = 0.25
    assert loss_class(model).gr == 0.25


@pytest.mark.parametrize("loss_class", OTA)
def test_the_items_end_with_their_sum(backend, loss_class):
    loss, items, _ = run(backend, loss_class)
    assert (loss.shape, items.shape) == ((1,), (4,))
    assert items[3] == pytest.approx(items[:3].sum())
    assert loss[0] == pytest.approx(2 * items[3])


@pytest.mark.parametrize("loss_class", OTA)
def test_without_targets_only_the_objectness_counts(backend, path, loss_class):
    _, items, gradients = run(backend, loss_class, small_case(0))
    assert (items[0], items[2]) == (0, 0)
    assert items[1] > 0
    for gradient in gradients:
        assert (gradient[..., 4] != 0).all()
        assert not gradient[..., :4].any()
        assert not gradient[..., 5:].any()


def test_without_matches_the_lists_are_empty_arrays_of_the_same_form(backend, path):
    anchors, strides, p, targets = small_case()
    compute_loss = ComputeLossOTA(model_of(backend, anchors, strides, 3))
    p, imgs = [backend.array(layer) for layer in p], images(backend, 2)
    empty = compute_loss.build_targets(p, backend.array(targets[:0]), imgs)
    full = compute_loss.build_targets(p, backend.array(targets), imgs)
    for column, wanted in zip(empty, full):
        for layer, like in zip(column, wanted):
            assert (layer.dtype, tuple(layer.shape)) == (like.dtype, (0, *like.shape[1:]))


def test_the_class_of_a_single_class_model_is_not_used(backend):
    case = small_case(nc=1)
    case[3][:, 1] = 7
    loss, items, _ = run(backend, case=case, nc=1)
    case[3][:, 1] = 0
    assert run(backend, case=case, nc=1)[0] == loss
    assert items[2] == 0


def test_the_order_of_targets_of_different_images_does_not_matter(backend):
    case = small_case(20)
    order = np.argsort(case[3][:, 0], kind="stable")
    sorted_rows = (*case[:3], case[3][order])
    np.testing.assert_allclose(run(backend, case=case)[0], run(backend, case=sorted_rows)[0], rtol=1e-12)


def test_both_sides_of_an_image_are_used(backend, path):
    """YOLOv7 multiplies widths by the height, which is wrong for images that are not square."""
    rng = np.random.default_rng(0)
    anchors, strides, _, targets = small_case(20)
    p = [rng.normal(0, 1, (2, 2, 32 // s, 96 // s, 8)) for s in strides]
    compute_loss = ComputeLossOTA(model_of(backend, anchors, strides, 3))
    lists = compute_loss.build_targets(
        [backend.array(layer) for layer in p], backend.array(targets), images(backend, 2, 32, 96)
    )
    right = oracle_ota.assign(p, targets, anchors, strides, (96, 32))
    wrong = oracle_ota.assign(p, targets, anchors, strides, (32, 32))
    for i, layer in enumerate(right):
        assert np.array_equal(backend.host(lists[4][i]), targets[layer["target"]])
        for column, name in zip(lists, CELL):
            assert np.array_equal(backend.host(column[i]), layer[name])
    assert any(not np.array_equal(one["target"], two["target"]) for one, two in zip(right, wrong))


@pytest.mark.parametrize("loss_class", OTA)
def test_a_gradient_is_the_slope_of_the_loss(grad_backend, loss_class):
    """Of class and objectness logits, where the matches stay as they are."""
    case = small_case(20)
    _, _, gradients = run(grad_backend, loss_class, case, gr=0.0)
    rng = np.random.default_rng(1)
    for i, gradient in enumerate(gradients[:3]):
        where = np.unravel_index(rng.choice(np.flatnonzero(gradient[..., 4:].ravel())), gradient[..., 4:].shape)
        where = (*where[:4], where[4] + 4)
        ends = []
        for step in (1e-6, -1e-6):
            p = [layer.copy() for layer in case[2]]
            p[i][where] += step
            if loss_class is ComputeLossAuxOTA:  # the auxiliary heads stay: see `doubled`
                model = model_of(grad_backend, *case[:2], 3)
                model.gr = 0.0
                layers = [grad_backend.array(layer) for layer in (*p, *doubled(case[2])[3:])]
                loss, _ = loss_class(model)(layers, grad_backend.array(case[3]), images(grad_backend, 2))
                ends.append(grad_backend.host(loss)[0])
            else:
                ends.append(run(grad_backend, loss_class, (*case[:2], p, case[3]), gr=0.0)[0][0])
        assert gradient[where] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("loss_class", OTA)
def test_reuse_grad_buffer_gives_the_same_gradients(grad_backend, loss_class):
    if grad_backend.name != "torch":
        pytest.skip("OneFlow keeps no memory")
    case = small_case(20)
    expected = run(grad_backend, loss_class, case)[2]
    for one, two in zip(run(grad_backend, loss_class, case, reuse_grad_buffer=True)[2], expected):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_predictions_of_16_bits_are_computed_with_in_32(grad_backend, dtype):
    if grad_backend.name != "torch":
        pytest.skip("OneFlow has no 16-bit kernels on the CPU")
    import torch

    anchors, strides, p, targets = small_case(20, dtype=np.float32)
    p = [layer.detach().to(getattr(torch, dtype)) for layer in logits_of(grad_backend, p)]
    rounded = [layer.float().cpu().numpy() for layer in p]
    for layer in p:
        layer.requires_grad = True
    compute_loss = ComputeLossOTA(model_of(grad_backend, anchors, strides, 3))
    loss, _ = compute_loss(p, grad_backend.array(targets), images(grad_backend, 2))
    loss.sum().backward()
    expected = run(grad_backend, case=(anchors, strides, rounded, targets))
    assert loss.dtype is torch.float32
    np.testing.assert_allclose(grad_backend.host(loss.detach()), expected[0], rtol=1e-5)
    for layer, gradient in zip(p, expected[2]):
        np.testing.assert_allclose(
            grad_backend.host(layer.grad.float()), gradient, rtol=0.02, atol=0.01 * abs(gradient).max()
        )


def test_it_runs_under_autocast(grad_backend):
    if grad_backend.name != "torch":
        pytest.skip("torch's")
    import torch

    anchors, strides, p, targets = small_case(20, dtype=np.float32)
    compute_loss = ComputeLossOTA(model_of(grad_backend, anchors, strides, 3))
    given = logits_of(grad_backend, p)
    with torch.autocast(grad_backend.device.partition(":")[0], dtype=torch.bfloat16):
        loss, _ = compute_loss(given, grad_backend.array(targets), images(grad_backend, 2))
    expected = run(grad_backend, case=(anchors, strides, p, targets))[0]
    np.testing.assert_allclose(grad_backend.host(loss.detach()), expected, rtol=1e-5)
    loss.sum().backward()


@pytest.mark.parametrize("loss_class", [ComputeLoss, *OTA])
@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))], ids=["copy", "pickle"]
)
def test_a_copied_or_pickled_loss_gives_the_same(backend, loss_class, again):
    anchors, strides, p, targets = small_case()
    compute_loss = loss_class(model_of(backend, anchors, strides, 3, {**HYP, "fl_gamma": 1.5}))
    p = doubled(p) if loss_class is ComputeLossAuxOTA else p
    arguments = [[backend.array(layer) for layer in p], backend.array(targets), images(backend, 2)]
    arguments = arguments[:2] if loss_class is ComputeLoss else arguments
    first, second = compute_loss(*arguments), again(compute_loss)(*arguments)
    assert np.array_equal(backend.host(first[1]), backend.host(second[1]))


def test_autobalance_looks_at_the_main_heads(backend):
    anchors, strides, p, targets = small_case()
    balances = []
    for auxiliary in (p, [layer * 3 for layer in p]):
        compute_loss = ComputeLossAuxOTA(model_of(backend, anchors, strides, 3), autobalance=True)
        given = [backend.array(layer) for layer in (*p, *auxiliary)]
        compute_loss(given, backend.array(targets), images(backend, 2))
        balances.append(compute_loss.balance)
    assert balances[0] == balances[1] != [4.0, 1.0, 0.4]


def test_arguments_that_do_not_fit_are_refused(backend):
    anchors, strides, p, targets = small_case()
    model = model_of(backend, anchors, strides, 3)
    p, targets, imgs = [backend.array(layer) for layer in p], backend.array(targets), images(backend, 2)
    bad_class = np.array(backend.host(targets))
    bad_class[4, 1] = 3
    for loss_class, arguments, error, message in (
        (ComputeLossOTA, (p, targets, images(backend, 3)), ShapeError, r"imgs must have shape \(2, 3, H, W\)"),
        (ComputeLossOTA, (p, targets, imgs[0, ...]), ShapeError, r"imgs must have shape \(2, 3, H, W\)"),
        (ComputeLossOTA, (p, targets, [imgs]), ArrayTypeError, "list is not a supported array type"),
        (ComputeLossOTA, (p[:2], targets, imgs), ShapeError, "one array for each of 3 layers, got 2"),
        (ComputeLossOTA, (p, targets[:, :5], imgs), ShapeError, r"targets must have shape \(T, 6\)"),
        (ComputeLossOTA, (p, backend.array(bad_class), imgs), BadValueError, r"as class \(column 1\), got 3 in row 4"),
        (ComputeLossAuxOTA, (p, targets, imgs), ShapeError, "one array for each of 6 layers, got 3"),
        (
            ComputeLossAuxOTA,
            ([*p, *p[:2], p[2][:, :1, ...]], targets, imgs),
            ShapeError,
            r"p\[5\] must have shape \(B, 2,",
        ),
    ):
        with pytest.raises(error, match=message):
            loss_class(model)(*arguments)


def test_validate_refuses_boxes_that_are_not_finite(backend):
    case = small_case()
    case[3][5, 3] = np.nan
    with pytest.raises(BadValueError, match=r"cy \(column 3\), got nan in row 5"):
        run(backend, case=case, validate=True)
    assert np.isfinite(run(backend, case=case)[0]).all()


def test_targets_of_another_framework_are_refused(grad_backend):
    anchors, strides, p, targets = small_case()
    compute_loss = ComputeLossOTA(model_of(grad_backend, anchors, strides, 3))
    with pytest.raises(BackendMixError, match="targets is numpy"):
        compute_loss(logits_of(grad_backend, p), targets, images(grad_backend, 2))
