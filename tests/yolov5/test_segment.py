import functools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.loss_cases import HYP, logits_of, model_of, small_case

from anchorlib import training
from anchorlib.errors import BackendMixError, BadValueError, ModelError, ShapeError
from anchorlib.verify import oracle_masks
from anchorlib.yolov5.segment import ComputeLoss

GOLDEN = Path(__file__).parent.parent / "data/golden"
RECORDED = sorted(GOLDEN.glob("seg_*.npz"))
N_PROTOTYPES = 4


def segment_model(backend, anchors, strides, nc=3, nm=N_PROTOTYPES, hyp=HYP):
    model = model_of(backend, anchors, strides, nc, hyp)
    model.model[-1].nm = nm
    return model


def case_of(n_targets=12, nc=3, seed=0, dtype=np.float64, overlap=False, mask_size=(16, 16), proto_size=(16, 16)):
    """Return anchors, strides, p, proto, targets (not sorted by image) and masks of two images."""
    anchors, strides, p, targets = small_case(n_targets, nc, dtype, seed)
    rng = np.random.default_rng(seed + 100)
    p = [np.concatenate([layer, rng.normal(0, 1, (*layer.shape[:4], N_PROTOTYPES))], axis=4) for layer in p]
    proto = rng.normal(0, 1, (2, N_PROTOTYPES, *proto_size)).astype(dtype)
    if overlap:
        masks = rng.integers(0, n_targets + 1, (2, *mask_size)).astype(np.float32)
    else:
        masks = (rng.random((n_targets, *mask_size)) < 0.5).astype(np.float32)
    return anchors, strides, [layer.astype(dtype) for layer in p], proto, targets, masks


def run(backend, case, nc=3, hyp=HYP, overlap=False, sort_obj_iou=False, **options):
    """Return (loss, items, gradients of p, gradient of proto) on the host."""
    anchors, strides, p, proto, targets, masks = case
    compute_loss = ComputeLoss(segment_model(backend, anchors, strides, nc, hyp=hyp), overlap=overlap, **options)
    compute_loss.sort_obj_iou = sort_obj_iou
    *p, proto = logits_of(backend, [*p, proto])
    loss, items = compute_loss((p, proto), backend.array(targets), backend.array(masks))
    if not backend.has_gradient:
        return backend.host(loss), backend.host(items), [], None
    loss.sum().backward()
    return backend.host(loss), backend.host(items), [backend.host(x.grad) for x in p], backend.host(proto.grad)


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_the_loss_with_masks_meets_the_recordings(backend, path, recorded):
    data = np.load(recorded)
    hyp, options, strides = json.loads(str(data["hyp"])), json.loads(str(data["options"])), data["stride"]
    n_layers, nc = len(strides), int(data["nc"])
    model = segment_model(backend, data["anchors_px"] / strides[:, None, None], strides, nc, int(data["nm"]), hyp)
    compute_loss = ComputeLoss(model, options.get("autobalance", False), bool(data["overlap"]))
    *p, proto = logits_of(backend, [*(data[f"p_{i}"] for i in range(n_layers)), data["proto"]])
    targets = backend.array(data["targets"])
    _, _, indices, _, numbers, boxes = compute_loss.build_targets(p, targets)
    for i in range(n_layers):
        assert np.array_equal(np.stack([backend.host(column) for column in indices[i]]), data[f"indices_{i}"])
        assert np.array_equal(backend.host(numbers[i]), data[f"tidx_{i}"])
        assert np.array_equal(backend.host(boxes[i]), data[f"xywhn_{i}"])
    loss, items = compute_loss((p, proto), targets, backend.array(data["masks"]))
    assert backend.host(loss).dtype == backend.host(items).dtype == np.float32
    np.testing.assert_allclose(backend.host(loss), data["loss"], rtol=2e-6)
    np.testing.assert_allclose(backend.host(items), data["items"], rtol=2e-6)
    np.testing.assert_allclose(compute_loss.balance, data["balance"], rtol=2e-6)
    if not backend.has_gradient:
        return
    loss.sum().backward()
    for name, array in [*((f"grad_{i}", layer) for i, layer in enumerate(p)), ("grad_proto", proto)]:
        expected = data[name]
        np.testing.assert_allclose(backend.host(array.grad), expected, rtol=0, atol=5e-6 * abs(expected).max())


def test_all_recordings_are_there():
    assert len(RECORDED) == 6


#: overlap, hyperparameters, options
WAYS = (
    (False, {}, {}),
    (True, {}, {}),
    (True, {}, {"sort_obj_iou": True}),
    (False, {"fl_gamma": 1.5, "label_smoothing": 0.1}, {"sort_obj_iou": True}),
)


