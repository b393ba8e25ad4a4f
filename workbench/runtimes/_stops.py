"""Where an answer ends: at an end-of-text token, or before a stop text, found by decoding as rarely as possible.

A stop text is complete only with a token that holds its last character, so only answers that just got
such a token are decoded and searched.

Example::

    stops = Stops(tokenizer, ("```",), ends=frozenset({0}), vocabulary=49152)
    while not stops.ended(tokens): ...
    stops.generation(prompt_tokens, tokens).text
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.runtimes.base import Generation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Stops:
    """What ends an answer.

    Args:
        tokenizer: of the model.
        stop: texts that end an answer; empty ones do not.
        ends: end-of-text token ids.
        vocabulary: number of tokens the model can write.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str], ends: frozenset[int], vocabulary: int
    ) -> None:
        self.ends = ends
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
        """Whether the last token ended the text or completed a stop text."""
        return tokens[-1] in self.ends or (tokens[-1] in self._closing and self.cut(self.text(tokens)) is not None)

    def generation(self, prompt_tokens: int, tokens: Sequence[int]) -> Generation:
        """The answer that was written, with the token that ended it."""
        text = self.text(tokens)
        before_stop = self.cut(text)
        finished = before_stop is not None or tokens[-1] in self.ends
        said = text if before_stop is None else before_stop
        return Generation(said, prompt_tokens, len(tokens), finished, tuple(tokens))
