"""float16 safetensors: the reference every other format is compared with.

Half precision has 11 significant bits and ends at 65504. Weights of trained models lie far inside, and a source in
float16 passes through unchanged; bfloat16 and float32 sources are rounded to nearest. One tensor at a time
is in memory, so a 30 GB model converts on a small machine.

Example::

    workbench build --model sqlcoder-nano --recipe fp16
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.checkpoint import Checkpoint
from workbench.formats._modules import ARCHITECTURES, float16_spec, kept_tensors, write_config
from workbench.formats._safetensors import Spec, Writer, as_float16, total_bytes
from workbench.formats.base import ConversionContext, Format, Options, copy_small_files


class Fp16Options(Options):
    """float16 has nothing to choose."""


class Fp16(Format[Fp16Options]):
    """Streamed copy in float16, sharded as transformers shards."""

    name = "fp16"
    title = "float16 safetensors"
    options_model = Fp16Options
    architectures = ARCHITECTURES
    libraries = ()

    def predicted_bytes(self, checkpoint: Checkpoint, options: Fp16Options) -> int:
        """Exact: tensors and headers."""
        return total_bytes(_specs(checkpoint))

    def convert(
        self, checkpoint: Checkpoint, options: Fp16Options, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Copy tensor by tensor; see ``Format.convert``."""
        self.check_architecture(checkpoint)
        specs = _specs(checkpoint)
        with Writer(specs, out) as writer:
            for done, spec in enumerate(specs, start=1):
                writer.write(spec.name, as_float16(spec.name, checkpoint.read(spec.name)))
                context.progress(done, len(specs), "tensors")
        write_config(checkpoint, out)
        copy_small_files(checkpoint, out)
        return {"source_dtypes": sorted({info.dtype for info in checkpoint.tensors.values()})}


def _specs(checkpoint: Checkpoint) -> list[Spec]:
    return [float16_spec(info) for info in kept_tensors(checkpoint)]


FORMAT = Fp16()
