"""Fit anchors to box sizes."""

from anchorlib.fitting.anchor_fit import AnchorFit
from anchorlib.fitting.evolve import evolve
from anchorlib.fitting.fit import fit_anchors
from anchorlib.fitting.fit_arguments import METHODS, MIN_FIT_SIDE
from anchorlib.fitting.kmeans import DISTANCES, INITS, UPDATES, kmeans

__all__ = [
    "DISTANCES",
    "INITS",
    "METHODS",
    "MIN_FIT_SIDE",
    "UPDATES",
    "AnchorFit",
    "evolve",
    "fit_anchors",
    "kmeans",
]
