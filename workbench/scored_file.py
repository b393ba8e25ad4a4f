"""A file of answers, scored: nobody need have the model, only what it answered.

The file holds answers to one or several question sets: this workbench's predictions, or the CSV that sql-eval writes.
Each answer is run, and the verdicts are counted: all, by category, by hardness, each with its Wilson interval; beside
them the score by sql-eval's own rules. With a second file, the reference's, every question becomes a pair, and what
counts is which answers flipped.

    request = ScoreRequest(Path("answers.jsonl"), questions=(Path("heldout"),))
    scored = [score_set(one, server, request.timeout_s) for one in answered_sets(request)]
    record(request, scored)             # JSON values
    score_table(scored[0])              # for a reader
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.matching import answers_in_order, check_answered
from workbench.predictions import Prediction, read_predictions
from workbench.questions import QuestionSet
from workbench.report import score_record
from workbench.request import BUNDLED, question_sets
from workbench.scoring import flips_record, judged_predictions, with_unasked
from workbench.tables import DASH, Table, score_text

if TYPE_CHECKING:
    from workbench.evals.postgres import Server
    from workbench.evals.sql_accuracy import Verdict

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ScoreRequest:
    """What the user asked to be scored.

    Attributes:
        predictions: file of answers.
        reference: file of the answers they are compared with, or ``None``.
        questions: CSV files, folders or names of bundled sets; empty means the bundled sets that the answers name.
        databases: folder to look for their databases in first.
        limit: at most so many questions of each set, evenly spread.
        timeout_s: time limit of each answer.
        broadcasting: let the score by sql-eval's rules repeat its fault of May 2024.
    """

    predictions: Path
    reference: Path | None = None
    questions: tuple[Path, ...] = ()
    databases: Path | None = None
    limit: int | None = None
    timeout_s: float = 5.0
    broadcasting: bool = False


@dataclass(frozen=True)
class AnsweredSet:
    """A question set with one answer to each question, and one of the reference's if there is a reference."""

    question_set: QuestionSet
    answers: list[Prediction]
    reference: list[Prediction] | None = None


@dataclass(frozen=True)
class ScoredSet:
    """A question set with the verdicts on its answers, in the questions' order, and on the reference's if any."""

    answered: AnsweredSet
    verdicts: list[Verdict]
    reference: list[Verdict] | None = None

    @property
    def name(self) -> str:
        """The question set's."""
        return self.answered.question_set.name

    @cached_property
    def flips(self) -> dict[str, Any] | None:
        """What flipped against the reference, as ``scoring.flips_record`` tells it; ``None`` without a reference."""
        if self.reference is None:
            return None
        return flips_record(self.answered.question_set, self.reference, self.verdicts)

    def judged(self) -> list[Prediction]:
        """The answers with their verdicts, for a file that anyone can read without this workbench."""
        named = [
            replace(answer, question_set=self.name, question_id=question.id)
            for answer, question in zip(self.answered.answers, self.answered.question_set.questions, strict=True)
        ]
        return judged_predictions(self.answered.question_set, named, self.verdicts)


def answered_sets(request: ScoreRequest) -> list[AnsweredSet]:
    """The questions with their answers, checked before any of them runs.

    Raises:
        WorkbenchError: a file is missing or faulty, or does not answer the questions.
    """
    answers = read_predictions(request.predictions)
    reference = read_predictions(request.reference) if request.reference else None
    files = request.questions or _bundled(answers, request.predictions)
    return [
        AnsweredSet(
            one,
            _answers(answers, one, request.predictions),
            _answers(reference, one, request.reference) if reference is not None and request.reference else None,
        )
        for one in question_sets(files, request.limit, request.databases)
    ]


def _bundled(answers: Sequence[Prediction], path: Path) -> tuple[Path, ...]:
    """The bundled sets that the answers name."""
    named = {answer.question_set for answer in answers}
    found = tuple(Path(name) for name in BUNDLED if name in named)
    if not found:
        raise WorkbenchError(f"{path} names no bundled question set; give --questions the file they were asked from")
    return found


def _answers(predictions: Sequence[Prediction], question_set: QuestionSet, path: Path) -> list[Prediction]:
    named = sorted({prediction.question_set for prediction in predictions} - {""})
    if named and question_set.name not in named and not any(not one.question_set for one in predictions):
        raise WorkbenchError(
            f"{path} answers {', '.join(named)}, not {question_set.name}; give the --questions it was made with, "
            "under the same file name"
        )
    answers = answers_in_order(predictions, question_set)
    check_answered(answers, f"{path} ({question_set.name})")
    return answers


