"""The front matter and the evaluation results, as huggingface_hub reads them and as the Hub is known to check them."""

import re

import pytest
import yaml
from carded import LICENCE, manifest, own_report, with_results
from huggingface_hub import ModelCard, parse_eval_result_entries
from huggingface_hub.repocard_data import ModelCardData, eval_results_to_model_index, model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st
from local_hub_cards import faults_of
from test_card import HOSTILE, hostile_manifest

from workbench.card import card_files, repository_card
from workbench.card_facts import Licence, read_facts
from workbench.card_metadata import HUB_LICENCES, dataset_id, front_matter, licence_fields, slug
from workbench.measure import Score
from workbench.package_files import check_names
from workbench.plain_text import plain
from workbench.report import SetScores

# What huggingface.co/docs/hub/model-cards and /repositories-licenses ask, and /api/validate-yaml answers with a 400 to.
REQUIRED = {"base_model", "base_model_relation", "quantized_by", "license", "pipeline_tag", "tags", "library_name"}


def check_front_matter(text: str) -> ModelCardData:
    """See that huggingface_hub reads the card back as it is, and that the Hub's rules known to us hold."""
    assert faults_of(text) == ([], [])  # as the local stand-in for the Hub would answer
    card = ModelCard(text)
    assert str(card) == text  # the client would write the very same card
    record = card.data.to_dict()
    assert ModelCardData(**yaml.safe_load(card.data.to_yaml())).to_dict() == record
    assert all(isinstance(tag, str) and re.fullmatch(r"[\w.-]+", tag) for tag in record["tags"])
    assert record["license"] in HUB_LICENCES | {"other", "unknown"}
    if record["license"] == "other":
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", record["license_name"])
        assert record["license_link"] == "LICENSE" or record["license_link"].startswith("https://")
    if "base_model" in record:
        validate_repo_id(record["base_model"])
    if "model-index" in record:
        name, results = model_index_to_eval_results(record["model-index"])
        assert eval_results_to_model_index(name, results) == record["model-index"]
        assert not any(result.verified or result.verify_token for result in results)
        assert all(isinstance(result.metric_value, float) for result in results)
    return card.data


def test_the_front_matter_is_complete(tmp_path):
    data = check_front_matter(card_files(with_results(tmp_path))["README.md"])
    assert set(data.to_dict()) >= REQUIRED | {"language", "model-index"}
    assert (data.base_model, data.base_model_relation) == ("defog/sqlcoder2", "quantized")
    assert (data.license, data.pipeline_tag, data.library_name) == ("cc-by-sa-4.0", "text-generation", "gguf")
    assert {"gguf", "sql", "gguf-q4_k_m"} <= set(data.tags)


def test_the_model_index_holds_every_set_with_its_interval(tmp_path):
    data = check_front_matter(card_files(with_results(tmp_path))["README.md"])
    assert data.model_name == "sqlcoder2 gguf-q4_k_m"
    heldout, unseen = data.eval_results
    assert (heldout.metric_value, unseen.metric_value) == (90.0, 7.5)
    assert heldout.metric_args["interval_95"] == [82.56, 94.48]
    assert heldout.metric_args["question_set_sha256"] == "e" * 64
    assert heldout.dataset_name == "heldout (bundled with the SQLCoder workbench, not on the Hub)"
    assert unseen.dataset_name == "unseen (the publisher's own, not on the Hub)"


def test_a_repository_says_where_the_results_are_from(tmp_path):
    package = {"version": 1, "workbench": "0.1.0", "repository": "acme/sqlcoder2-GGUF"}
    files = card_files(with_results(tmp_path, package=package))
    data = check_front_matter(files["README.md"])
    assert (data.model_name, data.quantized_by) == ("sqlcoder2-GGUF", "acme")
    assert data.eval_results[0].source_url == "https://huggingface.co/acme/sqlcoder2-GGUF"
    assert "python -m workbench verify acme/sqlcoder2-GGUF --recipe gguf-q4_k_m" in files["README.md"]
    entry = parse_eval_result_entries(yaml.safe_load(files[".eval_results/heldout.yaml"]))[0]
    assert entry.source_url == "https://huggingface.co/acme/sqlcoder2-GGUF"


