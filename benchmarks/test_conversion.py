"""Whole conversions beside the tools whose files they equal: a StarCoder of 0.16 billion random float16 weights.

    python -m pytest benchmarks/test_conversion.py                 # mlx_lm, torchao, onnxruntime, a plain copy
    WORKBENCH_CYLLAMA_PYTHON=... python -m pytest benchmarks/test_conversion.py -m peer      # llama.cpp

Ours is ``make_artifact``: from the checkpoint's files to an artifact under its name, with the digests of all it read
and wrote. The peers are spared what they would need before and after: llama.cpp's quantizer starts from a 16-bit GGUF,
onnxruntime's from a graph of the linear layers alone; none takes digests.

What limits a conversion: it reads and writes every byte once, so a copy of the source is the floor of ``fp16``, and
with the source in the page cache, as here, a copy is as fast as memory; a format that searches for scales is limited by
the processor instead (``test_ggml.py``). At full size, from the disk and with memory watched: ``conversion.py``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.checkpoints import make
from benchmarks.pairs import SIDES, Pair, in_turn, replayed, seconds_of, show
from benchmarks.peers import named, need, started
from workbench.catalog import get_recipe
from workbench.checkpoint import open_checkpoint
from workbench.convert import make_artifact
from workbench.formats._gguf_types import FILE_TYPES
from workbench.processors import available_processors

SHAPE = "0.16b"


def tensors(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Type, shape and digest of each tensor in a folder's safetensors files."""
    found = {}
    for file in folder.glob("*.safetensors"):
        data = file.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            first, last = (8 + length + offset for offset in entry["data_offsets"])
            found[name] = (entry["dtype"], entry["shape"], hashlib.sha256(data[first:last]).hexdigest())
    return found


def same_tensors(ours: Path, theirs: Path) -> None:
    assert tensors(ours) == tensors(theirs)


def same_integers(ours: Path, theirs: Path) -> None:
    """torchao keeps scales in another type than its own file format does; the codes must be the same."""
    left, right = ({n: t for n, t in tensors(folder).items() if n.endswith("qdata")} for folder in (ours, theirs))
    assert left and left == right


def same_file(ours: Path, theirs: Path) -> None:
    (file,) = ours.glob("*.gguf")
    assert file.read_bytes() == theirs.read_bytes()


def same_codes(ours: Path, theirs: Path) -> None:
    """The graphs differ, and our head always has 8 bits; the codes of every other layer must be among ours."""
    import onnx
    from onnx import numpy_helper

    def codes(file: Path) -> set[bytes]:
        weights = [numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer]
        blocks = [weight for weight in weights if weight.dtype == "uint8" and weight.ndim == 3]
        most = max(map(len, blocks))  # the head's rows: the vocabulary
        return {hashlib.sha256(weight.tobytes()).digest() for weight in blocks if len(weight) < most}

    found = codes(theirs)
    assert found and found <= codes(ours / "model.onnx")


@dataclass(frozen=True)
class Contest:
    """A recipe of ours and the script of its peer.

    Attributes:
        script: in ``peer_scripts/``.
        same: asserts that ours and theirs are equal, given both places.
        needs: modules of the main environment.
        setting: what the script takes besides its source.
    """

    script: str
    same: Callable[[Path, Path], None]
    needs: tuple[str, ...] = ()
    setting: dict[str, Any] = field(default_factory=dict)


def mlx(bits: int) -> Contest:
    return Contest("mlx_convert", same_tensors, ("mlx", "mlx_lm"), {"bits": bits, "group_size": 64})


def onnx(bits: int) -> Contest:
    return Contest("ort_quantize", same_codes, ("onnx", "onnxruntime", "onnx_ir"), {"bits": bits})


def gguf(kind: str) -> Contest:
    setting = {"file_type": FILE_TYPES[kind].number, "threads": available_processors()}
    return Contest("llama_quantize", same_file, ("gguf",), setting)


CONTESTS = {
    "fp16": Contest("copy_folder", same_tensors),
    "int8": Contest("torchao_save", same_integers, ("torchao",)),
    "mlx-4bit": mlx(4),
    "mlx-8bit": mlx(8),
    "onnx-int4": onnx(4),
    "onnx-int8": onnx(8),
    "gguf-q8_0": gguf("q8_0"),
    "gguf-q4_k_m": gguf("q4_k_m"),
}
# Of two widths of a format the default run takes one.
MARKS = {"mlx-8bit": "slow", "onnx-int8": "slow", "gguf-q8_0": "peer", "gguf-q4_k_m": "peer"}
PARAMS = [pytest.param(name, marks=getattr(pytest.mark, MARKS[name]) if name in MARKS else ()) for name in CONTESTS]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / SHAPE
    make(SHAPE, folder)
    return folder


@pytest.fixture(scope="module", params=PARAMS)
def pair(
    request: pytest.FixtureRequest, source: Path, rounds: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    contest, scratch = CONTESTS[request.param], tmp_path_factory.mktemp(request.param)
    need(*contest.needs)
    given, python = source, {}
    if contest.script == "llama_quantize":
        python = {"python": named("WORKBENCH_CYLLAMA_PYTHON", "a Python that has cyllama")}
        (given,) = convert(source, "gguf-f16", scratch / "half").glob("*.gguf")
    if contest.script == "ort_quantize":
        contest.setting["scratch"] = scratch
    ours, theirs = scratch / "ours", scratch / "theirs"
    with started(contest.script, source=given, **contest.setting, **python) as peer:

        def peer_round() -> float:
            clear(theirs)
            return peer.round(out=theirs)

        our_round = seconds_of(lambda: convert(source, request.param, ours), before=lambda: clear(ours))
        ours_s, theirs_s = in_turn(our_round, peer_round, rounds)
    contest.same(ours, theirs)
    yield Pair(peer.name, ours_s, theirs_s, {"bytes_in": size(source), "bytes_out": size(ours)})
    shutil.rmtree(scratch)


def convert(source: Path, recipe: str, out: Path) -> Path:
    return make_artifact(open_checkpoint(str(source)), get_recipe(recipe), out).artifact.path


def clear(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    for file in place.parent.glob(f"{place.name}*"):
        file.unlink()


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.benchmark(timer=replayed)
@pytest.mark.parametrize("side", SIDES)
def test_conversion(benchmark: Any, pair: Pair, side: str, request: pytest.FixtureRequest) -> None:
    benchmark.group = f"convert {SHAPE} to {request.node.callspec.params['pair']}"
    show(benchmark, pair, side)
