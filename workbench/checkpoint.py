"""Checkpoints: the source weights, read lazily chunk by chunk.

A checkpoint is a local folder or a Hub repository ``org/name`` (``org/name@revision``). Opening one
reads the config and the tensor headers only (``workbench/tensors.py``), so a plan costs no weights and no
torch; where there are no weights at all, a plan makes do with the config (``workbench/config_tensors.py``). Old
repositories hold ``pytorch_model*.bin``, which are pickles: they are indexed without running them
(``workbench/pickled.py``) and read like safetensors from there on.

A checkpoint has a digest, over the contents, and an identity, over its files' sizes and times: the digest costs a
pass over all weights, which a conversion makes anyway, and is remembered under the identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import digest_memory
from workbench.artifact import sha256_file, sha256_json
from workbench.checkpoint_files import CONFIG, SMALL_FILES, NoWeightsError, WeightFiles, find_weights, is_pointer
from workbench.config_tensors import config_tensors
from workbench.errors import CheckpointError
from workbench.model_config import context_length, is_tied, read_config
from workbench.pickled import read_pickled
from workbench.prompt import PROMPTS, Prompt, prompt_for
from workbench.tensors import Digests, TensorInfo, read_header, read_rows, unique_elements

if TYPE_CHECKING:
    import torch

# Tensors of a weight file, by how its name ends.
READERS = {".safetensors": read_header, ".bin": read_pickled}
_HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Checkpoint:
    """A model's weights, config and tokenizer on disk.

    Attributes:
        id: as the user named it: Hub id or the folder's name.
        path: local folder.
        revision: commit of the Hub repository, ``None`` for a folder.
        config: the parsed ``config.json``, under the names transformers has (``workbench/model_config.py``).
        tensors: by name; tied tensors that the file does not hold are not listed.
        prompt_name: the prompt it was trained on, where the user says so; else its id tells.
        from_config: whether there are no weights and ``tensors`` are those that the config describes: enough to plan.
        digests: of the tensors read so far.
    """

    id: str
    path: Path
    revision: str | None
    config: dict[str, Any]
    tensors: dict[str, TensorInfo]
    prompt_name: str | None = None
    from_config: bool = False
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

    @cached_property
    def parameters(self) -> int:
        """Number of weights in the files (a tied head is stored once)."""
        return unique_elements(list(self.tensors.values()))

    @property
    def context_length(self) -> int:
        """Most tokens the model was built for."""
        return context_length(self.config, self.path / CONFIG)

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
        """One of a tensor's chunks, read from its shard now; its digest is noted while the whole one is not known."""
        info = self.tensors[name]
        values = read_rows(info, info.chunks[place], direct=self.exceeds_memory)
        if self.known_digest() is None:
            self.digests.note(info, place, values)
        return values

    @cached_property
    def exceeds_memory(self) -> bool:
        """Whether the weights are more than half of what memory could cache now."""
        import psutil

        total = sum(info.nbytes for info in self.tensors.values())
        return total > psutil.virtual_memory().available / 2

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
        digest = sha256_json({"files": self.small_digests(), "tensors": tensors})
        digest_memory.remember(self.identity, digest)
        return digest

    def known_digest(self) -> str | None:
        """The digest, if these very files were read whole before, here or by another run; reads no weights."""
        found: str | None = self.__dict__.get("digest")
        return found or self._remembered

    @cached_property
    def _remembered(self) -> str | None:
        """The digest an earlier run has found; asked once, for every chunk that is read depends on it."""
        return digest_memory.recall(self.identity)

    @cached_property
    def identity(self) -> str:
        """sha256 over the small files' contents and the weight files' places, sizes and times: cheap to know."""
        if self.from_config:
            raise NoWeightsError(f"{self.path} holds no weights, only what describes them; give --model a checkpoint")
        weights = sorted({info.file for info in self.tensors.values()})
        stats = {str(file.resolve()): file.stat() for file in weights}
        return sha256_json(
            {
                "files": self.small_digests(),
                "weights": {name: [s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns] for name, s in stats.items()},
            }
        )

    def small_digests(self) -> dict[str, str]:
        """sha256 of config, tokenizer and generation config, by file name."""
        return {file.name: sha256_file(file) for file in [self.path / CONFIG, *self.small_files()]}

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
        return [self.path / name for name in SMALL_FILES if (self.path / name).is_file()]


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
    return open_from_hub(*_hub_name(model, revision))


