"""Run `anchorlib verify`: check that all backends, or a fork's own functions, give the same answers."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional

from tqdm import tqdm

from anchorlib._version import __version__
from anchorlib.atomic import write_atomically
from anchorlib.cli import github
from anchorlib.cli.common import BAD_INPUT, GOOD, add_command, say, wants_bar
from anchorlib.cli.terminal import align_columns, find_room
from anchorlib.errors import BadValueError
from anchorlib.files import is_folder

if TYPE_CHECKING:
    from anchorlib.verify import Outcome

DIFFERENT = 1

_SHOWN, _LINES, _LINES_OF_ONE = 5, 4, 20  # cases that differ, and lines of each or of a single one, are printed


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
        help="test a fork's own ComputeLoss, compute_loss, build_targets, check_anchors, kmean_anchors, "
        "check_anchor_order or bbox_iou instead of ours, on the frameworks that its module imports; the module is "
        "imported from the current directory; repeatable",
    )
    add(
        "--differences",
        metavar="FILE",
        help="file for the list of all differences (default: a file in the folder for temporary files, written only if "
        "not all are printed)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the cases, print the differences and a summary table; return the exit code."""
    from anchorlib.verify import find_targets, select, verify  # here, because other commands start without them
    from anchorlib.verify.training import LOSS_RTOL

    started = time.perf_counter()
    folder = os.path.dirname(options.differences or "") or os.curdir
    if options.differences and (is_folder(options.differences) or not is_folder(folder)):
        raise BadValueError(f"--differences {options.differences}: name a file in a folder that exists.")
    with contextlib.redirect_stdout(sys.stderr):  # a candidate may print
        where = find_targets(options.backends, options.devices, own=not options.candidate)
        cases = select(options.seed, subject=options.subject, number=options.case, candidates=options.candidate)
        n_runs = sum(case.runs_on(target) for case in cases for target in where)
        if not n_runs:
            raise BadValueError("no case runs on these backends: a run that compares nothing does not pass.")
        with tqdm(total=n_runs, desc="comparing", delay=1, leave=False, disable=not wants_bar(options)) as bar:
            outcomes = []
            for outcome in verify(cases, where):
                outcomes.append(outcome)
                bar.update()
    seconds = time.perf_counter() - started
    different = [outcome for outcome in outcomes if outcome.differences]
    code = DIFFERENT if different else GOOD
    total = (
        f"{len(outcomes) - len(different)} of {len(outcomes)} equal in {seconds:.1f} s; anchorlib {__version__}, seed "
        f"{options.seed}. Exact answers must be bit-identical; losses and gradients may differ by {LOSS_RTOL:g} of the "
        "largest value."
    )
    if options.json:
        print(json.dumps(_to_dict(options, outcomes, seconds)))
    told = [line for outcome in different[:_SHOWN] for line in _few_lines(outcome, options)]
    if len(different) > _SHOWN:
        told.append(f"and {len(different) - _SHOWN} more cases.")
    try:
        path = _write_list(different, options)
    except OSError as error:  # the results are more important than the list
        told.append(f"The list of all differences was not written: {error.strerror or error}.")
        code = BAD_INPUT
    else:
        told += [f"All differences: {path}"] * (path is not None)
    say(options, "\n".join([*told, _table(outcomes, find_room(sys.stdout)), total]))
    github.annotate([(_name(outcome), outcome.differences[0]) for outcome in different])
    github.summarise("\n".join([_table(outcomes), "", *told]), total)
    return code


def _few_lines(outcome: Outcome, options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines that are printed about a case that differs."""
    shown = _LINES if options.case is None else _LINES_OF_ONE
    yield _name(outcome)
    yield from (f"  {line}" for line in outcome.differences[:shown])
    if len(outcome.differences) > shown:
        yield f"  and {len(outcome.differences) - shown} more"
    yield _again(outcome, options)


def _write_list(different: list[Outcome], options: argparse.Namespace) -> Optional[str]:
    """Write all differences to a file and return its path; None if there is nothing to write."""
    shown = _LINES if options.case is None else _LINES_OF_ONE
    all_printed = len(different) <= _SHOWN and all(len(outcome.differences) <= shown for outcome in different)
    if not different or (options.differences is None and (all_printed or options.json)):
        return None
    lines = [line for outcome in different for line in (_name(outcome), *(f"  {x}" for x in outcome.differences))]
    path = options.differences
    if path is None:
        handle, path = tempfile.mkstemp(prefix="anchorlib-verify-", suffix=".txt")
        os.close(handle)
    write_atomically(path, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    return str(path)


def _name(outcome: Outcome) -> str:
    case = outcome.case
    return f"DIFFERENT {outcome.target}: {case.subject}, case {case.number} ({case.label})"


def _again(outcome: Outcome, options: argparse.Namespace) -> str:
    case, target = outcome.case, outcome.target
    which = f"--candidate {case.subject}" if options.candidate else f"--subject {case.subject!r}"
    where = f"--backends {target.name}:{target.device}"
    return f"  again: anchorlib verify {where} {which} --case {case.number} --seed {options.seed}"


def _table(outcomes: list[Outcome], room: Optional[int] = None) -> str:
    """Return a row for each subject with a column for each backend and device; their versions come first.

    If the columns do not fit into the room, there is a row for each subject and backend.
    """
    ran = Counter((outcome.case.subject, str(outcome.target)) for outcome in outcomes)
    bad = Counter((outcome.case.subject, str(outcome.target)) for outcome in outcomes if outcome.differences)
    columns = {str(outcome.target): outcome.target.xp.version for outcome in outcomes}
    rows = [["", *columns.values()], ["subject", *columns]]
    for subject in dict.fromkeys(outcome.case.subject for outcome in outcomes):
        counts = [(ran[subject, target], bad[subject, target]) for target in columns]
        cells = [f"{n_bad} of {n} DIFFERENT" if n_bad else f"{n} equal" if n else "-" for n, n_bad in counts]
        rows.append([subject, *cells])
    text = align_columns(rows, left=range(len(rows[0])), room=room)
    if room is None or max(map(len, text.split("\n"))) <= room:
        return text
    rows = [[row[0], target, cell] for row in rows[2:] for target, cell in zip(columns, row[1:])]
    return align_columns(rows, left=range(3), room=room)


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
