"""Make the inputs of the cases: box sizes, anchors, targets at every edge, predictions."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.verify.targets import Target

HYP = {"box": 0.05, "cls": 0.5, "cls_pw": 1.0, "obj": 1.0, "obj_pw": 1.0, "anchor_t": 4.0, "fl_gamma": 0.0}
STRIDES = (8.0, 16.0, 32.0)
N_CLASSES = 3
SQUARE = ((8, 8), (4, 4), (2, 2))
WIDE = ((6, 10), (3, 5), (2, 3))

Rng = np.random.Generator


class Assignment(NamedTuple):
    """An input of build_targets.

    targets : (T, 6) float32
    anchors : (L, A, 2) float32, grid units
    shapes : (ny, nx) of each layer
    """

    label: str
    targets: HostArray
    anchors: HostArray
    shapes: tuple[tuple[int, int], ...]
    thr: float = 4.0


def sizes(rng: Rng, n: int) -> HostArray:
    """Return sizes, (n, 2) float32 pixels in eighths from 1 to 512; some are there twice."""
    boxes = rng.integers(8, 64, (n, 2)) / 8 * 2.0 ** rng.integers(0, 7, (n, 1))
    boxes[: n // 8] = boxes[n // 2 : n // 2 + n // 8]
    return boxes.astype(np.float32)


def anchors(rng: Rng, n: int) -> HostArray:
    """Return anchors, (n, 2) float32 pixels, sorted by area."""
    found = (rng.integers(8, 64, (n, 2)) / 4 * 2.0 ** np.linspace(0, 5, n).round()[:, None]).astype(np.float32)
    return found[np.lexsort((found[:, 0], found[:, 0] * found[:, 1]))]


def grid_anchors(rng: Rng, n_layers: int = 3, n: int = 3) -> HostArray:
    """Return anchors, (L, A, 2) float32, from 1/2 to 4 grid units."""
    return (rng.integers(4, 32, (n_layers, n, 2)) / 8).astype(np.float32)


def targets(rng: Rng, n: int, n_images: int = 2) -> HostArray:
    """Return targets, (n, 6) float32: any image, class and centre, sides from 1/32 to 3/4."""
    integers = [rng.integers(0, n_images, (n, 1)), rng.integers(0, N_CLASSES, (n, 1))]
    sides = rng.integers(8, 192, (n, 2)) / 256
    return np.concatenate([*integers, rng.uniform(0, 1, (n, 2)), sides], axis=1).astype(np.float32)


def assignments(rng: Rng) -> Iterator[Assignment]:
    """Yield inputs with one right answer: centres inside the image, sides > 0, equal numbers of anchors a layer."""
    yield Assignment("no targets", targets(rng, 0), grid_anchors(rng), SQUARE)
    yield Assignment("one target", targets(rng, 1), grid_anchors(rng), SQUARE)
    yield Assignment("anywhere", targets(rng, 60), grid_anchors(rng), SQUARE)
    yield Assignment("a grid that is not square", targets(rng, 60), grid_anchors(rng), WIDE)
    for shapes in (SQUARE, WIDE):
        rows = targets(rng, 60)
        ny, nx = shapes[0]
        rows[:, 2:4] = rng.integers(0, (2 * nx + 1, 2 * ny + 1), (60, 2)) / np.asarray([2 * nx, 2 * ny], np.float32)
        yield Assignment(f"half cells of {ny} x {nx}", rows, grid_anchors(rng), shapes)
    border = np.asarray([0.0, 1e-7, 1 / 8, 7 / 8, 1 - 2.0**-24, 1.0, 0.5 / 8, 7.5 / 8, 1 / 2], np.float32)
    rows = targets(rng, len(border) ** 2)
    rows[:, 2:4] = np.stack(np.meshgrid(border, border), axis=-1).reshape(-1, 2)
    yield Assignment("borders", rows, grid_anchors(rng), SQUARE)
    yield _thresholds(rng, 4.0)
    yield _thresholds(rng, 2.0)
    rows = targets(rng, 40)
    rows[10:, 2:6] = rows[rng.integers(0, 10, 30), 2:6]
    yield Assignment("cells that rows share", rows, grid_anchors(rng), SQUARE)
    rows = targets(rng, 12)
    yield Assignment("one layer, one anchor", rows, grid_anchors(rng, 1, 1), SQUARE[:1])
    yield Assignment("two layers, five anchors", targets(rng, 30), grid_anchors(rng, 2, 5), SQUARE[:2])


def edge_assignments(rng: Rng) -> Iterator[Assignment]:
    """Yield inputs for which this library defines the answer: centres outside the image, sides of 0."""
    rows = targets(rng, 40)
    rows[:20, 2:4] = rng.uniform(-0.25, 1.25, (20, 2))
    rows[20:30, 4] = 0
    yield Assignment("centres outside, no width", rows, grid_anchors(rng), SQUARE)


def _thresholds(rng: Rng, thr: float) -> Assignment:
    """Return sides that are `thr` or 1 / `thr` times an anchor's, and the adjacent float32 numbers."""
    grid = grid_anchors(rng)
    rows = targets(rng, 60)
    for row in rows:
        layer, anchor = rng.integers(0, 3, 2)
        side = grid[layer, anchor] / np.float32(SQUARE[layer][0])
        row[4:6] = side
        which = rng.integers(0, 2)
        row[4 + which] = side[which] * np.float32(thr if rng.random() < 0.5 else 1 / thr)
        row[4 + which] = np.nextafter(row[4 + which], np.float32(rng.choice([0.0, row[4 + which], np.inf])))
    return Assignment(f"sides at the limit {thr:g}", rows, grid, SQUARE, thr)


