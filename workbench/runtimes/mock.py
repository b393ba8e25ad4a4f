"""A runtime without an engine: answers from a file, for tests of everything around engines.

The artifact's folder may hold ``mock.json``: ``{"answer": text, "crash": bool, "refuse": text, "sleep_s": number,
"representative": bool, "holds": bytes of prompt and answer, "token_s": number, "noise": number,
"process_noise": number, "most_beams": number}``. Its timings are made up and it says so in its notes; no shipped
recipe uses it.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from workbench.artifact import Artifact
from workbench.errors import UnsupportedWorkloadError, WorkbenchError
from workbench.runtimes.base import Decoding, Generation, LoadOptions, Reading, Runtime, Session, Timing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class MockSession(Session):
    """Answers every prompt with the same text."""

    notes = ("mock runtime: no engine ran, timings are made up",)

    def __init__(self, settings: dict[str, Any], context: int = 1 << 30) -> None:
        self._settings = settings
        self._context = context
        self._random = random.Random()  # noqa: S311 - noise, no secret
        self._speed = self._random.lognormvariate(0, float(settings.get("process_noise", 0)))
        self.representative = bool(settings.get("representative", True))

    def generate(
        self, prompts: Sequence[str], decoding: Decoding, progress: Callable[[int, int], None] | None = None
    ) -> list[Generation]:
        """The settings' answer for each prompt, as far as decoding lets it; may crash or sleep first when told to."""
        if self._settings.get("crash"):
            os._exit(9)
        time.sleep(float(self._settings.get("sleep_s", 0)))
        if progress:
            progress(len(prompts), len(prompts))
        return [self._answer(prompt, decoding) for prompt in prompts]

    @property
    def context(self) -> int:
        """As asked for, or what it holds by its settings."""
        return min(self._context, int(self._settings.get("holds", self._context)))

    def prompt_tokens(self, prompt: str) -> int:
        """Bytes."""
        return self.count_tokens(prompt)

    def time_batch(self, prompts: Sequence[str], new_tokens: int, beams: int = 1) -> Timing:
        """A made-up timing: 1 ms, or the settings' ``token_s``, for each token, a little off where there is noise.

        ``noise`` is the standard deviation of the logarithm of each timing, ``process_noise`` that of a factor which
        all timings of one process share.
        """
        if beams > int(self._settings.get("most_beams", beams)):
            raise UnsupportedWorkloadError("the mock runtime was told to know no such beam search")
        token_s = float(self._settings.get("token_s", 0.001)) * self._speed
        drawn = token_s * self._random.lognormvariate(0, float(self._settings.get("noise", 0)))
        return Timing(self.count_tokens(prompts[0]), new_tokens, drawn, drawn * new_tokens, len(prompts), beams)

    def logits(self, prompts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Zeros: every byte is as likely as another."""
        import numpy as np

        return [np.zeros(256, np.float32) for _ in prompts]

    def logits_at(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.float32]]:
        """Zeros, likewise."""
        import numpy as np

        return (np.zeros((len(one.tokens) - one.first, 256), np.float32) for one in readings)

    def room(self, prompt: str) -> int:
        """What is left of the bytes it holds by its settings; without, of more than anyone asks."""
        return int(self._settings.get("holds", 1 << 30)) - len(prompt.encode())

    def tokenize(self, text: str) -> list[int]:
        """Bytes."""
        return list(text.encode())

    def detokenize(self, ids: Sequence[int]) -> str:
        """Bytes back as text."""
        return bytes(ids).decode()

    def _answer(self, prompt: str, decoding: Decoding) -> Generation:
        """However many beams there are, they find the same."""
        answer = str(self._settings.get("answer", "SELECT 1"))
        stops = [(place, stop) for stop in decoding.stop if stop and (place := answer.find(stop)) >= 0]
        end, stop = min(stops, default=(len(answer), ""))
        whole = self.tokenize(answer[:end] + stop)
        written = whole[: decoding.max_new_tokens]
        cut = len(written) < len(whole)
        text = bytes(written).decode(errors="replace") if cut else answer[:end]
        return Generation(text, self.count_tokens(prompt), len(written), not cut, tuple(written))

    def close(self) -> None:
        """Nothing to free."""


class Mock(Runtime):
    """Loads any artifact."""

    name = "mock"
    title = "no engine (mock)"
    requires = ()
    devices = ("cpu",)

    def load(self, artifact: Artifact, options: LoadOptions) -> Session:
        """Read ``mock.json`` if there is one; refuse the artifact when it says so."""
        path = artifact.path / "mock.json"
        settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if "refuse" in settings:
            raise WorkbenchError(str(settings["refuse"]))
        return MockSession(settings, options.context)

    def version(self) -> str:
        """No engine, no version."""
        return "none"


RUNTIME = Mock()
