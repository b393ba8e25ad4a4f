"""Conversions: keyed, kept, gone on with after any kill, one at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import catalog
from workbench.artifact import open_artifact
from workbench.calibration import CalibrationTexts
from workbench.checkpoint import open_checkpoint
from workbench.convert import convert
from workbench.errors import StorageError, WorkbenchError
from workbench.making import make_artifact, make_job
from workbench.progress import Listener
from workbench.recipe import Accept
from workbench.request import ConvertRequest


@pytest.fixture
def folder(tiny_checkpoint):
    return str(tiny_checkpoint("gpt_bigcode"))


@pytest.fixture
def checkpoint(folder):
    return open_checkpoint(folder)


def digests(folder: Path) -> dict[str, str]:
    """Of every file, the manifest's own too."""
    from workbench.artifact import sha256_file

    return {file.name: sha256_file(file) for file in folder.iterdir() if file.is_file()}


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_an_artifact_is_whole_and_says_what_it_is(checkpoint, tmp_path):
    made = make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path / "fp16")
    manifest = open_artifact(tmp_path / "fp16").manifest
    assert manifest == made.artifact.manifest
    assert manifest.source["digest"] == checkpoint.digest
    assert manifest.bits_per_weight == pytest.approx(16, rel=0.05)
    assert {"config.json", "tokenizer.json"} <= {entry.path for entry in manifest.files}
    assert {entry.path: entry.sha256 for entry in manifest.files}.items() <= digests(tmp_path / "fp16").items()


def test_the_same_again_is_kept_and_another_recipe_is_not(folder, tmp_path):
    recipe = catalog.get_recipe("fp16")
    first = make_artifact(open_checkpoint(folder), recipe, tmp_path / "a")
    assert first.seconds is not None
    assert make_artifact(open_checkpoint(folder), recipe, tmp_path / "a").seconds is None
    gated = recipe.model_copy(update={"accept": Accept(sql_accuracy_loss_max=2.0)})
    assert make_artifact(open_checkpoint(folder), gated, tmp_path / "a").seconds is None
    other = recipe.model_copy(update={"name": "b"})
    assert make_artifact(open_checkpoint(folder), other, tmp_path / "a").seconds is not None


def test_a_source_that_only_moved_is_the_same_source(folder, tmp_path):
    """Digests are remembered by the files' places and times; where these differ, the contents decide."""
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    recipe = catalog.get_recipe("fp16")
    make_artifact(open_checkpoint(folder), recipe, tmp_path / "a")
    assert make_artifact(open_checkpoint(str(tmp_path / "copy")), recipe, tmp_path / "a").seconds is None


def test_a_damaged_artifact_is_made_again(checkpoint, tmp_path):
    recipe = catalog.get_recipe("fp16")
    made = make_artifact(checkpoint, recipe, tmp_path / "a")
    made.artifact.weight_file(".safetensors").write_bytes(b"cut")
    assert make_artifact(checkpoint, recipe, tmp_path / "a").seconds is not None


def test_a_folder_of_somebody_else_is_not_replaced(checkpoint, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(WorkbenchError, match=r"thesis\.txt, which is not ours"):
        make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_the_key_changes_with_source_recipe_prompt_and_calibration(checkpoint):
    import dataclasses

    job = make_job(checkpoint, catalog.get_recipe("gptq-4bit"))
    assert job.calibration
    keys = {
        job.key("a"),
        job.key("b"),
        dataclasses.replace(job, calibration=CalibrationTexts("x", ("x",))).key("a"),
        make_job(dataclasses.replace(checkpoint, prompt_name="v1"), job.recipe).key("a"),
        make_job(checkpoint, job.recipe.model_copy(update={"name": "other"})).key("a"),
    }
    assert len(keys) == 5
    described = job.recipe.model_copy(update={"description": "other words"})
    assert make_job(checkpoint, described).key("a") == job.key("a")


class Failing(type(catalog.get_format("fp16"))):
    """Fails after its files are written, as a disk does that fills up."""

    def convert(self, checkpoint, options, out, context):
        super().convert(checkpoint, options, out, context)
        raise OSError(28, "No space left on device")


def test_a_full_disk_keeps_what_is_finished(checkpoint, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.making.get_format", lambda name: Failing())
        with pytest.raises(StorageError, match=r"disk of .* is full"):
            make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path / "a")
    assert visible(tmp_path) == [".a.journal", ".a.partial"]
    make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path / "a")
    make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path / "b")
    assert visible(tmp_path) == ["a", "b"]
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_too_small_a_disk_is_said_before_anything_is_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(StorageError, match=r"is full: .* MiB are needed and 1000 B are free"):
        make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path / "a")
    assert visible(tmp_path) == []


