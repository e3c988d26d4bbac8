import math

import numpy as np
import pytest
from helpers.report_samples import box_sizes, report_of
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorlib import score, size_ratio
from anchorlib.reporting.report_data import find_best_ratios, measure_figures, trace_outline


def figures_of(boxes_wh, anchors, **options):
    before = options.pop("before", None)
    return measure_figures(report_of(box_sizes(boxes_wh, **options), [anchors], before))


def test_known_boxes_land_in_known_bins_cells_and_classes():
    boxes_wh = [[10, 10], [20, 10], [40, 10], [41, 10], [0, 5]]  # ratios 1, 1/2, 1/4, below, 0
    figures = figures_of(boxes_wh, [[10, 10]], classes=[0, 0, 1, 1, 7], class_names=["a", "b"])
    assert {i: int(n) for i, n in enumerate(figures.best) if n} == {0: 1, 9: 1, 10: 1, 20: 1, 39: 1}
    assert [(one.name, one.n_boxes, one.bpr) for one in figures.classes] == [
        ("b", 2, 0.0),
        ("7", 1, 0.0),
        ("a", 2, 1.0),
    ]
    assert [(box.w, box.h) for box in figures.unmatched] == [(41, 10), (40, 10), (0, 5)]  # 1/4 is no match: strict
    assert figures.n_unmatched == 3
    assert (figures.density.counts.sum(), figures.density.not_drawn) == (4, 1)


def test_a_cell_of_the_density_holds_the_boxes_of_its_size():
    density = figures_of([[16, 64]] * 3 + [[64, 16]], [[32, 32]]).density
    cells = {tuple(map(int, cell)): int(density.counts[tuple(cell)]) for cell in np.argwhere(density.counts)}
    place = {octave: int((octave - density.low) / density.step) for octave in (4, 6)}
    assert cells == {(place[4], place[6]): 3, (place[6], place[4]): 1}


def test_the_axes_hold_boxes_and_both_sets_of_anchors():
    density = figures_of([[16, 16]], [[2, 300]], before=[[1000, 8]]).density
    assert density.low < 1
    assert density.high > math.log2(1000)


def test_one_box_far_off_does_not_make_the_axes_endless():
    density = figures_of([[100, 100], [1e-9, 100]], [[100, 100]]).density
    assert density.high - density.low <= 17
    assert density.counts.shape[0] <= 72
    assert density.not_drawn == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(1.1, 20))
@settings(max_examples=30, deadline=None)
def test_the_figures_add_up_to_the_score(seed, n, thr):
    rng = np.random.default_rng(seed)
    boxes_wh = np.exp(rng.normal(3, 1.5, (200, 2))).astype(np.float32)
    anchors = np.exp(rng.normal(3, 1.5, (n, 2))).astype(np.float32)
    report = report_of(box_sizes(boxes_wh, classes=rng.integers(0, 5, 200)), [anchors], thr=thr)
    figures, expected = measure_figures(report), score(boxes_wh, anchors, thr)
    np.testing.assert_array_equal(find_best_ratios(boxes_wh, anchors), size_ratio(boxes_wh, anchors).max(axis=1))
    assert sum(round(one.bpr * one.n_boxes) for one in figures.classes) == round(expected.bpr * 200)
    assert 200 - figures.n_unmatched == round(expected.bpr * 200)
    assert figures.best.sum() == figures.density.counts.sum() + figures.density.not_drawn == 200
    assert [one.bpr for one in figures.classes] == sorted(one.bpr for one in figures.classes)


def test_before_is_measured_with_the_anchors_of_before():
    figures = figures_of([[10, 10], [100, 100]], [[10, 10]], before=[[90, 90], [100, 100]], classes=[0, 1])
    assert [(one.name, one.bpr, one.bpr_before) for one in figures.classes] == [("1", 0, 1), ("0", 1, 0)]
    assert (figures.best_before[-1], figures.best[-1]) == (1, 1)
    assert figures_of([[10, 10]], [[10, 10]]).best_before is None


def test_the_list_of_unmatched_boxes_is_truncated_but_not_their_number():
    report = report_of(box_sizes([[100 + i, 100] for i in range(50)]), [[[5, 5]]])
    figures = measure_figures(report, most_unmatched=3)
    assert [box.w for box in figures.unmatched] == [149, 148, 147]
    assert figures.n_unmatched == 50


def test_the_block_size_does_not_change_the_ratios(monkeypatch):
    boxes_wh = np.exp(np.random.default_rng(1).normal(3, 1, (100, 2))).astype(np.float32)
    whole = find_best_ratios(boxes_wh, boxes_wh[:3])
    monkeypatch.setattr("anchorlib.reporting.report_data._BLOCK", 7)
    np.testing.assert_array_equal(find_best_ratios(boxes_wh, boxes_wh[:3]), whole)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_outline_separates_what_matches_from_what_does_not(seed, n):
    """Count the vertical edges to the left of a size: it is odd exactly where an anchor matches."""
    rng = np.random.default_rng(seed)
    anchors = np.exp(rng.normal(3, 1, (n, 2))).astype(np.float32)
    segments = trace_outline(anchors, 4.0)
    upright = np.asarray([segment for segment in segments if segment[0] == segment[2]])
    for w, h in np.exp2(rng.uniform(-2, 10, (50, 2))):
        log_w, log_h = math.log2(w), math.log2(h)
        crossed = (upright[:, 0] < log_w) & (upright[:, 1] < log_h) & (log_h < upright[:, 3])
        assert (crossed.sum() % 2 == 1) == bool((size_ratio(np.asarray([[w, h]]), anchors.astype(float)) > 0.25).any())


@pytest.mark.parametrize("n_boxes", [1, 2])
def test_the_fewest_boxes_have_figures(n_boxes):
    figures = figures_of([[10, 20]] * n_boxes, [[10, 20]])
    assert figures.density.counts.max() == n_boxes
    assert (figures.unmatched, figures.n_unmatched) == ([], 0)
