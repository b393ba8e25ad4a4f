"""What GPTQ of a whole model should take on a GPU, by its operations and largest tensors: predicted, not measured.

Operations of a block's linear layers (m outputs, n inputs) over T tokens, a multiplication and an addition being two:

    forward     2 m n T each; the MLP's first part twice, for its inner activations are not kept
    Hessian     n^2 T for each step, by the upper triangle, and a few per cent that its panels add
    factor      n^3 / 3 for each step
    columns     m n^2 each, and as much of the error's 512 rows, twice

The first two multiply bfloat16 on tensor cores, the others float32 on plain ones. The rates below are supposed: six
tenths of an H100's data sheet (989 and 67 TFLOP/s, SXM). What moves data without computing (attention's softmax, GELU,
norms, adding panels to the Hessian), what searches scales and what launches kernels is left out: the truth is slower.

Memory of StarCoder-15B with 128 x 2,048 tokens in bfloat16, in GB (10^9 bytes):

    states of all texts in front of a block         3.22      262,144 x 6,144 x 2 bytes
    what attention leaves behind, or outputs        3.22
    weights of a block                              0.76
    Hessian, factorised in place                    2.42      24,576 squared x 4 bytes
    copy of the Hessian, to order its columns       2.42      for a moment, after the inputs were added
    panel of the Hessian on its way                 0.40      while inputs are added
    8,192 tokens' inner activations, twice          0.81      likewise
    the layer in float32, and its codes             0.76      while columns are rounded
    ----------------------------------------------------
    most at a time                                 12.0       of 20 GiB = 21.5
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.architecture import MODULES
from workbench.checkpoint import Checkpoint
from workbench.formats._gptq_place import working_bytes
from workbench.kernels._gptq_rows import ERROR_ROWS
from workbench.kernels.gptq_cuda_factor import PANEL

TENSOR_FLOPS_PER_S = 600e12
PLAIN_FLOPS_PER_S = 40e12


@dataclass(frozen=True)
class Cost:
    """Predicted seconds of one block by part, and bytes of the device at the most."""

    seconds: Mapping[str, float]
    peak_bytes: float


def predict(checkpoint: Checkpoint, tokens: int) -> Cost:
    """Of a model and so many calibration tokens on an H100."""
    facts = MODULES[checkpoint.architecture]
    shapes = [[checkpoint.tensors[f"{facts.blocks}.0.{name}.weight"].shape for name in step] for step in facts.steps]
    layers = [shape for step in shapes for shape in step]
    first_of_mlp = shapes[-2]
    widths = [step[0][1] for step in shapes]
    forward = 2 * tokens * sum(rows * columns for rows, columns in [*layers, *first_of_mlp])
    hessian = sum(2 * tokens * min(PANEL, n - first) * (n - first) for n in widths for first in range(0, n, PANEL))
    factor = sum(n**3 / 3 for n in widths)
    columns = sum((rows + 2 * min(rows, ERROR_ROWS)) * n**2 for rows, n in layers)
    seconds = {
        "forward": forward / TENSOR_FLOPS_PER_S,
        "hessian": hessian / TENSOR_FLOPS_PER_S,
        "factor": factor / PLAIN_FLOPS_PER_S,
        "columns": columns / PLAIN_FLOPS_PER_S,
    }
    return Cost(seconds, _peak_bytes(layers, tokens))


def _peak_bytes(layers: list[tuple[int, ...]], tokens: int) -> float:
    states = 2 * 2 * tokens * min(inputs for _, inputs in layers)
    return states + working_bytes(layers)
