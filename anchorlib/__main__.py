"""Run the command line as a process: `python -m anchorlib`, and the installed command `anchorlib`.

Before the signal handlers are set, only the standard library is imported: Ctrl-C never shows a traceback.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import warnings
from typing import Any, NoReturn, Optional

#: SIGHUP is sent when the terminal is closed; Windows does not have it.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_INTERNAL_ERROR = 70  # as cli.common.INTERNAL_ERROR, which cannot be imported here: it imports NumPy

_stopped: Optional[float] = None  # when the command was told to stop


def run() -> NoReturn:
    """Run the command line in this process and end the process with its exit code."""
    _open_missing_streams()
    _handle_signals(_end_at_once)
    code: Any = _INTERNAL_ERROR
    try:
        _use_default_warnings()
        _use_one_blas_thread()
        main = _import_main()
        if hasattr(signal, "pthread_kill"):  # not on Windows
            sys.unraisablehook = _repeat_interrupt
        _handle_signals(_interrupt)
        code = main()
    except KeyboardInterrupt as error:  # it came between two lines of `main`
        code = 128 + (error.args[0] if error.args else signal.SIGINT)
    except SystemExit as end:  # of --help, and of arguments that cannot be parsed
        code = end.code
    _handle_signals(_end_at_once)
    if _stopped is not None:
        os._exit(code)  # a thread may still wait for a slow disk
    sys.exit(code)


def _import_main() -> Any:
    try:
        from anchorlib.cli import main
    except Exception as error:  # a broken installation raises anything
        if os.environ.get("ANCHORLIB_TRACEBACK"):
            import traceback

            traceback.print_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())  # NumPy explains itself in many lines
        _say(f"could not start: {reason}. Check the memory, or install anchorlib and its dependencies again.")
        sys.exit(_INTERNAL_ERROR)
    return main


def _open_missing_streams() -> None:
    """Open the null device for each standard stream that is closed, as git does.

    Otherwise the next file that is opened would get the number of the stream, and a library that prints would write
    into the file.
    """
    descriptor = 0
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _use_default_warnings() -> None:
    """Undo -W and PYTHONWARNINGS: with `error`, a remark of a library would end the command."""
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)


def _use_one_blas_thread() -> None:
    """Let NumPy's OpenBLAS use one thread, unless the user has chosen a number.

    Our products are small. On a busy machine, threads wait for each other longer than they compute.
    """
    if not {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"} & os.environ.keys():
        os.environ["OPENBLAS_NUM_THREADS"] = "1"


def _handle_signals(handler: Any) -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's background job, ignores it
            signal.signal(number, handler)


def _interrupt(number: int, _: Any) -> None:
    """Raise KeyboardInterrupt, so that temporary files are removed; end at once if the first one did not help."""
    global _stopped
    if _stopped is None:
        _stopped = time.monotonic()
        raise KeyboardInterrupt(number)
    if time.monotonic() - _stopped > 1:  # `timeout` sends its signal twice
        _end_at_once(number, _)


def _end_at_once(number: int, _: Any) -> None:
    _say("interrupted." if number == signal.SIGINT else "ended by a signal.")
    os._exit(128 + number)


def _repeat_interrupt(unraisable: Any) -> None:
    """Repeat an interrupt that came in a destructor, where Python would print the exception and go on."""
    global _stopped
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        return sys.__unraisablehook__(unraisable)
    import threading

    _stopped = None
    number = unraisable.exc_value.args[0] if unraisable.exc_value and unraisable.exc_value.args else signal.SIGINT
    threading.Timer(0.01, signal.pthread_kill, [threading.main_thread().ident, number]).start()


def _say(text: str) -> None:
    """Write a line to standard error, if that is possible."""
    with contextlib.suppress(OSError):
        os.write(2, f"anchorlib: {text}\n".encode("utf-8", "backslashreplace"))


if __name__ == "__main__":
    run()
