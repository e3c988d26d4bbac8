"""Hold the result of reading a data set: box sizes in pixels of the resized image, and a list of problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np

from anchorlib.arrays import HostArray, check_imgsz, host_floats, host_rows
from anchorlib.datasets.resize import ImageSize, place_centres, scale_sizes
from anchorlib.datasets.size_counts import SizeCounts
from anchorlib.errors import BadValueError, ShapeError
from anchorlib.results import Result, Row, counted, grouped, printable, table


@dataclass(frozen=True)
class Problem:
    """Describe one thing that is wrong with a data set, where it is, and what was done about it.

    Attributes
    ----------
    kind : one of
        of rows that are rejected: 'wrong number of fields', 'not a number', 'not a class', 'negative size',
        'out of [0, 1]', 'duplicate row', 'crowd', 'ignored';
        of rows that are kept: 'out of bounds' (reaches beyond the image), 'zero area', 'class out of range';
        of images: 'missing label' (read as one without boxes), 'missing image', 'unreadable image',
        'unreadable label', 'image without size', 'exif rotation' (its sides are swapped);
        'unreadable path' (a file or folder that the system does not let us read: its labels are lost);
        'encoding' (a file that is not UTF-8 or that does not fit its encoding; the boxes are read);
        of the data set: 'path' (a path that was corrected, or a split that does not exist), 'no boxes' (why a data set
        that could be read has no boxes), 'tiny boxes' (boxes in pixels that may be fractions),
        'rotated box' (how many rotated boxes count as their bounding box),
        'landmarks' (rows that look like polygons were read as a box with points)
    file : the file with the problem
    line : the line in it from 1, or None where the format has no lines
    value : the text or value in the file, truncated to a readable length
    action : 'row refused', 'rows refused', 'image refused', 'path refused', 'left out', 'kept', 'read', 'ignored'
    message : what must hold, and what was found

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
        """Return True if a row or an image was lost; `problems="raise"` raises an error for these."""
        return self.action.endswith("refused")

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        text = f"{where}: {self.message}" + (f": {self.value!r}" if self.value else "") + f" ({self.action})"
        return printable(text)


class Problems(list[Problem]):
    """Be a list of problems that a notebook shows as a table: each kind with its number and its first example."""

    def _repr_html_(self) -> str:
        first = {problem.kind: problem for problem in reversed(self)}
        counts = Counter(problem.kind for problem in self).most_common()
        rows: list[Row] = [(kind, grouped(count), str(first[kind])) for kind, count in counts]
        return table(rows or [("problems", "none")])


def _flat_classes(classes: Any) -> HostArray:
    """Return the classes of an image as (n,) float64; ShapeError for another shape."""
    numbers = np.asarray(host_floats(classes=classes), np.float64)
    if numbers.ndim != 1:
        raise ShapeError(f"classes must be (n,) for each image, got {numbers.shape}.")
    return numbers


