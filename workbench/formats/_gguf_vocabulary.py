"""The tokenizer inside a GGUF file.

Two kinds exist in this family. *Byte-level BPE* (StarCoder, DeciCoder, Llama 3; ``_gguf_bytelevel.py``): a rule cuts
the text, every byte is a printable symbol, and a list of merges joins symbols inside a cut. *SentencePiece BPE*
(CodeLlama, Mistral; ``_gguf_sentencepiece.py``): spaces are a symbol of their own, the best-scored pair is joined
first, and what is not in the vocabulary is spelled in bytes.

llama.cpp implements each rule itself and knows it by name only. With a wrong name the model still answers, just
worse (its issue 6584 is a text-to-SQL StarCoder that lost its digits). So rules are recognised by their steps in
``tokenizer.json`` or ``tokenizer.model``, and anything unknown is refused.
"""

from __future__ import annotations

import json
import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench import __version__, digest_memory
from workbench.artifact import sha256_json
from workbench.checkpoint import Checkpoint
from workbench.checkpoint_files import is_pointer
from workbench.errors import CheckpointError, PrerequisiteError
from workbench.formats._gguf_bytelevel import byte_level_pairs
from workbench.formats._gguf_header import Value, pairs_bytes
from workbench.formats._gguf_sentencepiece import pairs_from_json, pairs_from_model
from workbench.plugins import installed_version

_Key = tuple[Path, int, bool, tuple[tuple[str, int, int], ...]]
_SIZES = "vocabulary-sizes"
_CODE_LLAMA_VOCABULARY, _CODE_LLAMA_END = 32016, 32010


def has_vocabulary(checkpoint: Checkpoint) -> bool:
    """Whether the tokenizer's files are at hand (not so where only a Hub repository's headers were fetched)."""
    files = (checkpoint.path / name for name in ("tokenizer.json", "tokenizer.model"))
    return any(file.is_file() and not is_pointer(file) for file in files)


def vocabulary_pairs(checkpoint: Checkpoint) -> dict[str, Value]:
    """Everything under ``tokenizer.``.

    Raises:
        CheckpointError: no tokenizer, or one that llama.cpp would follow differently.
    """
    return dict(_pairs(*_key(checkpoint)))


def vocabulary_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of those pairs in a file.

    Raises:
        CheckpointError: as ``vocabulary_pairs``.
    """
    return _size(*_key(checkpoint))


def _key(checkpoint: Checkpoint) -> _Key:
    """What the pairs depend on."""
    files = [checkpoint.path / "config.json", *checkpoint.small_files()]
    stamps = tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file())
    return checkpoint.path, int(checkpoint.config["vocab_size"]), checkpoint.architecture != "gpt_bigcode", stamps


@lru_cache(maxsize=8)  # a plan asks once for each file type
def _size(folder: Path, size: int, is_llama: bool, stamps: tuple[tuple[str, int, int], ...]) -> int:
    """The same, remembered between runs: a plan need not read the tokenizer, nor load gguf, which loads numpy."""
    made_by = [__version__, installed_version("gguf")]
    identity = sha256_json([*made_by, str(folder.resolve()), size, is_llama, stamps])
    found = digest_memory.recall(identity, _SIZES, digest_memory.NUMBERS)
    if found is None:
        found = str(len(pairs_bytes(_pairs(folder, size, is_llama, stamps))))
        digest_memory.remember(identity, found, _SIZES)
    return int(found)


@lru_cache(maxsize=1)  # a build asks once for each file type, and a Llama 3 takes half a second
def _pairs(folder: Path, size: int, is_llama: bool, stamps: tuple[tuple[str, int, int], ...]) -> dict[str, Value]:
    """The same for a folder whose files bear these times and sizes."""
    settings = read_json(folder / "tokenizer_config.json")
    adds_bos = False
    if is_llama and (folder / "tokenizer.model").is_file():
        pairs = pairs_from_model(folder / "tokenizer.model", settings, read_json(folder / "added_tokens.json"), size)
        adds_bos = True  # SentencePiece models add it unless told otherwise
    else:
        file = folder / "tokenizer.json"
        document = read_json(file)
        if not document:
            raise CheckpointError(f"{file} is missing; GGUF carries the tokenizer, fetch it")
        if document.get("model", {}).get("type") != "BPE":
            raise CheckpointError(f"{file} is no byte-pair tokenizer, which models of this family have; fetch it again")
        from_sentencepiece = is_llama and document["model"].get("byte_fallback")
        pairs = (pairs_from_json if from_sentencepiece else byte_level_pairs)(document, size, file)
    if is_llama and isinstance(settings.get("add_prefix_space"), bool):
        pairs["tokenizer.ggml.add_space_prefix"] = settings["add_prefix_space"]
    pairs |= _special_pairs(folder, size, adds_bos)
    if is_llama and size == _CODE_LLAMA_VOCABULARY:
        pairs["tokenizer.ggml.eot_token_id"] = _CODE_LLAMA_END
    return pairs


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file.

    Raises:
        CheckpointError: it is broken.
    """
    if not file.is_file():
        return {}
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}); fetch it again") from error
    return document


def _special_pairs(folder: Path, size: int, adds_bos: bool) -> dict[str, Value]:
    """Ids of the tokens with a role, whether text begins and ends with them, and the chat template."""
    try:
        from gguf import GGUFWriter, SpecialVocab
    except ImportError as error:
        raise PrerequisiteError("writing GGUF needs the gguf package; install it with: pip install gguf") from error
    # gguf's reading of the five files that may say it, as llama.cpp's converter uses it. It remarks on things that do
    # not matter here, such as how two texts would be paired.
    logging.getLogger("gguf.vocab").setLevel(logging.ERROR)
    special = SpecialVocab(folder, n_vocab=size)
    special.add_special_token = {"bos": adds_bos, **special.add_special_token}
    special.chat_template = None  # the model's prompt takes its place, see ``_gguf_metadata.py``
    writer = GGUFWriter(None, "")
    written = dict.fromkeys(key for part in writer.kv_data for key in part)
    special.add_to_gguf(writer, quiet=True)
    return {key: value.value for part in writer.kv_data for key, value in part.items() if key not in written}
