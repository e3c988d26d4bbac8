"""Read the boxes of a data set: the way in for every format."""

from __future__ import annotations

import os
from typing import Optional, Union

import numpy as np

from anchorlib.arrays import check_integer, check_one_of
from anchorlib.datasets.box_sizes import BoxSizes, Problem
from anchorlib.datasets.cache import check_cache, read_through
from anchorlib.datasets.io.file_log import noting_losses
from anchorlib.datasets.recognition import check_format, find_format
from anchorlib.datasets.resize import ImageSize, scale_sizes
from anchorlib.datasets.validation import Labels, screen
from anchorlib.errors import DatasetError, LabelError

#: What to do about problems: collect them, raise an error for the first that costs a row or an image, drop them.
PROBLEMS = ("report", "raise", "ignore")
MAX_WORKERS = 1024  # threads; the system may refuse more, in the middle of the work


def read_boxes(
    path: Union[str, os.PathLike[str]],
    *,
    imgsz: ImageSize = 640,
    split: str = "train",
    resize: str = "letterbox",
    problems: str = "report",
    progress: bool = False,
    allow_empty: bool = False,
    cache: Optional[Union[str, os.PathLike[str]]] = None,
    workers: int = 1,
    format: Optional[str] = None,
) -> BoxSizes:
    """Return the sizes of all boxes of a data set, as the network will see them.

    Parameters
    ----------
    path : a YOLO data.yaml or the folder with it; a COCO .json; a Pascal VOC folder (with Annotations); a
        darknet .data file or .txt list of images
    imgsz : the network's input, pixels: the long side, or (width, height)
    split : 'train', 'val', 'test', or 'all' for all of them, each image once. For Pascal VOC also the name of any
        list in ImageSets/Main. A .json or .txt file is one split; all of it is read.
    resize : 'letterbox' (one scale for both sides) or 'stretch'
    problems : 'report' collects what is wrong; 'raise' raises an error for the first problem that costs a row or an
        image; 'ignore' collects nothing. The boxes are the same with 'report' and 'ignore'.
    progress : show a progress bar on a terminal for steps that take more than two seconds
    allow_empty : return the problems also if the data set has no usable box
    cache : path of a cache file. It is reused as long as the size and modification time of every input file and the
        folder listings are unchanged, for any `imgsz`, `resize` and `problems`. Otherwise it is rewritten
        atomically. A damaged cache is ignored. It contains no pickles.
    workers : number of reader threads. More than one helps on a slow or network disk, not on a fast local one. The
        result is the same. A COCO .json is read by one thread.
    format : 'yolo', 'voc', 'coco', 'darknet', 'labelme', 'cvat', 'csv', 'createml', 'labelstudio', 'via', 'keras',
        'kitti', 'dota' or 'visdrone'; None recognises the format by the names and the content of the files

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
    path = os.path.expanduser(os.fspath(path))
    labels = _read_labels(path, format, split, progress, workers, cache)
    sizes = screen(labels, imgsz, resize)
    costly = [problem for problem in sizes.problems if problem.costs]
    if problems == "raise" and costly:
        raise LabelError(f"{costly[0]}." + (f" {len(costly) - 1} more such problems." if costly[1:] else ""))
    if not len(sizes.wh) and not allow_empty:
        raise DatasetError(_explain_no_box(path, split, sizes))
    if problems == "ignore":
        sizes.problems.clear()
    return sizes


def _read_labels(
    path: str,
    format: Optional[str],
    split: str,
    progress: bool,
    workers: int,
    cache: Optional[Union[str, os.PathLike[str]]],
) -> Labels:
    """Read the labels from the cache, or from the data set. Paths that the system does not let us read are problems."""
    with noting_losses() as lost:
        try:
            known, source = find_format(path, format)
            if cache is None:
                labels = known.read(source, split, progress, workers)
            else:
                file = os.path.expanduser(os.fspath(cache))
                check_cache(file)
                asked = {"format": known.name, "path": source, "split": split}
                labels = read_through(
                    file, asked, lambda: known.read(source, split, progress, workers), progress, workers
                )
        except DatasetError as error:
            if not lost:
                raise
            reasons = "; ".join(f"{place}: {reason}" for place, reason in list(lost.items())[:3])
            raise DatasetError(f"{error} Could not be read: {reasons}.") from error
    known_files = {problem.file for problem in labels.problems if problem.costs}
    labels.problems += [
        Problem("unreadable path", place, None, "", "path refused", f"cannot be read: {reason}")
        for place, reason in lost.items()
        if place not in known_files
    ]
    return labels


def _explain_no_box(path: str, split: str, sizes: BoxSizes) -> str:
    """Return the message for a data set without a usable box."""
    message = (
        f"{path}: split {split!r} has no usable boxes: {len(sizes.image_wh)} readable images, "
        f"{sizes.rows_read} label rows, {sizes.rows_refused} of them rejected."
    )
    first = [str(problem) for problem in sizes.problems[:3]]
    return message + (f" First of {len(sizes.problems)} problems: {'; '.join(first)}." if first else "")
