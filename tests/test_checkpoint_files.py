"""Which files are the checkpoint: never two copies of the weights, never what lies beside them."""

import json

import pytest

from workbench.checkpoint_files import find_weights
from workbench.errors import CheckpointError

BESIDE = {
    "README.md", "modeling_x.py", "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "tf_model.h5",
    "flax_model.msgpack", "model.onnx", "ggml-model-q4_0.gguf", "consolidated.safetensors", "consolidated.00.pth",
    "adapter_model.safetensors", "adapter_model.bin", "optimizer.bin", "pytorch_model.bin.old",
}  # fmt: skip
SHARDS = {f"model-0000{number}-of-00002.safetensors" for number in (1, 2)}
PICKLED = {f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)}


def index(files: set[str]) -> str:
    return json.dumps({"weight_map": {f"w{number}": file for number, file in enumerate(sorted(files))}})


@pytest.mark.parametrize(
    ("names", "indexed", "chosen"),
    [
        ({"model.safetensors"}, set(), {"model.safetensors"}),
        ({"model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"}, set(), {"model.safetensors"}),
        (SHARDS | PICKLED | {"model.safetensors.index.json", "pytorch_model.bin.index.json"}, SHARDS, SHARDS),
        (SHARDS, set(), SHARDS),
        ({"model-00001-of-00002.safetensors"}, set(), SHARDS),
        ({"gptq_model.safetensors"}, set(), {"gptq_model.safetensors"}),
        ({"pytorch_model.bin", "pytorch_model.fp16.bin"}, set(), {"pytorch_model.bin"}),
        (PICKLED | {"pytorch_model.bin.index.json"}, PICKLED, PICKLED),
        (PICKLED, set(), PICKLED),
    ],
)
def test_the_files_of_the_weights(names: set[str], indexed: set[str], chosen: set[str]) -> None:
    assert set(find_weights(names | BESIDE, lambda _: index(indexed), "here").names) == chosen


def test_nothing_beside_the_weights_is_taken_for_them() -> None:
    with pytest.raises(CheckpointError, match=r"^here holds no \*\.safetensors file and no pytorch_model"):
        find_weights(BESIDE, lambda _: "", "here")


@pytest.mark.parametrize("file", ["../model.safetensors", "a/model.safetensors", "run.py", "", 3])
def test_an_index_names_plain_weight_files(file: object) -> None:
    text = json.dumps({"weight_map": {"w": file}})
    with pytest.raises(CheckpointError, match="cannot be understood"):
        find_weights({"model.safetensors.index.json"}, lambda _: text, "here")
