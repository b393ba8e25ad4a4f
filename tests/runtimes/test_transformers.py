"""The transformers engine: our batched decoding against ``model.generate``, timing, limits and errors."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from workbench.artifact import Artifact, Manifest
from workbench.checkpoint import open_checkpoint
from workbench.errors import ArtifactError, PrerequisiteError, WorkbenchError
from workbench.formats import fp16, gptq, int8
from workbench.formats.base import ConversionContext
from workbench.runtimes import _decode
from workbench.runtimes.base import Decoding, LoadOptions
from workbench.runtimes.transformers import RUNTIME

FORMATS = {"fp16": fp16.FORMAT, "int8": int8.FORMAT, "gptq": gptq.FORMAT}
NEW = 24


def prompts() -> list[str]:
    """Nine about one schema, two about another, three that share nothing, one that starts another."""
    draw = random.Random(7)

    def text(letters: str, length: int) -> str:
        return "".join(draw.choice(letters) for _ in range(length))

    first, second = text("abcdefgh ", 60), text("ijklmnop ", 50)
    about_first = [first + text("xyz? ", draw.randint(3, 30)) for _ in range(9)]
    about_second = [second + text("xyz? ", draw.randint(3, 30)) for _ in range(2)]
    alone = [text("stuvw ", draw.randint(3, 60)) for _ in range(3)]
    mixed = [*about_first, *about_second, *alone, first]
    draw.shuffle(mixed)
    return mixed


@pytest.fixture(scope="session")
def artifact(tiny_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[tuple[str, str], Artifact] = {}

    def make(architecture: str, name: str) -> Artifact:
        if (architecture, name) not in made:
            member, out = FORMATS[name], tmp_path_factory.mktemp(f"{architecture}-{name}")
            checkpoint = open_checkpoint(str(tiny_checkpoint(architecture)))
            member.convert(checkpoint, member.options_model(), out, ConversionContext(prompts()))  # type: ignore[arg-type]
            manifest = Manifest(name, "tiny", architecture, "nano", name, {}, {}, (), 1, 1, 8.0, {}, "key")
            made[architecture, name] = Artifact(out, manifest)
        return made[architecture, name]

    return make


@pytest.fixture
def load(artifact: Any) -> Any:
    return lambda architecture, name, **options: RUNTIME.load(
        artifact(architecture, name), LoadOptions(threads=1, **{"context": 256, **options})
    )


def one_at_a_time(session: Any, texts: list[str], new: int = NEW) -> list[list[int]]:
    """What transformers' own greedy ``generate`` writes."""
    answers = []
    for text in texts:
        ids = torch.tensor([session._tokens.tokenizer.encode(text)])
        out = session.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False, pad_token_id=0
        )
        answers.append(out[0, ids.shape[1] :].tolist())
    return answers


@pytest.mark.parametrize("architecture", ["gpt_bigcode", "llama", "mistral"])
@pytest.mark.parametrize("name", ["fp16", "int8", "gptq"])
def test_batches_write_what_generate_writes(architecture, name, load):
    with load(architecture, name) as session:
        expected = one_at_a_time(session, prompts())
        assert len({tuple(tokens) for tokens in expected}) > 8  # not all the same by degeneration
        answers = session.generate(prompts(), Decoding(max_new_tokens=NEW))
        for tokens, answer in zip(expected, answers, strict=True):
            assert answer.text == session._tokens.tokenizer.decode(tokens, skip_special_tokens=True)
            assert answer.new_tokens == len(tokens)


# Stops and ends that random text is full of: one is met among the best continuations at nearly every step.
SEARCHES = [
    Decoding(max_new_tokens=NEW, beams=4),
    Decoding(("e",), 12, 2),
    Decoding(("a", "e", "t", "1", "Z"), 12, 3, most_rows=2),
    Decoding(("ab",), 1, 7),
]


@pytest.mark.parametrize(
    ("architecture", "name"),
    [("gpt_bigcode", "fp16"), ("gpt_bigcode", "int8"), ("gpt_bigcode", "gptq"), ("llama", "fp16"), ("mistral", "fp16")],
)
@pytest.mark.parametrize("ends", [1, 40])
def test_beams_write_what_generate_writes(architecture, name, ends, load):
    with load(architecture, name) as session:
        session.model.generation_config.eos_token_id = random.Random(3).sample(range(512), ends)
        tokenizer, lengths = session._tokens.tokenizer, set()
        for decoding in SEARCHES:
            stops = {"stop_strings": list(decoding.stop), "tokenizer": tokenizer} if decoding.stop else {}
            found = session.generate(prompts()[:6], decoding)
            for text, answer in zip(prompts()[:6], found, strict=True):
                ids = torch.tensor([tokenizer.encode(text)])
                out = session.model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=decoding.max_new_tokens, do_sample=False,
                    num_beams=decoding.beams, eos_token_id=sorted(session._ends()), pad_token_id=511, **stops,
                )  # fmt: skip
                assert list(answer.tokens) == out[0, ids.shape[1] :].tolist()
                lengths.add(answer.new_tokens)
        assert len(lengths) > 2  # answers ended in different places


