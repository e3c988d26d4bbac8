"""Read the anchors of a model's Detect module as NumPy, and write them atomically."""

from __future__ import annotations

from typing import Any, Callable, Optional

import numpy as np

from anchorlib.arrays import MAX_SIDE, MIN_SIDE, Array, HostArray
from anchorlib.backends import namespace_of
from anchorlib.errors import BackendError, ModelError
from anchorlib.layers import ends_disagree, must_reverse, sort_in_layers
from anchorlib.models import DarknetHead, detect_module


class Detect:
    """Read the anchors of a model's Detect module as NumPy, and write them atomically."""

    def __init__(self, model: Any = None, *, detect: Any = None) -> None:
        detect = detect_module(model) if detect is None else detect
        if isinstance(detect, DarknetHead):
            raise ModelError(
                f"the anchors of a darknet model ({detect.nl} detection layers in module_list) are in its cfg file and "
                "are not replaced here. Write them into that file: anchorlib fit DATA --out FILE.cfg"
            )
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
            raise ModelError(
                f"anchors must be floating point, got {detect.anchors.dtype}: new ones would be truncated."
            )
        self._detect = detect
        self.n_anchors = shape[0] * shape[1]
        self._grid()  # refuses one of another length before anything is done

    def as_stored(self) -> HostArray:
        """Return a copy of `anchors` in its own unit: (L, A, 2)."""
        return np.array(self._xp.to_numpy(self._detect.anchors))

    def anchors_px(self) -> HostArray:
        """Return the anchors in pixels: (L, A, 2) float32."""
        return self.as_stored().astype(np.float32) * np.asarray(self.strides, np.float32)[:, None, None]

    def find_sizes(self) -> HostArray:
        """Return which anchors can be measured: (L * A,) bool, False for placeholders.

        A fork whose file has only the number of anchors (`anchors: 3`) fills each layer with 0, 1, 2, 3, ... and relies
        on check_anchors. NaN, zeros, negative and infinite sides cannot be measured either.
        """
        layers = self.anchors_px()
        n_layers, n_anchors = layers.shape[:2]
        counting = np.arange(2 * n_anchors, dtype=np.float32).reshape(n_anchors, 2)
        is_counted = [
            all(np.allclose(layer, counting, rtol=1e-2, atol=0) for layer in kind)  # bfloat16 has three digits
            for kind in (layers, self.as_stored().astype(np.float32))
        ]
        if any(is_counted):
            return np.zeros(n_layers * n_anchors, bool)
        sides = layers.reshape(-1, 2)
        return np.asarray(((sides >= MIN_SIDE) & (sides <= MAX_SIDE)).all(axis=1))

    def in_layers(self, anchors: HostArray) -> HostArray:
        """Return anchors sorted by area as layers, the smallest for the smallest stride: (L * A, 2) to (L, A, 2).

        The anchors of a layer are sorted in the direction of the strides, so that no fork reverses the layers.
        """
        layers = np.empty(tuple(self._detect.anchors.shape), anchors.dtype)
        layers[np.argsort(self.strides, kind="stable")] = anchors.reshape(layers.shape)
        return np.stack(sort_in_layers(list(layers), self.strides))

    def must_reverse(self) -> bool:
        """Return True if the layers run against the strides; `check_anchor_order` has the rule."""
        buffer = self._grid_buffer()
        if buffer is None:
            return must_reverse(list(self.as_stored().astype(np.float64)), self.strides)
        pixels = np.array(self._xp.to_numpy(buffer), np.float64).reshape(tuple(self._detect.anchors.shape))
        return ends_disagree(list(pixels), self.strides)

    def reverse(self) -> None:
        """Reverse the layers of `anchors` and of `anchor_grid`."""
        stored, buffer = self.as_stored()[::-1], self._grid_buffer()
        writes = [(self._detect.anchors, self._like(stored, self._detect.anchors))]
        if buffer is not None:
            writes.append((buffer, self._like(np.array(self._xp.to_numpy(buffer))[::-1], buffer)))
        # a list is filled by a forward pass, when `anchors` is in units of the strides
        self._commit(writes, self._cache(stored * np.asarray(self.strides, np.float32)[:, None, None]))

    def take(self, layers: HostArray) -> Callable[[], None]:
        """Write layers in pixels, as `write` does, unless the model has them already; ModelError for another shape."""
        if layers.shape != tuple(self._detect.anchors.shape):
            raise ModelError(
                f"anchors of shape {layers.shape} do not fit a model with {tuple(self._detect.anchors.shape)}."
            )
        return (lambda: None) if np.array_equal(self.anchors_px(), layers) else self.write(layers)

    def write(self, layers: HostArray) -> Callable[[], None]:
        """Write layers in pixels (L, A, 2): divided by the strides into `anchors`, and in pixels into `anchor_grid`.

        Return a function that restores the old values.
        """
        strides = np.asarray(self.strides, np.float32)[:, None, None]
        target, buffer = self._detect.anchors, self._grid_buffer()
        writes = [(target, self._like(layers.astype(np.float32) / strides, target))]
        if buffer is not None:
            writes.append((buffer, self._like(layers.reshape(tuple(buffer.shape)), buffer)))
        return self._commit(writes, self._cache(layers))

    def _grid(self) -> Any:
        """Return `anchor_grid`, a tensor, a list or None; ModelError for a list of another length."""
        grid = getattr(self._detect, "anchor_grid", None)
        if isinstance(grid, (list, tuple)) and len(grid) != len(self.strides):
            raise ModelError(
                f"anchor_grid must have an entry for each of {len(self.strides)} strides, got {len(grid)}."
            )
        return grid

    def _grid_buffer(self) -> Array:
        """Return `anchor_grid` if it is a tensor (L, 1, A, 1, 1, 2), pixels (YOLOv5 <= 5.0, YOLOv7); else None."""
        grid = self._grid()
        if grid is None or isinstance(grid, (list, tuple)) or int(np.prod(grid.shape)) != 2 * self.n_anchors:
            return None  # a tensor of another size is a placeholder until the first forward pass
        return grid

    def _cache(self, layers: HostArray) -> Optional[list[Array]]:
        """Return the new entries of `anchor_grid` if it is a list, as in YOLOv5 since 6.0; else None.

        An entry is (1, A, ny, nx, 2), pixels. Before the first forward pass it is a placeholder of another shape.
        """
        grid = self._grid()
        if not isinstance(grid, (list, tuple)):
            return None
        return [self._filled(old, layer) for old, layer in zip(grid, layers)]

    def _commit(self, writes: list[tuple[Array, Array]], cache: Optional[list[Array]]) -> Callable[[], None]:
        """Write all arrays, or none on an error or interrupt; return a function that restores the old values."""
        saved = [self._like(np.array(self._xp.to_numpy(target)), target) for target, _ in writes]
        old_cache = getattr(self._detect, "anchor_grid", None)

        def restore() -> None:
            for (target, _), values in zip(writes, saved):
                self._xp.overwrite(target, values)
            if cache is not None:
                self._detect.anchor_grid = old_cache

        try:
            for target, values in writes:
                self._xp.overwrite(target, values)
            if cache is not None:
                self._detect.anchor_grid = cache
        except BaseException:
            restore()
            raise
        return restore

    def _like(self, values: HostArray, like: Array) -> Array:
        """Return values in the framework, device and dtype of an array."""
        xp = self._xp
        return xp.astype(xp.from_numpy(np.ascontiguousarray(values), device=xp.device_of(like)), like.dtype)

    def _filled(self, old: Array, layer: HostArray) -> Array:
        """Return an entry in the shape of the old one, with anchor a everywhere in [0, a, ...]; keep a placeholder."""
        if len(old.shape) != 5:  # torch.zeros(1) or empty: no forward pass was made
            return old
        return self._like(np.broadcast_to(layer[None, :, None, None, :], tuple(old.shape)), old)
