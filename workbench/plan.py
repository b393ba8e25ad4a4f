"""Plans: what will be built, whether it fits, how fast it should be, and why the rest is left out.

Computed from the config and the tensor headers alone: no weights, no torch. Memory is weights + KV cache +
activations + the engine's overhead; speed is a roofline (``workbench/speed.py``). All figures are *predictions* and
labelled so.

    python -m workbench plan --profile rtx4090 --model defog/sqlcoder
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.catalog import get_format, get_runtime
from workbench.checkpoint import Checkpoint
from workbench.errors import WorkbenchError
from workbench.formats.base import Format, Options
from workbench.hardware import GIB, HardwareProfile
from workbench.measure import Measurement
from workbench.plugins import missing_library
from workbench.recipe import Recipe
from workbench.shape import ModelShape, model_shape
from workbench.speed import PREDICTOR, engine_facts, predict_speed


@dataclass(frozen=True)
class PlannedArtifact:
    """One recipe on one profile.

    Attributes:
        recipe: the recipe.
        build: whether it will be built.
        reason: why, or why not; one sentence.
        fits: whether the result fits the profile's usable memory; ``None`` when not computed.
        predictions: what the profile should see.
    """

    recipe: Recipe
    build: bool
    reason: str
    fits: bool | None
    predictions: tuple[Measurement, ...] = ()

    def predicted(self, name: str) -> float | None:
        """Value of one prediction by name."""
        return next((m.value for m in self.predictions if m.name == name), None)


@dataclass(frozen=True)
class Plan:
    """All recipes asked for, on one profile.

    Attributes:
        profile: the machine the result is for.
        context: tokens of prompt and answer that must fit.
        rows: one per recipe, in the order asked.
    """

    model: str
    profile: HardwareProfile
    context: int
    rows: tuple[PlannedArtifact, ...]

    @property
    def chosen(self) -> tuple[PlannedArtifact, ...]:
        """What will be built."""
        return tuple(row for row in self.rows if row.build)


def make_plan(
    checkpoint: Checkpoint, profile: HardwareProfile, recipes: list[Recipe], context: int | None = None
) -> Plan:
    """Decide for each recipe whether it suits and fits.

    Args:
        checkpoint: opened, its weights unread.
        profile: the machine the result is for.
        recipes: in order of preference for the table.
        context: tokens to make room for; default the model's own limit.

    Raises:
        WorkbenchError: ``context`` is not between 1 and the model's limit.
    """
    shape = model_shape(checkpoint.config)
    tokens = shape.context if context is None else context
    if not 1 <= tokens <= shape.context:
        raise WorkbenchError(f"--context {tokens} is out of range; {checkpoint.id} takes 1 to {shape.context} tokens")
    rows = tuple(_plan_one(checkpoint, shape, profile, recipe, tokens) for recipe in recipes)
    return Plan(checkpoint.id, profile, tokens, rows)


def _plan_one(
    checkpoint: Checkpoint, shape: ModelShape, profile: HardwareProfile, recipe: Recipe, context: int
) -> PlannedArtifact:
    weights = get_format(recipe.format)
    obstacle = _obstacle(checkpoint, profile, recipe, weights)
    if obstacle:
        return PlannedArtifact(recipe, False, obstacle, None)
    file_bytes = weights.predicted_bytes(checkpoint, weights.options_model.model_validate(recipe.options))
    predictions = predict(shape, checkpoint.parameters, file_bytes, profile, recipe.runtime, context)
    need = next(int(m.value or 0) for m in predictions if m.name == "peak_memory_bytes")
    verdict = f"needs about {need / GIB:.1f} of {profile.usable_bytes / GIB:.1f} usable GiB at {context} tokens"
    if need > profile.usable_bytes:
        return PlannedArtifact(recipe, False, f"does not fit: {verdict}", False, predictions)
    return PlannedArtifact(recipe, True, f"fits: {verdict}", True, predictions)


def _obstacle(checkpoint: Checkpoint, profile: HardwareProfile, recipe: Recipe, weights: Format[Options]) -> str | None:
    """Why this recipe cannot be built at all, or ``None``."""
    if profile.backend not in recipe.backends:
        return f"made for {' and '.join(recipe.backends)}; {profile.name} is {profile.backend}"
    if checkpoint.architecture not in weights.architectures:
        return f"{weights.name} does not know the architecture {checkpoint.architecture}"
    return missing_library(weights.requires) or missing_library(get_runtime(recipe.runtime).requires)


def predict(
    shape: ModelShape, parameters: int, file_bytes: int, profile: HardwareProfile, runtime: str, context: int
) -> tuple[Measurement, ...]:
    """Size, memory and speed of one artifact on one profile, batch size 1.

    Returns:
        ``weight_bytes``, ``peak_memory_bytes`` and, where the profile publishes the rates they
        need, ``prefill_tokens_per_s``, ``ttft_s``, ``decode_tokens_per_s`` and ``question_s``.
    """
    facts = engine_facts(runtime, profile.backend)
    resident = int(file_bytes * facts.weight_expansion)
    # Two live activations of the widest layer in fp16, for a whole prompt read at once.
    activations = 2 * 2 * context * max(shape.ffn, 3 * shape.hidden)
    peak = resident + shape.kv_cache_bytes(context) + activations + facts.overhead_bytes
    conditions = {"context": context, "runtime": runtime, "batch": 1}
    figures = [("weight_bytes", float(file_bytes)), ("peak_memory_bytes", float(peak))]
    sizes = [
        Measurement(name, value, "bytes", "predicted", PREDICTOR, conditions=conditions) for name, value in figures
    ]
    return (*sizes, *predict_speed(shape, parameters, resident, profile, runtime))


def plan_record(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values."""
    return {
        "model": plan.model,
        "profile": plan.profile.name,
        "context": plan.context,
        "recipes": [
            {
                "recipe": row.recipe.name,
                "build": row.build,
                "reason": row.reason,
                "fits": row.fits,
                "predicted": {m.name: m.value for m in row.predictions},
            }
            for row in plan.rows
        ],
    }
