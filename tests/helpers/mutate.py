"""How files are damaged, and what must become of them: 1200 of them in the suite, 20,000 and more by ci/fuzz.

A mutant depends only on (seed, number), so that a line of the table is enough to make it again.
"""

from __future__ import annotations

import contextlib
import io
import re
import signal
import time
import traceback
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

from anchorlib.errors import DatasetError

SECONDS = 5  # for one file; none takes a tenth of it
NUMBERS = (
    *(b"nan", b"inf", b"-", b"1e999", b"-1e-999", b"9" * 400, b"1_0", b"0x10", b".", b"1e", b"4294967296", b"-1"),
    *(b"0", b"-0", b"1e308", b"-1e308", b"NaN", b"Infinity", b"null", b"true", b"1.5", b"'1'", b'"1"', b"[]"),
)
TOKENS = (
    *NUMBERS,
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\t", b"\x1a", b"\xe2\x80\xa8", b"\xed\xa0\x80"),
    *(b"<", b"&a;", b"]]>", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"</object>", b"<size/>", b"{", b"}", b"[", b"]"),
    *(b"*a", b"&a ", b"<<: *a", b"!!python/name:os.system ", b"!!binary ", b"!!timestamp 2001-99-99", b": ", b"- "),
    *(b"../", b"/", b"~", b"=", b"#", b";", b",", b"{}", b"'", b'"', b"? ", b"!!set ", b"\\u0000", b"\\ud800"),
    *(b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"IDAT", b"Exif\0\0", b"\xff\xe1"),
)
STRETCHED = 20  # every 20th mutant has a run
RUN = 30_000  # bytes
RUNS = (
    *(b" ", b"\t", b"\n", b"\r", b"1", b"a", b'"', b"'", b"\\", b"[", b"{", b"(", b"<", b"-", b".", b",", b":", b"#"),
    *(b"&", b"\0", b"\xc3\xa9", b"\xff", b"1 ", b" 1", b" 1\n", b"1,", b'" ', b"a=", b"- ", b"<a>", b"<a/>", b"/"),
    *(b"../", b"a/", b"[]", b"{},", b"]", b"; ", b".jpg ", b"a: ", b"a:\n", b"&a ", b"*a ", b"!", b"|", b"? ", b"%"),
    *(b"<!--", b'"a":1,', b'"a\\', b'\\"', b"0x", b"1_", b"1e", b"K\x01", b"]q\0", b"\x80\x02", b"N"),
)
NUMBER = re.compile(rb"-?\d+\.?\d*")


@dataclass(frozen=True)
class Reader:
    """Something that reads files.

    suffix : of its files
    seeds : what a file of it may hold
    read : reads a file that is written to `place(folder)`, checks what it got, and gives its problems as texts
    errors : what it may raise
    packed : is a file of it a zip?
    """

    name: str
    suffix: str
    seeds: tuple[bytes, ...]
    place: Callable[[Path], Path]
    read: Callable[[Path, int], list[str]]
    errors: tuple[type[Exception], ...] = (DatasetError,)
    packed: bool = False

    def mutant(self, seed: int, number: int) -> bytes:
        """The bytes of a damaged file."""
        rng = np.random.default_rng([seed, number])
        data, other = (self.seeds[rng.integers(len(self.seeds))] for _ in range(2))
        if number % STRETCHED == STRETCHED - 1:
            return stretch_packed(data, rng) if self.packed and rng.random() < 0.7 else stretch(data, rng)
        return (damage_packed if self.packed and rng.random() < 0.7 else damage)(data, other, rng)