@dataclass(frozen=True, eq=False, repr=False)
class BoxSizes(Result):
    """Hold the boxes of a data set as the network will see them: N boxes of M images.

    Attributes
    ----------
    wh : (N, 2) float32, pixels of the resized image; a side may be 0 (the fit leaves such boxes out)
    image_wh : (M, 2) float32, pixels of the images on disk, EXIF rotation applied
    image_index : (N,) int64, the row of `image_wh` that a box belongs to, ascending
    classes : (N,) int64
    class_names : names by class number; empty if the data set has no names
    image_names : M paths or names
    problems : what is wrong with the data set, in the order of the files
    rows_read : number of rows (annotations, objects) in the files
    rows_refused : number of rows that are not in `wh`; `rows_read == len(wh) + rows_refused`
    imgsz, resize : the network's input as (width, height), pixels, and how images are resized to it
    centres : (N, 2) float32, pixels of the network's input, which has the resized image in its middle; None unless
        they were asked for
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
    imgsz: tuple[int, int]
    resize: str
    centres: Optional[HostArray] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "problems", Problems(self.problems))

    @classmethod
    def from_boxes(
        cls,
        boxes_xyxy: Sequence[Any],
        image_wh: Any,
        classes: Optional[Sequence[Any]] = None,
        *,
        class_names: Sequence[str] = (),
        imgsz: ImageSize = 640,
        resize: str = "letterbox",
        centres: bool = False,
    ) -> BoxSizes:
        """Return the sizes of boxes that another library has loaded, such as supervision, torchvision or `datasets`.

        Boxes whose size is negative or not finite are left out and reported.

        Parameters
        ----------
        boxes_xyxy : for each of M images (n, 4) float: left, top, right, bottom, pixels of the image on disk
        image_wh : (M, 2), pixels, > 0, width first: the size of each image; or (2,) if all have one size
        classes : for each image (n,) integers; 0 for all boxes if not given
        class_names : names by class number
        imgsz, resize, centres : as in `read_boxes`

        Raises
        ------
        ShapeError : the lengths do not fit, or boxes that are not (n, 4)
        BadValueError : a side of an image that is not > 0, or a class that is not an integer

        Examples
        --------
        >>> sizes = BoxSizes.from_boxes([[[10, 20, 110, 70]], []], [[640, 480], [320, 240]])
        >>> sizes, sizes.wh.tolist()
        (BoxSizes(1 boxes in 2 images, 0 classes, 0 problems), [[100.0, 50.0]])
        """
        boxes = [host_rows(4, **{f"boxes_xyxy[{i}]": rows}) for i, rows in enumerate(boxes_xyxy)]
        for i, one in enumerate(boxes):
            if one.ndim != 2 or one.shape[1] != 4:
                raise ShapeError(f"boxes_xyxy must be (n, 4) for each image; boxes_xyxy[{i}] is {one.shape}.")
        sizes_wh = np.asarray(host_floats(image_wh=image_wh), np.float64)
        if sizes_wh.shape == (2,):
            sizes_wh = np.broadcast_to(sizes_wh, (len(boxes), 2))
        if sizes_wh.shape != (len(boxes), 2):
            raise ShapeError(f"image_wh must be ({len(boxes)}, 2), one row for each image, got {sizes_wh.shape}.")
        if not (np.isfinite(sizes_wh) & (sizes_wh > 0)).all():
            raise BadValueError("image_wh must be finite and > 0.")
        counts = [len(rows) for rows in boxes]
        labels = [np.zeros(n) for n in counts] if classes is None else [_flat_classes(item) for item in classes]
        if [len(item) for item in labels] != counts:
            raise ShapeError("classes must have one class for each box of each image.")
        rows = np.concatenate([np.empty((0, 4)), *boxes]).astype(np.float64)
        numbers = np.concatenate([np.empty(0), *labels])
        if not (np.isfinite(numbers) & (numbers == np.floor(numbers)) & (abs(numbers) < 2**31)).all():
            raise BadValueError("classes must be integers.")
        image_index = np.repeat(np.arange(len(boxes)), counts)
        with np.errstate(over="ignore", invalid="ignore"):
            wh = rows[:, 2:] - rows[:, :2]
            good = np.logical_and.reduce(np.isfinite(rows), axis=1) & ((wh >= 0) & (wh < np.inf)).all(axis=1)
        problems = []
        for row in map(int, np.flatnonzero(~good)):
            kind = "negative size" if np.isfinite(wh[row]).all() else "not a number"
            message = "expected left <= right and top <= bottom, all finite"
            place = f"boxes_xyxy[{image_index[row]}]"
            problems.append(Problem(kind, place, None, str(rows[row].tolist()), "row refused", message))
        owners = image_index[good]
        return cls(
            wh=scale_sizes(wh[good], sizes_wh[owners], imgsz, resize),
            image_wh=sizes_wh.astype(np.float32),
            image_index=owners,
            classes=numbers[good].astype(np.int64),
            class_names=tuple(class_names),
            image_names=tuple(f"image {number}" for number in range(len(boxes))),
            problems=problems,
            rows_read=len(rows),
            rows_refused=len(problems),
            imgsz=check_imgsz(imgsz),
            resize=resize,
            centres=place_centres((rows[good, :2] + rows[good, 2:]) / 2, sizes_wh[owners], imgsz, resize)
            if centres
            else None,
        )

    def compress(self) -> SizeCounts:
        """Return each size once, with its number of boxes. A fit to them gives bit-identical anchors.

        The images, classes and centres of the boxes are not kept. BadValueError for a size that a fit rejects.

        Examples
        --------
        >>> from anchorlib import read_boxes
        >>> read_boxes("tests/data/bccd", split="all").compress()
        SizeCounts(4888 boxes of 2614 sizes in 364 images)
        """
        return SizeCounts.of(
            self.wh,
            n_images=len(self.image_wh),
            rows_refused=self.rows_refused,
            problem_counts=self.count_problems(),
            imgsz=self.imgsz,
            resize=self.resize,
        )

    def histogram(self, step: float = 1 / 64) -> SizeCounts:
        """Count the boxes in cells of the direct search's grid, as `SizeCounts.histogram` does."""
        return self.compress().histogram(step)

    def count_problems(self) -> dict[str, int]:
        """Return the number of problems of each kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    def boxes_per_class(self) -> dict[str, int]:
        """Return the number of boxes of each class that has boxes, by name, in the order of the class numbers."""
        numbers, counts = np.unique(self.classes, return_counts=True)
        return {self.class_name(int(number)): int(count) for number, count in zip(numbers, counts)}

    def class_name(self, number: int) -> str:
        """Return the name of a class, or its number if it has no name."""
        return self.class_names[number] if 0 <= number < len(self.class_names) else str(number)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and the problems. The sizes are arrays: `wh`, `classes`, `image_index`."""
        return {
            "n_images": len(self.image_wh),
            "n_boxes": len(self.wh),
            "rows_read": self.rows_read,
            "rows_refused": self.rows_refused,
            "boxes_per_class": self.boxes_per_class(),
            "problems": [asdict(problem) for problem in self.problems],
        }

    def _table_rows(self) -> list[Row]:
        return [
            ("images", grouped(len(self.image_wh))),
            ("boxes", grouped(len(self.wh))),
            ("classes", grouped(len(self.class_names))),
            ("rows refused", f"{grouped(self.rows_refused)} of {grouped(self.rows_read)}"),
            *((f"problem: {kind}", grouped(count)) for kind, count in self.count_problems().items()),
        ]

    def __len__(self) -> int:
        return len(self.wh)

    def __repr__(self) -> str:
        refused = f", {self.rows_refused} rows refused" if self.rows_refused else ""
        return (
            f"BoxSizes({len(self.wh)} boxes in {len(self.image_wh)} images, {len(self.class_names)} classes"
            f"{refused}, {counted(len(self.problems), 'problem')})"
        )
