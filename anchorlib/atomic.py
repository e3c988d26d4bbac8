"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from typing import Union


def write_atomically(path: Union[str, os.PathLike[str]], data: bytes) -> None:
    """Write beside the file, bring it to the disk, then put it in its place: a power cut leaves the old or the new.

    A symlink is followed, and the mode of a file that was there is kept; its further hard links keep the old content.
    What is killed before the end may leave `.NAME.*.tmp` beside the file, which nothing reads: it can be deleted.

    Raises
    ------
    PermissionError : the file that is there may not be written; OSError
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.access(target, os.W_OK):  # a rename would not ask
        raise PermissionError(errno.EACCES, "the file is read-only", os.fspath(path))
    handle, beside = tempfile.mkstemp(
        dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.", suffix=".tmp"
    )
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.chmod(beside, _mode(target))
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise
    if os.name == "posix":  # the name is on the disk once its directory is
        directory = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _mode(path: str) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)  # there is no way to read it but to set it
        os.umask(mask)
        return 0o666 & ~mask
