"""Share what several commands need: their options, the boxes of a data set, and the printed report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.backends import FRAMEWORKS, convert
from anchorlib.cli.terminal import align_columns, paint
from anchorlib.datasets import BoxSizes, read_boxes
from anchorlib.errors import BackendError, BadValueError
from anchorlib.metrics import OBJECTIVES, AnchorScore, SizeTable
from anchorlib.reporting.report import Report, measure_layers
from anchorlib.results import printable

GOOD, POOR, LOST, BAD_INPUT, INTERNAL_ERROR, CLOSED_PIPE = 0, 1, 1, 2, 70, 141


def add_command(commands: Any, name: str, run: Any, what: str, example: str) -> argparse.ArgumentParser:
    """Add a command with the option --json and return its parser; `run(options)` must return the exit code."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=f"{what[0].upper()}{what[1:]}.", epilog=f"example: {example}"
    )
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return command


def add_data(command: argparse.ArgumentParser, split: str = "train") -> Any:
    """Add DATA and the options of reading it; return their group."""
    group = command.add_argument_group("options of the data set")
    add = group.add_argument
    add("data", metavar="DATA", help="data.yaml, COCO .json, VOC folder, darknet .data, or .txt list of images")
    add("--split", default=split, help=f"part of the data set: train, val, test or all (default: {split})")
    add("--cache", metavar="FILE", help="file that stores the labels read; it is used again until a file changes")
    add(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="number of reader threads (default: 1); raise it for slow or network disks",
    )
    return group


def add_data_options(command: argparse.ArgumentParser) -> None:
    """Add DATA, the options of reading it, and those of scaling its boxes."""
    add = add_data(command).add_argument
    add(
        "--imgsz",
        type=int,
        nargs="+",
        default=[640],
        action=_ImageSize,
        metavar="PX",
        help="input size of the network: its long side, or width and height (default: 640)",
    )
    add(
        "--resize",
        choices=("letterbox", "stretch"),
        default="letterbox",
        help="how training resizes images to --imgsz (default: letterbox)",
    )


def add_score_options(command: argparse.ArgumentParser) -> None:
    """Add the options of measuring anchors."""
    add = command.add_argument_group("options of the score").add_argument
    add("--thr", type=float, default=4.0, help="ratio limit of a match, YOLOv5's anchor_t (default: 4)")
    add(
        "--backend",
        choices=tuple(FRAMEWORKS),
        default="numpy",
        help="array framework used for scoring (default: numpy)",
    )
    add("--device", help="device of the backend: cpu, cuda or cuda:1 (default: cpu)")


def add_objective_option(command: Any) -> None:
    """Add --objective to a command or group."""
    command.add_argument(
        "--objective",
        choices=OBJECTIVES,
        default=OBJECTIVES[0],
        help=f"quantity to maximise: ratio = fitness, iou = average IoU (default: {OBJECTIVES[0]})",
    )


def add_seed_option(command: Any) -> None:
    """Add --seed to a command or group."""
    command.add_argument(
        "--seed", type=int, default=0, help="seed of the search; the same seed gives the same anchors (default: 0)"
    )


class _ImageSize(argparse.Action):
    """Accept one side, or width and height."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        if len(values) > 2:
            parser.error(f"{option_string} takes one number, or width and height; got {len(values)} numbers")
        setattr(namespace, self.dest, values)


def read(options: argparse.Namespace, **more: Any) -> BoxSizes:
    """Read the boxes of DATA, scaled by --imgsz and --resize if the command has these options."""
    scaling: dict[str, Any] = {}
    if "imgsz" in options:
        scaling["imgsz"] = options.imgsz[0] if len(options.imgsz) == 1 else tuple(options.imgsz[:2])
        scaling["resize"] = options.resize
    return read_boxes(
        options.data,
        split=options.split,
        cache=options.cache,
        workers=options.workers,
        progress=wants_bar(options),
        **scaling,
        **more,
    )


def on_backend(wh: HostArray, options: argparse.Namespace) -> Any:
    """Convert sizes to an array of --backend on --device."""
    try:
        return convert(wh, backend=options.backend, device=options.device)
    except BackendError:
        raise
    # The frameworks raise these errors for a device that does not exist.
    except (RuntimeError, ValueError, AssertionError) as error:
        raise BackendError(f"{options.backend} has no device {options.device!r}: {error}") from error


def make_report(
    options: argparse.Namespace,
    boxes: BoxSizes,
    table: SizeTable,
    layers: Sequence[HostArray],
    score: AnchorScore,
    **compared: Any,
) -> Report:
    """Return the report on anchors, in layers, with their score on the boxes of `table`."""
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


def parse_sides(flat: Sequence[float]) -> HostArray:
    """Return w h w h ... as (K, 2) float32; BadValueError for an odd count."""
    if len(flat) % 2:
        raise BadValueError(f"anchors must be pairs of width and height, got {len(flat)} numbers.")
    return np.asarray(flat, np.float32).reshape(-1, 2)


def wants_bar(options: argparse.Namespace) -> bool:
    """Return True if a person watches the command: a progress bar is then shown."""
    return sys.stderr.isatty() and not options.json


def say(options: argparse.Namespace, text: str) -> None:
    """Print text for people, with unusual characters escaped; print nothing with --json."""
    if not options.json:
        print(printable(text, keep="\n\t"))


def print_report(report: Report, options: argparse.Namespace, **more: Any) -> None:
    """Print the report as text, or as JSON with the keys of `more` added."""
    if options.json:
        print(json.dumps({**report.to_dict(), **more}))
        return
    parts = report.parts()
    first = [paint(parts.headline, "bold", sys.stdout), *(f"  {line}" for line in parts.problems)]
    verdict = paint(parts.verdict, "green" if report.score.is_good else "yellow", sys.stdout)
    print("\n".join(first), align_columns(parts.scores), align_columns(parts.layers, left=(0, 3)), verdict, sep="\n\n")
