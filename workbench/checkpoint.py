"""Checkpoints: the source weights, read lazily chunk by chunk.

A checkpoint is a local folder or a Hub repository ``org/name`` (``org/name@revision``). Opening one
reads the config and the tensor headers only (``workbench/tensors.py``), so a plan costs no weights and no
torch. Old repositories with ``pytorch_model*.bin`` are pickles: they are not opened.

A checkpoint has a digest, over the contents, and an identity, over its files' sizes and times: the digest costs a
pass over all weights, which a conversion makes anyway, and is remembered under the identity.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import digest_memory
from workbench.artifact import sha256_file, sha256_json
from workbench.errors import CheckpointError
from workbench.prompt import PROMPTS, Prompt, prompt_for
from workbench.tensors import Digests, TensorInfo, read_header, read_rows, unique_elements

if TYPE_CHECKING:
    import torch

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
# What to fetch from the Hub: never the pickles, never code.
HUB_PATTERNS = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", *TOKENIZER_FILES)


@dataclass(frozen=True)
class Checkpoint:
    """A model's weights, config and tokenizer on disk.

    Attributes:
        id: as the user named it: Hub id or the folder's name.
        path: local folder.
        revision: commit of the Hub repository, ``None`` for a folder.
        config: the parsed ``config.json``.
        tensors: by name; tied tensors that the file does not hold are not listed.
        prompt_name: the prompt it was trained on, where the user says so; else its id tells.
        digests: of the tensors read so far.
    """

    id: str
    path: Path
    revision: str | None
    config: dict[str, Any]
    tensors: dict[str, TensorInfo]
    prompt_name: str | None = None
    digests: Digests = field(default_factory=Digests, compare=False, repr=False)

    @property
    def model_name(self) -> str:
        """Last part of the id, fit for a folder name."""
        return self.id.rstrip("/").rsplit("/", 1)[-1]

    @property
    def architecture(self) -> str:
        """``model_type`` of the config: gpt_bigcode, llama, mistral ..."""
        return str(self.config["model_type"])

    @property
    def prompt(self) -> Prompt:
        """The prompt this model was trained on."""
        return PROMPTS[self.prompt_name] if self.prompt_name else prompt_for(self.id)

    @property
    def parameters(self) -> int:
        """Number of weights in the files (a tied head is stored once)."""
        return unique_elements(list(self.tensors.values()))

    @property
    def context_length(self) -> int:
        """Most tokens the model was built for."""
        for key in ("n_positions", "max_position_embeddings"):
            if key in self.config:
                return int(self.config[key])
        raise CheckpointError(f"{self.path}/config.json names no context length (n_positions); add it")

    def read(self, name: str) -> torch.Tensor:
        """One tensor whole, read from its shard now (CPU, stored dtype)."""
        import torch

        chunks = list(self.chunks(name))
        if not chunks:
            return read_rows(self.tensors[name], slice(0, self.tensors[name].rows))
        return torch.cat(chunks) if len(chunks) > 1 else chunks[0]

    def chunks(self, name: str) -> Iterator[torch.Tensor]:
        """A tensor's chunks of rows in order, each read when asked for."""
        return (self.read_chunk(name, place) for place in range(len(self.tensors[name].chunks)))

    def read_chunk(self, name: str, place: int) -> torch.Tensor:
        """One of a tensor's chunks, read from its shard now; its digest is noted."""
        info = self.tensors[name]
        values = read_rows(info, info.chunks[place])
        self.digests.note(info, place, values)
        return values

    @cached_property
    def digest(self) -> str:
        """sha256 over config, tokenizer and every tensor's name, type, shape and values.

        What was not read yet is read now. The result is remembered, so that an unchanged checkpoint is read once.
        """
        known = self.known_digest()
        if known:
            return known
        tensors = {
            name: [info.dtype, list(info.shape), self._tensor_digest(info)] for name, info in self.tensors.items()
        }
        digest = sha256_json({"files": self._small_digests(), "tensors": tensors})
        digest_memory.remember(self.identity, digest)
        return digest

    def known_digest(self) -> str | None:
        """The digest, if these very files were read whole before; ``None`` otherwise. Reads no weights."""
        return digest_memory.recall(self.identity)

    @cached_property
    def identity(self) -> str:
        """sha256 over the small files' contents and the weight files' places, sizes and times: cheap to know."""
        weights = sorted({info.file for info in self.tensors.values()})
        stats = {str(file.resolve()): file.stat() for file in weights}
        return sha256_json(
            {
                "files": self._small_digests(),
                "weights": {name: [s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns] for name, s in stats.items()},
            }
        )

    def _small_digests(self) -> dict[str, str]:
        return {file.name: sha256_file(file) for file in [self.path / "config.json", *self.small_files()]}

    def _tensor_digest(self, info: TensorInfo) -> str:
        digest = self.digests.get(info)
        if digest is None:
            for _ in self.chunks(info.name):
                pass  # reading notes the digests
            digest = self.digests.get(info)
        assert digest is not None  # every chunk was read
        return digest

    def check_tokenizer(self) -> None:
        """Refuse a checkpoint without a tokenizer, before hours go into its weights."""
        if not any((self.path / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
            raise CheckpointError(
                f"{self.path} has no tokenizer.json; put the model's tokenizer files beside its weights"
            )

    def small_files(self) -> list[Path]:
        """Tokenizer and generation config, to be copied beside converted weights."""
        names = ("generation_config.json", *TOKENIZER_FILES)
        return [self.path / name for name in names if (self.path / name).is_file()]


def open_checkpoint(model: str, revision: str | None = None) -> Checkpoint:
    """Open a folder, the bundled model (``sqlcoder-nano``) or a Hub repository, which is fetched whole.

    Args:
        model: folder path, ``sqlcoder-nano``, ``org/name`` or ``org/name@revision``.
        revision: branch, tag or commit on the Hub.

    Raises:
        CheckpointError: nothing there, or it is incomplete; the message says what is missing.
    """
    local = _local_folder(model)
    if local:
        return _read_folder(*local, None)
    from workbench.hub_checkpoint import fetch

    name, wanted = _hub_name(model, revision)
    path, commit = fetch(name, wanted, HUB_PATTERNS)
    return _read_folder(path, name, commit)


def peek_checkpoint(model: str, revision: str | None = None) -> Checkpoint:
    """The same for planning: of a Hub repository only the config and the tensor headers are fetched.

    The result knows names, shapes and types; its tensors cannot be read and it has no digest.
    """
    local = _local_folder(model)
    if local:
        return _read_folder(*local, None)
    from workbench.hub_checkpoint import peek

    name, wanted = _hub_name(model, revision)
    path, commit, headers = peek(name, wanted)
    tensors = {
        tensor: TensorInfo(tensor, dtype, shape, path.parent / file) for tensor, (dtype, shape, file) in headers.items()
    }
    return Checkpoint(name, path.parent, commit, _read_config(path), tensors)


def _local_folder(model: str) -> tuple[Path, str] | None:
    """Folder and name of a model on this disk, or ``None``."""
    from workbench.nano import MODEL_DIR, MODEL_NAME

    if model == MODEL_NAME:
        return MODEL_DIR, MODEL_NAME
    folder = Path(model).expanduser()
    return (folder, folder.resolve().name) if folder.is_dir() else None


def _hub_name(model: str, revision: str | None) -> tuple[str, str | None]:
    """Hub id and revision, or the sentence that there is no such model."""
    from workbench.nano import MODEL_NAME

    name, _, inline_revision = model.partition("@")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"there is no model folder {model!r}; name a folder, a Hub id such as defog/sqlcoder, or {MODEL_NAME}"
        )
    return name, revision or inline_revision or None


def _read_folder(path: Path, name: str, revision: str | None) -> Checkpoint:
    config = _read_config(path / "config.json")
    shards = _shards(path)
    tensors = {info.name: info for shard in shards for info in read_header(shard)}
    _check_index(path, tensors)
    return Checkpoint(name, path, revision, config, tensors)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} has no config.json; give --model a folder in Hugging Face layout")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch the checkpoint again") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise CheckpointError(f"{path} names no model_type; it is not a transformers config")
    return config


def _shards(path: Path) -> list[Path]:
    shards = sorted(path.glob("*.safetensors"))
    if shards:
        return shards
    if list(path.glob("pytorch_model*.bin")):
        raise CheckpointError(
            f"{path} holds only pickled weights (pytorch_model*.bin), which can run code when opened; "
            "give --revision a revision that has safetensors, or save the model as safetensors on a machine you trust"
        )
    raise CheckpointError(f"{path} holds no *.safetensors file; give --model a complete checkpoint")


def _check_index(path: Path, tensors: dict[str, TensorInfo]) -> None:
    """Every tensor the index promises must be in a shard: a forgotten shard is found before any work."""
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        return
    try:
        promised = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        missing = sorted({file for tensor, file in promised.items() if tensor not in tensors})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} cannot be understood ({error}); fetch it again") from error
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}; fetch the checkpoint again")
