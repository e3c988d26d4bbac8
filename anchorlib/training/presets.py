"""The balance and the gains of the losses of older forks, by the number of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Optional

from anchorlib.arrays import check_one_of
from anchorlib.errors import ModelError

GAINS = ("box", "obj", "cls")


class Preset(NamedTuple):
    """How a fork weighs its losses.

    of_3 : objectness weights of three layers
    others : objectness weights of other numbers of layers, the first ones of which are used
    factors : number of layers -> what multiplies the gains box, obj and cls
    """

    of_3: tuple[float, ...]
    others: tuple[float, ...]
    factors: Callable[[int], tuple[float, float, float]]


def _yolov5(n_layers: int) -> tuple[float, float, float]:
    return 1.0, 1.0, 1.0


def _yolov5_4(n_layers: int) -> tuple[float, float, float]:
    return 3 / n_layers, 1.0, 3 / n_layers


def _yolor(n_layers: int) -> tuple[float, float, float]:
    return 3 / n_layers, 3 / n_layers * (1.4 if n_layers == 4 else 1.0), 3 / n_layers


_YOLOR = Preset((4.0, 1.0, 0.4), (4.0, 1.0, 0.4, 0.1), _yolor)
_YOLOV5 = Preset((4.0, 1.0, 0.4), (4.0, 1.0, 0.25, 0.06, 0.02), _yolov5)

PRESETS = {
    "yolov5-4.0": Preset((4.0, 1.0, 0.3), (4.0, 1.0, 0.3, 0.1), _yolov5_4),
    "yolor": _YOLOR,
    "ScaledYOLOv4": _YOLOR,
}


def find_preset(name: Optional[str], n_layers: int) -> tuple[list[float], dict[str, float]]:
    """Return the objectness weights and the factors of the gains; None is YOLOv5 since 5.0.

    >>> find_preset("yolov5-4.0", 4)
    ([4.0, 1.0, 0.3, 0.1], {'box': 0.75, 'obj': 1.0, 'cls': 0.75})
    """
    if name is not None:
        check_one_of("preset", name, tuple(PRESETS))
    preset = _YOLOV5 if name is None else PRESETS[name]
    balance = list(preset.of_3 if n_layers == 3 else preset.others)
    if n_layers > len(balance):
        raise ModelError(
            f"the balance of the layers of {name or 'YOLOv5'} is known for up to {len(balance)}, got {n_layers}."
        )
    return balance, dict(zip(GAINS, preset.factors(n_layers)))
