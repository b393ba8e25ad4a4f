"""The front-to-back writer: any number of threads gives the same bytes, and a stopped run is gone on with."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from workbench.checkpoint import Checkpoint
from workbench.errors import WorkbenchError
from workbench.formats._output import Output, OutputFile, Part
from workbench.formats.base import ConversionContext
from workbench.journal import Journal

CHECKPOINT = Checkpoint("x", Path("nowhere"), None, {}, {})


@pytest.fixture(autouse=True, params=[False, True], ids=["cached", "direct"])
def _direct(request, monkeypatch):
    """Every test through the page cache and past it."""
    monkeypatch.setitem(CHECKPOINT.__dict__, "exceeds_memory", request.param)


class Stop(Exception):
    pass


def files(pieces_made: list[str] | None = None) -> list[OutputFile]:
    """Two files of four parts, several pieces each, one with a tail, one empty."""

    def part(name: str, pieces: int, tail: int = 0) -> Part:
        def make(place: int) -> np.ndarray:
            if pieces_made is not None:
                pieces_made.append(f"{name}{place}")
            return np.full(100 + place, ord(name) + place, np.uint8)

        size = sum(100 + place for place in range(pieces)) + tail
        makers = [lambda place=place: make(place) for place in range(pieces)]
        return Part(name, size, lambda: makers, (lambda: np.zeros(tail, np.uint8)) if tail else None)

    first = OutputFile("one.bin", b"HEAD", (part("a", 3), part("b", 1, tail=7), part("c", 0)))
    return [first, OutputFile("two.bin", b"", (part("d", 5),))]


def write(
    folder: Path, stop_after: int | None = None, threads: int = 2, made: list[str] | None = None
) -> ConversionContext:
    """Write the files; stop when so many bytes are written."""
    folder.mkdir(exist_ok=True)

    def progress(done: int, total: int, what: str) -> None:
        assert what == "bytes"
        assert done <= total
        if stop_after is not None and done >= stop_after:
            raise Stop

    context = ConversionContext(threads=threads, journal=Journal(folder / "journal", "key"), progress=progress)
    with Output(files(made), folder, CHECKPOINT, context) as output:
        output.write_all()
    return context


def opened(file: OutputFile, folder: Path) -> Output:
    return Output([file], folder, CHECKPOINT, ConversionContext())


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.bin")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    write(folder)
    return contents(folder)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_do_not_matter_and_digests_are_right(whole, tmp_path, threads):
    context = write(tmp_path / "x", threads=threads)
    assert contents(tmp_path / "x") == whole
    assert context.digests == {name: hashlib.sha256(data).hexdigest() for name, data in whole.items()}
    assert {file.name: file.nbytes for file in files()} == {name: len(data) for name, data in whole.items()}


@pytest.mark.parametrize("stop_after", range(1, 930, 60))
def test_a_stopped_run_is_gone_on_with(whole, tmp_path, stop_after):
    with pytest.raises(Stop):
        write(tmp_path / "x", stop_after)
    made: list[str] = []
    context = write(tmp_path / "x", made=made)
    assert contents(tmp_path / "x") == whole
    assert context.digests == {name: hashlib.sha256(data).hexdigest() for name, data in whole.items()}
    if stop_after > 400:
        assert not [piece for piece in made if piece.startswith("a")], "a finished part was made again"


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "append"])
def test_what_does_not_match_the_journal_is_made_again(whole, tmp_path, damage):
    with pytest.raises(Stop):
        write(tmp_path / "x", 800)
    file = tmp_path / "x" / "one.bin"
    data = file.read_bytes()
    if damage == "delete":
        file.unlink()
    else:
        file.write_bytes({"truncate": data[:50], "flip": b"X" + data[1:], "append": data + b"more"}[damage])
    write(tmp_path / "x")
    assert contents(tmp_path / "x") == whole


def test_a_finished_run_is_only_looked_over(whole, tmp_path):
    write(tmp_path / "x")
    made: list[str] = []
    context = write(tmp_path / "x", made=made)
    assert made == []
    assert len(context.digests) == 2


def test_parts_can_be_handed_over(tmp_path):
    parts = (Part("a", 2), Part("b", 3, lambda: [lambda: np.zeros(3, np.uint8)]), Part("c", 1))
    context = ConversionContext()
    with Output([OutputFile("f", b"", parts)], tmp_path, CHECKPOINT, context) as output:
        output.write_all()  # nothing yet: the first must be handed over
        with pytest.raises(ValueError, match="next is a"):
            output.put("c", [])
        output.put("a", [np.ones(2, np.uint8)])
        output.put("a", [np.ones(2, np.uint8)])  # finished: passed over
        output.write_all()
        output.put("c", [np.ones(1, np.uint8)])
    assert (tmp_path / "f").read_bytes() == b"\1\1\0\0\0\1"


def test_broken_promises_are_noticed(tmp_path):
    file = OutputFile("f", b"", (Part("a", 2), Part("b", 1)))
    with (
        pytest.raises(ValueError, match="a ends at 3"),
        Output([file], tmp_path, CHECKPOINT, ConversionContext()) as output,
    ):
        output.put("a", [np.ones(3, np.uint8)])
    with (
        pytest.raises(ValueError, match="never written: b"),
        Output([file], tmp_path, CHECKPOINT, ConversionContext()) as output,
    ):
        output.put("a", [np.ones(2, np.uint8)])


def test_an_error_in_a_thread_is_the_callers(tmp_path):
    def fail() -> np.ndarray:
        raise WorkbenchError("tensor a holds NaN")

    file = OutputFile("f", b"", (Part("a", 2, lambda: [fail] * 20),))
    with (
        pytest.raises(WorkbenchError, match="holds NaN"),
        Output([file], tmp_path, CHECKPOINT, ConversionContext()) as output,
    ):
        output.write_all()
