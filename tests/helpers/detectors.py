"""Make models and data sets in memory, as check_anchors takes them."""

import importlib
from types import SimpleNamespace

import numpy as np

from anchorlib import backends
from anchorlib.backends import FRAMEWORKS

COCO = np.asarray(
    [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]],
    np.float32,
)
FAR_OFF = np.full((3, 3, 2), 600, np.float32)  # pixels; no box of the data set below matches them


def make_dataset(seed=0, n_images=40):
    rng = np.random.default_rng(seed)
    labels = []
    for _ in range(n_images):
        label = rng.uniform(0.02, 0.15, (10, 5)).astype(np.float32)
        label[:, 0] = 0
        labels.append(label)
    return SimpleNamespace(shapes=rng.integers(300, 900, (n_images, 2)).astype(np.float32), labels=labels)


def make_placeholders(n_layers=3, n_anchors=3):
    """What a fork makes of `anchors: 3` in its yaml file: 0, 1, 2, ... in each layer, pixels."""
    return np.tile(np.arange(2 * n_anchors, dtype=np.float32).reshape(1, n_anchors, 2), (n_layers, 1, 1))


def make_model(backend, anchors_px, strides=(8, 16, 32), wrapped=False, grid=None, dtype=np.float32):
    strides = np.asarray(strides, np.float32)
    detect = SimpleNamespace(
        anchors=writable(backend, (anchors_px / strides[:, None, None]).astype(dtype)),
        stride=writable(backend, strides),
    )
    if grid == "buffer":  # YOLOv5 up to 5.0, YOLOv7
        detect.anchor_grid = writable(backend, anchors_px.reshape(len(strides), 1, -1, 1, 1, 2).astype(dtype))
    elif grid == "cache":  # YOLOv5 6.0 and later, after a forward pass through the first two layers
        cached = [
            np.broadcast_to(layer[None, :, None, None], (1, len(layer), 4, 5, 2)).astype(dtype)
            for layer in anchors_px[:2]
        ]
        detect.anchor_grid = [writable(backend, layer) for layer in cached]
        detect.anchor_grid += [writable(backend, np.zeros(0, dtype)) for _ in strides[2:]]
    model = SimpleNamespace(model=[object(), detect])
    return (SimpleNamespace(module=model) if wrapped else model), detect


def make_module(backend, anchors_px, grid=None, wrapped=False):
    """Return a model of the framework's own modules, and its last one, which has the anchors; strides 8, 16, 32."""
    nn = importlib.import_module(f"{FRAMEWORKS[backend.name].module}.nn")
    strides = np.asarray([8, 16, 32], np.float32)

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.stride = backend.array(strides)
            self.register_buffer("anchors", backend.array((anchors_px / strides[:, None, None]).astype(np.float32)))
            if grid == "buffer":
                self.register_buffer("anchor_grid", backend.array(anchors_px.reshape(3, 1, -1, 1, 1, 2)))
            elif grid == "list":
                self.anchor_grid = [
                    backend.array(np.broadcast_to(layer[None, :, None, None], (1, 3, 4, 5, 2)).copy())
                    for layer in anchors_px
                ]
            elif grid == "empty list":
                self.anchor_grid = [backend.array(np.zeros(0, np.float32))] * 3
            elif grid == "placeholder":
                self.anchor_grid = backend.array(np.zeros(1, np.float32))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(nn.ReLU(), Head())

    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    model = Model()
    return (Wrapper(model) if wrapped else model), model.model[-1]


def writable(backend, values):
    array = backend.array(values)
    return array.copy() if backend.name == "numpy" else array


class _NumPy:
    name, device = "numpy", "cpu"
    xp = backends.load("numpy")
    array = staticmethod(lambda values: np.array(values))
    host = staticmethod(lambda array: array)


NUMPY = _NumPy()
