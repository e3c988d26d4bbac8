"""PaddleDetection YAML: a list `anchors` of pairs, and next to it `anchor_masks`, which assign them to layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import yaml

from anchorlib.modelfiles.formats import yaml_nodes
from anchorlib.modelfiles.formats.document import Document, make_parsable
from anchorlib.modelfiles.formats.text_edit import (
    Edit,
    Item,
    Texts,
    check_comments,
    find_entries,
    find_pairs,
    get_values,
    join_layers,
    make_edits,
    make_layer_edits,
    select_by_masks,
)


class _Lists(NamedTuple):
    """A list of anchors and its masks: the items in the text, and the masks as integers."""

    pairs: list[Item]
    masks: list[list[Item]]
    indices: list[list[int]]


class PaddleDocument(Document):
    """Hold a PaddleDetection YAML. All its lists of anchors (a head's, and a reader's) must be the same."""

    format = "paddle"

    def __init__(self, source: str, tree: yaml_nodes.Tree) -> None:
        super().__init__(source)
        self._tree, self._nodes = tree, _find_nodes(tree.root)
        self._lists = [_read_lists(*nodes) for nodes in self._nodes]
        if not self._lists:
            raise ValueError("there are no lists 'anchors' and 'anchor_masks' in one mapping")
        every = [select_by_masks(get_values(lists.pairs), lists.indices) for lists in self._lists]
        if any(layers != every[0] for layers in every):
            raise ValueError(f"its {len(every)} lists of anchors are not the same; make them the same first")
        if not every[0]:
            raise ValueError("anchor_masks names no layer")
        self.layers = every[0]
        self.counts = [len(layer) for layer in every[0]]

    @classmethod
    def parse(cls, source: str) -> Document:
        """Parse the text of a file."""
        return cls(source, yaml_nodes.compose(make_parsable(source)))

    @staticmethod
    def is_found_in(tree: yaml_nodes.Tree) -> bool:
        """Return True if the YAML has anchors with masks."""
        return "anchor_masks" in tree.text and bool(_find_nodes(tree.root))

    @staticmethod
    def new_text(layers: Sequence[Texts]) -> str:
        """Return the text of a new file, with the largest stride first as in PaddleDetection's own files."""
        together, masks = join_layers(layers[::-1], [[-i] for i in range(len(layers))])
        pairs = ", ".join(f"[{w}, {h}]" for w, h in together)
        return (
            f"YOLOv3Head:\n  anchors: [{pairs}]\n"
            f"  anchor_masks: [{', '.join('[' + ', '.join(i for (i,) in mask) + ']' for mask in masks)}]\n"
        )

    def check_counts(self, counts: Sequence[int]) -> None:
        """Check that the lists can be edited, with no comment in a list whose length changes."""
        super().check_counts(counts)
        for nodes, lists in zip(self._nodes, self._lists):
            yaml_nodes.check_plain(self._tree, *nodes)
            check_comments(self.text, lists.pairs, sum(counts))
            for mask, count in zip(lists.masks, counts):
                check_comments(self.text, mask, count)

    def find_edits(self, layers: Sequence[Texts]) -> Iterable[Edit]:
        """Return the changes that make these the file's anchors, in every mapping that has anchors."""
        for pairs, masks, indices in self._lists:
            together, new_masks = join_layers(layers, indices)
            yield from make_edits(self.text, pairs, together)
            yield from make_layer_edits(self.text, masks, new_masks)

    def outline(self) -> Any:
        """Return everything except the anchors and their masks."""
        return yaml_nodes.make_outline(self._tree.root, [node for nodes in self._nodes for node in nodes])


def _find_nodes(root: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
    """Return every pair of anchors and masks."""
    keys = ("anchors", "anchor_masks")
    found = [[yaml_nodes.find_entry(m, key) for key in keys] for m in yaml_nodes.iterate_mappings(root)]
    return [(anchors, masks) for anchors, masks in found if anchors is not None and masks is not None]


def _read_lists(anchors: yaml.Node, masks: yaml.Node) -> _Lists:
    rows = yaml_nodes.read_numbers(masks).items or []
    pairs, masks_items = find_pairs(yaml_nodes.read_numbers(anchors)), [find_entries(row) for row in rows]
    return _Lists(pairs, masks_items, [[int(item.values[0]) for item in mask] for mask in masks_items])
