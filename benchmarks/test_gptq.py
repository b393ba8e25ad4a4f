"""The GPTQ solver on one layer, from the layer's inputs to its codes, beside its floor and its peers.

    export WORKBENCH_GPTQMODEL_PYTHON=... WORKBENCH_LLMCOMPRESSOR_PYTHON=...
    python -m pytest benchmarks/test_gptq.py -m "peer and not slow"                # 2048 x 2048, a minute
    python -m pytest benchmarks/test_gptq.py -m "peer and slow" -k 6144x6144       # some minutes
    python -m pytest benchmarks/test_gptq.py -m "peer and slow" -k 6144x24576      # 24,576 inputs; 12 GB for the peer
    python -m pytest benchmarks/test_gptq.py -m "not peer"                         # ours alone, over widths

What limits it: n^2 t operations for the upper triangle of the Hessian of n inputs over t tokens, n^3 / 3 for its factor
and n^2 m for what m outputs carry from column to column. These are counted, and nothing else, and held against the
quickest product of float32 matrices that torch offers here (``limits.py``): that share is told below the tables. Where
it does not fall as layers grow, cost grows as the operations do. ``test_factorisation_alone`` shows LAPACK's own
time for the factor. Peers get the same weights and inputs and do the same: Hessian, factor, columns. The error of
either side is recomputed in float64 from the outputs, and ours must not be higher.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pytest
import torch

from benchmarks.limits import Limits
from benchmarks.pairs import SIDES, Pair, in_turn, replay, replayed, seconds_of, show
from benchmarks.peers import named, started
from workbench.kernels.gptq import GptqResult, quantize
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import add_inputs, factorise, new_hessian
from workbench.processors import available_processors
from workbench.workers import Workers

TOKENS = 4096
SETTINGS = GptqSettings()
PEERS = {"gptqmodel": "WORKBENCH_GPTQMODEL_PYTHON", "llmcompressor": "WORKBENCH_LLMCOMPRESSOR_PYTHON"}
PARTS = ("Hessian", "factor", "columns")
LIMIT = "as many operations in the quickest product of float32 matrices"
AT_ONCE = 512  # tokens whose outputs are compared at a time


@dataclass(frozen=True)
class Shape:
    """A layer's size, and how often it is timed where the suite would time it more often."""

    outputs: int
    inputs: int
    most_rounds: int = 5

    def __str__(self) -> str:
        return f"{self.outputs}x{self.inputs}"

    @property
    def operations(self) -> dict[str, float]:
        """Multiplications and additions of each part."""
        square = float(self.inputs) ** 2
        return dict(zip(PARTS, (square * TOKENS, square * self.inputs / 3, square * self.outputs), strict=True))


SMALL, LARGE, WIDE = Shape(2048, 2048), Shape(6144, 6144), Shape(6144, 24576, most_rounds=1)
GROWING = [SMALL, *(pytest.param(Shape(n, n, 3), marks=pytest.mark.slow, id=f"{n}x{n}") for n in (4096, 6144, 12288))]
BESIDE = [
    pytest.param((shape, peer), marks=marks, id=f"{peer}-{shape}")
    for shape, peers, marks in (
        (SMALL, PEERS, ()),
        (LARGE, PEERS, pytest.mark.slow),
        (WIDE, ("gptqmodel",), pytest.mark.slow),
    )
    for peer in peers
]


def made(shape: Shape) -> dict[str, torch.Tensor]:
    """Weights of a trained model's size and inputs that have to do with one another, some of them large."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(TOKENS, 256, generator=generator) @ torch.randn(256, shape.inputs, generator=generator) / 16
    inputs = torch.randn(TOKENS, shape.inputs, generator=generator).add_(shared)
    inputs *= torch.randn(shape.inputs, generator=generator).mul_(0.5).exp_()
    return {"weight": torch.randn(shape.outputs, shape.inputs, generator=generator) * 0.02, "inputs": inputs}


class Solver:
    """Ours, with a stopwatch on each part.

    Attributes:
        result: of the last round.
        parts_s: seconds of each part, of each round.
    """

    def __init__(self, layer: dict[str, torch.Tensor], workers: Workers) -> None:
        self._layer, self._workers = layer, workers
        self.result: GptqResult | None = None
        self.parts_s: list[tuple[float, ...]] = []

    def round(self) -> None:
        """From inputs to codes."""
        self.result = None
        inputs, workers = self._layer["inputs"], self._workers
        times = [perf_counter()]
        hessian = new_hessian(inputs.shape[1])
        add_inputs(hessian, inputs, workers)
        times.append(perf_counter())
        factor = factorise(hessian, SETTINGS.damp, SETTINGS.desc_act, workers)
        del hessian
        times.append(perf_counter())
        self.result = quantize(self._layer["weight"], factor, SETTINGS, workers)
        times.append(perf_counter())
        self.parts_s.append(tuple(after - before for before, after in pairwise(times)))

    def info(self, shape: Shape, limits: Limits) -> dict[str, Any]:
        """How the time of a round splits, and the share of the machine's rate of products."""
        seconds = median(map(sum, self.parts_s))
        parts_s = {name: median(times) for name, *times in zip(PARTS, *self.parts_s, strict=True)}
        share = limits.flops_share(sum(shape.operations.values()), seconds)
        rates = {name: limits.flops_share(shape.operations[name], parts_s[name]) for name in PARTS}
        return {"parts_s": parts_s, "parts_share": rates, "share_of_limit": share, "limit": LIMIT}


