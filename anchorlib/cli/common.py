"""Share what several commands need: their options, the boxes of a data set, and the printed report."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from anchorlib._version import __version__
from anchorlib.arrays import HostArray, check_sizes
from anchorlib.backends import FRAMEWORKS, convert
from anchorlib.cli.streams import print_unwrapped
from anchorlib.cli.terminal import align_columns, find_room, paint
from anchorlib.datasets import BoxSizes, read_boxes
from anchorlib.datasets.formats import FORMATS
from anchorlib.errors import BadValueError
from anchorlib.fitting.order import sort_by_area
from anchorlib.metrics import OBJECTIVES, AnchorScore, SizeTable
from anchorlib.modelfiles import read_anchors, read_input_size, split_layers
from anchorlib.reporting.report import Report, measure_layers
from anchorlib.results import printable

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_NUMBERS = rf"\s*{_NUMBER}(?:[,\s]+{_NUMBER})+[,\s]*"  # at least two: anything else is the name of a file

LABEL_FORMATS = tuple(known.name for known in FORMATS)
GOOD, POOR, LOST, BAD_INPUT, INTERNAL_ERROR, CLOSED_PIPE = 0, 1, 1, 2, 70, 141


def choose_exit_code(boxes: BoxSizes, score: Optional[AnchorScore] = None) -> int:
    """Return LOST if the system did not let us read a part of the data set, POOR for poor anchors, otherwise GOOD."""
    if any(problem.kind == "unreadable path" for problem in boxes.problems):
        return LOST
    return GOOD if score is None or score.is_good else POOR


def add_command(commands: Any, name: str, run: Any, what: str, example: str) -> argparse.ArgumentParser:
    """Add a command with --json and --quiet, and return its parser; `run(options)` must return the exit code."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=f"{what[0].upper()}{what[1:]}.", epilog=f"example: {example}"
    )
    command.set_defaults(run=run)
    group = command.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    group.add_argument(
        "--quiet", action="store_true", help="print only errors and warnings; the exit code has the result"
    )
    return command


def add_data(command: argparse.ArgumentParser, split: str = "train") -> Any:
    """Add DATA and the options of reading it; return their group."""
    group = command.add_argument_group("options of the data set")
    add = group.add_argument
    add(
        "data",
        nargs="+",
        action=_DataSets,
        metavar="DATA",
        help="data.yaml, COCO .json, VOC folder, darknet .data, .txt list of images, or the export of a labelling "
        "tool; several are read as one data set",
    )
    add("--split", default=split, help=f"part of the data set: train, val, test or all (default: {split})")
    add(
        "--classes",
        type=lambda text: [part.strip() for part in text.split(",") if part.strip()],
        metavar="NAMES",
        help="read only the boxes of these classes: names or numbers, separated by commas",
    )
    add(
        "--data-format",
        choices=LABEL_FORMATS,
        metavar="FORMAT",
        help=f"format of the labels, if it is not recognised: {', '.join(LABEL_FORMATS)}",
    )
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
        type=_parse_size,
        nargs="+",
        action=_ImageSize,
        metavar="PX",
        help="input size of the network: its long side, or width and height, as in 640x480 (default: that of the "
        "darknet .cfg in --out or --anchors, or 640)",
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


class _DataSets(argparse.Action):
    """Keep the paths of the data sets in `paths`, and their names for reports in `data`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        namespace.paths, namespace.data = values, " + ".join(values)


def _parse_size(text: str) -> list[int]:
    """Return [640] for "640", and [640, 480] for "640x480"."""
    try:
        return [int(part) for part in text.lower().replace("\u00d7", "x").split("x")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a size such as 640 or 640x480, got {text!r}") from None


class _ImageSize(argparse.Action):
    """Accept one side, or width and height."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        sides = [side for part in values for side in part]
        if len(sides) > 2:
            parser.error(f"{option_string} takes one number, or width and height; got {len(sides)} numbers")
        setattr(namespace, self.dest, sides)


