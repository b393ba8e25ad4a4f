"""How many bytes an ONNX graph takes as protobuf, counted without making it.

A plan tells the size of a file before it is made, and may not load the onnx package for it. Protobuf's encoding
(protobuf.dev/programming-guides/encoding) is simple enough to count: a field is its key (one byte up to field 15, two
from there), then for a whole number its value in groups of seven bits, for a text or message its length likewise and
its bytes. ONNX's messages are of proto2, where a field that was set is written even if it is empty or zero, and
lists are not packed (onnx.proto: ``dims``, ``ints``).

Example::

    node_bytes(["x", "y"], ["z"], "Add", "", {})  # == make_node("Add", ["x", "y"], ["z"], "z", domain="").ByteSize()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

Attribute = int | float | str | tuple[int, ...]
_ATTRIBUTE_TYPE = 3  # field 20: a key of two bytes and a small number
_SMALL = 2  # a field whose value fits seven bits


def varint(value: int) -> int:
    """Bytes of a whole number; negative ones are 64 bits wide."""
    return max(1, -(-value.bit_length() // 7)) if value >= 0 else 10


def block(size: int) -> int:
    """Bytes of a field up to 15 that holds so many bytes."""
    return size + 2 if size < 128 else 1 + varint(size) + size


@lru_cache(maxsize=1 << 16)  # a plan counts six graphs, whose nodes bear the same names
def text(value: str) -> int:
    """Bytes of a field up to 15 that holds a text."""
    return block(len(value) if value.isascii() else len(value.encode()))


def numbers(values: Iterable[int]) -> int:
    """Bytes of a list of whole numbers, not packed."""
    return sum(1 + varint(value) for value in values)


def node_bytes(
    inputs: Sequence[str], outputs: Sequence[str], op: str, domain: str, attributes: Mapping[str, Attribute]
) -> int:
    """A node that bears the name of its first output."""
    size = sum(map(text, (*inputs, *outputs, outputs[0], op, domain)))
    if attributes:
        size += sum(map(_attribute_bytes, attributes.keys(), attributes.values()))
    return size


@lru_cache(maxsize=1 << 12, typed=True)
def _attribute_bytes(key: str, value: Attribute) -> int:
    if isinstance(value, int):
        size = 1 + varint(value)
    elif isinstance(value, float):
        size = 1 + 4
    else:
        size = text(value) if isinstance(value, str) else numbers(value)
    return block(text(key) + size + _ATTRIBUTE_TYPE)


def value_bytes(name: str, dimensions: tuple[int | str, ...]) -> int:
    """An input or output of the graph."""
    return text(name) + _type_bytes(dimensions)


@lru_cache(maxsize=1 << 8)
def _type_bytes(dimensions: tuple[int | str, ...]) -> int:
    sizes = (text(size) if isinstance(size, str) else 1 + varint(size) for size in dimensions)
    shape = sum(block(size) for size in sizes)
    return block(block(_SMALL + block(shape)))


def inline_bytes(name: str, dims: Sequence[int], nbytes: int) -> int:
    """A tensor inside the graph, its values as raw bytes."""
    return numbers(dims) + _SMALL + text(name) + block(nbytes)


def external_bytes(name: str, dims: Sequence[int], facts: Mapping[str, str]) -> int:
    """A tensor in a data file."""
    pairs = sum(block(text(key) + text(value)) for key, value in facts.items())
    return numbers(dims) + _SMALL + text(name) + pairs + _SMALL


def model_bytes(graph: int, producer: str, domains: Iterable[str]) -> int:
    """The whole model around a graph of so many bytes."""
    opsets = sum(block(text(domain) + _SMALL) for domain in domains)
    return _SMALL + opsets + text(producer) + block(graph)
