"""Refuse paths that are empty, and outputs that would overwrite each other or an input."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from itertools import combinations

from anchorlib.errors import BadValueError
from anchorlib.files import is_folder, status_of

_OUTPUTS = ("out", "report", "cache", "differences")
_INPUTS = ("anchors", "file")


def check_paths(options: argparse.Namespace) -> None:
    """Check the paths that a command was given, before any work; BadValueError."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise BadValueError("the current folder was deleted; change to a folder that exists.") from None
    outputs = list(_named(options, _OUTPUTS))
    data = getattr(options, "paths", None) or [getattr(options, "data", None)]
    inputs = [("DATA", path) for path in data if path is not None] + list(_named(options, _INPUTS))
    for name, path in outputs + inputs:
        if not path:
            raise BadValueError(f"{name} must be a path, got ''.")
    for name, path in outputs:
        target = os.path.realpath(path)
        if os.path.islink(path) and not is_folder(os.path.dirname(target)):
            raise BadValueError(f"{name} {path} is a link to {target}, whose folder does not exist; make the folder.")
    for (first, path), (second, other) in combinations(outputs, 2):
        if is_same_file(path, other):
            raise BadValueError(f"{first} and {second} must be two files, got {path} and {other}.")
    for name, path in outputs:
        for of_input, other in inputs:
            # --out changes the anchors of a model file, and keeps everything else in it
            if name != "--out" and is_same_file(path, other):
                raise BadValueError(f"{name} would overwrite {of_input} {other}; name another file.")


def check_images(report: str | None, image_names: Iterable[str]) -> None:
    """Refuse a report that would overwrite an image of the data set; BadValueError."""
    if report is None or status_of(report) is None:
        return
    name = os.path.basename(os.path.realpath(report))
    for image in image_names:  # the names are compared first: asking the disk about each image takes long
        if os.path.basename(image) == name and is_same_file(report, image):
            raise BadValueError(f"--report would overwrite {image}, an image of the data set; name another file.")


def _named(options: argparse.Namespace, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the name and value of each of these options that is given."""
    for name in names:
        path = getattr(options, name, None)
        if path is not None:
            yield ("FILE" if name == "file" else f"--{name}"), path


def is_same_file(path: str, other: str) -> bool:
    """Return True if two paths name one file, also by a link or by another spelling; OSError."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    first, second = status_of(path), status_of(other)
    return first is not None and second is not None and os.path.samestat(first, second)
