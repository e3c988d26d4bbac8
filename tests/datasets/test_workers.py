"""Files read by several threads: the same labels in the same order, and sooner where the disk is slow."""

import io
import os
import time
import warnings

import numpy as np
import pytest
from helpers.data_set_kinds import KINDS, age, everything, make, outcome
from helpers.slow_counts import make_voc, make_yolo, voc_object
from PIL import Image

from anchorlib.datasets import read_boxes
from anchorlib.datasets.io import files
from anchorlib.errors import BadValueError


def make_large(folder, n=300):
    """Images of many sizes, some turned by EXIF; labels with dirt, and without."""
    rng = np.random.default_rng(0)
    path = make_yolo(folder, [])
    for number in range(n):
        exif = Image.Exif()
        if number % 3 == 0:
            exif[0x0112] = 6
        picture = io.BytesIO()
        Image.new("L", (20 + number, 700 - number)).save(picture, "JPEG", exif=exif)
        (folder / "images" / "train" / f"{number}.jpg").write_bytes(picture.getvalue()[: None if number % 7 else 30])
        rows = "".join("{:.0f} {:.3f} {:.3f} {:.3f} {:.3f}\n".format(*row) for row in rng.uniform(-0.1, 1, (5, 5)))
        if number % 5:
            (folder / "labels" / "train" / f"{number}.txt").write_text(rows)
    age(folder)
    return path


@pytest.mark.parametrize("kind", [*KINDS, "large"])
def test_any_number_of_workers_gives_the_same(tmp_path, kind, monkeypatch):
    path = make_large(tmp_path / "set") if kind == "large" else make(kind, tmp_path / "set")
    plain = read_boxes(path)
    if kind == "large":
        assert set(plain.count_problems()) >= {"missing label", "exif rotation", "unreadable image", "out of [0, 1]"}
    for at_once in (1, 16):
        monkeypatch.setattr(files, "FILES_AT_ONCE", at_once)
        for workers in (1, 2, 8):
            assert everything(read_boxes(path, workers=workers)) == everything(plain)


def test_twice_is_the_same(tmp_path):
    path = make_large(tmp_path)
    assert everything(read_boxes(path)) == everything(read_boxes(path))


def test_what_threads_read_is_noted_for_the_cache(tmp_path):
    path, cache = make_large(tmp_path / "set"), tmp_path / "cache"
    before = outcome(path, cache=cache, workers=8)
    assert outcome(path, cache=cache, workers=8) == before
    (tmp_path / "set" / "labels" / "train" / "299.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    after = outcome(path, cache=cache, workers=8)
    assert after == outcome(path)
    assert after != before


@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_eight_workers_do_not_wait_for_one_another(tmp_path, kind, monkeypatch):
    if kind == "yolo":
        path = make_large(tmp_path)
    else:
        for number in range(300):
            path = make_voc(tmp_path, voc_object(1, 1, 9, 9), name=str(number))
    original, asked = os.open, []

    def slow(file, *args, **options):
        time.sleep(0.002)
        asked.append(str(file))
        return original(file, *args, **options)

    seconds = {}
    monkeypatch.setattr(os, "open", slow)
    for workers in (1, 8):
        started = time.perf_counter()
        read_boxes(path, workers=workers, split="train")
        seconds[workers] = time.perf_counter() - started
    assert len(asked) >= 600
    assert seconds[8] < seconds[1] / 2


def test_warnings_of_others_are_left_as_they_were(tmp_path):
    before = list(warnings.filters)
    read_boxes(make_large(tmp_path), workers=8)
    assert warnings.filters == before


@pytest.mark.parametrize("workers", [0, -1, 1.0, "2", True, None])
def test_workers_must_be_a_whole_number(tmp_path, workers):
    with pytest.raises(BadValueError, match="workers must be an integer >= 1"):
        read_boxes(tmp_path / "gone.yaml", workers=workers)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("kind", "names"), [("large", ["labels", "images"]), ("coco", ["annotations"]), ("voc", ["annotations"])]
)
def test_what_takes_long_shows_a_bar(tmp_path, kind, names, workers, monkeypatch):
    path = make_large(tmp_path / "set", 20) if kind == "large" else make(kind, tmp_path / "set")
    bar = files.tqdm
    monkeypatch.setattr(files, "tqdm", lambda items, **options: bar(items, **{**options, "delay": 0, "mininterval": 0}))
    for progress in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", Terminal())
            read_boxes(path, progress=progress, workers=workers)
            shown = files.sys.stderr.getvalue()
        assert [name for name in names if f"{name}:" in shown] == (names if progress else [])
