"""Say how crowded the layers are: the option --strides, and the sentences of `fit` and `check`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Optional

from anchorlib.arrays import HostArray
from anchorlib.datasets import BoxSizes
from anchorlib.errors import AnchorlibError, BadValueError
from anchorlib.files import status_of
from anchorlib.fitting.anchor_fit import AnchorFit
from anchorlib.fitting.fit_arguments import check_strides
from anchorlib.fitting.layered import MOST_OVERWRITTEN
from anchorlib.modelfiles import choose_usual_strides, read_strides, usual_strides
from anchorlib.results import counted, grouped
from anchorlib.training import Crowding, crowding


def add_strides_option(command: Any, what: str) -> None:
    """Add --strides to a command or group."""
    command.add_argument(
        "--strides",
        nargs="+",
        metavar="PX",
        help=f"pixels per cell of each layer, as in 8 16 32 (default: those of the model file, and 8 16 32 for three "
        f"layers or 9 anchors); none {what}",
    )


def parse_strides(options: argparse.Namespace) -> Optional[tuple[float, ...]]:
    """Return the strides of --strides, () for none, and None if the option is not given; BadValueError."""
    if options.strides is None:
        return None
    return () if options.strides == ["none"] else check_strides(options.strides)


def choose_fit_strides(
    options: argparse.Namespace, n: Sequence[int], file: Optional[str], before: Optional[Sequence[HostArray]]
) -> Any:
    """Return the keyword `strides` for a fit of n anchors: numbers, None, or "file" for those of an existing file.

    `before` are the layers of --anchors, whose strides are taken if n anchors are to have the same layers.
    """
    given = parse_strides(options)
    if given is not None:
        return given or None
    if options.method != "direct":
        return None
    if file and status_of(file):
        return "file"
    counts = [len(layer) for layer in before or ()]
    if counts and (list(n) == counts or (len(n) == 1 and len(set(counts)) == 1 and n[0] == sum(counts))):
        return _read_strides(options.anchors, len(counts))
    return choose_usual_strides(n)


def choose_check_strides(options: argparse.Namespace, n_layers: int) -> Optional[Sequence[float]]:
    """Return the strides of the layers that are checked; None if they are not known, or with --strides none."""
    given = parse_strides(options)
    if given is not None:
        if given and len(given) != n_layers:
            raise BadValueError(f"--strides must have one number for each of {n_layers} layers, got {len(given)}.")
        return given or None
    return _read_strides(options.anchors, n_layers)


def _read_strides(anchors: str, n_layers: int) -> Optional[Sequence[float]]:
    """Return the strides of --anchors, one for each layer: those of a file or checkpoint; the usual ones for numbers.

    None if the file does not tell them, or tells them of another number of layers.
    """
    try:
        found = read_strides(anchors)
    except (AnchorlibError, OSError):
        return usual_strides(n_layers)
    return found if found and len(found) == n_layers else None


def measure_crowding(
    boxes: BoxSizes, layers: Sequence[HostArray], strides: Optional[Sequence[float]], thr: float
) -> Optional[Crowding]:
    """Return the crowding of layers; None if their strides are not known or there is one for all anchors."""
    if not strides or len(strides) != len(layers) or len(layers) < 2:
        return None
    return crowding(boxes, layers, strides, thr=thr)


def describe_crowding(found: Optional[Crowding]) -> list[str]:
    """Return sentences on the crowding of layers, one of them for each layer that is too coarse for its boxes."""
    if found is None:
        return []
    strides = " / ".join(f"{layer.stride:g}" for layer in found.layers)
    if not any(layer.overwritten for layer in found.layers):
        return [f"No target is overwritten in training, on strides {strides}."]
    shares = " / ".join(_percent(layer.share_overwritten) for layer in found.layers)
    lines = [f"Targets overwritten in training, on strides {strides}: {shares}; {_describe_lost(found)}."]
    for layer in found.layers:
        if layer.is_overtaxed:
            small = "all" if layer.share_small == 1 else _percent(layer.share_small)
            lines.append(
                f"Stride {layer.stride:g} is too coarse for its boxes: {small} of them are under one cell on their "
                f"shorter side, and {_percent(layer.share_overwritten)} of its targets are overwritten."
            )
    return lines


def _describe_lost(found: Crowding) -> str:
    if not found.n_lost:
        return "no box loses all its targets"
    lose = "loses all its" if found.n_lost == 1 else "lose all their"
    return f"{grouped(found.n_lost)} of {counted(found.n_boxes, 'box')} {lose} targets"


def _percent(share: float) -> str:
    """Return a share in percent; 0% and 100% only if they are exact."""
    text = f"{share:.0%}"
    return "<1%" if text == "0%" and share > 0 else ">99%" if text == "100%" and share < 1 else text


def describe_placeholders(fit: AnchorFit) -> list[str]:
    """Return sentences on the anchors that a fit with strides does not need."""
    if fit.strides is None:
        return []
    lines = []
    if fit.idle_layers:
        *others, last = (f"{fit.strides[i]:g}" for i in fit.idle_layers)
        where = f"strides {', '.join(others)} and {last}" if others else f"stride {last}"
        is_one = sum(fit.counts[i] for i in fit.idle_layers) == 1
        what = "anchor there is a placeholder that matches" if is_one else "anchors there are placeholders that match"
        lines.append(f"The boxes are too small or too crowded for {where}: the {what} hardly any box.")
    layer_of = [layer for layer, count in enumerate(fit.counts) for _ in range(count)]
    for layer in sorted({layer_of[row] for row in fit.spare_anchors}):
        count, spare = fit.counts[layer], sum(layer_of[row] == layer for row in fit.spare_anchors)
        rest = "other one is a placeholder" if spare == 1 else f"other {spare} are placeholders"
        lines.append(
            f"Stride {fit.strides[layer]:g} needs {count - spare} of {counted(count, 'anchor')}: its boxes are small, "
            f"and nearly equal anchors for them do harm. The {rest}."
        )
    return lines


def relieves(before: Optional[Crowding], after: Optional[Crowding]) -> bool:
    """Return True if a coarse layer loses too many targets before, and none does after."""
    return _is_crowded(before) and after is not None and not _is_crowded(after)


def _is_crowded(found: Optional[Crowding]) -> bool:
    return found is not None and any(
        layer.is_overtaxed or layer.share_overwritten > MOST_OVERWRITTEN for layer in found.layers[1:]
    )
