"""Show results as a dict, as JSON and as a table in a notebook."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Optional, Union

from anchorlib.markup import Markup, element

Row = tuple[Union[str, float], ...]


class Result:
    """Give results `to_json` and a notebook table; a subclass defines `to_dict` and `_table_rows`."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result in the types of JSON: dicts, lists, strings and numbers."""
        raise NotImplementedError

    def _table_rows(self) -> list[Row]:
        """Return the rows of the table that a notebook shows."""
        raise NotImplementedError

    def to_json(self, indent: Optional[int] = None) -> str:
        """Return `to_dict` as JSON text; numbers keep all their digits."""
        return json.dumps(self.to_dict(), indent=indent)

    def _repr_html_(self) -> str:
        return table(self._table_rows())


def table(rows: Iterable[Row]) -> Markup:
    """Return an HTML table whose first column names the rows.

    >>> table([("boxes", 3)])
    '<table><tr><th scope="row">boxes</th><td>3</td></tr></table>'
    """
    return element(
        "table",
        *(
            element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
            for row in rows
        ),
    )


def grouped(count: int) -> str:
    """Return a number with its digits in groups of three, separated by spaces: 12 345 678.

    Commas are decimal points in many locales, and thin spaces are lost in logs.

    >>> grouped(4888)
    '4 888'
    """
    return f"{count:,}".replace(",", " ")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural if needed.

    >>> counted(1, "anchor"), counted(4888, "box")
    ('1 anchor', '4 888 boxes')
    """
    plural = noun + ("es" if noun.endswith("x") else "s")
    return f"{grouped(count)} {noun if count == 1 else plural}"


def printable(text: object, keep: str = "") -> str:
    r"""Return the text with every character that is not printable as an escape such as \x1b, except those in `keep`.

    File names and labels come from strangers: on a terminal an escape sequence in them could hide or forge output, and
    a lone surrogate (a file name that is not UTF-8) cannot be printed at all.

    >>> printable("a\x1b[31mb\r")
    'a\\x1b[31mb\\r'
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() or mark in keep else _escaped(mark) for mark in text)


def _escaped(mark: str) -> str:
    return mark.encode("unicode_escape").decode("ascii")
