"""llama.cpp, inside this process through xllamacpp, for GGUF artifacts.

Answers must not depend on which questions were asked together, or an artifact's accuracy would move with
the sample. llama.cpp's sums do: its flash attention and its repacked weights add in another order
for a lone row than for many, and parallel slots mix rows of several prompts. So answers are made one
after another in one slot, with both switched off. A row's sum is then the same in any batch, and the
part of a prompt that equals the start of the one before (the schema: prompts are asked in sorted order) can be
kept from it without changing a bit. For short prompts of a small model this is faster than parallel slots, too.
Timing uses llama.cpp's defaults instead, because that is what its users run; the engine (``_llama_engine``) is
opened anew when the use changes, so that memory never holds two.

Source: github.com/ggml-org/llama.cpp, tools/server/README.md; github.com/xorbitsai/xllamacpp.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from workbench.artifact import Artifact
from workbench.errors import ArtifactError, PrerequisiteError, UnsupportedWorkloadError, WorkbenchError
from workbench.memory_facts import Held, MemoryFacts
from workbench.runtimes._llama_beams import Followed
from workbench.runtimes._llama_engine import is_small, open_engine
from workbench.runtimes._llama_server import GREEDY, Ask, complete, context_of, end_ids, post, told_next
from workbench.runtimes._llama_timing import time_slot, time_slots
from workbench.runtimes.base import (
    Decoding,
    Generation,
    LoadOptions,
    Reading,
    Runtime,
    Session,
    Timing,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Row: TypeAlias = NDArray[np.float32]

INSTALL = "pip install xllamacpp"
EVERY_TOKEN = 1 << 20  # more than any vocabulary: the engine tells as many as there are
# Of a position's tokens the most probable are told, because telling one takes llama.cpp's server some microseconds: all
# 49,152 of StarCoder's 0.3 s. A divergence in which the rest counts as one token lost two thousandths of itself on the
# bundled model; 64 questions know it to a quarter.
TOLD = 256


class LlamaCppSession(Session):
    """One GGUF file in one engine at a time."""

    def __init__(self, model: Path, options: LoadOptions) -> None:
        self._model = model
        self._options = options
        self._server: Any = None
        self._timed = 0  # prompts that the open engine is to be timed on together; 0 when it is to answer
        self._taken: int | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.notes = ("llama.cpp on one thread: the model is too small for more",) if is_small(model) else ()
        self.server(1 if options.timing else 0)

    @property
    def context(self) -> int:
        """As asked for, or what the model was trained for; asked of the engine once."""
        if self._taken is None:
            self._taken = context_of(self._server or self.server())
        return self._taken

    def generate(
        self, prompts: Sequence[str], decoding: Decoding, progress: Callable[[int, int], None] | None = None
    ) -> list[Generation]:
        """Answers; each distinct prompt is computed once, after the prompts it shares most with."""
        ask = self._asker()
        answers: dict[str, Generation] = {}
        done = 0
        for prompt in sorted(set(prompts)):
            answers[prompt] = (self._write if decoding.beams == 1 else self._search)(ask, prompt, decoding)
            done += prompts.count(prompt)
            if progress:
                progress(done, len(prompts))
        return [answers[prompt] for prompt in prompts]

    def prompt_tokens(self, prompt: str) -> int:
        """Tokens of a prompt; see ``Session.prompt_tokens``."""
        return len(self._ids(prompt))

    def time_batch(self, prompts: Sequence[str], new_tokens: int, beams: int = 1) -> Timing:
        """Time by llama.cpp's own clock, a slot for each prompt; see ``Session.time_batch``."""
        if beams > 1:
            raise UnsupportedWorkloadError("llama.cpp has no beam search of its own")
        server = self.server(len(prompts))
        timed = (
            time_slots(server, prompts, new_tokens) if len(prompts) > 1 else time_slot(server, prompts[0], new_tokens)
        )
        if timed.new_tokens != new_tokens:
            raise WorkbenchError(
                f"a prompt of {timed.prompt_tokens} tokens leaves no room for {new_tokens} more in a context of "
                f"{self._options.context}; time a shorter prompt or load with a larger context"
            )
        return timed

    def logits(self, prompts: Sequence[str]) -> list[Row]:
        """Log-probabilities of all tokens after each prompt, which llama.cpp tells on request."""
        tell = self._teller()
        return [tell(prompt, EVERY_TOKEN, False) for prompt in prompts]

    def logits_at(self, readings: Sequence[Reading]) -> Iterator[Row]:
        """Log-probabilities of the most probable tokens, position after position; see ``Session.logits_at``.

        Where the token that is there must be told and is not among them, all are.
        """
        import numpy as np

        tell = self._teller()
        shared = False  # the first must not build on what an earlier call left behind
        for one in readings:
            rows = []
            for place in range(one.first, len(one.tokens)):
                row = tell(one.tokens[:place], TOLD if shared else EVERY_TOKEN, shared)
                shared = True
                if one.own and not np.isfinite(row[one.tokens[place]]):
                    row = tell(one.tokens[:place], EVERY_TOKEN, True)
                rows.append(row)
            yield np.stack(rows)

    def _teller(self) -> Callable[[str | Sequence[int], int, bool], Row]:
        """A function that tells the log-probabilities of the most probable tokens after a prompt.

        Its arguments are the prompt, how many tokens to tell, and whether to keep what the prompt shares with the last.
        """
        import numpy as np

        ask, forced = partial(post, self.server(), "/completion"), self._whole_character()
        size = 0

        def tell(prompt: str | Sequence[int], count: int, shared: bool) -> Row:
            nonlocal size
            told = told_next(ask, {"prompt": prompt, "cache_prompt": shared}, count, forced)
            size = max(size, len(told))
            row = np.full(size, -np.inf, np.float32)
            for token in told:
                row[token["id"]] = token["logprob"]
            return row

        return tell

    def _ids(self, prompt: str) -> list[int]:
        """Ids of a prompt, with those that are put around it."""
        body = {"content": prompt, "add_special": True, "parse_special": True}
        ids: list[int] = post(self._server or self.server(), "/tokenize", body)["tokens"]
        return ids

    def tokenize(self, text: str) -> list[int]:
        """Ids by the tokenizer inside the GGUF file."""
        body = {"content": text, "add_special": False, "parse_special": True}
        ids: list[int] = post(self._server or self.server(), "/tokenize", body)["tokens"]
        return ids

    def detokenize(self, ids: Sequence[int]) -> str:
        """Text by the tokenizer inside the GGUF file."""
        return str(post(self._server or self.server(), "/detokenize", {"tokens": list(ids)})["content"])

    def close(self) -> None:
        """Free the engine and its socket."""
        self._server = None  # its destructor ends the engine's thread
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _asker(self) -> Ask:
        """Posts requests to ``/completion``; the first must not build on what an earlier call left behind."""
        server, asked = self.server(), False

        def ask(request: dict[str, Any]) -> dict[str, Any]:
            nonlocal asked
            reply = post(server, "/completion", {"cache_prompt": asked, **GREEDY, **request})
            asked = True
            return reply

        return ask

    def _write(self, ask: Ask, prompt: str, decoding: Decoding) -> Generation:
        """One greedy answer."""
        request = {
            "prompt": prompt,
            "n_predict": decoding.max_new_tokens,
            "stop": [text for text in decoding.stop if text],
        }
        fields = ["content", "tokens", "tokens_predicted", "tokens_evaluated", "stop_type"]
        reply = ask({**request, "return_tokens": True, "response_fields": fields})
        content, tokens, predicted, evaluated, stop = (reply[field] for field in fields)
        return Generation(content, evaluated, predicted, stop != "limit", tuple(tokens))

    def _search(self, ask: Ask, prompt: str, decoding: Decoding) -> Generation:
        """The best answer of a beam search."""
        ids = self._ids(prompt)
        limit = min(decoding.max_new_tokens, self.context - len(ids))
        if limit < 1:
            raise WorkbenchError(
                f"a prompt of {len(ids)} tokens leaves no room in a context of {self.context}; shorten the "
                "schema or load with a larger context"
            )
        ends = end_ids(partial(post, self.server(), "/completion"))
        return Followed(ask, ids, ends, self._whole_character()).answer(decoding, limit)

    def _whole_character(self) -> int:
        """Id of a token that is a character of its own."""
        return self.tokenize("1")[-1]

    def server(self, timed: int = 0) -> Any:
        """The engine for timing so many prompts together, or (0) for answers, opened when it is not yet."""
        if self._server is not None and self._timed == timed:
            return self._server
        self.close()
        self._folder = tempfile.TemporaryDirectory(prefix="llama-")
        try:
            self._server = open_engine(self._model, self._options, timed, Path(self._folder.name))
        except ArtifactError:
            self.close()
            raise
        self._timed = timed
        # Freed before its loop has begun, an engine would wait for ever: an empty answer shows that it runs.
        complete(self._server, {"prompt": "", "max_tokens": 0})
        return self._server


