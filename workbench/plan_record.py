"""A plan as JSON values: the contract other programs and the report's page read.

Names bear their unit; ``intervals`` tell where nine of ten true values are expected to lie. ``predicted`` and
``intervals`` are those of the engine's generation that a user installs today; ``generations`` holds all. What is not
known is ``null`` or missing, never zero.

Example::

    plan_record(plan)["recipes"][0]["predicted"]["peak_memory_bytes"]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from workbench.build_cost import BuildCost
from workbench.measure import Measurement
from workbench.nearest import profile_label
from workbench.planned import Generation, Nearest, Plan, PlannedArtifact


def plan_record(plan: Plan) -> dict[str, Any]:
    """The plan of one profile as JSON values."""
    return {
        "model": plan.model,
        "parameters": plan.parameters,
        "architecture": plan.architecture,
        "profile": plan.profile.name,
        "memory_gib": plan.profile.chosen_gib,
        "usable_bytes": plan.profile.usable_bytes,
        "context": plan.context,
        "most_context": plan.most_context,
        "batch": plan.workload.batch,
        "beams": plan.workload.beams,
        "workload": {name: getattr(plan.workload, name) for name in ("prompt_tokens", "new_tokens", "batch", "beams")},
        "best": plan.best.recipe.name if plan.best else None,
        "recipes": [_row_record(row) for row in plan.rows],
    }


def plans_record(plans: Iterable[Plan]) -> dict[str, Any]:
    """The plans of several profiles as JSON values."""
    records = [plan_record(plan) for plan in plans]
    shared = ("model", "parameters", "architecture", "context", "most_context", "batch", "beams", "workload")
    return {**{key: records[0][key] for key in shared}, "profiles": records}


def decision(plan: Plan) -> dict[str, Any]:
    """What of a plan decides a build's outcome: neither what making it costs nor what is learnt from build to build."""
    return {
        "model": plan.model,
        "profile": profile_label(plan.profile),
        "context": plan.context,
        "recipes": [[row.recipe.name, row.build, row.reason] for row in plan.rows],
    }


def _row_record(row: PlannedArtifact) -> dict[str, Any]:
    generation = row.generations[0].name if row.generations else None
    return {
        "recipe": row.recipe.name,
        "build": row.build,
        "default": row.recipe.default,
        "verdict": row.verdict,
        "fits": row.fits,
        "reason": row.reason,
        "nearest": row.nearest.sentence if row.nearest else None,
        "nearest_fit": _nearest_record(row.nearest),
        "predicted": _values(row.predictions),
        "intervals": _intervals(row.predictions),
        "exact": {"weight_bytes": row.exact},
        "runtime": row.recipe.runtime,
        "generation": generation,
        "generations": [_generation_record(one) for one in row.generations],
        "largest_context": row.largest_context,
        "largest_batch": row.largest_batch,
        "build_cost": _cost_record(row.build_cost),
    }


def _nearest_record(nearest: Nearest | None) -> dict[str, Any] | None:
    if nearest is None:
        return None
    return {key: value for key, value in asdict(nearest).items() if key != "sentence"}


def _cost_record(cost: BuildCost | None) -> dict[str, Any] | None:
    return asdict(cost) if cost else None


def _generation_record(generation: Generation) -> dict[str, Any]:
    return {
        "name": generation.name,
        "as_of": generation.as_of,
        "predicted": _values(generation.predictions),
        "intervals": _intervals(generation.predictions),
    }


def _values(predictions: Iterable[Measurement]) -> dict[str, float | None]:
    return {m.name: m.value for m in predictions}


def _intervals(predictions: Iterable[Measurement]) -> dict[str, list[float]]:
    return {m.name: list(m.interval) for m in predictions if m.interval}
