import os
import subprocess
import sys
import tracemalloc
import warnings
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from helpers import oracle
from helpers.coco_like_sizes import coco_like
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorlib import evolve, kmeans
from anchorlib.errors import BadValueError
from anchorlib.fitting import direct
from anchorlib.fitting.grid import Resolutions
from anchorlib.fitting.interchange import Candidates
from anchorlib.fitting.local_search import Bounds, IouObjective, RatioObjective
from anchorlib.metrics import SizeTable, one_side_ratio, side_ratio
from anchorlib.size_histogram import as_columns, bin_in_cells, merge_equal

ROOT = Path(__file__).parents[2]


def f32(rows):
    return np.asarray(rows, dtype=np.float32)


def fitness(boxes_wh, anchors, thr=4.0, objective="ratio", weights=None):
    return SizeTable(boxes_wh, weights).fitness(anchors, thr, objective)


def whole_sizes(n, seed):
    """Return sizes computed without a logarithm: bit-identical with every C library."""
    rng = np.random.default_rng(seed)
    return f32(rng.integers(64, 128, (n, 2)) * 2.0 ** rng.integers(-3, 3, (n, 1)) * 2.0 ** rng.integers(-1, 2, (n, 2)))


# --- by hand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_two_sizes_and_two_anchors_are_the_sizes(objective):
    boxes_wh = f32([[80, 60], [10, 20], [10, 20], [10, 20]])
    assert direct.search(boxes_wh, 2, objective=objective).anchors.tolist() == [[10, 20], [80, 60]]


def test_one_anchor_goes_to_the_size_that_has_the_majority():
    # Between two sizes the sum of 2^-distance is convex, so its maximum is at one end.
    boxes_wh = f32([[10, 10]] * 3 + [[30, 30]])
    for thr in (2.0, 4.0, 1000.0):
        assert direct.search(boxes_wh, 1, thr=thr).anchors.tolist() == [[10, 10]]
    assert direct.search(boxes_wh, 1, objective="iou").anchors.tolist() == [[10, 10]]


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_sizes_that_occur_often_come_first(objective):
    boxes_wh = f32([[10, 10], [100, 100], [1000, 1000]])
    for counts in ([1, 5, 5], [5, 1, 5], [5, 5, 1]):
        expected = [row for row, count in zip(boxes_wh.tolist(), counts) if count == 5]
        assert direct.search(boxes_wh, 2, objective=objective, weights=np.array(counts)).anchors.tolist() == expected


def test_the_limit_decides_where_one_anchor_goes():
    # The anchor 16 gets (1 + 0 + 0) / 3. Only sides strictly between 15 and 20 match all three boxes.
    boxes_wh = f32([[5, 5], [16, 16], [60, 60]])
    ((w, h),) = direct.search(boxes_wh, 1, thr=4.0).anchors.tolist()
    assert 15 < w < 20
    assert 15 < h < 20
    assert fitness(boxes_wh, f32([[w, h]])) >= (5 / 16 + 1 + 16 / 60) / 3 - 1e-7


def test_boxes_of_one_size_give_that_size():
    assert direct.search(f32([[37, 11]] * 50), 1).anchors.tolist() == [[37, 11]]


def test_as_many_anchors_as_distinct_sizes_fit_exactly():
    boxes_wh = np.repeat(coco_like(30, seed=4), 3, axis=0)
    anchors = direct.search(boxes_wh, 30).anchors
    assert {tuple(row) for row in anchors.tolist()} == {tuple(row) for row in boxes_wh.tolist()}
    assert fitness(boxes_wh, anchors) == 1


@pytest.mark.parametrize("n", [4, 9])
def test_more_anchors_than_distinct_sizes_are_refused(n):
    with pytest.raises(BadValueError, match=rf"n={n} needs at least {n} distinct box sizes, got 3"):
        direct.search(f32([[1, 2], [3, 4], [5, 6], [1, 2]]), n)


