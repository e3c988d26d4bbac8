"""Test the sentences on what other anchors gain, and on what looks wrong with anchors."""

import numpy as np
import pytest

from anchorlib.metrics import AnchorScore, SizeTable
from anchorlib.reporting.advice import (
    describe_gain,
    describe_other_size,
    describe_unit,
    describe_unused,
    is_worth_changing,
)
from anchorlib.reporting.report import LayerUse

COCO = np.asarray(
    [[10, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119], [116, 90], [156, 198], [373, 326]], np.float32
)
LAYERS = [COCO[:3], COCO[3:6], COCO[6:]]


def score_of(bpr, fitness):
    return AnchorScore(bpr, 1.0, fitness, 0.5, 0.5, 1000)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            (0.64, 0.41),
            (1.0, 0.9),
            "recall 0.6400 -> 1.0000 (360 more boxes matched, 36.0%), fitness 0.4100 -> 0.9000. Worth a change.",
        ),
        (
            (0.99, 0.7),
            (0.9999, 0.7),
            "recall 0.9900 -> 0.9999 (10 more boxes matched, 1.0%), fitness 0.7000 -> 0.7000. Not worth a change.",
        ),
        (
            (0.99, 0.7),
            (0.99, 0.75),
            "recall 0.9900 -> 0.9900, fitness 0.7000 -> 0.7500. "
            "Worth a try: about as many boxes are matched, by anchors closer to their size.",
        ),
        ((0.99, 0.7), (0.9, 0.6), "recall 0.9900 -> 0.9000, fitness 0.7000 -> 0.6000. Not worth a change."),
    ],
)
def test_the_gain_is_said_with_a_verdict(before, after, expected):
    before, after = score_of(*before), score_of(*after)
    assert describe_gain(before, after, "A", "B") == f"B instead of A: {expected}"
    assert is_worth_changing(before, after) == ("Not" not in expected)


def test_a_layer_that_no_box_uses_is_named():
    layers = [LayerUse(COCO[:3], 0.9, share) for share in (0.6, 0.396, 0.004)]
    assert list(describe_unused(layers, "COCO's anchors")) == [
        "Layer 3 of COCO's anchors fits 0.4% of your boxes best: it learns from few objects."
    ]
    assert list(describe_unused(layers[2:], "a")) == []  # one layer
    assert list(describe_unused([LayerUse(COCO[:3], 0.0, 0.0)] * 2, "a")) == []  # nothing fits


def describe(layers, boxes, imgsz=(640, 640)):
    table = SizeTable(np.asarray(boxes, np.float32))
    unit = describe_unit(table, layers, 4.0, imgsz, "These anchors")
    return unit or describe_other_size(table, np.concatenate(layers), 4.0, imgsz, "These anchors")


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (LAYERS, ""),
        (
            [layer / np.float32(640) for layer in LAYERS],
            "These anchors look like shares of the image, not pixels: multiplied by 640x640, their recall is 1.0000. "
            "Multiply them.",
        ),
        (
            [layer / np.float32(stride) for layer, stride in zip(LAYERS, (8, 16, 32))],
            "These anchors look like grid units, not pixels: multiplied by the strides 8, 16, 32, their recall is "
            "1.0000. Multiply them.",
        ),
        (
            [np.concatenate([layer / np.float32(stride) for layer, stride in zip(LAYERS, (8, 16, 32))])],  # one list
            "These anchors look like grid units, not pixels: multiplied by the strides 8, 16, 32, their recall is "
            "1.0000. Multiply them.",
        ),
        (
            [COCO[:5] / np.float32(32)],  # YOLOv2
            "These anchors look like grid units, not pixels: multiplied by the stride 32, their recall is 1.0000. "
            "Multiply them.",
        ),
    ],
)
def test_anchors_in_another_unit_are_named(layers, expected):
    boxes = COCO[:5] if len(layers[0]) == 5 else COCO
    assert describe(layers, np.repeat(boxes, 3, axis=0)) == expected


def test_anchors_for_another_image_size_are_named():
    boxes = np.float32(5) * COCO[:2]  # at 640 px; the smallest anchors are too small by a factor of 5
    assert describe([COCO[:2]], boxes, (1920, 1080)) == (
        "These anchors look made for another image size: at 416 px their recall is 1.0000. If the model is trained at "
        "that size, pass --imgsz 416."
    )


def test_anchors_that_fit_no_box_at_any_scale_are_not_explained():
    assert describe([np.asarray([[100.0, 2.0]], np.float32)], [[2.0, 100.0], [3.0, 80.0]]) == ""
