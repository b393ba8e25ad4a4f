"""What every runtime promises of its answers, on the bundled model; beams against transformers' own ``generate``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench import catalog, runtimes
from workbench.artifact import Artifact, Manifest
from workbench.checkpoint import open_checkpoint
from workbench.errors import UnsupportedWorkloadError, WorkbenchError
from workbench.formats.base import ConversionContext
from workbench.nano import MODEL_DIR, MODEL_NAME
from workbench.plugins import member_names
from workbench.prompt import PROMPTS
from workbench.request import question_sets
from workbench.runtimes.base import Decoding, Generation, LoadOptions, Session
from workbench.schema_prompts import schema_prompts
from workbench.workload import Workload

STOP = ("```",)
LIMIT = 120
# Each engine with the format, and its options, in which it computes what the float16 weights say.
EXACT: dict[str, tuple[str, dict[str, Any]]] = {
    "transformers": ("fp16", {}),
    "llama_cpp": ("gguf", {"type": "f16"}),
    "onnxruntime": ("onnx", {"weights": "fp16"}),
    "mlx_lm": ("mlx", {"bits": 16}),
}
MOCK_ANSWER = "SELECT naïve FROM t\n```\nmore"


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    """One the model is sure of and three it is not, where more beams find other answers; two share a schema."""
    prompt = open_checkpoint(MODEL_NAME).prompt
    heldout, unseen = question_sets()
    asked = [(heldout, 0), (unseen, 7), (unseen, 12), (unseen, 15)]
    rows = [(one, one.questions[place]) for one, place in asked]
    return [prompt.render(one.schema(row.db_name), row.question) for one, row in rows]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Session]]:
    """Opens an engine once, on the bundled model."""
    opened: dict[str, Session] = {}

    def load(name: str) -> Session:
        runtime = catalog.get_runtime(name)
        for module, _ in runtime.requires:
            pytest.importorskip(module)
        if name not in opened:
            opened[name] = runtime.load(build(name, tmp_path_factory.mktemp(name)), LoadOptions(threads=1))
        return opened[name]

    yield load
    for session in opened.values():
        session.close()


def build(name: str, out: Path) -> Artifact:
    manifest = Manifest(name, "nano", "gpt_bigcode", "nano", name, {}, {}, (), 1, 1, 16.0, {}, "key")
    if name == "mock":
        (out / "mock.json").write_text(json.dumps({"answer": MOCK_ANSWER}))
        return Artifact(out, manifest)
    kind, options = EXACT[name]
    chosen = catalog.get_format(kind)
    details = chosen.convert(open_checkpoint(MODEL_NAME), chosen.options_model(**options), out, ConversionContext())
    return Artifact(out, replace(manifest, format=kind, details=details))


@pytest.fixture(scope="module", params=[*EXACT, "mock"])
def session(request: pytest.FixtureRequest, loaded: Callable[[str], Session]) -> Session:
    return loaded(request.param)


def test_every_runtime_is_tried_here() -> None:
    assert {*EXACT, "mock"} == set(member_names(runtimes))


@pytest.mark.parametrize("beams", [1, 3])
def test_answers_depend_on_nothing_but_the_prompt(session: Session, prompts: list[str], beams: int) -> None:
    decoding = Decoding(STOP, 32, beams)
    once = session.generate(prompts, decoding)
    assert session.generate([*prompts[::-1], prompts[2]], replace(decoding, most_rows=2)) == [*once[::-1], once[2]]
    assert session.generate(prompts, replace(decoding, most_rows=1)) == once
    assert session.generate(prompts[3:], decoding) == once[3:]
    assert session.generate([], decoding) == []


@pytest.mark.parametrize("beams", [1, 3])
def test_an_answer_ends_where_it_should(session: Session, prompts: list[str], beams: int) -> None:
    for answer in session.generate(prompts, Decoding(("", *STOP), LIMIT, beams)):
        assert answer.finished
        assert "```" not in answer.text
        agree(session, answer)
        assert session.detokenize(answer.tokens).startswith(answer.text + "```")
    for answer in session.generate(prompts, Decoding(STOP, 4, beams)):
        assert not answer.finished
        assert answer.new_tokens == 4
        agree(session, answer)


def agree(session: Session, answer: Generation) -> None:
    assert len(answer.tokens) == answer.new_tokens
    assert session.detokenize(answer.tokens).startswith(answer.text)


def test_the_end_of_text_is_a_token_of_the_answer(loaded: Callable[[str], Session], prompts: list[str]) -> None:
    ended = {}
    for name in EXACT:
        try:
            ended[name] = loaded(name).generate(prompts[:1], Decoding((), LIMIT))[0].tokens
        except pytest.skip.Exception:
            continue
    assert set(ended.values()) == {ended["transformers"]}
    assert ended["transformers"][-1] == 0


@pytest.fixture(scope="module")
def golden(prompts: list[str]) -> Callable[[int, int], list[list[int]]]:
    """Ids that transformers' own ``generate`` writes, one prompt at a time, by beams and limit."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32).eval()
    known: dict[tuple[int, int, str], list[int]] = {}

    def write(prompt: str, beams: int, limit: int) -> list[int]:
        ids = tokenizer(prompt, return_tensors="pt")
        out = model.generate(
            **ids, num_beams=beams, do_sample=False, length_penalty=1.0, early_stopping=False, max_new_tokens=limit,
            stop_strings=list(STOP), tokenizer=tokenizer, pad_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        return out[0, ids["input_ids"].shape[1] :].tolist()

    def answers(beams: int, limit: int) -> list[list[int]]:
        for prompt in prompts:
            if (beams, limit, prompt) not in known:
                known[beams, limit, prompt] = write(prompt, beams, limit)
        return [known[beams, limit, prompt] for prompt in prompts]

    return answers


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("beams", "limit"), [(1, LIMIT), (2, LIMIT), (4, LIMIT), (4, 9)])
def test_beams_find_what_generate_finds(loaded, golden, prompts, name, beams, limit) -> None:
    answers = loaded(name).generate(prompts, Decoding(STOP, limit, beams))
    assert [list(answer.tokens) for answer in answers] == golden(beams, limit)


