"""MLX packages for Apple silicon: what ``mlx_lm.convert`` makes, made anywhere and a few rows at a time.

Embeddings, linear layers and head become codes of 4 or 8 bits with a scale and a bias for every 64 weights (see
``workbench/kernels/mlx_affine.py``): 4.5 or 8.5 bits a weight. Norms and layer biases stay in 16 bits. Tensors have the
names, types, shapes and bytes that ``mlx_lm.convert`` writes on a CPU; only their order in the file differs. With
``bits: 16`` nothing is quantized. Converting needs no MLX, so a package for a Mac can be made on a Linux server, and
memory holds a few megabytes of a 31 GB checkpoint at a time.

The package opens in plain mlx-lm: ``mlx_lm.generate --model FOLDER --prompt ...``. Configs are completed where mlx-lm
would fail or go wrong on them (``_mlx_config.py``). One fault no config can mend: mlx-lm's ``gpt_bigcode`` computes
GELU exactly, StarCoder was trained with its tanh form. mlx-lm can load a model file from the package, but one that
``config.json`` names makes it refuse the package until the user passes ``--trust-remote-code``. The error of the
activation is far below that of 4 bits, and a package that does not open is worth nothing: so the file lies in
the package, unnamed, for those who want it (its docstring says how), and plain mlx-lm computes with exact GELU. The
workbench's own engine always computes the tanh form, without running anything from the package.

Example::

    workbench convert --model sqlcoder-nano --recipe mlx-4bit --out nano-mlx
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

import workbench.kernels
from workbench.architecture import ARCHITECTURES
from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.formats._draft import Draft, written
from workbench.formats._floats import cast, float_group, float_spec, raw
from workbench.formats._mlx_config import HEAD, is_tied, mlx_config, wants_tanh_gelu
from workbench.formats._modules import kept_tensors, write_config
from workbench.formats._safetensors import Group, Spec, quantized_group, safetensors_files, total_bytes, write_index
from workbench.formats.base import BuildWork, ConversionContext, Format, Options, copy_small_files, streamed_work
from workbench.tensors import TensorInfo

METADATA = {"format": "mlx"}
WORD_BITS = 32
MODEL_FILE = "mlx_gpt_bigcode.py"


class MlxOptions(Options):
    """How many bits, in groups of how many weights."""

    bits: Literal[4, 8, 16] = Field(default=4, description="bits of a weight; 16 leaves them unquantized")
    group_size: Literal[32, 64, 128] = Field(default=64, description="weights that share a scale and a bias")
    dtype: Literal["auto", "float16", "bfloat16"] = Field(
        default="auto", description="type of scales and unquantized tensors; auto keeps bfloat16, else takes float16"
    )


class Mlx(Format[MlxOptions]):
    """Affine quantization of mlx-lm, streamed."""

    name = "mlx"
    title = "MLX safetensors"
    options_model = MlxOptions
    architectures = ARCHITECTURES
    libraries = ()
    engines = ("mlx_lm",)

    def predicted_bytes(self, checkpoint: Checkpoint, options: MlxOptions) -> int:
        """Exact: tensors and headers."""
        return total_bytes(safetensors_files(_groups(checkpoint, options), METADATA))

    def build_work(self, checkpoint: Checkpoint, options: MlxOptions, threads: int) -> BuildWork:
        """15.5 billion weights took two cores 66.0 s in 4 bits (README)."""
        return streamed_work(checkpoint, 2e9 if options.bits == 16 else 1.18e8, 430 << 20, threads)

    def tolerance(self, options: MlxOptions) -> float:
        """By the number of steps of a group; unquantized, by the 16-bit type in which a Mac computes, too."""
        return {4: 0.6, 8: 0.05, 16: 0.01 if options.dtype == "float16" else 0.03}[options.bits]

    def convert(
        self, checkpoint: Checkpoint, options: MlxOptions, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Quantize chunk by chunk; see ``Format.convert``."""
        return written(self.draft(checkpoint, options, context), out, checkpoint, context)

    def draft(self, checkpoint: Checkpoint, options: MlxOptions, context: ConversionContext) -> Draft:
        """A part for each tensor or quantized layer; see ``Format.draft``."""
        self.check_architecture(checkpoint)
        config, dtype = mlx_config(checkpoint), _dtype(checkpoint, options)
        groups = _groups(checkpoint, options)
        files = safetensors_files(groups, METADATA)

        def finish(out: Path) -> dict[str, Any]:
            write_index(out, groups, files)
            write_config(checkpoint, out, {**config, **_quantization(options)}, dtype)
            copy_small_files(checkpoint, out)
            details = {"quantized_layers": sum(len(group.specs) > 1 for group in groups), "dtype": dtype}
            if wants_tanh_gelu(config):
                shutil.copyfile(Path(workbench.kernels.__path__[0]) / MODEL_FILE, out / MODEL_FILE)
                details["model_file"] = MODEL_FILE
            return details

        return Draft(tuple(files), finish)


