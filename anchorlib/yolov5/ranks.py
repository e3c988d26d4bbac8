"""One check for all processes that train together: rank 0 measures and fits, and every rank ends with its anchors.

Any rank may fail at any step, and no other may wait for it for ever, or train on with other anchors. So each rank,
whatever happened to it, takes part in the same three sums: how much rank 0 has to tell, what it tells, and how many
ranks failed. If one did, all roll back.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any, Callable, Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.backends import FRAMEWORKS, load
from anchorlib.errors import BackendMissingError, ModelError
from anchorlib.yolov5.detect import Detect


class Ranks:
    """The processes that train together, in the framework that has them in a group; one where there is no group."""

    def __init__(self) -> None:
        self.rank, self.number = 0, 1
        for name, framework in FRAMEWORKS.items():
            if (
                framework.module not in sys.modules or self.number > 1
            ):  # a framework that nobody has imported has no group
                continue
            with contextlib.suppress(BackendMissingError):  # OneFlow in torch's place has its own name too
                self._xp = load(name)
                self.rank, self.number = self._xp.ranks()

    def sum(self, values: Any) -> HostArray:
        """Values of one shape, added up over the ranks, each of which must call this; float64."""
        host = np.asarray(values, np.float64)
        return host if self.number == 1 else self._xp.sum_over_ranks(host)

    def from_first(self, values: Any, shape: tuple[int, ...]) -> HostArray:
        """The values of rank 0: the others add zeros."""
        return self.sum(values if self.rank == 0 else np.zeros(shape))


def check_together(
    ranks: Ranks, find: Callable[[Detect], tuple[Sequence[float], HostArray]], model: Any
) -> list[float]:
    """Give each rank what `find` gives on rank 0, the only one to call it: numbers, and anchors (L, A, 2) in pixels.

    The anchors are written into the model of every rank that has others; the numbers are returned. Where a rank fails,
    its own error is raised there, ModelError on the others, and all models are as before.
    """
    detect: Optional[Detect] = None
    error: Optional[BaseException] = None
    numbers: Sequence[float] = ()
    anchors = np.zeros((0, 0, 2))
    try:
        detect = Detect(model)
        if ranks.rank == 0:
            numbers, anchors = find(detect)
    except BaseException as caught:  # an interrupt too: the others are waiting
        error = caught
    n, *shape = map(int, ranks.from_first([len(numbers), *anchors.shape], (4,)))
    told = ranks.from_first([*numbers, *anchors.ravel()], (n + int(np.prod(shape)),))

    put_back: Callable[[], None] = _nothing
    try:
        if detect is not None and error is None and n:
            put_back = detect.take(told[n:].reshape(shape).astype(np.float32))
    except BaseException as caught:
        error = caught
    try:
        n_failed = int(ranks.sum(float(error is not None)))
    except BaseException:  # a rank is gone, and with it what it would have said
        put_back()
        raise
    if n_failed:
        put_back()
        raise error or ModelError(
            f"{n_failed} of {ranks.number} ranks could not check or take the anchors; their own errors say why."
        )
    return told[:n].tolist()


def _nothing() -> None:
    """Do nothing: there is nothing to roll back."""
