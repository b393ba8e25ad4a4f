"""Files as an attacker would craft them: headers of safetensors and GGUF written byte by byte."""

import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LETTERS = {"u8": (0, "B"), "u32": (4, "I"), "bool": (7, "B"), "u64": (10, "Q")}


def safetensors_bytes(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header (JSON values, or bytes as they are), promising ``length`` bytes of it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def gguf_text(text: bytes | str, length: int | None = None) -> bytes:
    """A string, promising ``length`` bytes."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data) if length is None else length) + data


def gguf_pair(key: str, kind: str, value: Any) -> bytes:
    """A key and its value."""
    if kind == "string":
        return gguf_text(key) + struct.pack("<I", 8) + gguf_text(value)
    if kind == "raw":
        return gguf_text(key) + value
    number, letter = _LETTERS[kind]
    return gguf_text(key) + struct.pack(f"<I{letter}", number, value)


def gguf_info(name: str, dimensions: list[int], kind: int = 0, offset: int = 0) -> bytes:
    """A tensor's entry; type 0 is F32."""
    head = gguf_text(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return head + struct.pack("<IQ", kind, offset)


def gguf_bytes(
    pairs: list[bytes], infos: list[bytes], data: bytes = b"", counts: tuple[int, int] | None = None, version: int = 3
) -> bytes:
    """A file of these parts; ``counts`` are the promised tensors and pairs."""
    tensors, keys = counts or (len(infos), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + b"".join(pairs) + b"".join(infos)
    return head.ljust((len(head) + 31) // 32 * 32, b"\0") + data


def peak_bytes(call: Callable[[], object]) -> int:
    """The most memory that Python held at a time during a call, which may raise."""
    tracemalloc.start()
    try:
        call()
    except Exception:  # the caller has looked at it already
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def sparse_file(path: Path, size: int) -> None:
    """A file of ``size`` zero bytes that takes no room on the disk."""
    with path.open("wb") as handle:
        handle.truncate(size)
