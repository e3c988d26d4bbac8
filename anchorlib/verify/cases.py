"""A case: one input, the function that runs on it, and the expected answers."""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np

from anchorlib.verify.compare import Answers, differences
from anchorlib.verify.targets import Target


@dataclass(frozen=True)
class Case:
    """A case: one input of one subject.

    subject, number, label : "build_targets", 4, "half cells"; subject, number and seed make the same case again
    run : computes the answers on a target
    expected : the answers of the reference
    rtol : 0 if the answers must be bit-identical, else the tolerance of `differences`
    compare : called instead of `differences`; (found, expected) to lines
    needs_gradient : it runs only on frameworks that differentiate
    is_numpys : the expected answers are NumPy's own, so it does not run on NumPy
    frameworks : the backends that a fork's code imports; it runs on others only if they are requested by name; None for
        every backend
    """

    subject: str
    number: int
    label: str
    run: Callable[[Target], Answers]
    expected: Callable[[], Answers]
    rtol: float = 0.0
    compare: Optional[Callable[[Answers, Answers], list[str]]] = None
    needs_gradient: bool = False
    is_numpys: bool = False
    frameworks: Optional[tuple[str, ...]] = None

    def runs_on(self, target: Target) -> bool:
        """Return True if the case has something to compare on this target."""
        if self.is_numpys and target.name == "numpy":
            return False
        if self.frameworks is not None and target.name not in self.frameworks and not target.is_requested:
            return False
        return target.has_gradient or not self.needs_gradient

    def check(self, target: Target) -> list[str]:
        """Run the case on a target and compare: return a line for each difference."""
        with target.running(), np.errstate(all="ignore"), _without_log():
            try:
                found = self.run(target)
                compare = self.compare or functools.partial(differences, rtol=self.rtol)
                lines = compare(found, self.expected())
                if target.inputs_written():
                    lines = [*lines, "an input was written to"]
            except Exception as error:  # a difference like any other
                at = traceback.extract_tb(error.__traceback__)[-1]
                message = str(error).strip().splitlines()
                lines = [f"raised {type(error).__name__}: {message[0] if message else ''} ({at.filename}:{at.lineno})"]
        return lines


@contextmanager
def _without_log() -> Iterator[None]:
    """Suppress what autoanchor logs while a case runs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@dataclass(frozen=True)
class Outcome:
    """The result of a case on a target; equal if `differences` is empty."""

    case: Case
    target: Target
    differences: list[str]


@dataclass
class Cases:
    """The list of the cases of one subject, while it is made.

    Each case draws its own random numbers, from the seed, the subject and its number. `frameworks` is that of Case.
    """

    subject: str
    seed: int
    frameworks: Optional[tuple[str, ...]] = None
    made: list[Case] = field(default_factory=list)

    def rng(self) -> np.random.Generator:
        """Return the generator of the next case."""
        return np.random.default_rng([self.seed, len(self.made), *self.subject.encode()])

    def add(
        self, label: str, run: Callable[[Target], Answers], expected: Callable[[], Answers], **options: Any
    ) -> None:
        """Add a case. `expected` is called once, when its answers are needed."""
        self.made.append(
            Case(
                self.subject,
                len(self.made),
                label,
                run,
                functools.lru_cache(maxsize=1)(expected),
                frameworks=self.frameworks,
                **options,
            )
        )
