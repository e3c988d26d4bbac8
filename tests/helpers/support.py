"""What tests of several folders share."""

import numpy as np

from anchorlib import backends


class Backend:
    """A namespace and a device to test on, and the ways in and out of it."""

    def __init__(self, entry):
        self.name, _, device = entry.partition(":")
        self.device = device or "cpu"
        self.xp = backends.load(self.name)  # raises when it is not there: asked for is asked for
        here = self.xp.devices()
        if not any(place.startswith(self.device) for place in here):
            raise RuntimeError(f"{entry} was asked for, but {self.name} finds the devices {here} only")

    def array(self, values, dtype=None):
        """An array on this backend and device; NumPy arrays are read-only, so that a write to an input fails."""
        host = np.asarray(values, dtype=dtype)
        if self.name != "numpy":
            return self.xp.from_numpy(host.copy(), device=self.device)
        host = host.copy()
        host.setflags(write=False)
        return host

    def host(self, array):
        """Its values as NumPy; an array of another framework or on another device is an error."""
        assert backends.namespace_of(array).name == self.name
        assert self.xp.device_of(array).startswith(self.device)
        return self.xp.to_numpy(array)

    def __repr__(self):
        return f"{self.name}:{self.device}"
