"""Test the oracle: first against values computed by hand, then against the recordings of the reference."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import oracle
from helpers.loss_cases import HYP

GOLDEN = Path(__file__).parent / "data" / "golden"
LN2 = math.log(2)
FLOAT32_ROUNDING = 2e-6  # the recordings are float32 results of several roundings; the oracle is float64


def recordings(pattern):
    """Return the paths of the recordings of one kind; fail if there are none."""
    paths = sorted(GOLDEN.glob(pattern), key=lambda path: (len(path.name), path.name))
    assert paths, f"no recordings {pattern} in {GOLDEN}"
    return [pytest.param(path, id=path.stem) for path in paths]


def assert_same(actual, desired):
    """Check for equal dtype, shape and bits."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.dtype == desired.dtype
    assert actual.shape == desired.shape
    assert actual.tobytes() == desired.tobytes()


def test_every_recording_is_here():
    counts = {"metric": 5, "order": 5, "targets": 21, "loss": 9}
    for kind, count in counts.items():
        assert len(list(GOLDEN.glob(f"{kind}_*.npz"))) == count
    assert (GOLDEN / "iou.npz").exists()
    assert (GOLDEN / "losses.npz").exists()


# --- 1. box sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_wh", "imgsz", "expected"),
    [
        ((800, 400), 640, (320, 80)),  # scale 0.8
        ((400, 800), 640, (160, 160)),  # the long side is the height
        ((320, 320), 640, (320, 160)),  # small images grow
        ((800, 400), (640, 160), (160, 40)),  # not square: the height limits, 0.4
        ((800, 400), (400, 400), (200, 50)),  # a square pair is the int
    ],
)
def test_letterbox_by_hand(image_wh, imgsz, expected):
    assert oracle.letterbox_size(image_wh, (0.5, 0.25), imgsz) == pytest.approx(expected, rel=1e-15)


def test_stretch_scales_each_axis_on_its_own():
    assert oracle.stretch_size((800, 400), (0.5, 0.25), 640) == pytest.approx((320, 160), rel=1e-15)
    assert oracle.stretch_size((800, 400), (0.5, 0.25), (640, 320)) == pytest.approx((320, 80), rel=1e-15)


def test_box_sizes_go_image_by_image():
    labels = [
        np.array([[0, 0.5, 0.5, 0.5, 0.25], [1, 0.5, 0.5, 1, 1]]),
        np.zeros((0, 5)),
        np.array([[0, 0, 0, 0.5, 1]]),
    ]
    sizes = oracle.box_sizes([(800, 400), (7, 7), (100, 200)], labels, 400)
    assert sizes.tolist() == [[200, 50], [400, 200], [100, 400]]
    assert oracle.box_sizes([], [], 400).shape == (0, 2)


def test_small_boxes_are_counted_on_any_side_and_dropped_on_both():
    wh = [[1.9, 1.9], [1.9, 2.0], [2.9, 100], [3, 3], [2, 2]]
    assert oracle.count_small(wh) == 4
    assert oracle.kept_for_fit(wh) == [False, True, True, True, True]


# --- 2. metrics ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "anchor", "expected"),
    [
        ([10, 20], [10, 20], 1.0),
        ([10, 20], [10, 10], 0.5),
        ([10, 20], [40, 20], 0.25),
        ([30, 20], [10, 20], 1 / 3),  # rounded to float32 below
    ],
)
def test_size_ratio_by_hand(box, anchor, expected):
    ratio = oracle.size_ratio([box], [anchor])
    assert ratio.dtype == np.float32
    assert ratio[0, 0] == np.float32(expected)


def test_wh_iou_by_hand():
    iou = oracle.wh_iou([[10, 20], [40, 20]], [[10, 20], [20, 10]])
    assert iou.dtype == np.float32
    assert iou.tolist() == [[1.0, float(np.float32(100 / 300))], [0.25, float(np.float32(200 / 800))]]
    assert oracle.exact_wh_iou([10, 20], [20, 10]) == oracle.Fraction(1, 3)


