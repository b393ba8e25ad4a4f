import contextlib
import dataclasses
import json
import re
from functools import cache

import pytest
from carded import ACCEPTANCE, CONFORMANCE, manifest, own_report, with_results
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from workbench.artifact import FileEntry, Manifest, manifest_of
from workbench.card import card_files, repository_card
from workbench.errors import ArtifactError
from workbench.plain_text import plain

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def body(text: str) -> str:
    return text.split("\n---\n", 1)[1]


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", body(text), re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def inlines(text: str):
    return [child for token in MARKDOWN.parse(body(text)) if token.type == "inline" for child in token.children]


@pytest.fixture
def card(tmp_path):
    def made(*reports, **changes):
        return card_files(with_results(tmp_path, *reports, **changes))["README.md"]

    return made


def test_it_tells_what_was_measured_with_its_conditions(card):
    measured = section(card(), "Measured")
    assert (
        "| time for a question | 500 ms | 600 ms | 7 | 246 tokens in, 48 out, batch 1, beams 4 | a machine |"
        in measured
    )
    assert "| peak memory | 1.0 GiB | - | 1 | context 1024, beams 4 | a machine |" in measured
    assert "~" not in measured


def test_what_is_predicted_stands_apart_with_its_interval(card):
    predicted = section(card(own_report("rtx4090", here=False)), "Predicted, not measured")
    assert "| time for a question | ~120 ms | 81 ms to 250 ms | 246 tokens in" in predicted
    assert "no range known" in predicted and "`rtx4090`" in predicted


def test_without_the_machine_nothing_is_called_measured(card):
    text = card(own_report("rtx4090", here=False))
    assert "Speed and memory are predicted, not measured" in text
    assert "Nothing of speed and memory was measured." in section(text, "Measured")
    assert "nobody ran this package on that hardware" in section(text, "Limits")


def test_accuracy_has_intervals_flips_and_categories(card):
    accuracy = section(card(), "Accuracy")
    # Wilson's interval of 90 of 100, as R's prop.test(90, 100, correct=FALSE) has it: 0.8256343 to 0.9447708.
    assert "| heldout | 100 | 90.0% | 82.6% to 94.5% | 3 | 1 | 0.625 | -2.0 [-10.0, +10.0] |" in accuracy
    assert "| unseen | 40 | 7.5% |" in accuracy
    assert "| date | 50.0% [29.9, 70.1] of 20 | 50.0% [29.9, 70.1] of 20 |" in accuracy
    assert "beam search with 4 beams" in accuracy and "reference `fp16`" in accuracy
    assert "e" * 64 in accuracy and "8.0 points on heldout" in accuracy


def test_several_profiles_share_one_scoring_and_each_has_its_figures(card):
    text = card(own_report(), own_report("rtx4090", here=False))
    assert section(text, "Accuracy").count("| heldout | 100 |") == 2  # once scored, once in the list of the sets
    hardware = section(text, "For which hardware")
    assert "| `cpu` | a machine | fits: needs 1 of 18 GiB | yes: it is the only one |" in hardware
    assert "| `rtx4090` | predicted; answers were made on a machine | fits" in hardware


def test_another_way_of_asking_is_another_table(card):
    text = card(own_report(), own_report("rtx4090", here=False, beams=1))
    assert "greedy decoding" in section(text, "Accuracy") and "4 beams" in section(text, "Accuracy")
    assert section(text, "Accuracy").count("| heldout | 100 | 90.0%") == 2


def test_the_reference_is_called_so(card):
    own = {"name": "fp16", "kind": "artifact", "digest": "k"}
    text = card(own_report(recipe="fp16", reference=own), name="fp16", format="fp16")
    assert "this package is the reference." in section(text, "Accuracy")


def test_what_the_build_had_to_say_is_told(card):
    report = own_report()
    object.__setattr__(report.artifacts[0], "notes", ("on one thread, of /opt/engine/lib",))
    assert "- On cpu: on one thread, of lib" in section(card(report), "Measured")


def test_without_a_report_it_says_so():
    text = card_files(manifest())["README.md"]
    assert "**Nothing was measured.**" in text
    assert "Not scored" in section(text, "Accuracy")
    assert "KL divergence from the reference: not measured." in text
    assert "## Predicted" not in text and "## For which hardware" not in text
    assert set(card_files(manifest())) == {"README.md"}


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("proved", "**proved**"),
        ("refuted", "**refuted, do not use it"),
        ("not enough questions", "**not decided, not enough questions**"),
        ("not judged", "**not judged**"),
    ],
)
def test_the_gate_speaks_in_words(verdict, words):
    text = card_files(manifest(acceptance={**ACCEPTANCE, "verdict": verdict}))["README.md"]
    assert words in section(text, "Accuracy")
    assert ("> **The accuracy gate refuted this package:** with 95% confidence" in text) == (verdict == "refuted")


