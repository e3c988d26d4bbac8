"""Where a YOLO model keeps its anchors."""

from __future__ import annotations

from typing import Any

from anchorlib.errors import ModelError


def detect_module(model: Any) -> Any:
    """The last module of a model, or of the one that DataParallel or DistributedDataParallel wraps; ModelError."""
    inner = getattr(model, "module", model)
    try:
        return inner.model[-1]
    except (AttributeError, TypeError, IndexError, KeyError) as error:
        raise ModelError(f"{type(inner).__name__} has no model[-1], where the Detect module must be.") from error
