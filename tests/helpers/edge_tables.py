"""List every public function of arrays with its arguments; the first word of a key is its name.

ARRAYS run on every backend, HOST takes NumPy arrays. A public function that is in neither is in test_all_are_here.py.
"""

from __future__ import annotations

import os
import tempfile
from types import SimpleNamespace

import numpy as np

import anchorlib
from anchorlib import backends, boxes, datasets, modelfiles, scale, training, yolov2, yolov5, yolov7
from anchorlib.errors import DatasetError, ModelError, ShapeError
from anchorlib.yolov5 import segment
from helpers.edge_checks import Edge, Part
from helpers.loss_cases import HYP

ANCHORS = np.asarray([[10, 13], [33, 23], [116, 90]], np.float32)
GRID_ANCHORS = np.stack([ANCHORS / 8, ANCHORS / 16])

SHARES = (0.0, 0.1, 0.3, 0.5, 0.55, 0.9)
SOME = (0.1, 0.3, 0.5, 0.9)
LOGITS = (0.0, -1.5, 0.25, 2.0, -8.0)
TARGETS = ((0, 1), (0, 1), SOME, SOME, SOME, SOME)

WH, XYXY, CXCYWH = (Part(("N", columns)) for columns in (2, 4, 4))
ANCHORS_WH = Part(("K", 2))
LABELS = Part(("n", 5), ((0, 1, 7), SOME, SOME, SOME, SOME))


def like(array, values):
    return backends.convert(values, like=array)


def host(array):
    return backends.namespace_of(array).to_numpy(array)


# ---- boxes, scores, fits and targets


def pairs(kind, form):
    return lambda a, b: anchorlib.box_iou_pairs(a, b, kind=kind, format=form)


def bound_of(certificate):
    """Return what does not depend on the time that a certificate took."""
    return certificate.upper_bound, certificate.fitness, certificate.gap


def tuple_of_layers(targets, *sides):
    """Return YOLOv5's layout of targets, for a model of two layers."""
    return yolov5.build_targets(list(sides), targets, model_of(targets))


def dataset(shapes, labels):
    return SimpleNamespace(shapes=shapes, labels=list(labels) if labels.ndim else [labels])


def strides_of(anchors):
    return [8.0 * 2**i for i in range(anchors.shape[0] if anchors.ndim else 1)]


def checked(shapes, labels, anchors, **options):
    """Check a model's anchors and return the anchors after it; an error must leave them unchanged."""
    xp = backends.namespace_of(anchors)
    detect = SimpleNamespace(anchors=xp.asarray(anchors, copy=True), stride=strides_of(anchors))
    found = None
    try:
        found = yolov5.check_anchors(dataset(host(shapes), host(labels)), SimpleNamespace(model=[detect]), **options)
    finally:
        if found is None or not found.replaced:
            np.testing.assert_array_equal(host(detect.anchors), host(anchors))
    return found, detect.anchors


def ordered(anchors):
    xp = backends.namespace_of(anchors)
    m = SimpleNamespace(anchors=xp.asarray(anchors, copy=True), stride=strides_of(anchors))
    return yolov5.check_anchor_order(m), m.anchors


CHECKED = (Part(("M", 2), (640, 480, 333)), Part(("M", "k", 5), LABELS.good), Part(("L", 2, 2), (1.0, 2.0, 4.0, 300)))

