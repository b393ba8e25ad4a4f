"""SentencePiece BPE vocabularies for GGUF: from ``tokenizer.model``, or from the ``tokenizer.json`` made of one.

``tokenizer.model`` is a protocol-buffer message (``sentencepiece_model.proto`` in github.com/google/sentencepiece);
the few fields needed are read here, so no library is. Pieces have a score; the adjacent pair whose union has the best
score is joined first (``llm_tokenizer_spm`` in llama.cpp's ``src/llama-vocab.cpp``).

The ``tokenizer.json`` of a fast tokenizer holds ranked merges instead. They say the same when every way to split a
piece into two pieces is among them, as in files converted from SentencePiece: then the scores are the ranks, as they
were in the ``tokenizer.model``. (llama.cpp's own converter gives all tokens one score here, which makes llama.cpp
cut words differently than the model was trained on.) Any other list of merges is refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import CheckpointError
from workbench.formats._gguf_bytelevel import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, looks_special
from workbench.formats._gguf_header import Value

SPACE = "\u2581"
_BPE = 2  # TrainerSpec.ModelType
_FREE_SCORE, _ADDED_SCORE = -10000.0, -1000.0


@dataclass
class Pieces:
    """A vocabulary by id: texts, scores and kinds (``llama_token_type``)."""

    texts: list[str]
    scores: list[float]
    kinds: list[int]

    @classmethod
    def free(cls, size: int) -> Pieces:
        """All ids unused."""
        return cls([f"[PAD{i}]" for i in range(size)], [_FREE_SCORE] * size, [UNUSED] * size)

    def put(self, place: int, text: str, score: float, kind: int) -> None:
        """Set an id; one beyond the embedding is left out, as the model cannot read it."""
        if place < len(self.texts):
            self.texts[place], self.scores[place], self.kinds[place] = text, score, kind

    def add(self, place: int, text: str, special: bool) -> None:
        """Set an id to a token that is looked for before text is cut."""
        control = special or looks_special(text)
        self.put(
            place, text if control else text.replace(SPACE, " "), _ADDED_SCORE, CONTROL if control else USER_DEFINED
        )

    def pairs(self, file: Path) -> dict[str, Value]:
        """As pairs of a GGUF file."""
        if sum(kind == BYTE for kind in self.kinds) != 256:
            raise CheckpointError(f"{file} cannot spell every byte, which llama.cpp needs; no GGUF file is made")
        return {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.tokens": self.texts,
            "tokenizer.ggml.scores": self.scores,
            "tokenizer.ggml.token_type": self.kinds,
        }


def pairs_from_model(file: Path, settings: dict[str, Any], added: dict[str, int], size: int) -> dict[str, Value]:
    """Tokenizer pairs of a ``tokenizer.model``.

    Args:
        file: the model.
        settings: ``tokenizer_config.json``, whose ``added_tokens_decoder`` has the last word.
        added: ``added_tokens.json``, token to id.
        size: rows of the embedding; ids the tokenizer leaves free are filled up.

    Raises:
        CheckpointError: the model normalizes or cuts text in a way llama.cpp's does not.
    """
    pieces = Pieces.free(size)
    try:
        prefixed = _read_model(file, pieces)
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} is no SentencePiece model; fetch it again") from error
    for text, place in added.items():
        pieces.put(place, text, _ADDED_SCORE, USER_DEFINED)
    for number, token in settings.get("added_tokens_decoder", {}).items():
        pieces.add(int(number), token["content"], bool(token.get("special")))
    pairs = pieces.pairs(file)
    return pairs if prefixed else {**pairs, "tokenizer.ggml.add_space_prefix": False}


def _read_model(file: Path, pieces: Pieces) -> bool:
    """Fill in the model's pieces; says whether text gets a space before it."""
    parts = _fields(file.read_bytes())
    place, trainer, normalizer = 0, b"", b""
    for number, value in parts:
        if number == 1:  # SentencePiece: text, score, type (numbered as llama_token_type)
            piece = dict(_fields(value))
            score = struct.unpack("<f", piece.get(2, b"\0\0\0\0"))[0]
            kind = _number(piece.get(3, b"\x01"))
            # As llama.cpp's converter: what is looked for before text is cut is named by the other files.
            pieces.put(place, piece[1].decode("utf-8"), score, NORMAL if kind == USER_DEFINED else kind)
            place += 1
        elif number == 2:
            trainer = value
        elif number == 3:
            normalizer = value
    kind = _number(dict(_fields(trainer)).get(3, b"\x01"))
    rules = dict(_fields(normalizer))
    flags = {number: _number(rules.get(number, b"\x01")) for number in (3, 4, 5)}
    if kind != _BPE or rules.get(2) or flags[4] or not flags[5]:
        raise CheckpointError(
            f"{file} normalizes or cuts text in a way llama.cpp does not; a GGUF file would answer worse, none is made"
        )
    return bool(flags[3])


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Fields of a protocol-buffer message: number, and raw bytes (of an integer, its own encoding)."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        if key & 7 == 0:
            end = _varint(message, place)[1]
        elif key & 7 == 2:
            length, place = _varint(message, place)
            end = place + length
        else:
            end = place + {1: 8, 5: 4}[key & 7]
        if end > len(message):
            raise IndexError(end)
        yield key >> 3, message[place:end]
        place = end


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _number(encoded: bytes) -> int:
    return _varint(encoded, 0)[0]


