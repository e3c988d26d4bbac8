import numpy as np
import pytest

from anchorlib.layers import are_largest_first, layers_disagree, mean_areas


def test_layers_disagree_when_areas_run_against_strides():
    assert layers_disagree([9, 5, 1], [8, 16, 32])
    assert layers_disagree([1, 5, 9], [32, 16, 8])
    assert not layers_disagree([1, 5, 9], [8, 16, 32])
    assert not layers_disagree([9, 5, 1], [32, 16, 8])


def test_layers_without_a_direction_never_disagree():
    assert not layers_disagree([5, 9, 5], [8, 16, 32])  # equal areas at both ends stay
    assert not layers_disagree([5], [8])
    assert not layers_disagree([1, 9], [8, 8])


def test_mean_areas_by_hand():
    assert mean_areas([np.asarray([[1, 2], [3, 4]], np.float32), np.asarray([[5, 6]])]) == [7.0, 30.0]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([[[9, 9]], [[1, 1]]], True),
        ([[[1, 1]], [[9, 9]]], False),
        ([[[2, 3]], [[9, 9]], [[3, 2]]], False),  # equal areas at both ends: no direction
        ([[[9, 9], [1, 1]]], False),  # one layer
        ([[[1, 1], [1, 1]], [[1, 3], [1, 1], [1, 1]]], False),  # the mean counts, not the sum or the largest
    ],
)
def test_layers_are_largest_first(layers, expected):
    assert are_largest_first([np.asarray(layer, np.float32) for layer in layers]) is expected
