"""Read the boxes of a data set: the way in for every format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Optional, Union

import numpy as np

from anchorlib.arrays import check_integer, check_one_of
from anchorlib.datasets.box_sizes import BoxSizes, Problem
from anchorlib.datasets.cache import check_cache, read_through
from anchorlib.datasets.combine import Classes, join, select
from anchorlib.datasets.formats import FORMATS, TEXT_FOLDERS
from anchorlib.datasets.io.file_log import noting_losses
from anchorlib.datasets.recognition import check_format, find_format
from anchorlib.datasets.resize import ImageSize, scale_sizes
from anchorlib.datasets.validation import Labels, screen
from anchorlib.errors import BadValueError, DatasetError, LabelError

#: What to do about problems: collect them, raise an error for the first that costs a row or an image, drop them.
PROBLEMS = ("report", "raise", "ignore")
_OF_A_FILE = ("unreadable label", "unreadable image")  # kinds that say that a whole file was not read
MAX_WORKERS = 1024  # threads; the system may refuse more, in the middle of the work


_Path = Union[str, "os.PathLike[str]"]


def read_boxes(
    path: Union[_Path, Sequence[_Path]],
    *,
    imgsz: ImageSize = 640,
    split: str = "train",
    resize: str = "letterbox",
    problems: str = "report",
    progress: bool = False,
    allow_empty: bool = False,
    cache: Optional[_Path] = None,
    workers: int = 1,
    format: Optional[str] = None,
    classes: Optional[Classes] = None,
    centres: bool = False,
) -> BoxSizes:
    """Return the sizes of all boxes of a data set, as the network will see them.

    Parameters
    ----------
    path : a YOLO data.yaml or the folder with it; a COCO .json or a folder of them; a folder of Pascal VOC .xml
        files; a darknet .data file or .txt list of images; or what a labelling tool exports (see `format`). A list of
        paths is read as one data set; classes with the same name become one class.
    imgsz : the network's input, pixels: the long side, or (width, height)
    split : 'train', 'val', 'test', or 'all' for all of them, each image once. For Pascal VOC also the name of any
        list in ImageSets/Main; in a folder of COCO files the word in a file's or folder's name. A .json or .txt file
        is one split; all of it is read.
    resize : 'letterbox' (one scale for both sides) or 'stretch'
    problems : 'report' collects what is wrong; 'raise' raises an error for the first problem that costs a row or an
        image; 'ignore' collects nothing. The boxes are the same with 'report' and 'ignore'.
    progress : show a progress bar on a terminal for steps that take more than a second
    allow_empty : return the problems also if the data set has no usable box
    cache : path of a cache file. It is reused as long as the size, times (mtime and ctime) and inode of every input
        file and the folder listings are unchanged, for any `imgsz`, `resize` and `problems`. Otherwise it is rewritten
        atomically. A damaged cache is ignored. It contains no pickles. The caches of the second and further paths
        get the endings .2, .3 and so on.
    workers : number of reader threads. More than one helps on a slow or network disk, not on a fast local one. The
        result is the same. A COCO .json is read by one thread.
    format : 'yolo', 'voc', 'coco', 'darknet', 'labelme', 'cvat', 'csv', 'createml', 'labelstudio', 'via', 'keras',
        'kitti', 'dota' or 'visdrone'; None recognises the format by the names and the content of the files
    classes : names or numbers of classes; the boxes of others are left out, and their rows are not counted. Problems
        are those of all rows.
    centres : also keep the centre of each box in `BoxSizes.centres`, 8 bytes a box; `crowding` needs them

    Returns
    -------
    BoxSizes, in the order of the sorted image paths (for a list or a .json: in its order).

    Raises
    ------
    DatasetError : an unknown format, a missing split, or (without `allow_empty`) no usable box
    LabelError : with problems='raise', the first row or image that is lost, with file and line
    BadValueError : a wrong option, or a cache in a folder that does not exist

    Warns
    -----
    RuntimeWarning : the cache was not written, because that failed or because input files changed just now

    Notes
    -----
    Kept and reported: boxes that reach beyond the image (they are not clipped), boxes without area, classes out of
    range. Rejected: rows that are not a box of finite numbers, negative sizes, repeated rows, and boxes whose centre is
    outside the image or whose side is longer than the image's, by more than one pixel and more than 1 % of the side.
    A polygon counts as its bounding box. Labels without an image are lost.

    Examples
    --------
    >>> sizes = read_boxes("tests/data/bccd", split="all")
    >>> sizes
    BoxSizes(4888 boxes in 364 images, 3 classes, 2 problems)
    >>> print(sizes.problems[0].kind, sizes.wh[0])
    zero area [231. 199.]
    """
    check_one_of("problems", problems, PROBLEMS)
    check_format(format)
    scale_sizes(np.ones((1, 2)), np.ones(2), imgsz, resize)  # rejects wrong options before any file is read
    check_integer("workers", workers, 1, MAX_WORKERS)
    paths = _list_paths(path)
    caches = [None] * len(paths) if cache is None else _list_caches(cache, len(paths))
    read = [_read_labels(place, format, split, progress, workers, file) for place, file in zip(paths, caches)]
    parts = [screen(labels, imgsz, resize, centres) for labels in read]
    sizes = join(parts)
    costly = [problem for problem in sizes.problems if problem.costs]
    if problems == "raise" and costly:
        raise LabelError(f"{costly[0]}." + (f" {len(costly) - 1} more such problems." if costly[1:] else ""))
    for place, part in zip(paths, parts):
        if not len(part.wh) and not allow_empty:
            raise DatasetError(_explain_no_box(place, split, part))
    if classes is not None and (len(sizes.wh) or not allow_empty):
        sizes = select(sizes, classes)
        if not len(sizes.wh) and not allow_empty:
            raise DatasetError(f"{', '.join(paths)}: split {split!r} has no usable box of the classes {classes!r}.")
    if problems == "ignore":
        sizes.problems.clear()
    return sizes


def _list_paths(path: Union[_Path, Sequence[_Path]]) -> list[str]:
    """Return the paths of the data sets; BadValueError if there are none, or one twice."""
    several = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    paths = [os.path.expanduser(os.fspath(one)) for one in several]
    if not paths:
        raise BadValueError("path must be the path of a data set, or a list of at least one, got an empty list.")
    real = [os.path.realpath(one) for one in paths]
    for at, one in enumerate(paths):
        if real[at] in real[:at]:
            raise BadValueError(f"path: {one} is given twice; its boxes would count twice.")
    return paths


def _list_caches(cache: _Path, count: int) -> list[str]:
    """Return the path of each data set's cache; BadValueError if one cannot be written."""
    file = os.path.expanduser(os.fspath(cache))
    files = [file, *(f"{file}.{number}" for number in range(2, count + 1))]
    for one in files:
        check_cache(one)
    return files


