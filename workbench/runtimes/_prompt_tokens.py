"""Prompts as token ids, for the engines that leave tokenizing to transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PromptTokens:
    """A tokenizer and how many tokens prompt and answer may have together.

    Attributes:
        tokenizer: transformers' own.
        context: most tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context: int) -> None:
        self.tokenizer = tokenizer
        self.context = context

    def encode(self, prompt: str, room: int) -> list[int]:
        """Token ids of a prompt, with those the tokenizer puts around it.

        Raises:
            WorkbenchError: it is empty, or leaves no room for ``room`` tokens of answer.
        """
        ids: list[int] = self.tokenizer.encode(prompt)
        if not ids or len(ids) + room > self.context:
            raise WorkbenchError(
                f"a prompt of {len(ids)} tokens and {room} of answer do not fit the context of {self.context} tokens; "
                "shorten the schema or raise the context, up to what the model was built for"
            )
        return ids

    def count(self, prompt: str) -> int:
        """Tokens of a prompt, with those the tokenizer puts around it."""
        return len(self.tokenizer.encode(prompt))

    def equal(self, prompts: Sequence[str], room: int) -> list[list[int]]:
        """Token ids of prompts that are as long as one another, so that a batch of them needs no padding.

        Raises:
            WorkbenchError: they are not, or one leaves no room.
        """
        rows = [self.encode(prompt, room) for prompt in prompts]
        if len({len(row) for row in rows}) != 1:
            raise WorkbenchError("prompts of different lengths cannot be timed together; give ones of equal length")
        return rows

    def ids(self, text: str) -> list[int]:
        """Ids of a text, without those the tokenizer adds to a prompt."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """Text of ids, nothing left out or tidied."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
