"""ci/cuda writes a report that says what ran on which card, and nothing without a card."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MACHINE = {"card": "GPU 1", "driver": "999.1"}


@pytest.fixture(scope="module")
def command():
    loader = importlib.machinery.SourceFileLoader("cuda_command", str(ROOT / "ci" / "cuda"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_reports_are_added_in_front_and_failures_are_said(command):
    page = (ROOT / "docs" / "cuda.md").read_text(encoding="utf-8")
    first = command.format_report("2030-01-02", MACHINE, {"tests": (0, "9 passed"), "verify": (1, "1 DIFFERENT")})
    assert "### 2030-01-02, GPU 1\n" in first
    assert "| driver | 999.1 |" in first
    assert "tests: passed\n" in first
    assert "verify: FAILED, exit code 1\n\n```text\n1 DIFFERENT\n" in first
    once = command.with_report(page, first)
    assert "No report yet" not in once
    twice = command.with_report(once, command.format_report("2030-02-03", MACHINE, {"tests": (0, "")}))
    assert twice.index("### 2030-02-03") < twice.index("### 2030-01-02")
    assert twice.startswith(page[: page.index(command.BEGIN)])


def test_a_page_without_the_marks_is_refused(command):
    with pytest.raises(SystemExit, match="must have the lines"):
        command.with_report("# CUDA\n", "report")


def test_without_a_gpu_nothing_runs_and_the_code_is_2(command, monkeypatch, capsys):
    monkeypatch.setattr(command, "describe_machine", lambda: None)
    monkeypatch.setattr(command, "PARTS", {})
    monkeypatch.setattr("sys.argv", ["cuda"])
    before = (ROOT / "docs" / "cuda.md").read_bytes()
    assert command.main() == 2
    assert "finds no CUDA GPU" in capsys.readouterr().err
    assert (ROOT / "docs" / "cuda.md").read_bytes() == before


def test_the_report_is_made_without_git_and_nvidia_smi(command, tmp_path):
    assert command.first_line("no-such-program-here") == "not known"
    assert command.first_line("git", "-C", str(tmp_path), "describe", "--always") == "not known"
    assert command.first_line(sys.executable, "-c", "print('999.1 \\n 2')") == "999.1"


def test_a_part_that_fails_gives_its_code_and_the_end_of_its_output(command, capfd):
    code, tail = command.run_part("tests", ["-c", "print(*range(99), sep='\\n'); raise SystemExit(3)"])
    assert (code, tail.splitlines()[-1], len(tail.splitlines())) == (3, "98", command.LINES)
