"""Weight files: what the reference readers take is taken, what an attacker would write is not, in little memory."""

import json
import struct
import sys

import numpy as np
import pytest
from hostile_files import gguf_bytes, gguf_info, gguf_pair, peak_bytes, safetensors_bytes, sparse_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from workbench.errors import ArtifactError, PrerequisiteError
from workbench.untrusted_weights import check_gguf_header, check_onnx, check_safetensors_header

W = {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}
DATA = bytes(4)


def entry(**changes):
    return {"w": W | changes}


CRAFTED = {
    "2^60 bytes of header": safetensors_bytes({}, length=1 << 60),
    "2^64 - 1 bytes of header": safetensors_bytes({}, length=2**64 - 1),
    "a header longer than the file": safetensors_bytes({}, length=3),
    "overlapping tensors": safetensors_bytes({"v": W, "w": W | {"data_offsets": [2, 6]}}, bytes(6)),
    "one place for two": safetensors_bytes({"v": W, "w": W}, DATA),
    "a hole": safetensors_bytes({"v": W, "w": W | {"data_offsets": [8, 12]}}, bytes(12)),
    "a hole at the beginning": safetensors_bytes(entry(data_offsets=[4, 8]), bytes(8)),
    "bytes of nobody": safetensors_bytes(entry(), bytes(8)),
    "a tensor beyond the end": safetensors_bytes(entry(shape=[1 << 40], data_offsets=[0, 2 << 40]), DATA),
    "too few bytes": safetensors_bytes(entry(shape=[3]), DATA),
    "a negative place": safetensors_bytes(entry(data_offsets=[-4, 0]), DATA),
    "a negative size": safetensors_bytes(entry(shape=[-2]), DATA),
    "two negative sizes": safetensors_bytes(entry(shape=[-1, -2]), DATA),
    "backwards": safetensors_bytes(entry(data_offsets=[4, 0]), DATA),
    "a size with a point": safetensors_bytes(entry(shape=[2.0]), DATA),
    "a size that is true": safetensors_bytes(entry(shape=[2, True]), DATA),
    "sizes that are a text": safetensors_bytes(entry(shape="2"), DATA),
    "an unknown type": safetensors_bytes(entry(dtype="X9"), DATA),
    "a type that is a list": safetensors_bytes(entry(dtype=["F16"]), DATA),
    "a name twice": safetensors_bytes(b'{"w": %s, "w": %s}' % ((json.dumps(W).encode(),) * 2), DATA),
    "a key of an entry twice": safetensors_bytes(
        b'{"w": %s}' % json.dumps(W).replace("{", '{"dtype": "I8", ').encode(), DATA
    ),
    "deep": safetensors_bytes(b"[" * 200_000 + b"]" * 200_000),
    "no object": safetensors_bytes(b"[]"),
    "a number of 5000 digits": safetensors_bytes(b'{"w": ' + b"9" * 5000 + b"}"),
    "not a number": safetensors_bytes(b'{"w": NaN}'),
    "a zip": b"PK\3\4" + bytes(100),
    "nothing": b"",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_safetensors_header_is_refused_in_little_memory(tmp_path, name):
    path = tmp_path / "model.safetensors"
    path.write_bytes(CRAFTED[name])
    with pytest.raises(ArtifactError, match=r"^model\.safetensors "):
        check_safetensors_header(path)
    assert peak_bytes(lambda: check_safetensors_header(path)) < 8 << 20


def test_a_long_header_of_a_long_file_is_not_read(tmp_path):
    path = tmp_path / "model.safetensors"
    sparse_file(path, 1 << 40)
    with path.open("r+b") as handle:
        handle.write(struct.pack("<Q", 1 << 39))
    with pytest.raises(ArtifactError, match="cut short or no safetensors"):
        check_safetensors_header(path)
    assert peak_bytes(lambda: check_safetensors_header(path)) < 1 << 20


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "int64", "int32", "int8", "uint8", "bool", "uint64"]
)
def test_what_the_reference_writes_is_taken(tmp_path, dtype):
    save_file({"a": np.zeros((2, 3), dtype), "b": np.zeros((), dtype), "c": np.zeros((0, 4), dtype)}, tmp_path / "x")
    check_safetensors_header(tmp_path / "x")