ARRAYS = {
    # 0 / -1 is -0.0, and whether it is below 0.0 is each framework's own: so 1 over it is either infinity.
    "anchorlib.size_ratio": Edge(anchorlib.size_ratio, (Part(("N", 2), low=0), Part(("K", 2), low=0))),
    "anchorlib.wh_iou": Edge(anchorlib.wh_iou, (WH, ANCHORS_WH)),
    "anchorlib.yolov5.wh_iou": Edge(yolov5.wh_iou, (WH, ANCHORS_WH)),
    **{
        f"anchorlib.box_iou_pairs {kind} {form}": Edge(
            pairs(kind, form), (CXCYWH, CXCYWH), 1e-3 if kind == "ciou" else 1e-6
        )
        for kind in ("iou", "giou", "diou", "ciou")
        for form in ("cxcywh", "xyxy")
    },
    "anchorlib.yolov5.bbox_iou": Edge(yolov5.bbox_iou, (CXCYWH, CXCYWH), 1e-6),
    "anchorlib.boxes.box_iou": Edge(boxes.box_iou, (XYXY, Part(("M", 4)))),
    "anchorlib.boxes.xyxy_to_cxcywh": Edge(boxes.xyxy_to_cxcywh, (XYXY,)),
    "anchorlib.boxes.cxcywh_to_xyxy": Edge(boxes.cxcywh_to_xyxy, (CXCYWH,)),
    "anchorlib.boxes.xyxy_to_wh": Edge(boxes.xyxy_to_wh, (XYXY,)),
    "anchorlib.boxes.drop_degenerate": Edge(boxes.drop_degenerate, (WH,)),
    "anchorlib.score": Edge(anchorlib.score, (WH, ANCHORS_WH)),
    "anchorlib.score weights": Edge(lambda wh, a, w: anchorlib.score(wh, a, weights=w), (WH, ANCHORS_WH, Part(("N",)))),
    "anchorlib.kmeans": Edge(lambda wh: anchorlib.kmeans(wh, 2), (WH,)),
    "anchorlib.evolve": Edge(lambda wh, anchors: anchorlib.evolve(wh, anchors, generations=3), (WH, ANCHORS_WH)),
    "anchorlib.fit_anchors": Edge(lambda wh: anchorlib.fit_anchors(wh, 2), (WH,)),
    "anchorlib.fit_anchors weights": Edge(
        lambda wh, weights: anchorlib.fit_anchors(wh, 2, weights=weights), (WH, Part(("N",)))
    ),
    "anchorlib.fit_anchors strides": Edge(lambda wh: anchorlib.fit_anchors(wh, 2, strides=[8, 64]), (WH,)),
    "anchorlib.fit_anchors fixed": Edge(
        lambda wh, fixed: anchorlib.fit_anchors(wh, 3, fixed=fixed), (WH, Part((1, 2)))
    ),
    "anchorlib.certify": Edge(lambda wh, anchors: bound_of(anchorlib.certify(wh, anchors, gap=9)), (WH, ANCHORS_WH)),
    "anchorlib.certify weights": Edge(
        lambda wh, anchors, w: bound_of(anchorlib.certify(wh, anchors, weights=w, gap=9)),
        (WH, ANCHORS_WH, Part(("N",))),
    ),
    "anchorlib.fit_curve": Edge(lambda wh: anchorlib.fit_curve(wh, range(1, 4)), (WH,)),
    "anchorlib.build_targets": Edge(
        lambda t: anchorlib.build_targets(t, like(t, GRID_ANCHORS), [(8, 8), (4, 4)], validate=True),
        (Part(("T", 6), TARGETS),),
    ),
    "anchorlib.training.build_padded_targets": Edge(
        lambda t: [rows for rows, _ in training.build_padded_targets(t, like(t, GRID_ANCHORS), [(8, 8), (4, 4)])],
        (Part(("T", 6), TARGETS),),
    ),
    "anchorlib.crowding": Edge(
        lambda t: anchorlib.crowding(t, like(t, GRID_ANCHORS * 8), [8, 16], imgsz=64), (Part(("T", 6), TARGETS),)
    ),
    "anchorlib.yolov2.build_targets": Edge(
        lambda rows, anchors: yolov2.build_targets([rows], anchors, input_size=64), (LABELS, ANCHORS_WH), 1e-3
    ),
    "anchorlib.yolov5.check_anchors": Edge(
        lambda *arrays: checked(*arrays, raise_errors=True),
        CHECKED,
        refusal=(ShapeError, ModelError, DatasetError),
        longest=4,
    ),
    "anchorlib.yolov5.check_anchor_order": Edge(ordered, CHECKED[2:], refusal=(ModelError,)),
    "anchorlib.backends.convert": Edge(lambda x: backends.convert(x, like=x), (Part(...),)),
    "anchorlib.backends.from_host": Edge(lambda x: backends.from_host(host(x), like=x), (Part(...),)),
    "anchorlib.backends.on_host": Edge(lambda x: backends.from_host(backends.on_host(x)[0], like=x), (Part(...),)),
    "anchorlib.backends.namespace_of": Edge(lambda x: backends.namespace_of(x).isdtype(x.dtype, "bool"), (Part(...),)),
}


# ---- losses


def model_of(array, nc=2, **hyp):
    detect = SimpleNamespace(anchors=like(array, GRID_ANCHORS), stride=[8.0, 16.0], na=3, nl=2, nc=nc)
    return SimpleNamespace(model=[detect], hyp={**HYP, **hyp})


def compute_loss(nc=2, options=None, **hyp):
    def loss(targets, *p):
        return training.ComputeLoss(model_of(targets, nc, **hyp), **(options or {}))(list(p), targets)

    return loss


def predictions(nc):
    return tuple(Part(("B", 3, *sides, 5 + nc), LOGITS) for sides in (("H", "W"), ("I", "J")))


def segment_loss(overlap):
    def loss(targets, proto, masks, *p):
        model = model_of(targets)
        model.model[0].nm = 2
        return segment.ComputeLoss(model, overlap=overlap)((list(p), proto), targets, masks)

    return loss


def loss_of_masks(coefficients, proto, targets, masks):
    """Each match has a target, as long as there is one."""
    n_matches, n_targets = ([*getattr(x, "shape", ()), 0][0] for x in (coefficients, targets))
    matched = like(targets, np.arange(n_matches) % max(n_targets, 1))
    return training.mask_loss(coefficients, proto, targets, masks, [matched])


