"""Nearly equal anchors that serve small boxes: which one is given up, and what takes its place."""

import numpy as np
import pytest

from anchorlib import fit_anchors, score
from anchorlib.fitting.twins import find_twin
from anchorlib.size_histogram import as_columns

STRIDES = [8, 16, 32]


def find(boxes, anchors, layer, strides=(8, 16), movable=None, counts=None):
    movable = np.ones(len(anchors), bool) if movable is None else np.asarray(movable)
    cells = as_columns(np.asarray(boxes, np.float32), None if counts is None else np.asarray(counts))
    return find_twin(cells, np.float32(anchors), np.asarray(layer), np.float32(strides), movable)


def test_of_two_nearly_equal_anchors_the_one_with_fewer_boxes_is_given_up():
    boxes = [[8, 8], [8, 8], [9, 9]]
    assert find(boxes, [[8, 8], [9, 9]], [0, 0]) == 1
    assert find([*boxes, [9, 9], [9, 9]], [[8, 8], [9, 9]], [0, 0]) == 0
    assert find([[8, 8], [9, 9]], [[8, 8], [9, 9]], [0, 0]) == 1  # as many: the second
    assert find([[8, 8], [9, 9]], [[8, 8], [9, 9]], [0, 0], counts=[2, 3]) == 0


def test_a_side_ratio_of_three_quarters_is_nearly_equal():
    assert find([[6, 6], [8, 8]], [[6, 6], [8, 8]], [0, 0]) == 1


@pytest.mark.parametrize(
    ("anchors", "layer", "movable"),
    [
        ([[8, 8], [9, 9]], [0, 1], [True, True]),  # of two layers
        ([[8, 8], [10.7, 8]], [0, 0], [True, True]),  # a side ratio under 0.75
        ([[8, 8], [9, 9]], [0, 0], [True, False]),
        ([[8, 8]], [0], [True]),
    ],
)
def test_other_anchors_are_not_twins(anchors, layer, movable):
    assert find([[8, 8], [9, 9]], anchors, layer, movable=movable) is None


def test_boxes_of_one_and_a_half_strides_are_not_small():
    assert find([[11.9, 8], [11.9, 9]], [[12, 8], [12, 9]], [0, 0]) == 1
    assert find([[12, 8], [12, 9]], [[12, 8], [12, 9]], [0, 0]) is None
    assert find([[8, 12], [8, 8]], [[8, 12], [8, 10]], [0, 0]) is None  # half of the boxes are not more than half


def test_the_most_alike_come_first():
    assert find([[8, 8], [8.5, 8.5], [10, 10]], [[8, 8], [8.5, 8.5], [10, 10]], [0, 0, 0]) == 1
    assert find([[8, 8], [9.5, 9.5], [10, 10]], [[8, 8], [9.5, 9.5], [10, 10]], [0, 0, 0]) == 2


def draw_dots(n=300, seed=0):
    return np.random.default_rng(seed).integers(7, 10, (n, 2)).astype(np.float32)


@pytest.mark.parametrize(("counts", "strides"), [([3], [8]), ([3, 3], [8, 16]), ([3, 3, 3], STRIDES)])
def test_dots_get_one_anchor_on_the_finest_layer_and_large_squares(counts, strides):
    boxes = draw_dots()
    fit = fit_anchors(boxes, counts, strides=strides)
    fine = fit.anchors[:3]
    assert np.abs(fine[0] - 8).max() < 0.5
    assert fit.spare_anchors[:2] == (1, 2)
    assert fine[1:].tolist() == [[48, 48], [72, 72]]  # 4 * 1.5 * 8, and half as much again
    assert score(boxes, fit.anchors[list(fit.spare_anchors)]).aat == 0
    assert fit.score.bpr == 1
    assert fit.to_dict()["spare_anchors"] == list(fit.spare_anchors)
    again = fit_anchors(boxes[::-1], counts, strides=strides, start=fit.anchors)
    assert np.array_equal(again.anchors, fit.anchors)
    assert again.spare_anchors == fit.spare_anchors


def test_the_same_sizes_in_strides_of_four_are_large():
    assert fit_anchors(draw_dots(), [3, 3], strides=[4, 8]).spare_anchors[:1] != (1,)


def test_backends_give_the_same_bits(backend, path):
    fit = fit_anchors(backend.array(draw_dots()), 9, strides=STRIDES)
    assert np.array_equal(backend.host(fit.anchors), fit_anchors(draw_dots(), 9, strides=STRIDES).anchors)


def test_fixed_anchors_and_least_sides_hold():
    fixed = np.float32([[7, 7], [7, 8]])
    layers = np.split(fit_anchors(draw_dots(), [3, 3], strides=[8, 16], fixed=fixed).anchors, 2)
    assert [anchor in layers[0].tolist() for anchor in fixed.tolist()] == [True, True]
    fit = fit_anchors(draw_dots(), [3, 3], strides=[8, 16], min_side=[60, 100])
    assert (fit.anchors.min(axis=1) >= [60, 60, 60, 100, 100, 100]).all()


def test_twins_stay_if_large_squares_would_reverse_the_layers():
    """The squares on stride 8 would be larger than all that stride 16 has for the other boxes."""
    boxes = np.concatenate([draw_dots(), np.random.default_rng(1).uniform(16, 30, (600, 2)).astype(np.float32)])
    fit = fit_anchors(boxes, [3, 3], strides=[8, 16])
    fine, coarse = np.split(fit.anchors.astype(np.float64).prod(axis=1), 2)
    assert fine.mean() < coarse.mean()
