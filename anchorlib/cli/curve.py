"""Run `anchorlib curve`: show how the quality of a fit grows with the number of anchors."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any, Optional

from anchorlib.cli.common import (
    add_command,
    add_data_options,
    add_objective_option,
    add_score_options,
    add_seed_option,
    choose_exit_code,
    describe_size,
    on_backend,
    print_json,
    read,
    say_wrote,
    wants_bar,
)
from anchorlib.cli.paths import check_images
from anchorlib.cli.report_option import add_report_option, check_report_file, describe_origin, write_report
from anchorlib.cli.terminal import align_columns, find_room
from anchorlib.fitting.curve import Curve, fit_curve
from anchorlib.reporting import html, matplotlib_plots
from anchorlib.reporting.report import describe_knee, describe_left_out, list_problems
from anchorlib.results import counted, printable

_BAR = 30  # characters of the longest bar, for a value of 1
_SHORTEST_BAR = 15
_OTHER_COLUMNS = 46  # characters of the other columns and the mark of the knee


def add_to(commands: Any) -> None:
    """Add the command `curve` to the parser."""
    command = add_command(
        commands,
        "curve",
        run,
        "fit anchors for each number of anchors, and compare the fits",
        "anchorlib curve data.yaml --k 1-20",
    )
    add_data_options(command)
    add_score_options(command)
    group = command.add_argument_group("options of the curve")
    group.add_argument(
        "--k",
        type=_parse_numbers,
        default="1-12",
        help="numbers of anchors to fit, for example 1-20 or 3,6,9 (default: 1-12)",
    )
    add_objective_option(group)
    add_seed_option(group)
    add_report_option(command)


def run(options: argparse.Namespace) -> int:
    """Read the boxes, fit each number of anchors and print the curve; return the exit code."""
    check_report_file(options.report)
    boxes = read(options)
    check_images(options.report, boxes.image_names)
    curve = fit_curve(
        on_backend(boxes.wh, options),
        options.k,
        thr=options.thr,
        objective=options.objective,
        seed=options.seed,
        progress=wants_bar(options),
    )
    if options.json:
        more = {"imgsz": boxes.imgsz, "resize": boxes.resize, "problems": boxes.count_problems()}
        print_json({"data": options.data, "n_images": len(boxes.image_wh), **more, **curve.to_dict()})
    else:
        counts = f"{counted(len(boxes.image_wh), 'image')}, {counted(len(boxes.wh), 'box')}"
        heading = f"{printable(options.data)}: {counts}, at {describe_size(options)}"
        heading = "\n".join([heading, *(f"  {line}" for line in list_problems(boxes))])
        room = find_room(sys.stdout)
        print(heading, align_columns(_draw_rows(curve, room), left=(4,), room=room), describe_knee(curve), sep="\n\n")
        if curve.left_out:
            print(describe_left_out(curve))
    if options.report:
        made = describe_origin(options)
        write_report(
            options.report,
            html=lambda: html.curve_page(curve, options.data, boxes, made),
            png=lambda: matplotlib_plots.curve_png(curve, options.data),
        )
        say_wrote(options, options.report)
    return choose_exit_code(boxes)


def _draw_rows(curve: Curve, room: Optional[int]) -> list[list[str]]:
    """Return a row for each number of anchors, with a bar from 0 and a mark at the knee; without bars if room lacks."""
    longest = _BAR if room is None else min(_BAR, room - _OTHER_COLUMNS)
    longest = longest if longest >= _SHORTEST_BAR else 0
    made = "fitness" if curve.objective == "ratio" else "average IoU"
    table = [["anchors", "avg IoU", "fitness", "recall", f"{made} from 0 to 1" if longest else ""]]
    for k, value, fit in zip(curve.ks, curve.values, curve.fits):
        bar = "#" * round(longest * value) + ("  " if longest else "") + ("<- knee" if k == curve.knee else "")
        score = fit.score
        table.append([str(k), f"{score.avg_iou:.4f}", f"{score.fitness:.4f}", f"{score.bpr:.4f}", bar.rstrip()])
    return table


def _parse_numbers(text: str) -> list[int]:
    """Return the numbers that a text such as "1-3,6" means, ascending: [1, 2, 3, 6]."""
    numbers: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= 1000:
            raise argparse.ArgumentTypeError(f"expected numbers from 1 to 1000, as in 1-20 or 3,6,9; got {text!r}")
        numbers.update(range(first, last + 1))
    return sorted(numbers)
