"""Show on a terminal how long a command has been running, from its first second, where no bar of a step is shown."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from tqdm import tqdm

from anchorlib.cli.streams import TolerantError


@contextlib.contextmanager
def running(command: str, is_shown: bool) -> Iterator[None]:
    """Show the seconds since the start on standard error during the block, and clear them at its end."""
    stream = sys.stderr
    if not is_shown or not isinstance(stream, TolerantError):
        yield
        return
    ended, started = threading.Event(), time.monotonic()

    def show() -> None:
        while not ended.wait(1):
            # a bar of tqdm shows itself after a second of its own
            bars = list(getattr(tqdm, "_instances", ()))
            if not any(time.time() - bar.start_t > 1 for bar in bars):
                stream.show_status(f"anchorlib {command}: {time.monotonic() - started:.0f} s")

    clock = threading.Thread(target=show, daemon=True)
    clock.start()
    try:
        yield
    finally:
        ended.set()
        clock.join()
        stream.show_status("")