def open_from_hub(name: str, revision: str | None) -> Checkpoint:
    """Open a Hub repository, also where a folder here bears its name; what is not in the cache is fetched.

    Raises:
        CheckpointError: as ``open_checkpoint``.
    """
    from workbench.hub_checkpoint import fetch

    path, commit = fetch(name, revision)
    return _read_folder(path, name, commit)


def local_checkpoint(model: str, revision: str | None = None) -> Checkpoint | None:
    """The same where nothing need be fetched: a folder, the bundled model, or a repository that is whole in the cache.

    Returns:
        ``None`` where it is not on this machine, or not whole.

    Raises:
        CheckpointError: it is here and cannot be read.
    """
    local = _local_folder(model)
    if local:
        return _read_folder(*local, None)
    from workbench.hub_checkpoint import cached

    name, wanted = _hub_name(model, revision)
    folder = cached(name, wanted)
    return _read_folder(folder, name, folder.name) if folder else None


def open_copy(folder: Path, name: str, commit: str) -> Checkpoint:
    """Open what ``hub_checkpoint.copy_partly`` made of a repository; only tensors that were brought hold values."""
    return _read_folder(folder, name, commit)


def peek_checkpoint(model: str, revision: str | None = None) -> Checkpoint:
    """The same for planning: of a Hub repository only the config and the tensor headers are fetched.

    The result knows names, shapes and types; its tensors cannot be read and it has no digest. Of a folder or repository
    without weights it knows what the config says.

    Raises:
        CheckpointError: as ``open_checkpoint``, or there are no weights and the config does not describe a model of
            a known architecture.
    """
    local = _local_folder(model)
    if local:
        return _peek_folder(*local, None)
    from workbench.hub_checkpoint import peek

    name, wanted = _hub_name(model, revision)
    folder, commit, tensors = peek(name, wanted)
    if tensors is None:
        return _read_folder(folder, name, commit)
    if not tensors:
        return _described(folder, name, commit)
    config = read_config(folder / CONFIG)
    return Checkpoint(name, folder, commit, config, _untied(config, {info.name: info for info in tensors}))


def _peek_folder(path: Path, name: str, revision: str | None) -> Checkpoint:
    """A folder with all of its weights or none: half a download is told as what it is."""
    try:
        files = _weight_files(path)
    except NoWeightsError:
        return _described(path, name, revision)
    here = any((path / file).is_file() and not is_pointer(path / file) for file in files.names)
    return _read_folder(path, name, revision) if here else _described(path, name, revision)


def _described(path: Path, name: str, revision: str | None) -> Checkpoint:
    """What the config alone says."""
    config = read_config(path / CONFIG)
    return Checkpoint(name, path, revision, config, config_tensors(config, path), from_config=True)


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
    """Open a folder; a forgotten shard is found before any work."""
    config, weights = read_config(path / CONFIG), _weight_files(path)
    lacking = [file for file in weights.names if not (path / file).is_file()]
    tensors = {info.name: info for file in weights.names if file not in lacking for info in _read_file(path / file)}
    lacking += [file for tensor, file in weights.promised.items() if tensor not in tensors]
    if lacking:
        raise CheckpointError(f"{path} lacks {', '.join(sorted(set(lacking)))}; fetch the checkpoint again")
    return Checkpoint(name, path, revision, config, _untied(config, tensors))


def _weight_files(path: Path) -> WeightFiles:
    names = {file.name for file in path.iterdir()}
    return find_weights(names, lambda index: (path / index).read_text(encoding="utf-8"), path)


def _untied(config: dict[str, Any], tensors: dict[str, TensorInfo]) -> dict[str, TensorInfo]:
    """Without the head that is the embedding under a second name: a pickle may list it, safetensors cannot."""
    head = tensors.get(_HEAD)
    if head is None or head.offset is None or not is_tied(config):
        return tensors
    others = {name: info for name, info in tensors.items() if name != _HEAD}
    shared = any((info.file, info.offset) == (head.file, head.offset) for info in others.values())
    return others if shared else tensors


def _read_file(file: Path) -> list[TensorInfo]:
    if is_pointer(file):
        raise CheckpointError(f"{file} is Git LFS's pointer to the weights, not the weights; run: git lfs pull")
    return READERS[file.suffix](file)
