"""What a data set comes down to: box sizes in pixels of the training image, and a list of what was wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import HostArray, check_one_of
from anchorlib.errors import BadValueError, ShapeError

ImageSize = Union[int, tuple[int, int]]

RESIZES = ("letterbox", "stretch")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set, where, and what was done about it.

    Attributes
    ----------
    kind : one of
        of rows that are not read: 'wrong number of fields', 'not a number', 'not a class', 'negative size',
        'out of [0, 1]', 'duplicate row', 'crowd', 'ignored';
        of rows that are kept: 'out of bounds' (reaches beyond the image), 'zero area', 'class out of range';
        of images: 'missing label' (read as one without boxes), 'missing image', 'unreadable image',
        'unreadable label', 'image without size', 'exif rotation' (its sides are swapped);
        of the data set: 'path' (a path that was mended, or a split that is not there)
    file : the file it was found in
    line : the line in it from 1, or None where the format has no lines
    value : what stands there, cut to a readable length
    action : 'row refused', 'rows refused', 'image refused', 'left out', 'kept', 'read'
    message : what must hold, and what came

    Examples
    --------
    >>> print(Problem("zero area", "labels/1.txt", 7, "0 0.5 0.5 0 0.2", "kept", "width must be > 0"))
    labels/1.txt:7: width must be > 0: '0 0.5 0.5 0 0.2' (kept)
    """

    kind: str
    file: str
    line: Optional[int]
    value: str
    action: str
    message: str

    @property
    def costs(self) -> bool:
        """Whether a row or an image was lost by it; `problems="raise"` stops at these."""
        return self.action.endswith("refused")

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.message}" + (f": {self.value!r}" if self.value else "") + f" ({self.action})"


@dataclass(frozen=True, eq=False, repr=False)
class BoxSizes:
    """The boxes of a data set as the network will see them: N boxes of M images.

    Attributes
    ----------
    wh : (N, 2) float32, pixels of the resized image; a side may be 0 (the fit leaves such boxes out)
    image_wh : (M, 2) float32, pixels of the images on disk, EXIF rotation applied
    image_index : (N,) int64, the row of `image_wh` that a box belongs to, ascending
    classes : (N,) int64
    class_names : names by class number, empty where the data set gives none
    image_names : M paths or names
    problems : what was found wrong, in the order of the files
    rows_read : rows (annotations, objects) that were found
    rows_refused : those of them that are not in `wh`; `rows_read == len(wh) + rows_refused`
    """

    wh: HostArray
    image_wh: HostArray
    image_index: HostArray
    classes: HostArray
    class_names: tuple[str, ...]
    image_names: tuple[str, ...]
    problems: list[Problem]
    rows_read: int
    rows_refused: int

    def count_problems(self) -> dict[str, int]:
        """How many problems there are of each kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    def __len__(self) -> int:
        return len(self.wh)

    def __repr__(self) -> str:
        refused = f", {self.rows_refused} rows refused" if self.rows_refused else ""
        return (
            f"BoxSizes({len(self.wh)} boxes in {len(self.image_wh)} images, {len(self.class_names)} classes"
            f"{refused}, {len(self.problems)} problems)"
        )


def check_imgsz(imgsz: Any) -> tuple[int, int]:
    """The network's input as (width, height): a whole number > 0, or a pair of them; BadValueError."""
    both = tuple(imgsz) if isinstance(imgsz, (tuple, list, np.ndarray)) else (imgsz, imgsz)
    whole = all(isinstance(side, (int, np.integer)) and not isinstance(side, bool) and side > 0 for side in both)
    if len(both) != 2 or not whole:
        raise BadValueError(f"imgsz must be a whole number > 0, or a pair (width, height) of them, got {imgsz!r}.")
    return int(both[0]), int(both[1])


def scale_sizes(
    boxes_wh: HostArray, image_wh: HostArray, imgsz: ImageSize = 640, resize: str = "letterbox"
) -> HostArray:
    """Box sizes after the image was resized for the network.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels of the image on disk
    image_wh : (N, 2) or (2,) float, pixels, > 0: the image that each box belongs to
    imgsz : the network's input, pixels: the long side, or (width, height)
    resize : 'letterbox' keeps the image's shape (one scale, the smaller of the two ratios; with one number
        for `imgsz` the long side becomes `imgsz`), 'stretch' scales each axis on its own

    Returns
    -------
    (N, 2) float32, pixels: computed in float64, rounded once.

    Raises
    ------
    BadValueError, ShapeError

    Source
    ------
    Letterbox resizing as in YOLOv5.

    Examples
    --------
    >>> scale_sizes(np.asarray([[100.0, 50.0]]), np.asarray([1280.0, 720.0]))
    array([[50., 25.]], dtype=float32)
    >>> scale_sizes(np.asarray([[100.0, 50.0]]), np.asarray([1280.0, 720.0]), (640, 480), "stretch")
    array([[50.      , 33.333332]], dtype=float32)
    """
    check_one_of("resize", resize, RESIZES)
    boxes_wh, image_wh = np.asarray(boxes_wh, np.float64), np.asarray(image_wh, np.float64)
    if boxes_wh.ndim != 2 or boxes_wh.shape[1] != 2 or image_wh.shape not in (boxes_wh.shape, (2,)):
        raise ShapeError(
            f"boxes_wh must have shape (N, 2) and image_wh (N, 2) or (2,), got {boxes_wh.shape} and {image_wh.shape}."
        )
    if not (image_wh > 0).all():
        raise BadValueError("image_wh must be > 0.")
    scale = np.asarray(check_imgsz(imgsz), np.float64) / image_wh
    if resize == "letterbox":
        scale = scale.min(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):  # a size beyond float32 becomes inf, and the fit says so
        return (boxes_wh * scale).astype(np.float32)