@functools.cache  # every backend is compared with the same slow loops
def slow_losses(n_targets, way):
    (overlap, hyp, options), case = WAYS[way], case_of(n_targets, overlap=WAYS[way][0])
    anchors, _, p, proto, targets, masks = case
    given = (p, proto, targets, masks, anchors, {**HYP, **hyp}, 3, overlap)
    return oracle_masks.compute_loss(*given, **options), oracle_masks.mask_loss(*given)


@pytest.mark.parametrize("n_targets", [0, 1, 12, 40])
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_the_loss_with_masks_matches_the_loop(backend, path, n_targets, way):
    """The targets are in no order, and several rows have the same cell."""
    overlap, hyp, options = WAYS[way]
    case = case_of(n_targets, overlap=overlap)
    loss, items, by_p, by_proto = run(backend, case, hyp={**HYP, **hyp}, overlap=overlap, **options)
    expected, (_, expected_by_p, expected_by_proto) = slow_losses(n_targets, way)
    np.testing.assert_allclose(loss, [expected[0]], rtol=1e-9)
    np.testing.assert_allclose(items, expected[1], rtol=1e-9)
    if not backend.has_gradient:
        return
    np.testing.assert_allclose(by_proto, expected_by_proto, rtol=1e-9, atol=1e-12)
    for one, other in zip(by_p, expected_by_p):
        np.testing.assert_allclose(one[..., 8:], other[..., 8:], rtol=1e-9, atol=1e-12)


def test_the_other_items_are_those_of_the_loss_without_masks(backend):
    anchors, strides, p, proto, targets, masks = case_of(30)
    _, items, by_p, _ = run(backend, (anchors, strides, p, proto, targets, masks))
    plain = training.ComputeLoss(model_of(backend, anchors, strides, 3))
    p = logits_of(backend, [np.ascontiguousarray(layer[..., :8]) for layer in p])
    loss, expected = plain(p, backend.array(targets))
    np.testing.assert_allclose(items[[0, 2, 3]], backend.host(expected), rtol=1e-12)
    if backend.has_gradient:
        loss.sum().backward()
        for one, layer in zip(by_p, p):
            np.testing.assert_allclose(one[..., :8], backend.host(layer.grad), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sort_obj_iou", [False, True])
def test_another_order_of_the_targets_gives_the_same_mask_loss(backend, sort_obj_iou):
    anchors, strides, p, proto, targets, masks = case_of(25)
    order = np.random.default_rng(5).permutation(len(targets))
    one = run(backend, (anchors, strides, p, proto, targets, masks), sort_obj_iou=sort_obj_iou)
    other = run(backend, (anchors, strides, p, proto, targets[order], masks[order]), sort_obj_iou=sort_obj_iou)
    np.testing.assert_allclose(one[1][1], other[1][1], rtol=1e-12)


def test_overlapping_masks_are_those_of_the_objects_one_by_one(backend):
    anchors, strides, p, proto, targets, masks = case_of(25, overlap=True)
    one = run(backend, (anchors, strides, p, proto, targets, masks), overlap=True)
    each = [oracle_masks.mask_of(i, targets, masks, True).astype(np.float32) for i in range(len(targets))]
    other = run(backend, (anchors, strides, p, proto, targets, np.stack(each)))
    assert one[0] == other[0]


@pytest.mark.parametrize(("nc", "n_targets"), [(1, 9), (3, 0)])
def test_one_class_and_no_target_have_a_loss_and_gradients(grad_backend, nc, n_targets):
    loss, items, by_p, by_proto = run(grad_backend, case_of(n_targets, nc), nc=nc)
    assert loss[0] == pytest.approx(2 * items.sum())
    assert (items[1] > 0) == (n_targets > 0)
    assert items[3] == 0
    assert np.isfinite(by_proto).all()
    assert by_proto.any() == (n_targets > 0)
    assert all(layer[..., 4].all() for layer in by_p)


def test_an_image_without_objects_adds_nothing_and_has_no_gradient(grad_backend):
    case = case_of(12)
    case[4][:, 0] = 1
    _, items, _, by_proto = run(grad_backend, case)
    assert items[1] > 0
    assert not by_proto[0].any()
    assert by_proto[1].any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_predictions_of_16_bits_are_computed_in_32(grad_backend, dtype):
    framework = __import__(grad_backend.name)
    anchors, strides, p, proto, targets, masks = case_of(20, dtype=np.float32)
    inputs = [grad_backend.array(x).to(getattr(framework, dtype)) for x in (*p, proto)]
    *rounded, rounded_proto = (x.float().cpu().numpy() for x in inputs)
    for x in inputs:
        x.requires_grad = True
    *given, given_proto = inputs
    compute_loss = ComputeLoss(segment_model(grad_backend, anchors, strides))
    loss, _ = compute_loss((given, given_proto), grad_backend.array(targets), grad_backend.array(masks))
    loss.sum().backward()
    expected = run(grad_backend, (anchors, strides, rounded, rounded_proto, targets, masks))
    assert loss.dtype is framework.float32
    np.testing.assert_allclose(grad_backend.host(loss.detach()), expected[0], rtol=1e-5)
    for x, gradient in zip(inputs, [*expected[2], expected[3]]):
        assert x.grad.dtype is x.dtype
        atol = 0.01 * abs(gradient).max()
        np.testing.assert_allclose(grad_backend.host(x.grad.float()), gradient, rtol=0.02, atol=atol)


def test_it_runs_under_autocast(grad_backend, path):
    if grad_backend.name != "torch":
        pytest.skip("torch's")
    import torch

    case = case_of(20, dtype=np.float32)
    expected = run(grad_backend, case)
    with torch.autocast(grad_backend.device.partition(":")[0], dtype=torch.bfloat16):
        found = run(grad_backend, case)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)
    np.testing.assert_allclose(found[3], expected[3], atol=1e-5 * abs(expected[3]).max())


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float64"])
def test_masks_may_have_any_dtype(backend, path, dtype):
    if (backend.name, dtype) == ("oneflow", "uint8"):
        pytest.skip("OneFlow has no kernels of uint8 on the CPU")
    case = case_of(12)
    expected = run(backend, case)
    assert run(backend, (*case[:5], case[5].astype(dtype)))[0] == expected[0]


