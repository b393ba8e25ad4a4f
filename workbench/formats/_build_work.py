"""The work of calibrated conversions, counted in operations: texts through all blocks, Hessians, factors, rounding.

Reading a text costs 2 operations for each weight and token. GPTQ passes each block once step by step, and the layers
before the MLP's end once more where the inner activations find no room (``workbench/block_run.py``); for a matrix of
``n`` inputs and ``m`` outputs it adds ``tokens x n^2`` operations for the Hessian (half of it, for it is symmetric),
``n^3 / 3`` for the factor and ``m x n^2`` for rounding (``workbench/kernels/gptq.py``). In memory are one block in
float32, the next as it is stored, one Hessian, a copy of the layer in hand, each thread's batch, and the texts' states
up to a limit. Refined GPTQ has the float model pass beside it, and one more matrix of the Hessian's size.

Example::

    gptq_work(checkpoint, samples=128, most_tokens=1024, threads=2).core_s
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.architecture import MODULES
from workbench.batches import BATCH_TOKENS, STATE_BYTES
from workbench.checkpoint import Checkpoint
from workbench.formats.base import CALIBRATION_MEMORY, BuildWork
from workbench.shape import model_shape

# Of one core. Measured on a busy 2.6 GHz AMD EPYC, in CPU time: 66e9 over the bundled model's conversion, 102e9 over a
# block of SQLCoder-15B's shape.
CORE_FLOPS = 80e9
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
    layers, linears, tokens = _layers(checkpoint), _linear_shapes(checkpoint), _tokens(samples, most_tokens)
    block = linears[: len(linears) // layers]
    places = iter(block)
    steps = [[next(places) for _ in step] for step in MODULES[checkpoint.architecture].steps]
    inputs = [columns for (_, columns), *_ in steps]
    states = STATE_BYTES * tokens * model_shape(checkpoint.config).hidden
    inner = 4 * tokens * inputs[-1]
    kept = states if states <= CALIBRATION_MEMORY else 0
    again = 0.0 if kept + inner <= CALIBRATION_MEMORY else _weights(steps[-2]) / _weights(block)
    hessians = layers * sum(tokens * width**2 + width**3 / 3 for width in inputs)
    rounding = sum(rows * width**2 for rows, width in linears)
    core_s = passed.core_s * (1 + again) + (hessians + rounding) / CORE_FLOPS
    next_block = 2 * _weights(block)  # in 16 bits
    layer = 2 * 4 * max(rows * width for rows, width in linears)
    ram = passed.ram_bytes + next_block + 4 * max(inputs) ** 2 + layer
    return BuildWork(core_s, ram + (kept if again else min(kept + inner, CALIBRATION_MEMORY)))


def _weights(shapes: Sequence[tuple[int, int]]) -> int:
    """Of matrices ``(out, in)``."""
    return sum(rows * columns for rows, columns in shapes)


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