def predictions(rng: Rng, shapes: Any, n_anchors: int, n_images: int = 2) -> list[HostArray]:
    """Return logits of each layer: (B, A, ny, nx, 5 + C) float32."""
    return [rng.normal(0, 1, (n_images, n_anchors, *shape, 5 + N_CLASSES)).astype(np.float32) for shape in shapes]


def model(target: Target, grid: HostArray, **hyp: float) -> SimpleNamespace:
    """Return a model that ComputeLoss and check_anchors accept, those of older forks included.

    YOLOv5 <= 5.0 and YOLOv7 read `anchor_grid`, (L, 1, A, 1, 1, 2) in pixels, and the model's `nc` and `gr`.
    """
    n_layers, n_anchors = grid.shape[:2]
    strides = np.asarray(STRIDES[:n_layers], np.float32)
    stride = target.xp.from_numpy(strides, device=target.device)
    pixels = (grid * strides[:, None, None]).reshape(n_layers, 1, n_anchors, 1, 1, 2)
    detect = SimpleNamespace(
        anchor_grid=target.xp.from_numpy(pixels, device=target.device),
        anchors=target.xp.from_numpy(grid.copy(), device=target.device),
        stride=stride,
        na=n_anchors,
        nl=n_layers,
        nc=N_CLASSES,
    )
    return SimpleNamespace(
        model=[detect],
        hyp={**HYP, "label_smoothing": 0.0, **hyp},
        nc=N_CLASSES,
        gr=1.0,
        parameters=lambda: iter([detect.anchors]),
    )


def dataset(rng: Rng, n_images: int = 12) -> SimpleNamespace:
    """Return shapes and labels in the form of a YOLOv5 data set."""
    labels = [
        np.concatenate([np.zeros((9, 1)), np.full((9, 2), 0.5), rng.integers(16, 128, (9, 2)) / 256], axis=1)
        for _ in range(n_images)
    ]
    return SimpleNamespace(
        shapes=rng.integers(32, 80, (n_images, 2)) * 8.0, labels=[rows.astype(np.float32) for rows in labels]
    )
