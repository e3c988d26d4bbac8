"""The inert values that a pickle leaves, and which of the calls it asks for are those of every checkpoint.

Nothing is ever called here: the lists decide about the message alone.
"""

from __future__ import annotations

from typing import Any


class Name:
    """A function or class that the pickle names: `module` and `name`, and nothing behind them."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.module else self.name


class Made:
    """What a call of `of` with `args` would have made, the state it would have got and its entries, if a dict."""

    __slots__ = ("args", "entries", "of", "state")

    def __init__(self, of: Any, args: Any) -> None:
        self.of, self.args = of, args
        self.state: Any = None
        self.entries: dict[str, Any] = {}


class Persistent:
    """A reference to something beside the pickle, a tensor's storage."""

    __slots__ = ("id",)

    def __init__(self, id: Any) -> None:
        self.id = id


class Skipped:
    """A text or bytes too large to be of interest."""


def get_entries(value: Any) -> dict[str, Any]:
    """The entries under text of a dict, or of an object that is one; of anything else none."""
    return value if isinstance(value, dict) else value.entries if isinstance(value, Made) else {}


def get_function_name(value: Any) -> str:
    """The full name of what would have made a value; "" of a value that is there itself."""
    return str(value.of) if isinstance(value, Made) and isinstance(value.of, Name) else ""


def get_attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object; of anything else none."""
    state = value.state if isinstance(value, Made) else None
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # (attributes, those in slots)
    return {key: item for part in parts if isinstance(part, dict) for key, item in part.items()}


# Names that older Pythons wrote, and what is meant by them.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}

#: Modules that run commands, code or files, load other modules or talk to a network. One of their names in a
#: checkpoint is a finding even where it is not called: it may be kept for later, as a hook of a layer.
_RUN = """asyncio bdb cProfile cPickle cffi cloudpickle code codeop commands concurrent ctypes _ctypes dill distutils
doctest ensurepip fileinput ftplib gc glob http idlelib imp importlib inspect io _io joblib lib2to3 marshal mmap
multiprocessing nt ntpath os pdb pickle _pickle pip pkgutil platform popen2 posix posixpath profile pty pydoc
requests runpy sched setuptools shelve shutil signal site smtplib socket socketserver sqlite3 ssl subprocess
_posixsubprocess sys sysconfig tempfile telnetlib _thread threading timeit trace unittest urllib venv webbrowser
xmlrpc zipimport"""
_RUNNERS = frozenset(_RUN.split())
_BUILT_IN = "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple type"
_TYPES = frozenset(_BUILT_IN.split())

#: Functions and classes whose calls stand in the checkpoints of PyTorch, OneFlow and NumPy, and values of people's
#: options: they take their arguments and make a value of them.
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
    """Does this name run things? A dotted name may also reach through a module that imported one: torch.hub, os.system.

    >>> can_run_code(Name("posix", "system")), can_run_code(Name("torch.hub", "os.system"))
    (True, True)
    >>> can_run_code(Name("models.yolo", "Detect"))
    False
    """
    top = name.module.split(".")[0]
    if _RENAMED.get(top, top) == "builtins":
        return name.name not in _TYPES and name.name != "getattr"  # of getattr the call is looked at
    return top in _RUNNERS or any(map(_leads_on, name.name.split(".")))


def is_harmless(function: Name, args: tuple[Any, ...]) -> bool:
    """Does calling this function with these arguments make a value and no more?

    >>> is_harmless(Name("collections", "OrderedDict"), ()), is_harmless(Name("numpy", "load"), ("a.npy",))
    (True, False)
    """
    full = f"{_RENAMED.get(function.module, function.module)}.{function.name}"
    if full == "builtins.getattr":  # a bound method or an inner class; to call what it gives is refused
        return len(args) == 2 and isinstance(args[1], str) and not _leads_on(args[1])
    if full == "copyreg._reconstructor":  # calls __new__ and __init__ of its second argument
        base = args[1] if len(args) == 3 else None
        return isinstance(base, Name) and base.module in ("builtins", "__builtin__") and base.name in _TYPES
    if full == "torch._tensor._rebuild_from_type_v2":  # calls its first argument with the third
        inner, given = (args[0], args[2]) if len(args) == 4 else (None, None)
        return isinstance(inner, Name) and isinstance(given, tuple) and f"{inner}" != full and is_harmless(inner, given)
    return full in _HARMLESS


def _leads_on(attribute: str) -> bool:
    """Does this attribute of some module or class lead to what runs things?"""
    return attribute in _RUNNERS or (attribute.startswith("__") and attribute.endswith("__"))
