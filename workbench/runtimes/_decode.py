"""Greedy decoding of many prompts with transformers' forward pass, batched by common prefix.

The result is that of ``model.generate(do_sample=False)`` on each prompt alone: every token is the argmax given
the prompt and the tokens before it, with positions counted from the prompt's start. A row ends at the model's
end-of-text token, when a stop text appears, or at its limit; ended rows leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.runtimes._beam_batches import search_batch
from workbench.runtimes._groups import Group, make_groups
from workbench.runtimes._stops import Stops
from workbench.runtimes.base import Decoding, Generation

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from workbench.kernels.shared_prefix import SharedPrefixCache

MOST_ROWS = 128
KEEP_SHARE = 0.75  # the batch is rebuilt without ended rows once fewer than this are left: rebuilding copies the cache


@dataclass(frozen=True)
class Decoder:
    """A model with what decoding needs.

    Attributes:
        model: in evaluation mode, with the shared-prefix attention set.
        stops: what ends an answer.
        context: most tokens of prompt and answer.
        budget_bytes: memory one batch may take for cache and scores.
    """

    model: PreTrainedModel
    stops: Stops
    context: int
    budget_bytes: int

    def run(
        self, prompts: Sequence[list[int]], decoding: Decoding, progress: Callable[[int, int], None] | None
    ) -> list[Generation]:
        """Answers in the order of the prompts (token ids; each shorter than the context)."""
        answers: dict[int, Generation] = {}
        for group in make_groups(prompts, lambda prefix, own: self._most_rows(prefix, own, decoding)):
            rows = [prompts[member] for member in group.members]
            for member, tokens in zip(group.members, self._group(group, rows, decoding), strict=True):
                answers[member] = self.stops.generation(len(prompts[member]), tokens)
            if progress:
                progress(len(answers), len(prompts))
        return [answers[place] for place in range(len(prompts))]

    def _most_rows(self, prefix: int, own: int, decoding: Decoding) -> int:
        """Prompts of a batch within the budget: the cache of their own parts and the scores while reading these."""
        config: Any = self.model.config
        heads = config.num_attention_heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        new = decoding.max_new_tokens
        cache: int = config.num_hidden_layers * 2 * kv_heads * size * (own + new) * self.model.dtype.itemsize
        scores: int = 3 * 4 * heads * own * (own + prefix)
        beams = decoding.beams
        fitting = min(MOST_ROWS // beams, self.budget_bytes // (beams * cache + scores))
        return min(fitting, decoding.most_rows or fitting)

    def _group(self, group: Group, rows: Sequence[list[int]], decoding: Decoding) -> list[list[int]]:
        """Tokens written for each row of a group."""
        limits = [min(decoding.max_new_tokens, self.context - len(row)) for row in rows]
        if decoding.beams > 1:
            return search_batch(self, group.prefix, rows, limits, decoding.beams)
        return self._greedy(group.prefix, rows, limits)

    def _greedy(self, prefix: int, rows: Sequence[list[int]], limits: Sequence[int]) -> list[list[int]]:
        import torch

        cache, logits = self.prefill(prefix, rows, max(limits))
        written: list[list[int]] = [[] for _ in rows]
        batch = list(range(len(rows)))  # row of each place in the batch
        open_rows = set(batch)
        positions = torch.tensor([len(row) for row in rows], device=self.model.device)
        while True:
            tokens = logits.argmax(-1)
            for row, token in zip(batch, tokens.tolist(), strict=True):
                if row in open_rows:
                    written[row].append(token)
                    if len(written[row]) >= limits[row] or self.stops.ended(written[row]):
                        open_rows.discard(row)
            if not open_rows:
                return written
            if len(open_rows) < KEEP_SHARE * len(batch):
                places = torch.tensor([p for p, row in enumerate(batch) if row in open_rows], device=tokens.device)
                batch = [row for row in batch if row in open_rows]
                tokens, positions = tokens[places], positions[places]
                cache.keep(places)
            # Ended rows still in the batch may stand at the end of the context; what they compute is not used.
            logits = self.forward(cache, tokens[:, None], positions[:, None].clamp(max=self.context - 1))
            positions = positions + 1

    def prefill(self, prefix: int, rows: Sequence[list[int]], new: int) -> tuple[SharedPrefixCache, Tensor]:
        """Read the prefix once and the rest of every row; the cache and the next token's logits ``[rows, vocab]``."""
        import torch

        from workbench.kernels.shared_prefix import SharedPrefixCache

        device = self.model.device
        longest = max(len(row) for row in rows) - prefix
        pads = torch.tensor([longest - (len(row) - prefix) for row in rows], device=device)
        cache = SharedPrefixCache(longest + new, pads)
        if prefix:
            ids = torch.tensor([rows[0][:prefix]], device=device)
            self.forward(cache, ids, torch.arange(prefix, device=device)[None])
        cache.in_prefix = False
        own = [[0] * (longest - len(row) + prefix) + row[prefix:] for row in rows]
        positions = prefix + (torch.arange(longest, device=device) - pads[:, None]).clamp(min=0)
        return cache, self.forward(cache, torch.tensor(own, device=device), positions)

    def forward(self, cache: SharedPrefixCache, tokens: Tensor, positions: Tensor) -> Tensor:
        """Read tokens ``[rows, new]`` at their positions; logits ``[rows, vocab]`` after the last of each row."""
        output = self.model(
            input_ids=tokens, position_ids=positions, use_cache=False, logits_to_keep=1, shared_prefix=cache
        )
        if not cache.in_prefix:
            cache.advance(tokens.shape[1])
        logits: Tensor = output.logits[:, -1]
        return logits