def test_sizes_that_are_close_together_and_far_from_another_are_told_apart():
    # All but one fall in one cell of the grid; there are more distinct sizes than coarse cells.
    rng = np.random.default_rng(0)
    boxes_wh = np.concatenate([f32(100 + rng.random((3000, 2)) / 16), f32([[1e-3, 1e5]])])
    anchors = direct.search(boxes_wh, 9).anchors
    assert len({tuple(row) for row in anchors.tolist()}) == 9
    assert fitness(boxes_wh, anchors) > 0.9999


# --- against slow and obvious answers ---------------------------------------------------------------------------


def all_places(boxes_wh, steps):
    lows, highs = boxes_wh.min(axis=0) / 1.5, boxes_wh.max(axis=0) * 1.5
    sides = [np.geomspace(low, high, steps) for low, high in zip(lows, highs)]
    return np.concatenate([f32(list(product(*sides))), boxes_wh])


def best_of_all(boxes_wh, n, thr, objective, steps):
    """Return the best mean of one anchor, or of two, among points of a grid and the box sizes."""
    places = all_places(boxes_wh, steps)
    closeness = (oracle.size_ratio if objective == "ratio" else oracle.wh_iou)(places, boxes_wh)
    if objective == "ratio":
        closeness[closeness <= 1 / thr] = 0
    if n == 2:
        closeness = np.maximum(closeness[:, None], closeness).reshape(-1, len(boxes_wh))
    return closeness.mean(axis=1).max()


@pytest.mark.parametrize("objective", ["ratio", "iou"])
@pytest.mark.parametrize(("n", "steps"), [(1, 40), (2, 16)])
@pytest.mark.parametrize("thr", [1.5, 4.0])
@pytest.mark.parametrize("seed", range(4))
def test_no_place_on_a_grid_is_better_for_few_boxes(objective, n, steps, thr, seed):
    boxes_wh = whole_sizes(7, seed)
    found = fitness(boxes_wh, direct.search(boxes_wh, n, thr=thr, objective=objective).anchors, thr, objective)
    assert found >= best_of_all(boxes_wh, n, thr, objective, steps) - 1e-6


def refine(boxes_wh, anchors):
    """Return the fitness after moves of one anchor to a neighbour while any is a gain, by smaller and smaller steps."""
    best = fitness(boxes_wh, anchors)
    for step in (0.08, 0.02, 0.005, 0.001, 0.0002):
        better = True
        while better:
            better = False
            for anchor, along_w, along_h in product(range(len(anchors)), (-1, 0, 1), (-1, 0, 1)):
                moved = anchors.copy()
                moved[anchor] *= f32([1 + step * along_w, 1 + step * along_h])
                reached = fitness(boxes_wh, moved)
                if reached > best:
                    best, anchors, better = reached, moved, True
    return best


@pytest.mark.parametrize(("n", "boxes", "steps", "tried"), [(2, 250, 22, 12), (3, 120, 9, 8)])
def test_all_pairs_and_triples_of_a_grid_are_not_better_even_if_refined(n, boxes, steps, tried):
    boxes_wh = coco_like(boxes, seed=n)
    sides = [np.geomspace(low, high, steps) for low, high in zip(boxes_wh.min(axis=0), boxes_wh.max(axis=0))]
    places = f32(list(product(*sides)))
    values = oracle.size_ratio(places, boxes_wh)
    values[values <= 1 / 4] = 0
    reached = {}
    for first in combinations(range(len(places)), n - 1):
        totals = np.maximum(values[list(first)].max(axis=0), values).sum(axis=1)
        reached[(*first, int(totals.argmax()))] = totals.max()
    best_first = sorted(reached, key=reached.get, reverse=True)[:tried]
    best = max(refine(boxes_wh, places[list(chosen)]) for chosen in best_first)
    assert fitness(boxes_wh, direct.search(boxes_wh, n).anchors) >= best * (1 - 1e-4)


