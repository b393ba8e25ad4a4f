"""The accuracy gate: has an artifact lost more of its answers than its recipe accepts?

A recipe says ``accept: {sql_accuracy_loss_max: 2.0, confidence: 0.95}``. The artifact and the 16-bit reference answered
the same questions, so the loss is taken in pairs (``workbench/evals/paired.py``), and the answer is one of three:
``proved`` (the greatest loss the pairs leave open is within the limit), ``refuted`` (the least is beyond it), or ``not
enough questions``, with how many would be. Few questions prove nothing: at 6% of answers flipping it takes about a
thousand to show a loss of at most two points. Without a reference nothing is judged, and the record says why.

Judged on the first question set of a build, the one the recommendation is made on; questions that have no answer are
left out, for refusing them is another skill. The record is kept in the artifact's manifest: ``refuted`` stays there
until questions decide otherwise, whatever a later build with too few of them finds.

    found = judge(recipe.accept, question_set, verdicts, reference)
    artifact = mark(artifact, found)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench.artifact import Artifact, write_manifest
from workbench.errors import GateError, WorkbenchError
from workbench.making import Made
from workbench.recipe import Accept
from workbench.report import BuildReport, is_refuted, with_verdict
from workbench.stages import Outcome
from workbench.work import Work

if TYPE_CHECKING:
    from workbench.evals.sql_accuracy import Verdict
    from workbench.evals.statistics import Flips
    from workbench.questions import QuestionSet

VerdictName = Literal["proved", "refuted", "not enough questions", "not judged"]
NO_REFERENCE = (
    "there are no answers of a 16-bit reference; build --recipe fp16 too, or on a machine that holds it run "
    "'workbench evaluate --out FILE' and give --reference FILE here"
)
NEVER_RIGHT = (
    "the reference answered nothing right, so nothing can be lost; is this the prompt the model was trained on?"
)


@dataclass(frozen=True)
class Reference:
    """What artifacts are compared with.

    Attributes:
        name: the recipe's, or the file's.
        kind: ``artifact`` or ``file``.
        digest: of the artifact (its build key), or of the file.
        verdicts: one list per question set; ``None`` for a set it has not answered, never the first.
        noise_flips: answers to the first set that flip when it is run a second time; ``None`` where not known.
    """

    name: str
    kind: Literal["artifact", "file"]
    digest: str
    verdicts: Sequence[Sequence[Verdict] | None]
    noise_flips: int | None = None

    def is_artifact(self, recipe: str) -> bool:
        """Whether it is the artifact of this recipe."""
        return self.kind == "artifact" and self.name == recipe

    def record(self) -> dict[str, str]:
        """What a report says of it, as JSON values."""
        return {"name": self.name, "kind": self.kind, "digest": self.digest}


@dataclass(frozen=True)
class Acceptance:
    """What was judged and how it came out; losses in percentage points of SQL accuracy, a negative one is a gain.

    Attributes:
        verdict: ``proved``, ``refuted``, ``not enough questions`` or ``not judged``.
        reason: one sentence.
        loss_max_points: the recipe's limit.
        confidence: one-sided, of each bound.
        loss_points: as seen.
        loss_bounds_points: (least, greatest) that the answers leave open.
        method: of the bounds.
        question_set: name of the set.
        question_set_digest: of its questions and databases.
        questions: that counted.
        right_to_wrong: answers lost.
        wrong_to_right: answers gained.
        questions_needed: how many in all would prove it, if further ones cost nothing on the whole; else ``None``.
        reference: name, kind and digest.
        noise_flips: answers of the reference that flip when it is run twice; ``None`` where not known.
    """

    verdict: VerdictName
    reason: str
    loss_max_points: float
    confidence: float
    loss_points: float | None = None
    loss_bounds_points: tuple[float, float] | None = None
    method: str = ""
    question_set: str = ""
    question_set_digest: str = ""
    questions: int = 0
    right_to_wrong: int = 0
    wrong_to_right: int = 0
    questions_needed: int | None = None
    reference: dict[str, str] = dataclasses.field(default_factory=dict)
    noise_flips: int | None = None


def judge_all(
    work: Work,
    made: dict[str, Outcome[Made]],
    verdicts: dict[str, list[list[Verdict]]],
    reference: Reference | None,
) -> tuple[dict[str, Outcome[Made]], dict[str, dict[str, Any]]]:
    """Judge every artifact whose recipe has a gate.

    Returns:
        The artifacts with their judgements in their manifests, and the judgements by recipe as JSON values: those of
        this build, or ``refuted`` of an earlier one that still stands.
    """
    marked, records = dict(made), {}
    for planned in work.plan.chosen:
        name, accept, one = planned.recipe.name, planned.recipe.accept, made[planned.recipe.name]
        if isinstance(one, WorkbenchError) or name not in verdicts:
            continue
        found = _judged(accept, name, work.sets[0], verdicts[name][0], reference) if accept else None
        artifact = mark(one.artifact, found)
        marked[name] = dataclasses.replace(one, artifact=artifact)
        if found:
            older = artifact.manifest.acceptance
            records[name] = older if is_refuted(older) else record_of(found)
            work.listener.note(f"{name}: {records[name]['verdict']}: {records[name]['reason']}")
    return marked, records


def _judged(
    accept: Accept, name: str, asked: QuestionSet, verdicts: Sequence[Verdict], reference: Reference | None
) -> Acceptance:
    if reference is None:
        return not_judged(accept, NO_REFERENCE)
    if reference.is_artifact(name):
        return not_judged(accept, "it is the reference itself")
    return judge(accept, asked, verdicts, reference)


def not_judged(accept: Accept, reason: str) -> Acceptance:
    """The record of an artifact that could not be held against a reference."""
    return Acceptance("not judged", reason, accept.sql_accuracy_loss_max, accept.confidence)


def judge(accept: Accept, question_set: QuestionSet, verdicts: Sequence[Verdict], reference: Reference) -> Acceptance:
    """Judge one artifact on the first question set.

    Args:
        accept: the recipe's limits.
        question_set: the first of the build.
        verdicts: the artifact's, on it.
        reference: whose ``verdicts[0]`` are on the same set.

    Raises:
        EvaluationError: the two answered different questions.
    """
    from workbench.evals.statistics import flips

    before = reference.verdicts[0]
    assert before is not None  # the first set is always answered
    if not any(verdict.verdict == "correct" and verdict.answerable for verdict in before):
        return not_judged(accept, NEVER_RIGHT)
    record = _of_pairs(accept, flips(before, verdicts))
    record = dataclasses.replace(
        record,
        question_set=question_set.name,
        question_set_digest=question_set.digest,
        reference=reference.record(),
        noise_flips=reference.noise_flips,
    )
    return dataclasses.replace(record, reason=_reason(record))


def _of_pairs(accept: Accept, found: Flips) -> Acceptance:
    """The judgement as far as the pairs of answers decide it."""
    from workbench.evals.paired import GATE_METHOD, loss_gate, loss_interval

    limit = accept.sql_accuracy_loss_max / 100
    verdict = loss_gate(found.pairs, limit, accept.confidence)
    least, greatest = loss_interval(found.pairs, accept.confidence)
    return Acceptance(
        verdict=verdict,
        reason="",
        loss_max_points=accept.sql_accuracy_loss_max,
        confidence=accept.confidence,
        loss_points=100 * (found.right_to_wrong - found.wrong_to_right) / found.questions,
        loss_bounds_points=(100 * least, 100 * greatest),
        method=GATE_METHOD,
        questions=found.questions,
        right_to_wrong=found.right_to_wrong,
        wrong_to_right=found.wrong_to_right,
        questions_needed=_needed(found, limit, accept.confidence) if verdict == "not enough questions" else None,
    )


def _needed(found: Flips, limit: float, confidence: float) -> int:
    """Questions in all that prove the artifact if it truly loses nothing, in four runs of five.

    How often answers flip is itself only seen on a few: one flip more in two questions more keeps "none seen" from
    passing for "none possible" (Laplace's rule).
    """
    from workbench.evals.paired import questions_needed

    discordance = (found.right_to_wrong + found.wrong_to_right + 1) / (found.questions + 2)
    return questions_needed(discordance, limit, confidence, seen=found.pairs)


def _reason(record: Acceptance) -> str:
    assert record.loss_bounds_points is not None  # it was judged
    least, greatest = record.loss_bounds_points
    seen = (
        f"{record.right_to_wrong} of {record.questions} answers to {record.question_set} lost and "
        f"{record.wrong_to_right} gained against {record.reference['name']}"
    )
    accepted = f"{record.loss_max_points:g} {'is' if record.loss_max_points == 1 else 'are'} accepted"
    if record.verdict == "proved":
        return (
            f"with {100 * record.confidence:g}% confidence it loses at most {greatest:.1f} points, {accepted} ({seen})"
        )
    if record.verdict == "refuted":
        return f"with {100 * record.confidence:g}% confidence it loses at least {least:.1f} points, {accepted} ({seen})"
    return (
        f"{record.questions} questions leave a loss of up to {greatest:.1f} points open, {accepted}; about "
        f"{record.questions_needed} would prove it if nothing more is lost ({seen})"
    )


def mark(artifact: Artifact, found: Acceptance | None) -> Artifact:
    """The artifact with the judgement in its manifest, on disk too; ``None`` takes an older one away.

    Under the same limits ``refuted`` is only replaced by a judgement that decides, and nothing by ``not judged``: a
    later build with fewer questions or without a reference takes nothing back.
    """
    before, record = artifact.manifest.acceptance, record_of(found) if found else {}
    if before == record or _stands(before, record):
        return artifact
    manifest = dataclasses.replace(artifact.manifest, acceptance=record)
    write_manifest(artifact.path, manifest)
    return Artifact(artifact.path, manifest)


def _stands(before: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether an older judgement outlives a new one."""
    if not before or not record or _limits(before) != _limits(record):
        return False
    return record["verdict"] == "not judged" or (record["verdict"] == "not enough questions" and is_refuted(before))


def _limits(record: Mapping[str, Any]) -> tuple[float, float]:
    return record["loss_max_points"], record["confidence"]


def check_gates(report: BuildReport) -> list[str]:
    """What a strict build has to say of its gates.

    Returns:
        A sentence per artifact that questions were too few for, or that was not judged: no failure, and no proof.

    Raises:
        GateError: a gate refuted an artifact; the sentence names them all.
    """
    refuted = with_verdict(report, "refuted")
    if refuted:
        names = ", ".join(artifact.recipe for artifact in refuted)
        raise GateError(f"{names}: refuted by the accuracy gate; the report says what was lost, use another recipe")
    return [
        f"{artifact.recipe}: {verdict}: {artifact.acceptance['reason']}"
        for verdict in ("not enough questions", "not judged")
        for artifact in with_verdict(report, verdict)
    ]


def record_of(found: Acceptance) -> dict[str, Any]:
    """A judgement as JSON values, equal to what is read back from a file."""
    bounds = found.loss_bounds_points
    return {**dataclasses.asdict(found), "loss_bounds_points": None if bounds is None else list(bounds)}
