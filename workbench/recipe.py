"""Recipes: one YAML each, saying which format to make and with which options.

A recipe is pure data. Its keys are declared once, here; the keys under ``options`` are declared
once by the format (``workbench/formats/<format>.py``). An unknown key is an error, and all
faults of a file are reported together. For example::

    name: gguf-q4_k_m
    description: One file of about 5 bits a weight for llama.cpp.
    format: gguf
    runtime: llama_cpp
    backends: [cuda, metal, cpu]
    options: {type: q4_k_m}
    accept: {sql_accuracy_loss_max: 2.0, confidence: 0.95}
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.errors import ConfigError

Backend = Literal["cuda", "metal", "cpu"]
ModelT = TypeVar("ModelT", bound=BaseModel)
# Given a format's name, the pydantic model of its options, or None when there is no such format.
OptionsModel = Callable[[str], type[BaseModel] | None]


class Accept(BaseModel):
    """What an artifact must be shown to keep before it is used; ``workbench/acceptance.py`` judges it.

    Attributes:
        sql_accuracy_loss_max: percentage points of SQL accuracy it may lose against the 16-bit reference.
        confidence: with which that must be shown, one-sided: 0.95 errs once in twenty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sql_accuracy_loss_max: float = Field(gt=0, le=100)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class Recipe(BaseModel):
    """Which format to make, with which options, and which engine runs it.

    Attributes:
        name: same as the file's stem; names the artifact.
        description: one sentence a user reads in ``workbench recipes``.
        format: a file in ``workbench/formats``.
        runtime: a file in ``workbench/runtimes``: the engine that runs the artifact.
        backends: hardware the *result* is meant for; other profiles skip this recipe.
        default: whether it is built when no recipe is named.
        options: typed by the format.
        accept: the accuracy gate of the build; ``None`` judges nothing. It changes no weights, so no build key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str
    format: str
    runtime: str
    backends: tuple[Backend, ...] = Field(min_length=1)
    default: bool = True
    options: dict[str, Any] = Field(default_factory=dict)
    accept: Accept | None = None


def load_recipe(path: Path, options_model: OptionsModel, runtimes: Collection[str] | None = None) -> Recipe:
    """Read one recipe and check it whole, options included.

    Args:
        path: the file.
        options_model: finds the options of a format.
        runtimes: names a recipe may give; ``None`` takes any.

    Returns:
        The recipe with ``options`` completed by the format's defaults.

    Raises:
        ConfigError: with every fault of the file.
    """
    document = read_yaml(path)
    recipe, faults = check_document(Recipe, document, path)
    options, option_faults = _check_options(document, options_model)
    faults += option_faults
    runtime = document.get("runtime")
    if runtimes is not None and isinstance(runtime, str) and runtime not in runtimes:
        faults.append(f"runtime: there is no runtime {runtime!r}; there are {', '.join(runtimes)}")
    if recipe is None or faults:
        raise ConfigError(str(path), faults)
    return recipe.model_copy(update={"options": options})


def _check_options(document: dict[str, Any], options_model: OptionsModel) -> tuple[dict[str, Any], list[str]]:
    """Options completed with defaults, and their faults."""
    format_name, given = document.get("format"), document.get("options") or {}
    if not isinstance(format_name, str) or not isinstance(given, dict):
        return {}, []  # Recipe's own validation reports these
    model = options_model(format_name)
    if model is None:
        return {}, [f"format: there is no format {format_name!r}"]
    try:
        return model.model_validate(given).model_dump(mode="json"), []
    except ValidationError as error:
        return {}, [f"options.{fault}" for fault in describe_faults(error)]


# libyaml's where PyYAML was built with it, as wheels are: ten times as fast, and a plan reads every recipe.
_SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc, valid-type]  # which of two equals is known at run time only
    """Plain data, and no key twice: YAML's own rule, which PyYAML does not check."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is given twice", node.start_mark)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def check_document(model: type[ModelT], document: dict[str, Any], path: Path) -> tuple[ModelT | None, list[str]]:
    """What a YAML file says, if its keys and values are right, and its faults; a file bears the name it states."""
    checked, faults = None, []
    try:
        checked = model.model_validate(document)
    except ValidationError as error:
        faults += describe_faults(error)
    name = document.get("name")
    if isinstance(name, str) and name != path.stem:
        faults.append(f"name: is {name!r} but the file is called {path.name}; make them the same")
    return checked, faults


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that must hold a mapping; plain data only, no tags run code."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read: {error}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError(str(path), [f"is not valid YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(document, dict):
        raise ConfigError(str(path), ["must hold a mapping of keys to values"])
    return document


def describe_faults(error: ValidationError) -> list[str]:
    """Pydantic's faults as ``key: sentence`` lines."""
    lines = []
    faults = error.errors()
    deeper = {fault["loc"][0] for fault in faults if len(fault["loc"]) > 1}
    for fault in faults:
        if fault["type"] == "too_short" and fault["loc"][0] in deeper:
            continue  # pydantic drops a list's wrong items, then finds it empty: the items' own faults say more
        key = ".".join(str(part) for part in fault["loc"]) or "file"
        if fault["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key")
        elif fault["type"] == "missing":
            lines.append(f"{key}: is missing")
        else:
            lines.append(f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]} (found {fault['input']!r})")
    return lines
