"""Texts on their way through a model: token ids, batches of similar length, and their states kept on disk.

Texts are padded on the right: attention is causal, so no real token ever sees padding and no mask is needed;
padding is left out wherever inputs or outputs are counted.

A calibration set of 128 texts of 1,024 tokens is 3.2 GB in float32 at StarCoder's width of 6,144. Given a folder, the
states after each block are written to files and mapped, so they need no memory of their own and a killed run
finds those of the last block it passed. So is what a batch leaves behind inside a block (``workbench/block_run.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.journal import Journal

if TYPE_CHECKING:
    from torch import Tensor

# Tokens of a batch, padding included: large enough for efficient products, small enough that the 24,576 wide
# inner activations of a StarCoder block take 200 MB for each batch on its way.
BATCH_TOKENS = 2048
# For each token and column: inputs of a block, its outputs, and what attention leaves behind, in float32.
STATE_BYTES = 3 * 4


@dataclass
class Batch:
    """Sequences of similar length.

    Attributes:
        number: of the batch.
        rows: for each row the place of its sequence in the caller's list.
        hidden: inputs of the next block, ``[rows, tokens, width]``; behind the last block its outputs.
        real: which of them are not padding, ``[rows, tokens]``.
        passed: number of blocks passed.
        keywords: what the model hands every block beside them (positions, rotary tables).
    """

    number: int
    rows: list[int]
    hidden: Tensor
    real: Tensor
    passed: int = 0
    keywords: dict[str, Any] = field(default_factory=dict)


def tokenize(checkpoint: Checkpoint, texts: Sequence[str], samples: int, most_tokens: int) -> list[list[int]]:
    """Token ids of at most ``samples`` texts, taken at even distances, each cut to ``most_tokens``.

    Raises:
        CheckpointError: transformers cannot read the tokenizer.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"transformers cannot read the tokenizer in {checkpoint.path} ({error})") from error
    count = min(samples, len(texts))
    chosen = [texts[place * len(texts) // count] for place in range(count)]
    encoded = (tokenizer.encode(text)[:most_tokens] for text in chosen)
    return [ids for ids in encoded if ids]


def similar(sequences: Sequence[Sequence[int]], tokens: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Places of sequences of similar length, at most ``tokens`` in a batch with padding; longest first."""
    waiting = sorted(range(len(sequences)), key=lambda place: -len(sequences[place]))
    while waiting:
        rows = max(1, tokens // max(1, len(sequences[waiting[0]])))
        yield waiting[:rows]
        waiting = waiting[rows:]


def padded_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens of all batches together, padding included."""
    return sum(len(rows) * max(len(sequences[place]) for place in rows) for rows in similar(sequences))


class HiddenFolder:
    """The states of all batches after each block, in files that outlive the process.

    Args:
        folder: made when needed; holds nothing else. The caller removes it in the end.
        key: of the work; states of other work are worth nothing.
    """

    def __init__(self, folder: Path, key: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._journal = Journal(folder / "passed.jsonl", key)
        self._digests: dict[str, str] = {}

    def keep(self, passed: int, number: int, hidden: Tensor) -> Tensor:
        """Write a batch's states after ``passed`` blocks; returns them mapped from the file."""
        path = self._path(passed, number)
        values = hidden.detach().cpu().contiguous()
        raw = _raw(values)
        path.write_bytes(raw)
        self._digests[path.name] = hashlib.sha256(raw).hexdigest()
        return _mapped(path, values)

    def put(self, name: str, number: int, values: Tensor) -> Tensor:
        """Write other values of a batch, mapped from the file, until ``finish``; those it had before are removed."""
        for path in self._folder.glob(f"*.{number}.part"):
            path.unlink()  # mapped pages stay readable until nobody uses them
        path = self._folder / f"{name}.{number}.part"
        values = values.detach().cpu().contiguous()
        path.write_bytes(_raw(values))
        return _mapped(path, values)

    def finish(self, passed: int) -> None:
        """Note that every batch's states after ``passed`` blocks are written; earlier ones are removed."""
        names = {name: digest for name, digest in self._digests.items() if name.startswith(f"{passed}-")}
        self._journal.keep(0)
        self._journal.add({"passed": passed, "sha256": names})
        for path in [*self._folder.glob("*.hidden"), *self._folder.glob("*.part")]:
            if path.name not in names:
                path.unlink()
        self._digests = {}

    def restore(self, batches: Sequence[Batch], most: int) -> int:
        """Put batches where an earlier run left them, at most ``most`` blocks on; returns how many they passed."""
        if not self._journal.entries:
            return 0
        entry = self._journal.entries[0]
        paths = {batch.number: self._path(entry["passed"], batch.number) for batch in batches}
        whole = all(_digest(path) == entry["sha256"].get(path.name) for path in paths.values())
        if entry["passed"] > most or not whole:
            return 0
        for batch in batches:
            batch.hidden = _mapped(paths[batch.number], batch.hidden)
            batch.passed = entry["passed"]
        return int(entry["passed"])

    def _path(self, passed: int, number: int) -> Path:
        return self._folder / f"{passed}-{number}.hidden"


def _raw(values: Tensor) -> memoryview:
    """The bytes of a contiguous tensor."""
    import torch

    data: memoryview = values.reshape(-1).view(torch.uint8).numpy().data
    return data


def _mapped(path: Path, like: Tensor) -> Tensor:
    """A file's values as a tensor of the same type and shape; writing to it does not change the file."""
    import torch

    if not like.numel():
        return like
    return torch.from_file(str(path), shared=False, size=like.numel(), dtype=like.dtype).reshape(like.shape)


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
