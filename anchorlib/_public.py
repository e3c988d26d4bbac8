"""Import the public names of the package, which `anchorlib/__init__.py` hands out."""

import anchorlib.backends as backends
from anchorlib._version import __version__
from anchorlib.boxes import box_iou_pairs, wh_iou
from anchorlib.datasets import BoxSizes, SizeCounts, read_boxes
from anchorlib.fitting import AnchorFit, evolve, fit_anchors, kmeans
from anchorlib.fitting.anchor_fit import Refit
from anchorlib.fitting.certificate import Certificate, certify
from anchorlib.fitting.curve import Curve, fit_curve
from anchorlib.fitting.refit import refit
from anchorlib.metrics import AnchorScore, score, size_ratio
from anchorlib.training import Crowding, LayerCrowding, LayerTargets, build_targets, crowding, decode

__all__ = [
    "AnchorFit",
    "AnchorScore",
    "BoxSizes",
    "Certificate",
    "Crowding",
    "Curve",
    "LayerCrowding",
    "LayerTargets",
    "Refit",
    "SizeCounts",
    "__version__",
    "backends",
    "box_iou_pairs",
    "build_targets",
    "certify",
    "crowding",
    "decode",
    "evolve",
    "fit_anchors",
    "fit_curve",
    "kmeans",
    "read_boxes",
    "refit",
    "score",
    "size_ratio",
    "wh_iou",
]
