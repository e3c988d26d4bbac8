"""Read files and folders of a data set: each read is bounded and recorded in the file log."""

from __future__ import annotations

import errno
import os
import reprlib
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from tqdm import tqdm

from anchorlib.datasets.io.file_log import ABSENT, is_lasting, look, note_error, note_file, note_loss, note_walk
from anchorlib.datasets.io.text import decode_text
from anchorlib.files import RefusedFileError, open_regular, read_fully, read_regular

T = TypeVar("T")
R = TypeVar("R")

MEGABYTE = 1 << 20
LABEL_LIMIT = 16 * MEGABYTE  # one image's labels, or one xml; real ones end at a few megabytes of polygons
FILES_AT_ONCE = 16  # handed to a thread: enough to outweigh the cost of a task, few enough to need little memory
HERE_ONLY = "./"  # among the suffixes of `walk`: not the folders inside
MOST_PEEKED = 500_000  # names looked at to recognise a format
LIST_LIMIT = 64 * MEGABYTE  # lists of images
IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in "avif bmp dng gif heic heif jfif jp2 jpe jpeg jpg mpo pgm png ppm tif tiff webp".split()  # noqa: SIM905
)


def open_logged(path: str, limit: int | None = None) -> tuple[int, int]:
    """Open a file as `files.open_regular` does, and note it in the file log. The caller closes it."""
    try:
        return open_regular(path, limit, partial(note_file, path))
    except RefusedFileError:
        raise
    except OSError as error:
        note_error(path, error)
        raise


def read_logged(path: str, limit: int = LABEL_LIMIT) -> bytes:
    """Read a file as `files.read_regular` does, and note it in the file log."""
    try:
        return read_regular(path, limit, partial(note_file, path))
    except RefusedFileError:
        raise
    except OSError as error:
        note_error(path, error)
        raise


def read_or_error(path: str) -> bytes | OSError:
    """Read a file of labels; return the error instead of raising it."""
    try:
        return read_logged(path)
    except OSError as error:
        return error


def read_some(path: str, descriptor: int, size: int) -> bytes:
    """Read up to `size` bytes of an open file; note an error in the file log."""
    try:
        return read_fully(descriptor, size)
    except OSError as error:
        note_error(path, error)
        raise


def read_lines(path: str) -> list[str]:
    """Return the lines of a text file that are not empty, stripped; OSError, also for a file that is not UTF-8."""
    return split_lines(decode_text(read_logged(path, LIST_LIMIT)))


def split_lines(text: str) -> list[str]:
    """Return the lines of a text that are not empty, stripped."""
    return [line for line in map(str.strip, text.splitlines()) if line]


def read_head(path: str, size: int) -> bytes:
    """Return the first bytes of a file, or nothing if it cannot be read; to recognise a format."""
    try:
        descriptor, _ = open_logged(path)
        try:
            return read_fully(descriptor, size)
        finally:
            os.close(descriptor)
    except RefusedFileError:
        return b""
    except OSError as error:
        if not is_lasting(error):
            note_loss(path, error)
        return b""


def list_folder(folder: str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name; [] if it does not exist or cannot be listed, which is a loss."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            note_loss(folder, error)
        return []


def peek_files(folder: str, suffix: str, depth: int = 4) -> Iterator[str]:
    """Yield files with a suffix, first those of the folder itself, then those of the folders in it, and so on.

    It is for recognising a format: hidden names are left out, `depth` levels are searched, and the search ends after
    MOST_PEEKED names.
    """
    waiting, left = [folder], MOST_PEEKED
    for _ in range(depth):
        deeper: list[str] = []
        for here in waiting:
            entries = list_folder(here)
            left -= len(entries)
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(suffix):
                    yield entry.path
                elif _is_dir(entry):
                    deeper.append(entry.path)
            if left < 0:
                return
        waiting = deeper


def walk(folder: str, suffixes: Iterable[str]) -> list[str]:
    """Return the files below a folder with one of the suffixes, sorted. Each real folder is visited once.

    Files and folders whose name begins with a point are left out, as glob does: .ipynb_checkpoints, ._1.jpg of macOS.
    A folder that cannot be listed is a loss, which `read_boxes` reports as a problem. With HERE_ONLY among the
    suffixes, only the files of the folder itself are returned.
    """
    suffixes, found, seen, waiting = frozenset(suffixes), [], set(), [folder]
    while waiting:
        here = waiting.pop()
        try:
            info = os.stat(here)
        except OSError as error:
            if here != folder or not is_lasting(error):
                note_loss(here, error)
            continue
        if (info.st_dev, info.st_ino) in seen:
            continue
        seen.add((info.st_dev, info.st_ino))
        for entry in list_folder(here):
            name = entry.name
            if name[0] == ".":
                continue
            if os.path.splitext(name)[1].lower() in suffixes:
                found.append(entry.path)
            elif HERE_ONLY not in suffixes and _is_dir(entry):
                waiting.append(entry.path)
    found.sort()
    note_walk(folder, suffixes, found)
    return found


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if not is_lasting(error):  # otherwise it is a link to itself
            note_loss(entry.path, error)
        return False


def first_existing(candidates: Iterable[str]) -> str | None:
    """Return the first path that exists, or None."""
    return next((candidate for candidate in candidates if look(candidate) != ABSENT), None)


def shorten(value: object, limit: int = 60) -> str:
    """Return the repr of a value for a message, truncated; nested and huge values are safe."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = limit
    brief.maxlevel = 2  # six of six of six ... would be a message of a megabyte
    return brief.repr(value)


def with_bar(items: Iterable[T], what: str, progress: bool, total: int | None = None) -> Iterable[T]:
    """Yield the items; with `progress`, show a bar on a terminal's stderr after a second."""
    return tqdm(items, desc=what, total=total, leave=False, delay=1, disable=not (progress and sys.stderr.isatty()))


def in_order(function: Callable[[T], R], items: Sequence[T], what: str, progress: bool, workers: int) -> Iterable[R]:
    """Yield the function of each item, in order, with a bar; `workers` is the number of threads.

    Threads suffice because the time goes into waiting for the disk. The file log gets what they read.
    """
    results = map(function, items) if workers == 1 else _by_threads(function, items, workers)
    return with_bar(results, what, progress, total=len(items))


def _by_threads(function: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[R]:
    stopped = False

    def each(some: Sequence[T]) -> list[R]:
        return [function(item) for item in some if not stopped]

    waiting: deque[Future[list[R]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for first in range(0, len(items), FILES_AT_ONCE):
            some = items[first : first + FILES_AT_ONCE]
            waiting.append(pool.submit(copy_context().run, each, some))
            if len(waiting) > 2 * workers:  # not further ahead, because results wait in memory
                yield from waiting.popleft().result()
        for done in waiting:
            yield from done.result()
    finally:  # after Ctrl-C or an error nobody waits for the files that were not read yet
        stopped = True
        pool.shutdown(wait=False, cancel_futures=True)
