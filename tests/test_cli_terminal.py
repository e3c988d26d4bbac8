"""Test what the command line shows on terminals of 40 and 80 columns, and with --quiet."""

import contextlib
import json
import os
import re
import struct
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from helpers.command import run

from anchorlib.cli import main
from anchorlib.cli.terminal import align_columns, wrap_words
from anchorlib.datasets.io.files import with_bar
from anchorlib.errors import DatasetError

ROOT = Path(__file__).parent.parent
BCCD = str(ROOT / "tests/data/bccd")

COMMANDS = {
    "fit": ["fit", "data", "--n", "3", "--method", "kmeans"],
    "a file of a model": ["fit", "data", "--method", "kmeans", "--out", "m.yaml", "--dry-run"],
    "check": ["check", "data", "--anchors", "m.yaml"],
    "a poor fit": ["check", "data", "--anchors", "10,13,16,30"],
    "curve": ["curve", "data", "--k", "4-6"],
    "check-labels": ["check-labels", "data"],
    "show": ["show", "m.yaml"],
    "verify": ["verify", "--backends", "numpy", "--subject", "decode", "--case", "0"],
    "an error": ["fit", "data", "--n", "100000"],
    "a wrong option": ["fit", "data", "--time-budget", "1 234 567,8"],
}

#: 0.9996, 4 888, 105.8,74.4 or 640x480
NUMBER = re.compile(r"\d+(?: \d{3}(?!\d))*(?:[.,x]\d+)*")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with a data set and a model file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(BCCD)
    (tmp_path / "m.yaml").write_text("anchors:\n  - [10,13, 16,30, 33,23]\n  - [30,61, 62,45, 1059,1119]\n")


def show_on_terminal(arguments, columns, monkeypatch):
    """Run the command in this process with a pseudo-terminal as its streams; return what the terminal gets."""
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown = []

    def collect():
        while True:
            try:
                shown.append(os.read(ours, 65536))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=collect)
    reader.start()
    with monkeypatch.context() as patch, open(theirs, "w", encoding="utf-8") as stream:
        for name in ("stdout", "stderr", "__stdout__"):
            patch.setattr(sys, name, stream)
        patch.setenv("TERM", "dumb")
        patch.delenv("COLUMNS", raising=False)
        with contextlib.suppress(SystemExit):
            main(arguments)
    reader.join()
    os.close(ours)
    return b"".join(shown).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_number_is_broken_and_no_line_is_too_long(folder, name, columns, monkeypatch, capsys):
    shown = show_on_terminal(COMMANDS[name], columns, monkeypatch).rpartition("\r")[2]  # after a bar of progress
    with contextlib.suppress(SystemExit):
        main(COMMANDS[name])
    captured = capsys.readouterr()
    plain = captured.out + captured.err
    for line in shown.split("\n"):
        assert len(line) <= columns or " " not in line.strip(), line  # one word may be longer: a path
    if columns == 40:  # no room for the bars of a curve
        plain = plain.replace("fitness from 0 to 1", "")
    shown, plain = (re.sub(r"\d+\.\d+\ss\b", "", text) for text in (shown, plain))  # how long a fit took
    rows = [line[i : i + columns] for line in shown.split("\n") for i in range(0, len(line), columns)]
    assert sorted(NUMBER.findall("\n".join(rows))) == sorted(NUMBER.findall(plain))


def test_json_and_completion_scripts_are_not_wrapped(folder, monkeypatch):
    shown = show_on_terminal(["check", "data", "--anchors", "m.yaml", "--json"], 40, monkeypatch)
    assert len(json.loads(shown)["anchors"]) == 6
    shown = show_on_terminal(["--print-completion", "bash"], 40, monkeypatch)
    assert max(map(len, shown.split("\n"))) > 100


def test_a_table_gives_up_gaps_then_wraps_its_text_and_keeps_its_numbers():
    table = [["", "a b", "names"], ["best recall", "0.5", "12,13  14,15"]]
    assert align_columns(table, left=(0, 2)) == "               a b  names\n  best recall  0.5  12,13  14,15"
    assert align_columns(table, left=(0, 2), room=31).split("\n") == [
        "             a b names",
        " best recall 0.5 12,13  14,15",
    ]
    assert align_columns(table, left=(0, 2), room=24).split("\n") == [
        "             a b names",
        " best recall 0.5 12,13",
        "                 14,15",
    ]
    assert align_columns(table, left=(0, 2), room=9).split("\n")[1:] == [" best   0.5 12,13", " recall     14,15"]


