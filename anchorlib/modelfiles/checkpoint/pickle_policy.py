"""Define the inert values that a pickle is read into, and the calls that harmless checkpoints contain.

Nothing is ever called here: the lists only decide whether a checkpoint is reported as unsafe.
"""

from __future__ import annotations

from typing import Any


class Name:
    """Hold the name of a function or class, which is never imported."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.module else self.name


class Made:
    """Describe an object that was not made: the function `of` and its `args`, its state, and its entries if a dict."""

    __slots__ = ("args", "entries", "of", "state")

    def __init__(self, of: Any, args: Any) -> None:
        self.of, self.args = of, args
        self.state: Any = None
        self.entries: dict[str, Any] = {}


class Persistent:
    """Hold a reference to data outside the pickle: the storage of a tensor."""

    __slots__ = ("id",)

    def __init__(self, id: Any) -> None:
        self.id = id


class Skipped:
    """Stand for a text or bytes that are too large to be kept."""


def get_entries(value: Any) -> dict[str, Any]:
    """Return the entries with text keys of a dict or an object that is a dict; {} for any other value."""
    return value if isinstance(value, dict) else value.entries if isinstance(value, Made) else {}


def get_function_name(value: Any) -> str:
    """Return the full name of the function that would make a value; "" for a value that needs no function."""
    return str(value.of) if isinstance(value, Made) and isinstance(value.of, Name) else ""


def get_attributes(value: Any) -> dict[str, Any]:
    """Return the attributes of an object; {} for any other value."""
    state = value.state if isinstance(value, Made) else None
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # (attributes, attributes in slots)
    return {key: item for part in parts if isinstance(part, dict) for key, item in part.items()}


# Names that older versions of Python wrote, and their names today.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}

#: Modules that run commands, code or files, load other modules or use a network. One of their names in a checkpoint
#: is refused even if it is not called: it may be kept to be called later, as a hook of a layer.
_RUN = """asyncio bdb cProfile cPickle cffi cloudpickle code codeop commands concurrent ctypes _ctypes dill distutils
doctest ensurepip fileinput ftplib gc glob http idlelib imp importlib inspect io _io joblib lib2to3 marshal mmap
multiprocessing nt ntpath os pdb pickle _pickle pip pkgutil platform popen2 posix posixpath profile pty pydoc
requests runpy sched setuptools shelve shutil signal site smtplib socket socketserver sqlite3 ssl subprocess
_posixsubprocess sys sysconfig tempfile telnetlib _thread threading timeit trace unittest urllib venv webbrowser
xmlrpc zipimport"""
_RUNNERS = frozenset(_RUN.split())
_BUILT_IN = "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple type"
_TYPES = frozenset(_BUILT_IN.split())

#: Functions and classes that are called in the checkpoints of PyTorch, OneFlow and NumPy, and for the values of
#: options: they make a value from their arguments and do nothing else.
_VALUES = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list range set slice str tuple",
    "collections": "Counter OrderedDict defaultdict deque",
    "datetime": "date datetime time timedelta timezone",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "numpy": "dtype ndarray",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy._core.numeric": "_frombuffer",
    "torch": "Size device",
    "torch.serialization": "_get_layout",
    "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter "
    "_rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_nested_tensor "
    "_rebuild_device_tensor_from_numpy _rebuild_device_tensor_from_cpu_tensor _rebuild_xla_tensor "
    "_rebuild_meta_tensor_no_storage",
    "_codecs": "encode",
    "argparse": "Namespace",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "functools": "partial",
    "logging": "getLogger",
    "types": "SimpleNamespace",
    "uuid": "UUID",
}
_HARMLESS = frozenset(f"{module}.{name}" for module, names in _VALUES.items() for name in names.split())


def can_run_code(name: Name) -> bool:
    """Return True if a name can run code. A dotted name can reach it through another module: torch.hub, os.system.

    >>> can_run_code(Name("posix", "system")), can_run_code(Name("torch.hub", "os.system"))
    (True, True)
    >>> can_run_code(Name("models.yolo", "Detect"))
    False
    """
    top = name.module.split(".")[0]
    if _RENAMED.get(top, top) == "builtins":
        return name.name not in _TYPES and name.name != "getattr"  # the arguments of getattr are checked instead
    return top in _RUNNERS or any(map(_leads_to_code, name.name.split(".")))


def is_harmless(function: Name, args: tuple[Any, ...]) -> bool:
    """Return True if calling this function with these arguments only makes a value.

    >>> is_harmless(Name("collections", "OrderedDict"), ()), is_harmless(Name("numpy", "load"), ("a.npy",))
    (True, False)
    """
    full = f"{_RENAMED.get(function.module, function.module)}.{function.name}"
    if full == "builtins.getattr":  # a bound method or an inner class; calling the result is refused
        return len(args) == 2 and isinstance(args[1], str) and not _leads_to_code(args[1])
    if full == "copyreg._reconstructor":  # calls __new__ and __init__ of its second argument
        base = args[1] if len(args) == 3 else None
        return isinstance(base, Name) and base.module in ("builtins", "__builtin__") and base.name in _TYPES
    if full == "torch._tensor._rebuild_from_type_v2":  # calls its first argument with the third
        inner, given = (args[0], args[2]) if len(args) == 4 else (None, None)
        return isinstance(inner, Name) and isinstance(given, tuple) and f"{inner}" != full and is_harmless(inner, given)
    return full in _HARMLESS


def _leads_to_code(attribute: str) -> bool:
    """Return True if this attribute of a module or class can lead to a function that runs code."""
    return attribute in _RUNNERS or (attribute.startswith("__") and attribute.endswith("__"))
