"""Labels on disk -> box sizes, and a list of what is wrong with them.

One file a format (yolo, coco, voc, darknet), each ending in the same `Labels`; `checks` decides which rows
count, for all formats alike; `sizes` scales them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import check_integer, check_one_of, host_floats, host_rows
from anchorlib.datasets.box_sizes import BoxSizes, Problem
from anchorlib.datasets.cache import check_cache, read_through
from anchorlib.datasets.formats.coco import read_coco
from anchorlib.datasets.formats.darknet import read_darknet
from anchorlib.datasets.formats.voc import read_voc
from anchorlib.datasets.formats.yolo import read_yolo
from anchorlib.datasets.resize import ImageSize, check_imgsz, scale_sizes
from anchorlib.datasets.size_counts import SizeCounts
from anchorlib.datasets.validation import Labels, screen
from anchorlib.errors import BadValueError, DatasetError, LabelError, ShapeError

__all__ = ["BoxSizes", "Problem", "SizeCounts", "from_dataset", "read_boxes", "scale_sizes"]

Reader = Callable[[str, str, bool, int], Labels]

READERS: dict[str, Reader] = {
    ".yaml": read_yolo,
    ".yml": read_yolo,
    ".json": read_coco,
    ".data": read_darknet,
    ".txt": read_darknet,
}
REPORTS = ("report", "raise", "ignore")
_OTHERWISE = {
    ".xml": " Of Pascal VOC pass the folder that holds Annotations.",
    ".npz": " Saved sizes are read by SizeCounts.load.",
}


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
) -> BoxSizes:
    """The sizes of all boxes of a data set, as the network will see them.

    Parameters
    ----------
    path : a YOLO data.yaml or the folder with it; a COCO .json; a Pascal VOC folder (with Annotations); a
        darknet .data file or .txt list of images. The format is known by the path.
    imgsz : the network's input, pixels: the long side, or (width, height)
    split : 'train', 'val', 'test', or 'all' for all of them, each image once; of Pascal VOC also any list in
        ImageSets/Main. A .json or .txt file is one split and read whole.
    resize : 'letterbox' (one scale for both sides) or 'stretch'
    problems : 'report' collects what is wrong, 'raise' stops at what costs a row or an image, 'ignore'
        collects nothing; the boxes are the same with 'report' and 'ignore'
    progress : show a bar on a terminal, for what takes over two seconds
    allow_empty : return the problems of a data set without one usable box, too
    cache : a file that keeps what was read. It is used while every file that counted has its size and time and
        the folders hold the same files, whatever `imgsz`, `resize` and `problems` are; else it is written anew,
        atomically. Nothing in it is unpickled, and a damaged one is as good as none.
    workers : how many files are asked for at a time, by threads. More than one helps where the disk is waited for,
        as on a network; on a warm local disk it does not. The result is the same. A COCO .json is one file.

    Returns
    -------
    BoxSizes, in the order of the sorted image paths (of a list or a .json: in its order).

    Raises
    ------
    DatasetError : no format known, a split that is not there, or (without `allow_empty`) not one usable box
    LabelError : with problems='raise', the first row or image that is lost, with file and line
    BadValueError : an unknown option, or no folder for the cache

    Warns
    -----
    RuntimeWarning : the cache cannot be written, or should not be, because files changed just now

    Notes
    -----
    Kept and reported: boxes that reach beyond the image, boxes without area, classes out of range.
    Refused: rows that are no box of finite numbers, a centre or size outside the image, negative sizes, and
    repetitions of a row. A polygon counts by its bounding box. Labels without an image are lost.

    Examples
    --------
    >>> sizes = read_boxes("tests/data/bccd", split="all")
    >>> sizes
    BoxSizes(4888 boxes in 364 images, 3 classes, 2 problems)
    >>> print(sizes.problems[0].kind, sizes.wh[0])
    zero area [231. 199.]
    """
    check_one_of("problems", problems, REPORTS)
    scale_sizes(np.ones((1, 2)), np.ones(2), imgsz, resize)  # refuses wrong options before any file is read
    check_integer("workers", workers, 1)
    path = os.path.expanduser(os.fspath(path))
    reader, place = _find(path)
    if cache is None:
        labels = reader(place, split, progress, workers)
    else:
        file = os.path.expanduser(os.fspath(cache))
        check_cache(file)
        asked = {"format": reader.__name__, "path": place, "split": split}
        labels = read_through(file, asked, lambda: reader(place, split, progress, workers), progress, workers)
    sizes = screen(labels, imgsz, resize)
    costly = [problem for problem in sizes.problems if problem.costs]
    if problems == "raise" and costly:
        raise LabelError(f"{costly[0]}." + (f" {len(costly) - 1} more such problems." if costly[1:] else ""))
    if not len(sizes.wh) and not allow_empty:
        raise DatasetError(_nothing(path, split, sizes))
    if problems == "ignore":
        sizes.problems.clear()
    return sizes


def _find(path: str) -> tuple[Reader, str]:
    """The reader of a format and the path that it takes; DatasetError."""
    if os.path.isdir(path):
        yamls = [name for name in sorted(os.listdir(path)) if name.endswith((".yaml", ".yml"))]
        is_voc = os.path.isdir(os.path.join(path, "Annotations"))  # which a stray .yaml does not make a YOLO set
        if "data.yaml" in yamls or (len(yamls) == 1 and not is_voc):
            return read_yolo, os.path.join(path, "data.yaml" if "data.yaml" in yamls else yamls[0])
        if is_voc:
            return read_voc, path
        there = yamls or sorted(os.listdir(path))[:8]
        raise DatasetError(
            f"{path}: looked for data.yaml (YOLO) or Annotations (Pascal VOC) in this folder, found "
            f"{', '.join(there) or 'nothing'}. Of COCO pass the .json, of darknet the .data or .txt file."
        )
    suffix = os.path.splitext(path)[1].lower()
    if not os.path.lexists(path):
        raise DatasetError(f"{path}: there is no such file or folder.")
    if suffix not in READERS:
        hint = _OTHERWISE.get(suffix, "")
        raise DatasetError(
            f"{path}: looked for a data.yaml (YOLO), .json (COCO), .data or .txt (darknet) file or a folder, "
            f"got {suffix or 'no suffix'!r}.{hint}"
        )
    return READERS[suffix], path


def _nothing(path: str, split: str, sizes: BoxSizes) -> str:
    message = (
        f"{path}: no usable box in split {split!r}: {len(sizes.image_wh)} images with a size, "
        f"{sizes.rows_read} rows, {sizes.rows_refused} of them refused."
    )
    first = [str(problem) for problem in sizes.problems[:3]]
    return message + (f" First of {len(sizes.problems)} problems: {'; '.join(first)}." if first else "")


def from_dataset(dataset: Any, *, imgsz: ImageSize = 640, resize: str = "letterbox") -> BoxSizes:
    """Box sizes of a data set in memory, such as YOLOv5's LoadImagesAndLabels.

    Parameters
    ----------
    dataset : has `shapes` (M, 2), pixels, width first, and `labels`, M arrays (k, 5): class, cx, cy,
        w, h, shares of the image. The loader has checked them, so that only sizes that are not finite or
        negative are left out.

    Returns
    -------
    BoxSizes, in the order of the labels.

    Raises
    ------
    DatasetError : without these attributes, or of different lengths
    ShapeError, BadValueError

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> data = SimpleNamespace(shapes=[[1280, 720]], labels=[np.asarray([[0, 0.5, 0.5, 0.1, 0.2]])])
    >>> from_dataset(data).wh
    array([[64., 72.]], dtype=float32)
    """
    check_imgsz(imgsz)
    if not hasattr(dataset, "shapes") or not hasattr(dataset, "labels"):
        raise DatasetError(f"the data set must have shapes and labels, got {type(dataset).__name__}.")
    image_wh = host_floats(shapes=dataset.shapes)
    labels = [host_rows(5, **{f"labels[{i}]": rows}) for i, rows in enumerate(dataset.labels)]
    if image_wh.ndim != 2 or image_wh.shape[1] != 2 or len(image_wh) != len(labels):
        raise DatasetError(f"shapes must be ({len(labels)}, 2), as many as labels, got {image_wh.shape}.")
    if not (np.isfinite(image_wh) & (image_wh > 0)).all():
        raise BadValueError("shapes must be finite and > 0.")
    for index, rows in enumerate(labels):
        if rows.ndim != 2 or rows.shape[1] != 5:
            raise ShapeError(f"labels must be arrays (k, 5): class, cx, cy, w, h; labels[{index}] is {rows.shape}.")
    rows = np.concatenate([np.empty((0, 5)), *labels])
    image_index = np.repeat(np.arange(len(labels)), [len(rows) for rows in labels])
    good = (np.isfinite(rows[:, 3:]) & (rows[:, 3:] >= 0)).all(axis=1) & np.isfinite(rows[:, 0])
    problems = [
        Problem("not a number", f"labels[{image_index[row]}]", None, str(rows[row]), "row refused", "not a size")
        for row in np.flatnonzero(~good)
    ]
    rows, image_index = rows[good], image_index[good]
    names = getattr(dataset, "im_files", None) or getattr(dataset, "img_files", None) or []
    return BoxSizes(
        wh=scale_sizes(rows[:, 3:] * image_wh[image_index], image_wh[image_index], imgsz, resize),
        image_wh=image_wh.astype(np.float32),
        image_index=image_index,
        classes=rows[:, 0].astype(np.int64),
        class_names=(),
        image_names=tuple(map(str, names)),
        problems=problems,
        rows_read=len(good),
        rows_refused=len(problems),
        imgsz=check_imgsz(imgsz),
        resize=resize,
    )
