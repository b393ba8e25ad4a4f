"""The last stage of a fitted GPTQ: scales, norms and biases tuned through the whole model, and put into its files.

What is tuned, and why, is told in ``workbench/kernels/distillation.py``. Here the float model and the quantized one are
made of the checkpoint and of the files just written, and the tuned values, of the same type and size, take the place of
those in the files, whose digests are taken anew. Both models are in memory at once, as float32, with the codes: it is
for models that fit there, and refused otherwise (``refine: layers`` streams).

A run that is killed while it tunes tunes again from the beginning. One that is killed after the first value was put
finds files that do not match its journal, and makes them again: with the same bytes in the end.

Example::

    facts = tune_model(checkpoint, calibration, stored_tensors(out, groups, files), context)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from workbench.architecture import MODULES
from workbench.checkpoint import Checkpoint
from workbench.empty_model import without_weights
from workbench.errors import WorkbenchError
from workbench.formats._build_work import TUNING_BYTES
from workbench.formats._gptq_blocks import Calibration
from workbench.formats.base import ConversionContext
from workbench.sizes import told_apart
from workbench.tensors import TensorInfo, read_rows
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor, nn

FEWEST_TEXTS = 16
RATE = 0.03  # of a step, as a share of a scale, for codes one apart; divided by their number


def check_tuning(checkpoint: Checkpoint, texts: int) -> None:
    """See that a model can be tuned here, before anything is computed.

    Raises:
        WorkbenchError: it does not fit memory, or there are too few texts to learn from some and judge by others.
    """
    import psutil

    need, free = TUNING_BYTES * checkpoint.parameters, psutil.virtual_memory().available
    if need > free:
        wanted, there = told_apart(need, free)
        raise WorkbenchError(
            f"tuning the whole model takes {wanted} of memory and {there} are free; "
            "use a recipe with refine: layers, which streams"
        )
    if texts < FEWEST_TEXTS:
        raise WorkbenchError(
            f"tuning the whole model takes {FEWEST_TEXTS} calibration texts or more and got {texts}; "
            "give it more, or use a recipe with refine: layers"
        )


def tune_model(
    checkpoint: Checkpoint, calibration: Calibration, stored: Mapping[str, TensorInfo], context: ConversionContext
) -> dict[str, Any]:
    """Tune what was written, in its files.

    Args:
        checkpoint: the source.
        calibration: how it was quantized, and on what.
        stored: where each tensor lies in the files.
        context: threads, progress, and digests of the files, which are replaced.

    Returns:
        Facts for the manifest; see ``distil``.
    """
    from workbench.kernels.distillation import distil

    with Workers(context.threads) as workers:
        teacher = _float_model(checkpoint)
        student = deepcopy(teacher, {id(one): one for one in teacher.parameters() if one.ndim > 1})
        tuned = dict(_made_tunable(student, checkpoint, calibration, stored))
        rate = RATE / 2**calibration.settings.bits
        facts = distil(
            teacher,
            student,
            calibration.sequences,
            rate,
            workers,
            lambda done, total: context.progress(done, total, "passes"),
        )
    _put_into_files({stored[name]: parameter for name, parameter in tuned.items()}, context)
    return facts


def _float_model(checkpoint: Checkpoint) -> Any:
    """The whole model in float32, without gradients."""
    import torch

    model = without_weights(checkpoint, torch.float32, torch.device("cpu"))
    facts = MODULES[checkpoint.architecture]
    tied = {f"{facts.embedding}.weight": f"{facts.head}.weight"}
    state = {
        name: checkpoint.read(name if name in checkpoint.tensors else tied.get(name, name)).float()
        for name, _ in model.named_parameters()
    }
    model.load_state_dict(state, assign=True, strict=False)
    model.tie_weights()
    return model.requires_grad_(False)


def _made_tunable(
    student: Any, checkpoint: Checkpoint, calibration: Calibration, stored: Mapping[str, TensorInfo]
) -> Iterator[tuple[str, Tensor]]:
    """Put fixed codes in place of the linear layers; each tunable parameter, by the name of the tensor it is stored as.

    Scales are stored as ``(groups, out)``, the transpose of the parameter.
    """
    facts = MODULES[checkpoint.architecture]
    for layer in facts.linears(checkpoint):
        parent, _, leaf = layer.rpartition(".")
        fitted = _fitted(student.get_submodule(layer), layer, calibration, stored)
        setattr(student.get_submodule(parent), leaf, fitted)
        yield f"{layer}.scales", fitted.get_parameter("scales")
    for name, parameter in student.named_parameters():
        within = name.startswith((f"{facts.blocks}.", f"{facts.norm}."))
        if within and parameter.ndim == 1 and name in stored and stored[name].dtype == "F16":
            parameter.copy_(parameter.half().float())
            parameter.requires_grad_(True)
            yield name, parameter


def _fitted(linear: nn.Linear, layer: str, calibration: Calibration, stored: Mapping[str, TensorInfo]) -> nn.Module:
    """A layer as it was stored, its scales a parameter."""
    import torch

    from workbench.kernels.distillation import FittedLinear
    from workbench.kernels.packing import PackedLayer, unpack

    infos = [stored[f"{layer}.{part}"] for part in ("qweight", "qzeros", "scales", "g_idx")]
    packed = PackedLayer(*(read_rows(info, slice(0, info.rows)).numpy() for info in infos))
    codes, scales, zeros = unpack(packed, calibration.settings.bits, calibration.version)
    g_idx = torch.from_numpy(packed.g_idx).long()
    centred = torch.from_numpy(codes.astype("float32")) - torch.from_numpy(zeros.astype("float32"))[:, g_idx]
    return FittedLinear(centred, torch.from_numpy(scales.astype("float32")), g_idx, linear.bias)


def _put_into_files(values: Mapping[TensorInfo, Tensor], context: ConversionContext) -> None:
    """Write values over those that are stored, and take the files' digests anew."""
    for path in sorted({info.file for info in values}):
        with path.open("r+b") as file:
            for info, value in values.items():
                if info.file == path:
                    assert info.offset is not None  # these files were written just now
                    file.seek(info.offset)
                    stored = value.detach().t() if info.name.endswith(".scales") else value.detach()
                    file.write(stored.half().contiguous().numpy().tobytes())
        with path.open("rb") as file:
            context.digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
