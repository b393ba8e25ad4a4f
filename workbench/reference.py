"""What the artifacts of a build are compared with, and how much of a difference is the engine's own noise.

The reference is the 16-bit artifact built beside the others, or the answers of one that ran elsewhere
(``workbench/reference_file.py``). One that was built here is run a second time, in another process and in batches of
another size, which no answer should depend on: what flips between two runs of the same weights is the noise floor, and
no smaller difference between two artifacts says anything about them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from workbench.acceptance import Reference
from workbench.errors import WorkbenchError
from workbench.flip_tables import noise_text
from workbench.making import Made
from workbench.plan import Plan, PlannedArtifact
from workbench.stages import Outcome, run_task, score_texts
from workbench.trial import TrialResult
from workbench.work import Work

if TYPE_CHECKING:
    from workbench.evals.postgres import Server
    from workbench.evals.sql_accuracy import Verdict

SECOND_RUN_ROWS = 24  # prompts of a batch in the second run: where memory is no matter, engines take more


def reference_row(plan: Plan) -> PlannedArtifact | None:
    """The built artifact the others are compared with: the first 16-bit one."""
    return next((row for row in plan.chosen if row.recipe.format == "fp16"), None)


def find_reference(
    work: Work,
    made: dict[str, Outcome[Made]],
    verdicts: dict[str, list[list[Verdict]]],
    noise: dict[str, Any],
    server: Server,
) -> Reference | None:
    """The reference with its verdicts: that of ``--reference``, else the one built here, if it answered."""
    given = work.given_reference
    if given is not None:
        told = [answers for answers in given.answers if answers is not None]
        answered = [one for one, answers in zip(work.sets, given.answers, strict=True) if answers is not None]
        scored = iter(score_texts(work, "_reference", answered, [text for answers in told for text in answers], server))
        of_each = [None if answers is None else next(scored) for answers in given.answers]
        return Reference(given.name, "file", given.digest, of_each)
    row = reference_row(work.plan)
    one = made[row.recipe.name] if row else None
    if row is None or one is None or isinstance(one, WorkbenchError) or row.recipe.name not in verdicts:
        return None
    flipped = noise["right_to_wrong"] + noise["wrong_to_right"] if noise else None
    return Reference(row.recipe.name, "artifact", one.artifact.manifest.build_key, verdicts[row.recipe.name], flipped)


def run_again(
    work: Work, made: dict[str, Outcome[Made]], trials: dict[str, Outcome[TrialResult]]
) -> TrialResult | None:
    """The built reference's answers to the first question set a second time; ``None`` where nothing is compared.

    A second run that fails is a line for the user: the first one stands.
    """
    row = reference_row(work.plan)
    one, first = (made[row.recipe.name], trials[row.recipe.name]) if row else (None, None)
    if row is None or one is None or isinstance(one, WorkbenchError) or not isinstance(first, TrialResult):
        return None
    if len(work.plan.chosen) == 1:
        return None
    work.listener.step(f"Run {row.recipe.name} a second time, in batches of {SECOND_RUN_ROWS}: the noise floor")
    task = dataclasses.replace(
        work.task(row), prompts=work.shown[0], most_rows=SECOND_RUN_ROWS, timed_prompt=None, texts=[], golden=[]
    )
    try:
        return run_task(work, row, one.artifact, task, "again")
    except WorkbenchError as error:
        work.listener.note(f"failed, so the noise is not known: {error}")
        return None


def noise_floor(
    work: Work,
    trials: dict[str, Outcome[TrialResult]],
    again: TrialResult | None,
    verdicts: dict[str, list[list[Verdict]]],
    server: Server,
) -> dict[str, Any]:
    """What differs between two runs of the same weights, as the report holds it; empty without a second run.

    Returns:
        ``artifact``, ``question_set``, ``questions``, ``texts_differing``, ``right_to_wrong``, ``wrong_to_right`` and
        ``rows`` (of a batch in the second run).
    """
    from workbench.evals.statistics import flips

    row = reference_row(work.plan)
    first = trials[row.recipe.name] if row else None
    if row is None or again is None or not isinstance(first, TrialResult):
        return {}
    asked, before = work.sets[0], verdicts[row.recipe.name][0]
    if not any(verdict.answerable for verdict in before):
        return {}
    differing = sum(a != b for a, b in zip(first.answers, again.answers, strict=False))  # the first set's come first
    after = score_texts(work, f"_again-{row.recipe.name}", [asked], again.answers, server)[0] if differing else before
    found = flips(before, after)
    record = {
        "artifact": row.recipe.name,
        "question_set": asked.name,
        "questions": found.questions,
        "texts_differing": differing,
        "right_to_wrong": found.right_to_wrong,
        "wrong_to_right": found.wrong_to_right,
        "rows": SECOND_RUN_ROWS,
    }
    work.listener.note(noise_text(record))
    return record
