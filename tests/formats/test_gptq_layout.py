"""The layout that a package gets, the kernel that its recipe promises, and what is refused before any work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from workbench import catalog
from workbench.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from workbench.errors import CheckpointError
from workbench.formats._gptq_layout import group_facts, group_size, quantization_config
from workbench.formats.base import ConversionContext
from workbench.formats.gptq import FORMAT, GptqOptions
from workbench.plan import make_plan
from workbench.tensors import TensorInfo

MARLIN = GptqOptions(kernel="marlin")
_LLAMA = {"model_type": "llama", "vocab_size": 32016, "max_position_embeddings": 4096}
FAMILY = {
    "sqlcoder": {"model_type": "gpt_bigcode", "n_layer": 40, "n_embd": 6144, "n_head": 48, "n_inner": 24576},
    "sqlcoder-7b": {**_LLAMA, "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "kv": 8},
    "sqlcoder-7b-2": {**_LLAMA, "hidden_size": 4096, "intermediate_size": 11008, "kv": 32},
    "sqlcoder-34b-alpha": {**_LLAMA, "hidden_size": 8192, "intermediate_size": 22016, "heads": 64, "kv": 8},
    "sqlcoder-70b-alpha": {**_LLAMA, "hidden_size": 8192, "intermediate_size": 28672, "heads": 64, "kv": 8},
    "llama-3-sqlcoder-8b": {**_LLAMA, "hidden_size": 4096, "intermediate_size": 14336, "kv": 8},
    "DeciCoder-1b": {**_LLAMA, "hidden_size": 2048, "intermediate_size": 5888, "kv": 4},
}
SMOLLM2 = {**_LLAMA, "hidden_size": 576, "intermediate_size": 1536, "heads": 9, "kv": 3, "num_hidden_layers": 2}


def described(folder: Path, config: dict[str, Any]) -> Checkpoint:
    """A checkpoint of which only the config is there."""
    if config["model_type"] == "gpt_bigcode":
        config = {**config, "vocab_size": 49152, "n_positions": 8192, "multi_query": True}
    else:
        heads, kv = config.get("heads", 32), config["kv"]
        config = {"num_hidden_layers": 2, "num_attention_heads": heads, "num_key_value_heads": kv, **config}
    (folder / "config.json").write_text(json.dumps(config))
    return peek_checkpoint(str(folder))


def of_sizes(outputs: int, inputs: int) -> Checkpoint:
    """One block with square layers but for the last."""
    tensors = {}
    for layer in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
                  "mlp.up_proj", "mlp.down_proj"):  # fmt: skip
        name = f"model.layers.0.{layer}.weight"
        shape = (outputs, inputs) if layer == "mlp.down_proj" else (128, 128)
        tensors[name] = TensorInfo(name, "F16", shape, Path("nowhere"))
    config = {"model_type": "llama", "num_hidden_layers": 1}
    return Checkpoint("odd", Path("nowhere"), None, config, tensors)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("recipe", ["gptq-4bit", "gptq-8bit"])
def test_the_family_keeps_the_promise(name: str, recipe: str, tmp_path: Path) -> None:
    options = GptqOptions.model_validate(catalog.get_recipe(recipe).options)
    assert options.kernel == "marlin"
    assert group_size(described(tmp_path, FAMILY[name]), options) == 128


def test_the_bundled_model_keeps_the_promise() -> None:
    assert group_size(open_checkpoint("sqlcoder-nano"), MARLIN) == 128


@given(
    st.integers(1, 40).map(lambda n: 32 * n),
    st.integers(1, 40).map(lambda n: 32 * n),
    st.sampled_from([2, 3, 4, 8]),
    st.booleans(),
    st.sampled_from([-1, 32, 64, 128]),
    st.booleans(),
    st.sampled_from(["full", "narrow"]),
)
def test_refused_is_what_marlin_refuses(outputs, inputs, bits, symmetric, group, desc_act, last_group):
    """Beside vLLM's own conditions (marlin_utils.py): types, min_thread_n 64, min_thread_k 128, whole groups."""
    options = GptqOptions(
        bits=bits, group_size=group, symmetric=symmetric, desc_act=desc_act, last_group=last_group, kernel="marlin"
    )
    chosen = group_size(of_sizes(outputs, inputs), options.model_copy(update={"kernel": "none"}))
    taken = (
        (bits, symmetric) in {(4, True), (8, True)}
        and outputs % 64 == 0
        and inputs % 128 == 0
        and (chosen == -1 or inputs % chosen == 0)
    )
    if taken:
        assert group_size(of_sizes(outputs, inputs), options) == chosen
        return
    with pytest.raises(CheckpointError, match=r"promises the marlin kernel, which (takes|wants)") as refusal:
        group_size(of_sizes(outputs, inputs), options)
    assert "gptq-4bit-any" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_plan_shows_the_reason(tmp_path: Path) -> None:
    checkpoint = described(tmp_path, SMOLLM2)
    plan = make_plan(checkpoint, catalog.get_profile("rtx4090"), catalog.get_recipes(["gptq-4bit", "gptq-4bit-any"]))
    refused, other = plan.rows
    assert (refused.verdict, refused.build) == ("unsuitable", False)
    assert "wants inputs in multiples of 128 and outputs of 64; a layer has 576 and 192" in refused.reason
    assert "gptq-4bit-any" in refused.reason
    assert other.fits


