"""Darknet's .cfg: all anchors and a mask in every [yolo]; in cells of 32 pixels in YOLOv2's [region]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Optional

from anchorlib.modelfiles.formats.document import Document
from anchorlib.modelfiles.formats.text_edit import (
    Edit,
    Item,
    Node,
    TextRange,
    Texts,
    find_entries,
    find_pairs,
    get_values,
    join_layers,
    make_edits,
    select_by_masks,
)

_SECTIONS = ("yolo", "gaussian_yolo", "region")
_OPTIONS = ("anchors", "mask", "num")
_CELL = 32.0  # YOLOv2's networks make the input 32 times smaller
# Darknet skips white space everywhere, and lines that begin with # or ;. A value ends at one of these characters.
_LINE = re.compile(r"^[ \t]*(?:\[(?P<section>[^\]\r\n]*)\]|(?P<key>\w+)[ \t]*=(?P<value>[^#;\r\n]*))", re.MULTILINE)


class _Section:
    """Hold the options of a section with anchors, and where they are in the text."""

    def __init__(self, name: str, line: int) -> None:
        self.title = f"[{name}] of line {line}"
        self.name = name
        self.ranges: dict[str, TextRange] = {}
        self.pairs: list[Item] = []
        self.mask: list[Item] = []
        self.indices: list[int] = []

    def add(self, key: str, where: TextRange) -> None:
        """Add an option; ValueError for a second one of that name."""
        if key in self.ranges:
            raise ValueError(f"{self.title} has two lines '{key} ='")
        self.ranges[key] = where

    def read(self, text: str) -> None:
        """Read the anchors and the mask. Without a mask the section has all anchors, as in darknet."""
        if "anchors" not in self.ranges:
            raise ValueError(f"there is no line 'anchors = ...' in {self.title}")
        self.pairs = find_pairs(_read_numbers(text, self.ranges["anchors"]))
        if "mask" in self.ranges:
            self.mask = find_entries(_read_numbers(text, self.ranges["mask"]))
        self.indices = [int(item.values[0]) for item in self.mask] or list(range(len(self.pairs)))


class DarknetDocument(Document):
    """Hold a darknet .cfg: one layer for each [yolo] section, or one [region]."""

    format = "darknet"
    suffixes = (".cfg",)

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._sections, self._outline = _parse(self.text)
        if not self._sections:
            raise ValueError("there is no line 'anchors = ...' in a section [yolo] or [region]")
        units = {_CELL if section.name == "region" else 1.0 for section in self._sections}
        if len(units) > 1:
            raise ValueError("the file has [yolo] and [region] sections, in pixels and in cells")
        self.unit = units.pop()
        self.layers = []
        for section in self._sections:
            section.read(self.text)
            anchors = [[self.unit * side for side in pair] for pair in get_values(section.pairs)]
            self.layers += select_by_masks(anchors, [section.indices])
        self.counts = [len(layer) for layer in self.layers]

    @staticmethod
    def new_text(layers: Sequence[Texts]) -> str:
        """Return a [yolo] section for each layer, with the largest stride first as in darknet's own files."""
        together, masks = join_layers(layers, [[i] for i in range(len(layers))])
        anchors = ",  ".join(",".join(pair) for pair in together)
        sections = [
            f"[yolo]\nmask = {','.join(i for (i,) in mask)}\nanchors = {anchors}\nnum = {len(together)}\n"
            for mask in reversed(masks)
        ]
        return "\n".join(sections)

    def check_counts(self, counts: Sequence[int]) -> None:
        """Check that no layer changes its number, for which the layer before it has filters."""
        super().check_counts(counts)
        for section, own, count in zip(self._sections, self.counts, counts):
            if own != count:
                raise ValueError(
                    f"{section.title} has {own} anchors, and the filters= of the layer before it are made for them; "
                    f"it cannot take {count}. Fit {own} anchors, or change filters= and the mask by hand first"
                )
        if len(self._sections) > 1 and any("mask" not in section.ranges for section in self._sections):
            raise ValueError("it has several sections, one of them without mask=; write mask= first")

    def find_edits(self, layers: Sequence[Texts]) -> Iterable[Edit]:
        """Return the changes of all anchors, their number and the mask in every section."""
        together, masks = join_layers(layers, [section.indices for section in self._sections])
        for section, mask in zip(self._sections, masks):
            yield from make_edits(self.text, section.pairs, together)
            if section.mask:
                yield from make_edits(self.text, section.mask, mask)
            if "num" in section.ranges:
                number = find_entries(_read_numbers(self.text, section.ranges["num"]))
                yield from make_edits(self.text, number, [(str(len(together)),)])

    @property
    def input_size(self) -> Optional[tuple[int, int]]:
        """Return the width and height in [net], in pixels, or None."""
        net = {key: value for section, key, value in self._outline if section in ("net", "network")}
        sides = [net.get(side, "").strip() for side in ("width", "height")]
        if not all(side.isdecimal() and len(side) < 7 and int(side) for side in sides):
            return None
        return int(sides[0]), int(sides[1])

    def outline(self) -> Any:
        """Return all other options of the file, with their sections."""
        return self._outline


def _parse(text: str) -> tuple[list[_Section], list[tuple[str, str, str]]]:
    """Return the sections with anchors, and all other (section, key, value)."""
    sections: list[_Section] = []
    others = []
    section = _Section("", 0)
    for match in _LINE.finditer(text):
        if match["section"] is not None:
            section = _Section(match["section"].strip().lower(), text.count("\n", 0, match.start()) + 1)
            if section.name in _SECTIONS:
                sections.append(section)
        if section.name in _SECTIONS and match["key"] in _OPTIONS:
            section.add(match["key"], match.span("value"))
        else:
            others.append((section.name, match["key"], match["value"]))
    return sections, others


def _read_numbers(text: str, where: TextRange) -> Node:
    ranges = [match.span() for match in re.compile(r"[^,\s]+").finditer(text, *where)]
    return Node(*where, items=[Node(*number, float(text[slice(*number)])) for number in ranges])
