"""Scaling, image headers, and data sets in memory."""

import io
import os
import struct
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from anchorlib.datasets import from_dataset, scale_sizes
from anchorlib.datasets.io.image_header import _jpeg_size, _pillow_size, _png_size, image_size
from anchorlib.errors import BadValueError, DatasetError, ShapeError

SIDES = st.integers(1, 20_000)


@given(st.floats(0, 1), st.floats(0, 1), SIDES, SIDES, SIDES, SIDES)
def test_sizes_are_the_formula_in_float64_rounded_once(w, h, width, height, input_w, input_h):
    box, image = [w * width, h * height], [width, height]
    scale = input_w / max(width, height)
    expected = np.float32(box[0] * scale), np.float32(box[1] * scale)
    assert tuple(scale_sizes([box], image, input_w)[0]) == expected
    scale = min(input_w / width, input_h / height)
    expected = np.float32(box[0] * scale), np.float32(box[1] * scale)
    assert tuple(scale_sizes([box], [image], (input_w, input_h))[0]) == expected
    expected = np.float32(box[0] * (input_w / width)), np.float32(box[1] * (input_h / height))
    assert tuple(scale_sizes([box], [image], (input_w, input_h), "stretch")[0]) == expected


@pytest.mark.parametrize("imgsz", [0, -1, 640.0, "640", True, (640,), (640, 0), (1, 2, 3), None])
def test_the_networks_input_must_be_whole_and_positive(imgsz):
    with pytest.raises(BadValueError, match="imgsz must be"):
        scale_sizes(np.ones((1, 2)), np.ones(2), imgsz)


def test_numpy_integers_are_integers():
    assert scale_sizes([[1, 1]], [2, 2], np.int64(4)).tolist() == [[2.0, 2.0]]


def test_wrong_shapes_and_sizes_are_refused():
    with pytest.raises(ShapeError):
        scale_sizes(np.ones((1, 4)), np.ones(2))
    with pytest.raises(BadValueError):
        scale_sizes(np.ones((1, 2)), np.zeros(2))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "gif", "tif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_size_is_pillows(tmp_path, suffix, mode):
    path = str(tmp_path / f"a.{suffix}")
    Image.new(mode, (123, 45)).save(path)
    assert image_size(path) == (123, 45, False)
    head = (tmp_path / f"a.{suffix}").read_bytes()[:8192]
    assert ((_jpeg_size(head) or _png_size(head)) == (123, 45, False)) == (suffix in ("jpg", "png"))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_of_all_sorts_have_their_size(tmp_path, progressive):
    path = str(tmp_path / "a.jpg")
    profile = os.urandom(9000)  # the size lies behind what is read at first
    Image.new("RGB", (123, 45)).save(path, progressive=progressive, icc_profile=profile, comment=b"here")
    assert image_size(path) == (123, 45, False)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 10))
