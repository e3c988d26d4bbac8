"""What goes wrong between frameworks. anchorlib.errors draws the whole tree."""


class BackendError(Exception):
    """An array or a framework that cannot be used."""


class ArrayTypeError(BackendError, TypeError):
    """Not an array of a framework that is known here."""


class BackendMixError(BackendError, TypeError):
    """Arrays of two frameworks, or on two devices, in one call."""


class BackendMissingError(BackendError, ImportError):
    """A backend was asked for by name and did not import."""
