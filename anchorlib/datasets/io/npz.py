"""Write arrays to a file that NumPy can also open, atomically, and read them without trusting the file.

A zip of .npy members and one meta.json, none of them compressed, so that a small file cannot claim
much memory. Nothing is unpickled or evaluated. The zip's checksums detect damage.
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

#: What zipfile and json raise for damaged files.
_DAMAGE = (OSError, ValueError, LookupError, RuntimeError, EOFError, OverflowError, struct.error, zipfile.BadZipFile)

#: What an array must be: its dtype, as '<f4', and its shape; None stands for any length.
Form = tuple[str, tuple[Optional[int], ...]]


def write_npz(
    path: Union[str, os.PathLike[str]], kind: str, version: int, meta: dict[str, Any], **arrays: HostArray
) -> None:
    """Write arrays and metadata that JSON can hold. The same content gives identical bytes.

    `kind` names the content in words, `version` its layout. OSError if the file cannot be written.
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
    """Read a file of `write_npz`: the metadata and the arrays of `forms`, read-only.

    DatasetError, with the path, for a file that does not exist, is not a regular file, is truncated or changed, or has
    another kind or version. The caller checks the other metadata.
    """
    try:
        descriptor, size = open_regular(os.fspath(path))
        with os.fdopen(descriptor, "rb") as file, zipfile.ZipFile(file) as archive:
            meta = json.loads(_member(archive, _META, size))
            if not isinstance(meta, dict) or meta.get("kind") != kind:
                raise ValueError("another kind of file")
            if meta.get("version") != version:
                raise ValueError(
                    f"the file has version {meta.get('version')}, and this anchorlib reads version {version}"
                )
            return meta, {name: _array(_member(archive, f"{name}.npy", size), name, *forms[name]) for name in forms}
    except _DAMAGE as error:
        raise DatasetError(f"{os.fspath(path)}: expected {kind} as anchorlib saves them: {error}") from error


def _member(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > size:  # compressed, but anchorlib never compresses
        raise ValueError(f"{name} would be {info.file_size} bytes, out of a file of {size}")
    return archive.read(info)


def _array(data: bytes, name: str, dtype: str, wanted: tuple[Optional[int], ...]) -> HostArray:
    """Return the array of a .npy file. Its header is compared, not evaluated."""
    header = _HEADER.match(data, 10)  # after the magic, the version and the header's length
    if header is None or header[1].decode() != dtype:
        raise ValueError(f"{name} must be {dtype}")
    shape = tuple(map(int, re.findall(rb"\d+", header[2])))
    if len(shape) != len(wanted) or not all(want in (None, length) for want, length in zip(wanted, shape)):
        raise ValueError(f"{name} must have shape {wanted}, got {shape}")
    values = memoryview(data)[header.end() :]
    if len(values) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"{name} has shape {shape} in its header, but {len(values)} bytes of data")
    return np.frombuffer(values, np.dtype(dtype)).reshape(shape)
