"""What modules of a torch model are called with, seen by hooks that are gone afterwards.

A model hands its first block hidden states and keywords that its own code made (positions, masks, rotary tables); a
block hands its layers their inputs, of which calibration needs the statistics. A hook before a module sees both,
whatever the model's class. Where nothing after the module is wanted, an exception ends the pass there.

    states, keywords = first_call(block, model.base_model, embedded)
    with watching(block, ["mlp.c_proj"], stop=False) as seen:
        seen.inputs = {}
        block(states, **keywords)       # seen.inputs["mlp.c_proj"]: what that layer was called with, in this thread
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


class Reached(Exception):
    """Ends a forward pass at the module whose input was wanted; caught by whoever set the hook."""


def first_call(block: nn.Module, base: nn.Module, embedded: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """What a model hands its first block for embedded tokens: hidden states and keywords."""
    seen: list[tuple[Tensor, dict[str, Any]]] = []

    def note(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        seen.append((arguments[0], keywords))
        raise Reached

    handle = block.register_forward_pre_hook(note, with_kwargs=True)
    with suppress(Reached):
        base(inputs_embeds=embedded, use_cache=False)
    handle.remove()
    return seen[0]


@contextmanager
def watching(block: nn.Module, names: Sequence[str], stop: bool) -> Iterator[threading.local]:
    """Note what layers are called with, in ``inputs`` of the thread that called; ``stop`` ends the pass there."""
    seen = threading.local()

    def note(name: str) -> Any:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            seen.inputs[name] = arguments[0]
            if stop:
                raise Reached

        return hook

    handles = [block.get_submodule(name).register_forward_pre_hook(note(name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced(module: nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    """Have calls of a module end in a function, which gets the module's own ``forward`` before their arguments."""
    module.forward = partial(function, module.forward)
    try:
        yield
    finally:
        del module.forward  # the class's own shows again
