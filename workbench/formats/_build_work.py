"""The work of calibrated conversions, counted in operations: texts through all blocks, Hessians, factors, rounding.

Reading a text costs 2 operations for each weight and token. GPTQ reads the texts once for each of a block's four
steps, each time from the block's beginning to that step, and once more to go on; for a matrix of ``n`` inputs and ``m``
outputs it adds ``tokens x n^2`` operations for the Hessian (half of it, for it is symmetric), ``n^3 / 3`` for the
factor and ``m x n^2`` for rounding (``workbench/kernels/gptq.py``). In memory are one block in float32, one Hessian, a
copy of the layer in hand, and each thread's batch.

Example::

    gptq_work(checkpoint, samples=128, most_tokens=1024, threads=2).core_s
"""

from __future__ import annotations

from workbench.architecture import MODULES
from workbench.batches import BATCH_TOKENS
from workbench.checkpoint import Checkpoint
from workbench.formats.base import BuildWork
from workbench.shape import model_shape

# Of one core, in float32 products; a core of a 2.6 GHz AMD EPYC reaches 94e9 in a large one (README's machine).
CORE_FLOPS = 60e9
TEXT_TOKENS = 430  # the calibration texts have 1,409 characters on average, StarCoder's tokens 3.3
POLISH_SWEEPS = 8  # of workbench/kernels/gptq_polish.py
TUNING_PASSES = 4  # of workbench/kernels/distillation.py
TUNING_BYTES = 16  # for each weight: the float model, codes as floats, and a layer's weights and gradients on their way
LIBRARIES_BYTES = 600 << 20  # torch, transformers and numba, resident


def calibration_work(checkpoint: Checkpoint, samples: int, most_tokens: int, threads: int) -> BuildWork:
    """Texts passed through the model once, block by block."""
    linears = _linear_shapes(checkpoint)
    weights = sum(rows * columns for rows, columns in linears)
    layers, ffn = _layers(checkpoint), model_shape(checkpoint.config).ffn
    batches = threads * BATCH_TOKENS * ffn * 4 * 2  # the MLP's inner activations before and after the non-linearity
    core_s = 2 * weights * _tokens(samples, most_tokens) / CORE_FLOPS
    return BuildWork(core_s, LIBRARIES_BYTES + 4 * weights // layers + batches)


def gptq_work(checkpoint: Checkpoint, samples: int, most_tokens: int, threads: int) -> BuildWork:
    """GPTQ of the whole model."""
    passed = calibration_work(checkpoint, samples, most_tokens, threads)
    steps = MODULES[checkpoint.architecture].steps
    linears = _linear_shapes(checkpoint)
    places = iter(linears[: len(linears) // _layers(checkpoint)])
    read = [[next(places) for _ in step] for step in steps]
    inputs = [columns for (_, columns), *_ in read]
    tokens = _tokens(samples, most_tokens)
    hessians = _layers(checkpoint) * sum(tokens * width**2 + width**3 / 3 for width in inputs)
    rounding = sum(rows * width**2 for rows, width in linears)
    # The k-th of n steps reads the block up to it, and the way on all of it: (n + 1) / 2 times the whole on average.
    core_s = passed.core_s * (len(steps) + 1) / 2 + (hessians + rounding) / CORE_FLOPS
    layer = max(rows * width for rows, width in linears)
    return BuildWork(core_s, passed.ram_bytes + 4 * max(inputs) ** 2 + 2 * 4 * layer)


def refined_work(checkpoint: Checkpoint, samples: int, most_tokens: int, threads: int, whole_model: bool) -> BuildWork:
    """GPTQ fitted to the float model's outputs (``_gptq_refine.py``); ``whole_model``: and tuned through all of it.

    Predicted by counting: the texts pass the float model too, the shift of the inputs is a square matrix beside the
    Hessian, a target takes 4 and a sweep of polishing 4 operations for each output and square of the inputs.
    """
    plain = gptq_work(checkpoint, samples, most_tokens, threads)
    passed = calibration_work(checkpoint, samples, most_tokens, threads)
    linears, tokens = _linear_shapes(checkpoint), _tokens(samples, most_tokens)
    steps = len(MODULES[checkpoint.architecture].steps)
    shifts = 2 * tokens * sum(columns**2 for _, columns in linears) * steps / (len(linears) // _layers(checkpoint))
    polishing = 4 * (1 + POLISH_SWEEPS) * sum(rows * columns**2 for rows, columns in linears)
    core_s = plain.core_s + passed.core_s + (shifts + polishing) / CORE_FLOPS
    block = 4 * sum(rows * columns for rows, columns in linears) // _layers(checkpoint)
    ram = plain.ram_bytes + block + 4 * max(columns for _, columns in linears) ** 2
    if not whole_model:
        return BuildWork(core_s, ram)
    forward = 2 * checkpoint.parameters * tokens / CORE_FLOPS
    return BuildWork(core_s + (1 + 3 * TUNING_PASSES) * forward, max(ram, TUNING_BYTES * checkpoint.parameters))


def _tokens(samples: int, most_tokens: int) -> int:
    return samples * min(most_tokens, TEXT_TOKENS)


def _layers(checkpoint: Checkpoint) -> int:
    return int(checkpoint.config[MODULES[checkpoint.architecture].layers_key])


def _linear_shapes(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """``(out, in)`` of all matrices inside blocks, in order of computation."""
    names = MODULES[checkpoint.architecture].linears(checkpoint)
    return [(info.shape[0], info.shape[1]) for info in (checkpoint.tensors[f"{name}.weight"] for name in names)]
