"""One of the processes that train together: runs every scenario of test_distributed and writes what it saw as JSON.

python rank_worker.py FRAMEWORK OUT RANK STORE     (rank and store: of torch; OneFlow's launcher sets its own)
"""

import datetime
import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

framework, out, *rest = sys.argv[1:]
logging.basicConfig(level=logging.CRITICAL)

if framework == "torch":
    import torch
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    RANK = int(rest[0])
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{rest[1]}", rank=RANK, world_size=2, timeout=datetime.timedelta(seconds=30)
    )
    tensor = torch.from_numpy
else:
    import oneflow as flow
    from oneflow import nn
    from oneflow.nn.parallel import DistributedDataParallel

    RANK = flow.env.get_rank()
    tensor = flow.tensor

from helpers.detectors import COCO, FAR_OFF, make_dataset  # noqa: E402  (once the framework is there)

from anchorlib.yolov5 import autoanchor, check_anchors  # noqa: E402  (as above)
from anchorlib.yolov5.detect import Detect  # noqa: E402  (as above)

STRIDES = np.asarray([8, 16, 32], np.float32)


class Last(nn.Module):
    def __init__(self, anchors_px):
        super().__init__()
        strides = STRIDES[: len(anchors_px)]
        self.register_buffer("anchors", as_tensor(anchors_px / strides[:, None, None]))
        self.register_buffer("anchor_grid", as_tensor(anchors_px.reshape(len(strides), 1, -1, 1, 1, 2)))
        self.stride = as_tensor(strides)
        self.weight = nn.Parameter(as_tensor(np.ones(2)))

    def forward(self, x):
        return x * self.weight


class Model(nn.Module):
    def __init__(self, anchors_px):
        super().__init__()
        self.model = nn.ModuleList([Last(anchors_px)])

    def forward(self, x):
        return self.model[0](x)


def as_tensor(values):
    return tensor(np.array(values, np.float32))


def without_anchors():
    model = Model(FAR_OFF)
    del model.model[-1].anchors
    return model


def broken(error):
    def raises(*args, **options):
        raise error

    return raises


def run(model, dataset, patch=None, method="kmeans", **options):
    """What a call gave or raised, and the anchors and the grid after it."""
    last = getattr(model, "module", model).model[-1]
    with pytest.MonkeyPatch.context() as patches:
        if patch:
            patches.setattr(*patch)
        try:
            check = check_anchors(dataset, model, distributed=True, method=method, generations=10, **options)
            told = None if check is None else [check.replaced, repr(check.before), repr(check.after)]
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
    if not hasattr(last, "anchors"):
        return {"told": told}
    return {"told": told, "anchors": last.anchors.numpy().tolist(), "grid": last.anchor_grid.numpy().tolist()}


def by_rank(first, other):
    return first if RANK == 0 else other


class Blind:
    """A data set that only rank 0 may look at."""

    @property
    def shapes(self):
        raise AssertionError("this rank's data set was looked at")

    labels = shapes


def scenarios():
    mine = by_rank(make_dataset(), Blind())
    fit_breaks = by_rank((autoanchor, "fit_anchors", broken(RuntimeError("rank 0 broke"))), None)
    fit_stops = by_rank((autoanchor, "fit_anchors", broken(KeyboardInterrupt())), None)
    take_breaks = by_rank(None, (Detect, "take", broken(RuntimeError("rank 1 broke"))))
    yield "replaced", lambda: run(Model(FAR_OFF), mine, method="direct", seed=RANK)
    yield "kept", lambda: run(Model(COCO), mine)
    yield "other start", lambda: run(Model(by_rank(COCO, COCO * 1.5)), mine)
    yield "wrapped", lambda: run(DistributedDataParallel(Model(FAR_OFF)), mine)
    yield "other view", lambda: run(Model(FAR_OFF), make_dataset(RANK, n_images=40 - 20 * RANK), seed=RANK)
    yield "evolve", lambda: run(Model(FAR_OFF), mine, method="evolve", seed=RANK)
    for word, options in (("", {}), (" raised", {"raise_errors": True})):
        yield "rank 0 fails" + word, lambda options=options: run(Model(FAR_OFF), mine, fit_breaks, **options)
        yield "rank 1 fails" + word, lambda options=options: run(Model(FAR_OFF), mine, take_breaks, **options)
    yield "rank 0 has no anchors", lambda: run(by_rank(without_anchors(), Model(FAR_OFF)), mine)
    yield "rank 1 has no anchors", lambda: run(by_rank(Model(FAR_OFF), without_anchors()), mine)
    yield "rank 1 has other layers", lambda: run(Model(by_rank(FAR_OFF, FAR_OFF[:2])), mine)
    yield "rank 0 is interrupted", lambda: run(Model(FAR_OFF), mine, fit_stops)
    yield "in step after all that", lambda: run(Model(FAR_OFF), mine)
    if framework == "torch":  # OneFlow 0.9.0 aborts the process where another rank is gone
        yield "rank 1 is gone", lambda: run(Model(FAR_OFF), mine) if RANK == 0 else {"told": "gone"}


seen = {name: scenario() for name, scenario in scenarios()}
Path(f"{out}.{RANK}").write_text(json.dumps(seen))
os._exit(0)  # a group whose other rank is gone cannot be closed
