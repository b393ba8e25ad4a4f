"""Tensors inside ``pytorch_model*.bin``: where each lies, found without running anything and without torch.

``torch.save`` writes a zip archive without compression: ``<name>/data.pkl`` is a pickle of the table of tensors,
``<name>/data/<key>`` the raw values of each storage (pytorch.org/docs/stable/notes/serialization.html). The pickle is
a program that may hold any code; it is only read (``workbench/pickle_machine.py``), not run. What it says is one
``TensorInfo`` per tensor, as safetensors' header gives, and the values are read like safetensors' from there on.
"""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from workbench.errors import CheckpointError
from workbench.pickle_machine import PickledTensor, RefusedError, follow
from workbench.tensors import DTYPE_BYTES, MAX_HEADER_BYTES, TensorInfo

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip entry: signature, then the lengths of its name and extra field
_ZIP = b"PK"
# How torch's own format from before 1.6 begins: a pickle of its magic number 0x1950a86a20f9469cfc6c.
_BEFORE_ZIP = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# What zipfile, pickletools and the pickle machine say of bytes that make no sense.
_DAMAGE = (
    ValueError, LookupError, TypeError, AttributeError, OverflowError, NotImplementedError, EOFError, struct.error,
)  # fmt: skip
_SAVE_AGAIN = "load it with torch.load(..., weights_only=True) and save it again with torch.save"


def read_pickled(file: Path) -> list[TensorInfo]:
    """Tensors of one ``pytorch_model*.bin``, in the order of the file; nothing in it is run.

    Raises:
        CheckpointError: cut short, compressed, in the format from before torch 1.6, or more than a table of
            tensors; the message says which.
    """
    try:
        with file.open("rb") as handle:
            return read_pickled_stream(handle, file)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error}); fetch it again") from error


def read_pickled_stream(stream: BinaryIO, file: Path, places: bool = True) -> list[TensorInfo]:
    """The same from an open file, which may be a distant one.

    Args:
        stream: seekable; read at its end, at the table and, for ``places``, at every storage's own header.
        file: what the tensors will name as theirs.
        places: whether to look up where the values begin; without, an offset only tells which tensors share them.

    Raises:
        CheckpointError: as ``read_pickled``.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            table, prefix = _table(archive)
            storages = {entry.filename: entry for entry in archive.infolist() if entry.filename.startswith(prefix)}
            tensors = [_info(name, value, storages, prefix, file) for name, value in _entries(table)]
            placed = [_placed(*pair, stream) if places else _moved(*pair) for pair in tensors]
        return sorted(placed, key=lambda info: info.offset or 0)
    except RefusedError as error:
        raise CheckpointError(f"{file} {error}") from error
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{file} {_not_a_zip(stream)}") from error
    except _DAMAGE as error:
        raise CheckpointError(f"{file} is damaged; fetch it again") from error


def _not_a_zip(stream: BinaryIO) -> str:
    stream.seek(0)
    start = stream.read(64)
    if _BEFORE_ZIP in start:
        return f"is in torch's format from before version 1.6; {_SAVE_AGAIN}"
    if start.startswith(_ZIP) or not start:
        return "is cut short or damaged; fetch it again"
    return "is no file of torch.save; fetch the checkpoint again"


def _table(archive: zipfile.ZipFile) -> tuple[object, str]:
    """What the archive's pickle describes, and the folder inside the archive it stands in."""
    entry = next((entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")), None)
    if entry is None:
        raise RefusedError("is a zip archive without torch's data.pkl; fetch the checkpoint again")
    prefix = entry.filename.removesuffix("data.pkl")
    for part in archive.infolist():
        if part.compress_type != zipfile.ZIP_STORED or part.flag_bits & 1:
            raise RefusedError(f"was compressed after it was saved, so its tensors cannot be read; {_SAVE_AGAIN}")
    if entry.file_size > MAX_HEADER_BYTES:
        raise ValueError("a table of tensors is a fraction of this")
    order = f"{prefix}byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        raise RefusedError("was saved on a big-endian machine; convert it there, or load and save it on this one")
    return follow(archive.read(entry)), prefix


def _entries(table: object) -> list[tuple[str, PickledTensor]]:
    if not isinstance(table, dict) or not all(isinstance(value, PickledTensor) for value in table.values()):
        raise RefusedError("holds more than a table of tensors; save the model's state_dict() alone, as safetensors")
    return list(table.items())


def _info(
    name: str, tensor: PickledTensor, entries: dict[str, zipfile.ZipInfo], prefix: str, file: Path
) -> tuple[TensorInfo, zipfile.ZipInfo]:
    """Where a tensor lies within its storage, and the storage's entry; both must be large enough for it."""
    storage, entry = tensor.storage, entries[f"{prefix}data/{tensor.storage.key}"]
    size = DTYPE_BYTES[storage.dtype]
    info = TensorInfo(name, storage.dtype, tensor.shape, file, tensor.offset * size)
    if not _is_whole(tensor):
        raise RefusedError(
            f"holds tensor {name} as a view that is not stored row by row; load the file, call contiguous() on it and "
            "save it again"
        )
    if tensor.offset + info.numel > storage.numel or storage.numel * size > entry.file_size:
        raise ValueError(f"{name} does not fit its storage")
    return info, entry


def _is_whole(tensor: PickledTensor) -> bool:
    """Whether the values lie one after the other, last dimension fastest."""
    if 0 in tensor.shape:
        return True
    step = 1
    for length, stride in zip(reversed(tensor.shape), reversed(tensor.stride), strict=True):
        if length != 1 and stride != step:
            return False
        step *= length
    return True


def _moved(info: TensorInfo, entry: zipfile.ZipInfo, header_bytes: int = 0) -> TensorInfo:
    """The tensor with its offset from the beginning of the file."""
    return replace(info, offset=entry.header_offset + header_bytes + (info.offset or 0))


def _placed(info: TensorInfo, entry: zipfile.ZipInfo, stream: BinaryIO) -> TensorInfo:
    """The tensor with its place in the file: behind the header that stands before each entry of a zip."""
    stream.seek(entry.header_offset)
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    if signature != b"PK\x03\x04":
        raise ValueError(f"no entry at {entry.header_offset}")
    header_bytes = _LOCAL_HEADER.size + name_bytes + extra_bytes
    if entry.header_offset + header_bytes + entry.file_size > stream.seek(0, io.SEEK_END):
        raise ValueError(f"{info.name} reaches beyond the file")
    return _moved(info, entry, header_bytes)
