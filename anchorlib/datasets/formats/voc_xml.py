"""Read one .xml file of Pascal VOC: its text in any encoding that it declares, and the boxes of its objects."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Union
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml.ElementTree import fromstring

from anchorlib.datasets.io.text import guess_text
from anchorlib.datasets.validation import Fault

CORNERS = ("xmin", "ymin", "xmax", "ymax")
#: Elements of an object that hold its box: corners, a rotated rectangle, or points. The first that can be read counts.
SHAPES = ("bndbox", "robndbox", "polygon", "points", "segmentation", "bbox", "box", "rbox", "rotated_bndbox", "quad")
TURNED = ("cx", "cy", "w", "h")

Box = tuple[float, float, float, float]  # cx, cy, w, h
Turned = tuple[float, float, float, float, float]  # cx, cy, w, h before the rotation, and the angle

# Expat reads UTF-8, UTF-16 and encodings with one byte per character. Python decodes these, by a codec that also has
# the characters which the declared one lacks: files that say gb2312 often contain letters of GBK.
_CODECS = {
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030"),
    **dict.fromkeys(("big5", "big5hkscs"), "big5hkscs"),
    **dict.fromkeys(("shift_jis", "cp932"), "cp932"),
    **dict.fromkeys(("euc_kr", "cp949"), "cp949"),
    **{name: name for name in ("cp950", "euc_jp", "iso2022_jp", "johab", "hz")},
    # The declaration could be read as ASCII, so the file is not UTF-16: .NET writes such files.
    **dict.fromkeys(("utf-16", "utf-16-le", "utf-16-be", "utf-32"), "utf-8-sig"),
}
_DECLARED = re.compile(rb"""\s*(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][\w.-]*)["']""")
_VOC_ROOT = re.compile(rb"<(?:[\w.-]+:)?annotation[\s>/]", re.IGNORECASE)
_COORDINATE = re.compile(r"[xy]\d*")
_PAIRS = ("point", "pt", "points", "polygon", "pts")


def is_voc_xml(head: bytes) -> bool:
    """Return True if the start of a file looks like Pascal VOC: the element <annotation>, with or without namespace.

    >>> is_voc_xml(b"<?xml version='1.0'?><annotation><folder>"), is_voc_xml(b"<annotations><version>")
    (True, False)
    """
    return bool(_VOC_ROOT.search(head.replace(b"\0", b"")))  # without the zero bytes of UTF-16


def parse_voc_xml(content: bytes) -> tuple[Any, str]:
    """Return the root element, and what is wrong with the encoding or ''.

    Tags are in lower case and without a namespace. If bytes do not fit the encoding, names are a guess, because the
    names of classes do not matter for sizes. ParseError, DefusedXmlException, ValueError, LookupError, OSError.
    """
    found = _DECLARED.match(content)
    declared = found[1].decode() if found else ""
    codec = _codec(declared)
    remark = ""
    try:
        root = fromstring(content.decode(codec) if codec else content)
    except (ParseError, UnicodeDecodeError):
        text, remark = _mend(content, codec or "utf-8-sig", declared)
        if not text:
            raise
        root = fromstring(text)
    for element in root.iter():
        tag = element.tag
        if tag[0] == "{" or not tag.islower():  # setting it takes longer than these checks
            element.tag = tag.rpartition("}")[2].lower()
    return root, remark


def _codec(declared: str) -> str:
    """Return the codec that Python must decode the text with, or '' if expat decodes it."""
    try:
        codec = codecs.lookup(declared).name if declared else ""
        if codec == "utf-8" and declared.lower() != codec:  # expat does not know utf8
            return "utf-8-sig"
        return _CODECS.get(codec, "")
    except LookupError:  # the parser's message names it
        return ""


