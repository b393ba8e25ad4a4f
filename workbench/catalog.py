"""The recipes and profiles that exist: those at the top of the repository, or those inside the wheel.

A user's own file works wherever a name does: ``--recipe ./mine.yaml``.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

import workbench.formats
import workbench.runtimes
from workbench import plugins
from workbench.errors import ConfigError, WorkbenchError
from workbench.formats.base import Format, Options
from workbench.hardware import HardwareProfile, load_profile
from workbench.recipe import Recipe, load_recipe
from workbench.runtimes.base import Runtime

_PACKAGE = Path(__file__).parent


def recipes_dir() -> Path:
    """Folder of the shipped recipes."""
    return _data_dir("recipes")


def profiles_dir() -> Path:
    """Folder of the shipped hardware profiles."""
    return _data_dir("hardware_profiles")


def _data_dir(name: str) -> Path:
    # In a wheel the folders lie inside the package; in a checkout beside it.
    inside = _PACKAGE / f"_{name}"
    return inside if inside.is_dir() else _PACKAGE.parent / name


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return _names(recipes_dir())


def profile_names() -> list[str]:
    """Names of the shipped profiles."""
    return _names(profiles_dir())


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def shipped_files() -> list[Path]:
    """All shipped recipe and profile files."""
    return sorted([*recipes_dir().glob("*.yaml"), *profiles_dir().glob("*.yaml")])


def get_recipe(name: str) -> Recipe:
    """A recipe by name, or by path of a YAML file.

    Raises:
        WorkbenchError: no such recipe, with the nearest name.
        ConfigError: the file has faults.
    """
    runtimes = plugins.member_names(workbench.runtimes)
    return load_recipe(_resolve("recipe", name, recipes_dir()), _options_model, runtimes)


def get_recipes(names: Sequence[str]) -> list[Recipe]:
    """Recipes by name or path, each once; when none is named, the shipped ones that say ``default: true``."""
    if names:
        return [get_recipe(name) for name in dict.fromkeys(names)]
    return [recipe for recipe in map(get_recipe, recipe_names()) if recipe.default]


def get_profile(name: str) -> HardwareProfile:
    """A profile by name, ``name:GIB`` for one of its memory sizes, or path of a YAML file.

    Raises:
        WorkbenchError: no such profile or memory size.
        ConfigError: the file has faults.
    """
    base, colon, size = name.partition(":")
    profile = load_profile(_resolve("profile", base, profiles_dir()))
    if not colon:
        return profile
    try:
        size_gib = float(size.lower().removesuffix("gib").removesuffix("gb"))
    except ValueError as error:
        raise WorkbenchError(f"{name!r}: after the colon comes a memory size in GiB, such as {base}:64") from error
    return profile.with_memory(size_gib)


def _resolve(kind: str, name: str, folder: Path) -> Path:
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise WorkbenchError(f"there is no {kind} file {name}; correct the path")
        return path
    if name in _names(folder):
        return folder / f"{name}.yaml"
    near = difflib.get_close_matches(name, _names(folder), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise WorkbenchError(f"unknown {kind} {name!r}; {hint}there are {', '.join(_names(folder))}")


def get_format(name: str) -> Format[Options]:
    """A format by name; recipes were checked, so a missing one is a bug of ours."""
    found: Format[Options] | None = plugins.find_member(workbench.formats, name, "FORMAT")
    if found is None:
        raise WorkbenchError(f"there is no format {name!r}")
    return found


def get_runtime(name: str) -> Runtime:
    """A runtime by name."""
    found: Runtime | None = plugins.find_member(workbench.runtimes, name, "RUNTIME")
    if found is None:
        raise WorkbenchError(f"there is no runtime {name!r}")
    return found


def _options_model(format_name: str) -> type[BaseModel] | None:
    found = plugins.find_member(workbench.formats, format_name, "FORMAT")
    return None if found is None else found.options_model


def check_file(path: Path) -> list[str]:
    """Every fault of one recipe or profile file; empty when it is right. Builds nothing."""
    try:
        if _looks_like_profile(path):
            get_profile(str(path))
        else:
            get_recipe(str(path))
    except ConfigError as error:
        return error.faults
    except WorkbenchError as error:
        return [str(error)]
    return []


def _looks_like_profile(path: Path) -> bool:
    from workbench.recipe import read_yaml

    document = read_yaml(path)
    return "memory" in document or "backend" in document or path.parent.name.endswith("hardware_profiles")
