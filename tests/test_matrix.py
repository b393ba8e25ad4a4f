"""The jobs of a release: what goes with what, as the outputs of a workflow's step."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from local_hub import LocalHub

from workbench.errors import WorkbenchError
from workbench.matrix import MatrixRequest, make_matrix


def matrix(recipes: str = "", profiles: str = "cpu", model: str = "sqlcoder-nano", **options):
    return make_matrix(MatrixRequest(model, recipe=(recipes,), profile=(profiles,), **options))


def test_every_recipe_for_every_profile_that_it_suits():
    found = matrix("gguf-q4_k_m, int8 mlx-4bit", "cpu,rtx4090\nm2-max:64")
    assert [(job.recipe, job.profile, job.name, job.reference) for job in found.builds] == [
        ("gguf-q4_k_m", "cpu", "gguf-q4_k_m@cpu", "fp16"),
        ("int8", "cpu", "int8@cpu", "fp16"),
        ("gguf-q4_k_m", "rtx4090", "gguf-q4_k_m@rtx4090", "fp16"),
        ("int8", "rtx4090", "int8@rtx4090", "fp16"),
        ("gguf-q4_k_m", "m2-max:64", "gguf-q4_k_m@m2-max-64", "mps"),
        ("mlx-4bit", "m2-max:64", "mlx-4bit@m2-max-64", "mps"),
    ]
    assert [one.recipe for one in found.packages] == ["gguf-q4_k_m", "int8", "mlx-4bit"]
    assert (found.model, found.revision) == ("sqlcoder-nano", "")
    assert [one.partition(":")[0] for one in found.left_out] == [
        "mlx-4bit on cpu",
        "mlx-4bit on rtx4090",
        "int8 on m2-max",
    ]


def test_no_recipe_means_those_built_by_default():
    assert [one.recipe for one in matrix().packages] == ["fp16", "gguf-q4_k_m", "gguf-q8_0", "gptq-4bit", "int8"]


def test_gguf_packages_share_a_repository_and_others_have_their_own():
    assert [one.repository for one in matrix("gguf-q4_k_m gguf-q8_0 int8", owner="me").packages] == [
        "me/sqlcoder-nano-gguf",
        "me/sqlcoder-nano-gguf",
        "me/sqlcoder-nano-int8",
    ]


def test_a_name_given_twice_is_one_job():
    assert len(matrix("int8 int8, int8", "cpu cpu").builds) == 1


def test_the_outputs_are_lines_of_json():
    lines = dict(line.split("=", 1) for line in matrix("int8").outputs())
    assert json.loads(lines["builds"]) == [
        {"recipe": "int8", "profile": "cpu", "artifact": "int8", "name": "int8@cpu", "reference": "fp16"}
    ]
    assert json.loads(lines["packages"]) == [{"recipe": "int8", "repository": "sqlcoder-nano-int8"}]
    assert (lines["model"], lines["revision"]) == ("sqlcoder-nano", "")


@pytest.mark.parametrize(
    ("recipes", "profiles", "told"),
    [
        ("nonsense", "cpu", "nonsense"),
        ("int8", "nonsense", "nonsense"),
        ("int8", " , ", "give --profile"),
        ("mlx-4bit", "cpu", "0 jobs would be made.*mlx-4bit on cpu: made for metal"),
    ],
)
def test_what_makes_no_matrix(recipes, profiles, told):
    with pytest.raises(WorkbenchError, match=told):
        matrix(recipes, profiles)


def test_a_folder_whose_name_would_write_another_output(tmp_path):
    folder = tmp_path / "model\nbuilds=[]"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"model_type": "llama", "vocab_size": 512, "hidden_size": 256, "num_hidden_layers": 2,
                    "num_attention_heads": 4, "intermediate_size": 512, "max_position_embeddings": 1024})
    )  # fmt: skip
    with pytest.raises(WorkbenchError, match="has no plain name"):
        matrix("int8", model=str(folder))
    with pytest.raises(WorkbenchError, match="has no plain name"):
        matrix("int8", owner="me/other")


def test_the_command_prints_outputs_alone_and_notes_aside():
    done = subprocess.run(
        [sys.executable, "-m", "workbench", "matrix", "--recipe", "int8 mlx-4bit", "--profile", "cpu"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [line.partition("=")[0] for line in done.stdout.splitlines()] == [
        "builds", "packages", "model", "revision",
    ]  # fmt: skip
    assert done.stderr == "note: left out: mlx-4bit on cpu: made for metal; cpu is cpu\n"


def test_of_a_hub_id_every_job_gets_the_very_commit(tiny_checkpoint, tmp_path):
    with LocalHub() as hub:
        repository = hub.add_repository("org/tiny", tiny_checkpoint("llama"))
        line = [sys.executable, "-m", "workbench", "matrix", "--model", "org/tiny", "--revision", "main",
                "--recipe", "gguf-q8_0", "--profile", "cpu"]  # fmt: skip
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=hub.environment(tmp_path))
        assert done.returncode == 0, done.stderr
        assert f"\nmodel=tiny\nrevision={repository.history()[0].oid}\n" in done.stdout
        assert not hub.asked("GET", "model.safetensors", "cdn") or all(
            "range" in one.headers for one in hub.asked("GET", "model.safetensors", "cdn")
        )
