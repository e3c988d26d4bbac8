import glob
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anchorlib import metrics, score, size_ratio
from anchorlib.errors import BackendMixError, BadValueError, ShapeError
from anchorlib.metrics import AnchorScore, SizeTable

RECORDINGS = sorted(glob.glob(str(Path(__file__).parent / "data/golden/metric_*.npz")))
ANCHORS = np.asarray([[10, 13], [33, 23], [116, 90]], np.float32)
SIDES = st.floats(0.5, 2000, width=32)


def sizes(n, seed=0):
    return np.exp(np.random.default_rng(seed).normal(3.5, 1.2, (n, 2))).astype(np.float32)


@pytest.mark.parametrize(
    ("box", "anchor", "expected"),
    [
        ([10, 20], [10, 20], 1.0),  # same shape, same size
        ([10, 20], [10, 10], 0.5),  # one side off by two
        ([10, 20], [20, 10], 0.5),  # both sides off, in opposite directions
        ([10, 20], [40, 20], 0.25),  # exactly at thr = 4: scored, but not a match (the test is strict)
        ([3, 8], [8, 8], 0.375),
    ],
)
def test_size_ratio_known_values(backend, box, anchor, expected):
    result = size_ratio(backend.array([box], np.float32), backend.array([anchor], np.float32))
    assert backend.host(result).tolist() == [[expected]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_size_ratio_of_no_boxes_is_empty(backend, dtype):
    result = backend.host(size_ratio(backend.array(np.zeros((0, 2)), dtype), backend.array(ANCHORS, dtype)))
    assert result.shape == (0, 3)
    assert result.dtype == dtype


def test_size_ratio_matches_the_double_loop_bit_for_bit(backend):
    boxes_wh = sizes(200)
    result = backend.host(size_ratio(backend.array(boxes_wh), backend.array(ANCHORS)))
    assert np.array_equal(result, oracle.size_ratio(boxes_wh, ANCHORS))


def test_size_ratio_of_integers_is_float32(backend):
    result = backend.host(size_ratio(backend.array([[10, 20]], np.int64), backend.array(ANCHORS)))
    assert result.dtype == np.float32


def test_size_ratio_refuses_corner_boxes_and_says_what_to_do(backend):
    with pytest.raises(ShapeError, match=r"boxes_wh must have shape \(N, 2\), got .* \(3, 4\).*xyxy_to_wh"):
        size_ratio(backend.array(np.ones((3, 4))), backend.array(ANCHORS))


def test_size_ratio_refuses_two_frameworks(grad_backend):
    with pytest.raises(BackendMixError, match=r"boxes_wh is .*, anchors is numpy. Use backends.convert"):
        size_ratio(grad_backend.array(sizes(3)), ANCHORS)


def test_score_known_values(backend, path):
    boxes = backend.array([[10, 20], [100, 100], [40, 10]], np.float32)  # ratios 1, 0.1 and, to [10, 10], 0.25
    result = score(boxes, backend.array([[10, 10], [10, 20]], np.float32), thr=4.0)
    assert (result.bpr, result.aat, result.fitness) == (1 / 3, 2 / 3, 1 / 3)
    assert result.mean_best == (1 + 0.2 - 0.2 + float(np.float32(0.1)) + 0.25) / 3
    assert result.n_boxes == 3
    assert not result.is_good


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: Path(file).stem)
def test_score_meets_the_recordings_exactly(backend, path, file):
    recorded = np.load(file)
    boxes, anchors, thr = (
        backend.array(recorded["wh"]),
        backend.array(recorded["anchors"]),
        float(recorded["thr"]),
    )
    ratio = backend.host(size_ratio(boxes, anchors))
    assert np.array_equal(ratio, recorded["ratio"])
    assert np.array_equal(ratio.max(axis=1), recorded["best"])
    result = score(boxes, anchors, thr)
    assert (result.bpr, result.aat, result.fitness) == tuple(float(recorded[k]) for k in ("bpr", "aat", "fitness"))
    assert SizeTable(boxes).fitness(anchors, thr) == result.fitness


