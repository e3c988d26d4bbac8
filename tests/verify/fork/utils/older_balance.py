"""The loss of YOLOv5 4.0: its balance differs."""

from utils.older import compute_loss_4 as compute_loss  # noqa: F401
