"""One judge for all quantizers: their weights in one float32 model, beside the unquantized one, on held-out texts.

Whatever made the weights, they are put into the same transformers class and read the same tokens, so a difference in
the figures is a difference of the weights. ``workbench/evals/divergence.py`` says what the figures mean: the divergence
KL(P || Q) of the quantized model's next-token distribution Q from the float model's P, in nats a token.

A tool is judged by what it would store. So its weights must be all linear layers inside the blocks, no fewer, and in
each row a group of inputs may show at most ``2^bits`` values: ``check`` refuses weights that cost more than was agreed.

Example::

    judge = Judge(open_checkpoint("sqlcoder-nano"), texts.heldout)
    judge.figures(read_weights(folder))["heldout"].kl_nats
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fidelity_texts import Texts
from workbench.architecture import MODULES
from workbench.checkpoint import Checkpoint
from workbench.evals.divergence import TokenFigures, compare_rows
from workbench.runtimes._gptq import dequantized_state

if TYPE_CHECKING:
    import torch

CHECKED_ROWS = 64
PLAIN = "weights.safetensors"


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """What a tool left in a folder, float32 by name: ``weights.safetensors``, or a GPTQ checkpoint dequantized."""
    import torch
    from safetensors.torch import load_file

    if (folder / PLAIN).is_file():
        return {name: values.float() for name, values in load_file(folder / PLAIN).items()}
    return dequantized_state(folder, torch.float32)


def check(checkpoint: Checkpoint, weights: dict[str, torch.Tensor], bits: int, group_size: int) -> None:
    """See that the weights cost what was agreed.

    Raises:
        ValueError: a layer is missing, or a group shows more values than its codes can tell apart.
    """
    for layer in MODULES[checkpoint.architecture].linears(checkpoint):
        weight = weights.get(f"{layer}.weight")
        if weight is None:
            raise ValueError(f"{layer} was not quantized")
        most = most_values(weight, group_size)
        if most > 2**bits:
            raise ValueError(f"a group of {layer} shows {most} values, {bits} bits tell {2**bits} apart")


def most_values(weight: torch.Tensor, group_size: int) -> int:
    """The most different values in any group of some rows spread over the layer; ``[out, in]``."""
    rows = weight[:: max(1, len(weight) // CHECKED_ROWS)]
    width = weight.shape[1] if group_size == -1 else group_size
    return max(int((1 + (part.sort(dim=1).values.diff(dim=1) != 0).sum(dim=1)).max()) for part in rows.split(width, 1))


class Judge:
    """Compares weights with those of a checkpoint.

    Args:
        checkpoint: the unquantized model.
        heldout: texts by set.
    """

    def __init__(self, checkpoint: Checkpoint, heldout: dict[str, Texts]) -> None:
        self._heldout = heldout
        self._reference = float_model(checkpoint)
        self._model = float_model(checkpoint)
        self._original = {name: value.clone() for name, value in self._model.named_parameters()}

    def figures(self, weights: dict[str, torch.Tensor]) -> dict[str, list[TokenFigures]]:
        """Each text's tokens, by set.

        Raises:
            ValueError: the model has no parameter of such a name and shape.
        """
        self._put(weights)
        return {name: list(self._compared(texts.ids)) for name, texts in self._heldout.items()}

    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        """The weights into the model, which is the checkpoint's elsewhere."""
        import torch

        parameters = dict(self._model.named_parameters())
        tied = {"lm_head.weight"} - parameters.keys()
        strange = [name for name in weights if name not in parameters and name not in tied]
        if strange:
            raise ValueError(f"the model has no parameter {strange[0]}")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(weights.get(name, self._original[name]))

    def _compared(self, sequences: Sequence[Sequence[int]]) -> Iterator[TokenFigures]:
        for ids in sequences:
            yield compare_rows(logits(self._reference, ids), logits(self._model, ids), ids[1:])


def float_model(checkpoint: Checkpoint) -> Any:
    """The checkpoint in transformers, float32."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float32, local_files_only=True)
    return model.eval()


def logits(model: Any, ids: Sequence[int]) -> Any:
    """What it says of each token but the first, ``[tokens - 1, vocabulary]``."""
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0, :-1].numpy()
