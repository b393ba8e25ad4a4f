"""``workbench matrix``: which recipes of a model to build for which profiles, as the jobs of a workflow.

A release builds every recipe for every profile that it suits and fits: one job each, all of the same commit of the
model, and then one package per recipe, which carries the results of all its profiles. GitHub Actions reads a job's
matrix from a step's outputs, one line of JSON each::

    python -m workbench matrix --recipe "gguf-q4_k_m int8" --profile "cpu rtx4090" --owner me >> "$GITHUB_OUTPUT"

    builds=[{"recipe": "gguf-q4_k_m", "profile": "cpu", "name": "gguf-q4_k_m@cpu", ...}, ...]
    packages=[{"recipe": "gguf-q4_k_m", "repository": "me/sqlcoder-nano-gguf"}, ...]
    model=sqlcoder-nano
    revision=

Packages that share a repository of the Hub (``workbench/hub_layout.py``) are told the same one; each other has its own.
Each build makes the 16-bit reference too, where it fits: without one the accuracy gate judges nothing. What a person
types into a workflow's form arrives as one text, so an option may hold several names, apart by spaces or commas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from workbench import catalog
from workbench.checkpoint import peek_checkpoint
from workbench.errors import WorkbenchError
from workbench.hub_layout import is_shared
from workbench.plan import make_plan
from workbench.planned import Plan
from workbench.recipe import Recipe

MOST_JOBS = 256  # that GitHub Actions makes of one matrix
REFERENCES = ("fp16", "mps")  # the 16-bit weights, for a processor or Nvidia and for Apple
_PLAIN = re.compile(r"[\w.-]+")  # one line of an output, and a folder's name


@dataclass(frozen=True)
class MatrixRequest:
    """What to spread over jobs.

    Attributes:
        model: folder, Hub id, or the bundled model.
        revision: of a Hub id.
        recipe: names or files, perhaps several in a text; none for those built by default.
        profile: names, ``name:GIB`` or files, perhaps several in a text.
        owner: of the repositories on the Hub.
    """

    model: str
    revision: str | None = None
    recipe: tuple[str, ...] = ()
    profile: tuple[str, ...] = ()
    owner: str = ""


@dataclass(frozen=True)
class Job:
    """One build.

    Attributes:
        recipe: as it was asked for.
        profile: as it was asked for.
        artifact: the recipe's name, which its folder in a store has.
        name: of recipe and profile, which no other build has.
        reference: recipe of the 16-bit reference; ``recipe`` itself where none fits.
    """

    recipe: str
    profile: str
    artifact: str
    name: str
    reference: str


@dataclass(frozen=True)
class Package:
    """What the builds of one recipe become: the folder's name in a store, and its repository on the Hub."""

    recipe: str
    repository: str


@dataclass(frozen=True)
class Matrix:
    """The jobs.

    Attributes:
        builds: one per recipe and profile that go together.
        packages: one per recipe that is built at all, in the order asked.
        model: the folder's name in a store.
        revision: commit of a Hub id, empty for another model.
        left_out: a sentence for each recipe that is not built for a profile.
    """

    builds: tuple[Job, ...]
    packages: tuple[Package, ...]
    model: str
    revision: str
    left_out: tuple[str, ...]

    def outputs(self) -> list[str]:
        """``name=value`` lines, as a step of GitHub Actions writes them."""
        return [
            f"builds={json.dumps([vars(job) for job in self.builds])}",
            f"packages={json.dumps([vars(package) for package in self.packages])}",
            f"model={self.model}",
            f"revision={self.revision}",
        ]


def make_matrix(request: MatrixRequest) -> Matrix:
    """Which jobs to run; of the model only config and tensor headers are read.

    Raises:
        WorkbenchError: something is not known, nothing can be built, or it would be more jobs than a matrix may have.
    """
    asked = _recipes(tuple(_names(request.recipe)))
    profiles = tuple(_names(request.profile))
    if not profiles:
        raise WorkbenchError("a matrix needs a profile; give --profile (see: workbench profiles)")
    checkpoint = peek_checkpoint(request.model, request.revision or None)
    model = checkpoint.model_name
    for what, name in (("model", model), ("owner", request.owner)):
        if name and not _PLAIN.fullmatch(name):
            raise WorkbenchError(f"the {what} {name!r} has no plain name; give one of letters, digits, '.', '-', '_'")
    builds, left_out = [], []
    for profile in profiles:
        recipes = [*asked.values(), *map(catalog.get_recipe, REFERENCES)]
        plan = make_plan(checkpoint, catalog.get_profile(profile), recipes)
        builds += _jobs(asked, profile, plan)
        left_out += _left_out(plan, len(asked))
    if not 1 <= len(builds) <= MOST_JOBS:
        raise WorkbenchError(
            f"{len(builds)} jobs would be made, and 1 to {MOST_JOBS} may be; name recipes that suit the profiles"
            + "".join(f" ({reason})" for reason in left_out[:3])
        )
    built = {job.recipe for job in builds}
    packages = tuple(
        Package(recipe.name, _repository(request.owner, model, recipe))
        for name, recipe in asked.items()
        if name in built
    )
    return Matrix(tuple(builds), packages, model, checkpoint.revision or "", tuple(left_out))


def _repository(owner: str, model: str, recipe: Recipe) -> str:
    """``me/sqlcoder-nano-gguf`` for every GGUF package, ``me/sqlcoder-nano-int8`` for one that has its own."""
    name = f"{model}-{recipe.format if is_shared(recipe.format) else _clean(recipe.name)}"
    return f"{owner}/{name}" if owner else name


def _names(texts: Iterable[str]) -> Iterator[str]:
    """Each name once, of texts that may hold several."""
    return iter(dict.fromkeys(name for text in texts for name in re.split(r"[\s,]+", text) if name))


def _recipes(names: Sequence[str]) -> dict[str, Recipe]:
    """Recipes by the names they were asked by.

    Raises:
        WorkbenchError: there is none, or two lay claim to one folder.
    """
    found = {name: catalog.get_recipe(name) for name in names}
    found = found or {recipe.name: recipe for recipe in catalog.get_recipes(())}
    seen = [recipe.name for recipe in found.values()]
    if twice := {name for name in seen if seen.count(name) > 1}:
        raise WorkbenchError(f"two recipes are called {min(twice)}; rename one")
    return found


def _jobs(asked: dict[str, Recipe], profile: str, plan: Plan) -> list[Job]:
    """The jobs of one profile; the plan's last rows are the references."""
    reference = next((row.recipe.name for row in plan.rows[len(asked) :] if row.build), None)
    return [
        Job(name, profile, row.recipe.name, f"{_clean(row.recipe.name)}@{_clean(profile)}", reference or name)
        for name, row in zip(asked, plan.rows, strict=False)
        if row.build
    ]


def _clean(name: str) -> str:
    """A name without what artifacts of a workflow may not be called by, nor the ``@`` between two names."""
    return re.sub(r"[^\w.-]+", "-", name)


def _left_out(plan: Plan, count: int) -> list[str]:
    return [f"{row.recipe.name} on {plan.profile.name}: {row.reason}" for row in plan.rows[:count] if not row.build]
