"""Say in sentences how much other anchors gain, and what looks wrong with a set of anchors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.metrics import AnchorScore, SizeTable
from anchorlib.reporting.report import LayerUse
from anchorlib.results import grouped

#: Gains from which other anchors are worth it: a share of the boxes (BPR), or fitness.
GAIN_OF_BPR, GAIN_OF_FITNESS = 0.01, 0.05
#: A layer is named if its anchors fit less than this share of the boxes best.
UNUSED = 0.01

_SIZES = (320, 416, 512, 608, 640, 736, 800, 960, 1024, 1280, 1536, 1920)  # image sizes that models are trained at
_FIRST_STRIDE = 8
_STRIDE_OF_ONE_LAYER = 32  # YOLOv2
_MOST_GRID = 1.5  # times the grid: an anchor of a layer is rarely larger than the image


def is_worth_changing(before: AnchorScore, after: AnchorScore) -> bool:
    """Return True if the anchors of `after` match 1 % more of the boxes, or have 0.05 more fitness."""
    return after.bpr - before.bpr >= GAIN_OF_BPR or after.fitness - before.fitness >= GAIN_OF_FITNESS


def describe_gain(before: AnchorScore, after: AnchorScore, old: str, new: str) -> str:
    """Return sentences on what new anchors gain over old ones, and whether that is worth a change.

    Parameters
    ----------
    before, after : AnchorScore of the old and of the new anchors on the same boxes
    old, new : what the anchors are called

    Examples
    --------
    >>> sizes = np.asarray([[10., 20.], [80., 160.]])
    >>> scores = [SizeTable(sizes).score(np.asarray([anchor]), 4.0) for anchor in ([10., 20.], [20., 40.], [60., 150.])]
    >>> print(describe_gain(scores[0], scores[1], "COCO's anchors", "1 fitted anchor"))
    1 fitted anchor instead of COCO's anchors: recall 0.5000 -> 0.5000, fitness 0.5000 -> 0.2500. Not worth a change.
    """
    gained = round((after.bpr - before.bpr) * after.n_boxes)
    share = f" ({grouped(gained)} more boxes matched, {gained / after.n_boxes:.1%})" if gained > 0 else ""
    change = f"recall {before.bpr:.4f} -> {after.bpr:.4f}{share}, fitness {before.fitness:.4f} -> {after.fitness:.4f}"
    if not is_worth_changing(before, after):
        verdict = "Not worth a change."
    elif after.bpr - before.bpr >= GAIN_OF_BPR:
        verdict = "Worth a change."
    else:
        verdict = "Worth a try: about as many boxes are matched, by anchors closer to their size."
    return f"{new} instead of {old}: {change}. {verdict}"


def describe_unused(layers: Sequence[LayerUse], whose: str) -> Iterator[str]:
    """Yield a sentence for each layer whose anchors fit almost none of the boxes best."""
    if len(layers) < 2 or sum(layer.nearest for layer in layers) < 0.5:  # the anchors as a whole are wrong
        return
    for number, layer in enumerate(layers, 1):
        if layer.nearest < UNUSED:
            yield f"Layer {number} of {whose} fits {layer.nearest:.1%} of your boxes best: it learns from few objects."


def describe_unit(table: SizeTable, layers: Sequence[HostArray], thr: float, imgsz: tuple[int, int], whose: str) -> str:
    """Return a sentence if anchors that match badly look like shares of the image or grid units; otherwise "".

    Parameters
    ----------
    table : SizeTable of the boxes
    layers : for each layer (A, 2) float32
    thr : ratio limit, > 1
    imgsz : width and height of the network's input, pixels
    whose : what the anchors are called
    """
    flat = np.concatenate(layers)
    now = table.score(flat, thr)
    if now.is_good:
        return ""
    if flat.max() <= 1:
        scaled, unit, factors = flat * np.asarray(imgsz, np.float32), "shares of the image", "x".join(map(str, imgsz))
    else:
        strides = _guess_strides(layers)
        if any(flat.max() > _MOST_GRID * max(imgsz) / stride for stride in strides):
            return ""
        parts = [part * np.float32(stride) for part, stride in zip(np.array_split(flat, len(strides)), strides)]
        scaled, unit = np.concatenate(parts), "grid units"
        factors = f"the stride{'s' * (len(strides) > 1)} {', '.join(map(str, strides))}"
    bpr = table.score(scaled, thr).bpr
    if unit == "grid units" and not (bpr > 0.9 and bpr - now.bpr > 0.5):
        return ""
    return f"{whose} look like {unit}, not pixels: multiplied by {factors}, their recall is {bpr:.4f}. Multiply them."


def describe_other_size(table: SizeTable, anchors: HostArray, thr: float, imgsz: tuple[int, int], whose: str) -> str:
    """Return a sentence if anchors (K, 2) that match badly would fit at another image size; otherwise ""."""
    now, side = table.score(anchors, thr), max(imgsz)
    scores = [(table.score(anchors * np.float32(side / size), thr), size) for size in _SIZES if size != side]
    best, size = max(scores, key=lambda item: item[0].fitness)
    if now.is_good or not best.is_good or best.fitness - now.fitness < GAIN_OF_FITNESS:
        return ""
    return (
        f"{whose} look made for another image size: at {size} px their recall is {best.bpr:.4f}. If the model is "
        f"trained at that size, pass --imgsz {size}."
    )


def describe_odd_size(imgsz: tuple[int, int]) -> str:
    """Return a sentence if the sides of the network's input are not multiples of the usual largest stride; else ""."""
    stride = _STRIDE_OF_ONE_LAYER
    if all(side % stride == 0 for side in imgsz):
        return ""
    given = list(dict.fromkeys(imgsz))
    size, better = ("x".join(map(str, sides)) for sides in (given, [math.ceil(s / stride) * stride for s in given]))
    return (
        f"The image size {size} is not a multiple of {stride}, the largest stride of most models: YOLOv5 would train "
        f"at {better}. Pass --imgsz {better}."
    )


def _guess_strides(layers: Sequence[HostArray]) -> list[int]:
    """Return the usual strides of as many layers; a list of 6, 9 or 12 anchors without layers counts as layers of 3."""
    count = len(layers)
    if count == 1 and len(layers[0]) in (6, 9, 12):
        count = len(layers[0]) // 3
    return [_STRIDE_OF_ONE_LAYER] if count == 1 else [_FIRST_STRIDE * 2**i for i in range(count)]
