"""The key-value part of a GGUF file: what llama.cpp must know beside the weights.

A GGUF file is a header, typed key-value pairs, tensor infos and the aligned data (specification:
github.com/ggml-org/ggml, docs/gguf.md). The tokenizer travels inside it: tokens by id, their kinds, the
merges, and the *name* of the rule that cuts text before merging. llama.cpp knows such rules by name only;
with a wrong name the model still answers, just worse (its issue 6584 is a text-to-SQL StarCoder that lost
its digits). So the rule is recognised from ``tokenizer.json`` and anything unknown is refused.
"""

from __future__ import annotations

import json
from typing import Any

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.formats._gguf_layout import FileType

Value = str | int | float | bool | list[str] | list[int]

ARCHITECTURE = "starcoder"  # llama.cpp's name for gpt_bigcode
QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # llama_token_type

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}
# llama.cpp's name of a pre-tokenizer: its steps in tokenizer.json.
_RULES = {"starcoder": [_DIGITS, _BYTE_LEVEL], "gpt-2": [_BYTE_LEVEL]}
_ESTIMATED_BYTES_PER_TOKEN = 40


def metadata(checkpoint: Checkpoint, file_type: FileType) -> dict[str, Value]:
    """All pairs, in the order they are written; int is u32, float is f32, list of int is i32.

    Raises:
        CheckpointError: no tokenizer, or one whose rules llama.cpp does not know.
    """
    pairs: dict[str, Value] = {
        "general.architecture": ARCHITECTURE,
        "general.type": "model",
        "general.name": checkpoint.model_name,
        **_model_pairs(checkpoint),
        **_tokenizer_pairs(checkpoint),
        # Last, as llama-quantize leaves them.
        "general.quantization_version": QUANTIZATION_VERSION,
        "general.file_type": file_type.number,
    }
    return pairs


def _model_pairs(checkpoint: Checkpoint) -> dict[str, Value]:
    config = checkpoint.config
    if not config.get("multi_query", True):
        raise CheckpointError(
            f"{checkpoint.path} has one key-value head per head; llama.cpp's starcoder wants one in all"
        )
    return {
        f"{ARCHITECTURE}.context_length": checkpoint.context_length,
        f"{ARCHITECTURE}.embedding_length": int(config["n_embd"]),
        f"{ARCHITECTURE}.feed_forward_length": int(config.get("n_inner") or 4 * config["n_embd"]),
        f"{ARCHITECTURE}.block_count": int(config["n_layer"]),
        f"{ARCHITECTURE}.attention.head_count": int(config["n_head"]),
        f"{ARCHITECTURE}.attention.head_count_kv": 1,
        f"{ARCHITECTURE}.attention.layer_norm_epsilon": float(config.get("layer_norm_epsilon", 1e-5)),
    }


def _tokenizer_pairs(checkpoint: Checkpoint) -> dict[str, Value]:
    file = checkpoint.path / "tokenizer.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}); GGUF carries the tokenizer, fetch it") from error
    if document["model"].get("type") != "BPE":
        raise CheckpointError(f"{file} is no byte-pair tokenizer, which gpt_bigcode models have; fetch it again")
    tokens, kinds = _tokens(document, int(checkpoint.config["vocab_size"]))
    pairs: dict[str, Value] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre_tokenizer_name(document, str(file)),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": _merges(document),
    }
    return {**pairs, **_special_pairs(checkpoint, {token: i for i, token in enumerate(tokens)})}


def _merges(document: dict[str, Any]) -> list[str]:
    """Merges as ``left right``, most frequent first."""
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in document["model"]["merges"]]
    # llama.cpp wants the key and gguf cannot write an empty list: a pair that never meets stands for none.
    return merges or ["[none] [none]"]


def _tokens(document: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Tokens and their kinds by id; ids the tokenizer leaves free are filled up to the embedding's rows."""
    tokens = [f"[PAD{i}]" for i in range(size)]
    kinds = [UNUSED] * size
    for token, i in document["model"]["vocab"].items():
        tokens[i], kinds[i] = token, NORMAL
    for added in document.get("added_tokens", []):
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    return tokens, kinds


def pre_tokenizer_name(document: dict[str, Any], file: str) -> str:
    """llama.cpp's name for how ``tokenizer.json`` cuts text.

    Raises:
        CheckpointError: llama.cpp has no rule that cuts the same way.
    """
    rule = document.get("pre_tokenizer") or {}
    steps = rule.get("pretokenizers", [rule])
    post = (document.get("post_processor") or {}).get("type", "ByteLevel")
    for name, wanted in _RULES.items():
        same = len(steps) == len(wanted) and all(
            expected.items() <= {"use_regex": True, **step}.items()
            for step, expected in zip(steps, wanted, strict=True)
        )
        if same and not document.get("normalizer") and post == "ByteLevel":
            return name
    raise CheckpointError(
        f"{file} cuts text in a way llama.cpp has no name for; a GGUF file would answer worse, none is made"
    )


def _special_pairs(checkpoint: Checkpoint, ids: dict[str, int]) -> dict[str, Value]:
    """Ids of the tokens with a role: from the tokenizer's config, else the model's."""
    file = checkpoint.path / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    pairs: dict[str, Value] = {}
    for role, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        token = config.get(f"{role}_token")
        content = token.get("content") if isinstance(token, dict) else token
        number = ids.get(content) if content else checkpoint.config.get(f"{role}_token_id")
        if number is not None:
            pairs[f"tokenizer.ggml.{key}_token_id"] = int(number)
    return {**pairs, "tokenizer.ggml.add_bos_token": False}


def metadata_bytes(pairs: dict[str, Value]) -> int:
    """Bytes of the pairs in the file: a length and text for a key, a type, a value."""
    return sum(8 + len(key.encode()) + 4 + _value_bytes(value) for key, value in pairs.items())


def estimated_metadata_bytes(vocabulary: int) -> int:
    """What the pairs will take when the tokenizer is not at hand yet: tokens, kinds, merges."""
    return _ESTIMATED_BYTES_PER_TOKEN * vocabulary


def _value_bytes(value: Value) -> int:
    if isinstance(value, bool):
        return 1
    if isinstance(value, str):
        return 8 + len(value.encode())
    if isinstance(value, list):
        return 4 + 8 + sum(8 + len(item.encode()) if isinstance(item, str) else 4 for item in value)
    return 4
