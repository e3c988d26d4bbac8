"""Report measured and fitted anchors: parts of text for people, a dict for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets import BoxSizes
from anchorlib.fitting.certificate import Certificate
from anchorlib.fitting.curve import KNEE_GAIN, Curve
from anchorlib.fitting.rounding import SAME_SCORE, RoundedAnchors, score_dict
from anchorlib.metrics import AnchorScore, SizeTable
from anchorlib.results import counted, grouped, printable


@dataclass(frozen=True)
class LayerUse:
    """Measure how a set of boxes uses the anchors of one layer.

    anchors : (A, 2) float32, pixels
    bpr : share of boxes with a ratio > 1 / thr to some anchor of this layer
    nearest : share of boxes that an anchor of this layer fits best
    """

    anchors: HostArray
    bpr: float
    nearest: float


class ReportParts(NamedTuple):
    """Hold the parts of a report in the order in which people read them.

    headline : the data set and its boxes
    problems : a line for each kind of problem in the labels
    scores, layers : tables, as rows of cells; the first row has the heads of the columns
    verdict : whether the fit is good, and how it was found
    advice : sentences on what other anchors gain, and on what looks wrong
    """

    headline: str
    problems: list[str]
    scores: list[list[str]]
    layers: list[list[str]]
    verdict: str
    advice: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """Describe a set of anchors on a set of boxes, and the anchors that they are compared with.

    data : name of the data set
    boxes, thr, imgsz, backend : what the anchors were measured on, and how
    score, layers : AnchorScore of the anchors, and how the boxes use each layer
    before, before_anchors, before_name : score, (K, 2) pixels and name of the anchors to compare with, if any
    fitted : method, seed, seconds and so on if the anchors were fitted, else empty
    written : the anchors as they are written to a file, if they are
    advice : sentences on what other anchors gain, and on what looks wrong
    certificate : the proof of how far the anchors are from the best ones, if it was asked for
    crowding : how crowded the layers are, for JSON, if their strides are known
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
    advice: Sequence[str] = ()
    certificate: Optional[Certificate] = None
    crowding: Optional[dict[str, Any]] = None

    @property
    def name(self) -> str:
        """Return the name of the anchors in tables and legends."""
        return "fitted" if self.fitted else "anchors"

    def to_dict(self) -> dict[str, Any]:
        """Return one JSON object; anchors are [w, h] in pixels with all the digits of their float32."""
        return {
            "anchors": [[float(w), float(h)] for layer in self.layers for w, h in layer.anchors],
            **score_dict(self.score),
            "n_boxes": self.score.n_boxes,
            "layers": [
                {"anchors": layer.anchors.tolist(), "bpr": layer.bpr, "nearest": layer.nearest} for layer in self.layers
            ],
            **self.fitted,
            **({"written": self.written.to_dict()} if self.written else {}),
            "compared_with": self._compared(),
            "advice": list(self.advice),
            **({"crowding": self.crowding} if self.crowding else {}),
            "imgsz": list(self.boxes.imgsz),
            "resize": self.boxes.resize,
            **({"certificate": self.certificate.to_dict()} if self.certificate else {}),
            "thr": self.thr,
            "backend": self.backend,
            "problems": self.boxes.count_problems(),
        }

    def _compared(self) -> Optional[dict[str, Any]]:
        """Return the name, anchors and score of the anchors that these are compared with; None if there are none."""
        if self.before is None:
            return None
        anchors = [] if self.before_anchors is None else self.before_anchors.tolist()
        return {"name": self.before_name, "anchors": anchors, **score_dict(self.before)}

    def parts(self) -> ReportParts:
        """Return the parts of the report as text that is not yet aligned, joined or coloured."""
        layers = [["layer", "fits best", "recall", "anchors (w,h px)"]]
        for i, layer in enumerate(self.layers, 1):
            sides = "  ".join(f"{w:.1f},{h:.1f}" for w, h in layer.anchors)
            layers.append([str(i), f"{layer.nearest:.1%}", f"{layer.bpr:.4f}", sides])
        return ReportParts(
            headline=self.headline(),
            problems=list_problems(self.boxes),
            scores=[["", *(head for head, _ in self.scores())], *self.score_rows()],
            layers=layers,
            verdict=self.verdict(),
            advice=self.advice,
        )

    def headline(self) -> str:
        """Return a line on the data set: images, boxes and input size."""
        boxes = self.boxes
        small = int((np.min(boxes.wh, axis=1) < 3).sum())
        first = f"{printable(self.data)}: {counted(len(boxes.image_wh), 'image')}, {counted(len(boxes.wh), 'box')}"
        if small:
            first += f" ({grouped(small)} under 3 px)"
        return f"{first}, at {self.imgsz}"

    def scores(self) -> list[tuple[str, AnchorScore]]:
        """Return (name, score) of the earlier anchors, of these anchors, and of these as written to a file."""
        scores = [(self.name, self.score)]
        if self.before is not None:
            scores.insert(0, (self.before_name, self.before))
        if self.written is not None and self.written.digits is not None:
            scores.append(("written", self.written.score))
        return scores

    def score_rows(self) -> list[list[str]]:
        """Return for each measure its label and its value in each of `scores`."""
        rows = [
            ("best possible recall", "bpr", "{:.4f}"),
            (f"anchors/target at thr {self.thr:g}", "aat", "{:.2f}"),
            ("fitness", "fitness", "{:.4f}"),
            ("average IoU", "avg_iou", "{:.4f}"),
        ]
        scores = [score for _, score in self.scores()]
        return [[label, *(form.format(getattr(score, name)) for score in scores)] for label, name, form in rows]

    def verdict(self) -> str:
        """Return sentences that say whether the fit is good, and how it was found."""
        if self.score.is_good:
            outcome = "a good fit"
        else:
            missed = round((1 - self.score.bpr) * self.score.n_boxes)
            outcome = f"a poor fit: {grouped(missed)} boxes match no anchor"
            outcome += "; more anchors help (--n)" if self.fitted else ""
        text = f"{counted(sum(len(layer.anchors) for layer in self.layers), 'anchor')}, {outcome}."
        if self.fitted:
            text += " {method}, seed {seed}, {seconds:.2f} s".format(**self.fitted) + f" on {self.backend}."
        if self.fitted.get("proven"):
            text += " It is proven to be the best single anchor (within 0.000001 of fitness)."
        if self.fitted.get("kept_start"):
            text += " No better anchors were found; the given anchors are kept."
        if self.fitted.get("kept_file"):
            text += f" The file's anchors score the same (within {SAME_SCORE}); the file is unchanged."
        if self.written is not None and self.written.digits is not None:
            digits = self.written.digits
            shown = f"with {digits} decimal{'s' * (digits != 1)}" if digits else "as integers"
            text += f" Written {shown}; the score stays the same (within {SAME_SCORE})."
        if self.certificate is not None:
            text += f" {self.certificate}"
        return text