def test_score_by_hand():
    # the second box is off by exactly thr: scored, not matched
    assert oracle.score([[10, 20], [40, 20]], [[10, 20]], 4.0) == {
        "bpr": 0.5,
        "aat": 0.5,
        "fitness": 0.5,
        "mean_best": 0.625,
        "avg_iou": 0.625,
        "avg_iou_float32": 0.625,
    }
    assert oracle.score([[10, 20], [40, 20]], [[10, 20], [20, 20]], 4.0)["aat"] == 1.5


def test_score_counts_a_box_of_weight_three_three_times():
    once = oracle.score([[10, 20], [30, 20], [30, 20], [30, 20]], [[10, 20], [7, 7]], 4.0)
    weighted = oracle.score([[10, 20], [30, 20]], [[10, 20], [7, 7]], 4.0, weights=[1, 3])
    assert once == weighted
    # 1 + 3/3 over 4 boxes; float32(1/3) is a hair over 1/3
    assert weighted["mean_best"] == (1 + 3 * float(np.float32(1 / 3))) / 4


def test_score_compares_with_the_threshold_in_float32():
    # float32(1 / 6) is over 1 / 6: at exactly six times the size it would match in float64
    assert float(np.float32(1 / 6)) > 1 / 6
    assert oracle.score([[1, 1]], [[6, 6]], 6.0)["bpr"] == 0
    assert [oracle.score([[1, 1]], [[n, n]], float(n))["aat"] for n in (3, 5, 7)] == [0, 0, 0]


def test_score_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no boxes"):
        oracle.score([], [[1, 1]], 4.0)


@pytest.mark.parametrize("path", recordings("metric_*.npz"))
def test_metrics_are_the_recorded_bits(path):
    data = np.load(path)
    assert_same(oracle.size_ratio(data["wh"], data["anchors"]), data["ratio"])
    assert_same([max(row) for row in oracle.size_ratio(data["wh"], data["anchors"])], data["best"])
    score = oracle.score(data["wh"], data["anchors"], float(data["thr"]))
    for name in ("bpr", "aat", "fitness"):
        assert score[name] == float(data[name]), name
    assert score["avg_iou"] == pytest.approx(score["avg_iou_float32"], rel=1e-7)
    assert score["mean_best"] == pytest.approx(data["best"].astype(float).mean(), rel=1e-14)


# --- 5. the order of layers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sides", "strides", "expected"),
    [
        ([1, 2, 3], [8, 16, 32], [1, 2, 3]),
        ([3, 2, 1], [8, 16, 32], [1, 2, 3]),
        ([3, 2, 1], [32, 16, 8], [3, 2, 1]),
        ([1, 2, 3], [32, 16, 8], [3, 2, 1]),
        ([2, 1, 2], [8, 16, 32], [2, 1, 2]),  # equal ends stay
    ],
)
def test_layers_are_reversed_by_hand(sides, strides, expected):
    # two anchors of a layer, the second larger: their order inside the layer stays
    given = np.array([[[side, side], [side, side + 1]] for side in sides], dtype=np.float32)
    wanted = np.array([[[side, side], [side, side + 1]] for side in expected], dtype=np.float32)
    before = given.copy()
    assert_same(oracle.check_anchor_order(given, strides), wanted)
    assert_same(given, before)


@pytest.mark.parametrize("path", recordings("order_*.npz"))
def test_order_is_the_recorded_one(path):
    data = np.load(path)
    assert_same(oracle.check_anchor_order(data["anchors"], data["stride"]), data["ordered"])


# --- 6. build_targets ---------------------------------------------------------------------------------------


def built(xc, yc, w, h, anchor=(2, 2), grid=8, thr=4.0):
    """Return rows (gi, gj, x, y, w, h) of one target on one layer; all values are in cells."""
    target = np.array([[0, 3, xc / grid, yc / grid, w / grid, h / grid]], dtype=np.float32)
    (layer,) = oracle.build_targets(target, np.array([[anchor]], dtype=np.float32), [(grid, grid)], thr)
    return [(int(i), int(j), *box.tolist()) for i, j, box in zip(layer["gi"], layer["gj"], layer["tbox"])]


def test_a_target_gets_its_cell_then_left_then_down():
    assert built(2.25, 3.75, 2, 2) == [
        (2, 3, 0.25, 0.75, 2, 2),
        (1, 3, 1.25, 0.75, 2, 2),
        (2, 4, 0.25, -0.25, 2, 2),
    ]


