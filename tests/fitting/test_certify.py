"""Test `certify`: the bound is never below what brute force finds, and faults in its proof are noticed."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from helpers.coco_like_sizes import coco_like

from anchorlib import certify, fit_anchors, read_boxes, score
from anchorlib.errors import BadValueError
from anchorlib.fitting import certificate, certificate_bound
from anchorlib.fitting.certificate import Certificate
from anchorlib.fitting.certificate_bound import FLOAT32_ERROR, Measure, PricedSizes, find_greatest_gain
from anchorlib.fitting.certificate_prices import Prices
from anchorlib.metrics import SizeTable
from anchorlib.size_histogram import WeightedSizes, as_columns, merge_equal

SETS = 200
BCCD = Path(__file__).parents[1] / "data" / "bccd"


def some_sizes(rng, n_boxes):
    """Return a few sizes at several scales, some equal in a side and some on the limit of others."""
    sizes = np.exp2(rng.uniform(3, 7, (n_boxes, 2))).astype(np.float32)
    sizes[rng.random(sizes.shape) < 0.3] = np.float32(32)
    sizes[rng.random(sizes.shape) < 0.1] = np.float32(128)
    return sizes


def grid_of_anchors(sizes, steps):
    """Return the anchors of a fine grid over the sizes, with the sides of the sizes on it."""
    low, high = sizes.min(axis=0).astype(float), sizes.max(axis=0).astype(float)
    sides = [
        np.union1d(sizes[:, k], low[k] * (high[k] / low[k]) ** np.linspace(0, 1, steps)).astype(np.float64)
        for k in (0, 1)
    ]
    return np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)


def best_by_brute_force(sizes, n, objective, steps, floor=None):
    """Return the largest sum of values that n anchors of the grid reach, for n = 1 or 2."""
    anchors, measure = grid_of_anchors(sizes, steps), Measure(objective, 4.0)
    values = measure.values(
        sizes[:, 0].astype(np.float64), sizes[:, 1].astype(np.float64), anchors[:, :1], anchors[:, 1:]
    )
    if floor is not None:
        values = np.maximum(values, floor)
    if n == 1:
        return float(values.sum(axis=1).max())
    return max(float(np.maximum(values[i:], values[i]).sum(axis=1).max()) for i in range(len(values)))


def bound_at(sizes, price, n, objective, slack=0.01):
    """Return the certificate's bound at these prices, with the greatest gain over the whole plane."""
    priced = PricedSizes(sizes[:, 0].astype(np.float64), sizes[:, 1].astype(np.float64), np.ones(len(sizes)), price)
    domain = (priced.w.min(), priced.w.max(), priced.h.min(), priced.h.max())
    measure = Measure(objective, 4.0)
    found = find_greatest_gain(measure, priced, tuple(map(float, domain)), sizes[:1].astype(np.float64), slack)
    return float(price.sum()) + n * found.above


def count_violations(n, objective, n_sets, steps):
    """Return in how many random sets brute force exceeds the bound at random prices."""
    violations = 0
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        sizes = some_sizes(rng, int(rng.integers(1, 12)))
        price = rng.uniform(0, 1, len(sizes)) * rng.choice([0.0, 0.4, 1.0])
        violations += best_by_brute_force(sizes, n, objective, steps) > bound_at(sizes, price, n, objective)
    return violations


@pytest.mark.parametrize("objective", ["ratio", "iou"])
@pytest.mark.parametrize(("n", "steps"), [(1, 40), (2, 8)])
def test_brute_force_never_exceeds_the_bound_whatever_the_prices(n, steps, objective, n_cases):
    assert count_violations(n, objective, n_cases(SETS), steps) == 0


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_with_price_0_the_bound_of_one_anchor_is_tight(objective):
    for seed in range(20):
        sizes = some_sizes(np.random.default_rng(seed), 6)
        best = best_by_brute_force(sizes, 1, objective, 200)
        assert best <= bound_at(sizes, np.zeros(6), 1, objective, 1e-4) <= best * 1.01 + 1e-3


def gain_at_the_middle(self, sizes, cell):
    """Forget the size of the cell."""
    middle = math.sqrt(cell[0] * cell[1]), math.sqrt(cell[2] * cell[3])
    return self.gain(sizes, *middle), np.arange(len(sizes.w))


