"""What every engine offers: load an artifact, answer prompts, time one answer.

``Session`` is a loaded artifact. ``Decoding`` says how it answers: nothing is ever drawn at random, so that two
artifacts differ only by their weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Self

from workbench.artifact import Artifact
from workbench.memory_facts import MemoryFacts
from workbench.plugins import installed_version

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Generation:
    """One answer.

    Attributes:
        text: without the prompt and without the stop text.
        prompt_tokens: tokens read.
        new_tokens: tokens written, the one that ended the answer included.
        finished: False when the limit of new tokens cut it.
        tokens: ids written, where the engine tells them.
    """

    text: str
    prompt_tokens: int
    new_tokens: int
    finished: bool
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True)
class Timing:
    """Answers timed together on a cold prompt cache.

    Attributes:
        prompt_tokens: tokens of each prompt.
        new_tokens: tokens of each answer (exactly as asked: end-of-text is ignored while timing).
        ttft_s: seconds until every prompt has its first token.
        total_s: seconds until the last token of the last answer.
        batch: prompts answered together.
        beams: answers followed side by side for each prompt.
        call_s: seconds of the whole call by the caller's clock, where the other two are by the engine's own.
    """

    prompt_tokens: int
    new_tokens: int
    ttft_s: float
    total_s: float
    batch: int = 1
    beams: int = 1
    call_s: float | None = None

    @property
    def prefill_tokens_per_s(self) -> float:
        """Tokens of all prompts over the time to first token."""
        return self.batch * self.prompt_tokens / self.ttft_s

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens of all answers after their first, over the time they took; 0 for an answer of one token.

        llama.cpp counts in the same way (``predicted_per_second`` of its server, ``tg`` of llama-bench): the first
        token comes out of reading the prompt, so n tokens take n - 1 steps.
        """
        return self.batch * (self.new_tokens - 1) / (self.total_s - self.ttft_s) if self.new_tokens > 1 else 0.0


@dataclass(frozen=True)
class LoadOptions:
    """How to load.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        context: most tokens of prompt and answer together.
        threads: CPU threads.
        timing: to be timed first, not asked: an engine with other settings for the two begins with those of its users.
    """

    device: str = "cpu"
    context: int = 1024
    threads: int = 2
    timing: bool = False


@dataclass(frozen=True)
class Decoding:
    """How answers are written; the defaults are greedy and as defog limits them.

    Attributes:
        stop: texts that end an answer.
        max_new_tokens: limit per answer, the token that ends it included.
        beams: answers followed side by side, the most probable of which is told; 1 is greedy.
        most_rows: prompts of one batch at most, where an engine makes batches; ``None`` leaves it to the engine.
            Answers must not depend on it, so what changes with it is the engine's noise.
    """

    stop: tuple[str, ...] = ()
    max_new_tokens: int = 300
    beams: int = 1
    most_rows: int | None = None


@dataclass(frozen=True)
class Reading:
    """Tokens to read, and where to tell what was expected.

    Attributes:
        tokens: ids, with those that are put around a prompt.
        first: place of the first token to tell about, at least 1.
        own: whether the token that is there must be among those that are told, however improbable it is.
    """

    tokens: Sequence[int]
    first: int
    own: bool = True


class Session(ABC):
    """A loaded artifact; use as a context manager.

    Attributes:
        notes: what a reader of the report must know, e.g. that weights were dequantized at load.
        representative: False when speed and memory here are not what users of this format get;
            the report then shows none.
    """

    notes: tuple[str, ...] = ()
    representative: bool = True

    @abstractmethod
    def generate(
        self, prompts: Sequence[str], decoding: Decoding, progress: Callable[[int, int], None] | None = None
    ) -> list[Generation]:
        """Deterministic answers in the order of the prompts; batching is the engine's affair.

        Raises:
            WorkbenchError: a prompt does not fit, or the engine cannot do what is asked.
        """

    @property
    @abstractmethod
    def context(self) -> int:
        """Most tokens of a prompt and its answer: as asked for at loading, or what the model was built for."""

    def time_one(self, prompt: str, new_tokens: int) -> Timing:
        """Time exactly ``new_tokens`` tokens after ``prompt``, nothing cached from an earlier call."""
        return self.time_batch([prompt], new_tokens)

    @abstractmethod
    def time_batch(self, prompts: Sequence[str], new_tokens: int, beams: int = 1) -> Timing:
        """Time exactly ``new_tokens`` tokens after each of several prompts, answered together, nothing cached.

        Args:
            prompts: of equal length in tokens (``prompt_tokens``).
            new_tokens: of each answer.
            beams: of the search for each answer; 1 is greedy.

        Raises:
            UnsupportedWorkloadError: this engine cannot do it, and why.
            WorkbenchError: a prompt and its answer do not fit the context.
        """

    @abstractmethod
    def prompt_tokens(self, prompt: str) -> int:
        """Tokens the engine reads for a prompt, those put around it included."""

    def greedy(self, prompts: Sequence[str], count: int) -> list[list[int]]:
        """Ids of the first ``count`` tokens of each answer, whatever they say; fewer where the text ends before."""
        return [list(answer.tokens) for answer in self.generate(prompts, Decoding(max_new_tokens=count))]

    @abstractmethod
    def logits(self, prompts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Logits of the first token of each answer, ``[vocabulary]``, up to a constant added to all of a prompt's.

        The constant is free because engines that only tell log-probabilities have lost it, and no answer depends on it.
        """

    @abstractmethod
    def logits_at(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.float32]]:
        """What the artifact expects in the place of given tokens, each given those before it ("teacher forcing").

        A token that an engine tells nothing of has ``-inf``; the others of its row are then log-probabilities, so that
        what is left of 1 belongs to those together.

        Args:
            readings: each no longer than the context. Engines keep what one has in common with the one before it:
                sorted ones are read soonest.

        Yields:
            For each reading, in order, ``[len(tokens) - first, vocabulary]``: row ``j`` holds the logits of the token
            at ``first + j``, up to a constant added to all of a row's.

        Raises:
            WorkbenchError: the engine refuses one.
        """

    def room(self, prompt: str) -> int:
        """Tokens of answer that fit into the context after a prompt; none or fewer where it is too long by itself."""
        return self.context - self.prompt_tokens(prompt)

    @abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, without those that are put around a prompt."""

    @abstractmethod
    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of token ids."""

    def count_tokens(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenize(text))

    def device_peak_bytes(self) -> int | None:
        """Peak bytes on an accelerator with its own memory, by its allocator; ``None`` on CPU."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Free the engine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Runtime(ABC):
    """An engine.

    Attributes:
        name: the module's name.
        title: as its makers call it.
        requires: (module, pip line) pairs that must be importable.
        devices: devices it can use.
        memory: what it holds, by backend (``cuda``, ``metal``, ``cpu``), for the plan's predictions.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    requires: ClassVar[tuple[tuple[str, str], ...]]
    devices: ClassVar[tuple[str, ...]]
    memory: ClassVar[Mapping[str, MemoryFacts]] = MappingProxyType({})

    @abstractmethod
    def load(self, artifact: Artifact, options: LoadOptions) -> Session:
        """Load an artifact.

        Raises:
            WorkbenchError: the engine is missing, or refuses the artifact.
        """

    def version(self) -> str:
        """Version of the engine's distribution, read without importing it."""
        return installed_version(self.requires[0][1]) or "not installed"

    @property
    def label(self) -> str:
        """Name and version, e.g. ``llama_cpp 2026.10``."""
        return f"{self.name} {self.version()}"
