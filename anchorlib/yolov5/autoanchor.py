"""YOLOv5's autoanchor, with its names and signatures: does a model fit a data set, and if not, better anchors.

A model is changed wholly or not at all: everything is computed first, then written, and put back if a write fails.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import Array, HostArray
from anchorlib.backends import namespace_of
from anchorlib.datasets import BoxSizes, from_dataset, read_boxes
from anchorlib.errors import BackendError, ModelError
from anchorlib.fitting import fit_anchors
from anchorlib.fitting.order import layers_disagree
from anchorlib.metrics import AnchorScore, score

LOGGER = logging.getLogger("anchorlib")

ImageSize = Union[int, tuple[int, int]]


@dataclass(frozen=True)
class AnchorCheck:
    """What check_anchors found and did.

    before : AnchorScore of the anchors that the model came with
    after : AnchorScore of the anchors that were fitted, or None where the old ones were good enough
    replaced : are the fitted anchors in the model now?
    """

    before: AnchorScore
    after: Optional[AnchorScore]
    replaced: bool


def check_anchors(
    dataset: Any,
    model: Any,
    thr: float = 4.0,
    imgsz: ImageSize = 640,
    *,
    method: str = "direct",
    seed: int = 0,
    generations: int = 1000,
    jitter: float = 0.0,
    raise_errors: bool = False,
) -> Optional[AnchorCheck]:
    """See to it that a model's anchors fit a data set: they are kept if BPR > 0.98, else better ones are fitted.

    Parameters
    ----------
    dataset : has `shapes` (images, 2) as (w, h), and `labels`, for each image (k, 5): class, xc, yc, w, h in [0, 1]
    model : its last module, `model.model[-1]` or `model.module.model[-1]`, has `anchors` (L, A, 2) in units of its
        layer's stride, and `stride` (L,); torch or OneFlow tensors. `anchors` is written in place and stays the same
        object; an `anchor_grid` is brought up to date. Nothing is changed unless the new anchors' BPR is greater.
    thr : ratio limit, > 1; the hyperparameter anchor_t
    imgsz : the long side of an image in training, pixels, or (w, h)
    method, seed, generations : of `fit_anchors`
    jitter : 0.1 scales each image by U(0.9, 1.1) from `seed`, as YOLOv5 does; 0 measures the labels as they are
    raise_errors : raise what goes wrong. If not, it is logged and the model stays as it is: autoanchor must not end a
        training run. KeyboardInterrupt passes either way.

    Returns
    -------
    AnchorCheck, or None if an error was logged.

    Source
    ------
    The behaviour of YOLOv5's check_anchors, as SPEC.md describes it.

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> detect = Namespace(anchors=np.full((3, 3, 2), 1.0, np.float32), stride=np.asarray([8.0, 16.0, 32.0]))
    >>> labels = np.asarray([[0, 0.5, 0.5, 0.1 * i, 0.05 * i] for i in range(1, 11)])
    >>> dataset = Namespace(shapes=np.asarray([[640, 480]]), labels=[labels])
    >>> check_anchors(dataset, Namespace(model=[detect])).replaced
    True
    """
    try:
        detect = Detect(model)
        sizes = _jittered(from_dataset(dataset, imgsz=imgsz), jitter, seed)
        before = score(sizes, detect.anchors_px().reshape(-1, 2), thr)
        log = _listened_to()
        log.info(_told(before, thr))
        if before.is_good:
            log.info("AutoAnchor: the anchors fit the data set and stay as they are.")
            return AnchorCheck(before, None, False)

        log.info("AutoAnchor: the anchors fit the data set poorly, fitting %d new ones ...", detect.n_anchors)
        start = detect.anchors_px().reshape(-1, 2) if method == "direct" else None
        fit = fit_anchors(
            sizes, detect.n_anchors, thr=thr, method=method, seed=seed, generations=generations, start=start
        )
        log.info(_told(fit.score, thr))
        if fit.score.bpr <= before.bpr:
            log.info("AutoAnchor: the new anchors are no better, the old ones stay.")
            return AnchorCheck(before, fit.score, False)
        detect.write(detect.in_layers(fit.anchors))
        log.info("AutoAnchor: the model has new anchors. To keep them, put them into its yaml file.")
        return AnchorCheck(before, fit.score, True)
    except Exception as error:
        if raise_errors:
            raise
        LOGGER.error("AutoAnchor: %s: %s. The anchors are unchanged.", type(error).__name__, error, exc_info=True)
        return None


def kmean_anchors(
    dataset: Any = "./data/coco128.yaml",
    n: int = 9,
    img_size: ImageSize = 640,
    thr: float = 4.0,
    gen: int = 1000,
    verbose: bool = True,
    *,
    path: Any = None,
    method: str = "direct",
    seed: int = 0,
) -> HostArray:
    """Anchors fitted to a data set.

    Parameters
    ----------
    dataset : a path, as in `read_boxes`, or an object with `shapes` and `labels`, as in `check_anchors`
    n : how many anchors
    img_size : the long side of an image in training, pixels, or (w, h)
    thr : ratio limit, > 1
    gen : generations, where the method is "evolve"
    verbose : log the anchors and their score
    path : what older versions call `dataset`
    method, seed : of `fit_anchors`

    Returns
    -------
    (n, 2) NumPy float32, pixels, sorted by area.

    Raises
    ------
    DatasetError, BadValueError

    Source
    ------
    The signature of YOLOv5's kmean_anchors.

    Examples
    --------
    >>> kmean_anchors("tests/data/bccd", n=3, gen=10, verbose=False).shape
    (3, 2)
    """
    dataset = dataset if path is None else path
    if hasattr(dataset, "shapes") and hasattr(dataset, "labels"):
        boxes = from_dataset(dataset, imgsz=img_size)
    else:
        boxes = read_boxes(dataset, imgsz=img_size)
    fit = fit_anchors(boxes.wh, n, thr=thr, method=method, seed=seed, generations=gen)
    if verbose:
        log = _listened_to()
        log.info(_told(fit.score, thr))
        log.info("AutoAnchor: anchors %s", ", ".join(f"{w:.4g},{h:.4g}" for w, h in fit.anchors))
    return fit.anchors


def check_anchor_order(m: Any) -> bool:
    """Put the anchors of a Detect module into the order of its strides, in place: small anchors to small strides.

    Parameters
    ----------
    m : has `anchors` (L, A, 2) in **pixels** and `stride` (L,); in units of the stride the layers cannot be told apart.
        If the mean areas of the first and last layer run against the strides, the layers are reversed; the order inside
        a layer stays. An `anchor_grid` of one tensor (YOLOv5 up to 5.0, YOLOv7) is in pixels whatever `anchors` is in:
        it tells the order then, and is reversed with it.

    Returns
    -------
    True if the layers were reversed.

    Source
    ------
    The behaviour of YOLOv5's check_anchor_order.

    Examples
    --------
    >>> from types import SimpleNamespace as Namespace
    >>> m = Namespace(anchors=np.asarray([[[90., 90.]], [[10., 10.]]]), stride=np.asarray([8., 16.]))
    >>> check_anchor_order(m), m.anchors[0]
    (True, array([[10., 10.]]))
    """
    detect = Detect(detect=m)
    if not layers_disagree(_mean_areas(detect.for_order()), detect.strides):
        return False
    _listened_to().info("AutoAnchor: reversing the order of the anchors, which runs against the strides.")
    detect.reverse()
    return True


class Detect:
    """The anchors of a model's last module: read as NumPy, written in place, all or nothing."""

    def __init__(self, model: Any = None, *, detect: Any = None) -> None:
        if detect is None:
            inner = getattr(model, "module", model)  # wrapped by DataParallel or DistributedDataParallel
            try:
                detect = inner.model[-1]
            except (AttributeError, TypeError, IndexError, KeyError) as error:
                raise ModelError(
                    f"{type(inner).__name__} has no model[-1], where the Detect module must be."
                ) from error
        try:
            self._xp = namespace_of(anchors=detect.anchors)
            self.strides = [float(stride) for stride in detect.stride]
        except (AttributeError, TypeError, BackendError) as error:
            raise ModelError(
                f"{type(detect).__name__} must have anchors (L, A, 2), a tensor, and stride (L,): {error}."
            ) from error
        shape = tuple(detect.anchors.shape)
        if len(shape) != 3 or shape[2] != 2 or shape[0] != len(self.strides) or not min(*shape, *self.strides) > 0:
            raise ModelError(
                f"anchors must have shape ({len(self.strides)}, A, 2), a layer for each stride, got {shape}."
            )
        if not self._xp.isdtype(detect.anchors.dtype, "real floating"):
            raise ModelError(f"anchors must be floating point, got {detect.anchors.dtype}: new ones would be cut.")
        self._detect = detect
        self.n_anchors = shape[0] * shape[1]
        self._grid()  # refuses one of another length before anything is done

    def as_stored(self) -> HostArray:
        """A copy of `anchors` as it is: (L, A, 2)."""
        return np.array(self._xp.to_numpy(self._detect.anchors))

    def anchors_px(self) -> HostArray:
        """In pixels: (L, A, 2) float32."""
        return self.as_stored().astype(np.float32) * np.asarray(self.strides, np.float32)[:, None, None]

    def in_layers(self, anchors: HostArray) -> HostArray:
        """Anchors sorted by area to layers in the order of the strides: (L * A, 2) to (L, A, 2), pixels."""
        layers = anchors.reshape(self._detect.anchors.shape)
        return layers[::-1] if layers_disagree(_mean_areas(layers), self.strides) else layers

    def for_order(self) -> HostArray:
        """What tells the order of the layers: (L, A, 2), the grid of one tensor where there is one."""
        grid = self._grid()
        if grid is None or isinstance(grid, (list, tuple)):
            return self.as_stored()
        return np.array(self._xp.to_numpy(grid)).reshape(tuple(self._detect.anchors.shape))

    def reverse(self) -> None:
        """The layers of `anchors`, and of a grid, in reverse."""
        stored, grid = self.as_stored()[::-1], self._grid()
        writes = [(self._detect.anchors, self._like(stored, self._detect.anchors))]
        if grid is not None and not isinstance(grid, (list, tuple)):
            writes.append((grid, self._like(np.array(self._xp.to_numpy(grid))[::-1], grid)))
        self._commit(writes, self._cache(stored))

    def write(self, layers: HostArray) -> None:
        """Write layers of pixels (L, A, 2) into `anchors`, divided by the strides, and into `anchor_grid`."""
        strides = np.asarray(self.strides, np.float32)[:, None, None]
        target, grid = self._detect.anchors, self._grid()
        writes = [(target, self._like(layers.astype(np.float32) / strides, target))]
        if grid is not None and not isinstance(grid, (list, tuple)):  # a buffer (L, 1, A, 1, 1, 2), pixels
            writes.append((grid, self._like(layers.reshape(tuple(grid.shape)), grid)))
        self._commit(writes, self._cache(layers))

    def _grid(self) -> Any:
        grid = getattr(self._detect, "anchor_grid", None)
        if isinstance(grid, (list, tuple)) and len(grid) != len(self.strides):
            raise ModelError(
                f"anchor_grid must have an entry for each of {len(self.strides)} strides, got {len(grid)}."
            )
        return grid

    def _cache(self, layers: HostArray) -> Optional[list[Array]]:
        """YOLOv5 6.0 and later keep a list, made anew by a forward pass: (1, A, ny, nx, 2) pixels, or a stand-in."""
        grid = self._grid()
        if not isinstance(grid, (list, tuple)):
            return None
        return [self._filled(old, layer) for old, layer in zip(grid, layers)]

    def _commit(self, writes: list[tuple[Array, Array]], cache: Optional[list[Array]]) -> None:
        """All of it, or on any error, an interrupt too, none of it."""
        saved = [self._like(np.array(self._xp.to_numpy(target)), target) for target, _ in writes]
        old_cache = getattr(self._detect, "anchor_grid", None)
        try:
            for target, values in writes:
                self._xp.overwrite(target, values)
            if cache is not None:
                self._detect.anchor_grid = cache
        except BaseException:
            for (target, _), values in zip(writes, saved):
                self._xp.overwrite(target, values)
            if cache is not None:
                self._detect.anchor_grid = old_cache
            raise

    def _like(self, values: HostArray, like: Array) -> Array:
        xp = self._xp
        return xp.astype(xp.from_numpy(np.ascontiguousarray(values), device=xp.device_of(like)), like.dtype)

    def _filled(self, old: Array, layer: HostArray) -> Array:
        """A cache entry of the old one's shape: anchor a everywhere in [0, a, ...]; a stand-in stays as it is."""
        if len(old.shape) != 5:  # torch.zeros(1) or empty: no forward pass was made
            return old
        return self._like(np.broadcast_to(layer[None, :, None, None, :], tuple(old.shape)), old)


def _listened_to() -> logging.Logger:
    """The logger; where nobody has set up logging, the lines that people look for go to standard error all the same."""
    if not LOGGER.hasHandlers():
        LOGGER.addHandler(logging.StreamHandler())
        LOGGER.setLevel(logging.INFO)
    return LOGGER


def _mean_areas(layers: HostArray) -> list[float]:
    areas = layers.astype(np.float64).prod(axis=2)  # exact for float32 sides
    return [float(area) for area in areas.sum(axis=1) / areas.shape[1]]


def _jittered(boxes: BoxSizes, jitter: float, seed: int) -> HostArray:
    """The sizes, each image's scaled by its own factor around 1."""
    if not jitter:
        return boxes.wh
    factors = np.random.default_rng(seed).uniform(1 - jitter, 1 + jitter, len(boxes.image_wh))
    return (boxes.wh * factors[boxes.image_index][:, None]).astype(np.float32)


def _told(result: AnchorScore, thr: float) -> str:
    return (
        f"AutoAnchor: {result.aat:.2f} anchors/target, {result.bpr:.4f} Best Possible Recall (BPR), "
        f"fitness {result.fitness:.4f} at thr {thr:g} on {result.n_boxes} boxes"
    )