@pytest.mark.parametrize(("n", "seed"), [(1, 1), (1, 3), (2, 2), (3, 3), (5, 5), (9, 9), (20, 20)])
def test_it_is_at_least_as_good_as_1000_generations_of_evolution(n, seed):
    boxes_wh = coco_like(3000, seed=seed)
    found = fitness(boxes_wh, direct.search(boxes_wh, n).anchors)
    for luck in (0, 1):
        evolved = evolve(boxes_wh, kmeans(boxes_wh, n, seed=luck), generations=1000, seed=luck)
        assert found >= fitness(boxes_wh, evolved) * (1 - 1e-6)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_its_average_iou_is_at_least_that_of_k_medians(n):
    boxes_wh = coco_like(3000, seed=n)
    medians = kmeans(boxes_wh, n, distance="iou", update="median")
    found = direct.search(boxes_wh, n, objective="iou").anchors
    assert fitness(boxes_wh, found, objective="iou") >= fitness(boxes_wh, medians, objective="iou")


# --- start, fixed anchors, least sides, time ------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_anchors_that_cannot_be_made_better_are_kept_bit_for_bit(objective):
    boxes_wh = coco_like(2000, seed=3)
    best = max(
        (direct.search(boxes_wh, 5, objective=objective, seed=seed).anchors for seed in range(3)),
        key=lambda anchors: fitness(boxes_wh, anchors, objective=objective),
    )
    for _ in range(6):
        better = direct.search(boxes_wh, 5, objective=objective, start=best).anchors
        assert fitness(boxes_wh, better, objective=objective) >= fitness(boxes_wh, best, objective=objective)
        if np.array_equal(better, best):
            break
        best = better
    else:
        pytest.fail("six rounds did not come to rest")


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_anchors_a_little_off_the_best_are_improved(objective):
    boxes_wh = coco_like(2000, seed=3)
    start = direct.search(boxes_wh, 5, objective=objective).anchors * np.float32(1.02)
    better = direct.search(boxes_wh, 5, objective=objective, start=start).anchors
    assert fitness(boxes_wh, better, objective=objective) > fitness(boxes_wh, start, objective=objective)


def test_a_start_that_is_the_best_without_the_weights_is_made_better_with_them():
    boxes_wh = coco_like(2000, seed=3)
    weights = np.where(boxes_wh.max(axis=1) < 40, 50, 1)
    start = direct.search(boxes_wh, 5).anchors
    better = direct.search(boxes_wh, 5, weights=weights, start=start).anchors
    assert fitness(boxes_wh, better, weights=weights) > fitness(boxes_wh, start, weights=weights)


@pytest.mark.parametrize("side", [10, 1000])
def test_of_two_that_are_as_good_the_start_is_kept(side):
    assert direct.search(f32([[10, 10], [1000, 1000]]), 1, start=f32([[side, side]])).anchors.tolist() == [[side, side]]


def test_it_is_not_worse_than_the_start_even_without_any_time():
    boxes_wh = coco_like(3000, seed=1)
    good = direct.search(boxes_wh, 6).anchors
    assert np.array_equal(direct.search(boxes_wh, 6, start=good[::-1], time_budget=0.0).anchors, good)


@pytest.mark.parametrize("n", [1, 2, 12])
def test_a_time_budget_of_nothing_still_gives_all_anchors(n):
    anchors = direct.search(coco_like(3000, seed=1), n, time_budget=0.0).anchors
    assert len({tuple(row) for row in anchors.tolist()}) == n


def test_the_seed_is_0_unless_another_is_given():
    boxes_wh = coco_like(20_000, seed=4)
    by_seed = {seed: direct.search(boxes_wh, 9, seed=seed).anchors.tobytes() for seed in range(3)}
    assert len(set(by_seed.values())) == 3
    assert direct.search(boxes_wh, 9).anchors.tobytes() == by_seed[0]


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_fixed_anchors_stay_bit_for_bit_and_the_others_make_up_for_them(objective):
    boxes_wh = coco_like(3000, seed=2)
    fixed = f32([[13.37, 640], [20.2, 21.1]])
    anchors = direct.search(boxes_wh, 6, objective=objective, fixed=fixed).anchors
    assert anchors.shape == (6, 2)
    assert all(row in anchors.tolist() for row in fixed.tolist())
    free = f32([row for row in anchors.tolist() if row not in fixed.tolist()])
    free_only = np.concatenate([direct.search(boxes_wh, 4, objective=objective).anchors, fixed])
    assert fitness(boxes_wh, np.concatenate([free, fixed]), objective=objective) > fitness(
        boxes_wh, free_only, objective=objective
    )


