"""Cut small pictures of boxes out of the images of a data set, for the HTML report."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np
from PIL import Image

from anchorlib.arrays import HostArray
from anchorlib.datasets import BoxSizes
from anchorlib.datasets.io.image_index import IMAGE_FOLDERS, image_folders
from anchorlib.datasets.resize import find_scale
from anchorlib.files import open_regular
from anchorlib.reporting.report_data import UnmatchedBox

MOST = 8  # pictures of a report
MOST_BYTES = 700_000  # of all pictures; 930 kB in the page, which has them in base64
_SIDES = 260, 195  # pixels of the largest picture
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")  # others may start programs to decode an image
_INK, _RIM = (255, 140, 0), (20, 20, 20)


@dataclass(frozen=True)
class Picture:
    """Hold a picture of a box and its surroundings, as the bytes of a JPEG file, with its width and height."""

    box: UnmatchedBox
    jpeg: bytes
    width: int
    height: int


def cut_pictures(
    boxes: BoxSizes, shown: Sequence[UnmatchedBox], data: Sequence[str], trusted: bool = False
) -> list[Picture]:
    """Return pictures of the first boxes whose images are found, at most MOST, with the box drawn.

    Parameters
    ----------
    boxes : BoxSizes with centres; without them there are no pictures
    shown : boxes of `boxes`, in the order in which they are tried
    data : paths of the data sets. Images are looked for in their folders and in the usual folders in and next to them.
    trusted : the names of the images are paths that the reader opened, so they may be anywhere
    """
    if boxes.centres is None:
        return []
    folders = [path if os.path.isdir(path) else os.path.dirname(path) or os.curdir for path in data]
    pictures: list[Picture] = []
    for box in shown[: 4 * MOST]:  # images that are missing or damaged cost time
        files = [box.image] if trusted else _list_files(box.image, folders)
        picture = next(filter(None, (_cut(file, box, _corners(boxes, box.row)) for file in files)), None)
        if picture and sum(len(one.jpeg) for one in (*pictures, picture)) <= MOST_BYTES:
            pictures.append(picture)
        if len(pictures) == MOST:
            break
    return pictures


def _list_files(name: str, folders: Sequence[str]) -> Iterator[str]:
    """Yield where the image may be. A name in a label file cannot lead out of these folders."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for folder in folders:
        for place in (*image_folders(folder), *(os.path.join(folder, usual) for usual in IMAGE_FOLDERS)):
            for first in range(len(parts)):
                file = os.path.join(place, *parts[first:])
                if os.path.isfile(file):
                    yield file


def _corners(boxes: BoxSizes, row: int) -> HostArray:
    """Return left, top, right and bottom of a box as fractions of its image."""
    assert boxes.centres is not None
    input_wh, image_wh = np.asarray(boxes.imgsz, np.float64), boxes.image_wh[boxes.image_index[row]].astype(np.float64)
    scale = find_scale(image_wh, boxes.imgsz, boxes.resize)
    centre = (boxes.centres[row] - (input_wh - image_wh * scale) / 2) / scale / image_wh
    half = boxes.wh[row] / scale / image_wh / 2
    return np.concatenate([centre - half, centre + half])


def _cut(file: str, box: UnmatchedBox, corners: HostArray) -> Optional[Picture]:
    """Return the picture of a box in an image, or None if the image cannot be read."""
    from PIL import ImageOps  # only a page with pictures needs it, and every command imports this module

    try:
        with warnings.catch_warnings(), os.fdopen(open_regular(file)[0], "rb") as stream:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.init()  # otherwise Pillow does not know all formats yet
            with Image.open(stream, formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
                image.draft("RGB", (1600, 1600))  # a large JPEG is decoded at a fraction of its size
                return _draw(ImageOps.exif_transpose(image).convert("RGB"), box, corners)
    except Exception:  # Pillow raises many kinds of errors for a damaged image, and the report does without it
        return None


def _draw(image: Image.Image, box: UnmatchedBox, corners: HostArray) -> Picture:
    """Cut out the box with about its own size of surroundings on each side, and draw its outline."""
    from PIL import ImageDraw

    whole = np.asarray(image.size, np.float64)
    left_top, right_bottom = corners[:2] * whole, corners[2:] * whole
    size = right_bottom - left_top
    width = max(3 * size[0], 4 * size[1], whole[0] / 5)
    region = np.minimum([width, width * _SIDES[1] / _SIDES[0]], whole)
    start = np.clip((left_top + right_bottom - region) / 2, 0, whole - region)
    scale = min(_SIDES[0] / region[0], _SIDES[1] / region[1])
    shape = (max(1, round(region[0] * scale)), max(1, round(region[1] * scale)))
    small = image.resize(shape, Image.Resampling.BICUBIC, box=(*start, *(start + region)))
    pen = ImageDraw.Draw(small)
    x1, y1, x2, y2 = (float(v) for v in np.concatenate([left_top - start, right_bottom - start]) * scale)
    for reach, colour in ((3, _RIM), (2, _INK), (1, _INK)):  # around the box, which stays visible
        pen.rectangle((x1 - reach, y1 - reach, x2 + reach, y2 + reach), outline=colour)
    file = io.BytesIO()
    small.save(file, format="JPEG", quality=80)
    return Picture(box, file.getvalue(), *shape)