def gain_at_the_corners(self, sizes, cell):
    """Forget that the gain of a box may have its peak in the cell."""
    return max(self.gain(sizes, *at) for at in itertools.product(cell[:2], cell[2:])), np.arange(len(sizes.w))


def gain_without_the_last_box(self, sizes, cell):
    """Drop a term."""
    above, rows = TRUE_GAIN(self, sizes, cell)
    return above, rows[: max(1, len(rows) - 1)]


TRUE_GAIN = Measure.gain_above


@pytest.mark.parametrize("objective", ["ratio", "iou"])
@pytest.mark.parametrize("fault", [gain_at_the_middle, gain_at_the_corners, gain_without_the_last_box])
def test_faults_in_the_bound_of_a_cell_are_noticed(fault, objective, monkeypatch):
    monkeypatch.setattr(Measure, "gain_above", fault)
    assert count_violations(1, objective, 40, 40) > 0


def test_the_bound_of_a_cell_holds_where_widths_and_heights_are_far_apart():
    # The IoU with the first box bends up between the ends of the cell; the second one's falls nearly straight.
    measure = Measure("iou", 4.0)
    for turned in (False, True):
        cell = (1.0, 8.0, 20.0, 21.0)
        sides = np.array([[8.0, 1.0], [1.0, 1000.0]])  # widths, heights
        if turned:
            cell, sides = (*cell[2:], *cell[:2]), sides[::-1]
        sizes = PricedSizes(*sides, np.array([1.0, 5.0]), np.zeros(2))
        inside = (21.0, 3.0) if turned else (3.0, 21.0)
        corners = [measure.gain(sizes, *at) for at in itertools.product(cell[:2], cell[2:])]
        assert max(corners) < measure.gain(sizes, *inside) <= measure.gain_above(sizes, cell)[0]


def test_the_bound_of_a_cell_covers_boxes_in_both_coordinates():
    # A box at both sides of a cell: its IoU is convex in 1 / a, above the straight line in a.
    measure, sizes = Measure("iou", 4.0), PricedSizes(*np.array([[8.0], [1.0], [1.0], [0.0]]))
    inside = 4.0
    line = 1 / 8 + (inside - 1) / 7 * (1 - 1 / 8)
    assert measure.gain(sizes, inside, 1.0) <= line + certificate_bound._lag(1.0, 8.0)
    two = PricedSizes(*np.array([[8.0, 1.0], [4.0, 4.0], [1.0, 1.0], [0.0, 0.0]]))
    for a in np.linspace(1.001, 7.999, 50):
        for b in (2.0, 3.0, 6.0):
            assert measure.gain(two, float(a), b) <= measure.gain_above(two, (1.0, 8.0, 1.5, 6.0))[0]


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_the_bound_holds_for_anchors_anywhere_in_the_plane(objective):
    rng = np.random.default_rng(3)
    sizes = coco_like(300)
    found = certify(sizes, fit_anchors(sizes, 3, objective=objective).anchors, objective=objective, gap=0.02)
    assert 0 <= found.gap <= 0.02
    table = SizeTable(sizes)
    for _ in range(300):
        anchors = np.exp2(rng.uniform(1, 11, (3, 2))).astype(np.float32)
        assert table.fitness(anchors, 4.0, objective) <= found.upper_bound


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_two_anchors_are_within_the_certificate(objective):
    for seed in range(5):
        sizes = some_sizes(np.random.default_rng(seed), 8)
        anchors = fit_anchors(sizes, 2, objective=objective).anchors
        found = certify(sizes, anchors, objective=objective, gap=0.01)
        best = best_by_brute_force(sizes, 2, objective, 12) / len(sizes)
        assert best / FLOAT32_ERROR[objective] <= found.upper_bound
        assert found.fitness == SizeTable(sizes).fitness(anchors, 4.0, objective) <= found.upper_bound


def test_nine_anchors_are_certified_to_two_thousandths():
    sizes = coco_like(600)
    found = certify(sizes, fit_anchors(sizes, 9).anchors, gap=2e-3)
    assert 0 <= found.gap <= 2e-3
    assert found.upper_bound == min(bound for _, bound in found.bounds)
    assert f"No 9 anchors can have a fitness above {math.ceil(found.upper_bound * 1e4) / 1e4:.4f}" in str(found)
    assert found.to_dict()["gap"] == found.gap


