"""Whoever answers: an artifact in its engine or a server somewhere, asked only what it has not answered before.

Answers grow in a predictions file as they come, so that a run that was stopped is gone on with by the same command. A
kept answer counts only if it is to the very same prompt (by digest) and from the same model, engine and search; a
file of anything else is refused, never mixed. The finished file is in the order of the questions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.matching import answers_in_order, matched
from workbench.predictions import Prediction, appending, digest_of, read_predictions, write_predictions
from workbench.progress import Listener
from workbench.prompt import Prompt
from workbench.questions import QuestionSet
from workbench.runtimes.base import Decoding, Generation


@dataclass(frozen=True)
class Failure:
    """Why a question got no answer.

    Attributes:
        message: for the user.
        refused: the model will not take this prompt, however often it is asked: its answer is an empty one.
    """

    message: str
    refused: bool = False


@dataclass(frozen=True)
class Asked:
    """A question set with what the model is shown for each of its questions."""

    questions: QuestionSet
    prompts: list[str]


Tell = Callable[[int, Generation | Failure], None]


class ModelUnderTest(ABC):
    """A model that can be asked.

    Attributes:
        name: of the model, as it stands in predictions and reports.
        engine: what runs it, with its version, or the API it is reached by.
        prompt: the prompt it was trained on.
    """

    name: str
    engine: str
    prompt: Prompt

    @abstractmethod
    def answer(self, prompts: Sequence[str], decoding: Decoding, tell: Tell, listener: Listener) -> None:
        """Answer all prompts in any order, telling each answer with the prompt's place as soon as it is there.

        Raises:
            WorkbenchError: there is no use in going on.
        """

    def facts(self) -> dict[str, str]:
        """What else a report says of it."""
        return {}

    def weights(self) -> dict[str, str]:
        """What tells its weights from those of another model of this name, where that is known."""
        return {}


def asked_of(model: ModelUnderTest, sets: Sequence[QuestionSet]) -> list[Asked]:
    """Each set in the model's own prompt."""
    render = model.prompt.render
    return [
        Asked(one, [render(one.schema(q.db_name), q.question, q.instructions) for q in one.questions]) for one in sets
    ]


def answers_of(
    model: ModelUnderTest, asked: Sequence[Asked], decoding: Decoding, path: Path, listener: Listener
) -> list[list[Prediction]]:
    """The answers to each set in the order of its questions, those in the file taken from there.

    Args:
        model: is asked the rest.
        asked: the sets.
        decoding: how it answers.
        path: predictions file, made or gone on with.
        listener: hears how far it is.

    Raises:
        WorkbenchError: the file is of something else; or questions got no answer, which a second run may mend.
    """
    earlier = read_predictions(path) if path.exists() else []
    _check_same(earlier, model, decoding, path)
    missing = [(one, place) for one in asked for place in _unanswered(earlier, one)]
    if kept := sum(len(one.prompts) for one in asked) - len(missing):
        listener.note(f"{kept} answers are there from before, {len(missing)} to ask")
    if missing:
        _ask(model, missing, decoding, path, listener)
    return _finished(asked, path)


def _check_same(earlier: Sequence[Prediction], model: ModelUnderTest, decoding: Decoding, path: Path) -> None:
    """Refuse to mix two models' answers in one file."""
    ours = {"model": model.name, "engine": model.engine, "beams": decoding.beams, **_search(model, decoding)}
    for one in earlier:
        theirs = {"model": one.model, "engine": one.engine, "beams": one.beams, **one.further}
        if other := [name for name in ours if theirs.get(name) != ours[name]]:
            told = ", ".join(f"{name} {theirs.get(name)!r} instead of {ours[name]!r}" for name in other)
            raise WorkbenchError(
                f"{path} holds other answers ({told}); choose another folder with --out, or begin anew with --again"
            )


def _search(model: ModelUnderTest, decoding: Decoding) -> dict[str, Any]:
    """What decides an answer beside prompt, model, engine and beams."""
    return {"max_new_tokens": decoding.max_new_tokens, **model.weights()}


def _own(predictions: Sequence[Prediction], one: Asked) -> list[Prediction]:
    """Those of one set's questions, not of questions that are not asked now."""
    ids = {question.id for question in one.questions.questions}
    return [each for each in predictions if each.question_set == one.questions.name and each.question_id in ids]


def _unanswered(earlier: Sequence[Prediction], one: Asked) -> list[int]:
    """Places of the questions without an answer to this very prompt."""
    found = matched(_own(earlier, one), one.questions, one.prompts)
    known = {name for name, prediction in found.items() if prediction.error is None}
    return [place for place, question in enumerate(one.questions.questions) if question.id not in known]


def _ask(
    model: ModelUnderTest, missing: Sequence[tuple[Asked, int]], decoding: Decoding, path: Path, listener: Listener
) -> None:
    done = failed = 0
    with appending(path) as add:

        def tell(place: int, answer: Generation | Failure) -> None:
            nonlocal done, failed
            add(_prediction(model, decoding, *missing[place], answer))
            done += 1
            failed += isinstance(answer, Failure) and not answer.refused
            listener.advance("questions", done, len(missing))

        def state() -> str:
            return f"{done - failed} of {len(missing)} answers are kept in {path}, the same command asks the rest"

        try:
            model.answer([one.prompts[place] for one, place in missing], decoding, tell, listener)
        except KeyboardInterrupt:
            listener.note(state())
            raise
        except WorkbenchError as error:
            raise WorkbenchError(f"{error}; {state()}" if done > failed else str(error)) from error


def _prediction(
    model: ModelUnderTest, decoding: Decoding, one: Asked, place: int, answer: Generation | Failure
) -> Prediction:
    common = Prediction(
        one.questions.name,
        one.questions.questions[place].id,
        "",
        digest_of(one.prompts[place]),
        model=model.name,
        engine=model.engine,
        beams=decoding.beams,
        further={"prompt": model.prompt.name, **_search(model, decoding)},
    )
    if isinstance(answer, Generation):
        further = {**common.further, "finished": answer.finished}
        return replace(common, text=answer.text, tokens=answer.tokens, further=further)
    if answer.refused:
        return replace(common, further={**common.further, "refused": answer.message})
    return replace(common, error=answer.message)


def _finished(asked: Sequence[Asked], path: Path) -> list[list[Prediction]]:
    """The answers in order, the file put in order too."""
    predictions = read_predictions(path)
    ordered = [answers_in_order(_own(predictions, one), one.questions) for one in asked]
    put_in_order(path, [prediction for one in ordered for prediction in one])
    failed = [prediction for one in ordered for prediction in one if prediction.error]
    if failed:
        raise WorkbenchError(
            f"{len(failed)} of {sum(map(len, ordered))} questions got no answer (the first: {failed[0].error}); "
            f"the others are kept in {path}, the same command asks again"
        )
    return ordered


def put_in_order(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write a file anew: these lines in this order, then whatever else it holds."""
    ours = {prediction.key for prediction in predictions}
    write_predictions(path, [*predictions, *(one for one in read_predictions(path) if one.key not in ours)])
