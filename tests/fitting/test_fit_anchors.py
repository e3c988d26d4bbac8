import numpy as np
import pytest

from anchorlib import fit_anchors, score
from anchorlib.errors import BadValueError, ShapeError
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
