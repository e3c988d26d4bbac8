"""Every public function on what nobody hopes for: a documented result or a documented error, the same everywhere.

Shapes, dtypes, layouts in memory and values are drawn by hypothesis. What NumPy answers to a contiguous copy is what
every backend answers to any layout, and no input is written to.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import anchorlib
from anchorlib import boxes, yolov2, yolov5
from anchorlib.backends import BackendError
from anchorlib.errors import AnchorlibError

DTYPES = ("int32", "int64", "float16", "float32", "float64")
LAYOUTS = ("as it is", "every second row", "reversed", "transposed")
ANCHORS = np.asarray([[10, 13], [33, 23], [116, 90]], np.float32)
GRID_ANCHORS = np.stack([ANCHORS / 8, ANCHORS / 16])
EXTREME = [0.0, -0.0, 1.0, -1.0, 0.5, 300.0, 640.0, 2.0**-140, 2.0**-24, 2.0**100, 65504.0, -3.0]
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]


class Edge(NamedTuple):
    """A function of arrays: the columns of each, and how far backends may differ."""

    function: Any
    columns: tuple[int, ...]
    rtol: float = 0.0
    same_length: bool = False
    signs: bool = True  # are sides below 0 drawn, too?


def pairs(kind, form):
    return lambda a, b: anchorlib.box_iou_pairs(a, b, kind=kind, form=form)


def like(array, values):
    return anchorlib.backends.convert(values, like=array)


EDGES = {
    # 0 / -1 is -0.0, and whether it is below 0.0 is each framework's own: so 1 over it is either infinity.
    "size_ratio": Edge(anchorlib.size_ratio, (2, 2), signs=False),
    "wh_iou": Edge(anchorlib.wh_iou, (2, 2)),
    "yolov5.wh_iou": Edge(yolov5.wh_iou, (2, 2)),
    **{
        f"box_iou_pairs {kind} {form}": Edge(pairs(kind, form), (4, 4), 1e-3 if kind == "ciou" else 1e-6, True)
        for kind in ("iou", "giou", "diou", "ciou")
        for form in ("cxcywh", "xyxy")
    },
    "bbox_iou": Edge(yolov5.bbox_iou, (4, 4), 1e-6, True),
    "box_iou": Edge(boxes.box_iou, (4, 4)),
    "xyxy_to_cxcywh": Edge(boxes.xyxy_to_cxcywh, (4,)),
    "cxcywh_to_xyxy": Edge(boxes.cxcywh_to_xyxy, (4,)),
    "xyxy_to_wh": Edge(boxes.xyxy_to_wh, (4,)),
    "drop_degenerate": Edge(boxes.drop_degenerate, (2,)),
    "score": Edge(lambda wh, anchors: anchorlib.score(wh, anchors), (2, 2)),
    "kmeans": Edge(lambda wh: anchorlib.kmeans(wh, 2), (2,)),
    "evolve": Edge(lambda wh, anchors: anchorlib.evolve(wh, anchors, generations=3), (2, 2)),
    "fit_anchors": Edge(lambda wh: anchorlib.fit_anchors(wh, 2).anchors, (2,)),
    "build_targets": Edge(
        lambda t: anchorlib.build_targets(t, like(t, GRID_ANCHORS), [(8, 8), (4, 4)], validate=True), (6,)
    ),
    "yolov2.build_targets": Edge(
        lambda rows: yolov2.build_targets([rows], like(rows, ANCHORS / 32), input_size=64)[:1], (5,), 1e-3
    ),
}


def listed(result):
    """The arrays and numbers of a result, one after another."""
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in listed(part)]
    if isinstance(result, anchorlib.AnchorScore):
        return list(vars(result).values())
    return [result]


def outcome(function, arrays):
    """What comes out: NumPy arrays and numbers, or the error's class."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = function(*arrays)
        except (AnchorlibError, BackendError) as error:
            return type(error)
    leaves = listed(result)
    is_number = [isinstance(leaf, (int, float)) for leaf in leaves]
    return [
        np.asarray(leaf) if number else anchorlib.backends.namespace_of(leaf).to_numpy(leaf)
        for leaf, number in zip(leaves, is_number)
    ]


def laid_out(backend, host, layout):
    """The values on the backend, in this layout; and the memory around them."""
    if layout == "every second row":
        base = backend.array(np.repeat(host, 2, axis=0))
        return base[::2], base
    if layout == "transposed":
        base = backend.array(np.ascontiguousarray(host.T))
        return base.T, base
    if layout == "reversed" and backend.name == "numpy":  # the others have no negative strides
        base = backend.array(host[::-1])
        return base[::-1], base
    base = backend.array(host)
    return base, base


def assert_same(found, expected, rtol):
    if isinstance(expected, type):
        assert found is expected, found
        return
    assert not isinstance(found, type), found
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        with np.errstate(all="ignore"):
            rough = max(rtol, 2e-3 if one.dtype == np.float16 and rtol else 0.0)
            np.testing.assert_allclose(one, other, rtol=rough, atol=rough)


