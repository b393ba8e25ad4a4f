"""Configs of models that bring their own code become configs that plain transformers opens; nothing else changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.checkpoint import open_checkpoint
from workbench.errors import CheckpointError
from workbench.model_config import KNOWN_AS, context_length, normalized

# Keys as Deci/DeciCoder-1b's config.json has them; sizes of a tiny one.
DECICODER = {
    "architectures": ["DeciCoderForCausalLM"],
    "auto_map": {
        "AutoConfig": "configuration_decicoder.DeciCoderConfig",
        "AutoModelForCausalLM": "modeling_decicoder.DeciCoderForCausalLM",
    },
    "bos_token_id": 0,
    "eos_token_id": 0,
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 96,
    "max_position_embeddings": 2048,
    "model_type": "llama",
    "naive_attention_decode_batched": True,
    "naive_attention_decode_single": False,
    "naive_attention_prefill": False,
    "num_attention_heads": 8,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 128,
}


@pytest.mark.parametrize("model_type", ["llama", "decicoder"])
def test_decicoder_is_a_llama(model_type: str) -> None:
    config = normalized({**DECICODER, "model_type": model_type}, "x")
    assert config["model_type"] == "llama"
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert DECICODER.keys() - config.keys() == {"auto_map", *KNOWN_AS["DeciCoderForCausalLM"].own_keys}
    assert {key: config[key] for key in config.keys() - {"model_type", "architectures"}}.items() <= DECICODER.items()


def test_plain_transformers_opens_what_is_left(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    (tmp_path / "config.json").write_text(json.dumps(normalized(DECICODER, "x")))
    config = AutoConfig.from_pretrained(tmp_path, trust_remote_code=False)
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.model.layers[0].self_attn.k_proj.weight.shape == (16, 64)


def test_the_same_on_opening_a_folder(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path / "DeciCoder-1b"
    sizes = {key: value for key, value in DECICODER.items() if isinstance(value, int | float)}
    LlamaForCausalLM(LlamaConfig(**sizes)).half().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(DECICODER))
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.architecture == "llama"
    assert checkpoint.context_length == 2048
    assert checkpoint.prompt.name == "completion"
    assert "auto_map" not in checkpoint.config


@pytest.mark.parametrize(
    "extra",
    [
        {"head_dim": 12, "attention_bias": True, "mlp_bias": True},
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}, "rope_theta": 500000.0},
        {"sliding_window": 4096},
        {"sliding_window": None},
        {"a_key_nobody_knows": [1]},
    ],
)
def test_the_models_own_keys_survive(extra: dict[str, Any]) -> None:
    config = {"model_type": "mistral", "architectures": ["MistralForCausalLM"], **extra}
    assert normalized(config, "x") == config


def test_foreign_code_for_a_model_transformers_knows_is_dropped() -> None:
    config = {"model_type": "gpt_bigcode", "architectures": ["GPTBigCodeForCausalLM"]}
    assert normalized({**config, "auto_map": {"AutoModelForCausalLM": "x.GPTBigCodeForCausalLM"}}, "x") == config
    assert normalized({"model_type": "llama", "auto_map": {"AutoTokenizer": ["x.T", None]}}, "x") == {
        "model_type": "llama"
    }


def test_a_model_that_only_its_own_code_can_run() -> None:
    """DeciLM-6b calls itself llama too, but each of its layers has its own number of key/value heads."""
    code = {"AutoModelForCausalLM": "modeling_decilm.DeciLMForCausalLM"}
    with pytest.raises(CheckpointError, match="describes a DeciLMForCausalLM, which only the Python code"):
        normalized({"model_type": "llama", "architectures": ["DeciLMForCausalLM"], "auto_map": code}, "x")


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"n_positions": 8192}, 8192),
        ({"max_position_embeddings": 32768, "sliding_window": 4096}, 32768),
        ({"max_position_embeddings": 32768, "sliding_window": None}, 32768),
        ({"n_positions": None, "max_position_embeddings": 5}, 5),
    ],
)
def test_the_context_is_what_the_model_was_built_for(config: dict[str, Any], tokens: int) -> None:
    assert context_length(config, "x") == tokens


@pytest.mark.parametrize("config", [{}, {"n_positions": None}, {"n_positions": "8"}, {"max_position_embeddings": 0}])
def test_a_config_without_a_context(config: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="names no context length"):
        context_length(config, "x")
