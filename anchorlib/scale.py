"""More boxes than one machine should read: shards are read and counted on a Dask cluster, and fitted at home.

A shard becomes its sizes with counts where it is read, counts are merged in a tree on the cluster, and only the last
of them travels home. A merge is the same bits in any order and however bracketed (`SizeCounts.merge`), so the cluster,
its workers, their number and their deaths, and the order of the shards change nothing. What it costs: docs/scale.md.

Dask is needed for a cluster alone (pip install 'anchorlib[dask]'), and is not imported before one is asked for.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Optional, Union

import numpy as np

from anchorlib.datasets import SizeCounts, read_boxes
from anchorlib.datasets.io.files import with_bar
from anchorlib.datasets.resize import ImageSize, check_imgsz
from anchorlib.errors import AnchorlibError, BackendMissingError, BadValueError, DatasetError
from anchorlib.fitting import AnchorFit, fit_anchors

__all__ = ["fit_from_shards", "sizes_from_shards"]

Shard = Union[str, "os.PathLike[str]", SizeCounts]

_MERGED_AT_ONCE = 8


def fit_from_shards(
    shards: Sequence[Shard],
    client: Any = None,
    *,
    n: Union[int, Sequence[int]] = 9,
    step: Optional[float] = None,
    imgsz: ImageSize = 640,
    split: str = "train",
    resize: str = "letterbox",
    progress: bool = False,
    **options: Any,
) -> AnchorFit:
    """The anchors that fit the boxes of many data sets best: `fit_anchors` on the merged sizes.

    Parameters
    ----------
    n : how many anchors, or how many of each layer
    options : of `fit_anchors`: thr, method, objective, seed and so on
    shards, client, step, imgsz, split, resize, progress : see `sizes_from_shards`

    Returns
    -------
    AnchorFit, the same bits as of all boxes read into one array, with any cluster and any order of the shards.
    With a `step` see `SizeCounts.histogram` for what is the same.

    Raises
    ------
    See `sizes_from_shards` and `fit_anchors`.

    Examples
    --------
    >>> fit_from_shards(["tests/data/bccd", "tests/data/taco/annotations.json"], n=2, method="kmeans").anchors
    array([[ 29.040276,  27.266727],
           [127.32186 , 122.98368 ]], dtype=float32)
    """
    sizes = sizes_from_shards(shards, client, step=step, imgsz=imgsz, split=split, resize=resize, progress=progress)
    return fit_anchors(sizes.wh, n, weights=sizes.counts, progress=progress, **options)


def sizes_from_shards(
    shards: Sequence[Shard],
    client: Any = None,
    *,
    step: Optional[float] = None,
    imgsz: ImageSize = 640,
    split: str = "train",
    resize: str = "letterbox",
    progress: bool = False,
) -> SizeCounts:
    """The box sizes of many data sets with counts, read in this process or on a Dask cluster.

    Parameters
    ----------
    shards : at least one, each a data set as `read_boxes` takes it, a .npz of `SizeCounts.save`, both by a path that
        the workers can open, or a SizeCounts. A path given twice is an error, since its boxes would count twice.
    client : None to read in this process, without Dask; a `distributed.Client`; or the address of a scheduler, as
        'tcp://10.0.0.1:8786'
    step : None merges equal sizes; a part of an octave, such as 1/64, counts the boxes in cells, which keeps the
        memory and what is sent within megabytes, whatever the number of boxes: see `SizeCounts.histogram`
    imgsz, split, resize : of `read_boxes`; saved sizes must have been read with this imgsz and resize
    progress : show a bar of the shards on a terminal; where a cluster reads, its own dashboard does that

    Returns
    -------
    SizeCounts, the same bits with any cluster and any order of the shards.

    Raises
    ------
    DatasetError : a shard that cannot be read, with its path; what it did not get to is cancelled
    BackendMissingError : the address of a scheduler, and no Dask
    BadValueError : no shards, one given twice, an unknown option, or no client

    Notes
    -----
    A worker that dies takes its shards along, and Dask gives them to the others. Where one shard kills several workers
    (it may not fit into their memory) Dask gives up with its KilledWorker, which shows the path.

    Examples
    --------
    >>> sizes_from_shards(["tests/data/bccd", "tests/data/taco/annotations.json"])
    SizeCounts(7589 boxes of 6369 sizes in 1705 images)
    """
    SizeCounts.of(np.ones((1, 2)), imgsz=imgsz, resize=resize).histogram(1 if step is None else step)  # may refuse
    shards = _checked(shards)
    read = partial(read_shard, step=step, imgsz=imgsz, split=split, resize=resize)
    if client is None:
        return _merged_in_turn(map(read, with_bar(shards, "reading shards", progress)))
    with _connected(client) as cluster:
        token = uuid.uuid4().hex  # Dask would take a task of the same name for the same task
        names = [f"read-{i}-{_name(shard)}-{token}" for i, shard in enumerate(shards)]
        waiting = cluster.map(read, shards, key=names)
        while len(waiting) > 1:  # what is merged is held by no name here, or the cluster would keep it
            firsts = range(0, len(waiting), _MERGED_AT_ONCE)
            waiting = [cluster.submit(SizeCounts.merge, *waiting[i : i + _MERGED_AT_ONCE], pure=False) for i in firsts]
        try:
            return waiting[0].result()
        finally:
            cluster.cancel(waiting)  # after an error or an interrupt the rest is not wanted


def read_shard(shard: Shard, *, step: Optional[float], imgsz: ImageSize, split: str, resize: str) -> SizeCounts:
    """One shard's sizes with counts; what a worker does. DatasetError with the shard's path."""
    try:
        if isinstance(shard, SizeCounts):
            sizes = shard
        elif os.fspath(shard).endswith(".npz"):
            sizes = SizeCounts.load(os.path.expanduser(shard))
        else:
            sizes = read_boxes(shard, imgsz=imgsz, split=split, resize=resize).compress()
        if (sizes.imgsz, sizes.resize) != (check_imgsz(imgsz), resize):
            raise BadValueError(
                f"its sizes are of imgsz {sizes.imgsz} and resize {sizes.resize}, asked for are "
                f"{check_imgsz(imgsz)} and {resize}."
            )
        return sizes if step is None else sizes.histogram(step)
    except (AnchorlibError, OSError) as error:
        raise DatasetError(f"shard {_name(shard)}: {error}") from error


def _name(shard: Shard) -> str:
    return repr(shard) if isinstance(shard, SizeCounts) else os.fspath(shard)


def _checked(shards: Sequence[Shard]) -> list[Shard]:
    if isinstance(shards, (str, os.PathLike, SizeCounts)):
        raise BadValueError(f"shards must be a list of them, got one: {_name(shards)}.")
    shards = list(shards)
    if not shards:
        raise BadValueError("shards must be at least one, got none.")
    paths = Counter(os.fspath(shard) for shard in shards if not isinstance(shard, SizeCounts))
    for path, times in paths.most_common(1):
        if times > 1:
            raise BadValueError(f"a shard must be given once, got {path} {times} times.")
    return shards


def _merged_in_turn(parts: Iterable[SizeCounts]) -> SizeCounts:
    """One after the other, by a tree: a part waits for another of as many, so that none is merged often."""
    waiting: list[tuple[int, SizeCounts]] = []
    for part in parts:
        merges = 0
        while waiting and waiting[-1][0] == merges:
            part, merges = part.merge(waiting.pop()[1]), merges + 1
        waiting.append((merges, part))
    return waiting[0][1].merge(*(part for _, part in waiting[1:]))


@contextlib.contextmanager
def _connected(client: Any) -> Iterator[Any]:
    """A Dask client: the caller's, or one of our own for an address, closed afterwards."""
    if isinstance(client, str):
        try:
            from distributed import Client
        except ImportError as error:
            raise BackendMissingError(
                f"a cluster needs Dask, which did not import: {error}. pip install 'anchorlib[dask]', or leave client "
                "out to read in this process."
            ) from error
        with Client(client) as ours:
            yield ours
    elif not callable(getattr(client, "submit", None)) or getattr(client, "asynchronous", False):
        raise BadValueError(
            "client must be None, the address of a scheduler, or a distributed.Client that is not asynchronous, "
            f"got {client!r}."
        )
    else:
        yield client
