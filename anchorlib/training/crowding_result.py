"""The result of `crowding`: how crowded the layers of a detector are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anchorlib.results import Result, Row, grouped

CROWDED = 0.3  # share of a layer's rows that are overwritten; COCO's anchors stay below it even on dense text


@dataclass(frozen=True)
class LayerCrowding:
    """Hold what one layer trains on.

    stride : pixels per grid cell
    anchors : (w, h) of each of its anchors, pixels
    rows : number of rows that `build_targets` makes for this layer
    overwritten : how many of them are overwritten by a later row of the same image, anchor and cell
    n_boxes : number of boxes with a row in this layer
    n_small : how many of these have a shorter side of less than one stride
    short_sides : the shorter side of these boxes in strides, at the quantiles 5, 25, 50, 75 and 95 % (nearest rank);
        empty if there is no box
    """

    stride: float
    anchors: tuple[tuple[float, float], ...]
    rows: int
    overwritten: int
    n_boxes: int
    n_small: int
    short_sides: tuple[float, ...]

    @property
    def share_overwritten(self) -> float:
        """Return the share of the rows that are overwritten, in [0, 1]; 0 without a row."""
        return self.overwritten / self.rows if self.rows else 0.0

    @property
    def share_small(self) -> float:
        """Return the share of the layer's boxes whose shorter side is less than one stride; 0 without a box."""
        return self.n_small / self.n_boxes if self.n_boxes else 0.0

    @property
    def is_overtaxed(self) -> bool:
        """Return True if the layer cannot resolve what it trains on.

        That is, over 30 % of its rows are overwritten, and half of its boxes are smaller than one stride.
        """
        return self.share_overwritten > CROWDED and 2 * self.n_small >= self.n_boxes > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and shares in the types of JSON."""
        return {
            "stride": self.stride,
            "anchors": [list(sides) for sides in self.anchors],
            "rows": self.rows,
            "overwritten": self.overwritten,
            "share_overwritten": self.share_overwritten,
            "n_boxes": self.n_boxes,
            "n_small": self.n_small,
            "short_sides": list(self.short_sides),
        }


@dataclass(frozen=True, repr=False)
class Crowding(Result):
    """Hold how crowded each layer is, and how many boxes training cannot see.

    layers : one LayerCrowding for each layer, in the order of the strides given
    n_boxes : number of boxes
    n_without_row : how many have no row in any layer: no anchor matches them, or they are not in the image
    n_lost : how many have rows, all of which are overwritten
    """

    layers: tuple[LayerCrowding, ...]
    n_boxes: int
    n_without_row: int
    n_lost: int

    def to_dict(self) -> dict[str, Any]:
        """Return the counts of all boxes and of each layer in the types of JSON."""
        return {
            "n_boxes": self.n_boxes,
            "n_without_row": self.n_without_row,
            "n_lost": self.n_lost,
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def __repr__(self) -> str:
        shares = " / ".join(f"{layer.share_overwritten:.0%}" for layer in self.layers)
        strides = " / ".join(f"{layer.stride:g}" for layer in self.layers)
        return (
            f"Crowding({shares} of rows overwritten on strides {strides}; "
            f"{grouped(self.n_without_row)} of {grouped(self.n_boxes)} boxes without a row, "
            f"{grouped(self.n_lost)} with all rows overwritten)"
        )

    def table(self) -> list[list[str]]:
        """Return the layers as rows of text; the first row has the heads of the columns."""
        rows = [["stride", "rows", "overwritten", "under 1 stride", "shorter side in strides (5 / 50 / 95 %)"]]
        for layer in self.layers:
            sides = " / ".join(f"{layer.short_sides[at]:.1f}" for at in (0, 2, 4)) if layer.short_sides else "-"
            shares = f"{layer.share_overwritten:.0%}", f"{layer.share_small:.0%}"
            rows.append([f"{layer.stride:g}", grouped(layer.rows), *shares, sides])
        return rows

    def _table_rows(self) -> list[Row]:
        return [
            *map(tuple, self.table()),
            ("boxes", grouped(self.n_boxes)),
            ("boxes without a row", grouped(self.n_without_row)),
            ("boxes with all rows overwritten", grouped(self.n_lost)),
        ]
