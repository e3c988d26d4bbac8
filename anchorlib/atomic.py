"""Write files atomically: a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import Optional, Union

from anchorlib.files import RefusedFileError, open_regular, read_regular, status_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_Path = Union[str, "os.PathLike[str]"]

# O_EXCL: never a file that exists already. O_NOFOLLOW: never the target of a link that another user made.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


_CHANGED = "the file changed since it was read"


class FileChangedError(OSError):
    """Say that a file is not as it was when it was read, so that writing it would lose what another program wrote."""


def write_atomically(path: _Path, data: bytes, *, old: Optional[bytes] = None, new: bool = False) -> None:
    """Write to a temporary file, sync it to the disk, then rename it: after a power cut the file is the old or the new.

    A symlink is followed. The mode, owner and extended attributes of an existing file are kept where the system
    allows it; its other hard links keep the old content. A process that is killed may leave a file `.anchorlib-*.tmp`
    in the folder. Nothing reads it, and it can be deleted.

    Parameters
    ----------
    path : the file
    data : its new content
    old : the content that the file had when it was read. If it has another content now, it is not overwritten.
    new : True if the file must not exist yet. Of two processes that make one file, one writes it.

    Raises
    ------
    FileChangedError : the file does not have the content `old`, or with `new` it exists already
    PermissionError : the existing file is read-only
    OSError : the path is a folder, pipe or device, or writing failed; with the name of the file
    """
    target = os.path.realpath(path)
    try:
        if os.path.lexists(target) and stat.S_ISLNK(os.lstat(target).st_mode):
            raise OSError(errno.ELOOP, "the link cannot be followed")  # a loop, or an error that realpath hides
        _write(target, data, old, new)
    except FileChangedError:
        raise
    except OSError as error:  # name the file that the caller knows, not the temporary one
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def _write(target: str, data: bytes, old: Optional[bytes], new: bool) -> None:
    before = None if new else status_of(target)
    if before is not None and not stat.S_ISREG(before.st_mode):  # root would replace /dev/null for everybody
        raise OSError(errno.EINVAL, "it is a folder, pipe or device, not a regular file")
    if before is not None and not os.access(target, os.W_OK):  # a rename would not check this
        raise PermissionError(errno.EACCES, "the file is read-only")
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".anchorlib-{secrets.token_hex(8)}.tmp")  # short: a name has at most 255 bytes
    mode = 0o666 if before is None else 0o600  # the umask applies; nobody else reads a copy of a private file
    descriptor = os.open(temporary, _NEW, mode)
    try:
        try:
            _write_all(descriptor, data)
            if before is not None:
                _keep_attributes(target, temporary, before)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            _name_new(temporary, target)
        elif old is not None:
            _replace_if_same(temporary, target, old)
        else:
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    _sync_folder(folder)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # one call may write only a part
        rest = rest[os.write(descriptor, rest) :]


def _replace_if_same(temporary: str, target: str, old: bytes) -> None:
    """Replace a file if it still has the content `old`."""
    try:
        with _locked(target):
            if read_regular(target, len(old)) != old:
                raise FileChangedError(_CHANGED)
            os.replace(temporary, target)
    except (FileNotFoundError, RefusedFileError):  # it was deleted, is longer, or is not a regular file any more
        raise FileChangedError(_CHANGED) from None


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Lock a file, so that one process at a time compares and replaces it; some systems have no such locks."""
    if fcntl is None:
        yield
        return
    descriptor, _ = open_regular(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileChangedError("another program has locked the file") from None
        except OSError:  # a file system without locks
            pass
        if not os.path.samestat(os.fstat(descriptor), os.stat(path)):  # it was replaced before it was locked
            raise FileChangedError(_CHANGED)
        yield
    finally:
        os.close(descriptor)


def _keep_attributes(source: str, temporary: str, before: os.stat_result) -> None:
    """Give the new file the owner, the extended attributes and the mode of the old one, as far as this is allowed."""
    if hasattr(os, "chown"):
        made = os.stat(temporary)
        if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
            _change_owner(temporary, before.st_uid, before.st_gid)
    if hasattr(os, "listxattr"):  # access lists are among the extended attributes
        names: list[str] = []
        with contextlib.suppress(OSError):  # a file system without them
            names = os.listxattr(source)
        for name in names:
            with contextlib.suppress(OSError):  # security.* needs a privilege
                os.setxattr(temporary, name, os.getxattr(source, name))
    os.chmod(temporary, stat.S_IMODE(before.st_mode))  # last, because chown clears the bits of setuid


def _change_owner(path: str, user: int, group: int) -> None:
    """Give a file its owner and group, or only its group: only root may give a file away."""
    for owner in (user, -1):
        try:
            return os.chown(path, owner, group)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
                raise


def _name_new(temporary: str, target: str) -> None:
    """Give the file its name, unless a file of that name exists: a rename would replace it."""
    try:
        os.link(temporary, target)
        return
    except FileExistsError:
        raise FileChangedError("the file exists already") from None
    except (OSError, AttributeError, NotImplementedError):  # a file system without hard links, such as FAT
        pass
    try:
        os.close(os.open(target, _NEW, 0o666))
    except FileExistsError:
        raise FileChangedError("the file exists already") from None
    try:
        os.replace(temporary, target)
    except OSError:
        os.unlink(target)
        raise


def _sync_folder(folder: str) -> None:
    """Sync a folder: a name is on the disk only after that."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written and not listed
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
