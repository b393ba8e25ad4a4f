"""Beam search for one prompt, apart from any engine: which answers to go on with, and when to stop.

Greedy writing takes the most probable token at each step. Beam search follows several answers side by side and
keeps, at each step, the ones whose tokens are most probable together (sum of log-probabilities); an answer that
ends competes with its mean log-probability per token, so that short answers have no advantage. The search is over
when enough answers have ended and the best open one, by its mean so far, is no better than the worst of these.

This is the search of ``transformers.generate(num_beams=n, do_sample=False, length_penalty=1.0, early_stopping=False)``,
with which SQLCoder's authors evaluated it, sums in float32 included: at each step twice as many
continuations as beams are looked at (more, if the model has several end-of-text tokens), an answer that
ends counts only if it is among the best ``beams`` of them, and reaching the limit ends an answer, too. Source:
github.com/huggingface/transformers, src/transformers/generation/utils.py, ``_beam_search``.

An engine needs only tell the most probable next tokens after each open answer::

    search = BeamSearch(beams=4, ended=lambda tokens: tokens[-1] in ends, limit=300, ends=len(ends))
    tokens = search.run(most_probable(logits_after_the_prompt, search.keep), follow)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Told: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Beam:
    """An answer followed, or ended.

    Attributes:
        score: sum of its tokens' log-probabilities; once ended, their mean.
        tokens: ids written.
        parent: place, among the open answers of the step before, of the one it goes on from.
    """

    score: np.float32
    tokens: tuple[int, ...]
    parent: int = 0


class BeamSearch:
    """The search for one prompt's answer.

    Args:
        beams: answers followed.
        ended: whether an answer's last token ended it.
        limit: most tokens of an answer.
        ends: number of end-of-text ids.

    Attributes:
        keep: continuations looked at in a step.
        open: answers followed, the best first; none once the search is over.
    """

    def __init__(self, beams: int, ended: Callable[[Sequence[int]], bool], limit: int, ends: int) -> None:
        import numpy as np

        self.keep = max(2, 1 + ends) * beams
        self.open = [Beam(np.float32(0), ())]
        self._beams = beams
        self._ended = ended
        self._limit = limit
        self._finished: list[Beam] = []

    @property
    def best(self) -> list[int]:
        """Tokens of the best answer that ended."""
        return list(self._finished[0].tokens)

    def run(self, told: Told, follow: Callable[[Sequence[int], Sequence[int]], Told]) -> list[int]:
        """Search to the end; tokens of the best answer.

        Args:
            told: the most probable tokens after the prompt, as ``advance`` takes them, ``[1, tokens]`` each.
            follow: tells those after each open answer, given the place of the answer it goes on from and its last
                token; called once for each step.
        """
        while parents := self.advance(*told):
            told = follow(parents, [beam.tokens[-1] for beam in self.open])
        return self.best

    def advance(self, logprobs: NDArray[np.float32], ids: NDArray[np.int64]) -> list[int]:
        """Go one token further.

        Args:
            logprobs: natural logarithms of the probabilities of the tokens most likely to follow each open answer, at
                least ``keep`` of them or the whole vocabulary, ``[open, tokens]``.
            ids: these tokens, ``[open, tokens]``.

        Returns:
            For each answer that is open now, the place of the one it goes on from; none when the search is over.
        """
        best = self._best_continuations(logprobs, ids)
        ended = [len(beam.tokens) >= self._limit or self._ended(beam.tokens) for beam in best]
        told = [beam for beam, end in zip(best[: self._beams], ended, strict=False) if end]
        self._finish(told)
        self.open = [beam for beam, end in zip(best, ended, strict=True) if not end][: self._beams]
        if self._is_over():
            self.open = []
        return [beam.parent for beam in self.open]

    def _best_continuations(self, logprobs: NDArray[np.float32], ids: NDArray[np.int64]) -> list[Beam]:
        import numpy as np

        sums = np.array([beam.score for beam in self.open], np.float32)[:, None] + logprobs.astype(np.float32)
        order = np.argsort(-sums, axis=None, kind="stable")[: self.keep]
        rows, columns = np.unravel_index(order, sums.shape)
        return [
            Beam(sums[row, column], (*self.open[row].tokens, int(ids[row, column])), int(row))
            for row, column in zip(rows, columns, strict=True)
        ]

    def _finish(self, beams: Sequence[Beam]) -> None:
        """Let answers that ended compete with those before."""
        import numpy as np

        means = [Beam(np.float32(beam.score / len(beam.tokens)), beam.tokens) for beam in beams]
        self._finished = sorted([*self._finished, *means], key=lambda beam: -beam.score)[: self._beams]

    def _is_over(self) -> bool:
        """No answer is open, or none of the open can be expected to displace one that ended."""
        if not self.open or len(self._finished) < self._beams:
            return not self.open
        first = self.open[0]
        return bool(first.score / len(first.tokens) <= self._finished[-1].score)


def most_probable(logits: NDArray[np.float32], count: int) -> Told:
    """Log-probabilities and ids of the ``count`` most probable tokens, each ``[rows, count]``.

    Args:
        logits: ``[rows, vocabulary]``.
        count: of tokens; the whole vocabulary where it has fewer.
    """
    import numpy as np

    count = min(count, logits.shape[-1])
    shifted = logits.astype(np.float32) - logits.max(-1, keepdims=True)
    logprobs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    ids = np.argsort(-logprobs, axis=-1, kind="stable")[:, :count]
    return np.take_along_axis(logprobs, ids, -1), ids
