"""A quantized model's scales, norms and biases tuned until its answers lie nearest to the float model's.

GPTQ minimises each layer's error; what is wanted is the divergence of the whole model's next-token distribution Q from
the float model's P, ``KL(P || Q) = sum P ln(P / Q)``. Scales, norms and biases are stored as floats anyway, so they may
take any value for no further bits. Codes stay as they are, the weights ``scale * (code - zero)`` are a smooth function
of the scales, and gradient descent (Adam, Kingma and Ba 2015) on the calibration texts does the rest: the second stage
of EfficientQAT (arXiv 2407.11062), with the float model for a teacher.

Few texts can be learned by heart: one text in eight is kept apart, and the values of the pass over the others that are
best on those are taken, or the values one began with. A step moves a value by a share of its size, the smaller the
finer the codes are. Each step adds the gradients of pieces of fixed size, one thread each, in their order: the result
does not depend on the number of threads.

Example::

    student.layer = FittedLinear(codes, scales, g_idx, bias)            # for every quantized layer
    facts = distil(teacher, student, sequences, 0.004, workers)         # student's parameters are changed
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from workbench.batches import similar
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

PIECE_TOKENS = 512
PIECES = 2  # of a step
PASSES = 4
KEPT_APART = 8  # one text in so many
SHARE_OF_OTHERS = 0.1  # of the rate of scales: norms and biases move whole channels
WARM_UP = 0.1  # share of the steps
DECAY = (0.9, 0.99)  # of Adam's averages of gradients and of their squares


class FittedLinear(nn.Module):
    """A linear layer whose codes are fixed and whose scales are parameters.

    Args:
        centred: codes less zeros, ``(out, in)`` float32.
        scales: ``(out, groups)`` float32.
        g_idx: the group of each input, ``(in,)``.
        bias: ``(out,)``, if there is one.
    """

    centred: Tensor
    g_idx: Tensor

    def __init__(self, centred: Tensor, scales: Tensor, g_idx: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("centred", centred, persistent=False)
        self.register_buffer("g_idx", g_idx, persistent=False)
        self.scales = nn.Parameter(scales.clone())
        self.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """``x W^T + b`` with W made of the scales as they are now."""
        return nn.functional.linear(inputs, self.centred * self.scales[:, self.g_idx], self.bias)


@dataclass(frozen=True)
class Piece:
    """Some sequences: ids ``[rows, tokens]``, which are no padding, and the float model's last states there."""

    ids: Tensor
    real: Tensor
    states: Tensor


@dataclass
class _Variable:
    """A parameter on its way: what a step of 1 means for it, Adam's averages of its gradients and their squares."""

    parameter: Tensor
    unit: Tensor
    mean: Tensor
    square: Tensor
    steps: int = 0

    def move(self, gradient: Tensor, rate: float) -> None:
        """One step of Adam."""
        self.steps += 1
        scaled = gradient * self.unit
        self.mean.lerp_(scaled, 1 - DECAY[0])
        self.square.lerp_(scaled.square(), 1 - DECAY[1])
        root = (self.square / (1 - DECAY[1] ** self.steps)).sqrt_().add_(1e-12)
        self.parameter.sub_(self.unit * (self.mean / root) * (rate / (1 - DECAY[0] ** self.steps)))


