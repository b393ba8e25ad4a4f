"""How a GPTQ package is laid out: its group size, the shapes of its tensors, and the config that readers go by.

One layout in two versions. Version 1 (``checkpoint_format: gptq``) stores every zero minus one, version 2
(``gptq_v2``) stores it as it is. A symmetric package is written in version 1, which every reader knows; readers take
the zero for the middle of the codes or add the one. An asymmetric one is written in version 2, unless the options say
otherwise: some makers got version 1 wrong, so gptqmodel refuses such a package of any other maker
(``gptqmodel/models/loader.py``, 7.6.0), while servers older than version 2 (TGI, AutoGPTQ) would be off by one in it.

Inputs that the wanted group does not divide: vLLM counts ``inputs // group`` groups and refuses what is left over
(``auto_gptq.py``), gptqmodel counts ``ceil(inputs / group)``. So the widest smaller group that divides the inputs of
every layer is taken, or, when asked for, the group is kept and the last one of such layers is narrower.

Example::

    quantization_config(GptqOptions(), 128)["bits"]
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__
from workbench.architecture import MODULES
from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.formats._floats import float_group, float_spec
from workbench.formats._gptq_kernels import KERNELS, faults
from workbench.formats._modules import kept_tensors, write_config
from workbench.formats._safetensors import Group, Spec
from workbench.tensors import TensorInfo

if TYPE_CHECKING:
    from workbench.formats.gptq import GptqOptions

WORD = 32
_GROUPS = (128, 64, 32)
_ELSEWHERE = "take --recipe gptq-4bit-any, which promises no kernel, or a GGUF recipe"


def group_size(checkpoint: Checkpoint, options: GptqOptions) -> int:
    """The group size a package gets.

    Raises:
        CheckpointError: sizes that cannot be packed, or that the promised kernel does not take.
    """
    shapes = layer_shapes(checkpoint)
    _check_words(options.bits, shapes)
    group: int = options.group_size
    if group != -1 and options.last_group == "full":
        group = _whole_group(group, shapes)
    _keep_promise(options, group, shapes)
    return group


def _check_words(bits: int, shapes: Iterable[tuple[int, int]]) -> None:
    """Refuse layers whose codes do not fill whole words: no kernel reads them."""
    whole = next(count for count in (4, 8, 16, 32) if count * bits % WORD == 0)
    for outputs, inputs in shapes:
        if outputs % whole or inputs % whole:
            raise CheckpointError(
                f"a layer of {outputs} x {inputs} cannot be packed as {bits}-bit GPTQ, whose sizes are multiples of "
                f"{whole}; choose another format"
            )


def _whole_group(wanted: int, shapes: Sequence[tuple[int, int]]) -> int:
    """The widest group up to the wanted one that divides the inputs of every layer."""
    for group in _GROUPS:
        if group <= wanted and all(inputs % group == 0 for _, inputs in shapes):
            return group
    odd = next(inputs for _, inputs in shapes if inputs % _GROUPS[-1])
    raise CheckpointError(
        f"no group of {_GROUPS[-1]} or more divides a layer's {odd} inputs; in a recipe of your own set "
        "last_group: narrow or group_size: -1, or take a GGUF recipe"
    )


def group_facts(checkpoint: Checkpoint, options: GptqOptions) -> dict[str, Any]:
    """The group size wanted and taken, and why they differ or what is left over; for the manifest."""
    group = group_size(checkpoint, options)
    facts = {"group_size": group, "group_size_wanted": options.group_size}
    uneven = sorted({inputs for _, inputs in layer_shapes(checkpoint) if inputs % options.group_size})
    if options.group_size == -1 or not uneven:
        return facts
    widths = " and ".join(map(str, uneven))
    if group == options.group_size:
        note = f"the last group of a layer with {widths} inputs is narrower; vLLM does not read such a package"
    else:
        note = f"groups of {options.group_size} do not divide {widths} inputs; {group} divides those of every layer"
    return {**facts, "group_size_note": note}


def _keep_promise(options: GptqOptions, group: int, shapes: Iterable[tuple[int, int]]) -> None:
    """Refuse what the promised kernel would refuse later, on a rented GPU."""
    for kernel in KERNELS:
        if kernel.name == options.kernel:
            found = faults(kernel, quantization_config(options, group), sorted(set(shapes)))
            if found:
                raise CheckpointError(
                    f"the recipe promises the {kernel.name} kernel, which {'; '.join(found)}: {_ELSEWHERE}"
                )


def quantization_config(options: GptqOptions, group: int) -> dict[str, Any]:
    """What readers of the layout must know.

    ``desc_act`` is what a reader sees of it: groups of neighbouring inputs, as ``static_groups`` leaves them and a
    whole row is, need no reordering, and kernels are faster where none is announced.
    """
    ordered = options.desc_act and not options.static_groups and group != -1
    version = checkpoint_format(options)
    # transformers and gptqmodel read it though it plays no part any more, and refuse 0 and 1.
    damp = {"damp_percent": options.damp} if 0 < options.damp < 1 else {}
    return {
        "quant_method": "gptq",
        "checkpoint_format": version,
        "format": version,  # gptqmodel's newer name of it
        "bits": options.bits,
        "group_size": group,
        "sym": options.symmetric,
        "desc_act": ordered,
        "act_group_aware": False,  # gptqmodel's own order of inputs
        "static_groups": options.static_groups,
        "true_sequential": True,
        "lm_head": False,
        "pack_dtype": "int32",
        **damp,
        "meta": {"quantizer": [f"workbench:{__version__}"]},
    }


def checkpoint_format(options: GptqOptions) -> str:
    """``gptq`` or ``gptq_v2``."""
    return options.checkpoint_format or ("gptq" if options.symmetric else "gptq_v2")


def write_configs(checkpoint: Checkpoint, options: GptqOptions, group: int, out: Path) -> None:
    """``config.json``, and ``quantize_config.json`` for readers that look only there (AutoGPTQ, TGI)."""
    config = quantization_config(options, group)
    write_config(checkpoint, out, {"quantization_config": config})
    (out / "quantize_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def layer_shapes(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """``(out, in)`` of each layer to be quantized."""
    names = MODULES[checkpoint.architecture].linears(checkpoint)
    return [(info.shape[0], info.shape[1]) for info in (checkpoint.tensors[f"{name}.weight"] for name in names)]


def tensor_groups(checkpoint: Checkpoint, options: GptqOptions) -> list[Group]:
    """Every tensor of the result: what is not quantized, then the quantized layers in the order they are made."""
    group = group_size(checkpoint, options)
    linears = MODULES[checkpoint.architecture].linears(checkpoint)
    packed = [_packed_group(layer, checkpoint.tensors[f"{layer}.weight"], options.bits, group) for layer in linears]
    quantized = {f"{layer}.weight" for layer in linears}
    others = [float_group(checkpoint, info) for info in kept_tensors(checkpoint) if info.name not in quantized]
    return others + packed


def _packed_group(layer: str, info: TensorInfo, bits: int, group: int) -> Group:
    outputs, inputs = info.shape
    float_spec(info)  # refuses what is quantized already
    groups = 1 if group == -1 else -(-inputs // group)
    specs = (
        Spec(f"{layer}.qweight", "I32", (inputs * bits // WORD, outputs)),
        Spec(f"{layer}.qzeros", "I32", (groups, outputs * bits // WORD)),
        Spec(f"{layer}.scales", "F16", (groups, outputs)),
        Spec(f"{layer}.g_idx", "I32", (inputs,)),
    )
    return Group(specs, sources=(info.name,))
