"""What is to be known of a GPTQ package beside its weights: what was handled on the way, and how it is loaded.

The solver tells for each layer what it had to handle (inputs that were always zero, damping that had to grow ...). A
model has hundreds of layers, so notes of one kind, which differ only in their numbers, become one line; the manifest
keeps them all.

Example::

    note_lines({"h.0.attn": ["3 of 256 inputs were always zero: ..."], "h.1.attn": ["5 of 256 inputs ..."]})
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")
_NAMED = 3  # layers named in a line
_GUARD = (
    "; transformers' GPTBigCode looks for c_proj.weight, which packed layers lack, so before from_pretrained let "
    "GPTBigCodePreTrainedModel._init_weights pass over GPTBigCodeMLP and GPTBigCodeAttention (the workbench's README "
    "has the lines)"
)


def note_lines(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """One line for each kind of note: the first of them, in how many layers, and which.

    Args:
        notes: by layer, layers in the order of computation.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for layer, sentences in notes.items():
        for sentence in sentences:
            kinds.setdefault(_NUMBER.sub("#", sentence), []).append((layer, sentence))
    return [_line(found) for found in kinds.values()]


def _line(found: Sequence[tuple[str, str]]) -> str:
    """A kind of note; the numbers are the first layer's."""
    layers, first = [layer for layer, _ in found], found[0][1]
    named = ", ".join(layers[:_NAMED]) + (f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else "")
    if len(layers) == 1:
        return f"{named}: {first}"
    numbers = " (numbers of the first)" if len({sentence for _, sentence in found}) > 1 else ""
    return f"{len(layers)} layers: {first}{numbers}; {named}; all in the manifest"


def how_to_load(architecture: str, config: Mapping[str, Any], shapes: Iterable[tuple[int, int]]) -> str:
    """What readers need, in a sentence; ``config`` and ``shapes`` as ``_gptq_kernels.kernel_limits`` takes them."""
    guard = _GUARD if architecture == "gpt_bigcode" else ""
    group = config["group_size"]
    # Of 4 bits both readers try torch's fused kernel on a CPU, whatever the groups (gptqmodel 7.6.0).
    uneven = config["bits"] == 4 and (group == -1 or any(inputs % group for _, inputs in shapes))
    plain = '; on a CPU both must be told backend="torch"' if uneven else ""
    return f"gptqmodel opens it as it is; transformers needs optimum and gptqmodel{plain}{guard}"
