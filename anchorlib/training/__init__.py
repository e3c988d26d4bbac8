"""Assign targets to predictions, and compute the loss of predictions."""

from anchorlib.training.compute_loss import ComputeLoss
from anchorlib.training.crowding import crowding
from anchorlib.training.crowding_result import Crowding, LayerCrowding
from anchorlib.training.decode import decode
from anchorlib.training.losses import (
    BCEBlurWithLogitsLoss,
    BCEWithLogitsLoss,
    FocalLoss,
    QFocalLoss,
    smooth_bce,
)
from anchorlib.training.masks import mask_loss
from anchorlib.training.ota import assign
from anchorlib.training.padded_targets import PaddedTargets, build_padded_targets
from anchorlib.training.targets import LayerTargets, build_targets

__all__ = [
    "BCEBlurWithLogitsLoss",
    "BCEWithLogitsLoss",
    "ComputeLoss",
    "Crowding",
    "FocalLoss",
    "LayerCrowding",
    "LayerTargets",
    "PaddedTargets",
    "QFocalLoss",
    "assign",
    "build_padded_targets",
    "build_targets",
    "crowding",
    "decode",
    "mask_loss",
    "smooth_bce",
]
