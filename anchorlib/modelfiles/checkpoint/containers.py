"""Open the containers of checkpoints: find the pickle, and the values of its tensors.

torch.save writes a zip file, or before 1.6 a sequence of pickles followed by the values. flow.save of OneFlow writes a
folder with one folder for each tensor, or in newer versions one pickle with the values in it.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional

from anchorlib.arrays import HostArray
from anchorlib.files import RefusedFileError, is_folder, is_regular, open_regular, read_fully
from anchorlib.modelfiles.checkpoint.pickle_policy import Made, Name
from anchorlib.modelfiles.checkpoint.pickle_reader import Damaged, Pickle, make_printable
from anchorlib.modelfiles.checkpoint.tensors import (
    ByteRange,
    OneFlowTensors,
    TorchTensors,
    get_itemsize,
    parse_storage_id,
    read_oneflow_array,
    read_range,
)

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of torch's older format
_MAX_PICKLE = 2**26  # bytes; the largest data.pkl have about 2 million
_MAX_READ = 2**24  # bytes that zipfile reads at once: its list of members


@dataclass(frozen=True)
class Contents:
    """Hold what a checkpoint contains: its format, the tree of inert values, and a function that reads a tensor."""

    format: str
    root: Any
    array: Callable[[Any], Optional[HostArray]]  # None if the value is not a tensor, or is too large


def _describe_start(head: bytes) -> str:
    """Say what a file is that is neither a zip file nor a pickle; failed downloads are the usual case."""
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS: run `git lfs pull` to get the file itself"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page: the download failed, repeat it"
    return "it starts neither as a zip file nor as a pickle"


def open_contents(path: Path, refused: dict[str, None]) -> Contents:
    """Open a file or folder and return its contents. Calls that no harmless checkpoint makes are added to `refused`.

    Raises
    ------
    Damaged : not a checkpoint, or a damaged one; OSError
    """
    if is_folder(path):
        return _open_folder(path, refused)
    with _open(path) as file:
        head = file.read(512)
        file.seek(0)
        if head.startswith(b"PK\x03\x04"):
            return _open_zip(path, refused)
        if head[257:262] == b"ustar":
            raise Damaged("it is a tar file of PyTorch before 0.2: load and save it with a newer version")
        try:
            first = Pickle(file, refused).read()
        except Damaged as error:
            if head.startswith(b"\x80"):
                raise
            raise Damaged(_describe_start(head)) from error
        if isinstance(first, int) and first == _MAGIC:
            return _open_torch_legacy(path, file, refused)
    if isinstance(first, dict) and "data" in first and first.get("protocol_version") is not None:
        return Contents("OneFlow file", first["data"], read_oneflow_array)
    return Contents("pickle", first, read_oneflow_array)


def _open(path: Path) -> BinaryIO:
    try:
        return os.fdopen(open_regular(path)[0], "rb")
    except RefusedFileError as error:
        raise Damaged(f"{path.name} is {error}") from error


# PyTorch


def _open_zip(path: Path, refused: dict[str, None]) -> Contents:
    try:
        with _ShortReads(path) as raw, zipfile.ZipFile(raw) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, OSError, struct.error) as error:
        raise Damaged(f"its zip directory is damaged ({make_printable(str(error))})") from error
    names = {member.filename for member in members}
    if len(names) < len(members):
        raise Damaged("two members of the zip file have one name")
    pickles = [name for name in names if re.fullmatch(r"([^/]*/)?data\.pkl", name)]
    if len(pickles) != 1:
        raise Damaged("it is a zip file without the one data.pkl that torch.save writes")
    prefix = pickles[0][: -len("data.pkl")]
    if f"{prefix}constants.pkl" in names:
        raise Damaged(
            "it is TorchScript, which has code instead of the model: pass the checkpoint from which it was made"
        )
    with open(path, "rb") as file:
        size = path.stat().st_size
        ranges = {
            member.filename[len(prefix) :]: _find_member(file, member, size)
            for member in members
            if member.filename.startswith((pickles[0], f"{prefix}byteorder", f"{prefix}data/"))
        }
        data = read_range(file, ranges["data.pkl"], _MAX_PICKLE)
        order = read_range(file, ranges.get("byteorder", ByteRange(0, 0)), _MAX_PICKLE)
    root = Pickle(io.BytesIO(data), refused).read()
    storages = {name[len("data/") :]: where for name, where in ranges.items() if name.startswith("data/")}
    return Contents("torch zip", root, TorchTensors(path, storages, ">" if order == b"big" else "<").array)


class _ShortReads(io.FileIO):
    """Limit the bytes read at once: a zip file may claim a directory of any size, and zipfile reads all of it."""

    def read(self, size: Optional[int] = -1) -> Any:
        if size is not None and size > _MAX_READ:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        if size is None or size < 0:
            return super().readall()
        return read_fully(self.fileno(), size)


def _find_member(file: BinaryIO, member: zipfile.ZipInfo, file_size: int) -> ByteRange:
    """Return the bytes of a member. torch.save does not compress, so a member is not larger than in the file."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise Damaged("a member of the zip file is compressed or encrypted, which torch.save never does: repack it")
    header = b""
    if 0 <= member.header_offset < file_size:
        file.seek(member.header_offset)
        header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise Damaged("a member of the zip file is not at the position in its directory")
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    where = ByteRange(member.header_offset + 30 + lengths, member.file_size, member.CRC)
    if member.file_size != member.compress_size or where.start + where.size > file_size:
        raise Damaged("a member of the zip file ends after the end of the file")
    return where


def _open_torch_legacy(path: Path, file: BinaryIO, refused: dict[str, None]) -> Contents:
    """Read what follows the magic number: version, system, object, keys of the storages, then each storage."""
    ids: list[Any] = []
    for _ in ("version", "system"):
        Pickle(file, refused).read()
    root = Pickle(file, refused, ids).read()
    keys = Pickle(file, refused).read()
    kinds = {key: (letter, count) for key, letter, _, count in map(parse_storage_id, ids) if key is not None}
    file_size, storages = path.stat().st_size, {}
    for key in keys if isinstance(keys, list) else [None]:
        letter, count = kinds.get(key, ("", -1)) if isinstance(key, str) else ("", -1)
        if int.from_bytes(file.read(8), "little") != count:
            raise Damaged("its list of storages is damaged")
        storages[str(key)] = ByteRange(file.tell(), count * get_itemsize(letter))
        if file.tell() + count * get_itemsize(letter) > file_size:
            raise Damaged("a storage ends after the end of the file")
        file.seek(count * get_itemsize(letter), 1)
    return Contents("torch legacy", root, TorchTensors(path, storages, "<").array)


# OneFlow


def _open_folder(path: Path, refused: dict[str, None]) -> Contents:
    """Open `pickled_data` and a folder for each tensor; older versions and graphs have only the folders of tensors."""
    array = OneFlowTensors(path).array
    pickled = path / "pickled_data"
    if os.path.lexists(pickled):
        with _open(pickled) as file:
            content = Pickle(file, refused).read()
        return Contents("OneFlow folder", content.get("data") if isinstance(content, dict) else None, array)
    tensors = {}
    for entry in path.iterdir():
        if is_regular(entry / "out") and is_regular(entry / "meta"):
            tensors[entry.name] = tensor = Made(Name("oneflow", "Tensor"), ())
            tensor.state = {"path": entry.name}
    if not tensors:
        raise Damaged("it is a folder without the pickled_data that flow.save of OneFlow writes")
    return Contents("OneFlow folder", tensors, array)