SIZES = st.lists(st.integers(-1, 3), max_size=3)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F16", "F32", "U8", "BOOL", "F8_E4M3", "X"]),
        "shape": SIZES,
        "data_offsets": st.tuples(st.integers(-1, 12), st.integers(-1, 12)),
    }
)


@given(header=st.dictionaries(st.sampled_from("vwx"), ENTRIES, max_size=3), size=st.integers(0, 24))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=400)
def test_nothing_is_taken_that_the_reference_refuses(tmp_path, header, size):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(header, bytes(size)))
    try:
        check_safetensors_header(path)
    except ArtifactError:
        return
    try:
        with safe_open(path, "numpy") as opened:
            assert set(opened.keys()) == set(header)
    except SafetensorError as error:
        raise AssertionError(header) from error


@pytest.mark.parametrize("key", ["tokenizer.chat_template", "tokenizer.chat_template.tool_use"])
@pytest.mark.parametrize(("kind", "value"), [("string", "{{ ''.__class__ }}"), ("u32", 5)])
def test_templates_within_a_gguf_file_are_looked_at(tmp_path, key, kind, value):
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes([gguf_pair(key, kind, value)], [gguf_info("w", [8])], bytes(32)))
    with pytest.raises(ArtifactError, match=r"x\.gguf .*template"):
        check_gguf_header(path)


def test_a_gguf_file_with_a_good_template_passes(tmp_path):
    pair = gguf_pair("tokenizer.chat_template", "string", "{{ messages[0].content }}")
    (tmp_path / "x.gguf").write_bytes(gguf_bytes([pair], [gguf_info("w", [8])], bytes(32)))
    check_gguf_header(tmp_path / "x.gguf")


def graph(path, domain="", **place):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)
    node = onnx.helper.make_node("Identity", ["w"], ["y"], domain=domain)
    made = onnx.helper.make_graph([node], "g", [], [onnx.helper.make_tensor_value_info("y", 1, [2])], [tensor])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(domain, 1)]
    path.write_bytes(onnx.helper.make_model(made, opset_imports=opsets).SerializeToString())
    return path


SIZES_THERE = {"model.onnx_data": 8}


def test_a_graph_with_its_data_beside_it_passes(tmp_path):
    check_onnx(graph(tmp_path / "model.onnx", location="model.onnx_data", offset="0", length="8"), SIZES_THERE)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ({"location": "../../etc/passwd"}, "'../../etc/passwd'"),
        ({"location": "/etc/passwd"}, "no file of the package"),
        ({"offset": "0"}, "no file of the package"),
        ({"location": "model.onnx_data", "offset": "4", "length": "8"}, "beyond the end"),
        ({"location": "model.onnx_data", "offset": "-4", "length": "8"}, "no file can be"),
        ({"location": "model.onnx_data", "length": "9" * 5000}, "no file can be"),
        ({"location": "model.onnx_data", "domain": "evil.ops"}, "code of others"),
    ],
)
def test_a_graph_that_reads_elsewhere_is_refused(tmp_path, place, why):
    path = graph(tmp_path / "model.onnx", **place)
    with pytest.raises(ArtifactError, match=why):
        check_onnx(path, SIZES_THERE)


def test_no_graph(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 50)
    with pytest.raises(ArtifactError, match="no ONNX graph"):
        check_onnx(tmp_path / "model.onnx", {})
    sparse_file(tmp_path / "large.onnx", 1 << 40)
    with pytest.raises(ArtifactError, match="larger"):
        check_onnx(tmp_path / "large.onnx", {})
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(PrerequisiteError, match="pip install onnx"):
        check_onnx(tmp_path / "model.onnx", {})
