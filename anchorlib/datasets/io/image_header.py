"""Read the width and height of an image from its header, without decoding the image."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Optional

from PIL import Image, UnidentifiedImageError

from anchorlib.datasets.io.file_log import note_error
from anchorlib.datasets.io.files import MEGABYTE, in_order, open_logged, read_some
from anchorlib.files import RefusedFileError

HEAD = 8192  # bytes; nearly all JPEG and PNG files have their size within them
LARGEST_SIDE = 2**31 - 1  # pixels, as in PNG's specification
MORE = 131072  # for a JPEG: cameras put a small picture before the size
PILLOW_LIMIT = 64 * MEGABYTE  # of one image; of an AVIF, Pillow reads the whole file, and of a TIFF all tags
WIDTH, HEIGHT = 0x0100, 0x0101  # TIFF tags
ICON = b"\0\0\1\0"  # the first bytes of a .ico
ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 swap the sides
TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}  # of a value, by the type that EXIF gives it


def image_size(path: str) -> tuple[int, int, bool]:
    """Return (width, height, rotated) as the image is shown; `rotated` is True if EXIF swaps the sides. OSError.

    Plain JPEG and PNG headers are read here, in a fraction of Pillow's time, and those of WebP, of which Pillow needs
    the whole file. Pillow reads all others: JPEG and PNG with XMP, which may also hold a rotation, or with anything
    unusual before the size, and every other format. It reads PILLOW_LIMIT bytes at most, whatever the header says.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF, very large images: neither matters for a size
        return _size(path)


def image_sizes(
    paths: Sequence[str], progress: bool = False, workers: int = 1
) -> Iterator[tuple[int, int, bool] | OSError]:
    """Yield what `image_size` returns or raises for each image, in order."""
    with warnings.catch_warnings():  # here, because it changes what all threads share
        warnings.simplefilter("ignore")
        yield from in_order(_size_or_error, paths, "images", progress, workers)


def _size_or_error(path: str) -> tuple[int, int, bool] | OSError:
    try:
        return _size(path)
    except OSError as error:
        return error


def _size(path: str) -> tuple[int, int, bool]:
    descriptor, size_in_bytes = open_logged(path)
    try:
        head = read_some(path, descriptor, min(HEAD, size_in_bytes))  # asking for more costs a second read
        size = _jpeg_size(head) or _png_size(head)
        if not size and len(head) == HEAD and head[:2] == b"\xff\xd8":
            size = _jpeg_size(head + read_some(path, descriptor, MORE))
        if not size:
            os.lseek(descriptor, 0, os.SEEK_SET)
            with _BoundedReader(io.FileIO(descriptor, closefd=False), size_in_bytes) as file:
                size = _other_size(file)
        if min(size[:2]) <= 0 or max(size[:2]) > LARGEST_SIDE:
            raise OSError(f"a size of {size[0]} x {size[1]}")
        return size
    except OSError as error:
        if error.errno is not None:
            note_error(path, error)
        raise
    finally:
        os.close(descriptor)


def _jpeg_size(head: bytes) -> tuple[int, int, bool] | None:
    """Return the size in the frame header, or None if Pillow must decide."""
    if head[:2] != b"\xff\xd8":
        return None
    at, rotated = 2, None
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header, not a table
            height, width = struct.unpack_from(">HH", head, at + 5)
            if not (width and height):
                return None
            return (height, width, True) if rotated else (width, height, False)
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9 or length < 2:  # those have no length
            return None
        if marker == 0xE1:  # APP1: EXIF or XMP; both may rotate
            if rotated is not None or at + 2 + length > len(head):
                return None
            rotated = _exif_rotates(head[at + 4 : at + 2 + length])
            if rotated is None:
                return None
        at += 2 + length
    return None


def _exif_rotates(segment: bytes) -> bool | None:
    """Return True if EXIF swaps the sides, or None if it has any unusual part, so that Pillow must decide."""
    order = {b"Exif\0\0II*\0": "<", b"Exif\0\0MM\0*": ">"}.get(segment[:10])
    tiff = segment[6:]
    if order is None or len(tiff) < 8:
        return None
    (start,) = struct.unpack_from(order + "L", tiff, 4)
    if start + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(order + "H", tiff, start)
    if start + 2 + 12 * count > len(tiff):
        return None
    orientation = 0
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, length, place = struct.unpack_from(order + "HHLL", tiff, entry)
        size = length * TIFF_BYTES.get(kind, len(tiff) + 1)
        if size > 4 and place + size > len(tiff):
            return None
        if tag == ORIENTATION:
            if kind != 3 or length != 1 or orientation:
                return None
            (orientation,) = struct.unpack_from(order + "H", tiff, entry + 8)
    return orientation in (5, 6, 7, 8)


