"""Sizes with counts merge exactly, are saved to files, and fit bit-identically to the boxes themselves."""

import math
import os
from collections import Counter

import numpy as np
import pytest
from helpers.coco_like_sizes import coco_like
from helpers.slow_counts import DATA, make_yolo, unpack
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorlib import SizeCounts, fit_anchors, read_boxes, score
from anchorlib.errors import BadValueError, DatasetError, ShapeError
from anchorlib.fitting import METHODS


def bits(x):
    """All of it, as what can be compared to the last bit."""
    assert (x.wh.dtype, x.counts.dtype) == (np.float32, np.int64)
    meta = (x.n_images, x.rows_refused, list(x.problem_counts.items()), x.imgsz, x.resize)
    return x.wh.tobytes(), x.counts.tobytes(), meta


def hexes(anchors):
    return [float(side).hex() for side in np.asarray(anchors).ravel()]


def slow_count(boxes_wh, counts=None):
    counter = Counter()
    for (w, h), count in zip(np.float32(boxes_wh).tolist(), [1] * len(boxes_wh) if counts is None else counts):
        counter[w, h] += int(count)
    return sorted((size, count) for size, count in counter.items() if count)


def as_pairs(x):
    return [((w, h), count) for (w, h), count in zip(x.wh.tolist(), x.counts.tolist())]


sides = st.one_of(st.sampled_from([0.0, -0.0, 1e-15, 1e15, 2.0, 64.0, 63.999996]), st.floats(0.0625, 2000, width=32))
some_sizes = st.lists(st.tuples(sides, sides), max_size=30).map(lambda rows: np.float32(rows).reshape(-1, 2))
some_counts = st.one_of(st.integers(0, 9), st.integers(0, 2**40))


@st.composite
def parts(draw):
    """Sizes with counts, and more of them, which share sizes."""
    pool = draw(some_sizes.filter(len))
    found = []
    for _ in range(draw(st.integers(1, 6))):
        rows = draw(st.lists(st.integers(0, len(pool) - 1), max_size=12))
        counts = draw(st.lists(some_counts, min_size=len(rows), max_size=len(rows)))
        kinds = draw(st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)))
        found.append(SizeCounts.of(pool[rows], np.int64(counts), n_images=len(rows), problem_counts=kinds))
    return found


def test_equal_sizes_are_counted_by_width_then_height():
    x = SizeCounts.of(np.asarray([[30, 20], [10, 20], [30, 20], [10, 5]]))
    assert as_pairs(x) == [((10, 5), 1), ((10, 20), 1), ((30, 20), 2)]
    assert (len(x), x.n_boxes, x.n_images, x.imgsz, x.resize) == (3, 4, 0, None, None)
    assert str(x) == "SizeCounts(4 boxes of 3 sizes in 0 images)"


@given(some_sizes, st.data())
def test_counts_are_those_of_a_slow_loop(boxes_wh, data):
    counts = data.draw(st.lists(some_counts, min_size=len(boxes_wh), max_size=len(boxes_wh)))
    assert as_pairs(SizeCounts.of(boxes_wh)) == slow_count(boxes_wh)
    assert as_pairs(SizeCounts.of(boxes_wh, np.int64(counts))) == slow_count(boxes_wh, counts)


def test_no_boxes_are_no_sizes_and_add_nothing():
    none, some = SizeCounts.of(np.empty((0, 2))), SizeCounts.of(np.ones((3, 2)))
    assert (len(none), none.n_boxes, none.wh.shape) == (0, 0, (0, 2))
    assert bits(none.merge(some)) == bits(some.merge(none)) == bits(some)
    assert len(none.histogram()) == 0


def test_what_is_counted_is_not_written_to():
    boxes_wh, counts = coco_like(50), np.arange(50)
    before = boxes_wh.tobytes(), counts.tobytes()
    boxes_wh.setflags(write=False)
    SizeCounts.of(boxes_wh, counts).histogram(1 / 8)
    assert (boxes_wh.tobytes(), counts.tobytes()) == before