def test_a_target_gets_its_cell_then_up_then_right():
    assert built(2.75, 3.25, 2, 2) == [
        (2, 3, 0.75, 0.25, 2, 2),
        (2, 2, 0.75, 1.25, 2, 2),
        (3, 3, -0.25, 0.25, 2, 2),
    ]


def test_a_centre_in_the_middle_of_a_cell_has_no_neighbour():
    assert built(2.5, 2.5, 2, 2) == [(2, 2, 0.5, 0.5, 2, 2)]


def test_a_centre_on_a_cell_border_meets_both_neighbours_one_being_its_own_cell():
    # 3 % 1 = 0 and (8 - 3) % 1 = 0: left is trunc(2.5), right is trunc(3.5)
    assert built(3, 2.5, 2, 2) == [(3, 2, 0, 0.5, 2, 2), (2, 2, 1, 0.5, 2, 2), (3, 2, 0, 0.5, 2, 2)]


def test_a_centre_in_the_first_cell_has_no_left_neighbour():
    assert built(0.25, 0.5, 2, 2) == [(0, 0, 0.25, 0.5, 2, 2)]
    # exactly 1 is not over 1; the distance to the right border is the integer 7
    assert built(1, 0.5, 2, 2) == [(1, 0, 0, 0.5, 2, 2), (1, 0, 0, 0.5, 2, 2)]


def test_a_centre_on_the_far_border_is_clamped_and_the_box_is_relative_to_the_clamped_cell():
    assert built(8, 4.5, 2, 2) == [(7, 4, 1, 0.5, 2, 2), (7, 4, 1, 0.5, 2, 2)]


def test_a_match_is_strictly_under_thr():
    assert built(2.5, 2.5, 8, 2) == []
    assert built(2.5, 2.5, 0.5, 2) == []
    assert len(built(2.5, 2.5, 7.5, 2)) == 1
    assert built(2.5, 2.5, 0, 2) == []  # no width: 1 / 0


def test_rows_are_anchor_major_inside_each_direction():
    targets = np.array([[1, 0, 0.5625, 0.5625, 0.25, 0.25], [0, 2, 0.28125, 0.3125, 0.25, 0.25]], dtype=np.float32)
    (layer,) = oracle.build_targets(targets, np.array([[[2, 2], [3, 3]]], dtype=np.float32), [(8, 8)], 4.0)
    # the first target is at 4.5, 4.5, the second at 2.25, 2.5
    assert layer["anchor"].tolist() == [0, 0, 1, 1, 0, 1]
    assert layer["image"].tolist() == [1, 0, 1, 0, 0, 0]
    assert layer["tcls"].tolist() == [0, 2, 0, 2, 2, 2]
    assert layer["gi"].tolist() == [4, 2, 4, 2, 1, 1]
    assert layer["anchor_wh"].tolist() == [[2, 2], [2, 2], [3, 3], [3, 3], [2, 2], [3, 3]]


def test_width_and_height_of_the_grid_are_not_mixed_up():
    target = np.array([[0, 0, 0.90625, 0.5, 0.125, 0.5]], dtype=np.float32)  # 14.5, 2 on a 16 x 4 grid
    (layer,) = oracle.build_targets(target, np.array([[[2, 2]]], dtype=np.float32), [(4, 16)], 4.0)
    assert layer["gi"].tolist() == [14, 14, 14]
    assert layer["gj"].tolist() == [2, 1, 2]
    assert layer["tbox"].tolist() == [[0.5, 0, 2, 2], [0.5, 1, 2, 2], [0.5, 0, 2, 2]]


@pytest.mark.parametrize("path", recordings("targets_*.npz"))
def test_targets_are_the_recorded_bits(path):
    data = np.load(path)
    anchors_grid = data["anchors_px"] / data["stride"].reshape(-1, 1, 1)
    shapes = [(int(shape[2]), int(shape[3])) for shape in data["shapes"]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers = oracle.build_targets(data["targets"], anchors_grid, shapes, float(data["anchor_t"]))
    for index, layer in enumerate(layers):
        assert_same(layer["tcls"], data[f"tcls_{index}"])
        assert_same(layer["tbox"], data[f"tbox_{index}"])
        assert_same(layer["anchor_wh"], data[f"anch_{index}"])
        indices = data[f"indices_{index}"]
        for row, name in enumerate(("image", "anchor", "gj", "gi")):
            assert_same(layer[name], indices[row])


# --- 7. losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("iou", 1 / 7), ("giou", 1 / 7 - 2 / 9), ("diou", 1 / 7 - 2 / 18), ("ciou", 1 / 7 - 2 / 18)],
)
def test_iou_family_by_hand(kind, expected):
    assert oracle.box_iou([0, 0, 2, 2], [1, 1, 3, 3], kind, "xyxy", eps=0) == pytest.approx(expected, abs=1e-15)
    assert oracle.box_iou([1, 1, 2, 2], [2, 2, 2, 2], kind, "xywh", eps=0) == pytest.approx(expected, abs=1e-15)


