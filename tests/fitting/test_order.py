import numpy as np

from anchorlib.fitting.order import layers_disagree, sort_by_area


def test_anchors_are_sorted_by_area_then_width():
    anchors = np.asarray([[9, 1], [2, 2], [1, 9], [3, 3]], np.float32)
    assert sort_by_area(anchors).tolist() == [[2, 2], [1, 9], [3, 3], [9, 1]]


def test_layers_disagree_when_areas_run_against_strides():
    assert layers_disagree([9, 5, 1], [8, 16, 32])
    assert layers_disagree([1, 5, 9], [32, 16, 8])
    assert not layers_disagree([1, 5, 9], [8, 16, 32])
    assert not layers_disagree([9, 5, 1], [32, 16, 8])


def test_layers_without_a_direction_never_disagree():
    assert not layers_disagree([5, 9, 5], [8, 16, 32])  # equal areas at both ends stay
    assert not layers_disagree([5], [8])
    assert not layers_disagree([1, 9], [8, 8])