@pytest.mark.parametrize(("n", "objective"), [(1, "iou"), (5, "ratio")])
def test_a_single_anchor_that_may_move_is_perturbed(monkeypatch, n, objective):
    boxes_wh = coco_like(5000, seed=3)
    fixed = f32([[20, 20], [50, 60], [100, 90], [400, 300]])[: n - 1]
    found = direct.search(boxes_wh, n, objective=objective, fixed=fixed).anchors
    assert np.array_equal(direct.search(boxes_wh, n, objective=objective, fixed=fixed).anchors, found)
    monkeypatch.setattr(direct, "_PERTURBATION_ROUNDS", 0)
    without = direct.search(boxes_wh, n, objective=objective, fixed=fixed).anchors
    assert fitness(boxes_wh, found, objective=objective) > fitness(boxes_wh, without, objective=objective)


def test_a_start_must_have_the_fixed_anchors_among_its_rows():
    with pytest.raises(BadValueError, match="start must contain the fixed anchors"):
        direct.search(coco_like(500), 3, start=f32([[9, 9], [50, 50], [99, 99]]), fixed=f32([[10, 9]]))


def test_a_start_with_fixed_anchors_is_not_made_worse():
    boxes_wh = coco_like(2000, seed=8)
    start = f32([[40, 40], [13.37, 200], [300, 250]])
    anchors = direct.search(boxes_wh, 3, start=start, fixed=start[1:2]).anchors
    assert start[1].tolist() in anchors.tolist()
    assert fitness(boxes_wh, anchors) >= fitness(boxes_wh, start)


@pytest.mark.parametrize("least", [24.0, [8, 8, 8, 32, 32, 32], [16, 16, 64, 64, 128, 128], [64, 8, 8, 8, 8, 8]])
def test_least_sides_hold_in_the_order_of_area(least):
    boxes_wh = coco_like(3000, seed=2)
    anchors = direct.search(boxes_wh, 6, min_side=f32(least)).anchors
    assert (anchors >= np.broadcast_to(f32(least), 6)[:, None]).all()
    assert (np.diff(anchors.astype(np.float64).prod(axis=1)) >= 0).all()
    lifted = Bounds(np.ones(6, bool), np.broadcast_to(f32(least), 6)).lift(direct.search(boxes_wh, 6).anchors)
    assert fitness(boxes_wh, anchors) >= fitness(boxes_wh, lifted)
    assert np.array_equal(
        direct.search(boxes_wh, 6, min_side=f32(least), start=anchors[::-1], time_budget=0.0).anchors, anchors
    )


def test_least_sides_that_do_not_bind_change_nothing():
    boxes_wh = coco_like(2000, seed=6)
    assert np.array_equal(direct.search(boxes_wh, 5, min_side=1.0).anchors, direct.search(boxes_wh, 5).anchors)


# --- the same everywhere -------------------------------------------------------------------------------------

# coco_like computes logarithms; whole_sizes does not.
RECORDED = {
    ("ratio", 3): ("417ff708417ff5f2427e11b8426c0c27437c06c1437ff503"),
    ("ratio", 9): (
        "4115dc2c4149763641dfede5412dc8d841a4975441f7bc2a4269b18042049ea6422185ba"
        "42b33fd742d66a9f429863c7438ade604309b034431a2998438f03ea43d9e75943e17be8"
    ),
    ("iou", 9): (
        "40fe01e8412e024141c3fbf2414600394194034d41f2006c424df8414215fd1a4257e074"
        "42e3fdf642e60465427ffb9c435004d4432dfca24337ffa143c7fe5943f3f16c43cc0003"
    ),
}


