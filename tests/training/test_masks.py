import warnings

import numpy as np
import pytest

from anchorlib import build_targets
from anchorlib.backends import host_views, load
from anchorlib.errors import ArrayTypeError, BadValueError, ShapeError
from anchorlib.training import masks as masks_module
from anchorlib.training.masks import mask_loss, numbers_in_image
from anchorlib.verify import Target, oracle_masks

HYP = {"box": 1.0, "anchor_t": 4.0}
GRIDS = ((6, 8), (3, 4))
N_PROTOTYPES, N_CLASSES = 3, 2


def random_case(rng, overlap):
    """Return anchors, p, proto, targets and masks: sizes, orders and numbers at random, boxes over the borders."""
    n_images, n_targets = rng.integers(1, 4), rng.integers(0, 9)
    proto_size, mask_size = rng.integers(1, 14, 2), rng.integers(1, 28, 2)
    if rng.random() < 0.5:
        mask_size = proto_size * rng.integers(1, 3)
    anchors = np.exp(rng.normal(0.3, 0.6, (2, 2, 2))).astype(np.float32)
    columns = [rng.integers(0, n_images, (n_targets, 1)), rng.integers(0, N_CLASSES, (n_targets, 1))]
    centres, sides = rng.uniform(0, 1, (n_targets, 2)), np.exp(rng.normal(-1.2, 0.8, (n_targets, 2))).clip(0.01, 1)
    if rng.random() < 0.5:  # borders of boxes on borders of pixels
        centres, sides = np.round(centres * 8) / 8, np.ceil(sides * 8) / 8
    targets = np.concatenate([*columns, centres, sides], axis=1).astype(np.float32)
    p = [rng.normal(0, 1, (n_images, 2, *grid, 5 + N_CLASSES + N_PROTOTYPES)) for grid in GRIDS]
    proto = rng.normal(0, 2, (n_images, N_PROTOTYPES, *proto_size))
    if overlap:
        masks = rng.integers(0, n_targets + 1, (n_images, *mask_size)).astype(np.float32)
    else:
        masks = (rng.random((n_targets, *mask_size)) * rng.integers(1, 3)).clip(0, 1).astype(np.float32)
    return anchors, p, proto, targets, masks


def arguments(backend, anchors, p, proto, targets, masks):
    """Return what mask_loss takes, with the gradient asked for, and the cells of the matches."""
    layers = build_targets(targets, anchors, GRIDS)
    cells = [(layer.image, layer.anchor, layer.gj, layer.gi) for layer in layers]
    coefficients = np.concatenate([q[of_layer][:, 5 + N_CLASSES :] for q, of_layer in zip(p, cells)])
    given = [backend.differentiable(coefficients), backend.differentiable(proto)]
    matched = [backend.array(layer.target) for layer in layers]
    return [*given, backend.array(targets), backend.array(masks), matched], cells


def assert_meets_the_loop(backend, case, overlap):
    anchors, p, proto, targets, masks = case
    given, cells = arguments(backend, *case)
    loss = mask_loss(*given, overlap=overlap)
    item, by_p, by_proto = oracle_masks.mask_loss(p, proto, targets, masks, anchors, HYP, N_CLASSES, overlap)
    np.testing.assert_allclose(backend.host(loss), item * len(proto), rtol=1e-9)
    if not backend.has_gradient:
        return
    loss.sum().backward()
    by_coefficients, found_by_proto = (backend.host(x.grad) for x in given[:2])
    assert_gradients_meet(by_coefficients, found_by_proto, cells, by_p, by_proto)


def assert_gradients_meet(by_coefficients, found_by_proto, cells, by_p, by_proto):
    """Compare with the loop, whose gradient by the coefficients is in the form of p."""
    np.testing.assert_allclose(found_by_proto, by_proto, rtol=1e-9, atol=1e-12)
    start = 0
    for of_layer, expected in zip(cells, by_p):
        found, end = np.zeros_like(expected), start + len(of_layer[0])
        np.add.at(found, (*of_layer, slice(5 + N_CLASSES, None)), by_coefficients[start:end])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
        start = end


