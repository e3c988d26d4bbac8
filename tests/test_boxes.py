from pathlib import Path

import numpy as np
import pytest
from helpers import oracle

from anchorlib import boxes
from anchorlib.errors import BackendMixError, ShapeError

RECORDED = np.load(Path(__file__).parent / "data/golden/iou.npz")
KINDS = ("iou", "giou", "diou", "ciou")


def random_boxes(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(0, 10, (n, 2)), rng.uniform(0.5, 6, (n, 2))], axis=1)


def test_the_forms_of_a_box_known_values(backend):
    corners = backend.array([[1, 2, 5, 10]], np.float32)
    assert backend.host(boxes.xyxy_to_cxcywh(corners)).tolist() == [[3, 6, 4, 8]]
    assert backend.host(boxes.cxcywh_to_xyxy(backend.array([[3, 6, 4, 8]], np.float32))).tolist() == [[1, 2, 5, 10]]
    assert backend.host(boxes.xyxy_to_wh(corners)).tolist() == [[4, 8]]


def test_drop_degenerate_keeps_the_good_rows_in_order(backend):
    given = [[3, 4], [0, 4], [np.nan, 1], [5, np.inf], [1, 1], [-1, 2]]
    assert backend.host(boxes.drop_degenerate(backend.array(given, np.float32))).tolist() == [[3, 4], [1, 1]]
    assert backend.host(boxes.drop_degenerate(backend.array(given, np.float32), min_side=2)).tolist() == [[3, 4]]


def test_wh_iou_known_values(backend):
    result = boxes.wh_iou(
        backend.array([[10, 20]], np.float32), backend.array([[10, 10], [10, 20], [20, 40]], np.float32)
    )
    assert backend.host(result).tolist() == [[0.5, 1.0, 0.25]]


def test_wh_iou_matches_the_double_loop_bit_for_bit(backend):
    rng = np.random.default_rng(0)
    one, two = rng.uniform(1, 99, (50, 2)).astype(np.float32), rng.uniform(1, 99, (7, 2)).astype(np.float32)
    assert np.array_equal(backend.host(boxes.wh_iou(backend.array(one), backend.array(two))), oracle.wh_iou(one, two))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("iou", 1 / 7), ("giou", 1 / 7 - 2 / 9), ("diou", 1 / 7 - 1 / 9), ("ciou", 1 / 7 - 1 / 9)],
)
def test_box_iou_pairs_of_two_squares_one_apart(backend, kind, expected):
    one, two = backend.array([[1.0, 1.0, 2.0, 2.0]]), backend.array([[2.0, 2.0, 2.0, 2.0]])
    assert backend.host(boxes.box_iou_pairs(one, two, kind=kind)) == pytest.approx([expected], abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_box_iou_pairs_meets_the_recordings(backend, kind):
    result = boxes.box_iou_pairs(backend.array(RECORDED["box1"]), backend.array(RECORDED["box2"]), kind=kind)
    np.testing.assert_allclose(backend.host(result), RECORDED[kind], rtol=2e-6, atol=1e-7)


def test_box_iou_pairs_of_corners_meets_the_recordings(backend):
    corners = [boxes.cxcywh_to_xyxy(backend.array(RECORDED[name])) for name in ("box1", "box2")]
    result = boxes.box_iou_pairs(*corners, kind="ciou", format="xyxy")
    by_earlier_name = boxes.box_iou_pairs(*corners, kind="ciou", form="xyxy")
    assert np.array_equal(backend.host(result), backend.host(by_earlier_name))
    np.testing.assert_allclose(backend.host(result), RECORDED["ciou_xyxy"], rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_box_iou_pairs_matches_the_loop_in_float64(backend, kind):
    one, two = random_boxes(80), random_boxes(80, seed=1)
    expected = [oracle.box_iou(a, b, kind=kind) for a, b in zip(one, two)]
    result = boxes.box_iou_pairs(backend.array(one), backend.array(two), kind=kind)
    np.testing.assert_allclose(backend.host(result), expected, rtol=1e-12, atol=1e-13)


def test_box_iou_of_all_pairs_is_that_of_each_pair(backend):
    one, two = random_boxes(6), random_boxes(9, seed=2)
    table = boxes.box_iou(*(boxes.cxcywh_to_xyxy(backend.array(b)) for b in (one, two)))
    expected = [[oracle.box_iou(a, b, eps=0.0) for b in two] for a in one]
    np.testing.assert_allclose(backend.host(table), expected, rtol=1e-12, atol=1e-13)


def test_box_iou_of_no_boxes_is_empty(backend):
    assert tuple(boxes.box_iou(backend.array(np.zeros((0, 4))), backend.array(np.ones((3, 4)))).shape) == (
        0,
        3,
    )
    assert tuple(boxes.box_iou_pairs(backend.array(np.zeros((0, 4))), backend.array(np.zeros((0, 4)))).shape) == (0,)


def test_box_iou_pairs_refuses_what_is_no_pair(backend):
    one = backend.array(random_boxes(3))
    with pytest.raises(ShapeError, match=r"boxes2 must have shape \(3, 4\)"):
        boxes.box_iou_pairs(one, backend.array(random_boxes(2)))
    with pytest.raises(ShapeError, match="one dtype"):
        boxes.box_iou_pairs(one, backend.array(random_boxes(3), np.float32))
    with pytest.raises(ValueError, match="kind must be one of iou, giou, diou, ciou, got 'siou'"):
        boxes.box_iou_pairs(one, one, kind="siou")


def test_box_iou_pairs_refuses_two_frameworks(grad_backend):
    with pytest.raises(BackendMixError):
        boxes.box_iou_pairs(grad_backend.array(random_boxes(2)), random_boxes(2))
