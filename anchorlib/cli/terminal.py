"""Format output for a terminal: colours, aligned columns, and lines that are not longer than it is wide."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Optional, TextIO

_STYLES = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}
_COLUMNS = 80
#: What `paint` writes, and nothing else.
SEQUENCE = rf"\x1b\[(?:0|{'|'.join(_STYLES.values())})m"


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return the text in bold, red, green or yellow if `stream` is a terminal and https://no-color.org allows it."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def align_columns(table: Sequence[Sequence[str]], left: Sequence[int] = (0,), room: Optional[int] = None) -> str:
    """Return the rows of a table as lines with columns of equal width, two spaces apart.

    The columns in `left` are text: they are aligned at their left side and, if a line would be longer than `room`
    characters, wrapped between words. The others are numbers: aligned at their right side, and never broken.

    >>> print(align_columns([["layer", "recall"], ["1", "0.98"]]))
      layer  recall
      1        0.98
    """
    widths, gap = [max(map(len, column)) for column in zip(*table)], "  "
    if room is not None and sum(widths) + len(gap) * len(widths) > room:
        gap = " "
        excess = sum(widths) + len(widths) - room
        for i in sorted(left, reverse=True):
            longest_word = max(len(word) for row in table for word in _keep_numbers(row[i]).split(" "))
            shrunk = max(longest_word, widths[i] - max(excess, 0))
            excess, widths[i] = excess - widths[i] + shrunk, shrunk
    lines = []
    for row in table:
        cells = [wrap_words(cell, width) if i in left else [cell] for i, (cell, width) in enumerate(zip(row, widths))]
        for parts in zip_longest(*cells, fillvalue=""):
            padded = [p.ljust(w) if i in left else p.rjust(w) for i, (p, w) in enumerate(zip(parts, widths))]
            lines.append((gap + gap.join(padded)).rstrip())
    return "\n".join(lines)


def find_room(stream: TextIO) -> Optional[int]:
    """Return the number of columns if the stream is a terminal; otherwise None, because lines need not be wrapped."""
    # a terminal may not know its size; Python 3.9 and 3.10 then say 0
    return (shutil.get_terminal_size().columns or _COLUMNS) if stream.isatty() else None


def wrap_lines(text: str, room: Optional[int]) -> str:
    """Return the text with its long lines wrapped between words, and never inside a number such as 4 888."""
    if room is None:
        return text
    lines = []
    for line in text.split("\n"):
        start = line[: len(line) - len(line.lstrip(" "))]
        # indented further: a name in the text must not look like the start of a message of ours
        lines += [line] if len(line) <= room else wrap_words(line, room, f"{start}    ")
    return "\n".join(lines)


def wrap_words(text: str, room: int, indent: str = "") -> list[str]:
    """Return the text as lines of at most `room` characters, unless a word is longer; later lines get the indent."""
    lines = textwrap.wrap(
        _keep_numbers(text),
        max(room, len(indent) + 1),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        expand_tabs=False,
    )
    return [line.replace("\xa0", " ") for line in lines] or [""]


def _keep_numbers(text: str) -> str:
    """Replace the spaces inside numbers by one at which no line is broken."""
    return re.sub(r"(?<=\d) (?=\d{3}(?!\d))", "\xa0", text)
