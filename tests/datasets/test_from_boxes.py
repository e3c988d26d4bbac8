"""Boxes that another library has loaded."""

import numpy as np
import pytest

from anchorlib import BoxSizes, fit_anchors
from anchorlib.errors import BadValueError, ShapeError

BOXES = [np.asarray([[10, 20, 110, 70], [0, 0, 64, 48]]), np.empty((0, 4)), [[5.0, 5.0, 15.0, 25.0]]]
SIZES = [[640, 480], [100, 100], [320, 240]]


def test_boxes_become_sizes_at_the_size_of_training():
    sizes = BoxSizes.from_boxes(BOXES, SIZES, [[1, 0], [], [1]], class_names=["cat", "dog"])
    assert sizes.wh.tolist() == [[100, 50], [64, 48], [20, 40]]
    assert sizes.image_index.tolist() == [0, 0, 2]
    assert sizes.boxes_per_class() == {"cat": 1, "dog": 2}
    assert (sizes.rows_read, sizes.rows_refused, sizes.problems) == (3, 0, [])
    assert fit_anchors(sizes, n=1).anchors.shape == (1, 2)
    half = BoxSizes.from_boxes(BOXES, SIZES, imgsz=(320, 320), resize="stretch")
    np.testing.assert_allclose(half.wh[0], [50, 50 * 320 / 480], rtol=1e-6)


def test_all_images_may_have_one_size_and_there_may_be_no_boxes():
    assert BoxSizes.from_boxes(BOXES, (640, 640)).wh[2].tolist() == [10, 20]
    assert len(BoxSizes.from_boxes([], (640, 640))) == 0
    assert len(BoxSizes.from_boxes([[], []], (640, 640)).image_wh) == 2


@pytest.mark.parametrize(
    ("box", "kind"),
    [([9, 9, 5, 12], "negative size"), ([np.nan, 0, 1, 1], "not a number"), ([-1e308, 0, 1e308, 1], "not a number")],
)
def test_boxes_that_are_none_are_reported(box, kind):
    sizes = BoxSizes.from_boxes([[box, [0, 0, 9, 9]]], [640, 480])
    assert sizes.wh.tolist() == [[9, 9]]
    assert [problem.kind for problem in sizes.problems] == [kind]
    assert sizes.rows_read == 2 == len(sizes) + sizes.rows_refused


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (([[1, 2, 3]], (640, 640)), ShapeError, "boxes_xyxy"),
        ((BOXES, [[640, 480]]), ShapeError, r"image_wh must be \(3, 2\)"),
        ((BOXES, (640, 0)), BadValueError, "image_wh must be finite and > 0"),
        ((BOXES, SIZES, [[1], [], [1]]), ShapeError, "one class for each box"),
        ((BOXES, SIZES, [[1, 0.5], [], [1]]), BadValueError, "classes must be integers"),
        ((BOXES, SIZES, [[[1, 0]], [], [1]]), ShapeError, r"classes must be \(n,\)"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, error, told):
    with pytest.raises(error, match=told):
        BoxSizes.from_boxes(*arguments)
