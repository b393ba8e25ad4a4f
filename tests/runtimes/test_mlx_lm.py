"""The mlx-lm engine: logits and answers against transformers, and the promises of a session."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workbench.artifact import Artifact, Manifest
from workbench.checkpoint import open_checkpoint
from workbench.errors import ArtifactError, PrerequisiteError, WorkbenchError
from workbench.formats.base import ConversionContext
from workbench.formats.mlx import FORMAT, MlxOptions
from workbench.kernels.mlx_affine import dequantize
from workbench.nano import DATA_DIR, MODEL_DIR
from workbench.questions import load_question_set
from workbench.runtimes.base import Decoding, LoadOptions
from workbench.runtimes.mlx_lm import RUNTIME

pytest.importorskip("mlx.core", reason="MLX is not installed: pip install 'mlx[cpu]'")
pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: pip install mlx-lm")

ARCHITECTURES = ("gpt_bigcode", "llama", "mistral")
SCHEMA = "CREATE TABLE city (name text, size integer);\n" * 6
# One token, one block with its last token, more than two blocks, and two with a common beginning.
PROMPTS = ["S", "a" * 65, SCHEMA[:150] + "how many?", SCHEMA[:150] + "which one is the largest?"]
FLOAT32 = 2e-4  # both sides compute in float32, in another order; logits reach about 10


def artifact(source: Path, out: Path, architecture: str = "gpt_bigcode", **options: Any) -> Artifact:
    out.mkdir(exist_ok=True)
    FORMAT.convert(open_checkpoint(str(source)), MlxOptions(**options), out, ConversionContext())
    return Artifact(out, Manifest("mlx", "tiny", architecture, "nano", "mlx", {}, {}, (), 1, 1, 8.0, {}, "key"))


def load(made: Artifact, **options: Any) -> Any:
    return RUNTIME.load(made, LoadOptions(**{"context": 256, **options}))


def reference(source: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()


def reference_logits(model: Any, session: Any, prompts: list[str]) -> list[np.ndarray]:
    with torch.no_grad():
        return [model(input_ids=torch.tensor([session.tokenize(text)])).logits[0, -1].numpy() for text in prompts]


def farthest(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))


def put_back(model: Any, package: Path, bits: int) -> None:
    """Give a transformers model the weights that a package stands for."""
    import mlx.core as mx

    stored = mx.load(str(package / "model.safetensors"))
    with torch.no_grad():
        for name in [name.removesuffix(".scales") for name in stored if name.endswith(".scales")]:
            parts = [stored[f"{name}.{part}"] for part in ("scales", "biases")]
            packed = np.array(stored[f"{name}.weight"]).view(np.uint8)
            weight = dequantize(packed, *(np.array(part.astype(mx.float32)) for part in parts), bits)
            model.get_parameter(f"{name}.weight").copy_(torch.from_numpy(weight))


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return artifact(MODEL_DIR, tmp_path_factory.mktemp("nano"), bits=8)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return artifact(tiny_checkpoint("gpt_bigcode"), tmp_path_factory.mktemp("tiny"), bits=16)


@pytest.fixture
def session(tiny: Artifact) -> Iterator[Any]:
    with load(tiny) as opened:
        yield opened


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("bits", [16, 8, 4])
def test_logits_are_those_of_transformers_on_the_same_weights(architecture, bits, tiny_checkpoint, tmp_path):
    source = tiny_checkpoint(architecture)
    made, model = artifact(source, tmp_path / "out", architecture, bits=bits), reference(source)
    with load(made) as opened:
        plain = reference_logits(model, opened, PROMPTS)
        put_back(model, made.path, bits)
        logits = opened.logits(PROMPTS)
        assert farthest(logits, reference_logits(model, opened, PROMPTS)) < FLOAT32
        # And what quantizing costs, on random weights that spread an error more than trained ones do.
        error = np.linalg.norm(np.stack(logits) - np.stack(plain)) / np.linalg.norm(np.stack(plain))
        assert error < {16: 1e-5, 8: 0.03, 4: 0.5}[bits]
    assert all(row.dtype == np.float32 and row.shape == (512,) for row in logits)


def changed(source: Path, out: Path, **settings: Any) -> Path:
    """A checkpoint with other settings in its config; ``None`` takes a key away."""
    shutil.copytree(source, out)
    config = json.loads((out / "config.json").read_text()) | settings
    (out / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return out


LLAMA3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "default", "rope_theta": 1e6},
        {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
        {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3},
    ],
    ids=lambda rope: rope["rope_type"],
)
@pytest.mark.parametrize("new_style", [True, False])
def test_positions_turn_as_in_transformers(rope, new_style, tiny_checkpoint, tmp_path):
    settings: dict[str, Any] = {"rope_parameters": rope}
    if not new_style:
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        settings = {"rope_parameters": None, "rope_theta": rope["rope_theta"], "rope_scaling": scaling}
    source = changed(tiny_checkpoint("llama"), tmp_path / "source", **settings)
    with load(artifact(source, tmp_path / "out", "llama", bits=16)) as opened:
        expected = reference_logits(reference(source), opened, PROMPTS)
        unturned = reference_logits(reference(tiny_checkpoint("llama")), opened, PROMPTS)
        assert farthest(expected, unturned) > 0.1  # the setting matters
        assert farthest(opened.logits(PROMPTS), expected) < FLOAT32


def test_wide_heads_tied_heads_and_biases(tmp_path):
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=512, max_position_embeddings=256, hidden_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=192, head_dim=64, attention_bias=True, mlp_bias=True,
        tie_word_embeddings=True, initializer_range=0.08,
    )  # fmt: skip
    torch.manual_seed(0)
    source = tmp_path / "source"
    model = AutoModelForCausalLM.from_config(config).half()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.5)
    model.save_pretrained(source)
    for file in MODEL_DIR.glob("*token*"):
        shutil.copyfile(file, source / file.name)
    with load(artifact(source, tmp_path / "out", "llama", bits=16)) as opened:
        prompts = [text for text in PROMPTS if max(opened.tokenize(text)) < 512]
        assert prompts
        assert farthest(opened.logits(prompts), reference_logits(reference(source), opened, prompts)) < FLOAT32


def test_the_activation_is_mended_here_and_exact_in_plain_mlx_lm(nano):
    """The fault of mlx-lm's gpt_bigcode, that the package opens all the same, and the two ways around it."""
    import mlx.core as mx
    import mlx_lm

    def plain(**options: Any) -> list[np.ndarray]:
        model, _ = mlx_lm.load(str(nano.path), **options)
        model.set_dtype(mx.float32)
        return [np.array(model(mx.array([opened.tokenize(text)]))[0, -1]) for text in prompts]

    prompts = questions()[:1]
    model = reference(MODEL_DIR)
    put_back(model, nano.path, 8)
    with load(nano, context=1024) as opened:
        expected = reference_logits(model, opened, prompts)
        assert farthest(opened.logits(prompts), expected) < 5e-5
        assert farthest(plain(), expected) > 5e-4
        shipped = plain(model_config={"model_file": "mlx_gpt_bigcode.py"}, trust_remote_code=True)
        assert farthest(shipped, expected) < 5e-5


