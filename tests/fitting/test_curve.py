import itertools

import numpy as np
import pytest

from anchorlib import fit_anchors, fit_curve, score
from anchorlib.errors import BadValueError, ShapeError
from anchorlib.fitting.curve import find_knee


def sizes(n, seed=0):
    return np.exp(np.random.default_rng(seed).normal(3.5, 1.0, (n, 2))).astype(np.float32)


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_each_point_is_the_fit_of_its_number(backend, objective):
    boxes = backend.array(sizes(100))
    curve = fit_curve(boxes, [4, 1, 2, 2], thr=3.0, objective=objective, seed=5)
    assert curve.ks == [1, 2, 4]
    for k, fit in zip(curve.ks, curve.fits):
        expected = fit_anchors(boxes, k, thr=3.0, objective=objective, seed=5)
        assert backend.host(fit.anchors).tolist() == backend.host(expected.anchors).tolist()
        assert fit.score == expected.score == score(boxes, fit.anchors, 3.0)


def test_more_anchors_fit_better():
    fitness = [fit.score.fitness for fit in fit_curve(sizes(300), range(1, 8)).fits]
    assert fitness == sorted(fitness)


def test_numbers_above_the_distinct_sizes_are_left_out_and_named():
    curve = fit_curve(np.asarray([[10.0, 10], [10, 10], [20, 20]]), range(1, 6))
    assert (curve.ks, curve.left_out) == ([1, 2], (3, 4, 5))
    assert curve.to_dict()["left_out"] == [3, 4, 5]


@pytest.mark.parametrize(
    ("boxes_wh", "ks", "error", "message"),
    [
        ([[10, 10]], [], BadValueError, "numbers of anchors"),
        ([[10, 10]], [0, 1], BadValueError, "each an integer >= 1"),
        ([[10, 10]], [1, 1.5], BadValueError, "each an integer >= 1, got [1, 1.5]"),
        ([[10, 10]], 3, BadValueError, "numbers of anchors"),
        ([[10, 10]], [2], BadValueError, "needs at least 2 distinct"),
        ([[float("nan"), 10]], [1], BadValueError, "not a finite number"),
        ([[10, 10, 10]], [1], ShapeError, "(N, 2)"),
    ],
)
def test_what_cannot_be_fitted_is_refused(boxes_wh, ks, error, message):
    with pytest.raises(error) as raised:
        fit_curve(np.asarray(boxes_wh, np.float32), ks)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("ks", "values", "knee"),
    [
        ([1, 2, 3, 4], [0.5, 0.7, 0.71, 0.715], 3),  # 0.01 itself is not less
        ([1, 2, 3], [0.5, 0.505, 0.6], 1),
        ([1, 2, 3], [0.5, 0.6, 0.7], None),
        ([2, 3, 4], [0.7, 0.705, 0.709], None),  # it may be 1
        ([1, 2, 3, 6], [0.5, 0.6, 0.7, 0.701], None),  # 4 is not there
        ([1, 3, 4, 5], [0.5, 0.7, 0.705, 0.706], None),  # neither is 2
        ([4], [0.5], None),
    ],
)
def test_the_knee_is_the_first_number_from_which_one_more_adds_little(ks, values, knee):
    assert find_knee(ks, values) == knee


def test_the_range_does_not_move_the_knee():
    curve = fit_curve(30 * sizes(400) ** 0.3, range(1, 14))
    values = dict(zip(curve.ks, curve.values))
    assert curve.knee == 6
    for first, last in itertools.combinations(values, 2):
        knee = find_knee(range(first, last + 1), [values[k] for k in range(first, last + 1)])
        assert knee == (6 if first < 6 < last else None), (first, last)


def test_more_anchors_than_sizes_add_nothing():
    curve = fit_curve([[10, 20], [12, 20], [100, 90], [90, 100]], range(1, 6))
    assert (curve.knee, curve.left_out) == (4, (5,))


def test_a_curve_as_dict_table_and_repr():
    curve = fit_curve([[10, 20], [12, 20], [100, 90], [100, 91]], [1, 2, 3, 4])
    found = curve.to_dict()
    assert [fit["k"] for fit in found["fits"]] == [1, 2, 3, 4]
    assert found["knee"] == curve.knee == 3
    assert len(found["fits"][2]["anchors"]) == 3
    assert repr(curve) == "Curve(k = 1 to 4, objective ratio, knee at 3)"
    assert f"{curve.knee}, the knee" in curve._repr_html_()
