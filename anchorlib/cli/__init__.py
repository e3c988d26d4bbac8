"""Run the command line, the only part that prints: one file for each command; `common` has what they share.

What a command prints is held until its files are written, and main turns every error into one line and an exit code:
`EXIT_CODES` lists them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np

from anchorlib._version import __version__
from anchorlib.cli import backends, certify, check, check_labels, curve, fit, show, verify
from anchorlib.cli.clock import running
from anchorlib.cli.common import BAD_INPUT, CLOSED_PIPE, GOOD, INTERNAL_ERROR, POOR, wants_bar
from anchorlib.cli.parser import SHELLS, Parser, PrintCompletion
from anchorlib.cli.paths import check_paths
from anchorlib.cli.streams import HeldOutput, TolerantError, discard
from anchorlib.cli.terminal import paint
from anchorlib.errors import AnchorlibError
from anchorlib.results import printable

#: In the order of `anchorlib --help`.
COMMANDS = (fit, check, curve, certify, check_labels, show, backends, verify)

EXIT_CODES = """\
exit codes:
  0    good
  1    a poor fit, lost labels, or backends that differ
  2    bad input, a file that cannot be read or written, or a missing backend
  70   an error inside anchorlib, or not enough memory; ANCHORLIB_TRACEBACK=1 shows the traceback
  130  ended by Ctrl-C; 143 by SIGTERM; 129 by a closed terminal
  141  the reader of standard output closed it, unless --out or --report wrote a file: then 0 or 1"""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line and return the exit code; raise SystemExit for --help and for bad options, as argparse."""
    if arguments is None:
        arguments = sys.argv[1:]
    output, wrote_files = HeldOutput(sys.stdout), False
    tolerant: Any = TolerantError(sys.stderr)
    with contextlib.redirect_stderr(tolerant):
        code, stop = BAD_INPUT, None
        try:
            with contextlib.redirect_stdout(output):
                parser = _parser()
                if arguments:
                    options = parser.parse_args(arguments)
                    options.arguments = list(arguments)  # a report shows the command that made it
                    code = _run(options)
                    wrote_files = _has_files(options)
                    if options.quiet:
                        output.drop()
                else:
                    parser.print_help()
        except SystemExit as end:  # of argparse
            code, stop = int(end.code or 0), end
        except KeyboardInterrupt as error:
            code = _say_interrupted(error)
        code = _release(output, code, wrote_files)
        sys.stderr.flush()
    if stop is not None:
        raise SystemExit(code) from stop
    return code


def _run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code; say what is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            check_paths(options)
            with running(options.command, is_shown=wants_bar(options)):
                return int(options.run(options))
    except AnchorlibError as error:
        return _complain(str(error), BAD_INPUT)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}." if error.filename else f"{error}.", BAD_INPUT)
    except MemoryError as error:
        return _complain(f"not enough memory: {error or 'no details'}. Use less data or smaller numbers.")
    except (Exception, SystemExit) as error:  # SystemExit of a module of --candidate; its code would mislead
        if os.environ.get("ANCHORLIB_TRACEBACK"):
            traceback.print_exc()
        return _complain(_describe_unforeseen(error))


def _has_files(options: argparse.Namespace) -> bool:
    """Return True if the command has written what --out and --report name."""
    named = vars(options)
    return bool(named.get("report") or (named.get("out") and not named["dry_run"]))


def _release(output: HeldOutput, code: int, wrote_files: bool) -> int:
    """Print what the command has held, and return the exit code, which is another if that fails."""
    try:
        output.release()
        return code
    except BrokenPipeError:  # `| head` has read enough
        discard(output.stream)
        return code if wrote_files or code not in (GOOD, POOR) else CLOSED_PIPE
    except OSError as error:
        discard(output.stream)
        _complain(f"standard output: {error.strerror}.", code)
        return code if code not in (GOOD, POOR) else BAD_INPUT
    except KeyboardInterrupt as error:
        discard(output.stream)
        return _say_interrupted(error)


def _describe_unforeseen(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(last.filename)}:{last.lineno}"
    return (
        f"internal error: {type(error).__name__} in {where}: {error}. Please report this with the command and these "
        f"versions: anchorlib {__version__}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"{platform.system()}. ANCHORLIB_TRACEBACK=1 shows more."
    )


def _complain(message: str, code: int = INTERNAL_ERROR) -> int:
    print(f"{paint('anchorlib:', 'red', sys.stderr)} {printable(message)}", file=sys.stderr)
    return code


def _say_interrupted(error: KeyboardInterrupt) -> int:
    """Print a line and return 128 + the number of the signal, which `__main__` puts into the exception."""
    number = error.args[0] if error.args else 2
    return _complain("interrupted." if number == 2 else "ended by a signal.", 128 + number)


def _say_warning(message: Union[Warning, str], *_: Any, **__: Any) -> None:
    """Print a warning as one line, without the file and line of our code."""
    print(f"{paint('anchorlib:', 'yellow', sys.stderr)} {printable(message)}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="anchorlib",
        description="Measure the anchor boxes of a YOLO model against a data set, and fit better ones.",
        epilog=f"example: anchorlib fit data.yaml --n 9 --out model.yaml\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"anchorlib {__version__}")
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=PrintCompletion,
        help="print the completion script for a shell, and exit",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser
