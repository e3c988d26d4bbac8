"""Write files atomically: a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from typing import Union


def write_atomically(path: Union[str, os.PathLike[str]], data: bytes) -> None:
    """Write to a temporary file, sync it to the disk, then rename it: after a power cut the file is the old or the new.

    A symlink is followed, and the mode of an existing file is kept; its other hard links keep the old content.
    A process that is killed may leave `.NAME.*.tmp` next to the file. Nothing reads it, and it can be deleted.

    Raises
    ------
    PermissionError : the existing file is read-only; OSError
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.access(target, os.W_OK):  # a rename would not check this
        raise PermissionError(errno.EACCES, "the file is read-only", os.fspath(path))
    handle, temporary = tempfile.mkstemp(
        dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.", suffix=".tmp"
    )
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.chmod(temporary, _get_mode(target))
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if os.name == "posix":  # the name is on the disk after its directory is synced
        directory = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _get_mode(path: str) -> int:
    """Return the mode of an existing file, or the mode that a new file gets."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)  # the mask can only be read by setting it
        os.umask(mask)
        return 0o666 & ~mask
