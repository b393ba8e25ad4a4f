"""Answers of a loaded artifact to many prompts, of which some may be too long for it.

An engine refuses a prompt that fills its context. That is a fact about one question (a schema too large for this
model), not about the others: so the prompts that leave no room for a token of answer are not asked, and are told apart.
Their questions count as answered wrong.

    answers = answer_all(session, prompts, Decoding(stop=("```",)))
    answers.unasked      # {} or {7: "too long: 212 tokens more than the context holds"}, by the prompt's place
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.runtimes.base import Decoding, Generation, Session


@dataclass(frozen=True)
class Answers:
    """What came of the prompts.

    Attributes:
        generations: one per prompt, in order; an empty one for a prompt that was not asked.
        unasked: why a prompt was not, by its place.
    """

    generations: list[Generation]
    unasked: dict[int, str]

    @property
    def notes(self) -> list[str]:
        """What a reader must know; empty when all were asked."""
        if not self.unasked:
            return []
        return [
            f"{len(self.unasked)} of {len(self.generations)} questions are too long for the context and count as wrong "
            "(error); a larger --context, up to what the model was built for, lets them be asked (--again)"
        ]


def answer_all(
    session: Session,
    prompts: Sequence[str],
    decoding: Decoding,
    progress: Callable[[int, int], None] | None = None,
) -> Answers:
    """Answer the prompts that fit; see ``Session.generate``.

    Raises:
        WorkbenchError: the engine cannot do what is asked.
    """
    rooms = {prompt: session.room(prompt) for prompt in dict.fromkeys(prompts)}
    fitting = [prompt for prompt in prompts if rooms[prompt] > 0]
    told = iter(session.generate(fitting, decoding, progress) if fitting else [])
    unasked = {
        place: f"too long: {1 - rooms[prompt]} tokens more than the context holds"
        for place, prompt in enumerate(prompts)
        if rooms[prompt] <= 0
    }
    empty = Generation("", 0, 0, finished=True)  # nothing was cut
    return Answers([empty if place in unasked else next(told) for place in range(len(prompts))], unasked)