def measure_layers(table: SizeTable, layers: Sequence[HostArray], thr: float) -> list[LayerUse]:
    """Return how the boxes of `table` use the anchors of each layer, (A, 2) float32 in pixels."""
    uses = table.use(np.concatenate(layers), thr)
    result, first = [], 0
    for anchors in layers:
        own = uses[first : first + len(anchors)]
        first += len(anchors)
        result.append(LayerUse(anchors, table.score(anchors, thr).bpr, sum(use.nearest for use in own)))
    return result


def describe_knee(curve: Curve) -> str:
    """Return the sentence on the knee of a curve, or on why it has none."""
    made = "fitness" if curve.objective == "ratio" else "average IoU"
    if curve.knee is not None:
        return f"Knee: {counted(curve.knee, 'anchor')}. One more adds less than {KNEE_GAIN} of {made}."
    return f"These numbers of anchors do not show the knee, from which one more adds less than {KNEE_GAIN} of {made}."


def describe_left_out(curve: Curve) -> str:
    """Return the sentence on the numbers of anchors that a curve leaves out; "" if it leaves out none."""
    if not curve.left_out:
        return ""
    return f"Not fitted: k >= {curve.left_out[0]}, because there are fewer distinct box sizes."


def list_problems(boxes: BoxSizes, examples: int = 1) -> list[str]:
    """Return a line for each kind of problem: the count, and the first `examples` with file and line."""
    lines = []
    for kind, count in boxes.count_problems().items():
        shown = [str(problem) for problem in boxes.problems if problem.kind == kind][:examples]
        lines.append(f"{count} x {kind}, e.g. {'; '.join(shown)}")
    return lines
