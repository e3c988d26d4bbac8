"""Read a JSON object with long lists piece by piece: hundreds of megabytes of file in a few megabytes of memory.

No JSON is scanned by hand. A piece is cut where it looks like the end of an element. It counts only if a parser accepts
"[" + piece + "]": then the cut is between two elements, outside of every string and inner list. The other text, with a
random word instead of each list, must also parse, and must have the words where the lists belong.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import secrets
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Optional

from anchorlib.datasets.io.files import MEGABYTE

try:
    import orjson
except ImportError:  # the extra `fast`; the result is the same without it, but slower
    orjson = None  # type: ignore[assignment, unused-ignore]

PIECE_BYTES = MEGABYTE // 8  # bytes parsed at once, few enough for the processor's cache: 7 s instead of 11 for 500 MB
LARGEST = 64 * MEGABYTE  # the limit for one element
TRIES = 4  # cuts tried in one block: if an element has lists of objects, the last cut may be inside an element
OVERLAP = 64  # bytes; at most so many are between `"images"` and its bracket

_BETWEEN = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*(?=\{)")
# orjson turns integers of more than 64 bits into floats; a run of 19 digits may be one.
_DIGITS = bytes.maketrans(b"012345678", b"9" * 9)
_LONG_NUMBER = b"9" * 19


class NotInPiecesError(ValueError):
    """Say why a file must be read whole: it is broken, or its layout is valid but unusual."""


def read_pieces(descriptor: int, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of a JSON object, the lists `names` in parts, in the order of the file; NotInPiecesError.

    A key of `names` comes once for each part. If an error comes after some parts, all parts are invalid.
    """
    words = {name: secrets.token_hex(16) for name in names}  # the file's author cannot know them
    pattern = re.compile(b'"(%s)"[ \t\n\r]*:[ \t\n\r]*\\[' % "|".join(map(re.escape, names)).encode())
    rest: list[bytes] = []
    buffer, missing = b"", set(names)
    while missing:
        found = pattern.search(buffer)
        if found:
            name = found[1].decode()
            if name not in missing:
                raise NotInPiecesError(f"{name} is repeated")
            missing.remove(name)
            rest += [buffer[: found.end() - 1], f'"{words[name]}"'.encode()]
            buffer = yield from _elements(descriptor, name, buffer[found.end() :])
        else:
            more = os.read(descriptor, PIECE_BYTES)
            if not more:
                raise NotInPiecesError(f"no list {', '.join(sorted(missing))}")
            rest.append(buffer[:-OVERLAP])
            buffer = buffer[-OVERLAP:] + more
    while buffer:
        rest.append(buffer)
        buffer = os.read(descriptor, PIECE_BYTES)
    try:
        content = json.loads(b"".join(rest))
    except (ValueError, RecursionError) as error:
        raise NotInPiecesError(str(error)) from error
    if not isinstance(content, dict) or any(content.get(name) != word for name, word in words.items()):
        raise NotInPiecesError("the lists are not those of the object itself")
    yield from ((key, value) for key, value in content.items() if key not in words)


def _elements(descriptor: int, name: str, buffer: bytes) -> Generator[tuple[str, list[Any]], None, bytes]:
    """Yield the elements of a list whose bracket was the last byte before `buffer`; return the bytes after the list."""
    wanted = PIECE_BYTES
    while True:
        while len(buffer) < wanted:
            more = os.read(descriptor, PIECE_BYTES)
            if not more:
                break
            buffer += more
        found = _cut(buffer) or _end(buffer)
        if found:
            items, start, ended = found
            yield name, items
            buffer = buffer[start:]
            if ended:
                return buffer
            wanted = PIECE_BYTES
        elif len(buffer) < wanted or wanted >= LARGEST:
            raise NotInPiecesError(f"{name} cannot be cut")
        else:
            wanted *= 2


def _cut(buffer: bytes) -> Optional[tuple[list[Any], int, bool]]:
    """Return the elements up to one of the last possible borders, and where the next element starts."""
    cuts: list[tuple[int, int]] = []
    at = len(buffer)
    for _ in range(100 * TRIES):
        at = buffer.rfind(b"}", 0, at)
        if at < 0 or len(cuts) == TRIES:
            break
        border = _BETWEEN.match(buffer, at + 1)
        if border:
            cuts.append((at + 1, border.end()))
    for parse in (_parse_fast, _parse):
        for end, start in cuts:
            try:
                return parse(b"[" + buffer[:end] + b"]"), start, False
            except (ValueError, RecursionError):
                continue
    return None


def _parse_fast(data: bytes) -> Any:
    """Parse as `_parse` does, with orjson if it gives the same result; else ValueError."""
    if orjson is None or _LONG_NUMBER in data.translate(_DIGITS):
        raise ValueError("for the parser of the standard library")
    return orjson.loads(data)


def _parse(data: bytes) -> Any:
    return json.loads(data.decode("utf-8", "surrogatepass"))  # as json.loads decodes bytes


def _end(buffer: bytes) -> Optional[tuple[list[Any], int, bool]]:
    """Return the last elements, and where the text after the list starts; None if the list does not end here."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")  # the last letter may be cut in two
    try:
        text = "[" + decoder.decode(buffer)
        items, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return items, len(text[1:end].encode("utf-8", "surrogatepass")), True
