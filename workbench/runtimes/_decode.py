"""Greedy decoding of many prompts with transformers' forward pass, batched by common prefix.

The result is that of ``model.generate(do_sample=False)`` on each prompt alone: every token is the argmax given
the prompt and the tokens before it, with positions counted from the prompt's start. A row ends at the model's
end-of-text token, when a stop text appears, or at its limit; ended rows leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.runtimes._groups import Group, make_groups
from workbench.runtimes.base import Decoding, Generation

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from workbench.kernels.shared_prefix import SharedPrefixCache

MOST_ROWS = 128
KEEP_SHARE = 0.75  # the batch is rebuilt without ended rows once fewer than this are left: rebuilding copies the cache


class Stops:
    """Finds stop texts in what was written, decoding as rarely as it can.

    A stop text is complete only with a token that holds its last character, so only rows that
    just wrote such a token are decoded and searched.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str], vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._stop = [text for text in stop if text]
        pieces = tokenizer.batch_decode([[token] for token in range(min(vocabulary, len(tokenizer)))])
        last = {text[-1] for text in self._stop}
        # A character outside ASCII may be spread over tokens that show as U+FFFD each.
        self._closing = frozenset(
            token
            for token, piece in enumerate(pieces)
            if any(character in piece for character in last) or (not all(map(str.isascii, last)) and "\ufffd" in piece)
        )

    def text(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special ones left out."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def cut(self, text: str) -> str | None:
        """The text before the first stop, or ``None`` when there is none."""
        places = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        return text[: min(places)] if places else None

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether the last token completed a stop text."""
        return tokens[-1] in self._closing and self.cut(self.text(tokens)) is not None

    def generation(self, prompt_tokens: int, tokens: Sequence[int], ends: Container[int]) -> Generation:
        """The answer that was written, with the token that ended it; ``ends`` are the end-of-text ids."""
        text = self.text(tokens)
        before_stop = self.cut(text)
        finished = before_stop is not None or tokens[-1] in ends
        said = text if before_stop is None else before_stop
        return Generation(said, prompt_tokens, len(tokens), finished, tuple(tokens))


@dataclass(frozen=True)
class Decoder:
    """A model with what decoding needs.

    Attributes:
        model: in evaluation mode, with the shared-prefix attention set.
        ends: end-of-text token ids.
        stops: stop texts.
        context: most tokens of prompt and answer.
        budget_bytes: memory one batch may take for cache and scores.
    """

    model: PreTrainedModel
    ends: frozenset[int]
    stops: Stops
    context: int
    budget_bytes: int

    def run(
        self, prompts: Sequence[list[int]], decoding: Decoding, progress: Callable[[int, int], None] | None
    ) -> list[Generation]:
        """Answers in the order of the prompts (token ids; each shorter than the context)."""
        answers: dict[int, Generation] = {}
        new, most = decoding.max_new_tokens, decoding.most_rows or MOST_ROWS
        for group in make_groups(prompts, lambda prefix, own: min(most, self._most_rows(prefix, own, new))):
            rows = [prompts[member] for member in group.members]
            for member, tokens in zip(group.members, self._group(group, rows, new), strict=True):
                answers[member] = self.stops.generation(len(prompts[member]), tokens, self.ends)
            if progress:
                progress(len(answers), len(prompts))
        return [answers[place] for place in range(len(prompts))]

    def _most_rows(self, prefix: int, own: int, new: int) -> int:
        """Rows of a batch within the budget: the cache of their own parts and the scores while reading these."""
        config: Any = self.model.config
        heads = config.num_attention_heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        cache: int = config.num_hidden_layers * 2 * kv_heads * size * (own + new) * self.model.dtype.itemsize
        scores: int = 3 * 4 * heads * own * (own + prefix)
        return min(MOST_ROWS, self.budget_bytes // (cache + scores))

    def _group(self, group: Group, rows: Sequence[list[int]], max_new_tokens: int) -> list[list[int]]:
        """Tokens written for each row of a group."""
        import torch

        limits = [min(max_new_tokens, self.context - len(row)) for row in rows]
        cache, logits = self._prefill(group.prefix, rows, max(limits))
        written: list[list[int]] = [[] for _ in rows]
        batch = list(range(len(rows)))  # row of each place in the batch
        open_rows = set(batch)
        positions = torch.tensor([len(row) for row in rows], device=self.model.device)
        while True:
            tokens = logits.argmax(-1)
            for row, token in zip(batch, tokens.tolist(), strict=True):
                if row in open_rows:
                    written[row].append(token)
                    if self._ended(written[row], limits[row]):
                        open_rows.discard(row)
            if not open_rows:
                return written
            if len(open_rows) < KEEP_SHARE * len(batch):
                places = torch.tensor([p for p, row in enumerate(batch) if row in open_rows], device=tokens.device)
                batch = [row for row in batch if row in open_rows]
                tokens, positions = tokens[places], positions[places]
                cache.keep(places)
            # Ended rows still in the batch may stand at the end of the context; what they compute is not used.
            logits = self._forward(cache, tokens[:, None], positions[:, None].clamp(max=self.context - 1))
            positions = positions + 1

    def _ended(self, tokens: list[int], limit: int) -> bool:
        return len(tokens) >= limit or tokens[-1] in self.ends or self.stops.ended(tokens)

    def _prefill(self, prefix: int, rows: Sequence[list[int]], new: int) -> tuple[SharedPrefixCache, Tensor]:
        """Read the prefix once and the rest of every row; the cache and the next token's logits ``[rows, vocab]``."""
        import torch

        from workbench.kernels.shared_prefix import SharedPrefixCache

        device = self.model.device
        longest = max(len(row) for row in rows) - prefix
        pads = torch.tensor([longest - (len(row) - prefix) for row in rows], device=device)
        cache = SharedPrefixCache(longest + new, pads)
        if prefix:
            ids = torch.tensor([rows[0][:prefix]], device=device)
            self._forward(cache, ids, torch.arange(prefix, device=device)[None])
        cache.in_prefix = False
        own = [[0] * (longest - len(row) + prefix) + row[prefix:] for row in rows]
        positions = prefix + (torch.arange(longest, device=device) - pads[:, None]).clamp(min=0)
        return cache, self._forward(cache, torch.tensor(own, device=device), positions)

    def _forward(self, cache: SharedPrefixCache, tokens: Tensor, positions: Tensor) -> Tensor:
        output = self.model(
            input_ids=tokens, position_ids=positions, use_cache=False, logits_to_keep=1, shared_prefix=cache
        )
        if not cache.in_prefix:
            cache.advance(tokens.shape[1])
        logits: Tensor = output.logits[:, -1]
        return logits
