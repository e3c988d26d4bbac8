"""What was measured and fitted, as text for people and as a dict for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets import BoxSizes
from anchorlib.fitting.curve import Curve
from anchorlib.fitting.rounding import SAME_SCORE, RoundedAnchors, score_dict
from anchorlib.metrics import AnchorScore, SizeTable
from anchorlib.results import counted, grouped


@dataclass(frozen=True)
class LayerUse:
    """What the anchors of one layer do for a set of boxes.

    anchors : (A, 2) pixels
    bpr : the share of boxes with a ratio > 1 / thr to some anchor of this layer
    nearest : the share of boxes that an anchor of this layer fits best
    """

    anchors: HostArray
    bpr: float
    nearest: float


@dataclass(frozen=True)
class Report:
    """A set of anchors on a set of boxes, with what it replaces.

    score, layers : of the anchors; before : of the anchors they are compared with, called `before_name`
    before_anchors : (K, 2) pixels, the anchors they are compared with
    fitted : method, seed, seconds and so on, where the anchors were fitted
    written : the anchors as they go to a file, where they do
    """

    data: str
    boxes: BoxSizes
    thr: float
    imgsz: str
    backend: str
    score: AnchorScore
    layers: list[LayerUse]
    before: Optional[AnchorScore] = None
    before_name: str = ""
    before_anchors: Optional[HostArray] = None
    fitted: dict[str, Any] = field(default_factory=dict)
    written: Optional[RoundedAnchors] = None

    @property
    def name(self) -> str:
        """What the anchors are called, next to those they are compared with."""
        return "fitted" if self.fitted else "anchors"

    def to_dict(self) -> dict[str, Any]:
        """One JSON object; anchors are [w, h] in pixels with all the digits of their float32."""
        return {
            "anchors": [[float(w), float(h)] for layer in self.layers for w, h in layer.anchors],
            **score_dict(self.score),
            "n_boxes": self.score.n_boxes,
            **self.fitted,
            **({"written": self.written.to_dict()} if self.written else {}),
            "thr": self.thr,
            "backend": self.backend,
            "problems": self.boxes.count_problems(),
        }

    def to_text(self) -> str:
        """A page of a terminal."""
        parts = [
            "\n".join([self.headline(), *(f"  {line}" for line in problem_lines(self.boxes))]),
            self._score_text(),
            self._layer_text(),
            self.verdict(),
        ]
        return "\n\n".join(part for part in parts if part)

    def headline(self) -> str:
        """What the boxes are."""
        boxes = self.boxes
        small = int((np.min(boxes.wh, axis=1) < 3).sum())
        first = f"{self.data}: {grouped(len(boxes.image_wh))} images, {grouped(len(boxes.wh))} boxes"
        if small:
            first += f" ({grouped(small)} under 3 px)"
        return f"{first}, at {self.imgsz}"

    def _score_text(self) -> str:
        return _aligned([["", *(head for head, _ in self.scores())], *self.score_rows()])

    def scores(self) -> list[tuple[str, AnchorScore]]:
        """Those of the anchors before, of these, and of these as they are written, with what each is called."""
        scores = [(self.name, self.score)]
        if self.before is not None:
            scores.insert(0, (self.before_name, self.before))
        if self.written is not None and self.written.digits is not None:
            scores.append(("written", self.written.score))
        return scores

    def score_rows(self) -> list[list[str]]:
        """Label and values, those of `scores`, of each measure."""
        rows = [
            ("best possible recall", "bpr", "{:.4f}"),
            (f"anchors/target at thr {self.thr:g}", "aat", "{:.2f}"),
            ("fitness", "fitness", "{:.4f}"),
            ("average IoU", "avg_iou", "{:.4f}"),
        ]
        scores = [score for _, score in self.scores()]
        return [[label, *(form.format(getattr(score, name)) for score in scores)] for label, name, form in rows]

    def _layer_text(self) -> str:
        table = [["layer", "fits best", "recall", "anchors (w,h px)"]]
        for i, layer in enumerate(self.layers, 1):
            sides = "  ".join(f"{w:.1f},{h:.1f}" for w, h in layer.anchors)
            table.append([str(i), f"{layer.nearest:.1%}", f"{layer.bpr:.4f}", sides])
        return _aligned(table, left=(0, 3))

    def verdict(self) -> str:
        """Whether the fit is good, and how it was found."""
        if self.score.is_good:
            said = "a good fit"
        else:
            missed = round((1 - self.score.bpr) * self.score.n_boxes)
            said = f"a poor fit: {grouped(missed)} boxes match no anchor; more anchors help (fit --n)"
        text = f"{counted(sum(len(layer.anchors) for layer in self.layers), 'anchor')}, {said}."
        if self.fitted:
            text += " {method}, seed {seed}, {seconds:.2f} s".format(**self.fitted) + f" on {self.backend}."
        if self.fitted.get("kept_start"):
            text += " The anchors given were already the best found, and are kept."
        if self.fitted.get("kept_file"):
            text += f" The file's anchors are as good within {SAME_SCORE}, and stay."
        if self.written is not None and self.written.digits is not None:
            digits = self.written.digits
            shown = f"with {digits} decimal{'s' * (digits != 1)}" if digits else "as whole numbers"
            text += f" Written {shown}, as the score allows."
        return text


def measure_layers(table: SizeTable, layers: Sequence[HostArray], thr: float) -> list[LayerUse]:
    """What each layer's anchors do for the boxes."""
    uses = table.use(np.concatenate(layers), thr)
    result, first = [], 0
    for anchors in layers:
        own = uses[first : first + len(anchors)]
        first += len(anchors)
        result.append(LayerUse(anchors, table.score(anchors, thr).bpr, sum(use.nearest for use in own)))
    return result


def curve_text(curve: Curve) -> str:
    """A fit for each number of anchors, with a bar for the average IoU and the knee marked."""
    lowest = curve.fits[0].score.avg_iou
    span = max(curve.fits[-1].score.avg_iou - lowest, 1e-9)
    table = [["k", "avg IoU", "fitness", "recall", ""]]
    for k, fit in zip(curve.ks, curve.fits):
        score = fit.score
        bar = "#" * max(1, round(30 * (score.avg_iou - lowest) / span)) + ("  <- knee" if k == curve.knee else "")
        table.append([str(k), f"{score.avg_iou:.4f}", f"{score.fitness:.4f}", f"{score.bpr:.4f}", bar])
    text = _aligned(table, left=(4,))
    if curve.left_out:
        text += f"\n\nNot fitted: k = {curve.left_out[0]} and more, there are fewer distinct sizes."
    return text


def problem_lines(boxes: BoxSizes, examples: int = 1) -> list[str]:
    """One line a kind of problem: how many, and the first ones with file and line."""
    lines = []
    for kind, count in boxes.count_problems().items():
        shown = [str(problem) for problem in boxes.problems if problem.kind == kind][:examples]
        lines.append(f"{count} x {kind}, e.g. {'; '.join(shown)}")
    return lines


def _aligned(table: list[list[str]], left: Sequence[int] = (0,)) -> str:
    """Columns of equal width, two spaces apart; those in `left` flush left, the others flush right."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)
