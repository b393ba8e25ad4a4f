"""Workloads: what an engine is asked to do while it is timed, and what a plan predicts the time of.

A figure of speed means nothing without the length of the prompt and of the answer, the number of prompts in a batch
and of beams in the search. Plans and benchmarks speak of the same workloads, so that a prediction can be held against
a measurement of the same thing. Those that ``workbench benchmark`` knows by name lie in ``workloads.yaml``::

    >>> [one.name for one in named_workloads(("quick",))]
    ['question']
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workbench.errors import WorkbenchError

FILE = Path(__file__).with_name("workloads.yaml")
DEFAULT_SET = "default"
MOST_BATCH, MOST_BEAMS = 1024, 16  # beyond these, what is asked for is a mistake
ALL = "all"


@dataclass(frozen=True)
class Workload:
    """One thing to time.

    Attributes:
        prompt_tokens: of each prompt.
        new_tokens: of each answer, exactly so many.
        batch: prompts answered at the same time.
        beams: answers followed side by side for each prompt; 1 is greedy.
        name: as users call it; empty for one that was made up.
    """

    prompt_tokens: int
    new_tokens: int
    batch: int = 1
    beams: int = 1
    name: str = ""

    @property
    def sequences(self) -> int:
        """Rows that a step of decoding computes."""
        return self.batch * self.beams

    @property
    def context(self) -> int:
        """Tokens of a prompt and its answer."""
        return self.prompt_tokens + self.new_tokens

    @property
    def title(self) -> str:
        """What is asked, in a few words: ``512+64``, ``512+64, batch 16``, ``1000+100, 4 beams``."""
        parts = [f"{self.prompt_tokens}+{self.new_tokens}"]
        parts += [f"batch {self.batch}"] if self.batch > 1 else []
        parts += [f"{self.beams} beams"] if self.beams > 1 else []
        return ", ".join(parts)


# A schema of a dozen tables with its question, and a query with a join or two.
TYPICAL = Workload(prompt_tokens=1000, new_tokens=100)


@cache
def shipped_workloads() -> dict[str, tuple[Workload, frozenset[str]]]:
    """The workloads of ``workloads.yaml`` by name, each with the sets it belongs to."""
    import yaml

    document = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {
        name: (Workload(**{key: fields[key] for key in fields if key != "sets"}, name=name), frozenset(fields["sets"]))
        for name, fields in document.items()
    }


def named_workloads(names: Sequence[str] = ()) -> list[Workload]:
    """Workloads by their names or those of sets (``quick``, ``default``, ``all``), in the file's order.

    Args:
        names: none means the default set.

    Raises:
        WorkbenchError: an unknown name, with the nearest one.
    """
    shipped = shipped_workloads()
    sets = {ALL}.union(*(sets for _, sets in shipped.values()))
    for name in names:
        if name not in shipped and name not in sets:
            near = difflib.get_close_matches(name, [*shipped, *sets], n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise WorkbenchError(f"unknown workload {name!r}; {hint}there are {', '.join([*sorted(sets), *shipped])}")
    wanted = set(names or (DEFAULT_SET,))
    return [one for name, (one, sets) in shipped.items() if wanted & {name, ALL, *sets}]
