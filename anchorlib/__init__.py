"""Anchor boxes for YOLO: measure, fit, assign and train, with the same answer on NumPy, PyTorch and OneFlow."""

from anchorlib import backends
from anchorlib._version import __version__

__all__ = ["__version__", "backends"]
