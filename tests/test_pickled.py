"""pytorch_model*.bin: every tensor found where torch put it, and nothing in the file ever run."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.utils.serialization import config as saving

from workbench.checkpoint import open_checkpoint
from workbench.errors import CheckpointError
from workbench.pickled import read_pickled
from workbench.tensors import read_rows, unique_elements

MATRIX = torch.arange(24, dtype=torch.float16).reshape(4, 6)
TENSORS = {
    "a.weight": MATRIX,
    "tied.weight": MATRIX,
    "rows": MATRIX[1:3],
    "bias": torch.randn(5).bfloat16(),
    "double": torch.randn(2, 1, 3, dtype=torch.float64),
    "parameter": torch.nn.Parameter(torch.randn(3, 4)),
    "mask": torch.tensor([[True, False]]),
    "counts": torch.tensor([1, -2]),
    "number": torch.tensor(3.5),
}


def saved(path: Path, value: Any, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def repacked(path: Path, change: dict[str, bytes | None], compression: int = zipfile.ZIP_STORED) -> Path:
    """The archive with some entries replaced or, with ``None``, left out; its folder is named ``a``."""
    with zipfile.ZipFile(path) as archive:
        parts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**parts, **change}.items():
            if data is not None:
                archive.writestr(f"a/{name}", data)
    return path


@pytest.mark.parametrize("alignment", [64, 4096])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_each_tensor_is_where_torch_put_it(tmp_path: Path, protocol: int, alignment: int) -> None:
    with saving.patch("save.storage_alignment", alignment):
        path = saved(tmp_path / "x.bin", TENSORS, pickle_protocol=protocol)
    found = {info.name: info for info in read_pickled(path)}
    assert found.keys() == TENSORS.keys()
    for name, info in found.items():
        values = read_rows(info, slice(0, info.rows))
        assert values.dtype == TENSORS[name].dtype
        assert torch.equal(values, TENSORS[name])


def test_a_state_dict_saved_to_a_stream(tmp_path: Path) -> None:
    """The other layout: the archive's folder is ``archive`` and entries end in data descriptors; with metadata."""
    stream, layer = io.BytesIO(), torch.nn.Linear(3, 2)
    torch.save(layer.state_dict(), stream)
    path = tmp_path / "x.bin"
    path.write_bytes(stream.getvalue())
    assert [(info.name, info.shape) for info in read_pickled(path)] == [("weight", (2, 3)), ("bias", (2,))]


def test_tied_tensors_count_once(tmp_path: Path) -> None:
    found = read_pickled(saved(tmp_path / "x.bin", {"embedding": MATRIX, "head": MATRIX}))
    assert found[0].offset == found[1].offset
    assert unique_elements(found) == 24


