"""The model yaml of YOLOv5 and YOLOv7, and of their forks: a list `anchors`, a row a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from anchorlib.modelfiles.formats import yaml_nodes
from anchorlib.modelfiles.formats.text_edit import (
    Edit,
    Found,
    Texts,
    check_even,
    edits_of,
    layers_of,
    pairs_of,
    values_of,
)


def new(layers: Sequence[Texts]) -> str:
    """The text of a new file."""
    return "anchors:\n" + "".join(f"  - {_row(layer)}\n" for layer in layers)


def find(text: str) -> Found:
    """The anchors of the file, or how many there are to be (`anchors: 3`, for each layer of the head)."""
    root = yaml_nodes.compose(text)
    anchors = _anchors(root)
    if isinstance(anchors, yaml.ScalarNode):
        return Found(None, [_number(anchors)] * _head_layers(root))
    layers = [values_of(pairs_of(layer)) for layer in layers_of(yaml_nodes.numbers(anchors))]
    return Found(layers, [len(layer) for layer in layers])


def edits(text: str, layers: Sequence[Texts]) -> list[Edit]:
    """What makes these layers the file's."""
    root = yaml_nodes.compose(text)
    anchors = _anchors(root)
    yaml_nodes.check_plain(text, anchors)
    if yaml_nodes.entry(root, "head") is not None:
        check_even([len(layer) for layer in layers])
    if isinstance(anchors, yaml.ScalarNode):
        return _number_to_rows(text, anchors, layers)
    found = layers_of(yaml_nodes.numbers(anchors))
    return [edit for layer, own in zip(found, layers) for edit in edits_of(text, pairs_of(layer), own)]


def rest(text: str) -> Any:
    """All that an edit must leave as it is."""
    root = yaml_nodes.compose(text)
    return yaml_nodes.outline(root, [_anchors(root)])


def _row(layer: Texts) -> str:
    return "[" + ", ".join(",".join(pair) for pair in layer) + "]"


def _anchors(root: yaml.Node) -> yaml.Node:
    anchors = root if isinstance(root, yaml.SequenceNode) else yaml_nodes.entry(root, "anchors")
    if anchors is None or isinstance(anchors, yaml.MappingNode):
        raise ValueError("there is no list 'anchors'")
    return anchors


def _number(node: yaml.ScalarNode) -> int:
    if not (node.tag == "tag:yaml.org,2002:int" and node.value.isdecimal() and int(node.value) > 0):
        raise ValueError(f"there is no list 'anchors', but {node.value[:80]!r}")
    return int(node.value)


def _head_layers(root: yaml.Node) -> int:
    """How many layers the last module of the head takes: a row of [[from, from, ...], number, module, arguments]."""
    head = yaml_nodes.entry(root, "head")
    row = head.value[-1].value if isinstance(head, yaml.SequenceNode) and head.value else None
    fits = isinstance(row, list) and len(row) == 4 and isinstance(row[0], yaml.SequenceNode)
    module = str(row[2].value) if row is not None and fits else ""
    if row is None or not module.endswith("Detect") or "Aux" in module:  # an Aux head takes two of each
        raise ValueError("there is no list 'anchors', only their number, and no head that says how many layers it has")
    return len(row[0].value)


def _number_to_rows(text: str, number: yaml.ScalarNode, layers: Sequence[Texts]) -> list[Edit]:
    """`anchors: 3  # comment` to a row a layer below it; a list in the number's place where rows cannot be."""
    start, end = number.start_mark.index, number.end_mark.index
    line = text.rfind("\n", 0, start) + 1
    key = text[line:start].rstrip(" \t")
    if key not in ("anchors:", "'anchors':", '"anchors":'):
        return [(start, end, "[" + ", ".join(map(_row, layers)) + "]")]
    newline = "\r\n" if "\r\n" in text else "\n"
    rows = [f"  - {_row(layer)}" for layer in layers]
    below = text.find("\n", end) + 1
    added = (below, below, "".join(row + newline for row in rows))
    if not below:  # the last line, without an end
        added = (len(text), len(text), "".join(newline + row for row in rows))
    return [(line + len(key), end, ""), added]
