"""Darknet's .cfg: all anchors and a mask in every [yolo]; in cells of 32 pixels in YOLOv2's [region]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from anchorlib.modelfiles.formats.text_edit import (
    Edit,
    Found,
    Item,
    Node,
    Span,
    Texts,
    edits_of,
    in_one_list,
    masked,
    pairs_of,
    singles_of,
    values_of,
)

_SECTIONS = ("yolo", "gaussian_yolo", "region")
_OURS = ("anchors", "mask", "num")
_CELL = 32.0  # YOLOv2's networks make the input 32 times smaller
# Darknet skips white space anywhere, and lines that begin with # or ;. What follows these in a line is no number to it.
_LINE = re.compile(r"^[ \t]*(?:\[(?P<section>[^\]\r\n]*)\]|(?P<key>\w+)[ \t]*=(?P<value>[^#;\r\n]*))", re.MULTILINE)


class _Section:
    """A section with anchors, and where its options stand."""

    def __init__(self, name: str, line: int) -> None:
        self.name, self.line = name, line
        self.values: dict[str, Span] = {}

    def items(self, text: str) -> list[Item]:
        if "anchors" not in self.values:
            raise ValueError(f"there is no line 'anchors = ...' in [{self.name}] of line {self.line}")
        return pairs_of(_numbers(text, self.values["anchors"]))

    def mask(self, text: str) -> list[Item]:
        return singles_of(_numbers(text, self.values["mask"])) if "mask" in self.values else []

    def mask_values(self, text: str) -> list[int]:
        """Without a mask all anchors, as in darknet."""
        return [int(item.values[0]) for item in self.mask(text)] or list(range(len(self.items(text))))


def new(layers: Sequence[Texts]) -> str:
    """A [yolo] section for each layer, the largest stride first as in darknet's files."""
    together, masks = in_one_list(layers, [[i] for i in range(len(layers))])
    anchors = ",  ".join(",".join(pair) for pair in together)
    sections = [
        f"[yolo]\nmask = {','.join(i for (i,) in mask)}\nanchors = {anchors}\nnum = {len(together)}\n"
        for mask in reversed(masks)
    ]
    return "\n".join(sections)


def find(text: str) -> Found:
    """The anchors of the file's sections; for [region] in pixels, 32 to a cell."""
    sections = _sections(text)
    units = {_CELL if section.name == "region" else 1.0 for section in sections}
    if not sections:
        raise ValueError("there is no line 'anchors = ...' in a section [yolo] or [region]")
    if len(units) > 1:
        raise ValueError("[yolo] and [region] sections stand in one file, in pixels and in cells")
    unit = units.pop()
    layers = []
    for section in sections:
        anchors = [[unit * side for side in pair] for pair in values_of(section.items(text))]
        layers += masked(anchors, [section.mask_values(text)])
    return Found(layers, [len(layer) for layer in layers], unit)


def edits(text: str, layers: Sequence[Texts]) -> list[Edit]:
    """What makes these layers the file's: in every section all anchors, their number, and its mask."""
    sections = _sections(text)
    old = [section.mask_values(text) for section in sections]
    for section, mask, layer in zip(sections, old, layers):
        if len(mask) != len(layer):
            raise ValueError(
                f"[{section.name}] of line {section.line} has {len(mask)} anchors, and the filters= of the layer "
                f"before it are made for them; it cannot take {len(layer)}. Fit as many, or change filters= and the "
                "mask by hand first"
            )
    if len(sections) > 1 and any("mask" not in section.values for section in sections):
        raise ValueError("a section without mask= beside others; write mask= first")
    together, masks = in_one_list(layers, old)
    made: list[Edit] = []
    for section, new_mask in zip(sections, masks):
        made += edits_of(text, section.items(text), together)
        if "mask" in section.values:
            made += edits_of(text, section.mask(text), new_mask)
        if "num" in section.values:
            made += edits_of(text, singles_of(_numbers(text, section.values["num"])), [(str(len(together)),)])
    return made


def rest(text: str) -> Any:
    """All that an edit must leave as it is."""
    section, told = "", []
    for match in _LINE.finditer(text):
        section = _name(match) or section
        if not (section in _SECTIONS and match["key"] in _OURS):
            told.append((section, match["key"], match["value"]))
    return told


def _sections(text: str) -> list[_Section]:
    sections: list[_Section] = []
    section = None
    for match in _LINE.finditer(text):
        if match["section"] is not None:
            section = _Section(_name(match), text.count("\n", 0, match.start()) + 1)
            if section.name in _SECTIONS:
                sections.append(section)
        elif section is not None and match["key"] in _OURS:
            if match["key"] in section.values:
                raise ValueError(f"[{section.name}] of line {section.line} has two lines '{match['key']} ='")
            section.values[match["key"]] = match.span("value")
    return sections


def _name(match: re.Match[str]) -> str:
    return (match["section"] or "").strip().lower()


def _numbers(text: str, span: Span) -> Node:
    places = [match.span() for match in re.compile(r"[^,\s]+").finditer(text, *span)]
    return Node(*span, items=[Node(*place, float(text[slice(*place)])) for place in places])
