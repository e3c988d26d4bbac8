"""The fast OTA assignment against the slow one of `anchorlib.verify.oracle_ota`, and at its edges."""

import functools
import warnings

import numpy as np
import pytest
from helpers.loss_cases import logits_of

from anchorlib.backends import host_views
from anchorlib.errors import BackendMixError, BadValueError, ShapeError
from anchorlib.training import LayerTargets, assign, ota_matching
from anchorlib.verify import Target, oracle_ota

N_CASES, N_BATCHES = 2000, 20
KINDS = ("anywhere", "crowd", "duplicates", "exact ties", "few classes")


@functools.cache
def case(seed):
    """Arguments of `assign`, one after another, and what the slow assignment gives for them."""
    rng = np.random.default_rng([seed, 7])
    kind = KINDS[seed % len(KINDS)]
    n_images, n_layers = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    n_anchors, n_classes = int(rng.integers(1, 4)), 1 if kind == "few classes" else int(rng.integers(1, 5))
    strides = (8.0, 16.0)[:n_layers]
    wide, high = (int(side) for side in rng.choice([16, 32, 48], 2))
    shapes = [(int(high // stride), int(wide // stride)) for stride in strides]
    n_targets = int(rng.integers(0, 6) if kind != "crowd" else rng.integers(4, 10))
    anchors = (rng.integers(4, 24, (n_layers, n_anchors, 2)) / 8).astype(np.float32)
    p = [rng.normal(0, 2, (n_images, n_anchors, *shape, 5 + n_classes)).astype(np.float32) for shape in shapes]
    columns = [rng.integers(0, n_images, (n_targets, 1)), rng.integers(0, n_classes, (n_targets, 1))]
    centres = rng.uniform(0.4, 0.6, (n_targets, 2)) if kind == "crowd" else rng.uniform(0, 1, (n_targets, 2))
    targets = np.concatenate([*columns, centres, np.exp(rng.normal(-1, 0.5, (n_targets, 2)))], axis=1)
    if kind == "duplicates" and n_targets:
        targets[n_targets // 2 :] = targets[0]
        targets[n_targets // 2 :, 1] = rng.integers(0, n_classes, n_targets - n_targets // 2)
    if (
        kind == "exact ties"
    ):  # equal logits, and boxes in eighths of the grid: IoUs that are exact fractions, often equal
        p = [np.zeros_like(layer) for layer in p]
        targets[:, 2:] = rng.integers(1, 8, (n_targets, 4)) / 8
    options = {"offset": float(rng.choice([0.5, 1.0])), "top": int(rng.choice([1, 3, 10, 20]))}
    arguments = (p, targets.astype(np.float32), anchors, strides, (wide, high))
    return arguments, options, oracle_ota.assign(*arguments, **options)


def given_to(backend, arguments, options):
    p, targets, anchors, strides, image_wh = arguments
    p, targets, anchors = [backend.array(layer) for layer in p], backend.array(targets), backend.array(anchors)
    return assign(p, targets, anchors, strides, image_wh, **options)


def assert_equal(backend, layers, expected):
    """Every column of every layer is bit-identical, and of the same dtype."""
    assert len(layers) == len(expected)
    for layer, wanted in zip(layers, expected):
        wanted = {"cls": wanted.get("tcls"), "box": wanted.get("tbox"), **wanted}
        for name, column in zip(layer._fields, layer):
            got = backend.host(column)
            assert got.dtype == wanted[name].dtype, name
            assert np.array_equal(got, wanted[name]), name


@pytest.mark.parametrize("batch", range(N_BATCHES))
def test_assign_matches_the_slow_assignment(backend, batch, n_cases):
    for seed in range(batch, n_cases(N_CASES), N_BATCHES):
        arguments, options, expected = case(seed)
        with host_views(seed % 16 != batch % 16):  # some on the framework's own arrays
            assert_equal(backend, given_to(backend, arguments, options), expected)


def test_the_cases_hold_what_they_are_for():
    """Conflicts, duplicates, images without objects, objects that match no anchor: each is in the cases many times."""
    found = dict.fromkeys(("no targets", "no match", "several of one object", "a tie", "no own candidate"), 0)
    for seed in range(200):
        (_, targets, *_), _, layers = case(seed)
        rows = np.concatenate([layer["target"] for layer in layers])
        cells = [tuple(row) for layer in layers for row in np.stack([layer[name] for name in ("image", "gj", "gi")], 1)]
        found["no targets"] += len(targets) == 0
        found["no match"] += len(targets) > 0 and len(rows) == 0
        found["several of one object"] += len(set(rows.tolist())) < len(rows)
        found["a tie"] += KINDS[seed % len(KINDS)] == "exact ties" and len(set(cells)) < len(cells)
        found["no own candidate"] += 0 < len(set(rows.tolist())) < len(targets)
    assert min(found.values()) >= 5, found


def crowd(n_targets=60, n_classes=7, seed=0):
    rng = np.random.default_rng(seed)
    strides, shapes = (8.0, 16.0), [(16, 16), (8, 8)]
    anchors = (rng.integers(8, 40, (2, 3, 2)) / 8).astype(np.float32)
    p = [rng.normal(0, 1, (2, 3, *shape, 5 + n_classes)).astype(np.float32) for shape in shapes]
    columns = [rng.integers(0, 2, (n_targets, 1)), rng.integers(0, n_classes, (n_targets, 1))]
    columns += [rng.uniform(0.2, 0.8, (n_targets, 2)), np.exp(rng.normal(-1.5, 0.5, (n_targets, 2)))]
    return p, np.concatenate(columns, axis=1).astype(np.float32), anchors, strides, (128, 128)


@pytest.mark.parametrize("pairs", [1, 50, 1000])
def test_small_blocks_give_the_same_matches(backend, monkeypatch, pairs):
    arguments = crowd()
    expected = [LayerTargets(*map(backend.host, layer)) for layer in given_to(backend, arguments, {})]
    monkeypatch.setattr(ota_matching, "_PAIRS", pairs)
    assert_equal(backend, given_to(backend, arguments, {}), [layer._asdict() for layer in expected])


def test_a_crowd_matches_the_slow_assignment(backend, path):
    arguments = crowd()
    assert_equal(backend, given_to(backend, arguments, {}), oracle_ota.assign(*arguments))


@pytest.mark.parametrize("seed", range(4))
def test_objects_may_take_candidates_that_they_do_not_overlap(backend, seed):
    """Class costs that differ by more than 3 log(1e-8), by candidate and by class, and boxes that overlap little."""
    p, targets, *others = crowd(30, seed=seed)
    targets[:20, 1] = 0
    targets[:20, 4:] /= 4
    rng = np.random.default_rng(seed)
    p = [rng.normal(0, 15, layer.shape).astype(np.float32) for layer in p]
    for layer in p:
        layer[..., :4] = -4
        layer[..., 5] += 20  # one class is likely everywhere: the bound of the others is another
        np.clip(layer, -14, 14, out=layer)  # beyond, the slow assignment loses digits of 1 - y
    assert_equal(backend, given_to(backend, (p, targets, *others), {}), oracle_ota.assign(p, targets, *others))


def test_the_bound_of_what_does_not_overlap_is_that_of_the_own_class(backend):
    """The first object takes a candidate of the other corner: class 0 is likely there, and class 1 nowhere."""
    p = [np.full((1, 1, 8, 8, 7), -60, np.float32)]
    p[0][..., :4] = 0
    p[0][0, 0, 6, 6, 4:6] = 5  # the second object's cell
    p[0][0, 0, 6, 5, 4:6] = 9  # left of it
    targets = np.asarray([[0, 0, 0.2, 0.2, 0.25, 0.25], [0, 1, 0.8, 0.8, 0.25, 0.25]], np.float32)
    arguments = (p, targets, np.asarray([[[2.0, 2.0]]], np.float32), [8.0], (64, 64))
    layers = given_to(backend, arguments, {})
    assert_equal(backend, layers, oracle_ota.assign(*arguments))
    cells = np.stack([backend.host(column) for column in (layers[0].target, layers[0].gj, layers[0].gi)], axis=1)
    assert sorted(cells.tolist()) == [[0, 6, 5], [1, 6, 6]]


def test_layers_may_have_different_numbers_of_anchors(backend, path):
    rng = np.random.default_rng(0)
    p, targets, _, strides, image_wh = crowd()
    anchors = [(rng.integers(8, 40, (n, 2)) / 8).astype(np.float32) for n in (3, 1)]
    p = [p[0], p[1][:, :1]]
    layers = assign(
        [backend.array(layer) for layer in p], backend.array(targets), [*map(backend.array, anchors)], strides, image_wh
    )
    assert_equal(backend, layers, oracle_ota.assign(p, targets, anchors, strides, image_wh))


def test_predictions_that_are_not_contiguous_give_the_same_matches(backend, path):
    p, *others = crowd()
    swapped = [np.ascontiguousarray(np.moveaxis(layer, -1, 1)) for layer in p]  # as a convolution gives them
    xp = backend.xp
    p = [xp.permute_dims(backend.array(layer), (0, 2, 3, 4, 1)) for layer in swapped]
    targets, anchors = backend.array(others[0]), backend.array(others[1])
    assert_equal(backend, assign(p, targets, anchors, *others[2:]), oracle_ota.assign(*crowd()))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes_give_the_matches_of_their_values(backend, dtype):
    if dtype != "float64" and backend.name not in {"float16": ("numpy", "torch"), "bfloat16": ("torch",)}[dtype]:
        pytest.skip("NumPy has no bfloat16, array-api-strict no 16 bits, and OneFlow no such kernels on the CPU")
    p, targets, anchors, strides, image_wh = crowd()
    if dtype == "bfloat16":
        import torch

        given = [backend.array(layer).to(torch.bfloat16) for layer in p]
        p = [layer.float().cpu().numpy() for layer in given]
    else:
        p = [layer.astype(dtype) for layer in p]
        given = [backend.array(layer) for layer in p]
    layers = assign(given, backend.array(targets), backend.array(anchors), strides, image_wh)
    assert_equal(backend, layers, oracle_ota.assign(p, targets, anchors, strides, image_wh))


def test_no_gradient_flows_and_nothing_is_written(grad_backend, path):
    p, targets, anchors, strides, image_wh = crowd()
    given = logits_of(grad_backend, p)
    layers = assign(given, grad_backend.array(targets), grad_backend.array(anchors), strides, image_wh)
    assert not any(column.requires_grad for layer in layers for column in layer)
    for layer, values in zip(given, p):
        assert np.array_equal(grad_backend.host(layer), values)


@pytest.mark.parametrize("extreme", [1000.0, -1000.0, np.inf, -np.inf, np.nan])
def test_extreme_logits_give_matches_all_the_same(backend, path, extreme):
    p, targets, *others = crowd()
    for layer in p:
        layer[:] = extreme
    layers = given_to(backend, (p, targets, *others), {})
    assert sum(layer.cls.shape[0] for layer in layers) >= 2


def test_saturated_predictions_are_still_told_apart(backend):
    """1 - sigmoid(40) is lost if it is computed as a difference: then both costs are infinite."""
    p = [np.zeros((1, 1, 4, 4, 7), np.float32)]
    p[0][..., 4:] = 40
    p[0][0, 0, 2, 1, 6] = -40  # the wrong class is right to be low there
    targets = np.asarray([[0, 0, 0.55, 0.6, 0.5, 0.5]], np.float32)
    (layer,) = given_to(backend, (p, targets, np.asarray([[[2.0, 2.0]]]), [8.0], (32, 32)), {})
    assert [backend.host(layer.gj).tolist(), backend.host(layer.gi).tolist()] == [[2], [1]]


def test_objects_whose_box_is_not_finite_get_no_row(backend, path):
    p, targets, *others = crowd(6)
    bad = np.concatenate([targets, targets[:3]])
    bad[6:, 2:] = [[np.nan, 0.5, 0.5, 0.5], [0.5, 0.5, np.inf, 0.5], [0.5, -np.inf, 0.5, 0.5]]
    assert_equal(backend, given_to(backend, (p, bad, *others), {}), oracle_ota.assign(p, targets, *others))


def test_objects_without_a_side_take_the_cheapest_candidate_like_others(backend, path):
    p, targets, *others = crowd(6)
    targets[:3, 4:] = [[0, 0.1], [0.1, 0], [0, 0]]
    assert_equal(backend, given_to(backend, (p, targets, *others), {}), oracle_ota.assign(p, targets, *others))


def test_an_object_of_1e20_pixels_overlaps_nothing_and_warns_of_nothing():
    p, targets, *others = crowd(6)
    targets[0, 4:] = 1e18
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers = assign(p, targets, *others)
    with np.errstate(over="ignore"):
        assert_equal(Target("numpy"), layers, oracle_ota.assign(p, targets, *others))


def test_an_image_that_is_not_square_uses_both_sides(backend):
    """YOLOv7 multiplies all of a box by the height."""
    p, targets, anchors, strides, _ = crowd()
    p = [np.ascontiguousarray(layer[:, :, : layer.shape[2] // 2]) for layer in p]
    right = oracle_ota.assign(p, targets, anchors, strides, (128, 64))
    assert_equal(backend, given_to(backend, (p, targets, anchors, strides, (128, 64)), {}), right)
    wrong = oracle_ota.assign(p, targets, anchors, strides, (64, 64))
    assert any(not np.array_equal(one["target"], two["target"]) for one, two in zip(right, wrong))


@pytest.mark.parametrize(
    ("column", "value", "name"), [(0, 2, "image"), (0, -1, "image"), (1, 7, "class"), (0, np.nan, "image")]
)
def test_an_image_or_class_out_of_range_is_refused_by_name(backend, path, column, value, name):
    p, targets, *others = crowd()
    targets[5, column] = value
    with pytest.raises(BadValueError, match=f"as {name} .* in row 5"):
        given_to(backend, (p, targets, *others), {})


def test_the_class_of_a_single_class_model_is_not_used(backend):
    p, targets, *others = crowd(20, n_classes=1)
    expected = oracle_ota.assign(p, targets, *others)
    targets[:, 1] = 3
    layers = given_to(backend, (p, targets, *others), {})
    for layer, wanted in zip(layers, expected):
        assert np.array_equal(backend.host(layer.target), wanted["target"])


def test_arguments_that_do_not_fit_are_refused(backend):
    p, targets, anchors, strides, image_wh = crowd()
    for arguments, options, error, message in (
        ((p[:1], targets, anchors, strides, image_wh), {}, ShapeError, "one entry for each layer.* got 1, 2 and 2"),
        ((p, targets[:, :5], anchors, strides, image_wh), {}, ShapeError, r"targets must have shape \(T, 6\)"),
        (([p[0], p[1][:1]], targets, anchors, strides, image_wh), {}, ShapeError, r"p\[1\] must have as many images"),
        (([p[0], p[1][:, :2]], targets, anchors, strides, image_wh), {}, ShapeError, r"p\[1\] must have shape \(B, 3,"),
        ((p, targets, anchors, strides, (0, 64)), {}, BadValueError, "image_wh must be 2 finite numbers > 0"),
        ((p, targets, anchors, (8, -16), image_wh), {}, BadValueError, "strides must be 2 finite numbers > 0"),
        ((p, targets, anchors, strides, image_wh), {"top": 0}, BadValueError, "top must be"),
        ((p, targets, anchors, strides, image_wh), {"offset": 2}, BadValueError, "offset must be in"),
        ((p, targets, anchors, strides, image_wh), {"thr": 1}, BadValueError, "thr must be greater than 1"),
    ):
        with pytest.raises(error, match=message):
            given_to(backend, arguments, options)


def test_targets_of_another_framework_are_refused(grad_backend):
    p, targets, anchors, *others = crowd()
    with pytest.raises(BackendMixError, match="targets is numpy"):
        assign([grad_backend.array(layer) for layer in p], targets, grad_backend.array(anchors), *others)
