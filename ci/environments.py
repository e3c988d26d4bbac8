"""The environments of ci/test, ci/matrix and ci/bench/run, and how they are made."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVS = ROOT / ".envs"
BIN = "Scripts" if os.name == "nt" else "bin"


@dataclass
class Environment:
    """A Python version, the packages to install, and how to install anchorlib."""

    pythons: tuple[str, ...]
    requirements: tuple[str, ...]
    extras: str
    install: str  # "editable", "plain" (pip install .) or "wheel" (of the sdist)
    backends: tuple[str, ...]
    pytest: tuple[str, ...]  # the tests run both ways of calling pytest
    checks: bool = False  # format, lint and types, once
    coverage: tuple[str, ...] = ()  # what is measured here; ci/test has the limit for all environments together
    licences: bool = False  # check licences: only where no CUDA wheels (NVIDIA's licence) are installed
    locked: bool = False  # contains only the packages of ci/locks/NAME.txt, checked by hash
    unlocked: tuple[str, ...] = ()  # packages that have several builds of one version, not locked
    where: str = "all"  # which tests ci/test runs here: a word of tests/helpers/where.py
    in_test: bool = True  # part of ci/test; the others are only in ci/matrix
    venv_of: str = ""  # another environment, whose packages it uses; it is no part of ci/matrix
    unsupported: str = ""  # why the last backend does not load; ci/matrix checks that it fails


#: In the order in which ci/test starts them: the first is soon made, and runs while the next two are made; the shortest
#: come last, so that both cores have work to the end.
ENVIRONMENTS = {
    "numpy-oldest": Environment(  # the oldest versions that pyproject.toml allows
        pythons=("3.9",),
        requirements=("numpy==1.22.*", "array-api-compat==1.11.*", "pillow==9.4.*", "tqdm==4.60.*"),
        extras="test",
        install="wheel",
        backends=("numpy",),
        pytest=("pytest",),
        where="versions",
        locked=True,
    ),
    "current": Environment(
        pythons=("3.11", "3.12", "3.13"),
        requirements=("numpy>=2", "torch==2.13.0", "ruff==0.17.5", "mypy==2.4.1"),
        extras="dev,browser,dask,docs,fast",
        install="editable",
        backends=("numpy", "torch"),
        pytest=("pytest",),
        checks=True,
        coverage=("anchorlib", "backends"),
        locked=True,
        unlocked=("torch", "triton", "nvidia-*", "cuda-*"),
    ),
    "oneflow": Environment(  # all three frameworks in one process; the oldest array-api-compat
        pythons=("3.10",),
        requirements=("torch==1.13.1", "numpy==1.26.*", "array-api-compat==1.11.*"),
        extras="test,oneflow",
        install="plain",
        backends=("numpy", "torch", "oneflow"),
        pytest=("python", "-m", "pytest"),
        where="frameworks",
        coverage=("backends",),
        locked=True,
    ),
    "numpy-newest": Environment(  # the versions that a user gets today, so not locked
        pythons=("3.13", "3.12"),
        requirements=(),
        extras="test,fast",
        install="plain",
        backends=("numpy",),
        pytest=("python", "-m", "pytest"),
        where="python",
        licences=True,
    ),
    "stand-ins": Environment(  # a device that is not the host, and the strictest arrays of the standard; made for tests
        pythons=("3.11", "3.12", "3.13"),
        requirements=(),
        extras="dev",
        install="editable",
        backends=("torch:pretend", "strict"),
        pytest=("pytest",),
        where="stand-ins",
        venv_of="current",
    ),
    "torch-1.13": Environment(
        pythons=("3.10",),
        requirements=("torch==1.13.1", "numpy==1.26.*"),
        extras="test",
        install="wheel",
        backends=("numpy", "torch"),
        pytest=("pytest",),
        in_test=False,
    ),
    "torch-2.1": Environment(
        pythons=("3.9",),
        requirements=("torch==2.1.*", "numpy==1.22.*"),
        extras="test",
        install="wheel",
        backends=("numpy", "torch"),
        pytest=("pytest",),
        in_test=False,
    ),
    "oneflow-3.9": Environment(
        pythons=("3.9",),
        requirements=("numpy==1.22.*",),
        extras="test,oneflow",
        install="wheel",
        backends=("numpy", "oneflow"),
        pytest=("python", "-m", "pytest"),
        in_test=False,
    ),
    "oneflow-0.8": Environment(
        pythons=("3.10",),
        requirements=("oneflow==0.8.0", "numpy==1.23.*", "nvidia-cudnn-cu11>=8.5,<9", "nvidia-cublas-cu11<12"),
        extras="test",
        install="wheel",
        backends=("numpy", "oneflow"),
        pytest=("pytest",),
        in_test=False,
        unsupported="OneFlow 0.8.0 imports under NumPy < 1.24, but lacks isfinite and more that 0.9.0 has",
    ),
    "python-3.12": Environment(
        pythons=("3.12",),
        requirements=("numpy==1.26.*",),
        extras="test",
        install="wheel",
        backends=("numpy",),
        pytest=("pytest",),
        in_test=False,
    ),
}


def make(name: str, locked: bool = True) -> str:
    """Make the environment with the current code; return its Python. `locked=False`: the versions of today."""
    environment = ENVIRONMENTS[name]
    if environment.venv_of:
        return make(environment.venv_of, locked)
    extras = f".[{environment.extras}]"
    installs = [("-e", extras, *environment.requirements)] if environment.install == "editable" else [
        (extras, *environment.requirements)
    ]  # fmt: skip
    made_from = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    if locked and environment.locked:
        installs.insert(0, ("--require-hashes", "--no-deps", "-r", str(lock_of(name))))
        made_from += lock_of(name).read_text(encoding="utf-8")
    python = make_environment(ENVS / name, environment.pythons, *installs, made_from=made_from)
    if locked and environment.locked:
        check_lock(name, python)
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # or deleted files would be installed from there
    if environment.install != "editable":  # the dependencies may be from an earlier run, the code must not
        pip(python, "--force-reinstall", "--no-deps", wheel_of_sdist() if environment.install == "wheel" else ".")
    return python


def python_of(name: str) -> str:
    return str(ENVS / (ENVIRONMENTS[name].venv_of or name) / BIN / "python")


def lock_of(name: str) -> Path:
    return ROOT / "ci" / "locks" / f"{name}.txt"


def lockable(name: str, python: str) -> dict[str, str]:
    """Map each package that the lock must name to its version in the environment."""
    listed = json.loads(output([python, "-m", "pip", "list", "--format", "json"]))
    left_out = ("pip", "anchorlib", *ENVIRONMENTS[name].unlocked)
    found = {entry["name"].lower(): entry["version"] for entry in listed}
    return {key: found[key] for key in sorted(found) if not any(fnmatch.fnmatch(key, one) for one in left_out)}


def check_lock(name: str, python: str) -> None:
    """Raise RuntimeError if the environment has a package that its lock does not name, or another version of it."""
    lock = dict(re.findall(r"^(\S+)==(\S+) --hash=", lock_of(name).read_text(encoding="utf-8"), re.MULTILINE))
    other = [
        f"{package} is {version}, the lock has {lock.get(package, 'none')}"
        for package, version in lockable(name, python).items()
        if lock.get(package) != version
    ]
    if other:
        raise RuntimeError(
            f"ci/locks/{name}.txt does not match: {'; '.join(other)}. Run ci/lock {name}, review it, commit it."
        )


def wheel_of_sdist() -> str:
    """Build the source archive, and from it a wheel; return the path of the wheel."""
    builder = make_environment(ENVS / "build", ("3.11", "3.12", "3.13"), ("build",), made_from="")
    out = ENVS / "dist"
    shutil.rmtree(out, ignore_errors=True)
    call([builder, "-m", "build", "--outdir", str(out), str(ROOT)], quiet=True)
    (wheel,) = glob.glob(str(out / "*.whl"))
    return wheel


def make_environment(folder: Path, pythons: tuple[str, ...], *installs: tuple[str, ...], made_from: str) -> str:
    """Return the Python of an environment; make it with these calls of `pip install` unless it is up to date."""
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
    stamp.write_text(key)  # last, so that an incomplete environment is made again
    return python


def find_python(versions: tuple[str, ...]) -> str:
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    for version in versions:
        candidates = [shutil.which(f"python{version}"), shutil.which("python3"), shutil.which("python"), sys.executable]
        candidates += sorted(glob.glob(f"{pyenv}/versions/{version}.*/bin/python"))
        for candidate in filter(None, candidates):  # a shim of pyenv may be on PATH without a version to run
            asked = "import sys; print('%d.%d' % sys.version_info[:2])"
            found = subprocess.run([candidate, "-c", asked], capture_output=True, text=True)
            if found.returncode == 0 and found.stdout.strip() == version and str(ENVS) not in candidate:
                return candidate
    raise RuntimeError(f"needs Python {' or '.join(versions)} on PATH or under pyenv, found none. Install one.")


def pip(python: str, *arguments: str) -> None:
    call([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])


def call(command: list[str], cwd: str | Path = ROOT, quiet: bool = False) -> None:
    subprocess.run(command, check=True, cwd=cwd, env=clean_env(), stdout=subprocess.DEVNULL if quiet else None)


def output(command: list[str]) -> str:
    return subprocess.run(command, check=True, cwd=ROOT, env=clean_env(), capture_output=True, text=True).stdout


def clean_env() -> dict[str, str]:
    """Return the environment variables without those that add packages of another environment, or keep Python slow.

    Python keeps the modules that it compiles on import: without them, `import torch` takes twice as long, and so does
    anchorlib's command. pip leaves compiling to it, for few modules are ever imported.
    """
    left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    kept = {key: value for key, value in os.environ.items() if key not in left_out}
    return {**kept, "PIP_NO_COMPILE": "0"}  # as for pip install --no-compile: pip turns such a variable round


def title(text: str) -> None:
    print(f"\n=== {text}", flush=True)
