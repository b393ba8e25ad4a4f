"""Secrets found in texts by shape and by value, and never told themselves."""

import base64
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.secret_scan import Finding, find_secrets, redacted, scan, scan_file

# Made up here, in the shapes their issuers document; put together so that no scanner takes this file for a leak.
EXAMPLES = {
    "a Hugging Face token": "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ" + "9bCdEfGh",
    "a GitHub token": "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "a GitLab token": "glpat-" + "abcdefghij0123456789",
    "an AWS access key": "AKIA" + "IOSFODNN7EXAMPLE",
    "a Google API key": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "a Slack token": "xoxb-" + "1234567890-abcdefghij",
    "a package registry's token": "npm_" + "a" * 36,
    "an API key (sk-)": "sk-" + "proj-abcdefghijklmnop1234",
    "a JSON web token": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "a private key": "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
    "an address with a password": "postgresql://me" + ":hush-hush@db.example/x",
}


@pytest.fixture(autouse=True)
def _no_secrets_of_the_machine(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "stored"))


@pytest.mark.parametrize(("kind", "secret"), EXAMPLES.items(), ids=EXAMPLES)
def test_shapes(kind, secret):
    assert scan(f"first\n{{'key': '{secret}'}}\nlast") == (Finding(2, kind),)
    assert find_secrets(secret.encode()) == [kind]
    assert secret not in redacted(f"before {secret} after")
    assert redacted(f"before {secret} after").startswith("before ")


@pytest.mark.parametrize(
    "text",
    [
        "hf_hub_download and hf_transfer, hf_",
        "ghp_short, AKIA, risk-averse-and-otherwise-long-words, task-specific-parameters-of-a-model",
        "-----BEGIN PUBLIC KEY----- -----BEGIN CERTIFICATE-----",
        "postgresql://me:***@db/x  https://user@host/x  http://127.0.0.1:8000/v1  postgresql://me:<password>@db",
        "https://user:$PASSWORD@host and https://user:{password}@host",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "",
    ],
)
def test_what_is_no_secret(text):
    assert find_secrets(text) == []
    assert redacted(text) == text


@pytest.mark.parametrize("name", ["HF_TOKEN", "DEPLOY_SECRET", "MLFLOW_TRACKING_PASSWORD", "openai_api_key"])
def test_values_of_the_environment_whatever_their_shape(monkeypatch, name):
    monkeypatch.setenv(name, 'plain"word/of mine')
    told = [f"a secret of this machine ({name})"]
    for written in ['plain"word/of mine', json.dumps('plain"word/of mine'), "plain%22word%2Fof%20mine"]:
        assert told[0] in find_secrets(f"a\n{written}\n")
    assert told[0] in find_secrets(base64.b64encode(b'plain"word/of mine'))
    assert "word" not in redacted('say plain"word/of mine now')


def test_short_values_and_other_names_are_no_secrets(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "true")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "plainword")
    monkeypatch.setenv("POSTGRES_PASSWORD", "postgres")
    monkeypatch.setenv("PIN_KEY", "12345678")
    assert find_secrets("true plainword postgres 12345678") == []


def test_the_stored_tokens_of_the_hub(tmp_path):
    (tmp_path / "token").write_text("of-the-first-login\n")
    (tmp_path / "stored").write_text("[work]\nhf_token = of-another-login\n")
    assert find_secrets("x of-the-first-login") == ["a secret of this machine (Hub token)"]
    assert find_secrets("x of-another-login") == ["a secret of this machine (stored Hub token work)"]


def test_headers_of_weights_are_looked_at_and_weights_are_not(tmp_path):
    secret = EXAMPLES["a Hugging Face token"].encode()
    header = json.dumps({"__metadata__": {"by": secret.decode()}}).encode()
    told = tmp_path / "told.safetensors"
    told.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    assert scan_file(told) == (Finding(1, "a Hugging Face token"),)
    silent = tmp_path / "silent.safetensors"
    silent.write_bytes(struct.pack("<Q", 2) + b"{}" + secret)
    assert scan_file(silent) == ()
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF" + bytes(20) + secret + bytes(64))
    assert scan_file(gguf) == (Finding(1, "a Hugging Face token"),)


def test_random_bytes_look_like_no_secret(tmp_path: Path):
    (tmp_path / "model.gguf").write_bytes(np.random.default_rng(1).bytes(8 << 20))
    assert scan_file(tmp_path / "model.gguf") == ()


@given(st.text(), st.sampled_from(sorted(EXAMPLES)), st.text())
def test_nothing_of_a_secret_is_told(before, kind, after):
    text = f"{before}\n{EXAMPLES[kind]} {after}"
    assert kind in find_secrets(text)
    assert EXAMPLES[kind] not in redacted(text)
