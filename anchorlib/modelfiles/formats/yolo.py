"""The model YAML of YOLOv5, YOLOv7 and their forks: a list `anchors` with one row for each layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from anchorlib.modelfiles.formats import yaml_nodes
from anchorlib.modelfiles.formats.document import Document, make_parsable
from anchorlib.modelfiles.formats.paddle import PaddleDocument
from anchorlib.modelfiles.formats.text_edit import (
    Edit,
    Item,
    Texts,
    check_comments,
    check_equal_counts,
    find_layers,
    find_pairs,
    get_values,
    make_layer_edits,
)


class YoloDocument(Document):
    """Hold the model YAML of YOLOv5 or YOLOv7, with a list of anchors or, to be fitted, only their number."""

    format = "yolo"
    suffixes = (".yaml", ".yml")

    def __init__(self, source: str, tree: yaml_nodes.Tree) -> None:
        super().__init__(source)
        self._tree, self._anchors = tree, _find_anchors(tree.root)
        self._items: list[list[Item]] = []
        if isinstance(self._anchors, yaml.ScalarNode):  # `anchors: 3`, for each layer of the head
            self.layers, self.counts = None, [_read_number(self._anchors)] * _count_head_layers(tree.root)
            return
        self._items = [find_pairs(layer) for layer in find_layers(yaml_nodes.read_numbers(self._anchors))]
        self.layers = [get_values(items) for items in self._items]
        self.counts = [len(layer) for layer in self.layers]

    @classmethod
    def parse(cls, source: str) -> Document:
        """Parse the text. YAML with `anchor_masks` is PaddleDetection's; the suffix does not tell the two apart."""
        tree = yaml_nodes.compose(make_parsable(source))
        return PaddleDocument(source, tree) if PaddleDocument.is_found_in(tree) else cls(source, tree)

    @staticmethod
    def new_text(layers: Sequence[Texts]) -> str:
        """Return the text of a new file."""
        return "anchors:\n" + "".join(f"  - {_format_row(layer)}\n" for layer in layers)

    def check_counts(self, counts: Sequence[int]) -> None:
        """Check that the anchors can be edited, and that all layers have the same number if there is a head."""
        super().check_counts(counts)
        yaml_nodes.check_plain(self._tree, self._anchors)
        if yaml_nodes.find_entry(self._tree.root, "head") is not None:
            check_equal_counts(counts)
        for items, count in zip(self._items, counts):
            check_comments(self.text, items, count)

    def find_edits(self, layers: Sequence[Texts]) -> Iterable[Edit]:
        """Return the changes that make these the file's anchors."""
        if isinstance(self._anchors, yaml.ScalarNode):
            return _replace_number(self.text, self._anchors, layers)
        return make_layer_edits(self.text, self._items, layers)

    def outline(self) -> Any:
        """Return everything except the anchors."""
        return yaml_nodes.make_outline(self._tree.root, [self._anchors])


def _format_row(layer: Texts) -> str:
    return "[" + ", ".join(",".join(pair) for pair in layer) + "]"


def _find_anchors(root: yaml.Node) -> yaml.Node:
    anchors = root if isinstance(root, yaml.SequenceNode) else yaml_nodes.find_entry(root, "anchors")
    if anchors is None or isinstance(anchors, yaml.MappingNode):
        raise ValueError("there is no list 'anchors'")
    return anchors


def _read_number(node: yaml.ScalarNode) -> int:
    if not (node.tag == "tag:yaml.org,2002:int" and node.value.isdecimal() and int(node.value) > 0):
        raise ValueError(f"there is no list 'anchors', but {node.value[:80]!r}")
    return int(node.value)


def _count_head_layers(root: yaml.Node) -> int:
    """Return how many layers the head's last row takes: [[from, from, ...], number, module, arguments]."""
    head = yaml_nodes.find_entry(root, "head")
    row = head.value[-1].value if isinstance(head, yaml.SequenceNode) and head.value else None
    fits = isinstance(row, list) and len(row) == 4 and isinstance(row[0], yaml.SequenceNode)
    module = str(row[2].value) if row is not None and fits else ""
    if row is None or not module.endswith("Detect") or "Aux" in module:  # an Aux head takes two of each
        raise ValueError("there is no list 'anchors', only their number, and no head that says how many layers it has")
    return len(row[0].value)


def _replace_number(text: str, number: yaml.ScalarNode, layers: Sequence[Texts]) -> list[Edit]:
    """Replace `anchors: 3  # comment` by one row for each layer below it, or by a list if rows cannot follow."""
    start, end = number.start_mark.index, number.end_mark.index
    line = text.rfind("\n", 0, start) + 1
    key = text[line:start].rstrip(" \t")
    if key not in ("anchors:", "'anchors':", '"anchors":'):
        return [(start, end, "[" + ", ".join(map(_format_row, layers)) + "]")]
    newline = "\r\n" if "\r\n" in text else "\n"
    rows = [f"  - {_format_row(layer)}" for layer in layers]
    below = text.find("\n", end) + 1
    added = (below, below, "".join(row + newline for row in rows))
    if not below:  # the last line, without a line break
        added = (len(text), len(text), "".join(newline + row for row in rows))
    return [(line + len(key), end, ""), added]
