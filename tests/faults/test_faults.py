"""Every call of the system in readers and writers is made to fail once, and to be short: nothing is lost silently."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the library that is preloaded is for glibc")
def test_every_call_that_fails_or_is_short_is_told_or_does_no_harm(tmp_path):
    """The library of inject.c makes the calls fail inside a process, so that no code of ours is replaced."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = tmp_path / "inject.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "inject.c", "-ldl"], check=True)
    root = tmp_path / "root"
    root.mkdir()
    environment = {**os.environ, "LD_PRELOAD": str(library), "FAULT_ROOT": f"{root}{os.sep}"}
    child = subprocess.run(
        [sys.executable, HERE / "child.py", library], capture_output=True, text=True, env=environment, timeout=300
    )
    assert child.returncode == 0, child.stderr[-3000:]
    result = json.loads(child.stdout.splitlines()[-1])
    assert result["bad"] == []
    assert all(result["fired"].values()), result["fired"]  # each kind of call was reached
    assert sum(result["fired"].values()) > 3000
