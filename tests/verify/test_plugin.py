"""The plugin, in a process and a folder of its own, as a fork calls it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FORK = Path(__file__).parent / "fork"


def run(folder, *options):
    """(exit code, output) of pytest -p anchorlib.verify in a folder, with what is imported here."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, "-m", "pytest", "-p", "anchorlib.verify", "-p", "no:cacheprovider", *options]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)
    return result.returncode, result.stdout + result.stderr


def passed(out):
    return int(re.search(r"(\d+) passed", out).group(1))


def test_an_empty_folder_runs_the_cases(tmp_path, backend):
    code, out = run(tmp_path, "--backends", f"{backend.name}:{backend.device}", "-v", "-k", "metrics")
    assert code == 0, out
    assert f"metrics[{backend.name}:{backend.device}-0-size_ratio] PASSED" in out
    assert passed(out) >= 5


def test_a_fork_with_tests_of_its_own_runs_both(tmp_path):
    (tmp_path / "conftest.py").write_text("import pytest\n\n@pytest.fixture\ndef three():\n    return 3\n")
    (tmp_path / "test_own.py").write_text("def test_own(three):\n    assert three == 3\n")
    options = ["--backends", "numpy", "--devices", "cpu", "-v", "-k", "own or metrics or boxes"]
    code, out = run(tmp_path, *options)
    assert code == 0, out
    assert "test_own.py::test_own PASSED" in out
    assert passed(out) == 11
    code, out = run(tmp_path, *options, "-m", "parity")
    assert (code, passed(out)) == (0, 10)


def test_a_difference_fails_and_is_told(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "from anchorlib import backends\nxp = backends.load('numpy')\nxp.log_softmax = lambda x, axis: x\n"
    )
    code, out = run(tmp_path, "--backends", "numpy", "-k", "log_softmax")
    assert code == 1
    assert "log_softmax[" in out
    assert "Traceback" not in out


def test_a_candidate_is_run_where_the_fork_is(tmp_path, grad_backend):
    fork = shutil.copytree(FORK, tmp_path / "fork")
    where = ["--backends", f"{grad_backend.name}:{grad_backend.device}", "-k", "borders or own"]
    code, out = run(fork, *where, "--candidate", "utils.loss:ComputeLoss.build_targets")
    assert code == 0, out
    code, out = run(fork, *where, "--candidate", "utils.clamped_before:ComputeLoss.build_targets")
    assert code == 1
    assert "is only in theirs" in out


@pytest.mark.parametrize("options", [["--backends", "numpy:cuda"], ["--backends", "numpy", "--candidate", "os:path"]])
def test_what_cannot_be_done_is_an_error_and_no_skip(tmp_path, options):
    code, out = run(tmp_path, *options)
    assert code == 4, out
    assert "anchorlib: " in out


def test_it_goes_with_the_tests_of_this_library():
    code, out = run(ROOT, "--backends", "numpy", "tests/test_boxes.py", "-q", "-k", "test_boxes or metrics")
    assert code == 0, out


def test_an_import_does_not_load_pytest():
    code = "import sys, anchorlib.verify, anchorlib.cli; print('pytest' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "False", result.stderr
