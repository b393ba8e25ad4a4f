"""How sqlcoder-nano learns: the plan of a run, the stream of packs and one optimizer step.

A step takes a few packs (``packing``), each computed by a thread of its own, adds their gradients
and updates the weights once. The matrices of the layers are updated by Muon, the rest by AdamW.

Muon (Jordan 2024) replaces the momentum of a matrix by the nearest orthogonal one: all its
directions move at the same speed, the rare ones too, which AdamW starves. Scaled to AdamW's usual
size of step (``match_rms_adamw``) it takes the same learning rate and weight decay. Tried here for
150 steps on a toy of one-table questions: loss 0.55 with Muon, 0.72 with AdamW, each at its better
rate.

Example::

    stream = packs(material, tokenizer, plan, {"easy", "medium"})
    loss = step(network, Optimizer(network, plan), [next(stream)], plan.rate_at(0), pool)
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from workbench.nano.packing import Example, Pack, answer_text, pack, prefix_text, prompt_text, tokenize
from workbench.nano.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from workbench.nano.network import Network
    from workbench.questions import Question

Generate = Callable[[str, int, int, set[str] | None], Iterable["Question"]]
STAGES = (("stage 1", {"easy", "medium"}), ("stage 2", {"easy", "medium", "hard", "extra"}))


@dataclass(frozen=True)
class Plan:
    """What decides the weights.

    Attributes:
        steps: optimizer steps of both stages.
        first: share of the steps in stage 1.
        rows: questions in a pack.
        packs: packs in a step.
        rate: peak learning rate.
        warmup: steps of linear warm-up.
        decay: weight decay of the matrices.
        seed: of the weights, the questions and their order.
    """

    steps: int = 4600
    first: float = 0.2
    rows: int = 20
    packs: int = 4
    rate: float = 2.5e-3
    warmup: int = 100
    decay: float = 0.05
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear up, cosine down to 5%."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))

    def stage(self, step: int) -> int:
        """0 or 1."""
        return int(step >= round(self.steps * self.first))


@dataclass(frozen=True)
class Material:
    """What is learned: schemas by database name, the question generator and held-out questions."""

    schemas: Mapping[str, str]
    generate: Generate
    heldout: tuple[Question, ...] = ()


def fit_tokenizer(material: Material, seed: int, count: int = 20_000) -> Tokenizer:
    """Train the tokenizer on generated questions and answers and on the schemas they ask about."""
    questions = list(material.generate("train", count, seed, None))
    texts = [prompt_text(q.question) + answer_text(q.query) for q in questions]
    # A schema stands before every question; a few dozen copies give its words their weight.
    schemas = [prefix_text(material.schemas[name]) for name in sorted({q.db_name for q in questions})]
    return train_tokenizer(texts + schemas * 50)


def packs(material: Material, tokenizer: Tokenizer, plan: Plan, hardness: set[str], first: int = 0) -> Iterator[Pack]:
    """Packs without end; each holds questions of one database and of similar length."""
    prefixes = {name: tokenizer.encode(prefix_text(text)).ids for name, text in material.schemas.items()}
    left: dict[str, list[Example]] = defaultdict(list)
    chunk = first
    while True:
        # Seeds of chunks must not meet those of neighbouring runs.
        seed = plan.seed * 1_000_003 + chunk + 1
        questions = list(material.generate("train", 3000, seed, hardness))
        examples = tokenize(tokenizer, [(q.question, q.query) for q in questions])
        for question, example in zip(questions, examples, strict=True):
            left[question.db_name].append(example)
        ready = []
        for name, group in left.items():
            group.sort(key=len)
            whole = len(group) // plan.rows * plan.rows
            ready += [pack(prefixes[name], group[i : i + plan.rows]) for i in range(0, whole, plan.rows)]
            left[name] = group[whole:]
        random.Random(seed).shuffle(ready)  # noqa: S311 - an order, not a secret
        yield from ready
        chunk += 1


class Optimizer:
    """Muon for the layers' matrices, AdamW for embeddings, norms and biases, as one optimizer."""

    def __init__(self, network: Network, plan: Plan) -> None:
        named = list(network.named_parameters())
        matrices = [p for name, p in named if p.ndim == 2 and ".h." in name]
        others = [p for name, p in named if not (p.ndim == 2 and ".h." in name)]
        self.muon = torch.optim.Muon(
            matrices, lr=plan.rate, momentum=0.95, weight_decay=plan.decay, adjust_lr_fn="match_rms_adamw"
        )
        self.adam = torch.optim.AdamW(others, lr=plan.rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

    def step(self, rate: float) -> None:
        """Apply and clear the gradients."""
        for part in (self.muon, self.adam):
            for group in part.param_groups:
                group["lr"] = rate
            part.step()  # type: ignore[no-untyped-call]
            part.zero_grad(set_to_none=True)


def gradients(network: Network, part: Pack, answers: int) -> tuple[float, tuple[torch.Tensor, ...]]:
    """Loss of a pack and its gradients, both divided by ``answers``, the answer tokens of the whole step."""
    device = network.device
    # bfloat16 products with float32 weights and sums: twice the speed, the same curve. No cache of
    # rounded weights: it would be shared between the threads.
    with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
        loss = network.loss(part.to(device)) / answers
    return float(loss.detach()), torch.autograd.grad(loss, list(network.parameters()))


def update(network: Network, optimizer: Optimizer, parts: Sequence[Sequence[torch.Tensor]], rate: float) -> None:
    """Add the packs' gradients, clip their norm to 1 and change the weights."""
    for parameter, *grads in zip(network.parameters(), *parts, strict=True):
        parameter.grad = torch.stack(grads).sum(0)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step(rate)


def step(network: Network, optimizer: Optimizer, batch: list[Pack], rate: float, pool: Executor) -> float:
    """One optimizer step; returns the mean loss per answer token (nats).

    Each thread of the pool computes whole packs alone, and one of them the update. Threads that meet
    once a step use two cores better than threads that meet in every product. Where other programs want
    a core too the difference is large: one update took 9 s on two such threads and 0.1 s on one.
    """
    answers = sum(len(part.target) for part in batch)
    order = sorted(range(len(batch)), key=lambda i: -batch[i].tokens)  # the longest first, to end together
    futures = {i: pool.submit(gradients, network, batch[i], answers) for i in order}
    results = [futures[i].result() for i in range(len(batch))]
    pool.submit(update, network, optimizer, [grads for _, grads in results], rate).result()
    return sum(loss for loss, _ in results)