def decoded(*p):
    return anchorlib.decode(list(p), like(p[0], GRID_ANCHORS), [8, 16])


def assigned(targets, *p):
    return training.assign(list(p), targets, like(targets, GRID_ANCHORS), [8.0, 16.0], (64, 64))


def ota_loss(cls, copies=1):
    """Return the loss of an OTA class on square images; a head with auxiliary layers gets each layer twice."""

    def loss(targets, *p):
        n_images = [*getattr(p[0], "shape", ()), 1][0]
        images = np.broadcast_to(np.float32(0), (n_images, 3, 64, 64))
        return cls(model_of(targets))(list(p) * copies, targets, like(targets, images))

    return loss


def loss_of(make):
    return lambda pred, true: make()(pred, true)


def yolov2_loss(conf, cls, box, targets, iou=None):
    return yolov2.loss(conf, cls, box, targets, iou=iou)


BATCH = Part(("T", 6), TARGETS)
PROTO = Part(("B", 2, "K", "L"), LOGITS)
PAIR = (Part(..., LOGITS), Part(..., SHARES, 0, 1))
FOUND = ((-1, 0, 1), (0, 1), SHARES, SHARES, *[LOGITS] * 2, (0.5, 1.9), *[SHARES] * 4)
YOLOV2 = (
    Part(("B", "R"), LOGITS),
    Part(("B", "R", 2), LOGITS),
    Part(("B", "R", 4), LOGITS),
    Part(("B", "R", 11), FOUND),
)

LOSSES = {
    "anchorlib.yolov5.segment.ComputeLoss": Edge(
        segment_loss(False), (BATCH, PROTO, Part(("T", "P", "Q"), SHARES), *predictions(4)), 1e-5, longest=3
    ),
    "anchorlib.yolov5.segment.ComputeLoss overlap": Edge(
        segment_loss(True), (BATCH, PROTO, Part(("B", "P", "Q"), (0, 1, 2)), *predictions(4)), 1e-5, longest=3
    ),
    "anchorlib.training.mask_loss": Edge(
        loss_of_masks, (Part(("M", 2), LOGITS), PROTO, BATCH, Part(("T", "P", "Q"), SHARES)), 1e-5, longest=4
    ),
    "anchorlib.decode": Edge(decoded, predictions(2), 1e-5, longest=3),
    "anchorlib.yolov5.ComputeLoss": Edge(compute_loss(), (BATCH, *predictions(2)), 1e-5, longest=3),
    "anchorlib.yolov5.ComputeLoss focal": Edge(
        compute_loss(fl_gamma=1.5, label_smoothing=0.1), (BATCH, *predictions(2)), 1e-5, longest=3
    ),
    "anchorlib.yolov5.ComputeLoss weighted": Edge(
        compute_loss(cls_pw=2.0, obj_pw=0.5), (BATCH, *predictions(2)), 1e-5, longest=3
    ),
    "anchorlib.yolov5.ComputeLoss one class": Edge(
        compute_loss(1, {"validate": True, "autobalance": True, "four_items": True}),
        (BATCH, *predictions(1)),
        1e-5,
        longest=3,
    ),
    "anchorlib.yolov5.compute_loss": Edge(
        lambda targets, *p: yolov5.compute_loss(list(p), targets, model_of(targets)),
        (BATCH, *predictions(2)),
        1e-5,
        longest=3,
    ),
    "anchorlib.training.assign": Edge(assigned, (BATCH, *predictions(2)), longest=3),
    "anchorlib.yolov7.ComputeLoss": Edge(
        lambda targets, *p: yolov7.ComputeLoss(model_of(targets))(list(p), targets),
        (BATCH, *predictions(2)),
        1e-5,
        longest=3,
    ),
    "anchorlib.yolov7.ComputeLossOTA": Edge(ota_loss(yolov7.ComputeLossOTA), (BATCH, *predictions(2)), 1e-5, longest=3),
    "anchorlib.yolov7.ComputeLossAuxOTA": Edge(
        ota_loss(yolov7.ComputeLossAuxOTA, 2), (BATCH, *predictions(2)), 1e-5, longest=3
    ),
    "anchorlib.yolov5.build_targets": Edge(tuple_of_layers, (BATCH, *predictions(2)), longest=3),
    "anchorlib.training.BCEWithLogitsLoss": Edge(loss_of(training.BCEWithLogitsLoss), PAIR, 1e-5),
    "anchorlib.training.BCEWithLogitsLoss weighted": Edge(
        loss_of(lambda: training.BCEWithLogitsLoss(2.5, reduction="none")), PAIR, 1e-5
    ),
    "anchorlib.training.BCEBlurWithLogitsLoss": Edge(loss_of(training.BCEBlurWithLogitsLoss), PAIR, 1e-5),
    "anchorlib.training.FocalLoss": Edge(loss_of(lambda: training.FocalLoss(training.BCEWithLogitsLoss())), PAIR, 1e-5),
    "anchorlib.training.QFocalLoss": Edge(
        loss_of(lambda: training.QFocalLoss(training.BCEWithLogitsLoss(reduction="sum"))), PAIR, 1e-5
    ),
    "anchorlib.yolov2.loss": Edge(yolov2_loss, YOLOV2, 1e-5),
    "anchorlib.yolov2.loss iou": Edge(yolov2_loss, (*YOLOV2, Part(("B", "R"), SHARES)), 1e-5),
}

