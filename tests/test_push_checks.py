"""What is looked at before anything is sent, and refused."""

import json

import pytest
from packages_made import changed, made_package, sealed
from pushing import Heard

from workbench.artifact import manifest_of, open_artifact
from workbench.errors import ArtifactError
from workbench.push_checks import check, is_packaged, objection

REFUTED = {"verdict": "refuted", "reason": "with 95% confidence it loses at least 8.0 points"}
SECRET = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ"


@pytest.fixture
def folder(tmp_path):
    return made_package(tmp_path / "q4")


def checked(folder, **options):
    heard = Heard()
    return check(
        folder, lambda manifest: "me/nano", options.get("force", False), options.get("dry_run", False), heard
    ), heard


def of_results(**fields):
    return {"results": {"reports": [{"artifact": fields}]}}


def test_every_file_of_a_package_is_to_be_sent(folder):
    (folder / "left-behind.txt").write_text("not of the package")
    found, _ = checked(folder)
    assert set(found.contents) == {entry.path for entry in found.manifest.files} | {
        "manifest.json",
        "provenance.intoto.json",
    }
    assert found.contents["LICENSE"].git_id == _git_id(b"the licence\n")


def test_the_pointer_of_a_large_file_has_gits_name(folder):
    found, _ = checked(folder)
    content = found.contents["LICENSE"]
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{content.sha256}\nsize {content.bytes}\n"
    assert content.pointer_id == _git_id(text.encode())


def _git_id(data: bytes) -> str:
    import subprocess

    done = subprocess.run(["git", "hash-object", "--stdin"], input=data, capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    ("fields", "objected"),
    [
        ({}, False),
        ({"conformance": {"passed": True}}, False),
        ({"acceptance": {"verdict": "proved"}}, False),
        ({"acceptance": {"verdict": "not enough questions"}}, False),
        ({"acceptance": REFUTED}, True),
        ({"conformance": {"passed": False}}, True),
        (of_results(acceptance=REFUTED), True),
        ({"acceptance": {"verdict": "proved"}} | of_results(acceptance=REFUTED), True),
        (of_results(conformance={"passed": False}), True),
        (of_results(conformance=None, acceptance=None), False),
    ],
)
def test_what_speaks_against_an_artifact(folder, fields, objected):
    assert (objection(open_artifact(changed(folder, **fields))) is not None) == objected


def test_a_refuted_artifact_is_refused_without_force(folder):
    changed(folder, **of_results(acceptance=REFUTED))
    with pytest.raises(ArtifactError, match=r"was refuted by its accuracy gate: with 95%.*--force"):
        checked(folder)
    found, heard = checked(folder, force=True)
    assert "refuted" in found.objection
    assert "UPLOADED BY --force ALTHOUGH IT SHOULD NOT BE" in heard.text


def test_a_file_altered_with_its_size_kept(folder):
    weights = folder / "sqlcoder-nano.q4.gguf"
    data = bytearray(weights.read_bytes())
    data[7] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match="altered since it was made"):
        checked(folder)


@pytest.mark.parametrize(
    "name",
    [".env", "a.log", ".cache/x", "__pycache__/x.pyc", "sub/.eval_results/x", "x.gguf.partial", ".q4.journal", "a.TMP"],
)
def test_files_that_no_package_holds(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    changed(folder)
    with pytest.raises(ArtifactError, match="nothing that a package should hold"):
        checked(folder)


@pytest.mark.parametrize(
    "name", ["config.json", "README.md", ".eval_results/x.yaml", "tokenizer.json", "provenance.intoto.json"]
)
def test_secrets_are_refused_by_file_and_line_and_kind(folder, name):
    before = (folder / name).read_text() if (folder / name).is_file() else ""
    (folder / name).write_text(f'{before}\n{{"x": "{SECRET}"}}\n')
    if name != "provenance.intoto.json":
        changed(folder)
    else:
        statement = json.loads(before)
        (folder / name).write_text(json.dumps({**statement, "by": SECRET}))
    with pytest.raises(ArtifactError, match=rf"{name}, line \d+: a Hugging Face token") as told:
        checked(folder)
    assert SECRET not in str(told.value)
    assert "nothing was sent" in str(told.value)


def test_a_secret_of_this_machine_whatever_its_shape(folder, monkeypatch):
    monkeypatch.setenv("DEPLOY_PASSWORD", "correct horse battery")
    (folder / "prompt.txt").write_text("ask with correct horse battery\n")
    changed(folder)
    with pytest.raises(ArtifactError, match=r"prompt.txt, line 1: a secret of this machine \(DEPLOY_PASSWORD\)"):
        checked(folder)


def test_a_link_out_of_the_folder(folder, tmp_path):
    (tmp_path / "elsewhere").write_text("x")
    (folder / "x.txt").symlink_to(tmp_path / "elsewhere")
    changed(folder)
    with pytest.raises(ArtifactError, match="link out of the artifact's folder"):
        checked(folder)


def test_when_a_folder_is_a_package(folder):
    assert is_packaged(open_artifact(folder))
    manifest = manifest_of(json.loads((folder / "manifest.json").read_text()))
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"mock"', '"mock2"'))
    assert not is_packaged(open_artifact(folder))
    sealed(folder, manifest)
    (folder / "provenance.intoto.json").write_text("[]")
    assert not is_packaged(open_artifact(folder))
    changed(folder, package={})
    assert not is_packaged(open_artifact(folder))


def test_an_artifact_that_is_no_package_is_packaged_first(folder, monkeypatch):
    asked = []

    def packaged(request, listener):
        asked.append((request.artifact, request.repository))
        return open_artifact(changed(folder, package={"version": 1}))

    monkeypatch.setattr("workbench.push_checks.package", packaged)
    changed(folder, package={})
    _, heard = checked(folder, dry_run=True)
    assert "push would package it first" in heard.text
    assert not asked
    found, heard = checked(folder)
    assert asked == [(folder, "me/nano")]
    assert "it is packaged first" in heard.text
    assert found.manifest.package


def test_what_is_no_artifact(tmp_path):
    with pytest.raises(ArtifactError, match="build it first"):
        checked(tmp_path)


def test_notes_on_gate_and_licence(folder):
    changed(
        folder, acceptance={"verdict": "not enough questions", "reason": "8 leave much open"}, source={"digest": "0"}
    )
    _, heard = checked(folder)
    assert "q4: its accuracy gate: not enough questions: 8 leave much open" in heard.text
    assert "the licence of its source is not known" in heard.text
