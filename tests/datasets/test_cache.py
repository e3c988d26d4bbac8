"""The cache of labels is used while nothing changed, and is ignored otherwise, whatever the file holds."""

import json
import multiprocessing
import os
import shutil
import time
import zipfile

import numpy as np
import pytest
from helpers.data_set_kinds import KINDS, TEXT, age, everything, make, outcome
from helpers.slow_counts import make_yolo

from anchorlib.datasets import cache as cache_module
from anchorlib.datasets import read_boxes
from anchorlib.errors import BadValueError, LabelError


@pytest.fixture
def reads(monkeypatch):
    """How often labels were read from the data set itself."""
    calls = []
    original = cache_module.noting
    monkeypatch.setattr(cache_module, "noting", lambda: calls.append(1) or original())
    return calls


OF_NO_LIST = ("data.yaml", "b.png", "z.txt")  # of the darknet set


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_reading_is_the_first_and_reads_no_labels(tmp_path, kind, reads):
    path, cache = make(kind, tmp_path / "set"), tmp_path / "cache"
    plain = read_boxes(path)
    assert plain.problems
    assert reads == []
    first = read_boxes(path, cache=cache)
    assert (len(reads), cache.exists()) == (1, True)
    second = read_boxes(path, cache=str(cache))
    assert len(reads) == 1
    assert everything(first) == everything(second) == everything(plain)
    other = read_boxes(path, cache=cache, imgsz=(320, 256), resize="stretch", problems="ignore")
    assert everything(other) == everything(read_boxes(path, imgsz=(320, 256), resize="stretch", problems="ignore"))
    with pytest.raises(LabelError, match="more such problems|refused"):
        read_boxes(path, cache=cache, problems="raise")
    assert len(reads) == 1  # what the network takes is no matter of the labels
    assert outcome(path, split="all") == outcome(path, split="all", cache=cache)
    assert len(reads) == 2


def test_a_cache_next_to_the_labels_does_not_make_itself_stale(tmp_path, reads):
    path = make("yolo", tmp_path / "set")
    for place in ("set/labels.cache", "set/images/train/a.npz", "set/labels/train/cache"):
        read_boxes(path, cache=tmp_path / place)
        before = len(reads)
        read_boxes(path.parent, cache=tmp_path / place)
        assert len(reads) == before


