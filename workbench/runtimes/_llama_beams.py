"""Beam search over llama.cpp's server, which has none of its own: it is asked for the next token of each open answer.

Each question goes to ``/completion`` with the ids of prompt and answer so far, and tells the most probable tokens
with their log-probabilities and their bytes. The server keeps what it computed for the question before and reads only
from where the two part, so answers are asked in sorted order. Asking and reading again cost a few milliseconds for each
token of each beam: the bundled model takes 0.9 s for an answer with 4 beams and 0.03 s for a greedy one. What a
token of a large model takes hides most of that.

Example::

    ask = partial(post, server, "/completion")
    Followed(ask, ids, end_ids(ask), forced).answer(Decoding(stop=("```",), beams=4), limit=300).text
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.runtimes._beams import BeamSearch
from workbench.runtimes._llama_server import Ask, told_next
from workbench.runtimes.base import Decoding, Generation

if TYPE_CHECKING:
    from workbench.runtimes._beams import Told


class Followed:
    """Answers to one prompt, followed side by side.

    Args:
        ask: posts a request to ``/completion``.
        ids: of the prompt.
        ends: end-of-text ids.
        forced: id of a token that is a whole character.
    """

    def __init__(self, ask: Ask, ids: Sequence[int], ends: frozenset[int], forced: int) -> None:
        self._ask = ask
        self._ids = list(ids)
        self._ends = ends
        self._forced = forced
        self._pieces: dict[int, bytes] = {}

    def answer(self, decoding: Decoding, limit: int) -> Generation:
        """The best answer a beam search finds, of ``limit`` tokens at most."""
        stop = [text.encode() for text in decoding.stop if text]

        def ended(tokens: Sequence[int]) -> bool:
            written = self._written(tokens)
            return tokens[-1] in self._ends or any(text in written for text in stop)

        search = BeamSearch(decoding.beams, ended, limit, len(self._ends))
        tokens = search.run(
            self._tell([()], search.keep), lambda *_: self._tell([beam.tokens for beam in search.open], search.keep)
        )
        written = self._written(tokens)
        text = written[: min((place for text in stop if (place := written.find(text)) >= 0), default=None)]
        return Generation(text.decode(errors="replace"), len(self._ids), len(tokens), ended(tokens), tuple(tokens))

    def _tell(self, answers: Sequence[tuple[int, ...]], keep: int) -> Told:
        """The most probable tokens after each answer; what these say is remembered."""
        import numpy as np

        told = {}
        for tokens in sorted(answers):
            told[tokens] = told_next(self._ask, {"prompt": [*self._ids, *tokens]}, keep, self._forced)
            self._pieces.update((token["id"], bytes(token["bytes"])) for token in told[tokens])
        rows = [told[tokens] for tokens in answers]
        return (
            np.array([[token["logprob"] for token in row] for row in rows], np.float32),
            np.array([[token["id"] for token in row] for row in rows], np.int64),
        )

    def _written(self, tokens: Sequence[int]) -> bytes:
        return b"".join(self._pieces[token] for token in tokens)
