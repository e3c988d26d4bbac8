"""The result of a fit: the anchors, their score, how they were found, and how they are written to a model file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from anchorlib.arrays import Array, HostArray
from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError
from anchorlib.files import status_of
from anchorlib.fitting.fit_arguments import check_counts
from anchorlib.fitting.order import sort_in_layers
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
from anchorlib.results import Result, Row, counted
from anchorlib.training import Crowding
from anchorlib.training.crowding import CrowdingCounter

_PathLike = Union[str, "os.PathLike[str]"]
_NEW_FILE = 9  # anchors that a new file gets if `n` is not given


class FitInputs(NamedTuple):
    """Hold what anchors were fitted to: what has to be known to round and write them."""

    boxes_wh: Array
    weights: Optional[Array]
    thr: float
    objective: str
    fixed: Optional[HostArray]
    min_side: Any


@dataclass(frozen=True, repr=False)
class AnchorFit(Result):
    """Hold fitted anchors, their score, and how they were found.

    anchors : (n, 2), pixels, sorted by area, with `strides` inside each layer; framework, dtype and device of the boxes
    score : AnchorScore on all boxes, including the boxes that were left out of the fit
    method, seed : the method and the seed of the search
    seconds : wall-clock time of the whole call, in seconds
    counts : number of anchors of each layer, starting with the layer of the smallest stride
    kept_start : True if the search found nothing better than `start`
    strides : of the layers, pixels, if the fit took them into account
    idle_layers : layers, from 0, that the boxes do not need. Their anchors are those of `start`, or large squares; they
        match hardly any box.
    spare_anchors : rows of `anchors`, from 0, in the place of anchors that small boxes do not need, because another one
        of the layer is nearly equal. They are large squares.
    proven : for n=1, True if it is proven that no anchor has a fitness on the boxes of the fit that is higher by more
        than 2^-20; with `min_side`, no anchor with such sides. False says nothing: `certify` gives a bound.
    """

    anchors: Array
    score: AnchorScore
    method: str
    seed: int
    seconds: float
    counts: tuple[int, ...]
    kept_start: bool = False
    strides: Optional[tuple[float, ...]] = None
    idle_layers: tuple[int, ...] = ()
    spare_anchors: tuple[int, ...] = ()
    proven: bool = False
    _inputs: Optional[FitInputs] = field(default=None, compare=False)
    _counter: Optional[CrowdingCounter] = field(default=None, compare=False)

    @property
    def crowding(self) -> Optional[Crowding]:
        """Return how crowded the layers are with these anchors.

        None without `strides`, without the centres of the boxes, or if the fit comes from a pickle.
        """
        if self._counter is None:
            return None
        anchors = self._host_anchors().astype(np.float32)
        return self._counter.count(split_layers(anchors, self.counts))

    def write(self, model_file: _PathLike, *, format: Optional[str] = None, dry_run: bool = False) -> Refit:
        """Write the anchors into a model file, as `anchorlib.refit` does after its fit.

        They are rounded as far as their score on the boxes of the fit stays the same.

        Parameters
        ----------
        model_file, format, dry_run : as in `anchorlib.refit`

        Returns
        -------
        Refit

        Raises
        ------
        ModelError, BadValueError, OSError : as in `anchorlib.refit`
        BadValueError : the fit comes from a pickle or another process, where the boxes are not kept

        Examples
        --------
        >>> from anchorlib import fit_anchors
        >>> fit = fit_anchors([[10., 20.], [12., 20.], [100., 90.], [90., 100.]], n=2)
        >>> print(fit.write("new.yaml", dry_run=True).diff.splitlines()[-1])
        +  - [10,20, 90,100]
        """
        if self._inputs is None:
            raise BadValueError("a fit can be written where it was made: its boxes are not pickled. Call refit.")
        file, counts = open_file(model_file, self.counts, format)
        own = np.concatenate(file.layers) if file and file.layers else None
        return write_fit(self, self._inputs, model_file, format, file, counts, own, dry_run)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the boxes out of pickles: there may be millions."""
        return {**self.__dict__, "_inputs": None, "_counter": None}

    def to_dict(self) -> dict[str, Any]:
        """Return the anchors as [w, h] with all digits of their float32, the score, and how they were found."""
        return {
            "anchors": self._host_anchors().tolist(),
            "counts": list(self.counts),
            **self.score.to_dict(),
            "method": self.method,
            "seed": self.seed,
            "seconds": self.seconds,
            "kept_start": self.kept_start,
            "proven": self.proven,
            **(self._layers_to_dict(self.strides) if self.strides else {}),
        }

    def _layers_to_dict(self, strides: tuple[float, ...]) -> dict[str, Any]:
        return {
            "strides": list(strides),
            "idle_layers": list(self.idle_layers),
            "spare_anchors": list(self.spare_anchors),
        }

    def __repr__(self) -> str:
        return f"AnchorFit({counted(len(self._host_anchors()), 'anchor')}: {self._sides()}; {self.score})"

    def _table_rows(self) -> list[Row]:
        found = f"{self.method}, seed {self.seed}, {self.seconds:.2f} s"
        layers, first = [], 0
        for number, count in enumerate(self.counts, 1):
            name = "anchors (w,h px)" if len(self.counts) == 1 else f"layer {number} (w,h px)"
            layers.append((name, self._sides(first, first + count)))
            first += count
        return [*layers, *self.score._table_rows(), ("found by", found)]

    def _sides(self, first: int = 0, end: Optional[int] = None) -> str:
        return "  ".join(f"{w:.1f},{h:.1f}" for w, h in self._host_anchors()[first:end])

    def _host_anchors(self) -> HostArray:
        return np.asarray(namespace_of(self.anchors).to_numpy(self.anchors))


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


