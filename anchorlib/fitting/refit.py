"""Fit the anchors of a model file to a data set, and write them into the file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import Array, HostArray, take_sizes
from anchorlib.fitting import fit_anchors
from anchorlib.fitting.anchor_fit import FitInputs, Refit, open_file, write_fit
from anchorlib.fitting.fit_arguments import check_anchors
from anchorlib.modelfiles import AnchorFile

_PathLike = Union[str, "os.PathLike[str]"]


def refit(
    model_file: _PathLike,
    boxes: Any,
    n: Union[int, Sequence[int], None] = None,
    *,
    format: Optional[str] = None,
    dry_run: bool = False,
    before: Optional[Array] = None,
    thr: float = 4.0,
    method: str = "direct",
    objective: str = "ratio",
    weights: Optional[Array] = None,
    start: Optional[Array] = None,
    fixed: Optional[Array] = None,
    min_side: Optional[Union[float, Sequence[float]]] = None,
    strides: Union[str, Sequence[float], None] = "file",
    **options: Any,
) -> Refit:
    """Fit anchors to box sizes and write them into a model file, as `anchorlib fit --out FILE` does.

    The anchors are written with the fewest decimals for which BPR, fitness and average IoU change by at most 1e-4.
    The file keeps its own anchors if they score the same as the fitted ones within 1e-4, so a second call changes
    nothing; with `strides` it may find better anchors, as it starts from those of the first. Everything else in the
    file stays the same, to the byte.

    Parameters
    ----------
    model_file : model yaml of YOLOv5 or YOLOv7, darknet .cfg, MMDetection .py, PaddleDetection .yml or .json; it is
        created if it does not exist
    boxes : (N, 2) float, pixels, as array or nested list; or BoxSizes or SizeCounts
    n : number of anchors, divided evenly among the layers of the file; or one number for each layer. If not given,
        the counts of the file are used, and 9 for a new file.
    format : "yolo", "darknet", "mmdet", "paddle" or "json", if the suffix of the file does not tell it
    dry_run : do not write; `Refit.diff` shows the change, and `Refit.write()` makes it
    before : (K, 2) float, pixels, the anchors to compare with; the file's own if not given. They are also the start
        of the search if `start` is not given, K equals the number of anchors and the method can improve them.
    thr, method, objective, weights, start, fixed, min_side : as in `fit_anchors`. With `fixed` or `min_side` the
        file's own anchors are always replaced.
    strides : pixels per cell of each layer, ascending, as in `fit_anchors`. With "file" and the method "direct", they
        are those of the file, as far as it tells them (`AnchorFile.strides`). None divides the anchors among the
        layers by area only. Boxes with centres (`read_boxes(..., centres=True)`) tell which layers are too crowded.
    options : other keywords of `fit_anchors`: seed, generations, progress, time_budget, distance, update, init

    Returns
    -------
    Refit

    Raises
    ------
    ModelError : the file has no anchors, or cannot take the layers; raised before the fit
    BadValueError : n does not go with the number of layers; and the errors of `fit_anchors`
    OSError : the file cannot be read or written

    Examples
    --------
    >>> found = refit("new.yaml", [[10., 20.], [12., 20.], [100., 90.], [90., 100.]], n=2, dry_run=True)
    >>> print(found.diff, end="")
    --- new.yaml
    +++ new.yaml
    @@ -0,0 +1,2 @@
    +anchors:
    +  - [10,20, 90,100]
    """
    file, counts = open_file(model_file, n, format)
    boxes_wh, all_weights = take_sizes(boxes, weights)
    steps = find_strides(file, counts, method) if isinstance(strides, str) else strides
    own = np.concatenate(file.layers) if file and file.layers else None
    compared = own if before is None else check_anchors("before", before)
    fixed = check_anchors("fixed", fixed)
    if start is None:
        start = choose_start(compared, sum(counts), method=method, fixed=fixed)
    fit = fit_anchors(
        boxes,
        counts,
        thr=thr,
        method=method,
        objective=objective,
        weights=weights,
        start=start,
        fixed=fixed,
        min_side=min_side,
        strides=steps,
        **options,
    )
    asked = FitInputs(boxes_wh, all_weights, thr, objective, fixed, min_side)
    return write_fit(fit, asked, model_file, format, file, counts, compared, dry_run)


def check_model_file(
    model_file: _PathLike, n: Union[int, Sequence[int], None] = None, format: Optional[str] = None
) -> list[int]:
    """Return how many anchors `refit` would fit for each layer of a file; check that the file can take them.

    Use it to report a wrong file or count before a long read of labels. Raises what `refit` raises for the file.
    """
    return open_file(model_file, n, format)[1]


def find_strides(file: Optional[AnchorFile], counts: Sequence[int], method: str) -> Optional[list[float]]:
    """Return the strides of a file with layers of these counts; None if they are not known, or not for this method."""
    known = None if file is None or method != "direct" else file.strides
    return known if known and len(known) == len(counts) else None


def choose_start(before: Optional[HostArray], n: int, *, method: str, fixed: Optional[Any]) -> Optional[HostArray]:
    """Return the earlier anchors if a fit of n anchors can start from them, else None."""
    if before is None or len(before) != n or method == "kmeans" or fixed is not None:
        return None
    return before
