"""Predictions held against a question set: which answer is to which question, and whether it was asked the same way.

A file of answers may come from another machine, another day or another checkout. An answer counts only for the question
with its id (or, in files that tell none, with its text), and where prompts are at hand only if they are, digest for
digest, what the model is shown here: a changed schema, instruction or template makes it an answer to something else.

    answers = answers_in_order(read_predictions(path), question_set, prompts)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.errors import WorkbenchError
from workbench.predictions import Prediction, digest_of
from workbench.questions import QuestionSet

SHOWN = 5  # questions an error names


def matched(
    predictions: Sequence[Prediction], question_set: QuestionSet, prompts: Sequence[str] | None = None
) -> dict[str, Prediction]:
    """Predictions by question id, as far as there are any for this set.

    Lines of other sets are left out; lines that tell no set are taken for this one.

    Args:
        predictions: of a file.
        question_set: what was asked.
        prompts: what the model is shown here, one per question; ``None`` trusts the ids.

    Raises:
        WorkbenchError: an answer is to a question the set has not, or to another prompt.
    """
    ids = {question.id for question in question_set.questions}
    by_text = _ids_by_text(question_set)
    found: dict[str, Prediction] = {}
    strange: list[str] = []
    for prediction in predictions:
        if prediction.question_set not in ("", question_set.name):
            continue
        name = prediction.question_id or by_text.get(prediction.key[1:], "")
        if name not in ids or name in found:
            strange.append(prediction.question_id or str(prediction.further["question"]))
        found[name] = prediction
    if strange:
        raise WorkbenchError(
            f"the predictions answer questions that {question_set.name} does not hold: {_some(strange)}; "
            "give the --questions they were made with"
        )
    if prompts is not None:
        _check_prompts(found, question_set, prompts)
    return found


def _ids_by_text(question_set: QuestionSet) -> dict[tuple[str, ...], str]:
    """Ids by database and question, and by the question where no database is told; the first of equal ones."""
    table: dict[tuple[str, ...], str] = {}
    for question in question_set.questions:
        table.setdefault((question.db_name, question.question), question.id)
        table.setdefault(("", question.question), question.id)
    return table


def _check_prompts(found: Mapping[str, Prediction], question_set: QuestionSet, prompts: Sequence[str]) -> None:
    shown = {question.id: digest_of(text) for question, text in zip(question_set.questions, prompts, strict=True)}
    other = [name for name, one in found.items() if one.prompt_sha256 and one.prompt_sha256 != shown[name]]
    if other:
        raise WorkbenchError(
            f"{len(other)} of {len(found)} answers to {question_set.name} were asked with another prompt or schema: "
            f"questions {_some(other)}; ask with the same --prompt and --questions, or begin a new file"
        )


def answers_in_order(
    predictions: Sequence[Prediction], question_set: QuestionSet, prompts: Sequence[str] | None = None
) -> list[Prediction]:
    """One prediction per question, in the order of the questions; see ``matched``.

    Raises:
        WorkbenchError: they do not fit, or a question has no prediction.
    """
    found = matched(predictions, question_set, prompts)
    missing = [question.id for question in question_set.questions if question.id not in found]
    if missing:
        raise WorkbenchError(
            f"the predictions hold no answer to {len(missing)} of {len(question_set.questions)} questions of "
            f"{question_set.name}: {_some(missing)}; ask the rest, or score with the --limit they were made with"
        )
    return [found[question.id] for question in question_set.questions]


def belonging(
    predictions: Sequence[Prediction], question_set: QuestionSet, *, unnamed: bool = True
) -> list[Prediction]:
    """The predictions to this set's questions; those to other sets or to questions not asked now are left out.

    Args:
        predictions: of one or several files.
        question_set: what is asked now, perhaps a part (``--limit``) of what was asked then.
        unnamed: whether lines that tell no set are taken for this one.
    """
    ids = {question.id for question in question_set.questions}
    names = {question_set.name, ""} if unnamed else {question_set.name}
    return [one for one in predictions if one.question_set in names and (not one.question_id or one.question_id in ids)]


def check_answered(predictions: Sequence[Prediction], source: str) -> None:
    """See that each is an answer, and no note that asking failed.

    Raises:
        WorkbenchError: some are not; the sentence begins with their source.
    """
    failed = [one for one in predictions if one.error]
    if failed:
        names = [one.question_id or str(one.further.get("question")) for one in failed]
        raise WorkbenchError(
            f"{source} holds no answer to {len(failed)} questions, for asking failed ({_some(names)}; the first: "
            f"{failed[0].error}); ask these again"
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
