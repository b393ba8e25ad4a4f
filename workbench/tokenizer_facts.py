"""Which tokens of an artifact hold a stop text, read from its files without loading the tokenizer.

Example::

    stop_ids(folder, ("```",))  # [264] for the bundled model
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.errors import ArtifactError

_TOKENIZER = "tokenizer.json"
_SPACES = ("\u0120", "\u010a", "\u010d", "\u0109", "\u2581")  # of byte-level BPE, and SentencePiece's


def stop_ids(folder: Path, stop: tuple[str, ...]) -> list[int]:
    """Ids of the tokens that hold a stop text and else only white space, in ascending order.

    Raises:
        ArtifactError: ``tokenizer.json`` is broken.
    """
    vocabulary = read_record(folder / _TOKENIZER).get("model", {}).get("vocab", {})
    if not isinstance(vocabulary, dict):  # unigram models list theirs; none of this family is one
        return []
    return sorted(place for token, place in vocabulary.items() if _text(token) in stop)


def _text(token: str) -> str:
    for mark in _SPACES:
        token = token.replace(mark, " ")
    return token.strip()


def read_record(file: Path) -> dict[str, Any]:
    """A JSON object of an artifact; empty where there is no such file.

    Raises:
        ArtifactError: it is broken.
    """
    if not file.is_file():
        return {}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{file} cannot be read ({error}); build the artifact again") from error
    if not isinstance(record, dict):
        raise ArtifactError(f"{file} holds no JSON object; build the artifact again")
    return record
