import importlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anchorlib import backends, kmeans, wh_iou
from anchorlib.errors import BadValueError, ShapeError
from anchorlib.fitting.kmeans import DISTANCES, INITS, UPDATES

parts = importlib.import_module("anchorlib.fitting.kmeans")  # the function of the same name hides the module
NUMPY = backends.load("numpy")

WAYS = [(d, u, i) for d in DISTANCES for u in UPDATES for i in INITS]


def sizes(n, seed=0):
    return np.exp(np.random.default_rng(seed).normal(3.5, 1.0, (n, 2))).astype(np.float32)


def hexes(anchors):
    return [float(side).hex() for side in np.asarray(anchors).ravel()]


@pytest.mark.parametrize(("distance", "update", "init"), WAYS)
def test_two_far_clusters_are_found(backend, path, distance, update, init):
    boxes = backend.array([[10, 20], [10, 20], [10, 20], [200, 100], [200, 100]], np.float32)
    result = kmeans(boxes, 2, distance=distance, update=update, init=init)
    np.testing.assert_allclose(backend.host(result), [[10, 20], [200, 100]], rtol=1e-6)


@pytest.mark.parametrize(
    ("distance", "update", "expected"),
    [
        ("euclidean", "mean", [6.0, 6.0]),
        ("euclidean", "median", [2.0, 8.0]),
        ("iou", "mean", [6.0, 6.0]),
        ("ratio", "mean", [16 ** (1 / 3), 4.0]),  # the geometric mean of 1, 2, 8... below
        ("ratio", "median", [2.0, 8.0]),
    ],
)
def test_one_cluster_is_the_mean_or_median_of_each_side(distance, update, expected):
    boxes_wh = np.asarray([[1, 8], [2, 8], [15, 2]], np.float32)
    if (distance, update) == ("ratio", "mean"):
        boxes_wh = np.asarray([[1, 1], [2, 8], [8, 8]], np.float32)
    np.testing.assert_allclose(kmeans(boxes_wh, 1, distance=distance, update=update), [expected], rtol=1e-6)


def test_the_median_of_an_even_number_is_the_middle_of_the_two(backend, path):
    boxes = backend.array([[1, 1], [2, 3], [4, 5], [9, 9]], np.float32)
    assert backend.host(kmeans(boxes, 1, update="median")).tolist() == [[3, 4]]


@pytest.mark.parametrize(("distance", "update", "init"), WAYS)
@pytest.mark.parametrize("name", ["1 box", "n boxes", "equal widths", "equal heights", "one far off", "close floats"])
def test_there_are_always_n_anchors(distance, update, init, name):
    boxes_wh, n = {
        "1 box": (sizes(1), 1),
        "n boxes": (sizes(9), 9),
        "equal widths": (np.stack([np.full(40, 7.0), np.arange(1.0, 41)], axis=1), 9),
        "equal heights": (np.stack([np.arange(1.0, 41), np.full(40, 7.0)], axis=1), 9),
        "one far off": (np.concatenate([sizes(30) / 50, [[60_000.0, 60_000.0]]]), 6),
        "close floats": (np.asarray([[100, 100], [100 + 2**-17, 100], [100, 100 + 2**-17]]), 3),
    }[name]  # fmt: skip
    boxes_wh = boxes_wh.astype(np.float32)
    for seed in range(3):
        anchors = kmeans(boxes_wh, n, distance=distance, update=update, init=init, seed=seed)
        assert anchors.shape == (n, 2)
        assert np.isfinite(anchors).all()
        assert (anchors > 0).all()
        assert len(np.unique(anchors, axis=0)) == n


def test_n_boxes_are_their_own_anchors():
    boxes_wh = sizes(9)
    order = np.lexsort((boxes_wh[:, 0], boxes_wh.astype(np.float64).prod(axis=1)))
    np.testing.assert_array_equal(kmeans(boxes_wh, 9), boxes_wh[order])


@settings(max_examples=150, deadline=None)
@given(
    boxes_wh=arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.just(2)),
        elements=st.sampled_from([1, 2, 2.5, 7, 30, 900]),
    ),
    way=st.sampled_from(WAYS),
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_there_are_always_n_anchors_for_few_distinct_sizes(boxes_wh, way, seed, data):
    n_distinct = len(np.unique(boxes_wh, axis=0))
    n = data.draw(st.integers(1, n_distinct))
    anchors = kmeans(boxes_wh, n, distance=way[0], update=way[1], init=way[2], seed=seed)
    assert len(np.unique(anchors, axis=0)) == n


@pytest.mark.parametrize(("n_boxes", "n", "n_distinct"), [(50, 9, 4), (50, 2, 1), (8, 9, 8)])
def test_fewer_distinct_sizes_than_anchors_is_an_error(backend, n_boxes, n, n_distinct):
    boxes = backend.array(sizes(n_distinct)[np.arange(n_boxes) % n_distinct])
    with pytest.raises(BadValueError, match=f"n={n} needs at least {n} distinct box sizes, got {n_distinct}."):
        kmeans(boxes, n)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([np.nan, 1], "not a finite number"),
        ([0, 1], "a side <= 0"),
        ([-3, 1], "a side <= 0"),
        ([np.inf, 1], "not a finite"),
    ],
)
def test_sizes_that_are_none_are_an_error_that_names_the_row(backend, row, message):
    boxes_wh = sizes(20)
    boxes_wh[7] = row
    with pytest.raises(BadValueError, match=rf"boxes_wh has 1 of 20 rows with .*{message}.* \(first: row 7"):
        kmeans(backend.array(boxes_wh), 3)


