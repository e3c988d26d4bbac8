"""PaddleDetection: in a mapping of its YAML a list `anchors` of pairs, and `anchor_masks` that part it into layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from anchorlib.modelfiles.formats import yaml_nodes
from anchorlib.modelfiles.formats.text_edit import (
    Edit,
    Found,
    Item,
    Texts,
    edits_of,
    in_one_list,
    masked,
    pairs_of,
    singles_of,
    values_of,
)


def new(layers: Sequence[Texts]) -> str:
    """The text of a new file, the largest stride first as in PaddleDetection's own."""
    together, masks = in_one_list(layers[::-1], [[-i] for i in range(len(layers))])
    pairs = ", ".join(f"[{w}, {h}]" for w, h in together)
    return (
        f"YOLOv3Head:\n  anchors: [{pairs}]\n"
        f"  anchor_masks: [{', '.join('[' + ', '.join(i for (i,) in mask) + ']' for mask in masks)}]\n"
    )


def find(text: str) -> Found:
    """The anchors of the file. Where several mappings hold some, a head and its reader, they must be the same."""
    places = [_items(*nodes) for nodes in _nodes(yaml_nodes.compose(text))]
    if not places:
        raise ValueError("there are no lists 'anchors' and 'anchor_masks' in one mapping")
    every = [masked(values_of(pairs), _whole(masks)) for pairs, masks in places]
    if any(layers != every[0] for layers in every):
        raise ValueError(f"its {len(every)} lists of anchors are not the same; make them so first")
    if not every[0]:
        raise ValueError("anchor_masks names no layer")
    return Found(every[0], [len(layer) for layer in every[0]])


def edits(text: str, layers: Sequence[Texts]) -> list[Edit]:
    """What makes these layers the file's, everywhere."""
    made: list[Edit] = []
    for nodes in _nodes(yaml_nodes.compose(text)):
        yaml_nodes.check_plain(text, *nodes)
        pairs, masks = _items(*nodes)
        together, new_masks = in_one_list(layers, _whole(masks))
        made += edits_of(text, pairs, together)
        for mask, new_mask in zip(masks, new_masks):
            made += edits_of(text, mask, new_mask)
    return made


def rest(text: str) -> Any:
    """All that an edit must leave as it is."""
    root = yaml_nodes.compose(text)
    return yaml_nodes.outline(root, [node for nodes in _nodes(root) for node in nodes])


def is_one(text: str) -> bool:
    """Is this YAML such a file?"""
    return "anchor_masks" in text and bool(_nodes(yaml_nodes.compose(text)))


def _nodes(root: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
    """Every pair of anchors and masks."""
    found = [[yaml_nodes.entry(m, key) for key in ("anchors", "anchor_masks")] for m in yaml_nodes.every_mapping(root)]
    return [(anchors, masks) for anchors, masks in found if anchors is not None and masks is not None]


def _items(anchors: yaml.Node, masks: yaml.Node) -> tuple[list[Item], list[list[Item]]]:
    rows = yaml_nodes.numbers(masks).items or []
    return pairs_of(yaml_nodes.numbers(anchors)), [singles_of(row) for row in rows]


def _whole(masks: Sequence[Sequence[Item]]) -> list[list[int]]:
    return [[int(item.values[0]) for item in mask] for mask in masks]