def distil(
    teacher: Any,
    student: Any,
    sequences: Sequence[Sequence[int]],
    rate: float,
    workers: Workers,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Tune a student's parameters that require gradients, in place; they end as float16 stores them.

    Args:
        teacher: the float model, of transformers.
        student: the same with ``FittedLinear`` layers.
        sequences: token ids of the calibration texts, two or more.
        rate: largest share of its size by which a step moves a scale.
        workers: to do it on.
        progress: called with passes done and in all.

    Returns:
        Facts: divergence in nats per token on the texts kept apart before and after, and the pass that was best.
    """
    apart, learned = sequences[::KEPT_APART], [ids for n, ids in enumerate(sequences) if n % KEPT_APART]
    tests, pieces = (_pieces(teacher, texts, workers) for texts in (apart, learned))
    variables = [_variable(name, one) for name, one in student.named_parameters() if one.requires_grad]
    best = before = _divergence(student, tests, variables, workers)
    kept, chosen = _values(variables), 0
    steps = [pieces[first : first + PIECES] for first in range(0, len(pieces), PIECES)]
    for done in range(PASSES):
        order = random.Random(done).sample(range(len(steps)), len(steps))  # noqa: S311 - an order, no secret
        for place, number in enumerate(order):
            share = _share(done * len(steps) + place, PASSES * len(steps))
            _step(student, steps[number], variables, rate * share, workers)
        found = _divergence(student, tests, variables, workers)
        if found < best:
            best, kept, chosen = found, _values(variables), done + 1
        progress(done + 1, PASSES)
    _put(variables, [value.half().float() for value in kept])
    return {"kl_before": round(before, 6), "kl_after": round(best, 6), "pass": chosen, "passes": PASSES, "rate": rate}


def _pieces(teacher: Any, sequences: Sequence[Sequence[int]], workers: Workers) -> list[Piece]:
    """Sequences of similar length together, with what the teacher makes of them."""

    def piece(places: list[int]) -> Piece:
        width = max(len(sequences[place]) for place in places)
        lengths = torch.tensor([len(sequences[place]) for place in places])
        ids = torch.tensor([[*sequences[place]] + [0] * (width - len(sequences[place])) for place in places])
        real = torch.arange(width) < lengths[:, None]
        with torch.no_grad():
            return Piece(ids, real, teacher.base_model(input_ids=ids, use_cache=False).last_hidden_state[real])

    return list(workers.map(piece, similar(sequences, PIECE_TOKENS)))


def _variable(name: str, parameter: Tensor) -> _Variable:
    """Scales move by shares of each, other parameters by shares of what they are on average."""
    value = parameter.detach()
    if name.endswith(".scales"):
        unit = value.abs()
    else:
        unit = (value.square().mean().sqrt() * SHARE_OF_OTHERS).expand_as(value)
    return _Variable(parameter, unit.clone(), torch.zeros_like(value), torch.zeros_like(value))


def _share(step: int, steps: int) -> float:
    """Of the rate: rising over the first steps, then falling along a cosine to 0."""
    return min(1.0, (step + 1) / (WARM_UP * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _nats(student: Any, piece: Piece) -> Tensor:
    """Divergence from the teacher, summed over the tokens of a piece."""
    head = student.get_output_embeddings()
    found = student.base_model(input_ids=piece.ids, use_cache=False).last_hidden_state[piece.real]
    with torch.no_grad():
        p = torch.log_softmax(head(piece.states), -1)
    return (p.exp() * (p - torch.log_softmax(head(found), -1))).sum()


def _step(student: Any, pieces: Sequence[Piece], variables: list[_Variable], rate: float, workers: Workers) -> None:
    """Move all variables against the mean gradient of some pieces."""
    tokens = sum(len(piece.states) for piece in pieces)
    parameters = [one.parameter for one in variables]

    def gradients(piece: Piece) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            return torch.autograd.grad(_nats(student, piece) / tokens, parameters)

    sums = [torch.zeros_like(one) for one in parameters]
    for found in workers.map(gradients, pieces):
        for total, one in zip(sums, found, strict=True):
            total.add_(one)
    with torch.no_grad():
        for variable, gradient in zip(variables, sums, strict=True):
            variable.move(gradient, rate)


def _divergence(student: Any, pieces: Sequence[Piece], variables: list[_Variable], workers: Workers) -> float:
    """Mean over all tokens, in nats, with the parameters as float16 stores them."""
    exact = _values(variables)
    _put(variables, [value.half().float() for value in exact])

    def nats(piece: Piece) -> float:
        with torch.no_grad():
            return float(_nats(student, piece))

    total = sum(workers.map(nats, pieces))
    _put(variables, exact)
    return total / sum(len(piece.states) for piece in pieces)


def _values(variables: list[_Variable]) -> list[Tensor]:
    return [one.parameter.detach().clone() for one in variables]


def _put(variables: list[_Variable], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for one, value in zip(variables, values, strict=True):
            one.parameter.copy_(value)
