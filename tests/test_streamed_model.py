"""A model run block by block must say what the whole model says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from workbench.architecture import ARCHITECTURES, MODULES
from workbench.batches import BATCH_TOKENS, HiddenFolder, similar, tokenize
from workbench.checkpoint import open_checkpoint
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


def test_what_layers_read(tiny_checkpoint):
    with Workers(2) as workers:
        model = StreamedModel(open_checkpoint(str(tiny_checkpoint("llama"))), workers)
        batches = model.embed(SEQUENCES)
        names = [step[0] for step in MODULES["llama"].steps]
        with model.block(0) as block:
            apart = {name: torch.cat(list(model.layer_inputs(block, name, batches))) for name in names}
            together = list(model.observe(block, names, batches))
    for name in names:
        assert len(apart[name]) == sum(map(len, SEQUENCES))  # padding is not among them
        assert torch.equal(apart[name], torch.cat([inputs[name] for inputs in together]))
    assert {batch.passed for batch in batches} == {1}


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
