import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorlib import score
from anchorlib.fitting.rounding import SAME_SCORE, round_anchors
from anchorlib.metrics import SizeTable

BOXES = np.asarray([[10, 20], [100, 100]], np.float32)


@pytest.mark.parametrize(
    ("anchors", "unit", "digits", "expected"),
    [
        ([[10, 20], [100, 100]], 1.0, 0, [[10, 20], [100, 100]]),
        ([[10.0003, 20], [100.004, 100]], 1.0, 0, [[10, 20], [100, 100]]),  # a fitness of 1, or 4e-5 less
        ([[10.4, 20], [100, 100]], 1.0, 1, [[10.4, 20], [100, 100]]),  # 10 would add 2 % to the fitness
        ([[10.25, 20], [100, 100]], 1.0, 2, [[10.25, 20], [100, 100]]),  # 10.2, by half to even, would add 0.2 %
        ([[16, 32], [96, 96]], 32.0, 1, [[16, 32], [96, 96]]),  # 0.5, 1, 3 and 3 cells
    ],
)
def test_as_few_digits_as_the_score_allows(anchors, unit, digits, expected):
    rounded = round_anchors(SizeTable(BOXES), np.asarray(anchors, np.float32), 4.0, unit=unit)
    assert rounded.digits == digits
    assert rounded.anchors.tolist() == np.asarray(expected, np.float32).tolist()
    assert rounded.anchors.dtype == np.float32


def test_no_side_is_rounded_to_0():
    rounded = round_anchors(SizeTable(BOXES), np.asarray([[0.04, 0.04], [10, 20]], np.float32), 4.0)
    assert rounded.anchors[0].tolist() == np.float32([0.04, 0.04]).tolist()


def test_fixed_anchors_and_least_sides_hold():
    anchors = np.asarray([[10.0004, 20], [100.0004, 100.0004]], np.float32)
    rounded = round_anchors(SizeTable(BOXES), anchors, 4.0, fixed=anchors[:1])
    assert rounded.anchors.tolist() == [anchors[0].tolist(), [100, 100]]
    least = np.asarray([[1.0], [100.0003]])
    rounded = round_anchors(SizeTable(BOXES), anchors, 4.0, least=least)
    assert rounded.digits == 4
    assert (rounded.anchors >= least).all()


@pytest.mark.parametrize(
    ("missed", "at_limit"), [(0, 12), (799, 2)], ids=["BPR falls by 3e-4", "a good fit turns poor"]
)
def test_boxes_at_the_limit_are_not_lost(missed, at_limit):
    """At thr 4 the anchor 40.3 recalls a box of 161, and 40 does not; fitness itself changes by less than 1e-4."""
    sides = np.repeat([10, 161, 4000], [40_000 - missed - at_limit, at_limit, missed])
    boxes = np.stack([sides, sides], axis=1).astype(np.float32)
    anchors = np.asarray([[10, 10], [40.3, 40.3]], np.float32)
    whole = score(boxes, np.round(anchors))
    exact = score(boxes, anchors)
    assert abs(whole.fitness - exact.fitness) < SAME_SCORE
    rounded = round_anchors(SizeTable(boxes), anchors, 4.0)
    assert rounded.digits == 1
    assert rounded.score.bpr == exact.bpr
    assert rounded.score.is_good


def test_the_arrays_given_are_not_written_to():
    anchors = np.asarray([[10.4, 20.3], [100, 99.7]], np.float32)
    anchors.flags.writeable = False
    before = anchors.copy()
    round_anchors(SizeTable(BOXES), anchors, 4.0, fixed=anchors[1:])
    assert np.array_equal(anchors, before)


sides = st.floats(2, 600, width=32)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(sides, sides), min_size=1, max_size=30),
    st.lists(st.tuples(sides, sides), min_size=1, max_size=6),
)
def test_the_score_stays_and_one_digit_fewer_would_change_it(boxes, anchors):
    boxes, anchors = np.asarray(boxes, np.float32), np.asarray(anchors, np.float32)
    rounded = round_anchors(SizeTable(boxes), anchors, 4.0)
    exact = score(boxes, anchors)

    def is_same(other):
        return all(abs(getattr(other, k) - getattr(exact, k)) <= SAME_SCORE for k in ("bpr", "fitness", "avg_iou"))

    assert rounded.score == score(boxes, rounded.anchors)
    assert is_same(rounded.score)
    if rounded.digits:
        fewer = np.asarray([[float(f"{side:.{rounded.digits - 1}f}") for side in pair] for pair in anchors], np.float32)
        was_good = score(boxes, fewer).is_good == exact.is_good
        assert not (fewer > 0).all() or not is_same(score(boxes, fewer)) or not was_good
