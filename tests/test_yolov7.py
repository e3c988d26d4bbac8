import json
from pathlib import Path

import numpy as np
import pytest
from helpers.loss_cases import logits_of, model_of

from anchorlib.yolov7 import ComputeLossAuxOTA, ComputeLossOTA

GOLDEN = Path(__file__).parent / "data/golden"
RECORDED = sorted([*GOLDEN.glob("ota_*.npz"), *GOLDEN.glob("aux_*.npz")])
CELL = ("image", "anchor", "gj", "gi")


def images(backend, n, height=64, width=64):
    return backend.array(np.zeros((n, 3, height, width), np.float32))


def recorded_loss(backend, data, aux):
    hyp, options = json.loads(str(data["hyp"])), json.loads(str(data["options"]))
    strides = data["stride"]
    model = model_of(backend, data["anchors_px"] / strides[:, None, None], strides, int(data["nc"]), hyp)
    model.gr = options.get("gr", 1.0)
    return (ComputeLossAuxOTA if aux else ComputeLossOTA)(model, autobalance=options.get("autobalance", False))


def assert_recorded(backend, lists, data, prefix):
    for i in range(len(data["stride"])):
        image, anchor, gj, gi, rows, anchor_wh = (backend.host(column[i]) for column in lists)
        cells = np.stack([image, anchor, gj, gi])
        assert cells.dtype == np.int64
        assert np.array_equal(cells, data[f"{prefix}indices_{i}"])
        assert np.array_equal(rows, data[f"{prefix}targets_{i}"])
        assert np.array_equal(anchor_wh, data[f"{prefix}anch_{i}"])


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_the_losses_meet_the_recordings(backend, path, recorded):
    data = np.load(recorded)
    aux = recorded.stem.startswith("aux")
    compute_loss = recorded_loss(backend, data, aux)
    p = logits_of(backend, [data[f"p_{i}"] for i in range(len(data["stride"]) * (2 if aux else 1))])
    targets = backend.array(data["targets"])
    imgs = images(backend, p[0].shape[0], int(data["imgsz"]), int(data["imgsz"]))
    assert_recorded(backend, compute_loss.build_targets(p, targets, imgs), data, "")
    if aux:
        assert_recorded(backend, compute_loss.build_aux_targets(p, targets, imgs), data, "aux_")

    loss, items = compute_loss(p, targets, imgs)
    assert backend.host(loss).dtype == np.float32
    np.testing.assert_allclose(backend.host(loss), data["loss"], rtol=2e-6)
    np.testing.assert_allclose(backend.host(items), data["items"], rtol=2e-6)
    np.testing.assert_allclose(compute_loss.balance, data["balance"], rtol=2e-6)
    if backend.name == "numpy":
        return
    loss.sum().backward()
    for i, layer in enumerate(p):
        expected = data[f"grad_{i}"]
        np.testing.assert_allclose(backend.host(layer.grad), expected, rtol=0, atol=5e-6 * abs(expected).max())


def test_all_recordings_are_there():
    assert len(RECORDED) == 14