def rows_of(data, dtype, n_rows, n_columns):
    if dtype.startswith("int"):
        elements = st.integers(-3, 700)
    else:
        top = float(np.finfo(dtype).max)
        with np.errstate(over="ignore"):
            pool = [value for value in [*EXTREME, top, -top] if float(np.asarray(value).astype(dtype)) == value]
        sane = st.sampled_from([1.0, 2.0, 4.0, 0.5, 20.0, 300.0])
        chance = data.draw(st.integers(0, 3))  # whole arrays of good values, too
        elements = sane if chance == 0 else sane | st.sampled_from(pool + (NOT_FINITE if chance == 3 else []))
    return data.draw(hnp.arrays(dtype, (n_rows, n_columns), elements=elements))


@pytest.mark.parametrize("name", EDGES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_values_give_what_numpy_gives(backend, name, data):
    edge = EDGES[name]
    dtype = data.draw(st.sampled_from(DTYPES if backend.name != "oneflow" else [d for d in DTYPES if d != "float16"]))
    lengths = data.draw(st.lists(st.integers(0, 5), min_size=len(edge.columns), max_size=len(edge.columns)))
    hosts = [
        rows_of(data, dtype, lengths[0] if edge.same_length else length, columns)
        for length, columns in zip(lengths, edge.columns)
    ]
    hosts = hosts if edge.signs else [np.abs(host) for host in hosts]
    expected = outcome(edge.function, [host.copy() for host in hosts])
    layouts = [data.draw(st.sampled_from(LAYOUTS)) for _ in hosts]
    given_arrays = [laid_out(backend, host, layout) for host, layout in zip(hosts, layouts)]
    before = [backend.host(base).tobytes() for _, base in given_arrays]
    found = outcome(edge.function, [array for array, _ in given_arrays])
    assert_same(found, expected, edge.rtol)
    assert [backend.host(base).tobytes() for _, base in given_arrays] == before


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("shape", [(), (3,), (3, 3), (2, 2, 2), (0,)], ids=str)
def test_a_wrong_shape_is_a_shape_error(backend, name, shape):
    edge = EDGES[name]
    arrays = [backend.array(np.ones(shape, np.float32)) for _ in edge.columns]
    with pytest.raises(anchorlib.errors.ShapeError):
        edge.function(*arrays)


@pytest.mark.parametrize("name", EDGES)
def test_what_is_no_array_is_an_array_type_error(name):
    with pytest.raises(anchorlib.errors.ArrayTypeError):
        EDGES[name].function(*[[[1.0] * columns] for columns in EDGES[name].columns])


@pytest.mark.parametrize("name", EDGES)
def test_two_threads_at_once_give_what_one_gives(backend, name):
    edge = EDGES[name]
    rng = np.random.default_rng(0)
    work = []
    for _ in range(8):
        hosts = [rng.uniform(0.1, 0.9, (40, columns)).astype(np.float32) * 8 for columns in edge.columns]
        if name.endswith("build_targets"):
            hosts[0][:, :2] = np.floor(hosts[0][:, :2])
            hosts[0][:, -4:] /= 8
        work.append([backend.array(host) for host in hosts])
    alone = [outcome(edge.function, arrays) for arrays in work]
    assert not any(isinstance(one, type) for one in alone)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda arrays: outcome(edge.function, arrays), work))
    for one, other in zip(together, alone):
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other))


@pytest.mark.needs("torch")
@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_iou_of_boxes_of_300_pixels_is_a_number_in_16_bits(kind, dtype):
    """Areas of 90000 are infinite in float16, and their quotient was NaN."""
    xp = anchorlib.backends.load("torch")
    for wrap in (np.asarray, xp.from_numpy):
        one = wrap(np.asarray([[0, 0, 300, 300]], dtype))
        two = wrap(np.asarray([[0, 0, 300, 150]], dtype))
        found = anchorlib.box_iou_pairs(one, two, kind=kind, form="xyxy")
        assert found.dtype == one.dtype
        expected = anchorlib.box_iou_pairs(*[np.asarray(x, np.float64) for x in (one, two)], kind=kind, form="xyxy")
        assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-3)
        assert float(anchorlib.wh_iou(one[:, 2:], two[:, 2:])[0, 0]) == pytest.approx(0.5, rel=1e-3)
        assert float(yolov5.wh_iou(one[:, 2:], two[:, 2:])[0, 0]) == pytest.approx(0.5, rel=1e-3)
        assert float(boxes.box_iou(one, two)[0, 0]) == pytest.approx(0.5, rel=1e-3)


def test_ciou_of_a_box_without_a_size_is_a_number_and_so_is_its_gradient(grad_backend):
    """0 / 0 was taken as its ratio of sides."""
    one = grad_backend.array(np.asarray([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 2.0, 0.0]])).requires_grad_()
    two = grad_backend.array(np.asarray([[1.0, 1.0, 2.0, 2.0]] * 2))
    found = anchorlib.box_iou_pairs(one, two, kind="ciou")
    found.sum().backward()
    assert np.isfinite(grad_backend.host(found.detach())).all()
    assert np.isfinite(grad_backend.host(one.grad)).all()