def test_a_certificate_is_written_and_shown():
    found = Certificate(0.612341, 0.6, 0.020568, 1.25, 3, "iou", ((0.5, 0.7), (1.25, 0.612341)))
    text = "No 3 anchors can have an average IoU above 0.6124: these are within 2.06 % of the best."
    assert found.to_dict() == {
        "upper_bound": 0.612341,
        "fitness": 0.6,
        "gap": 0.020568,
        "seconds": 1.25,
        "n": 3,
        "objective": "iou",
        "bounds": [[0.5, 0.7], [1.25, 0.612341]],
        "text": text,
    }
    assert found._table_rows() == [
        ("upper bound", "0.6124"),  # rounded up
        ("reached", "0.6000"),
        ("gap", "2.06 %"),
        ("time", "1.2 s"),
    ]


def test_the_progress_bar_has_the_last_bound(capsys):
    found = certify([[10, 10], [12, 9], [30, 20]], [[12, 11]], objective="iou", gap=0.01, progress=True)
    assert (found.n, found.objective) == (1, "iou")
    shown = capsys.readouterr().err
    assert f"at most {found.bounds[-1][1]:.5f}, {100 * found.gap:.2f} % above" in shown


def test_very_many_sizes_have_the_prices_of_cells(monkeypatch):
    sizes = WeightedSizes(np.float32([64, 64.25, 200, 64]), np.float32([32, 32, 20, 33]), np.array([1, 3, 2, 4]))
    cells, cell = certificate._gather(sizes)
    assert cells is sizes
    assert cell.tolist() == [0, 1, 2, 3]
    monkeypatch.setattr(certificate, "_MOST_SIZES", 3)
    monkeypatch.setattr(certificate, "_MOST_CELLS", 2)
    cells, cell = certificate._gather(sizes)
    assert cell.tolist() == [0, 0, 1, 0]
    assert (cells.w.tolist(), cells.h.tolist(), cells.count.tolist()) == ([64.09375, 200], [32.5, 20], [8, 2])
    boxes = coco_like(300)
    anchors = fit_anchors(boxes, 3).anchors
    monkeypatch.setattr(certificate, "_MOST_CELLS", 150)
    found = certify(boxes, anchors, gap=0.05)
    assert 0 <= found.gap <= 0.05


def test_two_hundred_steps_of_the_prices_bring_the_bound_on_the_sites_near():
    """Their result is the same everywhere: 4.0e-3 above what the anchors reach, then 3.5e-4."""
    sizes = coco_like(300)
    anchors = fit_anchors(sizes, 3).anchors.astype(np.float64)
    reached = SizeTable(sizes).fitness(anchors.astype(np.float32), 4.0) * len(sizes)
    prices = Prices(Measure("ratio", 4.0), merge_equal(as_columns(sizes, None)), np.zeros(len(sizes)), anchors, 0.0, 3)
    near = [prices.improve(100, math.inf) / reached - 1 for _ in range(2)]
    assert 0 < near[1] < 5e-4 < near[0] < 5e-3


def test_one_bound_on_every_backend_and_for_every_order(backend):
    sizes, rng = coco_like(400), np.random.default_rng(0)
    anchors = fit_anchors(sizes, 4).anchors
    one = certify(sizes, anchors, gap=5e-3)
    other = certify(backend.array(sizes[rng.permutation(len(sizes))]), backend.array(anchors[::-1]), gap=5e-3)
    assert (other.upper_bound, other.fitness, other.gap) == (one.upper_bound, one.fitness, one.gap)


def test_weights_count_as_repeated_boxes():
    sizes, rng = coco_like(60), np.random.default_rng(1)
    counts = rng.integers(0, 4, len(sizes))
    anchors = fit_anchors(sizes, 3).anchors
    repeated = certify(np.repeat(sizes, counts, axis=0), anchors, gap=0.01)
    weighted = certify(sizes, anchors, weights=counts, gap=0.01)
    assert (weighted.upper_bound, weighted.fitness) == (repeated.upper_bound, repeated.fitness)
    assert 0 <= weighted.gap <= 0.01


def test_boxes_that_are_all_tall_or_all_wide_are_certified():
    for turn in (1, -1):
        sizes = np.float32([[8, 100], [10, 130], [9, 90]])[:, ::turn]
        assert 0 <= certify(sizes, fit_anchors(sizes, 1).anchors).gap <= 1e-3


