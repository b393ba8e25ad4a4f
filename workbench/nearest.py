"""The nearest thing that fits where an artifact does not.

What has to change least comes first: less context (as long as a typical question still goes in), a smaller batch,
another recipe on the same profile, more memory of the same chip, another profile. Among recipes the one with the least
accuracy to lose is nearest, then one of the same engine, then one built by default, then the largest; among machines
the smallest. The memory model that refused the first judges every candidate.

Example::

    nearest_fit(served, recipe, profile, Ask(context=8192, batch=1, beams=4, typical=1100)).sentence
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from workbench import catalog
from workbench.hardware import HardwareProfile
from workbench.planned import Nearest, loss
from workbench.recipe import Recipe
from workbench.served import Served


@dataclass(frozen=True)
class Ask:
    """What is to be served.

    Attributes:
        context: tokens of prompt and answer.
        batch: prompts at a time.
        beams: answers followed for each.
        typical: tokens of a typical question with its answer; a smaller context is of no use.
    """

    context: int
    batch: int
    beams: int
    typical: int


def nearest_fit(served: Served, recipe: Recipe, profile: HardwareProfile, ask: Ask) -> Nearest | None:
    """The nearest thing that fits, or ``None`` where nothing shipped does.

    Args:
        served: the model.
        recipe: what does not fit.
        profile: on which machine.
        ask: how it is used.
    """
    return next(_candidates(served, recipe, profile, ask), None)


def _candidates(served: Served, recipe: Recipe, profile: HardwareProfile, ask: Ask) -> Iterator[Nearest]:
    """Everything near that fits, the nearest first; found as it is asked for."""
    memory, usable, here = served.memory(recipe, profile.backend), profile.usable_bytes, profile_label(profile)
    context = memory.largest_context(usable, ask.context, ask.batch, ask.beams)
    if context >= min(ask.typical, ask.context):
        yield Nearest(here, recipe.name, context, ask.batch, f"{context:,} tokens of context fit")
    batch = memory.largest_batch(usable, ask.context, ask.beams)
    if batch:
        yield Nearest(here, recipe.name, ask.context, batch, f"a batch of {batch} fits")
    for other in _other_recipes(recipe, profile, served, ask):
        yield Nearest(here, other.name, ask.context, ask.batch, f"{other.name} fits")
    for machine in _machines(profile, recipe):
        if _fits(served, recipe, machine, ask):
            name = profile_label(machine)
            yield Nearest(name, recipe.name, ask.context, ask.batch, f"fits {name}")


def _other_recipes(recipe: Recipe, profile: HardwareProfile, served: Served, ask: Ask) -> list[Recipe]:
    """Other recipes that fit the profile, the nearest first."""
    fitting = [
        other
        for other in shipped_recipes()
        if other.name != recipe.name and served.obstacle(other, profile) is None and _fits(served, other, profile, ask)
    ]
    return sorted(
        fitting,
        key=lambda other: (
            loss(other),
            other.runtime != recipe.runtime,
            not other.default,
            -served.file_bytes(other),
        ),
    )


def _machines(profile: HardwareProfile, recipe: Recipe) -> Iterator[HardwareProfile]:
    """More memory of the same chip, then other machines the recipe is made for: same backend first, smallest first."""
    for size in sorted(profile.memory.sizes_gib):
        if size > profile.chosen_gib:
            yield profile.with_memory(size)
    others = [
        other.with_memory(size) if other.memory.sizes_gib else other
        for other in shipped_profiles()
        if other.name != profile.name and other.backend in recipe.backends
        for size in other.memory.sizes_gib or (other.chosen_gib,)
    ]
    yield from sorted(others, key=lambda other: (other.backend != profile.backend, other.usable_bytes))


def _fits(served: Served, recipe: Recipe, profile: HardwareProfile, ask: Ask) -> bool:
    return served.memory(recipe, profile.backend).peak(ask.context, ask.batch, ask.beams) <= profile.usable_bytes


def profile_label(profile: HardwareProfile) -> str:
    """A profile's name as ``--profile`` takes it, with the memory size where there are several."""
    return f"{profile.name}:{profile.chosen_gib:g}" if len(profile.memory.sizes_gib) > 1 else profile.name


@cache
def shipped_recipes() -> tuple[Recipe, ...]:
    """All shipped recipes, read once."""
    return tuple(map(catalog.get_recipe, catalog.recipe_names()))


@cache
def shipped_profiles() -> tuple[HardwareProfile, ...]:
    """All shipped profiles, read once."""
    return tuple(map(catalog.get_profile, catalog.profile_names()))
