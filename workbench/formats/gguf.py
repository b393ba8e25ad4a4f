"""GGUF: one file with weights, config and tokenizer, for llama.cpp and everything built on it.

Files are written in one pass from the half-precision checkpoint: some rows are read, quantized and
appended, so memory holds a few rows, and there is no 16-bit file in between. ``q8_0`` (8.5 bits a weight)
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
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from workbench.checkpoint import Checkpoint
from workbench.formats._ggml import pack
from workbench.formats._gguf_header import header_bytes
from workbench.formats._gguf_layout import TensorPlan, padded, plan_tensors
from workbench.formats._gguf_metadata import estimated_metadata_bytes, metadata
from workbench.formats._gguf_names import NAMES
from workbench.formats._gguf_types import FILE_TYPES
from workbench.formats._gguf_vocabulary import has_vocabulary
from workbench.formats._output import Output, OutputFile, Part
from workbench.formats.base import ConversionContext, Format, Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from workbench.formats._output import Piece


TOLERANCES = {
    "f16": 0.01, "bf16": 0.03, "q8_0": 0.05, "q6_k": 0.1, "q5_k_m": 0.2, "q5_k_s": 0.2, "q4_k_m": 0.4, "q4_k_s": 0.4,
    "q4_0": 0.4, "q3_k_m": 0.8, "q2_k": 1.5,
}  # fmt: skip


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
    libraries = ()

    def predicted_bytes(self, checkpoint: Checkpoint, options: GgufOptions) -> int:
        """Bytes of the file: exact where the tokenizer is at hand, within 1% without it."""
        file_type = FILE_TYPES[options.type]
        plans = plan_tensors(checkpoint, file_type)
        data = sum(padded(plan.nbytes) for plan in plans)
        if has_vocabulary(checkpoint):
            return len(header_bytes(metadata(checkpoint, file_type), plans)) + data
        pairs = estimated_metadata_bytes(int(checkpoint.config["vocab_size"]))
        return padded(len(header_bytes({}, plans)) + pairs) + data

    def tolerance(self, options: GgufOptions) -> float:
        """By the bits most weights have."""
        return TOLERANCES[options.type]

    def convert(
        self, checkpoint: Checkpoint, options: GgufOptions, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Write ``<model>.<TYPE>.gguf``; returns how many tensors got which type."""
        self.check_architecture(checkpoint)
        file_type = FILE_TYPES[options.type]
        plans = plan_tensors(checkpoint, file_type)
        name = f"{checkpoint.model_name}.{options.type.upper()}.gguf"
        parts = tuple(_part(checkpoint, plan) for plan in plans)
        file = OutputFile(name, header_bytes(metadata(checkpoint, file_type), plans), parts)
        with Output([file], out, checkpoint, context) as output:
            output.write_all()
        return {"file_type": options.type.upper(), "tensor_types": dict(sorted(Counter(p.type for p in plans).items()))}


def _part(checkpoint: Checkpoint, plan: TensorPlan) -> Part:
    """One tensor with the padding behind it, quantized a few rows at a time."""
    padding = padded(plan.nbytes) - plan.nbytes
    sources = (plan.source,) if plan.source else ()
    return Part(plan.name, plan.nbytes + padding, partial(_pieces, checkpoint, plan), partial(_zeros, padding), sources)


def _pieces(checkpoint: Checkpoint, plan: TensorPlan) -> Iterable[Piece]:
    if plan.source is None:
        make = plan.make
        assert make is not None  # a tensor is read or made
        return [lambda: pack(make(), plan.type, plan.name)]
    chunks = checkpoint.tensors[plan.source].chunks
    whole_heads = not plan.head_rows or all((rows.stop - rows.start) % plan.head_rows == 0 for rows in chunks)
    if len(chunks) > 1 and whole_heads:
        return [partial(_piece, checkpoint, plan, place) for place in range(len(chunks))]
    return [partial(_piece, checkpoint, plan, None)]


def _piece(checkpoint: Checkpoint, plan: TensorPlan, place: int | None) -> NDArray[np.uint8]:
    """A chunk of a tensor, or all of it, in its type."""
    assert plan.source is not None  # only such tensors have chunks
    rows = checkpoint.read(plan.source) if place is None else checkpoint.read_chunk(plan.source, place)
    return pack(plan.reorder(rows), plan.type, plan.source)


def _zeros(count: int) -> NDArray[np.uint8]:
    import numpy as np

    return np.zeros(count, np.uint8)


FORMAT = Gguf()
