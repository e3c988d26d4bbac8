"""Scale box sizes as their images are resized for the network."""

from __future__ import annotations

from typing import Union

import numpy as np

from anchorlib.arrays import HostArray, check_imgsz, check_one_of
from anchorlib.errors import BadValueError, ShapeError

ImageSize = Union[int, tuple[int, int]]

RESIZES = ("letterbox", "stretch")


def scale_sizes(
    boxes_wh: HostArray, image_wh: HostArray, imgsz: ImageSize = 640, resize: str = "letterbox"
) -> HostArray:
    """Return box sizes after the images are resized for the network.

    Parameters
    ----------
    boxes_wh : (N, 2) float, pixels of the image on disk
    image_wh : (N, 2) or (2,) float, pixels, > 0: the size of each box's image
    imgsz : the network's input, pixels: the long side, or (width, height)
    resize : 'letterbox' keeps the aspect ratio (one scale, the smaller of the two ratios; with one number
        for `imgsz` the long side becomes `imgsz`); 'stretch' scales each axis separately

    Returns
    -------
    (N, 2) float32, pixels: computed in float64 and rounded once.

    Raises
    ------
    BadValueError, ShapeError

    Source
    ------
    Letterbox resizing as in YOLOv5.

    Examples
    --------
    >>> scale_sizes(np.asarray([[100.0, 50.0]]), np.asarray([1280.0, 720.0]))
    array([[50., 25.]], dtype=float32)
    >>> scale_sizes(np.asarray([[100.0, 50.0]]), np.asarray([1280.0, 720.0]), (640, 480), "stretch")
    array([[50.      , 33.333332]], dtype=float32)
    """
    check_one_of("resize", resize, RESIZES)
    boxes_wh, image_wh = np.asarray(boxes_wh, np.float64), np.asarray(image_wh, np.float64)
    if boxes_wh.ndim != 2 or boxes_wh.shape[1] != 2 or image_wh.shape not in (boxes_wh.shape, (2,)):
        raise ShapeError(
            f"boxes_wh must have shape (N, 2) and image_wh (N, 2) or (2,), got {boxes_wh.shape} and {image_wh.shape}."
        )
    if not (image_wh > 0).all():
        raise BadValueError("image_wh must be > 0.")
    with np.errstate(over="ignore"):  # a size that float32 cannot hold becomes inf, which the fit reports
        return (boxes_wh * find_scale(image_wh, imgsz, resize)).astype(np.float32)


def place_centres(
    centres: HostArray, image_wh: HostArray, imgsz: ImageSize = 640, resize: str = "letterbox"
) -> HostArray:
    """Return the centres of boxes in the network's input, in the middle of which the resized image is.

    Parameters
    ----------
    centres : (N, 2) float, pixels of the image on disk
    image_wh, imgsz, resize : as in `scale_sizes`

    Returns
    -------
    (N, 2) float32, pixels of the input: computed in float64 and rounded once.

    Examples
    --------
    >>> place_centres(np.asarray([[640.0, 0.0]]), np.asarray([1280.0, 720.0]))
    array([[320., 140.]], dtype=float32)
    """
    input_wh, image_wh = np.asarray(check_imgsz(imgsz), np.float64), np.asarray(image_wh, np.float64)
    scale = find_scale(image_wh, imgsz, resize)
    with np.errstate(over="ignore"):
        return (centres * scale + (input_wh - image_wh * scale) / 2).astype(np.float32)


def find_scale(image_wh: HostArray, imgsz: ImageSize, resize: str) -> HostArray:
    """Return by what the sides of images (..., 2) float64 are multiplied: (..., 1) for 'letterbox', else (..., 2)."""
    scale: HostArray = np.asarray(check_imgsz(imgsz), np.float64) / image_wh
    return scale.min(axis=-1, keepdims=True) if resize == "letterbox" else scale