@pytest.mark.parametrize(
    ("source", "told", "base"),
    [
        ("sqlcoder-nano", None, "sqlcoder-workbench/sqlcoder-nano"),
        ("sqlcoder-7b-2", "defog/sqlcoder-7b-2", "defog/sqlcoder-7b-2"),
        ("me/mine", "me/mine", "me/mine"),
    ],
)
def test_the_model_that_a_package_was_made_from(source, told, base):
    record = {"id": source, "digest": "d", "licence": {"base_model": told}}
    text = card_files(manifest(source=record))["README.md"]
    data = check_front_matter(text)
    assert (data.base_model, data.base_model_relation) == (base, "quantized")
    assert ("not on the Hub" in text) == (source == "sqlcoder-nano")


@pytest.mark.parametrize("source", ["my model", "a/b/c", "/home/me/model", "../x", "a b/c"])
def test_a_model_that_is_not_on_the_hub_names_no_base(source):
    data = check_front_matter(card_files(manifest(source={"id": source, "digest": "d"}))["README.md"])
    assert data.base_model is None and data.get("base_model_relation") is None and data.eval_results is None
    assert data.license == "unknown"


@pytest.mark.parametrize(
    ("format_name", "library"),
    [("gguf", "gguf"), ("gptq", "transformers"), ("fp16", "transformers"), ("mlx", "mlx"), ("onnx", "onnx")],
)
def test_the_library_is_the_one_that_opens_it(format_name, library):
    assert check_front_matter(card_files(manifest(format=format_name))["README.md"]).library_name == library


@pytest.mark.parametrize(
    ("licence", "fields"),
    [
        ({"spdx": "CC-BY-SA-4.0"}, {"license": "cc-by-sa-4.0"}),
        ({"spdx": "Apache-2.0"}, {"license": "apache-2.0"}),
        ({"spdx": "LicenseRef-BigCode-OpenRAIL-M"}, {"license": "bigcode-openrail-m"}),
        ({"spdx": "LicenseRef-Llama-3-Community"}, {"license": "llama3"}),
        ({"spdx": "NOASSERTION"}, {"license": "unknown"}),
        ({}, {"license": "unknown"}),
        (
            {"spdx": "LicenseRef-Mine", "link": "https://a.example/licence"},
            {"license": "other", "license_name": "mine", "license_link": "https://a.example/licence"},
        ),
        (
            {"name": "Own: terms!", "link": "javascript:alert(1)"},
            {"license": "other", "license_name": "own-terms", "license_link": "LICENSE"},
        ),
    ],
)
def test_licences_bear_the_hubs_names(licence, fields):
    assert licence_fields(Licence(**licence)) == fields


def test_eval_results_say_what_was_asked_and_how_sure_it_is(tmp_path):
    files = card_files(with_results(tmp_path))
    assert set(files) == {"README.md", ".eval_results/heldout.yaml", ".eval_results/unseen.yaml"}
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/heldout.yaml"]))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("sqlcoder-workbench/heldout", "sql_accuracy", 90.0)
    assert entry.date == "2026-11-23T19:00:54+00:00"
    assert "90 of 100, 95% interval 82.56 to 94.48" in entry.notes
    assert "e" * 64 in entry.notes and "not on the Hub" in entry.notes and "not verified" in entry.notes
    assert entry.verify_token is None


