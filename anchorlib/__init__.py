"""Measure, fit and assign the anchor boxes of YOLO, with bit-identical results on NumPy, PyTorch and OneFlow.

This import does not import a framework: an array brings its own. It does not import NumPy either before a public name
is used, so that the command line can set its signal handlers first.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from anchorlib._version import __version__ as __version__

if TYPE_CHECKING:
    from anchorlib._public import *  # noqa: F403
    from anchorlib._public import __all__ as __all__


def __getattr__(name: str) -> Any:
    """Import all public names when the first one is used."""
    if name.startswith("__") and name != "__all__":  # what inspect and doctest look for
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    public = import_module("anchorlib._public")
    found = globals()
    found.update({each: getattr(public, each) for each in public.__all__}, __all__=public.__all__)
    if name not in found:  # the import has also added the modules, such as anchorlib.boxes
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found[name]


def __dir__() -> list[str]:
    return [*globals(), *__getattr__("__all__")]
