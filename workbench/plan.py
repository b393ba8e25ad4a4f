"""Plans: which recipes fit a machine, how fast they answer, what making them costs, and why the rest is left out.

Computed from the config and the tensor headers alone: no weights, no torch. Memory is weights + KV cache +
activations + the engine's overhead (``workbench/memory.py``), speed is a roofline (``workbench/speed.py``), the cost of
a conversion comes from known rates (``workbench/build_cost.py``). All figures are *predictions* and labelled so.

    python -m workbench plan --profile rtx4090 --model defog/sqlcoder
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from workbench.build_cost import BuildCost, Host, build_cost, host
from workbench.catalog import get_runtime
from workbench.checkpoint import Checkpoint
from workbench.errors import WorkbenchError
from workbench.experience import UNTAUGHT, Experience
from workbench.hardware import HardwareProfile
from workbench.measure import Measurement
from workbench.memory import MemoryModel
from workbench.nearest import Ask, nearest_fit
from workbench.plan_record import plan_record
from workbench.planned import Generation, Plan, PlannedArtifact, Verdict
from workbench.plugins import missing_library
from workbench.recipe import Recipe
from workbench.served import Served, format_of
from workbench.sizes import told_apart
from workbench.speed import predict_speed
from workbench.workload import MOST_BATCH, MOST_BEAMS, TYPICAL, Workload

__all__ = ["Plan", "PlannedArtifact", "Planner", "make_plan", "plan_record"]

PREDICTOR = "memory model v2"
TIGHT_SHARE = 0.9  # of the usable memory; above it little is left for what a prediction misses


def make_plan(
    checkpoint: Checkpoint,
    profile: HardwareProfile,
    recipes: Sequence[Recipe],
    context: int | None = None,
    batch: int = 1,
    beams: int = 1,
) -> Plan:
    """Decide for each recipe whether it suits and fits.

    Args:
        checkpoint: opened, its weights unread.
        profile: the machine the result is for.
        recipes: in order of preference for the table.
        context: tokens to make room for; default the model's own limit.
        batch: prompts answered at a time.
        beams: answers followed for each.

    Raises:
        WorkbenchError: ``context``, ``batch`` or ``beams`` is out of range.
    """
    return Planner(checkpoint, context, batch, beams).plan(profile, recipes)


class Planner:
    """Plans of one model for any number of profiles; what does not depend on the profile is computed once.

    Args:
        checkpoint: opened, its weights unread.
        context: tokens to make room for; default the model's own limit.
        batch: prompts answered at a time.
        beams: answers followed for each.
        experience: which generation of the engines to expect, and what this machine taught about them.

    Raises:
        WorkbenchError: one of them is out of range.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        context: int | None = None,
        batch: int = 1,
        beams: int = 1,
        experience: Experience = UNTAUGHT,
    ) -> None:
        self._experience = experience
        limit = checkpoint.context_length
        tokens = limit if context is None else context
        if not 1 <= tokens <= limit:
            raise WorkbenchError(f"--context {tokens} is out of range; {checkpoint.id} takes 1 to {limit} tokens")
        for option, value, most in (("--batch", batch, MOST_BATCH), ("--beams", beams, MOST_BEAMS)):
            if not 1 <= value <= most:
                raise WorkbenchError(f"{option} {value} is out of range; give 1 to {most}")
        self._limit = limit
        self._workload = question(tokens, batch, beams)
        self._ask = Ask(tokens, batch, beams, self._workload.prompt_tokens + self._workload.new_tokens)
        self._served = Served(checkpoint, self._workload.new_tokens)
        self._costs: dict[str, BuildCost] = {}

    def plan(self, profile: HardwareProfile, recipes: Sequence[Recipe]) -> Plan:
        """One profile's plan."""
        checkpoint = self._served.checkpoint
        return Plan(
            checkpoint.id,
            profile,
            self._ask.context,
            tuple(self._row(profile, recipe) for recipe in recipes),
            checkpoint.parameters,
            checkpoint.architecture,
            self._limit,
            self._workload,
        )

    def _row(self, profile: HardwareProfile, recipe: Recipe) -> PlannedArtifact:
        obstacle = self._served.obstacle(recipe, profile)
        if obstacle:
            return PlannedArtifact(recipe, False, obstacle, None)
        ask, memory, usable = self._ask, self._served.memory(recipe, profile.backend), profile.usable_bytes
        need = memory.peak(ask.context, ask.batch, ask.beams)
        verdict = _verdict(need, usable)
        fits = verdict != "does not fit"
        lacking = _lacking(recipe)
        need_text = f"needs about {' of '.join(told_apart(need, usable))} usable GiB at {_load_text(ask)}"
        speeds = self._speeds(profile, recipe, memory)
        return PlannedArtifact(
            recipe=recipe,
            build=fits and lacking is None,
            reason=lacking if fits and lacking else f"{verdict}: {need_text}",
            fits=fits,
            predictions=(*self._sizes(recipe, memory), *(speeds[0].predictions if speeds else ())),
            verdict=verdict,
            nearest=None if fits else nearest_fit(self._served, recipe, profile, ask),
            largest_context=memory.largest_context(usable, self._limit, ask.batch, ask.beams),
            largest_batch=memory.largest_batch(usable, ask.context, ask.beams),
            build_cost=self._cost(recipe),
            exact=format_of(recipe)[0].size_is_exact(self._served.checkpoint),
            generations=speeds,
        )

    def _sizes(self, recipe: Recipe, memory: MemoryModel) -> list[Measurement]:
        """Bytes of the file, of each part of the memory, and of their sum."""
        ask = self._ask
        parts = memory.parts(ask.context, ask.batch, ask.beams)
        figures = {
            "weight_bytes": self._served.file_bytes(recipe),
            "resident_weight_bytes": parts.resident_weight_bytes,
            "kv_cache_bytes": parts.kv_cache_bytes,
            "activation_bytes": parts.activation_bytes,
            "overhead_bytes": parts.overhead_bytes,
            "peak_memory_bytes": parts.peak_memory_bytes,
        }
        conditions = {"context": ask.context, "runtime": recipe.runtime, "batch": ask.batch, "beams": ask.beams}
        return [
            Measurement(name, float(value), "bytes", "predicted", PREDICTOR, conditions=conditions)
            for name, value in figures.items()
        ]

    def _speeds(self, profile: HardwareProfile, recipe: Recipe, memory: MemoryModel) -> tuple[Generation, ...]:
        """Speed in each generation of the engine, the one to expect first; none where the profile lacks a rate."""
        parameters, runtime = self._served.checkpoint.parameters, recipe.runtime
        found = []
        for one in self._experience.generations(runtime, profile):
            speeds = self._speed(parameters, memory.read, profile, f"{runtime}@{one.name}")
            learnt = self._experience.learnt(speeds, runtime, profile, parameters)
            found += [Generation(one.name, one.since, learnt)] if speeds else []
        return tuple(found)

    def _speed(self, parameters: int, read: int, profile: HardwareProfile, engine: str) -> tuple[Measurement, ...]:
        """The rates of greedy answers, as engines' own benchmarks tell them, and a question's time with the beams."""
        shape, asked = self._served.shape, self._workload
        speeds = predict_speed(shape, parameters, read, profile, engine, replace(asked, beams=1))
        if asked.beams == 1:
            return speeds
        with_beams = predict_speed(shape, parameters, read, profile, engine, asked)
        return tuple(
            beams if beams.name == "question_s" else one for one, beams in zip(speeds, with_beams, strict=True)
        )

    def _cost(self, recipe: Recipe) -> BuildCost:
        if recipe.name not in self._costs:
            size = self._served.file_bytes(recipe)
            self._costs[recipe.name] = build_cost(self._served.checkpoint, *format_of(recipe), size, self._host)
        return self._costs[recipe.name]

    @cached_property
    def _host(self) -> Host:
        return host(self._experience.store)


def question(context: int, batch: int = 1, beams: int = 1) -> Workload:
    """The typical question, cut where it exceeds a context."""
    new = max(1, min(TYPICAL.new_tokens, context // 2))
    return Workload(max(1, min(TYPICAL.prompt_tokens, context - new)), new, batch, beams)


def _verdict(need: int, usable: int) -> Verdict:
    if need > usable:
        return "does not fit"
    return "tight" if need > TIGHT_SHARE * usable else "fits"


def _lacking(recipe: Recipe) -> str | None:
    """What must be installed before the artifact can be made and run here."""
    weights, _ = format_of(recipe)
    return missing_library(weights.requires) or missing_library(get_runtime(recipe.runtime).requires)


def _load_text(ask: Ask) -> str:
    """``8192 tokens``, ``8192 tokens, batch 4, 4 beams``."""
    batch = f", batch {ask.batch}" if ask.batch > 1 else ""
    return f"{ask.context} tokens{batch}" + (f", {ask.beams} beams" if ask.beams > 1 else "")