@pytest.mark.parametrize(("objective", "n"), list(RECORDED))
def test_the_anchors_are_the_recorded_bits(objective, n):
    anchors = direct.search(whole_sizes(3000, seed=5), n, objective=objective, seed=1).anchors
    assert anchors.astype(">f4").tobytes().hex() == RECORDED[objective, n]


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_the_order_of_the_boxes_does_not_matter(objective):
    boxes_wh = coco_like(40_000, seed=9)  # more than one block of each kind
    expected = direct.search(boxes_wh, 4, objective=objective).anchors
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(boxes_wh)
        assert np.array_equal(direct.search(shuffled, 4, objective=objective).anchors, expected)


def test_the_number_of_threads_does_not_matter():
    code = (
        "from helpers.coco_like_sizes import coco_like; from anchorlib.fitting import direct; "
        "print(direct.search(coco_like(20000, 1), 9).anchors.tobytes().hex())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", **dict.fromkeys(names, threads)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for names in [("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")]
        for threads in ("1", "2")
    }
    assert seen == {direct.search(coco_like(20000, 1), 9).anchors.tobytes().hex() + "\n"}


@pytest.mark.parametrize("objective", ["ratio", "iou"])
@pytest.mark.parametrize("scale", [1, 2**20, 2**23])
def test_weights_are_repeated_boxes(objective, scale):
    boxes_wh = coco_like(3000, seed=7)
    weights = np.random.default_rng(7).integers(0, 4, len(boxes_wh))
    repeated = np.repeat(boxes_wh, weights, axis=0)
    weighted = direct.search(boxes_wh, 5, objective=objective, weights=weights * scale).anchors
    if scale == 1:
        assert np.array_equal(weighted, direct.search(repeated, 5, objective=objective).anchors)
    else:  # sums near the limit of exactness: values have fewer bits
        found = fitness(repeated, weighted, objective=objective)
        assert found == pytest.approx(
            fitness(repeated, direct.search(repeated, 5, objective=objective).anchors, objective=objective), rel=1e-3
        )


def test_few_anchors_for_many_sizes_look_around_on_cells(monkeypatch):
    boxes_wh = coco_like(30_000, seed=11)
    weights = np.random.default_rng(11).integers(1, 5, len(boxes_wh))
    on_sizes = direct.search(boxes_wh, 2, weights=weights).anchors
    monkeypatch.setattr(direct, "_FEW_SIZES", 10_000)
    on_cells = direct.search(boxes_wh, 2, weights=weights).anchors
    assert not np.array_equal(on_cells, on_sizes)
    assert fitness(boxes_wh, on_cells, weights=weights) == pytest.approx(
        fitness(boxes_wh, on_sizes, weights=weights), abs=1e-4
    )
    repeated = np.random.default_rng(12).permutation(np.repeat(boxes_wh, weights, axis=0))
    assert np.array_equal(direct.search(repeated, 2).anchors, on_cells)


def test_cells_that_mislead_few_anchors_are_not_believed(monkeypatch):
    boxes_wh = coco_like(3000, seed=11)
    monkeypatch.setattr(direct, "_FEW_SIZES", 1000)
    expected = fitness(boxes_wh, direct.search(boxes_wh, 2).anchors)
    monkeypatch.setattr(direct, "_search_closely", lambda found, *_: f32([[1, 1], [1, 1]]))
    assert fitness(boxes_wh, direct.search(boxes_wh, 2).anchors) > 0.99 * expected


def test_how_long_it_climbs_depends_on_the_boxes_that_sizes_stand_for():
    boxes_wh = coco_like(20_000, seed=7)
    weights = np.random.default_rng(7).integers(1, 12, len(boxes_wh))
    repeated = np.repeat(boxes_wh, weights, axis=0)
    assert np.array_equal(direct.search(boxes_wh, 9, weights=weights).anchors, direct.search(repeated, 9).anchors)
    assert not np.array_equal(direct.search(boxes_wh, 9, weights=weights).anchors, direct.search(boxes_wh, 9).anchors)


