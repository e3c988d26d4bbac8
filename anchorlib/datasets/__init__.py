"""Read labels from disk: box sizes, and a list of what is wrong with the labels.

`reader` is the way in. `recognition` finds the format, a module of `formats` reads it into `Labels`, `validation`
decides which rows count (the same rules for all formats), and `resize` scales the boxes to the network's input.
"""

from anchorlib.datasets.box_sizes import BoxSizes, Problem
from anchorlib.datasets.in_memory import from_dataset
from anchorlib.datasets.reader import read_boxes
from anchorlib.datasets.resize import scale_sizes
from anchorlib.datasets.size_counts import SizeCounts

__all__ = ["BoxSizes", "Problem", "SizeCounts", "from_dataset", "read_boxes", "scale_sizes"]
