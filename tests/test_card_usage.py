import dataclasses

import pytest
from carded import manifest, own_report, with_results
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from workbench.artifact import FileEntry
from workbench.card import card_files, repository_card
from workbench.card_facts import read_facts
from workbench.card_usage import commands, fenced, hub_commands, serving
from workbench.serve_commands import serve_commands

GGUF = (FileEntry("sqlcoder2.Q4_K_M.gguf", 1, "0" * 64),)


def test_the_commands_are_those_of_the_serve_page():
    made = manifest(files=GGUF)
    assert serving(read_facts(made)) == serve_commands(made)
    assert "llama-server -m sqlcoder2.Q4_K_M.gguf " in card_files(made)["README.md"]


def test_a_program_of_several_lines_is_named_only():
    made = manifest(format="gptq", conformance={}, files=(FileEntry("model.safetensors", 1, "0" * 64),))
    by_engine = {one["engine"]: one["block"] for one in commands(read_facts(made))}
    assert by_engine["GPTQModel"] is None and "vllm serve" in by_engine["vLLM"]
    assert "**GPTQModel**: the program is in `SERVE.md`." in card_files(made)["README.md"]


@pytest.mark.parametrize("change", [{"format": "nothing"}, {"prompt": "nobody's"}, {"files": ()}], ids=str)
def test_without_a_known_kind_there_are_no_commands(change):
    made = manifest(**{"files": GGUF, **change})
    assert serving(read_facts(made)) == ()
    assert "This workbench knows no engine for it" in card_files(made)["README.md"]


def test_variants_are_fetched_from_the_hub_by_their_label(tmp_path):
    package = {"version": 1, "repository": "acme/sqlcoder2-GGUF"}
    made = dataclasses.replace(with_results(tmp_path, own_report(), package=package), files=GGUF)
    for text in (card_files(made)["README.md"], repository_card([made])):
        assert "llama-server -hf acme/sqlcoder2-GGUF:Q4_K_M\n" in text
        assert "ollama run hf.co/acme/sqlcoder2-GGUF:Q4_K_M\n" in text
    refuted = dataclasses.replace(made, acceptance={"verdict": "refuted"})
    assert "llama-server -hf" not in repository_card([refuted])


def test_what_is_no_gguf_is_not_offered_to_llama_cpp():
    assert hub_commands([read_facts(manifest(format="gptq", files=GGUF))], None) is None


@given(st.text(st.sampled_from("a~`\n ") | st.characters()))
def test_a_fence_holds_whatever_stands_between(text):
    (block,) = MarkdownIt("commonmark").parse(f"{fenced(text)}")
    assert (block.type, block.info) == ("fence", "console")
