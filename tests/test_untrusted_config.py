"""Configs: what the libraries write passes, what would have them run code does not."""

import pytest

from workbench.errors import ArtifactError
from workbench.untrusted_config import check_config, check_generation_config, check_tokenizer_config


@pytest.mark.parametrize(
    "config",
    [
        {"auto_map": {"AutoModelForCausalLM": "evil.Model"}},
        {"auto_map": {"AutoConfig": "other/repository--evil.Config"}},
        {"text_config": {"layers": [{"auto_map": {"AutoModel": "evil.Model"}}]}},
        {"trust_remote_code": True},
        {"custom_pipelines": {"text-generation": {"impl": "evil.Pipeline"}}},
        {"custom_generate": "other/repository"},
        {"model_file": "evil.py"},
        {"_attn_implementation": "other/kernel"},
        {"attn_implementation": {"": "other/kernel@main"}},
        {"tokenizer_class": "evil.Tokenizer"},
        ["no settings"],
        None,
    ],
)
def test_a_config_that_asks_for_code_is_refused(config):
    for check in (check_config, check_tokenizer_config, check_generation_config):
        with pytest.raises(ArtifactError, match=r"^config\.json "):
            check(config, "config.json")


def test_what_libraries_write_passes():
    from transformers import GenerationConfig, GPTBigCodeConfig, LlamaConfig, MistralConfig

    for config in (GPTBigCodeConfig(), LlamaConfig(), MistralConfig()):
        check_config(config.to_dict(), "config.json")
    generation = GenerationConfig(max_new_tokens=300, num_beams=4, do_sample=False, stop_strings=["```", ";"])
    check_generation_config(generation.to_dict(), "generation_config.json")
    check_config({"trust_remote_code": False, "auto_map": None, "attn_implementation": "sdpa"}, "config.json")


@pytest.mark.parametrize(
    "change",
    [
        {"num_beams": 10**9},
        {"max_new_tokens": -1},
        {"max_new_tokens": "300"},
        {"max_length": 1 << 40},
        {"num_return_sequences": True},
        {"stop_strings": [""]},
        {"stop_strings": ["x" * 5000]},
        {"stop_strings": ["x"] * 1000},
        {"stop_strings": {"a": 1}},
        {"stop_strings": [5]},
    ],
)
def test_a_generation_config_that_makes_no_sense_is_refused(change):
    with pytest.raises(ArtifactError, match=next(iter(change))):
        check_generation_config(change, "generation_config.json")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        [{"name": "default", "template": "fine"}, {"name": "tool_use", "template": "{{ ''.__class__ }}"}],
        [{"name": "default"}],
        {"default": "x"},
        5,
    ],
)
def test_every_template_of_a_tokenizer_is_looked_at(template):
    with pytest.raises(ArtifactError, match=r"^tokenizer_config\.json"):
        check_tokenizer_config({"chat_template": template}, "tokenizer_config.json")


def test_a_tokenizer_without_and_with_good_templates_passes():
    check_tokenizer_config({"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": None}, "x")
    check_tokenizer_config({"chat_template": "{{ messages[0].content }}"}, "x")
    check_tokenizer_config({"chat_template": [{"name": "default", "template": "x"}]}, "x")