@pytest.mark.parametrize("overlap", [False, True])
def test_mask_loss_matches_the_loop_over_pixels_at_random(backend, path, overlap, monkeypatch, n_cases):
    rng = np.random.default_rng(7)
    for number in range(n_cases(150)):
        if number == n_cases(150) // 2:  # blocks of one row of pixels, groups of one object
            monkeypatch.setattr(masks_module, "_ON_HOST", 1)
            monkeypatch.setattr(masks_module, "_ON_DEVICE", 1)
        assert_meets_the_loop(backend, random_case(rng, overlap), overlap)


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("way", ["by objects", "by groups"])
@pytest.mark.parametrize("block", [1, 100])
def test_value_and_gradients_meet_the_loop_without_a_framework(monkeypatch, way, overlap, block):
    """Compute the gradients, which NumPy does not ask for, and on NumPy also the way that other devices go."""
    monkeypatch.setattr(masks_module, "_ON_HOST", block)
    monkeypatch.setattr(masks_module, "_ON_DEVICE", block)
    for seed in range(10):
        case = random_case(np.random.default_rng([seed, block]), overlap)
        anchors, p, proto, targets, masks = case
        (coefficients, *_, matched), cells = arguments(Target("numpy"), *case)
        of_layer = np.repeat(np.arange(len(matched)), [len(rows) for rows in matched])
        rows = np.concatenate(matched)
        plan = masks_module._Plan.of(targets, rows, of_layer, proto.shape, masks.shape, overlap, "float64")
        if way == "by objects":
            loss, *slopes = masks_module._by_objects(plan, coefficients, proto, masks)
        else:
            loss, *slopes = masks_module._by_groups(load("numpy"), plan, coefficients, proto, masks)
        item, *expected = oracle_masks.mask_loss(p, proto, targets, masks, anchors, HYP, N_CLASSES, overlap)
        np.testing.assert_allclose(loss, item * len(proto), rtol=1e-9)
        assert_gradients_meet(*slopes, cells, *expected)


def test_a_box_counts_the_pixels_from_its_first_border_up_to_its_last(backend, path):
    """Of 8 x 8 pixels: a box from 2 to 5 holds 2, 3 and 4; one from 2.5 to 5.5 holds 3, 4 and 5."""
    for centre, first in ((3.5 / 8, 2), (4.0 / 8, 3)):
        targets = np.asarray([[0, 0, centre, centre, 3 / 8, 3 / 8]], np.float32)
        proto = np.zeros((1, 1, 8, 8))
        proto[0, 0, first : first + 3, first : first + 3] = 1
        given = [np.full((1, 1), 50.0), proto, targets, np.ones((1, 8, 8)), [np.zeros(1, np.int64)]]
        arrays = [backend.array(x) for x in given[:4]]
        loss = mask_loss(*arrays, [backend.array(given[4][0])])
        assert float(backend.host(loss)) < 1e-20  # of a pixel with a logit of 0 it would be log(2) and more