def test_an_unknown_architecture_is_refused(checkpoint, tmp_path):
    checkpoint.config["model_type"] = "mamba"
    with pytest.raises(WorkbenchError, match="mamba"):
        make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path / "a")


def test_a_missing_library_names_the_command(checkpoint, monkeypatch):
    monkeypatch.setattr(type(catalog.get_format("int8")), "requires", (("no_such_module", "no-such"),))
    with pytest.raises(WorkbenchError, match="pip install 'no-such'"):
        make_job(checkpoint, catalog.get_recipe("int8"))


def test_the_command_says_what_it_made(folder, tmp_path):
    notes = []

    class Ear(Listener):
        def note(self, text):
            notes.append(text)

    convert(ConvertRequest("fp16", tmp_path / "a", model=folder), Ear())
    assert "bits per weight, in" in notes[-1]
    convert(ConvertRequest("fp16", tmp_path / "a", model=folder), Ear())
    assert "unchanged, kept" in notes[-1]


@pytest.mark.parametrize("recipe", ["fp16", "int8", "gguf-q4_k_m", "mlx-4bit", "onnx-int4", "gptq-4bit"])
def test_bytes_do_not_depend_on_the_number_of_threads(checkpoint, tmp_path, recipe):
    chosen = catalog.get_recipe(recipe)
    if "gptq" in recipe:  # a few texts show as much as many
        chosen = chosen.model_copy(update={"options": {**chosen.options, "calibration_samples": 6}})
    for threads in (1, 3):
        make_artifact(checkpoint, chosen, tmp_path / str(threads), threads=threads)
    assert digests(tmp_path / "1") == digests(tmp_path / "3")


# Converts again and again in forked children of one warm process and kills each at a random moment, until one
# ends by itself; then starts over. Prints how many were killed and whether every result was the same.
KILLER = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
from workbench import catalog
from workbench.artifact import sha256_file
from workbench.calibration import CalibrationRequest
from workbench.checkpoint import open_checkpoint
from workbench.making import make_artifact

model, name, kills, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
recipe = catalog.get_recipe(name)
if "gptq" in name:  # a few texts show as much as many
    recipe = recipe.model_copy(update={"options": {**recipe.options, "calibration_samples": 6}})

def convert(out):
    memory = random.choice((0, 1 << 30))  # texts' states lie in files, or in memory
    make_artifact(open_checkpoint(model), recipe, out, threads=2, calibration=CalibrationRequest(memory=memory))

def digests(out):
    return {file.name: sha256_file(file) for file in out.iterdir()}

convert(folder / "warm")  # imports and compiled kernels
started = time.perf_counter(); convert(folder / "whole"); seconds = time.perf_counter() - started
expected, killed, resumed, equal = digests(folder / "whole"), 0, 0, True
random.seed(7)
while killed < kills:
    pid = os.fork()
    if not pid:
        convert(folder / "out")
        os._exit(0)
    time.sleep(random.uniform(0, 1.2 * seconds))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    killed += os.WIFSIGNALED(status)
    resumed += (folder / ".out.journal").exists()
    if (folder / "out").exists() or random.random() < 0.2:
        convert(folder / "out")
        equal = equal and digests(folder / "out") == expected
        shutil.rmtree(folder / "out")
convert(folder / "out")
equal = equal and digests(folder / "out") == expected
left = sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))
print(json.dumps({"killed": killed, "resumed": resumed, "equal": equal, "left": left}))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    ("recipe", "kills"),
    [("fp16", 12), ("int8", 8), ("gguf-q4_k_m", 12), ("mlx-4bit", 8), ("onnx-int4", 8), ("gptq-4bit", 12)],
)
def test_a_killed_conversion_ends_with_the_same_bytes(folder, tmp_path, recipe, kills):
    command = [sys.executable, "-c", KILLER, folder, recipe, str(kills), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["equal"]
    assert found["killed"] == kills
    assert found["left"] == ["out", "warm", "whole"]
