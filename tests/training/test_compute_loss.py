import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import oracle
from helpers.loss_cases import HYP, logits_of, model_of, small_case

from anchorlib import backends
from anchorlib import boxes as boxes_of
from anchorlib.errors import ArrayTypeError, BackendMixError, BadValueError, ModelError, ShapeError
from anchorlib.training import BCEWithLogitsLoss, ComputeLoss
from anchorlib.training import compute_loss as compute_loss_module

GOLDEN = Path(__file__).parent.parent / "data/golden"
RECORDED = sorted(GOLDEN.glob("loss_*.npz"))


def run(backend, case, nc=3, hyp=HYP, dtype=None, **options):
    """Return (loss, items, gradients) on the host."""
    anchors, strides, p, targets = case
    p = logits_of(backend, p, dtype)
    loss, items = ComputeLoss(model_of(backend, anchors, strides, nc, hyp), **options)(p, backend.array(targets))
    gradients = []
    if backend.has_gradient:
        loss.sum().backward()
        gradients = [backend.host(layer.grad).copy() for layer in p]
    return backend.host(loss), backend.host(items), gradients


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_compute_loss_meets_the_recordings(backend, path, recorded):
    data = np.load(recorded)
    hyp, options = json.loads(str(data["hyp"])), json.loads(str(data["options"]))
    strides = data["stride"]
    model = model_of(backend, data["anchors_px"] / strides[:, None, None], strides, int(data["nc"]), hyp)
    compute_loss = ComputeLoss(model, autobalance=options.get("autobalance", False))
    compute_loss.sort_obj_iou = options.get("sort_obj_iou", False)
    compute_loss.gr = options.get("gr", 1.0)
    p = logits_of(backend, [data[f"p_{i}"] for i in range(len(strides))])
    loss, items = compute_loss(p, backend.array(data["targets"]))
    assert backend.host(loss).dtype == backend.host(items).dtype == np.float32
    np.testing.assert_allclose(backend.host(loss), data["loss"], rtol=2e-6)
    np.testing.assert_allclose(backend.host(items), data["items"], rtol=2e-6)
    np.testing.assert_allclose(compute_loss.balance, data["balance"], rtol=2e-6)
    if not backend.has_gradient:
        return
    loss.sum().backward()
    for i, layer in enumerate(p):
        expected = data[f"grad_{i}"]
        np.testing.assert_allclose(backend.host(layer.grad), expected, rtol=2e-6, atol=2e-6 * abs(expected).max())


def test_all_recordings_are_there():
    assert len(RECORDED) == 9


@pytest.mark.parametrize(
    ("hyp", "options"),
    [
        ({}, {}),
        ({"label_smoothing": 0.1}, {}),
        ({"cls_pw": 0.7, "obj_pw": 1.3}, {}),
        ({"fl_gamma": 1.5}, {}),
        ({"anchor_t": 2.0}, {}),
        ({}, {"sort_obj_iou": True}),
        ({}, {"gr": 0.4}),
        ({}, {"gr": 0.0}),
        ({}, {"autobalance": True}),
    ],
)
@pytest.mark.parametrize("n_targets", [0, 1, 12])
def test_compute_loss_matches_the_loop(backend, path, n_targets, hyp, options):
    anchors, strides, p, targets = small_case(n_targets)
    hyp = {**HYP, **hyp}
    compute_loss = ComputeLoss(model_of(backend, anchors, strides, 3, hyp), autobalance="autobalance" in options)
    compute_loss.sort_obj_iou = options.get("sort_obj_iou", False)
    compute_loss.gr = options.get("gr", 1.0)
    loss, items = compute_loss([backend.array(layer) for layer in p], backend.array(targets))
    expected = oracle.compute_loss(p, targets, anchors, hyp, 3, strides=strides, **options)
    np.testing.assert_allclose(backend.host(loss), [expected[0]], rtol=1e-9)
    np.testing.assert_allclose(backend.host(items), expected[1], rtol=1e-9)
    np.testing.assert_allclose(compute_loss.balance[:3], expected[2][:3], rtol=1e-9)


