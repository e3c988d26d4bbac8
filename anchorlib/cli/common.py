"""What the commands share: the options of a data set, and the way from them to boxes and a report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.backends import FRAMEWORKS, convert
from anchorlib.cli.terminal import paint
from anchorlib.datasets import BoxSizes, read_boxes
from anchorlib.errors import BackendError, BadValueError
from anchorlib.metrics import AnchorScore, SizeTable
from anchorlib.reporting.report import Report, measure_layers

GOOD, POOR, LOST, BAD_INPUT, INTERRUPTED = 0, 1, 1, 2, 130


def add_command(commands: Any, name: str, run: Any, what: str, example: str) -> argparse.ArgumentParser:
    """A command's parser, with --json; `run(options)` returns the exit code."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=what, epilog=f"example: {example}"
    )
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print one JSON object")
    return command


def add_data(command: argparse.ArgumentParser, split: str = "train") -> Any:
    """DATA and which part of it; the group of options that it makes."""
    group = command.add_argument_group("the data set")
    add = group.add_argument
    add("data", metavar="DATA", help="data.yaml, COCO .json, VOC folder, darknet .data or .txt")
    add("--split", default=split, help=f"train, val, test or all ({split})")
    add("--cache", metavar="FILE", help="keep what was read there, and use it while no file changed")
    add("--workers", type=int, default=1, metavar="N", help="files asked for at a time (1); more for slow disks")
    return group


def add_data_options(command: argparse.ArgumentParser) -> None:
    """DATA and how its boxes are scaled."""
    add = add_data(command).add_argument
    add(
        "--imgsz",
        type=int,
        nargs="+",
        default=[640],
        action=_ImageSize,
        metavar="PX",
        help="the network's input: its long side, or width and height (640)",
    )
    add(
        "--resize",
        choices=("letterbox", "stretch"),
        default="letterbox",
        help="how images are brought to it (letterbox)",
    )


def add_score_options(command: argparse.ArgumentParser) -> None:
    """How anchors are measured, and where."""
    add = command.add_argument_group("the score").add_argument
    add("--thr", type=float, default=4.0, help="ratio limit, YOLOv5's anchor_t (4)")
    add("--backend", choices=tuple(FRAMEWORKS), default="numpy", help="that computes it (numpy)")
    add("--device", help="cpu, cuda, cuda:1 (cpu)")


class _ImageSize(argparse.Action):
    """One side or two."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        if len(values) > 2:
            parser.error(f"{option_string} takes one number, or width and height, got {len(values)}")
        setattr(namespace, self.dest, values)


def read(options: argparse.Namespace, **more: Any) -> BoxSizes:
    """The boxes of DATA, scaled as the options say where they do."""
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
    """Sizes as an array of --backend on --device."""
    try:
        return convert(wh, backend=options.backend, device=options.device)
    # How the frameworks say that there is no such device.
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
    """The report on anchors, in layers, and their score on the boxes of `table`."""
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


def sides(flat: Sequence[float]) -> HostArray:
    """(K, 2) of w h w h ...; BadValueError."""
    if len(flat) % 2:
        raise BadValueError(f"anchors are pairs of width and height, got {len(flat)} numbers.")
    return np.asarray(flat, np.float32).reshape(-1, 2)


def wants_bar(options: argparse.Namespace) -> bool:
    """Whether somebody is looking."""
    return sys.stderr.isatty() and not options.json


def say(options: argparse.Namespace, text: str) -> None:
    """Print what is for people; with --json, nothing."""
    if not options.json:
        print(text)


def show(report: Report, options: argparse.Namespace, **more: Any) -> None:
    """Print the report as it was asked for; `more` goes into the JSON object alone."""
    if options.json:
        print(json.dumps({**report.to_dict(), **more}))
        return
    body, _, verdict = report.to_text().rpartition("\n\n")
    head, line_break, body = body.partition("\n")
    style = "green" if report.score.is_good else "yellow"
    print(f"{paint(head, 'bold', sys.stdout)}{line_break}{body}\n\n{paint(verdict, style, sys.stdout)}")
