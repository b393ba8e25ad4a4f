"""Packages: complete, the same bytes each time, whole at every moment, and nothing in them by accident."""

import dataclasses
import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from plain_artifacts import REPORT, WEIGHTS, contents, plain_artifact

from workbench import package as packaging
from workbench.artifact import open_artifact, read_manifest, sha256_file, write_manifest
from workbench.cli import cli
from workbench.errors import ArtifactError, StorageError
from workbench.package import PackageRequest, generated_files, package
from workbench.package_files import MANIFEST, PROVENANCE, SIGNATURE
from workbench.progress import Listener
from workbench.provenance import provenance_text
from workbench.whole_file import write_whole


class Heard(Listener):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.bytes: list[tuple[int, int]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, what: str, done: int, total: int) -> None:
        self.bytes.append((done, total))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return plain_artifact(tmp_path / "store" / "gptq-4bit").path


def test_a_package_lists_every_file_and_its_provenance_names_the_manifest(folder: Path) -> None:
    package(PackageRequest(folder))
    found = contents(folder)
    listed = {entry.path: entry.sha256 for entry in read_manifest(folder).files}
    assert {*listed, MANIFEST, PROVENANCE} == set(found)
    assert all(sha256_file(folder / name) == digest for name, digest in listed.items())
    assert found[PROVENANCE].decode() == provenance_text(found[MANIFEST])


def test_a_second_run_changes_no_byte(folder: Path) -> None:
    package(PackageRequest(folder, repository="me/it"))
    before = {name: (text, (folder / name).stat().st_mtime_ns) for name, text in contents(folder).items()}
    package(PackageRequest(folder))
    after = {name: (text, (folder / name).stat().st_mtime_ns) for name, text in contents(folder).items()}
    assert after == before
    assert read_manifest(folder).package["repository"] == "me/it"


def test_results_as_a_report_holds_them_and_as_the_manifest_does_make_the_same_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {**dict(reversed(list(REPORT.items()))), "question_sets": tuple(REPORT["question_sets"])}
    monkeypatch.setattr(packaging, "collect_results", lambda artifact, reports: {"reports": (record,)})
    package(PackageRequest(folder))
    before = {name: (folder / name).stat().st_mtime_ns for name in contents(folder)}
    package(PackageRequest(folder))
    assert {name: (folder / name).stat().st_mtime_ns for name in contents(folder)} == before


def test_what_describes_the_model_is_made_of_the_manifest_alone(folder: Path, tmp_path: Path) -> None:
    """A verifier makes the files again out of the sealed manifest, elsewhere and later."""
    package(PackageRequest(folder))
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    again = generated_files(read_manifest(moved), moved)
    assert again == {name: (folder / name).read_text() for name in read_manifest(folder).package["generated"]}


def test_no_path_or_name_of_this_machine_is_in_it(folder: Path, tmp_path: Path) -> None:
    import getpass
    import platform

    package(PackageRequest(folder))
    for name, content in contents(folder).items():
        host = platform.node()
        secrets = [str(tmp_path), str(Path.home()) + "/", f"/{getpass.getuser()}/", *[host for _ in host[5:6]]]
        for secret in secrets:  # a short host name is a part of some word
            assert secret.encode() not in content, (name, secret)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "generation_config.json"])
def test_an_altered_file_of_the_model_is_refused(folder: Path, name: str) -> None:
    for _ in range(2):  # before and after it was packaged
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
        before = contents(folder)
        with pytest.raises(ArtifactError, match=f"{name} was altered"):
            package(PackageRequest(folder))
        assert contents(folder) == before
        (folder / name).write_bytes(content)
        package(PackageRequest(folder))


@pytest.mark.parametrize(
    "stray", ["notes.txt", ".env", "run.log", "README.md", "sub/cache.bin", ".ipynb_checkpoints/a.py"]
)
def test_a_stray_file_is_named_and_nothing_is_done(folder: Path, stray: str) -> None:
    (folder / stray).parent.mkdir(exist_ok=True)
    (folder / stray).write_text("HF_TOKEN=hf_x")
    before = contents(folder)
    with pytest.raises(ArtifactError, match=stray.replace(".", r"\.")):
        package(PackageRequest(folder))
    assert contents(folder) == before


def test_litter_is_left_out_and_left_alone(folder: Path) -> None:
    for name in (".DS_Store", "._config.json", ".gitattributes", ".cache/huggingface/x", ".git/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    package(PackageRequest(folder))
    assert not {name for name in contents(folder) if name.startswith(".")} & {
        entry.path for entry in read_manifest(folder).files if not entry.path.startswith(".eval_results/")
    }
    assert (folder / ".git" / "config").exists()


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(WEIGHTS)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "weights")
    with pytest.raises(ArtifactError, match="is a link"):
        package(PackageRequest(folder))


