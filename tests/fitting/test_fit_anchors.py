import sys
from collections import Counter

import numpy as np
import pytest

from anchorlib import evolve, fit_anchors, fit_curve, kmeans, read_boxes, score, size_ratio
from anchorlib.errors import ArrayTypeError, BadValueError, ShapeError
from anchorlib.fitting import METHODS, direct
from anchorlib.metrics import SizeTable

ANCHORS = np.asarray([[10, 20], [30, 30], [80, 60], [200, 150]], np.float32)


def sizes(n, seed=0):
    return np.exp(np.random.default_rng(seed).normal(3.5, 1.0, (n, 2))).astype(np.float32)


def size_ratio_to_anchors(boxes_wh):
    return size_ratio(boxes_wh, ANCHORS)


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
        (sizes(20), {"n": 0}, BadValueError, "n must be an integer >= 1"),
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
        ({"n": []}, "n must be an integer >= 1"),
        ({"n": [3, 0]}, "n must be an integer >= 1"),
        ({"n": 3.0}, "n must be an integer >= 1"),
        ({"n": True}, "n must be an integer >= 1"),
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


# --- what may be given -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["start", "fixed"])
def test_given_anchors_may_be_nested_lists(backend, name):
    given, boxes_wh = [[10.0, 20.0]], backend.array(sizes(50))
    found, expected = (fit_anchors(boxes_wh, 2 - (name == "start"), **{name: x}) for x in (given, np.asarray(given)))
    assert hexes(backend.host(found.anchors)) == hexes(backend.host(expected.anchors))
    with pytest.raises(ShapeError, match=f"{name} must be numbers, in rows of equal length"):
        fit_anchors(boxes_wh, 2, **{name: [[1.0], [2.0, 3.0]]})


@pytest.mark.parametrize("method", METHODS)
def test_a_nested_list_is_fitted_like_the_float64_array(method):
    rows = sizes(60).tolist()
    options = {"method": method, "generations": 20, "weights": list(range(60))}
    found, expected = (fit_anchors(boxes, 3, **options) for boxes in (rows, np.asarray(rows, np.float64)))
    assert found.anchors.dtype == np.float64
    assert (hexes(found.anchors), found.score) == (hexes(expected.anchors), expected.score)


def box_sizes():
    return read_boxes("tests/data/taco/annotations.json")


@pytest.mark.parametrize(
    "function",
    [
        lambda boxes, **options: fit_anchors(boxes, 4, **options).anchors,
        lambda boxes, **options: kmeans(boxes, 4, **options),
        lambda boxes, **options: evolve(boxes, ANCHORS, generations=20, **options),
        lambda boxes, **options: fit_curve(boxes, [4], **options).fits[0].anchors,
        lambda boxes, **options: [[getattr(score(boxes, ANCHORS, **options), name) for name in ("bpr", "avg_iou")]],
    ],
    ids=["fit_anchors", "kmeans", "evolve", "fit_curve", "score"],
)
def test_box_sizes_and_size_counts_are_fitted_like_their_arrays(function):
    boxes = box_sizes()
    weights = np.arange(len(boxes)) % 3
    counts = boxes.compress()
    expected = hexes(function(boxes.wh))
    assert hexes(function(boxes)) == expected
    assert hexes(function(counts)) == expected
    assert hexes(function(counts.wh, weights=counts.counts)) == expected
    assert hexes(function(boxes, weights=weights)) == hexes(function(boxes.wh, weights=weights)) != expected
    with pytest.raises(BadValueError, match="weights must not be given with sizes that have counts"):
        function(counts, weights=np.ones(len(counts)))


class Table:
    """Stand for a pandas or Polars table: columns, and a method that converts it."""

    def to_numpy(self):
        raise AssertionError("a message is wanted, not a conversion")


class Image:
    """Stand for a PIL image or a JAX array: NumPy can convert it."""

    __array_interface__ = property(lambda self: np.zeros((2, 2)).__array_interface__)


@pytest.mark.parametrize("function", [fit_anchors, lambda boxes: score(boxes, ANCHORS), size_ratio_to_anchors])
@pytest.mark.parametrize(
    ("boxes", "advice"),
    [(Table(), r"x\.to_numpy\(\)"), (Image(), r"np\.asarray\(x\)"), ("boxes.npy", "expected numpy.ndarray")],
)
def test_an_array_of_another_kind_gets_a_message_that_says_what_to_do(function, boxes, advice):
    with pytest.raises(ArrayTypeError, match=f"{type(boxes).__name__} is not a supported array type.*{advice}"):
        function(boxes)


def test_functions_on_arrays_say_how_to_take_the_array_out_of_box_sizes():
    with pytest.raises(ArrayTypeError, match=r"BoxSizes is not a supported array type.*x\.wh"):
        size_ratio_to_anchors(box_sizes())


# --- checks apart from work ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"start": ANCHORS}, {"method": "kmeans"}, {"method": "evolve"}],
    ids=["default", "start", "kmeans", "evolve"],
)
def test_a_fit_checks_its_limit_and_its_weights_once_and_builds_one_table(monkeypatch, options):
    calls = Counter()

    def count(name):
        for module in [module for name_, module in sys.modules.items() if name_.startswith("anchorlib.")]:
            if real := vars(module).get(name):
                monkeypatch.setattr(module, name, lambda *a, real=real, **k: calls.update([name]) or real(*a, **k))

    for name in ("check_thr", "check_weights"):
        count(name)
    build = SizeTable.__init__
    monkeypatch.setattr(SizeTable, "__init__", lambda *a, **k: calls.update(["SizeTable"]) or build(*a, **k))
    fit_anchors(sizes(200), 4, weights=np.arange(200) + 1, generations=10, **options)
    assert calls == {"check_thr": 1, "check_weights": 1, "SizeTable": 1}


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_zero_side_in_16_bits_is_left_out_of_the_fit(zero):
    """MIN_SIDE is 0 in float16: a side of 0 was kept, and the grid of sizes had negative dimensions."""
    boxes_wh = np.asarray([[zero, 2], [2, 2], [8, 8]], np.float16)
    assert fit_anchors(boxes_wh, 2).anchors.tolist() == [[2, 2], [8, 8]]


def test_a_fit_says_whether_its_anchor_is_proven(monkeypatch):
    boxes = sizes(300)
    assert fit_anchors(boxes, 1).proven
    assert fit_anchors(boxes, 1).to_dict()["proven"] is True
    assert fit_anchors(boxes, 1, min_side=20.0).proven
    assert fit_anchors(boxes, 1, start=[[30.0, 30.0]]).proven
    assert fit_anchors(boxes, 1, weights=np.arange(300) % 7).proven
    for options in ({"objective": "iou"}, {"method": "kmeans"}, {"strides": [8]}, {"time_budget": 0.0}):
        assert not fit_anchors(boxes, 1, **options).proven, options
    assert not fit_anchors(boxes, 2, fixed=[[30.0, 30.0]]).proven
    assert fit_anchors(boxes, 2).to_dict()["proven"] is False
    monkeypatch.setattr(direct, "_MOST_SIZES", 299)
    assert not fit_anchors(boxes, 1).proven  # proven for cells only
