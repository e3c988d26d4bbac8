"""Elements of HTML and SVG. What is not markup already is escaped, wherever it stands."""

from __future__ import annotations

import html
from typing import Union


class Markup(str):
    """Text that is markup already, and stands as it is."""

    __slots__ = ()


#: HTML elements without a content, which have no closing tag.
_VOID = {"meta"}


def element(name: str, /, *children: Union[str, float], **attributes: Union[str, float, None]) -> Markup:
    """An element; children and attributes are escaped unless they are Markup.

    An underscore at the end of an attribute's name is dropped and others become a hyphen; None leaves it out.

    >>> element("td", "a < b", class_="n", stroke_width=2)
    '<td class="n" stroke-width="2">a &lt; b</td>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*parts: Union[str, float]) -> Markup:
    """Parts one after another, escaped unless they are Markup."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(str(part)) for part in parts))
