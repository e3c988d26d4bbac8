"""Run `anchorlib check`: measure anchors against a data set."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from anchorlib.arrays import check_thr
from anchorlib.cli.advice import advise_check
from anchorlib.cli.common import (
    add_command,
    add_data_options,
    add_score_options,
    choose_exit_code,
    make_report,
    on_backend,
    print_report,
    read,
    take_anchors,
)
from anchorlib.cli.crowding_lines import add_strides_option, choose_check_strides, measure_crowding
from anchorlib.cli.paths import check_images
from anchorlib.cli.report_option import add_curve_option, add_report_option, check_report_file, write_fit_report
from anchorlib.fitting.rounding import score_dict
from anchorlib.metrics import SizeTable


def add_to(commands: Any) -> None:
    """Add the command `check` to the parser."""
    command = add_command(
        commands, "check", run, "measure anchors against a data set", "anchorlib check data.yaml --anchors model.yaml"
    )
    add_data_options(command)
    add_score_options(command)
    command.add_argument(
        "--anchors",
        metavar="FILE",
        required=True,
        help="file with the anchors to measure: best.pt, model .yaml, darknet .cfg, MMDetection .py, "
        "PaddleDetection .yml or .json; or the numbers, as in 10,13,16,30",
    )
    add_strides_option(command, "leaves the crowding of the layers out")
    add_report_option(command)
    add_curve_option(command)


def run(options: argparse.Namespace) -> int:
    """Read anchors and boxes, score them and print the report; return the exit code."""
    check_report_file(options.report)
    thr = check_thr(options.thr)
    layers = take_anchors(options.anchors)
    strides = choose_check_strides(options, len(layers))
    boxes = read(options, centres=strides is not None)
    check_images(options.report, boxes.image_names)
    wh = on_backend(boxes.wh, options)
    table = SizeTable(wh)
    crowded = measure_crowding(boxes, layers, strides, thr)
    advice, fitted = advise_check(table, replace(boxes, wh=wh), layers, options, strides, crowded)
    report = make_report(
        options,
        boxes,
        table,
        layers,
        table.score(np.concatenate(layers), thr),
        advice=advice,
        crowding=crowded.to_dict() if crowded else None,
    )
    print_report(report, options, same_number_fitted=None if fitted is None else score_dict(fitted))
    write_fit_report(report, options)
    return choose_exit_code(boxes, report.score)
