"""Small random checkpoints in Hugging Face layout, made once per test run; a browser to look at pages with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, running_chromium

VOCABULARY = 512
TEXTS = ("SELECT name, count(*) FROM city WHERE size > 10 GROUP BY name;\n", "How many people live in Zürich?\n")


def _config(architecture: str) -> Any:
    from transformers import GPTBigCodeConfig, LlamaConfig, MistralConfig

    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    if architecture == "gpt_bigcode":
        return GPTBigCodeConfig(
            vocab_size=VOCABULARY, n_positions=1024, n_embd=256, n_layer=2, n_head=4, n_inner=512,
            activation_function="gelu_pytorch_tanh", initializer_range=0.04, **ids,
        )  # fmt: skip
    kind = {"llama": LlamaConfig, "mistral": MistralConfig}[architecture]
    return kind(
        vocab_size=VOCABULARY, max_position_embeddings=1024, hidden_size=256, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=512, initializer_range=0.04, **ids,
    )  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Digests that tests remember stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a random float16 model: two layers, 256 wide, 512 tokens; by architecture."""
    made: dict[str, Path] = {}

    def make(architecture: str) -> Path:
        if architecture not in made:
            import torch
            from transformers import AutoModelForCausalLM

            from workbench.nano.tokenizer import save_tokenizer, train_tokenizer
            from workbench.quiet import quiet_libraries

            folder = tmp_path_factory.mktemp("models") / f"tiny-{architecture}"
            torch.manual_seed(0)
            with quiet_libraries():
                AutoModelForCausalLM.from_config(_config(architecture)).half().save_pretrained(folder)
            save_tokenizer(train_tokenizer(TEXTS, VOCABULARY), folder)
            made[architecture] = folder
        return made[architecture]

    return make


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium (``tests/browser.py``).

    One a module and no longer: while playwright is open, the thread has a running event loop, in which code that wants
    one of its own (``asyncio.run``) fails.
    """
    pytest.importorskip("playwright", reason="playwright is missing; pip install playwright")
    if not CHROMIUM.is_file():
        pytest.skip(f"{CHROMIUM} is missing; apt-get install chromium")
    with running_chromium() as browser:
        yield browser
