"""Find the module of a YOLO model that has the anchors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from anchorlib.errors import ModelError


def detect_module(model: Any) -> Any:
    """Return the Detect module of a model, `model.model[-1]`; the model may be wrapped in `.module`.

    Parameters
    ----------
    model : a model of YOLOv5, YOLOv7 or one of their forks, perhaps in DataParallel or DistributedDataParallel

    Raises
    ------
    ModelError : there is no `model[-1]`, or it has no anchors. The message says where else the model has anchors.

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> detect = Namespace(anchors=[[[1.0, 2.0]]], stride=[8.0])
    >>> detect_module(Namespace(module=Namespace(model=[detect]))) is detect
    True
    """
    while not hasattr(model, "model") and hasattr(model, "module"):
        model = model.module
    name = type(model).__name__
    try:
        last = model.model[-1]
    except (AttributeError, TypeError, IndexError, KeyError) as error:
        raise ModelError(
            f"{name} has no model[-1], where the Detect module must be. {_describe_others(model)}"
        ) from error
    if not hasattr(last, "anchors"):
        raise ModelError(
            f"{name}.model[-1] must have anchors (L, A, 2) and stride (L,), but it is a {type(last).__name__} without "
            f"anchors. {_describe_others(model)}"
        )
    return last


def _describe_others(model: Any) -> str:
    """Say which modules of a model have anchors and a stride, and what to do about it."""
    found = [f"{name} ({type(module).__name__})" for name, module in _iter_modules(model) if _has_anchors(module)]
    if not found:
        return "No other module was found that has anchors and stride."
    if hasattr(model, "module_list"):
        return (
            f"Anchors were found in {', '.join(found)}. The anchors of a darknet model come from its cfg file: "
            "anchorlib fit DATA --out FILE.cfg fits and writes them."
        )
    return (
        f"Anchors were found in {', '.join(found)}. To use one of these, pass an object with that module as its last, "
        "such as types.SimpleNamespace(model=[module])."
    )


def _has_anchors(module: Any) -> bool:
    return all(getattr(module, name, None) is not None for name in ("anchors", "stride"))


def _iter_modules(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the modules of a model with their names, from PyTorch and OneFlow or from plain lists."""
    if callable(getattr(model, "named_modules", None)):
        yield from model.named_modules()
        return
    for name in ("model", "module_list"):
        modules = getattr(model, name, None)
        if hasattr(modules, "model"):  # a model in a model, such as AutoShape
            yield from ((f"{name}.{inner}", module) for inner, module in _iter_modules(modules))
        elif isinstance(modules, (list, tuple)):
            yield from ((f"{name}[{i}]", module) for i, module in enumerate(modules))
