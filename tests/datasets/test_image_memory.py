"""The size of an image is read in little memory, whatever its header says."""

import io
import os
import struct
import tracemalloc
import zlib

import pytest
from helpers.mutate import limit
from PIL import Image, PngImagePlugin, features

from anchorlib.datasets.io.image_header import PILLOW_LIMIT, image_size

FORMATS = ("AVIF", "JPEG2000", "TIFF")  # with lengths of 32 bits; ci/fuzz tries all formats
ROTATED = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def _image(kind, **options):
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 10, 90)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_no_length_in_a_header_is_believed(tmp_path, kind):
    try:
        data = _image(kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {kind}")
    path = tmp_path / "image"
    path.write_bytes(data)
    image_size(str(path))  # imports the plugin
    said = []
    tracemalloc.start()
    try:
        for at in range(0, 80, 2):
            for big in (b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"):
                path.write_bytes(data[:at] + big + data[at + 4 :])
                try:
                    image_size(str(path))
                except OSError as error:
                    said.append(str(error))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert said
    assert "Memory" not in "".join(said)
    assert peak < 4e6


@pytest.mark.parametrize("kind", ["TGA", "TIFF"])
def test_an_aerial_image_has_a_size(tmp_path, kind):
    """Pillow opens no image of over 179 million pixels, for somebody might decode it."""
    path = tmp_path / "image"
    options = {"compression": {"TGA": "tga_rle", "TIFF": "packbits"}[kind]}
    Image.new("L", (15000, 14000)).save(path, kind, **options)
    assert image_size(str(path)) == (15000, 14000, False)


def test_a_read_ends_at_the_limit_with_advice(tmp_path):
    """Also a sound file: a TIFF of which a tag is as large as a file of layers."""
    path = tmp_path / "a.tif"
    size = PILLOW_LIMIT + 1000
    tags = [(256, 4, 1, 40), (257, 4, 1, 30), (37724, 7, size, 1000)]
    body = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    with open(path, "wb") as file:
        file.write(b"II*\0" + struct.pack("<LH", 8, len(tags)) + body + bytes(4))
        file.truncate(1000 + size)
    with pytest.raises(OSError, match=r"not within the 64 MB that are read of it; save it as PNG or JPEG"):
        image_size(str(path))


def test_a_png_with_xmp_is_not_decoded(tmp_path):
    """Its header says 13 000 x 13 000 RGBA, which are 676 MB of pixels; there are none."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 13_000, 13_001, 8, 6, 0, 0, 0)
    text = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + ROTATED
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, text, b"IDAT")]
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert image_size(str(path)) == (13_001, 13_000, True)


def test_exif_and_xmp_of_a_png_are_read(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", ROTATED.decode())
    exif = Image.Exif()
    exif[0x0112] = 3
    for options, rotated in (({"pnginfo": text}, True), ({"pnginfo": text, "exif": exif}, False)):
        (tmp_path / "a.png").write_bytes(_image("PNG", **options))
        assert image_size(str(tmp_path / "a.png")) == ((30, 40, True) if rotated else (40, 30, False))


def test_an_icon_is_refused_with_advice(tmp_path):
    (tmp_path / "a.ico").write_bytes(_image("ICO"))
    with pytest.raises(OSError, match="an icon, which would have to be decoded; save it as PNG or JPEG"):
        image_size(str(tmp_path / "a.ico"))


@pytest.mark.skipif(not features.check("webp"), reason="this Pillow does not write WebP")
@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"exif": True}, {"xmp": True}, {"exif": True, "xmp": True}]
)
def test_of_a_webp_the_head_is_enough(tmp_path, options):
    """Pillow reads all of it, and its decoder allocates the pixels."""
    exif = Image.Exif()
    exif[0x0112] = 3 if "xmp" in options else 6
    given = {"exif": exif} if "exif" in options else {}
    given |= {"xmp": ROTATED} if "xmp" in options else {}
    data = _image("WEBP", lossless="lossless" in options, **given)
    rotated = options in ({"exif": True}, {"xmp": True})
    expected = (30, 40, True) if rotated else (40, 30, False)
    path = tmp_path / "a.webp"
    path.write_bytes(data)
    assert image_size(str(path)) == expected
    if not given:
        path.write_bytes(data[:30])
        assert image_size(str(path)) == expected
    else:
        path.write_bytes(data[:24] + b"\xfe\xff\xff" + data[27:])  # 16 777 215 pixels wide
        assert image_size(str(path)) == ((30, 2**24 - 1, True) if rotated else (2**24 - 1, 30, False))


@pytest.mark.parametrize("data", [b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8L" + bytes(20)])
def test_a_webp_without_a_size_is_unreadable(tmp_path, data):
    (tmp_path / "a.webp").write_bytes(data)
    with pytest.raises(OSError, match="not an image that Pillow can read|could not create decoder"):
        image_size(str(tmp_path / "a.webp"))


def test_a_line_that_does_not_end_is_not_read(tmp_path):
    """An XPM is read by lines."""
    path = tmp_path / "a.xpm"
    path.write_bytes(b"/* XPM */\n")
    os.truncate(path, 4 * PILLOW_LIMIT)
    with limit(2), pytest.raises(OSError, match="save it as PNG or JPEG"):
        image_size(str(path))
