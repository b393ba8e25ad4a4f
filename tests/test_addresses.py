"""Addresses lose what opens what they name, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.addresses import bare_address, without_login, without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hush@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("postgresql://me:p@ss@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("https://:token@mlflow.example", "https://:***@mlflow.example"),
        ("postgresql://me@db/x", "postgresql://me@db/x"),
        ("host=db password=hush user=me", "host=db password=*** user=me"),
        ("postgresql://db/x?password=hush&user=me", "postgresql://db/x?password=***&user=me"),
        ("/a/plain:path@place", "/a/plain:path@place"),
    ],
)
def test_passwords_are_not_told(text, shown):
    assert without_passwords(text) == shown


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("https://zoe:s3cret@host:5000/x", "https://host:5000/x"),
        ("postgresql://zoe:p/a@ss@host/db?password=s3cret&x=1", "postgresql://host/db"),
        ("cannot reach https://a:b@c/d?token=1 today", "cannot reach https://c/d today"),
        ("sqlite:////tmp/a b/mlflow.db", "sqlite:////tmp/a b/mlflow.db"),
        ("someone@example.org", "someone@example.org"),
    ],
)
def test_a_sentence_tells_no_login(text, public):
    assert without_login(text) == public


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://zoe:s3cret@host:5000/v1?key=1#here", "https://host:5000/v1"),
        ("zoe:s3cret@host:5000", "host:5000"),
        (" http://host ", "http://host"),
        ("/login?next=https://zoe:s3cret@host", "host"),
        ("", "nowhere"),
    ],
)
def test_an_address_is_shown_bare(url, bare):
    assert bare_address(url) == bare


@given(st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1).map(lambda text: f"s3cret{text}"))
def test_no_password_is_shown_whatever_it_holds(password):
    url = f"https://zoe:{password}@host/x"
    assert bare_address(url) == without_login(url) == "https://host/x"
