"""JSON of strangers: what Python would take and other readers take otherwise is refused, cheaply."""

import json

import pytest
from hostile_files import peak_bytes, sparse_file
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ArtifactError
from workbench.untrusted_json import DEEPEST, check_json, nesting, parse_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_json_writes_is_read(value):
    assert parse_json(json.dumps(value).encode(), "x") == value
    assert parse_json(json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass"), "x") == value


@given(VALUES)
def test_depth_is_counted_as_python_nests(value):
    def depth(one):
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    assert nesting(json.dumps(value).encode()) == depth(value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' twice"),
        (b'{"x": {"a": 1, "b": 2, "a": 1}}', "the key 'a' twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b'{"a": "\\ud83d"}', "surrogates"),
        (b'{"\\uDC00": 1}', "surrogates"),
        (b"[1e999]", "no computer"),
        (b"[18446744073709551616]", "64 bits"),
        (b"[" + b"9" * 5000 + b"]", "64 bits"),
        (b"[0." + b"9" * 5000 + b"]", "no computer"),
        (b"[" * 100_000, "within one another"),
        (b'{"a":' * 100_000, "within one another"),
        (b'\xef\xbb\xbf{"a": 1}', "no JSON"),
        (b'{"a": "\xff"}', "no JSON"),
        (b"{'a': 1}", "no JSON"),
        (b'{"a": 1} trailing', "no JSON"),
        (b"", "no JSON"),
        (b'"' + b"\\" * 999, "no JSON"),
    ],
)
def test_what_readers_understand_differently_is_refused(text, why):
    with pytest.raises(ArtifactError, match=why):
        parse_json(text, "config.json")


def test_both_halves_of_a_character_are_one():
    assert parse_json(b'"\\ud83d\\ude42 \\\\ud800"', "x") == "\U0001f642 \\ud800"


def test_brackets_in_strings_are_no_depth():
    assert parse_json(json.dumps(["[{" * 1000, '\\"[[[']).encode(), "x") == ["[{" * 1000, '\\"[[[']
    with pytest.raises(ArtifactError):
        parse_json(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "x")


def test_a_large_file_is_not_read(tmp_path):
    sparse_file(tmp_path / "config.json", 1 << 40)

    def check():
        check_json(tmp_path / "config.json", 1 << 16)

    with pytest.raises(ArtifactError, match="larger than"):
        check()
    assert peak_bytes(check) < 1 << 20
