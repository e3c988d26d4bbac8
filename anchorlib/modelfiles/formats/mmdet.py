"""Configs of MMDetection and MMYOLO, which are Python: `base_sizes=[...]`, or MMYOLO's `anchors = [...]`.

They are parsed and never run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Union

from anchorlib.modelfiles.formats.document import Document
from anchorlib.modelfiles.formats.python_bounds import check_python
from anchorlib.modelfiles.formats.text_edit import (
    Edit,
    Node,
    Texts,
    check_comments,
    check_equal_counts,
    find_pairs,
    get_items,
    get_values,
    make_layer_edits,
)

_List = Union[ast.List, ast.Tuple]


class MmdetDocument(Document):
    """Hold a config of MMDetection or MMYOLO. All its lists of anchors must be the same."""

    format = "mmdet"
    suffixes = (".py",)

    def __init__(self, source: str) -> None:
        super().__init__(source)
        check_python(self.text)
        self._tree = ast.parse(self.text)
        nodes = [get_items(node) for node in _read_nodes(self.text, list(_find_lists(self._tree)))]
        if not nodes:
            raise ValueError("there is no base_sizes=[...] and no anchors = [...]")
        self._lists = [[find_pairs(layer) for layer in layers] for layers in nodes]
        every = [[get_values(items) for items in layers] for layers in self._lists]
        if any(layers != every[0] for layers in every):
            raise ValueError(f"its {len(every)} lists of anchors are not the same; keep only one of them in the file")
        self.layers = every[0]
        self.counts = [len(layer) for layer in every[0]]

    @staticmethod
    def new_text(layers: Sequence[Texts]) -> str:
        """Return the text of a new file, with the largest stride first as in MMDetection's own files."""
        rows = [", ".join(f"({w}, {h})" for w, h in layer) for layer in reversed(layers)]
        lines = "".join(f"        [{row}],\n" for row in rows)
        return f"anchor_generator = dict(\n    base_sizes=[\n{lines}    ])\n"

    def check_counts(self, counts: Sequence[int]) -> None:
        """Check that all layers have the same number, with no comment in a layer whose length changes."""
        super().check_counts(counts)
        check_equal_counts(counts)
        for layers in self._lists:
            for items, count in zip(layers, counts):
                check_comments(self.text, items, count)

    def find_edits(self, layers: Sequence[Texts]) -> Iterable[Edit]:
        """Return the changes that make these the file's anchors, in every list."""
        for found in self._lists:
            yield from make_layer_edits(self.text, found, layers)

    def outline(self) -> Any:
        """Return the syntax tree with empty lists for the anchors."""
        for found in _find_lists(self._tree):
            found.elts = []
        return ast.dump(self._tree)


def _read_nodes(text: str, lists: Sequence[_List]) -> list[Node]:
    """Return the lists with their positions in the text; ValueError for an entry other than a number or list."""
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]

    def find_position(line: int, column: int) -> int:  # Python counts columns in bytes of UTF-8
        start = starts[line - 1]
        return start + len(text[start : start + column].encode()[:column].decode())

    def read(found: ast.expr) -> Node:
        start = find_position(found.lineno, found.col_offset)
        end = find_position(found.end_lineno or 0, found.end_col_offset or 0)
        if isinstance(found, (ast.List, ast.Tuple)):
            return Node(start, end, items=[read(item) for item in found.elts])
        value = found.value if isinstance(found, ast.Constant) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"line {found.lineno}: anchors must be pairs of numbers, written as literals")
        return Node(start, end, float(value))

    return [read(found) for found in lists]


def _find_lists(tree: ast.AST) -> Iterator[_List]:
    """Iterate over the lists under these names. A variable is skipped here and found where it is assigned."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            is_named = node.arg == "base_sizes"
        elif isinstance(node, ast.Assign):
            is_named = any(isinstance(target, ast.Name) and target.id == "anchors" for target in node.targets)
        else:
            continue
        if is_named and isinstance(node.value, (ast.List, ast.Tuple)):
            yield node.value