def test_there_are_five_recordings():
    assert len(RECORDINGS) == 5


@settings(max_examples=60, deadline=None)
@given(
    boxes_wh=arrays(np.float32, st.tuples(st.integers(1, 30), st.just(2)), elements=SIDES),
    anchors=arrays(np.float32, st.tuples(st.integers(1, 12), st.just(2)), elements=SIDES),
    thr=st.sampled_from([1.5, 2.0, 4.0, 8.0, 20.0]),
    weighted=st.booleans(),
)
def test_score_is_the_exact_value_correctly_rounded(backend, boxes_wh, anchors, thr, weighted):
    weights = np.arange(len(boxes_wh)) % 4 + 1 if weighted else None
    expected = oracle.score(boxes_wh, anchors, thr, weights)
    given_weights = None if weights is None else backend.array(weights)
    result = score(backend.array(boxes_wh), backend.array(anchors), thr, weights=given_weights)
    assert (result.bpr, result.aat, result.fitness) == tuple(expected[k] for k in ("bpr", "aat", "fitness"))
    assert result.mean_best == expected["mean_best"]  # no ratio here is below 2^-17
    assert result.avg_iou == pytest.approx(expected["avg_iou_float32"], rel=0, abs=2.0**-40)  # IoUs below are cut


def test_score_is_the_same_bits_on_this_backend_as_on_numpy(backend, path):
    boxes_wh = sizes(40_000, seed=3)  # more than two blocks
    assert score(backend.array(boxes_wh), backend.array(ANCHORS)) == score(boxes_wh, ANCHORS)


def test_score_does_not_depend_on_the_order_of_the_boxes(backend, path):
    boxes_wh = sizes(20_000)
    shuffled = np.random.default_rng(1).permutation(boxes_wh)
    assert score(backend.array(shuffled), backend.array(ANCHORS)) == score(boxes_wh, ANCHORS)


def test_weights_count_like_repeated_boxes(backend, path):
    boxes_wh, weights = sizes(500), np.random.default_rng(0).integers(0, 5, 500)
    repeated = score(backend.array(np.repeat(boxes_wh, weights, axis=0)), backend.array(ANCHORS))
    assert score(backend.array(boxes_wh), backend.array(ANCHORS), weights=backend.array(weights)) == repeated
    assert score(backend.array(boxes_wh), backend.array(ANCHORS), weights=backend.array(weights * 1.0)) == repeated


def test_huge_weights_do_not_overflow():
    boxes_wh = sizes(2)
    assert score(boxes_wh, ANCHORS, weights=np.asarray([2**35, 2**35 - 1])).n_boxes == 2**36 - 1
    assert score(boxes_wh[:1], ANCHORS, weights=np.asarray([2**35])).fitness == score(boxes_wh[:1], ANCHORS).fitness


def test_fractional_weights_count_in_proportion():
    boxes_wh = np.asarray([[10, 13], [1000, 10]], np.float32)
    result = score(boxes_wh, ANCHORS, weights=np.asarray([0.75, 0.25]))
    assert result.bpr == pytest.approx(0.75, rel=1e-9)
    assert result.n_boxes == 1
    for scale in (1e-300, 0.01, 100.0, 1e300):  # only the proportions matter
        assert score(boxes_wh, ANCHORS, weights=np.asarray([0.75, 0.25]) * scale).bpr == pytest.approx(0.75, rel=1e-9)
    many = np.concatenate([[1000.0], np.full(200_000, 0.01)])
    boxes_wh = np.concatenate([[[10, 13]], np.full((200_000, 2), 2000)])
    assert score(boxes_wh, ANCHORS, weights=many).bpr == pytest.approx(1 / 3, rel=1e-5)