def pairs_from_json(document: dict[str, Any], size: int, file: Path) -> dict[str, Value]:
    """Tokenizer pairs of a ``tokenizer.json`` that was made of a SentencePiece model.

    Raises:
        CheckpointError: it cuts text otherwise than SentencePiece would.
    """
    model = document["model"]
    vocabulary: dict[str, int] = model["vocab"]
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    scores = _scores(vocabulary, merges)
    if scores is None:
        raise CheckpointError(
            f"{file} ranks its merges in a way SentencePiece does not; put the model's tokenizer.model beside it"
        )
    unknown = model.get("unk_token") or "<unk>"
    added = {token["content"]: token for token in document.get("added_tokens", []) if token["content"] != unknown}
    pieces, lowest = Pieces.free(size), min(scores.values(), default=0.0)
    for text, place in sorted(vocabulary.items(), key=lambda item: item[1]):
        kind = BYTE if _is_byte(text) else UNKNOWN if text == unknown else NORMAL
        if kind == NORMAL and text not in scores and text not in added:
            lowest -= 1  # single characters come last; nothing is merged into one
            scores[text] = lowest
        pieces.put(place, text, scores.get(text, 0.0), kind)
    for text, token in added.items():
        pieces.add(token["id"], text, bool(token["special"]))
    pairs = pieces.pairs(file)
    return pairs if _prefixes(document, file) else {**pairs, "tokenizer.ggml.add_space_prefix": False}


def _is_byte(text: str) -> bool:
    return re.fullmatch(r"<0x[0-9A-F]{2}>", text) is not None


def _scores(vocabulary: dict[str, int], merges: list[tuple[str, ...]]) -> dict[str, float] | None:
    """Scores of the pieces that merges make; ``None`` where scores cannot say what the merges do.

    Pieces whose merges stand mixed have one score, as runs of spaces have in the models of the Llama family.
    """
    ways, unions = set(merges), list(map("".join, merges))
    last = {text: rank for rank, text in enumerate(unions)}
    scores: dict[str, float] = {}
    score, end, group = 1.0, -1, set[str]()
    for rank, text in enumerate(unions):
        if rank > end:
            score, group = score - 1, set()
        end = max(end, last[text])
        group.add(text)
        scores[text] = score
        if len(group) > 1 and any(set(piece) != {SPACE} for piece in group):
            return None
    all_ways = all(
        (text[:cut], text[cut:]) in ways
        for text in scores
        for cut in range(1, len(text))
        if text[:cut] in vocabulary and text[cut:] in vocabulary
    )
    return scores if all_ways else None


def _prefixes(document: dict[str, Any], file: Path) -> bool:
    """Whether text gets a space before it.

    Raises:
        CheckpointError: spaces are treated in a way of which nothing is known here.
    """
    normalizer, rule = document.get("normalizer") or {}, document.get("pre_tokenizer") or {}
    steps = normalizer.get("normalizers", [normalizer] if normalizer else [])
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    if not rule and steps in ([{"type": "Prepend", "prepend": SPACE}, replace], [replace]):
        return len(steps) == 2
    if not steps and rule.get("type") == "Metaspace" and rule.get("replacement") == SPACE and not rule.get("split"):
        return bool(rule.get("prepend_scheme") != "never")
    raise CheckpointError(
        f"{file} treats spaces in a way llama.cpp has no name for; put the model's tokenizer.model beside it"
    )
