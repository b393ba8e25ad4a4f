"""A transformers model that runs block by block: one block's weights in memory, whatever the model's size.

The model is built on torch's "meta" device, where tensors have shapes but no values. A block gets its weights
from the checkpoint for its turn and gives them back; texts pass it batch by batch. Of the embedding only the rows
of tokens that occur are read, and the head goes by in chunks of rows. What a checkpoint does not hold (rotary
tables, masks) the model's own code computes. The forward code is transformers' own throughout, so the answers
are those of the whole model; only the products of linear layers go by ``workbench/products.py``. While a block
computes, a thread reads the next one's weights, in the type they are stored in.

Batches go through a block side by side, each on one thread (``workbench/workers.py``): results do not depend on the
number of threads.

Example::

    with Workers(threads=2) as workers:
        model = StreamedModel(open_checkpoint("sqlcoder-nano"), workers)
        last = model.run([[5, 17, 9], [4, 4]])  # logits behind each sequence's last token, [1, vocabulary] each
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from workbench.architecture import MODULES
from workbench.batches import Batch, HiddenFolder, similar
from workbench.block_run import BlockRun
from workbench.checkpoint import Checkpoint
from workbench.empty_model import multiply_fast, twin_of, without_weights
from workbench.errors import CheckpointError
from workbench.module_calls import first_call, watching
from workbench.products import multiply
from workbench.workers import Workers

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class StreamedModel:
    """A checkpoint as a model that can be run, its weights read when their turn comes.

    Args:
        checkpoint: of an architecture in ``workbench/architecture.py``.
        workers: to run batches on; entered by the caller.
        dtype: torch's name of the type to compute in; weights are cast to it.
        hidden: where to keep the states of batches; in memory without it.
        device: torch's name of where blocks and batches are computed. States stay there unless ``hidden`` takes them.

    Attributes:
        depth: number of blocks.

    Raises:
        CheckpointError: transformers does not understand the config, or weights are missing.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        workers: Workers,
        dtype: str = "float32",
        hidden: HiddenFolder | None = None,
        device: str = "cpu",
    ) -> None:
        import torch

        self._checkpoint = checkpoint
        self._workers = workers
        self._hidden = hidden
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._facts = MODULES[checkpoint.architecture]
        self._device = torch.device(device)
        self._model = without_weights(checkpoint, self._dtype, self._device)
        self._blocks: list[nn.Module] = list(self._model.get_submodule(self._facts.blocks))
        multiply_fast(self._blocks)
        self.depth = len(self._blocks)
        self._ahead: dict[str, list[Future[Tensor]]] = {}
        streamed = (f"{self._facts.blocks}.", f"{self._facts.embedding}.", f"{self._facts.head}.")
        rest = [name for name, _ in self._model.named_parameters() if not name.startswith(streamed)]
        self._model.load_state_dict({name: self.read(name) for name in rest}, assign=True, strict=False)

    def read(self, name: str) -> Tensor:
        """One tensor of the checkpoint in the model's type, on its device.

        A subclass may make weights here instead of reading them; it then has ``read_ahead`` do nothing.

        Raises:
            CheckpointError: the checkpoint lacks it, or cannot be read.
        """
        import torch

        self._check(name)
        info = self._checkpoint.tensors[name]
        if len(info.shape) < 2:
            return self._checkpoint.read(name).to(self._device, self._dtype)
        values = torch.empty(info.shape, dtype=self._dtype, device=self._device)
        for rows, chunk in zip(info.chunks, self._chunks(name), strict=True):
            values[rows] = chunk
        return values

    def _chunks(self, name: str) -> Iterator[Tensor]:
        """A tensor's chunks in the stored type, each given up when the next is taken; read ahead or read now."""
        waiting = self._ahead.pop(name, None)
        if waiting is None:
            yield from self._checkpoint.chunks(name)
            return
        while waiting:
            yield waiting.pop(0).result()

    def read_ahead(self, place: int, but: Collection[str] = ()) -> None:
        """Begin to read a block's matrices while something else computes; nothing where there is no such block.

        Args:
            place: of the block.
            but: parameters, by name in the block, that will not be wanted.
        """
        self._ahead.clear()
        if place >= self.depth:
            return
        for name, parameter in self._blocks[place].named_parameters():
            full_name = f"{self._facts.blocks}.{place}.{name}"
            if name not in but and parameter.ndim > 1 and full_name in self._checkpoint.tensors:
                chunks = range(len(self._checkpoint.tensors[full_name].chunks))
                read = partial(self._checkpoint.read_chunk, full_name)
                self._ahead[full_name] = self._workers.beside(read, chunks)

    def _check(self, name: str) -> None:
        if name not in self._checkpoint.tensors:
            raise CheckpointError(f"{self._checkpoint.path} lacks {name}; give --model a complete checkpoint")

    def embed(self, sequences: Sequence[Sequence[int]]) -> list[Batch]:
        """What the first block is given for token ids: sequences of similar length in batches."""
        import torch

        known = sorted({0, *(token for row in sequences for token in row)})
        rows = self._embeddings(known)
        place_of = {token: place for place, token in enumerate(known)}
        base = getattr(self._model, self._model.base_model_prefix)
        batches = []
        for number, places in enumerate(similar(sequences)):
            width = max(len(sequences[place]) for place in places)
            lengths = torch.tensor([len(sequences[place]) for place in places])
            padded = [[place_of[token] for token in sequences[place]] for place in places]
            ids = torch.tensor([row + [place_of[0]] * (width - len(row)) for row in padded])
            hidden, keywords = first_call(self._blocks[0], base, rows[ids].to(self._device))
            kept = self._hidden.keep(0, number, hidden) if self._hidden else hidden
            real = (torch.arange(width) < lengths[:, None]).to(self._device)
            batches.append(Batch(number, places, kept, real, keywords=keywords))
        return batches

    def _embeddings(self, tokens: Sequence[int]) -> Tensor:
        """Rows of the embedding, ``[tokens, width]``; the tokens ascend. Only chunks with such rows are read."""
        import torch

        name = f"{self._facts.embedding}.weight"
        self._check(name)
        info = self._checkpoint.tensors[name]
        found = []
        for place, chunk in enumerate(info.chunks):
            here = [token - chunk.start for token in tokens if chunk.start <= token < chunk.stop]
            if here:
                found.append(self._checkpoint.read_chunk(name, place)[here].to(self._dtype))
        if sum(map(len, found)) != len(tokens):
            raise CheckpointError(f"the tokenizer knows token {tokens[-1]}, the embedding has {info.shape[0]} rows")
        return torch.cat(found)

    @contextmanager
    def block(self, place: int, weights: Mapping[str, Tensor] | None = None, twin: bool = False) -> Iterator[nn.Module]:
        """One block with its weights, for as long as the context lasts.

        Args:
            place: of the block, from 0.
            weights: values to take instead of the checkpoint's, by the parameter's name in the block.
            twin: a second one of its own beside the first.

        Raises:
            CheckpointError: the checkpoint lacks a weight.
        """
        block = twin_of(self._blocks[place]) if twin else self._blocks[place]
        given = weights or {}
        empty = dict(block.named_parameters())
        state = {
            name: given[name].to(self._device, self._dtype)
            if name in given
            else self.read(f"{self._facts.blocks}.{place}.{name}")
            for name in empty
        }
        block.load_state_dict(state, assign=True, strict=False)
        del state
        try:
            yield block
        finally:
            block.load_state_dict(empty, assign=True, strict=False)

    def blocks(self) -> Iterator[tuple[int, nn.Module]]:
        """Each block in turn, with its weights, and its place."""
        for place in range(self.depth):
            with self.block(place) as block:
                self.read_ahead(place + 1)
                yield place, block

    def block_run(self, block: nn.Module, batches: Sequence[Batch], room: int = 0) -> BlockRun:
        """A block run step by step, its weights replaced on the way; see ``workbench/block_run.py``."""
        return BlockRun(block, self._facts, batches, self._workers, self._hidden, room)

    def observe(self, block: nn.Module, names: Sequence[str], batches: Sequence[Batch]) -> Iterator[dict[str, Tensor]]:
        """Pass a block, and see what some of its layers read on the way.

        Yields, batch by batch, the inputs ``[real tokens, in]`` of the named layers; each batch's states are then
        the block's outputs. To be used up: batches behind the last one taken do not move on.
        """
        with watching(block, names, stop=False) as seen:

            def passing(batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
                seen.inputs = {}
                output = block(batch.hidden.to(self._device), **batch.keywords)
                hidden = output[0] if isinstance(output, tuple) else output
                return {name: values[batch.real] for name, values in seen.inputs.items()}, hidden

            for batch, (inputs, hidden) in zip(batches, self._workers.map(passing, batches), strict=True):
                batch.passed += 1
                batch.hidden = self._hidden.keep(batch.passed, batch.number, hidden) if self._hidden else hidden
                yield inputs
        if self._hidden and batches:
            self._hidden.finish(batches[0].passed)

    def advance(self, block: nn.Module, batches: Sequence[Batch]) -> None:
        """Replace a block's inputs by its outputs."""
        for _ in self.observe(block, (), batches):
            pass

    def logits(self, batches: Sequence[Batch], positions: Sequence[Sequence[int]] | None = None) -> list[Tensor]:
        """Logits of batches that passed all blocks.

        Args:
            batches: as ``embed`` made them.
            positions: which tokens of each sequence, in the order ``embed`` was given them; ``None`` means the last of
                each. The result holds one row of the vocabulary's size for each: ask for what will be used.

        Returns:
            ``[positions, vocabulary]`` for each sequence, in the caller's order.
        """
        import torch

        norm = self._model.get_submodule(self._facts.norm)
        states: dict[int, Tensor] = {}
        for batch in batches:
            for row, place in enumerate(batch.rows):
                wanted = [int(batch.real[row].sum()) - 1] if positions is None else list(positions[place])
                states[place] = norm(batch.hidden[row, wanted].to(self._device))
        order = sorted(states)
        counts = [len(states[place]) for place in order]
        if not counts:
            return []
        return list(torch.split(self._head(torch.cat([states[place] for place in order])), counts))

    def _head(self, states: Tensor) -> Tensor:
        """The head's logits ``[positions, vocabulary]``, a chunk of its rows at a time."""
        import torch

        name = self._head_name()
        info = self._checkpoint.tensors[name]
        logits = torch.empty(len(states), info.shape[0], dtype=self._dtype, device=self._device)

        def piece(place: int) -> None:
            weight = self._checkpoint.read_chunk(name, place).to(self._device, self._dtype)
            logits[:, info.chunks[place]] = multiply(states, weight)

        self._workers.run(piece, range(len(info.chunks)))
        return logits

    def _head_name(self) -> str:
        """The head's weight; a tied one is the embedding's, under whichever of both names the files hold it."""
        own, tied = f"{self._facts.head}.weight", f"{self._facts.embedding}.weight"
        if not self._model.config.tie_word_embeddings:
            self._check(own)
            return own
        return tied if tied in self._checkpoint.tensors else own

    def run(self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]] | None = None) -> list[Tensor]:
        """Logits of token ids through the whole model; see ``logits``."""
        batches = self.embed(sequences)
        for _, block in self.blocks():
            self.advance(block, batches)
        return self.logits(batches, positions)
