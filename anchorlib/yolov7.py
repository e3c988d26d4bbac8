"""Drop-in for utils/loss.py of YOLOv7: its losses with four items, and those with OTA assignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anchorlib.arrays import Array, Namespace, check_shape
from anchorlib.backends import namespace_of
from anchorlib.errors import BadValueError
from anchorlib.training import compute_loss
from anchorlib.training.compute_loss import LayerLoss, namespace_of_layers
from anchorlib.training.ota import Head, assign_heads
from anchorlib.training.targets import LayerTargets

__all__ = ["ComputeLoss", "ComputeLossAuxOTA", "ComputeLossOTA", "SixLists"]

#: image, anchor, gj, gi, matched rows of the targets (M, 6) and anchors (M, 2), each a list with an array per layer.
SixLists = tuple[list[Array], list[Array], list[Array], list[Array], list[Array], list[Array]]

_AUX_WEIGHT = 0.25


class ComputeLoss(compute_loss.ComputeLoss):
    """Compute YOLOv7's loss without OTA: that of `anchorlib.yolov5`, with four items and the model's `gr`.

    Parameters
    ----------
    model : as for `anchorlib.yolov5.ComputeLoss`; its `gr`, if there, is the share of the IoU in the objectness target
    autobalance : as for `anchorlib.yolov5.ComputeLoss`
    options : `validate`, `reuse_grad_buffer` and `padded` of `anchorlib.yolov5.ComputeLoss`

    Raises
    ------
    ModelError : the model lacks one of these parts
    """

    def __init__(self, model: Any, autobalance: bool = False, **options: Any) -> None:
        super().__init__(model, autobalance, four_items=True, **options)


class ComputeLossOTA(ComputeLoss):
    """Compute YOLOv7's loss with OTA assignment: each object keeps the cheapest of its candidate predictions.

    The matches are bit-identical on every backend and device. They are computed on the host, with one copy of the
    candidates' logits. See `anchorlib.training.ota.assign` for the assignment, which can be used without a model.

    Parameters
    ----------
    As for `anchorlib.yolov7.ComputeLoss`. `validate` also rejects boxes that are not finite; without it such an object
    gets no match.

    Raises
    ------
    ModelError
    """

    _heads: tuple[Head, ...] = (Head(offset=0.5, top=10),)

    def __init__(self, model: Any, autobalance: bool = False, **options: Any) -> None:
        super().__init__(model, autobalance, **options)
        if self.padded:
            raise BadValueError("padded=True must not be used with OTA, whose matches are computed on the host.")

    def __call__(self, p: Sequence[Array], targets: Array, imgs: Array) -> tuple[Array, Array]:  # type: ignore[override]
        """Return the loss of a batch.

        Parameters
        ----------
        p : L arrays (B, A, ny, nx, 5 + C) of logits: x, y, w, h, objectness, classes; any floating dtype
        targets : (T, 6) float: image, class, cx, cy, w, h, boxes in [0, 1]; on the device of `p`. T may be 0.
        imgs : (B, 3, H, W), of which only the shape is used

        Returns
        -------
        loss : (1,) float32 (float64 for such `p`), times the number of images
        items : (4,), box, objectness and class, each times its gain, and their sum; without gradient

        Raises
        ------
        ShapeError : wrong shapes, or another number of images than in `p`
        BadValueError : a row of `targets` whose image or class is out of range
        BackendMixError, ArrayTypeError
        """
        xp = namespace_of_layers(p, targets=targets)
        matched = self._assign(p, targets, imgs)
        layers = [layer for layers in matched for layer in layers]
        losses = [self._layer_loss(xp, *layer) for layer in zip(p, layers, self._memory)]
        return self._total(p, losses[0], self._parts(xp, losses))

    def build_targets(self, p: Sequence[Array], targets: Array, imgs: Array) -> SixLists:  # type: ignore[override]
        """Assign targets by OTA, as YOLOv7: image, anchor, gj, gi, rows of `targets`, anchors; each a list by layer."""
        return _six_lists(self._assign(p, targets, imgs)[0], targets)

    def _assign(self, p: Sequence[Array], targets: Array, imgs: Array) -> list[list[LayerTargets]]:
        """Return the matches of each head by layer; all look at the predictions of the first head."""
        self._check_predictions(p, len(self._heads))
        namespace_of(imgs=imgs)
        check_shape((int(p[0].shape[0]), "3", "H", "W"), hint="There must be one image for each of p.", imgs=imgs)
        if self.validate:
            self._check_rows(p, targets, used=True)
        image_wh = (float(imgs.shape[3]), float(imgs.shape[2]))
        main = p[: self.nl]
        return assign_heads(
            main, targets, self.anchors, self._strides, image_wh, self._heads, thr=float(self.hyp["anchor_t"])
        )


class ComputeLossAuxOTA(ComputeLossOTA):
    """Compute YOLOv7's loss with OTA assignment for models with auxiliary heads, which learn from more predictions.

    `p` has 2 L layers: those of the main heads, then those of the auxiliary heads, of the same shapes. Both assignments
    look at the main heads. The auxiliary losses are added with weight 0.25, and autobalance looks at the main heads.

    Parameters
    ----------
    As for `ComputeLossOTA`.

    Raises
    ------
    ModelError
    """

    _heads = (Head(offset=0.5, top=20), Head(offset=1.0, top=20))

    def __init__(self, model: Any, autobalance: bool = False, **options: Any) -> None:
        super().__init__(model, autobalance, **options)
        self._n_outputs = 2 * self.nl

    def build_aux_targets(self, p: Sequence[Array], targets: Array, imgs: Array) -> SixLists:
        """Return the matches of the auxiliary heads, in the form of `build_targets`."""
        return _six_lists(self._assign(p, targets, imgs)[1], targets)

    def _parts(self, xp: Namespace, losses: Sequence[LayerLoss]) -> list[tuple[list[Array], float]]:
        main, auxiliary = losses[: self.nl], losses[self.nl :]
        weights = [_AUX_WEIGHT * weight for weight in self.balance]  # before autobalance updates them
        parts = super()._parts(xp, main)
        (box, _), (obj, _), (cls, _) = parts
        box += [loss.box * _AUX_WEIGHT for loss in auxiliary if loss.box is not None]
        obj += [loss.obj * weight for loss, weight in zip(auxiliary, weights)]
        cls += [loss.cls * _AUX_WEIGHT for loss in auxiliary if loss.cls is not None]
        return parts


def _six_lists(layers: list[LayerTargets], targets: Array) -> SixLists:
    xp = namespace_of(targets)
    return (
        [layer.image for layer in layers],
        [layer.anchor for layer in layers],
        [layer.gj for layer in layers],
        [layer.gi for layer in layers],
        [xp.take(targets, layer.target, axis=0) for layer in layers],
        [layer.anchor_wh for layer in layers],
    )
