"""Compute YOLOv5's loss of a batch: boxes, objectness and classes, with gradient."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from anchorlib.arrays import Array, Namespace, as_float, widen
from anchorlib.backends import from_host, namespace_of, on_host
from anchorlib.boxes import box_iou_pairs
from anchorlib.errors import ArrayTypeError, BadValueError, ModelError, ShapeError
from anchorlib.models import detect_module
from anchorlib.training import padded_loss
from anchorlib.training.checks import check_anchor_unit, check_target_shape, check_targets
from anchorlib.training.losses import BCEWithLogitsLoss, FocalLoss, class_bce, one_hot, smooth_bce
from anchorlib.training.padded_targets import build_padded_targets
from anchorlib.training.presets import find_preset
from anchorlib.training.targets import LayerTargets, build_targets

_OBJECTNESS = 4  # column of p: x, y, w, h, objectness, classes
_HYP = ("cls_pw", "obj_pw", "fl_gamma", "anchor_t", "box", "obj", "cls")


class LayerLoss(NamedTuple):
    """The losses of one layer, as arrays (), before balance and gains.

    box : mean of 1 - CIoU over the matches; None without matches
    obj : of all cells
    cls : mean over matches and classes; None without matches, and for a model of one class
    others : (M, C + more) float32 or float64, logits of the matched cells after the objectness, with gradient
    """

    box: Optional[Array]
    obj: Array
    cls: Optional[Array]
    others: Array


class ComputeLoss:
    """Compute the training loss of a YOLOv5 model.

    Parameters
    ----------
    model : has `hyp`, a dict or a namespace of cls_pw, obj_pw, fl_gamma, anchor_t, box, obj, cls and perhaps
        label_smoothing; its `model[-1]` (or that of `model.module`) has anchors (L, A, 2) in grid units, stride (L,),
        na, nl and nc. If it has `gr`, that is the share of the IoU in the objectness target; else the share is 1.
    autobalance : rescale the objectness weights so that every layer's loss matches that of stride 16. Synchronises with
        the GPU once per layer.
    bbox_iou_optim : accepted for one-yolov5, where it selects fused kernels; the result is the same
    validate : also reject rows whose box is not finite, or not in [0, 1] of the image, or looks like corners, and
        anchors that look like pixels. Out-of-range classes and images are always rejected if `targets` is in host
        memory.
    four_items : return the items (box, obj, cls, total), as YOLOv5 <= 5.0 and YOLOv7 expect them
    preset : the balance and gains of an older fork: "yolov5-4.0", "yolor" or "ScaledYOLOv4"; they depend on the number
        of layers. None: those of YOLOv5 since 5.0.
    reuse_grad_buffer : reuse the memory of the gradients of `p` in the next step (torch). With few targets, filling
        that memory takes most of the time of a step. Danger: each step overwrites the gradients of the step before. Do
        not use it with a retained graph, with two losses in one backward, or with code that keeps `p[i].grad` or the
        gradient of a hook. Each thread has memory of its own, so several threads may use one loss.
    padded : assign with `build_padded_targets`: no wait for the GPU, and shapes that do not depend on values, as
        `torch.compile(fullgraph=True)` and CUDA graphs need them. The loss and the gradients are the same up to
        rounding. It computes all possible rows, 5 for each anchor and target, so it takes longer on a CPU. Images and
        classes are not checked unless with `validate`, which waits. BCEcls must have `reduction` "mean". Not with
        `autobalance` or `reuse_grad_buffer`.

    Attributes
    ----------
    Forks read and set these: balance (list), ssi (index of stride 16), gr (share of the IoU in the objectness
    target), hyp, autobalance, cp, cn (class targets), BCEcls, BCEobj (callables), anchors (the model's own array), na,
    nc, nl, device; sort_obj_iou (of the class): if rows share a cell, the largest IoU wins, not the last row.

    Raises
    ------
    ModelError : the model lacks one of these parts
    BadValueError : `padded` with `autobalance` or `reuse_grad_buffer`
    """

    sort_obj_iou = False

    def __init__(
        self,
        model: Any,
        autobalance: bool = False,
        bbox_iou_optim: bool = False,
        *,
        validate: bool = False,
        four_items: bool = False,
        preset: Optional[str] = None,
        reuse_grad_buffer: bool = False,
        padded: bool = False,
    ) -> None:
        detect = detect_module(model)
        lacks = [name for name in ("anchors", "stride", "na", "nl", "nc") if not hasattr(detect, name)]
        if lacks:
            raise ModelError(
                f"model.model[-1] must be a Detect module; {type(detect).__name__} lacks {', '.join(lacks)}."
            )
        self.hyp = _hyperparameters(model)
        self.anchors = detect.anchors
        self.na, self.nc, self.nl = int(detect.na), int(detect.nc), int(detect.nl)
        self._n_columns = 5 + self.nc
        self.cp, self.cn = smooth_bce(self.hyp.get("label_smoothing", 0.0))
        self.BCEcls: Any = BCEWithLogitsLoss(float(self.hyp["cls_pw"]))
        self.BCEobj: Any = BCEWithLogitsLoss(float(self.hyp["obj_pw"]))
        if self.hyp["fl_gamma"] > 0:
            self.BCEcls, self.BCEobj = (FocalLoss(bce, self.hyp["fl_gamma"]) for bce in (self.BCEcls, self.BCEobj))
        self.balance, self._gain_factors = find_preset(preset, self.nl)
        strides = [float(stride) for stride in detect.stride]
        if autobalance and 16.0 not in strides:
            raise ModelError(f"autobalance needs a layer of stride 16, got strides {strides}. Leave it off.")
        self._strides = strides
        self.ssi = strides.index(16.0) if autobalance else 0
        self.gr = float(_attribute(model, "gr", 1.0))
        self.autobalance = autobalance
        self.validate = validate
        self.four_items = four_items
        self.padded = padded
        if padded and (autobalance or reuse_grad_buffer):
            raise BadValueError("padded=True must not be used with autobalance or reuse_grad_buffer. Leave them off.")
        self._entries_of: tuple[Any, Any] = (None, None)  # BCEcls, and what it returns without a reduction
        self._n_outputs = self.nl  # layers of `p`
        self._reuses, self._memory_of_thread = reuse_grad_buffer, dict[int, list[Optional[dict[str, Any]]]]()

    @property
    def device(self) -> Any:
        """Return the device of the anchors. It is not stored: a device of OneFlow can be neither copied nor pickled."""
        return getattr(self.anchors, "device", "cpu")

    def __call__(self, p: Sequence[Array], targets: Array) -> tuple[Array, Array]:
        """Compute the loss of a batch of predictions.

        Parameters
        ----------
        p : L arrays (B, A, ny, nx, 5 + C) of logits: x, y, w, h, objectness, classes; any floating dtype, with
            at least one image and one cell
        targets : (T, 6) float: image, class, cx, cy, w, h, boxes in [0, 1]; on the device of `p`

        Returns
        -------
        loss : (1,) float32 (float64 for such `p`), times the number of images
        items : (3,), box, objectness and class, each times its gain; without gradient
        """
        xp = namespace_of_layers(p, targets=targets)
        if self.padded:
            losses = self._padded_losses(xp, p, targets)
        else:
            layers = self._targets(p, targets, used=True)
            losses = [self._layer_loss(xp, *layer) for layer in zip(p, layers, self._memory)]
        return self._total(p, losses[0], self._parts(xp, losses))

    @property
    def _memory(self) -> list[Optional[dict[str, Any]]]:
        """Return what this thread keeps of each layer's gradient: other threads must not write to the same memory."""
        if not self._reuses:
            return [None] * self._n_outputs
        return self._memory_of_thread.setdefault(threading.get_ident(), [{} for _ in range(self._n_outputs)])

    def _parts(self, xp: Namespace, losses: Sequence[LayerLoss]) -> list[tuple[list[Array], float]]:
        """Return the losses of the layers and the gain of each item: box, objectness and classes."""
        parts = {
            "box": [loss.box for loss in losses if loss.box is not None],
            "obj": self._balanced(xp, [loss.obj for loss in losses]),
            "cls": [loss.cls for loss in losses if loss.cls is not None],
        }
        return [(parts[gain], float(self.hyp[gain]) * self._gain_factors[gain]) for gain in parts]

    def _layer_loss(
        self, xp: Namespace, predicted: Array, layer: LayerTargets, memory: Optional[dict[str, Any]]
    ) -> LayerLoss:
        """Return the losses of one layer, whose matches are given, before balance and gains."""
        table, cells = _table_and_cells(xp, predicted, layer)
        boxes, objectness, others = xp.split_rows(table, cells, _OBJECTNESS, memory=memory)
        others = widen(others)
        iou = _iou(xp, widen(boxes), layer)
        obj = self.BCEobj(objectness, self._objectness_targets(iou, cells, table.shape[0]))
        if not layer.cls.shape[0]:
            return LayerLoss(None, obj, None, others)
        cls = self._class_loss(xp, others[:, : self.nc], layer.cls) if self.nc > 1 else None
        return LayerLoss(1 - xp.mean(iou), obj, cls, others)

    def _padded_losses(self, xp: Namespace, p: Sequence[Array], targets: Array) -> list[LayerLoss]:
        """Return the losses of the layers, of shapes that do not depend on values, and without a wait."""
        self._check_predictions(p)
        self._check_rows(p, targets, used=False)
        if self._entries_of[0] is not self.BCEcls:
            self._entries_of = (self.BCEcls, padded_loss.unreduced(self.BCEcls))
        shapes = [layer.shape[2:4] for layer in p]
        found = build_padded_targets(targets, self.anchors, shapes, thr=self.hyp["anchor_t"])
        losses = []
        for predicted, layer in zip(p, found):
            table, cells = _table_and_cells(xp, predicted, layer.rows)
            boxes, objectness, others = padded_loss.split(xp, table, cells, _OBJECTNESS)
            iou, n_cells = _iou(xp, boxes, layer.rows), table.shape[0]
            wanted = padded_loss.objectness_targets(
                xp, iou, cells, layer.mask, n_cells, gr=self.gr, sort=self.sort_obj_iou
            )
            cls = None
            if self.nc > 1:
                logits = others[:, : self.nc]
                cls = padded_loss.class_loss(xp, self._entries_of[1], logits, layer, self.cp, self.cn)
            box = padded_loss.box_loss(xp, iou, layer.mask)
            losses.append(LayerLoss(box, self.BCEobj(objectness, wanted), cls, others))
        return losses

    def _balanced(self, xp: Namespace, losses: Sequence[Array]) -> list[Array]:
        """Return the objectness losses of the layers times `balance`; with `autobalance`, update `balance` after."""
        weighted = [loss * weight for loss, weight in zip(losses, self.balance)]
        if self.autobalance:
            for i, loss in enumerate(losses):
                self.balance[i] = self.balance[i] * 0.9999 + 0.0001 / float(xp.detach(loss))
            self.balance = [weight / self.balance[self.ssi] for weight in self.balance]
        return weighted

    def _total(
        self, p: Sequence[Array], like: LayerLoss, parts: Sequence[tuple[Sequence[Array], float]]
    ) -> tuple[Array, Array]:
        """Return loss (1,) and items, one for each (losses, gain) of `parts`, and with `four_items` their sum."""
        xp, dtype = namespace_of(like.others), like.others.dtype
        zero = xp.zeros_like(xp.detach(like.obj))
        gained = [sum(losses, zero) * gain for losses, gain in parts]
        everything = sum(gained[1:], gained[0])
        items = xp.stack([*gained, everything] if self.four_items else gained)
        total = xp.reshape(everything * int(p[0].shape[0]), (1,))
        return as_float(total, dtype), xp.detach(as_float(items, dtype))  # NumPy 1 turns scalars into float64

    def build_targets(
        self, p: Sequence[Array], targets: Array
    ) -> tuple[list[Array], list[Array], list[tuple[Array, Array, Array, Array]], list[Array]]:
        """Return the targets of `anchorlib.build_targets` as the four lists of YOLOv5: tcls, tbox, indices, anch."""
        layers = self._targets(p, targets)
        return (
            [layer.cls for layer in layers],
            [layer.box for layer in layers],
            [(layer.image, layer.anchor, layer.gj, layer.gi) for layer in layers],
            [layer.anchor_wh for layer in layers],
        )

    def _targets(self, p: Sequence[Array], targets: Array, *, used: bool = False) -> list[LayerTargets]:
        """Return the result of `build_targets`; if it is `used` as indices, refuse images and classes out of range."""
        self._check_predictions(p)
        self._check_rows(p, targets, used=used)
        return build_targets(targets, self.anchors, [layer.shape[2:4] for layer in p], thr=self.hyp["anchor_t"])

    def _check_predictions(self, p: Sequence[Array], heads: int = 1) -> None:
        """Check the shapes of `p`, which has the layers of so many heads."""
        _refuse_eval_output(p)
        if len(p) != heads * self.nl:
            raise ShapeError(f"p must have one array for each of {heads * self.nl} layers, got {len(p)}.")
        listed = isinstance(self.anchors, (list, tuple))
        for i, layer in enumerate(p):
            n_anchors = self.anchors[i % self.nl].shape[0] if listed else self.anchors.shape[1]
            wanted = (n_anchors, self._n_columns)
            if len(layer.shape) != 5 or (layer.shape[1], layer.shape[4]) != wanted or 0 in layer.shape:
                raise ShapeError(
                    f"p[{i}] must have shape (B, {wanted[0]}, ny, nx, {wanted[1]}), with no side of 0, "
                    f"got {tuple(layer.shape)}."
                )

    def _check_rows(self, p: Sequence[Array], targets: Array, *, used: bool) -> None:
        """Check the values of `targets`: where they are `used` to index, a number out of range must not get through."""
        check_target_shape(targets)
        n_classes = self.nc if self.nc > 1 else None  # a single-class model does not use the class
        if self.validate:
            check_targets(targets, p[0].shape[0], n_classes)
            check_anchor_unit(self.anchors, [layer.shape[2:4] for layer in p], float(self.hyp["anchor_t"]))
        elif used and namespace_of(targets).in_host_memory(targets):
            check_targets(targets[:, :2], p[0].shape[0], n_classes)

    def _class_loss(self, xp: Namespace, logits: Array, cls: Array) -> Array:
        """Return the mean over (M, C): the target is `cp` at the class of a row, and `cn` elsewhere."""
        bce = self.BCEcls
        plain = type(bce) is BCEWithLogitsLoss and bce.reduction == "mean"
        if plain and (bce.pos_weight is None or (isinstance(bce.pos_weight, float) and bce.pos_weight == 1)):
            return xp.with_gradient(lambda x: class_bce(x, cls, self.cp, self.cn), logits)
        return bce(logits, one_hot(xp, logits, cls, self.cp, self.cn))

    def _objectness_targets(self, iou: Array, cells: Array, n_cells: int) -> Array:
        """Return (n_cells,): the IoU of the row in each cell, and 0 in cells without a row."""
        value, cells = on_host(iou, cells)
        host = namespace_of(value)
        value = host.maximum(value, host.zeros_like(value))
        if self.sort_obj_iou and value.shape[0]:
            order = host.argsort(value, stable=True)
            value, cells = value[order], cells[order]
        if self.gr < 1:
            value = value * self.gr + (1 - self.gr)
        empty = host.zeros((n_cells,), dtype=value.dtype, device=host.device_of(value))
        return from_host(host.put_last(empty, cells, value), like=iou)


def namespace_of_layers(p: Sequence[Array], **named: Array) -> Namespace:
    """Return the namespace of the layers of predictions and of other arrays.

    Raises ArrayTypeError if `p` has a list among its entries, as the output of a model in eval mode has.
    """
    _refuse_eval_output(p)
    return namespace_of(**named, **{f"p[{i}]": layer for i, layer in enumerate(p)})


def _refuse_eval_output(p: Sequence[Array]) -> None:
    if any(isinstance(layer, (list, tuple)) for layer in p):
        kinds = ", ".join("a list" if isinstance(layer, (list, tuple)) else type(layer).__name__ for layer in p)
        raise ArrayTypeError(
            f"p must be the list of layers, got ({kinds}). A model in eval mode returns its predictions and the list "
            "of layers: pass the list of layers."
        )


def _attribute(model: Any, name: str, default: Any) -> Any:
    """Return an attribute of a model, or of the model that DataParallel or DistributedDataParallel wraps."""
    found = getattr(model, name, None)
    found = getattr(getattr(model, "module", None), name, None) if found is None else found
    return default if found is None else found


def _hyperparameters(model: Any) -> Mapping[str, Any]:
    """Return `model.hyp` as a mapping that shows later changes; ModelError if an entry is missing."""
    hyp = _attribute(model, "hyp", {})
    if not isinstance(hyp, Mapping):
        if not hasattr(hyp, "__dict__"):
            raise ModelError(f"model.hyp must be a dict or a namespace of hyperparameters, got {type(hyp).__name__}.")
        hyp = vars(hyp)
    missing = [key for key in _HYP if key not in hyp]
    if missing:
        older = (
            " Older files call box giou: set hyp['box'] = hyp['giou']." if "box" in missing and "giou" in hyp else ""
        )
        raise ModelError(
            f"model.hyp must have {', '.join(missing)}: it is the dict of the hyperparameters file.{older}"
        )
    return hyp


def _table_and_cells(xp: Namespace, predicted: Array, layer: LayerTargets) -> tuple[Array, Array]:
    """Return the predictions of a layer as a table (cells, columns), and the row (M,) in it of each match."""
    _, n_anchors, ny, nx, columns = predicted.shape
    cells = ((layer.image * n_anchors + layer.anchor) * ny + layer.gj) * nx + layer.gi  # (M,)
    return xp.reshape(predicted, (-1, columns)), cells


def _iou(xp: Namespace, logits: Array, layer: LayerTargets) -> Array:
    """Return (M,) CIoU of the boxes that `logits` (M, 4) predict with the target boxes, in grid units."""
    part = xp.sigmoid(logits)
    size = part[:, 2:] * 2
    boxes = xp.concat([part[:, :2] * 2 - 0.5, size * size * xp.astype(layer.anchor_wh, logits.dtype)], axis=1)
    return box_iou_pairs(boxes, xp.astype(layer.box, logits.dtype), kind="ciou")