def test_the_class_of_a_single_class_model_is_not_used(backend):
    case = small_case(nc=1)
    case[3][:, 1] = 7
    loss, items, _ = run(backend, case, nc=1)
    case[3][:, 1] = 0
    assert run(backend, case, nc=1)[0] == loss
    assert items[2] == 0


def rows_share_cells(case):
    layers = oracle.build_targets(case[3], case[0], [layer.shape[2:4] for layer in case[2]], 4.0)
    return any(
        len({(i, a, y, x) for i, a, y, x in zip(layer["image"], layer["anchor"], layer["gj"], layer["gi"])})
        < len(layer["gi"])
        for layer in layers
    )


@pytest.mark.parametrize("sort", [False, True])
def test_where_rows_share_a_cell_the_last_wins_or_the_largest(backend, path, sort):
    case = small_case(60)
    assert rows_share_cells(case)
    compute_loss = ComputeLoss(model_of(backend, case[0], case[1], 3))
    compute_loss.sort_obj_iou = sort
    _, items = compute_loss([backend.array(layer) for layer in case[2]], backend.array(case[3]))
    kept = {
        sort_too: oracle.compute_loss(case[2], case[3], case[0], HYP, 3, sort_obj_iou=sort_too)[1][1]
        for sort_too in (False, True)
    }
    assert kept[False] != pytest.approx(kept[True], rel=1e-6)
    assert backend.host(items)[1] == pytest.approx(kept[sort], rel=1e-9)


def test_the_same_loss_and_gradient_come_every_time(grad_backend):
    case = small_case(200, dtype=np.float32)
    assert rows_share_cells(case)
    first = run(grad_backend, case)
    for _ in range(20):
        again = run(grad_backend, case)
        assert np.array_equal(again[1], first[1])
        for one, two in zip(again[2], first[2]):
            np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-9)
            assert np.array_equal(one[..., 4], two[..., 4])


def test_gradients_match_numerical_ones(grad_backend):
    case = small_case(20)
    eps = 1e-6
    _, _, gradients = run(grad_backend, case)
    numpy_backend = SimpleNamespace(name="numpy", has_gradient=False, array=np.asarray, host=np.asarray)
    rng = np.random.default_rng(1)
    compared = 0
    for i, gradient in enumerate(gradients):
        large = np.argsort(-abs(gradient).ravel())[:40]
        for flat in np.concatenate([rng.choice(large, 10, replace=False), rng.integers(0, gradient.size, 5)]):
            where = np.unravel_index(flat, gradient.shape)
            if where[-1] < 4:
                continue  # the IoU is also the target of the objectness, which has no gradient: gradcheck below
            ends = []
            for step in (eps, -eps):
                p = [layer.copy() for layer in case[2]]
                p[i][where] += step
                ends.append(run(numpy_backend, (*case[:2], p, case[3]))[0][0])
            assert gradient[where] == pytest.approx((ends[0] - ends[1]) / (2 * eps), rel=1e-5, abs=1e-8)
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("hyp", [{}, {"fl_gamma": 1.5}, {"cls_pw": 0.7, "obj_pw": 1.3, "label_smoothing": 0.1}])
def test_torch_gradcheck_passes(grad_backend, monkeypatch, hyp):
    """Check all that has a gradient: not the target of the objectness (gr = 0 makes it 1), nor CIoU's weight (DIoU)."""
    if grad_backend.name != "torch":
        pytest.skip("gradcheck is torch's")
    import torch

    monkeypatch.setattr(
        compute_loss_module, "box_iou_pairs", lambda *boxes, kind: boxes_of.box_iou_pairs(*boxes, kind="diou")
    )
    anchors, strides, p, targets = small_case(8)
    targets[:, 0] = 0
    compute_loss = ComputeLoss(model_of(grad_backend, anchors[:, :1], strides, 3, {**HYP, **hyp}))
    compute_loss.gr = 0.0
    p = logits_of(grad_backend, [np.ascontiguousarray(layer[:1, :1, :3, :2]) for layer in p])
    given = grad_backend.array(targets)
    assert sum(len(cls) for cls in compute_loss.build_targets(p, given)[0]) > 10
    assert torch.autograd.gradcheck(lambda *layers: compute_loss(layers, given)[0] * 2.5, p, eps=1e-6, atol=1e-7)


