"""Read and write the anchors in model files and checkpoints."""

from anchorlib.modelfiles.anchor_files import (
    AnchorFile,
    choose_usual_strides,
    edit_anchors,
    format_anchors,
    format_of_new_file,
    open_anchors,
    read_anchors,
    read_input_size,
    read_strides,
    split_layers,
    usual_strides,
    write_anchors,
)
from anchorlib.modelfiles.checkpoint.reader import Checkpoint, may_be_checkpoint, read_checkpoint
from anchorlib.modelfiles.formats.registry import FORMATS, SUFFIXES

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "AnchorFile",
    "Checkpoint",
    "choose_usual_strides",
    "edit_anchors",
    "format_anchors",
    "format_of_new_file",
    "may_be_checkpoint",
    "open_anchors",
    "read_anchors",
    "read_checkpoint",
    "read_input_size",
    "read_strides",
    "split_layers",
    "usual_strides",
    "write_anchors",
]
