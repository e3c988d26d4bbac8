"""What forks of YOLOv5 and YOLOv7 pass to check_anchors: placeholders, wide labels, loggers, models of other shapes."""

import io
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.detectors import COCO, FAR_OFF, NUMPY, make_dataset, make_model, make_module, make_placeholders
from helpers.loss_cases import model_of, small_case

from anchorlib.datasets import from_dataset
from anchorlib.errors import ModelError, ShapeError
from anchorlib.yolov5 import ComputeLoss, check_anchor_order, check_anchors, kmean_anchors

ROOT = Path(__file__).parent.parent.parent


def spoil(value, rows=slice(None)):
    anchors = COCO.copy()
    anchors[0, rows] = value
    return anchors


PLACEHOLDERS = {
    "3 a layer": (make_placeholders(), (8, 16, 32)),
    "1 a layer": (make_placeholders(3, 1), (8, 16, 32)),
    "5 a layer": (make_placeholders(3, 5), (8, 16, 32)),
    "four layers": (make_placeholders(4, 2), (8, 16, 32, 64)),
    "largest stride first": (make_placeholders(), (32, 16, 8)),
    "strides that are not powers of two": (make_placeholders(), (7, 14, 28)),
    "never divided by the strides": (
        make_placeholders() * np.asarray([8, 16, 32], np.float32)[:, None, None],
        (8, 16, 32),
    ),
    "NaN": (np.full((3, 3, 2), np.nan, np.float32), (8, 16, 32)),
    "infinite": (spoil(np.inf), (8, 16, 32)),
    "zeros": (np.zeros((3, 3, 2), np.float32), (8, 16, 32)),
    "negative": (-COCO, (8, 16, 32)),
    "one NaN": (spoil(np.nan, 1), (8, 16, 32)),
}


#: The grid is written after the anchors were replaced, in their order and times the strides, whatever they were before.
GRIDS = [
    ("3 a layer", "buffer"),
    ("largest stride first", "buffer"),
    ("strides that are not powers of two", "cache"),
    ("NaN", "cache"),
]


@pytest.mark.parametrize(("kind", "grid"), [*((kind, None) for kind in PLACEHOLDERS), *GRIDS])
def test_placeholder_anchors_match_nothing_and_are_replaced(backend, kind, grid, caplog):
    anchors_px, strides = PLACEHOLDERS[kind]
    model, detect = make_model(backend, anchors_px, strides, grid=grid)
    held, held_grid = detect.anchors, getattr(detect, "anchor_grid", None)
    check = check_anchors(make_dataset(n_images=10), model, raise_errors=True)
    assert check.replaced
    assert check.after.bpr > 0.98
    if kind not in ("infinite", "one NaN"):  # there, six and eight anchors are COCO's
        assert (check.before.bpr, check.before.aat, check.before.fitness) == (0, 0, 0)
    assert "placeholders or not sizes" in caplog.text
    assert detect.anchors is held
    now = backend.host(detect.anchors) * np.asarray(strides, np.float32)[:, None, None]
    assert np.isfinite(now).all()
    assert (now > 2).all()
    if grid == "buffer":
        assert detect.anchor_grid is held_grid
        np.testing.assert_allclose(backend.host(held_grid).reshape(now.shape), now, rtol=1e-6)
    if grid == "cache":
        np.testing.assert_allclose(backend.host(detect.anchor_grid[1])[0, :, 0, 0], now[1], rtol=1e-6)
    again = check_anchors(make_dataset(n_images=10), model, raise_errors=True)
    assert not again.replaced  # what was written counts as sizes


def test_one_anchor_that_is_not_a_size_leaves_the_score_to_the_others(backend):
    # eight of COCO's anchors fit these boxes well, but the ninth would make the loss NaN
    with_eight, _ = make_model(backend, spoil(np.nan, 1))
    without, _ = make_model(backend, spoil(1e-3, 1))
    found = [check_anchors(make_dataset(n_images=10), model, raise_errors=True) for model in (with_eight, without)]
    assert found[0].before == found[1].before
    assert found[0].before.is_good
    assert [check.replaced for check in found] == [True, False]