_ON_A_GPU = MemoryFacts(
    450_000_000,
    "CUDA context and cuBLAS of llama.cpp's own logs",
    cache_step=256,
    beam_cache="nothing",
    element_bytes=4,
    inner_rows=(2.0, 1.0),
    block=512,
    logits="all",
    one_buffer=True,
)


class LlamaCpp(Runtime):
    """llama.cpp by way of xllamacpp."""

    name = "llama_cpp"
    title = "llama.cpp"
    requires = (("xllamacpp", "xllamacpp"),)
    devices = ("cpu", "cuda", "mps")
    # Reads prompts in blocks of 512 tokens ("ubatch") and reserves room for the logits of each: 7B models of 32,000
    # tokens log a compute buffer of 70.5 MiB, those of 128,256 one of 258.5 MiB (512 x (vocabulary + width) x 4 bytes).
    # On a CPU logits are computed for the last token alone, and 4-bit matrices are held a second time, repacked.
    memory = MappingProxyType(
        {
            "cuda": _ON_A_GPU,
            "metal": replace(_ON_A_GPU, overhead_bytes=150_000_000, source="an assumption: libraries and Metal's own"),
            "cpu": replace(
                _ON_A_GPU,
                overhead_bytes=60 << 20,
                source="resident sets of models of 0.16 to 1.1 billion weights on Linux",
                logits="last",
                one_buffer=False,
                held=MappingProxyType(
                    {
                        "": Held(file=1.0),
                        "gguf/q4_k_m": Held(file=1.0, repacked=0.45),
                        "gguf/q4_k_s": Held(file=1.0, repacked=0.52),
                        "gguf/q4_0": Held(file=1.0, repacked=0.5625),
                    }
                ),
            ),
        }
    )

    def load(self, artifact: Artifact, options: LoadOptions) -> LlamaCppSession:
        """Load the artifact's ``.gguf``."""
        model = artifact.weight_file(".gguf")
        try:
            import xllamacpp
        except ImportError as error:
            raise PrerequisiteError(f"running GGUF needs xllamacpp; install it with: {INSTALL}") from error
        names = {device["type"].name for device in xllamacpp.get_device_info()}
        if options.device != "cpu" and not any(name.endswith("GPU") for name in names):
            raise PrerequisiteError(
                f"the installed xllamacpp was built without {options.device}; install its build for {options.device} "
                "(its README names the package index), or build for --profile cpu"
            )
        return LlamaCppSession(model, options)


RUNTIME = LlamaCpp()
