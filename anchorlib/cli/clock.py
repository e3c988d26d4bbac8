"""Show on a terminal how long a command has been running, from its first second, where no bar of a step is shown."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from anchorlib.cli.streams import TolerantError

_STARTUP = 0.5  # seconds that Python and the imports take before the command runs
_FIRST = 0.85  # seconds after which the first line is shown, so that it is there within a second


@contextlib.contextmanager
def running(command: str, is_shown: bool) -> Iterator[None]:
    """Show the seconds since the start on standard error during the block, and clear them at its end."""
    stream = sys.stderr
    if not is_shown or not isinstance(stream, TolerantError):
        yield
        return
    ended, started = threading.Event(), time.monotonic() - _STARTUP

    def show() -> None:
        wait = _FIRST - _STARTUP
        while not ended.wait(wait):
            if not any(map(_is_shown, list(getattr(tqdm, "_instances", ())))):
                stream.show_status(f"anchorlib {command}: {time.monotonic() - started:.0f} s")
            wait = 1

    clock = threading.Thread(target=show, daemon=True)
    clock.start()
    try:
        yield
    finally:
        ended.set()
        clock.join()
        stream.show_status("")


def _is_shown(bar: Any) -> bool:
    """Return True if a bar of tqdm is on the terminal; one with a delay is there once it has been printed."""
    return bar.delay <= 0 or bar.last_print_t > bar.start_t
