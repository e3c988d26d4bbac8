import numpy as np

from anchorlib.fitting.order import sort_by_area


def test_anchors_are_sorted_by_area_then_width():
    anchors = np.asarray([[9, 1], [2, 2], [1, 9], [3, 3]], np.float32)
    assert sort_by_area(anchors).tolist() == [[2, 2], [1, 9], [3, 3], [9, 1]]
