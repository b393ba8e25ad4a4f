"""Which servers' kernels take a GPTQ package: stated from its config and shapes, before anyone rents a GPU.

One layout, many readers: each kernel wants certain bits, groups and sizes, and a server picks the first that can.
The limits below are the readers' own, as their code states them (read in November 2026). They say what a
kernel accepts on one GPU; whether the card is new enough stands in the reason. Nothing here was run on a GPU.

Sources::

    vLLM        vllm/model_executor/layers/quantization/auto_gptq.py (bits and symmetry), utils/marlin_utils.py,
                utils/machete_utils.py, vllm/model_executor/kernels/linear/mixed_precision/{marlin,machete,exllama}.py
    GPTQModel   gptqmodel 7.6.0, nn_modules/qlinear/{marlin,exllamav2,tritonv2,torch_aten_kernel,torch}.py
    AutoGPTQ    auto_gptq 0.7.1, nn_modules/qlinear/qlinear_exllama.py (the kernels of TGI and old loaders)

Example::

    kernel_limits(quantization_config(GptqOptions(), 128), [(6400, 6144), (6144, 24576)])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

V1, V2 = "gptq", "gptq_v2"  # ``checkpoint_format``: zeros stored minus one, or as they are


@dataclass(frozen=True)
class Kernel:
    """What one kernel takes.

    Attributes:
        name: of the kernel, as its project calls it.
        reader: the project that has it, and where its code says so.
        bits: widths of a weight.
        groups: group sizes; -1 is a whole row.
        inputs: what a layer's inputs must be a multiple of.
        outputs: the same for its outputs.
        note: what else is to be known where it loads.
        act_order_note: the same for packages with ``desc_act``.
        asymmetric: versions of the layout in which it takes a zero that is not in the middle of the codes. (GPTQModel
            refuses such packages in version 1, loader.py, because some of their makers stored a zero of 0 wrongly.)
        versions: versions of the layout that it reads at all.
        narrow_last: whether the last group of a row may hold fewer inputs than the others.
    """

    name: str
    reader: str
    bits: tuple[int, ...]
    groups: tuple[int, ...]
    inputs: int
    outputs: int
    note: str
    act_order_note: str = ""
    asymmetric: tuple[str, ...] = ()
    versions: tuple[str, ...] = (V1, V2)
    narrow_last: bool = False


_ALL_GROUPS = (-1, 32, 64, 128)
_NOT_SPLIT = "with order by activation the inputs cannot be split over GPUs"
KERNELS = (
    Kernel(
        "marlin",
        "vLLM: auto_gptq.py, marlin_utils.py",
        (4, 8),
        _ALL_GROUPS,
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
        64,
        128,
        "NVIDIA Hopper (compute capability 9.0) only",
        _NOT_SPLIT,
    ),
    Kernel(
        "exllama",
        "vLLM: auto_gptq.py, mixed_precision/exllama.py",
        (4, 8),
        (32, 64, 128),
        32,
        32,
        "float16 only; NVIDIA from compute capability 6.0 and AMD; the fallback where Marlin does not run",
        _NOT_SPLIT,
    ),
    Kernel(
        "exllama_v1",
        "AutoGPTQ: qlinear_exllama.py",
        (4,),
        _ALL_GROUPS,
        32,
        32,
        "float16 only",
        "with order by activation, prompts above 2048 tokens need exllama_set_max_input_length",
        asymmetric=(V1,),
        versions=(V1,),
    ),
    Kernel(
        "exllama_v2",
        "GPTQModel: qlinear/exllamav2.py",
        (4,),
        _ALL_GROUPS,
        32,
        32,
        "CUDA GPUs",
        asymmetric=(V2,),
    ),
    Kernel(
        "triton",
        "GPTQModel: qlinear/tritonv2.py",
        (2, 4, 8),
        _ALL_GROUPS,
        32,
        32,
        "CUDA GPUs",
        asymmetric=(V2,),
        narrow_last=True,
    ),
    Kernel(
        "torch_aten",
        "GPTQModel: qlinear/torch_aten_kernel.py",
        (4,),
        (32, 64, 128),
        32,
        32,
        "CPUs; what gptqmodel and transformers pick there by themselves (backend torch for the plain kernel instead)",
        asymmetric=(V2,),
    ),
    Kernel(
        "torch",
        "GPTQModel: qlinear/torch.py",
        (2, 3, 4, 8),
        _ALL_GROUPS,
        1,
        1,
        "any device, slowly: the weights are unpacked for every product",
        asymmetric=(V2,),
        narrow_last=True,
    ),
)


def kernel_limits(config: Mapping[str, Any], shapes: Iterable[tuple[int, int]]) -> list[dict[str, Any]]:
    """Each kernel, whether it loads a package, and why or why not.

    Args:
        config: the package's ``quantization_config``: ``bits``, ``group_size``, ``sym``, ``desc_act`` and
            ``checkpoint_format``.
        shapes: ``(out, in)`` of its quantized layers.

    Returns:
        Rows ``{"kernel", "loads", "reason", "source"}``, the fastest kernels first.
    """
    sizes = sorted(set(shapes))
    rows = []
    for kernel in KERNELS:
        wrong = faults(kernel, config, sizes)
        # With one group for the whole row the order changes nothing that a kernel sees.
        ordered = config["desc_act"] and config["group_size"] != -1
        notes = [kernel.note, kernel.act_order_note if ordered else ""]
        reason = "; ".join(wrong or filter(None, notes))
        rows.append({"kernel": kernel.name, "loads": not wrong, "reason": reason, "source": kernel.reader})
    return rows


def faults(kernel: Kernel, config: Mapping[str, Any], shapes: Iterable[tuple[int, int]]) -> list[str]:
    """What a kernel does not take of a package; see ``kernel_limits``."""
    bits, group, version = config["bits"], config["group_size"], config["checkpoint_format"]
    found = []
    if bits not in kernel.bits:
        found.append(f"takes {_listed(kernel.bits)} bits, not {bits}")
    if group not in kernel.groups:
        found.append(f"takes groups of {_listed(kernel.groups)}, not {group}")
    if version not in kernel.versions:
        found.append(f"knows no checkpoint format {version}")
    elif not config["sym"] and version not in kernel.asymmetric:
        others = "".join(f", or others in the checkpoint format {one}" for one in kernel.asymmetric)
        found.append(f"takes symmetric weights only{others}")
    return found + _size_faults(kernel, group, shapes)


def _size_faults(kernel: Kernel, group: int, shapes: Iterable[tuple[int, int]]) -> list[str]:
    """Of the first layer that has the wrong sizes."""
    for outputs, inputs in shapes:
        if inputs % kernel.inputs or outputs % kernel.outputs:
            return [
                f"wants inputs in multiples of {kernel.inputs} and outputs of {kernel.outputs}; "
                f"a layer has {inputs} and {outputs}"
            ]
        if group != -1 and inputs % group and not kernel.narrow_last:
            return [f"wants whole groups; {group} does not divide a layer's {inputs} inputs"]
    return []


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join("a whole row" if value == -1 else str(value) for value in values)