def damage(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Half keep the file's form and have other numbers; half have bytes changed, cut, doubled, moved and put in."""
    changed = bytearray(data)
    keeps_form = rng.random() < 0.5
    for _ in range(min(rng.geometric(0.5), 8)):
        numbers = list(NUMBER.finditer(changed)) if keeps_form else []
        if numbers:
            found = numbers[rng.integers(len(numbers))]
            changed[found.start() : found.end()] = _any_number(numbers, rng)
        else:
            _damage_once(changed, other, rng)
    return bytes(changed)


def damage_packed(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """One member of a zip is damaged, and packed with a right checksum, so that the damage gets behind that."""
    members = unpack(data)
    names = [name for name, content in members.items() if content]
    chosen = names[rng.integers(len(names))] if rng.random() < 0.5 else max(names, key=lambda name: len(members[name]))
    members[chosen] = damage(members[chosen], other, rng)
    return pack(members)


def stretch(data: bytes, rng: np.random.Generator) -> bytes:
    """A long run of one token is put in: what takes N * N steps for N characters is then too slow."""
    at, to = (int(rng.integers(len(data) + 1)) for _ in range(2))
    piece = RUNS[rng.integers(len(RUNS))]
    return data[:at] + piece * (RUN // len(piece)) + data[at if to < at else to :]


def stretch_packed(data: bytes, rng: np.random.Generator) -> bytes:
    """The same in one member of a zip."""
    members = unpack(data)
    names = list(members)
    chosen = names[rng.integers(len(names))]
    return pack({**members, chosen: stretch(members[chosen], rng)})


def unpack(data: bytes) -> dict[str, bytes]:
    """The members of a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(members: dict[str, bytes]) -> bytes:
    """A zip of these members, not compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # which has the date of 1980, not that of today
    return file.getvalue()


def _any_number(numbers: list[re.Match[bytes]], rng: np.random.Generator) -> bytes:
    """A troublesome number, another one of the file, or one with other digits."""
    kind = rng.integers(3)
    if kind == 0:
        return NUMBERS[rng.integers(len(NUMBERS))]
    if kind == 1:
        return numbers[rng.integers(len(numbers))].group()
    return f"{rng.normal() * 10.0 ** rng.integers(-3, 6):.{rng.integers(20)}g}".encode()


def _damage_once(changed: bytearray, other: bytes, rng: np.random.Generator) -> None:
    at, to = sorted(map(int, rng.integers(0, len(changed) + 1, 2)))
    kind = rng.integers(9)
    if kind == 0 and changed:
        changed[rng.integers(len(changed))] = rng.integers(256)
    elif kind == 1 and changed:
        changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del changed[at : min(to, at + 20)]
    elif kind == 3:
        changed[at:at] = changed[at:to][:200]
    elif kind == 4:
        del changed[rng.integers(len(changed) + 1) :]
    elif kind == 5:
        changed[at:to] = other[at:to][:500]
    elif kind == 6:
        piece = changed[at:to][:50]
        changed[at:at] = piece * int(rng.integers(1, 200))
    else:
        changed[at:at] = TOKENS[rng.integers(len(TOKENS))]


def run(reader: Reader, folder: Path, data: bytes, number: int = 0) -> str:
    """'read', 'refused', or a traceback of what must not happen. The file stays where the reader looks for it."""
    reader.place(folder).write_bytes(data)
    try:
        with warnings.catch_warnings(), limit(SECONDS):
            warnings.simplefilter("error", RuntimeWarning)  # NumPy's, of overflows: nobody can act on them
            reader.read(folder, number)
        return "read"
    except reader.errors as error:
        # The systems' limit on memory must not pass for a refusal.
        return "refused" if "MemoryError" not in str(error) else traceback.format_exc()
    except (Exception, TooSlow):
        return traceback.format_exc()


class TooSlow(BaseException):
    """Not an Exception: what catches all of Pillow's errors must not catch this."""


@contextlib.contextmanager
def limit(seconds: float):
    """TooSlow after so many seconds, in the midst of whatever runs."""

    def stop(*_):
        raise TooSlow(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    started = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if time.monotonic() - started > seconds:  # in C, where no signal is seen
        raise TooSlow(f"{time.monotonic() - started:.1f} s")