def changes(kind, folder):
    """Ways to change a data set: a word, and what does it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for file in files:
        data = file.read_bytes()
        flipped = data.replace(b"1", b"2") if data.count(b"1") else data[:-1] + b"~"
        yield f"delete {file.name}", file.unlink
        yield f"change {file.name}", lambda file=file, flipped=flipped: file.write_bytes(flipped)
        yield f"touch {file.name}", lambda file=file: os.utime(file)
    new = {
        "yolo": [
            ("labels/train/b.txt", TEXT),
            ("labels/train/y.txt", TEXT),
            ("images/train/b.jpg", "a second image of these labels"),
            ("images/train/deeper/f.png", "an image in a new folder"),
        ],
        "voc": [
            ("Annotations/c.xml", (folder / "Annotations" / "a.xml").read_text() if kind == "voc" else ""),
            ("JPEGImages/b.jpg", "taken before the .png"),
        ],
        "coco": [],
        "darknet": [
            ("images/train/gone.png", "no image"),
            ("some.names", "cat\ndog\n"),
            ("labels/train/gone.txt", TEXT),
        ],
    }
    for name, text in new[kind]:

        def add(name=name, text=text):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)

        yield f"add {name}", add


def n_changes(kind, tmp_path):
    make(kind, tmp_path / "count")
    return len(list(changes(kind, tmp_path / "count")))


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_changes_the_labels_are_those_of_now(tmp_path, kind, reads):
    used, differs = [], 0
    for number in range(n_changes(kind, tmp_path)):
        folder = tmp_path / str(number)
        path = make(kind, folder)
        before = outcome(path, cache=tmp_path / f"{number}.cache")
        word, change = list(changes(kind, folder))[number]
        change()
        n_reads = len(reads)
        found = outcome(path, cache=tmp_path / f"{number}.cache")
        used += [word] * (len(reads) == n_reads and not isinstance(found, str))
        assert found == outcome(path), word
        differs += found != before
        shutil.rmtree(folder)
    assert differs >= 2
    of_no_list = [f"{verb} {name}" for name in OF_NO_LIST for verb in ("delete", "change", "touch")]
    assert sorted(used) == sorted(of_no_list if kind == "darknet" else [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_cache_is_ignored(tmp_path, kind):
    path, cache = make(kind, tmp_path / "set"), tmp_path / "cache"
    plain = everything(read_boxes(path, cache=cache))
    data = cache.read_bytes()
    rng = np.random.default_rng(0)
    for number in range(150):
        damaged = bytearray(data)
        if number % 3 == 0:
            del damaged[int(rng.integers(len(data))) :]
        else:
            for place in rng.integers(len(data), size=number % 3):
                damaged[place] ^= 1 << int(rng.integers(8))
        cache.write_bytes(damaged)
        assert outcome(path, cache=cache) == plain


def rewritten(cache, **changes):
    """The cache with other entries of its meta, or arrays."""
    with zipfile.ZipFile(cache) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    meta = json.loads(members["meta.json"])
    for name, value in changes.items():
        if isinstance(value, np.ndarray):
            with open(cache.parent / "array", "wb") as file:
                np.lib.format.write_array(file, value, (1, 0))
            members[f"{name}.npy"] = (cache.parent / "array").read_bytes()
        else:
            meta[name] = value
    with zipfile.ZipFile(cache, "w") as archive:
        archive.writestr("meta.json", json.dumps(meta))
        for name in members:
            if name != "meta.json":
                archive.writestr(name, members[name])


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"kind": "sizes"},
        {"asked": {}},
        {"asked": None},
        {"paths": []},
        {"walks": [[1, 2]]},
        {"walks": None},
        {"image_names": ["a"]},
        {"image_names": [1, 2]},
        {"files": None},
        {"faults": [[99, "a", "b", "c", "d"]]},
        {"faults": [["0", "a", "b", "c", "d"]]},
        {"faults": [[0, "a"]]},
        {"class_names": [1]},
        {"n_classes": "many"},
        {"problems": [["zero area"]]},
        {"problems": [["zero area", "a", "1", "", "kept", ""]]},
        {"lost_rows": -1},
        {"lost_rows": None},
        {"image_wh": np.zeros((2, 2))},
        {"image_wh": np.full((2, 2), np.inf)},
        {"image_wh": np.full((2, 2), np.nan)},
        {"image_wh": np.full((2, 2), 1e214)},
        {"image_wh": np.ones((3, 2))},
        {"image_index": np.full(5, 2)},
        {"image_index": np.array([1, 0, 0, 0, 0])},
        {"image_index": np.full(5, -1)},
        {"boxes": np.ones((4, 4))},
        {"boxes": np.ones((5, 4), np.float32)},
        {"row_numbers": np.ones(4, np.int64)},
    ],
    ids=str,
)
def test_a_cache_whose_parts_do_not_fit_together_is_ignored(tmp_path, change, reads):
    path, cache = make("yolo", tmp_path / "set"), tmp_path / "cache"
    (tmp_path / "set" / "images" / "train" / "b.png").unlink()
    sizes = read_boxes(path, cache=cache)
    assert (len(sizes.image_wh), sizes.rows_read - 4) == (2, 5)
    rewritten(cache)
    read_boxes(path, cache=cache)
    assert len(reads) == 1  # as it was, but for the dates of the zip
    rewritten(cache, **change)
    assert outcome(path, cache=cache) == everything(sizes)
    assert len(reads) == 2


def test_another_version_reads_again(tmp_path, monkeypatch, reads):
    path, cache = make("yolo", tmp_path / "set"), tmp_path / "cache"
    for version in ("1", "1", "2"):
        monkeypatch.setattr(cache_module, "__version__", version)
        read_boxes(path, cache=cache)
    assert len(reads) == 2


@pytest.mark.parametrize("content", [b"cat\n", b"\x80\x04\x95a pickle", b"PK\x03\x04 another zip"])
def test_a_file_of_someone_else_stays(tmp_path, content):
    path, other = make("yolo", tmp_path / "set"), tmp_path / "labels.cache"
    other.write_bytes(content)
    with pytest.warns(RuntimeWarning, match=r"labels\.cache: the cache was not written: this file is not a cache"):
        sizes = read_boxes(path, cache=other)
    assert everything(sizes) == everything(read_boxes(path))
    assert other.read_bytes() == content


def test_files_that_changed_just_now_are_not_kept(tmp_path):
    path, cache = make("yolo", tmp_path / "set"), tmp_path / "cache"
    os.utime(tmp_path / "set" / "labels" / "train" / "a.txt")
    with pytest.warns(RuntimeWarning, match=r"a\.txt changed less than two seconds before it was read"):
        read_boxes(path, cache=cache)
    assert not cache.exists()


def test_a_disk_that_fails_leaves_no_cache(tmp_path, monkeypatch):
    path, cache = make("yolo", tmp_path / "set"), tmp_path / "cache"
    original = os.open

    def fail(file, *args, **options):
        if str(file).endswith("c.txt"):
            raise OSError(5, "Input/output error")
        return original(file, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.warns(RuntimeWarning, match="not all files could be read"):
            assert read_boxes(path, cache=cache).count_problems()["unreadable path"] == 1
    assert not cache.exists()
    assert "unreadable label" not in read_boxes(path, cache=cache).count_problems()


def test_a_cache_that_cannot_be_written_costs_no_labels(tmp_path, monkeypatch):
    path = make("yolo", tmp_path / "set")

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "write_npz", full)
    with pytest.warns(RuntimeWarning, match="cache was not written: No space left"):
        assert everything(read_boxes(path, cache=tmp_path / "cache")) == everything(read_boxes(path))
    for place in ("gone/cache", "set"):
        with pytest.raises(BadValueError, match="cache must be the path of a file in an existing folder"):
            read_boxes(path, cache=tmp_path / place)


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes")
def test_names_of_any_bytes_come_back(tmp_path, reads):
    path = make_yolo(tmp_path, ["0 0.5 0.5 0.2 0.4\n"])
    for part, suffix in (("images", b".png"), ("labels", b".txt")):
        name = os.fsencode(tmp_path / part / "train")
        os.rename(name + b"/a" + suffix, name + b"/\xff\n" + suffix)
    age(tmp_path)
    first = read_boxes(path, cache=tmp_path / "cache")
    assert everything(first) == everything(read_boxes(path, cache=tmp_path / "cache"))
    assert len(reads) == 1


def test_labels_rewritten_with_the_same_size_and_time_are_noticed(tmp_path, reads):
    """As git does: a program can set the time of the content back, but not that of the inode."""
    path, cache = make("yolo", tmp_path / "set"), tmp_path / "cache"
    before = read_boxes(path, cache=cache)
    file = tmp_path / "set" / "labels" / "train" / "a.txt"
    info = os.stat(file)
    time.sleep(0.05)  # a tick of the file system's clock
    file.write_text(file.read_text().replace("0.2 0.4", "0.4 0.2", 1))
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert (os.stat(file).st_size, os.stat(file).st_mtime_ns) == (info.st_size, info.st_mtime_ns)
    if os.stat(file).st_ctime_ns == info.st_ctime_ns:
        pytest.skip("this file system keeps no time of the inode")
    assert everything(read_boxes(path, cache=cache)) == everything(read_boxes(path)) != everything(before)
    assert len(reads) == 2


def test_a_file_that_is_exchanged_for_another_of_the_same_size_and_time_is_noticed(tmp_path, reads):
    path, cache = make("yolo", tmp_path / "set"), tmp_path / "cache"
    read_boxes(path, cache=cache)
    file = tmp_path / "set" / "labels" / "train" / "a.txt"
    other = tmp_path / "other.txt"
    other.write_text(file.read_text().replace("0.2 0.4", "0.4 0.2", 1))
    shutil.copystat(file, other)
    os.replace(other, file)
    assert everything(read_boxes(path, cache=cache)) == everything(read_boxes(path))
    assert len(reads) == 2


def read_and_put(path, cache, start, results):
    start.wait()
    results.put(everything(read_boxes(path, cache=cache)))


def test_two_processes_with_one_cache_get_the_same_labels(tmp_path):
    context = multiprocessing.get_context("fork")
    path, cache = make("yolo", tmp_path / "set"), tmp_path / "cache"
    expected = everything(read_boxes(path))
    for _ in range(20):
        start, results = context.Barrier(2), context.SimpleQueue()
        cache.unlink(missing_ok=True)
        both = [context.Process(target=read_and_put, args=(path, cache, start, results)) for _ in range(2)]
        for process in both:
            process.start()
        assert [results.get(), results.get()] == [expected, expected]
        for process in both:
            process.join()
        assert everything(read_boxes(path, cache=cache)) == expected
    assert sorted(os.listdir(tmp_path)) == ["cache", "set"]
