"""Run the command line, the only part that prints: one file for each command; `common` has what they share.

Exit codes: 0 good; 1 a poor fit, lost labels or different backends; 2 bad input or a missing backend;
130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Optional, Union

from anchorlib._version import __version__
from anchorlib.cli import backends, check, check_labels, curve, fit, show, verify
from anchorlib.cli.common import BAD_INPUT, GOOD, INTERRUPTED
from anchorlib.cli.terminal import Parser, paint
from anchorlib.errors import AnchorlibError
from anchorlib.results import printable

#: In the order of `anchorlib --help`.
COMMANDS = (fit, check, curve, check_labels, show, backends, verify)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line and return the exit code."""
    if arguments is None:
        arguments = sys.argv[1:]
    parser = _parser()
    if not arguments:
        parser.print_help()
        return BAD_INPUT
    options = parser.parse_args(arguments)
    options.arguments = list(arguments)  # a report shows the command that made it
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            code = int(options.run(options))
        sys.stdout.flush()
        return code
    except (
        BrokenPipeError
    ):  # `| head` has read enough; without this, Python reports the error again when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD
    except AnchorlibError as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}." if error.filename else str(error))
    except KeyboardInterrupt:
        print("anchorlib: interrupted.", file=sys.stderr)
        return INTERRUPTED


def _complain(message: str) -> int:
    print(f"{paint('anchorlib:', 'red', sys.stderr)} {printable(message)}", file=sys.stderr)
    return BAD_INPUT


def _say_warning(message: Union[Warning, str], *_: Any, **__: Any) -> None:
    """Print a warning as one line, without the file and line of our code."""
    print(f"{paint('anchorlib:', 'yellow', sys.stderr)} {printable(message)}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="anchorlib",
        description="Measure the anchor boxes of a YOLO model against a data set, and fit better ones.",
        epilog="example: anchorlib fit data.yaml --n 9 --out model.yaml",
    )
    parser.add_argument("--version", action="version", version=f"anchorlib {__version__}")
    parser.add_argument(
        "--print-completion",
        choices=("bash", "zsh", "tcsh"),
        action=_PrintCompletion,
        help="print the completion script for a shell, and exit",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser


class _PrintCompletion(argparse.Action):
    """Print the completion script that shtab makes from the parser."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        try:
            import shtab
        except ImportError:
            parser.error("--print-completion needs shtab: pip install 'anchorlib[completion]'")
        print(shtab.complete(parser, values))
        parser.exit()