@pytest.mark.parametrize("passed", [True, False])
def test_what_does_not_conform_is_told_at_the_top(passed):
    text = card_files(manifest(conformance={**CONFORMANCE, "passed": passed}))["README.md"]
    assert ("> **It does not compute what its source computes:**" in text) == (not passed)
    assert ("It does NOT conform to its source, in mock none" in section(text, "Nearness to the source")) == (
        not passed
    )


def test_it_tells_how_it_was_made(card):
    calibration = {"source": "/home/me/texts.txt", "texts": 128, "tokens": 34712, "texts_sha256": "c" * 64}
    text = card(details={"calibration": calibration, "made_on": "x86_64, AVX2"})
    made = section(text, "How it was made")
    assert "[defog/sqlcoder2](https://huggingface.co/defog/sqlcoder2) at revision `" + "a" * 40 in made
    assert "128 texts of 34,712 tokens from texts.txt" in made and "c" * 64 in made
    assert "Computed on x86_64, AVX2" in made
    assert "| `type` | `q4_k_m` | llama.cpp's file type: the mixture of bit widths. |" in made
    assert "gguf 0.19.0, workbench 0.1.0" in made
    assert "/home" not in text and "my questions.csv" in text


def test_it_names_licence_and_author(card):
    rights = section(card(), "Licence and attribution")
    assert "(https://creativecommons.org/licenses/by-sa/4.0/legalcode)" in rights
    assert "Made from defog/sqlcoder2 by Defog, Inc." in rights


def backwards(pairs):
    return dict(reversed(pairs))


def test_the_same_manifest_makes_the_same_bytes(tmp_path):
    made = with_results(tmp_path, own_report(), own_report("rtx4090", here=False))
    read_back = manifest_of(json.loads(json.dumps(dataclasses.asdict(made), sort_keys=True)))
    shuffled = manifest_of(json.loads(json.dumps(dataclasses.asdict(made)), object_pairs_hook=backwards))
    assert card_files(made) == card_files(read_back) == card_files(shuffled)
    assert repository_card([made]) == repository_card([read_back]) == repository_card([shuffled])


@pytest.mark.parametrize(
    "change",
    [
        {"results": {"reports": [{"profile": 3}]}},
        {"results": {"reports": "none"}},
        {"weight_bytes": "many"},
        {"conformance": {"passed": "perhaps"}},
        {"source": {"id": []}},
        {"recipe": {"options": 7}},
    ],
    ids=str,
)
def test_a_manifest_of_another_shape_is_refused_in_one_sentence(change):
    with pytest.raises(ArtifactError, match="cannot be made a card of"):
        card_files(manifest(**change))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def known_record(tmp_path_factory):
    return json.dumps(dataclasses.asdict(with_results(tmp_path_factory.mktemp("store"))))


