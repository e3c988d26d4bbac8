"""What a data set comes down to: box sizes in pixels of the training image, and a list of what was wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.datasets.size_counts import SizeCounts
from anchorlib.results import Result, Row, counted, grouped


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
class BoxSizes(Result):
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
    imgsz, resize : the network's input as (width, height), pixels, and how the images are brought to it
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

    def compress(self) -> SizeCounts:
        """Each size once, with how many boxes have it: a fit on these gives the same anchors, bit for bit.

        Which image and class a box is of is left behind. BadValueError for a size that a fit refuses.

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
        """The boxes counted in cells of the direct search's grid: `SizeCounts.histogram`."""
        return self.compress().histogram(step)

    def count_problems(self) -> dict[str, int]:
        """How many problems there are of each kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    def boxes_per_class(self) -> dict[str, int]:
        """How many boxes each class that has some has, by its name, in the order of the class numbers."""
        numbers, counts = np.unique(self.classes, return_counts=True)
        return {self.class_name(int(number)): int(count) for number, count in zip(numbers, counts)}

    def class_name(self, number: int) -> str:
        """The name of a class, or its number where it has none."""
        return self.class_names[number] if 0 <= number < len(self.class_names) else str(number)

    def to_dict(self) -> dict[str, Any]:
        """What there is and what is wrong with it. The sizes themselves are arrays: `wh`, `classes`, `image_index`."""
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
