"""YAML read as places in its text, without making objects: for the formats that are YAML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

import yaml

from anchorlib.modelfiles.formats.text_edit import Node

_CONSTRUCT = yaml.constructor.SafeConstructor()
_MOST_NUMBERS = 10_000  # aliases of YAML make endless lists of lists of a kilobyte
_SEQUENCE = yaml.resolver.BaseResolver.DEFAULT_SEQUENCE_TAG


def compose(text: str) -> yaml.Node:
    """The root of the text's nodes. Tags that are not YAML's own stay names; nothing is made of them."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        raise ValueError("it is empty")
    return root


def entry(mapping: yaml.Node, key: str) -> Optional[yaml.Node]:
    """What stands under a key of a mapping."""
    if not isinstance(mapping, yaml.MappingNode):
        return None
    found = [value for name, value in mapping.value if name.value == key]
    if len(found) > 1:
        raise ValueError(f"there are {len(found)} keys {key!r} in one place (line {found[1].start_mark.line + 1})")
    return found[0] if found else None


def numbers(node: yaml.Node, _left: Optional[Iterator[int]] = None) -> Node:
    """Lists and numbers as a `Node`; a list in block style ends where its last number ends."""
    left = iter(range(_MOST_NUMBERS)) if _left is None else _left
    if next(left, None) is None:
        raise ValueError(f"there are more than {_MOST_NUMBERS} numbers and lists in its anchors")
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
        items = [numbers(item, left) for item in node.value]
        if items and not node.flow_style:
            start, end = items[0].start, items[-1].end
        return Node(start, end, items=items)
    value = _CONSTRUCT.construct_object(node) if isinstance(node, yaml.ScalarNode) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"anchors must be pairs of numbers, got {str(node.value)[:80]!r}")
    return Node(start, end, float(value))


def every_mapping(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """All mappings of the text, each once."""
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


def check_plain(text: str, *nodes: yaml.Node) -> None:
    """No anchor (&), alias (*) or tag (!) in the nodes: they would say more, or less, than what is written there."""
    tokens = [token for token in yaml.scan(text, Loader=yaml.SafeLoader) if isinstance(token, _NAMES)]
    for token in tokens:
        at = token.start_mark.index
        if any(node.start_mark.index <= at < node.end_mark.index for node in nodes):
            found = text[at : token.end_mark.index]
            raise ValueError(f"line {token.start_mark.line + 1} has {found} in its anchors; write them out first")


_NAMES = (yaml.tokens.AnchorToken, yaml.tokens.AliasToken, yaml.tokens.TagToken)


def outline(root: yaml.Node, without: list[yaml.Node]) -> Any:
    """All that the text says but for some nodes, as tuples that can be compared."""
    numbered = {id(node): -1 - i for i, node in enumerate(without)}

    def told(node: yaml.Node) -> Any:
        if id(node) in numbered:  # a node that is left out, or an alias of one that was told
            return numbered[id(node)]
        numbered[id(node)] = len(numbered)
        if isinstance(node, yaml.ScalarNode):
            return node.tag, node.value
        if isinstance(node, yaml.MappingNode):
            return node.tag, [(told(key), told(value)) for key, value in node.value]
        return node.tag, [told(item) for item in node.value]

    return told(root)