def test_a_model_trained_with_exact_gelu_keeps_it(tiny_checkpoint, tmp_path):
    source = changed(tiny_checkpoint("gpt_bigcode"), tmp_path / "source", activation_function="gelu")
    with load(artifact(source, tmp_path / "out", bits=16)) as opened:
        assert farthest(opened.logits(PROMPTS), reference_logits(reference(source), opened, PROMPTS)) < FLOAT32


def test_a_missing_width_is_four_times_the_embedding(tmp_path):
    from transformers import AutoModelForCausalLM, GPTBigCodeConfig

    source = tmp_path / "source"
    config = GPTBigCodeConfig(vocab_size=512, n_positions=256, n_embd=128, n_layer=1, n_head=2, initializer_range=0.08)
    AutoModelForCausalLM.from_config(config).half().save_pretrained(source)
    assert json.loads((source / "config.json").read_text())["n_inner"] is None
    for file in MODEL_DIR.glob("*token*"):
        shutil.copyfile(file, source / file.name)
    with load(artifact(source, tmp_path / "out", bits=8)) as opened:
        assert opened.logits(["S"])[0].shape == (512,)


def questions() -> list[str]:
    prompt, asked = open_checkpoint("sqlcoder-nano").prompt, load_question_set(DATA_DIR / "heldout.csv").thinned(2)
    return [prompt.render(asked.schema(question.db_name), question.question) for question in asked.questions]


def test_the_bundled_model_answers_as_in_transformers(nano):
    model = reference(MODEL_DIR)
    put_back(model, nano.path, 8)
    with load(nano, context=1024) as opened:
        answers = opened.generate(questions(), Decoding(("```",), 64))
        for text, answer in zip(questions(), answers, strict=True):
            ids = torch.tensor([opened.tokenize(text)])
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False, pad_token_id=0
            )
            expected = opened.detokenize(out[0, ids.shape[1] :].tolist()).split("```")[0].replace("<|endoftext|>", "")
            assert answer.text == expected
            assert answer.finished
            assert answer.prompt_tokens == ids.shape[1]
            assert answer.text.lstrip().startswith("SELECT")


