"""Arrays in a file that NumPy opens too: written whole or not at all, and not trusted when read.

A zip of .npy members and one meta.json, none of them compressed, so that a file holds at least as many bytes as it
says it does and cannot fill the memory. Nothing is unpickled or evaluated; damage is found by the zip's checksums.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import struct
import zipfile
from typing import Any, Optional, Union

import numpy as np

from anchorlib.arrays import HostArray
from anchorlib.atomic import write_atomically
from anchorlib.errors import DatasetError
from anchorlib.files import open_regular

_META = "meta.json"
_HEADER = re.compile(rb"\{'descr': '([^']*)', 'fortran_order': False, 'shape': \(([\d, ]{0,60})\), \} *\n")

#: What zipfile and json raise at bytes that are not theirs.
_DAMAGE = (OSError, ValueError, LookupError, RuntimeError, EOFError, OverflowError, struct.error, zipfile.BadZipFile)

#: What an array must be: its dtype, as '<f4', and its shape, where None is any length.
Form = tuple[str, tuple[Optional[int], ...]]


def write_npz(
    path: Union[str, os.PathLike[str]], kind: str, version: int, meta: dict[str, Any], **arrays: HostArray
) -> None:
    """Write arrays, and beside them what JSON can say; the same content gives the same bytes.

    `kind` says in words what the file holds, `version` how. OSError where it cannot be written.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # A ZipInfo made from a name has the date of 1980, not that of today.
        archive.writestr(zipfile.ZipInfo(_META), json.dumps({"kind": kind, "version": version, **meta}))
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), (1, 0), allow_pickle=False)
    write_atomically(path, buffer.getvalue())


def read_npz(
    path: Union[str, os.PathLike[str]], kind: str, version: int, **forms: Form
) -> tuple[dict[str, Any], dict[str, HostArray]]:
    """What `write_npz` wrote: the meta and the arrays of `forms`, read-only.

    DatasetError, with the path, for a file that is not there, is no regular file, was cut off or changed, or is of
    another kind or version. What the meta says beside those two is for the caller to check.
    """
    try:
        descriptor, size = open_regular(os.fspath(path))
        with os.fdopen(descriptor, "rb") as file, zipfile.ZipFile(file) as archive:
            meta = json.loads(_member(archive, _META, size))
            if not isinstance(meta, dict) or meta.get("kind") != kind:
                raise ValueError("another kind of file")
            if meta.get("version") != version:
                raise ValueError(f"it is of version {meta.get('version')}, and this anchorlib reads {version}")
            return meta, {name: _array(_member(archive, f"{name}.npy", size), name, *forms[name]) for name in forms}
    except _DAMAGE as error:
        raise DatasetError(f"{os.fspath(path)}: expected {kind} as anchorlib saves them: {error}") from error


def _member(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > size:  # compressed, which it is not as saved
        raise ValueError(f"{name} would be {info.file_size} bytes, out of a file of {size}")
    return archive.read(info)


def _array(data: bytes, name: str, dtype: str, wanted: tuple[Optional[int], ...]) -> HostArray:
    """The array of a .npy file: its header is compared, not evaluated."""
    header = _HEADER.match(data, 10)  # after the magic, the version and the header's length
    if header is None or header[1].decode() != dtype:
        raise ValueError(f"{name} must be {dtype}")
    shape = tuple(map(int, re.findall(rb"\d+", header[2])))
    if len(shape) != len(wanted) or not all(want in (None, length) for want, length in zip(wanted, shape)):
        raise ValueError(f"{name} must have shape {wanted}, got {shape}")
    values = memoryview(data)[header.end() :]
    if len(values) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"{name} says it has shape {shape}, and has {len(values)} bytes")
    return np.frombuffer(values, np.dtype(dtype)).reshape(shape)
