"""Fit anchors to more boxes than one machine should read: a Dask cluster reads and counts shards of the data.

A worker reads a shard and reduces it to sizes with counts. Counts are merged in a tree on the cluster, and only the
result of the last merge is sent to this process, which fits the anchors. A merge is bit-identical in any order and
grouping (`SizeCounts.merge`), so the number of workers, a worker that dies, and the order of the shards change nothing.
docs/scale.md has the costs.

Only a cluster needs Dask (the extra `dask`); it is imported when a cluster is used.
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

from anchorlib.arrays import check_imgsz
from anchorlib.datasets import SizeCounts, read_boxes
from anchorlib.datasets.io.files import with_bar
from anchorlib.datasets.resize import ImageSize
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
    """Fit anchors to the boxes of many data sets: `fit_anchors` on the merged sizes.

    Parameters
    ----------
    n : number of anchors, or the number for each layer
    options : of `fit_anchors`: thr, method, objective, seed and so on
    shards, client, step, imgsz, split, resize, progress : see `sizes_from_shards`

    Returns
    -------
    AnchorFit, bit-identical to a fit of all boxes in one array, with any cluster and any order of the shards. With a
    `step`, `SizeCounts.histogram` says what is bit-identical.

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
    """Read the box sizes of many data sets, with counts, in this process or on a Dask cluster.

    Parameters
    ----------
    shards : one or more. Each is the path of a data set for `read_boxes`, the path of a .npz from `SizeCounts.save`, or
        a SizeCounts; the workers must be able to open the paths. A repeated path is an error, because its boxes would
        count twice.
    client : None to read in this process, without Dask; a `distributed.Client`; or the address of a scheduler, for
        example 'tcp://10.0.0.1:8786'
    step : None merges equal sizes. A part of an octave, such as 1/64, counts the boxes in cells (see
        `SizeCounts.histogram`); memory and transfers are then a few megabytes, for any number of boxes
    imgsz, split, resize : options of `read_boxes`; saved sizes must have been read with this imgsz and resize
    progress : show a progress bar of the shards on a terminal; a cluster shows them on its own dashboard

    Returns
    -------
    SizeCounts, bit-identical with any cluster and any order of the shards.

    Raises
    ------
    DatasetError : a shard cannot be read; the message has its path, and the remaining shards are cancelled
    BackendMissingError : `client` is an address, and Dask is not installed
    BadValueError : no shards, a repeated shard, an unknown option, or a client of another type

    Notes
    -----
    If a worker dies, Dask gives its shards to other workers. If one shard kills several workers (it may not fit in
    their memory), Dask raises KilledWorker, which shows the path.

    Examples
    --------
    >>> sizes_from_shards(["tests/data/bccd", "tests/data/taco/annotations.json"])
    SizeCounts(7589 boxes of 6369 sizes in 1705 images)
    """
    SizeCounts.of(np.ones((1, 2)), imgsz=imgsz, resize=resize).histogram(
        1 if step is None else step
    )  # checks the options
    shards = _checked(shards)
    read = partial(read_shard, step=step, imgsz=imgsz, split=split, resize=resize)
    if client is None:
        return _merged_in_turn(map(read, with_bar(shards, "reading shards", progress)))
    with _connected(client) as cluster:
        token = uuid.uuid4().hex  # Dask would treat a task of the same name as the same task
        names = [f"read-{i}-{_name(shard)}-{token}" for i, shard in enumerate(shards)]
        waiting = cluster.map(read, shards, key=names)
        while len(waiting) > 1:  # no variable refers to merged parts, so the cluster can free them
            firsts = range(0, len(waiting), _MERGED_AT_ONCE)
            waiting = [cluster.submit(SizeCounts.merge, *waiting[i : i + _MERGED_AT_ONCE], pure=False) for i in firsts]
        try:
            return waiting[0].result()
        finally:
            cluster.cancel(waiting)  # after an error or an interrupt, stop the remaining tasks


def read_shard(shard: Shard, *, step: Optional[float], imgsz: ImageSize, split: str, resize: str) -> SizeCounts:
    """Read the sizes of one shard, with counts; a worker calls this. Raises DatasetError with the path of the shard."""
    try:
        if isinstance(shard, SizeCounts):
            sizes = shard
        elif os.fspath(shard).endswith(".npz"):
            sizes = SizeCounts.load(os.path.expanduser(shard))
        else:
            sizes = read_boxes(shard, imgsz=imgsz, split=split, resize=resize).compress()
        if (sizes.imgsz, sizes.resize) != (check_imgsz(imgsz), resize):
            raise BadValueError(
                f"its sizes must have been read with imgsz {check_imgsz(imgsz)} and resize {resize}, got imgsz "
                f"{sizes.imgsz} and resize {sizes.resize}."
            )
        return sizes if step is None else sizes.histogram(step)
    except (AnchorlibError, OSError) as error:
        raise DatasetError(f"shard {_name(shard)}: {error}") from error


def _name(shard: Shard) -> str:
    return repr(shard) if isinstance(shard, SizeCounts) else os.fspath(shard)


def _checked(shards: Sequence[Shard]) -> list[Shard]:
    if isinstance(shards, (str, os.PathLike, SizeCounts)):
        raise BadValueError(f"shards must be a list, got a single shard: {_name(shards)}. Put it in a list.")
    shards = list(shards)
    if not shards:
        raise BadValueError("shards must have at least one entry, got none.")
    paths = Counter(os.fspath(shard) for shard in shards if not isinstance(shard, SizeCounts))
    for path, times in paths.most_common(1):
        if times > 1:
            raise BadValueError(f"each shard must be given only once, got {path} {times} times.")
    return shards


def _merged_in_turn(parts: Iterable[SizeCounts]) -> SizeCounts:
    """Merge parts in a tree: a part waits for another one of as many merges, so that no part is merged often."""
    waiting: list[tuple[int, SizeCounts]] = []
    for part in parts:
        merges = 0
        while waiting and waiting[-1][0] == merges:
            part, merges = part.merge(waiting.pop()[1]), merges + 1
        waiting.append((merges, part))
    return waiting[0][1].merge(*(part for _, part in waiting[1:]))


@contextlib.contextmanager
def _connected(client: Any) -> Iterator[Any]:
    """Yield a Dask client: the caller's, or a new one for an address, which is closed afterwards."""
    if isinstance(client, str):
        try:
            from distributed import Client
        except ImportError as error:
            raise BackendMissingError(
                f"a cluster needs Dask, which did not import: {error}. Run pip install 'dask>=2024.8' "
                "'distributed>=2024.8', or omit client to read in this process."
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
