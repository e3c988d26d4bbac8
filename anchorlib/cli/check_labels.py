"""Run `anchorlib check-labels`: report problems in the labels, where they are, and what to do about them."""

from __future__ import annotations

import argparse
from typing import Any

from anchorlib.cli.common import GOOD, LOST, add_command, add_data, print_json, read
from anchorlib.reporting.labels import KINDS, LabelReport


def add_to(commands: Any) -> None:
    """Add the command `check-labels` to the parser."""
    command = add_command(
        commands, "check-labels", run, "report problems in the labels of a data set", "anchorlib check-labels data.yaml"
    )
    add_data(command, split="all")
    command.add_argument(
        "--show",
        metavar="KIND",
        choices=KINDS,
        help=f"list every problem of one kind, one per line: {', '.join(KINDS)}",
    )


def run(options: argparse.Namespace) -> int:
    """Read the labels and print what is wrong with them; return the exit code."""
    boxes = read(options, allow_empty=True)
    report = LabelReport(options.data, options.split, boxes)
    if options.json:
        print_json(report.to_dict(options.show))
    elif options.show:
        for problem in report.of_kind(options.show):
            print(problem)
    else:
        print(report.to_text())
    return LOST if report.failed else GOOD
