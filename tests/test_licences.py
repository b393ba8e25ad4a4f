"""Which licence a package has, and what it says of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.artifact import Manifest
from workbench.licence_facts import FAMILY, LICENCES
from workbench.licences import UNKNOWN, legal_text, licence_files, licence_of
from workbench.prompt import _BY_MODEL  # the same families, told by the same names

ROOT = Path(__file__).parent.parent


def manifest(source: dict[str, Any], model: str = "m", prompt: str = "v2") -> Manifest:
    source = {"digest": "d" * 64, **source}
    versions = {"workbench": "0.1.0"}
    return Manifest("gguf-q4_k_m", model, "llama", prompt, "gguf", {}, source, (), 1, 1, 4.85, versions, "key")


def source_folder(folder: Path, **files: str) -> Any:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return SimpleNamespace(path=folder)


@pytest.mark.parametrize(
    ("model", "spdx", "also"),
    [
        ("defog/sqlcoder", "CC-BY-SA-4.0", "OpenRAIL-M"),
        ("defog/sqlcoder2", "CC-BY-SA-4.0", "OpenRAIL-M"),
        ("defog/sqlcoder-7b", "CC-BY-SA-4.0", ""),
        ("defog/sqlcoder-7b-2", "CC-BY-SA-4.0", "Llama 2 Community License"),
        ("defog/sqlcoder-34b-alpha", "CC-BY-SA-4.0", "Llama 2 Community License"),
        ("defog/sqlcoder-70b-alpha", "CC-BY-SA-4.0", "Llama 2 Community License"),
        ("defog/llama-3-sqlcoder-8b", "CC-BY-SA-4.0", "Built with Meta Llama 3"),
        ("bigcode/starcoder", "LicenseRef-bigcode-openrail-m", ""),
        ("bigcode/octocoder", "LicenseRef-bigcode-openrail-m", ""),
        ("Deci/DeciCoder-1b", "Apache-2.0", ""),
    ],
)
def test_the_family_is_known(model: str, spdx: str, also: str) -> None:
    found = licence_of({"id": model, "revision": "abc123"})
    assert (found["spdx"], found["base_model"]) == (spdx, model)
    assert found["link"].startswith("https://")
    for words in (model.split("/")[1], "revision abc123", found["name"], also):
        assert words in found["attribution"]
    folder = licence_of({"id": model.split("/")[1], "revision": None})  # a folder of that name
    assert (folder["spdx"], folder["base_model"]) == (spdx, model)


def test_names_tell_the_family_in_the_same_order_as_prompts() -> None:
    assert [one.key for one in FAMILY] == [key for key, _ in _BY_MODEL]
    assert {one.licence for one in FAMILY} <= set(LICENCES)


def test_the_bundled_model_is_under_this_repositorys_licence() -> None:
    found = licence_of({"id": "sqlcoder-nano", "revision": None})
    assert (found["spdx"], found["base_model"]) == ("Apache-2.0", None)
    assert licence_files(manifest({"id": "sqlcoder-nano"}))["LICENSE"] == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("told", [None, "MIT", [], {}, {"spdx": 1, "name": "x", "attribution": "y"}])
def test_a_broken_record_is_made_again(told: Any) -> None:
    source = {"id": "defog/sqlcoder2"}
    assert licence_files(manifest({**source, "licence": told})) == licence_files(manifest(source))


def test_a_name_that_only_resembles_one_is_no_licence() -> None:
    found = licence_of({"id": "my-sqlcoder-7b-2-finance", "revision": None})
    assert (found["spdx"], found["base_model"]) == ("NOASSERTION", None)
    assert "Defog" not in found["attribution"]
    assert "Llama 2 Community License" in found["attribution"]  # whatever else it is, these terms are likely to apply


def test_a_strangers_model_is_unknown_and_says_so_loudly() -> None:
    found = licence_of({"id": "somebody/sqlcoder-better", "revision": None})
    assert (found["spdx"], found["name"], found["link"]) == ("NOASSERTION", UNKNOWN, None)
    texts = licence_files(manifest({"id": "somebody/sqlcoder-better", "licence": found}))
    assert all("find out before you publish" in text for text in texts.values())
    assert "Defog" not in texts["NOTICE"]


@pytest.mark.parametrize(
    ("head", "spdx", "name", "link"),
    [
        ("license: MIT", "MIT", "MIT License", "https://opensource.org/license/mit"),
        ("license: cc-by-sa-4.0\nlicense_link: https://x.org/l", "CC-BY-SA-4.0", None, "https://x.org/l"),
        ("license: gpl-3.0", "LicenseRef-gpl-3.0", "gpl-3.0", None),
        ("license: other\nlicense_name: my terms\nlicense_link: LICENSE", "LicenseRef-my-terms", "my terms", None),
        ("license: other\nlicense_name: llama3", "LicenseRef-llama3", None, LICENCES["llama3"].link),
        ('license: "a\\nb ](https://evil)"', "LicenseRef-a-b---https---evil-", "a b ](https://evil)", None),
    ],
)
def test_a_repositorys_own_word_counts(tmp_path: Path, head: str, spdx: str, name: str | None, link: str) -> None:
    checkpoint = source_folder(tmp_path, README_md=f"---\n{head}\n---\n# Card\n")
    found = licence_of({"id": "defog/sqlcoder2"}, checkpoint)
    assert (found["spdx"], found["link"]) == (spdx, link)
    assert name is None or found["name"] == name


@pytest.mark.parametrize("spdx", ["Apache-2.0", "CC-BY-SA-4.0"])
def test_a_legal_text_is_recognised(tmp_path: Path, spdx: str) -> None:
    text = legal_text(spdx)
    assert text
    assert licence_of({"id": "mine/model"}, source_folder(tmp_path, LICENSE=text))["spdx"] == spdx


@pytest.mark.parametrize(
    "card", ["", "no front matter", "---\n[[[[", "---\n" + "[" * 60000 + "\n---\n", "---\n1\n---\n"]
)
def test_a_broken_card_is_no_card(tmp_path: Path, card: str) -> None:
    assert licence_of({"id": "a/b"}, source_folder(tmp_path, README_md=card))["spdx"] == "NOASSERTION"


@given(st.text(max_size=300))
def test_what_a_stranger_declares_stays_one_short_line(tmp_path_factory: pytest.TempPathFactory, word: str) -> None:
    import json

    folder = tmp_path_factory.mktemp("card")
    checkpoint = source_folder(folder, README_md=f"---\nlicense: {json.dumps(word)}\n---\n")
    found = licence_of({"id": "a/b"}, checkpoint)
    assert len(found["name"]) <= 120
    assert len(found["name"].splitlines()) <= 1
    assert licence_files(manifest({"id": "a/b", "licence": found}))["NOTICE"].count("\n") == 8


def test_a_quantized_copy_says_what_was_changed() -> None:
    """CC BY-SA 4.0, section 3(a)(1): creator, notice of the licence, address, indication of modifications."""
    source = {"id": "defog/sqlcoder2", "revision": "abc"}
    texts = licence_files(manifest({**source, "licence": licence_of(source)}, "sqlcoder2"))
    assert "Attribution-ShareAlike 4.0 International Public License" in texts["LICENSE"]
    assert "Interpretation." in texts["LICENSE"]
    for words in (
        "sqlcoder2 by Defog, Inc, revision abc", "https://huggingface.co/defog/sqlcoder2", "legalcode",
        "converted to gguf", "recipe gguf-q4_k_m, 4.85 bits", "defog-ai/sqlcoder",
    ):  # fmt: skip
        assert words in texts["NOTICE"]
