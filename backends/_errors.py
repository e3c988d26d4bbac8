"""The root of the library's errors, and what goes wrong between frameworks. anchorlib.errors draws the whole tree."""


class AnchorlibError(Exception):
    """The root of every error that this library raises on purpose."""


class BackendError(AnchorlibError):
    """An array, a framework or a device cannot be used."""


class ArrayTypeError(BackendError, TypeError):
    """The argument is not an array of a known framework, or the framework cannot hold its dtype."""


class BackendMixError(BackendError, TypeError):
    """The arrays of one call come from two frameworks, or are on two devices."""


class UnknownBackendError(BackendError, ValueError):
    """No backend has the name that was asked for."""


class DeviceError(BackendError, ValueError):
    """The framework cannot use the device that was asked for."""


class BackendMissingError(BackendError, ImportError):
    """A backend was asked for by name and did not import."""