def test_iou_of_boxes_apart_is_zero_and_giou_is_negative():
    assert oracle.box_iou([0, 0, 1, 1], [3, 0, 4, 1], "iou", "xyxy") == 0
    assert oracle.box_iou([0, 0, 1, 1], [3, 0, 4, 1], "giou", "xyxy", eps=0) == -0.5  # hull 4, union 2
    assert oracle.box_iou([0, 0, 1, 1], [3, 3, 4, 4], "iou", "xyxy") == 0  # both overlaps negative


def test_ciou_by_hand():
    # IoU 1/2; centres 1/2 apart, hull 2 x 2; atan 2 - atan 1 = atan 1/3
    v = 4 / math.pi**2 * math.atan(1 / 3) ** 2
    expected = 0.5 - 0.25 / 8 - v * v / (v - 0.5 + 1)
    assert oracle.box_iou([0, 0, 2, 2], [0, 0, 2, 1], "ciou", "xyxy", eps=0) == pytest.approx(expected, abs=1e-15)
    alpha = oracle.ciou_alpha([0, 0, 2, 2], [0, 0, 2, 1], "xyxy", eps=0)
    assert alpha == pytest.approx(v / (v + 0.5), rel=1e-12)
    assert oracle.box_iou([0, 0, 2, 2], [0, 0, 2, 1], "ciou", "xyxy", alpha=0.0) == oracle.box_iou(
        [0, 0, 2, 2], [0, 0, 2, 1], "diou", "xyxy"
    )


def test_eps_by_hand():
    # eps = 1: union 7 + 1, hull 9 + 1, diagonal 18 + 1
    boxes = [0, 0, 2, 2], [1, 1, 3, 3]
    assert oracle.box_iou(*boxes, "iou", "xyxy", eps=1) == pytest.approx(1 / 8, abs=1e-15)
    assert oracle.box_iou(*boxes, "giou", "xyxy", eps=1) == pytest.approx(1 / 8 - (10 - 8) / 10, abs=1e-15)
    assert oracle.box_iou(*boxes, "diou", "xyxy", eps=1) == pytest.approx(1 / 8 - 2 / 19, abs=1e-15)


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_iou_family_is_the_recorded_one(kind):
    data = np.load(GOLDEN / "iou.npz")
    for box1, box2, recorded in zip(data["box1"], data["box2"], data[kind]):
        # abs: an IoU of boxes that are far from 0 and small cancels digits of their float32 corners
        assert float(oracle.box_iou(box1, box2, kind)) == pytest.approx(float(recorded), abs=FLOAT32_ROUNDING)


def test_ciou_of_corners_is_the_recorded_one():
    data = np.load(GOLDEN / "iou.npz")
    for box1, box2, recorded in zip(data["box1"], data["box2"], data["ciou_xyxy"]):
        corners = [np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) for x, y, w, h in (box1, box2)]
        assert float(oracle.box_iou(*corners, "ciou", "xyxy")) == pytest.approx(float(recorded), abs=FLOAT32_ROUNDING)


@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
def test_where_eps_is_added_is_decided_by_the_recorded_bits(kind):
    # 1e-7 drowns in the tolerance above; with the same operations in float32 the bits tell
    data = np.load(GOLDEN / "iou.npz")
    for box1, box2, recorded in zip(data["box1"], data["box2"], data[kind]):
        assert_same(oracle.box_iou(box1, box2, kind, dtype=np.float32), recorded)


def test_ciou_has_no_eps_in_its_angles_by_the_recorded_bits():
    # not all 200: the last bit of float32 atan is the library's own
    data = np.load(GOLDEN / "iou.npz")
    same = 0
    for box1, box2, recorded in zip(data["box1"], data["box2"], data["ciou"]):
        same += oracle.box_iou(box1, box2, "ciou", dtype=np.float32) == recorded
    assert same >= 196


def test_bce_by_hand():
    assert oracle.smooth_bce(0.1) == (0.95, 0.05)
    assert oracle.smooth_bce(0.0) == (1.0, 0.0)
    assert oracle.bce_with_logits([0.0], [1.0]) == pytest.approx(LN2)
    assert oracle.bce_with_logits([0.0], [1.0], pos_weight=2) == pytest.approx(2 * LN2)
    assert oracle.bce_with_logits([0.0], [0.0], pos_weight=2) == pytest.approx(LN2)
    assert oracle.bce_with_logits([math.log(3)], [1.0]) == pytest.approx(math.log(4 / 3))  # s = 3/4
    assert oracle.bce_with_logits([math.log(3)], [0.0]) == pytest.approx(math.log(4))
    assert oracle.bce_with_logits([1000.0, -1000.0], [1.0, 0.0], reduction="none").tolist() == [0, 0]
    assert oracle.bce_with_logits([1000.0, -1000.0], [0.0, 1.0], reduction="sum") == 2000
    assert oracle.bce_with_logits([1000.0, -1000.0], [0.0, 1.0]) == 1000


def test_bce_blur_by_hand():
    # s = 3/4, no object: exp(-0.25 / 0.0501)
    expected = math.log(4) * (1 - math.exp(-0.25 / 0.0501))
    assert oracle.bce_blur([math.log(3)], [0.0]) == pytest.approx(expected)


def test_focal_by_hand():
    x = math.log(3)  # s = 3/4
    assert oracle.focal([x], [1.0], gamma=2) == pytest.approx(math.log(4 / 3) * 0.25 / 16)
    assert oracle.focal([x], [0.0], gamma=2) == pytest.approx(math.log(4) * 0.75 * 9 / 16)
    assert oracle.qfocal([x], [1.0], gamma=2) == pytest.approx(math.log(4 / 3) * 0.25 / 16)
    # soft target 1/2: p_t = 1/2, |y - s| = 1/4, alpha factor 1/2
    bce = (math.log(4 / 3) + math.log(4)) / 2
    assert oracle.focal([x], [0.5], gamma=2) == pytest.approx(bce * 0.5 / 4)
    assert oracle.qfocal([x], [0.5], gamma=2) == pytest.approx(bce * 0.5 / 16)


def test_derivative_by_hand():
    assert oracle.derivative(lambda x: x**4, 2.0) == pytest.approx(32, rel=1e-10)
    gradient = oracle.loss_gradient(oracle.bce_term, [[0.0, math.log(3)]], [[1.0, 0.0]])
    assert gradient.tolist()[0] == pytest.approx([-0.25, 0.375], rel=1e-10)  # (s - y) / 2


# The recordings do not name gamma and alpha: those of focal_sum and qfocal_none were found by fitting them.
RECORDED_LOSSES = {
    "blur": (oracle.bce_blur, oracle.bce_blur_term, {"alpha": 0.05}, "mean"),
    "focal": (oracle.focal, oracle.focal_term, {"gamma": 1.5, "alpha": 0.25}, "mean"),
    "qfocal": (oracle.qfocal, oracle.qfocal_term, {"gamma": 1.5, "alpha": 0.25}, "mean"),
    "focal_sum": (oracle.focal, oracle.focal_term, {"gamma": 2.0, "alpha": 0.5}, "sum"),
    "qfocal_none": (oracle.qfocal, oracle.qfocal_term, {"gamma": 1.0, "alpha": 0.75}, "none"),
}


