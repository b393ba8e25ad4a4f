"""Answers of a reference that was run elsewhere, read from predictions files and held against this build's questions.

A 15B model in 16 bits does not fit most machines that run it in four. Its answers are a small portable file, though
(``workbench/predictions.py``): made once on a machine that holds it (``workbench evaluate ... --out FILE``, or a build,
which leaves one file per question set), they stand in for the artifact here. The digest of each prompt says whether it
was asked the very same; answers to another prompt or schema are refused.

    given = read_reference([Path("fp16.heldout.jsonl")], sets, prompts_of_each_set)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import sha256_file, sha256_json
from workbench.errors import WorkbenchError
from workbench.matching import answers_in_order, belonging, check_answered
from workbench.predictions import Prediction, read_predictions
from workbench.questions import QuestionSet


@dataclass(frozen=True)
class ReferenceAnswers:
    """What the files say.

    Attributes:
        name: of the files, for people.
        digest: sha256 over their contents.
        answers: per question set the texts in the order of its questions; ``None`` for a set they do not answer.
        on_trust: answers whose lines do not tell what was asked (no ``prompt_sha256``).
    """

    name: str
    digest: str
    answers: list[list[str] | None]
    on_trust: int


def read_reference(
    files: Sequence[Path], sets: Sequence[QuestionSet], shown: Sequence[Sequence[str]], beams: int = 1
) -> ReferenceAnswers:
    """Read a reference's answers to the question sets of a build.

    The first set must be answered whole; of a further one the files may know nothing. Answers to questions that are not
    asked here (``--limit``) are left out. Lines that name no set are taken for the first one's.

    Args:
        files: predictions files.
        sets: of the build.
        shown: the prompts of each set.
        beams: of the build; answers found with another number of them are refused.

    Raises:
        WorkbenchError: the files cannot be read, or their answers are not to these questions.
    """
    name = " and ".join(file.name for file in files)
    told = [prediction for file in files for prediction in read_predictions(file)]
    used: list[list[Prediction] | None] = []
    for index, (one, prompts) in enumerate(zip(sets, shown, strict=True)):
        own = belonging(told, one, unnamed=index == 0)
        try:
            used.append(answers_in_order(own, one, prompts) if own or index == 0 else None)
        except WorkbenchError as error:
            raise WorkbenchError(f"--reference {name}: {error}") from error
    kept = [prediction for one in used if one for prediction in one]
    check_answered(kept, f"--reference {name}")
    other = next((one.beams for one in kept if one.beams not in (None, beams)), None)
    if other is not None:
        raise WorkbenchError(f"--reference {name}: found with --beams {other}, this build asks for --beams {beams}")
    return ReferenceAnswers(
        name=name,
        digest=sha256_json([sha256_file(file) for file in files]),
        answers=[None if one is None else [prediction.text for prediction in one] for one in used],
        on_trust=sum(not prediction.prompt_sha256 for prediction in kept),
    )
