"""Tables of what exists: profiles, recipes, and the doctor's findings."""

from __future__ import annotations

from collections.abc import Sequence

from workbench import catalog
from workbench.doctor import Finding
from workbench.hardware import Figure
from workbench.tables import DASH, Table


def profiles_table() -> Table:
    """Every shipped profile with the figures that decide."""
    rows = []
    for name in catalog.profile_names():
        profile = catalog.get_profile(name)
        sizes = "/".join(f"{size:g}" for size in profile.memory.sizes_gib) or f"{profile.chosen_gib:.0f} (this machine)"
        rows.append(
            (
                name,
                profile.title,
                profile.backend,
                f"{sizes} GiB",
                f"{profile.memory.usable_share:.0%}",
                _figure(profile.bandwidth_gb_per_s, "GB/s"),
                _figure(profile.fp16_tflops, "TFLOP/s"),
                _figure(profile.tdp_w, "W"),
            )
        )
    header = ("profile", "machine", "backend", "memory", "usable", "bandwidth", "fp16", "power")
    return Table(header, tuple(rows))


def _figure(figure: Figure, unit: str) -> str:
    return DASH if figure.value is None else f"{figure.value:g} {unit}"


def recipes_table() -> Table:
    """Every shipped recipe, whether it is built when none is named, and the accuracy it may lose."""
    rows = []
    for name in catalog.recipe_names():
        recipe = catalog.get_recipe(name)
        backends, chosen = ", ".join(recipe.backends), "yes" if recipe.default else "on request"
        loss = f"{recipe.accept.sql_accuracy_loss_max:g} points" if recipe.accept else DASH
        rows.append((name, recipe.format, recipe.runtime, backends, chosen, loss, recipe.description))
    return Table(("recipe", "format", "runtime", "for", "default", "may lose", "what it is"), tuple(rows))


def findings_table(findings: Sequence[Finding]) -> Table:
    """What the doctor found."""
    return Table(
        ("what", "status", "detail", "to fix"), tuple((f.name, f.status, f.detail, f.fix or "") for f in findings)
    )