def places(value, path=()):
    """Paths of everything within JSON values."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in places(one, (*path, key)))]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_manifest_a_card_or_one_sentence_comes_of_it(known_record, data):
    record = json.loads(known_record)
    *path, last = data.draw(st.sampled_from(places(record)[1:]))
    owner = record
    for key in path:
        owner = owner[key]
    owner[last] = data.draw(JSON)
    try:
        made = manifest_of(record)
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # no manifest at all: refused when it is read
    with contextlib.suppress(ArtifactError):
        for text in card_files(made).values():
            text.encode("utf-8")


HOSTILE = [
    "x](javascript:alert(1))|<script>alert(1)</script>",
    "---\nlicense: mit\n---\n",
    "`]()` ![x](https://a.b/c.png) [a]: https://a.b",
    "<img src=x onerror=alert(1)>&lt;b&gt;",
    "a | b \\| c \\",
    "# heading\n\n- list\n\n> quote",
    "{{ 7*7 }}{% include 'report.css' %}",
    "\u202egnp.exe\u200b\x00\ud800",
    "null",
    "*a* __b__ ~~c~~ $$d$$",
    "[^1] [ ] [x]",
    "'\"!!python/object:os.system",
]


def hostile_manifest(made: Manifest, text: str) -> Manifest:
    """Every text of a manifest and of its results replaced, but for what the workbench compares with."""
    keep = {"kind", "unit", "verdict", "profile_is_here", "format", "path"}
    measures = {"question_s", "peak_memory_bytes", "sql_accuracy"}

    def changed(value, key=""):
        if isinstance(value, dict):
            return {name: changed(one, name) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [changed(one, key) for one in value]
        known = not isinstance(value, str) or key in keep or value in measures
        return value if known or value.startswith("sql_accuracy/") else text

    own = {name: changed(getattr(made, name)) for name in ("recipe", "source", "acceptance", "conformance", "results")}
    own["acceptance"]["verdict"] = "proved"
    own["tool_versions"] = {text: text, "workbench": text}
    own["recipe"]["options"] = {text: text, "type": text}
    own["details"] = {"calibration": {"source": text, "texts": 3, "tokens": 4, "texts_sha256": text}, "made_on": text}
    weights = re.sub(r'[\x00-\x1f\x7f<>:"|?*\\/]', "", plain(text)) + ".gguf"
    own["files"] = (FileEntry(weights, 1, "0" * 64),)
    return dataclasses.replace(made, name=text, model=text, architecture=text, build_key=text, **own)


def check_harmless(text: str, shape: list[str]) -> None:
    tokens = MARKDOWN.parse(body(text))
    assert [token.type for token in tokens] == shape
    children = inlines(text)
    assert not {child.type for child in children} & {"html_inline", "image", "s_open"}
    links = [dict(child.attrs)["href"] for child in children if child.type == "link_open"]
    assert all(re.match(r"https://(huggingface\.co|creativecommons\.org)/|[^:/]*/README\.md$", href) for href in links)


def shape_of(text: str) -> list[str]:
    return [token.type for token in MARKDOWN.parse(body(text))]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_stay_names(tmp_path, text):
    made = with_results(tmp_path)
    tame, wild = (hostile_manifest(made, name) for name in ("name", text))
    found = card_files(wild)["README.md"]
    check_harmless(found, shape_of(card_files(tame)["README.md"]))
    heading = next(token for token in MARKDOWN.parse(body(found)) if token.type == "inline")
    told = "".join(child.content for child in heading.children if child.type in ("text", "code_inline"))
    assert told == f"{plain(text)}, {plain(text)}"
    check_harmless(repository_card([wild, wild]), shape_of(repository_card([tame, tame])))


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("ab|`<>[](){}!*_~$\\#-+.:/@&\"' \n\t1^=%") | st.characters(), min_size=1))
def test_no_text_breaks_front_matter_or_tables(known_record, text):
    made = manifest_of(json.loads(known_record))
    if plain(text):
        check_harmless(card_files(hostile_manifest(made, text))["README.md"], tame_shape(known_record))


@cache
def tame_shape(record: str) -> list[str]:
    return shape_of(card_files(hostile_manifest(manifest_of(json.loads(record)), "name"))["README.md"])


def test_a_repository_shows_its_variants_side_by_side(tmp_path):
    q4 = with_results(tmp_path / "a", own_report(), own_report("rtx4090", here=False))
    refuted = {**ACCEPTANCE, "verdict": "refuted", "reason": "with 95% confidence it loses at least 3.0 points"}
    q2 = with_results(
        tmp_path / "b",
        own_report(recipe="gguf-q2_k", recommended=None),
        name="gguf-q2_k",
        weight_bytes=5_000_000_000,
        acceptance=refuted,
    )
    text = repository_card([q2, q4])
    rows = [line for line in text.splitlines() if line.startswith("| `model.Q4_K_M.gguf`")]
    assert [row.split(" | ")[1] for row in rows] == ["`gguf-q4_k_m`", "`gguf-q2_k`"]
    assert "90.0% [82.6, 94.5]" in rows[0] and "-3 +1" in rows[0] and "500 ms" in rows[0]
    assert "**REFUTED**" in rows[1]
    choice = section(text, "Which to choose")
    assert "On profile `cpu`: `gguf-q4_k_m`, it is the only one." in choice
    assert "Not `gguf-q2_k`: its accuracy gate refuted it." in choice
    assert "[card](gguf-q2_k/README.md)" in choice
    assert repository_card([q4, q2]) == text


def test_a_repository_tells_its_own_name_in_commands(tmp_path):
    q4, bare = with_results(tmp_path), manifest(name="gguf-q8_0", weight_bytes=16_000_000_000)
    text = repository_card([q4, bare], "acme/sqlcoder2-GGUF")
    assert "verify acme/sqlcoder2-GGUF --recipe RECIPE" in text and "name: sqlcoder2-GGUF" in text
    assert "question sets called bundled" in text  # those of the second, though the first was asked nothing
    assert "llama-server -hf acme/sqlcoder2-GGUF:Q4_K_M " in text


def test_a_repository_is_of_one_model():
    other = manifest(source={"id": "defog/sqlcoder", "digest": "d"})
    with pytest.raises(ArtifactError, match="defog/sqlcoder and defog/sqlcoder2; give each model its own repository"):
        repository_card([manifest(), other])


def test_a_repository_needs_a_package():
    with pytest.raises(ValueError, match="no card"):
        repository_card([])
