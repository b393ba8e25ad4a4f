"""What a plan says: one row per recipe on one profile, all of it predicted.

Nouns only; ``workbench/plan.py`` makes them, ``workbench/plan_record.py`` turns them into JSON and
``workbench/plan_tables.py`` into tables. For example::

    plan.best.recipe.name, plan.best.predicted("peak_memory_bytes"), plan.best.nearest
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.build_cost import BuildCost
from workbench.hardware import HardwareProfile
from workbench.measure import Measurement
from workbench.recipe import Recipe
from workbench.workload import TYPICAL, Workload

Verdict = Literal["fits", "tight", "does not fit", "unsuitable"]


@dataclass(frozen=True)
class Nearest:
    """The nearest thing that fits where something does not.

    Attributes:
        profile: its name, with a memory size where it has several: ``m2-max:64``.
        recipe: name.
        context: tokens.
        batch: prompts at a time.
        sentence: what to change, in a few words.
    """

    profile: str
    recipe: str
    context: int
    batch: int
    sentence: str


@dataclass(frozen=True)
class Generation:
    """Predicted speed in one generation of an engine.

    Attributes:
        name: of the generation.
        as_of: when engines of that speed were current.
        predictions: its figures.
    """

    name: str
    as_of: str
    predictions: tuple[Measurement, ...]


@dataclass(frozen=True)
class PlannedArtifact:
    """One recipe on one profile.

    Attributes:
        recipe: the recipe.
        build: whether it will be built.
        reason: why, or why not; one sentence.
        fits: whether the result fits the profile's usable memory; ``None`` when it does not suit the profile.
        predictions: what the profile should see.
        verdict: ``fits``, ``tight`` (above nine tenths of the usable memory), ``does not fit`` or ``unsuitable``.
        nearest: where it does not fit, the nearest thing that does; ``None`` where nothing known does.
        largest_context: most tokens that fit at the plan's batch, up to the model's limit; 0: none.
        largest_batch: most prompts at a time that fit at the plan's context; 0: none.
        build_cost: of making it here.
        exact: whether the predicted size of the weights is exact to the byte.
        generations: predicted speed in each generation of the engine; ``predictions`` holds the first one's.
    """

    recipe: Recipe
    build: bool
    reason: str
    fits: bool | None
    predictions: tuple[Measurement, ...] = ()
    verdict: Verdict = "unsuitable"
    nearest: Nearest | None = None
    largest_context: int | None = None
    largest_batch: int | None = None
    build_cost: BuildCost | None = None
    exact: bool = False
    generations: tuple[Generation, ...] = ()

    def prediction(self, name: str) -> Measurement | None:
        """One prediction by name."""
        return next((m for m in self.predictions if m.name == name), None)

    def predicted(self, name: str) -> float | None:
        """Value of one prediction by name."""
        found = self.prediction(name)
        return found.value if found else None


@dataclass(frozen=True)
class Plan:
    """All recipes asked for, on one profile.

    Attributes:
        model: its id.
        profile: the machine the result is for.
        context: tokens of prompt and answer that must fit.
        rows: one per recipe, in the order asked.
        parameters: weights of the model.
        architecture: its ``model_type``.
        most_context: the model's own limit.
        workload: the typical question that speed is predicted for, with the plan's batch and beams.
    """

    model: str
    profile: HardwareProfile
    context: int
    rows: tuple[PlannedArtifact, ...]
    parameters: int = 0
    architecture: str = ""
    most_context: int = 0
    workload: Workload = TYPICAL

    @property
    def chosen(self) -> tuple[PlannedArtifact, ...]:
        """What will be built."""
        return tuple(row for row in self.rows if row.build)

    @property
    def best(self) -> PlannedArtifact | None:
        """The artifact to prefer: one that fits before a tight one, then least accuracy to lose, then soonest."""
        return min((row for row in self.rows if row.fits), key=_preference, default=None)


def _preference(row: PlannedArtifact) -> tuple[bool, float, bool, float]:
    seconds = row.predicted("question_s")
    return (
        row.verdict == "tight",
        loss(row.recipe),
        not row.recipe.default,
        float("inf") if seconds is None else seconds,
    )


def loss(recipe: Recipe) -> float:
    """Percentage points of accuracy an artifact of a recipe may lose by its gate; 0 for 16 bits, which have none."""
    return recipe.accept.sql_accuracy_loss_max if recipe.accept else 0.0
