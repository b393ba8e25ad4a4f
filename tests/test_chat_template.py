"""The chat template renders the model's own prompt, in transformers and by its own tokenizers' ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llama_server import llama_server
from llamas import (
    sentencepiece_vocabulary,
    write_llama3_tokenizer,
    write_tokenizer_config,
    write_tokenizer_json,
)

from workbench.chat_template import _STARTS as STARTS
from workbench.chat_template import chat_template, fitting_template
from workbench.nano import MODEL_DIR
from workbench.prompt import PROMPTS
from workbench.tokenizer_facts import stop_ids
from workbench.untrusted_template import check_template

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
HARD = [
    ("CREATE TABLE t (a int);\n-- {% if %} {{ x }} {# no #}\n", "How many 'Zürich' in \"t\"? \\n"),
    ("{schema}", "{question}\n\n"),
    (" \n", " <|im_start|> \u2028 ```sql"),
]
SCHEMA, QUESTION = "CREATE TABLE t (\n  a int -- {{ 1 }}\n);", "How {question} many %} in `t`?"


def rendered(template: str, messages: list[dict[str, str]], **variables: str) -> str:
    """By the environment in which transformers renders (and with it vLLM and mlx-lm)."""
    from transformers.utils.chat_template_utils import render_jinja_template

    found, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **variables)
    return str(found[0])


def chat(schema: str, question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": schema}, {"role": "user", "content": question}]


@pytest.mark.parametrize("name", PROMPTS)
@settings(deadline=None)  # the first one imports transformers
@given(schema=TEXTS, question=TEXTS, instructions=TEXTS)
@example(schema=SCHEMA, question=QUESTION, instructions=" \n")
@example(schema="", question="", instructions="Use {schema}.\n\n")
@example(schema="\n", question="{{ bos_token }}", instructions="")
def test_a_chat_is_the_prompt(name: str, schema: str, question: str, instructions: str) -> None:
    prompt = PROMPTS[name]
    template = chat_template(prompt)
    assert rendered(template, chat(schema, question)) == prompt.render(schema, question)
    told = rendered(template, chat(schema, question), instructions=instructions)
    assert told == prompt.render(schema, question, instructions)


@pytest.mark.parametrize("name", PROMPTS)
def test_how_an_engine_trims_blocks_makes_no_difference(name: str) -> None:
    import jinja2

    template = chat_template(PROMPTS[name])
    for trim in (False, True):
        for keep in (False, True):
            engine = jinja2.Environment(trim_blocks=trim, lstrip_blocks=trim, keep_trailing_newline=keep)
            told = engine.from_string(template).render(messages=chat(SCHEMA, QUESTION))
            assert told == PROMPTS[name].render(SCHEMA, QUESTION)


@pytest.mark.parametrize("name", PROMPTS)
def test_it_passes_our_own_look_at_strangers_templates(name: str) -> None:
    for start in STARTS:
        check_template(chat_template(PROMPTS[name], start), "chat_template.jinja")


def test_llama_cpps_own_engine_renders_the_same(tmp_path: Path) -> None:
    """Its server fills the template, by an engine of its own, and says what came out (``/apply-template``)."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    from workbench.checkpoint import open_checkpoint
    from workbench.formats.base import ConversionContext
    from workbench.formats.gguf import FORMAT, GgufOptions

    FORMAT.convert(open_checkpoint("sqlcoder-nano"), GgufOptions(type="f16"), tmp_path, ConversionContext())
    for prompt in PROMPTS.values():
        with llama_server(next(tmp_path.glob("*.gguf")), template=chat_template(prompt)) as address:
            for schema, question in HARD:
                told = asked(f"{address}/apply-template", {"messages": chat(schema, question)})["prompt"]
                assert told == prompt.render(schema, question)
            raw = asked(f"{address}/apply-template", {"messages": chat("", QUESTION)[1:]})["prompt"]
            assert raw == QUESTION


def asked(address: str, body: dict[str, object]) -> dict[str, str]:
    import requests

    reply: dict[str, str] = requests.post(address, json=body, timeout=60).json()
    return reply


def test_without_a_system_message_the_text_is_the_prompt() -> None:
    text = PROMPTS["v3"].render(SCHEMA, QUESTION, "Be brief.")
    assert rendered(chat_template(PROMPTS["v3"]), [{"role": "user", "content": text}]) == text


def test_only_the_last_question_is_asked() -> None:
    earlier = [*chat("old", "first?"), {"role": "assistant", "content": "SELECT 1"}]
    told = rendered(chat_template(PROMPTS["v1"]), [*earlier, *chat(SCHEMA, QUESTION)])
    assert told == PROMPTS["v1"].render(SCHEMA, QUESTION)
    again = [*chat(SCHEMA, "first?"), {"role": "assistant", "content": "SELECT 1"}, chat("", QUESTION)[1]]
    assert rendered(chat_template(PROMPTS["v1"]), again) == PROMPTS["v1"].render(SCHEMA, QUESTION)


def llama(folder: Path, post_processor: bool = True, **config: object) -> Path:
    pieces = sentencepiece_vocabulary()
    write_tokenizer_json(folder, pieces, **({} if post_processor else {"post_processor": None}))
    write_tokenizer_config(folder, **config)
    return folder


def copied(folder: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((MODEL_DIR / name).read_bytes())
    return folder


def llama3(folder: Path) -> Path:
    write_llama3_tokenizer(folder)
    return folder


TOKENIZERS = {
    "starcoder": copied,
    "llama": lambda folder: llama(folder, tokenizer_class="PreTrainedTokenizerFast"),
    "llama, without the step": lambda folder: llama(folder, False, tokenizer_class="PreTrainedTokenizerFast"),
    "llama, by class": lambda folder: llama(folder, tokenizer_class="LlamaTokenizer", add_bos_token=True),
    "code llama": lambda folder: llama(folder, tokenizer_class="CodeLlamaTokenizer"),
    "llama 3, with another in its settings": llama3,
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_no_begin_of_text_is_lost_or_doubled(kind: str, tmp_path: Path) -> None:
    """A chat has the ids that the engine reads for the prompt itself: those the figures were measured with."""
    from transformers import AutoTokenizer

    folder = TOKENIZERS[kind](tmp_path)
    prompt = PROMPTS["v3-llama3" if "llama 3" in kind else "v3"]
    (folder / "chat_template.jinja").write_text(fitting_template(prompt, folder), encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = chat("CREATE TABLE city (name text);", "How many cities?")
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids == tokenizer(prompt.render(*(one["content"] for one in messages)))["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == (kind not in ("starcoder", "llama, without the step"))


def test_a_stop_token_holds_the_stop_text_and_white_space_alone() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    for stop in (("```",), (";", "[/SQL]"), ("SELECT",), ("\n/*",), ()):
        expected = [place for place in range(len(tokenizer)) if tokenizer.decode([place]).strip() in stop]
        assert stop_ids(MODEL_DIR, stop) == expected
    assert len(stop_ids(MODEL_DIR, ("```",))) == 1
