"""Run the install commands of README.md, CONTRIBUTING.md and docs/ in a new clone, in new environments.

The commands of README.md and docs/ run in the order of the pages, and once more in the same clone and environment; one
that several pages share runs once each time. Three things are different from a reader's machine: URL is a folder with
the working tree; commands that name a framework find its packages, which `pip install` has put into .envs/oneflow; and
pip does not compile, for Python does on import.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environments import BIN, ENVIRONMENTS, ENVS, ROOT, clean_env, find_python, make, output

sys.path.insert(0, str(ROOT / "tests"))
from helpers.pages import INSTALLS, PAGES, blocks, page_commands

FORK = ROOT / "tests" / "verify" / "fork"
MODULES = {"torch": "torch", "oneflow": "oneflow", "plots": "matplotlib", "test": "pytest", "dask": "dask"}


def run_installs() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        commit_working_tree(work / "URL")
        plain = new_environment(work / "plain", "current")
        frameworks = new_environment(work / "frameworks", "oneflow")
        borrow_packages(work / "frameworks", "oneflow")
        shell(install_lines("CONTRIBUTING.md"), work, plain)  # once: git does not clone into a clone
        clone = work / "anchorlib"
        lines = dict.fromkeys(line for page in PAGES if page != "CONTRIBUTING.md" for line in install_lines(page))
        for which in ("first", "second"):
            for number, line in enumerate(lines):
                needs_framework = re.search("torch|oneflow", line)
                shell([line], clone, frameworks if needs_framework else plain)
                check(line, work / ("frameworks" if needs_framework else "plain"))
                if (which, number) == ("first", 0):
                    check_no_framework(work / "plain")
        run_workflow(clone, work / "fork", frameworks)


def install_lines(page: str) -> list[str]:
    return [re.sub(r"\s+#.*", "", line) for line in page_commands(page) if line.startswith(INSTALLS)]


def commit_working_tree(origin: Path) -> None:
    """Make a repository whose one commit has the files of the working tree that git does not ignore."""
    subprocess.run(["git", "init", "-q", str(origin)], check=True)
    git = ["git", f"--git-dir={origin / '.git'}", f"--work-tree={ROOT}", "-c", "user.name=ci", "-c", "user.email=ci"]
    for arguments in (["add", "-A"], ["commit", "-q", "-m", "the working tree"]):
        subprocess.run([*git, *arguments], check=True, cwd=ROOT)


def new_environment(folder: Path, name: str) -> dict[str, str]:
    """Make an empty virtual environment with the Python of another; return the variables with which commands use it."""
    subprocess.run([find_python(ENVIRONMENTS[name].pythons), "-m", "venv", str(folder)], check=True)
    return {**clean_env(), "PATH": f"{folder / BIN}{os.pathsep}{os.environ['PATH']}", "PIP_QUIET": "1"}


def borrow_packages(folder: Path, name: str) -> None:
    """Let an environment see the packages of .envs/NAME: they take 5 GB, and minutes to install."""
    if not (ENVS / name / "made-from").exists():
        make(name)
    (packages,) = (ENVS / name).glob("lib/python*/site-packages")
    (own,) = folder.glob("lib/python*/site-packages")
    borrowed = folder / "borrowed"
    borrowed.mkdir()
    for package in packages.iterdir():
        if not package.name.startswith(("anchorlib", "pytest")):  # their commands would be missing
            (borrowed / package.name).symlink_to(package)
    (own / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")


def shell(lines: list[str], folder: Path, env: dict[str, str]) -> None:
    """Run lines in one shell, which ends at the first that fails."""
    started = time.monotonic()
    script = "\n".join(f"{line} || exit" for line in lines)  # `bash -e` goes on after `a && b` if a fails
    subprocess.run(["bash", "-c", script], check=True, cwd=folder, env=env)
    for line in lines:
        print(f"$ {line}")
    print(f"  {time.monotonic() - started:.1f} s", flush=True)


def check(line: str, environment: Path) -> None:
    """Raise RuntimeError unless the environment has its own anchorlib, and a package of each extra of the line."""
    extras = [extra for found in re.findall(r"\[(.+?)\]", line) for extra in found.split(",")]
    modules = ["anchorlib", *(MODULES[extra] for extra in extras)]
    asked = f"from importlib.util import find_spec; print([find_spec(name).origin for name in {modules}])"
    python = environment / BIN / "python"
    found = subprocess.run([python, "-c", asked], cwd=environment, env=clean_env(), capture_output=True, text=True)
    if found.returncode or not found.stdout.startswith((f"['{environment}", f"['{environment.parent}/anchorlib/")):
        raise RuntimeError(f"after `{line}` the environment has {found.stdout}{found.stderr}")


def check_no_framework(environment: Path) -> None:
    installed = output([str(environment / BIN / "python"), "-m", "pip", "list"])
    if re.search(r"^(torch|oneflow)\s", installed, re.MULTILINE):
        raise RuntimeError("the README's first command installed torch or OneFlow")


def run_workflow(clone: Path, fork: Path, env: dict[str, str]) -> None:
    """Run the workflow of docs/guide-ci.md for torch: its installs, and the plugin with the cases of one subject.

    ci/matrix runs the whole workflow, for both frameworks; the tests run `anchorlib verify`.
    """
    (text,) = (text for language, text in blocks("docs/guide-ci.md") if language == "yaml")
    shutil.copytree(FORK, fork, ignore=shutil.ignore_patterns("__pycache__"))
    (anchorlib,) = re.findall(r"ANCHORLIB: (.+)", text)
    (fork / anchorlib).parent.mkdir()
    (fork / anchorlib).symlink_to(clone)
    env = {**env, "ANCHORLIB": anchorlib, "PYTEST_ADDOPTS": "-q -k build_targets"}
    for command in re.findall(r"- run: ((?:pip|pytest) .+)", text):
        shell([command.replace("${{ matrix.backend }}", "torch")], fork, env)