def _png_size(head: bytes) -> tuple[int, int, bool] | None:
    """Return the size in the IHDR chunk, or None if this is not a PNG, or has EXIF or XMP."""
    before_pixels, pixels, _ = head.partition(b"IDAT")
    # Text chunks may also hold EXIF or XMP, under names with "exif" or "xmp" in them.
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR" or not pixels:
        return None
    if b"exif" in before_pixels.lower() or b"xmp" in before_pixels.lower():
        return None
    width, height = struct.unpack_from(">II", head, 16)
    return (width, height, False) if width and height else None


def _webp_size(file: BinaryIO) -> tuple[int, int, bool] | None:
    """Return the size in the first chunk, or None if this is not a WebP.

    Pillow's decoder reads all of the file, and allocates the pixels.
    """
    head = file.read(30)
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None
    kind, more = head[12:16], {}
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", head, 26))
    elif kind == b"VP8L" and head[20] == 0x2F:
        (bits,) = struct.unpack_from("<L", head, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        more = _webp_chunks(file, [name for name, flag in ((b"EXIF", 8), (b"XMP ", 4)) if head[20] & flag])
    else:
        return None
    if not (width and height):
        return None
    image = Image.Image()
    image.info = {"exif": more.get(b"EXIF"), "XML:com.adobe.xmp": more.get(b"XMP ", b"").decode("latin-1")}
    return _as_shown(image, width, height)


def _webp_chunks(file: BinaryIO, names: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the first chunk of each name; it may be behind the pixels, which are skipped."""
    found: dict[bytes, bytes] = {}
    file.seek(12)
    while len(found) < len(names) and len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name in names and name not in found:
            found[name] = file.read(size)
            file.seek(size % 2, os.SEEK_CUR)
        else:
            file.seek(size + size % 2, os.SEEK_CUR)
    return found


def _other_size(file: BinaryIO) -> tuple[int, int, bool]:
    """Return the size of a WebP, or of what Pillow reads; OSError."""
    try:
        return _webp_size(file) or _pillow_size(file)
    except RefusedFileError:
        raise
    except MemoryError as error:
        raise OSError("MemoryError: its header needs more memory than there is; save it as PNG or JPEG") from error
    except OSError as error:
        if error.errno is not None:  # of the disk, not of the image
            raise
        if isinstance(error, UnidentifiedImageError):  # its message contains an address, which differs from run to run
            raise OSError("not an image that Pillow can read") from error
        raise OSError(f"{type(error).__name__}: {error}") from error
    except Exception as error:  # Pillow's plugins raise many kinds of errors for damaged files
        raise OSError(f"{type(error).__name__}: {error}") from error


def _pillow_size(file: BinaryIO) -> tuple[int, int, bool]:
    file.seek(0)
    if file.read(4) == ICON:
        raise RefusedFileError("it is an icon, which would have to be decoded; save it as PNG or JPEG")
    with _open(file) as image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow 11.2 and newer have swapped these sides already
            width, height = image.getexif()[WIDTH], image.getexif()[HEIGHT]
        return _as_shown(image, width, height)


def _open(file: BinaryIO) -> Image.Image:
    """Open an image of any size: Pillow's limit of pixels is for those who decode them, and aerial images have more."""
    file.seek(0)
    try:
        return Image.open(file)
    except Image.DecompressionBombError:
        for factory, accepts in list(Image.OPEN.values()):
            file.seek(0)
            head = file.read(16)
            file.seek(0)
            if not accepts or accepts(head) is True:
                with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
                    return factory(file, "")
        raise


def _as_shown(image: Image.Image, width: int, height: int) -> tuple[int, int, bool]:
    """Return the size and True with the sides swapped if EXIF or XMP says so, else as it is and False."""
    # Not image.getexif(): for a PNG that decodes the pixels, to look for EXIF behind them.
    rotated = Image.Image.getexif(image).get(ORIENTATION) in (5, 6, 7, 8)
    return (height, width, True) if rotated else (width, height, False)


class _BoundedReader(io.BufferedReader):
    """Read at most PILLOW_LIMIT bytes of a file in all, and never ask for more than the file has.

    Pillow reads as many bytes as a header says, and BufferedReader allocates them before it knows whether they exist.
    """

    def __init__(self, raw: io.FileIO, size: int) -> None:
        super().__init__(raw)
        self._size, self._left = size, PILLOW_LIMIT

    def read(self, size: Optional[int] = -1, /) -> bytes:
        return self._take(super().read, size)

    def readline(self, size: Optional[int] = -1, /) -> bytes:
        return self._take(super().readline, size)

    def _take(self, read: Callable[[int], bytes], size: Optional[int]) -> bytes:
        there = max(self._size - self.tell(), 0)
        wanted = there if size is None or size < 0 else min(size, there)
        data = read(min(wanted, self._left + 1))
        if len(data) > self._left:
            self._left = 0  # for what Pillow reads after it has ignored this error
            most = PILLOW_LIMIT // MEGABYTE
            raise RefusedFileError(f"its size is not within the {most} MB that are read of it; save it as PNG or JPEG")
        self._left -= len(data)
        return data
