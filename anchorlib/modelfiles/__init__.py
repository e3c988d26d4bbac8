"""Anchors in files."""

from anchorlib.modelfiles.checkpoint import Checkpoint, read_checkpoint
from anchorlib.modelfiles.config import (
    FORMATS,
    format_anchors,
    format_of_new_file,
    read_anchors,
    split_layers,
    write_anchors,
)

__all__ = [
    "FORMATS",
    "Checkpoint",
    "format_anchors",
    "format_of_new_file",
    "read_anchors",
    "read_checkpoint",
    "split_layers",
    "write_anchors",
]
