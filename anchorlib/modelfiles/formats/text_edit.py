"""Anchors where they stand in a text, and the text with other numbers in their place: what all formats share.

A format turns its own syntax into a `Node`, numbers and lists with their places; what is done to the text is done here,
by places, so that all else in it stays as it is to the byte.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

import numpy as np

Span = tuple[int, int]  # first character, and the one after the last
Edit = tuple[int, int, str]  # the span, and the text that takes its place
Texts = Sequence[tuple[str, ...]]  # the numbers of each item, as they are to be written
Values = list[list[float]]  # the anchors of a layer, [[w, h], ...]


class Found(NamedTuple):
    """What a file holds.

    layers : for each layer in the order of the file, its anchors in pixels; None where only their number is there
    counts : how many anchors each layer has, in the same order
    unit : pixels of what the file counts in
    """

    layers: Optional[list[Values]]
    counts: list[int]
    unit: float = 1.0


class Node(NamedTuple):
    """A number (`value`) or a list (`items`) in a text, from character `start` to before `end`."""

    start: int
    end: int
    value: float = 0.0
    items: Optional[list[Node]] = None


class Item(NamedTuple):
    """What is repeated in a list: an anchor with its brackets and two numbers, or one number of a mask."""

    whole: Span
    numbers: list[Span]
    values: list[float]


def layers_of(anchors: Node) -> list[Node]:
    """The layers of `[[w, h, w, h], ...]` or `[[[w, h], ...], ...]`; a flat list is one layer."""
    items = items_of(anchors)
    return items if items[0].items is not None else [anchors]


def pairs_of(layer: Node) -> list[Item]:
    """The anchors of a layer, `[w, h, w, h]` or `[[w, h], ...]`."""
    items = items_of(layer)
    if items[0].items is None:
        if len(items) % 2:
            raise ValueError(f"a layer of anchors must be pairs (w, h), got {len(items)} numbers")
        pairs = [items[i : i + 2] for i in range(0, len(items), 2)]
        wholes = [(w.start, h.end) for w, h in pairs]
    else:
        pairs = [items_of(item) for item in items]
        wholes = [(item.start, item.end) for item in items]
    for pair in pairs:
        if len(pair) != 2 or any(number.items is not None for number in pair):
            raise ValueError(f"a layer of anchors must be pairs (w, h), got {len(pair)} in place of a pair")
    return [
        Item(whole, [(n.start, n.end) for n in pair], [n.value for n in pair]) for whole, pair in zip(wholes, pairs)
    ]


def singles_of(numbers: Node) -> list[Item]:
    """The entries of a mask, `[6, 7, 8]`."""
    items = items_of(numbers)
    if any(item.items is not None for item in items):
        raise ValueError("a mask must be a list of numbers")
    return [Item((item.start, item.end), [(item.start, item.end)], [item.value]) for item in items]


def items_of(node: Node) -> list[Node]:
    """The entries of a list, of which there must be some."""
    if not node.items:
        raise ValueError("anchors must be lists of pairs (w, h), got an empty list or a number where a list must be")
    return node.items


def values_of(items: Sequence[Item]) -> Values:
    """Their numbers."""
    return [item.values for item in items]


def edits_of(text: str, items: Sequence[Item], numbers: Texts) -> Iterator[Edit]:
    """The edits that put `numbers` in the place of the items.

    A number that is the same float32 stays as it is written. Items beyond those there are repeat the last one with
    what stands between the last two; items too many go. Where comments stand between them, their number must stay.
    """
    for item, new in zip(items, numbers):
        for span, value, number in zip(item.numbers, item.values, new):
            if np.float32(value) != np.float32(number):
                yield (*span, number)
    n, last = len(numbers), items[-1]
    if n != len(items) and "#" in text[items[0].whole[0] : last.whole[1]]:
        raise ValueError(f"comments stand between its {len(items)} anchors; write {n} there by hand first")
    if n < len(items):
        yield items[n - 1].whole[1], last.whole[1], ""
    elif n > len(items):
        between = _between(text, items)
        yield last.whole[1], last.whole[1], "".join(between + _like(text, last, new) for new in numbers[len(items) :])


def _between(text: str, items: Sequence[Item]) -> str:
    """What parts an item from the next: what stands between the last two; for one alone, what its list would have."""
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


def _like(text: str, item: Item, numbers: Sequence[str]) -> str:
    """The item's text with these numbers."""
    first, parts = item.whole[0], []
    for (start, end), number in zip(item.numbers, numbers):
        parts += [text[first:start], number]
        first = end
    return "".join(parts) + text[first : item.whole[1]]


def splice(text: str, edits: Sequence[Edit]) -> str:
    """The text with the edits made; they must not overlap."""
    parts, first = [], 0
    for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
        parts += [text[first:start], new]
        first = end
    return "".join(parts) + text[first:]


def in_one_list(layers: Sequence[Texts], masks: Sequence[Sequence[int]]) -> tuple[list[tuple[str, ...]], list[Texts]]:
    """One list of all anchors, and for each layer its mask: the numbers of its anchors in that list.

    The layer whose mask had the lowest numbers comes first in the list, and no two layers share an anchor.

    >>> in_one_list([[("30", "61")], [("10", "13")]], [[1], [0]])
    ([('10', '13'), ('30', '61')], [[('1',)], [('0',)]])
    """
    together: list[tuple[str, ...]] = []
    new: dict[int, Texts] = {}
    for i in sorted(range(len(layers)), key=lambda i: sorted(masks[i])):
        new[i] = [(str(number),) for number in range(len(together), len(together) + len(layers[i]))]
        together += layers[i]
    return together, [new[i] for i in range(len(layers))]


def masked(anchors: Values, masks: Sequence[Sequence[int]]) -> list[Values]:
    """For each mask the anchors that it names."""
    if any(not 0 <= i < len(anchors) for mask in masks for i in mask):
        raise ValueError(f"a mask names an anchor beyond the {len(anchors)} there are")
    return [[anchors[i] for i in mask] for mask in masks]


def check_even(counts: Sequence[int]) -> None:
    """Every layer has the same number of anchors, for models that stack them in one array."""
    if len(set(counts)) > 1:
        raise ValueError(f"its model needs as many anchors on each layer, got {list(counts)}")


def number_text(side: float) -> str:
    """The shortest digits that read back as the same float32, without an exponent.

    >>> number_text(10.0), number_text(0.1)
    ('10', '0.1')
    """
    return np.format_float_positional(np.float32(side), trim="-")


def unified_diff(name: str, old: str, new: str) -> str:
    """As `diff -u` prints it; empty where nothing changes."""
    lines = difflib.unified_diff(_lines(old), _lines(new), fromfile=name, tofile=name)
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Parted at line feeds alone, as diff does."""
    return io.StringIO(text, newline="\n").readlines()
