"""Checkpoints: read lazily, and every way a folder can be incomplete is named before any work."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from workbench.checkpoint import open_checkpoint
from workbench.errors import CheckpointError
from workbench.tensors import MAX_HEADER_BYTES, read_header

CONFIG = {"model_type": "gpt_bigcode", "n_positions": 64, "n_embd": 4}
TENSORS = {
    "wte.weight": torch.arange(12, dtype=torch.float16).reshape(3, 4),
    "ln.bias": torch.ones(4, dtype=torch.bfloat16),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "sqlcoder-tiny"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "tokenizer.json").write_text("{}")
    save_file(TENSORS, path / "model.safetensors", {"format": "pt"})
    return path


def test_open_a_folder(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.id == checkpoint.model_name == "sqlcoder-tiny"
    assert checkpoint.revision is None
    assert checkpoint.architecture == "gpt_bigcode"
    assert checkpoint.context_length == 64
    assert checkpoint.parameters == 16
    assert checkpoint.prompt.name == "v1"
    info = checkpoint.tensors["wte.weight"]
    assert (info.dtype, info.shape, info.numel) == ("F16", (3, 4), 12)
    assert [file.name for file in checkpoint.small_files()] == ["tokenizer.json"]


@pytest.mark.parametrize("name", TENSORS)
def test_read_one_tensor_in_its_stored_type(folder: Path, name: str) -> None:
    tensor = open_checkpoint(str(folder)).read(name)
    assert tensor.dtype == TENSORS[name].dtype
    assert torch.equal(tensor, TENSORS[name])


def test_the_digest_changes_with_any_byte(folder: Path) -> None:
    digests = {open_checkpoint(str(folder)).digest}
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        file = folder / name
        data = file.read_bytes()
        file.write_bytes(data[:-1] + b" " if name != "model.safetensors" else data[:-1] + b"\x01")
        if name == "config.json":
            file.write_bytes(data + b"\n")
        digests.add(open_checkpoint(str(folder)).digest)
        file.write_bytes(data)
    assert len(digests) == 4
    assert open_checkpoint(str(folder)).digest in digests


def test_the_digest_does_not_depend_on_the_place(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "notes.txt").write_text("no part of the model")
    assert open_checkpoint(str(copy)).digest == open_checkpoint(str(folder)).digest


@pytest.mark.parametrize("model", ["no/such/folder", "nowhere", "./org/name", "/org/name", "~/name"])
def test_no_such_folder(model: str) -> None:
    with pytest.raises(CheckpointError, match="there is no model folder"):
        open_checkpoint(model)


def test_what_is_no_hub_id() -> None:
    with pytest.raises(CheckpointError, match="is no Hub id"):
        open_checkpoint("not an/id")


def test_the_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="not in the local cache"):
        open_checkpoint("defog/sqlcoder@main")


def test_missing_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "not valid JSON"), ("[]", "no model_type"), ("{}", "no model_type")]
)
def test_broken_config(folder: Path, text: str, reason: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(str(folder))


def test_a_config_without_context_length(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "gpt_bigcode"}')
    with pytest.raises(CheckpointError, match="context length"):
        _ = open_checkpoint(str(folder)).context_length


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no \*\.safetensors"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_of_git_lfs(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(CheckpointError, match="run: git lfs pull"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize("kept", [0, 7, 8, 20, -1])
def test_a_truncated_shard(folder: Path, kept: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"cut short|promises"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize("length", [0, MAX_HEADER_BYTES + 1, 2**63])
def test_a_huge_header_is_not_read(folder: Path, length: int) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(CheckpointError, match="cut short"):
        open_checkpoint(str(folder))


ENTRY = {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[]",
        b'{"w": 5}',
        b'{"w": {}}',
        json.dumps({"w": ENTRY | {"data_offsets": [0]}}).encode(),
        json.dumps({"w": ENTRY | {"shape": ["a"]}}).encode(),
        json.dumps({"w": ENTRY | {"shape": [3]}}).encode(),  # six bytes do not fit in four
        b"[" * 100_000,
    ],
)
def test_a_broken_header(folder: Path, header: bytes) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    with pytest.raises(CheckpointError, match="broken header"):
        open_checkpoint(str(folder))


@given(data=st.binary(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_header_or_a_checkpoint_error(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(struct.pack("<Q", len(data)) + data)
    try:
        assert read_header(file) == []
    except CheckpointError as error:
        assert "fetch it again" in str(error)


def index(folder: Path, weight_map: Any) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_two_shards_and_their_index(folder: Path) -> None:
    save_file({"head": torch.zeros(2)}, folder / "model-00002-of-00002.safetensors")
    index(folder, {"wte.weight": "model.safetensors", "head": "model-00002-of-00002.safetensors"})
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.parameters == 18
    assert checkpoint.tensors["head"].file.name == "model-00002-of-00002.safetensors"


def test_a_forgotten_shard(folder: Path) -> None:
    index(folder, {"wte.weight": "model.safetensors", "head": "model-00002-of-00002.safetensors"})
    with pytest.raises(CheckpointError, match=r"lacks model-00002-of-00002\.safetensors"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"w": "../x.safetensors"}}'])
def test_a_broken_index(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match="cannot be understood"):
        open_checkpoint(str(folder))
