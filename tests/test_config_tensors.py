"""A config alone: the tensors it describes are those of transformers' own model; a senseless one is one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from workbench.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from workbench.cli import cli
from workbench.config_tensors import LAYOUTS, config_tensors
from workbench.errors import CheckpointError, WorkbenchError
from workbench.model_config import read_config

_BIGCODE = {
    "model_type": "gpt_bigcode", "n_layer": 40, "n_embd": 6144, "n_head": 48, "n_inner": 24576, "vocab_size": 49152,
    "n_positions": 8192, "multi_query": True,
}  # fmt: skip
_LLAMA_KEYS = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size",
    "vocab_size", "max_position_embeddings",
)  # fmt: skip


def llama(*sizes: int, **changes: Any) -> dict[str, Any]:
    return {"model_type": "llama", **dict(zip(_LLAMA_KEYS, sizes, strict=True)), **changes}


# The family, by the config.json of each repository, and numbers of parameters as their model cards or papers give them.
FAMILY = {
    "sqlcoder": (_BIGCODE, 15_517_456_384),
    "sqlcoder-7b": (llama(32, 4096, 32, 8, 14336, 32000, 32768, model_type="mistral"), 7_241_732_096),
    "sqlcoder-7b-2": (llama(32, 4096, 32, 32, 11008, 32016, 16384), 6_738_546_688),
    "sqlcoder-34b-alpha": (llama(48, 8192, 64, 8, 22016, 32000, 16384), 33_743_970_304),
    "sqlcoder-70b-alpha": (llama(80, 8192, 64, 8, 28672, 32016, 4096), 68_976_910_336),
    "llama-3-sqlcoder-8b": (llama(32, 4096, 32, 8, 14336, 128256, 8192), 8_030_261_248),
    "DeciCoder-1b": (llama(20, 2048, 32, 4, 5888, 49152, 2048), 1_113_671_680),
}
SMALL_BIGCODE = {
    **_BIGCODE,
    "n_layer": 2,
    "n_embd": 48,
    "n_head": 4,
    "n_inner": 100,
    "vocab_size": 77,
    "n_positions": 9,
}
SMALL_LLAMA = llama(2, 48, 4, 2, 100, 77, 9)


def by_transformers(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what ``save_pretrained`` would write, in its order, from a model without storage."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    tied = model.config.tie_word_embeddings
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return {name: shape for name, shape in state.items() if not (tied and name == "lm_head.weight")}


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: info.shape for name, info in config_tensors(config, Path("x")).items()}


def write(folder: Path, config: Any) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("name", FAMILY)
def test_the_family_has_the_tensors_that_transformers_makes(name: str, tmp_path: Path) -> None:
    config, parameters = FAMILY[name]
    assert list(shapes(config).items()) == list(by_transformers(config).items())
    assert peek_checkpoint(write(tmp_path, config)).parameters == parameters


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_inner": None},
        {"multi_query": False},
        {"tie_word_embeddings": False},
        {"n_layer": 1, "n_head": 1},
        {"n_embd": 7, "n_head": 7, "n_inner": 3},
    ],
)
def test_odd_starcoders(changes: dict[str, Any]) -> None:
    config = {**SMALL_BIGCODE, **changes}
    assert list(shapes(config).items()) == list(by_transformers(config).items())


@pytest.mark.parametrize("model_type", ["llama", "mistral"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        {"head_dim": 32},
        {"head_dim": None},
        {"num_key_value_heads": 1},
        {"num_attention_heads": 3, "num_key_value_heads": 3, "intermediate_size": 1, "vocab_size": 1},
    ],
)
def test_odd_llamas(changes: dict[str, Any], model_type: str) -> None:
    config = {**SMALL_LLAMA, "model_type": model_type, **changes}
    assert list(shapes(config).items()) == list(by_transformers(config).items())


def test_as_many_key_heads_as_query_heads() -> None:
    config = {**SMALL_LLAMA, "num_key_value_heads": None}
    assert shapes(config) == by_transformers(config)


@given(
    layers=st.integers(1, 3), heads=st.sampled_from([1, 2, 6]), groups=st.integers(1, 3),
    width=st.sampled_from([2, 4, 6, 10]),
    inner=st.integers(1, 50), tied=st.booleans(), bias=st.booleans(), head=st.sampled_from([None, 2, 6, 14]),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_any_llama(
    layers: int, heads: int, groups: int, width: int, inner: int, tied: bool, bias: bool, head: int | None
) -> None:
    config = llama(
        layers, width * heads * groups, heads * groups, heads, inner, 50, 8,
        tie_word_embeddings=tied, attention_bias=bias, head_dim=head,
    )  # fmt: skip
    assert shapes(config) == by_transformers(config)


def test_decicoder_is_described_by_its_own_config(tmp_path: Path) -> None:
    from test_model_config import DECICODER

    checkpoint = peek_checkpoint(write(tmp_path, DECICODER))
    assert {name: info.shape for name, info in checkpoint.tensors.items()} == by_transformers(checkpoint.config)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "F32"),
        ({"torch_dtype": None}, "F32"),
        ({"torch_dtype": "bfloat16"}, "BF16"),
        ({"dtype": "float16"}, "F16"),
        ({"dtype": "float16", "torch_dtype": "float32"}, "F16"),
        ({"torch_dtype": "torch.float64"}, "F64"),
    ],
)
def test_the_type_is_the_configs(changes: dict[str, Any], kind: str) -> None:
    assert {info.dtype for info in config_tensors({**SMALL_LLAMA, **changes}, Path("x")).values()} == {kind}


def described(checkpoint: Checkpoint) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (info.dtype, info.shape) for name, info in checkpoint.tensors.items()}


@pytest.mark.parametrize("architecture", sorted(LAYOUTS))
def test_a_real_checkpoint_holds_what_its_config_says(architecture: str, tiny_checkpoint: Any, tmp_path: Path) -> None:
    folder = tiny_checkpoint(architecture)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    from_config, real = peek_checkpoint(str(tmp_path)), peek_checkpoint(str(folder))
    assert from_config.from_config
    assert not real.from_config
    assert described(from_config) == described(real)
    assert from_config.parameters == real.parameters


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
INDEX = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})


@pytest.mark.parametrize(
    "beside",
    [
        {},
        {"model.safetensors.index.json": INDEX},
        {"pytorch_model.bin.index.json": INDEX.replace("model-", "pytorch_model-").replace("safetensors", "bin")},
        {"model.safetensors": POINTER},
        {"model.gguf": "GGUF", "optimizer.pt": "no weights", "training_args.safetensors": "no weights"},
    ],
)
def test_only_a_plan_makes_do_without_weights(beside: dict[str, str], tmp_path: Path) -> None:
    folder = write(tmp_path, SMALL_LLAMA)
    for name, text in beside.items():
        (tmp_path / name).write_text(text)
    checkpoint = peek_checkpoint(folder)
    assert checkpoint.from_config
    with pytest.raises(CheckpointError, match="holds no weights"):
        _ = checkpoint.digest
    with pytest.raises(CheckpointError, match=r"holds no \*\.safetensors|lacks|git lfs pull"):
        open_checkpoint(folder)


def test_half_a_download_is_told(tmp_path: Path, tiny_checkpoint: Any) -> None:
    whole = tiny_checkpoint("llama")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name.replace("model.s", "model-00001-of-00002.s")).write_bytes((whole / name).read_bytes())
    with pytest.raises(CheckpointError, match=r"lacks model-00002-of-00002\.safetensors"):
        peek_checkpoint(str(tmp_path))


@pytest.mark.parametrize(
    "command",
    [
        ["plan", "--profile", "rtx4090", "--recipe", "fp16", "--json"],
        ["build", "--profile", "cpu", "--recipe", "fp16", "--out"],
        ["convert", "--recipe", "fp16", "--out"],
    ],
)
def test_the_commands(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = write(tmp_path / "model", {**SMALL_BIGCODE, "n_embd": 64})
    plans = command[0] == "plan"
    done = CliRunner().invoke(cli, [*command, *([] if plans else [str(tmp_path / "out")]), "--model", model])
    if plans:
        assert done.exit_code == 0
        assert json.loads(done.stdout)["recipes"][0]["predicted"]["weight_bytes"] > 0
    else:
        assert isinstance(done.exception, CheckpointError)
        assert "holds no *.safetensors file" in str(done.exception)
        assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "config.json"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({**SMALL_LLAMA, "model_type": "mamba"}, "mamba, is not known here"),
        ({"model_type": "starcoder"}, "starcoder, is not known here"),
        ({"model_type": "gpt_bigcode"}, "num_attention_heads"),
        ({key: value for key, value in SMALL_LLAMA.items() if key != "vocab_size"}, "vocab_size"),
        ({**SMALL_LLAMA, "torch_dtype": "int8"}, "names the type 'int8'"),
        ({**SMALL_LLAMA, "quantization_config": {"bits": 4}}, "quantized already"),
        ({**SMALL_BIGCODE, "multi_query": False, "add_cross_attention": True}, "add_cross_attention"),
        ({**SMALL_LLAMA, "hidden_act": ["silu"]}, "hidden_act"),
        ({**SMALL_LLAMA, "rms_norm_eps": "1e-5"}, "rms_norm_eps"),
        ({**SMALL_LLAMA, "rope_scaling": "linear"}, "rope_scaling"),
        ({**SMALL_LLAMA, "rope_scaling": {"type": "linear", "factor": "2"}}, "under rope_scaling, factor '2'"),
        ({**SMALL_LLAMA, "rope_parameters": {"rope_type": "linear"}}, "names no factor under rope_parameters"),
        ({**SMALL_LLAMA, "tie_word_embeddings": "no"}, "tie_word_embeddings"),
        ({**SMALL_LLAMA, "num_hidden_layers": 10**12}, "num_hidden_layers"),
    ],
)
def test_a_senseless_config_is_one_sentence(config: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=reason) as told:
        peek_checkpoint(write(tmp_path, config))
    assert "\n" not in str(told.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
KEYS = sorted(
    {*SMALL_BIGCODE, *SMALL_LLAMA, "head_dim", "torch_dtype", "dtype", "tie_word_embeddings", "rope_scaling",
     "rope_parameters", "rope_theta", "rms_norm_eps", "layer_norm_epsilon", "attention_bias", "mlp_bias", "hidden_act",
     "activation_function", "sliding_window", "architectures", "auto_map", "quantization_config", "scale_attn_weights",
     "add_cross_attention", "original_max_position_embeddings"}
)  # fmt: skip
ROPES = JSON | st.fixed_dictionaries(
    {"rope_type": st.sampled_from(["linear", "llama3", "yarn", "default"])}, optional={"factor": st.just(2.0)}
)


@given(
    base=st.sampled_from([SMALL_BIGCODE, SMALL_LLAMA]), rope=ROPES,
    changes=st.dictionaries(st.sampled_from(KEYS), JSON | st.sampled_from([0, -1, 1 << 24, 2**31, 1e300]), max_size=3),
)  # fmt: skip
@example(base=SMALL_BIGCODE, rope=None, changes={"num_key_value_heads": ":", "head_dim": []})
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_config_is_a_plan_or_a_sentence(
    base: dict[str, Any], rope: Any, changes: dict[str, Any], tmp_path: Path
) -> None:
    from workbench import catalog

    folder = write(tmp_path, {**base, "rope_scaling": rope, **changes})
    try:
        checkpoint = peek_checkpoint(folder)
    except WorkbenchError:
        return
    for recipe in map(catalog.get_recipe, catalog.recipe_names()):
        chosen = catalog.get_format(recipe.format)
        try:
            assert chosen.predicted_bytes(checkpoint, chosen.options_model.model_validate(recipe.options)) > 0
        except WorkbenchError as error:
            assert "\n" not in str(error)


def test_reading_a_config_costs_no_weights(tmp_path: Path) -> None:
    assert read_config(Path(write(tmp_path, SMALL_LLAMA)) / "config.json") == SMALL_LLAMA
