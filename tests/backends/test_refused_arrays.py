"""Arrays that are not what they seem are refused by name before any work, or computed with correctly."""

import numpy as np
import pytest

import anchorlib
from anchorlib import backends
from anchorlib.errors import ArrayTypeError, ShapeError

BOXES = np.asarray([[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]])
ANCHORS = np.asarray([[10.0, 20.0], [40.0, 50.0]])
MASKED = np.ma.masked_array(BOXES, [[False] * 2, [True] * 2, [False] * 2])

NUMPY = {
    "masked": (MASKED, "is a masked array"),
    "complex": (BOXES * 1j, "has dtype complex128"),
    "text": (BOXES.astype(str), "has dtype <U"),
    "objects": (BOXES.astype(object), "has dtype object"),
    "times": (BOXES.astype("m8[s]"), "has dtype timedelta64"),
    "records": (np.zeros(3, "f4, f4"), "has dtype"),
}


def torch_cases():
    import torch

    boxes = torch.tensor(BOXES, dtype=torch.float32)
    yield "is sparse", boxes.to_sparse()
    yield "is sparse", boxes.to_sparse_csr()
    yield "is on the meta device", boxes.to("meta")
    from torch._subclasses.fake_tensor import FakeTensorMode

    yield "is symbolic, without values: call this outside of traced code", FakeTensorMode().from_tensor(boxes)
    yield "has dtype torch.complex64", boxes * 1j
    yield "is quantised", torch.quantize_per_tensor(boxes, 0.5, 0, torch.qint8)
    if hasattr(torch, "nested"):
        yield "is a nested tensor", torch.nested.nested_tensor([boxes, boxes[:2]])
    if hasattr(torch, "jagged"):
        yield "is a nested tensor", torch.nested.nested_tensor([boxes, boxes[:2]], layout=torch.jagged)


def calls(array, anchors):
    """Public functions of every part that take box sizes."""
    yield lambda: anchorlib.score(array, anchors)
    yield lambda: anchorlib.size_ratio(array, anchors)
    yield lambda: anchorlib.wh_iou(array, anchors)
    yield lambda: anchorlib.fit_anchors(array, 2)
    yield lambda: anchorlib.kmeans(array, 2)
    yield lambda: anchorlib.evolve(array, anchors, generations=2)
    yield lambda: anchorlib.fit_curve(array, [1, 2])
    yield lambda: anchorlib.box_iou_pairs(array, array)
    yield lambda: anchorlib.build_targets(array, [anchors], [(4, 4)])
    yield lambda: backends.convert(array, backend="numpy")


@pytest.mark.filterwarnings("ignore")  # torch about its prototypes
@pytest.mark.parametrize("kind", NUMPY)
def test_numpy_arrays_of_other_kinds_are_refused(kind):
    array, reason = NUMPY[kind]
    for call in calls(array, ANCHORS):
        with pytest.raises(ArrayTypeError, match=f"^[a-z_0-9]+ {reason}"):
            call()


@pytest.mark.filterwarnings("ignore")
def test_a_numpy_matrix_is_refused():
    matrix = np.matrix(BOXES)
    for call in calls(matrix, ANCHORS):
        with pytest.raises(ArrayTypeError, match="is a numpy.matrix"):
            call()


@pytest.mark.needs("torch")
@pytest.mark.filterwarnings("ignore")
def test_torch_tensors_of_other_kinds_are_refused():
    for reason, tensor in torch_cases():
        for call in calls(tensor, backends.load("torch").asarray(ANCHORS)):
            with pytest.raises(ArrayTypeError, match=reason):
                call()


@pytest.mark.parametrize("weights", [np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]), np.asarray([1, 1j, 1])])
def test_weights_of_other_kinds_are_refused(weights):
    reason = "weights (is a masked array|has dtype complex128)"
    with pytest.raises(ArrayTypeError, match=reason):
        anchorlib.score(BOXES, ANCHORS, weights=weights)
    with pytest.raises(ArrayTypeError, match=reason):
        anchorlib.kmeans(BOXES, 2, weights=weights)


@pytest.mark.parametrize("rows", [[["10", "20"]], [["10", 20]], list(MASKED), [[1 + 0j, 2]], [b"1", b"2"]])
def test_lists_of_texts_or_masked_arrays_are_refused(rows):
    with pytest.raises(ShapeError, match="boxes_wh must be numbers"):
        anchorlib.score(rows, ANCHORS)


@pytest.mark.needs("torch")
def test_a_tensor_with_the_negative_bit_has_its_values():
    import torch

    boxes = torch.complex(torch.zeros(3, 2), -torch.tensor(BOXES, dtype=torch.float32)).conj().imag
    assert boxes.is_neg()
    plain = boxes.resolve_neg()
    assert not plain.is_neg()
    anchors = torch.tensor(ANCHORS, dtype=torch.float32)
    assert anchorlib.score(boxes, anchors) == anchorlib.score(plain, anchors)
    assert torch.equal(anchorlib.kmeans(boxes, 2), anchorlib.kmeans(plain, 2))
    assert torch.equal(anchorlib.wh_iou(boxes, anchors), anchorlib.wh_iou(plain, anchors))


@pytest.mark.needs("oneflow")
def test_a_global_tensor_is_refused():
    import oneflow as flow

    boxes = flow.tensor(BOXES.tolist(), placement=flow.placement("cpu", ranks=[0]), sbp=flow.sbp.broadcast)
    for call in calls(boxes, flow.tensor(ANCHORS.tolist())):
        with pytest.raises(ArrayTypeError, match="is a global tensor"):
            call()


@pytest.mark.needs("torch")
def test_a_placeholder_of_a_trace_is_named():
    import torch

    class Fit(torch.nn.Module):
        def forward(self, boxes):
            return anchorlib.fit_anchors(boxes, 2).anchors

    with pytest.raises(ArrayTypeError) as raised:
        torch.fx.symbolic_trace(Fit())
    reason = "It is symbolic, without values: call this outside of traced code, or pass a tensor with values."
    assert str(raised.value).endswith(f"; expected numpy.ndarray, torch.Tensor or oneflow.Tensor. {reason}")


@pytest.mark.parametrize("views", [True, False])
def test_sizes_with_gradient_cause_no_warning(grad_backend, views, recwarn):
    boxes, anchors = (grad_backend.array(np.asarray(x, np.float32)).requires_grad_() for x in (BOXES, ANCHORS))
    with backends.host_views(views):
        assert anchorlib.score(boxes, anchors).n_boxes == 3
        anchorlib.fit_anchors(boxes, 2, start=anchors)
        anchorlib.fit_curve(boxes, [1, 2])
    assert [str(warning.message) for warning in recwarn] == []
