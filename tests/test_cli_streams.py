"""Test every command with standard output or error closed, full, or read in part: exit code, files, no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import forks
from PIL import Image

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")

ROOT = Path(__file__).parent.parent

#: name -> arguments, exit code when all goes well, files that must be written
COMMANDS = {
    "fit": ("fit data --n 2 --out o.yaml --report r.html --no-curve", 0, {"o.yaml", "r.html"}),
    "fit without a file": ("fit data --n 2", 0, set()),
    "a poor fit": ("check data --anchors poor.json --report r.html --no-curve", 1, {"r.html"}),
    "check": ("check data --anchors poor.json", 1, set()),
    "curve": ("curve data --k 1-2 --report c.html", 0, {"c.html"}),
    "certify": ("certify data --n 1", 0, set()),
    "check-labels": ("check-labels data", 1, set()),
    "100 KB of problems": ("check-labels data --show KIND", 1, set()),
    "show": ("show poor.json", 0, set()),
    "backends": ("backends", 0, set()),
    "verify": ("verify --backends numpy --subject decode --case 0", 0, set()),
    "--version": ("--version", 0, set()),
    "--help": ("--help", 0, set()),
    "help of fit": ("fit --help", 0, set()),
    "completion": ("--print-completion bash", 0, set()),
    "a missing file": ("fit nowhere", 2, set()),
    "a misspelt option": ("fit data --metod x", 2, set()),
}

KIND = "wrong number of fields"

HOW = ["closed", "full", 0, 1, 100]
BOTH = [(how, how) for how in HOW]
ONE = [pair for how in HOW for pair in ((how, "kept"), ("kept", how))]
RUNS = [(name, *streams) for name in COMMANDS for streams in BOTH]
RUNS += [(name, *streams) for name in ("fit", "show", "a misspelt option") for streams in ONE]


def arguments(name):
    return [KIND if word == "KIND" else word for word in COMMANDS[name][0].split()]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return {(name, out, err): result}; "kept" twice shows what a command prints if all goes well."""
    folder = tmp_path_factory.mktemp("streams")
    data = folder / "files/data"
    for name in ("images", "labels"):
        (data / name).mkdir(parents=True)
    Image.new("L", (64, 64)).save(data / "images/1.png")
    rows = "0 0.5 0.5 0.5 0.25\n0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.25 0.75\n" + "broken\n" * 2000
    (data / "labels/1.txt").write_text(rows, encoding="utf-8")
    (data / "data.yaml").write_text("train: images\nnames: [a]\n", encoding="utf-8")
    (folder / "files/poor.json").write_text("[[9, 9]]", encoding="utf-8")
    keys = [*RUNS, *((name, "kept", "kept") for name in COMMANDS)]
    cases = [{"arguments": arguments(name), "out": out, "err": err} for name, out, err in keys]
    ran = subprocess.run(
        [sys.executable, forks.__file__, str(folder)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip(keys, json.loads(ran.stdout)))


@pytest.mark.parametrize(("name", "out", "err"), RUNS)
def test_streams_that_fail_change_neither_files_nor_the_meaning_of_the_exit_code(results, name, out, err):
    _, good_code, files = COMMANDS[name]
    plain, result = results[name, "kept", "kept"], results[name, out, err]
    assert plain["code"] == good_code
    printed = len(plain["out"].encode())
    expected = good_code
    if printed and out == "full":
        expected = 2
    elif printed and not files and (out == 0 or (out in (1, 100) and printed > forks.PIPE)):
        expected = 141
    assert result["code"] == expected, result
    assert set(result["files"]) == {"data", "poor.json"} | files
    shown = result.get("out", "") + result.get("err", "")
    assert "Traceback" not in shown
    assert "Exception ignored" not in shown
    if printed and out == "full" and err == "kept":
        assert result["err"] == "anchorlib: standard output: No space left on device.\n"
    elif err == "kept":
        assert result["err"] == plain["err"]


def test_the_table_has_every_command_and_an_output_that_a_pipe_cannot_hold(results):
    from anchorlib.cli import COMMANDS as modules

    names = {module.__name__.rpartition(".")[2].replace("_", "-") for module in modules}
    assert names <= {arguments.partition(" ")[0] for arguments, _, _ in COMMANDS.values()}
    assert len(results["100 KB of problems", "kept", "kept"]["out"]) > 100_000
