"""Hold what a command prints until its files are written, and survive closed and full streams."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import threading
from typing import Any, TextIO

from anchorlib.cli.terminal import SEQUENCE, find_room, wrap_lines
from anchorlib.results import printable


class HeldOutput(io.StringIO):
    """Collect the text for standard output, so that a closed pipe cannot end a command before its files are written."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream
        self.is_wrapped = True  # on a terminal; JSON and scripts are not

    def drop(self) -> None:
        """Forget what was printed until now."""
        self.truncate(self.seek(0))

    def isatty(self) -> bool:
        """Return True if the text will be shown on a terminal."""
        return self.stream.isatty()

    def release(self) -> None:
        """Write the text to the stream, with every unusual character escaped; OSError, BrokenPipeError."""
        text, encoding = escape_text(self.getvalue(), colours=self.isatty()), self.stream.encoding or "utf-8"
        text = wrap_lines(text, find_room(self.stream)) if self.is_wrapped else text
        self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self.stream.flush()


class TolerantError:
    """Write to standard error, escaped; what cannot be written is lost, and the exit code tells the result."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._status, self._lock = "", threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write the text if the stream takes it; libraries that warn do not escape the names in it."""
        shown = escape_text(text, colours=True, keep="\t\r")  # progress bars need the \\r
        shown = shown if "\r" in shown else wrap_lines(shown, find_room(self.stream))
        with self._lock, contextlib.suppress(OSError):
            self.stream.write(self._cleared() + shown)
        return len(text)

    def show_status(self, status: str) -> None:
        """Show a line on a terminal that the next text replaces; "" clears it."""
        with self._lock, contextlib.suppress(OSError):
            self.stream.write(self._cleared() + status)
            self.stream.flush()
            self._status = status

    def _cleared(self) -> str:
        """Return what clears the status from the terminal."""
        cleared, self._status = f"\r{' ' * len(self._status)}\r" if self._status else "", ""
        return cleared

    def flush(self) -> None:
        """Flush the stream if it takes the text, else drop the text: Python would exit with 120."""
        try:
            self.stream.flush()
        except OSError:
            discard(self.stream)


def print_unwrapped(text: str) -> None:
    """Print a text that programs read: its lines are not wrapped, even on a terminal."""
    if isinstance(sys.stdout, HeldOutput):
        sys.stdout.is_wrapped = False
    print(text)


def escape_text(text: str, colours: bool, keep: str = "\t") -> str:
    """Return text with each unusual character as an escape, except line feeds, `keep` and, if wanted, our colours."""
    text = text.replace("\x7f", "\\u007f")  # the one control character that JSON may have, which has no \\x7f
    parts = re.split(f"({SEQUENCE})", text) if colours else [text]
    for i in range(0, len(parts), 2):
        parts[i] = "\n".join(printable(line, keep=keep) for line in parts[i].split("\n"))
    return "".join(parts)


def discard(stream: TextIO) -> None:
    """Send what a stream still holds to the null device; else Python fails again when it ends."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor, in tests and notebooks
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