@pytest.mark.parametrize("name", RECORDED_LOSSES)
def test_losses_are_the_recorded_ones(name):
    data = np.load(GOLDEN / "losses.npz")
    loss, term, options, reduction = RECORDED_LOSSES[name]
    value = loss(data["pred"], data["true"], reduction=reduction, **options)
    gradient = oracle.loss_gradient(lambda x, y: term(x, y, **options), data["pred"], data["true"], reduction)
    # atol: single entries where y - s is near 0 keep few of their float32 digits
    np.testing.assert_allclose(value, data[name], rtol=FLOAT32_ROUNDING, atol=1e-9)
    # atol: s - y and 1 - p_t cancel digits in float32; blur divides what is left by 0.0501, 20 times as much
    scale = float(np.abs(data[f"{name}_grad"]).max()) * (5e-6 if name == "blur" else 1e-6)
    np.testing.assert_allclose(gradient, data[f"{name}_grad"], rtol=FLOAT32_ROUNDING, atol=scale)


ONE_CELL = {"anchors_grid": np.array([[[1, 1]]], dtype=np.float32), "hyp": HYP}


def test_compute_loss_of_zero_logits_by_hand():
    # the box is exactly right, so lbox is 0 and the objectness target is 1 (each but for eps)
    p = [np.zeros((1, 1, 1, 1, 7))]
    targets = np.array([[0, 1, 0.5, 0.5, 1, 1]], dtype=np.float32)
    loss, items, balance = oracle.compute_loss(p, targets, nc=2, **ONE_CELL)
    assert items == pytest.approx([0, 4 * LN2, 0.5 * LN2], abs=1e-8)
    assert loss == pytest.approx(4.5 * LN2, abs=1e-7)
    assert balance == [4.0, 1.0, 0.25, 0.06, 0.02]


def test_compute_loss_is_times_the_batch_and_its_items_are_not():
    p = [np.zeros((3, 1, 1, 1, 7))]
    targets = np.array([[image, 1, 0.5, 0.5, 1, 1] for image in range(3)], dtype=np.float32)
    loss, items, _ = oracle.compute_loss(p, targets, nc=2, **ONE_CELL)
    assert items == pytest.approx([0, 4 * LN2, 0.5 * LN2], abs=1e-8)
    assert loss == pytest.approx(3 * sum(items), rel=1e-15)


def test_compute_loss_without_targets_is_objectness_alone():
    p = [np.full((1, 1, 1, 1, 7), math.log(3))]
    _, items, _ = oracle.compute_loss(p, np.zeros((0, 6), dtype=np.float32), nc=2, **ONE_CELL)
    assert items == pytest.approx([0, 4 * math.log(4), 0])


def objectness_of_two(first_side, second_side, sort_obj_iou=False, gr=1.0):
    """Return the objectness target of a cell that two square targets share, computed from the loss."""
    logit = 2.0
    p = [np.zeros((1, 1, 1, 1, 6))]
    p[0][..., 4] = logit
    targets = np.array([[0, 0, 0.5, 0.5, s, s] for s in (first_side, second_side)], dtype=np.float32)
    _, items, _ = oracle.compute_loss(p, targets, nc=1, sort_obj_iou=sort_obj_iou, gr=gr, **ONE_CELL)
    assert items[2] == 0  # one class: no class loss
    return (oracle.softplus(logit) - items[1] / 4) / logit


def test_the_last_row_of_a_cell_wins():
    # same centre: CIoU is the IoU of the areas, 0.5^2 and 1
    assert objectness_of_two(1.0, 0.5) == pytest.approx(0.25, abs=1e-6)
    assert objectness_of_two(0.5, 1.0) == pytest.approx(1.0, abs=1e-6)


def test_the_largest_iou_of_a_cell_wins_when_sorted():
    assert objectness_of_two(1.0, 0.5, sort_obj_iou=True) == pytest.approx(1.0, abs=1e-6)
    assert objectness_of_two(0.5, 1.0, sort_obj_iou=True) == pytest.approx(1.0, abs=1e-6)


def test_gr_blends_the_objectness_target_with_one():
    assert objectness_of_two(1.0, 0.5, gr=0.5) == pytest.approx(0.625, abs=1e-6)
    assert objectness_of_two(1.0, 0.5, gr=0.0) == pytest.approx(1.0, abs=1e-6)