@pytest.mark.parametrize(
    ("boxes_wh", "counts", "error", "message"),
    [
        ([[1, np.nan]], None, BadValueError, "not a finite number"),
        ([[1, np.inf]], None, BadValueError, "not a finite number"),
        ([[1, -1]], None, BadValueError, "a side < 0"),
        ([1, 2], None, ShapeError, r"boxes_wh must have shape \(N, 2\)"),
        ([[1, 2]], [1, 2], ShapeError, r"counts must have shape \(1,\)"),
        ([[1, 2]], [1.0], BadValueError, "counts must be integers >= 0, got float64"),
        ([[1, 2]], [-1], BadValueError, "counts must be integers >= 0, got int64 from -1"),
        ([[1, 2], [1, 2]], [2**61, 2**61], BadValueError, r"counts must have a sum below 2\^62"),
        ([[1, 2]], np.uint64([2**63]), BadValueError, r"counts must have a sum below 2\^62"),
    ],
)
def test_what_is_no_count_of_sizes_is_an_error(boxes_wh, counts, error, message):
    with pytest.raises(error, match=message):
        SizeCounts.of(np.asarray(boxes_wh, np.float64), None if counts is None else np.asarray(counts))


@pytest.mark.parametrize("wrong", [{"n_images": -1}, {"rows_refused": 0.5}, {"problem_counts": {"a": "b"}}])
def test_numbers_of_images_and_problems_are_whole(wrong):
    with pytest.raises(BadValueError, match="must be an integer >= 0"):
        SizeCounts.of(np.ones((1, 2)), **wrong)


@given(parts(), st.randoms())
def test_a_merge_is_the_same_bits_in_any_order_and_however_bracketed(found, random):
    at_once = found[0].merge(*found[1:])
    expected = slow_count(np.concatenate([p.wh for p in found]), np.concatenate([p.counts for p in found]))
    assert as_pairs(at_once) == expected
    waiting = list(found)
    while len(waiting) > 1:
        random.shuffle(waiting)
        waiting.append(waiting.pop().merge(*(waiting.pop() for _ in range(random.randint(1, len(waiting))))))
    assert bits(waiting[0]) == bits(at_once)


def test_counts_of_2_to_the_40_are_added_exactly():
    x = SizeCounts.of(np.float32([[10, 20]]), np.int64([2**40 + 1]))
    assert x.merge(*[x] * 1000).counts.tolist() == [1001 * (2**40 + 1)]
    most = SizeCounts.of(np.float32([[10, 20], [30, 40]]), np.int64([2**60 - 1, 2**60]))
    assert most.merge(x).counts.tolist() == [2**60 + 2**40, 2**60]
    with pytest.raises(BadValueError, match=r"below 2\^62"):
        most.merge(most, x)


def test_sizes_of_another_imgsz_or_resize_are_not_merged(tmp_path):
    make_yolo(tmp_path, ["0 0.5 0.5 0.2 0.2"])
    base = read_boxes(tmp_path).compress()
    assert (base.imgsz, base.resize) == ((640, 640), "letterbox")
    assert bits(read_boxes(tmp_path, imgsz=(640, 640)).compress()) == bits(base)
    for options in ({"imgsz": 320}, {"resize": "stretch"}):
        with pytest.raises(BadValueError, match="must have the same imgsz and resize"):
            base.merge(read_boxes(tmp_path, **options).compress())
    with pytest.raises(BadValueError, match="got \\(640, 640\\) letterbox and None None"):
        base.merge(SizeCounts.of(base.wh))


# The cells of a histogram.


def slow_centre(side, step):
    """The middle of the part of its octave that a side lies in."""
    if side == 0:
        return 0.0
    octave = 2.0 ** (math.frexp(side)[1] - 1)
    part = math.floor((side / octave - 1) / step)
    return float(np.clip(np.float32(octave * (1 + (part + 0.5) * step)), np.float32(1e-15), np.float32(1e15)))


@given(some_sizes, st.sampled_from([1, 1 / 2, 1 / 8, 1 / 64, 2.0**-22]))
def test_a_histogram_moves_each_side_to_the_middle_of_its_cell(boxes_wh, step):
    x = SizeCounts.of(boxes_wh).histogram(step)
    expected = [[slow_centre(float(w), step), slow_centre(float(h), step)] for w, h in boxes_wh]
    assert as_pairs(x) == slow_count(np.float32(expected).reshape(-1, 2))
    assert x.n_boxes == len(boxes_wh)


