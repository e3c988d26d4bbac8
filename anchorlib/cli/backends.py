"""Run `anchorlib backends`: list the array frameworks that are installed."""

from __future__ import annotations

import argparse
import json
from typing import Any

from anchorlib.backends import available
from anchorlib.cli.common import GOOD, add_command


def add_to(commands: Any) -> None:
    """Add the command `backends` to the parser."""
    add_command(commands, "backends", run, "list the array frameworks that are installed", "anchorlib backends")


def run(options: argparse.Namespace) -> int:
    """Print a line for each framework, or one JSON object."""
    found = available()
    if options.json:
        print(json.dumps({b.name: {"version": b.version, "devices": b.devices, "problem": b.problem} for b in found}))
        return GOOD
    for backend in found:
        if backend.usable:
            print(f"{backend.name:8} {backend.version:14} {', '.join(backend.devices)}")
        else:
            print(f"{backend.name:8} not available: {backend.problem}")
    return GOOD
