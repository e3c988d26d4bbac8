"""Draw the data sets of the study: images with boxes, from a seed. Sizes are in pixels of the training image.

| set | objects |
|---|---|
| text | text lines, 4 to 13 px high and 10 to 130 px wide |
| dots | crowds of discs of 7 to 9 px |
| poles | bars of 5 to 10 px by 48 px up to most of the image |
| mixed | ellipses and rectangles, shorter side from 4 px up to two thirds of the image |
| tiny | scattered ellipses and rectangles, shorter side from 5 to 10 px |
| large | ellipses and rectangles, shorter side from 0.25 to 0.55 of the image |
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

SETS = ("text", "dots", "poles", "mixed", "large", "tiny")  # the place of a name is part of its seed: append
TEXT_HEIGHT, TEXT_WIDTH = (4, 13), (10, 130)
DOT, POLE, TINY, SMALLEST = (7, 9), (5, 10), (5, 10), 4


def draw_set(name: str, images: int, size: int, seed: int) -> list[tuple[Image.Image, np.ndarray]]:
    """Return `images` pairs: an RGB image of `size` by `size`, and its boxes (N, 4): left, top, right, bottom."""
    which = SETS.index(name)
    return [draw_image(name, size, np.random.default_rng((seed, which, index))) for index in range(images)]


def draw_image(name: str, size: int, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    """Return an image of a set and its boxes (N, 4): left, top, right, bottom in pixels."""
    image = background(size, rng, 170 if name == "text" else 110)
    boxes = {"text": text, "dots": dots, "poles": poles, "mixed": mixed, "large": large, "tiny": tiny}[name](
        image, size, rng
    )
    values = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(3, 10), (size, size, 3))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)), np.asarray(boxes, np.float64).reshape(-1, 4)


def background(size: int, rng: np.random.Generator, grey: float) -> Image.Image:
    """Return coloured clouds with thin curves: clutter that is not an object."""
    clouds = rng.normal(grey, 25, (6, 6, 3)) + rng.normal(0, 15, 3)
    image = Image.fromarray(np.clip(clouds, 0, 255).astype(np.uint8)).resize((size, size), Image.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 9))):
        corner = rng.uniform(-0.3 * size, size, 2)
        start = rng.uniform(0, 360)
        shade = tuple(int(v) for v in rng.uniform(60, 200, 3))
        pen.arc([*corner, *(corner + rng.uniform(20, size, 2))], start, start + rng.uniform(20, 120), shade, 1)
    return image


def ink(image: Image.Image, x: float, y: float, rng: np.random.Generator) -> tuple[int, ...]:
    """Return a colour that differs from the image at (x, y) by 30 to 110 grey levels."""
    width, height = image.size
    here = np.asarray(image.getpixel((int(min(max(x, 0), width - 1)), int(min(max(y, 0), height - 1)))), float)
    step = rng.uniform(30, 110) * (1 if here.mean() < 90 or (here.mean() < 150 and rng.random() < 0.5) else -1)
    return tuple(int(v) for v in np.clip(here + step + rng.normal(0, 12, 3), 0, 255))


def text(image: Image.Image, size: int, rng: np.random.Generator) -> list:
    """Draw a receipt: rows of one to three text lines, as strokes of a few pixels."""
    pen, boxes, y = ImageDraw.Draw(image), [], int(rng.integers(2, 8))
    while y < size - TEXT_HEIGHT[1] - 2:
        height = int(rng.integers(TEXT_HEIGHT[0], TEXT_HEIGHT[1] + 1))
        x = int(rng.integers(3, 25))
        while x + TEXT_WIDTH[0] < size - 3 and rng.random() < 0.85:
            longest = min(TEXT_WIDTH[1], size - 3 - x)
            width = int(np.exp(rng.uniform(np.log(TEXT_WIDTH[0]), np.log(longest))))
            glyphs(pen, x, y, width, height, ink(image, x + width / 2, y + height / 2, rng), rng)
            boxes.append((x, y, x + width, y + height))
            x += width + int(rng.integers(8, 40))
        y += height + int(rng.integers(3, 12))
    return boxes


def glyphs(pen, x, y, width, height, colour, rng) -> None:
    """Fill a text line with strokes; the first and the last stroke touch its left and right side."""
    step = max(2, round(height * 0.35))
    for left in [*range(x, x + width - 1, step), x + width - 1]:
        pen.line([left, y, left, y + height - 1], colour)
        if rng.random() < 0.7:
            bar = y + int(rng.integers(0, height))
            pen.line([left, bar, min(left + step, x + width - 1), bar], colour)


def dots(image: Image.Image, size: int, rng: np.random.Generator) -> list:
    """Draw three to five crowds of discs that hardly overlap."""
    pen, boxes = ImageDraw.Draw(image), []
    for _ in range(int(rng.integers(3, 6))):
        centre, spread = rng.uniform(0.15 * size, 0.85 * size, 2), rng.uniform(8, 24)
        for _ in range(int(rng.integers(8, 25))):
            width, height = (int(v) for v in rng.integers(DOT[0], DOT[1] + 1, 2))
            x, y = (int(v) for v in rng.normal(centre, spread, 2))
            if min(x, y) < 0 or max(x + width, y + height) > size or overlaps(boxes, x, y, x + width, y + height, 0.15):
                continue
            pen.ellipse([x, y, x + width - 1, y + height - 1], ink(image, x + width / 2, y - 2, rng))
            boxes.append((x, y, x + width, y + height))
    return boxes


def poles(image: Image.Image, size: int, rng: np.random.Generator) -> list:
    """Draw three to eight upright or lying bars."""
    pen, boxes = ImageDraw.Draw(image), []
    for _ in range(int(rng.integers(3, 9))):
        thick = int(rng.integers(POLE[0], POLE[1] + 1))
        length = int(rng.uniform(48, 0.9 * size))
        width, height = (thick, length) if rng.random() < 0.6 else (length, thick)
        x, y = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
        if overlaps(boxes, x, y, x + width, y + height, 0.1):
            continue
        pen.rectangle([x, y, x + width - 1, y + height - 1], ink(image, x + width / 2, y + height / 2, rng))
        boxes.append((x, y, x + width, y + height))
    return boxes


def mixed(image: Image.Image, size: int, rng: np.random.Generator) -> list:
    """Draw objects whose sides are spread evenly over the octaves."""
    sides = np.exp(rng.uniform(np.log(SMALLEST), np.log(size * 2 / 3), int(rng.integers(8, 20))))
    return shapes(image, size, np.sort(sides)[::-1], rng)


def large(image: Image.Image, size: int, rng: np.random.Generator) -> list:
    """Draw up to five objects that fill much of the image, and small clutter that is not labelled."""
    boxes = shapes(image, size, np.sort(rng.uniform(0.25, 0.55, int(rng.integers(2, 6))) * size)[::-1], rng)
    pen = ImageDraw.Draw(image)
    for x, y in rng.uniform(0, size, (12, 2)):
        pen.rectangle([x, y, x + 4, y + 4], ink(image, x, y, rng))
    return boxes


def tiny(image: Image.Image, size: int, rng: np.random.Generator) -> list:
    """Draw ten to twenty small objects, all over the image."""
    return shapes(image, size, np.sort(rng.uniform(*TINY, int(rng.integers(10, 21))))[::-1], rng)


def shapes(image: Image.Image, size: int, sides: np.ndarray, rng: np.random.Generator) -> list:
    """Draw an ellipse or a rectangle for each shorter side, the largest first, unless one would cover another."""
    pen, boxes = ImageDraw.Draw(image), []
    for side in sides:
        long = min(side * np.exp(rng.uniform(0, np.log(1.6))), 0.85 * size)
        width, height = (round(v) for v in ((side, long) if rng.random() < 0.5 else (long, side)))
        kind = int(rng.integers(2))
        for _ in range(8):
            x, y = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
            if not overlaps(boxes, x, y, x + width, y + height, 0.2):
                break
        else:
            continue
        corners, colour = [x, y, x + width - 1, y + height - 1], ink(image, x + width / 2, y + height / 2, rng)
        (pen.rectangle if kind else pen.ellipse)(corners, colour, ink(image, x + width / 2, y + height / 2, rng))
        boxes.append((x, y, x + width, y + height))
    return boxes


def overlaps(boxes: list, left: float, top: float, right: float, bottom: float, most: float) -> bool:
    """Return whether a box shares more than the fraction `most` of the smaller area with one of the boxes."""
    for x1, y1, x2, y2 in boxes:
        both = max(0, min(right, x2) - max(left, x1)) * max(0, min(bottom, y2) - max(top, y1))
        if both > most * min((right - left) * (bottom - top), (x2 - x1) * (y2 - y1)):
            return True
    return False
