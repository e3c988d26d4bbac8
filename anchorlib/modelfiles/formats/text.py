"""Text with nothing but numbers: darknet's anchors.txt (from calc_anchors), and yolo_anchors.txt of keras-yolo3."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from anchorlib.modelfiles.formats.document import Document
from anchorlib.modelfiles.formats.text_edit import Edit, Node, Texts, find_pairs, get_values, make_edits

_WORD = re.compile(r"[^,\s]+")


class TextDocument(Document):
    """Hold a text of numbers `w,h,  w,h, ...`: all anchors in one layer."""

    format = "text"
    suffixes = (".txt",)

    def __init__(self, source: str) -> None:
        super().__init__(source)
        words = list(_WORD.finditer(self.text))
        numbers = [Node(*word.span(), value=_read_number(word[0])) for word in words]
        self._items = find_pairs(Node(0, len(self.text), items=numbers))
        self.layers = [get_values(self._items)]
        self.counts = [len(self._items)]

    @staticmethod
    def new_text(layers: Sequence[Texts]) -> str:
        """Return the text of a new file, as darknet writes it."""
        return ",  ".join(", ".join(pair) for layer in layers for pair in layer) + "\n"

    def find_edits(self, layers: Sequence[Texts]) -> Iterable[Edit]:
        """Return the changes that make these the file's anchors."""
        return make_edits(self.text, self._items, layers[0])

    def outline(self) -> Any:
        """Return the text before the first and after the last anchor."""
        return self.text[: self._items[0].whole[0]], self.text[self._items[-1].whole[1] :]


def _read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected nothing but pairs of numbers, got {text!r}") from None
