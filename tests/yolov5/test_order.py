"""Layers that we fit or write are reversed by no fork's rule, and check_anchor_order agrees with the forks' rules."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.detectors import NUMPY, make_dataset, make_model, writable

from anchorlib import refit
from anchorlib.fitting.rounding import round_anchors
from anchorlib.layers import describe_reversal, must_reverse
from anchorlib.metrics import SizeTable
from anchorlib.modelfiles import edit_anchors, open_anchors, read_anchors, split_layers, write_anchors
from anchorlib.yolov5 import check_anchor_order, check_anchors, kmean_anchors
from anchorlib.yolov5.detect import Detect

SETS = 10_000


def older_rule(layers, strides):
    """Whether YOLOv5 6.0, 6.1, yolov3 9.6 and others reverse layers, in the unit that they are in."""
    first, last = (np.float32(w) * np.float32(h) for w, h in (layers[0][0], layers[-1][-1]))
    return np.sign(last - first) != np.sign(strides[-1] - strides[0])


def newer_rule(layers, strides):
    """Whether YOLOv5 7.0 reverses layers."""
    first, last = (np.float32(layer[:, 0] * layer[:, 1]).mean() for layer in (layers[0], layers[-1]))
    return last != first and np.sign(last - first) != np.sign(strides[-1] - strides[0])


def in_grid_units(layers, strides):
    return [np.asarray(layer / np.float32(stride), np.float32) for layer, stride in zip(layers, strides)]


def draw_sets(seed=0, n_sets=SETS):
    """Yield anchors sorted by area, the count of each layer, and strides: two to five layers, either direction."""
    rng = np.random.default_rng(seed)
    for _ in range(n_sets):
        n_layers = int(rng.integers(2, 6))
        even = rng.random() < 0.7
        counts = [int(rng.integers(1, 5))] * n_layers if even else rng.integers(1, 5, n_layers).tolist()
        least = int(rng.integers(2, 5))  # strides of 4, 8 or 16 and up
        strides = [2.0 ** (least + i) for i in range(n_layers)][:: 1 if rng.random() < 0.5 else -1]
        middle, spread = np.log(rng.uniform(5, 300)), rng.uniform(0.05, 1.5)
        anchors = np.exp(rng.normal(middle, spread, (sum(counts), 2))).clip(2, 1800).astype(np.float32)
        if rng.random() < 0.5:
            anchors = anchors.round().clip(2)  # equal areas
        yield anchors[np.argsort(anchors.prod(axis=1, dtype=np.float64), kind="stable")], counts, strides


def assert_kept_or_said(layers, strides):
    """No rule reverses layers in pixels, and none does in units of the strides unless `describe_reversal` says so."""
    grid, said = in_grid_units(layers, strides), describe_reversal(layers, strides)
    if said is None:
        assert not any(rule(layers, strides) for rule in (older_rule, newer_rule, must_reverse))
        assert not older_rule(grid, strides)
        assert not must_reverse(grid, strides)
    else:  # it is said only if it is so
        assert any((older_rule(layers, strides), older_rule(grid, strides), must_reverse(grid, strides))), said
    return said is None


def test_sets_in_a_model_are_reversed_by_no_rule():
    kept = 0
    for anchors, counts, strides in draw_sets(n_sets=2000):
        if len(set(counts)) > 1:  # a model has as many anchors in each layer
            continue
        detect = SimpleNamespace(anchors=np.ones((len(counts), counts[0], 2), np.float32), stride=np.asarray(strides))
        layers = Detect(detect=detect).in_layers(anchors)
        assert np.array_equal(np.sort(layers.ravel()), np.sort(anchors.ravel()))
        kept += assert_kept_or_said(list(layers), strides)
    assert kept > 400


def test_ten_thousand_sets_in_a_file_are_reversed_by_no_rule():
    # the strides of a file are not known: each is twice the one before
    kept = 0
    for anchors, counts, strides in draw_sets(1):
        layers = split_layers(anchors, counts)
        if strides[0] > strides[-1]:
            layers = [layer[::-1] for layer in layers[::-1]]
        assert (describe_reversal(layers) is None) == (describe_reversal(layers, strides) is None)
        kept += assert_kept_or_said(layers, strides)
    assert kept > 0.3 * SETS


def test_nothing_is_said_of_layers_that_another_order_inside_them_would_keep():
    for anchors, counts, strides in draw_sets(2, 2000):
        layers = split_layers(anchors, counts)
        if strides[0] > strides[-1]:
            layers = [layer[::-1] for layer in layers[::-1]]
        if describe_reversal(layers, strides) is not None:
            grid = in_grid_units(layers, strides)
            areas = [[float(w * h) for w, h in layer] for layer in (grid[0], grid[-1])]
            up = 1 if strides[-1] > strides[0] else -1
            assert all(up * (last - first) <= 0 for first in areas[0] for last in areas[1])


def test_our_answer_is_that_of_the_newer_rule_in_pixels_and_of_the_older_one_in_units_of_the_strides():
    rng = np.random.default_rng(3)
    n_reversed = 0
    for anchors, counts, strides in draw_sets(3):
        # pixels, in any order: sizes of which at least one is beyond what grid units can be
        shuffled = split_layers(rng.permutation(anchors), counts)
        if max(layer.max() * stride for layer, stride in zip(shuffled, strides)) > 2048:
            assert must_reverse(shuffled, strides) == newer_rule(shuffled, strides)
        # layers that follow each other in area, in either direction and either unit
        layers = split_layers(anchors, counts)[:: 1 if rng.random() < 0.5 else -1]
        if anchors[0].prod() == anchors[-1].prod() or layers[0][0].prod() == layers[-1][-1].prod():
            continue
        assert must_reverse(layers, strides) == older_rule(layers, strides) == newer_rule(layers, strides)
        grid = in_grid_units(layers, strides)
        means = [float(layer.prod(axis=1).mean()) for layer in layers]
        follow = np.diff(np.asarray(means)[np.argsort(strides)]) > 0
        if follow.all() or not follow.any():  # with layers of equal means, the order is not clear
            ours = must_reverse(grid, strides)
            assert ours == older_rule(grid, strides) or np.isclose(
                *(a[i].prod() for a, i in ((grid[0], 0), (grid[-1], -1)))
            )
            n_reversed += ours
    assert 1000 < n_reversed < 9000


@pytest.mark.parametrize("unit", ["pixels", "grid"])
def test_check_anchor_order_on_arrays_of_each_framework(backend, unit):
    n_reversed = 0
    for anchors, counts, strides in draw_sets(4, 60):
        if len(set(counts)) > 1:
            continue
        layers = anchors.reshape(len(counts), -1, 2)
        layers = layers if unit == "pixels" else np.stack(in_grid_units(layers, strides))
        detect = SimpleNamespace(anchors=writable(backend, layers), stride=backend.array(np.asarray(strides)))
        expected = older_rule(layers, strides) if layers[0, 0].prod() != layers[-1, -1].prod() else None
        got = check_anchor_order(detect)
        assert expected in (None, got)
        assert np.array_equal(backend.host(detect.anchors), layers[::-1] if got else layers)
        n_reversed += got
    assert n_reversed


def test_a_fork_with_a_tensor_anchor_grid_compares_its_ends(backend):
    # YOLOv5 up to 5.0 and YOLOv7: the grid is in pixels, and the first and the last anchor count
    pixels = np.asarray([[[10, 10], [90, 90]], [[20, 20], [30, 30]]], np.float32)
    for layers, reverses in ((pixels, False), (pixels[::-1, ::-1], True)):
        _, detect = make_model(backend, layers.copy(), (8, 16), grid="buffer")
        assert newer_rule(layers, (8, 16)) != reverses
        assert check_anchor_order(detect) == reverses


def test_a_list_anchor_grid_is_reversed_in_pixels(backend):
    # after a forward pass `anchors` is in units of the strides and the list in pixels
    pixels = np.asarray([[[90, 90]], [[30, 30]], [[10, 10]]], np.float32)
    _, detect = make_model(backend, pixels, (8, 16, 32), grid="cache")
    assert check_anchor_order(detect)
    now = backend.host(detect.anchors) * np.asarray([8, 16, 32], np.float32)[:, None, None]
    for entry, layer in zip(detect.anchor_grid[:2], now):
        assert np.array_equal(backend.host(entry)[0, :, 0, 0], layer)


@pytest.mark.parametrize(
    "strides", [(8, 16), (8, 16, 32), (16, 8), (32, 16, 8), (64, 32, 16, 8), (8, 16, 32, 64, 128), (8, 32, 16)]
)
def test_fitted_anchors_are_kept_in_the_model_by_every_rule(backend, strides, caplog):
    model, detect = make_model(backend, np.full((len(strides), 2, 2), 600, np.float32), strides, grid="buffer")
    dataset = make_dataset(n_images=10)
    for i, rows in enumerate(dataset.labels):
        rows[:, 3:] *= 0.1 * 1.6**i  # 2 to 500 px
    assert check_anchors(dataset, model, raise_errors=True).replaced
    grid = backend.host(detect.anchors)
    pixels = grid * np.asarray(strides, np.float32)[:, None, None]
    assert not any(rule(pixels, strides) for rule in (older_rule, newer_rule))
    assert not older_rule(grid, strides)
    assert "reverse these layers" not in caplog.text
    assert not check_anchor_order(detect)  # with its grid
    del detect.anchor_grid
    assert not check_anchor_order(detect)  # in units of the strides
    detect.anchors = backend.array(pixels)
    assert not check_anchor_order(detect)


def test_layers_that_some_fork_reverses_are_said_in_the_log(caplog):
    dataset = make_dataset(n_images=10)
    for rows in dataset.labels:
        rows[:, 3:] = 0.1 + rows[:, 3:] / 50
    model, detect = make_model(NUMPY, np.full((3, 3, 2), 600, np.float32))
    assert check_anchors(dataset, model, layered=False, raise_errors=True).replaced
    assert older_rule(detect.anchors, (8, 16, 32))
    assert "such as YOLOv5 6.0, reverse these layers" in caplog.text
    caplog.clear()
    kmean_anchors(dataset, 9, layered=False)
    assert "such as YOLOv5 6.0, reverse these layers" in caplog.text
    caplog.clear()
    kmean_anchors(dataset, 5)
    assert "reverse these layers" not in caplog.text


def yaml_of(layers):
    return "nc: 80\nanchors:\n" + "".join(f"  - {np.ravel(layer).tolist()}\n" for layer in layers)


def rows_of(path):
    """The layers of a file as a fork reads them: in the order of its text."""
    lines = [line.strip(" -[]\n") for line in path.read_text().splitlines() if line.startswith("  - ")]
    return [np.asarray([float(number) for number in line.split(",")], np.float32).reshape(-1, 2) for line in lines]


@pytest.mark.parametrize("largest_first", [False, True])
def test_written_and_edited_files_are_reversed_by_no_rule_or_a_warning_says_so(tmp_path, largest_first):
    warned = 0
    for i, (anchors, counts, _) in enumerate(draw_sets(5, 60)):
        layers, n = split_layers(anchors, counts), len(counts)
        path = tmp_path / f"{i}.yaml"
        if largest_first:
            path.write_text(yaml_of([[[500 - 90 * j, 500 - 90 * j]] * counts[-1 - j] for j in range(n)]))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (edit_anchors if largest_first else write_anchors)(path, layers)
        said = [str(warning.message) for warning in caught]
        written, strides = rows_of(path), [8.0 * 2**j for j in range(n)][:: -1 if largest_first else 1]
        assert sorted(map(tuple, np.concatenate(written))) == sorted(map(tuple, anchors))
        assert len(said) == (not assert_kept_or_said(written, strides))
        assert all(f"{i}.yaml: " in message and "reverse these layers" in message for message in said)
        warned += len(said)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is there already is neither changed nor warned about
            assert edit_anchors(path, read_anchors(path)) == ""
    assert 5 < warned < 55


def test_an_order_inside_layers_that_every_rule_keeps_stays(tmp_path):
    layers = [np.asarray([[33, 23], [10, 13]], np.float32), np.asarray([[373, 326], [116, 90]], np.float32)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_anchors(tmp_path / "new.yaml", layers)
    assert all(np.array_equal(*pair) for pair in zip(rows_of(tmp_path / "new.yaml"), layers))


def test_an_order_inside_layers_that_a_rule_reverses_is_sorted(tmp_path):
    layers = [np.asarray([[60, 60], [10, 13]], np.float32), np.asarray([[373, 326], [62, 62]], np.float32)]
    assert older_rule(in_grid_units(layers, (8, 16)), (8, 16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_anchors(tmp_path / "new.yaml", layers)
        (tmp_path / "other.json").write_text('{"anchors": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}')
        edit_anchors(tmp_path / "other.json", layers)  # read by no fork
    assert rows_of(tmp_path / "new.yaml")[0].tolist() == [[10, 13], [60, 60]]
    assert open_anchors(tmp_path / "other.json").layers[0].tolist() == [[60, 60], [10, 13]]


@pytest.mark.parametrize("counts", [[2, 2], [3, 3, 3], [1, 2, 3, 2], [2, 2, 2, 2, 2]])
@pytest.mark.parametrize("largest_first", [False, True])
def test_refit_writes_layers_that_no_rule_reverses_and_a_second_call_changes_nothing(tmp_path, counts, largest_first):
    rng = np.random.default_rng(len(counts))
    boxes = np.exp(rng.uniform(np.log(3), np.log(600), (400, 2))).astype(np.float32)
    path, n = tmp_path / "model.yaml", len(counts)
    path.write_text(
        yaml_of([[[500 - 90 * j, 500 - 90 * j]] * counts[-1 - j] for j in range(n)][:: 1 if largest_first else -1])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not refit(path, boxes, strides=None).kept
        written, strides = rows_of(path), [8.0 * 2**j for j in range(n)][:: -1 if largest_first else 1]
        assert [len(layer) for layer in written] == (counts[::-1] if largest_first else counts)
        assert assert_kept_or_said(written, strides)
        again = refit(path, boxes, strides=None)
        assert again.diff == ""
        assert again.kept
        layered = [refit(path, boxes).fit.score.fitness for _ in range(2)]
        assert assert_kept_or_said(rows_of(path), strides)
    assert layered[1] >= layered[0] - 1e-4


def test_refit_keeps_a_file_whose_layers_are_sorted_otherwise_if_nothing_better_is_found(tmp_path):
    layers = [[[30, 30], [10, 10]], [[300, 300], [100, 100]]]
    path = tmp_path / "model.yaml"
    path.write_text(yaml_of(layers))
    found = refit(path, np.concatenate(layers).astype(np.float32))
    assert found.fit.kept_start
    assert found.kept
    assert found.diff == ""
    assert [layer.tolist() for layer in found.layers] == layers


def test_rounded_anchors_are_sorted_by_area():
    # 110.24 < 111.76, but rounded to integers 110 > 100; only the third anchor counts for the score
    anchors = np.asarray([[10.4, 10.6], [4.4, 25.4], [100, 100]], np.float32)
    rounded = round_anchors(SizeTable(np.asarray([[100, 100]], np.float32)), anchors, 4.0)
    assert rounded.anchors.tolist() == [[4, 25], [10, 11], [100, 100]]
    assert rounded.digits == 0
