"""Count what crosses between host and device, on the pretend device; and plant the faults that it must find."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys

import numpy as np
import pytest
from helpers.loss_cases import logits_of, model_of, small_case

from anchorlib import evolve, kmeans, score
from anchorlib.arrays import check_sizes
from anchorlib.errors import BackendMixError
from anchorlib.metrics import SizeTable
from anchorlib.training import build_targets, targets
from anchorlib.verify import Target
from anchorlib.yolov7 import ComputeLossOTA

pytestmark = pytest.mark.needs("torch:pretend")
#: From seed 197, k-means with n = 8 has once a cluster without a box.
SIZES = [
    (5, 46), (7, 6), (10, 6), (11, 42), (15, 6), (19, 3), (20, 171), (21, 3), (29, 18), (31, 11), (32, 44), (33, 29),
    (39, 18), (57, 13), (88, 30),
]  # fmt: skip
HOST, DEVICE = "to the host", "to the device"


@pytest.fixture
def pretend():
    from helpers.pretend_device import PretendDevice

    with PretendDevice():
        yield Target("torch:pretend")


def crossed(function):
    """Return what crosses in a call: how often to the host, and how often to the device."""
    from helpers.pretend_device import crossings

    with crossings() as seen:
        function()
    directions = [one.partition(":")[0] for one in seen]
    return directions.count(HOST), directions.count(DEVICE)


def boxes_and_anchors(pretend, n=300, k=9):
    rng = np.random.default_rng(0)
    return (pretend.array(rng.uniform(4, 200, (rows, 2)).astype(np.float32)) for rows in (n, k))


def test_score_reads_the_device_twice(pretend):
    boxes, anchors = boxes_and_anchors(pretend)
    assert crossed(lambda: score(boxes, anchors)) == (2, 0)  # the limits of the sides, then all sums
    weights = np.arange(300)
    assert crossed(lambda: score(boxes, anchors, weights=weights)) == (2, 1)
    assert crossed(lambda: SizeTable(boxes).use(anchors, 4.0)) == (1, 0)


def test_several_blocks_are_read_at_once(pretend, monkeypatch):
    boxes, anchors = boxes_and_anchors(pretend)
    whole = score(boxes, anchors)
    monkeypatch.setattr("anchorlib.metrics._BLOCK_ON_DEVICE", 7)
    assert crossed(lambda: score(boxes, anchors)) == (2, 0)
    assert score(boxes, anchors) == whole


def test_sizes_of_several_arguments_are_checked_in_one_read(pretend):
    boxes, anchors = boxes_and_anchors(pretend)
    assert crossed(lambda: check_sizes(boxes_wh=boxes, anchors=anchors)) == (1, 0)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_generation_of_evolve_crosses_once_each_way(pretend, weighted):
    boxes, anchors = boxes_and_anchors(pretend)
    weights = np.arange(1, 301) if weighted else None

    def total(generations):
        return np.asarray(crossed(lambda: evolve(boxes, anchors, generations=generations, weights=weights)))

    assert (total(15) - total(5)).tolist() == [10, 10]


@pytest.mark.parametrize("update", ["mean", "median"])
@pytest.mark.parametrize("distance", ["euclidean", "iou", "ratio"])
def test_an_iteration_of_kmeans_crosses_once_each_way(pretend, distance, update):
    """A step that is watched costs one copy more: `on_step` gets host arrays."""
    boxes, _ = boxes_and_anchors(pretend)
    steps = []
    to_host, to_device = crossed(
        lambda: kmeans(boxes, 9, distance=distance, update=update, on_step=lambda step: steps.append(1))
    )
    fixed = 2, 6  # the limits of the sides and the boxes; the columns, in two scales, and the result
    assert len(steps) > 5
    assert (to_host, to_device) == (fixed[0] + 2 * len(steps), fixed[1] + len(steps))


def test_a_cluster_that_loses_its_last_box_costs_one_copy_more(pretend):
    boxes, steps = pretend.array(SIZES, np.float32), []
    to_host, _ = crossed(lambda: kmeans(boxes, 8, seed=197, on_step=steps.append))
    n_empty = sum(len(np.unique(step.owner)) < 8 for step in steps)
    assert n_empty == 1
    assert to_host == 2 + 2 * len(steps) + n_empty


def test_ota_reads_the_device_once_more_than_build_targets(pretend):
    anchors, strides, p, rows = small_case(12, dtype=np.float32)
    compute_loss = ComputeLossOTA(model_of(pretend, anchors, strides, 3))
    p, rows = logits_of(pretend, p), pretend.array(rows)
    images = pretend.array(np.zeros((2, 3, 64, 64), np.float32))
    compute_loss(p, rows, images)
    assert crossed(lambda: compute_loss(p, rows, images)[0].sum().backward())[0] <= 3


# ---- the faults that the pretend device is for


def with_fault(module, right, wrong):
    """Return a copy of a module in whose text a line is replaced."""
    with open(module.__file__, encoding="utf-8") as file:
        text = file.read()
    assert text.count(right) == 1
    name = f"{module.__name__}_with_a_fault"
    copy = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader=None))
    sys.modules[name] = copy  # dataclasses look it up
    try:
        exec(compile(text.replace(right, wrong), module.__file__, "exec"), copy.__dict__)
    finally:
        del sys.modules[name]
    return copy


NUMPY_REFUSED = r"\.numpy\(\) is not supported"
EMPTY = "whole = xp.empty((6, n_rows), dtype=xp.int64, device=xp.device_of(found))"
COUNTS = "counts = ends[1:] - ends[:-1]"
FLOOR = "cell = xp.minimum(xp.maximum(cell, plan.zero), step_last[2:, :])"


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (EMPTY, EMPTY.replace(", device=xp.device_of(found)", ""), "[3-9] to the host"),
        (COUNTS, f"{COUNTS}.cpu()", "expected all tensors to be on the same device, found pretend:0 and cpu"),
        (COUNTS, "counts = (ends[1:] - ends[:-1]).cpu().to(ends.device)", "3 to the host"),
        (FLOOR, FLOOR.replace("plan.zero", "xp.zeros((1, 1), dtype=xp.float32)"), "same device, found pretend:0"),
        (FLOOR, FLOOR.replace("plan.zero", "xp.from_numpy(np.zeros((1, 1), np.float32))"), "same device"),
        ("(found,) = xp.nonzero(", "assert bool(mask.any())\n    (found,) = xp.nonzero(", "3 to the host"),
        (COUNTS, f"{COUNTS}; np.asarray(ends)", NUMPY_REFUSED),
        (COUNTS, f"{COUNTS}; ends.numpy()", NUMPY_REFUSED),
    ],
    ids=["no device", "hidden cpu", "cpu and back", "host constant", "NumPy constant", "a value", "asarray", "numpy()"],
)
def test_a_fault_is_red(pretend, right, wrong, said):
    """Each fault is planted in a copy of training/targets.py, and gives what `check` calls an error."""
    assert check(targets.build_targets, pretend) == ""
    assert re.search(said, check(with_fault(targets, right, wrong).build_targets, pretend))


def check(function, pretend):
    """Return what is wrong with a `build_targets` on a device: the error, the crossings, or where the result is."""
    anchors, _, p, rows = small_case(12, dtype=np.float32)
    shapes = [layer.shape[2:4] for layer in p]
    expected = build_targets(rows, anchors, shapes)
    rows, anchors = pretend.array(rows), pretend.array(anchors)
    try:
        function(rows, anchors, shapes)
        n, _ = crossed(lambda: function(rows, anchors, shapes))
        if n > 2:
            return f"{n} to the host"
        layers = function(rows, anchors, shapes)
    except (RuntimeError, TypeError, BackendMixError) as error:
        return str(error)
    for layer, wanted in zip(layers, expected):
        for column, values in zip(layer, wanted):
            if not str(column.device).startswith("pretend"):
                return "a column is on the host"
            assert np.array_equal(pretend.host(column), values)
    return ""


def test_crossings_are_counted_only_in_the_block(pretend):
    from helpers.pretend_device import crossings

    x = pretend.array([1.0, 2.0])
    with crossings() as outer:
        float(x[0])
        with contextlib.suppress(ZeroDivisionError), crossings() as inner:
            x.cpu()
            raise ZeroDivisionError
        x.tolist()
    assert (len(outer), len(inner)) == (3, 1)
