"""Read a pickle as a list of instructions, without running any instruction that calls or imports something.

`pickle.Unpickler` with its own `find_class` is not safe enough: it calls what find_class returns, sets attributes on
the results, uses copyreg's table without find_class, hashes any value in the file, and allocates gigabytes for a large
memo index. Here nothing is looked up, called, imported or set: a name stays a `Name`, a call becomes a `Made` that
holds the function and its arguments, and dicts keep only the entries with text keys. The result is a tree of inert
values for any file. Sizes, instructions and lines are limited; a file beyond a limit is reported as damaged.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, Callable, Optional

from anchorlib.modelfiles.checkpoint.pickle_policy import (
    Made,
    Name,
    Persistent,
    Skipped,
    can_run_code,
    get_entries,
    is_harmless,
)

MAX_STEPS = 2_000_000  # two models of 1800 modules each and their optimizer take 730 000
MAX_BLOB = 2**16  # bytes; longer texts are not kept: anchors have a few hundred
_MAX_KEPT = 2**27  # bytes of a pickle that are kept in total
_MAX_LINE = 4096  # bytes of a line in the text protocol; also keeps decimal numbers short
_MAX_NAME = 1000
_MAX_MEMO = 2**32


class Damaged(Exception):
    """Say what is wrong with a file, for a message that names the file."""


class Pickle:
    """Read one pickle from the file's position to the end of the pickle.

    Parameters
    ----------
    file : seekable, open for reading bytes
    refused : is filled, as keys, with what the pickle would call or change and a harmless one would not
    persistent : is filled with the ids of all persistent references
    """

    def __init__(self, file: BinaryIO, refused: dict[str, None], persistent: Optional[list[Any]] = None) -> None:
        self._file, self._refused, self._persistent = file, refused, persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._kept = 0
        here = file.tell()
        self._end = file.seek(0, 2)
        file.seek(here)

    def read(self) -> Any:
        """Return the tree of inert values.

        Raises
        ------
        Damaged : it is truncated, not a pickle, or larger than any checkpoint
        """
        try:
            for _ in range(MAX_STEPS):
                code = self._take(1)
                if code == b".":
                    return self._stack.pop()
                step = _STEPS.get(code)
                if step is None:
                    raise Damaged(f"byte {self._file.tell() - 1} is not a pickle instruction: {code!r}")
                step(self)
        except (
            IndexError,
            KeyError,
            ValueError,
        ) as error:  # an empty stack, an unknown memo, text that is not a number
            raise Damaged(f"the pickle is damaged before byte {self._file.tell()} ({type(error).__name__})") from error
        raise Damaged(f"the pickle has more than {MAX_STEPS} instructions")

    # Reading from the file

    def _take(self, n: int) -> bytes:
        data = self._file.read(n)
        if len(data) < n:
            raise Damaged("the pickle ends in the middle")
        return data

    def _unsigned(self, n: int) -> int:
        return int.from_bytes(self._take(n), "little")

    def _signed(self, n: int) -> int:
        return int.from_bytes(self._take(n), "little", signed=True)

    def _blob(self, n: int) -> Any:
        if n > MAX_BLOB:
            if n > self._end - self._file.tell():
                raise Damaged(f"the pickle needs {n} bytes where {self._end - self._file.tell()} are left")
            self._file.seek(n, 1)
            return Skipped()
        self._keep(n)
        return self._take(n)

    def _text(self, n: int, encoding: str = "utf-8") -> Any:
        data = self._blob(n)
        return data if isinstance(data, Skipped) else data.decode(encoding, "surrogatepass")

    def _long(self, n: int) -> Any:
        data = self._blob(n)
        return data if isinstance(data, Skipped) else int.from_bytes(data, "little", signed=True)

    def _line(self) -> str:
        data = self._file.readline(_MAX_LINE)
        if not data.endswith(b"\n"):
            raise Damaged("the pickle ends in the middle of a line, or has a line that is too long")
        self._keep(len(data))
        return data[:-1].decode("utf-8", "surrogateescape")

    def _keep(self, n: int) -> None:
        self._kept += n
        if self._kept > _MAX_KEPT:
            raise Damaged(f"the pickle has more than {_MAX_KEPT} bytes of small texts")

    # Instructions

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        return self._stack.pop()

    def _items(self) -> list[Any]:
        """Remove and return everything above the last mark."""
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _int_line(self) -> None:
        text = self._line()
        self._push({"00": False, "01": True}[text] if text in ("00", "01") else int(text))

    def _tuple(self, n: int) -> None:
        if len(self._stack) < n:
            raise IndexError
        items = tuple(self._stack[-n:])
        self._stack[-n:] = [items]

    def _refer(self, id: Any) -> None:
        if isinstance(id, tuple) and len(id) == 4 and id[0] == "module":  # the form of a class in torch's older format
            self._push(id[1])
            return
        if self._persistent is not None:
            self._persistent.append(id)
        self._push(Persistent(id))

    def _put(self, index: int) -> None:
        if not 0 <= index < _MAX_MEMO:
            raise Damaged(f"a memo index of {index.bit_length()} bits")
        self._memo[index] = self._stack[-1]

    def _mention(self, module: Any, name: Any) -> None:
        if isinstance(module, str) and isinstance(name, str):
            if len(module) + len(name) > _MAX_NAME:
                raise Damaged(f"a name of {len(module) + len(name)} letters")
            mentioned = Name(module, name)
        else:
            mentioned = Name("", "a name that is made while loading")
        if not mentioned.module or can_run_code(mentioned):
            self._refuse(str(mentioned))
        self._push(mentioned)

    def _call(self, function: Any, args: Any) -> None:
        if not isinstance(function, Name):
            self._refuse(f"the result of {_root(function)}")
        elif not is_harmless(function, args if isinstance(args, tuple) else ()):
            self._refuse(str(function))
        self._push(Made(function, args))

    def _new(self, keywords: bool = False) -> None:
        """Record cls.__new__(cls, *args), which makes an empty object if the class cannot run code."""
        if keywords:
            self._pop()
        args, cls = self._pop(), self._pop()
        if not isinstance(cls, Name):
            self._refuse(f"the result of {_root(cls)}")
        self._push(Made(cls, args))

    def _changed(self) -> Any:
        """Return the top value, which is to be changed; refuse a change of what the file did not make."""
        if isinstance(self._stack[-1], Name):
            self._refuse(f"a change of {self._stack[-1]}")
        return self._stack[-1]

    def _build(self) -> None:
        state, target = self._pop(), self._changed()
        if isinstance(target, Made):
            target.state = state

    def _append(self, items: list[Any]) -> None:
        target = self._changed()
        if isinstance(target, list):
            target.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._changed()
        if isinstance(target, (dict, Made)):
            get_entries(target).update(_texts(items))

    def _refuse(self, what: str) -> None:
        if len(self._refused) < 20:
            self._refused[make_printable(what)] = None


def make_printable(text: str) -> str:
    """Return a text from a file so that it is safe to print: one line of at most 100 letters without control codes."""
    return ascii(text)[1:-1][:100]


def _root(value: Any) -> str:
    for _ in range(10):
        value = value.of if isinstance(value, Made) else value
    return str(value) if isinstance(value, Name) else f"a {type(value).__name__}"


def _texts(items: list[Any]) -> dict[str, Any]:
    """Return [key, value, key, value, ...] as a dict of the text keys; hashing others could take hours."""
    if len(items) % 2:
        raise IndexError
    return {key: value for key, value in zip(items[::2], items[1::2]) if isinstance(key, str)}


def _inst(p: Pickle) -> None:
    p._mention(p._line(), p._line())
    function = p._pop()
    p._call(function, tuple(p._items()))


def _obj(p: Pickle) -> None:
    items = p._items()
    p._call(items[0], tuple(items[1:]))


def _reduce(p: Pickle) -> None:
    args, function = p._pop(), p._pop()
    p._call(function, args)


def _stack_name(p: Pickle) -> None:
    name, module = p._pop(), p._pop()
    p._mention(module, name)


def _pair(p: Pickle) -> list[Any]:
    value, key = p._pop(), p._pop()
    return [key, value]


def _extension(p: Pickle, n: int) -> None:
    code = p._unsigned(n)
    p._refuse(f"copyreg extension {code}")
    p._push(Name("copyreg", f"extension {code}"))


#: The instructions of protocols 0 to 5. Sets are lists here; NEXT_BUFFER (\x97) does not occur in files.
_STEPS: dict[bytes, Callable[[Pickle], Any]] = {
    b"(": lambda p: p._marks.append(len(p._stack)),
    b"0": Pickle._pop,
    b"1": Pickle._items,
    b"2": lambda p: p._push(p._stack[-1]),
    b"F": lambda p: p._push(float(p._line())),
    b"G": lambda p: p._push(struct.unpack(">d", p._take(8))[0]),
    b"I": Pickle._int_line,
    b"J": lambda p: p._push(p._signed(4)),
    b"K": lambda p: p._push(p._unsigned(1)),
    b"L": lambda p: p._push(int(p._line().rstrip("L"))),
    b"M": lambda p: p._push(p._unsigned(2)),
    b"N": lambda p: p._push(None),
    b"P": lambda p: p._refer(p._line()),
    b"Q": lambda p: p._refer(p._pop()),
    b"R": _reduce,
    b"S": lambda p: p._push(p._line()[1:-1]),  # escape sequences stay as they are
    b"T": lambda p: p._push(p._text(p._unsigned(4), "latin-1")),
    b"U": lambda p: p._push(p._text(p._unsigned(1), "latin-1")),
    b"V": lambda p: p._push(p._line()),
    b"X": lambda p: p._push(p._text(p._unsigned(4))),
    b"a": lambda p: p._append([p._pop()]),
    b"b": Pickle._build,
    b"c": lambda p: p._mention(p._line(), p._line()),
    b"d": lambda p: p._push(_texts(p._items())),
    b"}": lambda p: p._push({}),
    b"e": lambda p: p._append(p._items()),
    b"g": lambda p: p._push(p._memo[int(p._line())]),
    b"h": lambda p: p._push(p._memo[p._unsigned(1)]),
    b"i": _inst,
    b"j": lambda p: p._push(p._memo[p._unsigned(4)]),
    b"l": lambda p: p._push(p._items()),
    b"]": lambda p: p._push([]),
    b"o": _obj,
    b"p": lambda p: p._put(int(p._line())),
    b"q": lambda p: p._put(p._unsigned(1)),
    b"r": lambda p: p._put(p._unsigned(4)),
    b"s": lambda p: p._set(_pair(p)),
    b"t": lambda p: p._push(tuple(p._items())),
    b")": lambda p: p._push(()),
    b"u": lambda p: p._set(p._items()),
    b"\x80": lambda p: p._take(1),
    b"\x81": Pickle._new,
    b"\x82": lambda p: _extension(p, 1),
    b"\x83": lambda p: _extension(p, 2),
    b"\x84": lambda p: _extension(p, 4),
    b"\x85": lambda p: p._tuple(1),
    b"\x86": lambda p: p._tuple(2),
    b"\x87": lambda p: p._tuple(3),
    b"\x88": lambda p: p._push(True),
    b"\x89": lambda p: p._push(False),
    b"\x8a": lambda p: p._push(p._long(p._unsigned(1))),
    b"\x8b": lambda p: p._push(p._long(p._unsigned(4))),
    b"B": lambda p: p._push(p._blob(p._unsigned(4))),
    b"C": lambda p: p._push(p._blob(p._unsigned(1))),
    b"\x8c": lambda p: p._push(p._text(p._unsigned(1))),
    b"\x8d": lambda p: p._push(p._text(p._unsigned(8))),
    b"\x8e": lambda p: p._push(p._blob(p._unsigned(8))),
    b"\x8f": lambda p: p._push([]),
    b"\x90": lambda p: p._append(p._items()),
    b"\x91": lambda p: p._push(p._items()),
    b"\x92": lambda p: p._new(keywords=True),
    b"\x93": _stack_name,
    b"\x94": lambda p: p._put(len(p._memo)),
    b"\x95": lambda p: p._take(8),
    b"\x96": lambda p: p._push(p._blob(p._unsigned(8))),
    b"\x98": lambda p: None,
}
