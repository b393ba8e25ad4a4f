"""onnxruntime against transformers on the same weights, and the promises of a session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from starcoder import make_starcoder

from workbench.artifact import Artifact, Manifest
from workbench.checkpoint import open_checkpoint
from workbench.errors import ArtifactError, PrerequisiteError, WorkbenchError
from workbench.formats.base import ConversionContext
from workbench.formats.onnx import FORMAT, OnnxOptions
from workbench.nano import MODEL_DIR
from workbench.runtimes._onnx_engine import CHUNK, Reader
from workbench.runtimes.base import Decoding, LoadOptions
from workbench.runtimes.onnxruntime import RUNTIME, OnnxSession

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
ONE_THREAD = LoadOptions(context=512, threads=1)
TABLES = "".join(f"CREATE TABLE table{n} (id integer, name text, city text, total numeric);\n" for n in range(3))
SCHEMA = f"### Schema\n{TABLES}\n### Question\n"
QUESTIONS = ("How many customers?", "Names in Zürich, please", "Total by city above 1250.50", "Who ordered in 2024?")
PROMPTS = [f"{SCHEMA}{question}\n\n### SQL\n```sql\n" for question in QUESTIONS]
OTHERS = [f"### Schema\nCREATE TABLE other (a integer, b text);\n\n{question}\n" for question in QUESTIONS[:2]]


def build(model: Path, weights: str, out: Path) -> Artifact:
    """An artifact as far as a runtime looks at it."""
    details = FORMAT.convert(open_checkpoint(str(model)), OnnxOptions(weights=weights), out, ConversionContext())
    manifest = Manifest(
        name=weights, model="tiny", architecture="gpt_bigcode", prompt="nano", format="onnx", recipe={}, source={},
        files=(), weight_bytes=0, parameters=0, bits_per_weight=0.0, tool_versions={}, build_key="", details=details,
    )  # fmt: skip
    return Artifact(out, manifest)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> dict[str, Artifact]:
    model = make_starcoder(tmp_path_factory.mktemp("onnx") / "tiny", layers=3)
    return {weights: build(model, weights, tmp_path_factory.mktemp(weights)) for weights in ("fp16", "int8", "int4")}


@pytest.fixture(scope="module")
def session(artifacts):
    with RUNTIME.load(artifacts["fp16"], ONE_THREAD) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """The model that writes SQL."""
    with RUNTIME.load(build(MODEL_DIR, "fp16", tmp_path_factory.mktemp("bundled")), LoadOptions(threads=1)) as loaded:
        yield loaded


def test_the_bundled_models_tokens_are_those_of_transformers(bundled: OnnxSession) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32)
    for prompt in PROMPTS[:2]:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            expected = model.generate(ids, max_new_tokens=48, min_new_tokens=48, do_sample=False)[0, ids.shape[1] :]
            logits = model(ids).logits[0, -1].numpy()
        # min_new_tokens keeps the end of text away, which ends our answers: take single steps instead.
        found, cache = bundled._engine.step(ids[0].tolist(), bundled._engine.empty)
        assert np.abs(found - logits).max() < 1e-4
        tokens: list[int] = []
        while len(tokens) < 48:
            found = found.copy()
            found[tokenizer.eos_token_id] = -np.inf
            tokens.append(int(found.argmax()))
            found, cache = bundled._engine.step(tokens[-1:], cache)
        assert tokens == expected.tolist()


def test_logits_are_told_for_each_prompt(session) -> None:
    whole = session.logits(PROMPTS)
    assert [(row.shape, row.dtype) for row in whole] == [((512,), np.float32)] * len(PROMPTS)
    ids = session.tokenize(PROMPTS[0])
    _, cache = session._engine.step(ids[:-1], session._engine.empty)
    last, _ = session._engine.step(ids[-1:], cache)
    assert np.allclose(last, whole[0], atol=1e-4)


def test_text_and_counts(session) -> None:
    answer = session.generate([PROMPTS[0]], Decoding(max_new_tokens=12))[0]
    assert (answer.new_tokens, answer.finished) == (12, False)
    assert answer.prompt_tokens == session.count_tokens(PROMPTS[0])
    stop = answer.text[len(answer.text) // 2 :][:3]
    stopped = session.generate([PROMPTS[0]], Decoding((stop,), 12))[0]
    assert stopped.finished
    assert stopped.text == answer.text.split(stop)[0]
    assert 1 <= stopped.new_tokens <= 12
    assert session.detokenize(session.tokenize(PROMPTS[1])) == PROMPTS[1]


def test_an_answer_ends_with_the_end_of_text(bundled) -> None:
    prompt = SCHEMA + "How many customers are there?\n\n### SQL\n```sql\n"
    answer = bundled.generate([prompt], Decoding(max_new_tokens=200))[0]
    assert answer.finished
    assert answer.new_tokens < 200


@pytest.mark.parametrize("weights", ["fp16", "int8", "int4"])
def test_answers_do_not_depend_on_company_or_order(artifacts, weights) -> None:
    prompts = [*PROMPTS, *OTHERS]
    with RUNTIME.load(artifacts[weights], ONE_THREAD) as loaded:
        assert min(map(loaded.count_tokens, prompts[:4])) > CHUNK
        alone = [loaded.generate([prompt], Decoding(("```",), 32))[0] for prompt in prompts]
        seen = []
        together = loaded.generate(
            [*prompts, prompts[0]], Decoding(("```",), 32), lambda done, total: seen.append((done, total))
        )
        assert together == [*alone, alone[0]]
        assert loaded.generate(prompts[::-1], Decoding(("```",), 32)) == alone[::-1]
        assert seen[-1] == (7, 7)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_prompts_share_is_read_once_to_the_same_bits(session) -> None:
    rng = np.random.default_rng(0)
    start = rng.integers(1, 500, 4 * CHUNK).tolist()
    lengths = (3 * CHUNK + 5, 3 * CHUNK + 9, 2 * CHUNK, CHUNK + 1, 4 * CHUNK)
    prompts = sorted([*start[:length], *rng.integers(1, 500, 7).tolist()] for length in lengths)
    counted = Counting(session._engine)
    reader = Reader(counted, prompts)
    for place, prompt in enumerate(prompts):
        found, cache = reader.read(place)
        alone, own = Reader(session._engine, [prompt]).read(0)
        assert cache.length == own.length == len(prompt)
        assert np.array_equal(found, alone)
        for one, other in zip(cache.values, own.values, strict=True):
            assert np.array_equal(one.numpy(), other.numpy())
    assert counted.tokens == 4 * CHUNK + sum(len(p) - CHUNK * min((len(p) - 1) // CHUNK, 4) for p in prompts)
    assert len(reader._kept) <= 2


class Counting:
    """An engine that counts the tokens it reads."""

    def __init__(self, engine) -> None:
        self._engine = engine
        self.empty = engine.empty
        self.tokens = 0

    def step(self, ids, cache):
        self.tokens += len(ids)
        return self._engine.step(ids, cache)


def test_timing(session) -> None:
    timing = session.time_one(PROMPTS[0], 8)
    assert timing.new_tokens == 8
    assert timing.prompt_tokens == session.count_tokens(PROMPTS[0])
    assert 0 < timing.ttft_s < timing.total_s


def test_notes_say_what_is_computed_otherwise(artifacts, session) -> None:
    assert any("float32" in note for note in session.notes)
    with RUNTIME.load(artifacts["int4"], ONE_THREAD) as loaded:
        assert any("8 bits" in note for note in loaded.notes)


def test_what_does_not_fit_is_said(session) -> None:
    with pytest.raises(WorkbenchError, match="context"):
        session.generate([SCHEMA * 40], Decoding(max_new_tokens=8))
    with pytest.raises(WorkbenchError, match="context"):
        session.time_one(PROMPTS[0], 500)


def test_broken_artifacts_are_refused(artifacts, tmp_path) -> None:
    good = artifacts["fp16"]
    with pytest.raises(WorkbenchError, match=r"no model\.onnx"):
        RUNTIME.load(Artifact(tmp_path, good.manifest), ONE_THREAD)
    for name in ("cut", "noise", "no data"):
        folder = tmp_path / name
        folder.mkdir()
        for file in good.path.iterdir():
            if (name, file.suffix) != ("no data", ".onnx_data"):
                (folder / file.name).write_bytes(file.read_bytes())
        content = {"cut": (good.path / "model.onnx").read_bytes()[:5000], "noise": b"\x07noise" * 1000}
        if name in content:
            (folder / "model.onnx").write_bytes(content[name])
        with pytest.raises(ArtifactError, match="cannot load"):
            RUNTIME.load(Artifact(folder, good.manifest), ONE_THREAD)


def test_a_build_without_cuda_says_which_to_install(artifacts) -> None:
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this build has CUDA")
    with pytest.raises(PrerequisiteError, match=r"pip install .*onnxruntime-gpu"):
        RUNTIME.load(artifacts["fp16"], LoadOptions(device="cuda"))
