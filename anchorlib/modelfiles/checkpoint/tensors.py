"""Read the values of the tensors in a checkpoint: those of PyTorch, of OneFlow, and NumPy's arrays.

A tensor is read when it is needed, after its position and size have been compared with those of the file.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Optional

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.files import is_regular, read_regular
from anchorlib.modelfiles.checkpoint.pickle_policy import Made, Name, Persistent, get_attributes, get_function_name
from anchorlib.modelfiles.checkpoint.pickle_reader import Damaged, make_printable

_MAX_STORAGE = 2**24  # bytes; the storage of anchors has a few hundred
_MAX_ITEMS = 2**12  # values of a tensor that may be anchors
_MAX_META = 2**16

# NumPy's type codes; bfloat16, which NumPy lacks, is the upper half of a float32.
_TORCH_STORAGES = {
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "DoubleStorage": "f8",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "u1",
    "UntypedStorage": "u1",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
    "QInt8Storage": "i1",
    "QUInt8Storage": "u1",
    "QInt32Storage": "i4",
}
_ONEFLOW_TYPES = {"kFloat": "f4", "kFloat16": "f2", "kDouble": "f8", "kInt64": "i8", "kInt32": "i4"}
_NUMPY_TYPES = ("f2", "f4", "f8", "i8", "i4")


@dataclass(frozen=True)
class ByteRange:
    """Describe a range of bytes in a file, with a checksum of all of them, or 0 if the file has no checksum."""

    start: int
    size: int
    crc: int = 0


def read_range(file: BinaryIO, where: ByteRange, limit: int) -> bytes:
    """Read a range, and compare its checksum unless it is 0, as after torch.serialization.set_crc32_options(False)."""
    if where.size > limit:
        raise Damaged(
            f"a part of it that is needed for the anchors has {where.size} bytes, more than the limit of {limit}"
        )
    file.seek(where.start)
    data = file.read(where.size)
    if len(data) < where.size or (where.crc and zlib.crc32(data) != where.crc):
        raise Damaged(
            "a part of it that is needed for the anchors is truncated or does not have the checksum in the file"
        )
    return data


def parse_storage_id(id: Any) -> tuple[Optional[str], str, int, int]:
    """Return key, dtype, first item and number of items of a persistent id; (None, ...) if it is not a storage."""
    nothing = (None, "", 0, 0)
    if not isinstance(id, tuple) or not 5 <= len(id) <= 6 or id[0] != "storage" or not isinstance(id[1], Name):
        return nothing
    letter = _TORCH_STORAGES.get(id[1].name) if id[1].module.split(".")[0] == "torch" else None
    view = id[5] if len(id) == 6 else None  # (key, first item, items), of versions that kept views
    first = view[1] if isinstance(view, tuple) and len(view) == 3 else 0
    if letter is None or not isinstance(id[2], str) or not _are_sizes((first, id[4])):
        return nothing
    return id[2], letter, first, id[4]


class TorchTensors:
    """Read the tensors of a torch file: each is a view (offset, shape, strides) of a storage."""

    def __init__(self, path: Path, storages: dict[str, ByteRange], order: str) -> None:
        self._path, self._storages, self._order = path, storages, order

    def array(self, value: Any) -> Optional[HostArray]:
        """Return the values of a tensor in its shape, or None if the value is not a tensor."""
        for _ in range(4):  # a parameter of a tensor with attributes is wrapped twice
            function, args = get_function_name(value), _arguments(value)
            if function.startswith("torch._utils._rebuild_parameter") and args:
                value = args[0]
            elif function == "torch._tensor._rebuild_from_type_v2" and len(args) == 4:
                value = Made(args[0], args[2])
            elif function.startswith("torch._utils._rebuild_tensor") and len(args) >= 4:
                return self._view(*args[:4])
            else:
                break
        return _numpy_array(value)

    def _view(self, storage: Any, offset: Any, shape: Any, strides: Any) -> Optional[HostArray]:
        shape, strides = _as_tuple(shape), _as_tuple(strides)
        key, letter, first, _ = parse_storage_id(storage.id if isinstance(storage, Persistent) else None)
        if key is None or not _are_sizes((offset, *shape, *strides)) or len(shape) != len(strides):
            raise Damaged("the description of a tensor is damaged")
        if not _is_small(shape):
            return None
        if key not in self._storages:
            raise Damaged("the storage of a tensor is missing")
        if letter == "u1":  # a storage without a type: the tensor has its own
            return None
        items = np.full(shape, first + offset, np.int64)
        for axis, step in enumerate(strides):
            items += (np.arange(shape[axis]) * step).reshape([-1] + [1] * (len(shape) - axis - 1))
        with open(self._path, "rb") as file:
            flat = _decoded(read_range(file, self._storages[key], _MAX_STORAGE), letter, self._order)
        if items.size and items.max() >= len(flat):
            raise Damaged("a tensor ends after the end of its storage")
        return flat[items]


def _decoded(data: bytes, letter: str, order: str) -> HostArray:
    usable = data[: len(data) - len(data) % get_itemsize(letter)]
    if letter == "bf16":
        return (np.frombuffer(usable, f"{order}u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(usable, order + letter).astype(letter)


def get_itemsize(letter: str) -> int:
    """Return the number of bytes of a value."""
    return 2 if letter == "bf16" else np.dtype(letter).itemsize


# OneFlow and NumPy


class OneFlowTensors:
    """Read the tensors of a OneFlow folder; each is a folder in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def array(self, value: Any) -> Optional[HostArray]:
        """Return the values of a tensor, or None if the value is not a tensor."""
        name = get_attributes(value).get("path")
        if not _is_oneflow(value) or name is None:
            return read_oneflow_array(value)
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.\-]*", name):
            raise Damaged("a tensor is outside the folder")
        return _read_tensor_folder(self._folder / name)


