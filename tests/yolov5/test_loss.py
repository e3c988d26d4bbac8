from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import oracle
from helpers.loss_cases import HYP, model_of, small_case

from anchorlib import training
from anchorlib.errors import BadValueError, ModelError, ShapeError
from anchorlib.yolov5 import loss as drop_in

RECORDED = np.load(Path(__file__).parent.parent / "data/golden/iou.npz")
KINDS = {"iou": {}, "giou": {"GIoU": True}, "diou": {"DIoU": True}, "ciou": {"CIoU": True}}


@pytest.mark.parametrize("kind", KINDS)
def test_bbox_iou_meets_the_recordings(backend, kind):
    result = drop_in.bbox_iou(backend.array(RECORDED["box1"]), backend.array(RECORDED["box2"]), **KINDS[kind])
    assert backend.host(result).shape == (len(RECORDED["box1"]), 1)
    np.testing.assert_allclose(backend.host(result)[:, 0], RECORDED[kind].reshape(-1), rtol=2e-6, atol=1e-7)


def corners(boxes):
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)


def test_bbox_iou_of_corners_meets_the_recordings(backend):
    one, two = (backend.array(corners(RECORDED[name])) for name in ("box1", "box2"))
    result = backend.host(drop_in.bbox_iou(one, two, xywh=False, CIoU=True))
    np.testing.assert_allclose(result[:, 0], RECORDED["ciou_xyxy"].reshape(-1), rtol=1e-4, atol=1e-5)


def test_bbox_iou_of_one_box_and_many(backend):
    many = backend.array(RECORDED["box2"][:5])
    one = backend.array(RECORDED["box1"][:1])
    repeated = backend.array(np.repeat(RECORDED["box1"][:1], 5, axis=0))
    expected = backend.host(drop_in.bbox_iou(repeated, many, CIoU=True))
    assert np.array_equal(backend.host(drop_in.bbox_iou(one, many, CIoU=True)), expected)
    assert drop_in.bbox_iou(many, one).shape == (5, 1)
    assert drop_in.bbox_iou(many[:0, :], many[:0, :]).shape == (0, 1)


@pytest.mark.parametrize("x1y1x2y2", [True, False])
def test_bbox_iou_in_the_form_of_older_forks(backend, x1y1x2y2):
    one, two = RECORDED["box1"][:6], RECORDED["box2"][:6]
    expected = [oracle.box_iou(a, b, "giou") for a, b in zip(one.tolist(), two.tolist())]
    if x1y1x2y2:
        one, two = corners(one), corners(two)
    columns = backend.array(np.ascontiguousarray(one.T))
    result = drop_in.bbox_iou(columns, backend.array(two), x1y1x2y2=x1y1x2y2, GIoU=True)
    np.testing.assert_allclose(backend.host(result), expected, rtol=1e-3, atol=1e-5)
    single = drop_in.bbox_iou(backend.array(one[0]), backend.array(two), x1y1x2y2=x1y1x2y2, GIoU=True)
    assert single.shape == (6,)
    assert backend.host(single)[0] == pytest.approx(backend.host(result)[0], rel=1e-5)


def test_bbox_iou_takes_the_flag_of_one_yolov5(backend):
    one, two = backend.array(RECORDED["box1"]), backend.array(RECORDED["box2"])
    plain = backend.host(drop_in.bbox_iou(one, two, CIoU=True))
    assert np.array_equal(backend.host(drop_in.bbox_iou(one, two, CIoU=True, bbox_iou_optim=True, eps=1e-7)), plain)


@pytest.mark.parametrize(
    ("shape1", "shape2", "expected"),
    [
        ((1, 4), (2, 3, 4), (2, 3, 1)),
        ((2, 3, 4), (3, 4), (2, 3, 1)),
        ((2, 1, 4), (1, 3, 4), (2, 3, 1)),
        ((4,), (5, 4), (5, 1)),
        ((5, 4), (4,), (5, 1)),
        ((4,), (4,), (1,)),
        ((0, 4), (1, 4), (0, 1)),
    ],
)
def test_bbox_iou_takes_boxes_of_any_shapes_that_broadcast(backend, shape1, shape2, expected):
    rng = np.random.default_rng(0)
    one, two = (rng.uniform(1, 5, shape).astype(np.float32) for shape in (shape1, shape2))
    result = backend.host(drop_in.bbox_iou(backend.array(one), backend.array(two), CIoU=True))
    assert result.shape == expected
    pairs = [np.broadcast_to(boxes, (*np.broadcast_shapes(shape1, shape2),)).reshape(-1, 4) for boxes in (one, two)]
    wanted = [oracle.box_iou(a, b, "ciou") for a, b in zip(*(boxes.tolist() for boxes in pairs))]
    np.testing.assert_allclose(result.reshape(-1), wanted, rtol=1e-5, atol=1e-6)


