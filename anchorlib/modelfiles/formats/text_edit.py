"""Find anchors in a text by their positions, and replace only them: what all formats share.

A format turns its own syntax into a `Node`: numbers and lists with their positions. The functions here find the anchors
in the nodes and make the edits, so that everything else in the text stays as it is, to the byte.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

import numpy as np

from anchorlib.results import printable

TextRange = tuple[int, int]  # the first character, and the one after the last
Edit = tuple[int, int, str]  # a range, and the text that replaces it
Texts = Sequence[tuple[str, ...]]  # the numbers of each item, as they are to be written
Values = list[list[float]]  # the anchors of a layer, [[w, h], ...]


class Node(NamedTuple):
    """Describe a number (`value`) or a list (`items`) in a text, from character `start` to before `end`."""

    start: int
    end: int
    value: float = 0.0
    items: Optional[list[Node]] = None


class Item(NamedTuple):
    """Describe an item of a list: an anchor with its brackets and two numbers, or one number of a mask."""

    whole: TextRange
    numbers: list[TextRange]
    values: list[float]


def find_layers(anchors: Node) -> list[Node]:
    """Return the layers of `[[w, h, w, h], ...]` or `[[[w, h], ...], ...]`; a flat list is one layer."""
    items = get_items(anchors)
    return items if items[0].items is not None else [anchors]


def find_pairs(layer: Node) -> list[Item]:
    """Return the anchors of a layer, `[w, h, w, h]` or `[[w, h], ...]`."""
    items = get_items(layer)
    if items[0].items is None:
        if len(items) % 2:
            raise ValueError(f"a layer of anchors must be pairs (w, h), got {len(items)} numbers")
        pairs = [items[i : i + 2] for i in range(0, len(items), 2)]
        wholes = [(w.start, h.end) for w, h in pairs]
    else:
        pairs = [get_items(item) for item in items]
        wholes = [(item.start, item.end) for item in items]
    for pair in pairs:
        if len(pair) != 2 or any(number.items is not None for number in pair):
            raise ValueError(f"a layer of anchors must be pairs (w, h), got {len(pair)} items instead of a pair")
    return [
        Item(whole, [(n.start, n.end) for n in pair], [n.value for n in pair]) for whole, pair in zip(wholes, pairs)
    ]


def find_entries(numbers: Node) -> list[Item]:
    """Return the entries of a mask, `[6, 7, 8]`."""
    items = get_items(numbers)
    if any(item.items is not None for item in items):
        raise ValueError("a mask must be a list of numbers")
    return [Item((item.start, item.end), [(item.start, item.end)], [item.value]) for item in items]


def get_items(node: Node) -> list[Node]:
    """Return the entries of a list; ValueError for an empty list or a number."""
    if not node.items:
        raise ValueError("anchors must be lists of pairs (w, h), got an empty list or a number instead of a list")
    return node.items


def get_values(items: Sequence[Item]) -> Values:
    """Return the numbers of each item."""
    return [item.values for item in items]


def check_comments(text: str, items: Sequence[Item], count: int) -> None:
    """Raise ValueError if the number of items changes and there are comments between them."""
    if count != len(items) and "#" in text[items[0].whole[0] : items[-1].whole[1]]:
        raise ValueError(
            f"cannot change {len(items)} anchors to {count} because there are comments between its {len(items)} "
            "anchors; edit the list by hand first"
        )


def check_equal_counts(counts: Sequence[int]) -> None:
    """Raise ValueError if the layers differ in number: models that stack them in one array cannot take them."""
    if len(set(counts)) > 1:
        raise ValueError(f"its model needs as many anchors on each layer, got {list(counts)}")


def make_layer_edits(text: str, old: Sequence[Sequence[Item]], new: Sequence[Texts]) -> Iterator[Edit]:
    """Make the edits that replace the items of each layer by the numbers of that layer."""
    for items, numbers in zip(old, new):
        yield from make_edits(text, items, numbers)


def make_edits(text: str, items: Sequence[Item], numbers: Texts) -> Iterator[Edit]:
    """Make the edits that replace the items by `numbers`.

    Numbers that are equal in float32 keep their text. Further items are appended in the style of the last item, with
    the separator between the last two; surplus items are deleted. See `check_comments` for comments between them.
    """
    check_comments(text, items, len(numbers))
    for item, new in zip(items, numbers):
        for where, value, number in zip(item.numbers, item.values, new):
            if np.float32(value) != np.float32(number):
                yield (*where, number)
    n, last = len(numbers), items[-1]
    if n < len(items):
        yield items[n - 1].whole[1], last.whole[1], ""
    elif n > len(items):
        separator = _find_separator(text, items)
        added = "".join(separator + _fill_item(text, last, new) for new in numbers[len(items) :])
        yield last.whole[1], last.whole[1], added


def _find_separator(text: str, items: Sequence[Item]) -> str:
    """Return the text between the last two items, or between items of the same kind of list if there is only one."""
    last = items[-1]
    if len(items) > 1:
        return text[items[-2].whole[1] : last.whole[0]]
    if len(last.numbers) > 1 and last.whole[0] == last.numbers[0][0]:  # in a flat list, as between its numbers
        return text[last.numbers[0][1] : last.numbers[1][0]]
    line = text.rfind("\n", 0, last.whole[0]) + 1
    before = text[line : last.whole[0]]
    if "-" not in before or before.strip(" -"):
        return ", "
    dash = before.rindex("-")  # of a YAML list in block style
    return ("\r\n" if text[:line].endswith("\r\n") else "\n") + " " * dash + before[dash:]


def _fill_item(text: str, item: Item, numbers: Sequence[str]) -> str:
    """Return the item's text with these numbers."""
    first, parts = item.whole[0], []
    for (start, end), number in zip(item.numbers, numbers):
        parts += [text[first:start], number]
        first = end
    return "".join(parts) + text[first : item.whole[1]]


