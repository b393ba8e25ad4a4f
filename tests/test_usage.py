"""A package is asked as its figures were measured: by transformers with nothing but the folder, and by our engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_artifacts import made

from workbench import catalog
from workbench.artifact import Artifact, open_artifact, sha256_file
from workbench.checkpoint import open_checkpoint
from workbench.errors import ArtifactError
from workbench.generation_settings import beams_of, generation_settings
from workbench.nano import MODEL_NAME
from workbench.package import PackageRequest, package
from workbench.progress import Listener
from workbench.prompt import PROMPTS
from workbench.request import question_sets
from workbench.runtimes.base import Decoding, LoadOptions
from workbench.usage import usage_files

EVERYWHERE = {"prompt.txt", "chat_template.jinja", "SERVE.md"}


@pytest.fixture(scope="module")
def fp16(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return made("fp16", open_checkpoint(MODEL_NAME), tmp_path_factory.mktemp("store") / "fp16")


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return made("gguf-q8_0", open_checkpoint(MODEL_NAME), tmp_path_factory.mktemp("store") / "gguf-q8_0")


def answers(artifact: Artifact, prompts: list[str]) -> list[str]:
    with catalog.get_runtime("transformers").load(artifact, LoadOptions(threads=1)) as session:
        return [one.text for one in session.generate(prompts, Decoding(("```",), 120))]


def test_each_ecosystem_finds_its_files(fp16: Artifact, gguf: Artifact) -> None:
    hugging_face = usage_files(fp16.manifest, fp16.path)
    assert set(hugging_face) == EVERYWHERE | {"generation_config.json"}
    assert hugging_face["prompt.txt"] == PROMPTS["nano"].template
    llama_cpp = usage_files(gguf.manifest, gguf.path)
    assert set(llama_cpp) == EVERYWHERE | {"Modelfile", "template", "params"}
    assert json.loads(llama_cpp["params"])["num_ctx"] == 1024
    assert llama_cpp["Modelfile"].startswith("FROM ./sqlcoder-nano.Q8_0.gguf\n")


def test_packaging_changes_no_answer_and_no_weight(fp16: Artifact) -> None:
    """Plain ``generate`` with the folder's own settings stops where our engine does, which is told the stop text."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    heldout, unseen = question_sets()
    asked = [(one, one.questions[place]) for one, place in [(heldout, 0), (heldout, 100), (unseen, 7), (unseen, 12)]]
    pairs = [(one.schema(row.db_name), row.question) for one, row in asked]
    prompts = [PROMPTS["nano"].render(*pair) for pair in pairs]
    before, weights = answers(fp16, prompts), sha256_file(fp16.path / "model.safetensors")

    done = package(PackageRequest(fp16.path))
    assert sha256_file(fp16.path / "model.safetensors") == weights
    assert {"LICENSE", "NOTICE", *EVERYWHERE} <= {entry.path for entry in done.manifest.files}
    assert answers(done, prompts) == before

    tokenizer = AutoTokenizer.from_pretrained(fp16.path)
    model = AutoModelForCausalLM.from_pretrained(fp16.path, dtype=torch.float32)
    for (schema, question), expected in zip(pairs, before, strict=True):
        chat = [{"role": "system", "content": schema}, {"role": "user", "content": question}]
        tokens = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        written = model.generate(**tokens)[0, tokens["input_ids"].shape[1] :]
        assert len(written) <= 300
        assert tokenizer.decode(written, skip_special_tokens=True) == expected + "```"


def test_beams_end_where_ours_do(fp16: Artifact, tmp_path: Path) -> None:
    """The stop text as a token, and as text in our own search: the same answers of four beams."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    unseen = question_sets()[1]
    row = unseen.questions[7]
    prompt = PROMPTS["nano"].render(unseen.schema(row.db_name), row.question)
    with catalog.get_runtime("transformers").load(fp16, LoadOptions(threads=1)) as session:
        expected = session.generate([prompt], Decoding(("```",), 300, beams=4))[0].text
    manifest = replace(fp16.manifest, results={"reports": [{"beams": 4}]})
    told = generation_settings(manifest, fp16.path)
    assert told["num_beams"] == 4
    tokenizer = AutoTokenizer.from_pretrained(fp16.path)
    tokens = tokenizer(prompt, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(fp16.path, dtype="float32")
    model.generation_config = model.generation_config.from_dict(told)
    written = model.generate(**tokens)[0, tokens["input_ids"].shape[1] :]
    assert tokenizer.decode(written, skip_special_tokens=True).split("```")[0] == expected


def test_packaging_again_writes_the_same_bytes(fp16: Artifact) -> None:
    first = package(PackageRequest(fp16.path)).manifest
    assert package(PackageRequest(fp16.path)).manifest == first


def test_sampling_is_dropped_and_the_sources_ids_are_kept(fp16: Artifact, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((fp16.path / name).read_bytes())
    told = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "eos_token_id": [0, 5], "pad_token_id": 3}
    (tmp_path / "generation_config.json").write_text(json.dumps(told))
    assert generation_settings(fp16.manifest, tmp_path) == {
        "bos_token_id": 0, "eos_token_id": [0, 5, 264], "pad_token_id": 3,
        "do_sample": False, "num_beams": 1, "max_new_tokens": 300,
    }  # fmt: skip


def test_beams_are_those_of_the_figures_else_the_authors(fp16: Artifact) -> None:
    manifest = replace(fp16.manifest, model="sqlcoder-7b-2")
    assert beams_of(manifest)[0] == 4
    assert beams_of(replace(manifest, results={"reports": [{"beams": 1}]})) == (1, "as its figures were measured")
    assert beams_of(replace(fp16.manifest, results={}))[0] == 1


def test_a_broken_file_ends_in_a_sentence(gguf: Artifact, fp16: Artifact, tmp_path: Path) -> None:
    (tmp_path / "sqlcoder-nano.Q8_0.gguf").write_bytes(b"GGUF no more")
    with pytest.raises(ArtifactError, match="header of"):
        usage_files(gguf.manifest, tmp_path)
    with pytest.raises(ArtifactError, match="tokenizer in"):
        usage_files(fp16.manifest, tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((fp16.path / "tokenizer.json").read_bytes())
    (tmp_path / "generation_config.json").write_text("[1]")
    with pytest.raises(ArtifactError, match="no JSON object"):
        generation_settings(fp16.manifest, tmp_path)


def test_an_unknown_licence_is_told(tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    heard: list[str] = []

    class Ear(Listener):
        def note(self, text: str) -> None:
            heard.append(text)

    artifact = made("fp16", open_checkpoint(str(tiny_checkpoint("llama"))), tmp_path / "fp16")
    package(PackageRequest(artifact.path), Ear())
    assert "the licence of tiny-llama is unknown: find out before you publish" in heard


def test_an_opened_package_is_an_artifact(fp16: Artifact) -> None:
    assert open_artifact(fp16.path).manifest.format == "fp16"
