"""Workloads: what an engine is asked to do while it is timed, and what a plan predicts the time of.

A figure of speed means nothing without the length of the prompt and of the answer, the number of prompts in a batch
and of beams in the search. Plans and benchmarks speak of the same workloads, so that a prediction can be held against
a measurement of the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """One thing to time.

    Attributes:
        prompt_tokens: of each prompt.
        new_tokens: of each answer, exactly so many.
        batch: prompts answered at the same time.
        beams: answers followed side by side for each prompt; 1 is greedy.
    """

    prompt_tokens: int
    new_tokens: int
    batch: int = 1
    beams: int = 1

    @property
    def sequences(self) -> int:
        """Rows that a step of decoding computes."""
        return self.batch * self.beams


# A schema of a dozen tables with its question, and a query with a join or two.
TYPICAL = Workload(prompt_tokens=1000, new_tokens=100)
