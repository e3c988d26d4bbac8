"""Open and read regular files: a pipe does not block the reader, and a huge file does not fill the memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Optional, Union

# Without O_NONBLOCK, opening a pipe blocks until another process writes to it.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


_Path = Union[str, "os.PathLike[str]"]


class RefusedFileError(OSError):
    """Say why a path that exists was not read: it is a folder, pipe or device, or the file is too large."""


def status_of(path: _Path) -> Optional[os.stat_result]:
    """Return the status of a path, or None if nothing has that name; OSError if the system does not tell.

    os.path.exists, isfile and isdir return False after every error: a file in a folder that the system does not let us
    read would look absent.
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_regular(path: _Path) -> bool:
    """Return True for a regular file; OSError if the system does not tell."""
    info = status_of(path)
    return info is not None and stat.S_ISREG(info.st_mode)


def is_folder(path: _Path) -> bool:
    """Return True for a folder; OSError if the system does not tell."""
    info = status_of(path)
    return info is not None and stat.S_ISDIR(info.st_mode)


def open_regular(
    path: _Path, limit: Optional[int] = None, on_open: Optional[Callable[[os.stat_result], None]] = None
) -> tuple[int, int]:
    """Open a regular file for reading and return its descriptor and its size in bytes. The caller closes it.

    `on_open` is called with the file's status, also when the file is refused afterwards.
    RefusedFileError, at once, for a folder, a pipe, a device, or more than `limit` bytes; OSError.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:  # a NUL byte, or a character that the file system cannot encode
        raise RefusedFileError(f"not a path: {error}") from error
    try:
        info = os.fstat(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    if on_open is not None:
        on_open(info)
    if stat.S_ISREG(info.st_mode) and (limit is None or info.st_size <= limit):
        return descriptor, info.st_size
    os.close(descriptor)
    if not stat.S_ISREG(info.st_mode):
        raise RefusedFileError("a folder" if stat.S_ISDIR(info.st_mode) else "a pipe or device, not a regular file")
    raise RefusedFileError(f"{info.st_size} bytes, more than the limit of {limit} for such a file")


def read_regular(path: _Path, limit: int, on_open: Optional[Callable[[os.stat_result], None]] = None) -> bytes:
    """Read a regular file of at most `limit` bytes. Parameters and errors are those of `open_regular`.

    A file that is truncated while it is read is an OSError.
    """
    descriptor, size = open_regular(path, limit, on_open)
    try:
        content = read_fully(descriptor, size)  # a file object costs more than everything else for a small file
    finally:
        os.close(descriptor)
    if len(content) < size:
        raise OSError(f"ended after {len(content)} of {size} bytes: the file changed while it was read")
    return content


def read_fully(descriptor: int, size: int) -> bytes:
    """Read `size` bytes of an open file, or fewer at its end: one call of os.read may return fewer at any place."""
    content = os.read(descriptor, size)
    if len(content) == size:
        return content
    parts, left = [content], size - len(content)
    while parts[-1] and left:
        parts.append(os.read(descriptor, left))
        left -= len(parts[-1])
    return b"".join(parts)
