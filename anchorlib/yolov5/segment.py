"""Drop-in for utils/segment/loss.py of YOLOv5 7.0 and one-yolov5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anchorlib.arrays import Array, check_shape
from anchorlib.backends import namespace_of
from anchorlib.errors import ModelError, ShapeError
from anchorlib.models import detect_module
from anchorlib.training import compute_loss
from anchorlib.training.compute_loss import namespace_of_layers
from anchorlib.training.masks import mask_loss, numbers_in_image

__all__ = ["ComputeLoss"]


class ComputeLoss(compute_loss.ComputeLoss):
    """Compute the training loss of a YOLOv5 model for instance segmentation.

    Parameters
    ----------
    model : as `anchorlib.yolov5.ComputeLoss` takes it; its Detect module also has nm, the number of prototypes
    autobalance, validate, reuse_grad_buffer : as in `anchorlib.yolov5.ComputeLoss`
    overlap : the form of the masks, see the call

    Attributes
    ----------
    Those of `anchorlib.yolov5.ComputeLoss`, and overlap, nm.

    Raises
    ------
    ModelError : the model lacks one of these parts
    """

    def __init__(
        self,
        model: Any,
        autobalance: bool = False,
        overlap: bool = False,
        *,
        validate: bool = False,
        reuse_grad_buffer: bool = False,
    ) -> None:
        super().__init__(model, autobalance, validate=validate, reuse_grad_buffer=reuse_grad_buffer)
        detect = detect_module(model)
        if not hasattr(detect, "nm"):
            raise ModelError(
                f"model.model[-1] must be the head of a segmentation model; {type(detect).__name__} lacks nm, the "
                "number of prototypes."
            )
        self.nm = int(detect.nm)
        self._n_columns += self.nm
        self.overlap = overlap

    def __call__(  # type: ignore[override]  # the predictions have a second part here
        self, preds: tuple[Sequence[Array], Array], targets: Array, masks: Array
    ) -> tuple[Array, Array]:
        """Return the loss of a batch and its items.

        Parameters
        ----------
        preds : (p, proto). p: L arrays (B, A, ny, nx, 5 + C + nm) of logits, the coefficients of the mask last;
            proto: (B, nm, hm, wm), the prototypes
        targets : (T, 6) float: image, class, cx, cy, w, h, boxes in [0, 1], in any order
        masks : (T, h, w), the mask of each target, or with `overlap` (B, h, w), in which the objects of an image have
            the numbers 1, 2 ... in the order of `targets`. If h, w differ from hm, wm, the nearest pixel counts.

        Returns
        -------
        loss : (1,) float32 (float64 for such `p`), times the number of images
        items : (4,), box, mask, objectness and class, each times its gain; without gradient
        """
        if len(preds) != 2:
            raise ShapeError(
                f"preds must be (layers, proto), got {len(preds)} entries. Pass the list of layers, proto."
            )
        p, proto = preds
        xp = namespace_of_layers(p, targets=targets, masks=masks, proto=proto)
        layers = self._targets(p, targets, used=True)
        check_shape((p[0].shape[0], self.nm, "hm", "wm"), proto=proto)
        losses = [self._layer_loss(xp, *layer) for layer in zip(p, layers, self._memory)]
        coefficients = xp.concat([loss.others[:, self.nc :] for loss in losses], axis=0)
        matched = [layer.target for layer in layers]
        of_masks = mask_loss(coefficients, proto, targets, masks, matched, overlap=self.overlap)
        box, *others = self._parts(xp, losses)
        return self._total(p, losses[0], [box, ([of_masks], box[1] / p[0].shape[0]), *others])

    def build_targets(  # type: ignore[override]  # YOLOv5 has two more lists here
        self, p: Sequence[Array], targets: Array
    ) -> tuple[
        list[Array],
        list[Array],
        list[tuple[Array, Array, Array, Array]],
        list[Array],
        list[Array],
        list[Array],
    ]:
        """Return YOLOv5's six lists, by layer: classes, boxes, (image, anchor, gj, gi), anchors, masks and boxes.

        The masks are numbers (M,) int64: the row of `targets`, or with `overlap` the value of the object's pixels. The
        last boxes (M, 4) are those of `targets`: cx, cy, w, h in [0, 1].
        """
        xp, layers = namespace_of(targets), self._targets(p, targets)
        masks = [layer.target for layer in layers]
        if self.overlap:
            numbers = numbers_in_image(xp.to_numpy(targets[:, 0]))
            masks = [xp.take(xp.from_numpy(numbers, device=xp.device_of(targets)), rows) for rows in masks]
        return (
            *super().build_targets(p, targets),
            masks,
            [xp.take(targets[:, 2:6], layer.target, axis=0) for layer in layers],
        )
