"""Every error that this library raises on purpose.

The classes, with the built-in class that each one also has::

    AnchorlibError
    ├── ShapeError              (a ValueError)   an array has the wrong shape or dtype
    ├── BadValueError           (a ValueError)   a value cannot be used: NaN, a side <= 0, n too large
    ├── DatasetError            (a ValueError)   a data set has nothing that can be read, or is not a data set
    │   └── LabelError                           a label is bad; with file and line (problems="raise")
    ├── ModelError              (a ValueError)   a model or a file of anchors lacks what is needed
    │   └── UnsafeCheckpointError                a checkpoint would run code when its framework loads it
    ├── MissingPackageError     (an ImportError) an optional package is needed and not installed
    └── BackendError                             an array, a framework or a device cannot be used
        ├── ArrayTypeError      (a TypeError)    not a NumPy, PyTorch or OneFlow array, or a dtype it cannot hold
        ├── BackendMixError     (a TypeError)    the arrays come from two frameworks, or are on two devices
        ├── UnknownBackendError (a ValueError)   no backend has that name
        ├── DeviceError         (a ValueError)   the framework cannot use that device
        └── BackendMissingError (an ImportError) a backend was asked for by name and did not import

A message says what must hold, what came, and what to do. A call that does not fit a function's signature raises
TypeError, as everywhere in Python.
"""

from anchorlib.backends import (
    AnchorlibError,
    ArrayTypeError,
    BackendError,
    BackendMissingError,
    BackendMixError,
    DeviceError,
    UnknownBackendError,
)

__all__ = [
    "AnchorlibError",
    "ArrayTypeError",
    "BackendError",
    "BackendMissingError",
    "BackendMixError",
    "BadValueError",
    "DatasetError",
    "DeviceError",
    "LabelError",
    "MissingPackageError",
    "ModelError",
    "ShapeError",
    "UnknownBackendError",
    "UnsafeCheckpointError",
]


class ShapeError(AnchorlibError, ValueError):
    """An array has the wrong shape or dtype."""


class BadValueError(AnchorlibError, ValueError):
    """The shape is right, but a value cannot be used."""


class DatasetError(AnchorlibError, ValueError):
    """A data set has nothing that can be read, or is not a data set."""


class LabelError(DatasetError):
    """A label is bad; the message names its file and line."""


class ModelError(AnchorlibError, ValueError):
    """A model or a file of anchors lacks what is needed."""


class UnsafeCheckpointError(ModelError):
    """A checkpoint would run code when its framework loads it. anchorlib has run none of it."""


class MissingPackageError(AnchorlibError, ImportError):
    """An optional package is needed and not installed."""
