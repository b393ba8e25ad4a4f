"""ONNX with a key-value cache, for onnxruntime and everything built on it.

Three files: ``model.onnx`` computes in float32 and is for CPUs, ``model_fp16.onnx`` computes in float16 and is for
GPUs, and both read the one ``model.onnx_data``. Inputs and outputs bear optimum's names (``input_ids``,
``attention_mask``, ``position_ids``, ``past_key_values.N.key`` -> ``logits``, ``present.N.key``).

``weights: fp16`` keeps float16 weights: on a CPU the answers are those of transformers in float32. ``int8`` and
``int4`` store the linear layers in blocks of 32 (``_onnx_blocks.py``: 8.5 and 4.625 bits a weight) for onnxruntime's
``MatMulNBits``, the head in 8 bits either way and the embedding in float16. Their products on a CPU round activations
to 8 bits too, block by block; those on CUDA do not. The other way to 8 bits, dynamic quantization
(``DynamicQuantizeLinear`` and ``MatMulInteger``), has one scale for all activations of a layer, which costs more.

Weights stream from the checkpoint into the data file a few rows at a time, whatever the model's size.

Example::

    workbench convert --model sqlcoder-nano --recipe onnx-int4 --out nano-onnx
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from workbench.architecture import ARCHITECTURES
from workbench.checkpoint import Checkpoint
from workbench.formats._draft import Draft, written
from workbench.formats._modules import write_config
from workbench.formats._onnx_blocks import BLOCK
from workbench.formats._onnx_graph import DATA_NAME, Graph
from workbench.formats._onnx_models import HEAD_BITS, decoder
from workbench.formats._onnx_weights import Weights
from workbench.formats._output import OutputFile
from workbench.formats.base import BuildWork, ConversionContext, Format, Options, copy_small_files, streamed_work

BITS = {"fp16": 16, "int8": 8, "int4": 4}
PIP = "onnx"
WEIGHTS_PER_CORE_S = {"fp16": 2e9, "int8": 5.1e7, "int4": 5.1e7}  # that one core transforms in a second


class OnnxOptions(Options):
    """How the linear layers are stored."""

    weights: Literal["fp16", "int8", "int4"] = Field(default="fp16", description="type of the linear layers' weights")


class Onnx(Format[OnnxOptions]):
    """Graphs written down by hand and streamed weights."""

    name = "onnx"
    title = "ONNX"
    options_model = OnnxOptions
    architectures = ARCHITECTURES
    libraries = ("onnx",)
    engines = ("onnxruntime",)
    requires = (("onnx", PIP),)

    def predicted_bytes(self, checkpoint: Checkpoint, options: OnnxOptions) -> int:
        """Exact: the data file and both graphs."""
        weights = Weights(checkpoint, BITS[options.weights])
        graphs = _graphs(checkpoint, weights)
        places, parts = weights.lay_out()
        return sum(part.nbytes for part in parts) + sum(graph.model_bytes(places) for graph in graphs.values())

    def build_work(self, checkpoint: Checkpoint, options: OnnxOptions, threads: int) -> BuildWork:
        """15.5 billion weights took two cores 152.1 s in 4 bits (README)."""
        return streamed_work(checkpoint, WEIGHTS_PER_CORE_S[options.weights], 360 << 20, threads)

    def tolerance(self, options: OnnxOptions) -> float:
        """By the bits of a weight; the bundled model shows 0.0005 (in float16), 0.014 and 0.15."""
        return {"fp16": 0.005, "int8": 0.05, "int4": 0.4}[options.weights]

    def convert(
        self, checkpoint: Checkpoint, options: OnnxOptions, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Write the weights front to back, then the graphs; see ``Format.convert``."""
        return written(self.draft(checkpoint, options, context), out, checkpoint, context)

    def draft(self, checkpoint: Checkpoint, options: OnnxOptions, context: ConversionContext) -> Draft:
        """A part for each tensor that the graphs read; see ``Format.draft``."""
        self.check_architecture(checkpoint)
        bits = BITS[options.weights]
        weights = Weights(checkpoint, bits)
        graphs = _graphs(checkpoint, weights)
        places, parts = weights.lay_out()

        def finish(out: Path) -> dict[str, Any]:
            for name, graph in graphs.items():
                (out / name).write_bytes(graph.to_model(places).SerializeToString(deterministic=True))
            write_config(checkpoint, out)
            copy_small_files(checkpoint, out)
            facts = {} if bits == 16 else {"bits": bits, "head_bits": HEAD_BITS, "block_size": BLOCK}
            return {"weights": options.weights, **facts}

        return Draft((OutputFile(DATA_NAME, b"", parts),), finish)


def _graphs(checkpoint: Checkpoint, weights: Weights) -> dict[str, Graph]:
    """Both graphs by file name; they read the same weights."""
    return {
        "model.onnx": decoder(checkpoint, weights, "float32"),
        "model_fp16.onnx": decoder(checkpoint, weights, "float16"),
    }


FORMAT = Onnx()
