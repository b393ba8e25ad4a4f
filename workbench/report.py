"""Reports: everything known about the artifacts of one build, as versioned JSON, and which artifact to use.

The JSON is the record; the page for a browser (``report_html``), Markdown (``report_page``) and the terminal
(``tables``) show parts of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.measure import Measurement, Score

REPORT_VERSION = 2
MAIN_SCORE = "sql_accuracy"
REFUSALS = "refusals"  # of the questions that cannot be answered, which count in no other score


@dataclass(frozen=True)
class SetScores:
    """How one artifact did on one question set.

    Attributes:
        question_set: its name.
        scores: overall (``sql_accuracy``), then per category and hardness; ``refusals`` last, where a set has
            questions that cannot be answered.
        verdicts: how many answers were correct, incorrect, error, rejected.
        flips: against the reference (right to wrong, wrong to right, exact McNemar p, difference and its interval,
            the smallest difference that could have been shown; by category and hardness under ``groups``, question by
            question under ``flipped``, see ``workbench/flipped.py``); ``None`` for the reference itself and without
            one.
    """

    question_set: str
    scores: tuple[Score, ...]
    verdicts: dict[str, int]
    flips: dict[str, Any] | None = None

    @property
    def overall(self) -> Score:
        """The headline figure; the refusals of a set in which nothing can be answered."""
        return next((score for score in self.scores if score.name == MAIN_SCORE), self.scores[-1])


@dataclass(frozen=True)
class ArtifactReport:
    """One artifact on one profile.

    Attributes:
        recipe: its name.
        path: the artifact's folder, as the user gave ``--out``.
        runtime: engine that ran it, with version.
        device: where it ran here.
        reused: whether an equal artifact was there already.
        convert_s: seconds of the conversion; ``None`` when reused.
        build_key: the artifact's key.
        weight_bytes: on disk.
        bits_per_weight: ``8 * weight_bytes / parameters``.
        measurements: measured here or predicted for the profile.
        predictions: what the plan predicted for the profile, also of what was then measured.
        sets: scores per question set, the first being the one for the recommendation.
        notes: what a reader must know.
        conformance: how it computes beside its source; see ``workbench/conformance.py``.
        divergence: from the reference's next-token distributions, by part of the questions; see
            ``workbench/divergences.py`` and ``evals.divergence.Figures``. Empty where it was not asked for.
        acceptance: what its recipe's accuracy gate said; see ``workbench/acceptance.py``. Empty without a gate.
        error: why there are no results, or ``None``.
    """

    recipe: str
    path: str
    runtime: str
    device: str
    reused: bool = False
    convert_s: float | None = None
    build_key: str = ""
    weight_bytes: int = 0
    bits_per_weight: float = 0.0
    measurements: tuple[Measurement, ...] = ()
    predictions: tuple[Measurement, ...] = ()
    sets: tuple[SetScores, ...] = ()
    notes: tuple[str, ...] = ()
    conformance: dict[str, Any] = field(default_factory=dict)
    divergence: dict[str, Any] = field(default_factory=dict)
    acceptance: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def measurement(self, name: str) -> Measurement | None:
        """A measurement with a value, by name; ``None`` when nothing is known."""
        return next((m for m in self.measurements if m.name == name and m.value is not None), None)


@dataclass(frozen=True)
class BuildReport:
    """One build: a model, a profile, its artifacts.

    Attributes:
        model: as the user named it.
        profile: name of the hardware profile.
        profile_is_here: whether this machine is the profile's.
        machine: label of the machine the build ran on.
        context: tokens planned for.
        beams: of the search for each answer; 1 is greedy.
        prompt: name of the prompt.
        source: id, revision and digest of the checkpoint.
        question_sets: name, size and digest of each.
        plan: the plan's record.
        artifacts: in the plan's order.
        recommended: recipe, or ``None``.
        reason: why.
        seconds: of the whole build.
        reference: what the others are compared with: name, kind (``artifact`` or ``file``) and digest; or empty.
        noise: what flips between two runs of the same weights; see ``workbench/reference.py``. Empty where not known.
        flipped: the questions that flipped in any artifact, by set and id: what was asked, the gold and the reference's
            answer; see ``workbench/flipped.py``.
        made_at: when the build ended, as ISO 8601 in UTC.
        command: that makes it again; see ``workbench/command_line.py``.
        schema_version: version of this record.
    """

    model: str
    profile: str
    profile_is_here: bool
    machine: str
    context: int
    prompt: str
    source: dict[str, Any]
    question_sets: tuple[dict[str, Any], ...]
    plan: dict[str, Any]
    artifacts: tuple[ArtifactReport, ...]
    recommended: str | None
    reason: str
    seconds: float
    beams: int = 1
    tool_versions: dict[str, str] = field(default_factory=dict)
    reference: dict[str, str] = field(default_factory=dict)
    noise: dict[str, Any] = field(default_factory=dict)
    flipped: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    made_at: str = ""
    command: str = ""
    schema_version: int = REPORT_VERSION


def report_record(report: BuildReport) -> dict[str, Any]:
    """The report as JSON values; scores carry value and interval beside their counts."""
    record = asdict(report)
    for artifact, raw in zip(report.artifacts, record["artifacts"], strict=True):
        for scored, raw_set in zip(artifact.sets, raw["sets"], strict=True):
            raw_set["scores"] = [score_record(score) for score in scored.scores]
    return record


def score_record(score: Score) -> dict[str, Any]:
    """A score as JSON values: its counts, its value, its interval."""
    low, high = score.interval
    return {
        "name": score.name,
        "correct": score.correct,
        "total": score.total,
        "value": score.value,
        "interval_95": [low, high],
        "interval_method": "wilson",
    }


def read_report(path: Path) -> BuildReport:
    """Read a ``report.json`` (or the folder that holds one).

    Raises:
        WorkbenchError: no report there, or of another version.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        version = record["schema_version"]
        if version != REPORT_VERSION:
            raise WorkbenchError(
                f"{file} is a report of version {version}, this workbench reads {REPORT_VERSION}; build again"
            )
        record["artifacts"] = tuple(_artifact(raw) for raw in record["artifacts"])
        record["question_sets"] = tuple(record["question_sets"])
        _check_parts(record)
        return BuildReport(**record)
    except OSError as error:
        raise WorkbenchError(f"there is no report at {path}; run a build first or correct the path") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WorkbenchError(f"{file} is no workbench report ({error}); build again") from error


