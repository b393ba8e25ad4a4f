"""Importance matrices: which inputs of each linear layer are large, so that their weights are rounded with more care.

A layer's output error is the weights' rounding errors times its inputs. So llama.cpp's quantizers, when they choose the
scale of a block, can weigh each column's squared error by the mean square of that column's input over some texts: the
diagonal of the matrix that GPTQ uses. It helps most at 2 to 4 bits. Here the texts are text-to-SQL questions with
their answers; the pass goes block by block (``workbench/streamed_model.py``).

Definition and file: llama.cpp's ``tools/imatrix`` (sums of squares and the number of tokens, as GGUF) and
``tools/quantize`` (their quotient). The head and the embedding have none, as is llama.cpp's default. The file is
written beside the weights, so that anyone can make other file types with ``llama-quantize --imatrix``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.architecture import MODULES
from workbench.checkpoint import Checkpoint
from workbench.formats._draft import Apart
from workbench.formats._gguf_header import Value, header_bytes
from workbench.formats._gguf_layout import TensorPlan, padded
from workbench.formats._gguf_names import gguf_name, names_of
from workbench.formats._output import Output, OutputFile, Part
from workbench.formats.base import ConversionContext

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DATASET = "text-to-SQL questions with their answers"
PART = "importance matrix"
ROUNDING = 1e-5  # of a sum: AVX-512 and SSE kernels gave the bundled model's up to 7e-7 apart
TINY = 1e-30  # stands for a sum that is zero


@dataclass(frozen=True)
class Imatrix:
    """The importance matrix of one conversion, to be measured or read back.

    Attributes:
        checkpoint: the source.
        sequences: token ids of the calibration texts.
        most_tokens: of a text; llama.cpp's "chunk size".
    """

    checkpoint: Checkpoint
    sequences: Sequence[Sequence[int]]
    most_tokens: int

    @property
    def file(self) -> OutputFile:
        """The imatrix file to be, one part that is handed over."""
        pairs: dict[str, Value] = {
            "general.type": "imatrix",
            "imatrix.datasets": [DATASET],
            "imatrix.chunk_count": len(self.sequences),
            "imatrix.chunk_size": self.most_tokens,
        }
        plans = self._plans()
        part = Part(PART, sum(padded(plan.nbytes) for plan in plans))
        return OutputFile(f"{self.checkpoint.model_name}.imatrix", header_bytes(pairs, plans), (part,))

    def obtain(self, output: Output, folder: Path, context: ConversionContext) -> dict[str, NDArray[np.float32]]:
        """Mean of squared inputs by column, by the weight's name in GGUF; written to its file on the way.

        An earlier run's file, which the output has checked, is read instead of measured again.
        """
        if not output.finished(PART):
            output.put(PART, self.measured(context))
        return self.read(folder)

    def measured(self, context: ConversionContext) -> Iterator[NDArray[np.float32]]:
        """The part's bytes, measured now."""
        return self._data(measure(self.checkpoint, self.sequences, context))

    def read(self, folder: Path) -> dict[str, NDArray[np.float32]]:
        """Mean of squared inputs by column, by the weight's name in GGUF, out of a finished file."""
        import numpy as np

        tokens = np.float32(sum(map(len, self.sequences)))
        data = np.fromfile(folder / self.file.name, np.uint8, offset=len(self.file.head))
        means, place = {}, 0
        for plan in self._plans():
            name, _, kind = plan.name.rpartition(".")
            if kind == "in_sum2":
                means[name] = data[place : place + plan.nbytes].view(np.float32) / tokens
            place += padded(plan.nbytes)
        return means

    def _plans(self) -> list[TensorPlan]:
        """Two tensors for each weight."""
        return [
            TensorPlan(None, f"{name}.{kind}", (size,), "F32")
            for name, width in sorted(widths(self.checkpoint).items())
            for kind, size in (("in_sum2", width), ("counts", 1))
        ]

    def _data(self, sums: dict[str, NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The values of those tensors, padded."""
        import numpy as np

        tokens = np.array([sum(map(len, self.sequences))], np.float32)
        for name in sorted(sums):
            for values in (sums[name], tokens):
                yield np.pad(values, (0, padded(values.nbytes) // values.itemsize - values.size))


def sums_apart(name: str, made: bytes, stored: bytes) -> Apart:
    """How far two versions of the matrix are from each other."""
    import numpy as np

    sums, others = (np.frombuffer(side, "<f4").astype(np.float64) for side in (made, stored))
    with np.errstate(all="ignore"):
        apart = float(np.max(np.abs(sums - others) / np.maximum(np.abs(sums), TINY)))
    told = f"{(sums == others).mean():.2%} of its sums are equal, the largest difference is {apart:.3g} of a sum"
    return Apart(told, "rounding" if apart <= ROUNDING else "altered")


def widths(checkpoint: Checkpoint) -> dict[str, int]:
    """Inputs of each linear layer inside the blocks, by the weight's name in GGUF."""
    names = names_of(checkpoint)
    keys = [f"{layer}.weight" for layer in MODULES[checkpoint.architecture].linears(checkpoint)]
    return {str(gguf_name(key, names)): checkpoint.tensors[key].shape[1] for key in keys}


def imatrix_pairs(checkpoint: Checkpoint, texts: int) -> dict[str, Value]:
    """What ``llama-quantize`` notes of an importance matrix, at the end of a GGUF file's pairs."""
    return {
        "quantize.imatrix.file": f"{checkpoint.model_name}.imatrix",
        "quantize.imatrix.dataset": DATASET,
        "quantize.imatrix.entries_count": len(widths(checkpoint)),
        "quantize.imatrix.chunks_count": texts,
    }


def measure(
    checkpoint: Checkpoint, sequences: Sequence[Sequence[int]], context: ConversionContext
) -> dict[str, NDArray[np.float32]]:
    """Run the model over token ids and sum up the squares of what each linear layer reads, by column.

    In memory are one block's weights and the states of all sequences; the sums do not depend on the threads.

    Returns:
        float32 sums over all tokens, by the weight's name in GGUF.
    """
    import numpy as np

    from workbench.quiet import quiet_libraries
    from workbench.streamed_model import StreamedModel
    from workbench.workers import Workers

    modules, names = MODULES[checkpoint.architecture], names_of(checkpoint)
    sums: dict[str, NDArray[np.float32]] = {}
    with quiet_libraries(), Workers(context.threads) as workers:
        model = StreamedModel(checkpoint, workers)
        batches = model.embed(sequences)
        for place, block in model.blocks():
            totals: dict[str, NDArray[np.float64]] = {}
            for inputs in model.observe(block, [step[0] for step in modules.steps], batches):
                for layer, values in inputs.items():
                    read = values.numpy()
                    squares = np.einsum("ij,ij->j", read, read).astype(np.float64)
                    totals[layer] = totals[layer] + squares if layer in totals else squares
            for step in modules.steps:
                for layer in step:
                    name = str(gguf_name(f"{modules.blocks}.{place}.{layer}.weight", names))
                    sums[name] = totals[step[0]].astype(np.float32)
            context.progress(place + 1, model.depth, "blocks measured")
    return sums