@pytest.mark.parametrize("rows", [1, 3])
def test_the_size_of_batches_changes_nothing(rows, load, monkeypatch):
    with load("gpt_bigcode", "fp16") as session:
        expected = session.generate(prompts(), Decoding(max_new_tokens=NEW))
        monkeypatch.setattr(_decode, "MOST_ROWS", rows)
        assert session.generate(prompts(), Decoding(max_new_tokens=NEW)) == expected


def test_an_answer_ends_before_the_first_stop(load):
    with load("gpt_bigcode", "fp16") as session:
        whole = session.generate(prompts(), Decoding(max_new_tokens=NEW))
        long = [answer.text for answer in whole if len(answer.text) > 8]
        stop = [long[0][5:7], long[-1][2]]
        seen = []
        answers = session.generate(
            prompts(), Decoding(tuple(stop), NEW), lambda done, total: seen.append((done, total))
        )
        assert seen[-1] == (15, 15)
        for free, answer in zip(whole, answers, strict=True):
            cut = min((free.text.find(s) for s in stop if s in free.text), default=None)
            assert answer.text == free.text[:cut]
            assert answer.finished == (cut is not None)
            assert answer.new_tokens <= free.new_tokens
        assert sum(answer.finished for answer in answers) >= 2
        assert any(answer.new_tokens < NEW for answer in answers)


def test_an_answer_ends_at_the_end_of_text(load):
    with load("gpt_bigcode", "fp16") as session:
        tokens = one_at_a_time(session, prompts()[:1])[0]
        session.model.generation_config.eos_token_id = tokens[4]
        answer = session.generate(prompts()[:1], Decoding(max_new_tokens=NEW))[0]
        assert answer.finished
        assert answer.new_tokens == tokens.index(tokens[4]) + 1


@pytest.mark.parametrize("beams", [1, 3])
def test_the_context_ends_an_answer_and_refuses_a_prompt(load, beams):
    with load("gpt_bigcode", "fp16", context=64) as session:
        room = 64 - session.count_tokens("abc " * 8)
        answers = session.generate(["abc " * 8, "abc"], Decoding(max_new_tokens=64, beams=beams))
        assert answers[0].new_tokens == room
        assert not answers[0].finished
        assert answers[1].new_tokens == 64 - session.count_tokens("abc")
        with pytest.raises(WorkbenchError, match="do not fit the context of 64 tokens"):
            session.generate(["abc " * 80], Decoding(max_new_tokens=8))
        with pytest.raises(WorkbenchError, match="do not fit"):
            session.time_one("abc", 64)


def test_the_context_is_never_more_than_the_model_was_built_for(load):
    with load("llama", "fp16", context=9999) as session:
        assert session.generate(["a"], Decoding(max_new_tokens=1500))[0].new_tokens <= 1023


def test_timing_ignores_the_end_of_text(load):
    with load("gpt_bigcode", "fp16") as session:
        session.model.generation_config.eos_token_id = list(range(512))
        timing = session.time_one(prompts()[0], 9)
        assert (timing.prompt_tokens, timing.new_tokens) == (session.count_tokens(prompts()[0]), 9)
        assert 0 < timing.ttft_s < timing.total_s
        assert session.device_peak_bytes() is None


def test_notes_say_what_the_figures_are(load):
    with load("gpt_bigcode", "fp16") as plain, load("gpt_bigcode", "gptq") as packed:
        assert plain.representative
        assert "float32" in plain.notes[0]
        assert not packed.representative
        assert "dequantized to float32" in packed.notes[0]


def test_what_cannot_be_loaded_is_said(artifact, tmp_path):
    good = artifact("gpt_bigcode", "fp16")
    with pytest.raises(PrerequisiteError, match="no CUDA device"):
        if torch.cuda.is_available():
            pytest.skip("this machine has a CUDA device")
        RUNTIME.load(good, LoadOptions(device="cuda"))
    with pytest.raises(ArtifactError, match="build it again"):
        RUNTIME.load(Artifact(tmp_path, good.manifest), LoadOptions(threads=1))
    stranger = Manifest("x", "tiny", "gpt_bigcode", "nano", "gguf", {}, {}, (), 1, 1, 8.0, {}, "key")
    with pytest.raises(WorkbenchError, match="cannot run format gguf"):
        RUNTIME.load(Artifact(good.path, stranger), LoadOptions())
