"""Make data sets and reports for the tests of pages and pictures."""

import numpy as np

from anchorlib.datasets import BoxSizes, Problem
from anchorlib.metrics import SizeTable
from anchorlib.reporting.report import Report, measure_layers

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;$x_1$\udcff"


def box_sizes(boxes_wh, classes=None, class_names=(), image_names=(), image_index=None, problems=()):
    n = len(boxes_wh)
    return BoxSizes(
        wh=np.asarray(boxes_wh, np.float32),
        image_wh=np.full((max(1, len(image_names)), 2), 640, np.float32),
        image_index=np.zeros(n, np.int64) if image_index is None else np.asarray(image_index),
        classes=np.zeros(n, np.int64) if classes is None else np.asarray(classes),
        class_names=tuple(class_names),
        image_names=tuple(image_names),
        problems=list(problems),
        rows_read=n,
        rows_refused=0,
        imgsz=(640, 640),
        resize="letterbox",
    )


def report_of(boxes, layers, before=None, thr=4.0, data="data", before_name="before"):
    table = SizeTable(boxes.wh)
    layers = [np.asarray(layer, np.float32) for layer in layers]
    compared = {}
    if before is not None:
        before = np.asarray(before, np.float32)
        compared = {"before": table.score(before, thr), "before_anchors": before, "before_name": before_name}
    score = table.score(np.concatenate(layers), thr)
    return Report(
        data, boxes, thr, "640 px, letterbox", "numpy:cpu", score, measure_layers(table, layers, thr), **compared
    )


def hostile_report():
    """Return a report with long and hostile names, many classes and unmatched boxes, and more layers than shapes."""
    rng = np.random.default_rng(0)
    boxes_wh = np.exp(rng.normal(3.5, 1.4, (3000, 2)))
    boxes_wh[:2] = 0
    names = [
        HOSTILE,
        "a_class_with_a_name_that_is_one_very_long_word_and_does_not_fit",
        *(f"class {i}" for i in range(40)),
    ]
    problems = [Problem("zero area", f"{HOSTILE}.txt", 7, HOSTILE, "kept", "width must be > 0")] * 5
    boxes = box_sizes(
        boxes_wh,
        classes=rng.integers(-1, 45, 3000),
        class_names=names,
        image_names=[f"{HOSTILE}/{'folder_' * 30}/{i}.jpg" for i in range(3000)],
        image_index=np.arange(3000),
        problems=problems,
    )
    layers = [[[6, 7], [1234.5, 2345.6]], [[20, 20]], [[30, 10]], [[40, 41]], [[42, 43]]]
    return report_of(
        boxes, layers, before=[[100, 100], [3, 200]], data=f"{HOSTILE}/{'deep/' * 30}data.yaml", before_name="COCO's"
    )
