"""The parity suite: compare the answers of the installed backends.

Every subject of the library runs on seeded inputs on every requested backend and device, and is compared with slow
loops in plain Python, or with NumPy. Exact answers must be bit-identical; losses and gradients have a tolerance.
`anchorlib verify` prints the result; `pytest -p anchorlib.verify --backends oneflow,torch` runs the cases as tests.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Optional

from anchorlib.arrays import check_integer
from anchorlib.errors import BadValueError
from anchorlib.verify.cases import Case, Outcome
from anchorlib.verify.fork_cases import candidate_cases
from anchorlib.verify.library_cases import SUBJECTS
from anchorlib.verify.targets import Target, find_targets

__all__ = ["SUBJECTS", "Case", "Outcome", "Target", "find_targets", "select", "verify"]

pytest_plugins = ("anchorlib.verify.pytest_plugin",)  # read by pytest when this module is its plugin


def select(
    seed: int = 0, *, subject: Optional[str] = None, number: Optional[int] = None, candidates: Sequence[str] = ()
) -> list[Case]:
    """Return the cases of a seed: of all subjects, of one subject, or one case of it.

    Parameters
    ----------
    seed : seed for the generated inputs
    subject, number : which cases; all if None
    candidates : "utils.loss:ComputeLoss" and so on; run their cases instead of the library's: see fork_cases.NAMES

    Raises
    ------
    BadValueError : no subject or case has that name, or a candidate does not import

    Examples
    --------
    >>> (case,) = select(0, subject="build_targets", number=4)
    >>> case.label
    'half cells of 8 x 8'
    """
    seed = check_integer("seed", seed, 0)
    subjects = {spec: functools.partial(candidate_cases, spec) for spec in candidates} or SUBJECTS
    if subject is not None and subject not in subjects:
        raise BadValueError(f"no subject is called {subject!r}; there are {', '.join(subjects)}.")
    made = [case for name, cases in subjects.items() if subject in (None, name) for case in cases(seed)]
    chosen = [case for case in made if number in (None, case.number)]
    if not chosen:
        raise BadValueError(f"{subject or 'no subject'} has no case {number}; the last is {made[-1].number}.")
    return chosen


def verify(cases: Sequence[Case], targets: Sequence[Target]) -> Iterator[Outcome]:
    """Run each case on each backend and device that can run it.

    Parameters
    ----------
    cases : of `select`
    targets : from `find_targets`

    Yields
    ------
    Outcome: equal if its `differences` is empty. A case that needs a gradient, or NumPy's own answers, does not run on
    NumPy.

    Examples
    --------
    >>> outcomes = list(verify(select(0, subject="metrics"), find_targets("numpy")))
    >>> any(outcome.differences for outcome in outcomes)
    False
    """
    for case in cases:
        for target in targets:
            if case.runs_on(target):
                yield Outcome(case, target, case.check(target))
