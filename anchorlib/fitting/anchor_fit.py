"""The result of a fit: the anchors, their score, and how they were found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anchorlib.arrays import Array, HostArray
from anchorlib.backends import namespace_of
from anchorlib.metrics import AnchorScore
from anchorlib.results import Result, Row, counted


@dataclass(frozen=True, repr=False)
class AnchorFit(Result):
    """Hold fitted anchors, their score, and how they were found.

    anchors : (n, 2), pixels, sorted by area; framework, dtype and device of the boxes
    score : AnchorScore on all boxes, including the boxes that were left out of the fit
    method, seed : the method and the seed of the search
    seconds : wall-clock time of the whole call, in seconds
    counts : number of anchors of each layer, starting with the layer of the smallest stride
    kept_start : True if the search found nothing better than `start`
    """

    anchors: Array
    score: AnchorScore
    method: str
    seed: int
    seconds: float
    counts: tuple[int, ...]
    kept_start: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the anchors as [w, h] with all digits of their float32, the score, and how they were found."""
        return {
            "anchors": self._host_anchors().tolist(),
            "counts": list(self.counts),
            **self.score.to_dict(),
            "method": self.method,
            "seed": self.seed,
            "seconds": self.seconds,
            "kept_start": self.kept_start,
        }

    def __repr__(self) -> str:
        return f"AnchorFit({counted(len(self._host_anchors()), 'anchor')}: {self._sides()}; {self.score})"

    def _table_rows(self) -> list[Row]:
        found = f"{self.method}, seed {self.seed}, {self.seconds:.2f} s"
        return [("anchors (w,h px)", self._sides()), *self.score._table_rows(), ("found by", found)]

    def _sides(self) -> str:
        return "  ".join(f"{w:.1f},{h:.1f}" for w, h in self._host_anchors())

    def _host_anchors(self) -> HostArray:
        return np.asarray(namespace_of(self.anchors).to_numpy(self.anchors))
