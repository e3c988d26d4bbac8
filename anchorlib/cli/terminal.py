"""Format output for a terminal: colours and aligned columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

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
