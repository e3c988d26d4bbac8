import numpy as np
import pytest
from helpers import oracle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchorlib import yolov2
from anchorlib.backends import host_views
from anchorlib.errors import BadValueError, ShapeError

VOC = np.array([(1.19, 1.98), (2.79, 4.59), (4.53, 8.92), (8.06, 5.29), (10.32, 10.65)])


def targets_of(backend, labels, anchors=VOC, **options):
    labels = [np.asarray(rows, np.float64).reshape(-1, 5) for rows in labels]
    result = yolov2.build_targets([backend.array(rows) for rows in labels], backend.array(anchors), **options)
    return backend.host(result.values), result


def test_one_object_known_values(backend, path):
    # 64 x 64 px, 2 x 2 cells: the centre (0.625, 0.25) is (1.25, 0.5) cells, the size one cell square
    values, targets = targets_of(backend, [[(3, 0.625, 0.25, 0.5, 0.5)]], [[1, 1], [1, 2]], input_size=64)
    assert values.shape == (1, 8, 11)
    assert values[0, 2] == pytest.approx([1, 3, 0.25, 0.5, 0, 0, 1.75, 0.375, 0, 0.875, 0.5])
    assert not np.delete(values, 2, axis=1).any()  # the IoU with the second anchor is 0.5, which is not above 0.5
    assert (targets.n_collisions, targets.n_skipped) == (0, 0)


def test_an_anchor_above_the_threshold_that_is_not_the_best_is_ignored(backend, path):
    values, _ = targets_of(backend, [[(3, 0.25, 0.25, 0.5, 0.5)]], [[1, 1.5], [1, 1], [3, 3]], input_size=64)
    assert values[0, 0].tolist() == [-1, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0]
    assert values[0, 1, 0] == 1
    assert not values[0, 2:].any()


def test_the_best_is_positive_where_none_is_above_the_threshold(backend, path):
    values, _ = targets_of(backend, [[(0, 0.25, 0.25, 0.1, 0.1)]], [[3, 3], [2, 2]], input_size=64)
    assert values[0, :2, 0].tolist() == [0, 1]
    assert values[0, 1, 4:6] == pytest.approx(np.log([0.1, 0.1]))


def test_collisions_are_counted_and_the_later_object_wins(backend, path):
    same = [(1, 0.25, 0.25, 0.5, 0.5), (2, 0.25, 0.25, 0.5, 0.5), (3, 0.75, 0.75, 0.5, 0.5)]
    values, targets = targets_of(backend, [same], [[1, 1]], input_size=64)
    assert values[0, :, 1].tolist() == [2, 0, 0, 3]
    assert targets.n_collisions == 1


def test_a_later_mark_to_ignore_takes_the_place_of_a_positive(backend, path):
    rows = [(1, 0.25, 0.25, 0.5, 0.5), (2, 0.25, 0.25, 0.5, 0.65)]  # the first fits anchor 0, the second anchor 1
    values, targets = targets_of(backend, [rows], [[1, 1], [1, 1.3]], input_size=64)
    assert values[0, :2, 0].tolist() == [-1, 1]
    assert targets.n_collisions == 1


@pytest.mark.parametrize(
    "label",
    [
        (0, 0.5, 0.5, 0.00009, 0.5),
        (0, 0.5, 0.5, 0.5, 0),
        (0, 1.0, 0.5, 0.5, 0.5),
        (0, -0.1, 0.5, 0.5, 0.5),
        (0, 0.5, 1.2, 1, 1),
    ],
)
def test_objects_too_small_or_outside_are_skipped_and_counted(backend, path, label):
    values, targets = targets_of(backend, [[label], []], input_size=64)
    assert not values.any()
    assert values.shape == (2, 20, 11)
    assert (targets.n_collisions, targets.n_skipped) == (0, 1)


