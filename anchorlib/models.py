"""Find the module of a YOLO model that has the anchors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from anchorlib.errors import ModelError


@dataclass(frozen=True)
class DarknetHead:
    """Hold the detection layers of a model that was made from a darknet cfg file, as YOLOR and ScaledYOLOv4 do.

    anchors : for each layer (A, 2) tensor in units of its stride
    stride : for each layer
    na, nl, nc : anchors of a layer, layers, classes
    """

    anchors: list[Any]
    stride: list[float]
    na: int
    nl: int
    nc: int


def detect_module(model: Any) -> Any:
    """Return the Detect module of a model, `model.model[-1]`; the model may be wrapped in `.module`.

    Parameters
    ----------
    model : a model of YOLOv5, YOLOv7 or one of their forks, perhaps in DataParallel or DistributedDataParallel. For a
        darknet model, whose detection layers are in `model.module_list`, a DarknetHead is returned.

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
    layers = _find_darknet_layers(model)
    if layers:
        return DarknetHead(
            anchors=[_in_grid_units(layer) for layer in layers],
            stride=[float(layer.stride) for layer in layers],
            na=len(layers[0].anchors),
            nl=len(layers),
            nc=int(layers[0].nc),
        )
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
    return (
        f"Anchors were found in {', '.join(found)}. To use one of these, pass an object with that module as its last, "
        "such as types.SimpleNamespace(model=[module])."
    )


def _find_darknet_layers(model: Any) -> list[Any]:
    """Return the detection layers of a darknet model: (A, 2) anchors in pixels, a stride and the number of classes."""
    if hasattr(model, "model") or not hasattr(model, "module_list"):
        return []
    return [module for module in model.module_list if _has_anchors(module) and hasattr(module, "nc")]


def _in_grid_units(layer: Any) -> Any:
    """Return the anchors of a darknet layer in units of its stride: `anchor_vec`, which is on the model's device."""
    vec = getattr(layer, "anchor_vec", None)
    return layer.anchors / float(layer.stride) if vec is None else vec


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