@pytest.mark.needs("torch", "oneflow")
def test_two_frameworks_agree_in_float64():
    from anchorlib.verify import Target

    for hyp in ({}, {"fl_gamma": 1.5}, {"label_smoothing": 0.1, "cls_pw": 0.7}):
        one, two = (run(Target(name), small_case(60), hyp={**HYP, **hyp}) for name in ("torch", "oneflow"))
        np.testing.assert_allclose(one[0], two[0], rtol=1e-12)
        for a, b in zip(one[2], two[2]):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * abs(a).max())


def test_a_loss_can_be_scaled_and_run_backward_twice(grad_backend):
    case = small_case(20)
    _, _, once = run(grad_backend, case)
    p = logits_of(grad_backend, case[2])
    loss, _ = ComputeLoss(model_of(grad_backend, case[0], case[1], 3))(p, grad_backend.array(case[3]))
    (loss.sum() * 3).backward(retain_graph=True)
    (loss.sum() * 2).backward()
    for layer, gradient in zip(p, once):
        np.testing.assert_allclose(grad_backend.host(layer.grad), 5 * gradient, rtol=1e-12, atol=1e-18)


def test_reuse_grad_buffer_gives_the_same_gradients_in_the_same_memory(grad_backend):
    if grad_backend.name != "torch":
        pytest.skip("OneFlow keeps no memory")
    model = model_of(grad_backend, *small_case()[:2], 3)
    reusing = ComputeLoss(model, reuse_grad_buffer=True)
    held = None
    for seed in (0, 1, 2):
        case = (*small_case()[:2], *small_case(20, seed=seed)[2:])
        _, _, expected = run(grad_backend, case)
        p = logits_of(grad_backend, case[2])
        reusing(p, grad_backend.array(case[3]))[0].sum().backward()
        for layer, gradient in zip(p, expected):
            np.testing.assert_allclose(grad_backend.host(layer.grad), gradient, rtol=1e-12, atol=1e-18)
        if held is not None:  # the danger that the docstring describes: the gradient of the step before is overwritten
            assert np.array_equal(grad_backend.host(held), grad_backend.host(p[0].grad))
        held = p[0].grad


def test_several_threads_with_one_loss_that_reuses_memory_get_their_own_gradients(grad_backend):
    if grad_backend.name != "torch":
        pytest.skip("OneFlow keeps no memory")
    compute_loss = ComputeLoss(model_of(grad_backend, *small_case()[:2], 3), reuse_grad_buffer=True)
    cases = [(*small_case()[:2], *small_case(20, seed=seed)[2:]) for seed in range(4)]
    expected = [run(grad_backend, case)[2] for case in cases]
    meet = threading.Barrier(len(cases))

    def train(number):
        p = logits_of(grad_backend, cases[number][2])
        for _ in range(5):
            for layer in p:
                layer.grad = None
            total = compute_loss(p, grad_backend.array(cases[number][3]))[0].sum()
            meet.wait()  # every thread has run forward, and none backward
            total.backward()
            meet.wait()
        return [grad_backend.host(layer.grad) for layer in p]

    with ThreadPoolExecutor(len(cases)) as pool:
        for found, wanted in zip(pool.map(train, range(len(cases))), expected):
            for one, two in zip(found, wanted):
                np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-18)


def test_without_reuse_a_gradient_stays_what_it_was(grad_backend):
    compute_loss = ComputeLoss(model_of(grad_backend, *small_case()[:2], 3))
    p = logits_of(grad_backend, small_case(20)[2])
    compute_loss(p, grad_backend.array(small_case(20)[3]))[0].sum().backward()
    before = grad_backend.host(p[0].grad).copy()
    other = logits_of(grad_backend, small_case(20, seed=3)[2])
    compute_loss(other, grad_backend.array(small_case(20, seed=3)[3]))[0].sum().backward()
    assert np.array_equal(grad_backend.host(p[0].grad), before)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_predictions_of_16_bits_are_computed_with_in_32(grad_backend, dtype):
    framework = __import__(grad_backend.name)
    case = small_case(20, dtype=np.float32)
    p = [layer.detach().to(getattr(framework, dtype)) for layer in logits_of(grad_backend, case[2])]
    rounded = [layer.float().cpu().numpy() for layer in p]
    for layer in p:
        layer.requires_grad = True
    model = model_of(grad_backend, case[0], case[1], 3)
    loss, _ = ComputeLoss(model)(p, grad_backend.array(case[3]))
    loss.sum().backward()
    expected = run(grad_backend, (*case[:2], rounded, case[3]))
    assert loss.dtype is framework.float32
    np.testing.assert_allclose(grad_backend.host(loss.detach()), expected[0], rtol=1e-5)
    for layer, gradient in zip(p, expected[2]):
        assert layer.grad.dtype is layer.dtype
        np.testing.assert_allclose(
            grad_backend.host(layer.grad.float()), gradient, rtol=0.02, atol=0.01 * abs(gradient).max()
        )