def test_beams_matter_to_these_prompts(golden) -> None:
    greedy, searched = golden(1, LIMIT), golden(4, LIMIT)
    assert [one == four for one, four in zip(greedy, searched, strict=True)] == [True, False, False, False]


@pytest.mark.parametrize("name", EXACT)
def test_the_room_for_an_answer_is_what_the_prompt_leaves(loaded, prompts, name) -> None:
    session = loaded(name)
    (answer,) = session.generate(prompts[:1], Decoding(STOP, 4))
    assert session.room(prompts[0]) == LoadOptions().context - answer.prompt_tokens
    long = prompts[0] * 2
    filling = long + " a" * session.room(long)
    while session.room(filling) > 1:
        filling += " a"
    while session.room(filling) < 1:
        filling = filling.removesuffix(" a")
    assert session.room(filling) == 1
    assert session.generate([filling], Decoding((), 8))[0].new_tokens == 1
    assert session.room(filling + " a a") < 1
    with pytest.raises(WorkbenchError, match="context"):
        session.generate([filling + " a a"], Decoding((), 8))


@pytest.mark.parametrize("name", EXACT)
def test_no_context_is_larger_than_the_models(prompts, name, tmp_path) -> None:
    runtime = catalog.get_runtime(name)
    for module, _ in runtime.requires:
        pytest.importorskip(module)
    with runtime.load(build(name, tmp_path), LoadOptions(context=4096, threads=1)) as session:
        (answer,) = session.generate(prompts[:1], Decoding(STOP, 4))
        assert session.room(prompts[0]) == 1024 - answer.prompt_tokens


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("beams", [1, 2])
def test_a_prompt_that_fills_the_context_is_refused(loaded, prompts, name, beams) -> None:
    with pytest.raises(WorkbenchError, match="context") as refused:
        loaded(name).generate([prompts[0] * 8], Decoding(STOP, 8, beams))
    assert "\n" not in str(refused.value)


NO_BEAMS = {"llama_cpp", "mlx_lm", "onnxruntime"}


@pytest.mark.parametrize("name", [*EXACT, "mock"])
@pytest.mark.parametrize(("batch", "beams"), [(1, 1), (3, 1), (1, 4), (2, 2)])
def test_timing_writes_exactly_what_was_asked(loaded, name, batch, beams) -> None:
    session, workload = loaded(name), Workload(400, 12, batch, beams)
    asked = schema_prompts(workload, PROMPTS["nano"], session.prompt_tokens)
    assert {session.prompt_tokens(prompt) for prompt in asked} == {400}
    if beams > 1 and name in NO_BEAMS:
        with pytest.raises(UnsupportedWorkloadError, match="no beam search"):
            session.time_batch(asked, 12, beams)
        return
    timing = session.time_batch(asked, 12, beams)
    assert (timing.prompt_tokens, timing.new_tokens, timing.batch, timing.beams) == (400, 12, batch, beams)
    assert 0 < timing.ttft_s < timing.total_s
    assert timing.prefill_tokens_per_s == pytest.approx(batch * 400 / timing.ttft_s)
    assert timing.decode_tokens_per_s == pytest.approx(batch * 11 / (timing.total_s - timing.ttft_s))


def test_prompts_of_different_lengths_are_not_timed_together(loaded, prompts) -> None:
    with pytest.raises(WorkbenchError, match="equal length"):
        loaded("transformers").time_batch(prompts[:2], 4)


@pytest.mark.parametrize("name", EXACT)
def test_the_context_is_the_models_at_most(loaded, name) -> None:
    session = loaded(name)
    assert session.context == 1024
    assert session.room("SELECT") == 1024 - session.prompt_tokens("SELECT")
