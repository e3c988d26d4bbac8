"""The readers of what is packed: the cache of labels, sizes with counts, and checkpoints."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Callable
from unittest import mock

import numpy as np

from anchorlib import BoxSizes, SizeCounts
from anchorlib.datasets import cache, read_boxes
from anchorlib.datasets.io import file_log
from anchorlib.errors import BadValueError, DatasetError, ModelError
from anchorlib.modelfiles import read_checkpoint
from helpers.mutate import Reader

RECORDINGS = Path(__file__).parent.parent / "data" / "checkpoints"
CACHE = "labels.cache"


class NotTakenError(Exception):
    """Say that a cache was ignored and the labels were read again."""


def packed_readers(make_folder: Callable[[Path], Path]) -> tuple[Reader, ...]:
    """Their rows; `make_folder` makes the data set that a cache is of."""
    return (
        Reader(
            "label cache",
            ".cache",
            (_cache_of(make_folder),),
            lambda folder: folder / CACHE,
            _cached,
            (DatasetError, BadValueError, NotTakenError),
            packed=True,
        ),
        Reader("saved sizes", ".npz", _saved_sizes(), lambda folder: folder / "sizes.npz", _sizes, packed=True),
        _checkpoint("torch zip", "a.pt", "yolov5_zip.pt", "yolov7_state_dict.pt", packed=True),
        _checkpoint("torch legacy", "a.pt", "yolov5_legacy.pt"),
        _checkpoint("OneFlow file", "a.pt", "oneflow_file"),
        _checkpoint("OneFlow folder", "best/pickled_data", "oneflow_folder/pickled_data"),
        _checkpoint("OneFlow tensor", "best/tensor_11/meta", "oneflow_folder/tensor_11/meta"),
    )


def check_sizes(sizes: BoxSizes) -> list[str]:
    """The problems of sizes that hang together."""
    assert sizes.rows_read == len(sizes.wh) + sizes.rows_refused
    assert math.isfinite(sizes.wh.sum())
    assert (sizes.wh >= 0).all()
    assert (np.diff(sizes.image_index) >= 0).all()
    assert len(sizes.classes) == len(sizes.image_index) == len(sizes.wh)
    assert sizes.image_index.max() < len(sizes.image_wh) == len(sizes.image_names)
    told = [str(problem) for problem in sizes.problems]
    assert not [text for text in told if "MemoryError" in text]
    return told


# ---- the cache of labels


def _identify(info: os.stat_result) -> tuple[int, int, int, int]:
    """Identify a file without ctime and inode, which are others in every folder."""
    return info.st_size, info.st_mtime_ns, 0, 0


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Change to a folder, so that a cache with relative paths is identical in every folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with mock.patch.object(file_log, "identify", _identify), mock.patch.object(cache, "identify", _identify):
            yield
    finally:
        os.chdir(before)


def _cache_of(make_folder: Callable[[Path], Path]) -> bytes:
    with tempfile.TemporaryDirectory() as folder, inside(make_folder(Path(folder))):
        read_boxes("data.yaml", split="all", cache=CACHE)
        return Path(CACHE).read_bytes()


def _cached(folder: Path, number: int) -> list[str]:
    place = folder / CACHE
    before = place.read_bytes() if place.is_file() and place.stat().st_size < 2**20 else b""
    with inside(folder), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        told = check_sizes(read_boxes("data.yaml", split="all", cache=CACHE, problems=("report", "raise")[number % 2]))
    said = [str(warning.message) for warning in caught]
    assert all(text.startswith(f"{CACHE}: the cache was not written: ") for text in said), said
    if said or place.read_bytes() != before:
        raise NotTakenError(*said)
    return told


# ---- sizes with counts


def _saved_sizes() -> tuple[bytes, ...]:
    rng = np.random.default_rng(0)
    many = SizeCounts.of(rng.integers(1, 640, (60, 2)), n_images=7, rows_refused=2, problem_counts={"crowd": 2})
    few = SizeCounts.of(np.asarray([[10, 20], [0, 5]]), np.asarray([3, 1]), imgsz=640, resize="letterbox")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "sizes.npz")
        made = []
        for sizes in (few, many):
            sizes.save(file)
            made.append(file.read_bytes())
    return tuple(made)


def _sizes(folder: Path, number: int) -> list[str]:
    sizes = SizeCounts.load(folder / "sizes.npz")
    assert np.isfinite(sizes.wh).all()
    assert (sizes.wh >= 0).all()
    assert (sizes.counts > 0).all()
    assert 0 <= sizes.n_boxes < 2**62
    assert len(np.unique(sizes.wh, axis=0)) == len(sizes.wh) == len(sizes.counts)
    assert sizes.merge().counts.tolist() == sizes.counts.tolist()
    return []


# ---- checkpoints


def copy_oneflow(folder: Path) -> None:
    """The folder that the files of a OneFlow checkpoint lie in."""
    shutil.copytree(RECORDINGS / "oneflow_folder", folder / "best")


def _checkpoint(name: str, place: str, *recordings: str, packed: bool = False) -> Reader:
    entry = Path(place).parts[0]

    def read(folder: Path, number: int) -> list[str]:
        found = read_checkpoint(folder / entry, calls=("raise", "report")[number % 2])
        assert len(found.anchors) == len(found.strides) > 0
        for layer in found.anchors:
            assert layer.ndim == 2
            assert layer.shape[1] == 2
            assert np.isfinite(layer).all()
            assert (layer > 0).all()
        assert str(found)
        return []

    seeds = tuple((RECORDINGS / recording).read_bytes() for recording in recordings)
    return Reader(name, Path(place).suffix, seeds, lambda folder: folder / place, read, (ModelError,), packed)
