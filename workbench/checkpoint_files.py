"""Which files of a folder or a Hub repository make up a checkpoint, and which only lie beside it.

A checkpoint is ``config.json``, the tokenizer and the weights. The weights are what the index file names, or one file
without an index; safetensors before ``pytorch_model*.bin`` where both are there, never both. Repositories hold much
more: optimizer states, the same weights for Flax, TensorFlow, ONNX or llama.cpp, Mistral's ``consolidated`` copy,
Python files. None of that is asked for, so none of it is downloaded or opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from workbench.errors import CheckpointError

CONFIG = "config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
SMALL_FILES = ("generation_config.json", *TOKENIZER_FILES)
_POINTER = b"version https://git-lfs.github.com/"


class NoWeightsError(CheckpointError):
    """A folder or repository without a single weight file; a plan can do without, nothing else."""


@dataclass(frozen=True)
class WeightFiles:
    """The files that hold the weights.

    Attributes:
        names: in order; an index may name one that is not there.
        promised: the file of each tensor by the index; empty without one.
    """

    names: tuple[str, ...]
    promised: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Kind:
    """How one way of storing weights names its files."""

    index: str
    single: str
    others: re.Pattern[str]


# In order of preference; the names are transformers'.
_KINDS = (
    _Kind(
        "model.safetensors.index.json",
        "model.safetensors",
        re.compile(r"(?!consolidated|adapter_|optimizer|training_).*\.safetensors"),
    ),
    _Kind(
        "pytorch_model.bin.index.json", "pytorch_model.bin", re.compile(r"pytorch_model-\d+-of-\d+\.bin")
    ),
)  # fmt: skip


def find_weights(names: Collection[str], read: Callable[[str], str], where: object) -> WeightFiles:
    """Choose the weight files among the names of all files.

    Args:
        names: plain file names at the top of the folder or repository.
        read: gives the text of one of them, an index.
        where: the folder or repository, for messages.

    Raises:
        NoWeightsError: there are none.
        CheckpointError: the index makes no sense.
    """
    for kind in _KINDS:
        if kind.index in names:
            promised = _weight_map(read(kind.index), f"{where}/{kind.index}")
            return WeightFiles(tuple(sorted(set(promised.values()))), promised)
        if kind.single in names:
            return WeightFiles((kind.single,))
        found = sorted(name for name in names if kind.others.fullmatch(name))
        if found:
            return WeightFiles(_all_shards(found))
    raise NoWeightsError(
        f"{where} holds no *.safetensors file and no pytorch_model*.bin; give --model a complete checkpoint"
    )


def is_pointer(file: Path) -> bool:
    """Whether Git LFS's pointer stands where the file should be."""
    with file.open("rb") as handle:
        return handle.read(len(_POINTER)) == _POINTER


def _all_shards(found: list[str]) -> tuple[str, ...]:
    """The files and those that their names, ``x-00001-of-00003``, tell of."""
    shards = set(found)
    for name in found:
        parts = re.fullmatch(r"(.*)-\d{5}-of-(\d{5})(\.\w+)", name)
        if parts:
            stem, count, suffix = parts.groups()
            shards |= {f"{stem}-{number:05}-of-{count}{suffix}" for number in range(1, int(count) + 1)}
    return tuple(sorted(shards))


def _weight_map(text: str, where: str) -> dict[str, str]:
    """File by tensor; a name that would lead out of the folder is no file of this checkpoint."""
    try:
        promised: dict[str, str] = dict(json.loads(text)["weight_map"].items())
        strange = [file for file in promised.values() if not re.fullmatch(r"[\w.-]+\.(safetensors|bin)", file)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{where} cannot be understood ({error}); fetch it again") from error
    if strange or not promised:
        raise CheckpointError(f"{where} cannot be understood (it names {strange[:1]}); fetch it again")
    return promised