def test_it_runs_under_autocast(grad_backend):
    if grad_backend.name != "torch":
        pytest.skip("torch's")
    import torch

    case = small_case(20, dtype=np.float32)
    p, targets = logits_of(grad_backend, case[2]), grad_backend.array(case[3])
    compute_loss = ComputeLoss(model_of(grad_backend, case[0], case[1], 3))
    with torch.autocast(grad_backend.device.partition(":")[0], dtype=torch.bfloat16):
        loss, _ = compute_loss(p, targets)
    np.testing.assert_allclose(grad_backend.host(loss.detach()), run(grad_backend, case)[0], rtol=1e-5)
    loss.sum().backward()


def test_four_items_end_with_the_total(backend):
    loss, items, _ = run(backend, small_case(), four_items=True)
    assert items.shape == (4,)
    assert items[3] == pytest.approx(items[:3].sum())
    assert loss[0] == pytest.approx(2 * items[3])


def test_the_items_carry_no_gradient_and_the_loss_has_one_entry(grad_backend):
    anchors, strides, p, targets = small_case()
    compute_loss = ComputeLoss(model_of(grad_backend, anchors, strides, 3))
    loss, items = compute_loss(logits_of(grad_backend, p), grad_backend.array(targets))
    assert (tuple(loss.shape), tuple(items.shape)) == ((1,), (3,))
    assert loss.requires_grad
    assert not items.requires_grad


def test_attributes_that_forks_read(backend):
    anchors, strides, _, _ = small_case()
    model = model_of(backend, anchors, strides, 3, {**HYP, "label_smoothing": 0.2})
    compute_loss = ComputeLoss(model, autobalance=True)
    assert compute_loss.anchors is model.model[-1].anchors
    assert (compute_loss.na, compute_loss.nl, compute_loss.nc) == (2, 3, 3)
    assert (compute_loss.balance, compute_loss.ssi, compute_loss.gr) == ([4.0, 1.0, 0.4], 1, 1.0)
    assert (compute_loss.cp, compute_loss.cn) == (0.9, 0.1)
    assert compute_loss.hyp == model.hyp
    assert compute_loss.autobalance is True
    assert ComputeLoss.sort_obj_iou is False
    assert callable(compute_loss.BCEcls)
    assert callable(compute_loss.BCEobj)
    assert hasattr(compute_loss, "device")


def test_a_callable_put_in_place_of_bcecls_or_bceobj_is_used(backend):
    anchors, strides, p, targets = small_case()
    compute_loss = ComputeLoss(model_of(backend, anchors, strides, 3))
    xp = backend.xp
    compute_loss.BCEcls = lambda pred, true: xp.sum(pred * 0) + 2.0
    compute_loss.BCEobj = lambda pred, true: xp.sum(pred * 0) + 3.0
    _, items = compute_loss([backend.array(layer) for layer in p], backend.array(targets))
    assert backend.host(items)[1:] == pytest.approx([3.0 * 5.4, 0.5 * 2.0 * 3])


def test_a_parallel_model_is_looked_into(backend):
    anchors, strides, _, _ = small_case()
    inner = model_of(backend, anchors, strides, 3)
    outer = SimpleNamespace(module=inner, hyp=inner.hyp)
    assert ComputeLoss(outer).anchors is inner.model[-1].anchors
    inner.gr = 0.25
    compute_loss = ComputeLoss(SimpleNamespace(module=inner))
    assert (compute_loss.gr, compute_loss.hyp) == (0.25, inner.hyp)


