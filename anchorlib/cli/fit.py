"""anchorlib fit: anchors fitted to a data set, reported, and written to a new file or into a model's."""

from __future__ import annotations

import argparse
import os
from typing import Any, Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.backends import convert, namespace_of
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
from anchorlib.cli.report_option import add_curve_option, add_report_option, check_report_file, write_fit_report
from anchorlib.errors import BadValueError
from anchorlib.fitting import DISTANCES, INITS, METHODS, UPDATES, fit_anchors
from anchorlib.fitting.rounding import RoundedAnchors, is_same_score, round_anchors
from anchorlib.metrics import OBJECTIVES, AnchorScore, SizeTable
from anchorlib.modelfiles import (
    FORMATS,
    AnchorFile,
    edit_anchors,
    format_of_new_file,
    open_anchors,
    read_anchors,
    split_layers,
    write_anchors,
)

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
    add = command.add_argument_group("the fit").add_argument
    add("--n", type=int, nargs="+", help="how many anchors, or how many of each layer (those of --out, or 9)")
    add("--objective", choices=OBJECTIVES, default=OBJECTIVES[0], help="what is made large (ratio)")
    add("--seed", type=int, default=0, help="one seed, one answer (0)")
    add("--anchors", metavar="FILE", help="anchors to compare with and, if they are n, to improve")
    add("--method", choices=METHODS, default=METHODS[0], help=f"how they are found ({METHODS[0]})")
    add = command.add_argument_group("for --method direct alone").add_argument
    add("--fixed", type=float, nargs="+", metavar="PX", help="w h of anchors that stay")
    add("--min-side", type=float, nargs="+", metavar="PX", help="least side, or one for each layer")
    add("--time-budget", type=float, metavar="S", help="seconds, then the best so far")
    add = command.add_argument_group("for --method evolve and kmeans alone").add_argument
    add("--generations", type=int, help="of evolve (1000)")
    add("--distance", choices=DISTANCES, help="of kmeans (euclidean; iou for --objective iou)")
    add("--update", choices=UPDATES, help="of kmeans (mean)")
    add("--init", choices=INITS, help="of kmeans (random)")
    add = command.add_argument_group("what is written").add_argument
    add(
        "--out",
        metavar="FILE",
        help="write the anchors into a model's file, or to a new one; its suffix says the format",
    )
    add("--format", choices=FORMATS, help="of --out, where the suffix does not say it")
    add("--dry-run", action="store_true", help="show what --out would change, and write nothing")
    add_report_option(command)
    add_curve_option(command)


def run(options: argparse.Namespace) -> int:
    """Read, fit, compare, report, write."""
    check_report_file(options.report)
    file = _model_file(options)
    n = _counts(options.n, file, options.out)
    if file and min(n) > 0:  # what it would not take is told before the work of a fit is done
        stand_ins = np.arange(1, 2 * sum(n) + 1, dtype=np.float32).reshape(-1, 2)
        edit_anchors(options.out, split_layers(stand_ins, n), file.form, dry_run=True)
    if options.generations is not None and options.method != "evolve":
        raise BadValueError("--generations has no meaning without --method evolve.")
    options.generations = 1000 if options.generations is None else options.generations
    boxes = read(options)
    wh = on_backend(boxes.wh, options)
    old = read_anchors(options.anchors) if options.anchors else file.layers if file else None
    fixed = sides(options.fixed) if options.fixed else None
    fit = fit_anchors(
        wh,
        n,
        thr=options.thr,
        method=options.method,
        objective=options.objective,
        seed=options.seed,
        generations=options.generations,
        progress=wants_bar(options),
        distance=options.distance,
        update=options.update,
        init=options.init,
        start=_to_improve(old, sum(n), options, like=wh),
        fixed=None if fixed is None else on_backend(fixed, options),
        min_side=options.min_side[0] if options.min_side and len(options.min_side) == 1 else options.min_side,
        time_budget=options.time_budget,
    )
    anchors = namespace_of(fit.anchors).to_numpy(fit.anchors)
    counts = n if file or len(n) > 1 else None
    table = SizeTable(wh)
    written = kept_file = None
    if options.out and fit.kept_start:
        written = RoundedAnchors(anchors, None, fit.score)
    elif options.out:
        kept_file = _as_good(file, n, table, fit.score, options)
        written = kept_file or _rounded(table, anchors, n, file, fixed, options)
    report = make_report(
        options,
        boxes,
        table,
        split_layers(anchors, counts),
        fit.score,
        **_compared_with(table, old, sum(fit.counts), options.thr),
        fitted={
            "seconds": fit.seconds,
            "method": fit.method,
            "seed": fit.seed,
            "kept_start": fit.kept_start,
            "kept_file": kept_file is not None,
        },
        written=written,
    )
    if written is None:
        show(report, options)
        say(options, "To keep them, add --out model.yaml (or .cfg, .py, .json).")
    elif options.dry_run:
        diff = _write(options, file, split_layers(written.anchors, counts))
        show(report, options, diff=diff)
        say(options, f"\n{diff}Nothing was written: --dry-run.")
    else:
        show(report, options)
        diff = _write(options, file, split_layers(written.anchors, counts))
        say(options, f"Wrote {options.out}." if diff else f"{options.out} holds these anchors already.")
    write_fit_report(report, options)
    return GOOD if fit.score.is_good else POOR


