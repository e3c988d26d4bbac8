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
        ([1, 2, 3], [0, 0.9, 1], 2),
        ([1, 2, 3, 4, 5], [0, 0.5, 0.9, 0.95, 1], 3),  # above the line by 0, .25, .4, .2, 0
        ([1, 2, 10], [0, 0.5, 1], 2),  # k matters, not the position in the list: above by 7/18
        ([1, 2, 3], [0, 0.5, 1], None),  # a straight line
        ([1, 2, 3], [0, 0.1, 1], None),  # below it
        ([1, 2, 3], [1, 1, 1], None),
        ([1, 2], [0, 1], None),
        ([4], [0.5], None),
        ([1, 2, 3, 4, 5], [0, 0.5, 0.75, 1, 1], 2),  # three are equally far: the first
    ],
)
def test_the_knee_is_the_point_farthest_above_the_chord(ks, values, knee):
    assert find_knee(ks, values) == knee


def test_the_knee_does_not_depend_on_units():
    values = [0.1, 0.45, 0.6, 0.7, 0.74, 0.75]
    assert find_knee(range(6), values) == find_knee(range(6), [1000 * v - 7 for v in values]) == 2


def test_a_curve_as_dict_table_and_repr():
    curve = fit_curve(sizes(50), [1, 2, 3, 6])
    found = curve.to_dict()
    assert [fit["k"] for fit in found["fits"]] == [1, 2, 3, 6]
    assert found["knee"] == curve.knee
    assert len(found["fits"][3]["anchors"]) == 6
    assert repr(curve) == f"Curve(k = 1 to 6, objective ratio, knee at {curve.knee})"
    assert f"{curve.knee}, the knee" in curve._repr_html_()