def test_cells_by_hand():
    x = SizeCounts.of(np.float32([[64, 100], [95, 100], [96, 100], [127, 127]])).histogram(1 / 2)
    assert as_pairs(x) == [((80, 112), 2), ((112, 112), 2)]  # halves of 64 to 128


@given(parts(), st.sampled_from([1, 1 / 4, 1 / 64]))
def test_the_histogram_of_a_whole_is_the_merge_of_its_parts(found, step):
    whole = found[0].merge(*found[1:])
    fine = [part.histogram(step / 2) for part in found]
    assert bits(fine[0].merge(*fine[1:])) == bits(whole.histogram(step / 2))
    assert bits(whole.histogram(step / 2).histogram(step)) == bits(whole.histogram(step))


@pytest.mark.parametrize("step", [0, -1, 2, 0.3, 1 / 3, 2.0**-23, math.nan, math.inf])
def test_a_step_that_is_no_part_of_an_octave_is_an_error(step):
    with pytest.raises(BadValueError, match="step must be 1, 1/2, 1/4"):
        SizeCounts.of(np.ones((1, 2))).histogram(step)


# Fits.


def assert_fits_alike(boxes_wh, counts_of, **options):
    """Shuffled boxes, and boxes with counts, give bit-identical anchors and scores."""
    expected = fit_anchors(np.random.default_rng(0).permutation(boxes_wh), **options)
    fit = fit_anchors(counts_of.wh, weights=counts_of.counts, **options)
    assert hexes(fit.anchors) == hexes(expected.anchors)
    assert fit.score == expected.score
    return fit


@pytest.fixture(scope="module")
def real_sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cones")
    return {
        "bccd": read_boxes(DATA / "bccd", split="all"),
        "taco": read_boxes(DATA / "taco" / "annotations.json"),
        "cones": read_boxes(unpack("cones_cubes", folder) / "data.yaml", split="all"),
    }


@pytest.mark.parametrize("name", ["bccd", "taco", "cones"])
@pytest.mark.parametrize("objective", ["ratio", "iou"])
@pytest.mark.parametrize("method", METHODS)
def test_real_boxes_and_their_counts_give_the_same_anchors(real_sets, name, method, objective):
    boxes = real_sets[name]
    x = boxes.compress()
    assert x.n_boxes == len(boxes.wh)
    assert len(x) < len(boxes.wh)
    assert (x.n_images, x.count_problems()) == (len(boxes.image_wh), boxes.count_problems())
    assert_fits_alike(boxes.wh, x, n=9, method=method, objective=objective, generations=60)
    assert score(x.wh, np.float32([[30, 40]]), weights=x.counts) == score(boxes.wh, np.float32([[30, 40]]))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_anchors_are_the_same_too(real_sets, n):
    assert_fits_alike(real_sets["cones"].wh, real_sets["cones"].compress(), n=n)


@pytest.mark.parametrize("distance", ["euclidean", "iou", "ratio"])
@pytest.mark.parametrize("update", ["mean", "median"])
def test_every_k_means_is_the_same(real_sets, distance, update):
    boxes = real_sets["bccd"]
    assert_fits_alike(
        boxes.wh, boxes.compress(), n=5, method="kmeans", distance=distance, update=update, init="k-means++"
    )


fit_sides = st.one_of(st.sampled_from([2.0, 64.0, 63.999996]), st.floats(0.0625, 2000, width=32))
fit_size = st.tuples(fit_sides, fit_sides).filter(lambda wh: max(wh) >= 2)


@settings(deadline=None, max_examples=25)
@given(st.lists(fit_size, min_size=4, max_size=30, unique=True), st.data())
def test_any_boxes_and_their_counts_give_the_same_anchors(sizes, data):
    repeats = data.draw(st.lists(st.integers(1, 4), min_size=len(sizes), max_size=len(sizes)))
    boxes_wh = np.repeat(np.float32([*sizes, (1, 1), (0, 9)]), [*repeats, 3, 2], axis=0)  # some are not fitted
    for method in METHODS:
        assert_fits_alike(boxes_wh, SizeCounts.of(boxes_wh), n=4, method=method, generations=10)