def _read_labels(
    path: str, format: Optional[str], split: str, progress: bool, workers: int, cache: Optional[str]
) -> Labels:
    """Read the labels from the cache, or from the data set. Paths that the system does not let us read are problems."""
    with noting_losses() as lost:
        try:
            known, source = find_format(path, format)
            if cache is None:
                labels = known.read(source, split, progress, workers)
            else:
                asked = {"format": known.name, "path": source, "split": split}
                labels = read_through(
                    cache, asked, lambda: known.read(source, split, progress, workers), progress, workers
                )
        except DatasetError as error:
            if not lost:
                raise
            reasons = "; ".join(f"{place}: {reason}" for place, reason in list(lost.items())[:3])
            raise DatasetError(f"{error} Could not be read: {reasons}.") from error
    labels.problems = _with_losses(labels.problems, lost)
    return labels


def _with_losses(problems: list[Problem], lost: dict[str, str]) -> list[Problem]:
    """Return the problems, and one of the kind 'unreadable path' for each path that the system did not let us read."""
    told = {p.file for p in problems if p.kind in _OF_A_FILE and p.file in lost}
    problems = [replace(p, kind="unreadable path") if p.kind in _OF_A_FILE and p.file in told else p for p in problems]
    return problems + [
        Problem("unreadable path", place, None, "", "path refused", f"cannot be read: {reason}")
        for place, reason in lost.items()
        if place not in told
    ]


def _explain_no_box(path: str, split: str, sizes: BoxSizes) -> str:
    """Return the message for a data set without a usable box."""
    message = (
        f"{path}: split {split!r} has no usable boxes: {len(sizes.image_wh)} readable images, "
        f"{sizes.rows_read} label rows, {sizes.rows_refused} of them rejected."
    )
    first = [str(problem) for problem in sizes.problems[:3]]
    message += f" First of {len(sizes.problems)} problems: {'; '.join(first)}." if first else ""
    if sizes.problems and all(problem.kind == "out of [0, 1]" for problem in sizes.problems):
        message += " YOLO rows are fractions of the image: if these are pixels, divide them by its width and height."
    return message + _name_other_format(sizes)


def _name_other_format(sizes: BoxSizes) -> str:
    """Return advice if the labels of a data set of YOLO are rows of KITTI, DOTA or VisDrone."""
    folder = os.path.dirname(sizes.problems[0].file) if sizes.problems else ""
    found = [known.name for known in FORMATS if known.name in TEXT_FOLDERS and known.find(folder) == folder]
    return f" These rows are in the format {found[0]}: pass the folder {folder}." if found and folder else ""
