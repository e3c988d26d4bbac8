"""Read YAML as nodes with positions, without making objects: for the formats that are YAML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

import yaml

from anchorlib.modelfiles.formats.text_edit import Node
from anchorlib.safe_yaml import BoundedLoader

_MOST_NUMBERS = 10_000  # a kilobyte of YAML aliases can stand for an endless list of lists
_SEQUENCE = yaml.resolver.BaseResolver.DEFAULT_SEQUENCE_TAG
_NAMES = (yaml.tokens.AnchorToken, yaml.tokens.AliasToken, yaml.tokens.TagToken)


class Tree(NamedTuple):
    """Hold a text, its root node, and its tokens for names: &anchor, *alias and !tag."""

    text: str
    root: yaml.Node
    names: list[yaml.Token]


class _Loader(BoundedLoader):
    """Compose nodes and keep the tokens for names, which nodes do not show."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.names: list[yaml.Token] = []

    def get_token(self) -> Any:
        """Return the next token, and keep it if it is a name."""
        token = super().get_token()  # type: ignore[no-untyped-call]
        if isinstance(token, _NAMES):
            self.names.append(token)
        return token


def compose(text: str) -> Tree:
    """Parse a text to its nodes. Tags other than YAML's own remain names; no object is made from them."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
    finally:
        loader.dispose()
    if root is None:
        raise ValueError("it is empty")
    return Tree(text, root, loader.names)


def find_entry(mapping: yaml.Node, key: str) -> Optional[yaml.Node]:
    """Return the value of a key of a mapping, or None."""
    if not isinstance(mapping, yaml.MappingNode):
        return None
    found = [value for name, value in mapping.value if name.value == key]
    if len(found) > 1:
        raise ValueError(f"there are {len(found)} keys {key!r} in one place (line {found[1].start_mark.line + 1})")
    return found[0] if found else None


def read_numbers(node: yaml.Node, _left: Optional[Iterator[int]] = None) -> Node:
    """Return lists and numbers as a `Node`; a list in block style ends where its last number ends."""
    left = iter(range(_MOST_NUMBERS)) if _left is None else _left
    if next(left, None) is None:
        raise ValueError(f"there are more than {_MOST_NUMBERS} numbers and lists in its anchors")
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
        items = [read_numbers(item, left) for item in node.value]
        if items and not node.flow_style:
            start, end = items[0].start, items[-1].end
        return Node(start, end, items=items)
    value = yaml.constructor.SafeConstructor().construct_object(node) if isinstance(node, yaml.ScalarNode) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"anchors must be pairs of numbers, got {str(node.value)[:80]!r}")
    return Node(start, end, float(value))


def iterate_mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Iterate over all mappings of the text, each once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node
            waiting += [value for _, value in reversed(node.value)]
        else:
            waiting += reversed(node.value)


def check_plain(tree: Tree, *nodes: yaml.Node) -> None:
    """Raise ValueError if the nodes have an anchor (&), alias (*) or tag (!): an edit would change other values."""
    for token in tree.names:
        at = token.start_mark.index
        if any(node.start_mark.index <= at < node.end_mark.index for node in nodes):
            found = tree.text[at : token.end_mark.index]
            raise ValueError(f"line {token.start_mark.line + 1} has {found} in its anchors; write them out first")


def make_outline(root: yaml.Node, without: list[yaml.Node]) -> Any:
    """Return everything that the text says except some nodes, as tuples that can be compared."""
    numbered = {id(node): -1 - i for i, node in enumerate(without)}

    def describe(node: yaml.Node) -> Any:
        if id(node) in numbered:  # a node that is left out, or an alias of one that was described
            return numbered[id(node)]
        numbered[id(node)] = len(numbered)
        if isinstance(node, yaml.ScalarNode):
            return node.tag, node.value
        if isinstance(node, yaml.MappingNode):
            return node.tag, [(describe(key), describe(value)) for key, value in node.value]
        return node.tag, [describe(item) for item in node.value]

    return describe(root)
