import dataclasses
import importlib
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import oracle
from helpers.detectors import COCO, FAR_OFF, NUMPY, make_dataset, make_model, writable

from anchorlib.errors import BadValueError, ModelError
from anchorlib.yolov5 import autoanchor, check_anchor_order, check_anchors, kmean_anchors

DATA = Path(__file__).parent.parent / "data"
ORDERS = sorted((DATA / "golden").glob("order_*.npz"))


def pixels(backend, detect):
    return backend.host(detect.anchors) * backend.host(detect.stride)[:, None, None]


@pytest.mark.parametrize("file", ORDERS, ids=lambda file: file.stem)
def test_check_anchor_order_meets_the_recordings_exactly(backend, file):
    recorded = np.load(file)
    m = SimpleNamespace(anchors=writable(backend, recorded["anchors"]), stride=backend.array(recorded["stride"]))
    before = m.anchors
    reversed_ = check_anchor_order(m)
    assert m.anchors is before
    assert np.array_equal(backend.host(m.anchors), recorded["ordered"])
    assert reversed_ == (not np.array_equal(recorded["anchors"], recorded["ordered"]))
    assert np.array_equal(recorded["ordered"], oracle.check_anchor_order(recorded["anchors"], recorded["stride"]))


def test_there_are_five_recordings_of_the_order():
    assert len(ORDERS) == 5


def test_check_anchor_order_reads_the_order_from_a_grid_buffer_and_reverses_both(backend):
    # YOLOv5 up to 5.0 calls it when `anchors` is in units of the strides already: here those say nothing of the order
    _, detect = make_model(backend, COCO[::-1], grid="buffer")
    grid, stored = backend.host(detect.anchor_grid).copy(), backend.host(detect.anchors).copy()
    assert check_anchor_order(detect)
    assert np.array_equal(backend.host(detect.anchors), stored[::-1])
    assert np.array_equal(backend.host(detect.anchor_grid), grid[::-1])
    assert not check_anchor_order(detect)


def test_a_cache_that_no_forward_pass_has_made_stays_as_it_is(backend):
    model, detect = make_model(backend, FAR_OFF)
    detect.anchor_grid = [writable(backend, np.zeros(1, np.float32))] * 3
    before = list(detect.anchor_grid)
    assert check_anchors(make_dataset(), model).replaced
    assert all(one is other for one, other in zip(detect.anchor_grid, before))
    detect.anchor_grid = before[:2]
    with pytest.raises(ModelError, match="an entry for each of 3 strides, got 2"):
        check_anchors(make_dataset(), make_model(backend, FAR_OFF)[0].__class__(model=[detect]), raise_errors=True)


def test_whole_number_anchors_are_refused(backend):
    detect = SimpleNamespace(anchors=backend.array(np.full((3, 3, 2), 60)), stride=backend.array([8.0, 16, 32]))
    with pytest.raises(ModelError, match="anchors must be floating point"):
        check_anchors(make_dataset(), SimpleNamespace(model=[detect]), raise_errors=True)