def test_autobalance_by_hand():
    p = [np.zeros((1, 1, size, size, 6)) for size in (4, 2, 1)]
    anchors = np.ones((3, 1, 2), dtype=np.float32)
    nothing = np.zeros((0, 6), dtype=np.float32)
    _, items, balance = oracle.compute_loss(p, nothing, anchors, HYP, 1, [8, 16, 32], autobalance=True)
    assert items[1] == pytest.approx(5.4 * LN2)  # with the weights from before
    moved = [value * 0.9999 + 0.0001 / LN2 for value in (4, 1, 0.4)]
    assert balance == pytest.approx([value / moved[1] for value in moved], rel=1e-14)
    again = oracle.compute_loss(p, nothing, anchors, HYP, 1, balance=balance)
    assert again[1][1] == pytest.approx(sum(balance) * LN2)


@pytest.mark.parametrize("path", recordings("loss_*.npz"))
def test_compute_loss_is_the_recorded_one(path):
    data = np.load(path)
    hyp, options = json.loads(str(data["hyp"])), json.loads(str(data["options"]))
    layers = len(data["stride"])
    p = [data[f"p_{layer}"] for layer in range(layers)]
    anchors_grid = data["anchors_px"] / data["stride"].reshape(-1, 1, 1)
    nc = int(data["nc"])
    loss, items, balance = oracle.compute_loss(p, data["targets"], anchors_grid, hyp, nc, data["stride"], **options)
    np.testing.assert_allclose([loss], data["loss"], rtol=FLOAT32_ROUNDING)
    np.testing.assert_allclose(items, data["items"], rtol=FLOAT32_ROUNDING)
    np.testing.assert_allclose(balance, data["balance"], rtol=1e-9)  # 1e-4 / obj, of a float32 obj

    options.pop("autobalance", None)  # moves the weights of the next step only
    kinks = []
    gradients = oracle.compute_loss_gradient(p, data["targets"], anchors_grid, hyp, nc, kinks=kinks, **options)
    assert not kinks
    for layer, gradient in enumerate(gradients):
        recorded = data[f"grad_{layer}"]
        scale = float(np.abs(recorded).max())
        np.testing.assert_allclose(gradient, recorded, rtol=FLOAT32_ROUNDING, atol=5e-7 * scale)


# --- 8. YOLOv2 ----------------------------------------------------------------------------------------------


def rows_of(targets, image=0):
    """Return {row number: values} of the rows that are not all zero."""
    return {int(r): targets[image, r].tolist() for r in np.flatnonzero(targets[image].any(axis=-1))}


def test_yolov2_positive_by_hand():
    # 416 / 32 = 13 cells; the centre at 6.5, 3.25, the size 4 x 2 cells
    label = [7, 6.5 / 13, 3.25 / 13, 4 / 13, 2 / 13]
    targets, collisions = oracle.yolov2_targets([[], [label]], [[1, 1], [2, 2]], 416)
    assert targets.shape == (2, 13 * 13 * 2, 11)
    assert collisions == 0
    assert rows_of(targets, 0) == {}
    ((row, values),) = rows_of(targets, 1).items()
    assert row == (3 * 13 + 6) * 2 + 1
    expected = [1, 7, 0.5, 0.25, LN2, 0, 2 - 8 / 169, 4.5 / 13, 2.25 / 13, 8.5 / 13, 4.25 / 13]
    assert values == pytest.approx(expected, abs=1e-12)


def test_yolov2_best_is_positive_though_none_is_over_the_threshold():
    # IoU 2/8 and 4/8: 0.5 is not over 0.5
    targets, _ = oracle.yolov2_targets([[[0, 0.5, 0.5, 0.5, 0.25]]], [[1, 2], [2, 2]], 256)
    assert [values[0] for values in rows_of(targets).values()] == [1]


def test_yolov2_others_over_the_threshold_are_ignored():
    # size 4 x 4 cells; IoU 1, 12/16, 8/16, 4/16
    label = [2, 0.5, 0.5, 0.5, 0.5]
    targets, collisions = oracle.yolov2_targets([[label]], [[4, 3], [4, 4], [2, 4], [2, 2]], 256)
    rows = rows_of(targets)
    first = (4 * 8 + 4) * 4
    assert sorted(rows) == [first, first + 1]
    assert rows[first] == [-1, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0]
    assert rows[first + 1][:7] == [1, 2, 0, 0, 0, 0, 1.75]
    assert collisions == 0


def test_yolov2_first_of_equal_anchors_is_best():
    targets, _ = oracle.yolov2_targets([[[0, 0.5, 0.5, 0.25, 0.25]]], [[2, 2], [2, 2]], 256)
    assert [values[0] for values in rows_of(targets).values()] == [1, -1]


