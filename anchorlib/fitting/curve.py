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

#: The knee is where one more anchor adds less than this to fitness or average IoU.
KNEE_GAIN = 0.01


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
        return [fit.anchors.shape[0] for fit in self.fits]

    @property
    def values(self) -> list[float]:
        """Return what each fit maximised: its fitness, or its average IoU."""
        return [fit.score.fitness if self.objective == "ratio" else fit.score.avg_iou for fit in self.fits]

    @property
    def knee(self) -> Optional[int]:
        """Return the number of anchors at the knee of `values`; see `find_knee`."""
        ks, values = self.ks, self.values
        if self.left_out:  # more anchors than distinct sizes: none of them adds anything
            ks, values = [*ks, self.left_out[0]], [*values, values[-1]]
        return find_knee(ks, values)

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
    progress : show a progress bar on standard error if the fits take over a second

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
    Curve(k = 1 to 4, objective ratio, knee at 4)
    >>> [round(fit.score.avg_iou, 2) for fit in curve.fits], curve.left_out
    ([0.47, 0.91, 0.95, 1.0], (5,))
    """
    if not isinstance(ks, Iterable) or not (wanted := list(ks)) or not all(is_integer(k, 1) for k in wanted):
        raise BadValueError(f"ks must be numbers of anchors, each an integer >= 1, got {reprlib.repr(ks)}.")
    wanted = sorted({int(k) for k in wanted})
    boxes_wh, weights = take_sizes(boxes_wh, weights)
    fits: list[AnchorFit] = []
    for k in tqdm(wanted, desc="fitting", delay=1, leave=False, disable=not progress):
        try:
            fits.append(fit_anchors(boxes_wh, k, thr=thr, objective=objective, seed=seed, weights=weights))
        except BadValueError:
            if not fits:  # the smallest number fails: the cause is not the number of anchors
                raise
            break
    return Curve(tuple(fits), objective, tuple(wanted[len(fits) :]))


def find_knee(ks: Sequence[int], values: Sequence[float]) -> Optional[int]:
    """Return the smallest k from which one more anchor adds less than 0.01 to the value of a growing curve.

    The range of `ks` does not move the knee. The result is None if the range does not show it: there is no such k, the
    curve begins after it, or a number next to it is missing.

    Parameters
    ----------
    ks : numbers of anchors, ascending
    values : fitness or average IoU of each

    Examples
    --------
    >>> values = [0.5, 0.75, 0.8, 0.805, 0.809]
    >>> find_knee([1, 2, 3, 4, 5], values), find_knee([2, 3, 4], values[1:4]), find_knee([4, 5], values[3:])
    (3, 3, None)
    """
    value_of = dict(zip(ks, values))
    for k, value in value_of.items():
        if k + 1 in value_of and value_of[k + 1] - value < KNEE_GAIN:
            return k if k == 1 or k - 1 in value_of else None
    return None
