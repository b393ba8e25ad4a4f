"""One ONNX decoder in onnxruntime: a step forward with its cache, and prompts read so that their starts are shared.

A prompt is read in chunks of 64 tokens that begin at multiples of 64. The cache after a chunk then depends on the
tokens up to its end alone, to the last bit, whichever prompt it was made for: so a prompt that begins like an
earlier one goes on from the last whole chunk they share, and answers are the same in any company. Prompts read
in sorted order share most (the schema), and it is known beforehand where a later one branches off: only those
caches are kept.

Example::

    reader = Reader(engine, sorted(prompts))
    logits, cache = reader.read(0)
    logits, cache = engine.step([int(logits.argmax())], cache)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.runtimes._beams import most_probable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from workbench.runtimes._beams import Told

    Logits = NDArray[np.float32]

CHUNK = 64
_PAST, _PRESENT = "past_key_values", "present"


@dataclass(frozen=True)
class Cache:
    """Keys and values of the tokens read so far, on the device.

    Attributes:
        length: number of tokens.
        values: one OrtValue ``[rows, kv_heads, length, head_dim]`` for each of the graph's past inputs.
    """

    length: int
    values: tuple[Any, ...]


class Engine:
    """A loaded graph.

    Args:
        session: onnxruntime's ``InferenceSession``.
        device: ``cpu`` or ``cuda``, where the cache lives.
    """

    def __init__(self, session: Any, device: str) -> None:
        import numpy as np

        self._session = session
        self._device = device
        past = [value for value in session.get_inputs() if value.name.startswith(_PAST)]
        self._past = [value.name for value in past]
        types = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        self._shapes = [(value.shape[1], value.shape[3], types[value.type]) for value in past]
        self.empty = self.nothing(1)

    def nothing(self, rows: int) -> Cache:
        """The cache of so many rows that have read nothing yet."""
        import numpy as np

        make = onnxruntime().OrtValue.ortvalue_from_numpy
        empty = (np.zeros((rows, heads, 0, size), kind) for heads, size, kind in self._shapes)
        return Cache(0, tuple(make(array, self._device) for array in empty))

    def step(self, ids: Sequence[int], cache: Cache) -> tuple[Logits, Cache]:
        """Read tokens that follow a cache; logits ``[vocabulary]`` after the last, and the longer cache."""
        logits, longer = self.read(ids, cache)
        return logits[-1], longer

    def read(self, ids: Sequence[int], cache: Cache) -> tuple[Logits, Cache]:
        """Read tokens that follow a cache; logits ``[tokens, vocabulary]`` after each, and the longer cache."""
        logits, longer = self._run([ids], cache)
        return logits[0], longer

    def read_rows(self, rows: Sequence[Sequence[int]] | NDArray[np.int64], cache: Cache) -> tuple[Logits, Cache]:
        """Read tokens ``[rows, tokens]`` of several prompts; logits ``[rows, vocabulary]`` after each, longer cache."""
        logits, longer = self._run(rows, cache)
        return logits[:, -1], longer

    def _run(self, rows: Sequence[Sequence[int]] | NDArray[np.int64], cache: Cache) -> tuple[Logits, Cache]:
        import numpy as np

        ids = np.asarray(rows, np.int64)
        total = cache.length + ids.shape[1]
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_ids", ids)
        binding.bind_cpu_input("attention_mask", np.ones((len(ids), total), np.int64))
        positions = np.arange(cache.length, total, dtype=np.int64)[None].repeat(len(ids), 0)
        binding.bind_cpu_input("position_ids", positions)
        binding.bind_output("logits", "cpu")
        for name, value in zip(self._past, cache.values, strict=True):
            binding.bind_ortvalue_input(name, value)
            binding.bind_output(name.replace(_PAST, _PRESENT), self._device)
        self._session.run_with_iobinding(binding)
        logits, *values = binding.get_outputs()
        return logits.numpy(), Cache(total, tuple(values))


class Reader:
    """Reads prompts one after the other, each from where it branches off an earlier one.

    Args:
        engine: reads.
        prompts: token ids of each, none empty, sorted.
    """

    def __init__(self, engine: Engine, prompts: Sequence[Sequence[int]]) -> None:
        self._engine = engine
        self._prompts = prompts
        self._shared = [_shared_chunks(*pair) for pair in pairwise(prompts)]
        self._kept = {0: engine.empty}

    def read(self, place: int) -> tuple[Logits, Cache]:
        """Logits after a prompt, and its cache; to be called for each place in order."""
        prompt = self._prompts[place]
        here = self._shared[place - 1] if place else 0
        self._kept = {chunks: cache for chunks, cache in self._kept.items() if chunks <= here}
        cache = self._kept[here]
        branches = self._branches(place)
        for chunk in range(here, (len(prompt) - 1) // CHUNK):
            _, cache = self._engine.step(prompt[chunk * CHUNK : (chunk + 1) * CHUNK], cache)
            if chunk + 1 in branches:
                self._kept[chunk + 1] = cache
        return self._engine.step(prompt[cache.length :], cache)

    def _branches(self, place: int) -> set[int]:
        """After how many chunks of this prompt later ones go on."""
        found: set[int] = set()
        least = len(self._prompts[place])
        for shared in self._shared[place:]:
            least = min(least, shared)
            found.add(least)
        return found


class Followed:
    """Answers followed side by side; a cache is never changed, so several can go on from one.

    Args:
        engine: reads.
        cache: of the prompt.
        keep: how many of the most probable tokens to tell.
    """

    def __init__(self, engine: Engine, cache: Cache, keep: int) -> None:
        self._engine = engine
        self._caches = [cache]
        self._keep = keep

    def follow(self, parents: Sequence[int], tokens: Sequence[int]) -> Told:
        """Let answers go on from others, each with a token; see ``BeamSearch.run``."""
        import numpy as np

        pairs = zip(parents, tokens, strict=True)
        steps = [self._engine.step([token], self._caches[parent]) for parent, token in pairs]
        self._caches = [cache for _, cache in steps]
        return most_probable(np.stack([logits for logits, _ in steps]), self._keep)


def _shared_chunks(one: Sequence[int], other: Sequence[int]) -> int:
    """Whole chunks at the start that two prompts have in common, at least one token being left to read of either."""
    most = (min(len(one), len(other)) - 1) // CHUNK * CHUNK
    same = next((place for place in range(most) if one[place] != other[place]), most)
    return same // CHUNK


def onnxruntime() -> Any:
    """The library, which has no types."""
    return import_module("onnxruntime")


def open_session(path: Path, device: str, threads: int) -> Any:
    """onnxruntime's session for a graph, silent."""
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"] if device == "cpu" else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    return onnxruntime().InferenceSession(str(path), options, providers=providers)