def test_the_items_carry_no_gradient(grad_backend):
    anchors, strides, p, proto, targets, masks = case_of()
    *p, proto = logits_of(grad_backend, [*p, proto])
    compute_loss = ComputeLoss(segment_model(grad_backend, anchors, strides))
    loss, items = compute_loss((p, proto), grad_backend.array(targets), grad_backend.array(masks))
    assert (tuple(loss.shape), tuple(items.shape)) == ((1,), (4,))
    assert loss.requires_grad
    assert not items.requires_grad


def test_a_loss_can_be_run_backward_twice(grad_backend):
    anchors, strides, p, proto, targets, masks = case_of()
    once = run(grad_backend, (anchors, strides, p, proto, targets, masks))
    *p, proto = logits_of(grad_backend, [*p, proto])
    compute_loss = ComputeLoss(segment_model(grad_backend, anchors, strides))
    loss, _ = compute_loss((p, proto), grad_backend.array(targets), grad_backend.array(masks))
    (loss.sum() * 3).backward(retain_graph=True)
    (loss.sum() * 2).backward()
    np.testing.assert_allclose(grad_backend.host(proto.grad), 5 * once[3], rtol=1e-12, atol=1e-18)


def test_wrong_arguments_are_refused_by_name(backend):
    anchors, strides, p, proto, targets, masks = case_of()
    for wrong, message in (
        ((p, proto[:1], targets, masks), r"proto must have shape \(2, 4, hm, wm\), got .* \(1, 4, 16, 16\)"),
        ((p, proto[:, :3], targets, masks), r"proto must have shape \(2, 4, hm, wm\)"),
        ((p, proto[:, :, :0], targets, masks), "proto and masks must have no side 0"),
        ((p, proto, targets, masks[:3]), r"masks must have shape \(12, h, w\), got .* \(3, 16, 16\)"),
        (([layer[..., :8] for layer in p], proto, targets, masks), r"p\[0\] must have shape \(B, 2, ny, nx, 12\)"),
    ):
        with pytest.raises(ShapeError, match=message):
            run(backend, (anchors, strides, *wrong))
    with pytest.raises(ShapeError, match=r"masks must have shape \(2, h, w\), got .* \(12, 16, 16\)"):
        run(backend, (anchors, strides, p, proto, targets, masks), overlap=True)
    if backend.has_views:
        targets[5, 0] = 2
        with pytest.raises(BadValueError, match="in row 5"):
            run(backend, (anchors, strides, p, proto, targets, masks))


def test_masks_of_another_framework_are_refused(grad_backend):
    anchors, strides, p, proto, targets, masks = case_of()
    compute_loss = ComputeLoss(segment_model(grad_backend, anchors, strides))
    *p, proto = logits_of(grad_backend, [*p, proto])
    with pytest.raises(BackendMixError, match="masks is numpy"):
        compute_loss((p, proto), grad_backend.array(targets), masks)


def test_a_model_without_prototypes_is_refused(backend):
    anchors, strides, *_ = case_of()
    with pytest.raises(ModelError, match="SimpleNamespace lacks nm, the number of prototypes"):
        ComputeLoss(model_of(backend, anchors, strides, 3))
    with pytest.raises(ModelError, match=r"has no model\[-1\]"):
        ComputeLoss(SimpleNamespace(hyp=HYP))
