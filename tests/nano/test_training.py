"""The trainer: StarCoder's tokenization, prefix-shared packs, a short run, and the shipped checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTBigCodeForCausalLM

from workbench.nano import MODEL_DIR
from workbench.nano.greedy import answer, exact_match
from workbench.nano.learn import Material, Plan
from workbench.nano.network import Network, Shape
from workbench.nano.packing import Example, answer_text, pack, prefix_text, prompt_text, tokenize
from workbench.nano.tokenizer import END, END_ID, save_tokenizer, train_tokenizer
from workbench.nano.train import Trainer, write_model, write_record
from workbench.prompt import NANO
from workbench.questions import Question

SCHEMA = """CREATE TABLE films (
  film_id integer PRIMARY KEY,
  title text,
  year integer,
  price numeric(10,2)
);"""
SMALL = Shape(layers=2, vocabulary=512)
shipped = pytest.mark.skipif(not (MODEL_DIR / "model.safetensors").is_file(), reason="no bundled model yet")


def questions(split: str, count: int, seed: int, hardness: set[str] | None = None) -> list[Question]:
    """A generator of the shape ``workbench.nano.generate`` has, over one table."""
    columns = ("title", "year", "price")
    pairs = [
        (f"Show the {columns[n % 3]} of films made after {1900 + n % 90}.",
         f"SELECT {columns[n % 3]} FROM films WHERE year > {1900 + n % 90}")
        for n in range(seed, seed + count)
    ]  # fmt: skip
    return [Question(str(n), q, s, "cinema", "where", "easy") for n, (q, s) in enumerate(pairs)]


MATERIAL = Material({"cinema": SCHEMA}, questions, tuple(questions("heldout", 4, 0)))
TEXTS = [prefix_text(SCHEMA)] + [prompt_text(q.question) + answer_text(q.query) for q in questions("train", 90, 0)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 512)


@pytest.fixture(scope="module")
def reference() -> GPTBigCodeForCausalLM:
    """transformers' own network with random weights, at rest."""
    torch.manual_seed(1)
    return GPTBigCodeForCausalLM(SMALL.config()).eval()


@pytest.fixture(scope="module")
def network(reference) -> Network:
    """Ours with the same weights."""
    ours = Network(SMALL)
    ours.load_state_dict({k: v for k, v in reference.state_dict().items() if k != "lm_head.weight"}, strict=True)
    return ours


