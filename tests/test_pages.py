"""Run README.md and the pages of docs/ as a reader does: all blocks in order in a fresh folder, and once more there.

ci/installs.py runs the commands that install something.
"""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from helpers.fast_tests import FAST
from helpers.pages import INSTALLS, NOT_RUN, PAGES, ROOT, blocks, commands, page_commands

from anchorlib.cli import main

#: page -> the frameworks and extras that it needs: it runs where all of them are
NEEDS = {
    "docs/guide-torch.md": ("torch",),
    "docs/guide-yolov7.md": ("torch",),
    "docs/guide-scratch.md": ("torch",),
    "docs/guide-oneflow.md": ("oneflow",),
    "docs/guide-ci.md": ("oneflow", "torch"),
    "docs/scale.md": ("dask",),
}
#: Languages of blocks that are not code: output, and directives of Sphinx.
NO_CODE = ("text", "{toctree}", "{eval-rst}")


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Change to an empty folder that has tests/data and docs, as a clone has; forget the modules imported from it."""
    for name in ("tests", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as for `python file.py`
    forget(tmp_path)
    yield tmp_path
    forget(tmp_path)


def forget(folder):
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "") or "").startswith(str(folder)) or name.partition(".")[0] == "utils":
            del sys.modules[name]


def run_python(text):
    if "def test_" in text:
        Path("test_block.py").write_text(text, encoding="utf-8")
        assert pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_block.py"]) == 0
    else:
        exec(compile(text, "page", "exec"), {"__name__": "__main__"})  # our own pages


def run_command(line):
    """Run a line of a bash block: anchorlib in this process, the rest in a shell."""
    if line.startswith((*INSTALLS, *NOT_RUN)):
        return
    found = re.fullmatch(r"anchorlib (.*?)(?: +# *(?:exit (\d+))?.*)?", line.replace("\\\n", " "))
    if found is None:
        subprocess.run(["bash", "-e", "-c", line], check=True)
        return
    try:
        ended = main(shlex.split(found[1]))
    except SystemExit as error:  # of argparse
        ended = error.code
    assert ended == int(found[2] or 0), line


@pytest.mark.parametrize("page", [pytest.param(page, marks=pytest.mark.needs(*NEEDS.get(page, ()))) for page in PAGES])
def test_a_page_runs_from_top_to_bottom_and_once_more_in_the_same_folder(page, fresh):
    for _ in range(2):
        for language, text in blocks(page):
            if language == "python":
                run_python(text)
            for line in commands(text) if language == "bash" else ():
                run_command(line)
        forget(fresh)


def test_a_page_that_names_a_framework_is_run_where_the_framework_is():
    for page in PAGES:
        code = "\n".join(text for language, text in blocks(page) if language in ("python", "bash"))
        named = re.findall(r"^\s*(?:import|from) (torch|oneflow|distributed)", code, re.MULTILINE)
        named += re.findall(r"(?:torch|oneflow)", " ".join(re.findall(r"--backends? \S+|--device \S+", code)))
        assert {{"distributed": "dask"}.get(name, name) for name in named} <= set(NEEDS.get(page, ())), page


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_block_that_nobody_runs(page):
    for language, text in blocks(page):
        assert language in ("python", "bash", "yaml", *NO_CODE), text
        if language == "yaml":
            assert yaml.safe_load(text)


def test_a_command_that_nobody_runs_has_a_reason_and_is_on_a_page():
    started = {start: [] for start in (*INSTALLS, *NOT_RUN)}
    for page in PAGES:
        for command in page_commands(page):
            for start in started:
                if command.startswith(start):
                    started[start].append(command)
    assert all(NOT_RUN.values())
    assert [start for start, found in started.items() if not found] == []


def test_the_workflow_in_the_guide_is_part_of_the_file_that_ci_matrix_runs():
    (text,) = (text for language, text in blocks("docs/guide-ci.md") if language == "yaml")
    whole = yaml.safe_load((ROOT / "docs" / "workflow-for-forks.yml").read_text(encoding="utf-8"))
    part = yaml.safe_load(text)
    (job,), (whole_job,) = part["jobs"].values(), whole["jobs"].values()
    assert part["env"] == whole["env"]
    assert job["strategy"] == whole_job["strategy"]
    assert job["steps"] == [step for step in whole_job["steps"] if "run" in step]


def test_a_page_does_not_install_anchorlib_from_a_package_index():
    """It is on none yet. Once it is installed, its name with an extra adds the packages of the extra."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        found = [line for line in text.splitlines() if re.search(r"pip install [^&`#]*(?<![\w/.])anchorlib\b", line)]
        assert [line for line in found if "matrix.backend" not in line] == [], page


def test_an_install_command_in_the_code_names_packages_of_an_extra():
    """anchorlib itself is on no package index yet, so `pip install 'anchorlib[torch]'` would not work."""
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    named = {
        re.sub(r";.*", "", requirement) for requirement in re.findall(r'"(.+?)"', extras.split("[project.scripts]")[0])
    }
    found = []
    for folder in ("anchorlib", "backends"):
        for path in (ROOT / folder).rglob("*.py"):
            text = re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))  # a text may go over several lines
            for command in re.findall(r"pip install ((?:'[^']+' ?|[\w.=]+ ?)+)", text):
                found += [
                    (path.name, requirement.strip("'")) for requirement in re.findall(r"'[^']+'|\S+==\S+", command)
                ]
    assert len(found) > 8
    assert [one for one in found if one[1] not in named] == []


def test_the_description_of_the_package_has_no_link_that_only_works_in_the_repository(monkeypatch):
    """A package index shows the README on its own, so a relative link or picture would be broken there."""
    given = {}
    monkeypatch.setitem(sys.modules, "setuptools", SimpleNamespace(setup=given.update))
    runpy.run_path(str(ROOT / "setup.py"))
    readme, text = (ROOT / "README.md").read_text(encoding="utf-8"), given["long_description"]
    links = re.findall(r"\]\(([^)]*)\)", text)
    headings = {
        re.sub(r"[^a-z -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^## (.*)", text, re.MULTILINE)
    }
    assert [link for link in links if not link.startswith("https://") and link.removeprefix("#") not in headings] == []
    assert "docs/images/report.png" in readme
    assert "docs/images/report.png" not in text
    assert "from labels to anchors in your model" in text


def test_the_fast_tests_that_contributing_names_exist_in_every_room():
    for entry in FAST:
        file, _, function = entry.partition("::")
        assert f"def {function or 'test_'}" in (ROOT / file).read_text(encoding="utf-8"), entry
    rooms = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    rooms -= {"faults"}  # its one test takes 10 to 30 s
    assert rooms == {Path(entry).parent.name for entry in FAST} - {"tests"}


def test_the_architecture_page_names_every_room():
    tree = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    rooms = {path.parent.name for path in (ROOT / "anchorlib").rglob("__init__.py")}
    modules = {path.name for path in (ROOT / "anchorlib").glob("*.py")}
    assert not [name for name in {f"{room}/" for room in rooms} | modules if f" {name} " not in tree.replace("\n", " ")]


def test_the_readme_shows_both_ways_to_use_it():
    """Guard the tests above, which would pass on pages without blocks."""
    found = blocks("README.md")
    assert any(language == "bash" and "\nanchorlib " in text for language, text in found)
    assert any(language == "python" for language, _ in found)