def _mend(content: bytes, codec: str, declared: str) -> tuple[str, str]:
    """Return the text of a file that cannot be parsed, and what was wrong; '' if this would not help."""
    try:
        text = content.decode(codec)
        return (text.lstrip(), "") if text[:1].isspace() else ("", "")  # a declaration after an empty line
    except UnicodeDecodeError:
        name = (declared or "UTF-8").upper()
        says = " as it says" if declared else ""
        text = guess_text(content)[0] if codec == "utf-8-sig" else content.decode(codec, "backslashreplace")
        return text.lstrip(), f"not {name}{says}; save it as UTF-8"


def to_number(text: str | None) -> float:
    """Return a finite number, or NaN."""
    try:
        number = float(text or "nan")
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def object_box(item: Any) -> Union[Box, Turned, Fault]:
    """Return (cx, cy, w, h) of the object's own box, not of its parts; with the angle if it is rotated; or a Fault.

    A polygon, and a box given by its four corners as x1, y1, ... x4, y4, count as their bounding box.
    """
    places = []
    for place in chain(map(item.find, SHAPES), [item]):
        if place is None:
            continue
        places.append(place)
        tags = {child.tag for child in place}
        if tags.issuperset(CORNERS):
            corners = _numbers(place, CORNERS)
            return corners if isinstance(corners, Fault) else _around(corners[::2], corners[1::2], ordered=True)
        if tags.issuperset(TURNED):
            return _turned(place, "angle" in tags)
    for place in places[:-1]:  # without the object itself
        xs, ys = _points(place)
        if len(xs) == len(ys) >= 2:
            bad = math.isnan(sum(xs) + sum(ys))
            return Fault("not a number", "expected finite numbers", _name(item)) if bad else _around(xs, ys)
    found = ", ".join(dict.fromkeys(child.tag for child in item))
    message = f"expected <bndbox> with {', '.join(CORNERS)}"
    return Fault("wrong number of fields", message, f"{_name(item)}: {found}"[:60])


def _name(item: Any) -> str:
    return (item.findtext("name") or "").strip()[:60]


def _numbers(place: Any, tags: Sequence[str]) -> Union[list[float], Fault]:
    numbers = [to_number(place.findtext(tag)) for tag in tags]
    if math.isnan(sum(numbers)):
        return Fault("not a number", "expected finite numbers", " ".join(str(place.findtext(t)) for t in tags)[:60])
    return numbers


def _turned(place: Any, has_angle: bool) -> Union[Box, Turned, Fault]:
    numbers = _numbers(place, [*TURNED, "angle"] if has_angle else TURNED)
    return numbers if isinstance(numbers, Fault) else tuple(numbers)  # type: ignore[return-value]


def _around(xs: Sequence[float], ys: Sequence[float], ordered: bool = False) -> Box:
    """Return the bounding box of points; of (min, max) pairs if they are `ordered`: then sides may be negative."""
    left, right, top, bottom = (xs[0], xs[1], ys[0], ys[1]) if ordered else (min(xs), max(xs), min(ys), max(ys))
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _points(place: Any) -> tuple[list[float], list[float]]:
    """Return x and y of all points below an element: <x1>, <y1>, ...; <x>, <y> of each point; or the text 'x,y'."""
    found: dict[str, list[float]] = {"x": [], "y": []}
    for element in place.iter():
        if _COORDINATE.fullmatch(element.tag):
            found[element.tag[0]].append(to_number(element.text))
        elif element.tag in _PAIRS and element.text and element.text.strip():
            numbers = list(map(to_number, re.split(r"[\s,;]+", element.text.strip())))
            found["x"] += numbers[::2]
            found["y"] += numbers[1::2]
    return found["x"], found["y"]


def is_in_degrees(angles: Iterable[float]) -> bool:
    """Return True if the angles of a data set must be degrees, because one is beyond a full turn in radians."""
    return any(abs(angle) > 2 * np.pi + 1e-6 for angle in angles)


def upright_size(width: float, height: float, angle: float) -> tuple[float, float]:
    """Return the size of the bounding box of a rotated rectangle; the angle is in radians.

    >>> upright_size(20.0, 10.0, 0.0)
    (20.0, 10.0)
    """
    cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
    return float(width * cos + height * sin), float(width * sin + height * cos)
