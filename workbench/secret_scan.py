"""Secrets in what is about to be handed to others: known shapes of tokens, and the values this machine keeps.

A token that reaches a public repository is found by strangers' crawlers within minutes, and taking the file back does
not take the token back. So every text that is to be sent is read before anything is. Two things are looked for: what
has the shape of a credential (GitHub's and the Hub's tokens begin with a prefix for this very purpose:
github.blog/engineering/behind-githubs-new-authentication-token-formats), and, whatever its shape, the value of any
environment variable that is named as a secret, and of the Hub tokens stored here. What was found is told by line and
kind, never by its text::

    find_secrets('{"token": "hf_..."}')         # ["a Hugging Face token"]
    scan_file(Path("config.json"))              # (Finding(line=3, kind="a GitHub token"),)
    redacted("no access with hf_...")           # "no access with ***"

Weights are not text: of a safetensors file the header is looked at, of any other file the beginning, which holds all of
a text and the metadata of a GGUF file. The shapes are of ASCII only, so that random bytes do not look like one.
"""

from __future__ import annotations

import base64
import json
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SHAPES: Mapping[str, re.Pattern[bytes]] = {
    "a Hugging Face token": re.compile(rb"\b(?:hf|api_org)_[A-Za-z0-9]{20,}"),
    "a GitHub token": re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})"),
    "a GitLab token": re.compile(rb"\bglpat-[A-Za-z0-9_-]{20,}"),
    "an AWS access key": re.compile(rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a Google API key": re.compile(rb"\bAIza[A-Za-z0-9_-]{35}"),
    "a Slack token": re.compile(rb"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "a package registry's token": re.compile(rb"\b(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,})"),
    "an API key (sk-)": re.compile(rb"(?<![A-Za-z0-9_-])sk-[A-Za-z0-9_-]{20,}"),
    "a JSON web token": re.compile(rb"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    "a private key": re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    # The password is not one that was blanked (***) or is to be filled in (<password>, $PASSWORD, {password}).
    "an address with a password": re.compile(
        rb"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[!#-&(-.0-9;=?A-Z\[\]-~]{0,200}:"
        rb"(?![*<${]|%7[Bb])[!#-&(-.0-;=?A-Z\[\]-~]{1,200}@[A-Za-z0-9\[]"
    ),
}
SECRET_NAMES = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIALS?)$", re.IGNORECASE)
SHORTEST_VALUE = 8  # a shorter one would be found in ordinary words
MOST_BYTES = 64 << 20  # read of a file: tokenizers of large vocabularies have 30 MB, a GGUF file's metadata less
_WORD = re.compile(r"[A-Za-z]?[a-z]{0,15}|[A-Z]{0,15}|\d{0,15}")  # "postgres" is a password on many a test machine
_KEPT = "a secret of this machine ({})"


@dataclass(frozen=True)
class Finding:
    """A secret that was found: the line it stands in, counted from 1, and what kind it is."""

    line: int
    kind: str


def find_secrets(text: bytes | str) -> list[str]:
    """Kinds of the secrets in a text, each once."""
    return list(dict.fromkeys(finding.kind for finding in scan(text)))


def scan(text: bytes | str) -> tuple[Finding, ...]:
    """Secrets in a text, in the order of their lines; never the secrets themselves."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    found = {Finding(data.count(b"\n", 0, start) + 1, kind) for start, _, kind in _places(data)}
    return tuple(sorted(found, key=lambda one: (one.line, one.kind)))


def scan_file(path: Path) -> tuple[Finding, ...]:
    """Secrets in a file: all of a text, the header of weights.

    Raises:
        OSError: it cannot be read.
    """
    return scan(_READERS.get(path.suffix.lower(), _text)(path))


def redacted(text: str) -> str:
    """A text without its secrets: ``***`` stands for each."""
    data = text.encode("utf-8", "surrogatepass")
    for start, end, _ in sorted(_places(data), reverse=True):
        data = data[:start] + b"***" + data[end:]
    return data.decode("utf-8", "replace")


def _places(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Start, end and kind of each secret."""
    for kind, shape in SHAPES.items():
        yield from ((found.start(), found.end(), kind) for found in shape.finditer(data))
    for name, value in kept_secrets().items():
        for written in _written(value):
            start = data.find(written)
            while start >= 0:
                yield start, start + len(written), _KEPT.format(name)
                start = data.find(written, start + len(written))


def kept_secrets() -> dict[str, str]:
    """The secrets this process could give away, by the name under which they are kept.

    A value that may as well be an ordinary word or number is none: it would be found in harmless texts.
    """
    from huggingface_hub import get_token
    from huggingface_hub.utils import get_stored_tokens  # type: ignore[attr-defined]  # exported, but not declared so

    kept = {f"stored Hub token {name}": token for name, token in get_stored_tokens().items()}
    kept |= {"Hub token": get_token() or ""}
    kept |= {name: value for name, value in os.environ.items() if SECRET_NAMES.search(name)}
    plain = {name: value.strip() for name, value in kept.items()}
    return {name: value for name, value in plain.items() if len(value) >= SHORTEST_VALUE and not _WORD.fullmatch(value)}


def _written(value: str) -> set[bytes]:
    """How a secret may stand in a file: as it is, in JSON, in an address, in base64."""
    plain = value.encode("utf-8", "surrogateescape")
    texts = {json.dumps(value)[1:-1].encode(), quote(plain, safe="").encode(), base64.b64encode(plain)}
    return {plain, *texts}


def _text(path: Path) -> bytes:
    """The beginning of a file; all of it unless it is very large."""
    with path.open("rb") as handle:
        return handle.read(MOST_BYTES)


def _safetensors_header(path: Path) -> bytes:
    """The JSON in front of the tensors (huggingface.co/docs/safetensors: eight bytes say how long it is)."""
    with path.open("rb") as handle:
        start = handle.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        return start + handle.read(min(length, MOST_BYTES))


_READERS: dict[str, Callable[[Path], bytes]] = {".safetensors": _safetensors_header}
