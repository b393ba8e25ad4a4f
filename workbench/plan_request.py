"""What ``workbench plan`` is asked, and its answer: plans of one model for one profile or for all.

Example::

    plan_model(PlanRequest("defog/sqlcoder", profile="rtx4090")).plans[0].best
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import catalog
from workbench.checkpoint import peek_checkpoint
from workbench.experience import UNTAUGHT, Experience, experience
from workbench.nearest import shipped_profiles, shipped_recipes
from workbench.plan import Planner
from workbench.plan_record import plan_record, plans_record
from workbench.plan_tables import answer, left_out, obstacles, plan_table, plans_table
from workbench.planned import Plan
from workbench.tables import Table
from workbench.usual_beams import usual_beams

ALL = "all"


@dataclass(frozen=True)
class PlanRequest:
    """What to plan.

    Attributes:
        model: folder, Hub id, or the bundled model.
        revision: of a Hub id.
        profile: a profile's name, ``name:GIB`` or file; ``all`` for every shipped one.
        recipes: names or files; none for all shipped.
        context: tokens to make room for; ``None`` for the model's limit.
        batch: prompts answered at a time.
        beams: answers followed for each; ``None`` for as many as the model is usually asked with.
        as_of: month of the engines' builds (``YYYY-MM``); ``None`` for today's.
        out: store, whose ledger tells how far predictions were off on this machine.
    """

    model: str
    revision: str | None = None
    profile: str = ALL
    recipes: tuple[str, ...] = ()
    context: int | None = None
    batch: int = 1
    beams: int | None = None
    as_of: str | None = None
    out: Path = Path("artifacts")


@dataclass(frozen=True)
class PlanAnswer:
    """The plans, and what else there is to say.

    Attributes:
        request: what was asked.
        plans: one per profile.
        beams_source: where the number of beams comes from.
        experience: what this machine taught.
    """

    request: PlanRequest
    plans: tuple[Plan, ...]
    beams_source: str
    experience: Experience = UNTAUGHT

    def record(self) -> dict[str, Any]:
        """As JSON values: one profile's plan, or all under ``profiles``."""
        found = plans_record(self.plans) if self.request.profile == ALL else plan_record(self.plans[0])
        return {**found, "beams_source": self.beams_source, "ledger": self.experience.record()}

    @property
    def sentences(self) -> list[str]:
        """What to use on each profile."""
        return [answer(plan) for plan in self.plans]

    @property
    def table(self) -> Table:
        """Every recipe that suits the profile; for all profiles those built by default, where none was named."""
        if self.request.profile == ALL:
            return plans_table(self.plans, defaults=not self.request.recipes)
        return plan_table(self.plans[0])

    @property
    def notes(self) -> list[str]:
        """What was asked, what does not suit and what stands in the way of making the rest here."""
        plan = self.plans[0]
        work = plan.workload
        greedy = " First token and decode: greedy." if work.beams > 1 else ""
        asked = (
            f"Question: {work.prompt_tokens:,} tokens in, {work.new_tokens} out, beams {work.beams} "
            f"({self.beams_source}).{greedy} Memory: at {plan.context:,} tokens, batch {work.batch}."
        )
        if self.request.profile != ALL:
            seen = self.experience.sentences() if self.experience.tells_of(plan.profile) else []
            return [asked, *seen, *filter(None, [left_out(plan)]), *obstacles(plan)]
        more = "The other recipes: --profile NAME, --recipe NAME or --json."
        return [asked, *([] if self.request.recipes else [more])]


def plan_model(request: PlanRequest) -> PlanAnswer:
    """Plan a model for one profile or all.

    Raises:
        WorkbenchError: bad input; one sentence says what to do.
    """
    recipes = [catalog.get_recipe(name) for name in request.recipes] or list(shipped_recipes())
    profiles = shipped_profiles() if request.profile == ALL else (catalog.get_profile(request.profile),)
    checkpoint = peek_checkpoint(request.model, request.revision)
    usual, source = usual_beams(checkpoint)
    beams, told = (usual, source) if request.beams is None else (request.beams, "as asked")
    known = experience(request.out, request.as_of)
    planner = Planner(checkpoint, request.context, request.batch, beams, known)
    return PlanAnswer(request, tuple(planner.plan(profile, recipes) for profile in profiles), told, known)
