"""Name models that have no anchors, from the text or the names in their file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

#: What the files of models without anchors contain -> the model; the first that is found counts.
_MARKS = (
    (r"RTDETR|RT-DETR|rtdetr", "RT-DETR"),
    (r"YOLOX|yolox|\bobj_preds\b", "YOLOX"),
    (r"DETR\b|Detr\w*Head|DETRHead|\bdetr\b|query_embed", "DETR"),
    (r"RTMDet", "RTMDet"),
    (r"PPYOLOE|PP-YOLOE", "PP-YOLOE"),
    (r"PicoDet", "PicoDet"),
    (r"FCOS", "FCOS"),
    (r"v10Detect", "YOLOv10"),
    (r"C3k2|YOLO(?:1[1-9]|2\d)\b", "YOLO11 or later"),
    # the heads of Ultralytics take the number of classes, but no anchors, and have a distribution of distances (DFL)
    (r"\bC2f\b|ultralytics\.nn|\bdfl\.|\b(?:Detect|Segment|Pose|OBB)\w*\W+nc\b(?!\W+anchors)", "YOLOv8 or later"),
)

#: Names of files -> the model, for a file that does not exist yet.
_NAMES = (
    (r"yolov(8|9|10)", "YOLOv8 or later"),
    (r"yolo(1[1-9]|2\d)", "YOLO11 or later"),
    (r"rt-?detr", "RT-DETR"),
    (r"yolo_?x", "YOLOX"),
    (r"detr", "DETR"),
)

_FOR = "anchorlib is for models with anchors, such as YOLOv2 to YOLOv5, YOLOv7 and YOLOR."


def describe_anchor_free(path: Path, texts: Iterable[str]) -> Optional[str]:
    """Return a sentence if texts from a file without anchors are those of a model that never has any; else None.

    >>> describe_anchor_free(Path("m.yaml"), ["head: [[[15, 18, 21], 1, Detect, [nc]]]"]).partition(":")[0]
    'm.yaml is a model of YOLOv8 or later, which has no anchors'
    """
    text = "\n".join(texts)
    for mark, name in _MARKS:
        if re.search(mark, text):
            return f"{path} is a model of {name}, which has no anchors: there are none to check, fit or write. {_FOR}"
    return None


def describe_anchor_free_name(path: Path) -> Optional[str]:
    """Return a sentence if a file that does not exist has the name of a model without anchors; else None."""
    for name, model in _NAMES:
        if re.match(name, path.name.lower()):
            return f"{path} does not exist, and has the name of a model of {model}, which has no anchors. {_FOR}"
    return None