def test_anchors_that_change_in_place_are_seen(grad_backend):
    anchors, strides, p, targets = small_case()
    model = model_of(grad_backend, anchors, strides, 3)
    compute_loss = ComputeLoss(model)
    p, targets = logits_of(grad_backend, p), grad_backend.array(targets)
    before = grad_backend.host(compute_loss(p, targets)[1]).copy()
    grad_backend.xp.overwrite(model.model[-1].anchors, grad_backend.array(anchors * 1.5))
    after = grad_backend.host(compute_loss(p, targets)[1])
    assert before[0] != after[0]


def test_build_targets_gives_the_form_of_yolov5(backend):
    anchors, strides, p, targets = small_case()
    compute_loss = ComputeLoss(model_of(backend, anchors, strides, 3))
    tcls, tbox, indices, anch = compute_loss.build_targets(
        [backend.array(layer) for layer in p], backend.array(targets)
    )
    expected = oracle.build_targets(targets, anchors, [layer.shape[2:4] for layer in p], 4.0)
    for i, wanted in enumerate(expected):
        assert np.array_equal(backend.host(tcls[i]), wanted["tcls"])
        assert np.array_equal(backend.host(tbox[i]), wanted["tbox"])
        assert np.array_equal(backend.host(anch[i]), wanted["anchor_wh"])
        for column, name in zip(indices[i], ("image", "anchor", "gj", "gi")):
            assert np.array_equal(backend.host(column), wanted[name])


@pytest.mark.parametrize(("column", "value"), [(0, 2), (0, -1), (1, 3), (1, -1), (0, np.nan)])
def test_an_image_or_class_out_of_range_is_refused_by_name(backend, column, value):
    case = small_case()
    case[3][5, column] = value
    with pytest.raises(BadValueError, match="in row 5"):
        run(backend, case, validate=True)
    if backend.has_views:  # elsewhere the values are looked at only when asked for
        with pytest.raises(BadValueError, match="in row 5"):
            run(backend, case)


def test_validate_refuses_boxes_that_are_not_finite(backend):
    case = small_case()
    case[3][5, 3] = np.nan
    with pytest.raises(BadValueError, match=r"cy \(column 3\), got nan in row 5"):
        run(backend, case, validate=True)
    assert np.isfinite(run(backend, case)[0]).all()  # without validate such a box matches nothing


def test_predictions_of_the_wrong_form_are_refused(backend):
    anchors, strides, p, targets = small_case()
    for wrong, message in (
        (p[:2], "one array for each of 3 layers, got 2"),
        ([p[0][:, :1], *p[1:]], r"p\[0\] must have shape \(B, 2, ny, nx, 8\)"),
        ([*p[:2], p[2][..., :7]], r"p\[2\] must have shape \(B, 2, ny, nx, 8\)"),
    ):
        with pytest.raises(ShapeError, match=message):
            run(backend, (anchors, strides, wrong, targets))
    with pytest.raises(ShapeError, match=r"targets must have shape \(T, 6\)"):
        run(backend, (anchors, strides, p, targets[:, :5]))
    compute_loss = ComputeLoss(model_of(backend, anchors, strides, 3))
    with pytest.raises(
        ArrayTypeError,
        match=r"got \(\w+, a list\)\. A model in eval mode .* list of layers: pass the list of layers\.$",
    ):
        compute_loss((backend.array(p[0]), [backend.array(layer) for layer in p]), backend.array(targets))


def test_targets_of_another_framework_or_device_are_refused(grad_backend):
    anchors, strides, p, targets = small_case()
    compute_loss = ComputeLoss(model_of(grad_backend, anchors, strides, 3))
    with pytest.raises(BackendMixError, match="targets is numpy"):
        compute_loss(logits_of(grad_backend, p), targets)
    if grad_backend.device != "cpu":
        elsewhere = backends.convert(grad_backend.array(targets), device="cpu")
        with pytest.raises(BackendMixError, match="targets is on cpu"):
            compute_loss(logits_of(grad_backend, p), elsewhere)