def test_wrong_arguments_are_errors_that_say_what_there_is():
    with pytest.raises(ValueError, match="distance must be one of euclidean, iou, ratio, got 'cosine'"):
        kmeans(sizes(9), 3, distance="cosine")
    with pytest.raises(ValueError, match="update must be one of mean, median, got 'mode'"):
        kmeans(sizes(9), 3, update="mode")
    with pytest.raises(ValueError, match="init must be one of random, k-means.., got 'far'"):
        kmeans(sizes(9), 3, init="far")
    for n in (0, 2.5, float("nan"), None, True, [3]):
        with pytest.raises(BadValueError, match=re.escape(f"n must be an integer >= 1, got {n!r}.")):
            kmeans(sizes(9), n)
    with pytest.raises(BadValueError, match="seed must be an integer >= 0, got -1"):
        kmeans(sizes(9), 3, seed=-1)
    with pytest.raises(ShapeError, match=r"\(N, 2\)"):
        kmeans(np.ones((3, 4)), 3)


@pytest.mark.parametrize(("distance", "update", "init"), WAYS)
def test_one_seed_gives_the_same_bits_on_this_backend_as_on_numpy(backend, path, distance, update, init):
    boxes_wh = sizes(700)
    options = {"distance": distance, "update": update, "init": init, "seed": 5}
    result = kmeans(backend.array(boxes_wh), 7, **options)
    assert hexes(backend.host(result)) == hexes(kmeans(boxes_wh, 7, **options))


def test_the_seed_is_0_unless_said():
    by_seed = [hexes(kmeans(sizes(700), 7, seed=seed)) for seed in (0, 1)]
    assert hexes(kmeans(sizes(700), 7)) == by_seed[0] != by_seed[1]


@pytest.mark.parametrize(("distance", "update", "init"), WAYS)
def test_the_order_of_the_boxes_changes_no_bit(distance, update, init):
    boxes_wh, rng = sizes(3_000), np.random.default_rng(2)
    ways = {"distance": distance, "update": update, "init": init}
    expected = hexes(kmeans(boxes_wh, 6, **ways))
    assert all(hexes(kmeans(rng.permutation(boxes_wh), 6, **ways)) == expected for _ in range(3))


@pytest.mark.parametrize("update", UPDATES)
def test_weights_count_like_repeated_boxes(backend, update):
    boxes_wh, weights = sizes(200), np.random.default_rng(0).integers(0, 4, 200)
    weighted = kmeans(backend.array(boxes_wh), 5, update=update, weights=backend.array(weights))
    assert hexes(backend.host(weighted)) == hexes(kmeans(np.repeat(boxes_wh, weights, axis=0), 5, update=update))


