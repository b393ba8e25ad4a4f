"""Recipes: shipped ones load, every fault is named at once, and no YAML runs code."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

import workbench.formats
from workbench.errors import ConfigError
from workbench.plugins import find_member, member_names
from workbench.recipe import Accept, Recipe, load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"


class FakeOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    bits: int = 4
    group_size: int = 128


def options_model(name: str) -> type[BaseModel] | None:
    return FakeOptions if name == "fake" else None


def write(folder: Path, text: str, stem: str = "small") -> Path:
    path = folder / f"{stem}.yaml"
    path.write_text(text)
    return path


GOOD = """
name: small
description: A recipe for tests.
format: fake
runtime: fake
backends: [cpu]
options: {bits: 8}
"""


def shipped_options(name: str) -> type[BaseModel] | None:
    member = find_member(workbench.formats, name, "FORMAT")
    return member.options_model if member else None


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path, shipped_options)
    assert recipe.format in member_names(workbench.formats)
    assert recipe.description.endswith(".")


def test_options_are_completed_with_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD), options_model)
    assert recipe == Recipe(
        name="small",
        description="A recipe for tests.",
        format="fake",
        runtime="fake",
        backends=("cpu",),
        options={"bits": 8, "group_size": 128},
    )


def test_every_fault_at_once(tmp_path: Path) -> None:
    text = """
name: Other
format: fake
runtime: fake
backends: [tpu]
speed: high
options: {bits: many, grop_size: 64}
"""
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, text), options_model)
    keys = {fault.split(":")[0] for fault in caught.value.faults}
    assert keys >= {"name", "description", "backends.0", "speed", "options.bits", "options.grop_size"}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("name: small", "name: large", "name: is 'large'"),
        ("format: fake", "format: none", "there is no format 'none'"),
        ("backends: [cpu]", "backends: []", "backends"),
        ("options: {bits: 8}", "options: [8]", "options"),
        ("options: {bits: 8}", "bits: 8", "bits: unknown key"),
        ("name: small", "name: ../escape", "name"),
    ],
)
def test_one_fault(tmp_path: Path, old: str, new: str, fault: str) -> None:
    with pytest.raises(ConfigError, match="correct and run again") as caught:
        load_recipe(write(tmp_path, GOOD.replace(old, new)), options_model)
    assert fault in str(caught.value)


def test_options_may_be_left_out(tmp_path: Path) -> None:
    text = GOOD.replace("options: {bits: 8}", "")
    assert load_recipe(write(tmp_path, text), options_model).options == {"bits": 4, "group_size": 128}


@pytest.mark.parametrize("text", ["", "- a\n- b", "a: [", "!!python/object/apply:os.system [exit]", "\x00"])
def test_what_is_no_recipe(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load_recipe(write(tmp_path, text), options_model)


def test_a_key_given_twice_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'runtime' is given twice"):
        load_recipe(write(tmp_path, GOOD + "runtime: other\n"), options_model)


def test_a_gate_is_typed_and_confidence_has_a_default(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, GOOD), options_model).accept is None
    text = GOOD + "accept: {sql_accuracy_loss_max: 2}\n"
    accept = load_recipe(write(tmp_path, text), options_model).accept
    assert accept == Accept(sql_accuracy_loss_max=2.0, confidence=0.95)


@pytest.mark.parametrize(
    ("accept", "faults"),
    [
        ("{}", ["accept.sql_accuracy_loss_max: is missing"]),
        ("2.0", ["accept: input should be"]),
        ("{sql_accuracy_loss_max: 0}", ["accept.sql_accuracy_loss_max: input should be greater than 0"]),
        ("{sql_accuracy_loss_max: -1}", ["greater than 0"]),
        ("{sql_accuracy_loss_max: 101}", ["less than or equal to 100"]),
        ("{sql_accuracy_loss_max: .nan}", ["accept.sql_accuracy_loss_max"]),
        ("{sql_accuracy_loss_max: true}", ["accept.sql_accuracy_loss_max: input should be a valid number"]),
        ("{sql_accuracy_loss_max: two}", ["accept.sql_accuracy_loss_max: input should be a valid number"]),
        ("{sql_accuracy_loss_max: '2'}", ["accept.sql_accuracy_loss_max: input should be a valid number"]),
        ("{sql_accuracy_loss_max: 2, confidence: 0.5}", ["accept.confidence: input should be greater than 0.5"]),
        ("{sql_accuracy_loss_max: 2, confidence: 1}", ["accept.confidence: input should be less than 1"]),
        ("{sql_accuracy_loss_max: 2, confidence: 95}", ["accept.confidence"]),
        ("{loss_max: 2, confidence: 2}", ["accept.loss_max: unknown key", "loss_max: is missing", "accept.confidence"]),
    ],
)
def test_a_faulty_gate_tells_all_its_faults(tmp_path: Path, accept: str, faults: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, GOOD + f"accept: {accept}\nspeed: 1\n"), options_model)
    for fault in [*faults, "speed: unknown key"]:
        assert fault in str(caught.value)