def _quantization(options: MlxOptions) -> dict[str, Any]:
    """What mlx-lm must find in ``config.json``; under the second key the Hub looks for it."""
    if options.bits == 16:
        return {}
    settings = {"bits": options.bits, "group_size": options.group_size, "mode": "affine"}
    return {"quantization": settings, "quantization_config": settings}


def _dtype(checkpoint: Checkpoint, options: MlxOptions) -> str:
    """torch's name of the 16-bit type."""
    if options.dtype != "auto":
        return options.dtype
    matrices = [info for info in kept_tensors(checkpoint) if len(info.shape) > 1]
    return "bfloat16" if all(info.dtype == "BF16" for info in matrices) else "float16"


def _groups(checkpoint: Checkpoint, options: MlxOptions) -> list[Group]:
    """Quantized layers first: so their words stand at multiples of four bytes, whatever other tensors' sizes."""
    infos = {info.name: info for info in kept_tensors(checkpoint)}
    if is_tied(mlx_config(checkpoint)):
        infos.pop(HEAD, None)
    elif HEAD not in infos:
        raise CheckpointError(f"{checkpoint.path} lacks {HEAD}; give --model a complete checkpoint")
    dtype = _dtype(checkpoint, options)
    quantized = [info for info in infos.values() if _is_quantized(info, options)]
    plain = [info for info in infos.values() if not _is_quantized(info, options)]
    return [
        *(_quantized_group(checkpoint, info, options, dtype) for info in quantized),
        *(float_group(checkpoint, info, dtype) for info in plain),
    ]


def _is_quantized(info: TensorInfo, options: MlxOptions) -> bool:
    """mlx-lm quantizes every linear layer and embedding whose rows fall into whole groups."""
    return options.bits < 16 and len(info.shape) == 2 and info.shape[1] % options.group_size == 0


def _quantized_group(checkpoint: Checkpoint, info: TensorInfo, options: MlxOptions, dtype: str) -> Group:
    """A layer's codes, then the scales of its groups, then their biases; rows are independent."""
    plain, (rows, columns) = float_spec(info, dtype), info.shape
    module, of_groups = info.name.removesuffix(".weight"), (rows, columns // options.group_size)
    specs = (
        Spec(info.name, "U32", (rows, columns * options.bits // WORD_BITS)),
        Spec(f"{module}.scales", plain.dtype, of_groups),
        Spec(f"{module}.biases", plain.dtype, of_groups),
    )
    return quantized_group(specs, info, lambda place: _quantize(checkpoint, info.name, place, options, dtype))


def _quantize(checkpoint: Checkpoint, name: str, place: int, options: MlxOptions, dtype: str) -> tuple[Any, Any, Any]:
    """Bytes of one chunk's codes, scales and biases."""
    import torch

    from workbench.kernels.mlx_affine import quantize

    kind = getattr(torch, dtype)
    weight = cast(name, checkpoint.read_chunk(name, place), kind).float().numpy()
    packed, scales, biases = quantize(weight, options.bits, options.group_size)
    return packed, raw(torch.from_numpy(scales).to(kind)), raw(torch.from_numpy(biases).to(kind))


FORMAT = Mlx()
