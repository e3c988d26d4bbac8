import numpy as np
import pytest

from anchorlib import fit_anchors, score
from anchorlib.errors import ArrayTypeError, BadValueError, ShapeError
from anchorlib.fitting import METHODS


def sizes(n, seed=0):
    return np.exp(np.random.default_rng(seed).normal(3.5, 1.0, (n, 2))).astype(np.float32)


def hexes(anchors):
    return [float(side).hex() for side in np.asarray(anchors).ravel()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_a_fit_tells_its_score_on_all_boxes(backend, method, objective):
    boxes_wh = np.concatenate([sizes(800), [[1, 1], [0, 50], [0, 0]]]).astype(np.float32)
    fit = fit_anchors(backend.array(boxes_wh), 6, method=method, objective=objective, generations=20)
    anchors = backend.host(fit.anchors)
    assert anchors.shape == (6, 2)
    assert fit.score == score(boxes_wh, anchors)
    assert (fit.method, fit.seed) == (method, 0)
    assert fit.seconds > 0


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_the_same_bits_on_this_backend_as_on_numpy(backend, path, method):
    boxes_wh = sizes(2_000)
    fit = fit_anchors(backend.array(boxes_wh), 9, method=method, generations=100, seed=7)
    assert hexes(backend.host(fit.anchors)) == hexes(
        fit_anchors(boxes_wh, 9, method=method, generations=100, seed=7).anchors
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_boxes_changes_no_bit(method):
    boxes_wh, rng = sizes(2_000), np.random.default_rng(1)
    expected = hexes(fit_anchors(boxes_wh, 9, method=method, generations=100).anchors)
    for _ in range(3):
        assert hexes(fit_anchors(rng.permutation(boxes_wh), 9, method=method, generations=100).anchors) == expected


@pytest.mark.parametrize("method", METHODS)
def test_boxes_too_small_to_fit_do_not_pull_at_the_anchors(backend, method):
    boxes_wh = sizes(500)
    small = np.concatenate([np.full((300, 2), 1.9), boxes_wh, np.zeros((5, 2)), [[0, 70]]]).astype(np.float32)
    expected = fit_anchors(boxes_wh, 4, method=method, generations=30)
    fit = fit_anchors(backend.array(small), 4, method=method, generations=30)
    assert hexes(backend.host(fit.anchors)) == hexes(expected.anchors)
    assert fit.score.n_boxes == 806


@pytest.mark.parametrize("method", METHODS)
def test_weights_count_like_repeated_boxes(method):
    boxes_wh, weights = sizes(300), np.random.default_rng(0).integers(0, 4, 300)
    weighted = fit_anchors(boxes_wh, 5, method=method, generations=30, weights=weights)
    repeated = fit_anchors(np.repeat(boxes_wh, weights, axis=0), 5, method=method, generations=30)
    assert hexes(weighted.anchors) == hexes(repeated.anchors)
    assert weighted.score == repeated.score


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_device_are_kept(backend, dtype):
    assert backend.host(fit_anchors(backend.array(sizes(50), dtype), 3, generations=3).anchors).dtype == dtype


@pytest.mark.parametrize(
    ("boxes_wh", "options", "error", "message"),
    [
        (
            np.full((9, 2), 0.2),
            {},
            BadValueError,
            "none of 9 boxes has a side of 2 px or more; sizes are in pixels",
        ),
        (np.zeros((0, 2)), {}, BadValueError, "none of 0 boxes"),
        (np.full((9, 2), 9.0), {}, BadValueError, "n=9 needs at least 9 distinct box sizes, got 1"),
        ([[1, np.nan]], {}, BadValueError, "not a finite number"),
        (np.ones((3, 3)), {}, ShapeError, r"\(N, 2\)"),
        (sizes(20), {"method": "magic"}, ValueError, "method must be one of"),
        (sizes(20), {"objective": "recall"}, ValueError, "objective must be one of ratio, iou"),
        (sizes(20), {"thr": 0.25}, BadValueError, "pass 4"),
        (sizes(20), {"n": 0}, BadValueError, "n must be at least 1"),
    ],
)
def test_what_cannot_be_fitted_is_an_error(backend, boxes_wh, options, error, message):
    with pytest.raises(error, match=message):
        fit_anchors(backend.array(boxes_wh, np.float32), **options)


def test_counts_a_layer_are_kept_with_the_fit(backend):
    fit = fit_anchors(backend.array(sizes(500)), [2, 3, 4])
    assert tuple(fit.anchors.shape) == (9, 2)
    assert fit.counts == (2, 3, 4)
    assert hexes(backend.host(fit.anchors)) == hexes(fit_anchors(sizes(500), 9).anchors)


@pytest.mark.parametrize("method", ["direct", "evolve"])
def test_anchors_given_to_improve_are_never_made_worse(backend, method):
    boxes_wh = sizes(500)
    best = fit_anchors(boxes_wh, 9)
    again = fit_anchors(backend.array(boxes_wh), 9, method=method, start=backend.array(best.anchors), generations=5)
    assert again.score.fitness >= best.score.fitness
    assert again.kept_start == (hexes(backend.host(again.anchors)) == hexes(best.anchors))
    poor = np.full((9, 2), 500, np.float32)
    better = fit_anchors(backend.array(boxes_wh), 9, method=method, start=backend.array(poor), generations=200)
    assert better.score.fitness > score(boxes_wh, poor).fitness
    assert not better.kept_start


def test_fixed_anchors_stay_bit_for_bit_and_least_sides_hold_by_layer(backend):
    fixed = np.asarray([[33.3, 61.7]], np.float32)
    fit = fit_anchors(backend.array(sizes(800)), [3, 3], fixed=backend.array(fixed), min_side=[4, 40])
    anchors = backend.host(fit.anchors)
    assert fixed[0].tolist() in anchors.tolist()
    free = anchors[(anchors != fixed).any(axis=1)]
    assert (free >= 4).all()
    ranks = [i for i, row in enumerate(anchors.tolist()) if row != fixed[0].tolist()]
    assert all(anchors[i].min() >= (40 if i >= 3 else 4) for i in ranks)


def test_a_time_budget_ends_the_search_with_anchors_that_can_be_used():
    fit = fit_anchors(sizes(20_000), 9, time_budget=0.0)
    assert fit.anchors.shape == (9, 2)
    assert fit.score.bpr > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "evolve", "fixed": np.ones((1, 2))},
            "fixed has no meaning for method 'evolve'; leave it out, or use direct",
        ),
        ({"method": "kmeans", "start": np.ones((9, 2))}, "start has no meaning for method 'kmeans'"),
        ({"start": np.ones((3, 2))}, "start must have as many anchors as n=9, got 3"),
        ({"start": np.zeros((9, 2))}, "start has 9 of 9 rows with a side <= 0"),
        ({"fixed": np.ones((9, 2))}, "fixed must leave at least one of n=9 anchors to fit, got 9"),
        ({"min_side": [1, 2]}, "min_side must be one number or one for each of 1 layers"),
        ({"min_side": float("nan")}, "min_side must be finite"),
        ({"n": []}, "n must be at least 1"),
        ({"n": [3, 0]}, "n must be at least 1"),
        ({"n": 3.0}, "n must be at least 1, a whole number"),
        ({"n": True}, "n must be at least 1, a whole number"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"init": "k-means++"}, "init has no meaning for method 'direct'; leave it out, or use evolve"),
        ({"method": "evolve", "start": np.ones((9, 2)), "update": "mean"}, "update has no meaning"),
        ({"time_budget": -1.0}, "time_budget must be >= 0"),
        ({"time_budget": "1 s"}, "time_budget must be a number, got '1 s'"),
        ({"thr": None}, "thr must be a number, got None"),
        ({"method": "evolve", "generations": 9.5}, "generations must be an integer >= 0, got 9.5"),
    ],
)
def test_options_that_do_not_fit_are_errors(options, message):
    with pytest.raises(BadValueError, match=message):
        fit_anchors(sizes(50), **options)


@pytest.mark.parametrize("options", [{"thr": "4"}, {"time_budget": "60"}, {"thr": "4", "method": "kmeans"}])
def test_a_number_may_come_as_text(options):
    numbers = {name: float(value) if name != "method" else value for name, value in options.items()}
    found, expected = (fit_anchors(sizes(50), 3, **given) for given in (options, numbers))
    assert (hexes(found.anchors), found.score) == (hexes(expected.anchors), expected.score)


@pytest.mark.parametrize("name", ["start", "fixed"])
def test_anchors_in_lists_are_no_arrays(name):
    with pytest.raises(ArrayTypeError, match="list is not a supported array type"):
        fit_anchors(sizes(50), 1, **{name: [[10.0, 20.0]]})


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_zero_side_in_16_bits_is_left_out_of_the_fit(zero):
    """Beside a least side that float16 rounds to 0 it was no zero, and the grid of sizes had negative dimensions."""
    boxes_wh = np.asarray([[zero, 2], [2, 2], [8, 8]], np.float16)
    assert fit_anchors(boxes_wh, 2).anchors.tolist() == [[2, 2], [8, 8]]