def test_the_lines_are_seen_where_nobody_has_set_up_logging():
    code = (
        "import numpy as np, types; from anchorlib.yolov5 import kmean_anchors\n"
        "labels = np.random.default_rng(0).uniform(0.1, 0.4, (50, 5))\n"
        "kmean_anchors(types.SimpleNamespace(shapes=np.asarray([[640, 480]]), labels=[labels]), n=3)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=DATA.parent.parent)
    assert "anchors/target" in result.stderr
    assert "Best Possible Recall (BPR)" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("grid", [None, "buffer", "cache"])
def test_poor_anchors_are_replaced_in_place(backend, wrapped, grid, caplog):
    model, detect = make_model(backend, FAR_OFF, wrapped=wrapped, grid=grid)
    anchors, held = detect.anchors, getattr(detect, "anchor_grid", None)
    with caplog.at_level(logging.INFO, "anchorlib"):
        result = check_anchors(make_dataset(), model, generations=50)
    assert detect.anchors is anchors  # the loss and DistributedDataParallel hold it
    assert result.replaced
    assert result.before.bpr == 0
    assert result.after.bpr > 0.98
    assert "anchors/target" in caplog.text
    assert "Best Possible Recall (BPR)" in caplog.text
    now = pixels(backend, detect)
    areas = now.prod(axis=2).ravel()
    assert (np.diff(areas) >= 0).all()  # the smallest to the first layer, and sorted within
    if grid == "buffer":
        assert detect.anchor_grid is held
        np.testing.assert_allclose(backend.host(detect.anchor_grid)[:, 0, :, 0, 0], now, rtol=1e-6)
    if grid == "cache":
        for entry, layer in zip(detect.anchor_grid[:2], now):
            assert tuple(entry.shape) == (1, 3, 4, 5, 2)
            np.testing.assert_allclose(backend.host(entry)[0, :, 3, 4], layer, rtol=1e-6)
        assert tuple(detect.anchor_grid[2].shape) == (0,)


@pytest.mark.parametrize("strides", [(8, 16), (8, 16, 32), (8, 16, 32, 64), (32, 16, 8), (64, 32, 16, 8)])
def test_two_to_four_layers_in_either_order_of_strides(backend, strides):
    model, detect = make_model(backend, np.full((len(strides), 3, 2), 600, np.float32), strides)
    assert check_anchors(make_dataset(), model, generations=20).replaced
    means = pixels(backend, detect).prod(axis=2).mean(axis=1)
    assert (np.diff(means[np.argsort(strides)]) >= 0).all()  # layers without boxes keep their equal anchors


def test_good_anchors_stay_bit_identical(backend):
    model, detect = make_model(backend, COCO)
    before = backend.host(detect.anchors).copy()
    result = check_anchors(make_dataset(), model)
    assert (result.replaced, result.after) == (False, None)
    assert result.before.is_good
    assert np.array_equal(backend.host(detect.anchors), before)


def test_new_anchors_that_are_no_better_are_not_taken(backend, monkeypatch):
    model, detect = make_model(backend, FAR_OFF)
    before = backend.host(detect.anchors).copy()
    worse = autoanchor.fit_anchors(np.full((20, 2), 9e4) + np.arange(20)[:, None], 9, method="kmeans")
    fit = dataclasses.replace(worse, score=autoanchor.score(np.ones((1, 2)), worse.anchors))
    monkeypatch.setattr(autoanchor, "fit_anchors", lambda *args, **options: fit)
    assert not check_anchors(make_dataset(), model).replaced
    assert np.array_equal(backend.host(detect.anchors), before)


def test_all_backends_write_the_same_bits(backend):
    models = [make_model(backend, FAR_OFF), make_model(NUMPY, FAR_OFF)]
    for model, _ in models:
        check_anchors(make_dataset(), model, generations=50, seed=3)
    assert np.array_equal(backend.host(models[0][1].anchors), models[1][1].anchors)


@pytest.mark.needs("torch")  # half precision buffers are torch's
def test_half_precision_anchors_stay_half_precision():
    torch = importlib.import_module("torch")
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        detect = SimpleNamespace(anchors=torch.full((3, 3, 2), 60.0, dtype=dtype), stride=torch.tensor([8.0, 16, 32]))
        assert check_anchors(make_dataset(), SimpleNamespace(model=[detect]), generations=5).replaced
        assert detect.anchors.dtype is dtype


def test_a_leaf_that_wants_a_gradient_is_written(grad_backend):
    model, detect = make_model(grad_backend, FAR_OFF)
    detect.anchors.requires_grad = True
    assert check_anchors(make_dataset(), model, generations=5).replaced
    assert detect.anchors.requires_grad
    assert detect.anchors.grad is None


STEPS = [  # of both kinds of grid, but _filled: a cache is filled, a buffer is written
    (autoanchor, "from_dataset"),
    (autoanchor, "score"),
    (autoanchor, "fit_anchors"),
    (autoanchor.Detect, "anchors_px"),
    (autoanchor.Detect, "in_layers"),
    (autoanchor.Detect, "_like"),
]
STEPS = [(grid, *step) for grid in ("buffer", "cache") for step in STEPS] + [("cache", autoanchor.Detect, "_filled")]


@pytest.mark.parametrize(("grid", "holder", "name"), STEPS, ids=lambda part: part if isinstance(part, str) else "")
def test_an_error_at_any_step_leaves_the_model_as_it_was_and_logs_the_cause(
    backend, grid, holder, name, monkeypatch, caplog
):
    model, detect = make_model(backend, FAR_OFF, grid=grid)
    state = snapshot(backend, detect)

    def broken(*args, **options):
        raise RuntimeError(f"broken in {name}")

    monkeypatch.setattr(holder, name, broken)
    assert check_anchors(make_dataset(), model, generations=5) is None
    assert_unchanged(backend, detect, state)
    assert f"RuntimeError: broken in {name}" in caplog.text
    with pytest.raises(RuntimeError, match=f"broken in {name}"):
        check_anchors(make_dataset(), model, generations=5, raise_errors=True)
    assert_unchanged(backend, detect, state)


@pytest.mark.parametrize("error", [RuntimeError("half way"), KeyboardInterrupt()])
def test_an_error_between_two_writes_puts_the_first_one_back(backend, error, monkeypatch):
    model, detect = make_model(backend, FAR_OFF, grid="buffer")
    state, real, calls = snapshot(backend, detect), backend.xp.overwrite, []

    def second_fails(target, values):
        calls.append(1)
        real(target, values)
        if len(calls) == 2:
            raise error

    monkeypatch.setattr(backend.xp, "overwrite", second_fails)
    with pytest.raises(type(error)):
        check_anchors(make_dataset(), model, generations=5, raise_errors=True)
    assert len(calls) == 4  # two written, two rolled back
    assert_unchanged(backend, detect, state)


def test_keyboard_interrupt_passes_through(backend, monkeypatch):
    model, detect = make_model(backend, FAR_OFF)
    state = snapshot(backend, detect)

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(autoanchor, "fit_anchors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check_anchors(make_dataset(), model)
    assert_unchanged(backend, detect, state)


def snapshot(backend, detect):
    grid = getattr(detect, "anchor_grid", None)
    grids = [] if grid is None else [backend.host(g).copy() for g in (grid if isinstance(grid, list) else [grid])]
    return detect.anchors, backend.host(detect.anchors).copy(), grid, grids


def assert_unchanged(backend, detect, state):
    anchors, values, grid, grids = state
    assert detect.anchors is anchors
    assert np.array_equal(backend.host(anchors), values)
    assert getattr(detect, "anchor_grid", None) is grid
    for now, then in zip(grid if isinstance(grid, list) else [grid], grids):
        assert np.array_equal(backend.host(now), then)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SimpleNamespace(), r"has no model\[-1\]"),
        (SimpleNamespace(model=[]), r"has no model\[-1\]"),
        (SimpleNamespace(model=[SimpleNamespace(stride=[8])]), "must have anchors"),
        (SimpleNamespace(model=[SimpleNamespace(anchors=[[1]], stride=[8])]), "not a supported array type"),
        (
            SimpleNamespace(model=[SimpleNamespace(anchors=np.ones((3, 3, 2)), stride=[8, 16])]),
            r"\(2, A, 2\)",
        ),
        (SimpleNamespace(model=[SimpleNamespace(anchors=np.ones((2, 3, 2)), stride=[8, 0])]), r"\(2, A, 2\)"),
        (
            SimpleNamespace(model=[SimpleNamespace(anchors=np.ones((3, 2)), stride=[8, 16, 32])]),
            r"\(3, A, 2\)",
        ),
    ],
)
def test_a_model_without_anchors_is_a_model_error(model, message):
    with pytest.raises(ModelError, match=message):
        check_anchors(make_dataset(), model, raise_errors=True)