for name in LOSSES:
    if "ComputeLoss" in name or "yolov2.loss" in name:
        LOSSES[name] = LOSSES[name]._replace(host_checks=True)


# ---- of NumPy arrays: data sets, counts and files


def counts_of(wh, counts=None):
    return anchorlib.SizeCounts.of(wh, counts, imgsz=640, resize="letterbox")


def saved(wh):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "sizes.npz")
        counts_of(wh).save(file)
        return anchorlib.SizeCounts.load(file)


def methods_of(shapes, labels):
    sizes = datasets.from_dataset(dataset(shapes, labels))
    return sizes.count_problems(), sizes.boxes_per_class(), sizes.class_name(0), sizes.to_json()


def written(form):
    """Return the text of layers and what is read from it, from a file of it, and from a file with replaced anchors."""

    def write(layer):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "anchors.txt")
            try:
                modelfiles.write_anchors(path, [layer], form)
            except ModelError:
                assert not os.path.exists(path)
                raise
            kept = modelfiles.open_anchors(path, form)
            modelfiles.edit_anchors(path, [layer], form)
            again = modelfiles.open_anchors(path, form)
            for one in (kept.layers[0], again.layers[0]):
                np.testing.assert_array_equal(one, layer.astype(np.float32))
        return modelfiles.format_anchors([layer], form)

    return write


DATASET = CHECKED[:2]
COUNTS = Part(("N",), (1, 2, 300), dtype="int64")
HOST = {
    "anchorlib.datasets.from_dataset": Edge(
        lambda *arrays: datasets.from_dataset(dataset(*arrays)), DATASET, refusal=(ShapeError, DatasetError)
    ),
    "anchorlib.yolov5.kmean_anchors": Edge(
        lambda *arrays: yolov5.kmean_anchors(dataset(*arrays), 2, verbose=False),
        DATASET,
        refusal=(ShapeError, DatasetError),
    ),
    "anchorlib.datasets.scale_sizes": Edge(datasets.scale_sizes, (WH, Part(("N", 2), (640, 480, 333)))),
    "anchorlib.BoxSizes.compress": Edge(
        lambda *arrays: datasets.from_dataset(dataset(*arrays)).compress(), DATASET, refusal=(ShapeError, DatasetError)
    ),
    "anchorlib.BoxSizes.histogram": Edge(
        lambda *arrays: datasets.from_dataset(dataset(*arrays)).histogram(),
        DATASET,
        refusal=(ShapeError, DatasetError),
    ),
    "anchorlib.BoxSizes.to_dict": Edge(methods_of, DATASET, refusal=(ShapeError, DatasetError)),
    "anchorlib.SizeCounts.of": Edge(counts_of, (WH, COUNTS)),
    "anchorlib.SizeCounts.merge": Edge(lambda a, b: counts_of(a).merge(counts_of(b)), (WH, ANCHORS_WH)),
    "anchorlib.SizeCounts.histogram": Edge(lambda wh: counts_of(wh).histogram(1 / 4), (WH,)),
    "anchorlib.SizeCounts.load": Edge(saved, (WH,)),
    "anchorlib.scale.sizes_from_shards": Edge(
        lambda a, b: scale.sizes_from_shards([counts_of(a), counts_of(b)], step=1 / 64), (WH, ANCHORS_WH)
    ),
    "anchorlib.scale.fit_from_shards": Edge(lambda wh: scale.fit_from_shards([counts_of(wh)], n=2), (WH,)),
    "anchorlib.yolov2.gt_creator": Edge(
        lambda rows, anchors: yolov2.gt_creator(64, 32, [rows.tolist()], anchors),
        (Part(("n", 5), (*[SHARES] * 4, (0, 1, 7))), ANCHORS_WH),
    ),
    **{
        f"anchorlib.modelfiles.format_anchors {form}": Edge(written(form), (ANCHORS_WH,), refusal=(ModelError,))
        for form in modelfiles.FORMATS
    },
    "anchorlib.modelfiles.split_layers": Edge(modelfiles.split_layers, (ANCHORS_WH,)),
}