def test_the_inputs_are_not_written_to():
    boxes_wh, weights, start = coco_like(500), np.ones(500, np.int64), f32([[10, 10], [50, 50]])
    for array in (boxes_wh, weights, start):
        array.setflags(write=False)
    before = start.copy()
    direct.search(boxes_wh, 2, weights=weights, start=start, fixed=start[:1], min_side=2.0)
    assert np.array_equal(start, before)


@pytest.mark.parametrize("thr", [1.1, 4.0, 1000.0])
def test_extreme_sizes_take_little_memory(thr):
    rng = np.random.default_rng(0)
    boxes_wh = f32(10 ** rng.uniform(-3, 5, (20_000, 2)))
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a ratio too large for float32 is infinite, without a warning
        anchors = direct.search(boxes_wh * f32([1e-12, 1e9]), 9, thr=thr).anchors
        anchors = direct.search(boxes_wh, 9, thr=thr).anchors
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(anchors).all()
    assert (anchors > 0).all()
    assert peak < 64 * 2**20 + 16 * len(boxes_wh)


box_sizes = st.lists(st.tuples(*[st.floats(2.0**-10, 1e5, width=32)] * 2), min_size=1, max_size=60)


@settings(deadline=None, max_examples=40)
@given(
    rows=box_sizes,
    n=st.integers(1, 8),
    thr=st.floats(1.05, 1000),
    objective=st.sampled_from(["ratio", "iou"]),
    seed=st.integers(0, 5),
)
def test_whatever_the_boxes_it_is_never_worse_than_boxes_as_anchors(rows, n, thr, objective, seed):
    boxes_wh = f32(rows)
    known = np.unique(boxes_wh, axis=0)[:n]
    anchors = direct.search(boxes_wh, len(known), thr=thr, objective=objective, seed=seed, start=known).anchors
    assert anchors.shape == known.shape
    assert anchors.dtype == np.float32
    assert np.isfinite(anchors).all()
    assert (np.diff(anchors.astype(np.float64).prod(axis=1)) >= 0).all()
    assert fitness(boxes_wh, anchors, thr, objective) >= fitness(boxes_wh, known, thr, objective)
    again = direct.search(boxes_wh[::-1], len(known), thr=thr, objective=objective, seed=seed, start=known).anchors
    assert np.array_equal(anchors, again)


# --- the parts -----------------------------------------------------------------------------------------------


def test_cells_hold_every_box_once_and_lie_around_it():
    boxes = as_columns(coco_like(5000, seed=1), None)
    cells = bin_in_cells(boxes, 18, 17)  # 32 and 64 parts of an octave
    assert cells.count.sum() == 5000
    found = {
        (w, h): int(count)
        for w, h, count in zip(
            (cells.w.view(np.uint32) >> 18).tolist(), (cells.h.view(np.uint32) >> 17).tolist(), cells.count
        )
    }
    for w, h in zip((boxes.w.view(np.uint32) >> 18).tolist(), (boxes.h.view(np.uint32) >> 17).tolist()):
        found[w, h] -= 1
    assert set(found.values()) == {0}


def test_a_level_is_the_same_from_boxes_and_from_finer_cells():
    boxes = as_columns(coco_like(5000, seed=1), np.arange(5000))
    straight = bin_in_cells(boxes, 20, 19)
    by_steps = bin_in_cells(bin_in_cells(bin_in_cells(boxes, 17, 17), 18, 19), 20, 19)
    for name in ("w", "h", "count"):
        assert np.array_equal(getattr(straight, name), getattr(by_steps, name))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ratio_by_sides_is_the_ratio_of_both(dtype):
    """The objective, single.py and certificate_bound.py compute it by sides."""
    rng = np.random.default_rng(0)
    w, h, anchor_w, anchor_h = (10 ** rng.uniform(-3, 4, (4, 20_000))).astype(dtype)
    anchor_w[:2000], anchor_h[1000:3000] = w[:2000], h[1000:3000]  # equal sides
    both = side_ratio(np, w, h, anchor_w, anchor_h)
    by_side = np.minimum(one_side_ratio(np, w, anchor_w), one_side_ratio(np, h, anchor_h))
    assert by_side.dtype == dtype
    assert by_side.tobytes() == both.tobytes()
    if dtype == np.float32:
        objective, boxes = RatioObjective(4.0, 20_000), as_columns(np.stack([w, h], axis=1), None)
        assert objective(boxes, anchor_w, anchor_h).tobytes() == objective.kept(both).tobytes()