@pytest.mark.parametrize("method", ["direct", "kmeans"])
@pytest.mark.parametrize(
    "sizes",
    [
        [[0.2, 0.1]],
        [[0.2, 0.1]] * 20,
        [[0.0032, 0.002], [0.5, 0.5]],
        [[1e-4 * i, 1e-4] for i in range(1, 20)] + [[0.3, 0.2]],
    ],
)
def test_placeholders_are_replaced_if_there_are_few_sizes(backend, sizes, method):
    n_usable = sum(max(wh) * 640 >= 2 for wh in sizes)
    model, detect = make_model(backend, make_placeholders(), grid="buffer")
    few = SimpleNamespace(shapes=[[640, 640]], labels=[[[0, 0.5, 0.5, *wh] for wh in sizes]])
    check = check_anchors(few, model, raise_errors=True, method=method)
    assert check.replaced
    assert check.after.bpr == n_usable / len(sizes)
    assert check.after.n_boxes == len(sizes)
    now = backend.host(detect.anchors)
    assert np.isfinite(now).all()
    assert (now > 0).all()


@pytest.mark.parametrize(("rows", "why"), [([], "none of 0 boxes"), ([[0, 0.5, 0.5, 0.001, 0.001]], "none of 1 boxes")])
def test_placeholders_stay_if_nothing_can_be_fitted(backend, rows, why, caplog):
    model, detect = make_model(backend, make_placeholders(), grid="buffer")
    before = backend.host(detect.anchors).copy()
    assert check_anchors(SimpleNamespace(shapes=[[640, 640]], labels=[rows]), model) is None
    assert why in caplog.text
    assert "The anchors are unchanged." in caplog.text
    assert np.array_equal(backend.host(detect.anchors), before)


def test_few_sizes_are_an_error_for_a_model_with_anchors(backend, caplog):
    model, detect = make_model(backend, FAR_OFF)
    before = backend.host(detect.anchors).copy()
    assert check_anchors(SimpleNamespace(shapes=[[640, 640]], labels=[[[0, 0.5, 0.5, 0.2, 0.1]]]), model) is None
    assert "9 distinct" in caplog.text
    assert np.array_equal(backend.host(detect.anchors), before)


@pytest.mark.parametrize("columns", [15, 56])  # landmarks of faces, key points of people
def test_labels_of_more_columns_are_read_by_their_columns_3_and_4(backend, columns):
    five = make_dataset(n_images=10)
    rng = np.random.default_rng(1)
    wide = SimpleNamespace(
        shapes=five.shapes,
        labels=[np.concatenate([rows, rng.uniform(-1, 9, (len(rows), columns - 5))], axis=1) for rows in five.labels],
    )
    wide.labels[3][0, 5:] = np.nan  # a landmark that is not visible
    models = [make_model(backend, FAR_OFF)[0] for _ in range(2)]
    checks = [check_anchors(dataset, model, raise_errors=True) for dataset, model in zip((five, wide), models)]
    assert checks[0] == checks[1]
    assert checks[0].replaced
    assert np.array_equal(kmean_anchors(wide, 9, verbose=False), kmean_anchors(five, 9, verbose=False))


@pytest.mark.parametrize("columns", [5, 15, 56])
def test_a_data_set_may_hold_arrays_or_lists(columns):
    labels = np.random.default_rng(0).uniform(0.1, 0.5, (4, 6, columns)).astype(np.float32)
    shapes = np.asarray([[640, 480]] * 4)
    expected = from_dataset(SimpleNamespace(shapes=shapes, labels=list(labels))).wh
    for held_shapes, held_labels in (
        (shapes.tolist(), labels.tolist()),
        (tuple(map(tuple, shapes)), tuple(labels)),
        (shapes.astype(np.float64), labels),  # one array (M, k, columns)
        (shapes, np.asarray([*labels, None], object)[:4]),  # an array of arrays
    ):
        got = from_dataset(SimpleNamespace(shapes=held_shapes, labels=held_labels)).wh
        assert np.array_equal(got, expected)
    with_empty = SimpleNamespace(shapes=[*shapes, [640, 480], [640, 480]], labels=[*labels, [], np.zeros((0, columns))])
    assert np.array_equal(from_dataset(with_empty).wh, expected)


@pytest.mark.parametrize("rows", [np.ones((2, 4)), np.ones(5), np.ones((1, 2, 5))])
def test_labels_without_five_columns_are_refused_by_number(rows):
    with pytest.raises(ShapeError, match=r"\(k, 5 or more\): class, cx, cy, w, h; labels\[1\]"):
        from_dataset(SimpleNamespace(shapes=[[64, 64]] * 2, labels=[np.ones((1, 5)), rows]))


