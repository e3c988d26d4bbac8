import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import oracle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchorlib.backends import host_views
from anchorlib.errors import ArrayTypeError, BackendMixError, BadValueError, ShapeError
from anchorlib.training import build_padded_targets, build_targets

GOLDEN = Path(__file__).parent.parent / "data/golden"
RECORDED = sorted(GOLDEN.glob("targets_*.npz"), key=lambda path: int(path.stem.split("_")[1]))
GRID = np.array([[[2.0, 2.0], [4.0, 4.0]]], np.float32)


def assert_same_bits(backend, layers, expected):
    """Return every column of every layer as dtype, shape and bits."""
    assert len(layers) == len(expected)
    for layer, wanted in zip(layers, expected):
        for name, column in zip(layer._fields, layer):
            got = backend.host(column)
            assert (got.dtype, got.shape) == (wanted[name].dtype, wanted[name].shape), name
            assert got.tobytes() == wanted[name].tobytes(), name


def by_field(layers):
    return [dict(layer, cls=layer["tcls"], box=layer["tbox"]) for layer in layers]


def rows_of(backend, targets, anchors=GRID, shapes=((4, 4),), **options):
    (layer,) = build_targets(backend.array(targets, np.float32), backend.array(anchors), list(shapes), **options)
    columns = [backend.host(column) for column in (layer.image, layer.anchor, layer.gj, layer.gi)]
    return np.stack(columns, axis=1).tolist()


@pytest.mark.parametrize(
    ("centre", "cells"),
    [
        ((0.625, 0.625), [[2, 2]]),  # the middle of a cell: no neighbour is nearer than half a cell
        ((0.55, 0.6), [[2, 2], [2, 1], [1, 2]]),  # left of the middle, and above it
        ((0.7, 0.7), [[2, 2], [2, 3], [3, 2]]),  # right, below
        ((0.55, 0.7), [[2, 2], [2, 1], [3, 2]]),
        ((0.1, 0.1), [[0, 0]]),  # the grid ends at the left and top
        ((0.9, 0.9), [[3, 3]]),  # and at the right and bottom
        (
            (0.25, 0.25),
            [[1, 1], [1, 1], [1, 1]],
        ),  # on a border: its right and lower neighbours are truncated to the own cell
        ((0.5, 0.5), [[2, 2], [2, 1], [1, 2], [2, 2], [2, 2]]),  # on a border further in: all four
        ((0.0, 0.0), [[0, 0], [0, 0], [0, 0]]),
        ((-0.5, 0.6), [[2, 0], [1, 0], [2, 0]]),  # outside: clamped
        ((1.0, 1.0), [[3, 3], [3, 3], [3, 3]]),  # outside the last cell: clamped, with its two clamped neighbours
    ],
)
def test_build_targets_known_cells(backend, path, centre, cells):
    rows = rows_of(backend, [[0, 0, *centre, 0.5, 0.5]], np.array([[[2.0, 2.0]]], np.float32))
    assert [row[2:] for row in rows] == cells


@pytest.mark.parametrize(
    ("side", "anchors"),
    [(0.5, [0, 1]), (2.0, [1]), (0.125, []), (0.126, [0]), (7.9, []), (0.25, [0])],
)
def test_an_anchor_matches_strictly_within_the_limit(backend, side, anchors):
    # sides in cells: 2, 8, 0.5, 0.504, 31.6, 1 against anchors of 2 and 4 cells
    rows = rows_of(backend, [[0, 0, 0.625, 0.625, side, side]])
    assert [row[1] for row in rows] == anchors


def test_rows_come_by_neighbour_then_anchor_then_target(backend, path):
    targets = [[1, 0, 0.55, 0.625, 0.5, 0.5], [0, 0, 0.625, 0.55, 0.5, 0.5]]
    rows = rows_of(backend, targets)
    assert rows == [[1, 0, 2, 2], [0, 0, 2, 2], [1, 1, 2, 2], [0, 1, 2, 2], [1, 0, 2, 1], [1, 1, 2, 1]] + [
        [0, 0, 1, 2],
        [0, 1, 1, 2],
    ]


def test_no_targets_give_empty_layers_of_the_right_kind(backend, path):
    anchors = np.ones((2, 3, 2), np.float32)
    layers = build_targets(backend.array(np.zeros((0, 6), np.float32)), backend.array(anchors), [(4, 6), (2, 3)])
    assert_same_bits(backend, layers, by_field(oracle.build_targets(np.zeros((0, 6)), anchors, [(4, 6), (2, 3)], 4.0)))


def test_boxes_without_a_size_match_nothing(backend, path):
    sizes = [(0, 0.5), (0.5, 0), (-0.5, 0.5), (np.nan, 0.5), (np.inf, 0.5)]
    assert rows_of(backend, [[0, 0, 0.5, 0.5, *size] for size in sizes]) == []