def test_no_objects_give_zeros_of_the_right_kind(backend, path):
    labels = [backend.array(np.zeros((0, 5), np.float32))] * 3
    values = yolov2.build_targets(labels, backend.array(VOC, np.float32), input_size=416).values
    assert backend.host(values).shape == (3, 13 * 13 * 5, 11)
    assert backend.host(values).dtype == np.float32


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = []
    for _ in range(draw(st.integers(1, 3))):
        n = draw(st.integers(0, 12))
        rows = np.concatenate(
            [
                rng.integers(0, 5, (n, 1)),
                rng.uniform(-0.05, 1.05, (n, 2)),
                np.exp(rng.normal(-1.5, 1, (n, 2))).clip(0, 1),
            ],
            axis=1,
        )
        labels.append(rows)
    size = draw(st.sampled_from([416, 64, (96, 64), (64, 160)]))
    return (
        labels,
        np.exp(rng.normal(0.5, 0.8, (draw(st.integers(1, 5)), 2))),
        size,
        draw(st.sampled_from([0.5, 0.3, 0.7])),
    )


SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(case=cases())
def test_targets_match_the_loop(backend, case):
    labels, anchors, size, thr = case
    values, targets = targets_of(backend, labels, anchors, input_size=size, ignore_thr=thr)
    expected, n_collisions = oracle.yolov2_targets(labels, anchors, size, ignore_thr=thr)
    assert np.array_equal(values[..., :2], expected[..., :2])
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)
    assert targets.n_collisions == n_collisions


@settings(max_examples=30, deadline=None, suppress_health_check=SLOW)
@given(case=cases())
def test_targets_on_the_array_match_the_loop(backend, case):
    labels, anchors, size, thr = case
    with host_views(False):
        values, _ = targets_of(backend, labels, anchors, input_size=size, ignore_thr=thr)
    expected, _ = oracle.yolov2_targets(labels, anchors, size, ignore_thr=thr)
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)


def test_gt_creator_is_called_as_in_the_tutorials():
    labels = [[[0.375, 0.0, 0.875, 0.5, 3]], []]
    values = yolov2.gt_creator(64, 32, labels, [[1, 1], [1, 2]])
    assert (values.shape, values.dtype) == ((2, 8, 11), np.float32)
    assert values[0, 2] == pytest.approx([1, 3, 0.25, 0.5, 0, 0, 1.75, 0.375, 0, 0.875, 0.5])


def test_gt_creator_names_the_list_that_it_cannot_read():
    good = [0.375, 0.0, 0.875, 0.5, 3]
    with pytest.raises(ShapeError, match=r"label_lists\[1\] must be numbers, in rows of equal length"):
        yolov2.gt_creator(64, 32, [[good], [good, good[:4]]], [[1, 1]])
    with pytest.raises(ShapeError, match=r"label_lists\[0\] must have shape \(n, 5\)"):
        yolov2.gt_creator(64, 32, [[good[:4]]], [[1, 1]])
    with pytest.raises(ShapeError, match="anchor_size must be numbers"):
        yolov2.gt_creator(64, 32, [[good]], [[1, 1], [1]])


@pytest.mark.parametrize("stride", [0, -32, 32.0, None])
def test_a_stride_that_is_none_is_refused(backend, stride):
    with pytest.raises(BadValueError, match="stride must be an integer >= 1"):
        targets_of(backend, [[]], input_size=64, stride=stride)


@pytest.mark.parametrize("size", [0, 33, 64.0, None, (64, 65), (64, 64, 64)])
def test_an_input_that_is_no_multiple_of_the_stride_is_refused(backend, size):
    with pytest.raises(BadValueError, match="input_size must be"):
        targets_of(backend, [[]], input_size=size)


def test_labels_of_another_shape_are_refused(backend):
    with pytest.raises(ShapeError, match=r"labels\[0\] must have shape \(n, 5\)"):
        yolov2.build_targets([backend.array(np.zeros((1, 6)))], backend.array(VOC), input_size=64)
    with pytest.raises(BadValueError, match="labels must have an array for each image"):
        yolov2.build_targets([], backend.array(VOC), input_size=64)