def splice(text: str, edits: Sequence[Edit]) -> str:
    """Return the text with the edits made, which must not overlap."""
    parts, first = [], 0
    for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
        parts += [text[first:start], new]
        first = end
    return "".join(parts) + text[first:]


def join_layers(layers: Sequence[Texts], masks: Sequence[Sequence[int]]) -> tuple[list[tuple[str, ...]], list[Texts]]:
    """Return one list of all anchors, and for each layer its mask: the indices of its anchors in that list.

    The layer whose mask had the lowest indices comes first in the list. No two layers share an anchor.

    >>> join_layers([[("30", "61")], [("10", "13")]], [[1], [0]])
    ([('10', '13'), ('30', '61')], [[('1',)], [('0',)]])
    """
    together: list[tuple[str, ...]] = []
    new: dict[int, Texts] = {}
    for i in sorted(range(len(layers)), key=lambda i: sorted(masks[i])):
        new[i] = [(str(number),) for number in range(len(together), len(together) + len(layers[i]))]
        together += layers[i]
    return together, [new[i] for i in range(len(layers))]


def select_by_masks(anchors: Values, masks: Sequence[Sequence[int]]) -> list[Values]:
    """Return for each mask the anchors that it names."""
    if any(not 0 <= i < len(anchors) for mask in masks for i in mask):
        raise ValueError(f"a mask names an anchor beyond the {len(anchors)} there are")
    return [[anchors[i] for i in mask] for mask in masks]


def format_number(side: float) -> str:
    """Return the shortest digits that read back as the same float32, without an exponent.

    >>> format_number(10.0), format_number(0.1)
    ('10', '0.1')
    """
    return np.format_float_positional(np.float32(side), trim="-")


def format_diff(name: str, old: str, new: str) -> str:
    """Return the difference as `diff -u` prints it; "" if there is none."""
    name = printable(name)  # a line feed in it would begin a line of the diff
    lines = difflib.unified_diff(_split_lines(old), _split_lines(new), fromfile=name, tofile=name)
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def _split_lines(text: str) -> list[str]:
    """Split only at line feeds, as diff does."""
    return io.StringIO(text, newline="\n").readlines()
