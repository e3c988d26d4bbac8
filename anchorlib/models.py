"""Find the module of a YOLO model that has the anchors."""

from __future__ import annotations

from typing import Any

from anchorlib.errors import ModelError


def detect_module(model: Any) -> Any:
    """Return the last module of a model, which may be wrapped by DataParallel or DistributedDataParallel.

    Raises ModelError if the model has no `model[-1]`.
    """
    inner = getattr(model, "module", model)
    try:
        return inner.model[-1]
    except (AttributeError, TypeError, IndexError, KeyError) as error:
        raise ModelError(f"{type(inner).__name__} has no model[-1], where the Detect module must be.") from error