LINES = ("anchors/target", "Best Possible Recall (BPR)", "< 3 pixels in size")
SET_UP = {
    "nothing": "",
    "basicConfig": "logging.basicConfig()",
    "a handler at WARNING": "logging.basicConfig(); logging.getLogger().handlers[0].setLevel(logging.WARNING)",
    "a NullHandler": "logging.getLogger().addHandler(logging.NullHandler())",
    **{f"root at {level}": f"logging.basicConfig(level='{level}')" for level in ("DEBUG", "INFO", "WARNING", "ERROR")},
    "a logger of its own": "log = logging.getLogger('anchorlib'); log.propagate = False; "
    "log.setLevel('INFO'); log.addHandler(logging.StreamHandler())",
    "after the first call": "kmean_anchors(boxes, n=3, verbose=True); print('-' * 9, file=sys.stderr); "
    "logging.basicConfig(level='INFO')",
}


@pytest.mark.parametrize("how", SET_UP)
def test_each_line_is_seen_once_however_logging_is_set_up(how):
    code = (
        "import logging, sys, types; import numpy as np; from anchorlib.yolov5 import kmean_anchors\n"
        "labels = np.random.default_rng(0).uniform(0.1, 0.4, (50, 5)); labels[:4, 3] = 0.004\n"
        "boxes = types.SimpleNamespace(shapes=np.asarray([[640, 480]]), labels=[labels])\n"
        f"{SET_UP[how]}\n"
        "kmean_anchors(boxes, n=3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    shown = done.stderr.rpartition("-" * 9)[2]
    assert [shown.count(line) for line in LINES] == [1, 1, 1], shown
    assert done.stdout == ""


def test_the_level_of_our_own_logger_hides_the_lines(capsys):
    logger = logging.getLogger("anchorlib")
    before, level = logger.handlers[:], logger.level
    try:
        logger.setLevel(logging.ERROR)
        kmean_anchors(make_dataset(), 3)
        assert capsys.readouterr().err == ""
        assert logger.level == logging.ERROR
    finally:
        logger.setLevel(level)
        logger.handlers[:] = before


def test_an_error_is_seen_once_where_the_root_logger_shows_warnings():
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.WARNING)
    root.addHandler(handler)
    try:
        assert check_anchors(make_dataset(), SimpleNamespace()) is None
    finally:
        root.removeHandler(handler)
    assert stream.getvalue().count("has no model[-1]") >= 1
    assert stream.getvalue().count("The anchors are unchanged.") == 1


@pytest.mark.parametrize("small", [0, 1, 7])
def test_labels_of_less_than_three_pixels_are_counted(small, caplog):
    dataset = make_dataset()
    dataset.shapes[:] = 640
    dataset.labels[0][:small, 4] = 2.9 / 640
    dataset.labels[1][:, 3] = 3 / 640  # exactly 3 px is not less
    check_anchors(dataset, make_model(NUMPY, COCO)[0], raise_errors=True)
    found = [record for record in caplog.records if "< 3 pixels in size" in record.getMessage()]
    assert [record.levelname for record in found] == ["WARNING"] * bool(small)
    assert all(f"{small} of 400 labels are < 3 pixels in size" in record.getMessage() for record in found)


class Conv:
    pass


class YOLOLayer:
    def __init__(self, stride):
        self.anchors, self.stride, self.nc = np.ones((3, 2)), stride, 80


def detector():
    return make_model(NUMPY, COCO)[1]


DARKNET = SimpleNamespace(module_list=[Conv(), YOLOLayer(8), Conv(), YOLOLayer(16)])
NO_CLASSES = SimpleNamespace(module_list=[Conv(), SimpleNamespace(anchors=np.ones((3, 2)), stride=8)])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SimpleNamespace(model=[detector(), Conv()]), r"is a Conv without anchors.* in model\[0\] \(SimpleNamespace\)"),
        (SimpleNamespace(model=[Conv()]), r"is a Conv without anchors. No other module was found"),
        (DARKNET, r"a darknet model \(2 detection layers in module_list\).*fit DATA --out FILE.cfg"),
        (NO_CLASSES, r"no model\[-1\], where .* found in module_list\[1\] \(SimpleNamespace\)"),
        (SimpleNamespace(model=SimpleNamespace(model=[Conv(), detector()])), r" in model.model\[1\] \(SimpleNamespace"),
        (SimpleNamespace(head=detector()), r"has no model\[-1\], where the Detect module must be. No other"),
    ],
)
def test_a_detector_somewhere_else_is_named(model, message):
    for wrapped in (model, SimpleNamespace(module=model), SimpleNamespace(module=SimpleNamespace(module=model))):
        with pytest.raises(ModelError, match=message):
            check_anchors(make_dataset(), wrapped, raise_errors=True)


