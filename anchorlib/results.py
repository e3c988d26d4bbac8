"""What results have in common: a dict, JSON, and a table in a notebook."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Optional, Union

from anchorlib.markup import Markup, element

Row = tuple[Union[str, float], ...]


class Result:
    """The base of what functions return: `to_dict` and `_table_rows` are theirs, the rest follows."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything as what JSON has: dicts, lists, strings and numbers."""
        raise NotImplementedError

    def _table_rows(self) -> list[Row]:
        """What a notebook shows."""
        raise NotImplementedError

    def to_json(self, indent: Optional[int] = None) -> str:
        """`to_dict` as JSON: the numbers have all their digits."""
        return json.dumps(self.to_dict(), indent=indent)

    def _repr_html_(self) -> str:
        return table(self._table_rows())


def table(rows: Iterable[Row]) -> Markup:
    """An HTML table whose first column names the rows.

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
    """12 345 678: a thin space would be lost in logs, a comma is a decimal point to many.

    >>> grouped(4888)
    '4 888'
    """
    return f"{count:,}".replace(",", " ")


def counted(count: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "anchor"), counted(4888, "box")
    ('1 anchor', '4 888 boxes')
    """
    plural = noun + ("es" if noun.endswith("x") else "s")
    return f"{grouped(count)} {noun if count == 1 else plural}"
