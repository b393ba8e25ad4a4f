import dataclasses

import pytest
from carded import manifest, own_report, with_results
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from workbench.artifact import FileEntry
from workbench.card import card_files, repository_card
from workbench.card_facts import read_facts
from workbench.card_usage import commands, fenced, serving
from workbench.serve_commands import serve_commands

GGUF = (FileEntry("sqlcoder2.Q4_K_M.gguf", 1, "0" * 64),)


def test_the_commands_are_those_of_the_serve_page():
    made = manifest(files=GGUF, package={"repository": "acme/sqlcoder2-GGUF"})
    assert serving(read_facts(made)) == serve_commands(made)
    text = card_files(made)["README.md"]
    assert "llama-server -m sqlcoder2.Q4_K_M.gguf " in text
    assert all(one.hub in text and one.install in text for one in serve_commands(made))


def test_a_program_of_several_lines_is_named_only():
    made = manifest(format="gptq", conformance={}, files=(FileEntry("model.safetensors", 1, "0" * 64),))
    by_engine = {one["engine"]: one["folder"] for one in commands(read_facts(made))}
    assert by_engine["GPTQModel"] is None and "vllm serve" in by_engine["vLLM"]
    assert "**GPTQModel**: the program is in `SERVE.md`." in card_files(made)["README.md"]


@pytest.mark.parametrize("change", [{"format": "nothing"}, {"prompt": "nobody's"}, {"files": ()}], ids=str)
def test_without_a_known_kind_there_are_no_commands(change):
    made = manifest(**{"files": GGUF, **change})
    assert serving(read_facts(made)) == ()
    assert "This workbench knows no engine for it" in card_files(made)["README.md"]


def test_a_repository_shows_the_commands_of_the_variant_that_a_build_recommends(tmp_path):
    made = dataclasses.replace(with_results(tmp_path, own_report()), files=GGUF)
    larger = manifest(name="gguf-q8_0", weight_bytes=2 * made.weight_bytes, files=GGUF)
    text = repository_card([larger, made], "acme/sqlcoder2-GGUF")
    assert "for the recipe `gguf-q4_k_m`:" in text
    assert "llama-server -hf acme/sqlcoder2-GGUF:Q4_K_M " in text and "hf.co/acme/sqlcoder2-GGUF:Q4_K_M" in text
    refuted = {"verdict": "refuted"}
    assert "for the recipe `gguf-q8_0`:" in repository_card([larger, dataclasses.replace(made, acceptance=refuted)])
    assert "## Use it" not in repository_card([dataclasses.replace(made, acceptance=refuted)])


@given(st.text(st.sampled_from("a~`\n ") | st.characters()))
def test_a_fence_holds_whatever_stands_between(text):
    (block,) = MarkdownIt("commonmark").parse(f"{fenced(text)}")
    assert (block.type, block.info) == ("fence", "console")