def score_set(
    answered: AnsweredSet,
    server: Server,
    timeout_s: float,
    progress: Callable[[int, int], None] | None = None,
    broadcasting: bool = False,
) -> ScoredSet:
    """Run the answers, and the reference's.

    Args:
        answered: questions and answers.
        server: where to run them.
        timeout_s: time limit of each answer.
        progress: called with (answers done, answers in all) after each.
        broadcasting: let the score by sql-eval's rules repeat its fault of May 2024.

    Raises:
        EvaluationError: a database does not load, a gold fails, or the server is gone.
    """
    from workbench.evals.sql_accuracy import Extras, score_predictions

    options: dict[str, Any] = {
        "timeout_s": timeout_s,
        "extras": Extras(broadcasting=broadcasting),
        "progress": progress,
    }

    def verdicts(answers: Sequence[Prediction]) -> list[Verdict]:
        found = score_predictions(answered.question_set, [one.text for one in answers], server, **options)
        return with_unasked(found, [str(one.further.get("refused") or "") for one in answers])

    found = verdicts(answered.answers)
    paired = answered.reference is not None and any(one.answerable for one in found)
    return ScoredSet(answered, found, verdicts(answered.reference or []) if paired else None)


def record(request: ScoreRequest, scored: Sequence[ScoredSet]) -> dict[str, Any]:
    """Everything as JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "predictions": str(request.predictions),
        "reference": str(request.reference) if request.reference else None,
        "timeout_s": request.timeout_s,
        "broadcasting": request.broadcasting,
        "sets": [set_record(one) for one in scored],
    }


def set_record(scored: ScoredSet) -> dict[str, Any]:
    """One set's scores, verdicts and flips as JSON values."""
    from workbench.evals.statistics import defog_scores, summarize

    question_set, verdicts = scored.answered.question_set, scored.verdicts
    return {
        "question_set": scored.name,
        "questions": len(verdicts),
        "digest": question_set.digest,
        "scores": [score_record(score) for score in summarize(question_set, verdicts)],
        "defog_scores": [score_record(score) for score in defog_scores(question_set, verdicts)],
        **_counts(scored),
        "flips": scored.flips,
    }


def _counts(scored: ScoredSet) -> dict[str, Any]:
    """How often which verdict, and on which questions luck could have helped."""
    verdicts = scored.verdicts
    return {
        "verdicts": dict(Counter(one.verdict for one in verdicts if one.answerable)),
        "exact": sum(one.exact for one in verdicts if one.answerable),
        "weak_golds": _weak(scored),
        "chance_hits": [one.question_id for one in verdicts if one.chance_hit],
        "untold": [one.question_id for one in verdicts if _untold(one)],
    }


def _untold(verdict: Verdict) -> bool:
    """Whether it is right on a weak gold about which no other rows tell."""
    return bool(verdict.weak) and verdict.verdict == "correct" and verdict.chance_hit is None


def _weak(scored: ScoredSet) -> dict[str, list[str]]:
    """Questions by why luck could match their golds."""
    found: dict[str, list[str]] = {}
    for verdict in scored.verdicts:
        if verdict.weak:
            found.setdefault(verdict.weak, []).append(verdict.question_id)
    return found


def score_table(scored: ScoredSet) -> Table:
    """One row for all questions, then one a group: accuracy, sql-eval's own, flips against the reference."""
    from workbench.evals.statistics import defog_scores, summarize

    question_set, flips = scored.answered.question_set, scored.flips
    defog = {one.name.partition("/")[2]: one for one in defog_scores(question_set, scored.verdicts)}
    groups = {} if flips is None else {"": flips, **flips["groups"]}
    rows = []
    for score in summarize(question_set, scored.verdicts):
        head, _, name = score.name.partition("/")
        if head.startswith("defog_"):
            continue  # a column of its own
        cells = [name or ("all" if head == "sql_accuracy" else head), str(score.total), score_text(score)]
        cells += [score_text(defog[name]) if name in defog and head == "sql_accuracy" else DASH] if defog else []
        pairs = groups.get(name) if head == "sql_accuracy" else None
        flipped = f"-{pairs['right_to_wrong']} +{pairs['wrong_to_right']}" if pairs else DASH
        cells += [] if flips is None else [flipped]
        rows.append(tuple(cells))
    header = ["questions", "number", "right", *(["by sql-eval's rules"] if defog else [])]
    return Table((*header, *([] if flips is None else ["flips"])), tuple(rows))


def legend(scored: ScoredSet) -> str:
    """The verdicts in numbers, the weak golds, and the pairs against the reference."""
    found = _counts(scored)
    counts = ", ".join(f"{found['verdicts'][name]} {name}" for name in sorted(found["verdicts"]))
    lines = [f"{counts}; {found['exact']} with the gold's columns exactly."]
    if found["weak_golds"]:
        weak = ", ".join(f"{len(ids)} {why}" for why, ids in found["weak_golds"].items())
        hits = f"; {len(found['chance_hits'])} matched by chance, as other rows show" if found["chance_hits"] else ""
        untold = f"; {len(found['untold'])} right answers that no other rows could check" if found["untold"] else ""
        lines.append(f"Weak golds, which luck could match: {weak}{hits}{untold}.")
    if (pairs := scored.flips) is not None:
        low, high = (100 * limit for limit in pairs["interval"])
        lines.append(
            f"Against the reference: {pairs['right_to_wrong']} answers lost, {pairs['wrong_to_right']} gained, "
            f"difference {100 * pairs['difference']:+.1f} points [{low:+.1f}, {high:+.1f}] ({pairs['method']}), exact "
            f"McNemar p {pairs['mcnemar_p']:.3f}; so many questions show {100 * pairs['detectable']:.1f} points."
        )
    return "\n".join(lines)
