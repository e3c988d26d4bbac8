"""Format output for a terminal: colours, aligned columns, and a suggestion for a misspelt word."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TextIO

from anchorlib.results import printable

_STYLES = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}
#: What `paint` writes, and nothing else.
SEQUENCE = rf"\x1b\[(?:0|{'|'.join(_STYLES.values())})m"


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return the text in bold, red, green or yellow if `stream` is a terminal and https://no-color.org allows it."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def align_columns(table: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Return the rows of a table as lines with columns of equal width, two spaces apart.

    The columns in `left` are aligned at their left side, the others at their right side.

    >>> print(align_columns([["layer", "recall"], ["1", "0.98"]]))
      layer  recall
      1        0.98
    """
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)


class Parser(argparse.ArgumentParser):
    """Parse arguments; suggest the command, option or choice that was probably meant."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.color = False  # Python 3.14 has colours of its own, which would be shown as escapes

    def error(self, message: str) -> NoReturn:
        """Print usage, message and suggestion to stderr, and exit with code 2."""
        message = printable(message)
        wrong = re.search(r"invalid choice: '([^']*)'|unrecognized arguments: ([^\s=]+)", message)
        if wrong:
            word = wrong[1] or wrong[2]
            known = sorted({known for known in _list_words(self) if known.startswith("-") == word.startswith("-")})
            near = difflib.get_close_matches(word, known, n=1)
            message += f"\nDid you mean {near[0]}?" if near else ""
        elif re.search("argument .*: invalid (int|float) value", message):
            # argparse reads data.yaml in `--n 9 data.yaml` as a second number.
            message += "\nPut DATA or FILE first, before options that take several numbers."
        super().error(message)


def _list_words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield every command, option and choice of a parser and of its subparsers."""
    for action in parser._actions:
        yield from action.option_strings
        choices: Any = action.choices or ()
        yield from map(str, choices)
        if isinstance(choices, dict):
            for below in choices.values():
                yield from _list_words(below)
