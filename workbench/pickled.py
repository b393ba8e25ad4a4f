"""Tensors inside ``pytorch_model*.bin``: where each lies, found without running anything and without torch.

``torch.save`` writes a zip archive without compression: ``<name>/data.pkl`` is a pickle of the table of tensors,
``<name>/data/<key>`` the raw values of each storage (pytorch.org/docs/stable/notes/serialization.html). A pickle is
a program for a small stack machine, and some of its instructions import and call any function there is
(docs.python.org/3/library/pickle.html): opening a checkpoint can run a stranger's code. Here the program is only
read: ``pickletools`` takes it apart, and a machine of our own follows the instructions that build tables and
numbers. A function's name stays text to it; the few that rebuild a tensor become a note of where its values lie, any
other name ends the reading. What is left is one ``TensorInfo`` per tensor, as safetensors' header gives.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from workbench.errors import CheckpointError
from workbench.tensors import DTYPE_BYTES, MAX_HEADER_BYTES, TensorInfo

# Values of a storage by the class that torch names in the pickle.
_STORAGES = {
    "torch DoubleStorage": "F64", "torch FloatStorage": "F32", "torch HalfStorage": "F16",
    "torch BFloat16Storage": "BF16", "torch LongStorage": "I64", "torch IntStorage": "I32",
    "torch ShortStorage": "I16", "torch CharStorage": "I8", "torch ByteStorage": "U8", "torch BoolStorage": "BOOL",
}  # fmt: skip
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip entry: signature, then the lengths of its name and extra field
_ZIP = b"PK"
# How torch's own format from before 1.6 begins: a pickle of its magic number 0x1950a86a20f9469cfc6c.
_BEFORE_ZIP = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# What zipfile, pickletools and the machine below say of bytes that make no sense.
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
        places: whether to look up where the values begin.

    Raises:
        CheckpointError: as ``read_pickled``.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            table, prefix = _table(archive)
            storages = {entry.filename: entry for entry in archive.infolist() if entry.filename.startswith(prefix)}
            tensors = [_info(name, value, storages, prefix, file) for name, value in _entries(table)]
            placed = [_placed(*pair, stream) if places else pair[0] for pair in tensors]
        return sorted(placed, key=lambda info: info.offset or 0)
    except _RefusedError as error:
        raise CheckpointError(f"{file} {error}") from error
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{file} {_not_a_zip(stream)}") from error
    except _DAMAGE as error:
        raise CheckpointError(f"{file} is damaged; fetch it again") from error


class _RefusedError(Exception):
    """Why a file is not read; the rest of a sentence that begins with its name."""


def _not_a_zip(stream: BinaryIO) -> str:
    stream.seek(0)
    start = stream.read(64)
    if _BEFORE_ZIP in start:
        return f"is in torch's format from before version 1.6; {_SAVE_AGAIN}"
    if start.startswith(_ZIP) or not start:
        return "is cut short; fetch it again"
    return "is no file of torch.save; fetch the checkpoint again"


def _table(archive: zipfile.ZipFile) -> tuple[object, str]:
    """What the archive's pickle describes, and the folder inside the archive it stands in."""
    entry = next((entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")), None)
    if entry is None:
        raise _RefusedError("is a zip archive without torch's data.pkl; fetch the checkpoint again")
    prefix = entry.filename.removesuffix("data.pkl")
    for part in archive.infolist():
        if part.compress_type != zipfile.ZIP_STORED or part.flag_bits & 1:
            raise _RefusedError(f"was compressed after it was saved, so its tensors cannot be read; {_SAVE_AGAIN}")
    if entry.file_size > MAX_HEADER_BYTES:
        raise ValueError("a table of tensors is a fraction of this")
    order = f"{prefix}byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        raise _RefusedError("was saved on a big-endian machine; convert it there, or load and save it on this one")
    return _Machine().run(archive.read(entry)), prefix


@dataclass(frozen=True)
class _Storage:
    """Values of one type, in an entry of the archive."""

    dtype: str
    key: str
    numel: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and stride count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _entries(table: object) -> list[tuple[str, _Tensor]]:
    if not isinstance(table, dict) or not all(isinstance(value, _Tensor) for value in table.values()):
        raise _RefusedError("holds more than a table of tensors; save the model's state_dict() alone, as safetensors")
    return list(table.items())


def _info(
    name: str, tensor: _Tensor, entries: dict[str, zipfile.ZipInfo], prefix: str, file: Path
) -> tuple[TensorInfo, zipfile.ZipInfo]:
    """Where a tensor lies within its storage, and the storage's entry; both must be large enough for it."""
    storage, entry = tensor.storage, entries[f"{prefix}data/{tensor.storage.key}"]
    size = DTYPE_BYTES[storage.dtype]
    info = TensorInfo(name, storage.dtype, tensor.shape, file, tensor.offset * size)
    if not _is_whole(tensor):
        raise _RefusedError(
            f"holds tensor {name} as a view that is not stored row by row; load the file, call contiguous() on it and "
            "save it again"
        )
    if tensor.offset + info.numel > storage.numel or storage.numel * size > entry.file_size:
        raise ValueError(f"{name} does not fit its storage")
    return info, entry


def _is_whole(tensor: _Tensor) -> bool:
    """Whether the values lie one after the other, last dimension fastest."""
    if 0 in tensor.shape:
        return True
    step = 1
    for length, stride in zip(reversed(tensor.shape), reversed(tensor.stride), strict=True):
        if length != 1 and stride != step:
            return False
        step *= length
    return True


def _placed(info: TensorInfo, entry: zipfile.ZipInfo, stream: BinaryIO) -> TensorInfo:
    """The tensor with its place in the file: behind the header that stands before each entry of a zip."""
    stream.seek(entry.header_offset)
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    if signature != b"PK\x03\x04":
        raise ValueError(f"no entry at {entry.header_offset}")
    start = entry.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    placed = TensorInfo(info.name, info.dtype, info.shape, info.file, start + (info.offset or 0))
    if start + entry.file_size > stream.seek(0, io.SEEK_END):
        raise ValueError(f"{info.name} reaches beyond the file")
    return placed


class _Name(str):
    """A class or function that a pickle names: ``module name``. Only ever text."""

    __slots__ = ()


def _named(name: str) -> _Name:
    if name not in _STORAGES and name not in _CALLS:
        raise _RefusedError(
            f"asks for {name.replace(' ', '.', 1)[:80]!r}, which would run code; it was not opened: fetch the weights "
            "as safetensors or from a source you trust"
        )
    return _Name(name)


def _count(value: object) -> int:
    """A whole number from 0."""
    if type(value) is not int or value < 0:
        raise TypeError("no count")
    return value


def _counts(values: object) -> tuple[int, ...]:
    """A shape or stride."""
    if not isinstance(values, tuple):
        raise TypeError("no shape")
    return tuple(map(_count, values))


def _rebuild_tensor(storage: object, offset: object, shape: object, stride: object, *rest: object) -> _Tensor:
    """``rest``: requires_grad, backward hooks and, from torch 1.13 on, whether conjugated or negated."""
    if not isinstance(storage, _Storage) or any(rest[2:]):
        raise TypeError("no plain tensor")
    return _Tensor(storage, _count(offset), _counts(shape), _counts(stride))


def _rebuild_parameter(tensor: _Tensor, *_: object) -> _Tensor:
    return tensor


# The only functions a table of tensors names, and what they come to here.
_CALLS: dict[str, Callable[..., object]] = {
    "collections OrderedDict": lambda: {},
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "torch._utils _rebuild_parameter_with_state": _rebuild_parameter,
}


class _Machine:
    """The pickle machine less every instruction that imports, makes or calls an object of Python's."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> object:
        """What a program leaves on the stack."""
        for instruction, argument, _ in pickletools.genops(program):
            name = instruction.name
            if name == "STOP":
                return self.stack.pop()
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in _FRESH:
                self.stack.append(_FRESH[name]())
            elif name not in _IDLE:
                if name not in _STEPS:
                    raise _RefusedError(f"holds the pickle instruction {name}, which no table of tensors needs")
                _STEPS[name](self, argument)
        raise EOFError

    def since_mark(self) -> list[Any]:
        """Take what was pushed since the last mark."""
        first = self.marks.pop()
        values = self.stack[first:]
        del self.stack[first:]
        return values

    def tuple_of(self, count: int) -> None:
        """Make the last values one tuple."""
        values = self.stack[-count:]
        if len(values) != count:
            raise IndexError("stack")
        self.stack[-count:] = [tuple(values)]

    def set_items(self, items: list[Any]) -> None:
        """Put keys and values that alternate into the table below them."""
        table = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(table) is not dict or type(key) is not str:
                raise TypeError("no table by name")
            table[key] = value

    def call(self) -> None:
        """Let a known function's stand-in take the place of the call."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or function not in _CALLS or type(arguments) is not tuple:
            raise TypeError("no call")
        self.stack.append(_CALLS[function](*arguments))

    def storage(self) -> None:
        """Make the description of a storage one."""
        kind, values, key, _, numel = self.stack.pop()[:5]
        if kind != "storage" or not isinstance(values, _Name) or type(key) is not str:
            raise TypeError("no storage")
        self.stack.append(_Storage(_STORAGES[values], key, _count(numel)))


_IDLE = frozenset({"PROTO", "FRAME"})
_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"},
)
_FRESH: dict[str, Callable[[], object]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
}  # fmt: skip
_STEPS: dict[str, Callable[[_Machine, Any], object]] = {
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": lambda machine, _: machine.stack.pop(),
    "BINPUT": lambda machine, place: machine.memo.__setitem__(place, machine.stack[-1]),
    "LONG_BINPUT": lambda machine, place: machine.memo.__setitem__(place, machine.stack[-1]),
    "MEMOIZE": lambda machine, _: machine.memo.__setitem__(len(machine.memo), machine.stack[-1]),
    "BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "APPEND": lambda machine, _: machine.stack.pop(),  # lists stand in metadata only
    "APPENDS": lambda machine, _: machine.since_mark(),
    "GLOBAL": lambda machine, name: machine.stack.append(_named(name)),
    "STACK_GLOBAL": lambda machine, _: machine.stack.append(
        _named(f"{machine.stack.pop(-2)} {machine.stack.pop()}"),
    ),
    "REDUCE": lambda machine, _: machine.call(),
    "BINPERSID": lambda machine, _: machine.storage(),
    "BUILD": lambda machine, _: machine.stack.pop(),  # an object's attributes, such as a table's _metadata
}
