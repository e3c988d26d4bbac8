"""Call every public function with extreme input: a documented result or error, the same on every backend."""

import numpy as np
import pytest
from helpers.edge_checks import NUMPY, check_any_values, check_no_array, check_two_threads, check_wrong_shape
from helpers.edge_tables import ARRAYS, HOST, LOSSES
from hypothesis import given, settings
from hypothesis import strategies as st

import anchorlib
from anchorlib import boxes, yolov5

ON_BACKENDS = {**ARRAYS, **LOSSES}
WITH_A_SHAPE = [name for name, edge in ON_BACKENDS.items() if len(edge.parts) > 1 or edge.parts[0].shape is not ...]
SHAPES = [(), (3,), (3, 3), (2, 2, 2), (0,)]


@pytest.mark.parametrize("name", ON_BACKENDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_values_give_what_numpy_gives(backend, name, data):
    check_any_values(backend, ON_BACKENDS[name], data)


@pytest.mark.parametrize("name", HOST)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_layout_gives_what_a_copy_gives(name, data):
    check_any_values(NUMPY, HOST[name], data)


@pytest.mark.parametrize("name", WITH_A_SHAPE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_wrong_shape_is_refused(backend, name, shape):
    check_wrong_shape(backend, ON_BACKENDS[name], shape)


@pytest.mark.parametrize("name", HOST)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_wrong_shape_on_the_host_is_refused(name, shape):
    check_wrong_shape(NUMPY, HOST[name], shape)


@pytest.mark.parametrize("name", ON_BACKENDS)
def test_what_is_no_array_is_an_array_type_error(name):
    check_no_array(ON_BACKENDS[name])


@pytest.mark.parametrize("name", ON_BACKENDS)
def test_two_threads_at_once_give_what_one_gives(backend, name):
    check_two_threads(backend, ON_BACKENDS[name])


@pytest.mark.parametrize("name", HOST)
def test_two_threads_on_the_host_give_what_one_gives(name):
    check_two_threads(NUMPY, HOST[name])


@pytest.mark.needs("torch")
@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_iou_of_boxes_of_300_pixels_is_a_number_in_16_bits(kind, dtype):
    """Areas of 90,000 px are infinite in float16, and their quotient was NaN."""
    xp = anchorlib.backends.load("torch")
    for wrap in (np.asarray, xp.from_numpy):
        one = wrap(np.asarray([[0, 0, 300, 300]], dtype))
        two = wrap(np.asarray([[0, 0, 300, 150]], dtype))
        found = anchorlib.box_iou_pairs(one, two, kind=kind, format="xyxy")
        assert found.dtype == one.dtype
        expected = anchorlib.box_iou_pairs(*[np.asarray(x, np.float64) for x in (one, two)], kind=kind, format="xyxy")
        assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-3)
        assert float(anchorlib.wh_iou(one[:, 2:], two[:, 2:])[0, 0]) == pytest.approx(0.5, rel=1e-3)
        assert float(yolov5.wh_iou(one[:, 2:], two[:, 2:])[0, 0]) == pytest.approx(0.5, rel=1e-3)
        assert float(boxes.box_iou(one, two)[0, 0]) == pytest.approx(0.5, rel=1e-3)


def test_ciou_of_a_box_without_a_size_is_a_number_and_so_is_its_gradient(grad_backend):
    """The ratio of the sides was 0 / 0."""
    one = grad_backend.array(np.asarray([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 2.0, 0.0]])).requires_grad_()
    two = grad_backend.array(np.asarray([[1.0, 1.0, 2.0, 2.0]] * 2))
    found = anchorlib.box_iou_pairs(one, two, kind="ciou")
    found.sum().backward()
    assert np.isfinite(grad_backend.host(found.detach())).all()
    assert np.isfinite(grad_backend.host(one.grad)).all()