def test_a_line_is_not_broken_in_a_number():
    assert wrap_words("all 1 234 567 boxes", 10) == ["all", "1 234 567", "boxes"]
    assert wrap_words("  at 12 3456", 8, "    ") == ["  at 12", "    3456"]
    assert wrap_words("", 8) == [""]


def test_quiet_prints_errors_only(folder, capsys):
    assert run("fit", "data", "--quiet", "--out", "n.yaml", capsys=capsys) == (0, "", "")
    assert Path("n.yaml").read_text().startswith("anchors:\n")
    assert run("check", "data", "--anchors", "600,600", "--quiet", capsys=capsys) == (1, "", "")
    code, out, err = run("check", "data", "--anchors", "x.yaml", "--quiet", capsys=capsys)
    assert (code, out, err) == (2, "", "anchorlib: x.yaml: No such file or directory.\n")
    with pytest.raises(SystemExit):
        main(["show", "m.yaml", "--quiet", "--json"])


@pytest.mark.parametrize(
    ("given", "layers"),
    [
        ("10,13,16,30", [[[10, 13], [16, 30]]]),
        ("10,13, 16,30,  33,23,", [[[10, 13], [16, 30], [33, 23]]]),
        ("10 13", [[[10, 13]]]),
        ("1e2,2,10,13,16,30,33,23,30,61,62,45.5", [[[10, 13], [1e2, 2], [16, 30]], [[33, 23], [30, 61], [62, 45.5]]]),
    ],
)
def test_anchors_may_be_given_as_numbers(folder, given, layers, capsys):
    Path("a.json").write_text(json.dumps(layers))
    _, from_file, _ = run("check", "data", "--anchors", "a.json", capsys=capsys)
    _code, out, err = run("check", "data", "--anchors", given, capsys=capsys)
    assert (out.partition("\nNext: ")[0], err) == (from_file.partition("\nNext: ")[0], "")
    assert run("fit", "data", "--method", "kmeans", "--anchors", given, "--quiet", capsys=capsys)[0] == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("10,13,16", "anchors must be pairs of width and height, got 3 numbers."),
        ("10,-3", "anchors has 1 of 1 rows with a side <= 0 (first: row 0, [10.0, -3.0]). Correct it."),
        ("10", "unknown suffix"),  # the name of a file
        ("a,b", "unknown suffix"),
    ],
)
def test_numbers_that_are_not_anchors_are_refused(folder, given, message, capsys):
    code, out, err = run("check", "data", "--anchors", given, capsys=capsys)
    assert (code, out) == (2, "")
    assert message in err


def test_the_seconds_are_shown_from_the_first_one_and_cleared_before_a_message(folder, monkeypatch):
    def read_slowly(*_, **__):
        time.sleep(2.3)
        warnings.warn("careful", stacklevel=1)
        raise DatasetError("no data.")

    monkeypatch.setattr("anchorlib.cli.common.read_boxes", read_slowly)
    shown = show_on_terminal(["fit", "data"], 80, monkeypatch)
    clear = f"\r{' ' * len('anchorlib fit: 1 s')}\r"
    assert shown == (f"anchorlib fit: 1 s{clear}anchorlib fit: 2 s{clear}anchorlib: careful\nanchorlib: no data.\n")
    monkeypatch.setattr("anchorlib.cli.common.read_boxes", lambda *_, **__: read_slowly())
    assert show_on_terminal(["fit", "data", "--quiet"], 80, monkeypatch) == "anchorlib: careful\nanchorlib: no data.\n"


def test_the_first_line_is_there_half_a_second_after_the_command_has_started(folder, monkeypatch):
    """Python and the imports take the other half."""

    def read_slowly(*_, **__):
        time.sleep(0.5)
        raise DatasetError("no data.")

    monkeypatch.setattr("anchorlib.cli.common.read_boxes", read_slowly)
    shown = show_on_terminal(["fit", "data"], 80, monkeypatch)
    assert shown.startswith("anchorlib fit: 1 s\r")


def test_a_bar_takes_the_place_of_the_seconds_once_it_is_printed(folder, monkeypatch):
    def read_with_bar(*_, **__):
        for item in with_bar(range(8), "labels", True, 8):
            time.sleep(0.2 if item else 1.6)  # the bar is printed after its first item
        raise DatasetError("no data.")

    monkeypatch.setattr("anchorlib.cli.common.read_boxes", read_with_bar)
    shown = show_on_terminal(["fit", "data"], 80, monkeypatch)
    seconds, bars = (
        [m.start() for m in re.finditer("anchorlib fit: ", shown)],
        [m.start() for m in re.finditer("labels:", shown)],
    )
    assert len(seconds) >= 2
    assert len(bars) > 3
    assert max(seconds) < min(bars)
    assert shown.endswith("anchorlib: no data.\n")