def test_each_way_of_asking_is_an_entry(tmp_path):
    made = with_results(tmp_path, own_report(), own_report("rtx4090", here=False, beams=1))
    files = card_files(made)
    found = parse_eval_result_entries(yaml.safe_load(files[".eval_results/heldout.yaml"]))
    assert ["beam search with 4" in found[0].notes, "greedy" in found[1].notes] == [True, True]
    names = [result.metric_name for result in check_front_matter(files["README.md"]).eval_results]
    assert len(set(names)) == 2 and sum("greedy" in name for name in names) == 2


def test_other_questions_under_the_same_name_are_not_mistaken(tmp_path):
    other = ({"name": "heldout", "questions": 100, "digest": "9" * 64, "source": "bundled"},)
    made = with_results(tmp_path, own_report(), own_report("rtx4090", here=False, question_sets=other))
    files = card_files(made)
    first, second = parse_eval_result_entries(yaml.safe_load(files[".eval_results/heldout.yaml"]))
    assert "e" * 64 in first.notes and "9" * 64 in second.notes
    digests = [
        result.metric_args["question_set_sha256"] for result in check_front_matter(files["README.md"]).eval_results
    ]
    assert set(digests) == {"e" * 64, "f" * 64, "9" * 64, "not recorded"}
    assert files["README.md"].count("| heldout | 100 | bundled | `" + "9" * 64) == 1


def test_questions_that_cannot_be_answered_are_told_apart(tmp_path):
    report = own_report()
    own = report.artifacts[0]
    object.__setattr__(own, "sets", (SetScores("refusing", (Score("refusals", 7, 10),), {}),))
    files = card_files(with_results(tmp_path, report))
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/refusing.yaml"]))
    assert (entry.task_id, entry.value) == ("refusals", 70.0)
    assert "| refusing (rightly declined) | 10 | 70.0% |" in files["README.md"]


def test_a_repository_card_indexes_every_variant(tmp_path):
    q4 = with_results(tmp_path / "a")
    q8 = with_results(tmp_path / "b", own_report(recipe="gguf-q8_0"), name="gguf-q8_0")
    data = check_front_matter(repository_card([q4, q8]))
    names = {result.metric_name for result in data.eval_results}
    assert names == {"Execution accuracy, strict, gguf-q4_k_m", "Execution accuracy, strict, gguf-q8_0"}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_break_neither_front_matter_nor_results(tmp_path, text):
    files = card_files(hostile_manifest(with_results(tmp_path), text))
    check_names(files)
    data = check_front_matter(files["README.md"])
    assert data.license in ("other", "unknown", "mit") and data.model_name == f"{plain(text)} {plain(text)}"
    for name in set(files) - {"README.md"}:
        assert all(entry.verify_token is None for entry in parse_eval_result_entries(yaml.safe_load(files[name])))


@given(st.text(min_size=1))
def test_any_name_makes_valid_yaml(text):
    if not plain(text):
        return
    facts = read_facts(manifest(name=text, model=text, architecture=text, source={"id": text, "digest": text}))
    check_front_matter(f"---\n{front_matter([facts], plain(text))}\n---\n\n# A card\n")


@given(st.text() | st.sampled_from(["a.git", "a..-b", "--", "." * 99, "a" * 200, "con"]))
def test_any_question_set_has_an_id_the_hub_takes(text):
    validate_repo_id(dataset_id(text))
    assert text == slug(text) or dataset_id(text) != dataset_id(slug(text))
    assert slug(slug(text)) == slug(text)


def test_two_sets_that_differ_in_case_have_files_of_their_own(tmp_path):
    report = own_report()
    scores = report.artifacts[0].sets[0].scores
    names = ("Mine", "mine", "mine!", "con", "..", "")
    object.__setattr__(report.artifacts[0], "sets", tuple(SetScores(name, scores, {}) for name in names))
    files = card_files(with_results(tmp_path, report))
    check_names(files)
    assert len(files) == 1 + len(names)


def test_the_licence_of_the_source_is_the_packages(tmp_path):
    assert LICENCE["spdx"] in card_files(with_results(tmp_path))["README.md"]
