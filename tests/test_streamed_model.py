"""A model run block by block must say what the whole model says."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from workbench.architecture import ARCHITECTURES, MODULES
from workbench.batches import BATCH_TOKENS, HiddenFolder, similar, tokenize
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import CheckpointError
from workbench.quiet import quiet_libraries
from workbench.streamed_model import StreamedModel
from workbench.workers import Workers

GENERATOR = torch.Generator().manual_seed(3)
# Lengths that share batches and force padding, and one that fills a batch of its own.
SEQUENCES = [torch.randint(0, 512, (n,), generator=GENERATOR).tolist() for n in (5, 200, 31, 1, 77, 12, 200, 8, 150)]


def whole(folder: Path) -> Callable[[list[int]], torch.Tensor]:
    """Logits ``[tokens, vocabulary]`` of one unpadded sequence, by transformers alone."""
    from transformers import AutoModelForCausalLM

    with quiet_libraries():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()

    def logits(sequence: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            return model(input_ids=torch.tensor([sequence])).logits[0]

    return logits


def edited(folder: Path, out: Path, config: dict[str, Any], drop: str = "") -> Path:
    """A copy of a checkpoint with other settings, or without a tensor."""
    out.mkdir()
    for file in folder.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "config.json").read_text()) | config
    (out / "config.json").write_text(json.dumps(settings))
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(drop, None)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


def run(folder: Path, positions: Any = None, threads: int = 2, **options: Any) -> list[torch.Tensor]:
    with Workers(threads) as workers:
        return StreamedModel(open_checkpoint(str(folder)), workers, **options).run(SEQUENCES, positions)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_whole_models_logits(architecture, tiny_checkpoint):
    expected = [whole(tiny_checkpoint(architecture))(sequence) for sequence in SEQUENCES]
    every = [list(range(len(sequence))) for sequence in SEQUENCES]
    for got, wanted in zip(run(tiny_checkpoint(architecture), every), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=2e-5)
    for got, wanted in zip(run(tiny_checkpoint(architecture)), expected, strict=True):
        torch.testing.assert_close(got, wanted[-1:], rtol=0, atol=2e-5)


def test_a_tied_head(tiny_checkpoint, tmp_path):
    tied = edited(tiny_checkpoint("llama"), tmp_path / "tied", {"tie_word_embeddings": True}, "lm_head.weight")
    expected = whole(tied)(SEQUENCES[2])[-1:]
    torch.testing.assert_close(run(tied)[2], expected, rtol=0, atol=2e-5)


def test_rotary_tables_and_masks_are_the_models_own(tiny_checkpoint, tmp_path):
    """Scaled rotary positions and a window narrower than the texts: neither is in any file."""
    rope = {"rope_type": "llama3", "rope_theta": 5e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope["original_max_position_embeddings"] = 64
    scaled = edited(tiny_checkpoint("llama"), tmp_path / "scaled", {"rope_parameters": rope})
    window = edited(tiny_checkpoint("mistral"), tmp_path / "window", {"sliding_window": 16})
    for folder in (scaled, window):
        torch.testing.assert_close(run(folder)[1], whole(folder)(SEQUENCES[1])[-1:], rtol=0, atol=2e-5)


def test_threads_and_files_change_nothing(tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("gpt_bigcode")
    one = run(folder, threads=1)
    for other in (run(folder, threads=3), run(folder, hidden=HiddenFolder(tmp_path / "hidden", "key"))):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_only_one_block_has_weights(tiny_checkpoint):
    with Workers(1) as workers:
        model = StreamedModel(open_checkpoint(str(tiny_checkpoint("gpt_bigcode"))), workers)
        for place, block in model.blocks():
            real = {name for name, value in model._model.named_parameters() if value.device.type != "meta"}
            assert {name for name in real if ".h." in name} == {
                f"transformer.h.{place}.{name}" for name, _ in block.named_parameters()
            }
            assert "transformer.wte.weight" not in real


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("room", [0, 1 << 30])
@pytest.mark.parametrize("files", [False, True])
def test_step_by_step_as_in_one_go(architecture, room, files, tiny_checkpoint, tmp_path):
    """Each step's inputs, and the states behind the block, are those of a block run from its beginning."""
    steps = MODULES[architecture].steps
    with Workers(2) as workers:
        folder = HiddenFolder(tmp_path, "key") if files else None
        model = StreamedModel(open_checkpoint(str(tiny_checkpoint(architecture))), workers, hidden=folder)
        batches, expected = model.embed(SEQUENCES), model.embed(SEQUENCES)
        with model.block(1) as block:
            run = model.block_run(block, batches, room)
            for number, step in enumerate(steps):
                apart = list(run.inputs(number))
                assert sum(map(len, apart)) == sum(map(len, SEQUENCES))  # padding is not among them
                again = list(map(copy.copy, expected))
                together = [inputs[step[0]] for inputs in model.observe(block, [step[0]], again)]
                assert all(torch.equal(a, b) for a, b in zip(apart, together, strict=True)), step
                for layer in step:  # what comes behind must notice
                    block.get_parameter(f"{layer}.weight").mul_(0.9)
            run.finish()
            model.advance(block, expected)
    assert all(torch.equal(a.hidden, b.hidden) for a, b in zip(batches, expected, strict=True))
    assert {batch.passed for batch in batches} == {1}


