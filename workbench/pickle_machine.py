"""A pickle's program followed without Python's pickle machine: it becomes tables, numbers and notes, never code.

A pickle is a program for a small stack machine, and some of its instructions import and call any function there is
(docs.python.org/3/library/pickle.html): opening a stranger's checkpoint can run the stranger's code. Here
``pickletools`` takes the program apart, and a machine of our own follows the instructions that build tables and
numbers. A function's name stays text to it; the few that rebuild a tensor become a note of where its values lie, and
any other name ends the reading.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Values of a storage by the class that torch names in the pickle.
_STORAGES = {
    "torch DoubleStorage": "F64", "torch FloatStorage": "F32", "torch HalfStorage": "F16",
    "torch BFloat16Storage": "BF16", "torch LongStorage": "I64", "torch IntStorage": "I32",
    "torch ShortStorage": "I16", "torch CharStorage": "I8", "torch ByteStorage": "U8", "torch BoolStorage": "BOOL",
}  # fmt: skip


class RefusedError(Exception):
    """Why a file is not read; the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class PickledStorage:
    """Values of one type; ``key`` names where they lie, ``numel`` counts them."""

    dtype: str
    key: str
    numel: int


@dataclass(frozen=True)
class PickledTensor:
    """A view of a storage; offset and stride count elements."""

    storage: PickledStorage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def follow(program: bytes) -> object:
    """What a pickle's program leaves: dictionaries by text, tuples, numbers and ``PickledTensor``.

    Raises:
        RefusedError: it names a function or an instruction that no table of tensors needs.
        ValueError, LookupError, TypeError, AttributeError, EOFError: the program makes no sense.
    """
    return _Machine().run(program)


class _Name(str):
    """A class or function that a pickle names: ``module name``. Only ever text."""

    __slots__ = ()


def _named(name: str) -> _Name:
    if name not in _STORAGES and name not in _CALLS:
        raise RefusedError(
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


def _rebuild_tensor(storage: object, offset: object, shape: object, stride: object, *rest: object) -> PickledTensor:
    """``rest``: requires_grad, backward hooks and, from torch 1.13 on, whether conjugated or negated."""
    if not isinstance(storage, PickledStorage) or any(rest[2:]):
        raise TypeError("no plain tensor")
    return PickledTensor(storage, _count(offset), _counts(shape), _counts(stride))


def _rebuild_parameter(tensor: PickledTensor, *_: object) -> PickledTensor:
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
                    raise RefusedError(f"holds the pickle instruction {name}, which no table of tensors needs")
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
        self.stack.append(PickledStorage(_STORAGES[values], key, _count(numel)))


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
