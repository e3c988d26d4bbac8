"""Build elements of HTML and SVG. Text that is not yet markup is always escaped."""

from __future__ import annotations

import html
from typing import Union


class Markup(str):
    """Hold text that is markup already and must not be escaped."""

    __slots__ = ()


#: HTML elements without content, which have no closing tag.
_VOID = {"br", "img", "meta"}


def element(name: str, /, *children: Union[str, float], **attributes: Union[str, float, None]) -> Markup:
    """Return an element; children and attributes are escaped unless they are Markup.

    A trailing underscore of an attribute's name is removed, other underscores become hyphens. An attribute with the
    value None is left out.

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
    """Return the parts one after another, escaped unless they are Markup."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(str(part)) for part in parts))
