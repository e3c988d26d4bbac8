"""Check anchors once for all processes that train together: rank 0 measures and fits, and all ranks get its anchors.

A rank may fail at any step. The others must neither wait for it forever nor continue to train with other anchors.
Therefore every rank, even after an error, takes part in the same three sums: the lengths of what rank 0 sends, the
values that it sends, and the number of ranks that failed. If one failed, all roll back.
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
    """Hold the rank of this process and their number, in the framework that has a process group; else rank 0 of 1."""

    def __init__(self) -> None:
        self.rank, self.number = 0, 1
        for name, framework in FRAMEWORKS.items():
            if framework.module not in sys.modules or self.number > 1:  # what is not imported has no group
                continue
            with contextlib.suppress(BackendMissingError):  # OneFlow that is imported as torch has its own name
                self._xp = load(name)
                self.rank, self.number = self._xp.ranks()

    def sum(self, values: Any) -> HostArray:
        """Return the sum of the values over all ranks, in float64. Each rank must call this, with the same shape."""
        host = np.asarray(values, np.float64)
        return host if self.number == 1 else self._xp.sum_over_ranks(host)

    def from_first(self, values: Any, shape: tuple[int, ...]) -> HostArray:
        """Return the values of rank 0, to which the other ranks add zeros."""
        return self.sum(values if self.rank == 0 else np.zeros(shape))


def check_together(
    ranks: Ranks, find: Callable[[Detect], tuple[Sequence[float], HostArray]], model: Any
) -> list[float]:
    """Call `find` on rank 0, and give every rank its result: numbers, and anchors (L, A, 2) in pixels.

    The anchors are written into the model of each rank, and the numbers are returned. If a rank fails, it raises its
    own error, the others raise ModelError, and no model is changed.
    """
    detect: Optional[Detect] = None
    error: Optional[BaseException] = None
    numbers: Sequence[float] = ()
    anchors = np.zeros((0, 0, 2))
    try:
        detect = Detect(model)
        if ranks.rank == 0:
            numbers, anchors = find(detect)
    except BaseException as caught:  # also an interrupt: the others are waiting
        error = caught
    n, *shape = map(int, ranks.from_first([len(numbers), *anchors.shape], (4,)))
    sent = ranks.from_first([*numbers, *anchors.ravel()], (n + int(np.prod(shape)),))

    restore: Callable[[], None] = _nothing
    try:
        if detect is not None and error is None and n:
            restore = detect.take(sent[n:].reshape(shape).astype(np.float32))
    except BaseException as caught:
        error = caught
    try:
        n_failed = int(ranks.sum(float(error is not None)))
    except BaseException:  # a rank has ended, and cannot be asked
        restore()
        raise
    if n_failed:
        restore()
        raise error or ModelError(
            f"{n_failed} of {ranks.number} ranks could not check or take the anchors; their own errors say why."
        )
    return sent[:n].tolist()


def _nothing() -> None:
    """Do nothing: there is nothing to roll back."""
