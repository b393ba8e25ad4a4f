"""``workbench plan`` as a user types it."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from workbench import catalog
from workbench.checkpoint import peek_checkpoint
from workbench.cli import cli
from workbench.errors import WorkbenchError
from workbench.plan import make_plan
from workbench.plan_request import PlanRequest, plan_model
from workbench.plan_tables import answer

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 32, "hidden_size": 4096,
    "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
    "max_position_embeddings": 8192, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with no more than a config."""
    path = tmp_path_factory.mktemp("models") / "my-sqlcoder"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    return path


def run(*arguments):
    return CliRunner().invoke(cli, ["plan", *map(str, arguments)], catch_exceptions=True)


def test_the_answer_comes_first_and_then_the_table(folder):
    found = run("--model", folder, "--profile", "rtx4090", "--recipe", "gguf-q4_k_m", "--recipe", "mps")
    assert found.exit_code == 0, found.output
    first, *rest = found.output.splitlines()
    assert first.startswith("On rtx4090: gguf-q4_k_m takes")
    assert "with 4 beams in" in first  # a sqlcoder by its name
    assert any(line.split()[:2] == ["gguf-q4_k_m", "*"] for line in rest if line.strip())
    assert "Unsuitable: mps (made for metal; rtx4090 is cuda)." in found.output


def test_without_a_profile_all_are_planned_in_120_columns(folder):
    found = run("--model", folder, "--recipe", "gguf-q8_0", "--recipe", "int8")
    assert found.exit_code == 0, found.output
    assert all(f"On {name}" in found.output for name in catalog.profile_names())
    table = found.output[found.output.index(" profile") :].split("All figures")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 120


def test_json_of_all_profiles_holds_every_recipe(folder):
    found = run("--model", folder, "--json")
    assert found.exit_code == 0, found.output
    record = json.loads(found.stdout)
    assert [one["profile"] for one in record["profiles"]] == catalog.profile_names()
    for one in record["profiles"]:
        assert [row["recipe"] for row in one["recipes"]] == catalog.recipe_names()
    assert (record["beams"], record["batch"], record["context"]) == (4, 1, 8192)


def test_json_of_one_profile_tells_intervals_and_generations(folder):
    found = run("--model", folder, "--profile", "rtx4090", "--recipe", "gguf-q4_k_m", "--beams", 1, "--json")
    (row,) = json.loads(found.stdout)["recipes"]
    low, high = row["intervals"]["decode_tokens_per_s"]
    assert low < row["predicted"]["decode_tokens_per_s"] < high
    assert row["generation"] == row["generations"][0]["name"]
    assert len(row["generations"]) > 1  # llama.cpp of 2023 and of 2025 differ


def test_a_batch_and_a_context_change_memory(folder):
    def peak(*more):
        found = run("--model", folder, "--profile", "rtx4090", "--recipe", "gguf-q4_k_m", "--json", *more)
        return json.loads(found.stdout)["recipes"][0]["predicted"]["peak_memory_bytes"]

    assert peak("--context", 2000) < peak("--context", 8000) < peak("--context", 8000, "--batch", 4)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--profile", "rtx409"], "did you mean 'rtx4090'"),
        (["--recipe", "gguf-q4km"], "did you mean"),
        (["--context", "0"], "takes 1 to 8192 tokens"),
        (["--context", "8193"], "takes 1 to 8192 tokens"),
        (["--batch", "0"], "give 1 to"),
        (["--beams", "99"], "give 1 to 16"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(folder, more, word):
    error = run("--model", folder, *more).exception
    assert isinstance(error, WorkbenchError)
    assert word in str(error)
    assert error.exit_code == 2


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(WorkbenchError, match=r"config\.json"):
        plan_model(PlanRequest(str(tmp_path)))


def test_a_recipe_of_ones_own_is_planned_like_a_shipped_one(folder, tmp_path):
    own = tmp_path / "mine.yaml"
    text = (catalog.recipes_dir() / "gptq-4bit.yaml").read_text().replace("gptq-4bit", "mine", 1)
    own.write_text(text.replace("group_size: 128", "group_size: 32"))
    found = plan_model(PlanRequest(str(folder), profile="rtx4090", recipes=(str(own), "gptq-4bit")))
    mine, shipped = found.plans[0].rows
    assert mine.predicted("weight_bytes") > shipped.predicted("weight_bytes")  # more scales


@pytest.mark.parametrize(("gib", "word"), [(8.0, "nothing fits"), (40.0, "On rtx4090: fp16 takes")])
def test_a_machine_too_small_is_told_what_fits(folder, gib, word):
    machine = catalog.get_profile("rtx4090").model_copy(update={"chosen_gib": gib})
    plan = make_plan(peek_checkpoint(str(folder)), machine, [catalog.get_recipe("fp16")])
    assert word in answer(plan)
    assert ("nearest for fp16" in answer(plan)) == (gib < 24)


def test_planning_imports_no_torch(folder):
    code = (
        "import sys; from workbench.plan_request import PlanRequest, plan_model\n"
        f"plan_model(PlanRequest({str(folder)!r}))\n"
        "assert not {'torch', 'transformers', 'numba', 'onnx'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