def test_a_box_with_a_zero_side_matches_nothing_without_a_warning(backend, path, recwarn):
    boxes = backend.array([[0, 0], [0, 5], [10, 13]], np.float32)
    result = score(boxes, backend.array(ANCHORS))
    assert (result.bpr, result.avg_iou) == (1 / 3, 1 / 3)
    assert SizeTable(boxes).fitness(ANCHORS, 4.0) == 1 / 3
    assert [use.matched for use in SizeTable(boxes).use(ANCHORS, 4.0)] == [1 / 3, 1 / 3, 0]
    assert not recwarn.list


def test_a_ratio_beyond_float32_is_0_without_a_warning(backend, recwarn):
    result = size_ratio(backend.array([[1e38, 10]], np.float32), backend.array([[1e-5, 10]], np.float32))
    assert backend.host(result).tolist() == [[0.0]]
    assert not recwarn.list


def test_a_ratio_of_just_the_limit_is_no_match():
    boxes_wh, anchors = np.asarray([[10, 20], [8, 8]], np.float32), np.asarray([[40, 20]], np.float32)
    table = SizeTable(boxes_wh)  # ratios of 1 / 4 and 1 / 5
    assert table.fitness(anchors, 4.0) == table.score(anchors, 4.0).fitness == 0.0
    assert table.fitness(anchors, 4.1) == 0.125


def test_anchors_in_float64_are_taken_as_float32(backend):
    boxes, anchors = backend.array(sizes(500)), ANCHORS.astype(np.float64) / 3
    rounded = backend.array(anchors, np.float32)
    assert score(boxes, backend.array(anchors)) == score(boxes, rounded)
    assert SizeTable(boxes).fitness(anchors, 4.0) == SizeTable(boxes).fitness(rounded, 4.0)


def test_a_score_reads_as_a_line_and_as_a_table():
    result = AnchorScore(bpr=0.99, aat=4.2, fitness=0.75, mean_best=0.8, avg_iou=0.625, n_boxes=12_345)
    assert str(result) == "bpr 0.9900, 4.20 anchors/target, fitness 0.7500, average IoU 0.6250, 12 345 boxes"
    cells = re.findall("<t[hd].*?>(.*?)</t[hd]>", result._repr_html_())
    assert list(zip(cells[::2], cells[1::2])) == [
        ("best possible recall", "0.9900"),
        ("anchors/target", "4.20"),
        ("fitness", "0.7500"),
        ("mean best ratio", "0.8000"),
        ("average IoU", "0.6250"),
        ("boxes", "12 345"),
    ]


@pytest.mark.parametrize(
    ("boxes_wh", "error", "message"),
    [
        (np.zeros((0, 2)), BadValueError, "at least one row"),
        ([[1, np.nan]], BadValueError, "1 of 1 rows with a side that is not a finite number"),
        ([[1, np.inf]], BadValueError, "not a finite number"),
        ([[1, 1e20]], BadValueError, r"a side outside \[1e-15, 1e\+15\] pixels"),
        (
            [[3, 4], [1, -2], [-1, 1]],
            BadValueError,
            r"2 of 3 rows with a side < 0 \(first: row 1, \[1.0, -2.0\]\)",
        ),
        ([1, 2], ShapeError, r"boxes_wh must have shape \(N, 2\)"),
    ],
)
def test_score_refuses_what_cannot_be_scored(backend, boxes_wh, error, message):
    with pytest.raises(error, match=message):
        score(backend.array(boxes_wh, np.float32), backend.array(ANCHORS))


@pytest.mark.parametrize(("thr", "message"), [(1.0, "greater than 1"), (0.25, "pass 4"), (float("nan"), "got nan")])
def test_score_refuses_a_limit_that_is_none(thr, message):
    with pytest.raises(BadValueError, match=message):
        score(sizes(3), ANCHORS, thr)


@pytest.mark.parametrize("weights", [[1, -1, 1], [0, 0, 0], [1, np.nan, 1], [1e308, 1e308, 1]])
def test_score_refuses_weights_that_count_nothing(weights):
    with pytest.raises(BadValueError, match="weights must be finite, >= 0 and with a sum in"):
        score(sizes(3), ANCHORS, weights=np.asarray(weights, np.float64))


