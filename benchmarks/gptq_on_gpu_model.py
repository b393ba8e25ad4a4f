"""A checkpoint without files: random weights of a true shape, made on the device each time one is asked for.

15.5 billion weights take 31 GB as a file and minutes to write and read; drawn on a GPU a block's 0.38 billion take
milliseconds. Every chunk of a tensor has a generator of its own, seeded by its name, so a weight is the same whenever
it is asked for. Matrices are normal with the standard deviation of a trained model's (0.02), those that end a block's
two parts smaller by sqrt(2 layers) as GPT-2 begins them, so that the states of 40 random blocks stay in range.

    checkpoint = random_checkpoint("15b", folder, "cuda")     # folder holds config.json
    model = StreamedModel(checkpoint, workers, dtype="bfloat16", device="cuda")
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.checkpoints import SHAPES, STARCODER, tensor_shapes
from workbench.checkpoint import Checkpoint
from workbench.tensors import TensorInfo

DEVIATION = 0.02
TINY: dict[str, Any] = {**STARCODER, "n_layer": 2, "n_embd": 64, "n_head": 2, "n_inner": 192, "vocab_size": 256,
                        "n_positions": 64}  # fmt: skip
CONFIGS = {"tiny": TINY, **{name: config for name, (_, config) in SHAPES.items()}}


@dataclass(frozen=True)
class RandomCheckpoint(Checkpoint):
    """A checkpoint whose tensors are drawn instead of read.

    Attributes:
        device: torch's name of where they are drawn, and stay.
        layers: number of blocks.
    """

    device: str = "cpu"
    layers: int = 1

    def read(self, name: str) -> Tensor:
        """One tensor whole, bfloat16."""
        if len(self.tensors[name].shape) > 1:
            return torch.cat(list(self.chunks(name)))
        noise = self._normal(name, 0, self.tensors[name].shape)
        return noise + 1 if name.endswith("weight") else noise

    def read_chunk(self, name: str, place: int) -> Tensor:
        """Some rows of a matrix, bfloat16."""
        info = self.tensors[name]
        rows = info.chunks[place]
        ends_part = name.endswith((".c_proj.weight", ".o_proj.weight", ".down_proj.weight"))
        values = self._normal(name, place, (rows.stop - rows.start, *info.shape[1:]))
        return values / (2 * self.layers) ** 0.5 if ends_part else values

    def _normal(self, name: str, place: int, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator(self.device).manual_seed(zlib.crc32(f"{name}/{place}".encode()))
        return DEVIATION * torch.randn(shape, generator=generator, device=self.device, dtype=torch.bfloat16)


def random_checkpoint(shape: str, folder: Path, device: str) -> RandomCheckpoint:
    """A checkpoint of one of ``CONFIGS``; its config is written into the folder, for transformers reads it there."""
    config = {**CONFIGS[shape], "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = {name: TensorInfo(name, "BF16", sizes, folder) for name, sizes in tensor_shapes(CONFIGS[shape]).items()}
    layers = int(config.get("n_layer", config.get("num_hidden_layers", 1)))
    return RandomCheckpoint(shape, folder, None, config, tensors, device=device, layers=layers)


def random_texts(shape: str, samples: int, tokens: int) -> list[list[int]]:
    """Token ids of texts of one length, the same at each call."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, CONFIGS[shape]["vocab_size"], (samples, tokens), generator=generator)
    return [row.tolist() for row in ids]