def test_a_centre_that_is_not_finite_matches_nothing(backend, path):
    bad = (np.nan, np.inf, -np.inf)
    assert rows_of(backend, [[0, 0, *centre, 0.5, 0.5] for x in bad for centre in ((x, 0.5), (0.5, x))]) == []


def test_layers_may_have_different_numbers_of_anchors(backend, path):
    rng = np.random.default_rng(0)
    anchors = [rng.uniform(0.5, 6, (n, 2)).astype(np.float32) for n in (3, 1, 2)]
    shapes = [(8, 8), (4, 4), (2, 2)]
    targets = np.concatenate([np.zeros((50, 2)), rng.uniform(0, 1, (50, 4))], axis=1).astype(np.float32)
    layers = build_targets(backend.array(targets), [backend.array(layer) for layer in anchors], shapes)
    assert_same_bits(backend, layers, by_field(oracle.build_targets(targets, anchors, shapes, 4.0)))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_build_targets_meets_the_recordings_bit_for_bit(backend, path, recorded):
    data = np.load(recorded)
    anchors = data["anchors_px"] / data["stride"][:, None, None]
    shapes = [tuple(shape[2:4]) for shape in data["shapes"].tolist()]
    layers = build_targets(backend.array(data["targets"]), backend.array(anchors), shapes, thr=float(data["anchor_t"]))
    expected = []
    slow = oracle.build_targets(data["targets"], anchors, shapes, float(data["anchor_t"]))
    for i in range(len(shapes)):
        image, anchor, gj, gi = data[f"indices_{i}"]
        rows = {"image": image, "anchor": anchor, "gj": gj, "gi": gi, "target": slow[i]["target"]}  # not recorded
        expected.append({**rows, "cls": data[f"tcls_{i}"], "box": data[f"tbox_{i}"], "anchor_wh": data[f"anch_{i}"]})
    assert_same_bits(backend, layers, expected)


def test_all_recordings_are_there():
    assert len(RECORDED) == 21


@st.composite
def cases(draw):
    """Draw targets, anchors, shapes and a limit, with T up to 300; some centres are on borders and half cells."""
    n_layers = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_targets = draw(st.one_of(st.integers(0, 6), st.sampled_from([0, 1, 17, 60, 300])))
    shapes = [(int(ny), int(nx)) for ny, nx in rng.integers(1, 21, (n_layers, 2))]
    if n_targets > 60:
        shapes = shapes[:2]
    anchors = np.exp(rng.normal(1, 0.8, (len(shapes), draw(st.integers(1, 4)), 2))).astype(np.float32)
    targets = np.concatenate(
        [
            rng.integers(0, 4, (n_targets, 2)),
            rng.uniform(0, 1, (n_targets, 2)),
            np.exp(rng.normal(-2, 1, (n_targets, 2))),
        ],
        axis=1,
    ).astype(np.float32)
    kind = draw(st.sampled_from(["anywhere", "borders", "matching sizes"]))
    if kind == "borders" and n_targets:
        ny, nx = shapes[0]
        targets[:, 2] = (rng.integers(0, 2 * nx + 1, n_targets) / (2 * nx)).astype(np.float32)
        targets[:, 3] = (rng.integers(0, 2 * ny + 1, n_targets) / (2 * ny)).astype(np.float32)
    if kind == "matching sizes" and n_targets:  # ratios of exactly 4 and 1/4 among them
        ny, nx = shapes[-1]
        factor = rng.choice([0.25, 0.5, 1, 2, 4], (n_targets, 1))
        targets[:, 4:] = anchors[-1][rng.integers(0, len(anchors[-1]), n_targets)] * factor / [nx, ny]
    thr = draw(st.sampled_from([4.0, 2.0, 2.91, 1.5, 8.0]))
    return targets, anchors, shapes, thr, draw(st.sampled_from([0.5, 0.5, 1.0, 0.0, 0.3]))


def check(backend, case):
    targets, anchors, shapes, thr, offset = case
    layers = build_targets(backend.array(targets), backend.array(anchors), shapes, thr=thr, offset=offset)
    assert_same_bits(backend, layers, by_field(oracle.build_targets(targets, anchors, shapes, thr, offset)))


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@settings(max_examples=500, deadline=None, suppress_health_check=SLOW)
@given(case=cases())
def test_build_targets_matches_the_loop_bit_for_bit(backend, case):
    check(backend, case)


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(case=cases())
def test_build_targets_on_the_array_matches_the_loop_bit_for_bit(backend, case):
    with host_views(False):
        check(backend, case)


