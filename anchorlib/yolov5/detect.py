"""The anchors of a model's last module: read as NumPy, written atomically."""

from __future__ import annotations

from typing import Any, Callable, Optional

import numpy as np

from anchorlib.arrays import MAX_SIDE, MIN_SIDE, Array, HostArray
from anchorlib.backends import namespace_of
from anchorlib.errors import BackendError, ModelError
from anchorlib.layers import layers_disagree, mean_areas
from anchorlib.models import detect_module


class Detect:
    """The anchors of a model's last module: read as NumPy, written atomically."""

    def __init__(self, model: Any = None, *, detect: Any = None) -> None:
        detect = detect_module(model) if detect is None else detect
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
        """Anchors sorted by area to layers in the order of the strides: (L * A, 2) to (L, A, 2), pixels."""
        layers = anchors.reshape(self._detect.anchors.shape)
        return layers[::-1] if layers_disagree(mean_areas(layers), self.strides) else layers

    def for_order(self) -> HostArray:
        """What tells the order of the layers: (L, A, 2), the tensor `anchor_grid`, if present."""
        buffer = self._grid_buffer()
        if buffer is None:
            return self.as_stored()
        return np.array(self._xp.to_numpy(buffer)).reshape(tuple(self._detect.anchors.shape))

    def reverse(self) -> None:
        """The layers of `anchors`, and of a grid, in reverse."""
        stored, buffer = self.as_stored()[::-1], self._grid_buffer()
        writes = [(self._detect.anchors, self._like(stored, self._detect.anchors))]
        if buffer is not None:
            writes.append((buffer, self._like(np.array(self._xp.to_numpy(buffer))[::-1], buffer)))
        self._commit(writes, self._cache(stored))

    def take(self, layers: HostArray) -> Callable[[], None]:
        """Write layers of pixels, as `write` does, if they are others than there are. ModelError for another shape."""
        if layers.shape != tuple(self._detect.anchors.shape):
            raise ModelError(
                f"anchors of shape {layers.shape} do not fit a model with {tuple(self._detect.anchors.shape)}."
            )
        return (lambda: None) if np.array_equal(self.anchors_px(), layers) else self.write(layers)

    def write(self, layers: HostArray) -> Callable[[], None]:
        """Write layers of pixels (L, A, 2), divided by the strides, and as they are into `anchor_grid`.

        Returns what puts back the old ones.
        """
        strides = np.asarray(self.strides, np.float32)[:, None, None]
        target, buffer = self._detect.anchors, self._grid_buffer()
        writes = [(target, self._like(layers.astype(np.float32) / strides, target))]
        if buffer is not None:
            writes.append((buffer, self._like(layers.reshape(tuple(buffer.shape)), buffer)))
        return self._commit(writes, self._cache(layers))

    def _grid(self) -> Any:
        grid = getattr(self._detect, "anchor_grid", None)
        if isinstance(grid, (list, tuple)) and len(grid) != len(self.strides):
            raise ModelError(
                f"anchor_grid must have an entry for each of {len(self.strides)} strides, got {len(grid)}."
            )
        return grid

    def _grid_buffer(self) -> Array:
        """YOLOv5 up to 5.0 and YOLOv7 keep a buffer (L, 1, A, 1, 1, 2), pixels; None where there is none."""
        grid = self._grid()
        return None if isinstance(grid, (list, tuple)) else grid

    def _cache(self, layers: HostArray) -> Optional[list[Array]]:
        """A list since YOLOv5 6.0, made again by each forward pass: (1, A, ny, nx, 2) pixels, or a stand-in."""
        grid = self._grid()
        if not isinstance(grid, (list, tuple)):
            return None
        return [self._filled(old, layer) for old, layer in zip(grid, layers)]

    def _commit(self, writes: list[tuple[Array, Array]], cache: Optional[list[Array]]) -> Callable[[], None]:
        """All of it, or on any error, an interrupt too, none of it; gives what puts it back."""
        saved = [self._like(np.array(self._xp.to_numpy(target)), target) for target, _ in writes]
        old_cache = getattr(self._detect, "anchor_grid", None)

        def put_back() -> None:
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
            put_back()
            raise
        return put_back

    def _like(self, values: HostArray, like: Array) -> Array:
        xp = self._xp
        return xp.astype(xp.from_numpy(np.ascontiguousarray(values), device=xp.device_of(like)), like.dtype)

    def _filled(self, old: Array, layer: HostArray) -> Array:
        """A cache entry of the old one's shape: anchor a everywhere in [0, a, ...]; a stand-in stays as it is."""
        if len(old.shape) != 5:  # torch.zeros(1) or empty: no forward pass was made
            return old
        return self._like(np.broadcast_to(layer[None, :, None, None, :], tuple(old.shape)), old)