def test_reading_loads_no_torch(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bin", TENSORS)
    code = (
        "import pathlib, sys; from workbench.pickled import read_pickled\n"
        f"print(len(read_pickled(pathlib.Path({str(path)!r})))); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(len(TENSORS)), done.stderr


class Malicious:
    """Pickles as a call; opened, it would leave a file behind."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def attacks(trace: Path) -> dict[str, bytes]:
    """Programs that run code in Python's machine, by the instruction they use."""
    command = f"touch {trace}"
    by_hand = f"cposix\nsystem\n(S'{command}'\ntR.".encode()
    return {
        "reduce": pickle.dumps({"w": Malicious(os.system, command)}, protocol=2),
        "stack_global": pickle.dumps({"w": Malicious(os.system, command)}, protocol=4),
        "eval": pickle.dumps(Malicious(eval, f"open({str(trace)!r}, 'w')"), protocol=2),
        "getattr": pickle.dumps(Malicious(getattr, "", "upper"), protocol=2),
        "oldest": by_hand,
        "inst": f"(S'{command}'\niposix\nsystem\n.".encode(),
        "obj": f"(cposix\nsystem\nS'{command}'\no.".encode(),
        "newobj": b"\x80\x02csubprocess\nPopen\n(X\x05\x00\x00\x00touch" + b"t\x81.",
        "build": b"\x80\x02ctorch._utils\n_rebuild_parameter\n}X\x08\x00\x00\x00__code__Nsb.",
        "extension": b"\x80\x02\x82\x01.",
    }


@pytest.mark.parametrize("kind", attacks(Path("x")))
def test_a_pickle_that_wants_code_is_refused(tmp_path: Path, kind: str) -> None:
    trace = tmp_path / "was-run"
    path = repacked(saved(tmp_path / "x.bin", TENSORS), {"data.pkl": attacks(trace)[kind]})
    with pytest.raises(CheckpointError) as caught:
        read_pickled(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


def test_the_command_line_refuses_it_in_one_sentence(tmp_path: Path) -> None:
    folder, trace = tmp_path / "sqlcoder-evil", tmp_path / "was-run"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt_bigcode"}')
    saved(folder / "pytorch_model.bin", {"w": Malicious(os.system, f"touch {trace}")})
    command = [
        sys.executable,
        "-m",
        "workbench",
        "plan",
        "--profile",
        "cpu",
        "--recipe",
        "fp16",
        "--model",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "asks for 'posix.system', which would run code; it was not opened" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not trace.exists()


def test_a_view_that_is_not_stored_row_by_row(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds tensor t as a view .* contiguous\(\)"):
        read_pickled(saved(tmp_path / "x.bin", {"t": MATRIX.t()}))


def test_a_dimension_of_one_has_any_stride(tmp_path: Path) -> None:
    column = MATRIX[:, :1].t()[:, :1]
    assert read_pickled(saved(tmp_path / "x.bin", {"c": column}))[0].shape == (1, 1)


def test_the_format_from_before_1_6(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"format from before version 1\.6; load it with"):
        read_pickled(saved(tmp_path / "x.bin", TENSORS, _use_new_zipfile_serialization=False))


def test_compressed_entries(tmp_path: Path) -> None:
    path = repacked(saved(tmp_path / "x.bin", {"w": torch.zeros(1000)}), {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="was compressed after it was saved"):
        read_pickled(path)


def test_a_big_endian_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="big-endian"):
        read_pickled(repacked(saved(tmp_path / "x.bin", TENSORS), {"byteorder": b"big"}))


@pytest.mark.parametrize("change", [{"data/0": None}, {"data/0": b"short"}, {"data.pkl": b"\x80\x02}"}])
def test_damage_inside(tmp_path: Path, change: dict[str, bytes | None]) -> None:
    with pytest.raises(CheckpointError, match="is damaged"):
        read_pickled(repacked(saved(tmp_path / "x.bin", TENSORS), change))


def test_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"without torch's data\.pkl"):
        read_pickled(repacked(saved(tmp_path / "x.bin", TENSORS), {"data.pkl": None}))


@pytest.mark.parametrize("value", [[MATRIX], {"w": 3}, {"state_dict": {"w": MATRIX}}, MATRIX])
def test_more_than_a_table_of_tensors(tmp_path: Path, value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"holds more than a table of tensors"):
        read_pickled(saved(tmp_path / "x.bin", value))


@pytest.mark.parametrize("kept", [0, 2, 100, 600, -1])
def test_cut_short(tmp_path: Path, kept: int) -> None:
    path = saved(tmp_path / "x.bin", TENSORS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="is cut short"):
        read_pickled(path)


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_program_gives_a_checkpoint_error(tmp_path: Path, program: bytes) -> None:
    path = tmp_path / "x.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + program)
    with pytest.raises(CheckpointError):
        read_pickled(path)


@given(place=st.integers(0, 3000), value=st.integers(0, 255))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_byte_gives_tensors_or_a_checkpoint_error(tmp_path: Path, place: int, value: int) -> None:
    path = saved(tmp_path / "x.bin", TENSORS)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data)
    try:
        assert all(info.offset is not None and info.offset + info.nbytes <= len(data) for info in read_pickled(path))
    except CheckpointError as error:
        assert "\n" not in str(error)


def test_a_shape_larger_than_its_storage(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bin", {"w": torch.zeros(6, dtype=torch.uint8)})
    with zipfile.ZipFile(path) as archive:
        program = archive.read("x/data.pkl")
    changed = program.replace(b"K\x00K\x06\x85", b"K\x00K\x60\x85")
    assert changed != program
    with pytest.raises(CheckpointError, match="is damaged"):
        read_pickled(repacked(path, {"data.pkl": changed}))


def test_entries_beyond_four_gigabytes(tmp_path: Path) -> None:
    """A sparse archive with zip64 fields, as any shard above 4 GiB has."""
    path, gap = tmp_path / "x.bin", 5 << 30
    with zipfile.ZipFile(saved(tmp_path / "y.bin", {"w": torch.arange(4.0)})) as archive:
        parts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", parts["data.pkl"])
        file.seek(gap)
        archive.start_dir = gap
        archive.writestr("a/data/0", parts["data/0"])
    info = read_pickled(path)[0]
    assert (info.offset or 0) > gap
    assert torch.equal(read_rows(info, slice(0, 1)), torch.arange(4.0))


def checkpoint(folder: Path, files: dict[str, dict[str, torch.Tensor]]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt_bigcode", "n_positions": 64}))
    (folder / "tokenizer.json").write_text("{}")
    for name, tensors in files.items():
        saved(folder / name, tensors)
    return folder


SHARDS = {
    "pytorch_model-00001-of-00002.bin": {"wte": MATRIX},
    "pytorch_model-00002-of-00002.bin": {"head": MATRIX + 1, "bias": torch.ones(3, dtype=torch.bfloat16)},
}
INDEX = "pytorch_model.bin.index.json"


@pytest.mark.parametrize("indexed", [True, False])
def test_shards_and_their_index(tmp_path: Path, indexed: bool) -> None:
    folder = checkpoint(tmp_path / "m", SHARDS)
    if indexed:
        places = {name: file for file, tensors in SHARDS.items() for name in tensors}
        (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    opened = open_checkpoint(str(folder))
    assert opened.parameters == 51
    assert torch.equal(opened.read("head"), MATRIX + 1)
    assert opened.read("bias").dtype == torch.bfloat16


@pytest.mark.parametrize("indexed", [True, False])
def test_a_forgotten_shard(tmp_path: Path, indexed: bool) -> None:
    folder = checkpoint(tmp_path / "m", dict(list(SHARDS.items())[:1]))
    if indexed:
        places = {name: file for file, tensors in SHARDS.items() for name in tensors}
        (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    with pytest.raises(CheckpointError, match=r"lacks pytorch_model-00002-of-00002\.bin"):
        open_checkpoint(str(folder))


def test_the_digest_is_that_of_the_same_safetensors(tmp_path: Path) -> None:
    tensors = {"wte": MATRIX, "bias": torch.ones(3)}
    folder = checkpoint(tmp_path / "m", {"pytorch_model.bin": tensors})
    digest = open_checkpoint(str(folder)).digest
    (folder / "pytorch_model.bin").unlink()
    save_file(tensors, folder / "model.safetensors")
    assert open_checkpoint(str(folder)).digest == digest


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ({"model_type": "gpt_bigcode"}, ["wte"]),
        ({"model_type": "llama", "tie_word_embeddings": True}, ["wte"]),
        ({"model_type": "gpt_bigcode", "tie_word_embeddings": False}, ["lm_head.weight", "wte"]),
        ({"model_type": "llama"}, ["lm_head.weight", "wte"]),
    ],
)
def test_a_tied_head_is_listed_once_as_safetensors_would(tmp_path: Path, config: Any, kept: list[str]) -> None:
    folder = checkpoint(tmp_path / "m", {"pytorch_model.bin": {"lm_head.weight": MATRIX, "wte": MATRIX}})
    (folder / "config.json").write_text(json.dumps(config))
    opened = open_checkpoint(str(folder))
    assert sorted(opened.tensors) == kept
    assert opened.parameters == 24
    (folder / "pytorch_model.bin").unlink()
    saved(folder / "pytorch_model.bin", {"lm_head.weight": MATRIX.clone(), "wte": MATRIX})
    assert len(open_checkpoint(str(folder)).tensors) == 2


def test_a_real_model_is_read_as_transformers_reads_it(tiny_checkpoint: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source = tiny_checkpoint("gpt_bigcode")
    model = AutoModelForCausalLM.from_pretrained(source)
    folder = checkpoint(tmp_path / "m", {"pytorch_model.bin": model.state_dict()})
    (folder / "config.json").write_bytes((source / "config.json").read_bytes())
    opened, expected = open_checkpoint(str(folder)), open_checkpoint(str(source))
    assert "lm_head.weight" in torch.load(folder / "pytorch_model.bin", weights_only=True)
    assert opened.tensors.keys() == expected.tensors.keys()
    assert opened.parameters == expected.parameters == model.num_parameters()
    assert all(torch.equal(opened.read(name), model.state_dict()[name]) for name in opened.tensors)


def test_safetensors_are_preferred(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "m", {"pytorch_model.bin": {"old": MATRIX}})
    save_file({"new": MATRIX}, folder / "model.safetensors")
    assert list(open_checkpoint(str(folder)).tensors) == ["new"]


def test_what_training_leaves_behind_is_no_weight_file(tmp_path: Path) -> None:
    leftovers = ("training_args.bin", "optimizer.bin", "adapter_model.bin", "pytorch_model.fp32.bin")
    folder = checkpoint(
        tmp_path / "m", {name: {"x": MATRIX} for name in leftovers} | {"pytorch_model.bin": {"w": MATRIX}}
    )
    assert list(open_checkpoint(str(folder)).tensors) == ["w"]