@pytest.mark.parametrize(("distance", "update"), [("euclidean", "mean"), ("iou", "median"), ("ratio", "median")])
def test_the_result_is_a_fixed_point_of_a_plain_loop(distance, update):
    boxes_wh = sizes(300)
    anchors = kmeans(boxes_wh, 5, distance=distance, update=update).astype(np.float64)
    if distance == "iou":
        closeness = wh_iou(boxes_wh.astype(np.float64), anchors)
    else:
        scaled = np.log(boxes_wh) if distance == "ratio" else boxes_wh / boxes_wh.std(axis=0)
        there = np.log(anchors) if distance == "ratio" else anchors / boxes_wh.std(axis=0)
        difference = np.abs(scaled[:, None] - there)
        closeness = -(difference.max(axis=2) if distance == "ratio" else (difference**2).sum(axis=2))
    owner = closeness.argmax(axis=1)
    average = np.mean if update == "mean" else np.median
    again = np.stack([average(boxes_wh[owner == j], axis=0) for j in range(5)])
    np.testing.assert_allclose(anchors, again, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_device_are_kept(backend, dtype):
    result = kmeans(backend.array(sizes(50), dtype), 3)
    assert backend.host(result).dtype == dtype


def test_a_million_boxes_give_n_anchors():
    assert kmeans(sizes(1_000_000), 9, init="k-means++").shape == (9, 2)


@pytest.mark.parametrize(("distance", "update", "init"), WAYS)
def test_steps_lead_to_the_result_and_watching_does_not_change_it(backend, path, distance, update, init):
    boxes_wh = np.concatenate([sizes(80), sizes(80)[:20]])  # some sizes occur twice
    options = {"distance": distance, "update": update, "init": init, "seed": 3}
    steps = []

    def watch(step):
        steps.append([np.array(part) for part in step])
        step.centres[:] = 1  # a caller may write to what it gets
        step.sizes[:] = 1

    watched = kmeans(backend.array(boxes_wh), 5, on_step=watch, **options)
    assert hexes(backend.host(watched)) == hexes(kmeans(boxes_wh, 5, **options))
    distinct, counts = np.unique(boxes_wh, axis=0, return_counts=True)
    for found_sizes, found_counts, centres, owner in steps:
        assert (found_sizes.dtype, centres.dtype) == (np.float32, np.float32)
        assert (found_counts.dtype, owner.dtype) == (np.int64, np.int64)
        order = np.lexsort(found_sizes.T[::-1])
        assert found_sizes[order].tolist() == distinct.tolist()
        assert found_counts[order].tolist() == counts.tolist()
        assert (centres.shape, set(owner.tolist()) <= set(range(5))) == ((5, 2), True)
        if distance == "iou":  # each size belongs to its nearest centre
            np.testing.assert_array_equal(owner, np.asarray(wh_iou(found_sizes, centres)).argmax(axis=1))
    assert 1 < len(steps) <= 300
    if len(steps) < 300:
        assert sorted(hexes(steps[-1][2])) == sorted(hexes(backend.host(watched)))
    assert all(
        (earlier[2] != later[2]).any() or (earlier[3] != later[3]).any() for earlier, later in zip(steps, steps[1:-1])
    )


def first_centres(boxes_wh, init, weights=None, seeds=400):
    """Return how often each size is drawn as a first centre, over many seeds."""
    space = parts._Space(NUMPY, boxes_wh, np.asarray(weights), "euclidean", "cpu")
    drawn = np.zeros(len(boxes_wh), int)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rows = parts._draw_random(rng, space.counts, 2) if init == "random" else parts._draw_far_apart(rng, space, 2)
        assert len(set(map(int, rows))) == 2
        drawn[rows] += 1
    return drawn / seeds


def test_random_centres_are_drawn_by_how_often_a_size_occurs():
    shares = first_centres(np.asarray([[1, 1], [2, 2], [3, 3]], np.float32), "random", [1, 1, 98])
    assert shares[2] > 0.97
    assert abs(shares[0] - 0.5) < 0.1


def test_far_centres_are_drawn_by_distance_and_count():
    boxes_wh = np.asarray([[10, 10], [10.5, 10], [99, 99], [98, 99]], np.float32)
    near, far = first_centres(boxes_wh, "k-means++", [1, 1, 1, 1]).reshape(2, 2).sum(axis=1)
    assert near == pytest.approx(1.0, abs=0.01)  # one of each pair
    assert far == pytest.approx(1.0, abs=0.01)
    shares = first_centres(boxes_wh, "k-means++", [1, 50, 1, 50])
    assert shares[1] > 0.9
    assert shares[3] > 0.9


def test_the_two_ways_to_start_are_two(monkeypatch):
    called = []
    for name in ("_draw_random", "_draw_far_apart"):
        real = getattr(parts, name)
        monkeypatch.setattr(parts, name, lambda *a, real=real, name=name: called.append(name) or real(*a))
    kmeans(sizes(40), 3, init="random")
    assert called == ["_draw_random"]
    kmeans(sizes(40), 3, init="k-means++")
    assert called == ["_draw_random", "_draw_far_apart", "_draw_random"]


def test_of_two_centres_at_one_distance_the_first_owns():
    space = parts._Space(NUMPY, np.asarray([[2, 2]], np.float32), np.asarray([1]), "ratio", "cpu")
    owner, _ = space.assign(np.asarray([[4, 2], [2, 4], [1, 2]], np.float32))
    assert int(owner[0]) == 0


@pytest.mark.parametrize("distance", ["iou", "ratio"])
def test_centres_a_part_in_2_to_the_24_apart_are_told_apart(distance):
    boxes_wh = np.asarray([[2**24 - 1, 2**24 - 1], [2**20, 2**20]], np.float32)
    space = parts._Space(NUMPY, boxes_wh, np.asarray([1, 1]), distance, "cpu")
    assert space.distances(boxes_wh[0])[0] == 0
    owner, far = space.assign(np.asarray([[2**24, 2**24], boxes_wh[0]], np.float32))
    assert (int(owner[0]), float(far[0])) == (1, 0)


def test_totals_are_exact_whole_numbers():
    space = parts._Space(NUMPY, sizes(500), np.arange(1, 501), "ratio", "cpu")
    owner = np.arange(500) % 2
    units = [[int(unit) for unit in column] for column in space._sums]
    assert max(sum(column) for column in units) > 2**53  # float64 cannot hold these integers exactly
    assert space.totals(owner, 2).tolist() == [[sum(column[j::2]) for column in units] for j in (0, 1)]


def test_the_deviation_is_that_of_the_repeated_sizes():
    boxes_wh, counts = sizes(50), np.arange(1, 51)
    result = parts._deviation(boxes_wh, counts)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.repeat(boxes_wh.astype(np.float64), counts, axis=0).std(axis=0), rtol=1e-6)
    assert parts._deviation(np.asarray([[7, 1], [7, 3]], np.float32), np.asarray([1, 1])).tolist() == [1, 1]
