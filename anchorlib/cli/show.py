"""Run `anchorlib show`: print the anchors in a checkpoint or model file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from anchorlib.cli.common import BAD_INPUT, GOOD, add_command, print_json
from anchorlib.cli.terminal import paint
from anchorlib.errors import BadValueError
from anchorlib.modelfiles import may_be_checkpoint, open_anchors, read_checkpoint
from anchorlib.results import counted, printable


def add_to(commands: Any) -> None:
    """Add the command `show` to the parser."""
    command = add_command(
        commands,
        "show",
        run,
        "show the anchors of a checkpoint or model file, without running any code in it",
        "anchorlib show best.pt",
    )
    command.add_argument(
        "file", metavar="FILE", help="checkpoint of PyTorch or OneFlow, or model file (.yaml, .cfg, .py, .json)"
    )
    command.add_argument(
        "--strides",
        type=float,
        nargs="+",
        metavar="PX",
        help="layer strides, in file order, for a state_dict that does not store them",
    )


def run(options: argparse.Namespace) -> int:
    """Read the file and print its anchors; return 2 for a checkpoint that would run code when loaded."""
    if may_be_checkpoint(Path(options.file)):
        return _show_checkpoint(options)
    if options.strides:
        raise BadValueError("--strides has no meaning for a model file, whose anchors are in pixels.")
    file = open_anchors(options.file)
    if options.json:
        anchors = None if file.layers is None else [layer.tolist() for layer in file.layers]
        print_json({"path": options.file, "format": file.format, "anchors": anchors, "counts": file.counts})
        return GOOD
    print(f"{printable(options.file)}: {file.format}, {counted(len(file.counts), 'layer')}")
    if file.layers is None:
        print(
            f"  {file.counts[0]} anchors per layer, not yet fitted: anchorlib fit DATA --out {printable(options.file)}"
        )
    for layer in file.layers or ():
        print("  " + "  ".join(f"{w:g} x {h:g}" for w, h in layer))
    return GOOD


def _show_checkpoint(options: argparse.Namespace) -> int:
    checkpoint = read_checkpoint(options.file, strides=options.strides, calls="report")
    if options.json:
        print_json(checkpoint.to_dict())
    else:
        summary, warning = checkpoint.describe()
        print(printable(summary, keep="\n"))
        if warning:
            print(paint(printable(warning, keep="\n"), "red", sys.stdout))
    return BAD_INPUT if checkpoint.refused else GOOD
