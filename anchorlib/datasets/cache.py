"""Keep labels in a file, and reuse them as long as none of the files that they came from changed."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from typing import Any, Optional

import numpy as np
import PIL

from anchorlib._version import __version__
from anchorlib.datasets.box_sizes import Problem
from anchorlib.datasets.io.file_log import ABSENT, FILE, FOLDER, Seen, State, digest, identify, look, noting
from anchorlib.datasets.io.files import in_order, walk
from anchorlib.datasets.io.npz import read_npz, write_npz
from anchorlib.datasets.validation import BOX_UNITS, Fault, Labels
from anchorlib.errors import BadValueError, DatasetError
from anchorlib.files import is_folder, open_regular

_KIND, _VERSION = "labels as they were read", 2
_FORMS = {
    "image_wh": ("<f8", (None, 2)),
    "image_index": ("<i8", (None,)),
    "row_numbers": ("<i8", (None,)),
    "classes": ("<f8", (None,)),
    "boxes": ("<f8", (None, 4)),
    "states": ("<i8", (None, 4)),  # of the paths, as in Seen
}
_MOST_PIXELS = 2**32  # of a side of an image: the header of no image file can say more
_SETTLED = 2_000_000_000  # ns; file systems tell times apart by up to two seconds, and a file may change twice in them
_START = b'meta.json{"kind": "' + _KIND.encode() + b'"'  # of our files, after the 30 bytes of a zip's first header


def check_cache(path: str) -> None:
    """Check, before hours of reading, that the cache can be written; BadValueError."""
    folder = os.path.dirname(path) or os.curdir
    if not is_folder(folder) or is_folder(path):
        raise BadValueError(f"cache must be the path of a file in an existing folder, got {path}.")


def read_through(path: str, asked: dict[str, str], read: Callable[[], Labels], progress: bool, workers: int) -> Labels:
    """Return the labels of the cache if they are current; otherwise read the labels and write the cache.

    `asked` is everything that `read` depends on apart from the disk. A cache that is outdated, damaged, of another
    version or of other labels is rewritten. If it cannot be written, a RuntimeWarning says so and the labels are
    returned. A file that is not a cache is kept, with a RuntimeWarning.
    """
    asked = {**asked, "anchorlib": __version__, "pillow": PIL.__version__}
    labels = _load(path, asked, progress, workers)
    if labels is not None:
        return labels
    started = time.time_ns()
    with noting() as seen:
        labels = read()
    reason = _why_not(path, seen, started)
    if not reason:
        try:
            _save(path, asked, labels, seen)
        except OSError as error:
            reason = error.strerror or str(error)
    if reason:
        warnings.warn(f"{path}: the cache was not written: {reason}", RuntimeWarning, stacklevel=3)
    return labels


def _why_not(path: str, seen: Seen, started: int) -> str:
    """Return the reason why the labels must not be written to the cache, or ''."""
    settled = started - _SETTLED
    recent = [file for file, (size, changed, _, _) in seen.states.items() if size >= 0 and changed > settled]
    if not seen.trusted:
        return "not all files could be read"
    if recent:
        return f"{recent[0]} changed less than two seconds before it was read"
    try:
        with os.fdopen(open_regular(path)[0], "rb") as file:  # a pipe would be waited for, for ever
            start = file.read(30 + len(_START))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return "" if not start or start[30:] == _START else "this file is not a cache; name another file, or remove it"


def _save(path: str, asked: dict[str, str], labels: Labels, seen: Seen) -> None:
    meta = {
        "asked": asked,
        "paths": list(seen.states),
        "walks": [[folder, suffixes, found] for (folder, suffixes), found in seen.walks.items()],
        "image_names": labels.image_names,
        "files": labels.files,
        "row_word": labels.row_word,
        "faults": [[row, *_values(fault)] for row, fault in labels.faults.items()],
        "class_names": labels.class_names,
        "n_classes": labels.n_classes,
        "problems": [_values(problem) for problem in labels.problems],
        "lost_rows": labels.lost_rows,
        "box_units": labels.box_units,
        "class_words": labels.class_words,
    }
    arrays = {name: getattr(labels, name) for name in _FORMS if name != "states"}
    arrays["states"] = np.asarray(list(seen.states.values()), np.int64).reshape(-1, 4)
    arrays = {name: array.astype(_FORMS[name][0]) for name, array in arrays.items()}
    write_npz(path, _KIND, _VERSION, meta, **arrays)


def _values(item: Any) -> list[Any]:
    return list(vars(item).values())


def _load(path: str, asked: dict[str, str], progress: bool, workers: int) -> Optional[Labels]:
    """Return the labels of a current cache; None for anything else."""
    try:
        meta, arrays = read_npz(path, _KIND, _VERSION, **_FORMS)
        states = arrays.pop("states").tolist()
        if meta["asked"] != asked or len(meta["paths"]) != len(states):
            return None
        for folder, suffixes, found in meta["walks"]:
            (folder,) = _texts([folder])
            if digest(walk(folder, _texts(suffixes))) != found:
                return None
        answers = list(zip(_texts(meta["paths"]), map(tuple, states)))  # a number would be a file descriptor
        if not all(in_order(_is_still, answers, "cache", progress, workers)):
            return None
        return _labels(meta, arrays)
    except (DatasetError, LookupError, TypeError, ValueError, AttributeError):  # damaged, or not written by anchorlib
        return None


def _is_still(answer: tuple[str, State]) -> bool:
    path, state = answer
    if state in (ABSENT, FILE, FOLDER):
        return look(path) == state
    try:
        info = os.stat(path)
    except OSError:
        return False
    return identify(info) == state


def _labels(meta: dict[str, Any], arrays: dict[str, Any]) -> Labels:
    """Return the labels, checked for consistency; ValueError and others."""
    labels = Labels(
        image_names=_texts(meta["image_names"]),
        files=_texts(meta["files"]),
        row_word=str(meta["row_word"]),
        faults={row: Fault(*_texts(fault)) for row, *fault in meta["faults"]},
        class_names=tuple(_texts(meta["class_names"])),
        n_classes=meta["n_classes"],
        problems=[_problem(*values) for values in meta["problems"]],
        lost_rows=meta["lost_rows"],
        box_units=str(meta["box_units"]),
        class_words=tuple(_texts(meta["class_words"])),
        **arrays,
    )
    n_images, n_rows = len(labels.image_wh), len(labels.classes)
    owners = labels.image_index
    fits = (
        len(labels.image_names) == len(labels.files) == n_images
        and len(owners) == len(labels.row_numbers) == len(labels.boxes) == n_rows
        and bool(((labels.image_wh > 0) & (labels.image_wh <= _MOST_PIXELS)).all())
        and bool((owners[1:] >= owners[:-1]).all() and (owners[:1] >= 0).all() and (owners[-1:] < n_images).all())
        and all(type(row) is int and 0 <= row < n_rows for row in labels.faults)
        and type(labels.lost_rows) is int
        and labels.lost_rows >= 0
        and labels.box_units in BOX_UNITS
        and (not labels.class_words or bool(_are_places(labels.classes, len(labels.class_words))))
        and (labels.n_classes is None or type(labels.n_classes) is int)
    )
    if not fits:
        raise ValueError("the parts do not fit together")
    return labels


def _are_places(values: Any, n: int) -> Any:
    return ((values >= 0) & (values < n)).all()


def _problem(kind: str, file: str, line: Optional[int], value: str, action: str, message: str) -> Problem:
    _texts([kind, file, value, action, message])
    if line is not None and type(line) is not int:
        raise ValueError("a line is a number")
    return Problem(kind, file, line, value, action, message)


def _texts(items: Any) -> list[str]:
    if not all(type(item) is str for item in items):
        raise ValueError("expected texts")
    return list(items)