def _model_file(options: argparse.Namespace) -> Optional[AnchorFile]:
    """What --out holds, where it is there already."""
    if options.dry_run and not options.out:
        raise BadValueError("--dry-run shows what --out would change; name a file with --out.")
    if options.out and os.path.exists(options.out):
        return open_anchors(options.out, options.format)
    if options.out:
        format_of_new_file(options.out, options.format)
    return None


def _counts(n: Optional[list[int]], file: Optional[AnchorFile], out: str) -> list[int]:
    """How many anchors each layer gets; a number for all is parted evenly over the layers of the file."""
    if file is None:
        return n or [9]
    if n is None:
        return file.counts
    layers = len(file.counts)
    if len(n) == 1 and n[0] % layers == 0:
        return [n[0] // layers] * layers
    if len(n) != layers:
        raise BadValueError(f"{out} has {layers} layers; --n must be a multiple of {layers}, or one number for each.")
    return n


def _write(options: argparse.Namespace, file: Optional[AnchorFile], layers: list[HostArray]) -> str:
    """Write, unless it is a dry run; the change as a diff."""
    if file:
        return edit_anchors(options.out, layers, file.form, dry_run=options.dry_run)
    return write_anchors(options.out, layers, options.format, dry_run=options.dry_run)


def _as_good(
    file: Optional[AnchorFile], n: list[int], table: SizeTable, score: AnchorScore, options: argparse.Namespace
) -> Optional[RoundedAnchors]:
    """The file's own anchors where the fit gains nothing on them, or rounding would change them at every call."""
    if not (file and file.layers and file.counts == n) or options.fixed or options.min_side:
        return None
    anchors = np.concatenate(file.layers)
    own_score = table.score(anchors, options.thr)
    wanted = "fitness" if options.objective == "ratio" else "avg_iou"
    return RoundedAnchors(anchors, None, own_score) if is_same_score(own_score, score, ("bpr", wanted)) else None


def _rounded(
    table: SizeTable,
    anchors: HostArray,
    n: list[int],
    file: Optional[AnchorFile],
    fixed: Optional[HostArray],
    options: argparse.Namespace,
) -> RoundedAnchors:
    """The fitted anchors with as few digits as their score allows, in the unit of the file."""
    least = np.repeat(np.broadcast_to(options.min_side or 0.0, len(n)), n)[:, None]  # (K, 1)
    unit = file.unit if file else 1.0
    return round_anchors(table, anchors, options.thr, unit=unit, fixed=fixed, least=least)


def _to_improve(old: Optional[list[HostArray]], n: int, options: argparse.Namespace, like: Any) -> Any:
    """The anchors to compare with as the start of a fit that can improve on them: as many, and a method that does."""
    if old is None or options.method == "kmeans" or options.fixed or sum(map(len, old)) != n:
        return None
    return convert(np.concatenate(old), like=like)


def _compared_with(table: SizeTable, old: Optional[list[HostArray]], n: int, thr: float) -> dict[str, Any]:
    """What a report says of the anchors that the new ones are compared with, if there are any."""
    if old is not None:
        anchors, name = np.concatenate(old), "before"
    elif n in KNOWN_ANCHORS:
        anchors, name = sides(KNOWN_ANCHORS[n]), "COCO's"
    else:
        return {}
    return {"before": table.score(anchors, thr), "before_name": name, "before_anchors": anchors}
