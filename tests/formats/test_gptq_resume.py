"""A GPTQ conversion that is stopped anywhere ends with the files of one that was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from workbench.architecture import ARCHITECTURES
from workbench.batches import HiddenFolder
from workbench.checkpoint import open_checkpoint
from workbench.formats.base import ConversionContext
from workbench.formats.gptq import FORMAT, GptqOptions
from workbench.journal import Journal
from workbench.streamed_model import StreamedModel

TEXTS = tuple(f"List city {n} with {n * 37 % 101} people.\nSELECT name FROM city LIMIT {n};" for n in range(6))
SETTINGS = {
    "gpt_bigcode": {"bits": 3, "symmetric": False, "static_groups": False, "group_size": 64},
    "llama": {"bits": 4},
    "mistral": {"bits": 2, "refine": "layers"},
}


class Stopped(Exception):
    """Stands for a kill."""


Progress = Callable[[int, int, str], None]
# Bytes of memory for the texts' states: they all lie in files, in memory but for the MLP's, in memory.
MEMORY = (0, 3 << 20, 1 << 30)


def convert(
    source: Path,
    out: Path,
    options: dict[str, Any],
    stop: Progress | None = None,
    threads: int = 2,
    memory: int = 0,
) -> dict[str, Any]:
    """All files of the result, and the details."""
    out.mkdir(exist_ok=True)
    journal = Journal(out.with_suffix(".jsonl"), "key")
    context = ConversionContext(
        TEXTS, stop or (lambda done, total, what: None), threads, journal, calibration_memory=memory
    )
    details = FORMAT.convert(open_checkpoint(str(source)), GptqOptions.model_validate(options), out, context)
    files = {file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    return {"details": json.dumps(details), "digests": context.digests, **files}


def stop_at(count: int) -> Progress:
    """A progress callback that ends the run at its n-th call."""
    calls = []

    def progress(done: int, total: int, what: str) -> None:
        calls.append(what)
        if len(calls) == count:
            raise Stopped

    return progress


@pytest.mark.parametrize("architecture", sorted(SETTINGS))
def test_stopped_anywhere_and_gone_on_with(architecture, tiny_checkpoint, tmp_path):
    source, options = tiny_checkpoint(architecture), SETTINGS[architecture]
    steps: list[str] = []
    expected = convert(source, tmp_path / "whole", options, lambda done, total, what: steps.append(what))
    assert {"bytes", "blocks"} == set(steps)
    # A layer is written in four pieces: each fifth call comes by every layer, at another of its pieces each time.
    for count in range(len(steps) % 5 + 5, len(steps) + 1, 5):
        out, memory = tmp_path / f"stopped-{count}", MEMORY[count % 3]
        with pytest.raises(Stopped):
            convert(source, out, options, stop_at(count), memory=memory)
        assert convert(source, out, options, memory=MEMORY[count % 2]) == expected, f"at {steps[count - 1]} {count}"


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_where_the_states_lie_changes_nothing(architecture, tiny_checkpoint, tmp_path, monkeypatch):
    """Neither the weights nor what the manifest says of them; and each limit takes another way."""
    ways = []
    run = StreamedModel.block_run
    monkeypatch.setattr(
        StreamedModel,
        "block_run",
        lambda model, *given: ways.append((model._hidden is None, given[2] > 0)) or run(model, *given),
    )
    options = SETTINGS.get(architecture, {"bits": 2})
    results = [convert(tiny_checkpoint(architecture), tmp_path / str(one), options, memory=one) for one in MEMORY]
    assert results[0] == results[1] == results[2]
    assert len(set(ways)) > 1


def test_stopped_again_and_again(tiny_checkpoint, tmp_path):
    """Every run gets six steps further at most; what was kept beside the output is lost or damaged now and then."""
    source, options = tiny_checkpoint("gpt_bigcode"), SETTINGS["gpt_bigcode"]
    expected = convert(source, tmp_path / "whole", options)
    out = tmp_path / "out"
    for attempt in range(30):
        try:
            assert convert(source, out, options, stop_at(6)) == expected
            return
        except Stopped:
            scratch = out / ".gptq"
            if attempt % 5 == 4 and (scratch / "layers.jsonl").is_file():
                (scratch / "layers.jsonl").unlink()
            if attempt % 3 == 2:
                for file in (scratch / "hidden").glob("*.hidden"):
                    file.write_bytes(b"damaged")
    pytest.fail("never done")


def test_a_resumed_run_goes_on_where_it_was(tiny_checkpoint, tmp_path, monkeypatch):
    """Neither finished layers nor passed blocks are done again."""
    from workbench.kernels import gptq

    solved, restored = [], []
    solve, restore = gptq.quantize, HiddenFolder.restore
    monkeypatch.setattr(gptq, "quantize", lambda *given: solved.append(1) or solve(*given))
    monkeypatch.setattr(HiddenFolder, "restore", lambda *given: restored.append(restore(*given)) or restored[-1])
    blocks = []

    def stop(done: int, total: int, what: str) -> None:
        blocks.append(what)
        if blocks.count("blocks") == 1 and what == "bytes":
            raise Stopped  # in the first layer of the second block

    source, options = tiny_checkpoint("gpt_bigcode"), SETTINGS["gpt_bigcode"]
    with pytest.raises(Stopped):
        convert(source, tmp_path / "out", options, stop)
    assert (len(solved), restored) == (5, [0])
    convert(source, tmp_path / "out", options)
    assert (len(solved), restored) == (9, [0, 1])


@pytest.mark.parametrize(
    "options", [{"bits": 4}, {"bits": 3, "scales": "range", "desc_act": False, "group_size": -1}], ids=str
)
def test_threads_change_nothing(options, tiny_checkpoint, tmp_path):
    source = tiny_checkpoint("llama")
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            memory = MEMORY[threads - 1]
            results.append(convert(source, tmp_path / str(threads), options, threads=threads, memory=memory))
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1] == results[2]
