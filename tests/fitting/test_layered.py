import pickle

import numpy as np
import pytest
from helpers.text_lines import draw_text_lines

from anchorlib import BoxSizes, crowding, fit_anchors, score
from anchorlib.errors import BadValueError
from anchorlib.fitting import direct, layered
from anchorlib.fitting.layer_values import RESOLVED, LayerBounds
from anchorlib.layers import layers_disagree, mean_areas

COCO = np.asarray([10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326], np.float32)
COCO = COCO.reshape(9, 2)
STRIDES = [8, 16, 32]


def draw_sizes(n, low, high, seed=0):
    """Return sizes over a range on a logarithmic scale, of all shapes."""
    rng = np.random.default_rng(seed)
    return np.exp(rng.uniform(np.log(low), np.log(high), (n, 2))).astype(np.float32)


def split(fit):
    return np.split(np.asarray(fit.anchors), np.cumsum(fit.counts)[:-1])


def worth(boxes, layers, strides, thr=4.0, objective="ratio"):
    """Return the mean over the boxes of the best value times what the layer resolves, by plain float64 loops."""
    values = []
    for w, h in np.asarray(boxes, np.float64):
        best = 0.0
        for layer, stride in zip(layers, strides):
            share = min(1.0, min(w, h) / (RESOLVED * stride))
            for a, b in np.asarray(layer, np.float64):
                ratio = min(w / a, a / w, h / b, b / h)
                inter = min(w, a) * min(h, b)
                value = (ratio if ratio > 1 / thr else 0.0) if objective == "ratio" else inter / (w * h + a * b - inter)
                best = max(best, share * value)
        values.append(best)
    return float(np.mean(values))


LAYOUTS = [
    ([3, 3, 3], STRIDES),
    ([2, 3], [16, 32]),
    ([1, 2, 4], STRIDES),
    ([2, 2, 2, 2], [4, 8, 16, 32]),
    ([3, 3, 3, 3], [8, 16, 32, 64]),
    ([1, 2, 1, 2, 1], [4, 8, 16, 32, 64]),
    ([5], [32]),
]


@pytest.mark.parametrize(("counts", "strides"), LAYOUTS)
@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_every_order_of_boxes_and_every_layout_gives_the_same_bits(counts, strides, objective):
    boxes = draw_sizes(400, 2, 90)
    fit = fit_anchors(boxes, counts, strides=strides, objective=objective)
    assert fit.counts == tuple(counts)
    assert fit.strides == tuple(map(float, strides))
    again = fit_anchors(boxes[::-1], counts, strides=strides, objective=objective)
    assert np.array_equal(fit.anchors, again.anchors)
    unique, repeats = np.unique(boxes, axis=0, return_counts=True)
    merged = fit_anchors(unique, counts, strides=strides, objective=objective, weights=repeats)
    assert np.array_equal(fit.anchors, merged.anchors)
    layers = split(fit)
    assert all((np.diff(layer.astype(np.float64).prod(axis=1)) >= 0).all() for layer in layers)
    assert not layers_disagree(mean_areas(layers), strides)
    plain = split(fit_anchors(boxes, counts, objective=objective))
    ours, theirs = (worth(boxes, one, strides, objective=objective) for one in (layers, plain))
    assert ours >= theirs - 1e-3 - layered.NEEDED * len(fit.idle_layers)


def test_backends_give_the_same_bits(backend, path):
    boxes = draw_sizes(300, 2, 60, seed=1)
    fit = fit_anchors(backend.array(boxes), [3, 3, 3], strides=STRIDES)
    assert np.array_equal(backend.host(fit.anchors), fit_anchors(boxes, [3, 3, 3], strides=STRIDES).anchors)
    assert fit.score == score(boxes, backend.host(fit.anchors))


def test_boxes_that_every_layer_resolves_are_fitted_as_without_strides():
    boxes = draw_sizes(500, 17, 400)
    fit = fit_anchors(boxes, strides=STRIDES)
    assert np.array_equal(fit.anchors, fit_anchors(boxes).anchors)
    assert fit.idle_layers == ()


