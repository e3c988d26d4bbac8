"""Read checkpoints of PyTorch and OneFlow without running anything in them."""

from anchorlib.modelfiles.checkpoint.reader import Checkpoint, may_be_checkpoint, read_checkpoint

__all__ = ["Checkpoint", "may_be_checkpoint", "read_checkpoint"]
