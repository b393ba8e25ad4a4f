"""GPTQ of a random model on one device, block after block, timed part by part; ``gptq_on_gpu`` starts and watches it.

The calibration pass is the product's own (``workbench/streamed_model.py``, ``workbench/block_run.py``), and so is the
solver of each step (``workbench/formats/_gptq_solver.py``) with its packing; only the checkpoint is drawn instead of
read, and packed layers are counted instead of written. The device is waited for behind every part, so that seconds
belong to what took them; without that the parts would overlap a little.

First come small layers, each solved here and by the paper's algorithm in float64 (``gptq_reference.py``): a wrong
kernel shows in the first seconds. Each record is a line of JSON, written at once, so that a run that is killed has told
what it found.

    python -m benchmarks.gptq_on_gpu_run --device cpu --shape tiny --samples 8 --tokens 64 --records run.jsonl
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from benchmarks.gptq_on_gpu_cost import predict
from benchmarks.gptq_on_gpu_model import CONFIGS, random_checkpoint, random_texts
from benchmarks.gptq_reference import paper, relative_error
from workbench.architecture import MODULES, Modules
from workbench.block_run import BlockRun
from workbench.formats._gptq_solver import DeviceStepSolver
from workbench.kernels.gptq_cuda_columns import triton_usable
from workbench.kernels.gptq_settings import GptqSettings
from workbench.streamed_model import StreamedModel
from workbench.workers import Workers

Item = TypeVar("Item")
Result = TypeVar("Result")
PARTS = ("weights", "forward", "hessian", "factor", "columns", "pack")
PAPERS = partial(GptqSettings, desc_act=False, static_groups=False, scales="range")
SMALL_LAYERS = (
    GptqSettings(4, 128),
    GptqSettings(3, 64, symmetric=False),
    PAPERS(4, 128),
    PAPERS(4, 128, desc_act=True),
    PAPERS(4, 128, symmetric=False, desc_act=True, static_groups=True),
    PAPERS(3, 64, symmetric=False),
    PAPERS(2, 32),
    PAPERS(8, -1),
)


class InTurn(Workers):
    """Workers that do each piece when it is asked for: a device does one at a time, and parts are to be told apart."""

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item], ahead: int | None = None
    ) -> Iterator[Result]:
        """Results in the order of the items."""
        return map(function, items)


class Laps:
    """Seconds of each part of the work, the device waited for at its end."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.restart()

    def restart(self) -> None:
        """Begin again at zero."""
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def end(self, part: str) -> None:
        """What was done since the last call belongs to this part."""
        if self._device != "cpu":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now


@dataclass(frozen=True)
class Run:
    """What a block's work needs."""

    model: StreamedModel
    facts: Modules
    device: str
    laps: Laps


def quantize_block(run: Run, block: nn.Module, block_run: BlockRun) -> list[dict[str, Any]]:
    """All layers of a block in true sequential order, as ``formats/_gptq_blocks.Quantizer`` does it."""
    found = []
    for step, names in enumerate(run.facts.steps):
        weights = {name: block.get_parameter(f"{name}.weight") for name in names}
        solver = DeviceStepSolver(GptqSettings(), weights[names[0]].shape[1], run.device)
        for inputs in block_run.inputs(step):
            run.laps.end("forward")
            solver.add(inputs)
            run.laps.end("hessian")
        run.laps.end("forward")
        _ = solver.factor
        run.laps.end("factor")
        for name, weight in weights.items():
            found.append({"layer": name, **_quantize(run.laps, solver, weight)})
    return found


def _quantize(laps: Laps, solver: DeviceStepSolver, weight: Tensor) -> dict[str, Any]:
    result = solver.quantize(weight)
    result.write_to(weight)
    laps.end("columns")
    packed = result.packed
    laps.end("pack")
    parts = (packed.qweight, packed.qzeros, packed.scales, packed.g_idx)
    nbytes = sum(part.nbytes for part in parts)
    return {"relative_error": result.relative_error, "damp": result.damp, "packed_bytes": nbytes, "notes": result.notes}


