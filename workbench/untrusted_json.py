"""JSON from strangers: read within bounds, refused where two readers could understand it differently.

Python's ``json`` takes more than the standard does, and keeps the last of two equal keys where other readers keep the
first: a manifest could show one digest to us and another to the next tool. RFC 8259 leaves such texts to chance and
advises limits (sections 4, 6 and 9); I-JSON (RFC 7493) forbids them. So here: UTF-8 without a mark at its beginning,
no key twice in an object, no NaN or infinity, no number beyond 64 bits, no half of a character that UTF-16 writes in
two, no deep nesting. Depth is counted before anything is parsed, so a file of a million brackets costs a scan and no
stack::

    check_json(folder / "config.json", SMALL_BYTES)  # ArtifactError: config.json names the key 'bits' twice
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from pathlib import Path
from typing import Any

from workbench.errors import ArtifactError

SMALL_BYTES = 8 << 20  # of configs, and of all that is written by hand or by a tool in a moment
DEEPEST = 64  # objects and lists within one another; what transformers writes has five or so
_LONGEST_NUMBER = 64  # characters
_LARGEST = 2**64
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def check_json(path: Path, most_bytes: int = SMALL_BYTES) -> Any:
    """The values of a JSON file.

    Args:
        path: the file.
        most_bytes: a larger file is refused before it is read.

    Raises:
        ArtifactError: it is larger, no JSON, or JSON that is read differently by different readers.
    """
    return parse_json(read_bounded(path, most_bytes), path.name)


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The bytes of a small file.

    Raises:
        ArtifactError: it is larger than ``most_bytes``, or cannot be read.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(most_bytes + 1)
    except OSError as error:
        raise ArtifactError(f"{path.name} cannot be read ({error.strerror}); fetch it again") from error
    if len(data) > most_bytes:
        raise ArtifactError(f"{path.name} is larger than the {most_bytes} bytes that such a file may have")
    return data


def parse_json(data: bytes, where: str) -> Any:
    """The values of a JSON text.

    Args:
        data: the text, UTF-8.
        where: begins the message of an error.

    Raises:
        ArtifactError: as ``check_json``.
    """
    if nesting(data) > DEEPEST:
        raise ArtifactError(f"{where} holds more than {DEEPEST} lists or objects within one another")
    try:
        values = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
        if _HALF.search(data):  # else no text of it can be one
            json.dumps(values, ensure_ascii=False).encode("utf-8")
        return values
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where} is no JSON that every reader understands alike ({error})") from error


def nesting(data: bytes) -> int:
    """How many brackets of a JSON text are open at most at a time, those in its strings not counted."""
    brackets = _STRING.sub(b"", data).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"it names the key {twice[:60]!r} twice")
    return found


def _whole(text: str) -> int:
    value = int(text) if len(text) <= _LONGEST_NUMBER else _LARGEST
    if abs(value) >= _LARGEST:
        raise ValueError("it holds a number beyond 64 bits")
    return value


def _finite(text: str) -> float:
    value = float(text) if len(text) <= _LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise ValueError("it holds a number that no computer holds")
    return value


def _no_constant(text: str) -> float:
    raise ValueError(f"it holds {text}, which is no JSON")
