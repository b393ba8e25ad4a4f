"""The record of one evaluation: who answered which questions how well, as versioned JSON.

A build reports on many artifacts of one model; an evaluation on one model, which may be a server's. Its sets are told
as ``workbench score`` tells them (``workbench/scored_file.py``): the same eyes and programs can read both.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.storage import storage_error
from workbench.whole_file import write_whole

EVALUATION_VERSION = 1
PREDICTIONS = "predictions.jsonl"
EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class Evaluation:
    """What came of asking one model.

    Attributes:
        model: its name.
        engine: what ran it, or the API it was asked by.
        prompt: name of the prompt.
        beams: of the search; 1 is greedy.
        max_new_tokens: limit per answer.
        facts: address; or artifact, its key, device and machine.
        sets: scores, verdicts and flips, set by set.
        unfinished: answers cut by the limit.
        refused: questions the server would not take, or too long for the artifact's context; they count as wrong.
        reference: the file flips were counted against.
        notes: what a reader must know.
        tool_versions: of what scored.
        seconds: of this run.
    """

    model: str
    engine: str
    prompt: str
    beams: int
    max_new_tokens: int
    facts: dict[str, str]
    sets: tuple[dict[str, Any], ...]
    unfinished: int
    refused: int
    reference: str | None
    notes: tuple[str, ...]
    tool_versions: dict[str, str]
    seconds: float

    def record(self) -> dict[str, Any]:
        """As JSON values; scores carry value and interval beside their counts."""
        return {"schema_version": EVALUATION_VERSION, **asdict(self)}

    def remarks(self) -> list[str]:
        """What a reader of the figures must know; empty when nothing is special."""
        told = (
            (f"answers cut at {self.max_new_tokens} tokens (--max-new-tokens)", self.unfinished),
            ("questions the model would not take, which count as wrong", self.refused),
        )
        return [f"{what}: {count}" for what, count in told if count]


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write ``evaluation.json`` beside the predictions.

    Raises:
        StorageError: the disk refuses.
    """
    path = folder / EVALUATION
    try:
        write_whole(path, json.dumps(evaluation.record(), indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise storage_error(error, path) from error
