"""Byte-level BPE vocabularies for GGUF: tokens, kinds, merges and the name of the cutting rule.

The rule is recognised by its steps, not by a hash of some encoded text as in llama.cpp's converter: the hash
depends on the vocabulary too, so a model with a vocabulary of its own would be unknown although llama.cpp
cuts just as it does. Rules: ``src/llama-vocab.cpp`` (``llm_tokenizer_bpe``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.errors import CheckpointError
from workbench.formats._gguf_header import Value

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # llama_token_type

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}
_SPLIT = {"type": "Split", "pattern": {"Regex": _LLAMA3}, "behavior": "Isolated", "invert": False}
# llama.cpp's name of a rule: its steps in tokenizer.json, and whether a whole word that is a token is taken unmerged.
_RULES: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "starcoder": ([_DIGITS, _BYTE_LEVEL], False),
    "gpt-2": ([_BYTE_LEVEL], False),
    "llama-bpe": ([_SPLIT, {**_BYTE_LEVEL, "use_regex": False}], True),
}
_POST_PROCESSORS = {"ByteLevel", "TemplateProcessing", "Sequence"}


def byte_level_pairs(document: dict[str, Any], size: int, file: Path) -> dict[str, Value]:
    """Tokenizer pairs of a byte-level BPE ``tokenizer.json``.

    Args:
        document: the parsed file.
        size: rows of the embedding; ids the tokenizer leaves free are filled up.
        file: where it was read, for messages.

    Raises:
        CheckpointError: llama.cpp has no rule that cuts the same way, or ids go beyond the embedding.
    """
    tokens, kinds = _tokens(document, size, file)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre_tokenizer_name(document, str(file)),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": _merges(document),
    }


def pre_tokenizer_name(document: dict[str, Any], file: str) -> str:
    """llama.cpp's name for how ``tokenizer.json`` cuts text.

    Raises:
        CheckpointError: llama.cpp has no rule that cuts the same way.
    """
    rule, model = document.get("pre_tokenizer") or {}, document["model"]
    steps = rule.get("pretokenizers", [rule])
    post = (document.get("post_processor") or {}).get("type", "ByteLevel")
    plain = not document.get("normalizer") and not model.get("byte_fallback") and post in _POST_PROCESSORS
    for name, (wanted, whole_words) in _RULES.items():
        same = len(steps) == len(wanted) and all(
            expected.items() <= {"use_regex": True, **step}.items()
            for step, expected in zip(steps, wanted, strict=True)
        )
        if same and plain and bool(model.get("ignore_merges")) == whole_words:
            return name
    raise CheckpointError(
        f"{file} cuts text in a way llama.cpp has no name for; a GGUF file would answer worse, none is made"
    )


def looks_special(token: str) -> bool:
    """Whether an added token is one of control although its file does not say so (llama.cpp's converter's rule)."""
    return token in ("<pad>", "<mask>") or (token.startswith("<|") and token.endswith("|>"))


def _tokens(document: dict[str, Any], size: int, file: Path) -> tuple[list[str], list[int]]:
    """Tokens and their kinds by id."""
    vocabulary, added = document["model"]["vocab"], document.get("added_tokens", [])
    last = max([*vocabulary.values(), *(token["id"] for token in added)], default=0)
    if last >= size:
        raise CheckpointError(f"{file} has a token {last} but the model only {size}; fetch the matching tokenizer")
    tokens = [f"[PAD{i}]" for i in range(size)]
    kinds = [UNUSED] * size
    for token, i in vocabulary.items():
        tokens[i], kinds[i] = token, NORMAL
    for token in added:
        tokens[token["id"]] = token["content"]
        kinds[token["id"]] = CONTROL if token["special"] or looks_special(token["content"]) else USER_DEFINED
    return tokens, kinds


def _merges(document: dict[str, Any]) -> list[str]:
    """Merges as ``left right``, most frequent first."""
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in document["model"]["merges"]]
    # llama.cpp wants the key and not an empty list: a pair that never meets stands for none.
    return merges or ["[none] [none]"]
