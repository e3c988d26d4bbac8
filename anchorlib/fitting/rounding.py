"""Round anchors to the fewest decimals that keep their score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.fitting.order import sort_in_layers
from anchorlib.metrics import AnchorScore, SizeTable

SAME_SCORE = 1e-4  # of BPR, fitness and average IoU
_MOST_DIGITS = 6


@dataclass(frozen=True)
class RoundedAnchors:
    """Hold anchors as they are written to a file.

    anchors : (K, 2) float32, pixels
    digits : decimals of the sides in the unit of the file; None if the sides were not rounded
    score : AnchorScore of these anchors
    """

    anchors: HostArray
    digits: Optional[int]
    score: AnchorScore

    def to_dict(self) -> dict[str, Any]:
        """Return anchors, digits and score in the types of JSON."""
        return {"anchors": self.anchors.tolist(), "digits": self.digits, **score_dict(self.score)}


def score_dict(score: AnchorScore) -> dict[str, float]:
    """Return the measures of a score that a report shows, by name."""
    return {"bpr": score.bpr, "aat": score.aat, "fitness": score.fitness, "avg_iou": score.avg_iou}


def round_anchors(
    table: SizeTable,
    anchors: HostArray,
    thr: float,
    *,
    unit: float = 1.0,
    fixed: Optional[HostArray] = None,
    least: Union[float, HostArray] = 0.0,
    counts: Optional[Sequence[int]] = None,
) -> RoundedAnchors:
    """Round anchors to the fewest decimals for which BPR, fitness and average IoU change by at most 1e-4.

    A good fit also stays good, and a poor one poor. Anchors that no rounding keeps so are returned unchanged.

    Parameters
    ----------
    table : SizeTable of the boxes
    anchors : (K, 2) float32, pixels, sorted by area
    thr : ratio limit, > 1
    unit : pixels per unit of the file: 32 for darknet's [region], else 1
    fixed : (m, 2) float32, pixels, anchors that are not rounded
    least : pixels, one value or (K, 1): lower bound of the rounded sides
    counts : number of anchors of each layer if the anchors are sorted by area only inside the layers

    Examples
    --------
    >>> table = SizeTable(np.asarray([[10.4, 20.2], [99.8, 101.3]], np.float32))
    >>> round_anchors(table, np.asarray([[10.39999, 20.2], [99.8, 101.3]], np.float32), 4.0).digits
    1
    """
    exact = table.score(anchors, thr)
    is_fixed = np.zeros(len(anchors), bool)
    if fixed is not None:
        is_fixed = (anchors[:, None] == fixed[None]).all(axis=-1).any(axis=1)  # (K,)
    for digits in range(_MOST_DIGITS + 1):
        rounded = (np.round(anchors.astype(np.float64) / unit, digits) * unit).astype(np.float32)
        rounded[is_fixed] = anchors[is_fixed]
        rounded = sort_in_layers(rounded, counts)  # rounding may change the order of areas that are almost equal
        if not (rounded >= least).all() or not (rounded > 0).all():
            continue
        score = table.score(rounded, thr)
        if is_same_score(score, exact, ("bpr", "fitness", "avg_iou")):
            return RoundedAnchors(rounded, digits, score)
    return RoundedAnchors(anchors, None, exact)


def is_same_score(one: AnchorScore, other: AnchorScore, measures: Sequence[str]) -> bool:
    """Return True if these measures differ by at most 1e-4, and both fits are good or both are poor."""
    changes = (getattr(one, name) - getattr(other, name) for name in measures)
    return all(abs(change) <= SAME_SCORE for change in changes) and one.is_good == other.is_good