def test_the_direct_search_sees_the_same_in_parts_half_merged():
    # 1.2e9 boxes in 6e4 rows of 3000 sizes: by their rows there would be a climb on the boxes or not.
    sizes = coco_like(3000)
    rows, counts = np.tile(sizes, (20, 1)), np.full(60_000, 20_000)
    x = SizeCounts.of(rows, counts)
    assert len(x) * 20 <= len(rows)
    assert hexes(fit_anchors(rows, 9, weights=counts).anchors) == hexes(fit_anchors(x.wh, 9, weights=x.counts).anchors)


def test_counts_up_to_2_to_the_40_are_fitted_like_their_shares():
    sizes = coco_like(2000)
    counts = np.random.default_rng(0).integers(1, 2**20, 2000)
    fits = [fit_anchors(sizes, 9, weights=counts << shift) for shift in (15, 20)]
    assert hexes(fits[0].anchors) == hexes(fits[1].anchors)
    assert fits[1].score.n_boxes == int((counts << 20).sum())
    assert fits[1].score.fitness == pytest.approx(score(sizes, fits[1].anchors, weights=counts).fitness, abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "step", "objective"),
    [(0.5, 640, 1 / 64, "ratio"), (4, 320, 1 / 64, "iou"), (10, 80, 1 / 128, "ratio")],
)
def test_the_direct_search_finds_the_same_anchors_on_the_cells_of_many_boxes(low, high, step, objective):
    boxes_wh = np.clip(coco_like(230_000), low, high)
    x = SizeCounts.of(boxes_wh)
    cells = x.histogram(step)
    assert len(cells) < len(x) / 2
    options = {"n": 20, "objective": objective, "seed": 3}  # 20 * 230 000 > 2^22
    expected = fit_anchors(boxes_wh, **options)
    for weighted in (x, cells):
        fit = fit_anchors(weighted.wh, weights=weighted.counts, **options)
        assert hexes(fit.anchors) == hexes(expected.anchors)
    assert fit.score.fitness == pytest.approx(expected.score.fitness, abs=2e-3) or objective == "iou"


def test_coarser_cells_than_those_of_the_search_are_not_the_same():
    boxes_wh = coco_like(230_000)
    cells = SizeCounts.of(boxes_wh).histogram(1 / 16)
    fit = fit_anchors(cells.wh, 20, weights=cells.counts)
    assert hexes(fit.anchors) != hexes(fit_anchors(boxes_wh, 20).anchors)


# Files.


@given(parts())
@settings(deadline=None)
def test_what_was_saved_is_loaded_to_the_bit(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("saved") / "sizes.npz"
    for x in found:
        x.save(path)
        assert bits(SizeCounts.load(path)) == bits(x)
        with np.load(path, allow_pickle=False) as plain:  # no need of this library to look into it
            assert np.array_equal(plain["wh"], x.wh)
            assert np.array_equal(plain["counts"], x.counts)


def test_read_boxes_come_back_with_all_that_is_known_of_them(tmp_path):
    x = read_boxes(DATA / "taco" / "annotations.json", imgsz=(320, 640), resize="stretch").compress()
    x.save(tmp_path / "taco.npz")
    again = SizeCounts.load(tmp_path / "taco.npz")
    assert bits(again) == bits(x)
    assert (again.imgsz, again.resize, again.count_problems()) == ((320, 640), "stretch", {"out of bounds": 7})


def test_the_same_sizes_make_the_same_file_which_replaces_an_older_one(tmp_path):
    x = SizeCounts.of(coco_like(500))
    x.save(tmp_path / "a.npz")
    SizeCounts.of(coco_like(10)).save(tmp_path / "b.npz")
    x.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "b.npz"]


def test_a_file_of_another_suffix_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(BadValueError, match=r"saved to a file with the suffix"):
        SizeCounts.of(np.ones((1, 2))).save(tmp_path / "sizes.bin")
    assert not os.listdir(tmp_path)


def test_saved_sizes_are_not_a_data_set(tmp_path):
    SizeCounts.of(np.ones((1, 2))).save(tmp_path / "sizes.npz")
    with pytest.raises(DatasetError, match=r"a file of saved sizes, .*Use SizeCounts\.load\."):
        read_boxes(tmp_path / "sizes.npz")
