"""Record every file and folder that a reader looked at, so that the cache can tell whether they changed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Optional

# Errors that occur again the next time, so that the path can be recorded as ABSENT.
_LASTING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
State = tuple[int, int, int, int]
ABSENT, FILE, FOLDER = (-1, 0, 0, 0), (-2, 0, 0, 0), (-3, 0, 0, 0)  # of a path that was only looked for


@dataclass
class Seen:
    """Hold the records. `trusted` becomes False after a disk error that may not occur again."""

    states: dict[str, State] = field(default_factory=dict)  # by path: `identify`, or a state above
    walks: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)  # by folder and suffixes: a digest
    trusted: bool = True


_NOTED_IN: ContextVar[Optional[Seen]] = ContextVar("_NOTED_IN", default=None)
_LOST_IN: ContextVar[Optional[dict[str, str]]] = ContextVar("_LOST_IN", default=None)


@contextlib.contextmanager
def noting() -> Iterator[Seen]:
    """Record what this thread reads within the block. Start other threads with `contextvars.copy_context`."""
    seen = Seen()
    token = _NOTED_IN.set(seen)
    try:
        yield seen
    finally:
        _NOTED_IN.reset(token)


@contextlib.contextmanager
def noting_losses() -> Iterator[dict[str, str]]:
    """Collect the paths that the system does not let this thread read within the block, each with the reason."""
    lost: dict[str, str] = {}
    token = _LOST_IN.set(lost)
    try:
        yield lost
    finally:
        _LOST_IN.reset(token)


def note_loss(path: str, error: OSError) -> None:
    """Record a path that may hold labels and cannot be read. Without this, the path would look empty or absent."""
    lost, seen = _LOST_IN.get(), _NOTED_IN.get()
    if lost is not None:
        lost.setdefault(path, error.strerror or str(error))
    if seen is not None:
        seen.trusted = False


def is_lasting(error: OSError) -> bool:
    """Return True for the errors of a path that does not exist, or cannot exist."""
    return error.errno in _LASTING


def identify(info: os.stat_result) -> State:
    """Return what changes when a file is rewritten: size in bytes, two times in ns, inode.

    The first time is that of the content, which programs can set back. The second is that of the inode (ctime), which
    they cannot. Windows has the time of creation instead, and file systems without inodes have 0 or a new number.
    """
    inode = info.st_ino & (2**63 - 1) if os.name == "posix" else 0
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns, inode


def note_file(path: str, info: os.stat_result) -> None:
    """Record the identity of an opened file."""
    seen = _NOTED_IN.get()
    if seen is not None:
        seen.states[path] = identify(info)


def note_error(path: str, error: OSError) -> None:
    """Record that a file could not be opened or read."""
    seen = _NOTED_IN.get()
    if seen is not None:
        seen.states[path] = ABSENT
    if not is_lasting(error):
        note_loss(path, error)


def look(path: str) -> State:
    """Return ABSENT, FILE (also for pipes and devices) or FOLDER, and record it; an error of the disk is a loss."""
    try:
        state = FOLDER if stat.S_ISDIR(os.stat(path).st_mode) else FILE
    except ValueError:  # a NUL byte
        state = ABSENT
    except OSError as error:
        state = ABSENT
        if not is_lasting(error):
            note_loss(path, error)
    seen = _NOTED_IN.get()
    if seen is not None:
        seen.states.setdefault(path, state)
    return state


def is_folder(path: str) -> bool:
    """Return True for a folder, and record it. Unlike os.path.isdir, it does not hide an error of the disk."""
    return look(path) == FOLDER


def is_named(path: str) -> bool:
    """Return True if something has that name, also a link to nothing, and record it."""
    if look(path) != ABSENT:
        return True
    try:
        os.lstat(path)
        return True
    except (OSError, ValueError):  # `look` has noted an error of the disk
        return False


def note_walk(folder: str, suffixes: Iterable[str], found: list[str]) -> None:
    """Record the files that were found below a folder."""
    seen = _NOTED_IN.get()
    if seen is not None:
        seen.walks[folder, tuple(sorted(suffixes))] = digest(found)


def digest(found: list[str]) -> str:
    """Return a digest of a list of paths."""
    return hashlib.sha256("\0".join(found).encode("utf-8", "surrogateescape")).hexdigest()