@pytest.mark.benchmark(timer=replayed)
@pytest.mark.parametrize("shape", GROWING, ids=str)
def test_solve(benchmark: Any, shape: Shape, limits: Limits, rounds: int) -> None:
    """Ours alone as layers grow."""
    benchmark.group = "GPTQ of one layer"
    with Workers(available_processors()) as workers:
        solver = Solver(made(shape), workers)
        seconds = [seconds_of(solver.round)() for _ in range(min(rounds, shape.most_rounds) + (rounds > 1))]
    solver.parts_s = solver.parts_s[rounds > 1 :]  # the first one warms up
    benchmark.extra_info.update(solver.info(shape, limits))
    replay(benchmark, seconds[rounds > 1 :])


@pytest.mark.benchmark(group="Cholesky's factor of 2048 inputs")
def test_factorisation_alone(benchmark: Any, rounds: int) -> None:
    inputs = made(SMALL)["inputs"]
    hessian = inputs.t() @ inputs
    damped = hessian.double() + hessian.diagonal().mean() * SETTINGS.damp * torch.eye(SMALL.inputs, dtype=torch.float64)
    benchmark.pedantic(torch.linalg.cholesky, (damped,), rounds=rounds, warmup_rounds=1)


@pytest.fixture(scope="module", params=BESIDE)
def pair(
    request: pytest.FixtureRequest, rounds: int, limits: Limits, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pair, Shape]]:
    shape, tool = request.param
    python = named(PEERS[tool], f"a Python that has {tool}")
    scratch = tmp_path_factory.mktemp(tool)
    layer = made(shape)
    torch.save(layer, scratch / "layer.pt")
    setting = {"layer": scratch / "layer.pt", "group_size": SETTINGS.group_size, "damp": SETTINGS.damp}
    with Workers(available_processors()) as workers, started(f"{tool}_layer", python, **setting) as peer:
        solver = Solver(layer, workers)
        our_seconds, theirs = seconds_of(solver.round), scratch / "theirs.pt"
        times = in_turn(our_seconds, lambda: peer.round(out=theirs), min(rounds, shape.most_rounds))
        name = peer.name
    assert solver.result is not None
    solver.parts_s = solver.parts_s[-len(times[0]) :]  # without the warm-up
    info = solver.info(shape, limits) | errors(layer, torch.from_numpy(solver.result.weight), theirs)
    yield Pair(name, *times, info), shape
    (scratch / "layer.pt").unlink()
    theirs.unlink()


def errors(layer: dict[str, torch.Tensor], ours: torch.Tensor, theirs: Path) -> dict[str, float]:
    """Relative change of the layer's output in float64, by our codes and by the peer's: ours must be as good."""
    weight = layer["weight"]
    found = dict(
        relative_error=relative_error(layer, ours - weight),
        relative_error_of_peer=relative_error(layer, torch.load(theirs).float() - weight),
    )
    assert found["relative_error"] <= found["relative_error_of_peer"]
    return found


def relative_error(layer: dict[str, torch.Tensor], change: torch.Tensor) -> float:
    """Norm of the change of the outputs over the norm of the outputs."""
    changes = before = 0.0
    exact, changed = layer["weight"].double().t(), change.double().t()
    for some in layer["inputs"].split(AT_ONCE):
        tokens = some.double()
        changes += float((tokens @ changed).square().sum())
        before += float((tokens @ exact).square().sum())
    return (changes / before) ** 0.5


@pytest.mark.peer
@pytest.mark.benchmark(timer=replayed)
@pytest.mark.parametrize("side", SIDES)
def test_beside(benchmark: Any, pair: tuple[Pair, Shape], side: str) -> None:
    times, shape = pair
    benchmark.group = f"GPTQ of a layer {shape} from {TOKENS} tokens, beside {times.peer}"
    show(benchmark, times, side)
