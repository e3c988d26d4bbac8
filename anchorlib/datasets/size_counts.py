"""Count how often each box size occurs: all that a fit needs of a data set, small enough to save, send and add."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional, Union

import numpy as np

from anchorlib.arrays import (
    MAX_SIDE,
    MIN_SIDE,
    HostArray,
    check_imgsz,
    check_integer,
    check_one_of,
    check_shape,
    check_shape_wh,
    check_sizes,
)
from anchorlib.datasets.io.npz import read_npz, write_npz
from anchorlib.datasets.resize import RESIZES, ImageSize
from anchorlib.errors import AnchorlibError, BadValueError, DatasetError
from anchorlib.size_histogram import WeightedSizes, as_columns, cell_centre, merge_equal

_MOST_BOXES = 2**62
_KIND, _VERSION = "box sizes with counts", 1
_MANTISSA = 23  # bits of a float32 after its leading 1


@dataclass(frozen=True, eq=False, repr=False)
class SizeCounts:
    """Hold each box size once, with its number of boxes: `fit_anchors(x.wh, weights=x.counts)`.

    Made by `BoxSizes.compress`, or by `SizeCounts.of` from arrays. The same boxes give a bit-identical
    result, in any order and in any number of parts.

    Attributes
    ----------
    wh : (U, 2) float32, pixels of the resized image, each size once, by width, then height
    counts : (U,) int64, > 0, number of boxes of this size; their sum is below 2^62
    n_images : number of images, 0 if not known
    rows_refused : number of label rows that were rejected
    problem_counts : number of problems of each kind
    imgsz, resize : as in `BoxSizes`, or None if not known
    """

    wh: HostArray
    counts: HostArray
    n_images: int
    rows_refused: int
    problem_counts: dict[str, int]
    imgsz: Optional[tuple[int, int]]
    resize: Optional[str]

    @classmethod
    def of(
        cls,
        boxes_wh: HostArray,
        counts: Optional[HostArray] = None,
        *,
        n_images: int = 0,
        rows_refused: int = 0,
        problem_counts: Optional[Mapping[str, int]] = None,
        imgsz: Optional[ImageSize] = None,
        resize: Optional[str] = None,
    ) -> SizeCounts:
        """Count box sizes, given once for each box or with counts, in any order.

        Parameters
        ----------
        boxes_wh : (N, 2) NumPy, pixels, sides >= 0; taken as float32
        counts : (N,) integers >= 0, number of boxes of each row; by default 1
        n_images, rows_refused, problem_counts, imgsz, resize : see the class

        Raises
        ------
        ShapeError, BadValueError : sizes that a fit rejects, or counts that are not integers >= 0

        Examples
        --------
        >>> x = SizeCounts.of(np.asarray([[30, 20], [10, 20], [30, 20]]))
        >>> x.wh.tolist(), x.counts.tolist()
        ([[10.0, 20.0], [30.0, 20.0]], [1, 2])
        """
        boxes_wh = np.asarray(boxes_wh)
        check_shape_wh(boxes_wh=boxes_wh)
        check_sizes(zero=("boxes_wh",), boxes_wh=boxes_wh)
        once = as_columns(boxes_wh.astype(np.float32) + np.float32(0), None)  # + 0: -0.0 is 0.0
        if counts is not None:
            once = WeightedSizes(once.w, once.h, _whole_counts(counts, len(boxes_wh)))
        once = merge_equal(once)
        once = once.take(once.count > 0)
        if resize is not None:
            check_one_of("resize", resize, RESIZES)
        return cls(
            wh=np.stack([once.w, once.h], axis=1),
            counts=once.count.astype(np.int64),
            n_images=check_integer("n_images", n_images, 0),
            rows_refused=check_integer("rows_refused", rows_refused, 0),
            problem_counts={
                kind: check_integer(kind, count, 0) for kind, count in sorted((problem_counts or {}).items())
            },
            imgsz=None if imgsz is None else check_imgsz(imgsz),
            resize=resize,
        )

    @property
    def n_boxes(self) -> int:
        """Return the number of boxes, the sum of the counts."""
        return int(self.counts.sum())

    def merge(self, *others: SizeCounts) -> SizeCounts:
        """Merge these boxes with those of others. The result is bit-identical in any order and grouping.

        Parts must have been read for the same `imgsz` and `resize`. A part that is given twice counts twice.

        Raises
        ------
        BadValueError : different imgsz or resize, or 2^62 boxes or more

        Examples
        --------
        >>> a, b = SizeCounts.of(np.asarray([[10, 20]])), SizeCounts.of(np.asarray([[10, 20], [30, 20]]))
        >>> a.merge(b).counts.tolist()
        [2, 1]
        """
        parts = (self, *others)
        for part in others:
            if (part.imgsz, part.resize) != (self.imgsz, self.resize):
                raise BadValueError(
                    f"sizes to merge must have the same imgsz and resize, got {self.imgsz} {self.resize} and "
                    f"{part.imgsz} {part.resize}. Read them all with the same."
                )
        problem_counts: Counter[str] = Counter()
        for part in parts:
            problem_counts.update(part.problem_counts)
        return SizeCounts.of(
            np.concatenate([part.wh for part in parts]),
            np.concatenate([part.counts for part in parts]),
            n_images=sum(part.n_images for part in parts),
            rows_refused=sum(part.rows_refused for part in parts),
            problem_counts=problem_counts,
            imgsz=self.imgsz,
            resize=self.resize,
        )

    def histogram(self, step: float = 1 / 64) -> SizeCounts:
        """Count the boxes in cells: move each size to the middle of its cell.

        The cells are those of the direct search: a part of an octave in width and in height, linear within the octave.
        Their number is bounded by the range of the sizes, whatever the number of boxes: 3 * 10^5 for sides from 2 to
        640 px and a step of 1/64. A side of 0 stays 0. Histograms of one step merge to the histogram of the whole.

        Parameters
        ----------
        step : 1, 1/2, 1/4, ... 1/2^22 of an octave

        Notes
        -----
        `fit_anchors(method="direct")` gives the same anchors on the cells as on the boxes, bit for bit, where all
        that it looks at are cells, and its own are no finer than these:

        - there are more than 2^22 / n boxes (466 033 for n = 9); with fewer its last climb is on the boxes,
        - they lie in more than 600 of its cells, the finest of which 2^19 cover the range of the sizes,
        - the step is not greater than theirs: 1/64 will do where sizes range over a factor of 54 or more both in
          width and in height, 1/128 for a factor of 8, and any smaller step as well,
        - there is no `start`, which is compared with the result on the boxes.

        Elsewhere, and with the other methods, they are those of boxes moved by up to half a cell. The score is always
        that of the cells.

        Raises
        ------
        BadValueError : a step that is no such part

        Examples
        --------
        >>> SizeCounts.of(np.asarray([[100, 20], [100.5, 20]])).histogram(1 / 64).wh
        array([[100.5  ,  20.125]], dtype=float32)
        """
        bits = int(np.frexp(1 / step)[1]) - 1 if step > 0 else -1
        if not 0 <= bits < _MANTISSA or step != 2.0**-bits:
            raise BadValueError(f"step must be 1, 1/2, 1/4, ... or 1/2^{_MANTISSA - 1} of an octave, got {step!r}.")
        return SizeCounts.of(
            _centred(self.wh, _MANTISSA - bits),
            self.counts,
            n_images=self.n_images,
            rows_refused=self.rows_refused,
            problem_counts=self.problem_counts,
            imgsz=self.imgsz,
            resize=self.resize,
        )

    def count_problems(self) -> dict[str, int]:
        """Return the number of problems of each kind, the most frequent first."""
        return dict(Counter(self.problem_counts).most_common())

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Write the sizes to a .npz file of 16 bytes for each size, atomically.

        The same sizes give an identical file. BadValueError for another suffix, OSError.
        """
        if not os.fspath(path).endswith(".npz"):
            raise BadValueError(f"sizes must be saved to a file with the suffix .npz, got {os.fspath(path)!r}.")
        meta = {name: getattr(self, name) for name in _META}
        write_npz(path, _KIND, _VERSION, meta, wh=self.wh.astype("<f4"), counts=self.counts.astype("<i8"))

    @classmethod
    def load(cls, path: Union[str, os.PathLike[str]]) -> SizeCounts:
        """What `save` wrote; DatasetError, with the path, for anything else.

        Examples
        --------
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     SizeCounts.of(np.asarray([[10, 20]])).save(os.path.join(folder, "sizes.npz"))
        ...     SizeCounts.load(os.path.join(folder, "sizes.npz"))
        SizeCounts(1 boxes of 1 sizes in 0 images)
        """
        meta, arrays = read_npz(path, _KIND, _VERSION, wh=("<f4", (None, 2)), counts=("<i8", (None,)))
        try:
            return cls.of(arrays["wh"], arrays["counts"], **{name: meta[name] for name in _META})
        except (AnchorlibError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(f"{os.fspath(path)}: the sizes in it cannot be used: {error}") from error

    def __len__(self) -> int:
        return len(self.wh)

    def __repr__(self) -> str:
        refused = f", {self.rows_refused} rows refused" if self.rows_refused else ""
        return f"SizeCounts({self.n_boxes} boxes of {len(self.wh)} sizes in {self.n_images} images{refused})"


_META = ("n_images", "rows_refused", "problem_counts", "imgsz", "resize")


def _whole_counts(counts: HostArray, n_sizes: int) -> HostArray:
    """Return the counts as int64, checked."""
    counts = np.asarray(counts)
    check_shape((n_sizes,), counts=counts)
    if counts.dtype.kind not in "iu" or counts.min(initial=0) < 0:
        raise BadValueError(f"counts must be integers >= 0, got {counts.dtype} from {counts.min(initial=0)}.")
    total = counts.sum(dtype=np.float64)  # a float64 sum does not overflow
    if total >= _MOST_BOXES:
        raise BadValueError(f"counts must have a sum below 2^62, got {total:g}.")
    return counts.astype(np.int64)


def _centred(sides: HostArray, shift: int) -> HostArray:
    """Move each side, float32 >= 0, to the middle of its cell: the sides that differ only in the last `shift` bits."""
    middle = cell_centre((sides.view(np.uint32) >> shift).astype(np.int64), shift)
    # The first and the last cell reach beyond the sides that a fit accepts.
    return np.where(sides == 0, sides, np.clip(middle, np.float32(MIN_SIDE), np.float32(MAX_SIDE)))
