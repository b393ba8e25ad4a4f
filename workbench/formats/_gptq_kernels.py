"""Which servers' kernels take a GPTQ package: stated from its config and shapes, before anyone rents a GPU.

One layout, many readers: each kernel wants certain bits, groups and sizes, and a server picks the first that can.
The limits below are the readers' own, as their code states them (read in November 2026). They say what a
kernel accepts on one GPU; whether the card is new enough stands in the reason. Nothing here was run on a GPU.

Sources::

    vLLM        vllm/model_executor/layers/quantization/auto_gptq.py (bits and symmetry), utils/marlin_utils.py,
                utils/machete_utils.py, vllm/model_executor/kernels/linear/mixed_precision/{marlin,machete,exllama}.py
    GPTQModel   gptqmodel 7.6.0, nn_modules/qlinear/{marlin,exllamav2,tritonv2,torch}.py
    AutoGPTQ    auto_gptq 0.7.1, nn_modules/qlinear/qlinear_exllama.py (the kernels of TGI and old loaders)

Example::

    kernel_limits({"bits": 4, "group_size": 128, "sym": True, "desc_act": False}, [(6400, 6144), (6144, 24576)])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kernel:
    """What one kernel takes.

    Attributes:
        name: of the kernel, as its project calls it.
        reader: the project that has it, and where its code says so.
        bits: widths of a weight.
        groups: group sizes; -1 is a whole row.
        symmetric: whether the zero must be in the middle of the codes. (GPTQModel refuses other packages in version
            1 of the layout, loader.py, because some of their makers stored a zero of 0 wrongly.)
        inputs: what a layer's inputs must be a multiple of.
        outputs: the same for its outputs.
        note: what else is to be known where it loads.
        act_order_note: the same for packages with ``desc_act``.
    """

    name: str
    reader: str
    bits: tuple[int, ...]
    groups: tuple[int, ...]
    symmetric: bool
    inputs: int
    outputs: int
    note: str
    act_order_note: str = ""


_ALL_GROUPS = (-1, 32, 64, 128)
KERNELS = (
    Kernel(
        "marlin",
        "vLLM: auto_gptq.py, marlin_utils.py",
        (4, 8),
        _ALL_GROUPS,
        True,
        128,
        64,
        "NVIDIA GPUs of compute capability 7.5 and later",
        "order by activation works on one GPU; split over several GPUs it needs the scales repeated on each",
    ),
    Kernel(
        "machete",
        "vLLM: auto_gptq.py, machete_utils.py",
        (4, 8),
        (-1, 64, 128),
        True,
        64,
        128,
        "NVIDIA Hopper (compute capability 9.0) only",
        "with order by activation the inputs cannot be split over GPUs",
    ),
    Kernel(
        "exllama",
        "vLLM: auto_gptq.py, mixed_precision/exllama.py",
        (4, 8),
        (32, 64, 128),
        True,
        32,
        32,
        "float16 only; NVIDIA from compute capability 6.0 and AMD; the fallback where Marlin does not run",
        "with order by activation the inputs cannot be split over GPUs",
    ),
    Kernel(
        "exllama_v1",
        "AutoGPTQ: qlinear_exllama.py",
        (4,),
        _ALL_GROUPS,
        False,
        32,
        32,
        "float16 only",
        "with order by activation, prompts above 2048 tokens need exllama_set_max_input_length",
    ),
    Kernel(
        "exllama_v2",
        "GPTQModel: qlinear/exllamav2.py",
        (4,),
        _ALL_GROUPS,
        True,
        32,
        32,
        "CUDA GPUs",
    ),
    Kernel(
        "triton",
        "GPTQModel: qlinear/tritonv2.py",
        (2, 4, 8),
        _ALL_GROUPS,
        True,
        32,
        32,
        "CUDA GPUs",
    ),
    Kernel(
        "torch",
        "GPTQModel: qlinear/torch.py",
        (2, 3, 4, 8),
        _ALL_GROUPS,
        True,
        1,
        1,
        "any device, slowly: the weights are unpacked for every product",
    ),
)


def kernel_limits(config: Mapping[str, Any], shapes: Iterable[tuple[int, int]]) -> list[dict[str, Any]]:
    """Each kernel, whether it loads a package, and why or why not.

    Args:
        config: the package's ``quantization_config`` with ``bits``, ``group_size``, ``sym`` and ``desc_act``.
        shapes: ``(out, in)`` of its quantized layers.

    Returns:
        Rows ``{"kernel", "loads", "reason", "source"}``, the fastest kernels first.
    """
    sizes = sorted(set(shapes))
    rows = []
    for kernel in KERNELS:
        faults = _faults(kernel, config, sizes)
        # With one group for the whole row the order changes nothing that a kernel sees.
        ordered = config["desc_act"] and config["group_size"] != -1
        notes = [kernel.note, kernel.act_order_note if ordered else ""]
        reason = "; ".join(faults or filter(None, notes))
        rows.append({"kernel": kernel.name, "loads": not faults, "reason": reason, "source": kernel.reader})
    return rows


def _faults(kernel: Kernel, config: Mapping[str, Any], sizes: list[tuple[int, int]]) -> list[str]:
    """What a kernel does not take."""
    bits, group = config["bits"], config["group_size"]
    faults = []
    if bits not in kernel.bits:
        faults.append(f"takes {_listed(kernel.bits)} bits, not {bits}")
    if group not in kernel.groups:
        faults.append(f"takes groups of {_listed(kernel.groups)}, not {group}")
    if kernel.symmetric and not config["sym"]:
        faults.append("takes symmetric weights only")
    for outputs, inputs in sizes:
        if inputs % kernel.inputs or outputs % kernel.outputs:
            faults.append(
                f"wants inputs in multiples of {kernel.inputs} and outputs of {kernel.outputs}; "
                f"a layer has {inputs} and {outputs}"
            )
            break
    return faults


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join("a whole row" if value == -1 else str(value) for value in values)