def test_a_box_so_small_that_its_area_is_0_has_no_loss_and_no_warning():
    targets = np.asarray([[0, 0, 0.55, 0.55, 1e-200, 1e-200]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = mask_loss(np.ones((1, 1)), np.ones((1, 1, 8, 8)), targets, np.ones((1, 8, 8)), [np.zeros(1, np.int64)])
    assert loss == 0


def test_a_box_between_two_pixels_has_no_loss_and_no_gradient(grad_backend, path):
    targets = np.asarray([[0, 0, 0.55, 0.55, 0.01, 0.01]], np.float32)
    proto = grad_backend.array(np.ones((1, 1, 8, 8))).requires_grad_()
    loss = mask_loss(
        grad_backend.array(np.ones((1, 1))),
        proto,
        grad_backend.array(targets),
        grad_backend.array(np.ones((1, 8, 8))),
        [grad_backend.array(np.zeros(1, np.int64))],
    )
    loss.sum().backward()
    assert float(grad_backend.host(loss)) == 0
    assert not grad_backend.host(proto.grad).any()


@pytest.mark.needs("torch")
def test_the_nearest_pixel_is_the_one_that_torch_takes():
    import torch

    for n_from in range(1, 70):
        pixels = torch.arange(n_from, dtype=torch.float32)[None, None]
        for n_to in range(1, 70):
            expected = torch.nn.functional.interpolate(pixels, size=n_to, mode="nearest")[0, 0].numpy()
            np.testing.assert_array_equal(masks_module._nearest(n_to, n_from), expected)


def test_numbers_in_image_count_the_targets_of_each_image():
    assert numbers_in_image(np.asarray([0.0, 2, 0, 2, 2, 1])).tolist() == [1, 1, 2, 2, 3, 1]
    assert numbers_in_image(np.zeros(0)).tolist() == []


def test_the_dtype_is_the_wider_one_of_the_logits(backend):
    case = random_case(np.random.default_rng(3), False)
    (coefficients, proto, *others), _ = arguments(backend, *case)
    small = [backend.xp.astype(x, backend.xp.float32) for x in (coefficients, proto)]
    assert backend.host(mask_loss(small[0], proto, *others)).dtype == np.float64
    assert backend.host(mask_loss(coefficients, small[1], *others)).dtype == np.float64
    assert backend.host(mask_loss(*small, *others)).dtype == np.float32


def test_torch_gradcheck_passes(grad_backend, path):
    if grad_backend.name != "torch":
        pytest.skip("gradcheck is torch's")
    import torch

    rng = np.random.default_rng(2)
    case = random_case(rng, True)
    while not len(case[3]):
        case = random_case(rng, True)
    (coefficients, proto, *others), _ = arguments(grad_backend, *case)
    assert coefficients.shape[0] > 3
    assert torch.autograd.gradcheck(lambda c, q: mask_loss(c, q, *others, overlap=True) * 2.5, (coefficients, proto))


def operations(backend, n_targets):
    """Return how many operations torch starts for a loss and its gradient, on its own arrays."""
    from torch.utils._python_dispatch import TorchDispatchMode

    started = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            started.append(operation)
            return operation(*args, **(kwargs or {}))

    rng = np.random.default_rng(0)
    sides = np.exp(rng.normal(-2.2, 0.9, (n_targets, 2))).clip(0.01, 1)
    images = rng.integers(0, 2, (n_targets, 1))
    targets = np.concatenate([images, images, rng.uniform(0, 1, (n_targets, 2)), sides], axis=1).astype(np.float32)
    p = [np.zeros((2, 2, *grid, 5 + N_CLASSES + N_PROTOTYPES)) for grid in GRIDS]
    anchors = np.asarray([[[1, 1], [2, 2]], [[1, 2], [2, 1]]], np.float32)
    case = (anchors, p, np.zeros((2, N_PROTOTYPES, 40, 40)), targets, np.zeros((n_targets, 40, 40)))
    given, _ = arguments(backend, *case)
    with host_views(False), Count():
        mask_loss(*given).sum().backward()
    return len(started)


def test_a_device_starts_as_many_operations_for_many_objects_as_for_few(grad_backend):
    """Each operation takes some microseconds to start on CUDA; an object takes about 50 on its own."""
    if grad_backend.name != "torch":
        pytest.skip("OneFlow's operations cannot be watched")
    few = operations(grad_backend, 8)
    assert few < 200
    assert operations(grad_backend, 400) < 3 * few


def test_wrong_shapes_are_refused_by_name(backend):
    case = random_case(np.random.default_rng(4), False)
    given, _ = arguments(backend, *case)
    names = ("coefficients", "proto", "targets", "masks")
    shapes = (r"\(\d+, 3\)", r"\(B, nm, hm, wm\)", r"\(T, 6\)", r"\(\d, h, w\)")
    for i, (name, shape) in enumerate(zip(names, shapes)):
        wrong = list(given)
        wrong[i] = backend.array(np.zeros((3,)))
        with pytest.raises(ShapeError, match=f"{name} must have shape {shape}"):
            mask_loss(*wrong)
        wrong[i] = [1, 2, 3]
        with pytest.raises(ArrayTypeError, match="list is not a supported array type"):
            mask_loss(*wrong)
    with pytest.raises(ShapeError, match="coefficients must have shape"):
        mask_loss(*given[:4], given[4][:1])


def test_a_match_without_a_box_is_refused(backend):
    case = random_case(np.random.default_rng(4), False)
    given, _ = arguments(backend, *case)
    targets = case[3].copy()
    for column, value, message in (
        (0, 9, "in row 2"),
        (4, 0, "row 2 has"),
        (3, np.nan, "row 2 has"),
        (5, 1e30, "row 2"),
    ):
        wrong = targets.copy()
        wrong[2, column] = value
        rows = [backend.array(np.asarray([0, 2]))]
        with pytest.raises(BadValueError, match=message):
            mask_loss(given[0][:2, ...], given[1], backend.array(wrong), given[3], rows)
    with pytest.raises(BadValueError, match=r"matched must hold rows of targets, in \[0, \d\), got \[-1, 2\]"):
        mask_loss(given[0][:2, ...], given[1], backend.array(targets), given[3], [backend.array(np.asarray([-1, 2]))])
