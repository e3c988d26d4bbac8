"""Anchors in files."""

from anchorlib.modelfiles.config import (
    FORMATS,
    format_anchors,
    format_of_new_file,
    read_anchors,
    split_layers,
    write_anchors,
)

__all__ = ["FORMATS", "format_anchors", "format_of_new_file", "read_anchors", "split_layers", "write_anchors"]
