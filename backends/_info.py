"""What a namespace says about itself: the object that `__array_namespace_info__()` returns, as the standard has it."""

from ._errors import DeviceError
from ._spec import DTYPE_KINDS, DTYPES

STANDARD_VERSION = "2024.12"


class NamespaceInfo:
    """Hold the capabilities, devices and dtypes of a namespace. The dtypes are those that every backend computes with.

    xp : the namespace
    max_dimensions : the largest number of axes of an array
    """

    def __init__(self, xp, max_dimensions):
        self._xp, self._max_dimensions = xp, max_dimensions

    def capabilities(self):
        """Return what depends on the values of arrays: masks as indices, sizes of results; and the most axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": self._max_dimensions}

    def default_device(self):
        """Return the device of arrays that are made without `device=`."""
        return self._xp.device_of(self._xp.empty((0,)))

    def devices(self):
        """Return the devices that can be used, as `device=` takes them."""
        return self._xp.devices()

    def default_dtypes(self, *, device=None):
        """Return the dtypes of arrays made from Python numbers, and of indices."""
        self._check(device)
        xp = self._xp
        return {"real floating": xp.asarray(0.0).dtype, "integral": xp.asarray(0).dtype, "indexing": xp.int64}

    def dtypes(self, *, device=None, kind=None):
        """Return name -> dtype of the dtypes of a kind, or of one of several; None for all."""
        self._check(device)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        for one in kinds:
            if one is not None and one not in DTYPE_KINDS:
                raise ValueError(f"kind must be None or of {', '.join(DTYPE_KINDS)}, got {one!r}.")
        names = {name for one in kinds for name in (DTYPES if one is None else DTYPE_KINDS[one])}
        return {name: getattr(self._xp, name) for name in DTYPES if name in names}

    def _check(self, device):
        if device is not None and device not in self.devices():
            raise DeviceError(f"{self._xp.name} can use the devices {', '.join(self.devices())} here, got {device}.")
