"""Run every block of code in README.md and docs/, except those that a rule below leaves out with a reason."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from helpers.fast_tests import FAST

from anchorlib.cli import main

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
NEEDED = ("torch", "oneflow", "distributed")  # a block that imports one, or a line that names one, needs it
EXTRA_OF = {"distributed": "dask"}
#: start of a line in a bash block -> why such a line is not run
NOT_RUN = {
    "pip install": "needs an index of packages; ci/test runs the README's first",
    "git clone": "needs a network",
    "ci/test": "runs this test",
    "pytest -p anchorlib.verify": "runs in tests/verify",
}
#: Languages of blocks that are not code: output, and directives of Sphinx.
NO_CODE = ("text", "{toctree}", "{eval-rst}")


def blocks(page):
    """Return the language and text of each fenced block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert 2 * len(found) == len(re.findall(r"^ *```", text, re.MULTILINE)), f"{page} has a fence that is not seen"
    return found


def needs(words):
    return pytest.mark.needs(*(EXTRA_OF.get(name, name) for name in NEEDED if name in words))


def python_blocks():
    for page in PAGES:
        for i, text in enumerate(text for language, text in blocks(page) if language == "python"):
            imported = re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE)
            named = re.findall(r'"(\w+)"', text)  # as backends.load("torch") has it
            yield pytest.param(text, marks=needs(imported + named), id=f"{page}-{i}")


def commands(page):
    """Yield the arguments and the expected exit code of each line in a bash block that runs anchorlib."""
    for language, text in blocks(page):
        for line in text.replace("\\\n", " ").splitlines() if language == "bash" else ():
            found = re.fullmatch(r"anchorlib (.*?)(?: +# *(?:exit (\d+))?.*)?", line)
            if found:
                yield found[1], int(found[2] or 0)
            elif not line.startswith(tuple(NOT_RUN)):
                raise ValueError(f"{page}: {line!r} neither begins with anchorlib nor with a key of NOT_RUN")


def command_lines():
    """Yield the command lines of each page in order; lines that name a framework are separate cases."""
    for page in PAGES:
        plain = []
        for i, (line, code) in enumerate(commands(page)):
            named = re.findall(r"\w+", line) if "--backend" in line else ()
            if set(named) & set(NEEDED):
                yield pytest.param([(line, code)], marks=needs(named), id=f"{page}-{i}")
            else:
                plain.append((line, code))
        if plain:
            yield pytest.param(plain, id=page)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Change to an empty folder that has tests/data and docs, as a clone has."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("block", list(python_blocks()))
def test_the_python_blocks_of_the_pages_run(block, scratch):
    if "def test_" in block:
        Path("test_block.py").write_text(block, encoding="utf-8")
        assert pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_block.py"]) == 0
    else:
        exec(compile(block, "page", "exec"), {})  # our own pages


@pytest.mark.parametrize("lines", list(command_lines()))
def test_the_command_lines_of_the_pages_end_with_the_code_they_say(lines, scratch):
    for line, code in lines:
        try:
            ended = main(shlex.split(line))
        except SystemExit as error:  # of argparse
            ended = error.code
        assert ended == code, line


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_block_that_nobody_runs(page):
    for language, text in blocks(page):
        assert language in ("python", "bash", "yaml", *NO_CODE), text
        if language == "yaml":
            assert yaml.safe_load(text)


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
    assert list(commands("README.md"))
    assert "python" in dict(blocks("README.md"))