def blocks(run: Run, texts: list[list[int]], until: float) -> Iterator[dict[str, Any]]:
    """A record for each block, until another one might not end in time (``time.monotonic``)."""
    run.laps.restart()
    batches = run.model.embed(texts)
    run.laps.end("embed")
    yield {"kind": "embed", "seconds": dict(run.laps.seconds)}
    longest = 0.0
    for place in range(run.model.depth):
        begun = time.monotonic()
        if begun + longest > until:
            return
        run.laps.restart()
        with run.model.block(place) as block:
            run.laps.end("weights")
            block_run = run.model.block_run(block, batches)
            layers = quantize_block(run, block, block_run)
            if place + 1 < run.model.depth:
                block_run.finish()
                run.laps.end("forward")
        longest = max(longest, time.monotonic() - begun)
        yield {
            "kind": "block",
            "block": place,
            "seconds": dict(run.laps.seconds),
            "layers": layers,
            **memory(run.device),
        }


def memory(device: str) -> dict[str, int]:
    """The allocator's peaks so far; nothing on a CPU."""
    if device == "cpu":
        return {}
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
    }


def small_layers(device: str, width: int, tokens: int) -> Iterator[dict[str, Any]]:
    """Relative errors of the solver and of the paper's algorithm in float64, on layers with related inputs."""
    generator = torch.Generator().manual_seed(1)
    mix = torch.randn(width, width, generator=generator) / width**0.5
    inputs = (torch.randn(tokens, width, generator=generator) @ mix).bfloat16().to(device)
    weight = (0.02 * torch.randn(width // 2, width, generator=generator)).bfloat16().to(device)
    hessian = inputs.double().t() @ inputs.double()
    for settings in SMALL_LAYERS:
        solver = DeviceStepSolver(settings, width, device)
        solver.add(inputs)
        result = solver.quantize(weight)
        grids = (
            (result.scales, result.zeros) if settings.static_groups else None
        )  # what was searched is not judged here
        codes, rounded = paper(weight, hessian, settings, grids)
        yield {
            "kind": "small layer",
            "settings": asdict(settings),
            "relative_error": result.relative_error,
            "reference_error": relative_error(weight, rounded, hessian),
            "equal_codes": float((result.codes == codes).double().mean()),
        }


def facts_of(device: str) -> dict[str, Any]:
    """What the figures were taken on."""
    cuda = torch.cuda.get_device_properties(0) if device != "cpu" else None
    return {
        "kind": "machine",
        "device": cuda.name if cuda else "cpu",
        "device_bytes": cuda.total_memory if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "columns": "triton" if cuda and triton_usable() else "torch",
    }


def records(arguments: argparse.Namespace, until: float) -> Iterator[dict[str, Any]]:
    """Everything the run finds, as it finds it."""
    if arguments.device != "cpu" and arguments.limit_gib:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, arguments.limit_gib * 2**30 / total))
    yield facts_of(arguments.device)
    width = min(1024, 4 * arguments.tokens)
    with torch.no_grad():
        yield from small_layers(arguments.device, width, 4 * width)
        with tempfile.TemporaryDirectory() as folder, InTurn(1) as workers:
            checkpoint = random_checkpoint(arguments.shape, Path(folder), arguments.device)
            cost = predict(checkpoint, arguments.samples * arguments.tokens)
            facts = MODULES[checkpoint.architecture]
            model = StreamedModel(checkpoint, workers, dtype="bfloat16", device=arguments.device)
            yield {"kind": "predicted", "blocks": model.depth, "seconds": cost.seconds, "peak_bytes": cost.peak_bytes}
            run = Run(model, facts, arguments.device, Laps(arguments.device))
            yield from blocks(run, random_texts(arguments.shape, arguments.samples, arguments.tokens), until)
    yield {"kind": "end", **memory(arguments.device)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that this process and the one that watches it share."""
    parser.add_argument("--device", default="cuda", help="cuda or cpu (default: cuda)")
    parser.add_argument("--shape", choices=sorted(CONFIGS), default="15b", help="of the model (default: 15b)")
    parser.add_argument("--samples", type=int, default=128, help="calibration texts (default: 128)")
    parser.add_argument("--tokens", type=int, default=2048, help="of each text (default: 2048)")
    parser.add_argument("--seconds", type=float, default=540, help="after which no block is begun (default: 540)")
    parser.add_argument("--limit-gib", type=float, default=20, help="of the device's memory; 0 for none (default: 20)")


def main() -> None:
    """Write each record as a line."""
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--records", type=Path, required=True, help="file of JSON lines to write")
    arguments = parser.parse_args()
    with arguments.records.open("w", encoding="utf-8") as file:
        for record in records(arguments, begun + arguments.seconds):
            file.write(json.dumps({**record, "at_s": time.monotonic() - begun}) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