def choose_size(options: argparse.Namespace) -> None:
    """Set --imgsz, if it is not given, to the input size of the darknet .cfg in --out or --anchors, or to 640.

    `imgsz_from` becomes the file whose size is taken, or None.
    """
    options.imgsz_from = None
    if options.imgsz is not None:
        return
    options.imgsz = [640]
    for file in (getattr(options, "out", None), getattr(options, "anchors", None)):
        size = read_input_size(file) if file else None
        if size is not None:
            options.imgsz, options.imgsz_from = list(dict.fromkeys(size)), file
            return


def read(options: argparse.Namespace, *, centres: bool = False, **more: Any) -> BoxSizes:
    """Read the boxes of DATA, scaled by --imgsz and --resize if the command has these options.

    `centres` keeps the centres, as the pictures of a page need them in any case.
    """
    scaling: dict[str, Any] = {}
    if "imgsz" in options:
        choose_size(options)
        scaling["imgsz"] = options.imgsz[0] if len(options.imgsz) == 1 else tuple(options.imgsz[:2])
        scaling["resize"] = options.resize
    if centres or getattr(options, "report", None):
        scaling["centres"] = True
    return read_boxes(
        options.paths,
        split=options.split,
        classes=options.classes,
        format=options.data_format,
        cache=options.cache,
        workers=options.workers,
        progress=wants_bar(options),
        **scaling,
        **more,
    )


def on_backend(wh: HostArray, options: argparse.Namespace) -> Any:
    """Convert sizes to an array of --backend on --device."""
    return convert(wh, backend=options.backend, device=options.device)


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
        imgsz=describe_size(options),
        backend=f"{options.backend}:{table.device}",
        score=score,
        layers=measure_layers(table, layers, options.thr),
        **compared,
    )


def describe_size(options: argparse.Namespace) -> str:
    """Return the input size for the report, with the file that it was taken from."""
    origin = f" ([net] of {options.imgsz_from}; --imgsz changes it)" if options.imgsz_from else ""
    return f"{'x'.join(map(str, options.imgsz))} px{origin}, {options.resize}"


def parse_sides(flat: Sequence[float]) -> HostArray:
    """Return w h w h ... as (K, 2) float32; BadValueError for an odd count."""
    if len(flat) % 2:
        raise BadValueError(f"anchors must be pairs of width and height, got {len(flat)} numbers.")
    return np.asarray(flat, np.float32).reshape(-1, 2)


def take_anchors(given: str) -> list[HostArray]:
    """Return the layers of --anchors: those of a file, or numbers such as 10,13,16,30, sorted by area."""
    if not re.fullmatch(_NUMBERS, given):
        return read_anchors(given)
    anchors = parse_sides([float(number) for number in re.findall(_NUMBER, given)])
    check_sizes(anchors=anchors)
    return split_layers(sort_by_area(anchors))


def wants_bar(options: argparse.Namespace) -> bool:
    """Return True if a person watches the command: a progress bar is then shown."""
    return sys.stderr.isatty() and not options.json and not options.quiet


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object, with the version of anchorlib."""
    print_unwrapped(json.dumps({"anchorlib": __version__, **result}))


def say(options: argparse.Namespace, text: str) -> None:
    """Print text for people, with unusual characters escaped; print nothing with --json."""
    if not options.json:
        print(printable(text, keep="\n\t"))


def say_wrote(options: argparse.Namespace, path: str) -> None:
    """Print that a file was written."""
    say(options, f"Wrote {printable(path)}.")


def print_report(report: Report, options: argparse.Namespace, **more: Any) -> None:
    """Print the report as text, or as JSON with the keys of `more` added."""
    if options.json:
        print_json({**report.to_dict(), **more})
        return
    parts = report.parts()
    first = [paint(parts.headline, "bold", sys.stdout), *(f"  {line}" for line in parts.problems)]
    verdict = paint(parts.verdict, "green" if report.score.is_good else "yellow", sys.stdout)
    room = find_room(sys.stdout)
    tables = align_columns(parts.scores, room=room), align_columns(parts.layers, left=(0, 3), room=room)
    print("\n".join(first), *tables, "\n".join([verdict, *map(printable, parts.advice)]), sep="\n\n")