def _check_parts(record: Mapping[str, Any]) -> None:
    """See that the parts without a type of their own hold what every reader asks of them.

    Raises:
        KeyError, TypeError: one does not.
    """
    for key in ("name", "questions", "digest"):
        _ = [one[key] for one in record["question_sets"]]
    for key in ("recipe", "build", "reason"):
        _ = [one[key] for one in record["plan"]["recipes"]]


def _artifact(raw: dict[str, Any]) -> ArtifactReport:
    raw["measurements"] = tuple(map(_measurement, raw["measurements"]))
    raw["predictions"] = tuple(map(_measurement, raw["predictions"]))
    raw["notes"] = tuple(raw["notes"])
    raw["sets"] = tuple(
        SetScores(
            one["question_set"],
            tuple(Score(score["name"], score["correct"], score["total"]) for score in one["scores"]),
            one["verdicts"],
            one["flips"],
        )
        for one in raw["sets"]
    )
    return ArtifactReport(**raw)


def _measurement(raw: dict[str, Any]) -> Measurement:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    return Measurement(**values)


def is_refuted(record: Mapping[str, Any]) -> bool:
    """Whether an acceptance record, of a manifest or a report, says ``refuted``."""
    return record.get("verdict") == "refuted"


def with_verdict(report: BuildReport, verdict: str) -> tuple[ArtifactReport, ...]:
    """The artifacts whose accuracy gate said this."""
    return tuple(artifact for artifact in report.artifacts if artifact.acceptance.get("verdict") == verdict)


def recommend(artifacts: tuple[ArtifactReport, ...], profile: str) -> tuple[str | None, str]:
    """The artifact to use on a profile, and why.

    An artifact that does not compute what its source computes is out. Accuracy next: what its recipe's gate refuted is
    out, what it proved is in. Where questions were too few to tell, or there is no gate, one is out whose answers are
    provably worse than the reference's (exact McNemar p < 0.05), or whose loss as seen exceeds the gate's limit (two
    points without a gate). Of the rest, the one that answers a typical question soonest; where no artifact has a speed,
    the smallest.
    """
    scored = [a for a in artifacts if a.error is None and a.sets and a.conformance.get("passed", True)]
    if not scored:
        return None, "no artifact was scored that computes what its source computes"
    if not any(a.sets[0].overall.correct for a in scored):
        return None, "no artifact answered a single question right; is this the prompt it was trained on (--prompt)?"
    compared = any(a.sets[0].flips for a in scored)
    best = 0.0 if compared else max(a.sets[0].overall.value for a in scored)
    right = [a for a in scored if _accurate(a, best)]
    if not right:
        return None, "no artifact is accurate enough; the report says what each lost"
    timed = [(speed, a) for a in right if (speed := a.measurement("question_s"))]
    if not timed:
        chosen = min(right, key=lambda a: a.weight_bytes)
        return chosen.recipe, f"{_accuracy_text(chosen)} and the smallest file of those as accurate{_doubt(chosen)}"
    speed, chosen = min(timed, key=lambda pair: pair[0].value or 0.0)
    kind = "measured here" if speed.kind == "measured" else f"predicted for {profile}"
    place = "it answers in" if len(timed) == 1 else f"of the {len(timed)} as accurate it answers soonest:"
    return chosen.recipe, (
        f"{_accuracy_text(chosen)}, and {place} {speed.value:.2f} s for a typical question ({kind}){_doubt(chosen)}"
    )


def _accurate(artifact: ArtifactReport, best: float) -> bool:
    """Whether its accuracy speaks for it.

    Args:
        artifact: scored.
        best: accuracy of the best one in a build without a reference; 0 in one with, where what has no flips is it.
    """
    verdict, flips = artifact.acceptance.get("verdict"), artifact.sets[0].flips
    if verdict in ("proved", "refuted"):
        return bool(verdict == "proved")
    loss_max: float = artifact.acceptance.get("loss_max_points", 2.0) / 100
    if flips is None:
        return artifact.sets[0].overall.value >= best - loss_max
    provably_worse = bool(flips["mcnemar_p"] < 0.05 and flips["right_to_wrong"] > flips["wrong_to_right"])
    return not provably_worse and float(-flips["difference"]) <= loss_max + 1e-9


def _doubt(artifact: ArtifactReport) -> str:
    """What the reader must know of a gate that could not tell."""
    record = artifact.acceptance
    if record.get("verdict") != "not enough questions":
        return ""
    return (
        f"; {record['questions']} questions cannot tell whether it loses at most the {record['loss_max_points']:g} "
        f"points its recipe accepts (about {record['questions_needed']} would)"
    )


def _accuracy_text(artifact: ArtifactReport) -> str:
    score = artifact.sets[0].overall
    low, high = score.interval
    return f"{score.value:.1%} of {score.total} questions right (95% interval {low:.1%} to {high:.1%})"
