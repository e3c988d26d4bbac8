"""Run `anchorlib verify`: check that all backends, or a fork's own functions, give the same answers."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from anchorlib._version import __version__
from anchorlib.cli.common import GOOD, add_command
from anchorlib.verify import Outcome, find_targets, select, verify
from anchorlib.verify.training import LOSS_RTOL

DIFFERENT = 1

_SHOWN, _LINES = 12, 10  # cases that differ, and lines of one, are printed; --json has all


def add_to(commands: Any) -> None:
    """Add the command `verify` to the parser."""
    command = add_command(
        commands,
        "verify",
        run,
        "check that all backends give the same answers",
        "anchorlib verify --backends oneflow,torch --devices cpu,cuda",
    )
    add = command.add_argument
    add(
        "--backends",
        help="comma-separated backends, with or without a device: oneflow,torch:cuda (default: all that are installed)",
    )
    add(
        "--devices",
        default="cpu",
        help="comma-separated devices, cpu and cuda, for backends given without a device (default: cpu)",
    )
    add("--seed", type=int, default=0, help="seed for the generated inputs (default: 0)")
    add("--subject", help="run only this subject")
    add("--case", type=int, help="run only this case number")
    add(
        "--candidate",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="test a fork's own ComputeLoss, build_targets, check_anchors, kmean_anchors, check_anchor_order or "
        "bbox_iou instead of ours; the module is imported from the current directory; repeatable",
    )


def run(options: argparse.Namespace) -> int:
    """Run the cases, print the differences and a summary table; return the exit code."""
    started = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # a candidate may print
        where = find_targets(options.backends, options.devices, own=not options.candidate)
        cases = select(options.seed, subject=options.subject, number=options.case, candidates=options.candidate)
        outcomes = list(verify(cases, where))
    seconds = time.perf_counter() - started
    different = [outcome for outcome in outcomes if outcome.differences]
    if options.json:
        print(json.dumps(_to_dict(options, outcomes, seconds)))
        return DIFFERENT if different else GOOD
    for outcome in different[:_SHOWN]:
        print(_name(outcome))
        for line in outcome.differences[:_LINES]:
            print(f"  {line}")
        if len(outcome.differences) > _LINES:
            print(f"  and {len(outcome.differences) - _LINES} more")
        print(_again(outcome, options))
    if len(different) > _SHOWN:
        print(f"and {len(different) - _SHOWN} more cases; --json has all.")
    print("\n".join(_table(outcomes)))
    print(
        f"{len(outcomes) - len(different)} of {len(outcomes)} equal in {seconds:.1f} s; anchorlib {__version__}, seed "
        f"{options.seed}. Exact answers must be bit-identical; losses and gradients may differ by {LOSS_RTOL:g} of the "
        "largest value."
    )
    return DIFFERENT if different else GOOD


def _name(outcome: Outcome) -> str:
    case = outcome.case
    return f"DIFFERENT {outcome.target}: {case.subject}, case {case.number} ({case.label})"


def _again(outcome: Outcome, options: argparse.Namespace) -> str:
    case, target = outcome.case, outcome.target
    which = f"--candidate {case.subject}" if options.candidate else f"--subject {case.subject!r}"
    where = f"--backends {target.name}:{target.device}"
    return f"  again: anchorlib verify {where} {which} --case {case.number} --seed {options.seed}"


def _table(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield a row for each subject with a column for each backend and device; their versions come first."""
    ran = Counter((outcome.case.subject, str(outcome.target)) for outcome in outcomes)
    bad = Counter((outcome.case.subject, str(outcome.target)) for outcome in outcomes if outcome.differences)
    columns = {str(outcome.target): outcome.target.xp.version for outcome in outcomes}
    subjects = list(dict.fromkeys(outcome.case.subject for outcome in outcomes))
    first = max(len(subject) for subject in [*subjects, "subject"])
    yield "  ".join([" " * first, *(f"{version:>19}" for version in columns.values())])
    yield "  ".join([f"{'subject':{first}}", *(f"{target:>19}" for target in columns)])
    for subject in subjects:
        cells = []
        for target in columns:
            n, n_bad = ran[subject, target], bad[subject, target]
            cells.append(f"{n_bad} of {n} DIFFERENT" if n_bad else f"{n} equal" if n else "-")
        yield "  ".join([f"{subject:{first}}", *(f"{cell:>19}" for cell in cells)])


def _to_dict(options: argparse.Namespace, outcomes: list[Outcome], seconds: float) -> dict[str, Any]:
    return {
        "anchorlib": __version__,
        "seed": options.seed,
        "seconds": seconds,
        "equal": not any(outcome.differences for outcome in outcomes),
        "versions": {outcome.target.name: outcome.target.xp.version for outcome in outcomes},
        "cases": [
            {
                "subject": outcome.case.subject,
                "case": outcome.case.number,
                "label": outcome.case.label,
                "target": str(outcome.target),
                "differences": outcome.differences,
            }
            for outcome in outcomes
        ],
    }
