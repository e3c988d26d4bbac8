import json
import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.text_lines import draw_text_lines

from anchorlib import BoxSizes, build_targets, crowding, fit_anchors
from anchorlib.errors import BadValueError, ShapeError
from anchorlib.training import row_count
from anchorlib.training.crowding import SIDE_QUANTILES, CrowdingCounter
from anchorlib.verify import Target

COCO = np.asarray([10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326], np.float32).reshape(
    3, 3, 2
)
STRIDES = [8, 16, 32]


def count_slowly(backend, targets, layers, strides, size, thr):
    """Count with a dict from prediction to its last row, from what build_targets gives on the backend."""
    shapes = [(size // stride, size // stride) for stride in strides]
    grids = [backend.array(layer / np.float32(stride)) for layer, stride in zip(layers, strides)]
    counted, seen, surviving = [], set(), set()
    for rows, (ny, nx) in zip(build_targets(backend.array(targets), grids, shapes, thr=thr), shapes):
        columns = [backend.host(column).tolist() for column in (rows.image, rows.anchor, rows.gj, rows.gi, rows.target)]
        last = {}
        for *prediction, target in zip(*columns):
            last[tuple(prediction)] = target
        boxes = sorted(set(columns[-1]))
        seen.update(boxes)
        surviving.update(last.values())
        sides = sorted(min(targets[box, 4] * np.float32(nx), targets[box, 5] * np.float32(ny)) for box in boxes)
        ranks = [
            next(i for i in range(len(sides)) if (i + 1) >= share * len(sides)) for share in SIDE_QUANTILES if sides
        ]
        n_rows = len(columns[0])
        counted.append(
            (n_rows, n_rows - len(last), len(boxes), sum(side < 1 for side in sides), tuple(sides[i] for i in ranks))
        )
    return counted, len(targets) - len(seen), len(seen - surviving)


def draw_set(rng):
    """Return targets, layers, strides, size and thr, with many boxes in few cells."""
    strides = sorted(rng.choice([4, 8, 16, 32, 64], rng.integers(1, 6), replace=False).tolist())
    size = 64 * int(rng.integers(1, 4))
    n, n_images = int(rng.integers(0, 120)), int(rng.integers(1, 5))
    places = [rng.random((n, 2)), rng.integers(0, 9, (n, 2)) / 8, rng.uniform(-0.1, 1.1, (n, 2))]  # on borders, outside
    centres = places[rng.integers(3)]
    wh = np.exp(rng.uniform(np.log(2 / size), 0, (n, 2)))
    wh[rng.random(n) < 0.05] = 0
    images = rng.integers(0, n_images, (n, 1)) * rng.integers(1, 1000)  # not sorted, and with gaps
    targets = np.concatenate([images, rng.integers(0, 3, (n, 1)), centres, wh], axis=1).astype(np.float32)
    layers = [np.exp(rng.uniform(1, 5, (rng.choice([1, 2, 3, 8, 11]), 2))).astype(np.float32) for _ in strides]
    return targets, layers, strides, size, float(rng.choice([1.5, 2.91, 4.0, 8.0]))


def test_crowding_is_a_slow_count_of_the_rows_of_build_targets(backend, n_cases):
    rng = np.random.default_rng(0)
    n_overwritten = n_lost = 0
    for _ in range(n_cases(200)):
        targets, layers, strides, size, thr = draw_set(rng)
        found = crowding(
            backend.array(targets), [backend.array(layer) for layer in layers], strides, imgsz=size, thr=thr
        )
        got = [
            (layer.rows, layer.overwritten, layer.n_boxes, layer.n_small, layer.short_sides) for layer in found.layers
        ]
        assert (got, found.n_without_row, found.n_lost) == count_slowly(backend, targets, layers, strides, size, thr)
        n_overwritten += sum(layer.overwritten for layer in found.layers)
        n_lost += found.n_lost
    assert n_overwritten > n_cases(1000)
    assert n_lost > n_cases(50)


def test_nine_anchors_by_area_crowd_the_coarse_layer_on_text_lines():
    boxes = draw_text_lines(60)
    by_area = fit_anchors(boxes, 9).anchors.reshape(3, 3, 2)
    crowded = crowding(boxes, by_area, STRIDES)
    shares = [layer.share_overwritten for layer in crowded.layers]
    assert shares[0] < 0.2
    assert 0.5 < shares[2] < 0.8
    assert [layer.is_overtaxed for layer in crowded.layers] == [False, True, True]
    assert crowded.layers[2].share_small == 1  # no line is a stride high
    kept = crowding(boxes, [fit_anchors(boxes, 3).anchors, *COCO[1:]], STRIDES)
    assert not any(layer.is_overtaxed for layer in kept.layers)
    assert max(x.share_overwritten for x in kept.layers) < 0.2


@pytest.mark.parametrize(("name", "value"), [("_BOXES_AT_ONCE", 1), ("_SLOTS", 1), ("_SLOTS", 64), ("_BITS", 2)])
def test_blocks_and_tables_do_not_change_the_counts(monkeypatch, name, value):
    boxes = draw_text_lines(6)
    whole = crowding(boxes, COCO, STRIDES).to_dict()
    monkeypatch.setattr(row_count, name, value)
    assert crowding(boxes, COCO, STRIDES).to_dict() == whole


def test_box_sizes_with_centres_are_the_targets_of_their_input():
    corners = [[[10, 20, 30, 60], [12, 22, 30, 60]], [[0, 0, 320, 240]]]
    boxes = BoxSizes.from_boxes(corners, [[640, 480], [320, 240]], imgsz=640, centres=True)
    targets = [[0, 0, 20 / 640, 120 / 640, 20 / 640, 40 / 640], [0, 0, 21 / 640, 121 / 640, 18 / 640, 38 / 640]]
    targets.append([1, 0, 0.5, 0.5, 1, 0.75])
    assert crowding(boxes, COCO, STRIDES).to_dict() == crowding(targets, COCO, STRIDES, imgsz=640).to_dict()


def test_an_input_that_the_strides_do_not_divide_is_rounded_up():
    boxes = BoxSizes.from_boxes([[[10, 20, 30, 60]]], [[500, 500]], imgsz=500, centres=True)
    targets = [[0, 0, 20 / 512, 40 / 512, 20 / 512, 40 / 512]]
    expected = crowding(targets, COCO, STRIDES, imgsz=512).to_dict()
    assert crowding(boxes, COCO, STRIDES).to_dict() == expected == crowding(targets, COCO, STRIDES, imgsz=500).to_dict()


def test_a_side_of_one_stride_is_not_small_and_no_row_is_a_share_of_0():
    box = [[0, -1, 0.55, 0.55, 8 / 64, 8 / 64]]  # the class does not count, even -1
    fits, none = crowding(box, [[[8, 8]], [[60, 60]]], [8, 32], imgsz=64).layers
    assert (fits.n_boxes, fits.n_small, none.rows, none.n_boxes) == (1, 0, 0, 0)
    assert (
        [layer.share_overwritten for layer in (fits, none)] == [layer.share_small for layer in (fits, none)] == [0, 0]
    )


@pytest.mark.parametrize("thr", [4.0, 2.91, 1.5])
def test_sides_at_the_limit_count_as_in_build_targets(thr):
    limits = np.float32([16 * np.float32(thr), 16 / np.float32(thr)]) / 512  # of an anchor of 16 px in 512
    sides = (limits.view(np.int32)[:, None] + np.arange(-3, 4, dtype=np.int32)).reshape(-1).view(np.float32)
    for box in ([0, 0, 0.31, 0.31, side, 16 / 512] for side in sides):
        targets, anchors = np.asarray([box], np.float32), [np.float32([[16, 16]])]
        in_float64 = targets.astype(np.float64) * (1 - 2.0**-30)  # counts as the nearest float32
        (found,) = crowding(in_float64, anchors, [8], imgsz=512, thr=thr).layers
        ((n_rows, *_),), *_ = count_slowly(Target("numpy"), targets, anchors, [8], 512, thr)
        assert found.rows == n_rows


def test_the_share_of_one_layer_is_that_of_all_layers():
    rows, anchors = np.random.default_rng(4).random((200, 6)) * [0, 1, 1, 1, 0.2, 0.2], COCO[::-1]
    counts = CrowdingCounter(rows, STRIDES, imgsz=640)
    for i, layer in enumerate(crowding(rows, anchors, STRIDES, imgsz=640).layers):
        assert counts.share_overwritten(i, anchors[i]) == layer.share_overwritten
        assert counts.share_overwritten(i, np.float32([[639, 1]])) == 0  # no row


def test_the_last_anchors_of_a_layer_are_counted_once(monkeypatch):
    counted, count = [], row_count.RowCounter.count
    monkeypatch.setattr(row_count.RowCounter, "count", lambda *given: counted.append(1) or count(*given))
    counts = CrowdingCounter([[0, 0, 0.5, 0.5, 0.1, 0.1]], STRIDES, imgsz=640)
    counts.share_overwritten(1, COCO[1])
    counts.count(COCO)
    counts.share_overwritten(2, COCO[2])
    assert len(counted) == 3  # one for each layer
    counts.share_overwritten(2, COCO[0])
    assert len(counted) == 4


def test_a_stride_may_be_less_than_a_pixel():
    (layer,) = crowding([[0, 0, 0.55, 0.55, 0.25, 0.25]], [[[1, 1]]], [0.5], imgsz=4).layers
    assert (layer.rows, layer.n_small, layer.short_sides) == (3, 0, (2.0,) * 5)  # a box of 2 x 2 of 8 x 8 cells


def test_results_are_shown_and_written():
    found = crowding([[0, 0, 0.505, 0.505, 0.02, 0.02]] * 3, COCO, STRIDES)
    assert repr(found).startswith("Crowding(67% / 0% / 0% of rows overwritten on strides 8 / 16 / 32; ")
    shown = json.loads(found.to_json())
    assert shown["n_lost"] == 2
    assert shown["layers"][0]["share_overwritten"] == pytest.approx(2 / 3)
    assert "1.6 / 1.6 / 1.6" in found._repr_html_()
    assert "<td>-</td>" in found._repr_html_()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"boxes": [[0, 0, 0.5, 0.5, 0.1]]}, ShapeError, r"boxes must have shape \(T, 6\)"),
        ({"boxes": [[0, 0, 0.5, 0.5, 0.1, 0.1], [0, 0, np.nan, 0.5, 0.1, 0.1]]}, BadValueError, "row 1"),
        ({"boxes": [[0, 0, 0.5, 0.5, 0.1, 0.1], [0, 0, 0.5, 0.5, -0.1, 0.1]]}, BadValueError, "sides >= 0, .* row 1"),
        ({"boxes": [[-1, 0, 0.5, 0.5, 0.1, 0.1]]}, BadValueError, "image"),
        ({"boxes": BoxSizes.from_boxes([[[1, 2, 3, 4]]], [[9, 9]])}, BadValueError, "centres=True"),
        (
            {"boxes": BoxSizes.from_boxes([[[1, 2, 3, 4]]], [[9, 9]], centres=True), "imgsz": 320},
            BadValueError,
            "640 x 640",
        ),
        (
            {"boxes": BoxSizes.from_boxes([[[1, 2, 3, 4]]], [[9, 9]], imgsz=(64, 32), centres=True), "imgsz": (32, 64)},
            BadValueError,
            r"64 x 32 px, got \(32, 64\)",
        ),
        ({"boxes": np.zeros((3, 2))}, ShapeError, "boxes must have shape"),
        ({"strides": [8, 16]}, ShapeError, "2 strides"),
        ({"strides": [8, 16, 0]}, BadValueError, "strides"),
        ({"strides": []}, BadValueError, "strides"),
        ({"strides": [8, 16, math.inf]}, BadValueError, "strides must be numbers > 0"),
        ({"strides": [8, 16, "wide"]}, BadValueError, "strides must be a number, got 'wide'"),
        ({"anchors": COCO.reshape(9, 2)}, ShapeError, r"\(L, A, 2\)"),
        ({"anchors": [*COCO[:2], COCO[2, 0]]}, ShapeError, r"anchors\[2\]"),
        ({"anchors": [*COCO[:2], COCO[2, :0]]}, BadValueError, "at least one anchor"),
        ({"anchors": -COCO}, BadValueError, r"anchors\[0\]"),
        ({"imgsz": 0}, BadValueError, "imgsz"),
        ({"thr": 1.0}, BadValueError, "thr"),
    ],
)
def test_wrong_arguments(change, error, text):
    given = {"boxes": [[0, 0, 0.5, 0.5, 0.1, 0.1]], "anchors": COCO, "strides": STRIDES, **change}
    with pytest.raises(error, match=text):
        crowding(given.pop("boxes"), given.pop("anchors"), given.pop("strides"), **given)


def test_box_sizes_in_any_order_of_the_images_are_counted():
    boxes = draw_text_lines(4)
    turned = np.argsort(-boxes.image_index, kind="stable")
    mixed = replace(boxes, wh=boxes.wh[turned], centres=boxes.centres[turned], image_index=boxes.image_index[turned])
    assert crowding(mixed, COCO, STRIDES).to_dict() == crowding(boxes, COCO, STRIDES).to_dict()