def test_a_model_without_the_parts_is_refused(backend):
    anchors, strides, _, _ = small_case()
    model = model_of(backend, anchors, strides, 3)
    with pytest.raises(ModelError, match=r"SimpleNamespace has no model\[-1\], where the Detect module must be"):
        ComputeLoss(SimpleNamespace(hyp=HYP))
    with pytest.raises(ModelError, match=r"must be a Detect module; SimpleNamespace lacks na, nl, nc\."):
        ComputeLoss(SimpleNamespace(hyp=HYP, model=[SimpleNamespace(anchors=anchors, stride=strides)]))
    del model.hyp["obj_pw"]
    with pytest.raises(ModelError, match="model.hyp must have obj_pw: it is the dict of the hyperparameters file.$"):
        ComputeLoss(model)
    model.hyp = [*HYP]
    with pytest.raises(ModelError, match=r"model\.hyp must be a dict or a namespace of hyperparameters, got list\."):
        ComputeLoss(model)
    model.hyp = {**HYP, "giou": 0.05}
    del model.hyp["box"]
    with pytest.raises(ModelError, match=r"must have box: .* Older files call box giou: set hyp\['box'\]"):
        ComputeLoss(model)


def test_one_yolov5_flag_changes_nothing(backend):
    assert run(backend, small_case(), bbox_iou_optim=True)[0] == run(backend, small_case())[0]


def test_it_is_right_under_torch_compile(grad_backend):
    if grad_backend.name != "torch":
        pytest.skip("torch's")
    import torch

    if not hasattr(torch, "compile") or torch.__version__.startswith("2.1."):
        pytest.skip("torch 1 has none, and that of 2.1 cannot trace index_select(out=)")
    case = small_case(20, dtype=np.float32)
    compute_loss = ComputeLoss(model_of(grad_backend, case[0], case[1], 3))
    p, targets = logits_of(grad_backend, case[2]), grad_backend.array(case[3])
    compiled = torch.compile(lambda p, targets: compute_loss([layer * 1.0 for layer in p], targets)[0], backend="eager")
    loss = compiled(p, targets)
    loss.sum().backward()
    expected = run(grad_backend, case)
    np.testing.assert_allclose(grad_backend.host(loss.detach()), expected[0], rtol=1e-6)
    for layer, gradient in zip(p, expected[2]):
        np.testing.assert_allclose(grad_backend.host(layer.grad), gradient, rtol=1e-5, atol=1e-9)


def test_autobalance_without_a_stride_of_16_is_refused(backend):
    anchors, _, _, _ = small_case()
    with pytest.raises(ModelError, match=r"autobalance needs a layer of stride 16, got strides \[8.0, 32.0, 64.0\]"):
        ComputeLoss(model_of(backend, anchors, (8, 32, 64), 3), autobalance=True)


def test_more_layers_than_there_are_balances_for_is_refused(backend):
    with pytest.raises(ModelError, match="known for up to 5, got 6"):
        ComputeLoss(model_of(backend, np.ones((6, 2, 2)), (4, 8, 16, 32, 64, 128), 3))


@pytest.mark.parametrize(("options", "factor"), [({}, 1.0), ({"pos_weight": None}, 1.0), ({"reduction": "sum"}, None)])
def test_a_bce_of_other_options_in_place_of_bcecls_is_used_as_it_is(backend, options, factor):
    case = small_case()
    anchors, strides, p, targets = case
    ours = ComputeLoss(model_of(backend, anchors, strides, 3))
    expected = backend.host(ours(logits_of(backend, p), backend.array(targets))[1])
    ours.BCEcls = BCEWithLogitsLoss(**{"pos_weight": 1.0, **options})
    got = backend.host(ours(logits_of(backend, p), backend.array(targets))[1])
    np.testing.assert_allclose(got[:2], expected[:2], rtol=1e-12)
    if factor:
        np.testing.assert_allclose(got[2], expected[2] * factor, rtol=1e-12)
    else:
        assert got[2] > 10 * expected[2]  # a sum over rows and classes is not their mean


def test_nan_in_the_objectness_does_not_hide_in_the_other_items(backend):
    anchors, strides, p, targets = small_case(n_targets=0)
    p[0][..., 4] = np.nan
    items = backend.host(
        ComputeLoss(model_of(backend, anchors, strides, 3))(logits_of(backend, p), backend.array(targets))[1]
    )
    assert np.isnan(items[1])
    assert (items[[0, 2]] == 0).all()
