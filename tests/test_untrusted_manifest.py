"""Manifests of strangers: types, digests, names and sums must be right, or nothing is compared with them."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import ArtifactError
from workbench.untrusted_manifest import read_manifest

FILE = {"path": "model.safetensors", "bytes": 20, "sha256": "0" * 64}
GOOD = {
    "name": "fp16", "model": "m", "architecture": "llama", "prompt": "v3", "format": "fp16", "recipe": {"name": "fp16"},
    "source": {"id": "m", "revision": None, "digest": "0" * 64},
    "files": [FILE, {"path": "config.json", "bytes": 5, "sha256": "1" * 64}],
    "weight_bytes": 20, "parameters": 10, "bits_per_weight": 16.0, "tool_versions": {"workbench": "0.1.0"},
    "build_key": "2" * 64,
}  # fmt: skip


def read(folder, record):
    path = folder / "manifest.json"
    path.write_bytes(record if isinstance(record, bytes) else json.dumps(record).encode())
    return read_manifest(path)


def test_a_good_one_is_read(tmp_path):
    assert read(tmp_path, GOOD).files[0].bytes == 20


BAD = {
    "no object": [],
    "nothing": {},
    "a type": GOOD | {"weight_bytes": "20"},
    "a float of bytes": GOOD | {"weight_bytes": 20.0},
    "another version": GOOD | {"schema_version": 2},
    "an unknown field": GOOD | {"evil": 1},
    "a sum": GOOD | {"weight_bytes": 21},
    "bits": GOOD | {"bits_per_weight": 4.0},
    "no parameters": GOOD | {"parameters": 0},
    "a key": GOOD | {"build_key": "g" * 64},
    "a name": GOOD | {"name": "../fp16"},
    "a format": GOOD | {"format": "fp16\n"},
    "a digest": GOOD | {"files": [FILE | {"sha256": "A" * 64}]},
    "a short digest": GOOD | {"files": [FILE | {"sha256": "0" * 63}]},
    "negative bytes": GOOD | {"files": [FILE, FILE | {"path": "x", "bytes": -1}]},
    "a path that leads out": GOOD | {"files": [FILE, FILE | {"path": "../x"}]},
    "a file twice": GOOD | {"files": [FILE, FILE]},
    "the manifest itself": GOOD | {"files": [FILE, FILE | {"path": "manifest.json"}]},
    "a field of a file": GOOD | {"files": [FILE | {"mode": 7}]},
    "a file that is a list": GOOD | {"files": [["x", 1, "0"]]},
    "files that are none": GOOD | {"files": 5},
    "a recipe that is none": GOOD | {"recipe": []},
    "versions that are numbers": GOOD | {"tool_versions": {"x": 1}},
    "thousands of files": GOOD | {"files": [FILE, *({**FILE, "path": f"{n}.json"} for n in range(5001))]},
    "a key twice": json.dumps(GOOD).replace('"name"', '"name": "x", "name"', 1).encode(),
    "not a number": json.dumps(GOOD | {"parameters": float("nan")}).encode(),
    "deep": b'{"name": ' + b"[" * 100_000,
    "no text": b"\xff\xfe",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_one_is_refused(tmp_path, name):
    with pytest.raises(ArtifactError, match=r"^manifest\.json "):
        read(tmp_path, BAD[name])


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=2))


@given(key=st.sampled_from(sorted(GOOD)), value=JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_value_anywhere_is_read_or_refused(tmp_path, key, value):
    record = copy.deepcopy(GOOD) | {key: value}
    try:
        read(tmp_path, record)
    except ArtifactError as error:
        assert "manifest.json" in str(error)
