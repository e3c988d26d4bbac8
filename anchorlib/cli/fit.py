"""Run `anchorlib fit`: fit anchors to a data set, report them, and write them to a file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any, Optional

import numpy as np

from anchorlib.backends import namespace_of
from anchorlib.cli.advice import advise_fit, choose_compared, next_step
from anchorlib.cli.common import (
    add_command,
    add_data_options,
    add_objective_option,
    add_score_options,
    add_seed_option,
    choose_exit_code,
    make_report,
    on_backend,
    parse_sides,
    print_report,
    read,
    say,
    say_wrote,
    take_anchors,
    wants_bar,
)
from anchorlib.cli.crowding_lines import (
    add_strides_option,
    choose_fit_strides,
    describe_crowding,
    describe_placeholders,
)
from anchorlib.cli.paths import check_images
from anchorlib.cli.report_option import add_curve_option, add_report_option, check_report_file, write_fit_report
from anchorlib.datasets import BoxSizes
from anchorlib.errors import BadValueError
from anchorlib.fitting import DISTANCES, INITS, METHODS, UPDATES, AnchorFit, fit_anchors
from anchorlib.fitting.anchor_fit import Refit
from anchorlib.fitting.certificate import Certificate, certify
from anchorlib.fitting.refit import check_model_file, choose_start, refit
from anchorlib.fitting.rounding import RoundedAnchors
from anchorlib.metrics import SizeTable
from anchorlib.modelfiles import FORMATS, open_anchors, split_layers
from anchorlib.results import counted, printable

_GENERATIONS = 1000


def add_to(commands: Any) -> None:
    """Add the command `fit` to the parser."""
    command = add_command(
        commands, "fit", run, "fit anchors to a data set", "anchorlib fit data.yaml --n 9 --out anchors.yaml"
    )
    add_data_options(command)
    add_score_options(command)
    group = command.add_argument_group("options of the fit")
    add = group.add_argument
    add(
        "--n",
        type=int,
        nargs="+",
        help="number of anchors, or one number for each layer (default: the numbers in the file --out, or 9)",
    )
    add_strides_option(group, "divides the anchors among the layers by area only")
    add_objective_option(group)
    add_seed_option(group)
    add(
        "--anchors",
        metavar="FILE",
        help="file with anchors to compare against, or the numbers, as in 10,13,16,30; also the starting point if "
        "there are exactly N of them",
    )
    add("--method", choices=METHODS, default=METHODS[0], help=f"how to search for anchors (default: {METHODS[0]})")
    add(
        "--certify",
        action="store_true",
        help="prove how far these anchors are, at most, from the best ones (up to a minute, as `anchorlib certify`)",
    )
    add = command.add_argument_group("options of --method direct").add_argument
    add("--fixed", type=float, nargs="+", metavar="PX", help="width and height of each anchor that must stay unchanged")
    add(
        "--min-side",
        type=float,
        nargs="+",
        metavar="PX",
        help="smallest allowed side of an anchor: one value, or one for each layer",
    )
    add("--time-budget", type=float, metavar="S", help="seconds after which the search stops with its best anchors")
    add = command.add_argument_group("options of --method evolve and --method kmeans").add_argument
    add("--generations", type=int, help=f"generations for --method evolve (default: {_GENERATIONS})")
    add(
        "--distance",
        choices=DISTANCES,
        help="distance measure for k-means (default: euclidean; iou with --objective iou)",
    )
    add("--update", choices=UPDATES, help="centroid update for k-means: mean or median (default: mean)")
    add("--init", choices=INITS, help="choice of the first centroids for k-means (default: random)")
    add = command.add_argument_group("options of the output file").add_argument
    add(
        "--out",
        metavar="FILE",
        help="write the anchors into this model file, or to a new file; the suffix selects the format",
    )
    add("--format", choices=FORMATS, help="format of --out, if its suffix does not tell it")
    add("--dry-run", action="store_true", help="show what --out would change, and write nothing")
    add_report_option(command)
    add_curve_option(command)


def run(options: argparse.Namespace) -> int:
    """Read the boxes, fit anchors, print the report and write the file; return the exit code."""
    check_report_file(options.report)
    if options.dry_run and not options.out:
        raise BadValueError("--dry-run shows what --out would change: add --out FILE.")
    n = check_model_file(options.out, options.n, options.format) if options.out else options.n or [9]
    if options.generations is not None and options.method != "evolve":
        raise BadValueError("--generations has no meaning without --method evolve.")
    layers = take_anchors(options.anchors) if options.anchors else None
    strides = choose_fit_strides(options, n, options.out, layers)
    boxes = read(options, centres=strides is not None)
    _check_count(boxes, sum(n), options)
    check_images(options.report, boxes.image_names)
    wh = on_backend(boxes.wh, options)
    placed = replace(boxes, wh=wh)  # with centres, for the crowding of the layers
    before = np.concatenate(layers) if layers else None
    found: Optional[Refit] = None
    if options.out:
        # The file is written after the report is printed: the anchors are not lost if writing fails.
        found = refit(
            options.out,
            placed,
            n,
            format=options.format,
            before=before,
            dry_run=True,
            strides=strides,
            **_fit_options(options),
        )
        fit = found.fit
        if layers is None and found.before is not None:
            layers = open_anchors(options.out, options.format).layers
    else:
        start = choose_start(before, sum(n), method=options.method, fixed=options.fixed)
        fit = fit_anchors(placed, n, start=start, strides=strides, **_fit_options(options))
    anchors = namespace_of(fit.anchors).to_numpy(fit.anchors)
    in_file = found is not None and not found.is_new
    table = SizeTable(wh)
    fitted_layers = split_layers(anchors, fit.counts if fit.strides or in_file or len(n) > 1 else None)
    crowded = fit.crowding if len(fit.counts) > 1 else None
    compared = choose_compared(layers, sum(fit.counts), options.anchors or options.out)
    report = make_report(
        options,
        boxes,
        table,
        fitted_layers,
        fit.score,
        before=table.score(compared.anchors, options.thr),
        before_name=compared.name,
        before_anchors=compared.anchors,
        advice=[
            *advise_fit(table, compared, fit.score, options.thr, boxes.imgsz),
            *describe_crowding(crowded),
            *describe_placeholders(fit),
        ],
        crowding=crowded.to_dict() if crowded else None,
        fitted=_describe_fit(fit, found),
        written=None if found is None else RoundedAnchors(found.anchors, found.digits, found.score),
        certificate=_certify(wh, anchors, options) if options.certify else None,
    )
    if found is None:
        print_report(report, options)
    else:
        print_report(report, options, **({"diff": found.diff} if options.dry_run else {}))
        if not options.dry_run:
            found.write()
        if not found.diff:
            say(options, f"{printable(options.out)} already contains these anchors.")
        elif options.dry_run:
            say(options, f"\n{found.diff}Nothing was written: --dry-run.")
        else:
            say_wrote(options, options.out)
    if step := next_step(options, report, found):
        say(options, step)
    write_fit_report(report, options)
    return choose_exit_code(boxes, fit.score)


def _check_count(boxes: BoxSizes, n: int, options: argparse.Namespace) -> None:
    """Raise BadValueError if there are fewer boxes than anchors because rows were rejected."""
    if len(boxes.wh) < n and boxes.rows_refused:
        raise BadValueError(
            f"{options.data}: {counted(n, 'anchor')} need at least as many boxes, got {len(boxes.wh)}: "
            f"{boxes.rows_refused} of {boxes.rows_read} label rows in split {options.split!r} were rejected. "
            f"`anchorlib check-labels {options.data}` says why."
        )


def _fit_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords of `fit_anchors` that the options give."""
    fixed, least = options.fixed, options.min_side
    return {
        "thr": options.thr,
        "method": options.method,
        "objective": options.objective,
        "seed": options.seed,
        "generations": _GENERATIONS if options.generations is None else options.generations,
        "progress": wants_bar(options),
        "distance": options.distance,
        "update": options.update,
        "init": options.init,
        "fixed": parse_sides(fixed) if fixed else None,
        "min_side": least[0] if least and len(least) == 1 else least,
        "time_budget": options.time_budget,
    }


def _certify(wh: Any, anchors: Any, options: argparse.Namespace) -> Certificate:
    """Return the certificate of fitted anchors; the bound is for anchors with the same --fixed and --min-side."""
    return certify(
        wh,
        anchors.tolist(),
        options.thr,
        objective=options.objective,
        fixed=parse_sides(options.fixed) if options.fixed else None,
        min_side=min(options.min_side) if options.min_side else None,
        progress=wants_bar(options),
    )


def _describe_fit(fit: AnchorFit, found: Optional[Refit]) -> dict[str, Any]:
    """Return how the anchors were found, for the report."""
    return {
        "seconds": fit.seconds,
        "method": fit.method,
        "seed": fit.seed,
        "kept_start": fit.kept_start,
        "proven": fit.proven,
        "kept_file": found is not None and found.kept and not fit.kept_start,
    }
