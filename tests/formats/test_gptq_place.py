"""Where GPTQ computes; and a whole conversion by the solver for devices, here on the CPU."""

from __future__ import annotations

import json

import pytest
import torch
from shapes import sqlcoder_15b

from workbench.checkpoint import open_checkpoint
from workbench.formats import gptq
from workbench.formats._gptq_place import CPU, Place, place_for
from workbench.formats.base import ConversionContext
from workbench.journal import Journal

GIB = 2**30
TEXTS = tuple(f"List city {n} with {n * 37 % 101} people.\nSELECT name FROM city LIMIT {n};" for n in range(6))


class Stopped(Exception):
    """Stands for a kill."""


def with_card(monkeypatch, free: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, free))


def test_without_a_card_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert place_for(sqlcoder_15b()) == CPU


@pytest.mark.parametrize("free", [24 * GIB, 80 * GIB])
def test_a_card_with_room(monkeypatch, free):
    """At most 20 GiB of it, of which a block of StarCoder-15B and its Hessian take 5.2 GiB, and 1 GiB is spare."""
    with_card(monkeypatch, free)
    place = place_for(sqlcoder_15b())
    assert (place.device, place.dtype, place.by_torch) == ("cuda", "bfloat16", True)
    assert place.memory is not None
    assert 13.5 * GIB < place.memory < 14 * GIB
    assert place.memory > 3 * place.element_bytes * 128 * 2048 * 6144  # texts' states need no files


def test_a_card_that_is_too_small_or_taken(monkeypatch):
    with_card(monkeypatch, 6 * GIB)
    assert place_for(sqlcoder_15b()) == CPU


def convert(source, out, stop_at=None, **options):
    out.mkdir(exist_ok=True)
    calls = []

    def progress(done, total, what):
        calls.append(what)
        if len(calls) == stop_at:
            raise Stopped

    context = ConversionContext(TEXTS, progress, 2, Journal(out.with_suffix(".jsonl"), "key"), calibration_memory=0)
    details = gptq.FORMAT.convert(open_checkpoint(str(source)), gptq.GptqOptions(**options), out, context)
    files = {file.name: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    return details, files, len(calls)


@pytest.mark.parametrize("memory", [None, 0, GIB])
@pytest.mark.parametrize("architecture", ["gpt_bigcode", "llama"])
def test_a_conversion_by_the_solver_for_devices(architecture, memory, tiny_checkpoint, tmp_path, monkeypatch):
    """Nearly the CPU's errors, though texts pass in bfloat16; stopped and gone on with, the same files."""
    source = tiny_checkpoint(architecture)
    expected, _, _ = convert(source, tmp_path / "cpu", bits=4)
    monkeypatch.setattr(gptq, "place_for", lambda checkpoint: Place("cpu", "bfloat16", memory, by_torch=True))
    found, files, steps = convert(source, tmp_path / "device", bits=4)
    for name, error in expected["relative_errors"].items():
        assert found["relative_errors"][name] == pytest.approx(error, rel=0.05), name
    for stop_at in (steps // 3, steps - 4):
        out = tmp_path / f"stopped-{stop_at}"
        with pytest.raises(Stopped):
            convert(source, out, stop_at, bits=4)
        again, same, _ = convert(source, out, bits=4)
        assert (json.dumps(again), same) == (json.dumps(found), files)


@pytest.mark.gpu
def test_a_conversion_on_a_gpu(tiny_checkpoint, tmp_path, monkeypatch):
    source = tiny_checkpoint("llama")
    found, _, _ = convert(source, tmp_path / "gpu", bits=4)
    monkeypatch.setattr(gptq, "place_for", lambda checkpoint: CPU)
    expected, _, _ = convert(source, tmp_path / "cpu", bits=4)
    assert (found["device"], expected["device"]) == ("cuda", "cpu")
    for name, error in expected["relative_errors"].items():
        assert found["relative_errors"][name] == pytest.approx(error, rel=0.05), name