def test_jitter_is_seeded_and_off_by_default():
    dataset = make_dataset()
    measured = [
        check_anchors(dataset, make_model(NUMPY, COCO)[0], **options).before.fitness
        for options in ({}, {"seed": 1}, {"jitter": 0.1}, {"jitter": 0.1}, {"jitter": 0.1, "seed": 1})
    ]
    assert measured[0] == measured[1]
    assert measured[2] == measured[3]
    assert len(set(measured)) == 3


def test_imgsz_may_be_width_and_height():
    dataset = SimpleNamespace(shapes=np.asarray([[100.0, 100.0]]), labels=[np.asarray([[0, 0.5, 0.5, 0.2, 0.4]])])
    fit = check_anchors(dataset, make_model(NUMPY, COCO)[0], imgsz=(640, 320)).before
    expected = autoanchor.score(np.asarray([[64.0, 128.0]], np.float32), COCO.reshape(-1, 2))
    assert fit == expected


def test_kmean_anchors_reads_a_path_and_older_names():
    anchors = kmean_anchors(str(DATA / "bccd"), n=6, gen=20, verbose=False)
    assert anchors.shape == (6, 2)
    assert anchors.dtype == np.float32
    assert np.array_equal(kmean_anchors(path=str(DATA / "bccd"), n=6, gen=20, verbose=False), anchors)


def test_kmean_anchors_takes_a_dataset_and_logs_when_verbose(caplog):
    with caplog.at_level(logging.INFO, "anchorlib"):
        quiet = kmean_anchors(make_dataset(), 9, 640, 4.0, 20, False)
        assert caplog.text == ""
        assert np.array_equal(kmean_anchors(make_dataset(), 9, 640, 4.0, 20, True), quiet)
    assert "anchors/target" in caplog.text


def test_kmean_anchors_raises_what_is_wrong():
    dataset = make_dataset()
    dataset.labels = [label[:0] for label in dataset.labels]
    with pytest.raises(BadValueError, match="none of 0 boxes"):
        kmean_anchors(dataset, gen=5)
