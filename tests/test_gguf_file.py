"""GGUF headers: the reference reader's values of good files, and a refusal, in little memory, of crafted ones."""

import struct

import gguf
import numpy as np
import pytest
from hostile_files import gguf_bytes, gguf_info, gguf_pair, gguf_text, peak_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import ArtifactError
from workbench.gguf_file import read_gguf

WORDS = ["<s>", "ä", "the", ""]
EIGHT = b"\0" * 32  # data of a tensor of 8 floats


@pytest.fixture
def written(tmp_path):
    """A file by the reference writer."""
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.context_length", 2048)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_float32("llama.eps", 0.5)
    writer.add_array("tokenizer.ggml.tokens", WORDS)
    writer.add_array("tokenizer.ggml.scores", [0.5, 1.5, 2.5])
    writer.add_chat_template("{{ messages[0]['content'] }}")
    writer.add_tensor("a.weight", np.arange(24, dtype=np.float32).reshape(3, 8))
    writer.add_tensor("b.weight", np.zeros((2, 34), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_what_the_reference_reader_finds(written):
    header, reader = read_gguf(written), gguf.GGUFReader(written)
    assert [(one.name, one.type, one.offset, one.nbytes) for one in header.tensors] == [
        (one.name, one.tensor_type.name, int(one.data_offset), int(one.n_bytes)) for one in reader.tensors
    ]
    assert [one.dimensions for one in header.tensors] == [tuple(map(int, one.shape)) for one in reader.tensors]
    assert header.pairs["tokenizer.ggml.tokens"] == WORDS
    assert header.pairs["tokenizer.ggml.scores"] == range(3)
    assert {**header.pairs, "tokenizer.ggml.tokens": 0, "tokenizer.ggml.scores": 0} == {
        "general.architecture": "llama",
        "llama.context_length": 2048,
        "tokenizer.ggml.add_bos_token": 1,
        "llama.eps": 0.5,
        "tokenizer.ggml.tokens": 0,
        "tokenizer.ggml.scores": 0,
        "tokenizer.chat_template": "{{ messages[0]['content'] }}",
    }


GOOD = gguf_bytes([gguf_pair("a", "u32", 1)], [gguf_info("w", [8])], EIGHT)


def test_the_crafted_file_without_a_fault_is_read(tmp_path):
    (tmp_path / "x.gguf").write_bytes(GOOD)
    assert read_gguf(tmp_path / "x.gguf").tensors[0].nbytes == 32


HUGE = 1 << 60
CRAFTED = {
    "another magic": b"GGML" + GOOD[4:],
    "another version": gguf_bytes([], [], version=99),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(8),
    "tensors promised": gguf_bytes([], [], counts=(HUGE, 0)),
    "pairs promised": gguf_bytes([], [], counts=(0, HUGE)),
    "fewer pairs than promised": gguf_bytes([], [], counts=(0, 60_000)),
    "a long key": gguf_bytes([gguf_text("k", HUGE)], []),
    "a long string": gguf_bytes([gguf_pair("k", "raw", struct.pack("<I", 8) + gguf_text("v", HUGE))], []),
    "a long array": gguf_bytes([gguf_pair("k", "raw", struct.pack("<IIQ", 9, 0, HUGE))], []),
    "a long array of strings": gguf_bytes([gguf_pair("k", "raw", struct.pack("<IIQ", 9, 8, HUGE))], []),
    "arrays in arrays": gguf_bytes([gguf_pair("k", "raw", struct.pack("<IIQ", 9, 9, 1) * 50)], []),
    "an unknown type of value": gguf_bytes([gguf_pair("k", "raw", struct.pack("<I", 77))], []),
    "a truth value of 2": gguf_bytes([gguf_pair("k", "bool", 2)], []),
    "a key twice": gguf_bytes([gguf_pair("k", "u32", 1), gguf_pair("k", "u32", 2)], []),
    "no alignment": gguf_bytes([gguf_pair("general.alignment", "u32", 0)], []),
    "an odd alignment": gguf_bytes([gguf_pair("general.alignment", "u32", 33)], []),
    "an alignment that is a text": gguf_bytes([gguf_pair("general.alignment", "string", "32")], []),
    "many dimensions": gguf_bytes([], [gguf_info("w", [1] * 5)], EIGHT),
    "billions of dimensions": gguf_bytes([], [gguf_text("w") + struct.pack("<I", 2**32 - 1)], EIGHT),
    "a product that wraps around": gguf_bytes([], [gguf_info("w", [1 << 32, 1 << 32])], EIGHT),
    "an unknown type of tensor": gguf_bytes([], [gguf_info("w", [8], 4)], EIGHT),
    "half a block": gguf_bytes([], [gguf_info("w", [8], 8)], EIGHT),
    "a tensor beyond the end": gguf_bytes([], [gguf_info("w", [8], 0, 1 << 40)], EIGHT),
    "a tensor cut short": gguf_bytes([], [gguf_info("w", [9])], EIGHT),
    "overlapping tensors": gguf_bytes([], [gguf_info("v", [8]), gguf_info("w", [8])], EIGHT),
    "a hole": gguf_bytes([], [gguf_info("v", [8]), gguf_info("w", [8], 0, 64)], EIGHT * 3),
    "one name for two": gguf_bytes([], [gguf_info("w", [8]), gguf_info("w", [8], 0, 32)], EIGHT * 2),
    "a long name": gguf_bytes([], [gguf_info("w" * 64, [8])], EIGHT),
    "something behind the data": GOOD + b"PK\3\4",
    "nothing": b"",
    "only the magic": b"GGUF",
    "the half": GOOD[: len(GOOD) // 2],
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_header_is_refused_in_little_memory(tmp_path, name):
    path = tmp_path / "x.gguf"
    path.write_bytes(CRAFTED[name])
    with pytest.raises(ArtifactError, match=r"x\.gguf is no GGUF file that can be trusted"):
        read_gguf(path)
    assert peak_bytes(lambda: read_gguf(path)) < 4 << 20


@given(place=st.integers(0, len(GOOD) - 33), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_flipped_bit_of_a_header_is_read_or_refused(tmp_path, place, bit):
    data = bytearray(GOOD)
    data[place] ^= 1 << bit
    (tmp_path / "x.gguf").write_bytes(data)
    try:
        header = read_gguf(tmp_path / "x.gguf")
    except ArtifactError:
        return
    assert sum(one.nbytes for one in header.tensors) <= 32
