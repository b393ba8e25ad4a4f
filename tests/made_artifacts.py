"""Artifacts made by a shipped recipe, or the reason why this machine cannot make them."""

from pathlib import Path

import pytest

from workbench import catalog
from workbench.artifact import Artifact
from workbench.checkpoint import Checkpoint
from workbench.making import make_artifact
from workbench.plugins import missing_requirements


def made(recipe_name: str, checkpoint: Checkpoint, out: Path) -> Artifact:
    """Calibrated, where it is calibrated, on a handful of samples."""
    recipe = catalog.get_recipe(recipe_name)
    missing = missing_requirements(
        [*catalog.get_format(recipe.format).requires, *catalog.get_runtime(recipe.runtime).requires]
    )
    if missing:
        pytest.skip(f"{recipe_name} needs {missing[0][1]}")
    if "calibration_samples" in recipe.options:
        recipe = recipe.model_copy(update={"options": {**recipe.options, "calibration_samples": 4}})
    return make_artifact(checkpoint, recipe, out).artifact