def write_fit(
    fit: AnchorFit,
    asked: FitInputs,
    model_file: _PathLike,
    format: Optional[str],
    file: Optional[AnchorFile],
    counts: list[int],
    compared: Optional[HostArray],
    dry_run: bool,
) -> Refit:
    """Round fitted anchors, and write them into the file unless its own are as good; the errors of `refit`."""
    thr, fixed, min_side = asked.thr, asked.fixed, asked.min_side
    own = np.concatenate(file.layers) if file and file.layers else None
    table = SizeTable(asked.boxes_wh, asked.weights)
    anchors = np.asarray(namespace_of(fit.anchors).to_numpy(fit.anchors), np.float32)
    layer_counts = None if fit.strides is None else fit.counts
    written = None
    if fit.kept_start:
        if (
            file
            and own is not None
            and file.counts == counts
            and np.array_equal(sort_in_layers(own, layer_counts), anchors)
        ):
            anchors = own  # in the order of the file
        written = RoundedAnchors(anchors, None, fit.score)
    elif file and own is not None and file.counts == counts and fixed is None and min_side is None:
        own_score = table.score(own, thr)
        # Rounding would change the file at every call if it replaced anchors that score the same.
        if is_same_score(own_score, fit.score, ("bpr", "fitness" if asked.objective == "ratio" else "avg_iou")):
            written = RoundedAnchors(own, None, own_score)
    kept = written is not None and own is not None and np.array_equal(written.anchors, own)
    if written is None:
        least = np.repeat(np.broadcast_to(0.0 if min_side is None else min_side, len(counts)), counts)  # (K,)
        unit = file.unit if file else 1.0
        written = round_anchors(table, anchors, thr, unit=unit, fixed=fixed, least=least[:, None], counts=layer_counts)
    layers = split_layers(written.anchors, layer_counts or (counts if file or len(counts) > 1 else None))
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


def _write(
    model_file: _PathLike, layers: list[HostArray], format: Optional[str], is_new: bool, dry_run: bool = False
) -> str:
    """Write to a new file or into an existing one, unless it is a dry run; return the change as a unified diff."""
    if is_new:
        return write_anchors(model_file, layers, format, dry_run=dry_run)
    return edit_anchors(model_file, layers, format, dry_run=dry_run)


def open_file(
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
