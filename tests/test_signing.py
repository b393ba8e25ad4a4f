"""Signatures: keys and what is none, every bit of the file, and the library's own command as another pair of eyes."""

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from plain_artifacts import plain_artifact

from workbench.cli import cli
from workbench.errors import ArtifactError, PrerequisiteError, WorkbenchError
from workbench.package import PackageRequest, package
from workbench.package_files import SIGNATURE
from workbench.signing import sign, verify_signature
from workbench.signing_keys import make_key, private_key, public_key

pytest.importorskip("OpenSSL", reason="model-signing needs pyopenssl and does not name it; pip install pyopenssl")

NO_NETWORK = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        make_key(folder / name)
    return folder


@pytest.fixture
def signed(tmp_path: Path, keys: Path) -> Path:
    folder = plain_artifact(tmp_path / "q4").path
    package(PackageRequest(folder, sign_key=keys / "own"))
    return folder


def library(folder: Path, public: Path) -> subprocess.CompletedProcess[str]:
    """The command that model-signing brings."""
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
    command += ["--signature", str(folder / SIGNATURE), "--public_key", str(public)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_librarys_command_accepts_a_package(signed: Path, keys: Path) -> None:
    done = library(signed, keys / "own.pub")
    assert done.returncode == 0, done.stderr
    (signed / ".gitattributes").write_text("*.safetensors filter=lfs\n")  # as a download from the Hub leaves it
    (signed / ".cache" / "huggingface").mkdir(parents=True)
    (signed / ".cache" / "huggingface" / "CACHEDIR.TAG").write_text("x")
    assert library(signed, keys / "own.pub").returncode == 0
    assert verify_signature(signed, keys / "own.pub").status == "passed"
    assert library(signed, keys / "other.pub").returncode != 0


def test_the_librarys_command_refuses_an_altered_package(signed: Path, keys: Path) -> None:
    config = (signed / "config.json").read_bytes()
    (signed / "config.json").write_bytes(config.replace(b"gpt_bigcode", b"gpt_bigcodE"))
    assert library(signed, keys / "own.pub").returncode != 0
    (signed / "config.json").write_bytes(config)
    assert library(signed, keys / "own.pub").returncode == 0
    (signed / "extra.py").write_text("print()")
    assert library(signed, keys / "own.pub").returncode != 0


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json", "provenance.intoto.json"])
def test_a_flipped_bit_in_any_file_is_found(signed: Path, keys: Path, name: str) -> None:
    content = bytearray((signed / name).read_bytes())
    content[len(content) // 2] ^= 1
    (signed / name).write_bytes(content)
    try:
        check = verify_signature(signed, keys / "own.pub")
    except ArtifactError:
        return  # the manifest is none any more
    assert (check.status, name in check.detail) == ("failed", True)


def test_every_bit_of_the_signature_counts(signed: Path, keys: Path) -> None:
    """Bits of every byte around the payload, and of every seventh of the payload, each alone."""
    from workbench.signing import signed_digests

    whole, digests = (signed / SIGNATURE).read_bytes(), signed_digests(signed, {})
    start, end = whole.index(b'"payload":"') + 11, whole.index(b'","payloadType"')
    places = [*range(start), *range(start, end, 7), *range(end - 8, len(whole))]
    for place in places:
        for bit in {place % 8, (place * 5 + 3) % 8} if not start <= place < end else {place % 8}:
            altered = bytearray(whole)
            altered[place] ^= 1 << bit
            (signed / SIGNATURE).write_bytes(altered)
            check = verify_signature(signed, keys / "own.pub", digests=digests)
            assert check.status == "failed", (place, bit, bytes(altered[place - 8 : place + 8]))
    (signed / SIGNATURE).write_bytes(whole)
    assert verify_signature(signed, keys / "own.pub", digests=digests).status == "passed"


def test_every_bit_counts_for_who_has_no_key_too(signed: Path) -> None:
    """The signature leads to its key, whose digest stands beside it: some bits of the two."""
    from workbench.signing import signed_digests

    whole, digests = (signed / SIGNATURE).read_bytes(), signed_digests(signed, {})
    places = [whole.index(b'"hint":"') + 8 + one for one in range(0, 64, 13)]
    places += [whole.index(b'"sig":"') + 7 + one for one in range(0, 92, 9)]
    for number, place in enumerate(places):
        altered = bytearray(whole)
        altered[place] ^= 1 << number % 8
        (signed / SIGNATURE).write_bytes(altered)
        assert verify_signature(signed, digests=digests).status == "failed", place
    (signed / SIGNATURE).write_bytes(whole)
    check = verify_signature(signed, digests=digests)
    assert (check.status, check.detail.startswith("it holds for the key")) == ("not checked", True)


@pytest.mark.parametrize(
    "alter",
    [
        lambda text: text + "\n",
        lambda text: text.replace(":", ": ", 1),
        lambda text: text.replace('"keyid":""', '"keyid":"x"'),
        lambda text: text.replace('{"media', '{"x":1,"media'),
        lambda text: text.replace('"hint":"', '"hint":"","hint":"'),
        lambda text: text.replace('"tlogEntries":[]', '"tlogEntries":[{}]'),
        lambda text: json.dumps({**json.loads(text), "mediaType": "application/json"}, separators=(",", ":")),
        lambda text: "[" * 200_000,
        lambda text: "{}",
        lambda text: "",
        lambda text: "\u00e9" + text,
    ],
)  # fmt: skip
def test_what_a_signature_does_not_cover_is_not_to_be_altered_either(signed: Path, keys: Path, alter) -> None:
    file = signed / SIGNATURE
    file.write_text(alter(file.read_text()), encoding="utf-8")
    for public in (keys / "own.pub", None):
        assert verify_signature(signed, public).status == "failed"


def test_an_attacker_who_redoes_everything_lacks_the_key(signed: Path, keys: Path) -> None:
    (signed / SIGNATURE).unlink()
    sign(signed, keys / "other")
    check = verify_signature(signed, keys / "own.pub")
    assert (check.status, check.detail) == ("failed", "it is signed by another key")
    text = (signed / SIGNATURE).read_text()  # and says that it is the right key
    hints = [json.loads(text)["verificationMaterial"]["publicKey"]["hint"], _hint(keys / "own.pub")]
    (signed / SIGNATURE).write_text(text.replace(*hints))
    assert verify_signature(signed, keys / "own.pub").status == "failed"


def _hint(public: Path) -> str:
    from workbench.signing_keys import fingerprint

    return fingerprint(public_key(public))


def test_without_a_key_nothing_is_claimed(signed: Path, keys: Path) -> None:
    assert verify_signature(signed).status == "not checked"
    (signed / SIGNATURE).unlink()
    assert verify_signature(signed).status == "not checked"
    assert verify_signature(signed, keys / "own.pub").status == "failed"  # who names a key wants a signature


def test_who_is_trusted_is_said_in_one_way(signed: Path, keys: Path) -> None:
    for wrong in ({"identity": "me"}, {"issuer": "x"}, {"public": keys / "own.pub", "identity": "m", "issuer": "x"}):
        with pytest.raises(WorkbenchError, match="in one way"):
            verify_signature(signed, **wrong)
    assert "give --public-key" in verify_signature(signed, identity="me", issuer="https://x").detail


def test_a_signature_that_holds_is_kept_and_a_broken_one_is_not(signed: Path, keys: Path) -> None:
    first = (signed / SIGNATURE).read_bytes()
    assert sign(signed, keys / "own") is False
    assert (signed / SIGNATURE).read_bytes() == first
    bundle = json.loads(first)
    value = bytearray(base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"]))
    value[-1] ^= 1
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(value).decode()
    (signed / SIGNATURE).write_text(json.dumps(bundle, separators=(",", ":")))
    assert sign(signed, keys / "own") is True
    assert verify_signature(signed, keys / "own.pub").status == "passed"
    assert sign(signed, keys / "other") is True


def test_the_folders_name_is_not_signed(signed: Path, keys: Path, tmp_path: Path) -> None:
    payload = base64.b64decode(json.loads((signed / SIGNATURE).read_text())["dsseEnvelope"]["payload"]).decode()
    assert json.loads(payload)["subject"][0]["name"] == "gptq-4bit"
    assert str(tmp_path) not in payload
    elsewhere = signed.rename(tmp_path / "elsewhere")
    assert verify_signature(elsewhere, keys / "own.pub").status == "passed"
    assert library(elsewhere, keys / "own.pub").returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX's")
def test_a_new_key_is_its_owners_alone_and_replaces_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["signing-key", str(tmp_path / "k.pem")])
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE((tmp_path / "k.pem").stat().st_mode) == 0o600
    before = (tmp_path / "k.pem").read_bytes()
    with pytest.raises(WorkbenchError, match="already"):
        make_key(tmp_path / "k.pem")
    (tmp_path / "k.pem").unlink()
    with pytest.raises(WorkbenchError, match=r"k\.pem\.pub is there already"):
        make_key(tmp_path / "k.pem")
    assert not (tmp_path / "k.pem").exists()
    assert b"PRIVATE" in before
    assert public_key(tmp_path / "k.pem.pub").curve.name == "secp256r1"


def _pem(key, password: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no private key"),
        (b"\x00\xff", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key"),
        (_pem(ec.generate_private_key(ec.SECP256R1()))[:120], "no private key"),
        (_pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), "passphrase"),
        (_pem(ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
        (_pem(rsa.generate_private_key(65537, 2048)), "RSAPrivateKey"),
    ],
)
def test_what_is_no_private_key_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    with pytest.raises(WorkbenchError, match=sentence) as told:
        private_key(file)
    assert "\n" not in str(told.value)
    folder = plain_artifact(tmp_path / "q4").path
    with pytest.raises(WorkbenchError, match=sentence):
        package(PackageRequest(folder, sign_key=file))
    assert not (folder / "provenance.intoto.json").exists()  # nothing was begun


def test_halves_of_a_key_are_told_apart(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="public key, which signs nothing"):
        private_key(keys / "own.pub")
    with pytest.raises(WorkbenchError, match="private key, which is not to be handed around"):
        public_key(keys / "own")
    with pytest.raises(WorkbenchError, match="cannot be read"):
        private_key(tmp_path / "none")
    with pytest.raises(WorkbenchError, match="cannot be read"):
        private_key(tmp_path)


def test_keyless_without_an_identity_is_one_sentence(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("id.detect_credential", lambda audience: None)
    with pytest.raises(PrerequisiteError, match="identity of a workflow"):
        sign(signed, None, keyless=True)


def test_keyless_in_a_job_without_the_permission_is_one_sentence(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", raising=False)
    with pytest.raises(PrerequisiteError, match="id-token: write"):
        sign(signed, None, keyless=True)


def test_keyless_without_the_network_is_one_sentence(
    signed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A token is there; the way out is a proxy on this machine where nobody listens."""
    secret = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b"{}", b'{"aud":"x"}', b"s"))
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: secret)
    before = (signed / SIGNATURE).read_bytes()
    with pytest.raises(PrerequisiteError, match=r"sigstore\.dev") as told:
        sign(signed, None, keyless=True)
    assert secret not in str(told.value)
    assert (signed / SIGNATURE).read_bytes() == before


def test_one_way_to_sign(signed: Path, keys: Path) -> None:
    for key, keyless in ((None, False), (keys / "own", True)):
        with pytest.raises(WorkbenchError, match="one of a key and keyless"):
            sign(signed, key, keyless)
