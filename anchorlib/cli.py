"""The command line: the only place that prints.

Exit codes: 0 good, 1 a poor fit, 2 bad input or a missing backend.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from anchorlib import backends
from anchorlib._version import __version__
from anchorlib.arrays import HostArray
from anchorlib.datasets import BoxSizes, read_boxes
from anchorlib.errors import AnchorlibError, BackendError, BadValueError
from anchorlib.fitting import DISTANCES, INITS, METHODS, UPDATES, fit_anchors
from anchorlib.metrics import OBJECTIVES, AnchorScore, SizeTable
from anchorlib.modelfiles import FORMATS, format_of_new_file, read_anchors, split_layers, write_anchors
from anchorlib.reporting.report import Report, measure_layers

GOOD, POOR, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

#: What a fit is compared with: the anchors that YOLOv3 published for COCO, and YOLOv3-tiny's.
KNOWN_ANCHORS = {
    9: [10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326],
    6: [10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319],
}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has read enough; Python would complain once more when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD
    except (AnchorlibError, BackendError, OSError) as error:
        print(f"anchorlib: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("anchorlib: interrupted.", file=sys.stderr)
        return INTERRUPTED


def _fit(options: argparse.Namespace) -> int:
    if options.out:
        format_of_new_file(options.out, options.format)
    if options.generations is not None and options.method != "evolve":
        raise BadValueError("--generations has no meaning without --method evolve.")
    options.generations = 1000 if options.generations is None else options.generations
    boxes = _read(options)
    wh = _on_backend(boxes.wh, options)
    old = read_anchors(options.anchors) if options.anchors else None
    fit = fit_anchors(
        wh,
        options.n,
        thr=options.thr,
        method=options.method,
        objective=options.objective,
        seed=options.seed,
        generations=options.generations,
        progress=_progress(options),
        distance=options.distance,
        update=options.update,
        init=options.init,
        start=_to_improve(old, options, like=wh),
        fixed=_on_backend(_sides(options.fixed), options) if options.fixed else None,
        min_side=options.min_side[0] if options.min_side and len(options.min_side) == 1 else options.min_side,
        time_budget=options.time_budget,
    )
    counts = fit.counts if len(fit.counts) > 1 else None
    layers = split_layers(backends.namespace_of(fit.anchors).to_numpy(fit.anchors), counts)
    table = SizeTable(wh)
    before, before_name = _compared_with(table, old, sum(fit.counts), options.thr)
    report = _report(
        options,
        boxes,
        table,
        layers,
        fit.score,
        before=before,
        before_name=before_name,
        fitted={"seconds": fit.seconds, "method": fit.method, "seed": fit.seed, "kept_start": fit.kept_start},
    )
    _show(report, options)
    if options.out:
        written = write_anchors(options.out, layers, options.format)
        _say(options, f"Wrote {options.out} ({written}).")
    return GOOD if fit.score.is_good else POOR


def _check(options: argparse.Namespace) -> int:
    layers = read_anchors(options.anchors)
    boxes = _read(options)
    wh = _on_backend(boxes.wh, options)
    table = SizeTable(wh)
    report = _report(options, boxes, table, layers, table.score(np.concatenate(layers), options.thr))
    _show(report, options)
    return GOOD if report.score.is_good else POOR


def _backends(options: argparse.Namespace) -> int:
    found = backends.available()
    if options.json:
        print(json.dumps({b.name: {"version": b.version, "devices": b.devices, "problem": b.problem} for b in found}))
    for backend in found if not options.json else []:
        if backend.usable:
            print(f"{backend.name:8} {backend.version:14} {', '.join(backend.devices)}")
        else:
            print(f"{backend.name:8} not here: {backend.problem}")
    return GOOD


def _read(options: argparse.Namespace) -> BoxSizes:
    imgsz: Any = options.imgsz[0] if len(options.imgsz) == 1 else tuple(options.imgsz[:2])
    return read_boxes(
        options.data, imgsz=imgsz, split=options.split, resize=options.resize, progress=_progress(options)
    )


def _on_backend(wh: HostArray, options: argparse.Namespace) -> Any:
    try:
        return backends.convert(wh, backend=options.backend, device=options.device)
    except (
        RuntimeError,
        ValueError,
        AssertionError,
    ) as error:  # how the frameworks say that there is no such device
        raise BackendError(f"{options.backend} has no device {options.device!r}: {error}") from error


def _report(
    options: argparse.Namespace,
    boxes: BoxSizes,
    table: SizeTable,
    layers: Sequence[HostArray],
    score: AnchorScore,
    **compared: Any,
) -> Report:
    return Report(
        data=options.data,
        boxes=boxes,
        thr=options.thr,
        imgsz=f"{'x'.join(str(side) for side in options.imgsz)} px, {options.resize}",
        backend=f"{options.backend}:{table.device}",
        score=score,
        layers=measure_layers(table, layers, options.thr),
        **compared,
    )


def _to_improve(old: Optional[list[HostArray]], options: argparse.Namespace, like: Any) -> Any:
    """The anchors of --anchors as the start of a fit that can improve on them: as many, by a method that takes some."""
    if old is None or options.method == "kmeans" or options.fixed or sum(map(len, old)) != sum(options.n):
        return None
    return backends.convert(np.concatenate(old), like=like)


def _compared_with(
    table: SizeTable, old: Optional[list[HostArray]], n: int, thr: float
) -> tuple[Optional[AnchorScore], str]:
    if old is not None:
        return table.score(np.concatenate(old), thr), "before"
    if n in KNOWN_ANCHORS:
        return table.score(_sides(KNOWN_ANCHORS[n]), thr), "COCO's"
    return None, ""


def _sides(flat: Sequence[float]) -> HostArray:
    """w h w h ... to (K, 2)."""
    if len(flat) % 2:
        raise BadValueError(f"anchors are pairs of width and height, got {len(flat)} numbers.")
    return np.asarray(flat, np.float32).reshape(-1, 2)


def _progress(options: argparse.Namespace) -> bool:
    return sys.stderr.isatty() and not options.json


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.json:
        print(text)


def _show(report: Report, options: argparse.Namespace) -> None:
    print(json.dumps(report.to_dict()) if options.json else report.to_text())


class _ImageSize(argparse.Action):
    """One side or two."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        if len(values) > 2:
            parser.error(f"{option_string} takes one number, or width and height, got {len(values)}")
        setattr(namespace, self.dest, values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anchorlib",
        description="Anchor boxes for YOLO: measure them against a data set, fit better ones.",
    )
    parser.add_argument("--version", action="version", version=f"anchorlib {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    fit = _command(
        commands, "fit", _fit, "fit anchors to a data set", "anchorlib fit data.yaml --n 9 --out anchors.yaml"
    )
    _add_data_options(fit)
    fit.add_argument("--n", type=int, nargs="+", default=[9], help="how many anchors (9), or how many of each layer")
    fit.add_argument("--method", choices=METHODS, default=METHODS[0], help=f"({METHODS[0]})")
    fit.add_argument("--objective", choices=OBJECTIVES, default=OBJECTIVES[0], help="what is made large (ratio)")
    fit.add_argument("--distance", choices=DISTANCES, help="of k-means (euclidean; iou for --objective iou)")
    fit.add_argument("--update", choices=UPDATES, help="of k-means (mean)")
    fit.add_argument("--init", choices=INITS, help="of k-means (random)")
    fit.add_argument("--generations", type=int, help="of --method evolve (1000)")
    fit.add_argument("--seed", type=int, default=0, help="one seed, one answer (0)")
    fit.add_argument("--anchors", metavar="FILE", help="anchors to compare with and, if they are n, to improve")
    fit.add_argument("--fixed", type=float, nargs="+", metavar="PX", help="w h of anchors that stay; of direct")
    fit.add_argument("--min-side", type=float, nargs="+", metavar="PX", help="least side, or one a layer; of direct")
    fit.add_argument("--time-budget", type=float, metavar="S", help="seconds, then the best so far; of direct")
    fit.add_argument("--out", metavar="FILE", help="write the anchors to a new file; its suffix says the format")
    fit.add_argument("--format", choices=FORMATS, help="of --out, where the suffix does not say it")

    check = _command(
        commands,
        "check",
        _check,
        "measure anchors against a data set",
        "anchorlib check data.yaml --anchors model.yaml",
    )
    _add_data_options(check)
    check.add_argument(
        "--anchors", metavar="FILE", required=True, help="model .yaml, darknet .cfg, MMDetection .py, .json"
    )

    there = _command(commands, "backends", _backends, "which frameworks are there", "anchorlib backends")
    there.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _command(commands: Any, name: str, run: Any, what: str, example: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=what, epilog=f"example: {example}"
    )
    command.set_defaults(run=run)
    return command


def _add_data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", metavar="DATA", help="data.yaml, COCO .json, VOC folder, darknet .data or .txt")
    command.add_argument("--split", default="train", help="train, val, test or all (train)")
    command.add_argument(
        "--imgsz", type=int, nargs="+", default=[640], action=_ImageSize, help="long side, or W H (640)"
    )
    command.add_argument("--resize", choices=("letterbox", "stretch"), default="letterbox", help="(letterbox)")
    command.add_argument("--thr", type=float, default=4.0, help="ratio limit, YOLOv5's anchor_t (4)")
    command.add_argument("--backend", choices=tuple(backends.FRAMEWORKS), default="numpy", help="(numpy)")
    command.add_argument("--device", help="cpu, cuda, cuda:1 (cpu)")
    command.add_argument("--json", action="store_true", help="print one JSON object")


if __name__ == "__main__":
    sys.exit(main())