@pytest.mark.parametrize("n_targets", [1, 3, 40])  # vector instructions may choose the other zero of max(-0.0, 0.0)
def test_a_centre_of_negative_zero_gives_the_signs_of_the_loop(backend, path, n_targets):
    targets = np.asarray([[0, 0, -0.0, -0.0, 0.25, 0.25], [0, 1, -1e-30, 0.0, 0.25, 0.25]] * n_targets, np.float32)
    anchors, shapes = np.full((2, 3, 2), 2.0, np.float32), [(8, 8), (8, 1)]
    check(backend, (targets, anchors, shapes, 4.0, 0.5))
    padded = build_padded_targets(backend.array(targets), backend.array(anchors), shapes)
    expected = oracle.build_targets(targets, anchors, shapes, 4.0, 0.5)
    for (rows, mask), layer in zip(padded, expected):
        assert backend.host(rows.box)[backend.host(mask)].tobytes() == layer["tbox"].tobytes()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 4, r"integer in \[0, 4\) as image .* got 4 in row 2"),
        (0, -1, "as image"),
        (0, 0.5, "as image"),
        (1, 3, r"integer in \[0, 3\) as class .* got 3 in row 2"),
        (1, np.nan, "as class"),
        (2, np.nan, "finite number as cx .* got nan in row 2"),
        (5, np.inf, "finite number as h"),
    ],
)
def test_validate_names_the_row_and_the_column(backend, column, value, message):
    targets = np.tile(np.array([0, 0, 0.5, 0.5, 0.5, 0.5], np.float32), (5, 1))
    targets[2, column] = value
    with pytest.raises(BadValueError, match=message):
        rows_of(backend, targets, validate=True, n_images=4, n_classes=3)
    targets[2, column] = 0 if column < 2 else 0.5
    rows_of(backend, targets, validate=True, n_images=4, n_classes=3)


@pytest.mark.parametrize("shape", [(6,), (3, 5), (3, 7), (1, 2, 6)])
def test_targets_of_another_shape_are_refused(backend, shape):
    with pytest.raises(ShapeError, match=r"targets must have shape \(T, 6\)"):
        rows_of(backend, np.zeros(shape))


def test_a_shape_for_each_layer_is_needed(backend):
    with pytest.raises(ShapeError, match="shapes must have one"):
        rows_of(backend, np.zeros((1, 6)), shapes=[(4, 4), (2, 2)])
    with pytest.raises(ShapeError, match=r"anchors must have shape \(L, A, 2\)"):
        rows_of(backend, np.zeros((1, 6)), anchors=GRID[0])


@pytest.mark.parametrize("shapes", [4, [4], [(4,)], [(4, 4, 4)], [(4, -1)], [(4.5, 4)], [("4", "4")]])
def test_shapes_that_are_no_pairs_of_whole_numbers_are_refused(backend, shapes):
    with pytest.raises(ShapeError, match="^shapes.* must be"):
        build_targets(backend.array(np.zeros((1, 6))), backend.array(GRID[:1]), shapes)


def test_anchors_without_a_layer_are_refused(backend):
    for anchors in ([], backend.array(np.zeros((0, 3, 2)))):
        with pytest.raises(ShapeError, match="anchors must have at least one layer"):
            build_targets(backend.array(np.zeros((1, 6))), anchors, [])


def test_a_layer_of_anchors_that_is_no_array_is_refused_by_name(backend):
    with pytest.raises(ArrayTypeError, match="not a supported array type"):
        build_targets(backend.array(np.zeros((1, 6))), [backend.array(GRID[0]), None], [(4, 4), (2, 2)])


@pytest.mark.parametrize("thr", [0.25, 1.0, -4.0])
def test_a_limit_of_1_or_less_is_refused(backend, thr):
    with pytest.raises(BadValueError, match="thr must be greater than 1"):
        rows_of(backend, np.zeros((1, 6)), thr=thr)


@pytest.mark.parametrize("offset", [-0.1, 1.5, np.nan])
def test_an_offset_outside_0_to_1_is_refused(backend, offset):
    with pytest.raises(BadValueError, match=r"offset must be in \[0, 1\]"):
        rows_of(backend, np.zeros((1, 6)), offset=offset)


@pytest.mark.parametrize(
    ("offset", "cells"),
    [
        (0.0, [[2, 2]]),  # the own cell only
        (0.5, [[2, 2], [2, 1], [3, 2]]),
        (1.0, [[2, 2], [2, 1], [1, 2], [2, 3], [3, 2]]),  # all four neighbours, in the order left, up, right, down
    ],
)
def test_a_larger_offset_assigns_more_neighbours(backend, path, offset, cells):
    rows = rows_of(backend, [[0, 0, 0.55, 0.7, 0.5, 0.5]], np.array([[[2.0, 2.0]]], np.float32), offset=offset)
    assert [row[2:] for row in rows] == cells


