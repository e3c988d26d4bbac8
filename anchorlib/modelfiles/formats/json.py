"""JSON: {"anchors": [...]} or the list alone, in layers or as one list of pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from anchorlib.modelfiles.formats.text_edit import Edit, Found, Node, Span, Texts, edits_of, pairs_of, values_of

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def new(layers: Sequence[Texts]) -> str:
    """The text of a new file."""
    rows = [", ".join(f"[{w}, {h}]" for w, h in layer) for layer in layers]
    return '{"anchors": [\n' + ",\n".join(f"  [{row}]" for row in rows) + "\n]}\n"


def find(text: str) -> Found:
    """The anchors of the file."""
    layers = [values_of(pairs_of(layer)) for layer in _layers(text)]
    return Found(layers, [len(layer) for layer in layers])


def edits(text: str, layers: Sequence[Texts]) -> list[Edit]:
    """What makes these layers the file's."""
    return [edit for layer, own in zip(_layers(text), layers) for edit in edits_of(text, pairs_of(layer), own)]


def rest(text: str) -> Any:
    """All that an edit must leave as it is."""
    start, end = _place(text)
    return text[:start], text[end:]


def _layers(text: str) -> list[Node]:
    """One list of pairs is one layer."""
    anchors = _node(text, _place(text))
    first = (anchors.items or [anchors])[0]
    in_layers = first.items and first.items[0].items is not None
    return (anchors.items if in_layers else None) or [anchors]


def _place(text: str) -> Span:
    """Where the list is."""
    content = json.loads(text)
    if isinstance(content, list):
        return _skip(text, 0), len(text.rstrip(" \t\r\n"))
    found = [span for key, span in _entries(text) if key == "anchors"] if isinstance(content, dict) else []
    if len(found) > 1:
        raise ValueError(f"there are {len(found)} keys 'anchors'")
    if not found or text[found[0][0]] != "[":
        raise ValueError("there is no list 'anchors'")
    return found[0]


def _entries(text: str) -> Iterator[tuple[str, Span]]:
    """The keys of an object that is known to be JSON, and where their values are: its reader says where each ends."""
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        yield key, (start, end)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _node(text: str, span: Span) -> Node:
    """Lists and numbers; what is neither is refused."""
    open_lists: list[tuple[int, list[Node]]] = [(span[0], [])]
    for match in re.compile(r'[\[\]]|"|[^\[\]",\s]+').finditer(text, *span):
        start, end = match.span()
        if match[0] == "[":
            open_lists.append((start, []))
        elif match[0] == "]":
            first, items = open_lists.pop()
            open_lists[-1][1].append(Node(first, end, items=items))
        else:
            open_lists[-1][1].append(Node(start, end, _number(match[0])))
    return open_lists[0][1][0]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"anchors must be pairs of numbers, got {text!r}") from None
