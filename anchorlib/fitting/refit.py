"""Fit the anchors of a model file to a data set, and write them into the file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import Array, HostArray, take_sizes
from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError
from anchorlib.files import status_of
from anchorlib.fitting import AnchorFit, fit_anchors
from anchorlib.fitting.fit_arguments import check_anchors, check_counts
from anchorlib.fitting.order import sort_by_area
from anchorlib.fitting.rounding import RoundedAnchors, is_same_score, round_anchors
from anchorlib.metrics import AnchorScore, SizeTable
from anchorlib.modelfiles import (
    AnchorFile,
    edit_anchors,
    format_of_new_file,
    open_anchors,
    split_layers,
    write_anchors,
)
from anchorlib.results import Result, Row

_PathLike = Union[str, "os.PathLike[str]"]
_NEW_FILE = 9  # anchors that a new file gets if `n` is not given


@dataclass(frozen=True, repr=False)
class Refit(Result):
    """Hold the anchors that `refit` found for a model file, and how they compare with the file's own.

    path : of the model file
    fit : AnchorFit, the anchors before they were rounded
    layers : for each layer (A, 2) float32, pixels, as written to the file; the layer of the smallest anchors first.
        Inside a layer, the file may have another order: see `edit_anchors`.
    digits : decimals of the sides in the file, in the unit of the file; None if the sides were not rounded
    score : AnchorScore of `layers` on all boxes
    before : (K, 2) float32, pixels, the anchors that the new ones are compared with; None if there are none
    score_before : AnchorScore of `before`, or None
    kept : True if the file keeps its own anchors: they score the same as the fitted ones within 1e-4, or the search
        found nothing better
    diff : the change of the file as a unified diff; "" if the file does not change
    format, is_new : format of the file as given to `refit`, and whether the file did not exist
    """

    path: str
    fit: AnchorFit
    layers: list[HostArray]
    digits: Optional[int]
    score: AnchorScore
    before: Optional[HostArray]
    score_before: Optional[AnchorScore]
    kept: bool
    diff: str
    format: Optional[str] = None
    is_new: bool = False

    def write(self) -> None:
        """Write `layers` into the file, as `refit` does itself without `dry_run`; ModelError, OSError."""
        _write(self.path, self.layers, self.format, self.is_new)

    @property
    def anchors(self) -> HostArray:
        """Return the anchors of all layers as written: (K, 2) float32, pixels."""
        return np.concatenate(self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return the fit, the anchors as written, both scores and the diff in the types of JSON."""
        return {
            "path": self.path,
            "fit": self.fit.to_dict(),
            "layers": [layer.tolist() for layer in self.layers],
            "digits": self.digits,
            **self.score.to_dict(),
            "before": None if self.before is None else self.before.tolist(),
            "score_before": None if self.score_before is None else self.score_before.to_dict(),
            "kept": self.kept,
            "diff": self.diff,
        }

    def __repr__(self) -> str:
        change = "no change" if not self.diff else "kept" if self.kept else "new anchors"
        before = f", before: {self.score_before}" if self.score_before else ""
        return f"Refit({self.path}: {change}; {self.score}{before})"

    def _table_rows(self) -> list[Row]:
        rows: list[Row] = [("file", self.path), ("anchors kept", "yes" if self.kept else "no")]
        for i, layer in enumerate(self.layers, 1):
            rows.append((f"layer {i} (w,h px)", "  ".join(f"{w:g},{h:g}" for w, h in layer)))
        return rows + self.score._table_rows()


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
    **options: Any,
) -> Refit:
    """Fit anchors to box sizes and write them into a model file, as `anchorlib fit --out FILE` does.

    The anchors are written with the fewest decimals for which BPR, fitness and average IoU change by at most 1e-4.
    The file keeps its own anchors if they score the same as the fitted ones within 1e-4, so a second call changes
    nothing. Everything else in the file stays the same, to the byte.

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
    file, counts = _open_file(model_file, n, format)
    boxes_wh, weights = take_sizes(boxes, weights)
    own = np.concatenate(file.layers) if file and file.layers else None
    compared = own if before is None else check_anchors("before", before)
    fixed = check_anchors("fixed", fixed)
    if start is None:
        start = choose_start(compared, sum(counts), method=method, fixed=fixed)
    fit = fit_anchors(
        boxes_wh,
        counts,
        thr=thr,
        method=method,
        objective=objective,
        weights=weights,
        start=start,
        fixed=fixed,
        min_side=min_side,
        **options,
    )
    table = SizeTable(boxes_wh, weights)
    anchors = np.asarray(namespace_of(fit.anchors).to_numpy(fit.anchors), np.float32)
    written = None
    if fit.kept_start:
        if file and own is not None and file.counts == counts and np.array_equal(sort_by_area(own), anchors):
            anchors = own  # in the order of the file
        written = RoundedAnchors(anchors, None, fit.score)
    elif file and own is not None and file.counts == counts and fixed is None and min_side is None:
        own_score = table.score(own, thr)
        # Rounding would change the file at every call if it replaced anchors that score the same.
        if is_same_score(own_score, fit.score, ("bpr", "fitness" if objective == "ratio" else "avg_iou")):
            written = RoundedAnchors(own, None, own_score)
    kept = written is not None and own is not None and np.array_equal(written.anchors, own)
    if written is None:
        least = np.repeat(np.broadcast_to(0.0 if min_side is None else min_side, len(counts)), counts)  # (K,)
        unit = file.unit if file else 1.0
        written = round_anchors(table, anchors, thr, unit=unit, fixed=fixed, least=least[:, None])
    layers = split_layers(written.anchors, counts if file or len(counts) > 1 else None)
    return Refit(
        path=os.fspath(model_file),
        fit=fit,
        layers=layers,
        digits=written.digits,
        score=written.score,
        before=compared,
        score_before=None if compared is None else table.score(compared, thr),
        kept=kept,
        diff=_write(model_file, layers, format, is_new=file is None, dry_run=dry_run),
        format=format,
        is_new=file is None,
    )


def check_model_file(
    model_file: _PathLike, n: Union[int, Sequence[int], None] = None, format: Optional[str] = None
) -> list[int]:
    """Return how many anchors `refit` would fit for each layer of a file; check that the file can take them.

    Use it to report a wrong file or count before a long read of labels. Raises what `refit` raises for the file.
    """
    return _open_file(model_file, n, format)[1]


def choose_start(before: Optional[HostArray], n: int, *, method: str, fixed: Optional[Any]) -> Optional[HostArray]:
    """Return the earlier anchors if a fit of n anchors can start from them, else None."""
    if before is None or len(before) != n or method == "kmeans" or fixed is not None:
        return None
    return before


def _write(
    model_file: _PathLike, layers: list[HostArray], format: Optional[str], is_new: bool, dry_run: bool = False
) -> str:
    """Write to a new file or into an existing one, unless it is a dry run; return the change as a unified diff."""
    if is_new:
        return write_anchors(model_file, layers, format, dry_run=dry_run)
    return edit_anchors(model_file, layers, format, dry_run=dry_run)


def _open_file(
    model_file: _PathLike, n: Union[int, Sequence[int], None], format: Optional[str]
) -> tuple[Optional[AnchorFile], list[int]]:
    """Return what the file contains, None for a new file, and how many anchors each layer gets."""
    given = None if n is None else list(check_counts(n))
    if status_of(model_file) is None:
        format_of_new_file(model_file, format)
        return None, [_NEW_FILE] if given is None else given
    file = open_anchors(model_file, format)
    counts = _divide_counts(file, given, model_file)
    # Counts that the file cannot take are reported before the work of a fit is done.
    file.check_counts(counts)
    return file, counts


def _divide_counts(file: AnchorFile, given: Optional[list[int]], model_file: _PathLike) -> list[int]:
    """Return the count of each layer; a single number is divided evenly among the layers of the file."""
    if given is None:
        return file.counts
    layers = len(file.counts)
    if len(given) == 1 and given[0] % layers == 0:
        return [given[0] // layers] * layers
    if len(given) != layers:
        shown = given[0] if len(given) == 1 else given
        raise BadValueError(
            f"{os.fspath(model_file)} has {layers} layers: n must be a multiple of {layers}, or one number for each "
            f"layer, got {shown}."
        )
    return given
