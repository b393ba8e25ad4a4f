"""The GPTQ solver on one layer, beside its floor and its peers.

    WORKBENCH_GPTQMODEL_PYTHON=... WORKBENCH_LLMCOMPRESSOR_PYTHON=... python -m pytest benchmarks/test_gptq.py -m peer

What limits it: n^2 t multiply-adds for the Hessian of n inputs over t tokens (half of them by symmetry), n^3 / 3 for
its factor, and about n^2 m for m outputs in the columns' loop and the products between blocks. The first two are
products that run near the processor's peak; ``test_factorisation_alone`` shows LAPACK's own time for the second,
beneath which no solver can go. The share of the machine's rate of products is told below the tables. Peers get the same
weights and inputs and do the same: Hessian, factor, columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.limits import Limits
from benchmarks.pairs import SIDES, Pair, in_turn, replayed, seconds_of, show
from benchmarks.peers import named, started
from workbench.kernels.gptq import GptqResult, quantize
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import add_inputs, factorise, new_hessian
from workbench.processors import available_processors
from workbench.workers import Workers

WIDTH = 2048
TOKENS = 2 * WIDTH
DAMP = 0.01
ROUNDS = 5
PEERS = {"gptqmodel": "WORKBENCH_GPTQMODEL_PYTHON", "llmcompressor": "WORKBENCH_LLMCOMPRESSOR_PYTHON"}
GROUP = f"GPTQ of one {WIDTH} x {WIDTH} layer"


@pytest.fixture(scope="module")
def layer() -> dict[str, torch.Tensor]:
    """Weights of a trained model's size and inputs that have to do with one another."""
    torch.manual_seed(0)
    inputs = torch.randn(TOKENS, WIDTH) @ (torch.eye(WIDTH) + 0.02 * torch.randn(WIDTH, WIDTH))
    return {"weight": torch.randn(WIDTH, WIDTH) * 0.02, "inputs": inputs}


@pytest.fixture(scope="module")
def hessian(layer: dict[str, torch.Tensor]) -> torch.Tensor:
    with Workers(available_processors()) as workers:
        return hessian_of(layer["inputs"], workers)


def hessian_of(inputs: torch.Tensor, workers: Workers) -> torch.Tensor:
    hessian = new_hessian(WIDTH)
    add_inputs(hessian, inputs, workers)
    return hessian


def solve(weight: torch.Tensor, hessian: torch.Tensor, workers: Workers) -> GptqResult:
    """Uses the Hessian up."""
    return quantize(weight, factorise(hessian, DAMP, False, workers), GptqSettings(), workers)


@pytest.mark.benchmark(group=GROUP)
def test_solve(benchmark: Any, layer: dict[str, torch.Tensor], hessian: torch.Tensor, limits: Limits) -> None:
    with Workers(available_processors()) as workers:
        result = benchmark.pedantic(
            lambda: solve(layer["weight"], hessian.clone(), workers), rounds=ROUNDS, warmup_rounds=1
        )
    benchmark.extra_info["relative_error"] = result.relative_error
    if benchmark.stats:  # not with --benchmark-disable
        share = limits.flops_share(WIDTH**3 / 3 + WIDTH**3, benchmark.stats["median"])
        benchmark.extra_info.update(share_of_limit=share, limit="as many operations in a product of float32 matrices")


@pytest.mark.benchmark(group=GROUP)
def test_factorisation_alone(benchmark: Any, hessian: torch.Tensor) -> None:
    whole = hessian.triu() + hessian.triu(1).t()
    damped = whole.double() + whole.diagonal().mean() * DAMP * torch.eye(WIDTH, dtype=torch.float64)
    benchmark.pedantic(torch.linalg.cholesky, (damped,), rounds=ROUNDS, warmup_rounds=1)


@pytest.fixture(scope="module", params=PEERS)
def pair(
    request: pytest.FixtureRequest,
    layer: dict[str, torch.Tensor],
    rounds: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    python = named(PEERS[request.param], f"a Python that has {request.param}")
    scratch = tmp_path_factory.mktemp(request.param)
    torch.save(layer, scratch / "layer.pt")
    setting = {"layer": scratch / "layer.pt", "group_size": 128, "damp": DAMP}
    results: list[GptqResult] = []
    with Workers(available_processors()) as workers, started(f"{request.param}_layer", python, **setting) as peer:

        def our_round() -> None:
            results[:] = [solve(layer["weight"], hessian_of(layer["inputs"], workers), workers)]

        ours_s, peer_s = in_turn(seconds_of(our_round), lambda: peer.round(out=scratch / "theirs.pt"), rounds)
        name = peer.name
    yield Pair(name, ours_s, peer_s, errors(layer, torch.from_numpy(results[0].weight), scratch / "theirs.pt"))


def errors(layer: dict[str, torch.Tensor], ours: torch.Tensor, theirs: Path) -> dict[str, float]:
    """Relative change of the layer's output, by our codes and by the peer's: ours must be as good."""
    before = layer["inputs"] @ layer["weight"].t()
    found = {
        name: float((layer["inputs"] @ (weight.float() - layer["weight"]).t()).norm() / before.norm())
        for name, weight in (("relative_error", ours), ("relative_error_of_peer", torch.load(theirs)))
    }
    assert found["relative_error"] < 1.05 * found["relative_error_of_peer"]
    return found


@pytest.mark.peer
@pytest.mark.benchmark(timer=replayed)
@pytest.mark.parametrize("side", SIDES)
def test_beside(benchmark: Any, pair: Pair, side: str, request: pytest.FixtureRequest) -> None:
    benchmark.group = f"{GROUP} from {TOKENS} inputs, beside {request.node.callspec.params['pair']}"
    show(benchmark, pair, side)