def test_target_is_the_row_of_the_targets(backend, path):
    targets = np.array([[1, 0, 0.6, 0.6, 0.01, 0.5], [0, 3, 0.3, 0.3, 0.5, 0.5]], np.float32)
    (layer,) = build_targets(backend.array(targets), backend.array(GRID), [(4, 4)])
    assert set(backend.host(layer.target).tolist()) == {1}
    assert set(backend.host(layer.cls).tolist()) == {3}


def test_two_frameworks_are_refused(grad_backend):
    with pytest.raises(BackendMixError, match="different frameworks"):
        build_targets(np.zeros((1, 6), np.float32), grad_backend.array(GRID), [(4, 4)])


def test_the_inputs_stay_as_they_are(backend, path):
    targets = np.array([[0, 0, 0.55, 0.6, 0.5, 0.5]], np.float32)
    given_targets, given_anchors = backend.array(targets), backend.array(GRID)
    build_targets(given_targets, given_anchors, [(4, 4)])
    assert np.array_equal(backend.host(given_targets), targets)
    assert np.array_equal(backend.host(given_anchors), GRID)


def test_the_limits_of_the_ratio_are_those_of_the_division():
    from anchorlib.training.targets import ratio_limits

    for thr in (1.5, 2.0, 2.91, 3.0, 4.0, 7.3, 100.0, *np.random.default_rng(0).uniform(1.1, 20, 2000)):
        limit, least = map(np.float32, ratio_limits(thr))
        assert limit == np.float32(thr)
        below = np.nextafter(least, np.float32(0))
        assert np.float32(1) / least < np.float32(thr) <= np.float32(1) / below


@pytest.mark.parametrize("thr", [2.0, 4.0])
def test_sizes_around_the_limit_match_as_the_division_says(backend, thr):
    anchor = np.float32(3.0)
    sides = [np.float32(anchor * thr), np.float32(anchor / thr)]
    sides += [np.nextafter(side, np.float32(end)) for side, end in itertools.product(sides, (0, 99))]
    targets = np.array([[0, 0, 0.5, 0.5, side, side] for side in sides], np.float32)
    anchors = np.full((1, 1, 2), anchor)
    layers = build_targets(backend.array(targets), backend.array(anchors), [(1, 1)], thr=thr)
    assert_same_bits(backend, layers, by_field(oracle.build_targets(targets, anchors, [(1, 1)], thr)))


def test_float64_is_taken_as_float32(backend):
    """Use a width that is below the limit in float64 and equal to it in float32."""
    targets = np.asarray([[0, 1, 0.3, 0.6, 0.5 - 2**-40, 0.5]])
    anchors = np.asarray([[[0.5, 0.5], [2.0, 2.0]]])
    found = [
        [backend.host(column) for column in layer]
        for layer in build_targets(backend.array(targets), backend.array(anchors), [(4, 4)], thr=4.0)
    ]
    wanted = build_targets(targets.astype(np.float32), anchors.astype(np.float32), [(4, 4)], thr=4.0)
    for one, other in zip(found[0], wanted[0]):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_validate_refuses_a_class_that_is_not_finite(backend, value):
    targets = np.asarray([[0, value, 0.5, 0.5, 0.5, 0.5]], np.float32)
    with pytest.raises(BadValueError, match="an integer >= 0 as class"):
        rows_of(backend, targets, validate=True)


def test_each_layer_of_a_list_is_checked_by_its_number(backend):
    layers = [backend.array(np.ones((2, 2), np.float32)), backend.array(np.ones((2, 3), np.float32))]
    targets = backend.array(np.zeros((0, 6), np.float32))
    with pytest.raises(ShapeError, match=r"anchors\[1\] must have shape \(A, 2\)"):
        build_targets(targets, layers, [(4, 4), (2, 2)])
    with pytest.raises(ShapeError, match=r"\(T, 6\).* The columns are image, class, cx, cy, w, h.$"):
        build_targets(backend.array(np.zeros((1, 5), np.float32)), layers[:1], [(4, 4)])


def test_a_size_beyond_float32_matches_nothing_without_a_warning(backend, path, recwarn):
    assert rows_of(backend, [[0, 0, 0.5, 0.5, 3e38, 0.5]]) == []
    assert not recwarn.list


def test_a_layer_names_its_rows_and_backend_and_is_json(backend):
    (layer,) = build_targets(backend.array([[0, 7, 0.55, 0.6, 0.5, 0.5]], np.float32), backend.array(GRID), [(4, 4)])
    assert repr(layer) == f"LayerTargets(6 rows, {backend.name})"
    assert json.loads(layer.to_json()) == layer.to_dict()
    assert layer.to_json(indent=2) == json.dumps(layer.to_dict(), indent=2)
    assert layer.to_dict()["gj"] == backend.host(layer.gj).tolist()
