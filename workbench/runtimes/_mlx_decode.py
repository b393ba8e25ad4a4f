"""Decoding with MLX, prompts read in blocks that the next prompt can keep.

The keys and values of a block depend on the tokens up to its end and, in floating point, on how the prompt was cut
into products. So every prompt is cut at multiples of ``BLOCK``, all tokens but the last in blocks and the last alone. A
whole block that equals one of the prompt before would be computed by the very same operations on the very
same numbers: it is kept instead, and no answer depends on which prompts were asked together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench.runtimes._beams import most_probable

if TYPE_CHECKING:
    from workbench.runtimes._beams import Told

BLOCK = 64  # large enough to keep a GPU's matrix units busy, small against a schema
CLEAR_EVERY = 256  # tokens after which freed buffers are given back, as mlx-lm does


class PromptReader:
    """A model and the keys and values of the prompt read last.

    Args:
        model: of mlx-lm.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: list[Any] = []
        self._kept: list[int] = []  # tokens of the whole blocks in the cache

    def read(self, ids: Sequence[int]) -> tuple[Any, list[Any]]:
        """Logits ``(1, vocabulary)`` after a prompt, and the cache to go on with until the next call."""
        common = _common(self._kept, ids[:-1]) // BLOCK * BLOCK
        self._kept = []  # nothing may be trusted should this fail half way
        if not common:
            self._cache = import_module("mlx_lm.models.cache").make_prompt_cache(self._model)
        for layer in self._cache:
            layer.trim(layer.offset - common)
        logits = prefill(self._model, self._cache, ids, common, BLOCK)
        self._kept = list(ids[: (len(ids) - 1) // BLOCK * BLOCK])
        return logits, self._cache


def prefill(model: Any, cache: list[Any], ids: Sequence[int], first: int, block: int) -> Any:
    """Read a prompt from token ``first`` on, in blocks; logits ``(1, vocabulary)`` of the next token."""
    return prefill_rows(model, cache, [ids], first, block)


def prefill_rows(model: Any, cache: list[Any], rows: Sequence[Sequence[int]], first: int, block: int) -> Any:
    """Likewise for prompts of one length; logits ``(rows, vocabulary)``."""
    mx = import_module("mlx.core")
    ids = mx.array(rows)
    end = ids.shape[1] - 1
    for start in range(first, end, block):
        model(ids[:, start : min(start + block, end)], cache=cache)
        mx.eval([layer.state for layer in cache])  # without the head, whose logits nobody wants here
    return model(ids[:, end:], cache=cache)[:, -1]


def greedy(model: Any, cache: list[Any], logits: Any) -> Iterator[int]:
    """The most probable tokens, one after another without end.

    The next step is begun before a token is handed out, so that the device never waits for Python: token k asks for
    the position of token k, which lies inside any context that has room for it.
    """
    return (tokens[0] for tokens in greedy_rows(model, cache, logits))


def greedy_rows(model: Any, cache: list[Any], logits: Any) -> Iterator[list[int]]:
    """Likewise of several rows, ``(rows, vocabulary)``."""
    mx = import_module("mlx.core")
    token = logits.argmax(-1)
    count = 0
    while True:
        following = model(token[:, None], cache=cache)[:, -1].argmax(-1)
        mx.async_eval(following)
        yield token.tolist()
        token = following
        count += 1
        if count % CLEAR_EVERY == 0:
            mx.clear_cache()


class Followed:
    """Answers followed side by side in a cache of their own, a row each.

    Args:
        model: of mlx-lm.
        cache: of the prompt; it is only read.
        keep: how many of the most probable tokens to tell.
    """

    def __init__(self, model: Any, cache: list[Any], keep: int) -> None:
        self._model = model
        self._keep = keep
        self._sources = cache
        self._rows = import_module("mlx_lm.models.cache").make_prompt_cache(model)

    def told(self, logits: Any) -> Told:
        """The most probable tokens of each row of logits ``(rows, vocabulary)``."""
        import numpy

        return most_probable(numpy.array(logits.astype(import_module("mlx.core").float32)), self._keep)

    def follow(self, parents: Sequence[int], tokens: Sequence[int]) -> Told:
        """Let answers go on from others, each with a token; see ``BeamSearch.run``."""
        mx = import_module("mlx.core")
        chosen = mx.array(parents)
        for rows, source in zip(self._rows, self._sources, strict=True):
            rows.state = tuple(part[chosen] if isinstance(part, mx.array) else part for part in source.state)
        self._sources = self._rows
        return self.told(self._model(mx.array(tokens)[:, None], cache=self._rows)[:, -1])


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens with which both begin."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (left, right) in enumerate(pairs) if left != right), min(len(first), len(second)))
