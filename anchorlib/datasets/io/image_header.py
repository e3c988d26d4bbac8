"""Read the width and height of an image from its header, without decoding the image."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from anchorlib.datasets.io.file_log import note_error
from anchorlib.datasets.io.files import in_order, open_logged, read_some

HEAD = 8192  # bytes; nearly all JPEG and PNG files have their size within them
LARGEST_SIDE = 2**31 - 1  # pixels, as in PNG's specification
MORE = 131072  # for a JPEG: cameras put a small picture before the size
WIDTH, HEIGHT = 0x0100, 0x0101  # TIFF tags
ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 swap the sides
TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}  # of a value, by the type that EXIF gives it


def image_size(path: str) -> tuple[int, int, bool]:
    """Return (width, height, rotated) as the image is shown; `rotated` is True if EXIF swaps the sides. OSError.

    Plain JPEG and PNG headers are read here, in a fraction of Pillow's time. Pillow reads all others: images with
    XMP, which may also hold a rotation, images with anything unusual before the size, and every other format.
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
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                size = _pillow_size(file)
        if max(size[:2]) > LARGEST_SIDE:
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


def _pillow_size(file: BinaryIO) -> tuple[int, int, bool]:
    try:
        with Image.open(file) as image:
            width, height = image.size
            if image.format == "TIFF":  # Pillow 11.2 and newer have swapped these sides already
                width, height = image.getexif()[WIDTH], image.getexif()[HEIGHT]
            rotated = image.getexif().get(ORIENTATION) in (5, 6, 7, 8)
    except OSError as error:
        if error.errno is not None:  # of the disk, not of the image
            raise
        if isinstance(error, UnidentifiedImageError):  # its message contains an address, which differs from run to run
            raise OSError("not an image that Pillow can read") from error
        raise OSError(f"{type(error).__name__}: {error}") from error
    except Exception as error:  # Pillow's plugins raise many kinds of errors for damaged files
        raise OSError(f"{type(error).__name__}: {error}") from error
    if width <= 0 or height <= 0:
        raise OSError(f"a size of {width} x {height}")
    return (height, width, True) if rotated else (width, height, False)
