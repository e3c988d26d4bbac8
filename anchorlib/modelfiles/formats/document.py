"""What all model file formats share: a text that is parsed once into a `Document`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Optional

from anchorlib.arrays import HostArray
from anchorlib.modelfiles.formats.text_edit import Edit, Texts, Values, format_number, splice


class Document(ABC):
    """Hold the text of a model file, parsed once: its anchors, where they are, and an outline of everything else.

    To add a format, write one module in this folder with a subclass, and add the class to the list in
    `registry.py`. The subclass defines

    format, suffixes    the format's name, and the file suffixes that select it
    __init__            call `super().__init__`, parse `self.text`, set the three attributes below
    new_text            the text of a new file
    find_edits          the changes that put other anchors into the text
    outline             everything except the anchors, to check that an edit changes nothing else
    check_counts        optional: further numbers of anchors that the file cannot take

    Each may raise ValueError, or an error of the parser that it calls; the callers name the file.

    Attributes
    ----------
    source : the text as it is in the file, with its byte order mark; bytes that are not UTF-8 are surrogates
    text : the text for a parser: without that mark, and with U+FFFD for each surrogate
    layers : the anchors of each layer in pixels, in the order of the file; None if it has only their number
    counts : the number of anchors of each layer, in the same order
    unit : the number of pixels in the file's unit of length
    """

    format: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()

    layers: Optional[list[Values]]
    counts: list[int]
    unit: float = 1.0

    def __init__(self, source: str) -> None:
        self.source = source
        self.text = make_parsable(source)

    @classmethod
    def parse(cls, source: str) -> Document:
        """Parse the text of a file. A format may override this to leave a text to another format."""
        return cls(source)

    @staticmethod
    @abstractmethod
    def new_text(layers: Sequence[Texts]) -> str:
        """Return the text of a new file. The layer of the smallest stride is given first."""

    @abstractmethod
    def find_edits(self, layers: Sequence[Texts]) -> Iterable[Edit]:
        """Return the changes that make these the file's anchors, in the order and unit of the file."""

    @abstractmethod
    def outline(self) -> Any:
        """Return everything that the text says except the anchors, as a value that can be compared."""

    def check_counts(self, counts: Sequence[int]) -> None:
        """Raise ValueError if the file cannot take these numbers of anchors, in the order of its layers."""
        if len(counts) != len(self.counts):
            raise ValueError(
                f"it has {len(self.counts)} anchor layers, got {len(counts)}; the number of layers cannot be changed"
            )

    def replace(self, layers: Sequence[HostArray]) -> str:
        """Return the text with these layers, (A, 2) float32 in pixels, in the order of the file."""
        self.check_counts([len(layer) for layer in layers])
        edits = list(self.find_edits(format_layers(layers, self.unit)))
        mark = self.source[: len(self.source) - len(self.text)]
        return mark + splice(self.source[len(mark) :], edits)


def format_layers(layers: Sequence[HostArray], unit: float = 1.0) -> list[Texts]:
    """Return the numbers of each layer as text, in units of so many pixels."""
    return [[(format_number(w / unit), format_number(h / unit)) for w, h in layer] for layer in layers]


def make_parsable(source: str) -> str:
    """Return the text without a byte order mark, and with U+FFFD, which all parsers accept, for bytes not in UTF-8."""
    return re.sub("[\ud800-\udfff]", "\ufffd", source[source.startswith("\ufeff") :])
