"""Make losses that are modules of the imported frameworks, without importing one."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Sequence
from typing import Any

from anchorlib.backends import FRAMEWORKS, load
from anchorlib.errors import BackendMissingError


class LossModule:
    """Define the base of a loss that forks use as an `nn.Module`: subclass it, override `forward`, put it in a list.

    An object is a module of the framework whose modules are among its arguments, else of every framework that is
    imported when the object is made. If no framework is imported by then, it is a plain callable and stays one.
    The class itself is not a subclass of `nn.Module`: only its objects are instances.
    """

    _plain: type[LossModule]  # the class that was called

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._plain = cls

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        """Return an object of a class that also inherits from the frameworks' modules."""
        return _make(cls, _frameworks_of([*arguments, *options.values()]))

    def __call__(self, *arguments: Any) -> Any:
        """Call `forward`, and the hooks of a module if the loss is one."""
        call_module = getattr(super(), "__call__", None)  # noqa: B004  # it is called
        return (call_module or self.forward)(*arguments)

    def forward(self, pred: Any, true: Any) -> Any:
        """Return the loss of the predictions `pred` against `true`."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(pred, true).")

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle and copy by the class that was called: the class of the object is made at run time."""
        frameworks = tuple(name for name in FRAMEWORKS if _module_class(name) in type(self).__mro__)
        return _make, (self._plain, frameworks), self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes, hooks included."""
        self.__dict__.update(state)


def _frameworks_of(arguments: Sequence[Any]) -> tuple[str, ...]:
    """Return the frameworks whose modules are among the arguments, or all that are imported and have modules."""
    imported = tuple(name for name in FRAMEWORKS if _module_class(name) is not None)
    given = [name for name in imported if any(isinstance(x, _module_class(name)) for x in arguments)]
    return tuple(given) or imported


def _module_class(name: str) -> Any:
    """Return the class of a framework's modules; None if it has none, or nobody has imported it."""
    if sys.modules.get(FRAMEWORKS[name].module) is None:
        return None
    with contextlib.suppress(BackendMissingError):  # OneFlow in torch's place is not torch
        return load(name).Module
    return None


def _make(cls: Any, frameworks: tuple[str, ...]) -> Any:
    """Return an object whose attributes are not set yet, as `cls.__init__` expects it."""
    made = object.__new__(_class_with_modules(cls, frameworks))
    for name in FRAMEWORKS:
        module_class = _module_class(name)
        if module_class is not None and isinstance(made, module_class):  # also of a subclass that inherits from it
            module_class.__init__(made)
    return made


@functools.lru_cache(maxsize=256)
def _class_with_modules(cls: Any, frameworks: tuple[str, ...]) -> Any:
    """Return a class of the same name that inherits from `cls` and then from the frameworks' modules."""
    classes = [load(name).Module for name in frameworks]
    if not classes or any(issubclass(cls, module_class) for module_class in classes):
        return cls
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    made = type(cls)(cls.__name__, (cls, *classes), names)
    made._plain = cls._plain
    return made
