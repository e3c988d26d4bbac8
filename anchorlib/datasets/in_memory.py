"""Take the labels of a data set that a training framework has already loaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from anchorlib.arrays import check_imgsz, host_floats, host_rows
from anchorlib.datasets.box_sizes import BoxSizes, Problem
from anchorlib.datasets.resize import ImageSize, place_centres, scale_sizes
from anchorlib.errors import BadValueError, DatasetError, ShapeError


def from_dataset(dataset: Any, *, imgsz: ImageSize = 640, resize: str = "letterbox", centres: bool = False) -> BoxSizes:
    """Return the box sizes of a data set in memory, such as YOLOv5's LoadImagesAndLabels.

    Parameters
    ----------
    dataset : has `shapes` (M, 2), pixels, width first, and `labels`, M arrays (k, 5): class, cx, cy,
        w, h, as fractions of the image. The loader has checked them; only sizes that are negative or not
        finite are left out.
    imgsz, resize, centres : as in `read_boxes`

    Returns
    -------
    BoxSizes, in the order of the labels.

    Raises
    ------
    DatasetError : the attributes are missing or have different lengths
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
        if rows.ndim != 2 or rows.shape[1] < 5:
            raise ShapeError(
                f"labels must be arrays (k, 5 or more): class, cx, cy, w, h; labels[{index}] is {rows.shape}."
            )
    rows = np.concatenate([np.empty((0, 5)), *(rows[:, :5] for rows in labels)])
    image_index = np.repeat(np.arange(len(labels)), [len(rows) for rows in labels])
    good = (np.isfinite(rows[:, 3:]) & (rows[:, 3:] >= 0)).all(axis=1) & np.isfinite(rows[:, 0])
    problems = [
        Problem("not a number", f"labels[{image_index[row]}]", None, str(rows[row]), "row refused", "not a size")
        for row in np.flatnonzero(~good)
    ]
    rows, image_index = rows[good], image_index[good]
    names = getattr(dataset, "im_files", None) or getattr(dataset, "img_files", None) or []
    owners_wh = image_wh[image_index]  # (N, 2)
    return BoxSizes(
        wh=scale_sizes(rows[:, 3:] * owners_wh, owners_wh, imgsz, resize),
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
        centres=place_centres(rows[:, 1:3] * owners_wh, owners_wh, imgsz, resize) if centres else None,
    )