def test_a_conversion_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    from llamas import make_llama

    source = make_llama(tmp_path / "odd", hidden_size=192, num_attention_heads=3, num_key_value_heads=1)
    before = sorted(tmp_path.rglob("*"))
    command = ["convert", "--model", str(source), "--recipe", "gptq-4bit", "--out", str(tmp_path / "package")]
    done = subprocess.run([sys.executable, "-m", "workbench", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "promises the marlin kernel" in done.stderr and "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("wanted", "inputs", "last_group", "expected", "said"),
    [
        (128, 576, "full", 64, "groups of 128 do not divide 576 inputs; 64 divides those of every layer"),
        (128, 96, "full", 32, "groups of 128 do not divide 96 inputs; 32 divides those of every layer"),
        (64, 96, "narrow", 64, "the last group of a layer with 96 inputs is narrower; vLLM does not"),
        (128, 256, "narrow", 128, None),
        (-1, 96, "full", -1, None),
    ],
)
def test_inputs_that_the_group_does_not_divide(wanted, inputs, last_group, expected, said):
    facts = group_facts(of_sizes(128, inputs), GptqOptions(group_size=wanted, last_group=last_group))
    assert (facts["group_size"], facts["group_size_wanted"]) == (expected, wanted)
    assert facts.get("group_size_note", "").startswith(said or "") and ("group_size_note" in facts) == bool(said)


def test_sizes_that_fill_words_but_hold_no_whole_group() -> None:
    """8 codes of 4 bits fill a word, so inputs may be 200, but groups of 32 leave 8 over."""
    with pytest.raises(
        CheckpointError, match=r"no group of 32 or more divides a layer's 200 inputs.*last_group: narrow"
    ):
        group_size(of_sizes(72, 200), GptqOptions())
    assert group_size(of_sizes(72, 200), GptqOptions(last_group="narrow")) == 128
    assert group_size(of_sizes(72, 200), GptqOptions(group_size=-1)) == -1
    for bits, multiple in {3: 32, 2: 16}.items():
        with pytest.raises(
            CheckpointError, match=rf"72 x 200 cannot be packed as {bits}-bit .* multiples of {multiple}"
        ):
            group_size(of_sizes(72, 200), GptqOptions(bits=bits, last_group="narrow"))


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({}, {"desc_act": False, "checkpoint_format": "gptq", "format": "gptq", "damp_percent": 0.01}),
        ({"static_groups": False}, {"desc_act": True, "static_groups": False}),
        ({"static_groups": True}, {"desc_act": False, "static_groups": True}),
        ({"symmetric": False}, {"checkpoint_format": "gptq_v2", "format": "gptq_v2", "sym": False}),
        ({"symmetric": False, "checkpoint_format": "gptq"}, {"checkpoint_format": "gptq"}),
    ],
    ids=str,
)
def test_what_readers_are_told(changes: dict[str, Any], seen: dict[str, Any]) -> None:
    config = quantization_config(GptqOptions(**changes), 128)
    assert {key: config[key] for key in seen} == seen


def test_a_row_in_one_group_has_no_order() -> None:
    assert not quantization_config(GptqOptions(static_groups=False), -1)["desc_act"]


@pytest.mark.parametrize("damp", [0.0, 1.0])
def test_damping_that_readers_would_refuse_is_not_told(damp: float) -> None:
    """transformers and gptqmodel raise unless 0 < damp_percent < 1, though loading does not need it."""
    assert "damp_percent" not in quantization_config(GptqOptions(damp=damp), 128)


@pytest.mark.parametrize(
    ("hidden", "inner", "last_group", "groups"), [(96, 224, "full", 3), (96, 224, "narrow", 2), (72, 200, "narrow", 2)]
)
def test_an_odd_model_is_written_as_predicted(
    hidden: int, inner: int, last_group: str, groups: int, tmp_path: Path
) -> None:
    """Inputs that the group does not divide, tied heads, biases."""
    from llamas import make_llama

    source = make_llama(
        tmp_path / "odd", hidden_size=hidden, num_attention_heads=3, num_key_value_heads=1, intermediate_size=inner,
        tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
    )  # fmt: skip
    checkpoint = open_checkpoint(str(source))
    options = GptqOptions(group_size=64, last_group=last_group, static_groups=False)
    out = tmp_path / "out"
    out.mkdir()
    details = FORMAT.convert(checkpoint, options, out, ConversionContext(("SELECT 1;", "SELECT name FROM city;") * 4))
    assert FORMAT.predicted_bytes(checkpoint, options) == (out / "model.safetensors").stat().st_size
    with safe_open(out / "model.safetensors", framework="np") as file:
        assert file.get_slice("model.layers.0.self_attn.q_proj.scales").get_shape()[0] == groups
        names = set(file.keys())
        orders = [file.get_tensor(f"model.layers.1.self_attn.{part}_proj.g_idx") for part in "qkv"]
    assert ('backend="torch"' in details["loading"]) == (last_group == "narrow")
    assert "group" in FORMAT.remarks(details)[0]
    # Servers join these layers into one and go by the first one's order.
    assert all((order == orders[0]).all() for order in orders) and (orders[0] != sorted(orders[0])).any()
    assert "lm_head.weight" not in names
    assert {f"model.layers.1.{layer}.bias" for layer in ("self_attn.q_proj", "mlp.down_proj")} <= names


def test_what_was_handled_is_told_by_kind_with_its_layers() -> None:
    dead, few = "{} of 256 inputs were always zero: their weights are rounded", "12 calibration tokens are fewer"
    notes = {f"h.{place}": [dead.format(place + 1)] for place in range(5)} | {"h.5": [few]}
    assert FORMAT.remarks({"notes": notes}) == [
        "5 layers: 1 of 256 inputs were always zero: their weights are rounded (numbers of the first); "
        "h.0, h.1, h.2 and 2 more; all in the manifest",
        "h.5: 12 calibration tokens are fewer",
    ]
    assert FORMAT.remarks({"notes": {}}) == []