def test_without_options_the_ratio_limit_is_4_and_the_gap_a_thousandth():
    assert certify([[10, 10], [45, 45]], [[10, 10]]).fitness == 0.5
    sizes = coco_like(60)
    assert 0 <= certify(sizes, fit_anchors(sizes, 2).anchors).gap <= 1e-3


def test_fixed_anchors_make_the_bound_smaller_and_valid():
    sizes = some_sizes(np.random.default_rng(5), 12)
    fixed = np.float32([[9, 100]])
    anchors = fit_anchors(sizes, 2, fixed=fixed).anchors
    found = certify(sizes, anchors, fixed=fixed, gap=1e-3)
    values = Measure("ratio", 4.0).values(*sizes.T.astype(np.float64), *fixed[0].astype(np.float64))
    best = best_by_brute_force(sizes, 1, "ratio", 100, floor=values) / len(sizes)
    assert best / FLOAT32_ERROR["ratio"] <= found.upper_bound < certify(sizes, anchors, gap=1e-3).upper_bound
    assert found.gap < 0.01


def test_min_side_makes_the_bound_smaller_and_valid():
    sizes = coco_like(200)
    anchors = fit_anchors(sizes, 2, min_side=100).anchors
    found = certify(sizes, anchors, min_side=100, gap=0.01)
    assert found.gap <= 0.01
    assert found.upper_bound < score(sizes, fit_anchors(sizes, 2).anchors).fitness


def test_a_second_without_time_still_gives_a_valid_bound():
    sizes = coco_like(2000)
    anchors = fit_anchors(sizes, 9).anchors
    found = certify(sizes, anchors, gap=1e-9, time_budget=1e-6)
    assert found.fitness <= found.upper_bound <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gap": 0}, "gap and time_budget must be > 0"),
        ({"time_budget": float("nan")}, "time_budget"),
        ({"fixed": [[1, 2]]}, "fixed must be rows of the anchors"),
        ({"fixed": [[10, 20], [30, 30]]}, "fixed must leave at least one of 2 anchors"),
        ({"min_side": -1}, "min_side must be finite"),
        ({"objective": "both"}, "objective"),
        ({"anchors": [[10, 20], [30, 0]]}, r"anchors has 1 of 2 rows with a side <= 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, message):
    with pytest.raises(BadValueError, match=message):
        certify([[10, 20], [30, 40]], **{"anchors": [[10, 20], [30, 30]], **options})


def test_boxes_without_area_only_are_refused_and_others_count_as_worth_nothing():
    with pytest.raises(BadValueError, match="none of 1 boxes has two sides"):
        certify([[0, 5]], [[1, 2]])
    for wrong in (math.nan, -1, math.inf):
        with pytest.raises(BadValueError, match="boxes_wh has 1 of 2 rows with"):
            certify([[3, 5], [wrong, 5]], [[1, 2]])
    found = certify([[0, 5], [10, 10]], [[10, 10]])
    assert found.fitness == 0.5
    assert 0.5 <= found.upper_bound < 0.5001


def test_the_anchors_themselves_are_looked_at_even_if_their_site_was_dropped():
    sizes = read_boxes(BCCD, split="all").wh  # the IoUs are near 1, and early prices drop the sites of the platelets
    anchors = fit_anchors(sizes, 9, objective="iou").anchors
    assert certify(sizes, anchors, objective="iou", gap=0.01).gap <= 0.01


def test_anchors_that_match_no_box_have_no_gap_but_a_bound():
    found = certify([[10, 10], [12, 9], [30, 20]], [[500, 500]], gap=9)
    assert (found.fitness, found.gap) == (0, math.inf)
    assert str(found).endswith(": these match no box.")
    assert found.to_dict()["gap"] is None
    assert ("gap", "-") in found._table_rows()


def test_anchors_that_match_no_box_end_the_search_after_one_bound():
    boxes = np.exp(np.random.default_rng(0).uniform(1, 5, (5, 2)))
    found = certify(boxes, [[1e4, 1e4], [2e4, 1e4]])  # the default time is a minute
    assert len(found.bounds) <= 2  # 1, and a proven one
    assert found.upper_bound >= fit_anchors(boxes, 2).score.fitness
