"""anchorlib curve: how the fit grows with the number of anchors."""

from __future__ import annotations

import argparse
import re
from typing import Any

from anchorlib.cli.common import (
    GOOD,
    add_command,
    add_data_options,
    add_score_options,
    on_backend,
    read,
    say,
    wants_bar,
)
from anchorlib.cli.report_option import add_report_option, check_report_file, origin, write_report
from anchorlib.fitting.curve import fit_curve
from anchorlib.metrics import OBJECTIVES
from anchorlib.reporting import html, matplotlib_plots
from anchorlib.reporting.report import curve_text
from anchorlib.results import counted


def add_to(commands: Any) -> None:
    """Its options."""
    command = add_command(
        commands, "curve", run, "fit against the number of anchors", "anchorlib curve data.yaml --k 1-20"
    )
    add_data_options(command)
    add_score_options(command)
    command.add_argument("--k", type=_numbers, default="1-12", help="numbers of anchors, as in 1-20 or 3,6,9 (1-12)")
    command.add_argument("--objective", choices=OBJECTIVES, default=OBJECTIVES[0], help="what is made large (ratio)")
    command.add_argument("--seed", type=int, default=0, help="one seed, one answer (0)")
    add_report_option(command)


def run(options: argparse.Namespace) -> int:
    """Read, fit each number, show."""
    check_report_file(options.report)
    boxes = read(options)
    curve = fit_curve(
        on_backend(boxes.wh, options),
        options.k,
        thr=options.thr,
        objective=options.objective,
        seed=options.seed,
        progress=wants_bar(options),
    )
    found = f"{options.data}: {counted(len(boxes.image_wh), 'image')}, {counted(len(boxes.wh), 'box')}"
    print(curve.to_json() if options.json else f"{found}\n\n{curve_text(curve)}")
    if options.report:
        made = origin(options)
        write_report(
            options.report,
            html=lambda: html.curve_page(curve, options.data, boxes, made),
            png=lambda: matplotlib_plots.curve_png(curve, options.data),
        )
        say(options, f"Wrote {options.report}.")
    return GOOD


def _numbers(text: str) -> list[int]:
    """1-3,6 is 1, 2, 3, 6."""
    numbers: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= 1000:
            raise argparse.ArgumentTypeError(f"numbers from 1 to 1000, as in 1-20 or 3,6,9, got {text!r}")
        numbers.update(range(first, last + 1))
    return sorted(numbers)