@pytest.mark.parametrize(
    "label",
    [
        [0, 0.5, 0.5, 0.00009, 0.5],  # too narrow
        [0, 0.5, 0.5, 0.5, 0.00009],  # too low
        [0, 1.0, 0.5, 0.5, 0.5],  # cell 8 of 8
        [0, 0.5, 1.0, 0.5, 0.5],
        [0, -0.01, 0.5, 0.5, 0.5],  # cell -1
    ],
)
def test_yolov2_skips_slivers_and_cells_outside(label):
    targets, collisions = oracle.yolov2_targets([[label]], [[4, 4]], 256)
    assert rows_of(targets) == {}
    assert collisions == 0


def test_yolov2_input_need_not_be_square():
    targets, _ = oracle.yolov2_targets([[[0, 0.75, 0.5, 0.25, 0.5]]], [[2, 2]], (256, 128))
    assert targets.shape == (1, 8 * 4, 11)
    assert list(rows_of(targets)) == [2 * 8 + 6]


def test_yolov2_later_object_wins_and_is_counted():
    here = [0.5, 0.5, 0.5, 0.5]
    targets, collisions = oracle.yolov2_targets([[[1, *here], [2, *here]], [[3, *here]]], [[4, 4]], 256)
    assert collisions == 1
    assert [values[1] for values in rows_of(targets, 0).values()] == [2]
    assert [values[1] for values in rows_of(targets, 1).values()] == [3]


def test_yolov2_a_positive_over_an_ignored_row_is_no_collision():
    # 4 x 4 makes 4 x 3 ignored; then a 4 x 3 object takes it, and ignores 4 x 4 in turn
    labels = [[[1, 0.5, 0.5, 0.5, 0.5], [2, 0.5, 0.5, 0.5, 0.375]]]
    targets, collisions = oracle.yolov2_targets(labels, [[4, 3], [4, 4]], 256)
    assert [values[:2] for values in rows_of(targets).values()] == [[1, 2], [-1, 0]]
    assert collisions == 1
    targets, collisions = oracle.yolov2_targets(labels, [[4, 3], [4, 4]], 256, ignored_erases_positive=False)
    assert [values[:2] for values in rows_of(targets).values()] == [[1, 2], [1, 1]]
    assert collisions == 0


def test_yolov2_loss_by_hand():
    # one positive of weight 1.5 and class 1, one ignored, two negatives; two images
    targets = np.zeros((2, 2, 11))
    targets[0, 0] = [1, 1, 0.5, 0, 1, -1, 1.5, 0, 0, 0, 0]
    targets[0, 1, 0] = targets[0, 1, 6] = -1
    conf = np.full((2, 2), math.log(3))  # 3/4
    box = np.zeros((2, 2, 4))
    iou = np.full((2, 2), 0.5)
    loss = oracle.yolov2_loss(conf, np.zeros((2, 2, 4)), box, targets, iou=iou)
    expected = {
        "conf": (5 / 16 + 2 * 9 / 16) / 2,
        "cls": math.log(4) / 2,
        "xy": 1.5 * 2 * LN2 / 2,
        "wh": 1.5 * 2 / 2,
        "iou": 0.125 / 2,
    }
    expected["total"] = sum(expected.values())
    assert loss == pytest.approx(expected)
    assert oracle.yolov2_loss(conf, np.zeros((2, 2, 4)), box, targets)["iou"] == 0


def test_yolov2_loss_picks_the_class_and_weighs_confidence():
    targets = np.zeros((1, 2, 11))
    targets[0, 0] = [1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    cls = np.zeros((1, 2, 3))
    cls[0, 0, 2] = math.log(2)  # probabilities 1/4, 1/4, 1/2
    loss = oracle.yolov2_loss(np.zeros((1, 2)), cls, np.zeros((1, 2, 4)), targets, pos_weight=8, neg_weight=12)
    assert loss["cls"] == pytest.approx(LN2)
    assert loss["conf"] == pytest.approx(8 / 4 + 12 / 4)


def test_smooth_l1_by_hand():
    assert [oracle.smooth_l1(x) for x in (0, 0.5, -0.5, 1, -3)] == [0, 0.125, 0.125, 0.5, 2.5]
