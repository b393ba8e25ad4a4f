"""Past the page cache or through it, a file holds the same bytes."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench import direct_io
from workbench.direct_io import SequentialFile, read_direct

SETTINGS = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _small_buffer(monkeypatch):
    monkeypatch.setattr(direct_io, "BUFFER_BYTES", 3 * direct_io.BLOCK)


@pytest.mark.parametrize("direct", [False, True])
@SETTINGS
@given(sizes=st.lists(st.integers(0, 30_000), max_size=8), flushed=st.integers(0, 7), start=st.integers(0, 20_000))
def test_what_is_written_is_there(tmp_path_factory, direct, sizes, flushed, start):
    path = tmp_path_factory.mktemp("d") / "f"
    before = bytes(index % 251 for index in range(start))
    path.write_bytes(before + b"to be cut off")
    file, expected = SequentialFile(path, start, direct), before
    for index, size in enumerate(sizes):
        data = bytes((index + place) % 241 for place in range(size))
        file.write(memoryview(data))
        expected += data
        assert file.tell() == len(expected)
        if index == flushed:
            file.flush()
            assert path.read_bytes()[: len(expected)] == expected
    file.close()
    assert path.read_bytes() == expected


@SETTINGS
@given(size=st.integers(0, 40_000), start=st.integers(0, 40_000), count=st.integers(0, 40_000))
def test_any_part_can_be_read(tmp_path_factory, size, start, count):
    path = tmp_path_factory.mktemp("d") / "f"
    data = bytes(index % 253 for index in range(size))
    path.write_bytes(data)
    assert bytes(read_direct(path, start, count)) == data[start : start + count]


def test_a_file_system_without_it_serves_through_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(direct_io, "_DIRECT", 0)
    file = SequentialFile(tmp_path / "f", direct=True)
    file.write(memoryview(b"abc"))
    file.close()
    assert bytes(read_direct(tmp_path / "f", 1, 2)) == b"bc"


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_direct(tmp_path / "none", 0, 1)
