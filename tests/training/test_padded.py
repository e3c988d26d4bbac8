"""Targets of a fixed size: those of build_targets, without a wait, and a loss that torch compiles as one graph."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.loss_cases import logits_of, model_of, small_case

from anchorlib.errors import BadValueError, ShapeError
from anchorlib.training import BCEBlurWithLogitsLoss, ComputeLoss, build_padded_targets, build_targets
from anchorlib.yolov7 import ComputeLossOTA

HYPS = ({}, {"fl_gamma": 1.5, "anchor_t": 2.0}, {"cls_pw": 0.5, "obj_pw": 2.0, "label_smoothing": 0.1})


def random_case(seed):
    """Return targets, anchors, shapes and the offset of a case: also boxes at borders, without a size, not finite."""
    rng = np.random.default_rng(seed)
    n, n_layers = int(rng.integers(0, 30)), int(rng.integers(1, 4))
    boxes = np.concatenate([rng.uniform(-0.05, 1.05, (n, 2)), rng.uniform(0, 0.9, (n, 2))], axis=1)
    if seed % 4 == 0:
        boxes = np.abs(np.round(boxes * 16)) / 16
    if seed % 3 == 0 and n:
        odd = rng.choice([math.nan, math.inf, -math.inf, 0, 1, 0.5], 3)
        boxes[rng.integers(0, n, 3), rng.integers(0, 4, 3)] = odd
    targets = np.concatenate([rng.integers(0, 4, (n, 2)), boxes], axis=1).astype(np.float32)
    anchors = (rng.integers(2, 64, (n_layers, 3, 2)) / 4).astype(np.float32)
    shapes = [tuple(map(int, rng.integers(1, 30, 2))) for _ in range(n_layers)]
    return targets, anchors, shapes, (0.5, 0.0, 1.0, 0.3)[seed % 4]


def check_equal(backend, seed):
    targets, anchors, shapes, offset = random_case(seed)
    expected = build_targets(targets, anchors, shapes, offset=offset)
    padded = build_padded_targets(backend.array(targets), backend.array(anchors), shapes, offset=offset)
    assert len(padded) == len(expected)
    for (rows, mask), layer in zip(padded, expected):
        mask = backend.host(mask)
        assert mask.shape == (5 * 3 * len(targets),)
        for column, wanted in zip(rows, layer):
            found = backend.host(column)
            assert (found.dtype, found.shape[1:]) == (wanted.dtype, wanted.shape[1:])
            assert np.isfinite(found).all()
            np.testing.assert_array_equal(found[mask], wanted)


@pytest.mark.parametrize("part", range(4))
def test_the_rows_that_count_are_those_of_build_targets(backend, part):
    """In 1,000 random cases on NumPy, and in 20 of them elsewhere."""
    with np.errstate(all="ignore"):
        for seed in range(250 * part, 250 * part + (250 if backend.name == "numpy" else 5)):
            check_equal(backend, seed)


def test_layers_may_have_other_numbers_of_anchors_and_targets_none(backend):
    anchors = [backend.array(np.full((n, 2), 2.0, np.float32)) for n in (1, 4)]
    for n in (0, 2):
        targets = backend.array(np.full((n, 6), 0.5, np.float32))
        found = build_padded_targets(targets, anchors, [(4, 4), (8, 8)])
        assert [tuple(layer.mask.shape) for layer in found] == [(5 * n,), (20 * n,)]


def test_rows_that_do_not_count_are_safe_to_index_with(backend):
    targets = backend.array(np.asarray([[9, 9, 0.5, 0.5, 9, 9], [3, 7, 0.55, 0.6, 0.5, 0.5]], np.float32))
    ((rows, mask),) = build_padded_targets(targets, backend.array(np.float32([[[2, 2]]])), [(4, 4)])
    unused = ~backend.host(mask)
    assert unused.tolist() == [True, False] * 3 + [True] * 4
    expected = {"box": [0.5, 0.5, 1, 1], "anchor_wh": [1, 1]}  # and the image, the class and all indices are 0
    for name, column in zip(rows._fields, rows):
        assert (backend.host(column)[unused] == expected.get(name, 0)).all(), name


def test_arguments_that_do_not_fit_are_refused(backend):
    targets, anchors, shapes, _ = random_case(1)
    targets, anchors = backend.array(targets), backend.array(anchors)
    with pytest.raises(ShapeError, match=r"shapes must have one \(ny, nx\) for each layer"):
        build_padded_targets(targets, anchors, [*shapes, (4, 4)])
    with pytest.raises(ShapeError, match="targets must have shape"):
        build_padded_targets(targets[:, :5], anchors, shapes)
    with pytest.raises(ShapeError, match=r"anchors\[0\] must have shape \(A, 2\)"):
        build_padded_targets(targets, anchors[:, :, :1], shapes)
    with pytest.raises(BadValueError, match="thr must be greater than 1"):
        build_padded_targets(targets, anchors, shapes, thr=1.0)
    with pytest.raises(BadValueError, match="thr must be a number, got 'wide'"):
        build_padded_targets(targets, anchors, shapes, thr="wide")
    with pytest.raises(BadValueError, match=r"offset must be in \[0, 1\]"):
        build_padded_targets(targets, anchors, shapes, offset=1.5)


def losses(backend, case, hyp, sort=False, gr=1.0, nc=3, **options):
    """Return the loss, the items and the gradients of a case."""
    anchors, strides, p, rows = case
    model = model_of(backend, anchors, strides, nc)
    model.hyp.update(hyp)
    compute_loss = ComputeLoss(model, **options)
    compute_loss.sort_obj_iou, compute_loss.gr = sort, gr
    p = logits_of(backend, p)
    loss, items = compute_loss(p, backend.array(rows))
    return [backend.host(loss if not backend.has_gradient else loss.detach()), backend.host(items)], [
        *backend.gradients(loss, p)
    ]


@pytest.mark.parametrize("hyp", HYPS, ids=["plain", "focal", "weights"])
@pytest.mark.parametrize("n_targets", [0, 1, 40])
def test_the_loss_and_the_gradients_are_the_same(backend, n_targets, hyp):
    case = small_case(n_targets, dtype=np.float32)
    for options in ({}, {"sort": True, "gr": 0.3}):
        expected, slopes = losses(backend, case, hyp, **options)
        found, found_slopes = losses(backend, case, hyp, padded=True, **options)
        for one, other in zip((*found, *found_slopes), (*expected, *slopes)):
            np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6 * abs(other).max())


def test_a_single_class_model_has_no_class_loss(backend):
    case = small_case(20, nc=1, dtype=np.float32)
    found, expected = (losses(backend, case, {}, nc=1, padded=padded)[0] for padded in (True, False))
    assert found[1][2] == 0
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=2e-6)


def test_with_validate_an_image_out_of_range_is_refused(backend):
    anchors, strides, p, rows = small_case(4, dtype=np.float32)
    rows[2, 0] = len(p[0])
    compute_loss = ComputeLoss(model_of(backend, anchors, strides, 3), padded=True, validate=True)
    with pytest.raises(BadValueError, match="in row 2"):
        compute_loss(logits_of(backend, p), backend.array(rows))


def test_what_needs_values_is_refused(backend):
    anchors, strides, p, rows = small_case(4, dtype=np.float32)
    model = model_of(backend, anchors, strides, 3)
    for option in ("autobalance", "reuse_grad_buffer"):
        with pytest.raises(BadValueError, match="padded=True must not be used with autobalance or reuse_grad_buffer"):
            ComputeLoss(model, padded=True, **{option: True})
    with pytest.raises(BadValueError, match="padded=True must not be used with OTA"):
        ComputeLossOTA(model, padded=True)
    compute_loss = ComputeLoss(model, padded=True)
    compute_loss.BCEcls = BCEBlurWithLogitsLoss()
    with pytest.raises(BadValueError, match="padded=True needs a BCEcls with reduction='mean'"):
        compute_loss(logits_of(backend, p), backend.array(rows))


@pytest.mark.needs("torch:pretend")
@pytest.mark.parametrize("n_targets", [0, 12, 300])
def test_nothing_crosses_after_the_first_call(n_targets):
    from helpers.pretend_device import PretendDevice, crossings

    from anchorlib.verify import Target

    with PretendDevice():
        pretend = Target("torch:pretend")
        anchors, strides, p, rows = small_case(n_targets, dtype=np.float32)
        compute_loss = ComputeLoss(model_of(pretend, anchors, strides, 3), padded=True)
        p, rows = logits_of(pretend, p), pretend.array(rows)
        shapes = [layer.shape[2:4] for layer in p]
        compute_loss(p, rows)
        with crossings() as crossed:
            build_padded_targets(rows, compute_loss.anchors, shapes)
            compute_loss(p, rows)[0].sum().backward()
        assert crossed == []


def skip_with_old_torch():
    import torch

    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13):
        pytest.skip("tried with torch 2.13; older ones break the graph")


@pytest.mark.needs("torch")
def test_torch_compiles_it_as_one_graph():
    import torch

    from anchorlib.verify import Target

    skip_with_old_torch()
    backend, case = Target("torch"), small_case(20, dtype=np.float32)
    model = model_of(backend, case[0], case[1], 3)
    compute_loss = ComputeLoss(model, padded=True)
    p, targets = logits_of(backend, case[2]), backend.array(case[3])
    compute_loss(p, targets)
    loss = torch.compile(compute_loss, fullgraph=True, backend="eager")(p, targets)[0]
    loss.sum().backward()
    (expected, _), slopes = losses(backend, case, {})
    np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=2e-6)
    for layer, slope in zip(p, slopes):
        np.testing.assert_allclose(layer.grad.numpy(), slope, rtol=2e-6, atol=2e-6 * abs(slope).max())
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(ComputeLoss(model), fullgraph=True, backend="eager")(p, targets)


@pytest.mark.needs("torch")
def test_inductor_gives_the_same_targets_loss_and_gradients():
    """In 20 random cases; a third of them has rows of NaN, as a batch with fewer targets has."""
    import torch

    from anchorlib.verify import Target

    skip_with_old_torch()
    backend, first = Target("torch"), small_case(20, dtype=np.float32)
    compute_loss = ComputeLoss(model_of(backend, *first[:2], 3), padded=True)
    anchors, shapes = backend.array(first[0]), [layer.shape[2:4] for layer in first[2]]
    compute_loss(logits_of(backend, first[2]), backend.array(first[3]))
    compiled_loss = torch.compile(compute_loss, fullgraph=True)
    compiled_targets = torch.compile(build_padded_targets, fullgraph=True)
    for seed in range(20):
        _, _, arrays, values = small_case(20, dtype=np.float32, seed=seed)
        if seed % 3 == 0:
            values[15:] = math.nan
        targets, results = backend.array(values), []
        for function in (compute_loss, compiled_loss):
            p = logits_of(backend, arrays)
            loss, items = function(p, targets)
            results.append([loss.detach().numpy(), items.numpy(), *backend.gradients(loss, p)])
        for one, other in zip(*results):
            np.testing.assert_allclose(one, other, rtol=0, atol=2e-6 * abs(one).max())
        eager, compiled = (build(targets, anchors, shapes) for build in (build_padded_targets, compiled_targets))
        for (rows, mask), (other_rows, other_mask) in zip(eager, compiled):
            for one, other in zip((mask, *rows), (other_mask, *other_rows)):
                assert one.dtype is other.dtype
                assert torch.equal(one, other)