def test_orientations_5_to_8_swap_the_sides(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = str(tmp_path / f"a.{suffix}")
    Image.new("L", (123, 45)).save(path, exif=exif)
    turned = 5 <= orientation <= 8
    assert image_size(path) == ((45, 123, True) if turned else (123, 45, False))


@pytest.mark.parametrize("big", [False, True])
def test_exif_is_read_as_pillow_reads_it(tmp_path, big):
    """Whatever its bytes are: what is not plain must be left to Pillow."""
    rng = np.random.default_rng(0)
    counts = {"read": 0, "left": 0, "rotated": 0}
    for _ in range(1500):
        entries = [(0x010F, 2, 5, None), (0x0112, 3, 1, int(rng.integers(10))), (0x011A, 5, 1, None), (0x0213, 3, 1, 1)]
        order = ">" if big else "<"
        body, values = b"", b""
        for tag, kind, count, value in entries if rng.random() < 0.9 else entries[2:]:
            body += struct.pack(order + "HHL", tag, kind, count)
            if value is None:
                body += struct.pack(order + "L", 100 + len(values))
                values += b"12345678"
            else:
                body += struct.pack(order + "HH", value, 0)
        tiff = (b"MM\0*" if big else b"II*\0") + struct.pack(order + "LH", 8, len(body) // 12) + body
        exif = bytearray(b"Exif\0\0" + tiff.ljust(100, b"\0") + values)
        for place in rng.integers(6, 70, size=rng.integers(3)):
            exif[place] = int(rng.choice([0, 1, 2, 3, 6, 12, 255, rng.integers(256)]))
        file = io.BytesIO()
        Image.new("L", (123, 45)).save(file, "JPEG", exif=bytes(exif))
        found = _jpeg_size(file.getvalue())
        if found:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert found == _pillow_size(file), bytes(exif)
        counts["read" if found else "left"] += 1
        counts["rotated"] += bool(found and found[2])
    assert counts["read"] > 600
    assert min(counts.values()) > 200


def test_exif_with_a_small_picture_is_read_without_pillow(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (123, 45)).save(tmp_path / "a.jpg", exif=exif.tobytes() + os.urandom(20_000))
    monkeypatch.setattr("anchorlib.datasets.io.image_header._pillow_size", None)
    assert image_size(str(tmp_path / "a.jpg")) == (45, 123, True)


@given(st.binary(max_size=200), st.booleans())
def test_header_readers_take_any_bytes(data, is_png):
    start = b"\x89PNG\r\n\x1a\n" if is_png else b"\xff\xd8\xff\xe0\0\x10" + b"\0" * 14
    for head in (data, start + data, start + b"\xff\xc0" + data):
        for reader in (_jpeg_size, _png_size):
            size = reader(head)
            assert size is None or min(size[:2]) > 0


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\0\x0b\x08", b"\x89PNG\r\n\x1a\n", b"BM"])
def test_cut_headers_are_unreadable(tmp_path, data):
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(OSError, match=r"Error|not an image that Pillow can read"):
        image_size(str(tmp_path / "a.jpg"))


def test_any_error_of_pillow_is_an_unreadable_image(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\n\n\nno hex")  # a ValueError inside Pillow
    Image.new("L", (3, 2)).save(tmp_path / "a.png", pnginfo=text)
    with pytest.raises(OSError, match="ValueError"):
        image_size(str(tmp_path / "a.png"))


def test_a_very_large_image_is_not_decoded(tmp_path):
    Image.new("1", (10, 10)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = struct.pack(">II", 100_000, 80_000)
    (tmp_path / "a.png").write_bytes(data)
    assert image_size(str(tmp_path / "a.png")) == (100_000, 80_000, False)


def test_a_data_set_in_memory_has_its_sizes():
    labels = [
        np.asarray([[0, 0.5, 0.5, 0.5, 0.5], [1, 0, 0, np.nan, 1]]),
        np.empty((0, 5)),
        [],
        [[2, 0.5, 0.5, 0.25, 1]],
    ]
    data = SimpleNamespace(shapes=np.asarray([[100, 50]] * 3 + [[50, 100]]), labels=labels)
    sizes = from_dataset(data)
    assert sizes.wh.tolist() == [[320.0, 160.0], [80.0, 640.0]]
    assert sizes.image_index.tolist() == [0, 3]
    assert sizes.classes.tolist() == [0, 2]
    assert (sizes.rows_read, sizes.rows_refused, len(sizes.problems)) == (3, 1, 1)
    stretched = from_dataset(data, imgsz=(200, 200), resize="stretch")
    assert stretched.wh.tolist() == [[100.0, 100.0], [50.0, 200.0]]


def test_a_data_set_in_memory_must_fit_together():
    with pytest.raises(DatasetError, match="must have shapes and labels, got int"):
        from_dataset(3)
    with pytest.raises(DatasetError, match=r"shapes must be \(1, 2\)"):
        from_dataset(SimpleNamespace(shapes=[[1, 2], [3, 4]], labels=[[]]))
    with pytest.raises(ShapeError, match=r"labels\[0\] is \(1, 4\)"):
        from_dataset(SimpleNamespace(shapes=[[1, 2]], labels=[np.ones((1, 4))]))
    with pytest.raises(ShapeError, match=r"labels\[0\] must be numbers, in rows of equal length"):
        from_dataset(SimpleNamespace(shapes=[[1, 2]], labels=[[[0, 0.5, 0.5, 0.1, 0.2], [0]]]))
    with pytest.raises(ShapeError, match="shapes must be numbers"):
        from_dataset(SimpleNamespace(shapes=[[1, "wide"]], labels=[[]]))
    with pytest.raises(BadValueError, match="finite and > 0"):
        from_dataset(SimpleNamespace(shapes=[[0, 2]], labels=[[]]))
