from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import oracle

from anchorlib import training
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
    assert drop_in.bbox_iou(many[:0], many[:0]).shape == (0, 1)


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
