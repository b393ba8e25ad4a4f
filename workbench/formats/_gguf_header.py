"""The bytes before a GGUF file's data: magic, version, counts, key-value pairs, tensor infos, padding.

Layout (github.com/ggml-org/ggml, docs/gguf.md), all little-endian::

    "GGUF"  u32 version=3  u64 tensors  u64 pairs
    pair:   string key, u32 type, value            string: u64 length, UTF-8
    array:  u32 type of items, u64 length, items
    tensor: string name, u32 dimensions, u64 each (innermost first), u32 ggml type, u64 offset

Offsets count from the end of this header, which is padded to 32 bytes, as every tensor is. So the header is known
before any weight is read, and a file can be written from front to back.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from workbench.formats._gguf_layout import TensorPlan, padded
from workbench.formats._gguf_types import TYPE_NUMBERS

Value = str | int | float | bool | list[str] | list[int] | list[float]

MAGIC, VERSION = b"GGUF", 3
_START_BYTES = 4 + 4 + 8 + 8  # magic, version, numbers of tensors and pairs
_INFO_BYTES = 8 + 4 + 4 + 8  # of a tensor: length of its name, number of dimensions, type, offset
# gguf_metadata_value_type (docs/gguf.md).
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9


def header_bytes(pairs: Mapping[str, Value], plans: Sequence[TensorPlan]) -> bytes:
    """Everything before the data.

    Args:
        pairs: in the order of the file; int is u32, float is f32, a list of int is i32, of float f32.
        plans: in the order of the data.
    """
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(plans), len(pairs)), pairs_bytes(pairs)]
    offset = 0
    for plan in plans:
        dimensions = plan.shape[::-1]
        parts.append(_string(plan.name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions))
        parts.append(struct.pack("<IQ", TYPE_NUMBERS[plan.type], offset))
        offset += padded(plan.nbytes)
    header = b"".join(parts)
    return header.ljust(padded(len(header)), b"\0")


def pairs_bytes(pairs: Mapping[str, Value]) -> bytes:
    """The key-value pairs as they stand in the header."""
    return b"".join(_string(key) + _typed(value) for key, value in pairs.items())


def header_size(pairs: Mapping[str, Value], plans: Sequence[TensorPlan], more: int = 0) -> int:
    """Bytes of a header, without making it.

    Args:
        pairs: as for ``header_bytes``.
        plans: as for ``header_bytes``.
        more: bytes of further pairs, whose own bytes are not at hand or were counted before.
    """
    infos = sum(_INFO_BYTES + len(plan.name.encode()) + 8 * len(plan.shape) for plan in plans)
    return padded(_START_BYTES + len(pairs_bytes(pairs)) + more + infos)


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _typed(value: Value) -> bytes:
    """A value behind its type."""
    if isinstance(value, list):
        kind, items = _items(value)
        return struct.pack("<IIQ", _ARRAY, kind, len(value)) + items
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    return struct.pack("<IL", _U32, value) if isinstance(value, int) else struct.pack("<If", _F32, value)


def _items(value: list[str] | list[int] | list[float]) -> tuple[int, bytes]:
    """Type and bytes of an array's items."""
    if all(isinstance(item, str) for item in value):
        return _STRING, b"".join(_string(str(item)) for item in value)
    if all(isinstance(item, int) for item in value):
        return _I32, struct.pack(f"<{len(value)}i", *value)
    return _F32, struct.pack(f"<{len(value)}f", *value)