def test_use_shares_the_matching_boxes_out_to_their_nearest_anchors(backend, path):
    boxes_wh = sizes(40_000)  # more than two blocks
    uses = SizeTable(backend.array(boxes_wh)).use(backend.array(ANCHORS), 4.0)
    ratio = oracle.size_ratio(boxes_wh, ANCHORS)
    assert [use.matched for use in uses] == list((ratio > 0.25).mean(axis=0))
    nearest = np.where(ratio.max(axis=1) > 0.25, ratio.argmax(axis=1), -1)
    assert [use.nearest for use in uses] == [np.mean(nearest == j) for j in range(3)]


def test_use_counts_a_weight_like_repeated_boxes(backend, path):
    boxes_wh, weights = sizes(500), np.random.default_rng(0).integers(0, 5, 500)
    weighted = SizeTable(backend.array(boxes_wh), backend.array(weights)).use(backend.array(ANCHORS), 4.0)
    assert weighted == SizeTable(np.repeat(boxes_wh, weights, axis=0)).use(ANCHORS, 4.0)


def test_scoring_makes_no_array_of_boxes_times_anchors():
    import tracemalloc

    boxes_wh, anchors = sizes(300_000), sizes(20, seed=1)
    tracemalloc.start()
    score(boxes_wh, anchors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000 * 16 + 2**22  # an (N, K) float32 array would need 24 MB


def test_the_limit_is_compared_in_float32():
    third = np.float32(1 / 3)
    assert metrics.ratio_limit(3.0) == float(third)
    assert score(np.asarray([[3, 1]], np.float32), np.asarray([[1, 1]], np.float32), thr=3.0).bpr == 0.0


def test_sizes_that_float32_cannot_hold_are_refused(backend):
    boxes = backend.array([[1e39, 10], [20, 20]], np.float64)
    with pytest.raises(BadValueError, match="not a finite number"):
        score(boxes, backend.array(ANCHORS))
    with pytest.raises(BadValueError, match="anchors has 1 of 1 rows with a side <= 0"):
        score(backend.array(sizes(3)), backend.array([[1e-50, 10]], np.float64))
    with pytest.raises(BadValueError, match="anchors must have at least one row"):
        score(backend.array(sizes(3)), backend.array(np.zeros((0, 2)), np.float32))


def test_a_limit_of_one_in_float32_is_refused():
    with pytest.raises(BadValueError, match="greater than 1"):
        score(sizes(3), ANCHORS, 1.00000001)


def test_fitness_over_several_blocks_is_that_of_the_score(backend, path):
    """For both objectives, a fit maximises what the score reports."""
    table = SizeTable(backend.array(sizes(40_000)))
    result = table.score(backend.array(ANCHORS), 4.0)
    assert table.fitness(ANCHORS, 4.0) == result.fitness
    assert table.fitness(ANCHORS, 4.0, "iou") == result.avg_iou


def test_of_anchors_that_fit_alike_the_first_is_the_nearest():
    uses = SizeTable(sizes(500)).use(np.concatenate([ANCHORS, ANCHORS]), 4.0)
    assert [use.nearest for use in uses[3:]] == [0.0, 0.0, 0.0]
    assert sum(use.nearest for use in uses[:3]) > 0.5


@pytest.mark.parametrize("function", [size_ratio, score])
def test_anchors_are_checked_like_boxes(backend, function):
    with pytest.raises(ShapeError, match=r"anchors must have shape \(K, 2\)"):
        function(backend.array(sizes(3)), backend.array(np.ones((3, 3)), np.float32))


def test_score_refuses_two_frameworks(grad_backend):
    with pytest.raises(BackendMixError):
        score(grad_backend.array(sizes(3)), ANCHORS)
    with pytest.raises(BackendMixError):
        score(sizes(3), grad_backend.array(ANCHORS))
