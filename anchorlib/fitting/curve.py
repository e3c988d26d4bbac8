"""Fit more and more anchors: the curve from which YOLO9000 chose its five anchors."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from tqdm import tqdm

from anchorlib.arrays import is_integer, take_sizes
from anchorlib.errors import BadValueError
from anchorlib.fitting.anchor_fit import AnchorFit
from anchorlib.fitting.fit import fit_anchors
from anchorlib.results import Result, Row


@dataclass(frozen=True, repr=False)
class Curve(Result):
    """Hold the fits of more and more anchors to the same boxes.

    fits : one AnchorFit for each number of anchors, ascending
    objective : what each fit maximised: "ratio" for fitness, "iou" for average IoU
    left_out : requested numbers of anchors that are greater than the number of distinct sizes
    """

    fits: tuple[AnchorFit, ...]
    objective: str
    left_out: tuple[int, ...] = ()

    @property
    def ks(self) -> list[int]:
        """Return the number of anchors of each fit."""
        return [len(fit.anchors) for fit in self.fits]

    @property
    def knee(self) -> Optional[int]:
        """Return the number of anchors at the knee of the average IoU; see `find_knee`."""
        return find_knee(self.ks, [fit.score.avg_iou for fit in self.fits])

    def to_dict(self) -> dict[str, Any]:
        """Return the knee, and each fit with its number of anchors `k`, for JSON."""
        return {
            "objective": self.objective,
            "knee": self.knee,
            "left_out": list(self.left_out),
            "fits": [{"k": k, **fit.to_dict()} for k, fit in zip(self.ks, self.fits)],
        }

    def __repr__(self) -> str:
        return f"Curve(k = {self.ks[0]} to {self.ks[-1]}, objective {self.objective}, knee at {self.knee})"

    def _table_rows(self) -> list[Row]:
        rows: list[Row] = [("k", "average IoU", "fitness", "best possible recall")]
        for k, fit in zip(self.ks, self.fits):
            score = fit.score
            shown = f"{k}, the knee" if k == self.knee else str(k)
            rows.append((shown, f"{score.avg_iou:.4f}", f"{score.fitness:.4f}", f"{score.bpr:.4f}"))
        return rows


def fit_curve(
    boxes_wh: Any,
    ks: Sequence[int] = range(1, 13),
    *,
    thr: float = 4.0,
    objective: str = "ratio",
    seed: int = 0,
    weights: Optional[Any] = None,
    progress: bool = False,
) -> Curve:
    """Fit each number of anchors by the direct search, to see how average IoU, fitness and BPR grow.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels: an array, a nested list, BoxSizes or SizeCounts, as in `fit_anchors`
    ks : numbers of anchors, each >= 1. Numbers above the number of distinct sizes are left out; `Curve.left_out` has
        them.
    thr, objective, seed, weights : as in `fit_anchors`
    progress : show a progress bar on standard error if the fits take over two seconds

    Returns
    -------
    Curve

    Raises
    ------
    BadValueError : no number of anchors, a number below 1, or boxes that cannot be fitted
    ShapeError, BackendMixError, ArrayTypeError

    Source
    ------
    Figure 2 of "YOLO9000: Better, Faster, Stronger", which uses k-means with the distance 1 - IoU.

    Examples
    --------
    >>> curve = fit_curve(np.asarray([[10., 20.], [12., 20.], [100., 90.], [90., 100.]]), range(1, 6))
    >>> curve
    Curve(k = 1 to 4, objective ratio, knee at 2)
    >>> [round(fit.score.avg_iou, 2) for fit in curve.fits], curve.left_out
    ([0.47, 0.91, 0.95, 1.0], (5,))
    """
    if not isinstance(ks, Iterable) or not (wanted := list(ks)) or not all(is_integer(k, 1) for k in wanted):
        raise BadValueError(f"ks must be numbers of anchors, each an integer >= 1, got {reprlib.repr(ks)}.")
    wanted = sorted({int(k) for k in wanted})
    boxes_wh, weights = take_sizes(boxes_wh, weights)
    fits: list[AnchorFit] = []
    for k in tqdm(wanted, desc="fitting", delay=2, leave=False, disable=not progress):
        try:
            fits.append(fit_anchors(boxes_wh, k, thr=thr, objective=objective, seed=seed, weights=weights))
        except BadValueError:
            if not fits:  # the smallest number fails: the cause is not the number of anchors
                raise
            break
    return Curve(tuple(fits), objective, tuple(wanted[len(fits) :]))


def find_knee(ks: Sequence[int], values: Sequence[float]) -> Optional[int]:
    """Return the k at which a growing curve bends: its point farthest above the line from its first to its last point.

    The knee does not depend on the units of either axis, but it does depend on the first and the last k. The result is
    None for fewer than three points, or if no point is above the line.

    Source
    ------
    Satopää and others, "Finding a 'Kneedle' in a Haystack", 2011, without its smoothing.

    Examples
    --------
    >>> find_knee([1, 2, 3, 4, 5], [0.3, 0.5, 0.8, 0.85, 0.9])
    3
    """
    if len(ks) < 3:
        return None
    slope = (values[-1] - values[0]) / (ks[-1] - ks[0])
    above = [value - values[0] - slope * (k - ks[0]) for k, value in zip(ks, values)]
    highest = max(above)
    return ks[above.index(highest)] if highest > 1e-12 else None