def test_bbox_iou_keeps_the_gradient_of_one_box_that_is_repeated(grad_backend):
    one, two = grad_backend.differentiable(RECORDED["box1"][:1]), grad_backend.array(RECORDED["box2"][:6])
    repeated = grad_backend.differentiable(np.repeat(RECORDED["box1"][:1], 6, axis=0))
    (gradient,) = grad_backend.gradients(drop_in.bbox_iou(one, two, CIoU=True), [one])
    (wanted,) = grad_backend.gradients(drop_in.bbox_iou(repeated, two, CIoU=True), [repeated])
    np.testing.assert_allclose(gradient[0], wanted.sum(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("third", "is_corners"), [((), True), ((True,), True), ((False,), False)])
def test_bbox_iou_takes_positional_calls_of_older_forks(backend, third, is_corners):
    one, two = RECORDED["box1"][:6], RECORDED["box2"][:6]
    if is_corners:
        one, two = corners(one), corners(two)
    columns = backend.array(np.ascontiguousarray(one.T))
    result = drop_in.bbox_iou(columns, backend.array(two), *third, CIoU=True)
    assert result.shape == (6,)
    wanted = drop_in.bbox_iou(backend.array(one), backend.array(two), not is_corners, CIoU=True)
    assert np.array_equal(backend.host(result), backend.host(wanted)[:, 0])


@pytest.mark.parametrize(("shape1", "shape2"), [((3, 4), (5, 4)), ((5, 3), (5, 3)), ((), (5, 4)), ((4, 5), (6, 4))])
def test_bbox_iou_refuses_other_shapes(backend, shape1, shape2):
    with pytest.raises(ShapeError, match="that broadcast, got"):
        drop_in.bbox_iou(backend.array(np.ones(shape1)), backend.array(np.ones(shape2)))


def test_compute_loss_is_a_function_of_the_model_with_four_items(backend):
    anchors, strides, p, targets = small_case(dtype=np.float32)
    model = model_of(backend, anchors, strides, 3)
    model.gr = 0.5
    p, targets = [backend.array(layer) for layer in p], backend.array(targets)
    loss, items = drop_in.compute_loss(p, targets, model)
    as_object = drop_in.ComputeLoss(model, four_items=True)
    assert as_object.gr == 0.5
    assert backend.host(loss) == backend.host(as_object(p, targets)[0])
    box, obj, cls, total = backend.host(items)
    assert total == pytest.approx(box + obj + cls, rel=1e-6)
    assert float(backend.host(loss)[0]) == pytest.approx(total * 2, rel=1e-6)
    model.gr = 1.0
    assert backend.host(drop_in.compute_loss(p, targets, model)[1])[1] != obj


#: Preset, number of layers, objectness weights, and what multiplies the gains box, obj and cls.
RECIPES = [
    ("yolov5-4.0", 2, (4.0, 1.0), (1.5, 1.0, 1.5)),
    ("yolov5-4.0", 3, (4.0, 1.0, 0.3), (1.0, 1.0, 1.0)),
    ("yolov5-4.0", 4, (4.0, 1.0, 0.3, 0.1), (0.75, 1.0, 0.75)),
    ("yolor", 3, (4.0, 1.0, 0.4), (1.0, 1.0, 1.0)),
    ("yolor", 4, (4.0, 1.0, 0.4, 0.1), (0.75, 1.05, 0.75)),
    ("ScaledYOLOv4", 4, (4.0, 1.0, 0.4, 0.1), (0.75, 1.05, 0.75)),
]


@pytest.mark.parametrize(("preset", "n_layers", "balance", "factors"), RECIPES)
def test_a_preset_is_the_recipe_of_its_fork(backend, preset, n_layers, balance, factors):
    rng = np.random.default_rng(1)
    _, _, _, targets = small_case(dtype=np.float32)
    strides = (8, 16, 32, 64)[:n_layers]
    anchors = np.exp(rng.normal(0.6, 0.5, (n_layers, 2, 2))).astype(np.float32)
    p = [rng.normal(0, 1, (2, 2, 64 // s, 64 // s, 8)).astype(np.float32) for s in strides]
    hyp = {**HYP, **{key: HYP[key] * factor for key, factor in zip(("box", "obj", "cls"), factors)}}
    loss, items, _ = oracle.compute_loss(p, targets, anchors, hyp, 3, balance=balance)
    compute_loss = drop_in.ComputeLoss(model_of(backend, anchors, strides, 3), preset=preset)
    found, found_items = compute_loss([backend.array(layer) for layer in p], backend.array(targets))
    np.testing.assert_allclose(backend.host(found), [loss], rtol=2e-6)
    np.testing.assert_allclose(backend.host(found_items), items, rtol=2e-6)


def test_a_preset_that_is_not_known_is_refused(backend):
    anchors, strides, _, _ = small_case()
    with pytest.raises(BadValueError, match=r"preset must be one of yolov5-4\.0, yolor, ScaledYOLOv4, got 'v4'"):
        drop_in.ComputeLoss(model_of(backend, anchors, strides, 3), preset="v4")
    five = np.ones((5, 2, 2), np.float32)
    with pytest.raises(ModelError, match="balance of the layers of yolor is known for up to 4, got 5"):
        drop_in.ComputeLoss(model_of(backend, five, (8, 16, 32, 64, 128), 3), preset="yolor")


def test_wh_iou_known_values(backend):
    result = drop_in.wh_iou(backend.array([[10.0, 20.0]]), backend.array([[10.0, 10.0], [20.0, 40.0]]))
    assert backend.host(result)[0] == pytest.approx([0.5, 0.25], rel=1e-6)
    zero = backend.array([[0.0, 0.0]])
    assert backend.host(drop_in.wh_iou(zero, zero)) == 0  # eps keeps it finite


def test_the_names_are_those_of_the_training_package():
    assert drop_in.smooth_BCE is drop_in.smooth_bce is training.smooth_bce
    for name in ("ComputeLoss", "FocalLoss", "QFocalLoss", "BCEBlurWithLogitsLoss"):
        assert getattr(drop_in, name) is getattr(training, name)


def test_build_targets_as_a_function_of_the_model(backend):
    anchors = np.array([[[2.0, 2.0]]], np.float32)
    detect = SimpleNamespace(anchors=backend.array(anchors), stride=[8.0], na=1, nl=1, nc=2)
    hyp = dict.fromkeys(("cls_pw", "obj_pw", "fl_gamma", "box", "obj", "cls"), 1.0)
    model = SimpleNamespace(model=[detect], hyp={**hyp, "anchor_t": 4.0})
    targets = backend.array([[0, 1, 0.625, 0.625, 0.5, 0.5]], np.float32)
    p = [backend.array(np.zeros((1, 1, 4, 4, 7), np.float32))]
    tcls, tbox, indices, anch = drop_in.build_targets(p, targets, model)
    assert backend.host(tcls[0]).tolist() == [1]
    assert backend.host(tbox[0]).tolist() == [[0.5, 0.5, 2.0, 2.0]]
    assert [backend.host(column).tolist() for column in indices[0]] == [[0], [0], [2], [2]]
    assert backend.host(anch[0]).tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_takes_the_loss_of_a_framework(grad_backend, gamma):
    framework = __import__(grad_backend.name)
    bce = framework.nn.BCEWithLogitsLoss()
    pred, true = np.linspace(-3, 3, 7), np.linspace(0, 1, 7)
    focal = drop_in.FocalLoss(bce, gamma)
    result = grad_backend.host(focal(grad_backend.array(pred), grad_backend.array(true)))
    assert float(result) == pytest.approx(oracle.focal(pred, true, gamma), rel=1e-9)
    assert bce.reduction == "none"
