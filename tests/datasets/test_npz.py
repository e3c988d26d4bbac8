"""Files of arrays that were cut, changed, made by others or made to do harm."""

import io
import json
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorlib import SizeCounts
from anchorlib.datasets.io.npz import read_npz, write_npz
from anchorlib.errors import DatasetError

GOOD = {"kind": "box sizes with counts", "version": 1, "n_images": 1, "rows_refused": 0}
GOOD |= {"problem_counts": {"a": 2}, "imgsz": [640, 480], "resize": "letterbox"}


def npy(array, shape=None, descr=None):
    """The bytes of a .npy file, with another shape or dtype in its header."""
    header = {"descr": descr or array.dtype.str, "fortran_order": False, "shape": shape or array.shape}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + array.tobytes()


def make(path, meta=GOOD, wh=None, counts=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("meta.json", meta if isinstance(meta, (str, bytes)) else json.dumps(meta))
        archive.writestr("wh.npy", npy(np.float32([[10, 20]])) if wh is None else wh)
        archive.writestr("counts.npy", npy(np.int64([3])) if counts is None else counts)
    return path


def test_a_file_made_by_hand_is_read(tmp_path):
    x = SizeCounts.load(make(tmp_path / "x.npz"))
    assert (x.wh.tolist(), x.counts.tolist(), x.imgsz, x.problem_counts) == ([[10, 20]], [3], (640, 480), {"a": 2})


huge = npy(np.float32([[1, 2]]), (2**40, 2))
pickled = npy(np.asarray([None]), descr="|O")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"meta": {**GOOD, "kind": "labels"}}, "another kind of file"),
        ({"meta": {**GOOD, "version": 2}}, "the file has version 2, and this anchorlib reads version 1"),
        ({"meta": "[]"}, "another kind of file"),
        ({"meta": "{"}, "Expecting property name"),
        ({"meta": b"\xff"}, "expected box sizes"),
        ({"meta": "[" * 100_000}, "expected box sizes"),
        ({"meta": {k: v for k, v in GOOD.items() if k != "n_images"}}, "cannot be used: 'n_images'"),
        ({"meta": {**GOOD, "n_images": "5"}}, "n_images must be an integer"),
        ({"meta": {**GOOD, "problem_counts": [1]}}, "cannot be used"),
        ({"meta": {**GOOD, "imgsz": [0, 1]}}, "imgsz must be an integer > 0"),
        ({"meta": {**GOOD, "resize": "crop"}}, "resize must be one of"),
        ({"wh": huge}, r"wh has shape \(1099511627776, 2\) in its header, but 8 bytes"),
        ({"wh": npy(np.float32([1, 2]))}, r"wh must have shape \(None, 2\), got \(2,\)"),
        ({"wh": npy(np.float64([[1, 2]]))}, "wh must be <f4"),
        ({"wh": pickled}, "wh must be <f4"),
        ({"wh": b""}, "wh must be <f4"),
        ({"wh": npy(np.float32([[1, np.nan]]))}, "not a finite number"),
        ({"wh": npy(np.float32([[-1, 1]]))}, "a side < 0"),
        ({"counts": npy(np.int64([-3]))}, "counts must be integers >= 0"),
        ({"counts": npy(np.int64([1, 2]))}, r"counts must have shape \(1,\)"),
        ({"counts": npy(np.int64([2**62]))}, r"a sum below 2\^62"),
    ],
)
def test_what_is_not_as_it_was_saved_is_refused_with_the_path(tmp_path, content, message):
    with pytest.raises(DatasetError, match=message) as caught:
        SizeCounts.load(make(tmp_path / "x.npz", **content))
    assert str(tmp_path / "x.npz") in str(caught.value)


def test_a_member_that_would_unpack_to_much_more_is_refused_before_it_is(tmp_path):
    make(tmp_path / "x.npz", wh=npy(np.float32([[0, 0]]), (2**24, 2)) + bytes(2**27), compression=zipfile.ZIP_DEFLATED)
    assert (tmp_path / "x.npz").stat().st_size < 2**18
    with pytest.raises(DatasetError, match=r"wh.npy would be 1342178\d\d bytes, out of a file of \d+"):
        SizeCounts.load(tmp_path / "x.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_a_folder_and_nothing_are_errors_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    for name, message in (("pipe", "not a regular file"), ("folder", "a folder"), ("none", "No such file")):
        with pytest.raises(DatasetError, match=message):
            SizeCounts.load(tmp_path / f"{name}.npz")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "sizes.npz"
    SizeCounts.of(np.float32([[10, 20], [30, 40]]), np.int64([5, 6]), imgsz=640, resize="stretch").save(path)
    return path.read_bytes()


def loads(data, folder):
    """The sizes in these bytes, or None: refused."""
    (folder / "sizes.npz").write_bytes(data)
    try:
        x = SizeCounts.load(folder / "sizes.npz")
    except DatasetError:
        return None
    return x.wh.tolist(), x.counts.tolist(), x.imgsz, x.resize


def test_a_file_cut_off_anywhere_is_refused(saved, tmp_path):
    assert loads(saved, tmp_path) == ([[10, 20], [30, 40]], [5, 6], (640, 640), "stretch")
    assert [length for length in range(len(saved)) if loads(saved[:length], tmp_path)] == []


def test_a_changed_byte_is_found_wherever_it_matters(saved, tmp_path):
    good = loads(saved, tmp_path)
    for place in range(len(saved)):
        for change in (0x01, 0x80, 0xFF):
            data = bytearray(saved)
            data[place] ^= change
            assert loads(bytes(data), tmp_path) in (None, good), place


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_bytes_do_anything_but_raise_what_is_documented(saved, tmp_path_factory, data):
    mutated = bytearray(saved)
    for _ in range(data.draw(st.integers(1, 6))):
        first = data.draw(st.integers(0, len(mutated)))
        gone = data.draw(st.integers(0, 40))
        mutated[first : first + gone] = data.draw(st.binary(max_size=40))
    loads(bytes(mutated), tmp_path_factory.mktemp("mutated"))


def test_other_arrays_than_sizes_can_be_kept(tmp_path):
    write_npz(tmp_path / "x.npz", "a thing", 3, {"more": [1]}, a=np.arange(6, dtype="<i8").reshape(2, 3))
    meta, arrays = read_npz(tmp_path / "x.npz", "a thing", 3, a=("<i8", (None, 3)))
    assert meta == {"kind": "a thing", "version": 3, "more": [1]}
    assert arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
