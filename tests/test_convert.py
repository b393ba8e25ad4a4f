import pytest

from workbench import catalog
from workbench.artifact import open_artifact
from workbench.checkpoint import open_checkpoint
from workbench.convert import build_key, make_artifact
from workbench.errors import StorageError, WorkbenchError


@pytest.fixture
def checkpoint(tiny_checkpoint):
    return open_checkpoint(str(tiny_checkpoint("gpt_bigcode")))


def test_an_artifact_is_whole_and_says_what_it_is(checkpoint, tmp_path):
    made = make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path / "fp16")
    manifest = open_artifact(tmp_path / "fp16").manifest
    assert manifest == made.artifact.manifest
    assert manifest.source["digest"] == checkpoint.digest
    assert manifest.bits_per_weight == pytest.approx(16, rel=0.05)
    assert {"config.json", "tokenizer.json"} <= {entry.path for entry in manifest.files}


def test_the_same_again_is_kept_and_another_recipe_is_not(checkpoint, tmp_path):
    recipe = catalog.get_recipe("fp16")
    first = make_artifact(checkpoint, recipe, tmp_path / "a")
    assert first.seconds is not None
    assert make_artifact(checkpoint, recipe, tmp_path / "a").seconds is None
    assert make_artifact(checkpoint, recipe.model_copy(update={"name": "b"}), tmp_path / "a").seconds is not None


def test_a_damaged_artifact_is_made_again(checkpoint, tmp_path):
    recipe = catalog.get_recipe("fp16")
    made = make_artifact(checkpoint, recipe, tmp_path / "a")
    made.artifact.weight_file(".safetensors").write_bytes(b"cut")
    assert make_artifact(checkpoint, recipe, tmp_path / "a").seconds is not None


def test_the_key_changes_with_the_calibration(checkpoint):
    recipe = catalog.get_recipe("fp16")
    weights = catalog.get_format("fp16")
    assert build_key(checkpoint, recipe, weights, ["a"]) != build_key(checkpoint, recipe, weights, ["b"])


def test_a_failing_conversion_leaves_nothing(checkpoint, tmp_path):
    class Failing(type(catalog.get_format("fp16"))):
        def convert(self, checkpoint, options, out, context):
            (out / "half.safetensors").write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.convert.get_format", lambda name: Failing())
        with pytest.raises(StorageError, match=r"disk of .* is full"):
            make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_architecture_is_refused(checkpoint, tmp_path):
    checkpoint.config["model_type"] = "mamba"
    with pytest.raises(WorkbenchError, match="mamba"):
        make_artifact(checkpoint, catalog.get_recipe("fp16"), tmp_path / "a")
