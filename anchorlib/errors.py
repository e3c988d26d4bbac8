"""Every error that this library raises on purpose.

    AnchorlibError
    ├── ShapeError          (a ValueError)   an array of the wrong shape or dtype
    ├── BadValueError       (a ValueError)   the right shape, unusable values: NaN, a side <= 0, n too large
    ├── DatasetError        (a ValueError)   nothing readable in a data set, or not a data set at all
    │   └── LabelError                       one bad label, with file and line (problems="raise")
    ├── ModelError          (a ValueError)   a model or a file of anchors without what is needed
    │   └── UnsafeCheckpointError            a checkpoint that would run code when its framework loads it
    └── MissingPackageError (an ImportError) something optional is asked for and not installed

    backends.BackendError
    ├── ArrayTypeError      (a TypeError)    not a numpy, torch or oneflow array
    ├── BackendMixError     (a TypeError)    arrays of two frameworks, or on two devices
    └── BackendMissingError (an ImportError) a backend asked for by name did not import

A message says what must hold, what came, and what to do.
"""

from anchorlib.backends import ArrayTypeError, BackendError, BackendMissingError, BackendMixError

__all__ = [
    "AnchorlibError",
    "ArrayTypeError",
    "BackendError",
    "BackendMissingError",
    "BackendMixError",
    "BadValueError",
    "DatasetError",
    "LabelError",
    "MissingPackageError",
    "ModelError",
    "ShapeError",
    "UnsafeCheckpointError",
]


class AnchorlibError(Exception):
    """The root of the errors about data and models."""


class ShapeError(AnchorlibError, ValueError):
    """An array of the wrong shape or dtype."""


class BadValueError(AnchorlibError, ValueError):
    """The right shape, but values that cannot be used."""


class DatasetError(AnchorlibError, ValueError):
    """Nothing readable in a data set, or not a data set at all."""


class LabelError(DatasetError):
    """One bad label, with file and line."""


class ModelError(AnchorlibError, ValueError):
    """A model, or a file of anchors, without what is needed."""


class UnsafeCheckpointError(ModelError):
    """A checkpoint that would run code when its framework loads it. Here nothing of it was run."""


class MissingPackageError(AnchorlibError, ImportError):
    """Something optional is asked for and not installed."""
