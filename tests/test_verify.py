"""Verification of packages: a thousand flipped bits, what an attacker would do, what is said of what is not known."""

import dataclasses
import json
import os
import random
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packages import nano_package

from workbench.artifact import FileEntry, open_artifact, read_manifest, sha256_file, write_manifest
from workbench.checks import FAILED, NOT_CHECKED, PASSED
from workbench.errors import ArtifactError, VerificationError, WorkbenchError
from workbench.package import PackageRequest, package
from workbench.package_files import BOM, CARD, MANIFEST, PROVENANCE, SIGNATURE
from workbench.progress import Listener
from workbench.provenance import provenance_text
from workbench.signing_keys import make_key
from workbench.verify import VerifyRequest, verify, verify_folder

RECIPE = "gguf-q4_k_m"
FLIPS = 300  # the thousand of the slow test take half a minute
HERE = [HealthCheck.function_scoped_fixture]


class Heard(Listener):
    """Keeps what is told."""

    def __init__(self):
        self.lines = []

    def step(self, title):
        self.lines.append(title)

    def note(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    pytest.importorskip("OpenSSL", reason="model-signing needs pyopenssl; pip install pyopenssl")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        make_key(folder / name)
    return folder


@pytest.fixture(scope="module")
def unsigned_once(tmp_path_factory):
    return nano_package(RECIPE, tmp_path_factory.mktemp("unsigned") / RECIPE)


@pytest.fixture(scope="module")
def signed_once(unsigned_once, tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("signed") / RECIPE
    shutil.copytree(unsigned_once, folder)
    package(PackageRequest(folder, sign_key=keys / "own"))
    return folder


@pytest.fixture
def unsigned(unsigned_once, tmp_path):
    return shutil.copytree(unsigned_once, tmp_path / "unsigned" / RECIPE)


@pytest.fixture
def signed(signed_once, tmp_path):
    return shutil.copytree(signed_once, tmp_path / "signed" / RECIPE)


def looked_at(folder, keys=None, **options):
    """Status of every check."""
    request = VerifyRequest(str(folder), public_key=keys / "own.pub" if keys else None)
    return {check.name: check.status for check in verify_folder(folder, request, **options)}


def failing(folder, keys=None):
    return {name for name, status in looked_at(folder, keys).items() if status == FAILED}


def details(folder, name, keys=None):
    request = VerifyRequest(str(folder), public_key=keys / "own.pub" if keys else None)
    return next(check.detail for check in verify_folder(folder, request) if check.name == name)


def files_of(folder):
    return sorted(file for file in folder.rglob("*") if file.is_file())


def flip(file, place, bit):
    with file.open("r+b") as handle:
        handle.seek(place)
        (byte,) = handle.read(1)
        handle.seek(place)
        handle.write(bytes([byte ^ 1 << bit]))


def test_a_complete_package_passes(unsigned_once, signed_once, keys):
    expected = dict.fromkeys(
        ("layout", "manifest", "digests", "weights", "contents", "card", "bom", "provenance"), PASSED
    )
    assert looked_at(unsigned_once) == expected | {"signature": NOT_CHECKED}
    assert looked_at(signed_once) == expected | {"signature": NOT_CHECKED}
    assert looked_at(signed_once, keys) == expected | {"signature": PASSED}


@pytest.mark.parametrize("recipe", ["fp16", "mlx-4bit", "onnx-fp16"])
def test_packages_of_other_formats_pass(tmp_path, recipe):
    found = looked_at(nano_package(recipe, tmp_path / recipe))
    assert found.pop("signature") == NOT_CHECKED
    assert set(found.values()) == {PASSED}


def flips_that_pass(folder, count, seed, keys=None):
    """Flip single bits, as many in each file, one at a time; those after which nothing fails."""
    chance, files, unnoticed = random.Random(seed), files_of(folder), []
    for number in range(count):
        file = files[number % len(files)]
        place, bit = chance.randrange(file.stat().st_size), chance.randrange(8)
        flip(file, place, bit)
        if not failing(folder, keys):
            unnoticed.append((file.name, place, bit))
        flip(file, place, bit)
    return unnoticed


def test_flipped_bits_are_found(unsigned):
    assert flips_that_pass(unsigned, FLIPS, 1) == []
    assert failing(unsigned) == set()


def test_flipped_bits_of_a_signed_package_are_found(signed, keys):
    assert flips_that_pass(signed, FLIPS // 3, 2, keys) == []
    assert failing(signed, keys) == set()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [RECIPE, "fp16", "int8", "gptq-4bit", "onnx-int4"])
def test_a_thousand_flipped_bits_of_every_format_are_found(tmp_path, keys, recipe):
    folder = nano_package(recipe, tmp_path / recipe)
    assert flips_that_pass(folder, 1000, 3) == []
    package(PackageRequest(folder, sign_key=keys / "own"))
    assert flips_that_pass(folder, 1000, 4, keys) == []


@given(data=st.data())
@settings(suppress_health_check=HERE, deadline=None, max_examples=40)
def test_any_flipped_bit_of_any_file_is_found(signed_once, keys, data):
    file = data.draw(st.sampled_from(files_of(signed_once)))
    place, bit = data.draw(st.integers(0, file.stat().st_size - 1)), data.draw(st.integers(0, 7))
    flip(file, place, bit)
    try:
        assert failing(signed_once, keys)
    finally:
        flip(file, place, bit)


def append(folder):
    with (folder / CARD).open("ab") as handle:
        handle.write(b"\n")


def cut(folder):
    weights = next(folder.glob("*.gguf"))
    os.truncate(weights, weights.stat().st_size - 1)


def swap(folder):
    (folder / "template").rename(folder / "kept")
    (folder / "params").rename(folder / "template")
    (folder / "kept").rename(folder / "params")


def pipe(folder):
    (folder / CARD).unlink()
    os.mkfifo(folder / CARD)


ALTERATIONS = {
    "a line more": (append, "digests"),
    "a byte less": (cut, "digests"),
    "two files swapped": (swap, "digests"),
    "a file gone": (lambda folder: (folder / "LICENSE").unlink(), "digests"),
    "a file more": (lambda folder: (folder / "evil.py").write_text("import os"), "layout"),
    "no provenance": (lambda folder: (folder / PROVENANCE).unlink(), "provenance"),
    "an empty provenance": (lambda folder: (folder / PROVENANCE).write_text(""), "provenance"),
    "no bill of materials": (lambda folder: (folder / BOM).unlink(), "bom"),
    "a link": (lambda folder: (folder / "passwd").symlink_to("/etc/passwd"), "layout"),
    "a pipe for a file": (pipe, "layout"),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_what_is_altered_is_named(unsigned, name):
    alter, check = ALTERATIONS[name]
    alter(unsigned)
    assert check in failing(unsigned)


def test_a_strays_name_reaches_no_terminal(unsigned):
    (unsigned / "a\x1b[2J.py").write_text("x")
    (unsigned / os.fsdecode(b"\xff.json")).write_text("{")
    heard = Heard()
    with pytest.raises(VerificationError) as error:
        verify(VerifyRequest(str(unsigned)), heard)
    told = str(error.value).replace(str(unsigned), "") + "".join(heard.lines)
    assert "\x1b" not in told
    assert told.encode("utf-8")


def test_a_file_that_cannot_be_read(unsigned, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("workbench.verify.sha256_file", refuse)
    monkeypatch.setattr("workbench.verify.check_file", refuse)
    assert failing(unsigned) >= {"digests", "contents"}
    assert "README.md cannot be read (Permission denied)" in details(unsigned, "contents")


def test_a_digest_that_differs_is_told_with_both(unsigned):
    flip(unsigned / CARD, 100, 0)
    expected = next(entry.sha256 for entry in open_artifact(unsigned).manifest.files if entry.path == CARD)
    found = sha256_file(unsigned / CARD)
    told = f"README.md is not the file that was packaged: sha256 {expected} expected, {found} found"
    assert details(unsigned, "digests") == told


def redone(folder, **changes):
    """What an attacker does after altering files: list them anew, and make the provenance again."""
    manifest = read_manifest(folder)
    entries = tuple(
        FileEntry(one.path, (folder / one.path).stat().st_size, sha256_file(folder / one.path))
        for one in manifest.files
        if (folder / one.path).exists()
    )
    write_manifest(folder, dataclasses.replace(manifest, files=entries, **changes))
    (folder / PROVENANCE).write_text(provenance_text((folder / MANIFEST).read_bytes()))


def test_who_redoes_every_digest_is_found_by_the_signature_alone(signed, keys):
    flip(next(signed.glob("*.gguf")), 4_000_000, 0)
    signature = (signed / SIGNATURE).read_bytes()
    redone(signed)
    package_again_bom(signed)
    (signed / SIGNATURE).write_bytes(signature)
    assert failing(signed, keys) >= {"signature"}


def package_again_bom(folder):
    """The bill of materials for the altered files, as an attacker would have the workbench make it."""
    package(PackageRequest(folder))


def test_a_package_made_anew_from_altered_weights_passes_all_but_the_signature(unsigned, keys):
    flip(next(unsigned.glob("*.gguf")), 4_000_000, 0)
    redone(unsigned)
    package_again_bom(unsigned)
    assert failing(unsigned) == set()  # which is why the summary says that nobody vouches for it
    assert failing(unsigned, keys) == {"signature"}


def test_a_card_that_praises_more_than_was_measured_is_found(unsigned):
    card = unsigned / CARD
    card.write_text(card.read_text().replace("sqlcoder", "SQLCODER", 1))
    redone(unsigned)
    assert failing(unsigned) >= {"card"}
    assert "digests" not in failing(unsigned)
    assert "README.md" in details(unsigned, "card")


def test_a_bill_of_materials_that_is_not_the_manifests(unsigned):
    record = json.loads((unsigned / BOM).read_text())
    (unsigned / BOM).write_text(json.dumps(record))
    redone(unsigned)
    assert failing(unsigned) == {"bom"}
    record["components"] = "none"
    (unsigned / BOM).write_text(json.dumps(record))
    redone(unsigned)
    assert "not valid" in details(unsigned, "bom")
    record["specVersion"] = "0.1"
    (unsigned / BOM).write_text(json.dumps(record))
    redone(unsigned)
    assert "version" in details(unsigned, "bom")


def test_a_bill_of_materials_of_another_version_must_still_name_every_file(unsigned):
    manifest = open_artifact(unsigned).manifest
    record = json.loads((unsigned / BOM).read_text())
    (unsigned / BOM).write_text(json.dumps(record))
    redone(unsigned, package={**manifest.package, "workbench": "9.9.9"})
    assert looked_at(unsigned)["bom"] == PASSED
    (part,) = record["metadata"]["component"]["components"]
    part["hashes"][0]["content"] = "0" * 64
    (unsigned / BOM).write_text(json.dumps(record))
    redone(unsigned)
    assert "sqlcoder-nano.Q4_K_M.gguf" in details(unsigned, "bom")
    del record["metadata"]
    (unsigned / BOM).write_text(json.dumps(record))
    redone(unsigned)
    assert "sqlcoder-nano.Q4_K_M.gguf" in details(unsigned, "bom")


def test_another_versions_words_are_said_not_to_be_compared(unsigned):
    manifest = open_artifact(unsigned).manifest
    card = unsigned / CARD
    card.write_text(card.read_text() + "\nother words\n")
    redone(unsigned, package={**manifest.package, "workbench": "9.9.9"})
    assert looked_at(unsigned)["card"] == NOT_CHECKED
    assert "9.9.9" in details(unsigned, "card")
    with (unsigned / PROVENANCE).open("a") as handle:
        handle.write("\n")
    assert looked_at(unsigned)["provenance"] == NOT_CHECKED
    text = (unsigned / PROVENANCE).read_text()
    (unsigned / PROVENANCE).write_text(text.replace(sha256_file(card), "0" * 64))
    assert looked_at(unsigned)["provenance"] == FAILED


def test_words_of_another_state_of_the_same_version_are_not_compared_either(unsigned):
    manifest = open_artifact(unsigned).manifest
    card = unsigned / CARD
    card.write_text(card.read_text() + "\nother words\n")
    redone(unsigned, package={**manifest.package, "maker": "0" * 64})
    assert looked_at(unsigned)["card"] == NOT_CHECKED
    assert "another state of workbench" in details(unsigned, "card")
    with (unsigned / PROVENANCE).open("a") as handle:
        handle.write("\n")
    assert looked_at(unsigned)["provenance"] == FAILED


def places_of(value, at=()):
    """Every place within JSON values."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places_of(one, (*at, key))


def put(record, at, value):
    for key in at[:-1]:
        record = record[key]
    record[at[-1]] = value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(data=st.data())
@settings(suppress_health_check=HERE, deadline=None, max_examples=60)
def test_whatever_stands_in_a_manifest_checks_come_of_it(unsigned_once, data):
    before = (unsigned_once / MANIFEST).read_bytes()
    record = json.loads(before)
    at = data.draw(st.sampled_from([place for place in places_of(record) if place]))
    put(record, at, data.draw(JSON))
    (unsigned_once / MANIFEST).write_text(json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    try:
        changed = (unsigned_once / MANIFEST).read_bytes() != before
        assert bool(failing(unsigned_once)) == changed
    finally:
        (unsigned_once / MANIFEST).write_bytes(before)


def test_a_licence_that_is_another_is_found(unsigned):
    (unsigned / "LICENSE").write_text("Do what you like.")
    redone(unsigned)
    assert "'LICENSE' does not say" in details(unsigned, "card")


def test_an_artifact_that_was_never_packaged(unsigned, keys):
    manifest = open_artifact(unsigned).manifest
    for name in (*manifest.package["generated"], PROVENANCE):
        (unsigned / name).unlink()
    redone(unsigned, package={})
    (unsigned / PROVENANCE).unlink()
    found = looked_at(unsigned)
    assert found["digests"] == PASSED
    assert {found[name] for name in ("card", "bom", "provenance", "signature")} == {NOT_CHECKED}
    assert "never packaged" in details(unsigned, "provenance")
    assert looked_at(unsigned, must_be_package=True)["provenance"] == FAILED
    assert looked_at(unsigned, keys)["signature"] == FAILED
    (unsigned / PROVENANCE).write_text("{}")
    assert failing(unsigned) >= {"provenance"}


def test_a_signature_of_another_key(signed, keys):
    request = VerifyRequest(str(signed), public_key=keys / "other.pub")
    assert next(one for one in verify_folder(signed, request) if one.name == "signature").status == FAILED


def test_a_key_but_no_signature(unsigned, keys):
    assert failing(unsigned, keys) == {"signature"}


def test_what_is_told_of_a_good_package(unsigned):
    heard = Heard()
    verify(VerifyRequest(str(unsigned)), heard)
    lines = [line for line in heard.lines if line.startswith(("layout", "digests", "signature"))]
    assert [line.split()[1] for line in lines] == ["passed", "passed", "not"]
    assert heard.lines[-1].startswith("Proved: every file is the one that its manifest lists")
    assert "Not proved: who made it" in heard.lines[-1]


def test_what_is_told_of_a_bad_one(unsigned):
    flip(unsigned / "prompt.txt", 5, 0)
    heard = Heard()
    with pytest.raises(VerificationError) as error:
        verify(VerifyRequest(str(unsigned)), heard)
    assert error.value.exit_code == 1
    assert "\n  - digests: prompt.txt is not the file that was packaged: sha256 " in str(error.value)
    assert heard.lines[-1] == "Not what it says it is: digests failed."


def test_neither_a_folder_nor_a_repository(tmp_path):
    with pytest.raises(WorkbenchError, match="no folder here and no repository"):
        verify(VerifyRequest(str(tmp_path / "nothing")))
    with pytest.raises(WorkbenchError, match="no folder here and no repository"):
        verify(VerifyRequest("x" * 5000))
    with pytest.raises(ArtifactError, match="no package"):
        verify(VerifyRequest(str(tmp_path)))
    (tmp_path / MANIFEST).symlink_to("/etc/passwd")
    with pytest.raises(ArtifactError, match="no plain file"):
        verify(VerifyRequest(str(tmp_path)))
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="cannot be listed"):
        verify(VerifyRequest(str(tmp_path / "file")))


def test_nothing_of_a_package_is_changed(signed, keys):
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files_of(signed)}
    verify_folder(signed, VerifyRequest(str(signed), public_key=keys / "own.pub"))
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files_of(signed)} == before