def _read_tensor_folder(folder: Path) -> Optional[HostArray]:
    """Read a tensor: `meta` has its shape and type as protobuf text, `out` its values."""
    if not (is_regular(folder / "out") and is_regular(folder / "meta")):
        raise Damaged(f"{make_printable(folder.name)} must have the files meta and out, not a folder, pipe or device")
    meta = read_regular(folder / "meta", _MAX_META).decode("latin-1")
    shape = tuple(map(int, re.findall(r"\bdim:\s*(\d{1,18})\b", meta)))
    letter = _ONEFLOW_TYPES.get("".join(re.findall(r"\bdata_type:\s*(\w+)", meta)))
    if not _is_small(shape) or letter is None:
        return None
    data = read_regular(folder / "out", _MAX_STORAGE)
    if len(data) != _count(shape) * get_itemsize(letter):
        raise Damaged(
            f"{make_printable(folder.name)}/out has {len(data)} bytes, but its meta has shape {shape} and type {letter}"
        )
    return _decoded(data, letter, "<").reshape(shape)


def _is_oneflow(value: Any) -> bool:
    return get_function_name(value).split(".")[0] == "oneflow"


def read_oneflow_array(value: Any) -> Optional[HostArray]:
    """Return the values of a OneFlow tensor that contains them, or of a NumPy array."""
    return _numpy_array(get_attributes(value).get("data") if _is_oneflow(value) else value)


def _numpy_array(value: Any) -> Optional[HostArray]:
    """Return a pickled NumPy array, whose state is (version, shape, dtype, Fortran order, bytes), or None."""
    state = value.state if get_function_name(value).endswith(".multiarray._reconstruct") else None
    if not isinstance(state, tuple) or len(state) != 5:
        return None
    _, shape, dtype, fortran, data = state
    if get_function_name(data) == "_codecs.encode":
        data = next(iter(_arguments(data)), None)  # bytes as older protocols write them
    if isinstance(data, str):
        data = data.encode("latin-1", "replace")
    letter = next(iter(_arguments(dtype)), None)
    order = dtype.state[1] if isinstance(dtype, Made) and isinstance(dtype.state, tuple) and dtype.state[1:] else "<"
    shape = _as_tuple(shape)
    if letter not in _NUMPY_TYPES or not isinstance(data, bytes) or not _is_small(shape):
        return None
    flat = _decoded(data, letter, ">" if order == ">" else "<")
    if len(flat) != _count(shape):
        raise Damaged(f"an array of shape {shape} has {len(flat)} values")
    return flat.reshape(shape, order="F" if fortran is True else "C")


def _arguments(value: Any) -> tuple[Any, ...]:
    return value.args if isinstance(value, Made) and isinstance(value.args, tuple) else ()


def _as_tuple(shape: Any) -> tuple[Any, ...]:
    """Return a shape, which is a tuple or a call of torch.Size, as a tuple."""
    if get_function_name(shape) == "torch.Size":
        shape = next(iter(_arguments(shape)), None)
    return shape if isinstance(shape, tuple) else ("no shape",)


def _are_sizes(values: tuple[Any, ...]) -> bool:
    return all(type(value) is int and 0 <= value < 2**40 for value in values)  # True is no length


def _is_small(shape: tuple[Any, ...]) -> bool:
    return len(shape) <= 8 and _are_sizes(shape) and _count(shape) <= _MAX_ITEMS


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod([float(side) for side in shape]))
