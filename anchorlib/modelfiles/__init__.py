"""Anchors in files."""

from anchorlib.modelfiles.config import (
    FORMATS,
    AnchorFile,
    edit_anchors,
    format_anchors,
    format_of_new_file,
    open_anchors,
    read_anchors,
    split_layers,
    write_anchors,
)

__all__ = [
    "FORMATS",
    "AnchorFile",
    "edit_anchors",
    "format_anchors",
    "format_of_new_file",
    "open_anchors",
    "read_anchors",
    "split_layers",
    "write_anchors",
]