@pytest.mark.parametrize("room", [0, 1 << 30])
def test_passed_steps_are_not_run_again(room, tiny_checkpoint):
    """Each layer of a block once, but for the one before the MLP's end where there is no room for what it makes."""
    layers = [layer for step in MODULES["llama"].steps for layer in step]
    calls: list[str] = []
    with Workers(1) as workers:
        model = StreamedModel(open_checkpoint(str(tiny_checkpoint("llama"))), workers)
        batches = model.embed(SEQUENCES)
        with model.block(0) as block:
            for layer in layers:
                block.get_submodule(layer).register_forward_hook(lambda *_, layer=layer: calls.append(layer))
            run = model.block_run(block, batches, room)
            for step in range(4):
                list(run.inputs(step))
            run.finish()
    twice = () if room else ("mlp.gate_proj", "mlp.up_proj")
    assert {layer: calls.count(layer) / len(batches) for layer in layers} == {
        layer: 2 if layer in twice else 1 for layer in layers
    }


def test_a_twin_keeps_its_own_weights(tiny_checkpoint):
    with Workers(1) as workers:
        model = StreamedModel(open_checkpoint(str(tiny_checkpoint("mistral"))), workers)
        batches, others = model.embed(SEQUENCES), model.embed(SEQUENCES)
        with model.block(0) as block, model.block(0, twin=True) as twin:
            block.get_parameter("mlp.down_proj.weight").zero_()
            model.advance(block, batches)
            model.advance(twin, others)
        with model.block(0) as block:
            again = model.embed(SEQUENCES)
            model.advance(block, again)
    assert all(torch.equal(a.hidden, b.hidden) for a, b in zip(others, again, strict=True))
    assert not any(torch.equal(a.hidden, b.hidden) for a, b in zip(others, batches, strict=True))


def test_the_next_block_is_read_while_one_computes(tiny_checkpoint, monkeypatch):
    """By another thread, each chunk once, and the weights are the same."""
    checkpoint = open_checkpoint(str(tiny_checkpoint("gpt_bigcode")))
    name = "transformer.h.1.mlp.c_fc.weight"
    read, readers = Checkpoint.read_chunk, []

    def noted(self: Checkpoint, tensor: str, place: int) -> torch.Tensor:
        if tensor == name:
            readers.append(threading.current_thread())
        return read(self, tensor, place)

    monkeypatch.setattr(Checkpoint, "read_chunk", noted)
    with Workers(1) as workers:
        model = StreamedModel(checkpoint, workers)
        model.read_ahead(1)
        with model.block(1) as block:
            assert torch.equal(block.get_parameter("mlp.c_fc.weight"), checkpoint.read(name).float())
        assert len(readers) == 1 + len(checkpoint.tensors[name].chunks)
        assert readers[0] is not threading.current_thread()
        model.read_ahead(1, but=["mlp.c_fc.weight"])
        model.read_ahead(model.depth)
    assert not readers[0].is_alive()
    assert len(readers) == 2


def test_what_the_reading_thread_meets_reaches_the_caller(tiny_checkpoint, tmp_path):
    folder = edited(tiny_checkpoint("gpt_bigcode"), tmp_path / "cut", {})
    model_file = folder / "model.safetensors"
    before = threading.active_count()
    with Workers(2) as workers:
        model = StreamedModel(open_checkpoint(str(folder)), workers)
        model_file.write_bytes(model_file.read_bytes()[:4096])
        model.read_ahead(1)
        with pytest.raises(CheckpointError, match="ends inside tensor"), model.block(1):
            pass
    assert threading.active_count() == before


def test_states_outlive_the_run(tiny_checkpoint, tmp_path):
    checkpoint = open_checkpoint(str(tiny_checkpoint("gpt_bigcode")))
    with Workers(2) as workers:
        model = StreamedModel(checkpoint, workers, hidden=HiddenFolder(tmp_path, "key"))
        batches = model.embed(SEQUENCES)
        with model.block(0) as block:
            model.advance(block, batches)
        reached = [batch.hidden.clone() for batch in batches]
        for key, most, passed in (("other", 2, 0), ("key", 0, 0), ("key", 2, 1)):
            folder = HiddenFolder(tmp_path, key)
            again = StreamedModel(checkpoint, workers, hidden=folder).embed(SEQUENCES)
            assert folder.restore(again, most) == passed
        assert all(torch.equal(one.hidden, other) for one, other in zip(again, reached, strict=True))
        next(tmp_path.glob("1-*.hidden")).write_bytes(b"cut short")
        assert HiddenFolder(tmp_path, "key").restore(again, 2) == 0


def test_a_missing_weight_is_named(tiny_checkpoint, tmp_path):
    name = "transformer.h.1.mlp.c_fc.bias"
    folder = edited(tiny_checkpoint("gpt_bigcode"), tmp_path / "cut", {}, name)
    with pytest.raises(CheckpointError, match=name):
        run(folder)


def test_batches_hold_similar_lengths():
    lengths = [3, 900, 1200, 5, 4000, 700]
    batches = list(similar([[0] * length for length in lengths]))
    assert sorted(place for rows in batches for place in rows) == list(range(6))
    assert all(len(rows) == 1 or len(rows) * max(lengths[p] for p in rows) <= BATCH_TOKENS for rows in batches)


def test_texts_are_taken_at_even_distances(tiny_checkpoint):
    checkpoint = open_checkpoint(str(tiny_checkpoint("llama")))
    texts = [f"SELECT {n} FROM city" for n in range(10)]
    assert tokenize(checkpoint, texts, 2, 99) == tokenize(checkpoint, [texts[0], texts[5]], 9, 99)
    assert max(map(len, tokenize(checkpoint, texts, 9, 4))) == 4
