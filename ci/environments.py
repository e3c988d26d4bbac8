"""Finding Pythons and making environments: what ci/test and ci/bench share."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVS = ROOT / ".envs"
BIN = "Scripts" if os.name == "nt" else "bin"


def make_environment(folder: Path, pythons: tuple[str, ...], *installs: tuple[str, ...], made_from: str) -> str:
    """An environment's Python; made anew, by these calls of `pip install`, unless it was made from the same."""
    python = str(folder / BIN / "python")
    key = hashlib.sha256(repr((pythons, installs, made_from)).encode()).hexdigest()
    stamp = folder / "made-from"
    if stamp.exists() and stamp.read_text() == key:
        return python
    title(f"{folder.name}: making the environment")
    shutil.rmtree(folder, ignore_errors=True)
    call([find_python(pythons), "-m", "venv", str(folder)])
    for install in (("--upgrade", "pip"), *installs):
        pip(python, *install)
    stamp.write_text(key)  # last, so that half an environment is made anew
    return python


def find_python(versions: tuple[str, ...]) -> str:
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    for version in versions:
        candidates = [shutil.which(f"python{version}"), shutil.which("python3"), shutil.which("python"), sys.executable]
        candidates += sorted(glob.glob(f"{pyenv}/versions/{version}.*/bin/python"))
        for candidate in filter(None, candidates):  # a shim of pyenv is on PATH and may still not run
            asked = "import sys; print('%d.%d' % sys.version_info[:2])"
            found = subprocess.run([candidate, "-c", asked], capture_output=True, text=True)
            if found.returncode == 0 and found.stdout.strip() == version and str(ENVS) not in candidate:
                return candidate
    raise RuntimeError(f"needs Python {' or '.join(versions)}, on PATH or under pyenv; found neither.")


def pip(python: str, *arguments: str) -> None:
    call([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])


def call(command: list[str], cwd: str | Path = ROOT, quiet: bool = False) -> None:
    subprocess.run(command, check=True, cwd=cwd, env=clean_env(), stdout=subprocess.DEVNULL if quiet else None)


def output(command: list[str]) -> str:
    return subprocess.run(command, check=True, cwd=ROOT, env=clean_env(), capture_output=True, text=True).stdout


def clean_env() -> dict[str, str]:
    """Without what would let one environment see another's packages."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}


def title(text: str) -> None:
    print(f"\n=== {text}", flush=True)
