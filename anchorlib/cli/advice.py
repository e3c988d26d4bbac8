"""Say what a person does next: which anchors to compare with, what is gained, and the command to run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.cli.common import parse_sides
from anchorlib.cli.crowding_lines import describe_crowding, relieves
from anchorlib.datasets import BoxSizes
from anchorlib.errors import BadValueError
from anchorlib.fitting import fit_anchors
from anchorlib.fitting.anchor_fit import Refit
from anchorlib.metrics import AnchorScore, SizeTable
from anchorlib.modelfiles import choose_usual_strides, may_be_checkpoint, open_anchors, split_layers
from anchorlib.reporting.advice import (
    describe_gain,
    describe_odd_size,
    describe_other_size,
    describe_unit,
    describe_unused,
    is_worth_changing,
)
from anchorlib.reporting.report import Report, measure_layers
from anchorlib.results import counted, printable
from anchorlib.training import Crowding

#: Anchors to compare a fit with: those that YOLOv3 and YOLOv3-tiny published for COCO.
KNOWN_ANCHORS = {
    9: [10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326],
    6: [10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319],
}

#: How to train a model file of each format.
_TRAIN = {
    "yolo": "python train.py --data DATA.yaml --cfg {}",
    "darknet": "darknet detector train DATA.data {}",
    "mmdet": "python tools/train.py {}",
    "paddle": "python tools/train.py -c {}",
}


class Compared(NamedTuple):
    """Hold the anchors that a fit is compared with, their layers, and what they are called."""

    layers: Sequence[HostArray]
    name: str  # at the head of a column
    whose: str  # in a sentence

    @property
    def anchors(self) -> HostArray:
        """Return the anchors of all layers: (K, 2) float32, pixels."""
        return np.concatenate(self.layers)


def choose_compared(layers: Optional[Sequence[HostArray]], n: int, file: Optional[str]) -> Compared:
    """Return what a fit of n anchors is compared with: the given layers (of `file`), or the anchors of COCO."""
    if layers is not None:
        return Compared(layers, "before", f"the anchors of {file}")
    known = KNOWN_ANCHORS.get(n)
    name = "COCO's" if known else "COCO's 9"
    return Compared(split_layers(parse_sides(known or KNOWN_ANCHORS[9])), name, f"{name} anchors")


def advise_fit(
    table: SizeTable, compared: Compared, after: AnchorScore, thr: float, imgsz: tuple[int, int]
) -> list[str]:
    """Return sentences on what the fit gains over the anchors that it is compared with, and what looks wrong there."""
    whose = compared.whose
    lines = [describe_odd_size(imgsz), *describe_unused(measure_layers(table, compared.layers, thr), whose)]
    if compared.name == "before":
        start = whose[0].upper() + whose[1:]
        unit = describe_unit(table, compared.layers, thr, imgsz, start)
        lines.append(unit or describe_other_size(table, compared.anchors, thr, imgsz, start))
    lines.append(describe_gain(table.score(compared.anchors, thr), after, whose, "The fitted anchors"))
    return [line for line in lines if line]


def advise_check(
    table: SizeTable,
    boxes: BoxSizes,
    layers: Sequence[HostArray],
    options: argparse.Namespace,
    strides: Optional[Sequence[float]],
    crowded: Optional[Crowding],
) -> tuple[list[str], Optional[AnchorScore]]:
    """Return sentences on the anchors that were checked, and the score of as many fitted ones (None: too few sizes)."""
    thr, imgsz = options.thr, boxes.imgsz
    anchors = np.concatenate(layers)
    now = table.score(anchors, thr)
    odd_size = describe_odd_size(imgsz)
    lines = [odd_size] if odd_size else []
    lines += describe_unused(measure_layers(table, layers, thr), "these anchors")
    unit = describe_unit(table, layers, thr, imgsz, "These anchors")
    scale = unit or describe_other_size(table, anchors, thr, imgsz, "These anchors")
    lines += [scale] if scale else []
    counts = [len(layer) for layer in layers]
    try:
        fit = fit_anchors(boxes, counts, thr=thr, strides=None if crowded is None else strides)
    except BadValueError:  # fewer sizes than anchors
        return lines + describe_crowding(crowded), None
    fitted = fit.score
    is_relieved = relieves(crowded, fit.crowding)
    lines.append(describe_gain(now, fitted, "these", counted(sum(counts), "fitted anchor")))
    lines += describe_crowding(crowded)
    if is_relieved:
        lines.append("But these crowd a coarse layer, which loses many of its targets; fitted ones do not: try them.")
    if not unit and (is_relieved or is_worth_changing(now, fitted)):
        lines.append(f"Next: {_fit_command(options, counts, strides)}")
    return lines, fitted


def next_step(options: argparse.Namespace, report: Report, found: Optional[Refit]) -> str:
    """Return the sentence on what to do after a fit; "" if there is nothing to say."""
    if found is None:
        command = printable(shlex.join(["anchorlib", *options.arguments, "--out", "model.yaml"]))
        is_gain = report.before is None or is_worth_changing(report.before, report.score)
        keep = "" if is_gain else "keep your anchors, or "
        return f"Next: {keep}{command}, where model.yaml is the file of your model (.yaml, .cfg, .py or .json)."
    if not found.diff:
        return ""
    out = printable(options.out)
    if options.dry_run:
        return "Next: run the command again without --dry-run."
    if found.is_new:
        return f"Next: copy the anchors of {out} into the file of your model, or fit again with that file as --out."
    train = _TRAIN.get(open_anchors(options.out, options.format).format)
    return f"Next: train with it, for example {train.format(shlex.quote(out))}" if train else ""


def _fit_command(options: argparse.Namespace, counts: Sequence[int], strides: Optional[Sequence[float]]) -> str:
    """Return the command that fits what `anchorlib check` has measured, and writes it into the file of the anchors."""
    words = iter(options.arguments[1:])
    kept = []
    for word in words:
        name, _, value = word.partition("=")
        if len(name) > 3 and "--anchors".startswith(name):
            value = value or next(words)
        elif word != "--json":
            kept.append(word)
    file = Path(options.anchors)
    if file.is_file() and not may_be_checkpoint(file):
        return shlex.join(["anchorlib", "fit", *kept, "--out", options.anchors])
    n = ["--n", *map(str, counts)]
    if strides and options.strides is None and list(strides) != choose_usual_strides(counts):
        n += ["--strides", *(f"{stride:g}" for stride in strides)]
    return shlex.join(["anchorlib", "fit", *kept, *n, "--out", "model.yaml"]) + " (the file of your model)"