def test_weights_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: Path, heard=None) -> str:
        read.append(path.name)
        return sha256_file(path, heard)

    for module in ("artifact", "package_folder", "signing"):
        monkeypatch.setattr(f"workbench.{module}.sha256_file", counted)
    heard, total = Heard(), sum(len(content) for name, content in contents(folder).items() if name != MANIFEST)
    package(PackageRequest(folder), heard)
    assert read.count("model.safetensors") == 1
    assert heard.bytes[-1] == (total, total)


class Killed(BaseException):
    """As if the process had ended here."""


def _texts(version: str):
    """Generated files of two versions of the workbench: one changes, one goes, one comes, one amends the model's."""
    files = {
        "old": {"README.md": "old card\n", "gone/a.md": "x\n", "generation_config.json": '{"eos": 0, "beams": 1}\n'},
        "new": {"README.md": "new and longer card\n", "SERVE.md": "y\n", "generation_config.json": '{"eos": 0}\n'},
    }  # fmt: skip
    return lambda manifest, folder: files[version]


@pytest.mark.parametrize("stop", range(13))
def test_a_run_killed_anywhere_leaves_an_artifact_and_the_next_one_mends(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr(packaging, "generated_files", _texts("old"))
    package(PackageRequest(folder))
    assert (folder / "gone" / "a.md").exists()
    whole = shutil.copytree(folder, folder.parent / "whole")
    monkeypatch.setattr(packaging, "generated_files", _texts("new"))
    package(PackageRequest(whole))
    steps = iter(range(stop, -1, -1))
    with monkeypatch.context() as patch:
        for owner, name in ((Path, "replace"), (Path, "unlink"), (Path, "rmdir")):
            patch.setattr(owner, name, _killing(getattr(owner, name), steps))
        killed = False
        try:
            package(PackageRequest(folder))
        except Killed:
            killed = True
            open_artifact(folder)  # whole, whatever happened
    assert killed is (stop < 12), "count the steps again"
    package(PackageRequest(folder))
    assert contents(folder) == contents(whole)
    assert not (folder / "gone").exists()


def _killing(step, steps):
    def call(*args, **options):
        if next(steps, 0) == 0:
            raise Killed
        return step(*args, **options)

    return call


def test_a_described_file_that_was_altered_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaging, "generated_files", lambda manifest, place: {"README.md": "card\n"})
    package(PackageRequest(folder))
    before = contents(folder)
    for content in ("Card\n", "", None):
        (folder / "README.md").unlink()
        if content is not None:
            (folder / "README.md").write_text(content)
        package(PackageRequest(folder))
        assert contents(folder) == before


def test_a_signature_of_other_contents_goes(folder: Path) -> None:
    package(PackageRequest(folder))
    (folder / SIGNATURE).write_text("{}")
    heard = Heard()
    package(PackageRequest(folder), heard)
    assert not (folder / SIGNATURE).exists()
    assert any("sign again" in note for note in heard.notes)


def test_an_older_package_keeps_its_results_where_its_store_is_not(folder: Path) -> None:
    package(PackageRequest(folder))
    manifest = read_manifest(folder)
    assert manifest.results == {"reports": [REPORT]}
    assert manifest.package["made_at"] == REPORT["made_at"]


def test_a_full_disk_is_one_sentence_and_room_mends_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        if path.name == "README.md":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_whole(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(packaging, "write_whole", full)
        with pytest.raises(StorageError, match=r"the disk of .* is full"):
            package(PackageRequest(folder))
    open_artifact(folder)
    package(PackageRequest(folder))
    assert (folder / "README.md").exists()


def test_a_refuted_artifact_may_be_packaged(folder: Path) -> None:
    write_manifest(folder, dataclasses.replace(read_manifest(folder), acceptance={"verdict": "refuted", "reason": "x"}))
    package(PackageRequest(folder))
    assert (folder / PROVENANCE).exists()


def test_a_source_that_is_not_at_hand_is_told_and_no_error(folder: Path) -> None:
    heard = Heard()
    package(PackageRequest(folder), heard)
    source = read_manifest(folder).source
    assert (source["files"], bool(source["files_reason"])) == ([], True)
    assert any("--source" in note for note in heard.notes)


def test_no_artifact_is_one_sentence_and_makes_no_folder(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["package", str(tmp_path / "a" / "b")])
    assert isinstance(done.exception, ArtifactError)
    assert not (tmp_path / "a").exists()


def test_a_manifest_of_a_stranger_names_no_file_elsewhere(folder: Path, tmp_path: Path) -> None:
    for name in ("victim", ".victim.new"):
        (tmp_path / name).write_text("mine")
    record = json.loads((folder / MANIFEST).read_text())
    record["package"] = {"generated": ["../../victim"]}
    (folder / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(ArtifactError, match="outside"):
        package(PackageRequest(folder))
    assert (tmp_path / "victim").read_text() == (tmp_path / ".victim.new").read_text() == "mine"


def test_the_command(folder: Path) -> None:
    command = [sys.executable, "-m", "workbench", "package", str(folder), "--repository", "me/it"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_manifest(folder).package["repository"] == "me/it"
