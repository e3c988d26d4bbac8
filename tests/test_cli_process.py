"""Test the command line as a process: signals at any time, errors that nobody foresaw, warnings as errors."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BCCD = str(ROOT / "tests/data/bccd")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

#: what `python -m anchorlib` runs
THE_COMMAND = """
import runpy, sys
sys.argv = ["anchorlib", *sys.argv[1:]]
runpy.run_module("anchorlib", run_name="__main__", alter_sys=True)
"""

#: sends a signal when a module is imported, then waits: a process that does not end is told from one that does
SIGNAL_AT_IMPORT = """
import os, signal, sys, time
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{number})
            time.sleep(0.05)
sys.meta_path.insert(0, Finder())
"""


def _take_signals():
    """Take the signals that a background job of a shell, or nohup, makes its children ignore."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(*arguments, start_up="", options=(), **environment):
    """Start `python -m anchorlib` after the code `start_up`."""
    return subprocess.Popen(
        [sys.executable, *options, "-c", f"{start_up}\n{THE_COMMAND}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        preexec_fn=_take_signals,
    )


def run(*arguments, **options):
    """Return the exit code, output and errors."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("name", "number", "code"),
    [
        ("anchorlib.cli", "SIGINT", 130),
        ("numpy", "SIGINT", 130),
        ("anchorlib.backends", "SIGTERM", 143),
        ("anchorlib.fitting", "SIGINT", 130),
        ("PIL.Image", "SIGHUP", 129),
    ],
)
def test_a_signal_during_the_import_ends_without_a_traceback(name, number, code):
    found, out, err = run("backends", start_up=SIGNAL_AT_IMPORT.format(name=name, number=number))
    assert (found, out) == (code, "")
    assert err == ("anchorlib: interrupted.\n" if code == 130 else "anchorlib: ended by a signal.\n")


RAISE = "import anchorlib.cli.common as c\ndef read(*a, **b):\n    {what}\nc.read_boxes = read"


@pytest.mark.parametrize(
    ("what", "code", "line"),
    [
        ("raise ZeroDivisionError('oops')", 70, "internal error: ZeroDivisionError in <string>:"),
        ("raise RecursionError('deep')", 70, "internal error: RecursionError"),
        ("import sys; sys.exit(1)", 70, "internal error: SystemExit"),
        ("raise MemoryError('Unable to allocate 8 EiB')", 70, "not enough memory: Unable to allocate 8 EiB."),
        ("raise OSError(5, 'Input/output error', 'x.txt')", 2, "x.txt: Input/output error."),
        ("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(1)", 130, "interrupted."),
        ("import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(1)", 143, "ended by a signal."),
    ],
)
def test_what_nobody_foresaw_has_its_own_exit_code_and_one_line(what, code, line):
    found, out, err = run("fit", BCCD, start_up=RAISE.format(what=what))
    assert (found, out) == (code, "")
    assert err.startswith(f"anchorlib: {line}")
    assert err.count("\n") == 1
    assert ("Please report this" in err) == line.startswith("internal")


def test_the_traceback_is_shown_on_request():
    start_up = RAISE.format(what="raise ZeroDivisionError('oops')")
    found, _, err = run("fit", BCCD, start_up=start_up, ANCHORLIB_TRACEBACK="1")
    assert found == 70
    assert "Traceback" in err


def test_a_signal_in_a_destructor_ends_the_command_all_the_same():
    what = (
        "import os, signal, time\n    class D:\n        def __del__(self):\n"
        "            os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.01)\n    D(); time.sleep(30)"
    )
    started = time.monotonic()
    found, _, err = run("fit", BCCD, start_up=RAISE.format(what=what))
    assert (found, err) == (143, "anchorlib: ended by a signal.\n")
    assert time.monotonic() - started < 20


def test_a_second_signal_does_not_interrupt_the_cleaning_up():
    what = (
        "import os, signal, time\n    try:\n        os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)\n"
        "    finally:\n        os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.1); print('cleaned up')"
    )
    found, out, err = run("fit", BCCD, start_up=RAISE.format(what=what))
    assert (found, out, err) == (143, "cleaned up\n", "anchorlib: ended by a signal.\n")


def test_a_signal_that_the_shell_ignores_stays_ignored():
    ignored = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    what = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); raise OSError('still here')"
    assert run("fit", BCCD, start_up=ignored + RAISE.format(what=what))[::2] == (2, "anchorlib: still here.\n")


@pytest.mark.parametrize(
    "error", ["ImportError('many\\n\\nlines')", "MemoryError()", "OSError(24, 'Too many open files')"]
)
def test_a_broken_installation_ends_with_70_and_one_line(error):
    start_up = f"""
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            raise {error}
sys.meta_path.insert(0, Finder())
"""
    found, _, err = run("backends", start_up=start_up)
    assert found == 70
    assert err.startswith(f"anchorlib: could not start: {error.partition('(')[0]}:")
    assert err.count("\n") == 1
    found, _, err = run("backends", start_up=start_up, ANCHORLIB_TRACEBACK="1")
    assert (found, "Traceback" in err) == (70, True)


@pytest.mark.parametrize(("options", "environment"), [(("-W", "error"), {}), ((), {"PYTHONWARNINGS": "error"})])
def test_warnings_as_errors_do_not_end_the_command(options, environment):
    warn = "import warnings\n    warnings.warn('careful', RuntimeWarning)\n    raise OSError('end')"
    found, _, err = run("fit", BCCD, start_up=RAISE.format(what=warn), options=options, **environment)
    assert (found, err) == (2, "anchorlib: careful\nanchorlib: end.\n")


@pytest.mark.parametrize(
    ("given", "kept"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3"), ({"OMP_NUM_THREADS": "2"}, "None")]
)
def test_numpy_gets_one_blas_thread_unless_the_user_has_chosen_a_number(given, kept):
    say = "import os; print(os.environ.get('OPENBLAS_NUM_THREADS'), 'numpy' in sys.modules)"
    code = f"""
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            sys.meta_path.remove(self)
            {say}
sys.meta_path.insert(0, Finder())
"""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    without = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", code + THE_COMMAND, "--version"]
    ended = subprocess.run(command, env={**without, **given}, cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout.splitlines()[0] == f"{kept} False", ended.stderr


def test_standard_streams_that_are_closed_are_not_given_to_files(tmp_path):
    log = tmp_path / "log"
    opened = f"fd = os.open({str(log)!r}, os.O_WRONLY | os.O_CREAT)"
    what = f"import os; {opened}; os.write(2, b'noise'); raise OSError(str(fd))"
    code = f"{RAISE.format(what=what)}\n{THE_COMMAND}"
    command = [sys.executable, "-c", code, "fit", BCCD]
    ended = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command], cwd=ROOT)
    assert ended.returncode == 2
    assert log.read_bytes() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 8])
def test_a_signal_while_slow_files_are_read_is_answered_in_a_second(number, workers):
    slow = """
import os, time
import anchorlib.datasets.io.files as files
real, called = files.read_regular, []
def read_regular(*arguments):
    called.append(None)
    if len(called) == 2:
        os.write(2, b"reading\\n")
    time.sleep(30 if len(called) == 7 else 0.3)  # one read hangs, as on a network disk
    return real(*arguments)
files.read_regular = read_regular
"""
    process = start("fit", BCCD, "--workers", str(workers), start_up=slow)
    assert process.stderr.readline() == "reading\n"
    time.sleep(0.1)
    sent = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - sent < 1
    assert (process.returncode, out) == (128 + number, "")
    assert err.startswith("anchorlib: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_file_is_written_leaves_the_old_file_and_no_other(tmp_path, number):
    path = tmp_path / "a.json"
    path.write_text("[[1, 2], [3, 4]]")
    slow = f"import os, time\nos.fsync = lambda file: (os.kill(os.getpid(), {int(number)}), time.sleep(5))"
    found, out, _ = run("fit", BCCD, "--out", str(path), start_up=slow)
    assert found == 128 + number
    assert "2 anchors" in out  # what was found is not lost
    assert path.read_text() == "[[1, 2], [3, 4]]"
    assert os.listdir(tmp_path) == ["a.json"]
