"""Find files whose path was written on another computer: another root, backslashes, other capitals."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Optional

from anchorlib.datasets.io.file_log import ABSENT, FOLDER, look
from anchorlib.datasets.io.files import list_folder

_MOST_PARTS = 64  # of a path; a path in a hostile list may have thousands
_MOST_MISSES = 200  # paths looked for in vain at every place; after them, a long list would take minutes


def parts_of(path: str) -> list[str]:
    """Return the names in a path of Windows or Unix, without the drive, the root, '.' and '..'.

    >>> parts_of(r"D:\\pets\\images/train")
    ['pets', 'images', 'train']
    """
    return [part for part in re.split(r"[\\/]+", path) if part not in ("", ".", "..") and not part.endswith(":")]


class TailFinder:
    """Find the longest tail of a path that exists below one of some folders.

    A path such as /kaggle/input/pets/images/1.jpg, or D:\\pets\\images\\1.jpg, is found as images/1.jpg. The place of
    the last hit is tried first, because a list has many paths with the same beginning.
    """

    def __init__(self, folders: Iterable[str]):
        self._folders = list(dict.fromkeys(folders))
        self._last: Optional[tuple[int, str]] = None  # names to drop, and the folder
        self._misses = 0

    def find(self, path: str) -> Optional[str]:
        """Return the file or folder, or None."""
        parts = parts_of(path)
        if not parts or len(parts) > _MOST_PARTS:
            return None
        tries = [] if self._last is None else [self._last]
        if self._misses < _MOST_MISSES:
            tries += [(dropped, folder) for dropped in range(len(parts)) for folder in self._folders]
        for dropped, folder in tries:
            found = os.path.join(folder, *parts[dropped:])
            if dropped < len(parts) and look(found) != ABSENT:
                self._last = dropped, folder
                return found
        self._misses += 1
        return None


def find_ignoring_case(path: str) -> Optional[str]:
    """Return the path as the disk has it if only the case of its letters differs, or None."""
    if look(path) != ABSENT:
        return path
    if path.count(os.sep) > _MOST_PARTS:
        return None
    parent, name = os.path.split(path)
    if not name or parent == path:
        return None
    folder = find_ignoring_case(parent or os.curdir)
    if folder is None or look(folder) != FOLDER:
        return None
    names = (entry.name for entry in list_folder(folder))
    found = next((other for other in names if other.lower() == name.lower()), None)
    return None if found is None else os.path.join(folder if parent else "", found)
