"""The provenance statement: what it says, that the libraries read it, and that every bit of a manifest counts."""

import contextlib
import hashlib
import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2 as slsa
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from plain_artifacts import COMMIT, plain_artifact, plain_manifest

from workbench.artifact import manifest_text
from workbench.errors import ArtifactError
from workbench.provenance import PREDICATE_TYPE, provenance_text

FILES = [
    {"path": "config.json", "bytes": 9, "sha256": "c0" * 32},
    {"path": "model.safetensors", "bytes": 9, "sha256": "5a" * 32},
]
SOURCE = {"id": "nobody/none", "revision": COMMIT, "digest": "ab" * 32, "files": FILES}


def told(**changes) -> dict:
    return json.loads(provenance_text(manifest_text(plain_manifest(**changes)).encode()))


def test_the_libraries_messages_read_it(tmp_path: Path) -> None:
    artifact = plain_artifact(tmp_path / "a", package={"made_at": "2026-11-23T19:00:54+00:00"})
    text = provenance_text((artifact.path / "manifest.json").read_bytes())
    message = json_format.Parse(text, statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    assert message.predicate_type == PREDICATE_TYPE
    predicate = json_format.ParseDict(json.loads(text)["predicate"], slsa.Provenance())
    assert predicate.build_definition.external_parameters["revision"] == COMMIT
    assert predicate.run_details.metadata.invocation_id == "cd" * 32
    assert predicate.run_details.metadata.finished_on.ToJsonString() == "2026-11-23T19:00:54Z"


def test_its_subjects_are_the_manifest_and_all_files(tmp_path: Path) -> None:
    folder = plain_artifact(tmp_path / "a").path
    statement = json.loads(provenance_text((folder / "manifest.json").read_bytes()))
    found = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    assert found == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_it_names_what_the_artifact_was_made_of() -> None:
    materials = told(source=SOURCE)["predicate"]["buildDefinition"]["resolvedDependencies"]
    by_name = {one["name"]: one for one in materials}
    assert by_name["nobody/none"]["uri"] == f"pkg:huggingface/nobody/none@{COMMIT}"
    weights = by_name["nobody/none/model.safetensors"]
    assert weights == {
        "name": "nobody/none/model.safetensors",
        "digest": {"sha256": "5a" * 32},
        "uri": f"pkg:huggingface/nobody/none@{COMMIT}#model.safetensors",
    }
    assert by_name["calibration: bundled"]["digest"] == {"canonicalJsonSha256": "ca" * 32}
    assert by_name["questions: heldout"]["digest"] == {"canonicalJsonSha256": "3d" * 32}


def test_numbers_stay_whole() -> None:
    recipe = {"name": "a", "options": {"bits": 4, "damp": 0.01, "symmetric": True, "kernel": None, "list": [1, 2.5]}}
    asked = told(recipe=recipe)["predicate"]["buildDefinition"]["externalParameters"]
    assert json.dumps(asked["recipe"], sort_keys=True) == json.dumps(recipe, sort_keys=True)


@settings(max_examples=200, deadline=None)
@given(place=st.integers(min_value=0), bit=st.integers(0, 7))
def test_every_bit_of_the_manifest_counts(place: int, bit: int) -> None:
    whole = bytearray(manifest_text(plain_manifest(source=SOURCE)).encode())
    text = provenance_text(bytes(whole))
    whole[place % len(whole)] ^= 1 << bit
    with contextlib.suppress(ArtifactError):  # it is no manifest any more
        assert provenance_text(bytes(whole)) != text


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, manifest_text(plain_manifest(source={"id": 1, "digest": []})).encode(),
     manifest_text(plain_manifest(results={"reports": "x"})).encode(),
     manifest_text(plain_manifest(recipe={"a": float("nan")})).encode()],
    ids=["empty", "bytes", "list", "object", "deep", "source", "results", "nan"],
)  # fmt: skip
def test_what_is_no_manifest_is_one_sentence(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="package the artifact again"):
        provenance_text(content)


def test_a_folder_has_no_address() -> None:
    source = {"id": "my-model", "revision": None, "digest": "ab" * 32, "files": FILES}
    materials = told(source=source)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert not any("uri" in one for one in materials)