def test_tiny_boxes_leave_the_coarse_layers_idle_and_no_box_matches_there():
    boxes = draw_sizes(500, 2, 4)
    fit = fit_anchors(boxes, 9, strides=[8, 32, 128])
    assert 2 in fit.idle_layers
    fine, _, coarse = split(fit)
    assert score(boxes, coarse).aat == 0
    assert score(boxes, fine).bpr == 1
    kept = fit_anchors(boxes, 9, strides=[8, 32, 128], start=COCO)
    assert 2 in kept.idle_layers
    assert np.array_equal(split(kept)[2], COCO[6:])  # the anchors of the start do no harm there
    harmful = np.concatenate([COCO[:6], [[2, 2], [3, 3], [4, 4]]])
    assert score(boxes, split(fit_anchors(boxes, 9, strides=[8, 32, 128], start=harmful))[2]).aat == 0


def draw_dots(n_images, seed=0):
    """Return boxes of 9 px, about 12 px apart, with centres: large enough for stride 16, but too many."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(np.arange(20, 180, 12.0), np.arange(20, 180, 12.0)), axis=-1).reshape(-1, 2)
    images = [corners + rng.uniform(-3, 3, corners.shape) for _ in range(n_images)]
    boxes = [np.concatenate([one, one + rng.uniform(8.5, 9.5, one.shape)], axis=1) for one in images]
    return BoxSizes.from_boxes(boxes, [192, 192], imgsz=192, centres=True)


def test_a_layer_that_loses_half_of_its_targets_is_given_up_if_centres_are_known():
    boxes = draw_dots(5)
    by_area = fit_anchors(boxes.wh, 9).anchors
    fit = fit_anchors(boxes, 9, strides=STRIDES)
    assert crowding(boxes, by_area.reshape(3, 3, 2), STRIDES).layers[1].share_overwritten > layered.MOST_OVERWRITTEN
    assert fit.idle_layers == (1, 2)
    assert [layer.rows for layer in crowding(boxes, split(fit), STRIDES).layers[1:]] == [0, 0]
    assert fit.score.bpr == 1
    assert 1 not in fit_anchors(boxes.wh, 9, strides=STRIDES).idle_layers  # the sizes do not tell
    assert fit.crowding.to_dict() == crowding(boxes, split(fit), STRIDES).to_dict()
    assert pickle.loads(pickle.dumps(fit)).crowding is None  # the boxes are not pickled
    assert fit_anchors(boxes.wh, 9, strides=STRIDES).crowding is None
    again = fit_anchors(boxes, 9, strides=STRIDES, start=fit.anchors)
    assert again.idle_layers == (1, 2)
    assert again.score.fitness >= fit.score.fitness - 1e-3


def test_the_crowding_of_a_layer_is_asked_for_with_its_own_anchors():
    boxes, asked = draw_sizes(200, 20, 300), {}
    fit = layered.search_in_layers(boxes, [1, 2, 1], STRIDES, overwritten=lambda *given: asked.update([given]) or 0.0)
    layers = np.split(fit.anchors, [1, 3])
    assert {layer: anchors.tolist() for layer, anchors in asked.items()} == {
        layer: layers[layer].tolist()
        for layer in (1, 2)  # the finest layer is never given up
    }


def test_text_lines_get_no_anchor_on_the_coarsest_layer():
    boxes = draw_text_lines(10)
    fit = fit_anchors(boxes.wh, 9, strides=STRIDES)
    assert fit.idle_layers == (2,)
    assert crowding(boxes, split(fit), STRIDES).layers[2].rows == 0
    assert fit.score.bpr > 0.999


def test_crowded_boxes_do_not_depend_on_their_order():
    boxes = draw_dots(5)
    corners = np.concatenate([boxes.centres - boxes.wh / 2, boxes.centres + boxes.wh / 2], axis=1)
    images = [corners[boxes.image_index == i][::-1] for i in reversed(range(5))]
    turned = BoxSizes.from_boxes(images, [192, 192], imgsz=192, centres=True)
    one, other = (
        fit_anchors(each, 9, strides=STRIDES)
        for each in (
            turned,
            BoxSizes.from_boxes([image[::-1] for image in images[::-1]], [192, 192], imgsz=192, centres=True),
        )
    )
    assert np.array_equal(one.anchors, other.anchors)
    assert one.idle_layers == other.idle_layers == (1, 2)


def test_fixed_anchors_stay_in_their_layers():
    boxes = draw_sizes(400, 2, 60)
    fixed = np.asarray([[9.5, 11.25], [70, 75]], np.float32)
    by_area = split(fit_anchors(boxes, [3, 3, 3], fixed=fixed))
    layers = split(fit_anchors(boxes, 9, strides=STRIDES, fixed=fixed))
    for anchor in fixed.tolist():
        assert [anchor in layer.tolist() for layer in layers] == [anchor in layer.tolist() for layer in by_area]
    start = COCO.copy()
    start[4] = fixed[0]
    layers = split(fit_anchors(boxes, 9, strides=STRIDES, fixed=fixed[:1], start=start))
    assert fixed[0].tolist() in layers[1].tolist()


def test_least_sides_are_those_of_the_layer():
    boxes = draw_sizes(400, 2, 60)
    layers = split(fit_anchors(boxes, 9, strides=[8, 32, 128], min_side=[3, 10, 20]))
    assert [bool((layer >= side).all()) for layer, side in zip(layers, (3, 10, 20))] == [True] * 3


def test_fixed_anchors_may_be_smaller_than_the_least_side():
    bounds = LayerBounds(np.array([True, False, True]), np.float32([5, 5, 9]))
    assert bounds.allow(np.float32([[5, 6], [1, 1], [9, 9]]))
    assert not bounds.allow(np.float32([[5, 4], [1, 1], [9, 9]]))
    assert not bounds.allow(np.float32([[9, 9], [9, 9], [5, 6]]))  # by layer, not by rank of area


def test_start_is_kept_if_nothing_better_is_found():
    boxes = draw_sizes(400, 2, 60)
    first = fit_anchors(boxes, 9, strides=STRIDES)
    again = fit_anchors(boxes, 9, strides=STRIDES, start=first.anchors)
    assert again.score.fitness >= first.score.fitness - 1e-6
    third = fit_anchors(boxes, 9, strides=STRIDES, start=again.anchors)
    assert third.score.fitness >= again.score.fitness - 1e-6


def test_the_layered_search_is_better_than_a_cut_by_area_where_layers_are_too_coarse(monkeypatch):
    rng = np.random.default_rng(3)
    boxes = np.stack([np.exp(rng.uniform(2, 5, 300)), rng.uniform(2, 9, 300)], axis=1).astype(np.float32)
    strides = [8, 32, 128]
    found = layered.search_in_layers(boxes, [3, 3, 3], strides)
    plain = direct.search(boxes, 9).anchors.reshape(3, 3, 2)
    assert worth(boxes, found.anchors.reshape(3, 3, 2), strides) > worth(boxes, plain, strides) + 0.05


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strides": [8, 16]}, "multiple of the 2 strides"),
        ({"strides": [8, 16], "n": [3, 3, 3]}, "one number for each"),
        ({"strides": [16, 8, 32]}, "ascending"),
        ({"strides": [0, 8, 16]}, "ascending"),
        ({"strides": []}, "ascending"),
        ({"strides": [8, float("nan"), 32]}, "ascending"),
        ({"strides": STRIDES, "method": "kmeans"}, "no meaning for method 'kmeans'"),
        ({"strides": STRIDES, "method": "evolve"}, "no meaning for method 'evolve'"),
    ],
)
def test_wrong_strides(options, text):
    with pytest.raises(BadValueError, match=text):
        fit_anchors(draw_sizes(50, 2, 60), **options)
