"""What forks hand over by mistake is named: wrong shapes, units, box formats, and the output of eval mode."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.loss_cases import HYP, model_of, small_case

from anchorlib import build_targets
from anchorlib.errors import AnchorlibError, ArrayTypeError, BadValueError, ModelError, ShapeError
from anchorlib.training import ComputeLoss
from anchorlib.yolov5 import segment
from anchorlib.yolov7 import ComputeLossOTA

COCO = [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
GRIDS = [(80, 80), (40, 40), (20, 20)]
BOX = (0.5, 0.5, 0.25, 0.25)


def rows(*boxes):
    return np.asarray([[i % 2, 0, *box] for i, box in enumerate(boxes)], np.float32)


def case_of(backend, n=12, **options):
    anchors, strides, p, targets = small_case(n, dtype=np.float32)
    compute_loss = ComputeLoss(model_of(backend, anchors, strides, 3), **options)
    return compute_loss, [backend.array(layer) for layer in p], targets


@pytest.mark.parametrize("shape", [(0,), (3, 5), (3, 7), (3, 16), (6,), (1, 3, 6)])
def test_targets_of_another_shape_are_refused_with_the_shape_wanted(backend, shape):
    compute_loss, p, _ = case_of(backend)
    targets = backend.array(np.zeros(shape, np.float32))
    message = r"targets must have shape \(T, 6\), got .* The columns are image, class, cx, cy, w, h"
    for call in (compute_loss, compute_loss.build_targets):
        with pytest.raises(ShapeError, match=message):
            call(p, targets)
    with pytest.raises(ShapeError, match=message):
        build_targets(targets, backend.array(np.ones((1, 1, 2), np.float32)), [(4, 4)])


def test_the_output_of_eval_mode_is_named(backend):
    anchors, strides, p, targets = small_case(dtype=np.float32)
    model, p, targets = model_of(backend, anchors, strides, 3), [backend.array(x) for x in p], backend.array(targets)
    images = backend.array(np.zeros((2, 3, 64, 64), np.float32))
    predictions = backend.array(np.zeros((2, 168, 8), np.float32))
    plain, ota = ComputeLoss(model), ComputeLossOTA(model)
    for output in ((predictions, p), [predictions, p], (predictions, tuple(p))):
        for call in (lambda x: plain(x, targets), lambda x: plain.build_targets(x, targets)):
            with pytest.raises(ArrayTypeError, match="pass the list of layers"):
                call(output)
        for call in (ota, ota.build_targets):
            with pytest.raises(ArrayTypeError, match="pass the list of layers"):
                call(output, targets, images)
    plain(tuple(p), targets)  # a tuple of layers is fine


def test_the_output_of_a_segmentation_model_in_eval_mode_is_named(backend):
    anchors, strides, p, targets = small_case(dtype=np.float32)
    model = model_of(backend, anchors, strides, 1)
    model.model[-1].nm = 2  # 5 + 1 + 2 columns
    compute_loss, p = segment.ComputeLoss(model), [backend.array(layer) for layer in p]
    proto = backend.array(np.zeros((2, 2, 16, 16), np.float32))
    masks, targets = backend.array(np.zeros((12, 16, 16), np.float32)), backend.array(targets * [1, 0, 1, 1, 1, 1])
    with pytest.raises(ShapeError, match=r"preds must be \(layers, proto\), got 3 entries"):
        compute_loss((p[0], proto, p), targets, masks)
    with pytest.raises(ArrayTypeError, match="pass the list of layers"):
        compute_loss(([p[0], p], proto), targets, masks)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([BOX, (1.01, 0.5, 0.1, 0.1)], r"\[0, 1\] as cx \(column 2\), got 1.01 in row 1.*divide them by the width"),
        ([BOX, BOX, (0.5, -0.01, 0.1, 0.1)], r"\[0, 1\] as cy \(column 3\), got -0.01 in row 2"),
        ([BOX, (0.5, 0.5, 1.5, 0.5)], r"\(0, 1\] as w \(column 4\), got 1.5 in row 1"),
        ([BOX, (0.5, 0.5, 0.5, 0.0)], r"\(0, 1\] as h \(column 5\), got 0 in row 1"),
        ([(320, 240, 100, 50)], r"got 320 in row 0.*If the boxes are in pixels"),
        ([(0.1, 0.1, 0.15, 0.2), (0.5, 0.6, 0.9, 0.95)], r"got row 1: .*look like corners x1, y1, x2, y2"),
        ([(0.1, 0.1, 0.6, 0.8)], r"got row 0: .*look like corners"),
    ],
)
def test_validate_names_the_row_of_a_box_that_is_not_in_the_image(backend, boxes, message):
    compute_loss, p, _ = case_of(backend, validate=True)
    with pytest.raises(BadValueError, match=message):
        compute_loss(p, backend.array(rows(*boxes)))
    with pytest.raises(BadValueError, match=message):
        build_targets(
            backend.array(rows(*boxes)), backend.array(np.ones((1, 1, 2), np.float32)), [(4, 4)], validate=True
        )
    case_of(backend)[0](p, backend.array(rows(*boxes)))  # without validate they are used as they are


@pytest.mark.parametrize(
    "boxes",
    [
        [(0.0, 0.0, 1.0, 1.0), BOX],  # half of it outside, but BOX is wider than its centre is from the left
        [(0.5, 0.5, 1.0, 1.0)],  # the whole image
        [(0.4, 0.4, 0.8, 0.805)],  # a rounded label reaches beyond the image by 0.0025
        [],
    ],
)
def test_validate_takes_boxes_that_may_be_right(backend, boxes):
    compute_loss, p, _ = case_of(backend, validate=True)
    compute_loss(p, backend.array(rows(*boxes).reshape(-1, 6)))


@pytest.mark.parametrize("listed", [False, True])
def test_validate_names_the_unit_of_anchors_in_pixels(backend, listed):
    targets, pixels = backend.array(rows(BOX)), np.asarray(COCO, np.float32)

    def build(anchors, **options):
        layers = [backend.array(layer) for layer in anchors] if listed else backend.array(anchors)
        return build_targets(targets, layers, GRIDS, **options)

    with pytest.raises(BadValueError, match=r"anchors must be in grid units .* in layer 2, whose grid has 20 x 20"):
        build(pixels, validate=True)
    build(pixels)
    build(pixels / np.asarray([8, 16, 32], np.float32)[:, None, None], validate=True)


def test_compute_loss_names_the_unit_of_anchors_in_pixels(backend):
    pixels = np.asarray(COCO, np.float32)
    p = [backend.array(np.zeros((1, 3, *grid, 8), np.float32)) for grid in GRIDS]
    compute_loss = ComputeLoss(model_of(backend, pixels, (8, 16, 32), 3), validate=True)
    with pytest.raises(BadValueError, match="divide them by the stride"):
        compute_loss(p, backend.array(rows(BOX)))


class Hyperparameters:
    def __init__(self, **values):
        self.__dict__.update(values)


@pytest.mark.parametrize("kind", [SimpleNamespace, Hyperparameters])
def test_hyperparameters_may_be_a_namespace(backend, kind):
    anchors, strides, p, targets = small_case(dtype=np.float32)
    model, p, targets = model_of(backend, anchors, strides, 3), [backend.array(x) for x in p], backend.array(targets)
    wanted = backend.host(ComputeLoss(model)(p, targets)[1])
    model.hyp = kind(**HYP)
    compute_loss = ComputeLoss(model)
    assert np.array_equal(backend.host(compute_loss(p, targets)[1]), wanted)
    model.hyp.box *= 2  # a change is seen, as that of a dict is
    assert backend.host(compute_loss(p, targets)[1])[0] == pytest.approx(wanted[0] * 2)


@pytest.mark.parametrize(
    ("hyp", "message"),
    [
        (3, "model.hyp must be a dict or a namespace of hyperparameters, got int"),
        (SimpleNamespace(box=1.0), "model.hyp must have cls_pw, obj_pw"),
        ({**{key: HYP[key] for key in HYP if key != "box"}, "giou": 0.05}, r"hyp\['box'\] = hyp\['giou'\]"),
    ],
)
def test_hyperparameters_that_are_missing_are_named(backend, hyp, message):
    anchors, strides, _, _ = small_case()
    model = model_of(backend, anchors, strides, 3)
    model.hyp = hyp
    with pytest.raises(ModelError, match=message):
        ComputeLoss(model)


def test_hyp_and_gr_are_read_from_the_model_inside_a_parallel_one(backend):
    anchors, strides, _, _ = small_case()
    inner = model_of(backend, anchors, strides, 3)
    inner.gr = 0.25
    assert ComputeLoss(SimpleNamespace(module=inner)).gr == 0.25
    assert ComputeLoss(SimpleNamespace(module=inner, gr=0.5)).gr == 0.5


def test_no_message_has_two_full_stops(backend):
    compute_loss, p, targets = case_of(backend, validate=True)
    calls = [
        lambda: compute_loss(p[:2], backend.array(targets)),
        lambda: compute_loss([p[0], p], backend.array(targets)),
        lambda: compute_loss(p, backend.array(targets[:, :5])),
        lambda: compute_loss(p, backend.array(rows((2, 2, 2, 2)))),
        lambda: compute_loss(p, [1.0]),
        lambda: ComputeLoss(SimpleNamespace()),
        lambda: ComputeLoss(SimpleNamespace(model=[SimpleNamespace()])),
    ]
    for call in calls:
        with pytest.raises(AnchorlibError) as error:
            call()
        assert ".." not in str(error.value)