@pytest.mark.parametrize("make", [lambda: RatioObjective(4.0, 2**30), lambda: IouObjective(2**35)])
def test_values_are_multiples_of_a_unit_that_sums_exactly(make):
    objective, boxes = make(), as_columns(coco_like(2000, seed=1), None)
    values = objective(boxes, f32([[50.0]]), f32([[40.0]]))
    total = 2**30 if isinstance(objective, RatioObjective) else 2**35
    units = values.astype(np.float64) * 2.0 ** (52 - total.bit_length())
    assert np.array_equal(units, np.floor(units))
    assert np.array_equal(values, objective.kept(objective.raw(boxes, f32([[50.0]]), f32([[40.0]]))))
    assert np.abs(values - objective.raw(boxes, f32([[50.0]]), f32([[40.0]])))[values > 0].max() < 2.0**-15


def test_after_the_swaps_no_swap_is_a_gain():
    boxes_wh = coco_like(3000, seed=3)
    fixed = f32([[30, 200]])
    candidates = Candidates(
        Resolutions(as_columns(boxes_wh, None), 60), fixed, np.float32(0), RatioObjective(4.0, 3000)
    )

    def worth(chosen):
        return np.maximum(candidates.values[list(chosen)].max(axis=0), candidates.floor).sum()

    for start in (candidates.choose_greedily(3), [0, 1, 2], [5, 5, 5]):
        chosen, total = candidates.improve_by_swaps(start, deadline=np.inf)
        assert total == worth(chosen)
        assert total >= worth(start)
        for goes, place in product(range(3), range(len(candidates.anchors))):
            assert worth([*chosen[:goes], *chosen[goes + 1 :], place]) <= total


def test_the_neighbours_of_a_solution_are_the_best_single_swaps():
    boxes_wh = coco_like(1000, seed=3)
    candidates = Candidates(
        Resolutions(as_columns(boxes_wh, None), 20), f32([[30, 200]]), np.float32(0), RatioObjective(4.0, 1000)
    )

    def worth(chosen):
        return np.maximum(candidates.values[list(chosen)].max(axis=0), candidates.floor).sum()

    every = [worth(pair) for other in (2, 7) for pair in product([other], range(len(candidates.anchors)))]
    assert [worth(pair) for pair in candidates.find_neighbours((2, 7), 12)] == sorted(every, reverse=True)[:12]


def test_distinct_sizes_carry_their_counts():
    found = merge_equal(as_columns(f32([[3, 4], [1, 2], [3, 4], [1, 5]]), np.array([1, 2, 4, 8])))
    assert list(zip(found.w.tolist(), found.h.tolist(), found.count.tolist())) == [(1, 2, 2), (1, 5, 8), (3, 4, 5)]


def test_a_budget_of_time_that_is_long_changes_nothing():
    boxes_wh = coco_like(2000)
    assert np.array_equal(direct.search(boxes_wh, 5, time_budget=1e6).anchors, direct.search(boxes_wh, 5).anchors)


def test_fixed_anchors_of_float64_are_taken_as_float32():
    fixed = np.asarray([[10.1, 13.3]])
    found = direct.search(coco_like(500), 3, fixed=fixed).anchors
    assert found.dtype == np.float32
    assert found.tolist().count(fixed.astype(np.float32)[0].tolist()) == 1
