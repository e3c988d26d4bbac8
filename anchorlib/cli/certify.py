"""Run `anchorlib certify`: prove how far anchors are, at most, from the best ones for a data set."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from anchorlib.backends import namespace_of
from anchorlib.cli.common import (
    add_command,
    add_data_options,
    add_objective_option,
    add_score_options,
    add_seed_option,
    choose_exit_code,
    on_backend,
    print_json,
    read,
    say,
    take_anchors,
    wants_bar,
)
from anchorlib.fitting import fit_anchors
from anchorlib.fitting.certificate import certify
from anchorlib.results import counted, printable

_GAP, _SECONDS = 0.1, 60.0


def add_to(commands: Any) -> None:
    """Add the command `certify` to the parser."""
    command = add_command(
        commands,
        "certify",
        run,
        "prove how far anchors are, at most, from the best ones",
        "anchorlib certify data.yaml --anchors model.yaml",
    )
    add_data_options(command)
    add_score_options(command)
    group = command.add_argument_group("options of the certificate")
    add = group.add_argument
    anchors = group.add_mutually_exclusive_group()
    anchors.add_argument(
        "--anchors",
        metavar="FILE",
        help="file with the anchors, or numbers such as 10,13,16,30 (default: anchors that are fitted)",
    )
    anchors.add_argument("--n", type=int, default=9, help="number of anchors to fit, without --anchors (default: 9)")
    add_objective_option(group)
    add_seed_option(group)
    add("--gap", type=float, default=_GAP, metavar="PERCENT", help=f"stop at this gap (default: {_GAP:g})")
    add(
        "--time-budget",
        type=float,
        default=_SECONDS,
        metavar="S",
        help=f"stop after this number of seconds; the bound is valid in any case (default: {_SECONDS:g})",
    )


def run(options: argparse.Namespace) -> int:
    """Read boxes and anchors, and print the certificate; return the exit code."""
    anchors = np.concatenate(take_anchors(options.anchors)) if options.anchors else None
    boxes = read(options)
    wh = on_backend(boxes.wh, options)
    if anchors is None:
        fit = fit_anchors(wh, options.n, thr=options.thr, objective=options.objective, seed=options.seed)
        anchors = namespace_of(fit.anchors).to_numpy(fit.anchors)
    found = certify(
        wh,
        anchors.tolist(),
        options.thr,
        objective=options.objective,
        gap=options.gap / 100,
        time_budget=options.time_budget,
        progress=wants_bar(options),
    )
    if options.json:
        print_json({"anchors": anchors.tolist(), **found.to_dict()})
    else:
        print(f"{printable(options.data)}: {counted(len(boxes.image_wh), 'image')}, {counted(len(boxes.wh), 'box')}\n")
        say(options, f"{found} Proven in {found.seconds:.1f} s.")
    return choose_exit_code(boxes)
