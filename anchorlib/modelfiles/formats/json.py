"""JSON: {"anchors": [...]} or only the list, in layers or as one list of pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from anchorlib.modelfiles.formats.document import Document
from anchorlib.modelfiles.formats.text_edit import (
    Edit,
    Node,
    TextRange,
    Texts,
    find_pairs,
    get_values,
    make_layer_edits,
)

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class JsonDocument(Document):
    """Hold a JSON file with anchors."""

    format = "json"
    suffixes = (".json",)

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._range = _find_list(self.text)
        anchors = _read_node(self.text, self._range)
        first = (anchors.items or [anchors])[0]
        in_layers = first.items and first.items[0].items is not None
        nodes = (anchors.items if in_layers else None) or [anchors]  # one list of pairs is one layer
        self._items = [find_pairs(layer) for layer in nodes]
        self.layers = [get_values(items) for items in self._items]
        self.counts = [len(layer) for layer in self.layers]

    @staticmethod
    def new_text(layers: Sequence[Texts]) -> str:
        """Return the text of a new file."""
        rows = [", ".join(f"[{w}, {h}]" for w, h in layer) for layer in layers]
        return '{"anchors": [\n' + ",\n".join(f"  [{row}]" for row in rows) + "\n]}\n"

    def find_edits(self, layers: Sequence[Texts]) -> Iterable[Edit]:
        """Return the changes that make these the file's anchors."""
        return make_layer_edits(self.text, self._items, layers)

    def outline(self) -> Any:
        """Return the text before and after the list."""
        return self.text[: self._range[0]], self.text[self._range[1] :]


def _find_list(text: str) -> TextRange:
    """Return the range of the list of anchors."""
    content = json.loads(text)
    if isinstance(content, list):
        return _skip_space(text, 0), len(text.rstrip(" \t\r\n"))
    entries = list(_iterate_entries(text)) if isinstance(content, dict) else []
    found = [value for key, value in entries if key == "anchors"]
    models = [value for key, value in entries if key == "model" and text[value[0]] == "{"]
    if not found and len(models) == 1:  # config.json of Keras projects
        found = [value for key, value in _iterate_entries(text, models[0][0]) if key == "anchors"]
    if len(found) > 1:
        raise ValueError(f"there are {len(found)} keys 'anchors'")
    if not found or text[found[0][0]] != "[":
        raise ValueError("there is no list 'anchors'")
    return found[0]


def _iterate_entries(text: str, start: int = 0) -> Iterator[tuple[str, TextRange]]:
    """Iterate over the keys of the object at `start`, which is known to be valid, and the ranges of their values."""
    at = _skip_space(text, _skip_space(text, start) + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        start = _skip_space(text, _skip_space(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        yield key, (start, end)
        at = _skip_space(text, end)
        if text[at] == ",":
            at = _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _read_node(text: str, where: TextRange) -> Node:
    """Read nested lists of numbers; ValueError for any other value."""
    open_lists: list[tuple[int, list[Node]]] = [(where[0], [])]
    for match in re.compile(r'[\[\]]|"|[^\[\]",\s]+').finditer(text, *where):
        start, end = match.span()
        if match[0] == "[":
            open_lists.append((start, []))
        elif match[0] == "]":
            first, items = open_lists.pop()
            open_lists[-1][1].append(Node(first, end, items=items))
        else:
            open_lists[-1][1].append(Node(start, end, _read_number(match[0])))
    return open_lists[0][1][0]


def _read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"anchors must be pairs of numbers, got {text!r}") from None
