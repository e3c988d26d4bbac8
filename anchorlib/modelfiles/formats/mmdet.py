"""Configs of MMDetection and MMYOLO, which are Python: `base_sizes=[...]`, or MMYOLO's `anchors = [...]`.

They are parsed, never run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any, Union

from anchorlib.modelfiles.formats.text_edit import (
    Edit,
    Found,
    Node,
    Texts,
    check_even,
    edits_of,
    items_of,
    pairs_of,
    values_of,
)

_List = Union[ast.List, ast.Tuple]


def new(layers: Sequence[Texts]) -> str:
    """The text of a new file, the largest stride first as in MMDetection's own."""
    rows = [", ".join(f"({w}, {h})" for w, h in layer) for layer in reversed(layers)]
    return "anchor_generator = dict(\n    base_sizes=[\n" + "".join(f"        [{row}],\n" for row in rows) + "    ])\n"


def find(text: str) -> Found:
    """The anchors of the file. Where they stand in several places, these must be the same."""
    every = [[values_of(pairs_of(layer)) for layer in layers] for layers in _places(text)]
    if any(layers != every[0] for layers in every):
        raise ValueError(f"its {len(every)} lists of anchors are not the same; name the one in a file of its own")
    return Found(every[0], [len(layer) for layer in every[0]])


def edits(text: str, layers: Sequence[Texts]) -> list[Edit]:
    """What makes these layers the file's, in every place."""
    check_even([len(layer) for layer in layers])
    pairs = [(layer, own) for place in _places(text) for layer, own in zip(place, layers)]
    return [edit for layer, own in pairs for edit in edits_of(text, pairs_of(layer), own)]


def rest(text: str) -> Any:
    """All that an edit must leave as it is."""
    tree = ast.parse(text)
    for found in _lists(tree):
        found.elts = []
    return ast.dump(tree)


def _places(text: str) -> list[list[Node]]:
    """The layers of each place."""
    tree = ast.parse(text)
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]

    def place(line: int, column: int) -> int:  # Python counts columns in bytes of UTF-8
        start = starts[line - 1]
        return start + len(text[start : start + column].encode()[:column].decode())

    def node(found: ast.expr) -> Node:
        start, end = place(found.lineno, found.col_offset), place(found.end_lineno or 0, found.end_col_offset or 0)
        if isinstance(found, (ast.List, ast.Tuple)):
            return Node(start, end, items=[node(item) for item in found.elts])
        value = found.value if isinstance(found, ast.Constant) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"line {found.lineno}: anchors must be pairs of numbers, written out as they are")
        return Node(start, end, float(value))

    found = [items_of(node(anchors)) for anchors in _lists(tree)]
    if not found:
        raise ValueError("there is no base_sizes=[...] and no anchors = [...]")
    return found


def _lists(tree: ast.AST) -> Iterator[_List]:
    """The lists that stand under these names; a name in place of a list is left to where that is assigned."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            is_named = node.arg == "base_sizes"
        elif isinstance(node, ast.Assign):
            is_named = any(isinstance(target, ast.Name) and target.id == "anchors" for target in node.targets)
        else:
            continue
        if is_named and isinstance(node.value, (ast.List, ast.Tuple)):
            yield node.value
