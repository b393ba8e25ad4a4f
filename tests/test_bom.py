"""The bill of materials: valid by CycloneDX's own strict schema, complete, and the same bytes each time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_artifacts import COMMIT, plain_artifact, plain_manifest

from workbench.artifact import manifest_of, manifest_text
from workbench.bom import bom_text
from workbench.errors import ArtifactError

FILES = [
    {"path": "config.json", "bytes": 9, "sha256": "c0" * 32},
    {"path": "model.safetensors", "bytes": 9, "sha256": "5a" * 32},
]
LICENCE = {
    "spdx": "CC-BY-SA-4.0",
    "name": "Creative Commons Attribution Share Alike 4.0 International",
    "link": "https://creativecommons.org/licenses/by-sa/4.0/",
    "attribution": "none by nobody",
    "base_model": "nobody/none",
}
SOURCE = {"id": "nobody/none", "revision": COMMIT, "digest": "ab" * 32, "files": FILES, "licence": LICENCE}
PACKAGE = {"version": 1, "made_at": "2026-11-23T19:00:54+00:00", "workbench": "0.1.0", "repository": None}


def checked(**changes) -> dict:
    """A bill, after the library's validator has seen it."""
    text = bom_text(plain_manifest(**{"source": SOURCE, "package": PACKAGE, **changes}))
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert fault is None, fault
    return json.loads(text)


def test_every_file_of_the_model_stands_in_it_with_its_digest(tmp_path: Path) -> None:
    artifact = plain_artifact(tmp_path / "a")
    model = checked(files=artifact.manifest.files)["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    found = {one["name"]: one["hashes"] for one in model["components"]}
    assert found == {entry.path: [{"alg": "SHA-256", "content": entry.sha256}] for entry in artifact.manifest.files}


def test_the_base_model_is_its_ancestor() -> None:
    (base,) = checked()["metadata"]["component"]["pedigree"]["ancestors"]
    assert base["purl"] == f"pkg:huggingface/nobody/none@{COMMIT}"
    assert base["version"] == COMMIT
    assert {one["name"]: one["hashes"][0]["content"] for one in base["components"]} == {
        one["path"]: one["sha256"] for one in FILES
    }
    folder = {"id": "my-model", "revision": None, "digest": "ab" * 32}
    (base,) = checked(source=folder)["metadata"]["component"]["pedigree"]["ancestors"]
    assert "purl" not in base


def test_metrics_carry_their_intervals_and_data_sets_their_digests() -> None:
    bill = checked()
    card = bill["metadata"]["component"]["modelCard"]
    metrics = {one["type"]: one for one in card["quantitativeAnalysis"]["performanceMetrics"]}
    assert metrics["sql_accuracy"] == {
        "type": "sql_accuracy",
        "value": repr(300 / 336),
        "slice": "heldout, rtx4090 (NVIDIA GeForce RTX 4090)",
        "confidenceInterval": {"lowerBound": "0.855", "upperBound": "0.921"},
    }
    data = {one["bom-ref"]: one for one in bill["components"]}
    assert {data[one["ref"]]["name"] for one in card["modelParameters"]["datasets"]} == {
        "calibration: bundled",
        "questions: heldout",
    }
    digests = {prop["value"] for one in data.values() for prop in one["properties"]}
    assert digests == {"ca" * 32, "3d" * 32}


def test_predicted_figures_are_called_predicted() -> None:
    from plain_artifacts import REPORT

    artifact = REPORT["artifact"]
    predicted = [{**artifact["measurements"][0], "kind": "predicted"}]
    report = {**REPORT, "artifact": {**artifact, "measurements": predicted}}
    card = checked(results={"reports": [report]})["metadata"]["component"]["modelCard"]
    types = [one["type"] for one in card["quantitativeAnalysis"]["performanceMetrics"]]
    assert types == ["sql_accuracy", "predicted decode_tokens_per_s [tokens/s]"]


@pytest.mark.parametrize(
    ("changes", "licences"),
    [
        ({}, [{"id": "CC-BY-SA-4.0"}]),
        ({"spdx": "llama2", "name": "Llama 2 Community License"}, [{"name": "Llama 2 Community License"}]),
        ({"spdx": "NOASSERTION"}, []),
        ({"link": None}, [{"id": "CC-BY-SA-4.0"}]),
    ],
)
def test_licences(changes: dict, licences: list) -> None:
    model = checked(source={**SOURCE, "licence": {**LICENCE, **changes}})["metadata"]["component"]
    found = [{k: v for k, v in one["license"].items() if k in ("id", "name")} for one in model.get("licenses", [])]
    assert found == licences


def test_what_is_not_known_is_left_out() -> None:
    bill = checked(results={}, details={}, package={}, source={"id": "x", "revision": None, "digest": "ab" * 32})
    assert "timestamp" not in bill["metadata"]
    assert "components" not in bill
    assert checked()["metadata"]["timestamp"] == PACKAGE["made_at"]


def test_the_serial_number_is_of_the_contents() -> None:
    assert checked()["serialNumber"] == checked()["serialNumber"]
    assert checked()["serialNumber"] != checked(build_key="0" * 64)["serialNumber"]
    assert checked()["serialNumber"].startswith("urn:uuid:")


def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Sets of strings are ordered by a seed that differs from run to run; a manifest's keys come back sorted."""
    file = tmp_path / "manifest.json"
    file.write_text(manifest_text(plain_manifest(source=SOURCE, package=PACKAGE)))
    code = (
        "import json, sys; from pathlib import Path; from workbench.artifact import manifest_of\n"
        "from workbench.bom import bom_text; from workbench.provenance import provenance_text\n"
        "content = Path(sys.argv[1]).read_bytes(); print(bom_text(manifest_of(json.loads(content))))\n"
        "print(provenance_text(content))"
    )
    texts = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, str(file)]
        texts.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(texts) == 1
    again = manifest_of(json.loads(file.read_text()))
    assert bom_text(again).encode() in texts.pop()


@settings(max_examples=60, deadline=None)
@given(name=st.text(min_size=1, max_size=20), version=st.text(max_size=12))
def test_names_of_strangers_stay_names(name: str, version: str) -> None:
    try:
        bill = checked(tool_versions={"workbench": "0.1.0", "x": version}, prompt=name, architecture=name)
    except ArtifactError:
        return  # refused in one sentence
    assert bill["metadata"]["component"]["modelCard"]["modelParameters"]["modelArchitecture"] == name


@pytest.mark.parametrize(
    "changes",
    [{"source": {}}, {"source": {"id": "a/b", "digest": 1, "files": [{}]}}, {"results": {"reports": [{}]}},
     {"package": {"made_at": "yesterday"}}, {"details": {"calibration": {"texts": 1}}}, {"recipe": []}],
)  # fmt: skip
def test_a_manifest_of_a_stranger_is_one_sentence(changes: dict) -> None:
    with pytest.raises(ArtifactError, match="no bill of materials"):
        bom_text(plain_manifest(**changes))