def test_the_loss_takes_a_darknet_model(grad_backend):
    # anchors in pixels and a stride in each layer of module_list: the loss is that of a Detect module
    anchors, strides, p, targets = small_case()
    usual = model_of(grad_backend, anchors, strides, 3)
    layers = [
        SimpleNamespace(anchors=grad_backend.array((layer * stride).astype(np.float32)), stride=stride, nc=3)
        for layer, stride in zip(anchors, strides)
    ]
    layers[1].anchors, layers[1].anchor_vec = (
        layers[1].anchors * 0,
        grad_backend.array(anchors[1]),
    )  # the latter is used
    darknet = SimpleNamespace(module_list=[Conv(), layers[0], Conv(), *layers[1:]], hyp=usual.hyp)
    for model in (darknet, SimpleNamespace(module=darknet, hyp=usual.hyp)):
        losses = [
            ComputeLoss(one)([grad_backend.array(layer) for layer in p], grad_backend.array(targets))
            for one in (model, usual)
        ]
        for got, expected in zip(*losses):
            assert np.array_equal(grad_backend.host(got), grad_backend.host(expected))


def test_what_the_message_proposes_works():
    model = SimpleNamespace(model=[make_model(NUMPY, FAR_OFF)[1], Conv()])
    assert check_anchors(make_dataset(), SimpleNamespace(model=[model.model[0]]), raise_errors=True).replaced


@pytest.mark.needs("torch")
def test_a_detector_inside_a_module_of_torch_is_named():
    from torch import nn

    detect = nn.Identity()
    detect.anchors, detect.stride = detector().anchors, detector().stride
    model = nn.Sequential()
    model.model = nn.Sequential(nn.Sequential(nn.ReLU(), detect), nn.ReLU())
    with pytest.raises(ModelError, match=r"is a ReLU without anchors\. Anchors were found in model\.0\.1 \(Identity\)"):
        check_anchors(make_dataset(), nn.DataParallel(model), raise_errors=True)


@pytest.mark.parametrize("grid", [None, "buffer", "list", "empty list", "placeholder"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_modules_of_a_framework_are_checked_and_put_in_order(grad_backend, grid, wrapped):
    model, detect = make_module(grad_backend, FAR_OFF, grid=grid, wrapped=wrapped)
    held = dict(detect.named_buffers())
    assert check_anchors(make_dataset(n_images=10), model, raise_errors=True).replaced
    assert all(held[name] is buffer for name, buffer in detect.named_buffers())
    assert list(model.state_dict()) == [f"{'module.' if wrapped else ''}model.1.{name}" for name in held]
    now = grad_backend.host(detect.anchors) * np.asarray([8, 16, 32], np.float32)[:, None, None]
    assert (now[0] < 200).all()  # the boxes are too small for the other layers
    if grid == "buffer":
        np.testing.assert_allclose(grad_backend.host(detect.anchor_grid)[:, 0, :, 0, 0], now, rtol=1e-6)
    if grid == "list":
        for entry, layer in zip(detect.anchor_grid, now):
            np.testing.assert_allclose(grad_backend.host(entry)[0, :, 0, 0], layer, rtol=1e-6)
    if grid in ("empty list", "placeholder"):
        assert not any(np.prod(entry.shape) > 1 for entry in detect.anchor_grid)
    _, reversed_ = make_module(grad_backend, COCO[::-1].copy(), grid=grid)
    assert check_anchor_order(reversed_)
    assert not check_anchor_order(reversed_)


def test_two_wrappers_are_opened(backend):
    model, _ = make_model(backend, FAR_OFF, wrapped=True)
    assert check_anchors(make_dataset(), SimpleNamespace(module=model), raise_errors=True).replaced
