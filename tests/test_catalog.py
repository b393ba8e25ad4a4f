import pytest

from workbench import catalog
from workbench.errors import ConfigError, WorkbenchError

RECIPE = "name: mine\ndescription: d\nformat: fp16\nruntime: transformers\nbackends: [cpu]\n"


@pytest.mark.parametrize("name", catalog.recipe_names())
def test_every_shipped_recipe_loads(name):
    recipe = catalog.get_recipe(name)
    assert recipe.name == name
    assert catalog.get_format(recipe.format).options_model.model_validate(recipe.options)
    assert catalog.get_runtime(recipe.runtime).title


@pytest.mark.parametrize("name", catalog.profile_names())
def test_every_shipped_profile_loads(name):
    assert catalog.get_profile(name).usable_bytes > 1e9


@pytest.mark.parametrize("name", catalog.recipe_names())
def test_what_is_quantized_has_a_gate_and_what_is_not_has_none(name):
    exact = {"fp16", "bf16", "mps", "gguf-f16", "gguf-bf16", "onnx-fp16"}
    accept = catalog.get_recipe(name).accept
    assert (accept is None) == (name in exact)
    assert accept is None or (0 < accept.sql_accuracy_loss_max <= 5 and accept.confidence == 0.95)


def test_the_promised_ones_are_there():
    assert {"fp16", "int8", "gptq-4bit", "gguf-q8_0", "gguf-q4_k_m", "mps"} <= set(catalog.recipe_names())
    profiles = {"a100-40gb", "a100-80gb", "rtx4090", "rtx3090", "m2-pro", "m2-max", "m2-ultra", "cpu"}
    assert profiles <= set(catalog.profile_names())


@pytest.mark.parametrize(("typo", "meant"), [("rtx409", "rtx4090"), ("a100-40", "a100-40gb"), ("m2max", "m2-max")])
def test_a_typo_gets_the_nearest_name(typo, meant):
    with pytest.raises(WorkbenchError, match=f"did you mean '{meant}'"):
        catalog.get_profile(typo)


def test_a_memory_size_is_chosen_after_a_colon():
    assert catalog.get_profile("m2-max:64").chosen_gib == 64
    assert catalog.get_profile("m2-max:64GB").chosen_gib == 64
    with pytest.raises(WorkbenchError, match="32, 64, 96"):
        catalog.get_profile("m2-max:128")
    with pytest.raises(WorkbenchError, match="after the colon"):
        catalog.get_profile("m2-max:big")


def test_without_a_name_only_default_recipes_are_meant():
    chosen = {recipe.name for recipe in catalog.get_recipes([])}
    assert {"fp16", "gguf-q4_k_m"} <= chosen
    assert "gguf-q2_k" not in chosen
    assert [recipe.name for recipe in catalog.get_recipes(["gguf-q2_k"])] == ["gguf-q2_k"]


def test_a_file_works_where_a_name_does(tmp_path):
    (tmp_path / "mine.yaml").write_text(RECIPE)
    assert catalog.get_recipe(str(tmp_path / "mine.yaml")).name == "mine"
    with pytest.raises(WorkbenchError, match="correct the path"):
        catalog.get_recipe(str(tmp_path / "other.yaml"))


def test_all_faults_of_a_recipe_are_told_at_once(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: other\nformat: gptq\nruntime: transformers\nbackends: [tpu]\nnonsense: 1\noptions: {bits: 5, x: 1}\n"
    )
    with pytest.raises(ConfigError) as caught:
        catalog.get_recipe(str(path))
    text = str(caught.value)
    for part in (
        "description: is missing",
        "backends.0",
        "nonsense: unknown key",
        "options.bits",
        "options.x: unknown key",
    ):
        assert part in text
    assert catalog.check_file(path) == caught.value.faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (RECIPE.replace("fp16", "fp17"), "no format 'fp17'"),
        (RECIPE.replace("transformers", "vllm9"), "no runtime 'vllm9'"),
        ("just text", "must hold a mapping"),
        ("a: [1", "not valid YAML"),
    ],
)
def test_check_file_names_the_fault(tmp_path, text, fault):
    (tmp_path / "mine.yaml").write_text(text)
    assert any(fault in found for found in catalog.check_file(tmp_path / "mine.yaml"))


def test_shipped_files_are_right():
    assert [fault for file in catalog.shipped_files() for fault in catalog.check_file(file)] == []