def loss_case(seed=0, empty=False):
    rng = np.random.default_rng(seed)
    labels = [np.concatenate([rng.integers(0, 4, (6, 1)), rng.uniform(0.1, 0.9, (6, 4))], axis=1) for _ in range(2)]
    targets, _ = oracle.yolov2_targets(labels, VOC[:3], 96)
    rows = targets.shape[1]
    arrays = [rng.normal(0, 2, shape) for shape in ((2, rows), (2, rows, 4), (2, rows, 4))]
    return arrays, targets * (not empty), rng.uniform(0, 1, (2, rows))


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("with_iou", [False, True])
def test_the_loss_matches_the_loop(backend, with_iou, empty):
    arrays, targets, iou = loss_case(empty=empty)
    options = {"pos_weight": 4.0, "neg_weight": 0.5}
    given_iou = backend.array(iou) if with_iou else None
    result = yolov2.loss(*(backend.array(a) for a in arrays), backend.array(targets), iou=given_iou, **options)
    expected = oracle.yolov2_loss(*arrays, targets, iou=iou if with_iou else None, **options)
    for name, value in result._asdict().items():
        assert float(backend.host(value)) == pytest.approx(expected[name], rel=1e-10, abs=1e-12), name
    assert expected["total"] > 0


def test_the_gradient_of_the_loss_is_the_slope(grad_backend):
    arrays, targets, _ = loss_case()
    given_arrays = [grad_backend.array(a) for a in arrays]
    for array in given_arrays:
        array.requires_grad = True
    yolov2.loss(*given_arrays, grad_backend.array(targets)).total.backward()
    place = tuple(np.argwhere(targets[..., 0] == 1)[0])
    for i, at in ((0, place), (1, (*place, 2)), (2, (*place, 0)), (2, (*place, 3))):
        ends = []
        for step in (1e-6, -1e-6):
            moved = [a.copy() for a in arrays]
            moved[i][at] += step
            ends.append(oracle.yolov2_loss(*moved, targets)["total"])
        assert grad_backend.host(given_arrays[i].grad)[at] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


def test_the_loss_refuses_arrays_that_do_not_fit(backend):
    arrays, targets, iou = loss_case()
    for wrong in range(3):
        cut = [backend.array(a[:, :-1] if i == wrong else a) for i, a in enumerate(arrays)]
        with pytest.raises(ShapeError):
            yolov2.loss(*cut, backend.array(targets))
    with pytest.raises(ShapeError, match="iou must have shape"):
        yolov2.loss(*(backend.array(a) for a in arrays), backend.array(targets), iou=backend.array(iou[:, :-1]))


def test_a_class_beyond_the_logits_is_refused(backend):
    labels = [backend.array(np.asarray([[9.0, 0.5, 0.5, 0.25, 0.25]], np.float32))]
    targets = yolov2.build_targets(labels, backend.array(np.asarray([[1.0, 1.0]], np.float32)), input_size=64).values
    shapes = ((1, 4), (1, 4, 3), (1, 4, 4))
    zeros = [backend.array(np.zeros(shape, np.float32)) for shape in shapes]
    if not backend.xp.in_host_memory(targets):  # the loss does not wait for the device: the nearest class counts
        assert float(backend.host(yolov2.loss(*zeros, targets).cls)) == pytest.approx(np.log(3))
        return
    with pytest.raises(BadValueError, match=r"classes in \[0, 3\), got 9 in 1 of 1 positives"):
        yolov2.loss(*zeros, targets)


def test_anchors_that_are_none_are_refused(backend):
    labels = [backend.array(np.asarray([[0.0, 0.5, 0.5, 0.25, 0.25]], np.float32))]
    with pytest.raises(BadValueError, match="anchors has 1 of 1 rows with a side <= 0"):
        yolov2.build_targets(labels, backend.array(np.asarray([[0.0, 1.0]], np.float32)), input_size=64)
