"""GGUF: one file with weights, config and tokenizer, for llama.cpp and everything built on it.

Files are written in one pass from the half-precision checkpoint: a tensor is read, quantized by ggml and
appended, so memory holds one tensor, and there is no 16-bit file in between. ``q8_0`` (8.5 bits a weight)
is as good as lossless; ``q4_k_m`` (about 5 bits) is what most people run. Types per tensor follow
llama.cpp (``_gguf_layout.py``); the bytes equal those of ``llama-quantize``.

Knows gpt_bigcode (StarCoder, SQLCoder and SQLCoder2 15B). SQLCoder-7B and the 34B and 70B models are
llamas, which need their query and key rows reordered and a SentencePiece vocabulary: not yet here.

Example::

    name: gguf-q4_k_m
    format: gguf
    runtime: llama_cpp
    options: {type: q4_k_m}
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from workbench.checkpoint import Checkpoint
from workbench.formats import _ggml
from workbench.formats._gguf_header import header_bytes
from workbench.formats._gguf_layout import TensorPlan, padded, plan_tensors
from workbench.formats._gguf_metadata import estimated_metadata_bytes, metadata
from workbench.formats._gguf_names import NAMES
from workbench.formats._gguf_types import FILE_TYPES, PLAIN
from workbench.formats._gguf_vocabulary import has_vocabulary
from workbench.formats.base import ConversionContext, Format, Options

if TYPE_CHECKING:
    import torch


class GgufOptions(Options):
    """Options of a GGUF file."""

    type: Literal["f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q4_0", "q3_k_m", "q2_k"] = (
        Field(default="q4_k_m", description="llama.cpp's file type: the mixture of bit widths")
    )


class Gguf(Format[GgufOptions]):
    """llama.cpp's file format."""

    name = "gguf"
    title = "GGUF (llama.cpp)"
    options_model = GgufOptions
    architectures = frozenset(NAMES)
    libraries = ("gguf", "libggml-python")
    requires: ClassVar[tuple[tuple[str, str], ...]] = (("gguf", "gguf"), ("libggml", "libggml-python"))

    def predicted_bytes(self, checkpoint: Checkpoint, options: GgufOptions) -> int:
        """Bytes of the file: exact where the tokenizer is at hand, within 1% without it."""
        file_type = FILE_TYPES[options.type]
        plans = plan_tensors(checkpoint, file_type)
        data = sum(padded(plan.nbytes) for plan in plans)
        if has_vocabulary(checkpoint):
            return len(header_bytes(metadata(checkpoint, file_type), plans)) + data
        pairs = estimated_metadata_bytes(int(checkpoint.config["vocab_size"]))
        return padded(len(header_bytes({}, plans)) + pairs) + data

    def convert(
        self, checkpoint: Checkpoint, options: GgufOptions, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Write ``<model>.<TYPE>.gguf``; returns how many tensors got which type."""
        self.check_architecture(checkpoint)
        file_type = FILE_TYPES[options.type]
        plans = plan_tensors(checkpoint, file_type)
        if any(plan.type not in PLAIN for plan in plans):
            _ggml.library()  # a missing library is found before any work
        header = header_bytes(metadata(checkpoint, file_type), plans)
        with (out / f"{checkpoint.model_name}.{options.type.upper()}.gguf").open("wb") as file:
            file.write(header)
            for done, plan in enumerate(plans):
                context.progress(done, len(plans), plan.name)
                file.write(_ggml.pack(_rows(checkpoint, plan), plan.type).data)
                file.write(bytes(padded(plan.nbytes) - plan.nbytes))
            context.progress(len(plans), len(plans), "written")
        return {"file_type": options.type.upper(), "tensor_types": dict(sorted(Counter(p.type for p in plans).items()))}


def _rows(checkpoint: Checkpoint, plan: TensorPlan) -> torch.Tensor:
    """The values of one tensor, in the file's order."""
    if plan.source is None:
        assert plan.make is not None  # a tensor is read or made
        return plan.make()
    return plan.reorder(checkpoint.read(plan.source))


FORMAT = Gguf()
