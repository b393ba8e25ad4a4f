"""16-bit safetensors: the reference every other format is compared with.

float16 has 11 significant bits and ends at 65504. Weights of trained models lie far inside, and a source in
float16 passes through unchanged; bfloat16 and float32 sources are rounded to nearest. bfloat16 has the range of float32
and 8 significant bits: the choice for a checkpoint that was trained in it (every SQLCoder since 7b-2), which then
passes through unchanged. A few megabytes are in memory at a time, whatever the model's size.

Example::

    workbench convert --model sqlcoder-nano --recipe fp16 --out nano-fp16
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from workbench.architecture import ARCHITECTURES
from workbench.checkpoint import Checkpoint
from workbench.formats._draft import Draft, written
from workbench.formats._floats import float_group
from workbench.formats._modules import kept_tensors, write_config
from workbench.formats._safetensors import Group, safetensors_files, total_bytes, write_index
from workbench.formats.base import ConversionContext, Format, Options, copy_small_files


class Fp16Options(Options):
    """Which of the two 16-bit types."""

    dtype: Literal["float16", "bfloat16"] = Field(default="float16", description="type of the weights")


class Fp16(Format[Fp16Options]):
    """Streamed copy in 16 bits, sharded as transformers shards."""

    name = "fp16"
    title = "16-bit safetensors"
    options_model = Fp16Options
    architectures = ARCHITECTURES
    libraries = ()
    engines = ("transformers", "transformers_in_python", "vllm")

    def predicted_bytes(self, checkpoint: Checkpoint, options: Fp16Options) -> int:
        """Exact: tensors and headers."""
        return total_bytes(safetensors_files(_groups(checkpoint, options.dtype)))

    def tolerance(self, options: Fp16Options) -> float:
        """Rounding to 11 or 8 bits."""
        return {"float16": 0.003, "bfloat16": 0.03}[options.dtype]

    def convert(
        self, checkpoint: Checkpoint, options: Fp16Options, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Copy chunk by chunk; see ``Format.convert``."""
        return written(self.draft(checkpoint, options, context), out, checkpoint, context)

    def draft(self, checkpoint: Checkpoint, options: Fp16Options, context: ConversionContext) -> Draft:
        """A part for each tensor; see ``Format.draft``."""
        self.check_architecture(checkpoint)
        groups = _groups(checkpoint, options.dtype)
        files = safetensors_files(groups)

        def finish(out: Path) -> dict[str, Any]:
            write_index(out, groups, files)
            write_config(checkpoint, out, dtype=options.dtype)
            copy_small_files(checkpoint, out)
            return {"source_dtypes": sorted({info.dtype for info in checkpoint.tensors.values()})}

        return Draft(tuple(files), finish)


def _groups(checkpoint: Checkpoint, dtype: str) -> list[Group]:
    return [float_group(checkpoint, info, dtype) for info in kept_tensors(checkpoint)]


FORMAT = Fp16()
