"""Tell GitHub Actions what differs: annotations in the log, and a summary on the page of the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from anchorlib.results import printable

_ANNOTATIONS = 10  # GitHub shows no more of one step


def annotate(problems: Sequence[tuple[str, str]]) -> None:
    """Print an error annotation for each (title, message) to standard error, if GitHub runs the command."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for title, message in problems[:_ANNOTATIONS]:
        print(f"::error title={_escape(title, ':,')}::{_escape(message)}", file=sys.stderr)


def _escape(text: str, more: str = "") -> str:
    """Escape what would end a workflow command or one of its properties."""
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return printable(text)


def summarise(text: str, total: str) -> None:
    """Append a text to the summary of the step, if GitHub has set GITHUB_STEP_SUMMARY; warn if it cannot be written."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    text = f"### anchorlib verify\n\n{total}\n\n```text\n{text}\n```\n"
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(printable(text, keep="\n"))
    except OSError as error:
        print(f"anchorlib: GITHUB_STEP_SUMMARY: {error.strerror}.", file=sys.stderr)
