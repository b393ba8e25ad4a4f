"""GGUF: one file with weights, config and tokenizer, for llama.cpp and everything built on it.

Files are written in one pass from the half-precision checkpoint: some rows are read, quantized and
appended, so memory holds a few rows, and there is no 16-bit file in between. ``q8_0`` (8.5 bits a weight)
is as good as lossless; ``q4_k_m`` (about 5 bits) is what most people run. Types per tensor follow
llama.cpp (``_gguf_types.py``); the bytes equal those of ``llama-quantize``, with an importance matrix
(``_gguf_imatrix.py``) and without.

Knows the whole family: gpt_bigcode (StarCoder, SQLCoder and SQLCoder2 15B), llama (CodeLlama, Llama 3, DeciCoder) and
mistral.

Example::

    name: gguf-q4_k_m
    format: gguf
    runtime: llama_cpp
    options: {type: q4_k_m}
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from workbench.artifact import sha256_json
from workbench.batches import tokenize
from workbench.checkpoint import Checkpoint
from workbench.errors import WorkbenchError
from workbench.formats._build_work import calibration_work
from workbench.formats._draft import Draft
from workbench.formats._ggml import library, pack
from workbench.formats._gguf_header import Value, header_bytes, header_size
from workbench.formats._gguf_imatrix import PART, Imatrix, imatrix_pairs, sums_apart
from workbench.formats._gguf_layout import TensorPlan, padded, plan_tensors
from workbench.formats._gguf_metadata import estimated_vocabulary_bytes, metadata
from workbench.formats._gguf_names import NAMES
from workbench.formats._gguf_types import FILE_TYPES
from workbench.formats._gguf_vocabulary import has_vocabulary, vocabulary_bytes
from workbench.formats._output import Output, OutputFile, Part
from workbench.formats.base import BuildWork, ConversionContext, Format, Options, streamed_work

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from workbench.formats._draft import Put
    from workbench.formats._output import Piece


TOLERANCES = {
    "f16": 0.01, "bf16": 0.03, "q8_0": 0.05, "q6_k": 0.1, "q5_k_m": 0.2, "q5_k_s": 0.2, "q4_k_m": 0.4, "q4_k_s": 0.4,
    "q4_0": 0.4, "q3_k_m": 0.8, "q2_k": 1.5,
}  # fmt: skip


# Weights that one core transforms in a second: q8_0 and q4_k_m by README's figures, the others estimated from those.
WEIGHTS_PER_CORE_S = {
    "f16": 2e9, "bf16": 2e9, "q8_0": 1.62e8, "q6_k": 1e8, "q5_k_m": 9.7e7, "q5_k_s": 9.7e7, "q4_k_m": 9.7e7,
    "q4_k_s": 9.7e7, "q4_0": 1.5e8, "q3_k_m": 6e7, "q2_k": 6e7,
}  # fmt: skip


class GgufOptions(Options):
    """How to quantize.

    Attributes:
        type: llama.cpp's file type: the mixture of bit widths.
        imatrix: round with more care what counts more on text-to-SQL questions; helps most at 2 to 4 bits and takes a
            pass of the model over the calibration texts.
        calibration_samples: texts of that pass.
        calibration_tokens: most tokens of one text.
    """

    type: Literal["f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q4_0", "q3_k_m", "q2_k"] = (
        "q4_k_m"
    )
    imatrix: bool = False
    calibration_samples: int = Field(default=128, ge=1)
    calibration_tokens: int = Field(default=1024, ge=8)

    @field_validator("imatrix")
    @classmethod
    def _of_use(cls, imatrix: bool, info: ValidationInfo) -> bool:
        """ggml quantizes these types without looking at it."""
        if imatrix and info.data.get("type") in ("f16", "bf16", "q8_0"):
            raise ValueError(f"changes nothing in a file of type {info.data['type']}; leave it out")
        return imatrix


class Gguf(Format[GgufOptions]):
    """llama.cpp's file format."""

    name = "gguf"
    title = "GGUF (llama.cpp)"
    options_model = GgufOptions
    architectures = frozenset(NAMES)
    libraries = ("gguf",)
    engines = ("llama_server", "ollama")
    requires = (("gguf", "gguf"),)

    def predicted_bytes(self, checkpoint: Checkpoint, options: GgufOptions) -> int:
        """Bytes of the file: exact where the tokenizer is at hand, off by some hundred kilobytes without it."""
        plans = plan_tensors(checkpoint, FILE_TYPES[options.type], options.imatrix)
        known, vocabulary = has_vocabulary(checkpoint), int(checkpoint.config["vocab_size"])
        tokenizer = vocabulary_bytes(checkpoint) if known else estimated_vocabulary_bytes(vocabulary)
        head = header_size(_pairs(checkpoint, options, vocabulary=False), plans, tokenizer)
        return head + sum(padded(plan.nbytes) for plan in plans)

    def size_is_exact(self, checkpoint: Checkpoint) -> bool:
        """Where the tokenizer, which the file carries, is at hand."""
        return has_vocabulary(checkpoint)

    def wants_calibration(self, options: GgufOptions) -> bool:
        """For an importance matrix."""
        return options.imatrix

    def build_work(self, checkpoint: Checkpoint, options: GgufOptions, threads: int) -> BuildWork:
        """15.5 billion weights took two cores 47.8 s in Q8_0 and 80.1 s in Q4_K_M (README)."""
        streamed = streamed_work(checkpoint, WEIGHTS_PER_CORE_S[options.type], 480 << 20, threads)
        if not options.imatrix:
            return streamed
        read = calibration_work(checkpoint, options.calibration_samples, options.calibration_tokens, threads)
        return BuildWork(streamed.core_s + read.core_s, max(streamed.ram_bytes, read.ram_bytes))

    def tolerance(self, options: GgufOptions) -> float:
        """By the bits most weights have."""
        return TOLERANCES[options.type]

    def convert(
        self, checkpoint: Checkpoint, options: GgufOptions, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Write ``<model>.<TYPE>.gguf``; returns how many tensors got which type."""
        imatrix = _imatrix(checkpoint, options, context) if options.imatrix else None
        importance: dict[str, NDArray[np.float32]] = {}
        draft = self._laid_out(checkpoint, options, imatrix, importance)
        with Output(draft.files, out, checkpoint, context) as output:
            if imatrix:
                importance |= imatrix.obtain(output, out, context)
            output.write_all()
        return draft.finish(out)

    def draft(self, checkpoint: Checkpoint, options: GgufOptions, context: ConversionContext) -> Draft:
        """A part for each tensor, and one for an importance matrix, of which all others are made."""
        imatrix = _imatrix(checkpoint, options, context) if options.imatrix else None
        importance: dict[str, NDArray[np.float32]] = {}
        draft = self._laid_out(checkpoint, options, imatrix, importance)
        if imatrix is None:
            return draft

        def solve(names: Collection[str], folder: Path, put: Put) -> None:
            importance.update(imatrix.read(folder))
            put(PART, imatrix.measured(context))

        return dataclasses.replace(draft, solve=solve, shared=(PART,), distance=sums_apart)

    def _laid_out(
        self,
        checkpoint: Checkpoint,
        options: GgufOptions,
        imatrix: Imatrix | None,
        importance: Mapping[str, NDArray[np.float32]],
    ) -> Draft:
        """The files, with tensors made as the importances say, which may come later."""
        self.check_architecture(checkpoint)
        plans = plan_tensors(checkpoint, FILE_TYPES[options.type], options.imatrix)
        parts = tuple(_part(checkpoint, plan, importance) for plan in plans)
        pairs = _pairs(checkpoint, options, len(imatrix.sequences) if imatrix else 0)
        file = OutputFile(f"{checkpoint.model_name}.{options.type.upper()}.gguf", header_bytes(pairs, plans), parts)

        def finish(out: Path) -> dict[str, Any]:
            types = dict(sorted(Counter(plan.type for plan in plans).items()))
            return {"file_type": options.type.upper(), "tensor_types": types, **_calibration(imatrix)}

        return Draft((imatrix.file, file) if imatrix else (file,), finish)


def _pairs(checkpoint: Checkpoint, options: GgufOptions, texts: int = 0, vocabulary: bool = True) -> dict[str, Value]:
    """All pairs of the file, or all but the tokenizer's; their size does not depend on the number of texts."""
    noted = imatrix_pairs(checkpoint, texts) if options.imatrix else {}
    return {**metadata(checkpoint, FILE_TYPES[options.type], vocabulary), **noted}


def _imatrix(checkpoint: Checkpoint, options: GgufOptions, context: ConversionContext) -> Imatrix:
    """The calibration texts as token ids, for the importance matrix.

    Raises:
        PrerequisiteError: ggml is missing, found before any work.
        WorkbenchError: there are no texts.
    """
    library()
    most_tokens = min(options.calibration_tokens, checkpoint.context_length)
    sequences = tokenize(checkpoint, context.calibration, options.calibration_samples, most_tokens)
    if not sequences:
        raise WorkbenchError("an importance matrix needs calibration texts and got none; give it questions with SQL")
    return Imatrix(checkpoint, sequences, most_tokens)


def _calibration(imatrix: Imatrix | None) -> dict[str, Any]:
    """What the manifest says of the calibration texts."""
    if imatrix is None:
        return {}
    sequences = imatrix.sequences
    return {
        "calibration": {
            "texts": len(sequences),
            "tokens": sum(map(len, sequences)),
            "sha256": sha256_json(sequences),
        }
    }


def _part(checkpoint: Checkpoint, plan: TensorPlan, importance: Mapping[str, NDArray[np.float32]]) -> Part:
    """One tensor with the padding behind it, quantized a few rows at a time; importances may come later."""
    padding = padded(plan.nbytes) - plan.nbytes
    sources = (plan.source,) if plan.source else ()
    pieces = partial(_pieces, checkpoint, plan, importance)
    return Part(plan.name, plan.nbytes + padding, pieces, partial(_zeros, padding), sources)


def _pieces(checkpoint: Checkpoint, plan: TensorPlan, importance: Mapping[str, NDArray[np.float32]]) -> Iterable[Piece]:
    if plan.source is None:
        make = plan.make
        assert make is not None  # a tensor is read or made
        return [lambda: pack(make(), plan.type, plan.name)]
    columns = importance.get(plan.name)
    chunks = checkpoint.tensors[plan.source].chunks
    whole_heads = not plan.head_rows or all((rows.stop - rows.start) % plan.head_rows == 0 for rows in chunks)
    if len(chunks) > 1 and whole_heads:
        return [partial(_piece, checkpoint, plan, columns, place) for place in range(len(chunks))]
    return [partial(_piece, checkpoint, plan, columns, None)]


def _piece(
    checkpoint: Checkpoint, plan: TensorPlan, columns: NDArray[np.float32] | None, place: int | None
) -> NDArray[np.uint8]:
    """A chunk of a tensor, or all of it, in its type."""
    assert plan.source is not None  # only such tensors have chunks
    rows = checkpoint.read(plan.source) if place is None else checkpoint.read_chunk(plan.source, place)
    return pack(plan.reorder(rows), plan.type, plan.source, columns)


def _zeros(count: int) -> NDArray[np.uint8]:
    import numpy as np

    return np.zeros(count, np.uint8)


FORMAT = Gguf()
