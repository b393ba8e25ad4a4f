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
from workbench.errors import PrerequisiteError
from workbench.formats import _ggml
from workbench.formats._gguf_layout import FILE_TYPES, TensorPlan, padded, plan_tensors
from workbench.formats._gguf_metadata import Value, estimated_metadata_bytes, metadata, metadata_bytes
from workbench.formats.base import ConversionContext, Format, Options

if TYPE_CHECKING:
    from gguf import GGUFWriter

HEADER_BYTES = 24  # magic, version, number of tensors, number of pairs


class GgufOptions(Options):
    """Options of a GGUF file."""

    type: Literal["f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"] = Field(
        default="q4_k_m", description="llama.cpp's file type: the mixture of bit widths"
    )


class Gguf(Format[GgufOptions]):
    """llama.cpp's file format."""

    name = "gguf"
    title = "GGUF (llama.cpp)"
    options_model = GgufOptions
    architectures = frozenset({"gpt_bigcode"})
    libraries = ("gguf", "libggml-python")
    requires: ClassVar[tuple[tuple[str, str], ...]] = (("gguf", "gguf"), ("libggml", "libggml-python"))

    def predicted_bytes(self, checkpoint: Checkpoint, options: GgufOptions) -> int:
        """Bytes of the file: exact where the tokenizer is at hand, within 1% without it."""
        file_type = FILE_TYPES[options.type]
        plans = plan_tensors(checkpoint, file_type)
        if (checkpoint.path / "tokenizer.json").is_file():
            pairs = metadata_bytes(metadata(checkpoint, file_type))
        else:
            pairs = estimated_metadata_bytes(int(checkpoint.config["vocab_size"]))
        infos = sum(8 + len(plan.name) + 4 + 8 * len(plan.shape) + 4 + 8 for plan in plans)
        return padded(HEADER_BYTES + pairs + infos) + sum(padded(plan.nbytes) for plan in plans)

    def convert(
        self, checkpoint: Checkpoint, options: GgufOptions, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Write ``<model>.<TYPE>.gguf``; returns how many tensors got which type."""
        self.check_architecture(checkpoint)
        file_type = FILE_TYPES[options.type]
        plans = plan_tensors(checkpoint, file_type)
        if any(plan.type.startswith("Q") for plan in plans):
            _ggml.library()  # a missing library is found before any work
        writer = _open_writer(metadata(checkpoint, file_type), plans)
        writer.write_header_to_file(out / f"{checkpoint.model_name}.{options.type.upper()}.gguf")
        try:
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for done, plan in enumerate(plans):
                context.progress(done, len(plans), plan.name)
                writer.write_tensor_data(_ggml.pack(checkpoint.read(plan.source), plan.type))
            context.progress(len(plans), len(plans), "written")
        finally:
            writer.close()
        return {"file_type": options.type.upper(), "tensor_types": dict(sorted(Counter(p.type for p in plans).items()))}


def _open_writer(pairs: dict[str, Value], plans: list[TensorPlan]) -> GGUFWriter:
    """gguf's writer with all pairs and tensor infos, no file yet."""
    import numpy as np

    try:
        from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter
    except ImportError as error:
        raise PrerequisiteError("writing GGUF needs the gguf package; install it with: pip install gguf") from error

    kinds = {
        str: GGUFValueType.STRING,
        bool: GGUFValueType.BOOL,
        int: GGUFValueType.UINT32,
        float: GGUFValueType.FLOAT32,
    }
    writer = GGUFWriter(None, str(pairs["general.architecture"]))
    for key, value in pairs.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif key != "general.architecture":  # the writer has put it first itself
            writer.add_key_value(key, value, kinds[type(value)])
    for plan in plans:
        kind = GGMLQuantizationType[plan.type]
        # The dtype only matters for bytes given without a type.
        writer.add_tensor_info(plan.name, plan.shape, np.dtype(np.float32), plan.nbytes, raw_dtype=kind)
    return writer


FORMAT = Gguf()
