"""anchorlib check-labels: what is wrong with a data set, where, and what to do about it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from anchorlib.cli.common import GOOD, LOST, add_command, add_data, read
from anchorlib.reporting.labels import KINDS, LabelReport


def add_to(commands: Any) -> None:
    """Its options."""
    command = add_command(
        commands, "check-labels", run, "say what is wrong with a data set", "anchorlib check-labels data.yaml"
    )
    add_data(command, split="all")
    command.add_argument(
        "--show", metavar="KIND", choices=KINDS, help=f"every problem of a kind, one a line: {', '.join(KINDS)}"
    )


def run(options: argparse.Namespace) -> int:
    """Read, count, report."""
    boxes = read(options, allow_empty=True)
    report = LabelReport(options.data, options.split, boxes)
    if options.json:
        print(json.dumps(report.to_dict(options.show)))
    elif options.show:
        for problem in report.of_kind(options.show):
            print(problem)
    else:
        print(report.to_text())
    return LOST if report.lost else GOOD
