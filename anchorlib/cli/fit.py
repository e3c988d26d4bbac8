"""anchorlib fit: anchors fitted to a data set, reported, and written to a file."""

from __future__ import annotations

import argparse
from typing import Any, Optional

import numpy as np

from anchorlib import backends
from anchorlib.arrays import HostArray
from anchorlib.cli.common import (
    GOOD,
    POOR,
    add_command,
    add_data_options,
    add_score_options,
    make_report,
    on_backend,
    read,
    say,
    show,
    sides,
    wants_bar,
)
from anchorlib.cli.pictures import add_curve_option, add_report_option, check_report_file, write_fit_report
from anchorlib.errors import BadValueError
from anchorlib.fitting import DISTANCES, INITS, METHODS, UPDATES, fit_anchors
from anchorlib.metrics import OBJECTIVES, SizeTable
from anchorlib.modelfiles import FORMATS, format_of_new_file, read_anchors, split_layers, write_anchors

#: What a fit is compared with: the anchors that YOLOv3 published for COCO, and YOLOv3-tiny's.
KNOWN_ANCHORS = {
    9: [10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326],
    6: [10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319],
}


def add_to(commands: Any) -> None:
    """Its options."""
    command = add_command(
        commands, "fit", run, "fit anchors to a data set", "anchorlib fit data.yaml --n 9 --out anchors.yaml"
    )
    add_data_options(command)
    add_score_options(command)
    add = command.add_argument
    add("--n", type=int, nargs="+", default=[9], help="how many anchors (9), or how many of each layer")
    add("--method", choices=METHODS, default=METHODS[0], help=f"({METHODS[0]})")
    add("--objective", choices=OBJECTIVES, default=OBJECTIVES[0], help="what is made large (ratio)")
    add("--distance", choices=DISTANCES, help="of k-means (euclidean; iou for --objective iou)")
    add("--update", choices=UPDATES, help="of k-means (mean)")
    add("--init", choices=INITS, help="of k-means (random)")
    add("--generations", type=int, help="of --method evolve (1000)")
    add("--seed", type=int, default=0, help="one seed, one answer (0)")
    add("--anchors", metavar="FILE", help="anchors to compare with and, if they are n, to improve")
    add("--fixed", type=float, nargs="+", metavar="PX", help="w h of anchors that stay; of direct")
    add("--min-side", type=float, nargs="+", metavar="PX", help="least side, or one a layer; of direct")
    add("--time-budget", type=float, metavar="S", help="seconds, then the best so far; of direct")
    add("--out", metavar="FILE", help="write the anchors to a new file; its suffix says the format")
    add("--format", choices=FORMATS, help="of --out, where the suffix does not say it")
    add_report_option(command)
    add_curve_option(command)


def run(options: argparse.Namespace) -> int:
    """Read, fit, compare, report, write."""
    check_report_file(options.report)
    if options.out:
        format_of_new_file(options.out, options.format)
    if options.generations is not None and options.method != "evolve":
        raise BadValueError("--generations has no meaning without --method evolve.")
    options.generations = 1000 if options.generations is None else options.generations
    boxes = read(options)
    wh = on_backend(boxes.wh, options)
    old = read_anchors(options.anchors) if options.anchors else None
    fit = fit_anchors(
        wh,
        options.n,
        thr=options.thr,
        method=options.method,
        objective=options.objective,
        seed=options.seed,
        generations=options.generations,
        progress=wants_bar(options),
        distance=options.distance,
        update=options.update,
        init=options.init,
        start=_to_improve(old, options, like=wh),
        fixed=on_backend(sides(options.fixed), options) if options.fixed else None,
        min_side=options.min_side[0] if options.min_side and len(options.min_side) == 1 else options.min_side,
        time_budget=options.time_budget,
    )
    counts = fit.counts if len(fit.counts) > 1 else None
    layers = split_layers(backends.namespace_of(fit.anchors).to_numpy(fit.anchors), counts)
    table = SizeTable(wh)
    report = make_report(
        options,
        boxes,
        table,
        layers,
        fit.score,
        **_compared_with(table, old, sum(fit.counts), options.thr),
        fitted={"seconds": fit.seconds, "method": fit.method, "seed": fit.seed, "kept_start": fit.kept_start},
    )
    show(report, options)
    if options.out:
        write_anchors(options.out, layers, options.format)
        say(options, f"Wrote {options.out}.")
    else:
        say(options, "To keep them, add --out model.yaml (or .cfg, .py, .json).")
    write_fit_report(report, options)
    return GOOD if fit.score.is_good else POOR


def _to_improve(old: Optional[list[HostArray]], options: argparse.Namespace, like: Any) -> Any:
    """The anchors of --anchors as the start of a fit that can improve on them: as many, by a method that takes some."""
    if old is None or options.method == "kmeans" or options.fixed or sum(map(len, old)) != sum(options.n):
        return None
    return backends.convert(np.concatenate(old), like=like)


def _compared_with(table: SizeTable, old: Optional[list[HostArray]], n: int, thr: float) -> dict[str, Any]:
    """What a report says of the anchors that the new ones are compared with, if there are any."""
    if old is not None:
        anchors, name = np.concatenate(old), "before"
    elif n in KNOWN_ANCHORS:
        anchors, name = sides(KNOWN_ANCHORS[n]), "COCO's"
    else:
        return {}
    return {"before": table.score(anchors, thr), "before_name": name, "before_anchors": anchors}