def test_answers_do_not_depend_on_company_or_order(session):
    alone = [session.generate([prompt], Decoding(max_new_tokens=24))[0] for prompt in PROMPTS]
    seen: list[tuple[int, int]] = []
    together = session.generate(
        [*PROMPTS, PROMPTS[2]], Decoding(max_new_tokens=24), lambda done, total: seen.append((done, total))
    )
    assert together == [*alone, alone[2]]
    assert session.generate(PROMPTS[::-1], Decoding(max_new_tokens=24)) == alone[::-1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (5, 5)
    logits = session.logits(PROMPTS)
    for prompt, row in zip(PROMPTS[::-1], logits[::-1], strict=True):
        np.testing.assert_array_equal(session.logits([prompt])[0], row)


def test_an_answer_ends_at_a_stop_and_at_the_end_of_text(session, monkeypatch):
    free = session.generate([PROMPTS[2]], Decoding(max_new_tokens=24))[0]
    assert (free.new_tokens, free.finished) == (24, False)
    stop = free.text[len(free.text) // 2 :][:2]
    cut = session.generate([PROMPTS[2]], Decoding(("", stop), 24))[0]
    assert cut.finished
    assert cut.text == free.text[: free.text.find(stop)]
    assert cut.new_tokens < 24
    monkeypatch.setitem(session._config, "eos_token_id", session.tokenize(free.text)[4:6])
    assert session.generate([PROMPTS[2]], Decoding(max_new_tokens=24))[0].finished


def test_the_context_ends_an_answer_and_refuses_a_prompt(tiny):
    with load(tiny, context=64) as opened:
        room = 64 - opened.count_tokens("abc " * 8)
        answers = opened.generate(["abc " * 8, "abc"], Decoding(max_new_tokens=64))
        assert [answer.new_tokens for answer in answers] == [room, 64 - opened.count_tokens("abc")]
        assert not answers[0].finished
        with pytest.raises(WorkbenchError, match="do not fit the context of 64 tokens"):
            opened.generate(["abc " * 80], Decoding(max_new_tokens=8))
        with pytest.raises(WorkbenchError, match="do not fit"):
            opened.time_one("abc", 64)


def test_a_sliding_window_limits_the_context(tiny_checkpoint, tmp_path):
    source = changed(tiny_checkpoint("mistral"), tmp_path / "source", sliding_window=32)
    with load(artifact(source, tmp_path / "out", "mistral"), context=999) as opened:
        assert opened.generate(["a"], Decoding(max_new_tokens=100))[0].new_tokens == 31


def test_timing_ignores_the_end_of_text_and_keeps_nothing(session, monkeypatch):
    before = session.generate(PROMPTS, Decoding(max_new_tokens=8))
    monkeypatch.setitem(session._config, "eos_token_id", list(range(512)))
    timing = session.time_one(PROMPTS[3], 9)
    assert (timing.prompt_tokens, timing.new_tokens) == (session.count_tokens(PROMPTS[3]), 9)
    assert 0 < timing.ttft_s < timing.total_s
    monkeypatch.undo()
    assert session.generate(PROMPTS, Decoding(max_new_tokens=8)) == before


def test_tokens_and_notes(session):
    text = "SELECT 'Zürich' <|endoftext|>"
    assert session.detokenize(session.tokenize(text)) == text
    assert session.count_tokens(text) == len(session.tokenize(text))
    assert not session.representative
    assert "not those of a Mac" in session.notes[0]
    assert session.device_peak_bytes() is None


def test_what_cannot_be_loaded_is_said(tiny, tmp_path):
    if sys.platform != "darwin":
        with pytest.raises(PrerequisiteError, match="no Metal device"):
            load(tiny, device="mps")
    with pytest.raises(ArtifactError, match="build it again"):
        load(Artifact(tmp_path, tiny.manifest))
    stranger = Manifest("x", "tiny", "gpt_bigcode", "nano", "gguf", {}, {}, (), 1, 1, 8.0, {}, "key")
    with pytest.raises(WorkbenchError, match="cannot run format gguf"):
        load(Artifact(tiny.path, stranger))
    damaged = Artifact(changed(tiny.path, tmp_path / "damaged"), tiny.manifest)
    weights = damaged.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ArtifactError, match="cannot load"):
        load(damaged)
    other = Artifact(changed(tiny.path, tmp_path / "other", model_type="mamba"), tiny.manifest)
    with pytest.raises(ArtifactError, match="holds a mamba model"):
        load(other)


def test_no_code_of_a_package_is_run(tiny, session, tmp_path):
    named = changed(tiny.path, tmp_path / "named", model_file="mlx_gpt_bigcode.py")
    with load(Artifact(named, tiny.manifest)) as opened:
        np.testing.assert_array_equal(opened.logits(PROMPTS)[2], session.logits(PROMPTS)[2])
    ran = tmp_path / "ran"
    with (named / "mlx_gpt_bigcode.py").open("a") as file:
        file.write(f"\nopen({str(ran)!r}, 'w').close()\n")
    with pytest.raises(ArtifactError, match="code of a package is not run"):
        load(Artifact(named, tiny.manifest))
    (named / "mlx_gpt_bigcode.py").unlink()
    with pytest.raises(ArtifactError):
        load(Artifact(named, tiny.manifest))
    assert not ran.exists()