@given(text=st.text(max_size=80))
@settings(max_examples=150, deadline=None)
def test_every_text_survives_the_tokenizer(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize(
    "text", ["SELECT 'it''s'\t\"a\"", "WHERE x >= 12.50", "año — 日本語 🙂", "a\n\n  b\r\n", "\x00\x7f"]
)
def test_sql_and_unicode_survive_the_saved_tokenizer(tokenizer, text, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert {loaded.eos_token_id, loaded.bos_token_id, loaded.pad_token_id, loaded.unk_token_id} == {END_ID}


def test_digits_stand_alone_and_end_is_one_token(tokenizer):
    assert [tokenizer.id_to_token(t) for t in tokenizer.encode("2023").ids] == list("2023")
    assert tokenizer.encode(END).ids == [END_ID]
    assert all(tokenizer.decode([t]) or t == END_ID for t in range(257))


@given(question=st.text(min_size=1, max_size=60).map(str.strip).filter(bool))
@settings(max_examples=100, deadline=None)
def test_a_prompt_cut_in_two_keeps_its_tokens(tokenizer, question):
    whole = tokenizer.encode(NANO.render(SCHEMA, question)).ids
    assert whole == tokenizer.encode(prefix_text(SCHEMA)).ids + tokenizer.encode(prompt_text(question)).ids


def test_packed_logits_are_those_of_the_plain_model(tokenizer, network, reference):
    examples = tokenize(tokenizer, [(q.question, q.query) for q in questions("train", 5, 3)])
    examples.append(Example(examples[0].prompt[:4], examples[1].answer))
    prefix = tokenizer.encode(prefix_text(SCHEMA)).ids
    packed = pack(prefix, examples)
    with torch.no_grad():
        logits = network.logits(network.hidden(packed))
        for number, example in enumerate(examples):
            plain = reference(torch.tensor([[*prefix, *example.prompt, *example.answer]])).logits[0]
            first = len(prefix) + number * packed.rows.shape[1]
            torch.testing.assert_close(logits[first : first + len(example)], plain[len(prefix) :], atol=1e-4, rtol=0)
            torch.testing.assert_close(logits[: len(prefix)], plain[: len(prefix)], atol=1e-4, rtol=0)


def test_packed_loss_is_the_plain_loss_on_answers(tokenizer, network, reference):
    examples = tokenize(tokenizer, [(q.question, q.query) for q in questions("train", 3, 7)])
    prefix = tokenizer.encode(prefix_text(SCHEMA)).ids
    total = 0.0
    for example in examples:
        tokens = torch.tensor([[*prefix, *example.prompt, *example.answer]])
        labels = tokens.clone()
        labels[:, : -len(example.answer)] = -100
        total += reference(tokens, labels=labels).loss.item() * len(example.answer)
    assert network.loss(pack(prefix, examples)).item() == pytest.approx(total, rel=1e-4)


def test_greedy_answers_are_those_of_transformers(tokenizer, network, reference):
    prefix = tokenizer.encode(prefix_text(SCHEMA)).ids
    prompts = [tokenizer.encode(prompt_text(text)).ids for text in ("Count films.", "Show the year of all films.")]
    for prompt, ours in zip(prompts, answer(network, prefix, prompts, limit=12), strict=True):
        tokens = torch.tensor([prefix + prompt])
        theirs = reference.generate(tokens, max_new_tokens=12, do_sample=False)[0, tokens.shape[1] :].tolist()
        assert ours == [token for token in theirs if token != END_ID]


def short_run(seed: int = 0) -> Trainer:
    trainer = Trainer(MATERIAL, Plan(steps=20, rows=8, packs=1, warmup=4, seed=seed), Shape(layers=2))
    trainer.run(5, lambda _: None)
    return trainer


def test_a_short_run_learns_repeats_and_can_be_loaded(tmp_path: Path):
    torch.manual_seed(5)
    one = short_run()
    torch.rand(3)
    two = short_run()
    assert one.losses == two.losses
    assert one.losses[-1] < 0.6 * one.losses[0]
    assert all(torch.equal(a, b) for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True))

    write_model(one, tmp_path / "model")
    write_model(one, tmp_path / "model")
    write_record(one, tmp_path / "training.json")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["model"]
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == 20
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    for name, value in one.network.state_dict().items():
        assert torch.equal(model.state_dict()[name], value.half().float())


def test_the_rate_rises_and_falls():
    plan = Plan(steps=1000, warmup=100, rate=1.0)
    rates = [plan.rate_at(step) for step in range(1000)]
    assert max(rates) == rates[99] and rates[0] == 0.01 and rates[-1] == pytest.approx(0.05, abs=1e-3)
    assert [plan.stage(step) for step in (0, 199, 200, 999)] == [0, 0, 1, 1]


@shipped
def test_the_bundled_model_is_small_and_transformers_reads_it():
    assert sum(path.stat().st_size for path in MODEL_DIR.iterdir()) < 16 * 2**20
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32)
    assert isinstance(model, GPTBigCodeForCausalLM)
    config = json.loads((MODEL_DIR / "config.json").read_text())
    assert config["architectures"] == ["GPTBigCodeForCausalLM"] and "_name_or_path" not in config
    assert config["multi_query"] and config["n_embd"] % 256 == 0 and config["n_embd"] // config["n_head"] == 64
    assert len(AutoTokenizer.from_pretrained(MODEL_DIR)) == config["vocab_size"]


@shipped
def test_the_bundled_model_answers_in_sql():
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32)
    from tokenizers import Tokenizer

    from workbench.nano.generate import generate, schema_text

    asked = list(generate("heldout", 8, 3, {"easy"}))
    network = Network(Shape(layers=model.config.n_layer))
    network.load_state_dict({k: v for k, v in model.state_dict().items() if k != "lm_head.weight"})
    schemas = {q.db_name: schema_text(q.db_name) for q in asked}
    scores = exact_match(network, Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json")), schemas, asked)
    assert scores["easy"]["correct"] >= 4
