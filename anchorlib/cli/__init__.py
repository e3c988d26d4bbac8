"""The command line: the only place that prints. One file a command; `common` has what they share.

Exit codes: 0 good, 1 a poor fit, 2 bad input or a missing backend, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Optional

from anchorlib._version import __version__
from anchorlib.cli import backends, check, fit
from anchorlib.cli.common import BAD_INPUT, GOOD, INTERRUPTED
from anchorlib.errors import AnchorlibError, BackendError

#: In the order of `anchorlib --help`.
COMMANDS = (fit, check, backends)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anchorlib",
        description="Anchor boxes for YOLO: measure them against a data set, fit better ones.",
    )
    parser.add_argument("--version", action="version", version=f"anchorlib {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser
