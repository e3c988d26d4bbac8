"""The pages whose code blocks are run, their commands, and who runs each: ci/installs.py or tests/test_pages.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
#: Starts of the commands that make an environment. ci/installs.py runs them, tests/test_pages.py all others.
INSTALLS = ("git clone", "python -m venv", "pip install")
#: Start of a command -> why nobody runs it for the page's sake.
NOT_RUN = {
    "ci/test": "runs the pages",
    "pytest -m fast": "ci/test runs these tests in each of its environments",
    "ruff format": "ci/test runs ruff and mypy",
    "ci/cuda": "needs a GPU",
    "ci/study/run": "trains for hours",
    "ci/study/table": "writes the tables of this page again; tests/test_study.py makes such a table",
}


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the language and text of each fenced block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert 2 * len(found) == len(re.findall(r"^ *```", text, re.MULTILINE)), f"{page} has a fence that is not seen"
    return found


def commands(text: str) -> Iterator[str]:
    """Yield the commands of a bash block. A here-document is one, and so is a line that ends with a backslash."""
    for found in re.finditer(r".*<<'(\w+)'\n(?s:.*?)^\1$|.*(?:\\\n.*)*", text, re.MULTILINE):
        if found[0].strip():
            yield found[0].strip()


def page_commands(page: str) -> list[str]:
    """Return the commands of all bash blocks of a page."""
    return [command for language, text in blocks(page) if language == "bash" for command in commands(text)]
